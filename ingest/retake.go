package ingest

import (
	"context"
	"fmt"
	"slices"

	"ctappliance/checkpoint"
	"ctappliance/schema"
)

// A halted log leaves entries behind that it did not vouch for: those between
// a span's verified mark and its cursor. Some of them are not what it signed,
// nobody knows which, and they are in the WAL and in the ledger. When an
// operator lets the log go on, they are taken out and fetched again:
//
//	before  ├────────── span 3 ──────────┤           [from, to)
//	        from     verified     cursor  to
//	after   ├─ span 3 ─┤├──── span 9 ────┤
//
//   - the old span is cut at its verified mark. What the WAL still holds of it
//     beyond that is void: never delivered, never counted, never written again.
//   - a new span begins there, with a frontier that the log has to prove.
//   - before the new span's first insert, and behind the fence that ends every
//     insert of former lives, the ledger's rows of its range are removed.
//
// Both spans come to the disk in one transaction, so a crash at any point
// leaves either nothing done or all of it to do. Rows of other tables stay:
// they say of a certificate that it was seen, which is true of what a log
// served; no entry refers to them.

// retake cuts the halted spans and adds those that fetch again what is cut off.
// It runs before anything else does.
func (a *Appliance) retake() {
	for _, s := range a.spans.all() {
		if s.haltReason() == "" || s.kind == checkpoint.KindRepair {
			continue
		}
		proven := s.verified.Load()
		if proven >= s.cursor.Load() {
			continue // every entry of it is of a signed tree
		}
		for _, r := range a.spans.ofLog(s.log) {
			if r.kind == checkpoint.KindRepair && r.from < s.to && proven < r.to {
				a.retakeRepair(r, max(proven, r.from))
			}
		}
		a.divide(s, proven, s.to)
	}
	// Repairs lie on the verified part of their parents now, or of others.
	for _, s := range a.spans.all() {
		if s.haltReason() != "" && s.kind == checkpoint.KindRepair && s.verified.Load() < s.cursor.Load() {
			a.divide(s, s.verified.Load(), s.to)
		}
	}
}

// retakeRepair cuts a repair where its parent will be fetched again anyway.
func (a *Appliance) retakeRepair(r *span, at uint64) {
	if proven := r.verified.Load(); proven < min(r.cursor.Load(), at) {
		a.divide(r, proven, at)
		return
	}
	r.cut(at)
}

// divide cuts s at an index and adds a span for [at, to).
func (a *Appliance) divide(s *span, at, to uint64) {
	cursor := s.cursor.Load()
	s.cut(at)
	again := a.spans.add(s.log, s.kind, at, to)
	again.sweep.Store(true)
	a.c.Logger.Warn("entries that the log has not vouched for are taken out and fetched again", "span", s.id, "from", at, "to", cursor, "again", again.id)
}

// cut ends the span at an index; see retake.
func (s *span) cut(at uint64) {
	if s.walTo == 0 {
		s.walTo = s.to
	}
	if s.to = at; s.cursor.Load() > at {
		s.cursor.Store(at)
		s.frontier = nil
		s.saved.Store(nil)
	}
	s.verified.Store(min(s.verified.Load(), at))
	s.delivered.Store(min(s.delivered.Load(), at))
}

// end is the end of the span as its stream in the WAL knows it.
func (s *span) end() uint64 {
	if s.walTo != 0 {
		return s.walTo
	}
	return s.to
}

// void says whether a record that begins at an index holds entries that were
// cut off its span.
func (t *spanTable) void(id, from uint64) bool {
	s := t.get(id)
	return s != nil && s.walTo != 0 && from >= s.to
}

// settleOverlaps cuts spans whose retaking only the WAL still knows of: the
// checkpoint that had cut them was lost. Of two spans that overlap, and are no
// repairs, the newer one was made to replace the other from its beginning on.
func (a *Appliance) settleOverlaps() {
	spans := slices.DeleteFunc(a.spans.all(), func(s *span) bool { return s.kind == checkpoint.KindRepair })
	for _, old := range spans {
		for _, s := range spans {
			if s.log == old.log && s.id > old.id && old.from <= s.from && s.from < old.to {
				a.alarm(fmt.Sprintf("span %d overlaps span %d, which has replaced it from %d on; it is cut there", old.id, s.id, s.from))
				old.cut(s.from)
			}
		}
	}
}

// sweepOut removes what the ledger holds of a span that is fetched again, and
// notes that it has. It runs behind the fence.
func (d *deliverer) sweepOut(ctx context.Context, s *span) error {
	r := schema.Range{Log: schema.ShortID(s.log), From: s.from, To: s.to}
	removed, err := d.a.c.Sink.Remove(ctx, r)
	if err != nil {
		return fmt.Errorf("taking out entries [%d,%d) of log %016x, which it has not vouched for: %w", r.From, r.To, r.Log, err)
	}
	d.a.c.Step("swept")
	s.sweep.Store(false)
	if err := d.saveRetrying(ctx, func(tx *checkpoint.Tx) error { return tx.PutSpan(s.save()) }); err != nil {
		s.sweep.Store(true)
		return &fatalError{err}
	}
	d.a.c.Logger.Info("entries taken out of the ledger", "span", s.id, "from", r.From, "rows", removed)
	return nil
}
