package store

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"ctappliance/schema"
)

func TestRowHashIsTheEngines(t *testing.T) {
	s, _ := openEngine(t, nil)
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range 50 {
		var id [16]byte
		idx := rng.Uint64()
		for j := range id {
			id[j] = byte(rng.Uint32())
		}
		switch i {
		case 0:
			id, idx = [16]byte{}, 0
		case 1:
			idx = 1<<64 - 1
		case 2:
			id = [16]byte{15: 1}
		}
		got := one(t, s, fmt.Sprintf("SELECT %s FROM (SELECT toFixedString(unhex('%x'), 10) AS tbs10, toUInt64(%d) AS idx)", schema.RowHashSQL, id[:10], idx))
		if want := fmt.Sprint(schema.RowHash(id, idx)); got != want {
			t.Errorf("hash of %x, %d: the engine says %s, RowHash %s", id, idx, got, want)
		}
	}
}

func TestProve(t *testing.T) {
	s, _ := openEngine(t, nil)
	rows := append(rowsOf(1, 100, 50), rowsOf(1, 200, 10)...)
	rows = append(rows, rowsOf(1<<63+5, 0, 30)...)
	f := flushOf(1, rows)
	insert(t, s, f)
	complete(t, s, f)
	if n := one(t, s, "SELECT count() FROM system.parts WHERE database = '{db}' AND table = 'ledger' AND active"); n != "1" {
		t.Errorf("one flush made %s parts", n)
	}
	// More ranges than go into one query, empty ones and overlapping ones too.
	var ranges []schema.Range
	for i := range uint64(3*proveRanges + 1) {
		ranges = append(ranges, schema.Range{Log: 1, From: 90 + i/2, To: 90 + i})
	}
	ranges = append(ranges, schema.Range{Log: 1, From: 0, To: 1 << 63}, schema.Range{Log: 7, From: 3, To: 3})
	ranges[len(ranges)-2].To = 20_000_000 // several pieces
	proofs, err := s.Prove(t.Context(), ranges)
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range proofs {
		var n uint64
		for j := range rows {
			if rows[j].LogID == ranges[i].Log && rows[j].Index >= ranges[i].From && rows[j].Index < ranges[i].To {
				n++
			}
		}
		if want := (schema.Proof{Range: ranges[i], Count: n, Unique: n, XOR: XOR(f.Rows, ranges[i])}); p != want {
			t.Errorf("range %v: %+v, want %+v", ranges[i], p, want)
		}
	}
	if _, err := s.Prove(t.Context(), []schema.Range{{Log: 1, From: 5, To: 4}}); err == nil {
		t.Error("a range that ends before it begins was proven")
	}
	have, err := s.Indices(t.Context(), schema.Range{Log: 1, From: 90, To: 205})
	if err != nil {
		t.Fatal(err)
	}
	if len(have) != 55 || have[0] != 100 || have[54] != 204 {
		t.Errorf("indices are %v", have)
	}
	gaps := Missing(schema.Range{Log: 1, From: 90, To: 215}, have)
	if want := "[{1 90 100} {1 150 200} {1 205 215}]"; fmt.Sprint(gaps) != want {
		t.Errorf("missing are %v, want %s", gaps, want)
	}
	if _, err := s.Indices(t.Context(), schema.Range{Log: 1, From: 0, To: 1 << 40}); err == nil {
		t.Error("a range of 2^40 entries was listed")
	}
}

func TestMissing(t *testing.T) {
	for _, c := range []struct {
		from, to uint64
		have     []uint64
		want     string
	}{
		{0, 0, nil, "[]"},
		{0, 3, nil, "[{9 0 3}]"},
		{0, 3, []uint64{0, 1, 2}, "[]"},
		{5, 8, []uint64{1, 5, 6, 9}, "[{9 7 8}]"},
		{5, 8, []uint64{6}, "[{9 5 6} {9 7 8}]"},
		{1<<64 - 3, 1<<64 - 1, []uint64{1<<64 - 3}, "[{9 18446744073709551614 18446744073709551615}]"},
	} {
		if got := fmt.Sprint(Missing(schema.Range{Log: 9, From: c.from, To: c.to}, c.have)); got != c.want {
			t.Errorf("Missing([%d,%d), %v) = %s, want %s", c.from, c.to, c.have, got, c.want)
		}
	}
}

