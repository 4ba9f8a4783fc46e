package ingest

import (
	"context"
	"fmt"

	"ctappliance/ingest/ctlog"
)

// startOf says where a wanted range begins. Now and dates are looked up once,
// when the log is seen for the first time: a log that has a tail began at some
// earlier now.
func (f *follower) startOf(ctx context.Context, r Request, head *ctlog.Head) (uint64, error) {
	if r.Start == StartIndex {
		return r.From, nil
	}
	if tail := f.a.spans.tail(f.info.ID); tail != nil && r.To == Forever {
		return tail.from, nil
	}
	if r.Start == StartNow {
		return head.Size, nil
	}
	for tries := 1; ; tries++ {
		from, err := ctlog.IndexAt(ctx, f.log, head, r.Since)
		if err == nil {
			f.out.Info("start found", "since", r.Since, "index", from)
			return from, nil
		}
		if ctx.Err() != nil {
			return 0, ctx.Err()
		}
		f.note(err)
		wait := max(backoff(tries), retryAfter(err))
		if tries == 1 {
			f.out.Warn("start not found yet", "since", r.Since, "err", err, "retry_in", wait)
		}
		if !sleep(ctx, wait) {
			return 0, ctx.Err()
		}
	}
}

// close gives the tail of a log that has ended its end: the final tree of the
// log list, or the head, where that has gone beyond it.
func (f *follower) close(head *ctlog.Head) {
	final := f.info.FinalSize
	if final == 0 || f.a.c.UntilDone {
		return
	}
	switch {
	case head.Size > final:
		// The list is out of date, or wrong. There is nothing to lose by going on.
		if !f.odd.Swap(true) {
			f.out.Warn("log has not ended where the log list says, it is followed to its head", "final", final, "head", head.Size)
		}
		final = head.Size
	case head.Size == final && head.Root != f.info.FinalRoot && f.info.FinalRoot != ctlog.Hash{}:
		if !f.odd.Swap(true) {
			f.a.alarm(fmt.Sprintf("%s: its final tree of %d entries has root %x, the log list says %x", f.info.Name, final, head.Root[:8], f.info.FinalRoot[:8]))
		}
	}
	for _, s := range f.a.spans.ofLog(f.info.ID) {
		if s.to != Forever {
			continue
		}
		s.limit.Store(max(final, s.from))
		if f.planned.Load() && s.open() && s.haltReason() == "" {
			f.enqueue(s) // its conductor may have ended at the end that it had before
		}
	}
}

// closed says whether the log has ended and all of it that is wanted is
// verified and delivered. Nothing is asked of it any more.
func (f *follower) closed() bool {
	if f.info.FinalSize == 0 || !f.planned.Load() {
		return false
	}
	for _, s := range f.a.spans.ofLog(f.info.ID) {
		if s.open() || s.delivered.Load() < s.goal() {
			return false
		}
	}
	return true
}
