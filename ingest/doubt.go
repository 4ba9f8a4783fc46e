package ingest

import (
	"context"
	"errors"
	"fmt"

	"ctappliance/checkpoint"
	"ctappliance/schema"
)

// Doubt is about rows that may be in the ledger although nothing here says
// that they are. It comes from three sides:
//
//   - an insert without an answer: its intent is on disk, and it is resolved;
//   - ground: what the ledger holds above a span's delivered mark, because the
//     data directory, or a part of it, is older than the ledger: lost, damaged,
//     restored from a copy. The ledger is asked, once per span and life;
//   - an insert that a former life has sent and that takes effect yet. It is
//     fenced before anything is counted.
//
// And acknowledged rows are doubted in one case: when the store has been
// started anew since, which trim looks at.

// errEpochChanged means that a proof began in one life of the store and ended
// in another.
var errEpochChanged = errors.New("the store was started anew meanwhile")

// fence ends the doubt about inserts whose flushes are not cut again: when it
// returns, none of them can take effect any more, and the ledger may be
// counted.
func (d *deliverer) fence(ctx context.Context) error {
	if !d.fenced {
		if err := d.a.c.Sink.FenceAll(ctx); err != nil {
			return err
		}
		d.fenced = true
	}
	for len(d.strays) > 0 {
		id := d.strays[0]
		if err := d.a.c.Sink.Fence(ctx, id); err != nil {
			return fmt.Errorf("fencing flush: %w", err)
		}
		if err := d.saveRetrying(ctx, func(tx *checkpoint.Tx) error { return tx.DeleteIntent(id) }); err != nil {
			return &fatalError{err}
		}
		d.strays = d.strays[1:]
	}
	return nil
}

// doubtful says whether rows of f may be in the ledger although no intent says
// so. It waits for a store that is away.
func (d *deliverer) doubtful(ctx context.Context, f *flush) (bool, error) {
	doubt := false
	for _, r := range f.ranges {
		s := d.a.spans.get(r.Span)
		for try := 1; !s.sounded; try++ {
			err := d.sound(ctx, s)
			if err == nil {
				break
			}
			if err := d.wait(ctx, try, err); err != nil {
				return false, err
			}
		}
		// A repair is counted at the last moment: trimming may have put its rows
		// back from the WAL since it was sounded.
		doubt = doubt || s.kind == checkpoint.KindRepair || r.From < s.ground
	}
	return doubt, nil
}

// soundAll sounds every span that has not been. Delivery would do so with a
// span's next flush; a store that lost rows is to be noticed without one too.
func (d *deliverer) soundAll(ctx context.Context) error {
	for _, s := range d.a.spans.all() {
		if s.sounded {
			continue
		}
		if err := d.sound(ctx, s); err != nil {
			return err
		}
	}
	if !d.a.sounded.Swap(true) {
		d.a.progress()
	}
	return nil
}

// sound holds a span's delivered mark against the ledger. Where the ledger is
// ahead, its rows are ground for doubt. Where it is behind, it is older than it
// was; what the WAL no longer has is fetched again, and what it still has is
// left alone by that, for repairs count before they insert.
func (d *deliverer) sound(ctx context.Context, s *span) error {
	if err := d.fence(ctx); err != nil {
		return err
	}
	if s.sweep.Load() {
		if err := d.sweepOut(ctx, s); err != nil {
			return err
		}
	}
	mark, log := s.delivered.Load(), schema.ShortID(s.log)
	top, ahead, err := d.a.c.Sink.Highest(ctx, schema.Range{Log: log, From: mark, To: s.to})
	if err != nil {
		return err
	}
	if mark > s.from && s.kind != checkpoint.KindRepair {
		last, ok, err := d.a.c.Sink.Highest(ctx, schema.Range{Log: log, From: s.from, To: mark})
		if err != nil {
			return err
		}
		end := s.from
		if ok {
			end = last + 1
		}
		if gaps := d.withoutRepairs(schema.Range{Log: log, From: end, To: mark}, s); len(gaps) > 0 {
			d.a.alarm(fmt.Sprintf("the ledger of log %016x ends at %d, and %d was reached: it is older than it was; fetching the difference again", log, end, mark))
			if err := d.repair(ctx, gaps); err != nil {
				return err
			}
		}
	}
	if s.sounded = true; ahead {
		s.ground = top + 1
		d.a.c.Logger.Info("ledger is ahead of the delivered mark, counting before inserting", "span", s.id, "from", mark, "to", s.ground)
	}
	return nil
}

// wait says why delivery waits, and does, the longer the more tries there
// were. It returns err where waiting does not help.
func (d *deliverer) wait(ctx context.Context, tries int, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var fatal *fatalError
	if errors.As(err, &fatal) {
		return err
	}
	pause := min(backoff(min(tries, 8)), storeRetryMax)
	d.a.setTrouble("store: " + err.Error())
	if tries == 1 {
		d.a.c.Logger.Warn("store does not do as asked", "err", err, "retry_in", pause)
	}
	d.a.c.Step("retry")
	if !sleep(ctx, pause) {
		return ctx.Err()
	}
	return nil
}