func TestTokens(t *testing.T) {
	t.Run("on", func(t *testing.T) {
		s, _ := openEngine(t, nil)
		f := flushOf(1, rowsOf(1, 0, 100))
		insert(t, s, f)
		insert(t, s, f) // the same token: the server drops it
		complete(t, s, f)
		// After a loss the same token is swallowed without an error, the next
		// generation is not.
		exec(t, s, "ALTER TABLE {db}.ledger DELETE WHERE idx < 10 SETTINGS mutations_sync = 2")
		insert(t, s, f)
		if n := one(t, s, "SELECT count() FROM {db}.ledger"); n != "90" {
			t.Errorf("after a repair with the same token there are %s rows; the second net is not there", n)
		}
		f.Generation = 1
		if err := s.InsertLedger(t.Context(), f, func(_, index uint64) bool { return index < 10 }); err != nil {
			t.Fatal(err)
		}
		complete(t, s, f)
	})
	t.Run("off", func(t *testing.T) {
		s, _ := openEngine(t, func(c *Config) { c.NoTokens = true })
		f := flushOf(1, rowsOf(1, 0, 100))
		insert(t, s, f)
		insert(t, s, f)
		p, err := s.Prove(t.Context(), f.Ranges)
		if err != nil {
			t.Fatal(err)
		}
		if p[0].Count != 200 || p[0].Unique != 100 || p[0].XOR != 0 {
			t.Errorf("with deduplication off the same rows twice are %+v", p[0])
		}
	})
}

func TestHalfPresentFlush(t *testing.T) {
	for _, tokens := range []bool{true, false} {
		t.Run(fmt.Sprint("tokens ", tokens), func(t *testing.T) {
			s, _ := openEngine(t, func(c *Config) { c.NoTokens = !tokens })
			rows := append(rowsOf(1, 0, 1000), rowsOf(2, 500, 1000)...)
			f := flushOf(1, rows)
			// Part of it is there: a partition that was committed, and stray
			// rows of the other log.
			if err := s.InsertLedger(t.Context(), f, func(log, index uint64) bool { return log == 1 || index%7 == 0 }); err != nil {
				t.Fatal(err)
			}
			settle(t, s, f)
			complete(t, s, f)
			if n := one(t, s, "SELECT uniqExact(tbs_id) FROM {db}.certs"); n != "2000" {
				t.Errorf("%s certificates of 2000", n)
			}
		})
	}
}

func settle(t *testing.T, s *Store, f *schema.Flush) {
	t.Helper()
	if err := resolve(t.Context(), s, f); err != nil {
		t.Fatal(err)
	}
}

// resolve is what delivery does with a flush in doubt.
func resolve(ctx context.Context, s *Store, f *schema.Flush) error {
	if err := s.Fence(ctx, f.ID); err != nil {
		return err
	}
	if err := s.InsertDependents(ctx, f); err != nil {
		return err
	}
	for try := 0; ; try++ {
		missing := map[[2]uint64]bool{}
		proofs, err := s.Prove(ctx, f.Ranges)
		if err != nil {
			return err
		}
		for _, p := range proofs {
			if p.Count > p.Unique {
				return fmt.Errorf("rows are there twice: %+v", p)
			}
			if p.Unique == p.Range.Len() {
				continue
			}
			have, err := s.Indices(ctx, p.Range)
			if err != nil {
				return err
			}
			for _, g := range Missing(p.Range, have) {
				for i := g.From; i < g.To; i++ {
					missing[[2]uint64{g.Log, i}] = true
				}
			}
		}
		if len(missing) == 0 {
			return nil
		}
		if try == 3 {
			return fmt.Errorf("%d rows are missing after 3 repairs", len(missing))
		}
		f.Generation += uint32(min(try, 1)) // acknowledged and yet missing: swallowed
		if err := s.InsertLedger(ctx, f, func(log, index uint64) bool { return missing[[2]uint64{log, index}] }); err != nil {
			return err
		}
	}
}

