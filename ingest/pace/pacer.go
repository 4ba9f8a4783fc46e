package pace

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"ctappliance/ingest/ctlog"
)

// Options bound a Pacer. Zero values mean the defaults.
type Options struct {
	Start       float64 // requests per second to begin with; default 8
	Max         float64 // hard cap in requests per second; 0 = none
	MaxInFlight int     // default 512
	State       *State  // what a former life has learnt; nil = nothing
}

// Pacer is the turnstile of one rate domain.
type Pacer struct {
	mu   sync.Mutex
	law  *law
	own  *share // of those who call the Pacer itself
	wake chan struct{}
	turn *waiter // who watches the clock

	heads  queue    // polls of heads, of all shares
	shares []*share // those with waiters
	turns  uint64   // of shares, so far
	polled bool     // the last launch was a head's
}

// share is one log's way into the domain.
type share struct {
	p     *Pacer
	queue queue
	last  uint64 // number of its last turn
}

type waiter struct {
	ready chan struct{}
	share *share
	head  bool
}

// queue is a FIFO that can be left.
type queue []*waiter

func (q *queue) take() *waiter {
	w := (*q)[0]
	(*q)[0] = nil
	if *q = (*q)[1:]; len(*q) == 0 {
		*q = nil
	}
	return w
}

func (q *queue) leave(w *waiter) {
	for i, other := range *q {
		if other == w {
			*q = append((*q)[:i:i], (*q)[i+1:]...)
			return
		}
	}
}

// New returns a pacer that knows what o tells it.
func New(o Options) *Pacer {
	p := &Pacer{wake: make(chan struct{}, 1)}
	p.law = newLaw(o, rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())), time.Now())
	p.own = &share{p: p}
	return p
}

// Share returns a turnstile into the domain for one log. Shares with waiters
// take turns, so that one log's backlog does not starve another log of the
// same host. The Pacer itself is a share too, of those who call it.
func (p *Pacer) Share() ctlog.Pacer { return &share{p: p} }

// Acquire waits for a turn, a free place in flight and the clock. It returns
// ctx's error if that ends first.
func (p *Pacer) Acquire(ctx context.Context, class ctlog.Class) (ctlog.Ticket, error) {
	return p.own.Acquire(ctx, class)
}

// Acquire is Pacer.Acquire for one log.
func (s *share) Acquire(ctx context.Context, class ctlog.Class) (ctlog.Ticket, error) {
	p := s.p
	w := &waiter{ready: make(chan struct{}), share: s, head: class == ctlog.ClassHead}
	p.mu.Lock()
	if p.turn == nil {
		p.law.arrive(time.Now())
	}
	p.enter(w)
	p.elect()
	p.mu.Unlock()

	select {
	case <-w.ready:
	case <-ctx.Done():
		p.leave(w)
		return nil, ctx.Err()
	}
	// It is our turn: nobody else launches until we do or give up.
	for {
		p.mu.Lock()
		now := time.Now()
		wait := p.law.wait(now)
		if wait == 0 {
			t := &ticket{p: p, tag: p.law.launch(now)}
			p.polled = w.head
			p.turn = nil
			p.elect()
			p.mu.Unlock()
			return t, nil
		}
		p.mu.Unlock()
		if !p.watch(ctx, wait) {
			p.leave(w)
			return nil, ctx.Err()
		}
	}
}

// watch waits for the clock, if wait is positive, or for something to change:
// a rate, a freeze, a place in flight. It reports whether ctx lasts.
func (p *Pacer) watch(ctx context.Context, wait time.Duration) bool {
	var clock <-chan time.Time
	if wait > 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		clock = timer.C
	}
	select {
	case <-clock:
	case <-p.wake:
	case <-ctx.Done():
		return false
	}
	return true
}

func (p *Pacer) enter(w *waiter) {
	if w.head {
		p.heads = append(p.heads, w)
		return
	}
	if len(w.share.queue) == 0 {
		p.shares = append(p.shares, w.share)
	}
	w.share.queue = append(w.share.queue, w)
}

// elect gives the turn to the next waiter, if nobody has it: heads first, but
// not two in a row while data waits; then the share whose last turn is longest
// ago.
func (p *Pacer) elect() {
	switch {
	case p.turn != nil:
		return
	case len(p.heads) > 0 && (!p.polled || len(p.shares) == 0):
		p.turn = p.heads.take()
	case len(p.shares) > 0:
		s := p.shares[0]
		for _, other := range p.shares[1:] {
			if other.last < s.last {
				s = other
			}
		}
		p.turns++
		s.last = p.turns
		p.turn = s.queue.take()
		if len(s.queue) == 0 {
			p.retire(s)
		}
	default:
		return
	}
	close(p.turn.ready)
}

// leave takes w out of its queue, or passes its turn on.
func (p *Pacer) leave(w *waiter) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.turn == w {
		p.turn = nil
		p.elect()
		return
	}
	if w.head {
		p.heads.leave(w)
		return
	}
	w.share.queue.leave(w)
	if len(w.share.queue) > 0 {
		return
	}
	p.retire(w.share)
}

// retire takes a share without waiters off the list of those with some.
func (p *Pacer) retire(s *share) {
	if i := slices.Index(p.shares, s); i >= 0 {
		p.shares = slices.Delete(p.shares, i, i+1)
	}
}

type ticket struct {
	p    *Pacer
	tag  tag
	once sync.Once
}

// Done reports the request's end. Only the first call counts.
func (t *ticket) Done(o ctlog.Outcome) { t.once.Do(func() { t.p.done(t.tag, o) }) }

func (p *Pacer) done(t tag, o ctlog.Outcome) {
	p.mu.Lock()
	p.law.done(time.Now(), t, o)
	p.mu.Unlock()
	p.nudge()
}

// SetLimits puts other hard caps in force, for the launches from now on: the
// rate in requests per second (0 = none), and the requests in flight (0 = the
// default). What has been learnt stays.
func (p *Pacer) SetLimits(maxRate float64, maxInFlight int) {
	p.mu.Lock()
	p.law.setLimits(time.Now(), maxRate, maxInFlight)
	p.mu.Unlock()
	p.nudge()
}

// nudge makes whoever watches the clock look again.
func (p *Pacer) nudge() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}
