package ingest

import (
	"context"
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

// trim deletes the segments that are delivered whole, after the ledger has
// been counted for every range in them (I3). What the count misses is parsed
// from the WAL again and inserted: a server may have come back older than it
// went.
func (d *deliverer) trim(ctx context.Context) error {
	for _, seg := range d.a.wal.Segments() {
		if seg.Active || seg.NextSeq > d.meta.DeliveredSeq {
			break
		}
		ranges, err := d.rangesBelow(seg)
		if err != nil {
			return err
		}
		if err := d.proveOrRepeat(ctx, seg, merge(ranges)); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			var fatal *fatalError
			if errors.As(err, &fatal) {
				return err
			}
			// The store is away or slow: the segment stays until the next flush.
			d.a.c.Logger.Warn("segment not proven", "segment", seg.Name, "err", err)
			return nil
		}
		d.a.c.Step("trim")
		if err := d.a.wal.Trim(seg.NextSeq); err != nil {
			return fmt.Errorf("trimming WAL: %w", err)
		}
		keep := 0
		for keep < len(d.unproven) && d.unproven[keep].seq < seg.NextSeq {
			keep++
		}
		d.unproven = d.unproven[keep:]
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
	if seg.BaseSeq >= d.lifeFrom {
		return out, nil
	}
	err := d.eachRecord(seg.BaseSeq, min(seg.NextSeq, d.lifeFrom), func(rec wal.Record) error {
		log, from, to, err := RecordRange(rec.Payload)
		if err == nil && to > from {
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
			return fmt.Errorf("reading WAL: %w", err)
		case len(rec.Payload) == 0:
			continue
		}
		if err := fn(rec); err != nil {
			return err
		}
	}
}

// proveOrRepeat counts the ranges in the ledger and delivers the segment's
// records again where rows are missing.
func (d *deliverer) proveOrRepeat(ctx context.Context, seg wal.SegmentInfo, ranges []schema.Range) error {
	f := &schema.Flush{Ranges: ranges}
	lacking, err := d.lacking(ctx, f)
	if err != nil {
		return err
	}
	if len(lacking) == 0 {
		return nil
	}
	d.a.alarm(fmt.Sprintf("the ledger lost %d acknowledged entries; inserting them again from the WAL", len(lacking)))
	again := newFlush(seg.BaseSeq)
	if err := d.eachRecord(seg.BaseSeq, seg.NextSeq, func(rec wal.Record) error {
		r, err := decodeRecord(rec.Payload)
		if err != nil {
			return err
		}
		var p parsed
		d.a.parseRecord(r, &p)
		again.add(&p)
		return nil
	}); err != nil {
		return err
	}
	intent := checkpoint.Intent{ID: d.meta.Writer<<40 | d.meta.NextFlush}
	d.meta.NextFlush++
	out := again.materialise(intent.ID, 0)
	if err := d.saveRetrying(ctx, func(tx *checkpoint.Tx) error { return tx.PutMeta(d.meta) }); err != nil {
		return &fatalError{err}
	}
	if err := d.resolve(ctx, out, &intent); err != nil {
		return err
	}
	err = d.saveRetrying(ctx, func(tx *checkpoint.Tx) error { return tx.DeleteIntent(intent.ID) })
	if err != nil {
		return &fatalError{err}
	}
	return nil
}
