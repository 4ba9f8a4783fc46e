package ingest

import (
	"cmp"
	"slices"
	"time"

	"ctappliance/checkpoint"
	"ctappliance/schema"
)

// flush is a cut in the making: rows of consecutive WAL records. They are
// turned into the store's columns as they come, and their memory is used for
// the next record's. Who needs them again reads the WAL again: see
// [deliverer.again] and [deliverer.load].
type flush struct {
	first, next uint64             // WAL seqs [first, next)
	columns     schema.Prepared    // of all rows; nil where they are kept
	parts       [][]schema.Row     // the rows, one per record, where they are kept
	entries     []schema.Range     // of the rows, one per record
	count       int                // rows
	intent      *checkpoint.Intent // that a former life has stored for this cut; nil if it is new
	issuers     map[schema.Hash]schema.Issuer
	ranges      []checkpoint.Range // one per record, in order
	roots       []rootOf
	bytes       int
	month       int // of the rows so far: year·12 + month; -1 if mixed
	since       time.Time
	dated       map[uint64]uint64 // by span: when the log dated the last entry
	holes       []hole            // ranges that the WAL lost, found while this flush was cut
}

type rootOf struct {
	log schema.Hash
	subtree
}

// hole is a range of a span that was acknowledged by the WAL and is no longer
// in it.
type hole struct {
	span     *span
	from, to uint64
}

// newFlush begins a flush whose rows go into columns, or are kept if that is nil.
func newFlush(first uint64, columns schema.Prepared) *flush {
	return &flush{first: first, next: first, columns: columns, issuers: map[schema.Hash]schema.Issuer{}, dated: map[uint64]uint64{}}
}

func (f *flush) empty() bool { return f.count == 0 && f.first == f.next && len(f.holes) == 0 }

// waiting says whether there is something in f that must not wait for more.
func (f *flush) waiting() bool { return f.count > 0 || len(f.holes) > 0 }

// lost notes a range that the WAL does not have any more.
func (f *flush) lost(s *span, from, to uint64) {
	if !f.waiting() {
		f.since = time.Now()
	}
	f.holes = append(f.holes, hole{s, from, to})
}

// add takes a record's rows in.
func (f *flush) add(p *parsed) {
	if !f.waiting() {
		f.since = time.Now()
	}
	if f.count == 0 {
		f.month = monthOf(p.rows)
	} else if m := monthOf(p.rows); m != f.month {
		f.month = -1
	}
	if len(p.rows) > 0 {
		if f.columns != nil {
			f.columns.Add(p.rows)
		} else {
			f.parts = append(f.parts, p.rows)
		}
		f.dated[p.span] = p.rows[len(p.rows)-1].Timestamp
		f.count += len(p.rows)
		f.entries = append(f.entries, schema.Range{Log: p.rows[0].LogID, From: p.from, To: p.to})
	}
	for _, i := range p.issuers {
		f.issuers[i.Fingerprint] = i
	}
	for _, r := range p.roots {
		f.roots = append(f.roots, rootOf{p.log, r})
	}
	if p.to > p.from {
		f.ranges = append(f.ranges, checkpoint.Range{Span: p.span, From: p.from, To: p.to})
	}
	f.bytes += p.bytes
}

// full says whether the flush must be cut before p is added: by size, or where
// the month changes, so that a flush is normally one part of the ledger.
func (f *flush) full(p *parsed, c *Config) bool {
	if f.count == 0 {
		return false
	}
	if f.count+len(p.rows) > c.FlushRows || f.bytes+p.bytes > c.FlushBytes {
		return true
	}
	return f.count >= monthCutRows && f.month >= 0 && monthOf(p.rows) != f.month
}

// monthOf returns year·12 + month of the rows' timestamps; -1 if they differ.
func monthOf(rows []schema.Row) int {
	month := -1
	for i := range rows {
		t := time.UnixMilli(int64(min(rows[i].Timestamp, 1<<52))).UTC()
		m := t.Year()*12 + int(t.Month())
		if i > 0 && m != month {
			return -1
		}
		month = m
	}
	return month
}

// discard gives the columns back.
func (f *flush) discard() {
	if f.columns != nil {
		f.columns.Discard()
		f.columns = nil
	}
}

// materialise lays the flush out for the sink: ranges by log, and the rows in
// ledger order where they are kept. Where they are not and some entry came
// twice there is neither: the columns hold it twice, and what is read again
// has it once.
func (f *flush) materialise(id uint64, generation uint32) *schema.Flush {
	out := &schema.Flush{ID: id, Generation: generation, Ranges: merge(f.entries)}
	if f.columns == nil {
		out.Rows = inOrder(f.parts)
	} else if total(out.Ranges) == uint64(f.count) {
		out.Prepared = f.columns
	}
	f.parts = nil
	for _, i := range f.issuers {
		out.Issuers = append(out.Issuers, i)
	}
	slices.SortFunc(out.Issuers, func(a, b schema.Issuer) int { return slices.Compare(a.Fingerprint[:], b.Fingerprint[:]) })
	return out
}

// total is the number of entries in ranges.
func total(ranges []schema.Range) (n uint64) {
	for _, r := range ranges {
		n += r.Len()
	}
	return n
}

// inOrder returns the rows of records in the ledger's order, each once.
func inOrder(parts [][]schema.Row) []*schema.Row {
	slices.SortFunc(parts, func(a, b []schema.Row) int { return compareEntries(&a[0], &b[0]) })
	count := 0
	for _, part := range parts {
		count += len(part)
	}
	rows := make([]*schema.Row, 0, count)
	for _, part := range parts {
		for i := range part {
			rows = append(rows, &part[i])
		}
	}
	return once(rows)
}

// once leaves out rows of entries that are there twice: a repair may have
// brought entries whose first record is in the same segment, and both are read
// when the segment is delivered once more. Neither a token nor a count stops
// what stands twice in one insert.
func once(rows []*schema.Row) []*schema.Row {
	for i := 1; i < len(rows); i++ {
		if compareEntries(rows[i-1], rows[i]) >= 0 {
			slices.SortStableFunc(rows, compareEntries)
			return slices.CompactFunc(rows, func(a, b *schema.Row) bool { return compareEntries(a, b) == 0 })
		}
	}
	return rows
}

func compareEntries(a, b *schema.Row) int {
	return cmp.Or(cmp.Compare(a.LogID, b.LogID), cmp.Compare(a.Index, b.Index))
}
