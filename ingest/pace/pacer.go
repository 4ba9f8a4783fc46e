package pace

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"ctappliance/ingest/ctlog"
)

// Options bound a Pacer. Zero values mean the defaults.
type Options struct {
	Start       float64 // requests per second to begin with; default 8
	Max         float64 // hard cap in requests per second; 0 = none
	MaxInFlight int     // default 64
	State       *State  // what a former life has learnt; nil = nothing
}

// State is what a pacer has learnt, for the next life.
type State struct {
	Rate  float64   `json:"rate"`  // requests per second
	Limit float64   `json:"limit"` // found limit in requests per second; 0 = none met
	At    time.Time `json:"at"`
}

// State returns what the pacer has learnt so far.
func (p *Pacer) State() State {
	p.mu.Lock()
	defer p.mu.Unlock()
	return State{Rate: p.rate, At: time.Now()}
}

// Share returns a turnstile into the domain for one log: shares take turns, so
// that one log's backlog does not starve another log of the same host.
func (p *Pacer) Share() ctlog.Pacer { return p }

const (
	defaultStart    = 8
	defaultInFlight = 64
	minRate         = 1.0 / 300 // one request in five minutes
	maxRate         = 100_000
	maxFreeze       = 5 * time.Minute
	maxPenalty      = time.Minute
	timerSlack      = 2 * time.Millisecond
	failureFloor    = 0.1 // requests per second below which failures do not push the rate
)

// Pacer is the turnstile of one rate domain.
type Pacer struct {
	o Options

	mu       sync.Mutex
	rate     float64   // requests per second
	next     time.Time // no launch before it
	frozen   time.Time // no launch before it either: set by refusals
	inFlight int
	waiting  [2][]*waiter // heads first, then the rest; FIFO each
	turn     *waiter      // who watches the clock
	wake     chan struct{}
	epoch    int // grows with every reaction; tickets remember theirs

	startup  bool
	good     float64 // the rate before failures lowered it; 0 if they did not
	answers  int     // since the last change of rate
	changed  time.Time
	steps    int           // of growth since the last reaction to a refusal
	penalty  time.Duration // what the last refusal cost
	canary   int           // refusals in a row
	window   int           // answers and failures in the present window
	failures int
	refusals uint64
	requests uint64
}

type waiter struct{ ready chan struct{} }

// New returns a pacer in its start-up mode.
func New(o Options) *Pacer {
	if o.Start <= 0 {
		o.Start = defaultStart
	}
	if o.MaxInFlight <= 0 {
		o.MaxInFlight = defaultInFlight
	}
	p := &Pacer{o: o, rate: o.Start, startup: true, wake: make(chan struct{}, 1)}
	p.rate = p.clamp(p.rate)
	return p
}

// Acquire waits for a turn, a free place in flight and the clock. It returns
// ctx's error if that ends first.
func (p *Pacer) Acquire(ctx context.Context, class ctlog.Class) (ctlog.Ticket, error) {
	w := &waiter{ready: make(chan struct{})}
	queue := 1
	if class == ctlog.ClassHead {
		queue = 0
	}
	p.mu.Lock()
	if now := time.Now(); p.turn == nil && p.next.Before(now) {
		p.next = now // nobody waits: an idle domain has not saved up launches
	}
	p.waiting[queue] = append(p.waiting[queue], w)
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
		wait := max(p.next.Sub(now), p.frozen.Sub(now))
		if wait <= 0 && p.inFlight < p.o.MaxInFlight {
			t := p.launch(now)
			p.turn = nil
			p.elect()
			p.mu.Unlock()
			return t, nil
		}
		full := p.inFlight >= p.o.MaxInFlight
		p.mu.Unlock()

		if wait <= 0 && !full {
			continue
		}
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

// elect gives the turn to the first waiter, if nobody has it.
func (p *Pacer) elect() {
	if p.turn != nil {
		return
	}
	for q := range p.waiting {
		if len(p.waiting[q]) > 0 {
			p.turn = p.waiting[q][0]
			p.waiting[q] = p.waiting[q][1:]
			close(p.turn.ready)
			return
		}
	}
}

// leave takes w out of the queue, or passes its turn on.
func (p *Pacer) leave(w *waiter) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.turn == w {
		p.turn = nil
		p.elect()
		return
	}
	for q := range p.waiting {
		for i, other := range p.waiting[q] {
			if other == w {
				p.waiting[q] = append(p.waiting[q][:i:i], p.waiting[q][i+1:]...)
				return
			}
		}
	}
}

