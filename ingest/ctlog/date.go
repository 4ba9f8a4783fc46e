package ctlog

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"
)

const (
	// maxDateSlack bounds by how much IndexAt steps back. RFC 6962 logs promise
	// to put an entry into the tree within a day, and do it within minutes.
	maxDateSlack = time.Hour

	// dateRetries is how many requests of one search may fail.
	dateRetries = 4

	// maxUndated is how many neighbours are asked in place of an entry that
	// bears no date.
	maxUndated = 3
)

// IndexAt returns an index from which on a log has all its entries that are
// dated t or later, as far as a log promises any order: entries are dated when
// they are submitted, and stand in the order in which they were taken into the
// tree.
//
// No entry before the index is dated t or later, if none was taken in later
// than the slack after its date; the slack is the log's MMD, at most an hour,
// and an hour if the MMD is not known. From the index on there is what was
// taken in during the slack before t, too, and nothing older. It is 0 if the
// log begins after t, head.Size if the head is older than t.
//
// It takes a request per halving, at most 40 for a log of 2^40 entries, and 8
// fewer where entries come in tiles, each through the pacer. A few failures
// are tried again; then the error of the last one is returned.
func IndexAt(ctx context.Context, log Log, head *Head, t time.Time) (uint64, error) {
	slack := maxDateSlack
	if mmd := log.Info().MMD; mmd > 0 {
		slack = min(slack, mmd)
	}
	if head.Timestamp > 0 && t.UnixMilli() > int64(min(head.Timestamp, maxTimestamp)) {
		return head.Size, nil // no entry is younger than its head
	}
	from := t.Add(-slack).UnixMilli()
	if from <= 0 {
		return 0, nil
	}
	bound := uint64(from)
	d := &dater{log: log, head: head, retries: dateRetries}
	// What is dated before the bound lies left of lo, the rest from hi on.
	lo, hi := uint64(0), head.Size
	for lo < hi {
		first, dates, err := d.dates(ctx, lo+(hi-lo)/2, hi)
		if err != nil {
			return 0, fmt.Errorf("looking for the first entry of %s: %w", t.UTC().Format(time.RFC3339), err)
		}
		end := first + uint64(len(dates))
		if first < lo {
			dates, first = dates[lo-first:], lo
		}
		if end > hi {
			dates, end = dates[:hi-first], hi
		}
		switch {
		case dates[0] >= bound:
			hi = first
		case dates[len(dates)-1] < bound:
			lo = end
		default:
			// The step is in here.
			a, b := 0, len(dates)-1
			for a+1 < b {
				if m := a + (b-a)/2; dates[m] >= bound {
					b = m
				} else {
					a = m
				}
			}
			return first + uint64(b), nil
		}
	}
	return lo, nil
}

// dater fetches the dates of entries.
type dater struct {
	log     Log
	head    *Head
	retries int
}

// dates returns the dates, in milliseconds since 1970, of entry i and of those
// that came with it, below end. They begin at index first.
func (d *dater) dates(ctx context.Context, i, end uint64) (first uint64, dates []uint64, err error) {
	for at := i; ; at++ {
		b, err := d.entry(ctx, at)
		if err != nil {
			return 0, nil, err
		}
		entries := b.Entries
		first = b.From
		if b.Tile != nil {
			tile, err := DecodeTile(b.From-uint64(b.TileSkip), b.Tile, b.TileGzip)
			if err != nil {
				return 0, nil, err
			}
			first, entries = b.From-uint64(b.TileSkip), tile
		}
		dates, dated := datesOf(entries)
		if dated {
			// Entries that bear no date have their neighbour's: i to at too.
			for ; first > i; first-- {
				dates = append([]uint64{dates[0]}, dates...)
			}
			return first, dates, nil
		}
		if at+1 == end {
			return i, []uint64{math.MaxUint64}, nil // what follows is not before the bound either
		}
		if at-i == maxUndated {
			return 0, nil, fmt.Errorf("entries %d to %d bear no date", i, at)
		}
	}
}

// datesOf returns the entries' dates; one that bears none has that of the last
// one that does.
func datesOf(entries []Entry) (dates []uint64, dated bool) {
	dates = make([]uint64, len(entries))
	for i, e := range entries {
		leaf, err := ParseLeaf(e.Leaf)
		if err != nil && (!errors.Is(err, ErrUnknownLeaf) || leaf.Version != 0 || leaf.Type != 0) {
			if i > 0 {
				dates[i] = dates[i-1]
			}
			continue
		}
		dates[i] = leaf.Timestamp
		for j := i - 1; j >= 0 && !dated; j-- {
			dates[j] = leaf.Timestamp
		}
		dated = true
	}
	return dates, dated
}

// entry fetches one entry.
func (d *dater) entry(ctx context.Context, i uint64) (*Batch, error) {
	for {
		b, err := d.log.Entries(ctx, i, i+1, d.head.Size)
		if err == nil || ctx.Err() != nil || d.retries == 0 {
			return b, err
		}
		d.retries--
	}
}