func TestRefusedRows(t *testing.T) {
	s, _ := openEngine(t, nil)
	exec(t, s, "ALTER TABLE {db}.certs ADD CONSTRAINT c CHECK names[1] != 'bad.example.com'")
	rows := rowsOf(1, 0, 10)
	rows[3].DNSNames = []string{"bad.example.com"}
	f := flushOf(1, rows)
	err := s.InsertDependents(t.Context(), f)
	var refused *schema.RefusedError
	if !errors.As(err, &refused) || refused.Table != "certs" || refused.Code != 469 {
		t.Fatalf("got %v, want a RefusedError of certs with code 469", err)
	}
	if strings.ContainsAny(err.Error(), "\n") || len(err.Error()) > 600 {
		t.Errorf("the error is not one line: %q", err)
	}
	// The certificate as a problem row goes through, and the others with it:
	// what went in before the refusal was not remembered as written.
	rows[3].Status, rows[3].Error = schema.StatusRefused, "refused by the server"
	insert(t, s, f)
	complete(t, s, f)
	if n := one(t, s, "SELECT uniqExact(tbs_id) FROM {db}.certs"); n != "9" {
		t.Errorf("%s certificates, want 9", n)
	}

	exec(t, s, "DROP TABLE {db}.problems SYNC")
	rows = rowsOf(1, 20, 1)
	rows[0].Status = schema.StatusOdd
	if err := s.InsertDependents(t.Context(), flushOf(2, rows)); err == nil || errors.As(err, &refused) {
		t.Errorf("a missing table gave %v: the rows are not to blame", err)
	}
}

func TestManyPartitions(t *testing.T) {
	s, _ := openEngine(t, nil)
	// Timestamps are the log's choice; 110 months are more than the server
	// takes by default.
	rows := rowsOf(1, 0, 110)
	for i := range rows {
		rows[i].Timestamp = uint64(i) * 32 * 86400 * 1000
		rows[i].NotAfter = int64(i) * 366 * 86400
	}
	rows[0].Timestamp, rows[1].Timestamp, rows[2].Timestamp = 1<<64-1, 1<<63, 1<<62
	rows[0].NotBefore, rows[0].NotAfter = 1<<63-1, -1<<63
	f := flushOf(1, rows)
	insert(t, s, f)
	complete(t, s, f)
	if n := one(t, s, "SELECT count() FROM {db}.certificates"); n != "110" {
		t.Errorf("%s certificates, want 110", n)
	}
	if n := one(t, s, "SELECT countIf(toString(ts) != '') FROM {db}.entries"); n != "110" {
		t.Errorf("%s entries, want 110", n)
	}
	one(t, s, "SELECT groupBitXor(cityHash64(toString(not_before), toString(not_after))) FROM {db}.certificates")
}

// TestHighestReadsLittle: what it costs does not grow with the range.
func TestHighestReadsLittle(t *testing.T) {
	s, _ := openEngine(t, nil)
	exec(t, s, "INSERT INTO {db}.ledger (log_id, idx, ts, tbs10) SELECT number % 3, intDiv(number, 3), fromUnixTimestamp64Milli(toInt64(1780000000000)), toFixedString('x', 10) FROM numbers(900000) SETTINGS max_insert_threads = 1, max_block_size = 1000000, min_insert_block_size_rows = 1000000")
	read := func() (n uint64) {
		fmt.Sscan(one(t, s, "SELECT sum(value) FROM system.events WHERE event = 'SelectedRows'"), &n)
		return n
	}
	before := read()
	top, ok, err := s.Highest(t.Context(), schema.Range{Log: 1, To: 250_000})
	if err != nil || !ok || top != 249_999 {
		t.Errorf("highest is %d, %v, %v", top, ok, err)
	}
	if n := read() - before; n > 100_000 {
		t.Errorf("it read %d rows", n)
	}
}
