package ingest

import (
	"context"
	"errors"
	"slices"
	"syscall"
	"time"

	"ctappliance/checkpoint"
	"ctappliance/schema"
)

// deliverer gets flushes into the store, one after the other:
//
//	cut ──> intent (bbolt) ──> dependents ──> ledger ──> roots ──> mark (bbolt)
//	                              └── anything but success: resolve
//
// It owns the delivered marks, the intents and the position in the WAL behind
// which everything is in the store.
type deliverer struct {
	a    *Appliance
	meta checkpoint.Meta

	strays []uint64 // flushes that may still take effect and are not cut again
	fenced bool     // nothing of a former life can still take effect
	epoch  string   // of the store, in which the last flush went in

	unproven []unproven // delivered in this life, not yet proven for trimming; ascending by seq
	lifeFrom uint64     // the delivered mark at start: what lies below it is read from the WAL to be proven
	pinned   bool       // the last attempt to trim did not succeed
	repeats  int        // how often records were delivered once more
}

// run delivers the flushes that are cut until there are no more. Errors are of
// our own disk or a broken promise of our own code; a store that is away is
// waited for.
func (d *deliverer) run(ctx context.Context, cuts <-chan *flush) error {
	// Trimming follows each flush. It is tried again for itself, because there
	// will be no other flush when the WAL is full of segments that could not be
	// proven at their time.
	trim := time.NewTicker(trimPollEvery)
	defer trim.Stop()
	if _, err := d.look(ctx); err != nil {
		return ignoreStop(ctx, err)
	}
	for {
		select {
		case f, ok := <-cuts:
			if !ok {
				return nil
			}
			if err := d.deliver(ctx, f); err != nil {
				return err
			}
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

// deliver gets f into the store and moves the marks. It returns without
// having done so only when ctx ends.
func (d *deliverer) deliver(ctx context.Context, f *flush) error {
	defer f.discard()
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
		out := f.materialise(intent.ID, intent.Generation)
		defer out.Discard() // columns that were made again
		if err := d.insert(ctx, out, &intent, attempted || doubt); err != nil {
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
	if f.intent != nil {
		return *f.intent, true
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
