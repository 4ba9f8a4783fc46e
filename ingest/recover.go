package ingest

import (
	"errors"
	"fmt"
	"io"

	"ctappliance/checkpoint"
	"ctappliance/wal"
)

// recover brings checkpoint and WAL together. The checkpoint is a snapshot,
// the WAL is the truth: its streams' newest states are the cursors.
func (a *Appliance) recover() error {
	state, err := a.checkpoint.Load()
	if err != nil {
		return err
	}
	a.start = state
	a.lifeStart = a.wal.Next()
	fresh := state.Meta.Writer == 0
	if fresh {
		state.Meta = checkpoint.Meta{DeliveredSeq: a.wal.First()}
	}
	state.Meta.Writer, state.Meta.NextFlush = newWriter(), 1
	for _, c := range state.Spans {
		s, err := restore(c)
		if err != nil {
			return err
		}
		a.spans.byID[s.id] = s
		a.spans.next = max(a.spans.next, s.id+1)
	}
	if err := a.adoptStreams(); err != nil {
		return err
	}
	a.settleOverlaps()
	if a.c.ResumeHalted {
		a.retake()
	}
	a.fedFrom = map[uint64]uint64{}
	for id, s := range a.spans.byID {
		a.fedFrom[id] = s.delivered.Load()
		a.recovered[id] = s.cursor.Load()
	}
	if fresh && a.wal.Next() > a.wal.First() {
		a.alarm("checkpoint was missing; spans come from the WAL, what was delivered is counted")
		if err := a.rebuildMarks(); err != nil {
			return err
		}
	}
	if seq := state.Meta.DeliveredSeq; seq > a.wal.Next() || seq < a.wal.First() {
		if seq > a.wal.Next() {
			a.alarm(fmt.Sprintf("checkpoint is ahead of the WAL: delivered up to record %d, the WAL ends at %d; the WAL was lost or exchanged", seq, a.wal.Next()))
		}
		state.Meta.DeliveredSeq = min(max(seq, a.wal.First()), a.wal.Next())
	}
	changed := a.sortIntents(state)
	for _, s := range a.spans.byID {
		if a.c.ResumeHalted {
			s.halted.Store(nil)
		}
	}
	return a.checkpoint.Update(func(tx *checkpoint.Tx) error {
		errs := []error{tx.PutMeta(state.Meta)}
		for _, in := range changed {
			errs = append(errs, tx.PutIntent(in))
		}
		for _, s := range a.spans.byID {
			errs = append(errs, tx.PutSpan(s.save()))
		}
		return errors.Join(errs...)
	})
}

// sortIntents leaves in state the one intent whose cut can be repeated, and
// turns the others into strays: their rows come again some other way, and by
// then their inserts must be over.
func (a *Appliance) sortIntents(state *checkpoint.State) (changed []checkpoint.Intent) {
	var keep []checkpoint.Intent
	for _, in := range state.Intents {
		if !in.Fence && in.First == state.Meta.DeliveredSeq && in.Next > in.First && in.Next <= a.wal.Next() {
			keep = append(keep, in)
			continue
		}
		if !in.Fence {
			in.Fence = true
			changed = append(changed, in)
		}
		a.strays = append(a.strays, in.ID)
	}
	state.Intents = keep
	return changed
}

// adoptStreams moves the spans to where the WAL says they are, and brings back
// those that the checkpoint does not know.
func (a *Appliance) adoptStreams() error {
	for id, state := range a.wal.States() {
		p, err := unmarshalPosition(state)
		if err != nil {
			return fmt.Errorf("WAL stream %d: %w", id, err)
		}
		s := a.spans.byID[id]
		if s == nil {
			s = &span{id: id, log: p.log, kind: p.kind, from: p.from, to: p.to}
			s.delivered.Store(p.from)
			s.verified.Store(p.from)
			a.spans.byID[id] = s
			a.spans.next = max(a.spans.next, id+1)
		}
		if s.log != p.log || s.from != p.from || s.end() != p.to {
			return fmt.Errorf("span %d is [%d,%d) of log %x in the WAL and [%d,%d) of log %x in the checkpoint: they do not belong together",
				id, p.from, p.to, p.log[:4], s.from, s.end(), s.log[:4])
		}
		cursor := p.frontier.Size()
		if cursor > s.to { // cut since: see retake
			s.cursor.Store(s.to)
			continue
		}
		if c := s.cursor.Load(); c > cursor {
			// The WAL forgot what the checkpoint has seen: acknowledged records are
			// gone. Go on from the checkpoint's cursor; the hole is fetched again.
			a.alarm(fmt.Sprintf("the WAL ends at %d for span %d, the checkpoint has seen %d; the difference is fetched again", cursor, id, c))
			continue
		}
		s.cursor.Store(cursor)
		s.frontier = p.frontier
		s.saved.Store(&savedPosition{cursor, state[positionHeader:]})
	}
	return nil
}

// rebuildMarks finds the delivered marks when the checkpoint is gone: a
// span's first record that the WAL still holds begins there, for what lies
// below it was trimmed, and only what is proven is. Where damage comes before
// that record, the span stood where the WAL knows it to have been before the
// damage, and if it does not know, at the span's beginning.
func (a *Appliance) rebuildMarks() error {
	first := map[uint64]uint64{}
	reader := a.wal.Reader(a.wal.First())
	defer reader.Close()
	for {
		rec, err := reader.Next()
		var damage *wal.CorruptError
		if errors.As(err, &damage) { // replay will say so
			for id, s := range a.spans.byID {
				if _, ok := first[id]; !ok {
					first[id] = a.before(damage, s)
				}
			}
			continue
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("reading WAL: %w", err)
		}
		if _, ok := first[rec.Stream]; ok || len(rec.Payload) == 0 {
			continue
		}
		if _, from, _, err := RecordRange(rec.Payload); err == nil {
			first[rec.Stream] = from
		}
	}
	for id, s := range a.spans.byID {
		mark, ok := first[id]
		if !ok {
			mark = s.cursor.Load()
		}
		mark = min(max(mark, s.from), s.to)
		s.delivered.Store(mark)
		a.fedFrom[id] = mark
	}
	return nil
}

// before returns where a span stood before a damaged stretch of the WAL: its
// beginning, if the WAL does not know.
func (a *Appliance) before(e *wal.CorruptError, s *span) uint64 {
	for _, d := range a.wal.Damage() {
		if d.Segment != e.Segment || d.FirstSeq > e.FirstSeq || d.NextSeq < e.NextSeq {
			continue
		}
		if p, err := unmarshalPosition(d.Before[s.id]); err == nil {
			return p.frontier.Size()
		}
	}
	return s.from
}
