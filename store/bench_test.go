package store

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"ctappliance/schema"
)

// cpu returns the user and system time of a process.
func cpu(t testing.TB, pid int) time.Duration {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Skip(err)
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	f := strings.Fields(rest)
	user, _ := strconv.ParseInt(f[11], 10, 64)
	system, _ := strconv.ParseInt(f[12], 10, 64)
	return time.Duration(user+system) * 10 * time.Millisecond
}

// merged are the tables that BenchmarkInsert merges to the end.
var merged = []string{"ledger", "certs", "profiles", "name_certs", "names"}

// BenchmarkInsert writes the entries of two shapes in flushes of 50,000, or
// BENCH_FLUSH_ROWS, each in the ledger's order, and reports what that costs on each side, during the
// run and with every merge done, and what it takes on disk, for each entry and
// each certificate; with -v by table, column and index. Run it with -benchtime
// 1x. BENCH_SQL holds statements, separated by ";", that are run on
// the empty tables before, {db} in place of the database: what if a codec were
// another?
func BenchmarkInsert(b *testing.B) {
	for _, of := range []struct {
		name  string
		shape shape
	}{{"all", allLogs}, {"demo", demoLog}} {
		rows := realistic(of.shape)
		b.Run(of.name, func(b *testing.B) {
			for b.Loop() {
				benchmarkInsert(b, rows)
			}
		})
	}
}

func benchmarkInsert(b *testing.B, rows []schema.Row) {
	flush := 50_000
	if v := os.Getenv("BENCH_FLUSH_ROWS"); v != "" {
		var err error
		if flush, err = strconv.Atoi(v); err != nil {
			b.Fatal(err)
		}
	}
	s, e := openEngine(b, func(c *Config) { c.RecentBits = 0 })
	for _, sql := range strings.Split(os.Getenv("BENCH_SQL"), ";") {
		if strings.TrimSpace(sql) != "" {
			exec(b, s, sql)
		}
	}
	var flushes []*schema.Flush
	for part := range slices.Chunk(rows, flush) {
		part = slices.Clone(part)
		slices.SortFunc(part, func(a, b schema.Row) int {
			if a.LogID != b.LogID {
				return int(int64(a.LogID) - int64(b.LogID))
			}
			return int(int64(a.Index) - int64(b.Index))
		})
		flushes = append(flushes, flushOf(uint64(len(flushes)), part))
	}
	engine, self := cpu(b, e.PID()), cpu(b, os.Getpid())
	start := time.Now()
	for _, f := range flushes {
		insert(b, s, f)
	}
	took := time.Since(start)
	n := float64(len(rows))
	during := cpu(b, e.PID()) - engine
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(n/took.Seconds(), "rows/s")
	b.ReportMetric(float64(during.Microseconds())/n, "engine-us/row")
	b.ReportMetric(float64((cpu(b, os.Getpid())-self).Microseconds())/n, "own-us/row")
	for _, table := range merged {
		before := cpu(b, e.PID())
		parts := one(b, s, "SELECT concat(toString(sum(rows)), ' rows in ', toString(count()), ' parts') FROM system.parts WHERE database = '{db}' AND table = '"+table+"' AND active")
		exec(b, s, "OPTIMIZE TABLE {db}."+table+" FINAL")
		b.Logf("%-12s %s, merged in %v", table, parts, cpu(b, e.PID())-before)
	}
	b.ReportMetric(float64((cpu(b, e.PID())-engine).Microseconds())/n, "engine-merged-us/row")
	sum, err := s.Summary(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	var bytes uint64
	certs := 1.0 // unique certificates
	for _, t := range sum.Tables {
		if bytes += t.Bytes; t.Name == "certs" {
			certs = float64(t.Rows)
		}
	}
	for _, t := range sum.Tables {
		b.Logf("%-12s %8d rows %10d bytes %6.1f B/row %6.2f B/entry %7.2f B/certificate", t.Name, t.Rows, t.Bytes, float64(t.Bytes)/float64(t.Rows), float64(t.Bytes)/n, float64(t.Bytes)/certs)
	}
	b.ReportMetric(float64(bytes)/n, "B/entry")
	b.ReportMetric(float64(bytes)/certs, "B/certificate")
	if !testing.Verbose() {
		return
	}
	// Large parts keep columns in files of their own, whose sizes are known.
	for _, table := range merged {
		exec(b, s, "ALTER TABLE {db}."+table+" MODIFY SETTING min_bytes_for_wide_part = 0")
		exec(b, s, "OPTIMIZE TABLE {db}."+table+" FINAL SETTINGS optimize_skip_merged_partitions = 0")
	}
	for _, q := range []string{
		"SELECT table, column, sum(column_data_compressed_bytes) AS c, sum(rows) FROM system.parts_columns WHERE database = '{db}' AND active GROUP BY table, column HAVING c > 5000 ORDER BY table, c DESC",
		"SELECT table, 'index ' || name, sum(data_compressed_bytes) AS c, 1 FROM system.data_skipping_indices WHERE database = '{db}' GROUP BY table, name HAVING c > 0 ORDER BY table",
	} {
		list, err := s.Rows(b.Context(), strings.ReplaceAll(q, "{db}", s.Database()))
		if err != nil {
			b.Fatal(err)
		}
		for _, r := range list {
			size, _ := strconv.ParseFloat(r[2], 64)
			b.Logf("%-12s %-16s %10.0f bytes %7.3f B/entry %7.2f B/certificate", r[0], r[1], size, size/n, size/certs)
		}
	}
}
