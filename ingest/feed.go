package ingest

import (
	"context"
	"errors"
	"fmt"
	"io"

	"ctappliance/wal"
)

// feeder walks the WAL's records in order and hands them to the parsers: those
// of former lives from disk, those of this life through the ring, or from disk
// where the ring had no room.
type feeder struct {
	a       *Appliance
	jobs    chan<- *job
	ordered chan<- *job
}

func (f *feeder) run(ctx context.Context, seq uint64) error {
	if err := f.replay(ctx, seq); err != nil {
		return err
	}
	return f.live(ctx)
}

// replay feeds what former lives left undelivered. What it cannot read it
// passes over and says so; the deliverer sees from where each span goes on
// what was lost.
func (f *feeder) replay(ctx context.Context, seq uint64) error {
	reader := f.a.wal.Reader(seq)
	defer reader.Close()
	var lost error
	for {
		rec, err := reader.Next()
		var damage *wal.CorruptError
		switch {
		case errors.As(err, &damage):
			f.a.damaged(damage)
			lost = damage
			continue
		case errors.Is(err, io.EOF), err == nil && rec.Seq >= f.a.lifeStart:
			j := &job{parsed: parsed{seq: f.a.lifeStart, lost: lost, resumed: true}}
			return f.send(ctx, j)
		case err != nil:
			return fmt.Errorf("reading WAL: %w", err)
		}
		j := &job{parsed: parsed{seq: rec.Seq, span: rec.Stream, lost: lost}, payload: rec.Payload}
		lost = nil
		if err := f.send(ctx, j); err != nil {
			return err
		}
	}
}

func (f *feeder) live(ctx context.Context) error {
	var reader *wal.Reader
	var at uint64 // seq that reader gives next
	leave := func() {
		if reader != nil {
			reader.Close() // it only read
			reader = nil
		}
	}
	defer leave()
	for seq := f.a.lifeStart; ; seq++ {
		ann, err := f.a.ring.take(ctx, seq)
		if err != nil {
			return err
		}
		j := &job{parsed: parsed{seq: seq, span: ann.span, from: ann.from, to: ann.to}, rec: ann.rec}
		if j.rec == nil {
			if at != seq {
				leave()
			}
			if reader == nil {
				reader = f.a.wal.Reader(seq)
			}
			rec, err := reader.Next()
			var damage *wal.CorruptError
			switch {
			case errors.As(err, &damage):
				f.a.damaged(damage)
				j.lost = damage
				leave()
			case err != nil:
				return fmt.Errorf("reading WAL: %w", err)
			case rec.Seq != seq:
				j.lost = fmt.Errorf("WAL gave record %d for %d", rec.Seq, seq)
				leave()
			default:
				j.payload, at = rec.Payload, seq+1
			}
		}
		if err := f.send(ctx, j); err != nil {
			return err
		}
	}
}

// send hands j to the parsers and to the queue that restores their order.
func (f *feeder) send(ctx context.Context, j *job) error {
	j.out = make(chan *parsed, 1)
	select {
	case f.ordered <- j:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case f.jobs <- j:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}
