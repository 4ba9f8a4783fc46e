package ingest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"ctappliance/checkpoint"
	"ctappliance/ingest/ctlog"
)

// HeadCounts says what was odd about a log's heads since start. None of it is
// a lie by itself.
type HeadCounts struct {
	Rejected   uint64 `json:"rejected"`    // not signed by the log's key
	RolledBack uint64 `json:"rolled_back"` // smaller than one seen before
	Future     uint64 `json:"future"`      // dated ahead of our clock
	Backdated  uint64 `json:"backdated"`   // larger than one seen before, and dated earlier
	// BehindSince is since when only smaller heads have come; zero if the last
	// one was not.
	BehindSince time.Time `json:"behind_since"`
}

const (
	// maxBehind is how long smaller heads are waited out: the maximum merge
	// delay of RFC 6962 logs. What was signed longer ago must be shown.
	maxBehind = 24 * time.Hour
	// clockSlack is how far ahead of our clock a head may be dated.
	clockSlack = 10 * time.Minute
	// rollbackPause is the time between two proofs of smaller heads: logs whose
	// frontends are out of step show a new one at every other poll.
	rollbackPause = time.Minute
	// knownHeads is how many heads are kept to hold others against.
	knownHeads = 16
	// evidencePause is the time between two files of one kind that did not
	// halt a log.
	evidencePause = 24 * time.Hour
)

// headBook is what a follower knows of its log's heads, beside the largest.
// It is guarded by the follower.
type headBook struct {
	counts  HeadCounts
	known   []*ctlog.Head // of one tree, as far as it is proven; newest last
	proved  time.Time     // when a smaller head was held against the largest
	lies    int           // proofs in a row that did not hold
	alarmed bool          // since BehindSince
	kept    map[string]time.Time
}

// remember adds a head that others may be held against.
func (b *headBook) remember(head *ctlog.Head) {
	if len(b.known) == knownHeads {
		b.known = append(b.known[:0], b.known[1:]...)
	}
	b.known = append(b.known, head)
}

// knows says whether a head of this size and root was seen.
func (b *headBook) knows(head *ctlog.Head) bool {
	for _, k := range b.known {
		if k.Size == head.Size && k.Root == head.Root {
			return true
		}
	}
	return false
}

// observe takes note of a validly signed head. Frontends of a log are not
// always in step, so a smaller head is no lie if it is of the same tree; two
// roots of one size are.
func (f *follower) observe(ctx context.Context, head *ctlog.Head) {
	if largest := f.take(head); largest != nil {
		f.holdAgainst(ctx, head, largest)
	}
}

// take returns the largest head known if this one is smaller.
func (f *follower) take(head *ctlog.Head) (largest *ctlog.Head) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if lasted := f.failing.over(); lasted > 0 {
		f.out.Info("log answers again", "took", lasted.Round(time.Second))
	}
	f.polled = time.Now()
	if f.halted != "" {
		return nil
	}
	for _, known := range append([]*ctlog.Head{f.head, f.matched}, f.heads.known...) {
		if known != nil && known.Size == head.Size && known.Root != head.Root {
			f.haltLocked(&VerifyError{Log: f.info.Name, Kind: KindSplitView, Heads: []*ctlog.Head{known, head},
				Reason: fmt.Sprintf("it signed two different roots for %d entries", head.Size)})
			return nil
		}
	}
	book := &f.heads
	if ahead := time.UnixMilli(int64(head.Timestamp)).Sub(f.polled); ahead > clockSlack {
		if book.counts.Future++; book.counts.Future == 1 {
			f.out.Warn("a head is dated in the future", "ahead", ahead.Round(time.Second))
		}
	}
	if largest = f.head; largest == nil || f.matched != nil && f.matched.Size > largest.Size {
		largest = f.matched
	}
	if largest != nil && head.Size < largest.Size {
		book.counts.RolledBack++
		if book.counts.BehindSince.IsZero() {
			book.counts.BehindSince = f.polled
			f.out.Warn("head is smaller than one that it signed before", "size", head.Size, "before", largest.Size)
		}
		if f.head == nil { // what is there can be fetched
			f.head = head
			f.notify()
		}
		return largest
	}
	if !book.counts.BehindSince.IsZero() {
		f.out.Info("head is as large again as it was", "size", head.Size)
		book.counts.BehindSince, book.alarmed = time.Time{}, false
	}
	book.lies = 0
	if largest != nil && head.Size > largest.Size && head.Timestamp < largest.Timestamp {
		book.counts.Backdated++
		f.keepNote(&VerifyError{Log: f.info.Name, Kind: KindBackdated, Heads: []*ctlog.Head{largest, head},
			Reason: fmt.Sprintf("it signed %d entries with an earlier time than %d", head.Size, largest.Size)})
	}
	if !book.knows(head) {
		book.remember(head)
	}
	if f.head == nil || head.Size > f.head.Size {
		f.head = head
		f.notify()
	}
	return nil
}

