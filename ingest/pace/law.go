package pace

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"time"

	"ctappliance/ingest/ctlog"
)

const (
	defaultStart    = 8
	defaultInFlight = 512
	minRate         = 1.0 / 300 // one request in five minutes
	maxRate         = 100_000
	maxFreeze       = 5 * time.Minute // unless a Retry-After is longer
	timerSlack      = 2 * time.Millisecond

	// Growth and rounds.
	startGrowth = 1.5   // of start-up, per round
	slowGrowth  = 1.25  // the same with more than slowFlight in flight
	slowFlight  = 16    // because that is what an overflow costs
	startRound  = 10    // answers of a round of start-up, or of the way back
	round       = 60    // answers that a rate must survive
	roundDear   = 300   // the same where a refusal blocks
	closed      = 0.012 // width of the bracket that is not searched any more
	closedDear  = 0.03
	probeGain   = 0.02 // of the first probe, and of all while the burst may still feed them
	probeMost   = 0.5
	dearClimbs  = 6 // in the first search for a limit that blocks

	// Verdicts and steps.
	tolerance = 0.004 // share of refusals that a rate may meet where they cost nothing
	alarm     = 1.9   // refusals above the tolerance that are a verdict
	firstStep = 0.015 // by how much a refused steady rate is lowered at first
	lastStep  = 0.25  // and at most
	crashStep = 0.5   // after crashDowns in a row
	crashDown = 6

	// The budget of refusals.
	credit     = 0.005  // refusals that one answer pays for
	creditDear = 0.0006 // the same where a refusal blocks
	creditMost = 4.0
	debtMost   = 100.0
	debtDear   = 300.0
	debtSearch = 2.0  // where a refusal blocks, in the first search
	debtAgain  = 2.0  // of the past, that a reaction leaves where refusals block
	idleShare  = 0.02 // share of time that blocks may cost

	// The way back.
	provenRun = 500  // answers after which it has succeeded
	topRun    = 300  // answers after which a rate may be what to go back to
	collapse  = 0.85 // of the rate to go back to; below, rounds are short
)

// law decides when the next request leaves, from the answers to earlier ones.
// It has no clock and no goroutines: who calls it says what time it is.
type law struct {
	o   Options
	rng *rand.Rand

	// The pace.
	rate     float64   // requests per second
	next     time.Time // no launch before it
	frozen   time.Time // no launch before it either: set by refusals
	inFlight int

	// What is known of the limit.
	lo      float64 // highest rate that has held; 0 = none
	hi      float64 // lowest rate above lo that was refused; 0 = none
	startup bool
	gain    float64 // of the present run of probes; 0 = not probing
	burst   float64 // requests above lo that the last overflow took
	spent   float64 // requests above lo in this run of probes

	// The present trial: launches at one rate.
	trial    int
	began    time.Time
	launched int
	last     time.Time // last launch of the trial
	answered int
	idle     int // trials in a row without demand for their rate

	// The present epoch: launches since the last reaction to a refusal.
	epoch    int
	abroad   int           // of this epoch, in flight
	opened   bool          // an answer of this epoch has come
	alone    bool          // no second request before the first one's answer
	canaries int           // refused in a row
	onset    time.Time     // of the overflow whose cost is not known yet
	base     time.Duration // the wait that doubles

	// Trouble: from the first refusal until a rate has held again.
	trouble  time.Time
	admitted int     // answers since then
	downs    int     // reactions since then
	step     float64 // by which the next reaction lowers a steady rate

	// The way back after trouble that may pass.
	top      float64       // rate that had held for long when the trouble began
	run      int           // answers since the last reaction, of rounds that have held
	retry    time.Time     // when the way back may be tried again
	pause    time.Duration // between two tries
	back     bool          // it is being tried
	returned bool          // it was tried, and no rate has held for long since
	proven   float64       // requests per second served, the best average lately
	mean     float64       // the same of the last longMemory alone
	gap      float64       // seconds between answered launches, their average
	gaps     float64       // that it is the average of, longMemory at most
	served   time.Time     // last answered launch

	// What the epoch since the last overflow has shown.
	openAt  time.Time     // when its first answered request left
	onsetAt time.Time     // when the request left that showed the last overflow
	passed  int           // answers since openAt
	since   int           // answers since onsetAt
	lastRun float64       // seconds from openAt to the overflow before
	lastN   int           // and answers
	lost    time.Duration // what the last overflow cost

	// Refusals that have nothing to do with the rate.
	noise       float64 // their share
	suspects    int     // reactions that make one doubt
	testing     int     // outcomes that the test still wants
	testRefused int
	tested      float64 // rate after the test
	testAfter   uint64  // no test before that many requests

	// The budget.
	score     float64
	credit    float64
	patient   time.Time // no probes before it: blocks cost time
	voluntary bool      // the last reaction was to a probe

	// What a refusal costs.
	told       bool          // the last one had a Retry-After
	blocks     bool          // the last one was followed by a block
	block      time.Duration // how long the next block is believed to last
	waited     time.Duration // between the last refused canary and the next one
	refusedFor time.Duration // longest time after an overflow that a canary was refused, lately
	burnt      bool          // the last reaction was followed by refused canaries
	climbs     int           // steps in the first search
	settled    bool          // that search has come to an end

	met             bool    // a limit has been met
	latency, spread float64 // of answers, in seconds, smoothed
	share           float64 // of refusals, in the last thousand or so

	// Failures that are no refusals.
	ease      float64 // factor on the rate
	eased     time.Time
	well      time.Time // when most requests were answered last
	failEpoch int
	window    int
	failures  int
	wellSince int

	requests, refusals uint64
	refusedAt          time.Time
}

