package store

import (
	"math"
	"strings"
	"testing"

	"ctappliance/schema"
)

func TestHighest(t *testing.T) {
	s, _ := openEngine(t, nil)
	const log, last = 7, math.MaxUint64
	const none = math.MaxUint64
	ask := func(r schema.Range, want uint64) {
		t.Helper()
		got, ok, err := s.Highest(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			got = none
		}
		if got != want {
			t.Errorf("the highest of [%d,%d) of log %d is %d (%v), want %d", r.From, r.To, r.Log, got, ok, want)
		}
	}
	ask(schema.Range{Log: log, From: 0, To: last}, none) // an empty table

	rows := rowsOf(log, 100, 3)
	rows = append(rows, rowsOf(log, last-1, 1)...) // the highest index that a range can hold
	insert(t, s, flushOf(1, rows))
	for _, c := range []struct{ log, from, to, want uint64 }{
		{log, 0, last, last - 1},
		{log, 0, 100, none},
		{log, 0, 101, 100},
		{log, 0, 103, 102},
		{log, 102, 103, 102},
		{log, 103, last - 1, none},
		{log, 103, last, last - 1},
		{log, last - 1, last, last - 1},
		{log, 100, 100, none}, // an empty range
		{log + 1, 0, last, none},
		{math.MaxUint64, 0, last, none},
	} {
		ask(schema.Range{Log: c.log, From: c.from, To: c.to}, c.want)
	}
}

// TestProveBlocks: ranges are counted together as each of them alone, wherever
// they lie in the blocks by which their rows are found.
func TestProveBlocks(t *testing.T) {
	s, _ := openEngine(t, nil)
	const last = math.MaxUint64
	logs := []uint64{3, math.MaxUint64}
	var rows []schema.Row
	for _, log := range logs {
		for _, at := range []uint64{0, proveBlock - 2, 3*proveBlock - 1, 1<<40 - 1, last - 3} {
			rows = append(rows, rowsOf(log, at, 3)...)
		}
	}
	f := flushOf(1, rows)
	insert(t, s, f)
	insert(t, s, flushOf(2, rows[:7])) // doubled
	edges := []uint64{0, 1, 3, proveBlock - 1, proveBlock, proveBlock + 1, 3*proveBlock - 1, 3 * proveBlock, 3*proveBlock + 1, 4 * proveBlock, 1<<40 - 2, 1<<40 - 1, 1 << 40, 1<<40 + 2, last - 3, last - 2, last}
	var ranges []schema.Range
	for _, log := range logs {
		for i, from := range edges {
			for _, to := range edges[i:] {
				if to-from <= 5*proveBlock {
					ranges = append(ranges, schema.Range{Log: log, From: from, To: to})
				}
			}
		}
	}
	together, err := s.Prove(t.Context(), ranges)
	if err != nil {
		t.Fatal(err)
	}
	counted := uint64(0)
	for i, r := range ranges {
		want := schema.Proof{Range: r}
		seen := map[uint64]bool{}
		for k := range rows {
			if row := &rows[k]; row.LogID == r.Log && r.From <= row.Index && row.Index < r.To {
				want.Count++
				want.XOR ^= schema.RowHash(row.TBSID, row.Index)
				seen[row.Index] = true
				if k < 7 {
					want.Count++
					want.XOR ^= schema.RowHash(row.TBSID, row.Index)
				}
			}
		}
		want.Unique = uint64(len(seen))
		counted += want.Count
		if together[i] != want {
			t.Errorf("%+v of many, want %+v", together[i], want)
		}
		if i%17 > 0 {
			continue
		}
		alone, err := s.Prove(t.Context(), ranges[i:i+1])
		if err != nil {
			t.Fatal(err)
		}
		if alone[0] != want {
			t.Errorf("%+v alone, want %+v", alone[0], want)
		}
	}
	if counted == 0 {
		t.Error("nothing was counted")
	}
}

// TestProveTogether: one query counts as many ranges as it does sooner than as
// many queries.
func TestProveTogether(t *testing.T) {
	for _, c := range []struct {
		name          string
		logs, n       uint64
		length, every uint64
		least, most   int
	}{
		{"one", 1, 1, proveLen, 0, 1, 1},
		{"the tail of sixty logs", 60, 60, 80, 0, 60, 60},
		{"the pages of a log, one behind the other", 1, 64, 256, 256, 48, 64},
		{"more than one query takes", 65, 65, 10, 0, proveRanges, proveRanges},
		{"the same range", 1, 64, 256, 0, 64, 64},
		{"pages of a log, far apart", 1, 64, 256, 1 << 20, 8, 16},
		{"long ones of a log", 1, 64, 1 << 16, 1 << 16, 2, 8},
		{"the longest of a log", 1, 2, proveLen, proveLen, 1, 1},
		{"long ones of some logs", 4, 64, 1 << 16, 1 << 16, 6, 24},
	} {
		var pieces []piece
		for i := range c.n {
			from := i * c.every
			pieces = append(pieces, piece{int(i), schema.Range{Log: i % c.logs, From: from, To: from + c.length}})
		}
		if n := together(pieces); n < c.least || n > c.most {
			t.Errorf("%s: %d together, want %d to %d", c.name, n, c.least, c.most)
		}
	}
	if n := together([]piece{{0, schema.Range{From: 1 << 40, To: math.MaxUint64}}, {1, schema.Range{From: 1, To: 2}}}); n != 1 {
		t.Errorf("%d together with what is longer than any log", n)
	}
}

func TestProveRefusesAbsurdRanges(t *testing.T) {
	s, _ := openEngine(t, nil)
	rows := rowsOf(1, 10, 5)
	f := flushOf(1, rows)
	insert(t, s, f)
	for _, c := range []struct {
		from, to uint64
		want     string // of the error; empty: none
	}{
		{0, math.MaxUint64, "longer than any log"},
		{0, maxProve + 1, "longer than any log"},
		{12, 11, "upside down"},
		{math.MaxUint64, 0, "upside down"},
		{10, 15, ""},
		{math.MaxUint64 - 5, math.MaxUint64, ""}, // far, not long
		{10, 10, ""},
	} {
		// What is wrong with one range of a list must not be hidden by the others.
		proofs, err := s.Prove(t.Context(), []schema.Range{f.Ranges[0], {Log: 1, From: c.from, To: c.to}})
		switch {
		case c.want == "" && err != nil:
			t.Errorf("[%d,%d): %v", c.from, c.to, err)
		case c.want == "" && (len(proofs) != 2 || proofs[0].Count != 5):
			t.Errorf("[%d,%d): proofs are %+v", c.from, c.to, proofs)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("[%d,%d): error is %v, want one that says %q", c.from, c.to, err, c.want)
		}
	}
}
