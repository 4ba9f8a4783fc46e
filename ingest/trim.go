package ingest

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"ctappliance/checkpoint"
	"ctappliance/schema"
	"ctappliance/wal"
)

// unproven is a delivered range whose WAL records may not be trimmed yet.
type unproven struct {
	seq uint64 // the WAL holds it up to this record
	schema.Range
}

func (d *deliverer) rangeOf(r checkpoint.Range) schema.Range {
	return schema.Range{Log: schema.ShortID(d.a.spans.get(r.Span).log), From: r.From, To: r.To}
}

// trim deletes the segments that are delivered whole and settled (I3). Of those
// whose rows had to be written again it deletes one: after a restart there may
// be some, and new entries must not wait for all of them.
func (d *deliverer) trim(ctx context.Context) error {
	defer func(was bool) {
		if was && !d.pinned {
			d.a.setTrouble("")
		}
	}(d.pinned)
	for _, seg := range d.a.wal.Segments() {
		if seg.Active || seg.NextSeq > d.meta.DeliveredSeq {
			break
		}
		repeats := d.repeats
		if err := d.settle(ctx, seg); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			var fatal *fatalError
			if errors.As(err, &fatal) {
				return err
			}
			// The store is away or slow: the segment stays, and is tried again.
			d.a.setTrouble("store: WAL not trimmed: " + err.Error())
			if !d.pinned {
				d.a.c.Logger.Warn("segment not proven", "segment", seg.Name, "err", err)
			}
			d.pinned = true
			return nil
		}
		d.pinned = false
		d.a.c.Step("trim")
		if err := d.a.wal.Trim(seg.NextSeq); err != nil {
			return fmt.Errorf("trimming WAL: %w", err)
		}
		keep := 0
		for keep < len(d.unproven) && d.unproven[keep].seq < seg.NextSeq {
			keep++
		}
		d.unproven = d.unproven[keep:]
		if d.repeats != repeats {
			break
		}
	}
	return nil
}

// rangesBelow returns the ranges of the segment's records: from memory for
// what this life delivered, from the records' headers for older ones.
func (d *deliverer) rangesBelow(seg wal.SegmentInfo) ([]schema.Range, error) {
	var out []schema.Range
	for _, u := range d.unproven {
		if u.seq >= seg.BaseSeq {
			out = append(out, u.Range)
		}
		if u.seq >= seg.NextSeq {
			break // a flush reaches over the segment's end; its rest is harmless
		}
	}
	// What cannot be read was delivered, or became a repair span. Either way
	// it is counted like the rest.
	for _, damage := range d.a.wal.Damage() {
		if damage.Segment != seg.Name {
			continue
		}
		for id, state := range damage.After {
			after, err := unmarshalPosition(state)
			if err != nil {
				continue
			}
			from := after.from
			if before, err := unmarshalPosition(damage.Before[id]); err == nil {
				from = before.frontier.Size()
			}
			if s := d.a.spans.get(id); s != nil && from < min(after.frontier.Size(), s.delivered.Load()) {
				out = append(out, d.withoutRepairs(schema.Range{Log: schema.ShortID(s.log), From: from, To: min(after.frontier.Size(), s.delivered.Load())}, s)...)
			}
		}
	}
	if seg.BaseSeq >= d.lifeFrom {
		return out, nil
	}
	err := d.eachRecord(seg.BaseSeq, min(seg.NextSeq, d.lifeFrom), func(rec wal.Record) error {
		log, from, to, err := RecordRange(rec.Payload)
		if err == nil && to > from && !d.a.spans.void(rec.Stream, from) {
			out = append(out, schema.Range{Log: schema.ShortID(log), From: from, To: to})
		}
		return err
	})
	return out, err
}

// eachRecord calls fn for the records [from, to) that carry entries and can
// still be read.
func (d *deliverer) eachRecord(from, to uint64, fn func(wal.Record) error) error {
	reader := d.a.wal.Reader(from)
	defer reader.Close()
	for {
		rec, err := reader.Next()
		var damage *wal.CorruptError
		switch {
		case errors.As(err, &damage):
			d.a.damaged(damage)
			continue
		case errors.Is(err, io.EOF), err == nil && rec.Seq >= to:
			return nil
		case err != nil:
			return &fatalError{fmt.Errorf("reading WAL: %w", err)}
		case len(rec.Payload) == 0:
			continue
		}
		if err := fn(rec); err != nil {
			return err
		}
	}
}