// tag is what a request carries from its launch to its end.
type tag struct {
	at                      time.Time
	epoch, trial, failEpoch int
	rate                    float64
}

func newLaw(o Options, rng *rand.Rand, now time.Time) *law {
	if o.Start <= 0 {
		o.Start = defaultStart
	}
	if o.MaxInFlight <= 0 {
		o.MaxInFlight = defaultInFlight
	}
	l := &law{o: o, rng: rng, startup: true, ease: 1, well: now, step: firstStep, credit: creditMost}
	l.set(now, o.Start)
	if o.State != nil {
		l.recall(*o.State, now)
	}
	return l
}

// setLimits changes the hard caps.
func (l *law) setLimits(now time.Time, maxRate float64, maxInFlight int) {
	l.o.Max, l.o.MaxInFlight = maxRate, maxInFlight
	if maxInFlight <= 0 {
		l.o.MaxInFlight = defaultInFlight
	}
	if maxRate > 0 && l.rate > maxRate {
		l.set(now, maxRate)
	}
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// dear reports whether a refusal costs time, and not only itself.
func (l *law) dear() bool { return l.told || l.blocks }

// room is how many requests may be under way.
func (l *law) room() int {
	if l.latency == 0 {
		return l.o.MaxInFlight
	}
	return min(l.o.MaxInFlight, 8+int(2*l.rate*l.latency))
}

// wait returns how long the next launch has to wait; negative if only the end
// of a request can allow it.
func (l *law) wait(now time.Time) time.Duration {
	if l.inFlight >= l.room() || l.alone && !l.opened && l.abroad > 0 {
		return -1
	}
	return max(l.next.Sub(now), l.frozen.Sub(now), 0)
}

// arrive is told of a waiter where there was none: an idle domain has not
// saved up launches.
func (l *law) arrive(now time.Time) {
	if l.next.Before(now) {
		l.next = now
	}
}

// launch books a request that leaves now.
func (l *law) launch(now time.Time) tag {
	gap := (0.995 + 0.01*l.rng.Float64()) / (l.rate * l.ease)
	// What is late by the timer's coarseness is caught up with. What is late
	// for another reason, a freeze or too many in flight, is not: limits that
	// know no burst refuse it.
	if late := now.Add(-timerSlack); l.next.Before(late) {
		l.next = late
	}
	if l.next.Before(l.frozen) {
		l.next = l.frozen
	}
	l.next = l.next.Add(seconds(gap))
	l.inFlight++
	l.abroad++
	l.requests++
	if l.launched++; l.launched == 1 {
		l.began = now
	}
	l.last = now
	return tag{at: now, epoch: l.epoch, trial: l.trial, failEpoch: l.failEpoch, rate: l.rate}
}

// done is told how a request ended.
func (l *law) done(now time.Time, t tag, o ctlog.Outcome) {
	blocked := l.wait(now) < 0
	l.inFlight--
	if t.epoch == l.epoch {
		l.abroad--
	}
	if blocked {
		defer l.arrive(now) // what could not leave before is not caught up with
	}
	switch {
	case o.Status == 429 || o.Status == 503 && o.RetryAfter > 0:
		l.refused(now, t, o.RetryAfter)
	case errors.Is(o.Err, context.Canceled):
		// We broke it off ourselves.
	case o.Err != nil || o.Status == 0 || o.Status >= 500:
		l.failed(now, t)
	default:
		l.answer(now, t)
	}
}

// timed learns how long an answer took, in seconds.
func (l *law) timed(took float64) {
	if l.latency == 0 {
		l.latency, l.spread = took, took/4
		return
	}
	l.spread += (math.Abs(took-l.latency) - l.spread) / 16
	l.latency += (took - l.latency) / 16
}

// answer is told of a request that was served.
func (l *law) answer(now time.Time, t tag) {
	l.timed(now.Sub(t.at).Seconds())
	l.share *= 1 - 1.0/1000
	l.score = max(0, l.score-max(tolerance, l.noise))
	pay := credit
	if l.dear() {
		pay = creditDear
	}
	l.credit = min(l.credit+pay+l.noise/2, creditMost)
	l.healthy(now)
	if !l.trouble.IsZero() && t.at.After(l.trouble) {
		l.admitted++
	}
	if t.at.After(l.onsetAt) {
		l.since++
	}
	l.remember(t)
	l.test(now, false)
	if t.epoch == l.epoch && !l.opened {
		l.open(t)
	}
	if l.gain > 0 && t.trial == l.trial && l.lo > 0 {
		l.spent += max(0, 1-l.lo/t.rate)
	}
	if t.epoch == l.epoch {
		l.passed++
	}
	if t.trial == l.trial {
		l.answered++
		l.judge(now)
	}
}

// set changes the rate, from the next launch on.
func (l *law) set(now time.Time, rate float64) {
	if l.o.Max > 0 {
		rate = min(rate, l.o.Max)
	}
	l.rate = min(max(rate, minRate), maxRate)
	l.replan(now)
	l.restart()
}

// replan moves the launch that was planned at an old rate.
func (l *law) replan(now time.Time) {
	if latest := now.Add(seconds(1.005 / (l.rate * l.ease))); l.next.After(latest) {
		l.next = latest
	}
}

// restart begins a trial.
func (l *law) restart() {
	l.trial++
	l.launched, l.answered = 0, 0
}