// launch books a request that leaves now.
func (p *Pacer) launch(now time.Time) *ticket {
	gap := (0.995 + 0.01*rand.Float64()) / p.rate
	// What is late by the timer's coarseness is caught up with. What is late
	// for another reason, a freeze or too many in flight, is not: limits that
	// know no burst refuse it.
	if late := now.Add(-timerSlack); p.next.Before(late) {
		p.next = late
	}
	if p.next.Before(p.frozen) {
		p.next = p.frozen
	}
	p.next = p.next.Add(time.Duration(gap * float64(time.Second)))
	p.inFlight++
	p.requests++
	return &ticket{p: p, epoch: p.epoch}
}

type ticket struct {
	p     *Pacer
	epoch int
	once  sync.Once
}

// Done reports the request's end. Only the first call counts.
func (t *ticket) Done(o ctlog.Outcome) { t.once.Do(func() { t.p.done(t.epoch, o) }) }

func (p *Pacer) done(epoch int, o ctlog.Outcome) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.inFlight--
	now := time.Now()
	switch {
	case o.Status == 429 || o.Status == 503 && o.RetryAfter > 0:
		p.refused(now, epoch, o.RetryAfter)
	case errors.Is(o.Err, context.Canceled):
		// We broke it off ourselves.
	case o.Err != nil || o.Status == 0 || o.Status >= 500:
		p.failed(now, epoch)
	default:
		p.answered(now)
	}
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

func (p *Pacer) answered(now time.Time) {
	p.canary = 0
	p.answers++
	p.roll()
	need, grow, rest := 100, 1.02, max(time.Second, 10*p.penalty)
	switch {
	case p.startup || p.rate < p.good:
		need, grow, rest = 10, 1.5, time.Second
	case p.steps >= 16:
		grow = 1.2 // the limit is not where it was
	case p.steps >= 8:
		grow = 1.05
	}
	if p.answers < need || now.Sub(p.changed) < rest {
		return
	}
	p.steps++
	rate := p.rate * grow
	if !p.startup && p.rate < p.good && rate >= p.good {
		rate, p.good = p.good, 0
	}
	p.set(now, rate)
}

func (p *Pacer) refused(now time.Time, epoch int, retryAfter time.Duration) {
	p.refusals++
	lower := 0.95
	if p.startup || p.steps == 0 {
		lower = 0.85 // no rate below this one has been seen to hold
	}
	p.startup, p.good = false, 0
	freeze := retryAfter + time.Duration(rand.Float64()*0.1*float64(retryAfter))
	if epoch == p.epoch {
		if p.canary == 0 {
			p.set(now, p.rate*lower)
			p.steps = 0
		}
		p.canary++
		p.epoch++
	}
	if retryAfter <= 0 {
		doublings := min(max(p.canary-1, 0), 16)
		freeze = min(time.Duration(1.5/p.rate*float64(time.Second))<<doublings, maxFreeze)
	}
	p.penalty = min(freeze, maxPenalty)
	if until := now.Add(freeze); until.After(p.frozen) {
		p.frozen = until
	}
}

func (p *Pacer) failed(now time.Time, epoch int) {
	p.failures++
	p.roll()
	if epoch == p.epoch && p.window >= 20 && p.failures*20 > p.window {
		p.startup = false
		p.epoch++
		p.window, p.failures = 0, 0
		p.good = max(p.good, p.rate)
		p.set(now, max(p.rate*0.7, min(p.rate, failureFloor)))
	}
}

// roll counts one more outcome, forgetting half of the past every 200.
func (p *Pacer) roll() {
	if p.window++; p.window > 200 {
		p.window /= 2
		p.failures /= 2
	}
}

func (p *Pacer) set(now time.Time, rate float64) {
	p.rate = p.clamp(rate)
	p.answers = 0
	p.changed = now
	// The launch that was planned at the old rate moves with the new one.
	if latest := now.Add(time.Duration(1.005 / p.rate * float64(time.Second))); p.next.After(latest) {
		p.next = latest
	}
}

func (p *Pacer) clamp(rate float64) float64 {
	if p.o.Max > 0 {
		rate = min(rate, p.o.Max)
	}
	return min(max(rate, minRate), maxRate)
}

// Snapshot is what status says of a rate domain.
type Snapshot struct {
	Rate     float64       `json:"rate"`      // requests per second allowed now
	Startup  bool          `json:"startup"`   // no limit met yet
	Frozen   time.Duration `json:"frozen"`    // until the next launch, after a refusal
	InFlight int           `json:"in_flight"` // requests on their way
	Requests uint64        `json:"requests"`
	Refusals uint64        `json:"refusals"`
	Limit    float64       `json:"limit"`            // found limit in requests per second; 0 = none met
	Refused  time.Time     `json:"refused,omitzero"` // when the last request was refused
}

// Snapshot returns the pacer's present state.
func (p *Pacer) Snapshot() Snapshot {
	p.mu.Lock()
	defer p.mu.Unlock()
	return Snapshot{Rate: p.rate, Startup: p.startup, Frozen: max(0, time.Until(p.frozen)), InFlight: p.inFlight, Requests: p.requests, Refusals: p.refusals}
}
