package ingest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"syscall"
	"time"

	"ctappliance/checkpoint"
	"ctappliance/schema"
)

// deliverer cuts flushes and gets them into the store, one after the other:
//
//	cut ──> intent (bbolt) ──> dependents ──> ledger ──> roots ──> mark (bbolt)
//	                              └── anything but success: resolve
//
// It owns the delivered marks, the intents and the position in the WAL behind
// which everything is in the store.
type deliverer struct {
	a    *Appliance
	meta checkpoint.Meta

	// intents are cuts that a former life may have attempted; they are cut the
	// same way again and resolved.
	intents []checkpoint.Intent
	strays  []uint64          // flushes that may still take effect and are not cut again
	fenced  bool              // nothing of a former life can still take effect
	fed     map[uint64]uint64 // by span: the end of what was taken into flushes
	resumed bool              // everything that former lives wrote has been taken
	epoch   string            // of the store, in which the last flush went in

	unproven []unproven // delivered in this life, not yet proven for trimming; ascending by seq
	lifeFrom uint64     // the delivered mark at start: what lies below it is read from the WAL to be proven
	pinned   bool       // the last attempt to trim did not succeed
	repeats  int        // how often records were delivered once more
}

// run delivers what in brings until it is closed. Errors are of our own disk
// or a broken promise of our own code; a store that is away is waited for.
func (d *deliverer) run(ctx context.Context, in <-chan *parsed) error {
	f := newFlush(d.meta.DeliveredSeq)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	// Trimming follows each flush. It is tried again for itself, because there
	// will be no other flush when the WAL is full of segments that could not be
	// proven at their time.
	trim := time.NewTicker(trimPollEvery)
	defer trim.Stop()
	if _, err := d.look(ctx); err != nil {
		return ignoreStop(ctx, err)
	}
	for {
		var due <-chan time.Time
		if f.waiting() && len(d.intents) == 0 {
			timer.Reset(time.Until(f.since.Add(d.a.c.FlushInterval)))
			due = timer.C
		}
		select {
		case p, ok := <-in:
			if !ok {
				return nil // stopping is a polite crash: the WAL has the rest
			}
			if d.mustCut(f, p) {
				if len(d.intents) > 0 {
					f.next = d.intents[0].Next // what is missing below it is lost
				}
				if err := d.deliver(ctx, f); err != nil {
					return err
				}
				f = newFlush(p.seq)
			}
			if err := d.take(f, p); err != nil {
				return err
			}
			if d.nothingToCome(f) {
				if err := d.deliver(ctx, f); err != nil {
					return err
				}
				f = newFlush(f.next)
			}
		case <-d.a.hurry:
			if d.nothingToCome(f) {
				if err := d.deliver(ctx, f); err != nil {
					return err
				}
				f = newFlush(f.next)
			}
		case <-due:
			if err := d.deliver(ctx, f); err != nil {
				return err
			}
			f = newFlush(f.next)
		case <-trim.C:
			if err := d.poll(ctx); err != nil {
				return ignoreStop(ctx, err)
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// poll does what must not wait for another flush.
func (d *deliverer) poll(ctx context.Context) error {
	if sound, err := d.look(ctx); !sound || err != nil {
		return err
	}
	return d.trim(ctx)
}

// look sounds what has not been sounded. A store that is away is asked again at
// the next poll.
func (d *deliverer) look(ctx context.Context) (sound bool, err error) {
	err = d.soundAll(ctx)
	var fatal *fatalError
	switch {
	case errors.As(err, &fatal):
		return false, err
	case err != nil:
		d.a.c.Logger.Debug("spans not sounded", "err", err)
		return false, ctx.Err()
	}
	return true, nil
}

// nothingToCome says whether f may be cut early because every span has been
// fetched to its end and f holds the last of it.
func (d *deliverer) nothingToCome(f *flush) bool {
	return d.a.c.UntilDone && !f.empty() && d.resumed && d.a.fetchedAll() && f.next == d.a.wal.Next()
}

// mustCut says whether f ends before p. A cut that was attempted before is
// repeated exactly; new ones follow size, month and time.
func (d *deliverer) mustCut(f *flush, p *parsed) bool {
	if len(d.intents) > 0 {
		return p.seq >= d.intents[0].Next
	}
	if p.resumed {
		return !f.empty()
	}
	return f.full(p, d.a.c)
}

// take adds a record to the flush and notices what is missing before it.
func (d *deliverer) take(f *flush, p *parsed) error {
	if p.resumed {
		d.resumed = true
		// Where a span's cursor is ahead of what the WAL gave, the difference was
		// acknowledged and is lost.
		for _, s := range d.a.spans.all() {
			if end, ok := d.a.recovered[s.id]; ok && d.fed[s.id] < end {
				f.lost(s, d.fed[s.id], end)
				d.fed[s.id] = end
			}
		}
		f.next = p.seq
		return nil
	}
	f.next = p.seq + 1
	if p.to == p.from || d.a.spans.void(p.span, p.from) {
		return nil // a forgotten stream, or what is fetched again
	}
	s := d.a.spans.get(p.span)
	if s == nil {
		return fmt.Errorf("WAL record %d belongs to span %d, which nobody knows", p.seq, p.span)
	}
	at, ok := d.fed[s.id]
	if !ok {
		at = s.delivered.Load()
	}
	switch {
	case p.rows == nil:
		f.lost(s, p.from, p.to)
	case p.from > at:
		f.lost(s, at, p.from)
		f.add(p)
	case p.from < at:
		return fmt.Errorf("WAL record %d holds [%d,%d) of span %d, which is at %d already", p.seq, p.from, p.to, s.id, at)
	default:
		f.add(p)
	}
	d.fed[s.id] = p.to
	return nil
}

// deliver gets f into the store and moves the marks. It returns without
// having done so only when ctx ends.
func (d *deliverer) deliver(ctx context.Context, f *flush) error {
	if f.empty() {
		return nil
	}
	intent, attempted := d.intentOf(f)
	if f.count > 0 {
		if err := d.saveRetrying(ctx, func(tx *checkpoint.Tx) error {
			return errors.Join(tx.PutIntent(intent), tx.PutMeta(d.meta))
		}); err != nil {
			return ignoreStop(ctx, err)
		}
		d.a.c.Step("intent")
		doubt, err := d.doubtful(ctx, f)
		if err != nil {
			return ignoreStop(ctx, err)
		}
		if err := d.insert(ctx, f.materialise(intent.ID, intent.Generation), &intent, attempted || doubt); err != nil {
			return ignoreStop(ctx, err)
		}
	} else if attempted {
		// The WAL lost all of it. What comes instead is counted, so what was
		// attempted must be over.
		d.strays = append(d.strays, intent.ID)
	}
	if err := d.finish(ctx, f, intent); err != nil {
		return ignoreStop(ctx, err)
	}
	d.a.c.Step("delivered")
	d.a.delivered.add(uint64(f.count))
	d.a.lastDelivery.Store(time.Now().UnixNano())
	return nil
}

// intentOf returns the stored intent of this very cut, or a new one.
func (d *deliverer) intentOf(f *flush) (in checkpoint.Intent, attempted bool) {
	if len(d.intents) > 0 && d.intents[0].Next == f.next {
		in, d.intents = d.intents[0], d.intents[1:]
		return in, true
	}
	in = checkpoint.Intent{ID: d.meta.Writer<<40 | d.meta.NextFlush, First: f.first, Next: f.next, Ranges: f.ranges}
	d.meta.NextFlush++
	return in, false
}

// finish makes everything durable that follows from the rows being there:
// subtree roots first, then, in one transaction, the marks, the new repair
// spans, and the intent's end.
func (d *deliverer) finish(ctx context.Context, f *flush, intent checkpoint.Intent) error {
	if err := d.retryDiskFull(ctx, func() error {
		for _, r := range f.roots {
			if err := d.a.roots.put(r.log, r.subtree); err != nil {
				return err
			}
		}
		return d.a.roots.sync()
	}); err != nil {
		return err
	}
	meta := d.meta
	meta.DeliveredSeq = f.next
	if f.count > 0 && d.epoch != meta.Epoch {
		meta.Epoch, meta.EpochSeq = d.epoch, f.first
	}
	ends := map[uint64]uint64{}
	for _, r := range f.ranges {
		ends[r.Span] = max(ends[r.Span], r.To)
	}
	var repairs []*span
	for _, h := range f.holes {
		ends[h.span.id] = max(ends[h.span.id], h.to)
		repairs = append(repairs, d.newRepair(h))
	}
	intent.Fence = slices.Contains(d.strays, intent.ID)
	err := d.saveRetrying(ctx, func(tx *checkpoint.Tx) error {
		errs := []error{tx.PutMeta(meta)}
		if intent.Fence {
			errs = append(errs, tx.PutIntent(intent))
		} else {
			errs = append(errs, tx.DeleteIntent(intent.ID))
		}
		for id, end := range ends {
			c := d.a.spans.get(id).save()
			c.Delivered = end
			errs = append(errs, tx.PutSpan(c))
		}
		for _, s := range repairs {
			errs = append(errs, tx.PutSpan(s.save()))
		}
		return errors.Join(errs...)
	})
	if err != nil {
		return err
	}
	d.meta = meta
	for id, end := range ends {
		s := d.a.spans.get(id)
		s.delivered.Store(end)
		if at, ok := f.dated[id]; ok {
			s.dated.Store(at)
		}
		if s.done() {
			d.a.c.Logger.Info("span delivered", "span", id, "kind", s.kind, "from", s.from, "to", s.to)
		}
	}
	d.a.deliveredSeq.Store(meta.DeliveredSeq)
	for _, r := range f.ranges {
		d.unproven = append(d.unproven, unproven{seq: f.next - 1, Range: d.rangeOf(r)})
	}
	for _, s := range repairs {
		d.a.startSpan(s)
	}
	d.a.progress()
	return d.trim(ctx)
}

// newRepair enters a span that fetches a hole again. The caller saves it.
func (d *deliverer) newRepair(h hole) *span {
	repair := d.a.spans.add(h.span.log, checkpoint.KindRepair, h.from, h.to)
	d.a.c.Logger.Warn("range lost from WAL, fetching it again", "span", h.span.id, "from", h.from, "to", h.to)
	return repair
}

// saveRetrying writes the checkpoint. A full disk is waited out: bbolt has
// rolled the transaction back. Any other error is fatal (I7).
func (d *deliverer) saveRetrying(ctx context.Context, fn func(*checkpoint.Tx) error) error {
	return d.retryDiskFull(ctx, func() error { return d.a.checkpoint.Update(fn) })
}

func (d *deliverer) retryDiskFull(ctx context.Context, fn func() error) error {
	for {
		err := fn()
		if !errors.Is(err, syscall.ENOSPC) {
			return err
		}
		d.a.setTrouble("disk full: " + err.Error())
		if !sleep(ctx, diskFullRetry) {
			return ctx.Err()
		}
		d.a.setTrouble("")
	}
}

// ignoreStop drops err where it is only our stopping.
func ignoreStop(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// missing returns the parts of r that indices leaves out.
func missing(r schema.Range, indices []uint64) map[uint64]bool {
	have := make(map[uint64]bool, len(indices))
	for _, i := range indices {
		have[i] = true
	}
	out := map[uint64]bool{}
	for i := r.From; i < r.To; i++ {
		if !have[i] {
			out[i] = true
		}
	}
	return out
}
