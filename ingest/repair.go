package ingest

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"

	"ctappliance/checkpoint"
	"ctappliance/schema"
)

// ErrNotFollowed means that the appliance does not follow the log in question.
var ErrNotFollowed = errors.New("the log is not among those that are followed; add it to the configuration")

// Repair has a range fetched again whose rows the ledger lost, as repair
// spans: what is there is counted and left alone, only what is missing is
// inserted. The range must lie below the delivered marks: what lies above them
// is still on its way.
func (a *Appliance) Repair(ctx context.Context, r SpanRequest) error {
	if r.From >= r.To {
		return fmt.Errorf("range [%d,%d) is empty", r.From, r.To)
	}
	f := a.followerOf(r.Log)
	if f == nil {
		return ErrNotFollowed
	}
	var delivered, mending []schema.Range
	for _, s := range a.spans.ofLog(f.info.ID) {
		switch {
		case s.kind != checkpoint.KindRepair:
			delivered = append(delivered, schema.Range{From: s.from, To: s.delivered.Load()})
		case !s.done():
			mending = append(mending, schema.Range{From: s.from, To: s.to})
		}
	}
	if rest := subtract(r.From, r.To, delivered); len(rest) > 0 {
		return fmt.Errorf("[%d,%d) is not delivered yet", rest[0].From, rest[0].To)
	}
	for _, part := range subtract(r.From, r.To, mending) {
		s := a.spans.add(f.info.ID, checkpoint.KindRepair, part.From, part.To)
		s.doubtful = true
		if err := a.checkpoint.Update(func(tx *checkpoint.Tx) error { return tx.PutSpan(s.save()) }); err != nil {
			return err
		}
		a.c.Logger.Warn("range missing in the ledger, fetching it again", "log", f.info.Name, "span", s.id, "from", s.from, "to", s.to)
		f.enqueue(s)
	}
	return ctx.Err()
}

// followerOf finds a log by its ID in hex.
func (a *Appliance) followerOf(log string) *follower {
	for _, f := range a.followers {
		if hex.EncodeToString(f.info.ID[:]) == log {
			return f
		}
	}
	return nil
}
