package ingest

import (
	"context"
	"encoding/hex"
	"errors"
	"hash/fnv"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"ctappliance/checkpoint"
	"ctappliance/ingest/ctlog"
	"ctappliance/ingest/pace"
	"ctappliance/schema"
)

// follower follows one log: it polls the head and runs the log's spans. One
// log's bad day is not the appliance's: only an error of our own disk leaves
// run.
type follower struct {
	a       *Appliance
	log     ctlog.Log
	info    ctlog.Info
	want    []Request
	repairs []schema.Range
	out     *slog.Logger
	pace    *pace.Pacer
	stop    context.CancelFunc // set by crew, as is ended
	ended   chan struct{}

	planned atomic.Bool // the wanted ranges are spans now
	odd     atomic.Bool // its end is not what the log list says, and that was said

	mu        sync.Mutex
	why       string
	head      *ctlog.Head   // the largest verified head
	changed   chan struct{} // closed and replaced when head changes or a span is added
	matched   *ctlog.Head   // the largest head that a span's tree has matched
	savedSize uint64        // of the matched head in the checkpoint
	halted    string
	haltKind  string
	evidence  string       // path of what shows why it is halted
	owed      *VerifyError // why it is halted, where that is not on disk yet
	heads     headBook
	lastErr   string
	errAt     time.Time
	failing   trouble  // of polls
	past      []sample // see assess
	risk      string
	polled    time.Time
	fresh     []*span // added, not yet running
}

func newFollower(a *Appliance, f Follow) *follower {
	info := f.Log.Info()
	fo := &follower{a: a, log: f.Log, info: info, want: f.Spans, repairs: f.Repairs,
		pace: f.Pace, why: f.Why, out: a.c.Logger.With("log", info.Name), changed: make(chan struct{})}
	if h, ok := a.start.Heads[info.ID]; ok {
		fo.matched, fo.savedSize = &ctlog.Head{Size: h.Size, Root: h.Root, Timestamp: h.Timestamp, Raw: h.Raw}, h.Size
	}
	fo.recallHalt()
	return fo
}

// run polls and runs spans until ctx ends.
func (f *follower) run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		f.poll(ctx)
		return nil
	})
	g.Go(func() error {
		if _, err := f.awaitHead(ctx, nil); err != nil {
			if errors.Is(err, errHalted) {
				f.planned.Store(true) // nothing of it will move
				f.a.progress()
			}
			return nil
		}
		if err := f.plan(ctx); err != nil {
			return ignoreStop(ctx, err)
		}
		f.planned.Store(true)
		f.a.progress()
		for ctx.Err() == nil {
			changed := f.change()
			f.startFresh(ctx, g)
			select {
			case <-changed:
			case <-ctx.Done():
			}
		}
		return nil
	})
	return g.Wait()
}

// startFresh starts a conductor for every span that was queued.
func (f *follower) startFresh(ctx context.Context, g *errgroup.Group) {
	f.mu.Lock()
	fresh := f.fresh
	f.fresh = nil
	f.mu.Unlock()
	for _, s := range fresh {
		c := &conductor{f: f, s: s, out: f.out.With("span", s.id, "kind", s.kind)}
		g.Go(func() error {
			err := c.run(ctx)
			f.mu.Lock()
			s.queued = false
			f.mu.Unlock()
			f.a.progress()
			return err
		})
	}
}