// settle ends with every row of a segment present in every table, and durable:
// written and proven within one life of the store, which syncs what it
// acknowledges.
//
// The ledger is counted for every range. What it misses is inserted again from
// the segment: a server may have come back older than it went. And where the
// store has been started anew since records went in, their rows are written
// again, for the other tables cannot be counted: that changes nothing unless
// something was lost.
func (d *deliverer) settle(ctx context.Context, seg wal.SegmentInfo) error {
	if err := d.fence(ctx); err != nil {
		return err
	}
	epoch, err := d.a.c.Sink.Epoch(ctx)
	if err != nil {
		return err
	}
	ranges, err := d.rangesBelow(seg)
	if err != nil {
		return &fatalError{err}
	}
	f := &schema.Flush{Ranges: merge(ranges)}
	lacking, err := d.lacking(ctx, f)
	if err != nil {
		return err
	}
	again := min(seg.NextSeq, d.meta.EpochSeq) // up to here
	if epoch != d.meta.Epoch || len(lacking) > 0 {
		again = seg.NextSeq
	}
	if len(lacking) > 0 {
		d.a.alarm(fmt.Sprintf("the ledger lost %d acknowledged entries; inserting them again from the WAL", len(lacking)))
	}
	if again > seg.BaseSeq {
		d.a.c.Logger.Info("store was started anew, writing undoubted rows again before trimming", "segment", seg.Name, "seq", seg.BaseSeq, "to", again)
		if err := d.repeat(ctx, seg.BaseSeq, again); err != nil {
			return err
		}
		if lacking, err = d.lacking(ctx, f); err != nil {
			return err
		}
	}
	after, err := d.a.c.Sink.Epoch(ctx)
	if err != nil {
		return err
	}
	if after != epoch {
		return errEpochChanged
	}
	var gaps []schema.Range
	for k := range lacking {
		gaps = append(gaps, schema.Range{Log: k.log, From: k.index, To: k.index + 1})
	}
	return d.repair(ctx, gaps)
}

// repeat delivers the records [from, to) once more, in flushes of the usual
// size.
func (d *deliverer) repeat(ctx context.Context, from, to uint64) error {
	d.repeats++
	f := newFlush(from, nil)
	if err := d.eachRecord(from, to, func(rec wal.Record) error {
		r, err := decodeRecord(rec.Payload)
		if err != nil {
			return &fatalError{err}
		}
		if d.a.spans.void(rec.Stream, r.from) {
			return nil
		}
		var p parsed
		d.a.parseRecord(r, &p)
		if f.full(&p, d.a.c) {
			if err := d.insertAgain(ctx, f); err != nil {
				return err
			}
			f = newFlush(rec.Seq, nil)
		}
		f.add(&p)
		return nil
	}); err != nil {
		return err
	}
	return d.insertAgain(ctx, f)
}

// insertAgain inserts a flush that was delivered before. No restart repeats
// its cut: it counts anew, after a fence. But its ID follows from where it
// begins, so that what comes again in its place comes under the same token, and
// an insert that no fence saw is stopped by that.
func (d *deliverer) insertAgain(ctx context.Context, f *flush) error {
	if f.count == 0 {
		return nil
	}
	intent := checkpoint.Intent{ID: repeatID(f.parts[0][0].LogID, f.parts[0][0].Index), Fence: true}
	if err := d.saveRetrying(ctx, func(tx *checkpoint.Tx) error { return tx.PutIntent(intent) }); err != nil {
		return &fatalError{err}
	}
	if err := d.insert(ctx, f.materialise(intent.ID, 0), &intent, true); err != nil {
		return err
	}
	d.strays = append(d.strays, intent.ID)
	return d.fence(ctx)
}

// repeatID is the flush ID of a repetition that begins with this entry. Its
// highest bit is set, which those of other flushes have not.
func repeatID(log, index uint64) uint64 {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:], log)
	binary.BigEndian.PutUint64(b[8:], index)
	h := sha256.Sum256(append([]byte("repeat"), b[:]...))
	return binary.BigEndian.Uint64(h[:]) | 1<<63
}

// repair has entries fetched again that neither the ledger nor the WAL has.
func (d *deliverer) repair(ctx context.Context, gaps []schema.Range) error {
	var repairs []*span
	for _, r := range merge(gaps) {
		for _, s := range d.a.spans.all() {
			if schema.ShortID(s.log) == r.Log && s.kind != checkpoint.KindRepair && s.from <= r.From && r.From < s.to {
				repairs = append(repairs, d.newRepair(hole{s, r.From, r.To}))
				break
			}
		}
	}
	if len(repairs) == 0 {
		return nil
	}
	if err := d.saveRetrying(ctx, func(tx *checkpoint.Tx) error {
		var errs []error
		for _, s := range repairs {
			errs = append(errs, tx.PutSpan(s.save()))
		}
		return errors.Join(errs...)
	}); err != nil {
		return &fatalError{err}
	}
	for _, s := range repairs {
		d.a.startSpan(s)
	}
	return nil
}

// withoutRepairs returns the parts of r that no repair of s's log has still
// to bring.
func (d *deliverer) withoutRepairs(r schema.Range, s *span) []schema.Range {
	var coming []schema.Range
	for _, o := range d.a.spans.ofLog(s.log) {
		if o.kind == checkpoint.KindRepair && o.delivered.Load() < o.to {
			coming = append(coming, schema.Range{From: o.delivered.Load(), To: o.to})
		}
	}
	parts := subtract(r.From, r.To, coming)
	for i := range parts {
		parts[i].Log = r.Log
	}
	return parts
}
