package ingest

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"ctappliance/checkpoint"
	"ctappliance/schema"
	"ctappliance/wal"
)

// insert gets a flush into every table. In doubt it proves before it inserts;
// otherwise it inserts once and proves only if that did not succeed.
func (d *deliverer) insert(ctx context.Context, f *schema.Flush, in *checkpoint.Intent, doubt bool) error {
	for tries := 1; ; tries++ {
		err := d.attempt(ctx, f, in, doubt)
		if err == nil {
			d.a.setTrouble("")
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		d.a.insertErrors.Add(1)
		var refused *schema.RefusedError
		if errors.As(err, &refused) {
			if err := d.load(f, in); err != nil {
				return err
			}
			if failed := d.bisect(ctx, f, in, refused, tries); failed != nil {
				err = failed
			}
		}
		doubt = true
		if err := d.wait(ctx, tries, err); err != nil {
			return err
		}
	}
}

// attempt tries a flush once, and notes the life of the store in which it
// began: trim will find that it has ended, if it ends meanwhile.
func (d *deliverer) attempt(ctx context.Context, f *schema.Flush, in *checkpoint.Intent, doubt bool) error {
	epoch, err := d.a.c.Sink.Epoch(ctx)
	if err != nil {
		return err
	}
	if doubt {
		err = d.resolve(ctx, f, in)
	} else {
		err = d.first(ctx, f, in)
	}
	if err != nil {
		return err
	}
	if d.epoch != "" && d.epoch != epoch {
		for _, s := range d.a.spans.all() {
			s.sounded = false
		}
	}
	d.epoch = epoch
	return nil
}

// first is a flush's first attempt: dependents first, the ledger last.
func (d *deliverer) first(ctx context.Context, f *schema.Flush, in *checkpoint.Intent) error {
	d.a.c.Step("dependents")
	if err := d.dependents(ctx, f, in); err != nil {
		return err
	}
	d.a.c.Step("ledger")
	if err := d.a.c.Sink.InsertLedger(ctx, f, nil); err != nil {
		return err
	}
	d.a.c.Step("acknowledged")
	return nil
}

// dependents inserts into every table but the ledger, anew from the WAL where
// the columns that were made when the flush was cut are of no use any more.
func (d *deliverer) dependents(ctx context.Context, f *schema.Flush, in *checkpoint.Intent) error {
	err := d.a.c.Sink.InsertDependents(ctx, f)
	if errors.Is(err, schema.ErrStale) {
		if err = d.again(f, in); err == nil {
			err = d.a.c.Sink.InsertDependents(ctx, f)
		}
	}
	return err
}

// resolve ends all doubt about a flush: it waits until no earlier attempt can
// take effect, writes the dependents again, counts what the ledger holds, and
// inserts exactly what is missing. The first insert keeps the token of the
// attempt, which still stops one that comes late; where the server says yes
// and the rows are not there, it has swallowed them, and the next generation's
// token is new.
func (d *deliverer) resolve(ctx context.Context, f *schema.Flush, in *checkpoint.Intent) error {
	sink := d.a.c.Sink
	d.a.c.Step("resolve")
	if err := d.fence(ctx); err != nil {
		return err
	}
	if err := sink.Fence(ctx, f.ID); err != nil {
		return fmt.Errorf("fencing flush: %w", err)
	}
	if err := d.dependents(ctx, f, in); err != nil {
		return err
	}
	for {
		lacking, err := d.lacking(ctx, f)
		if err != nil {
			return err
		}
		if len(lacking) == 0 {
			return nil
		}
		d.a.c.Step("reinsert")
		d.a.reinserted.Add(uint64(len(lacking)))
		err = sink.InsertLedger(ctx, f, func(log, index uint64) bool { return lacking[entryKey{log, index}] })
		if err != nil {
			return err
		}
		still, err := d.lacking(ctx, f)
		if err != nil {
			return err
		}
		if len(still) == 0 {
			return nil
		}
		if err := d.nextGeneration(ctx, f, in); err != nil {
			return err
		}
	}
}

// again makes the columns of a flush anew from its records in the WAL, one
// after the other, so that no more is held than for any other flush. The same
// records give the same rows.
func (d *deliverer) again(f *schema.Flush, in *checkpoint.Intent) error {
	if f.Rows != nil {
		return nil
	}
	f.Discard()
	columns := d.a.c.Sink.PrepareAgain()
	var n uint64
	var read []schema.Range
	err := d.reparse(f, in, func(p *parsed) {
		columns.Add(p.rows)
		n += uint64(len(p.rows))
		read = append(read, schema.Range{Log: schema.ShortID(p.log), From: p.from, To: p.to})
		d.a.recycle(p)
	})
	// One record twice and another one lost would give as many rows.
	if err == nil && n == total(f.Ranges) && n == total(merge(read)) {
		f.Prepared = columns
		return nil
	}
	columns.Discard()
	if err != nil {
		return err
	}
	return d.load(f, in) // some entry stands there twice, or is not there any more
}

// load reads the rows of a flush from the WAL again, unless they are there: who
// looks for single ones among them cannot use columns. A record that could be
// read when the flush was cut and cannot now ends this life, for its entries are
// in the cut; the next one finds the hole and fetches it again.
func (d *deliverer) load(f *schema.Flush, in *checkpoint.Intent) error {
	if f.Rows != nil {
		return nil
	}
	f.Discard()
	var parts [][]schema.Row
	if err := d.reparse(f, in, func(p *parsed) { parts = append(parts, p.rows) }); err != nil {
		return err
	}
	rows := inOrder(parts)
	if n, want := uint64(len(rows)), total(f.Ranges); n != want {
		return &fatalError{fmt.Errorf("the WAL gives %d of the %d entries of a flush that it had a moment ago: start again, what is lost is fetched again", n, want)}
	}
	f.Rows = rows
	return nil
}

// reparse hands the records of a flush to take, in the WAL's order, as rows that
// are then its own.
func (d *deliverer) reparse(f *schema.Flush, in *checkpoint.Intent, take func(*parsed)) error {
	return d.eachRecord(in.First, in.Next, func(rec wal.Record) error {
		r, err := decodeRecord(rec.Payload)
		if err != nil {
			return &fatalError{fmt.Errorf("WAL record %d: %w", rec.Seq, err)}
		}
		if d.a.spans.void(rec.Stream, r.from) || !covers(f.Ranges, schema.Range{Log: schema.ShortID(r.log), From: r.from, To: r.end()}) {
			return nil // it was a hole when the flush was cut, and a repair fills it
		}
		var p parsed
		if d.a.parseRecord(r, &p); len(p.rows) > 0 {
			take(&p)
		}
		return nil
	})
}

// covers says whether one of the ranges, which are ascending and apart, holds r.
func covers(ranges []schema.Range, r schema.Range) bool {
	i, found := slices.BinarySearchFunc(ranges, r, compareRanges)
	if !found {
		i--
	}
	return i >= 0 && ranges[i].Log == r.Log && ranges[i].From <= r.From && r.To <= ranges[i].To
}

// nextGeneration gives the flush's inserts a token that was never used.
func (d *deliverer) nextGeneration(ctx context.Context, f *schema.Flush, in *checkpoint.Intent) error {
	in.Generation++
	f.Generation = in.Generation
	if err := d.saveRetrying(ctx, func(tx *checkpoint.Tx) error { return tx.PutIntent(*in) }); err != nil {
		return &fatalError{err}
	}
	return nil
}

// entryKey names an entry across logs.
type entryKey struct{ log, index uint64 }

// lacking returns the entries of f that the ledger does not hold. Entries that
// it holds twice are an alarm: nothing here can take one away.
func (d *deliverer) lacking(ctx context.Context, f *schema.Flush) (map[entryKey]bool, error) {
	out := map[entryKey]bool{}
	for from := 0; from < len(f.Ranges); from += maxProveRanges {
		ranges := f.Ranges[from:min(from+maxProveRanges, len(f.Ranges))]
		proofs, err := d.a.c.Sink.Prove(ctx, ranges)
		if err != nil {
			return nil, fmt.Errorf("proving flush: %w", err)
		}
		if len(proofs) != len(ranges) {
			return nil, fmt.Errorf("proving flush: %d answers for %d ranges", len(proofs), len(ranges))
		}
		for _, p := range proofs {
			if p.Count > p.Unique {
				d.a.alarm(fmt.Sprintf("ledger holds %d rows for %d entries of log %016x in [%d,%d)", p.Count, p.Unique, p.Range.Log, p.Range.From, p.Range.To))
			}
			if p.Unique == p.Range.Len() {
				continue
			}
			var have []uint64
			if p.Unique > 0 {
				if have, err = d.a.c.Sink.Indices(ctx, p.Range); err != nil {
					return nil, fmt.Errorf("proving flush: %w", err)
				}
			}
			for i := range missing(p.Range, have) {
				out[entryKey{p.Range.Log, i}] = true
			}
		}
	}
	return out, nil
}

// fatalError is an error of our own disk inside an attempt: no retry helps.
type fatalError struct{ err error }

func (e *fatalError) Error() string { return e.err.Error() }
func (e *fatalError) Unwrap() error { return e.err }