// plan turns the wanted ranges into spans, leaving out the ground that other
// spans cover, and queues every unfinished span of the log.
func (f *follower) plan(ctx context.Context) error {
	f.mu.Lock()
	head := f.head
	f.mu.Unlock()
	for _, r := range f.want {
		from, err := f.startOf(ctx, r, head)
		if err != nil {
			return err
		}
		if from < r.To {
			if _, err := f.a.addSpans(ctx, f.info.ID, from, r.To); err != nil {
				return err
			}
		}
		if r.History && from > 0 {
			if _, err := f.a.addSpans(ctx, f.info.ID, 0, from); err != nil {
				return err
			}
		}
	}
	for _, r := range f.repairs {
		request := SpanRequest{Log: hex.EncodeToString(f.info.ID[:]), From: r.From, To: r.To}
		if err := f.a.Repair(ctx, request); err != nil {
			return err
		}
	}
	f.close(head)
	for _, s := range f.a.spans.ofLog(f.info.ID) {
		if f.a.c.UntilDone {
			f.bound(s)
		}
		if s.open() {
			f.enqueue(s)
		}
	}
	return nil
}

// bound keeps a span of former lives from doing more than was asked for now: a
// tail goes no further than the wanted ranges, what lies outside of them waits
// for another life. Repairs are always wanted.
func (f *follower) bound(s *span) {
	if s.kind == checkpoint.KindRepair {
		return
	}
	var end uint64
	for _, r := range f.want {
		if r.From < s.to && s.from < r.To {
			end = max(end, min(r.To, s.to))
		}
	}
	if end == 0 {
		s.parked.Store(true)
	} else if s.to == Forever {
		s.limit.Store(end)
	}
}

// enqueue has a conductor started for s, if none is.
func (f *follower) enqueue(s *span) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if s.queued {
		return
	}
	s.queued = true
	f.fresh = append(f.fresh, s)
	f.notify()
}

// notify wakes whoever waits for a change. f.mu is held.
func (f *follower) notify() {
	close(f.changed)
	f.changed = make(chan struct{})
}

func (f *follower) change() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.changed
}

// awaitHead returns the newest head as soon as there is one larger than
// after (nil: any), and errHalted when there will be none.
func (f *follower) awaitHead(ctx context.Context, after *ctlog.Head) (*ctlog.Head, error) {
	for {
		f.mu.Lock()
		head, changed, halted := f.head, f.changed, f.halted != ""
		f.mu.Unlock()
		if halted {
			return nil, errHalted
		}
		if head != nil && (after == nil || head.Size > after.Size) {
			return head, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// poll fetches the head now and then, until the log is closed. Logs wake at
// offsets that follow from their names, so that a restart does not bring them
// all to the door at once.
func (f *follower) poll(ctx context.Context) {
	var wait time.Duration
	if len(f.a.following()) > 1 {
		wait = offset(f.info.Name, min(f.pollEvery(), 2*time.Second))
	}
	for {
		if !sleep(ctx, wait) {
			return
		}
		wait = f.pollEvery()
		f.payOwed()
		head, err := f.log.Head(ctx)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			wait = f.pollFailed(err)
			continue
		}
		f.observe(ctx, head)
		f.close(head)
		if f.closed() {
			f.out.Info("log closed: it has ended, and all of it is verified and delivered", "size", head.Size)
			return
		}
	}
}

const (
	pollStatic  = 5 * time.Second  // a checkpoint is signed every second or so, and is one small file
	pollRFC6962 = 15 * time.Second // heads are signed, or cached, for longer
	// pollShare is the part of a found limit that looking at heads may take while
	// entries wait, idleShare where none do. Some logs allow a request in six
	// seconds for all their shards together.
	pollShare = 0.05
	idleShare = 0.4
	maxPoll   = 15 * time.Minute
)

// pollEvery is the time between two polls: as configured, or by protocol, and
// longer where the limit of the host is so low that polls would eat it up.
func (f *follower) pollEvery() time.Duration {
	every := f.a.c.PollInterval
	if every == 0 {
		if every = pollRFC6962; f.info.Kind == ctlog.Static {
			every = pollStatic
		}
	}
	if f.pace == nil {
		return every
	}
	limit := f.pace.Snapshot().Limit
	if limit <= 0 {
		return every
	}
	logs, share := 0, idleShare
	for _, other := range f.a.following() {
		if other.pace != f.pace {
			continue
		}
		logs++
		if wanted, fetched := other.extent(); fetched < wanted {
			share = pollShare
		}
	}
	scarce := time.Duration(float64(logs) / (limit * share) * float64(time.Second))
	return max(every, min(scarce, maxPoll))
}

func (f *follower) pollFailed(err error) time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	tell := f.failing.failed()
	f.lastErr, f.errAt = err.Error(), time.Now()
	f.keepBadHead(err)
	wait := max(backoff(f.failing.n), retryAfter(err))
	if tell {
		f.out.Warn("log does not answer", "failures", f.failing.n, "err", err, "retry_in", wait)
	}
	return wait
}

// halt stops the log for good and keeps what shows why.
func (f *follower) halt(e *VerifyError) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.haltLocked(e)
}

