package store

import (
	"context"
	"flag"
	"fmt"
	"slices"
	"testing"
	"time"

	"ctappliance/schema"
)

var scaleRows = flag.Int("store.rows", 1_000_000, "largest ledger of BenchmarkScale, in `rows`")

// ballast fills the tables up to n ledger rows of sixty logs and what belongs
// to them, within the engine. Which rows there are follows from n.
func ballast(b *testing.B, s *Store, from, to int) {
	const settings = " SETTINGS max_threads = 2, max_insert_threads = 1, max_block_size = 1000000, min_insert_block_size_rows = 1000000, min_insert_block_size_bytes = 200000000, optimize_on_insert = 0"
	fill := func(table, columns, values string, share float64) {
		exec(b, s, fmt.Sprintf("INSERT INTO {db}.%s (%s) SELECT %s FROM (SELECT number + %d AS n FROM numbers(%d))%s",
			table, columns, values, int(float64(from)*share), int(float64(to-from)*share), settings))
	}
	fill("ledger", "log_id, idx, ts, entry_type, status, tbs10",
		"n % 60, intDiv(n, 60), fromUnixTimestamp64Milli(toInt64(1780000000000 + n)), n % 2, 0, toFixedString(substring(sipHash128(intDiv(n, 4)), 1, 10), 10)", 1)
	fill("certs", "tbs_id, not_after, validity, seen, sha256, pre_sha16, serial, profile_id, spki16, names",
		"toFixedString(sipHash128(n), 16), toDateTime64(1783000000 + n, 0), 7775999, 3, toFixedString(SHA256(toString(n)), 32), toFixedString(sipHash128(n, 1), 16), sipHash128(n, 2), n % 1000, toFixedString(sipHash128(n, 3), 16), ['h' || toString(n) || '.example.com']", 0.25)
	fill("name_certs", "rname, wildcard, not_before, validity, issuer_id, tbs8", "'com.example.h' || toString(intDiv(n, 2)) || '.', n % 2, toDateTime(1780000000 + n), 7775999, n % 40, sipHash64(n)", 0.5)
	fill("names", "rname, wildcard, first_seen, last_seen, max_not_after", "'com.example.h' || toString(n) || '.', 0, toDateTime(1780000000 + n), toDateTime(1780000000 + n), toDateTime(1783000000 + n)", 0.15)
}

// BenchmarkScale measures what a flush of a tail and the questions of delivery
// and audit cost, and the sums of Summary, on a ledger of 10^5, 10^6 and more rows, up to -store.rows, as
// far as merges have come when the tables were filled. Run it with -benchtime 1x.
func BenchmarkScale(b *testing.B) {
	s, e := openEngine(b, func(c *Config) { c.RecentBits = 0 })
	rows := realistic(shape{certs: 12_000, perCert: 4.2, renewals: 4.2, names: 2.7, spread: 2000})
	have, next := 0, 0
	for n := 100_000; n <= *scaleRows; n *= 10 {
		b.Run(fmt.Sprint(n, "_rows"), func(b *testing.B) {
			for b.Loop() {
				for have < n {
					to := min(n, have+1_000_000)
					ballast(b, s, have, to)
					have = to
				}
				for _, table := range merged { // a merge that goes on would be counted
					for range 1000 {
						if one(b, s, "SELECT count() FROM system.merges WHERE database = '{db}' AND table = '"+table+"'") == "0" {
							break
						}
						select {
						case <-time.After(50 * time.Millisecond):
						case <-b.Context().Done():
						}
					}
				}
				measure := func(what string, of func(ctx context.Context) error) {
					const times = 5
					var took []time.Duration
					before := cpu(b, e.PID())
					for range times {
						start := time.Now()
						if err := of(b.Context()); err != nil {
							b.Fatal(err)
						}
						took = append(took, time.Since(start))
					}
					slices.Sort(took)
					b.ReportMetric(float64(took[times/2].Microseconds())/1000, what+"-ms")
					b.ReportMetric(float64((cpu(b, e.PID())-before).Milliseconds())/times, what+"-cpu-ms")
				}
				var ranges []schema.Range
				for log := range uint64(60) {
					ranges = append(ranges, schema.Range{Log: log, From: uint64(n) / 120, To: uint64(n)/120 + 75})
				}
				measure("prove", func(ctx context.Context) error { _, err := s.Prove(ctx, ranges); return err })
				measure("highest", func(ctx context.Context) error {
					index, ok, err := s.Highest(ctx, schema.Range{Log: 7, To: 1 << 63})
					if err == nil && (!ok || index < uint64(n/60-1)) {
						err = fmt.Errorf("%d, %v of %d", index, ok, n/60)
					}
					return err
				})
				measure("summary", func(ctx context.Context) error { _, err := s.Summary(ctx); return err })
				measure("flush", func(ctx context.Context) error {
					part := rows[next : next+1000]
					next = (next + 1000) % (len(rows) - 1000)
					for i := range part {
						part[i].LogID, part[i].Index = uint64(100+next), uint64(i)
						part[i].Timestamp = 1_783_000_000_000
					}
					f := flushOf(uint64(have+next), part)
					if err := s.InsertDependents(ctx, f); err != nil {
						return err
					}
					return s.InsertLedger(ctx, f, nil)
				})
				b.ReportMetric(0, "ns/op")
				b.Logf("%s", one(b, s, "SELECT arrayStringConcat(groupArray(concat(table, ' ', toString(r), ' rows in ', toString(n), ' parts')), ', ') FROM (SELECT table, sum(rows) AS r, count() AS n FROM system.parts WHERE database = '{db}' AND active GROUP BY table ORDER BY r DESC LIMIT 4)"))
			}
		})
	}
}
