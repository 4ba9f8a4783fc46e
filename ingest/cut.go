package ingest

import (
	"context"
	"fmt"
	"time"

	"ctappliance/checkpoint"
)

// cutter makes flushes of what the parsers bring. It works one flush ahead of
// the deliverer: while one is on its way, the next one is filled, and its rows
// become the store's columns. Only this work runs ahead. Intents, inserts and
// marks are the deliverer's, one flush after the other.
//
// A flush that is due is offered and goes on growing until the deliverer is
// free to take it, or until it is full; then the parsers wait.
type cutter struct {
	a   *Appliance
	out chan<- *flush // not buffered: what is taken is begun

	// intents are cuts that a former life may have attempted; they are cut the
	// same way again and resolved.
	intents []checkpoint.Intent
	fed     map[uint64]uint64 // by span: the end of what was taken into flushes
	resumed bool              // everything that former lives wrote has been taken
}

// run cuts what in brings until it is closed: stopping is a polite crash, the
// WAL has the rest. It closes out.
func (c *cutter) run(ctx context.Context, seq uint64, in <-chan *parsed) error {
	defer close(c.out)
	f := newFlush(seq, c.a.c.Sink.Prepare())
	var next *parsed // does not belong to f any more, which is complete
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	late := false // the oldest row has waited for long enough
	for {
		var offer chan<- *flush
		var due <-chan time.Time
		switch {
		case next != nil || late || c.nothingToCome(f):
			offer = c.out
			c.claim(f, next != nil)
		case f.waiting() && len(c.intents) == 0:
			timer.Reset(time.Until(f.since.Add(c.a.c.FlushInterval)))
			due = timer.C
		}
		more := in
		if next != nil {
			more = nil
		}
		begin := f.next
		select {
		case p, ok := <-more:
			if !ok {
				return nil
			}
			if c.mustCut(f, p) {
				next = p
				continue
			}
			if err := c.take(f, p); err != nil {
				return err
			}
		case offer <- f:
			if len(c.intents) > 0 && c.intents[0].Next == begin {
				c.intents = c.intents[1:]
			}
			late = false
			if next == nil {
				f = newFlush(begin, c.a.c.Sink.Prepare())
				continue
			}
			f = newFlush(next.seq, c.a.c.Sink.Prepare())
			if err := c.take(f, next); err != nil {
				return err
			}
			next = nil
		case <-c.a.hurry: // there may be nothing to come
		case <-due:
			late = true
		case <-ctx.Done():
			return nil
		}
	}
}

// claim notes in f the stored intent of this very cut, if there is one.
// complete says that f ends where it is.
func (c *cutter) claim(f *flush, complete bool) {
	f.intent = nil
	if len(c.intents) == 0 {
		return
	}
	if complete {
		f.next = c.intents[0].Next // what is missing below it is lost
	}
	if f.next == c.intents[0].Next {
		f.intent = &c.intents[0]
	}
}

// nothingToCome says whether f may be cut early because every span has been
// fetched to its end and f holds the last of it.
func (c *cutter) nothingToCome(f *flush) bool {
	return c.a.c.UntilDone && !f.empty() && c.resumed && c.a.fetchedAll() && f.next == c.a.wal.Next()
}

// mustCut says whether f ends before p. A cut that was attempted before is
// repeated exactly; new ones follow size, month and time.
func (c *cutter) mustCut(f *flush, p *parsed) bool {
	if len(c.intents) > 0 {
		return p.seq >= c.intents[0].Next
	}
	if p.resumed {
		return !f.empty()
	}
	return f.full(p, c.a.c)
}

// take adds a record to the flush and notices what is missing before it.
func (c *cutter) take(f *flush, p *parsed) error {
	defer c.a.recycle(p)
	if p.resumed {
		c.resumed = true
		// Where a span's cursor is ahead of what the WAL gave, the difference was
		// acknowledged and is lost.
		for _, s := range c.a.spans.all() {
			if end, ok := c.a.recovered[s.id]; ok && c.fed[s.id] < end {
				f.lost(s, c.fed[s.id], end)
				c.fed[s.id] = end
			}
		}
		f.next = p.seq
		return nil
	}
	f.next = p.seq + 1
	if p.to == p.from || c.a.spans.void(p.span, p.from) {
		return nil // a forgotten stream, or what is fetched again
	}
	s := c.a.spans.get(p.span)
	if s == nil {
		return fmt.Errorf("WAL record %d belongs to span %d, which nobody knows", p.seq, p.span)
	}
	at, ok := c.fed[s.id]
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
	c.fed[s.id] = p.to
	return nil
}