func (f *follower) haltLocked(e *VerifyError) {
	if f.halted != "" {
		return
	}
	f.halted, f.haltKind = e.Reason, e.Kind
	for _, s := range f.a.spans.ofLog(f.info.ID) {
		s.halted.Store(&e.Reason)
	}
	f.out.Error("log halted", "kind", e.Kind, "reason", e.Reason)
	f.keepHalt(e)
	f.notify()
	f.a.progress()
}

// keepHalt brings a halt and what shows why to the disk, where a restart finds
// both. Where that fails, a full disk perhaps, the next poll tries again. f.mu
// is held.
func (f *follower) keepHalt(e *VerifyError) {
	f.owed = nil
	if f.evidence == "" {
		path, err := keepEvidence(f.a.evidenceDir(), f.info, e, true)
		if err != nil {
			f.owed = e
			f.out.Error("evidence is not kept", "err", err)
		} else {
			f.evidence = path
			f.out.Error("evidence kept", "kind", e.Kind, "evidence", path)
		}
	}
	if err := f.a.checkpoint.Update(func(tx *checkpoint.Tx) error {
		for _, s := range f.a.spans.ofLog(f.info.ID) {
			if err := tx.HaltSpan(s.id, e.Reason, s.verified.Load()); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		f.owed = e
		f.out.Error("halt is not saved", "err", err)
	}
}

// payOwed keeps what could not be kept when the log was halted.
func (f *follower) payOwed() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.owed != nil {
		f.keepHalt(f.owed)
	}
}

func (f *follower) isHalted() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.halted != ""
}

// isAway says whether the last poll failed.
func (f *follower) isAway() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.failing.n > 0
}

// match records that a span's tree is that of a signed head, or a proven
// beginning of it.
func (f *follower) match(head *ctlog.Head) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.matched == nil || head.Size > f.matched.Size {
		f.matched = head
	}
}

// headsOf returns the heads to be kept as evidence against head: one that was
// good, if there is one, and itself.
func (f *follower) headsOf(head *ctlog.Head) []*ctlog.Head {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.matched != nil && f.matched != head {
		return []*ctlog.Head{f.matched, head}
	}
	return []*ctlog.Head{head}
}

func (f *follower) note(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lastErr, f.errAt = err.Error(), time.Now()
}

// offset spreads logs over an interval. It depends on nothing but the name.
func offset(name string, every time.Duration) time.Duration {
	if every <= 0 {
		return 0
	}
	h := fnv.New64a()
	h.Write([]byte(name))
	return time.Duration(h.Sum64() % uint64(every))
}

// backoff doubles from backoffMin to backoffMax, with full jitter above half.
func backoff(failures int) time.Duration {
	d := backoffMax
	if shift := failures - 1; shift < 16 {
		d = min(backoffMin<<max(shift, 0), backoffMax)
	}
	return d/2 + rand.N(d/2)
}

func retryAfter(err error) time.Duration {
	var status *ctlog.StatusError
	if errors.As(err, &status) {
		return status.RetryAfter
	}
	return 0
}

// sleep waits, and reports whether it was not interrupted.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
