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
var ErrNotFollowed = errors.New("the log is not among those that it follows; add it to the configuration, or use another data directory")

// SpanRequest asks a running appliance for a range of a log that it follows.
type SpanRequest struct {
	Log  string `json:"log"` // log ID, hex
	From uint64 `json:"from"`
	To   uint64 `json:"to"`
}

// Backfill adds spans for the parts of a range that no span covers yet.
func (a *Appliance) Backfill(ctx context.Context, r SpanRequest) error {
	f, err := a.followerOf(r)
	if err != nil {
		return err
	}
	if f.isHalted() {
		return fmt.Errorf("%s is halted, see %s", f.info.Name, a.evidenceDir())
	}
	added, err := a.addSpans(ctx, f.info.ID, r.From, r.To)
	if err != nil {
		return err
	}
	for _, s := range added {
		f.enqueue(s)
	}
	return nil
}

// Repair has a range fetched again whose rows the ledger lost, as repair
// spans: what is there is counted and left alone, only what is missing is
// inserted. The range must lie below the delivered marks: what lies above them
// is still on its way.
func (a *Appliance) Repair(ctx context.Context, r SpanRequest) error {
	f, err := a.followerOf(r)
	if err != nil {
		return err
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
		if err := a.checkpoint.Update(func(tx *checkpoint.Tx) error { return tx.PutSpan(s.save()) }); err != nil {
			return err
		}
		a.c.Logger.Warn("range missing in the ledger, fetching it again", "log", f.info.Name, "span", s.id, "from", s.from, "to", s.to)
		f.enqueue(s)
	}
	return ctx.Err()
}

// followerOf finds the log that a request names.
func (a *Appliance) followerOf(r SpanRequest) (*follower, error) {
	if r.From >= r.To {
		return nil, fmt.Errorf("range [%d,%d) is empty", r.From, r.To)
	}
	for _, f := range a.following() {
		if hex.EncodeToString(f.info.ID[:]) == r.Log {
			return f, nil
		}
	}
	return nil, ErrNotFollowed
}
