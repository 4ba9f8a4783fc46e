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
	maxFreeze       = 5 * time.Minute
	timerSlack      = 2 * time.Millisecond

	startGrowth = 1.5
	startRound  = 10 // answers before start-up grows again
	round       = 60 // answers that a rate must survive
	roundDear   = 300
	tolerance   = 0.004  // share of refusals that a rate may meet where they cost nothing
	alarm       = 1.9    // refusals above the tolerance that are a verdict
	firstStep   = 0.015  // by how much a refused steady rate is lowered at first
	lastStep    = 0.25   // and at most
	credit      = 0.005  // refusals that one answer pays for
	creditDear  = 0.0006 // the same where a refusal blocks
	creditMost  = 4.0
	debtMost    = 100.0
	debtReact   = 10.0 // of the past, that a reaction leaves
	debtDear    = 300.0
	debtSearch  = 2.0
	provenRun   = 500  // answers after which a rate is proven
	collapse    = 0.85 // of the proven rate; below it the way back is tried soon
	idleShare   = 0.02 // share of time that blocks may cost
	closed      = 0.012
	closedDear  = 0.03
	probeGain   = 0.02
	probeMost   = 0.5
)

// law decides when the next request leaves, from the answers to earlier ones.
// It has no clock and no goroutines: who calls it says what time it is.
type law struct {
	o   Options
	rng *rand.Rand

	// The pace.
	rate     float64 // requests per second
	next     time.Time
	frozen   time.Time
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
	abroad   int  // of this epoch, in flight
	opened   bool // an answer of this epoch has come
	alone    bool // no second request before the first one's answer
	canaries int  // refused in a row
	onset    time.Time
	base     time.Duration // the wait that doubles

	// Trouble: from the first refusal until a rate has held again.
	trouble  time.Time
	admitted int
	downs    int
	step     float64

	// The way back after trouble that may pass.
	proven   float64       // highest rate that has held for long
	run      int           // answers in a row at lo or above
	retry    time.Time     // when the way back may be tried again
	pause    time.Duration // between two tries
	top      float64       // rate that had held for long when the trouble began
	returned bool          // it was tried, and no rate has been proven since
	back     bool          // it is being tried

	// What the epoch since the last overflow has shown.
	openAt  time.Time
	onsetAt time.Time // of the last overflow
	passed  int       // answers since openAt
	since   int       // answers since onsetAt
	lastRun float64   // seconds from openAt to the overflow before
	lastN   int
	lost    time.Duration // what the last overflow cost

	// Refusals that have nothing to do with the rate.
	noise                          float64
	suspects, testing, testRefused int
	tested                         float64
	testAfter                      uint64
	mean                           float64 // requests per second, the best average of 2000 lately
	pastGap, past                  float64 // seconds between answered launches, of the last 2000
	answeredAt                     time.Time

	score      float64
	credit     float64
	patient    time.Time     // no probes before it: blocks cost time
	waited     time.Duration // between the last refused canary and the next one
	voluntary  bool          // the last reaction was to a probe
	refusedFor time.Duration // longest time after an overflow that a canary was refused, lately
	told       bool          // the last refusal had a Retry-After
	blocks     bool          // the last refusal was followed by a block
	block      time.Duration // how long the next one is believed to last
	climbs     int           // of the bracket, without regard to what they may cost
	settled    bool          // the search for a limit that blocks has come to an end
	met        bool          // a limit has been met

	latency, spread float64 // seconds, smoothed
	share           float64 // of refusals, lately

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

func (l *law) answer(now time.Time, t tag) {
	took := now.Sub(t.at).Seconds()
	if l.latency == 0 {
		l.latency, l.spread = took, took/4
	} else {
		l.spread += (math.Abs(took-l.latency) - l.spread) / 16
		l.latency += (took - l.latency) / 16
	}
	l.share *= 1 - 1.0/1000
	l.score = max(0, l.score-max(tolerance, 1.2*l.noise))
	pay := credit
	if l.dear() {
		pay = creditDear
	}
	l.credit = min(l.credit+pay+l.noise, creditMost)
	l.healthy(now)
	if !l.trouble.IsZero() && t.at.After(l.trouble) {
		l.admitted++
	}
	if t.at.After(l.onsetAt) {
		l.since++
	}
	if gap := t.at.Sub(l.answeredAt).Seconds(); !l.answeredAt.IsZero() {
		if gap < 0 {
			gap = 0
		}
		l.past++
		l.pastGap += (gap - l.pastGap) / min(2000, l.past)
		if l.past >= 30 {
			keep := math.Exp(-gap / max(3600, 20000*l.pastGap))
			l.proven = max(1/l.pastGap, l.proven*keep)
			if l.past >= 2000 {
				l.mean = max(1/l.pastGap, l.mean*keep)
			}
		}
	}
	if t.at.After(l.answeredAt) {
		l.answeredAt = t.at
	}
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

// suspect is told of a reaction to a refusal. After several the question is
// whether refusals have to do with the rate at all: it is lowered by a tenth
// for a while, and what is refused then is noise. It reports whether that
// begins now, with to as the rate that would be next.
func (l *law) suspect(to float64) bool {
	l.suspects++
	if l.suspects < 3 || l.testing > 0 || l.requests < l.testAfter || l.blocks {
		return false
	}
	l.testing, l.testRefused, l.tested = testRun, 0, to
	return true
}

// test counts one more outcome of the test that suspect began.
func (l *law) test(now time.Time, refused bool) {
	if l.testing == 0 {
		return
	}
	l.testing--
	if refused {
		l.testRefused++
	}
	ran := testRun - l.testing
	switch {
	case l.canaries > 1, l.testRefused > 5 && 4*l.testRefused > ran:
		l.noise = 0 // this is the limit, and it is still lower
	case l.testing > 0:
		return
	case l.testRefused < 2, l.testRefused > testRun*3/100:
		l.noise = 0
	default:
		l.noise = min(float64(l.testRefused)/testRun, noiseMost)
	}
	l.testing, l.suspects = 0, 0
	l.testAfter = l.requests + 5000
	if l.noise > 0 {
		l.lo, l.hi, l.gain, l.downs, l.step = 0, 0, 0, 0, firstStep
		l.score, l.credit = 0, max(l.credit, 0)
		l.set(now, l.tested)
	}
}

const (
	testRun   = 800
	noiseMost = 0.006
)

// open ends the wait after a refusal: a request that left after it was
// answered.
func (l *law) open(t tag) {
	l.opened = true
	l.openAt, l.passed = t.at, 0
	if l.onset.IsZero() {
		return
	}
	lost := t.at.Sub(l.onset)
	l.lost = lost
	l.onset = time.Time{}
	if !l.told {
		short := max(300*time.Millisecond, seconds(2/l.rate))
		switch {
		case l.canaries > 0:
			if l.blocks {
				l.block = l.waited * 21 / 20 // of a block that each request begins anew, too
			} else {
				l.block = min(lost, maxFreeze)
			}
			l.blocks = lost > short
		case l.blocks:
			// It did not last longer. Find out how much shorter it is.
			l.block = max(l.block*9/10, l.refusedFor*21/20)
			l.blocks = l.block > short
		}
	}
	if lost > seconds(3/l.rate) {
		l.patient = t.at.Add(seconds(lost.Seconds() / idleShare))
	}
	l.canaries = 0
	l.refusedFor = l.refusedFor * 9 / 10
}

// judge asks whether the present rate has held, and what comes next.
func (l *law) judge(now time.Time) {
	n, rest := round, max(time.Second, seconds(1.5*l.latency))
	switch {
	case l.startup:
		n = startRound
	case l.back, l.rate < l.top*collapse:
		n = startRound
	case l.dear() && l.settled && l.downs == 0 && l.lo > 0:
		n, rest = roundDear, max(rest, 10*l.lost)
	case l.dear():
		n = int(min(max(4*l.lost.Seconds()*l.rate, 40), 300))
	}
	if l.answered < n || now.Sub(l.began) < rest || !l.opened {
		return
	}
	if real := float64(l.launched-1) / l.last.Sub(l.began).Seconds(); real < 0.85*l.rate*l.ease {
		// There was no demand for this rate: it has not been tried.
		l.restart(now)
		if l.idle++; l.idle >= 3 && l.gain > 0 {
			l.gain = 0
			l.set(now, l.lo)
		}
		return
	}
	l.idle = 0
	if l.ease < 1 {
		l.restart(now)
		return
	}
	if l.startup {
		l.lo = l.rate
		growth := startGrowth
		if l.inFlight > 16 {
			growth = 1.25
		}
		l.set(now, l.rate*growth)
		return
	}
	l.held(now)
}

// held is told that the present rate has held for a round.
func (l *law) held(now time.Time) {
	l.downs, l.trouble, l.admitted = 0, time.Time{}, 0
	if l.testing > 0 {
		l.restart(now)
		return
	}
	if l.rate > l.lo && l.lo > 0 {
		l.step = firstStep
		if l.rate > 0.97*l.proven {
			l.suspects = 0
		}
	}
	l.lo = l.rate
	if l.lo >= l.hi {
		l.hi = 0
	}
	l.run += l.answered
	if l.lo >= l.top*0.98 {
		if l.back {
			l.back, l.gain = false, 0
		}
		if l.run >= provenRun {
			l.pause, l.returned = 0, false
		}
	}
	if l.lo < 0.5*l.mean {
		// Far below what was served on the average: whatever the reasons were,
		// they may be gone.
		l.top = max(l.top, min(0.8*l.mean, 3*l.lo))
	}
	if l.lo < l.top*0.97 && !l.back {
		switch {
		case l.pause == 0:
			l.pause = max(5*time.Second, 3*l.lost)
			if l.dear() {
				l.pause = max(l.pause, 10*l.lost)
			}
			l.retry = now.Add(l.pause)
		case now.After(l.retry):
			l.back, l.returned, l.hi, l.gain = true, true, 0, 0
		}
	}
	gap := closed
	if l.dear() {
		gap = closedDear
	}
	may := l.credit >= 1 && !now.Before(l.patient)
	switch {
	case l.back:
		l.begin()
		if l.lo > 0.75*l.top {
			l.set(now, l.top)
		} else {
			l.set(now, (l.lo+l.top)/2)
		}
	case l.hi > 0 && l.hi > l.lo*(1+gap):
		free := l.hi > l.lo*1.15
		if l.dear() {
			free = !l.settled && l.climbs < 6
		}
		if l.dear() && l.settled {
			// The last step has held for long, or there is far to go.
			free = l.gain > 0 || l.hi > l.lo*1.15 && now.Sub(l.openAt) > 10*l.lost
		}
		if !free && !may {
			l.gain = 0
			l.restart(now)
			return
		}
		l.climbs++
		if l.dear() && l.settled {
			if l.gain == 0 {
				l.begin()
			} else {
				l.gain = min(2*l.gain, probeMost)
			}
			l.set(now, min((l.lo+l.hi)/2, l.lo*(1+l.gain)))
			return
		}
		l.begin()
		l.set(now, min((l.lo+l.hi)/2, l.lo*startGrowth))
	case l.hi == 0 && l.gain > 0:
		most := probeMost
		if l.spent < 1.5*l.burst+10 {
			most = max(probeGain, min(probeMost, 4/float64(l.inFlight+1)))
		}
		if !l.dear() || l.settled || l.spent > 1.5*l.burst+10 {
			l.gain = min(l.gain*2, most)
		}
		l.set(now, l.lo*(1+l.gain))
	case may:
		l.begin()
		l.hi = 0
		l.set(now, l.lo*(1+l.gain))
	default:
		l.gain = 0
		if !l.settled && l.dear() {
			l.settled, l.credit = true, 0
		}
		l.restart(now)
	}
}

func (l *law) begin() {
	if l.gain == 0 {
		l.spent = 0
	}
	l.gain = probeGain
}

func (l *law) set(now time.Time, rate float64) {
	if l.o.Max > 0 {
		rate = min(rate, l.o.Max)
	}
	l.rate = min(max(rate, minRate), maxRate)
	l.replan(now)
	l.restart(now)
}

// replan moves the launch that was planned at an old rate.
func (l *law) replan(now time.Time) {
	if latest := now.Add(seconds(1.005 / (l.rate * l.ease))); l.next.After(latest) {
		l.next = latest
	}
}

// restart begins a trial.
func (l *law) restart(now time.Time) {
	l.trial++
	l.launched, l.answered = 0, 0
}
