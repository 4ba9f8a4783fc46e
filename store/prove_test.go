package store

import (
	"math"
	"strings"
	"testing"

	"ctappliance/schema"
)

func TestHolds(t *testing.T) {
	s, _ := openEngine(t, nil)
	const log, last = 7, math.MaxUint64
	ask := func(r schema.Range, want bool) {
		t.Helper()
		got, err := s.Holds(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		if got != want {
			t.Errorf("Holds([%d,%d) of log %d) is %v, want %v", r.From, r.To, r.Log, got, want)
		}
	}
	whole := schema.Range{Log: log, From: 0, To: last}
	ask(whole, false) // an empty table

	rows := rowsOf(log, 100, 3)
	rows = append(rows, rowsOf(log, last-1, 1)...) // the highest index that a range can hold
	insert(t, s, flushOf(1, rows))
	for _, c := range []struct {
		log, from, to uint64
		want          bool
	}{
		{log, 0, last, true},
		{log, 0, 100, false},
		{log, 0, 101, true},
		{log, 102, 103, true},
		{log, 103, last - 1, false},
		{log, 103, last, true},
		{log, last - 1, last, true},
		{log, 100, 100, false}, // an empty range
		{log + 1, 0, last, false},
		{math.MaxUint64, 0, last, false},
	} {
		ask(schema.Range{Log: c.log, From: c.from, To: c.to}, c.want)
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