// holdAgainst has the log prove that a smaller head is of the same tree as the
// largest: if it is of another, that is a split view. If it is, and nothing
// larger comes for longer than a log may take to publish, what it signed has
// been taken back.
func (f *follower) holdAgainst(ctx context.Context, head, largest *ctlog.Head) {
	f.mu.Lock()
	book := &f.heads
	now := time.Now()
	due := head.Size > 0 && !book.knows(head) && (book.proved.IsZero() || now.Sub(book.proved) >= rollbackPause)
	if due {
		book.proved = now
	}
	f.mu.Unlock()
	if due {
		rctx, recording := ctlog.Record(ctx, maxAnswers/2)
		proven, err := f.log.Frontier(rctx, head.Size, largest)
		if ctx.Err() != nil {
			return
		}
		f.judge(head, largest, proven, err, recording.Answers())
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if since := book.counts.BehindSince; f.halted == "" && !book.alarmed && !since.IsZero() && now.Sub(since) > maxBehind {
		book.alarmed = true
		reason := fmt.Sprintf("it signed %d entries and has shown no more than %d for %v", largest.Size, head.Size, now.Sub(since).Round(time.Minute))
		f.a.alarm(f.info.Name + ": " + reason)
		f.keepNote(&VerifyError{Log: f.info.Name, Kind: KindRollback, Heads: []*ctlog.Head{largest, head}, Reason: reason})
	}
}

// judge says what the proof of a smaller head has shown.
func (f *follower) judge(head, largest *ctlog.Head, proven *ctlog.Frontier, err error, answers []ctlog.Answer) {
	f.mu.Lock()
	defer f.mu.Unlock()
	e := &VerifyError{Log: f.info.Name, Kind: KindSplitView, Heads: []*ctlog.Head{largest, head}, Proven: proven, Answers: answers}
	var proof *ctlog.VerifyError
	switch {
	case err == nil && proven.Root() == head.Root:
		f.heads.lies = 0
		f.heads.remember(head)
	case err == nil:
		e.Reason = fmt.Sprintf("it signed another root for %d entries than those of its tree of %d have", head.Size, largest.Size)
		f.haltLocked(e)
	case errors.As(err, &proof):
		f.lastErr, f.errAt = err.Error(), time.Now()
		if f.heads.lies++; f.heads.lies >= proofTries {
			e.Reason = fmt.Sprintf("it signed trees of %d and %d entries and does not prove that they are one: %v", head.Size, largest.Size, err)
			f.haltLocked(e)
		}
	default:
		f.lastErr, f.errAt = err.Error(), time.Now() // it lags in this, too: asked again later
	}
}

// keepNote keeps evidence of something that does not halt the log, now and
// then: a log that goes on like that does not fill the disk. f.mu is held.
func (f *follower) keepNote(e *VerifyError) {
	if at, ok := f.heads.kept[e.Kind]; ok && time.Since(at) < evidencePause {
		return
	}
	if f.heads.kept == nil {
		f.heads.kept = map[string]time.Time{}
	}
	f.heads.kept[e.Kind] = time.Now()
	if evidenceSize(f.a.evidenceDir(), f.info.ID) > maxEvidence {
		return
	}
	path, err := keepEvidence(f.a.evidenceDir(), f.info, e, false)
	if err != nil {
		f.out.Error("evidence is not kept", "err", err)
		return
	}
	f.out.Warn("evidence kept", "kind", e.Kind, "reason", e.Reason, "evidence", path)
}

// keepBadHead keeps a head that the log's key has not signed. Anyone on the
// way can have made it, so it halts nothing. f.mu is held.
func (f *follower) keepBadHead(err error) {
	var bad *ctlog.VerifyError
	if !errors.As(err, &bad) {
		return
	}
	f.heads.counts.Rejected++
	f.keepNote(&VerifyError{Log: f.info.Name, Kind: KindBadHead, Reason: err.Error(), Answers: []ctlog.Answer{{Path: bad.What, Status: 200, Body: bad.Raw}}})
}

// keepAudit keeps what a log answered to an audit that did not fit with what it
// said before. Halting it is left to its conductors: what was audited is in the
// ledger, and verified.
func (f *follower) keepAudit(lies []string, answers []ctlog.Answer) {
	f.mu.Lock()
	defer f.mu.Unlock()
	e := &VerifyError{Log: f.info.Name, Kind: KindRewritten, Reason: strings.Join(lies, "; "), Answers: answers}
	if f.matched != nil {
		e.Heads = append(e.Heads, f.matched)
	}
	f.keepNote(e)
}

// recallHalt brings back a halt of a former life: its spans know, or, where no
// span of it is in the checkpoint, the evidence.
func (f *follower) recallHalt() {
	known := false
	for _, s := range f.a.spans.ofLog(f.info.ID) {
		if reason := s.haltReason(); reason != "" {
			f.halted, f.haltKind = reason, KindUnknown
		}
		_, saved := f.a.start.Spans[s.id]
		known = known || saved
	}
	if f.halted == "" && (known || f.a.c.ResumeHalted) {
		return
	}
	path, kind, reason := LastHalt(f.a.c.Dir, f.info.ID)
	if path == "" || f.halted != "" && f.halted != reason {
		return
	}
	f.halted, f.haltKind, f.evidence = reason, kind, path
	for _, s := range f.a.spans.ofLog(f.info.ID) {
		s.halted.Store(&reason)
	}
	if err := f.a.checkpoint.Update(func(tx *checkpoint.Tx) error {
		for _, s := range f.a.spans.ofLog(f.info.ID) {
			if err := tx.HaltSpan(s.id, reason, s.verified.Load()); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		f.out.Error("halt is not saved", "err", err)
	}
}
