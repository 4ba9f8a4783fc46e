package ingest

import (
	"testing"

	"ctappliance/schema"
)

// A flush that repeats a segment may meet entries twice: in their first record,
// and in that of the repair that brought them again. The insert has them once.
func TestFlushHasEntriesOnce(t *testing.T) {
	record := func(span, log, from, to uint64) *parsed {
		p := &parsed{span: span, from: from, to: to}
		for i := from; i < to; i++ {
			p.rows = append(p.rows, schema.Row{LogID: log, Index: i})
		}
		return p
	}
	for name, records := range map[string][]*parsed{
		"the same":          {record(1, 7, 250, 256), record(2, 7, 250, 256)},
		"a part":            {record(1, 7, 200, 300), record(2, 7, 250, 256)},
		"a part, and order": {record(2, 7, 250, 256), record(1, 7, 200, 300)},
		"across two":        {record(1, 7, 200, 250), record(1, 7, 250, 300), record(2, 7, 240, 260)},
		"two logs":          {record(1, 7, 200, 250), record(3, 9, 200, 250), record(2, 7, 210, 220)},
		"three times":       {record(1, 7, 200, 250), record(2, 7, 200, 250), record(3, 7, 200, 250)},
		"none":              {record(1, 7, 200, 250), record(1, 7, 250, 251), record(3, 9, 0, 1)},
	} {
		f := newFlush(0, nil)
		want := map[entryKey]bool{}
		for _, p := range records {
			f.add(p)
			for _, r := range p.rows {
				want[entryKey{r.LogID, r.Index}] = true
			}
		}
		out := f.materialise(1, 0)
		seen := map[entryKey]bool{}
		for _, r := range out.Rows {
			k := entryKey{r.LogID, r.Index}
			if seen[k] {
				t.Errorf("%s: entry %v stands twice in one insert", name, k)
			}
			seen[k] = true
		}
		ranges := uint64(0)
		for _, r := range out.Ranges {
			ranges += r.Len()
		}
		if len(seen) != len(want) || ranges != uint64(len(want)) {
			t.Errorf("%s: %d entries, ranges of %d, want %d", name, len(seen), ranges, len(want))
		}
	}
}

// Where an entry comes twice into columns they cannot be inserted.
func TestEntryTwiceInColumns(t *testing.T) {
	for name, test := range map[string]struct {
		second uint64
		usable bool
	}{"apart": {10, true}, "twice": {9, false}} {
		f := newFlush(1, &memColumns{})
		for _, from := range []uint64{0, test.second} {
			p := &parsed{span: 1, from: from, to: from + 10}
			for i := from; i < from+10; i++ {
				p.rows = append(p.rows, schema.Row{LogID: 7, Index: i})
			}
			f.add(p)
		}
		out := f.materialise(1, 0)
		if usable := out.Prepared != nil; usable != test.usable || out.Rows != nil || len(out.Ranges) != 1 || out.Ranges[0].Len() != 10+test.second {
			t.Errorf("%s: usable is %v, %d rows, ranges %v", name, usable, len(out.Rows), out.Ranges)
		}
	}
}
