package ingest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"ctappliance/ingest/ctlog"
)

// conductor moves one span forward: it proves where the span begins, runs legs
// (see leg) up to the newest head, and proves where they ended.
//
//	head ──> leg: plan ──> fetch × workers ──> hash, in order ──> WAL ──> ring
//	           └── proof at the head, every 2²⁰ entries, at the span's end
//
// It owns the span's frontier.
type conductor struct {
	f       *follower
	s       *span
	out     *slog.Logger
	failing trouble   // of requests
	proved  time.Time // when the verified mark last moved
	stuck   time.Time // since when only a partial tile is left

	provenSeq uint64 // what is not proven yet lies in the WAL from here on, if it is there at all
}

var errHalted = errors.New("log is halted")

// run returns nil when the span is complete, its log is halted or ctx ends;
// any other error is ours and fatal.
func (c *conductor) run(ctx context.Context) error {
	if c.s.haltReason() != "" || c.f.isHalted() {
		return nil
	}
	err := c.follow(ctx)
	if errors.Is(err, errHalted) || ctx.Err() != nil {
		return nil
	}
	return err
}

func (c *conductor) follow(ctx context.Context) error {
	head, err := c.f.awaitHead(ctx, nil)
	if err != nil {
		return err
	}
	if err := c.begin(ctx, head); err != nil {
		return err
	}
	c.proved = time.Now()
	if c.s.verified.Load() == c.s.cursor.Load() {
		c.provenSeq = c.f.a.wal.Next()
	}
	c.out.Info("span running", "from", c.s.from, "cursor", c.s.cursor.Load(), "head", head.Size)
	for c.s.open() {
		head, err := c.f.awaitHead(ctx, nil)
		if err != nil {
			return err
		}
		cursor := c.s.cursor.Load()
		every := c.f.a.c.verifyEvery
		target := min(c.s.goal(), head.Size, (cursor/every+1)*every)
		if target > cursor {
			if err := c.leg(ctx, target, head.Size); err != nil {
				return err
			}
		}
		moved := c.s.cursor.Load() > cursor
		if moved {
			c.stuck = time.Time{}
		}
		if err := c.prove(ctx, head, !moved); err != nil {
			return err
		}
		if !moved && c.s.open() {
			c.wait(ctx, head)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if c.f.isHalted() {
			return errHalted
		}
	}
	c.out.Info("span fetched", "from", c.s.from, "to", c.s.goal())
	return nil
}

// begin makes sure that there is a frontier at the cursor, asking the log to
// prove one where the span is fresh.
func (c *conductor) begin(ctx context.Context, head *ctlog.Head) error {
	cursor := c.s.cursor.Load()
	if c.s.frontier != nil {
		return nil
	}
	if cursor == 0 {
		c.s.frontier = new(ctlog.Frontier)
		return nil
	}
	for head.Size < cursor { // a range that the log has not grown to yet
		var err error
		if head, err = c.f.awaitHead(ctx, head); err != nil {
			return err
		}
	}
	proven, _, err := c.frontierAt(ctx, cursor, head)
	if err != nil {
		return err
	}
	c.s.frontier = proven
	return nil
}

// proofTries is how often in a row a proof may fail before its log is halted:
// caches in front of real logs have answered with the proof of another size.
const proofTries = 5

// frontierAt asks until the log answers. A proof that does not hold is a lie
// only if it fails repeatedly.
func (c *conductor) frontierAt(ctx context.Context, size uint64, head *ctlog.Head) (*ctlog.Frontier, []ctlog.Answer, error) {
	lies := 0
	for {
		rctx, recording := ctlog.Record(ctx, maxAnswers/2)
		proven, err := c.f.log.Frontier(rctx, size, head)
		if err == nil {
			c.recovered()
			return proven, recording.Answers(), nil
		}
		if ctx.Err() != nil {
			return nil, nil, ctx.Err()
		}
		var proof *ctlog.VerifyError
		if errors.As(err, &proof) {
			if lies++; lies >= proofTries {
				e := &VerifyError{Log: c.f.info.Name, Kind: KindNoProof, Reason: err.Error(), Heads: c.f.headsOf(head), Tree: c.s.frontier, Answers: recording.Answers()}
				if c.s.frontier != nil {
					e.Entries, _ = c.suspects(ctx, nil)
				}
				c.f.halt(e)
				return nil, nil, errHalted
			}
		}
		if err := c.retry(ctx, "proof failed", err); err != nil {
			return nil, nil, err
		}
	}
}

// prove compares the frontier with what the log has signed: at a head, at the
// span's end, every 2²⁰ entries, when the last proof is old, and when there is
// nothing else to do.
func (c *conductor) prove(ctx context.Context, head *ctlog.Head, idle bool) error {
	cursor := c.s.cursor.Load()
	if cursor > head.Size || cursor < head.Size && cursor <= c.s.verified.Load() {
		return nil
	}
	switch {
	case cursor == head.Size:
		// Also where it is verified already: a log may sign another root for
		// the same size while we are not running.
		if root := c.s.frontier.Root(); root != head.Root {
			return c.mismatch(ctx, head, nil, nil, fmt.Sprintf("its entries up to %d hash to root %x, it signed %x", cursor, root[:8], head.Root[:8]))
		}
	case idle, cursor == c.s.goal(), cursor%c.f.a.c.verifyEvery == 0, time.Since(c.proved) >= c.f.a.c.VerifyAge:
		proven, answers, err := c.frontierAt(ctx, cursor, head)
		if err != nil {
			return err
		}
		if !c.s.frontier.Equal(proven) {
			return c.mismatch(ctx, head, proven, answers, fmt.Sprintf("its entries up to %d do not hash to the tree it signed", cursor))
		}
	default:
		return nil
	}
	c.f.match(head)
	c.proved = time.Now()
	c.provenSeq = c.f.a.wal.Next()
	if cursor > c.s.verified.Load() {
		c.s.verified.Store(cursor)
		c.f.a.touch()
	}
	return nil
}

// mismatch halts the log because of what it served: with the head that its
// tree should have led to, one that it did lead to, and the entries between.
func (c *conductor) mismatch(ctx context.Context, head *ctlog.Head, proven *ctlog.Frontier, answers []ctlog.Answer, reason string) error {
	if c.f.isHalted() {
		return errHalted // another span was first
	}
	kind := KindMismatch
	if c.s.verified.Load() >= c.s.cursor.Load() {
		kind = KindSplitView // another head has proven the very same entries
	}
	entries, located := c.suspects(ctx, head)
	if entries.WrongTo != 0 {
		reason += fmt.Sprintf("; the first wrong one is in [%d,%d)", entries.WrongFrom, entries.WrongTo)
	}
	c.f.halt(&VerifyError{Log: c.f.info.Name, Kind: kind, Reason: reason, Heads: c.f.headsOf(head), Tree: c.s.frontier, Proven: proven,
		Answers: append(answers, located...), Entries: entries})
	return errHalted
}

// wait is for when nothing could be fetched: until the log has grown, or a
// partial tile is old enough to be asked for.
func (c *conductor) wait(ctx context.Context, head *ctlog.Head) {
	if c.s.cursor.Load() >= head.Size {
		c.stuck = time.Time{}
		_, _ = c.f.awaitHead(ctx, head)
		return
	}
	// Only a partial tile is left, and it may fill.
	if c.stuck.IsZero() {
		c.stuck = time.Now()
	}
	left := time.Until(c.stuck.Add(c.f.a.c.PartialAge))
	if left <= 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, left)
	defer cancel()
	_, _ = c.f.awaitHead(ctx, head)
}

// wantPartial says whether a partial tile may be fetched: when it had its time
// to fill, or when it never will because the span ends inside it.
func (c *conductor) wantPartial(treeSize uint64) bool {
	return c.s.goal() <= treeSize || !c.stuck.IsZero() && time.Since(c.stuck) >= c.f.a.c.PartialAge
}

// retry waits before another attempt. It logs when a log goes bad for more than
// a moment; a refusal is the pacer's business, and in its counts.
func (c *conductor) retry(ctx context.Context, what string, err error) error {
	tell := c.failing.failed()
	c.f.note(err)
	wait := max(backoff(c.failing.n), retryAfter(err))
	if tell {
		c.out.Warn(what, "failures", c.failing.n, "err", err, "retry_in", wait)
	}
	if !sleep(ctx, wait) {
		return ctx.Err()
	}
	if c.f.isHalted() {
		return errHalted
	}
	return nil
}

// recovered notes that a request was answered.
func (c *conductor) recovered() {
	if lasted := c.failing.over(); lasted > 0 {
		c.out.Info("request answered again", "took", lasted.Round(time.Second))
	}
}
