package pace

import (
	"math"
	"time"
)

// refused is told of a refusal.
func (l *law) refused(now time.Time, t tag, retryAfter time.Duration) {
	l.refusals++
	l.refusedAt = now
	l.share = l.share*(1-1.0/1000) + 1.0/1000
	l.test(now, true)
	l.told = retryAfter > 0
	l.met = true
	if retryAfter > 0 {
		l.freeze(now, retryAfter+seconds(l.rng.Float64()*0.1*retryAfter.Seconds()))
	}
	if t.epoch != l.epoch {
		// It was on its way when we reacted.
		l.charge()
		return
	}
	if !l.opened && l.epoch > 0 {
		// A canary: wait longer, lower nothing.
		l.charge()
		l.canaries++
		l.refusedFor = max(l.refusedFor, t.at.Sub(l.onset))
		l.waited = l.base << min(l.canaries, 20)
		if l.blocks && !l.told {
			l.waited = max(l.waited, seconds(l.block.Seconds()*math.Pow(1.25, float64(min(l.canaries, 20)))))
		}
		l.waited = min(l.waited, maxFreeze)
		l.freeze(now, l.waited)
		l.turn(true)
		return
	}
	l.score++
	l.charge()
	if !l.startup && (l.testing > 0 || l.score < alarm && (!l.dear() || l.noise > 0.001)) {
		l.freeze(now, seconds(1.5/l.rate))
		return
	}
	l.react(now, t)
}

// charge takes a refusal from the budget, unless it is part of a trouble that
// we have not asked for.
func (l *law) charge() {
	if !l.voluntary && !l.trouble.IsZero() {
		return
	}
	most := debtMost
	switch {
	case l.dear() && l.settled:
		most = debtDear
	case l.dear():
		most = debtSearch
	}
	l.credit = max(l.credit-1, -most)
}

// freeze lets nothing leave for d, or for what is left of a longer freeze.
func (l *law) freeze(now time.Time, d time.Duration) {
	if until := now.Add(d); until.After(l.frozen) {
		l.frozen = until
	}
}

// turn begins an epoch; alone if its first request is to be answered before the
// second one leaves.
func (l *law) turn(alone bool) {
	l.epoch++
	l.abroad = 0
	l.opened = false
	l.alone = alone
	l.score = 0
}

// react lowers the rate: the one at which t was launched is too high.
func (l *law) react(now time.Time, t tag) {
	held, probing, first := l.lo, l.gain > 0, l.startup
	if l.dear() && !l.settled {
		l.credit = max(l.credit, -debtAgain)
	}
	if l.trouble.IsZero() {
		l.trouble, l.admitted = t.at, 0
	}
	to := l.lower(now, t)
	l.onsetAt, l.since = t.at, 0
	if l.downs == 0 && l.run >= topRun && !l.returned && (!l.dear() || t.at.Sub(l.openAt) > 10*l.lost) {
		l.top = min(t.rate, held)
		if !l.dear() || !l.settled {
			l.top = min(l.top, 1.03*l.proven) // it may have held by its burst only
		}
	}
	if l.returned {
		// The way back has ended here: not so high, and not so soon.
		l.back, l.returned = false, false
		l.top *= 0.95
		l.pause = min(3*l.pause, time.Hour)
		l.retry = now.Add(l.pause)
	}
	if !first && !probing && l.run > topRun && l.suspect(to) {
		to *= 0.9
	}
	l.run, l.gain, l.voluntary, l.startup = 0, 0, probing, false
	l.downs++
	l.hi = t.rate
	l.onset, l.canaries = t.at, 0
	l.base = seconds(1.5/t.rate + l.spread)
	if l.told {
		l.base = max(l.base, l.frozen.Sub(now))
	}
	if l.blocks && !l.told {
		l.freeze(now, l.block)
	}
	l.freeze(now, l.base)
	l.turn(l.dear() || first || l.burnt)
	l.set(now, to)
}

// lower returns the rate after a reaction to the refusal of t.
func (l *law) lower(now time.Time, t tag) (to float64) {
	refused := t.rate
	ran := t.at.Sub(l.openAt).Seconds()
	least := 0.0 // what has been served since the last overflow is no more than the limit
	if !l.onsetAt.IsZero() && l.since >= 20 {
		least = float64(l.since) / t.at.Sub(l.onsetAt).Seconds()
	}
	if l.downs == 0 && l.run >= provenRun {
		l.step = firstStep
	}
	lastRun, lastN := l.lastRun, l.lastN
	l.lastRun = 0
	if l.dear() && !l.startup {
		l.lastRun, l.lastN = ran, l.passed
	}
	switch {
	case l.startup:
		to = l.lo * 0.95
		if l.lo == 0 {
			to = refused * 0.6
		}
		l.credit = creditMost
	case l.lo > 0 && refused > l.lo*1.002:
		l.burst = l.spent
		return l.lo // a probe has failed
	case l.dear() && lastRun > 0 && ran > 1.3*lastRun:
		// Of two overflows from a bucket as full, what was served more in the
		// longer run is what came in meanwhile.
		l.settled = true
		limit := float64(l.passed-lastN) / (ran - lastRun)
		to = (limit + refused*(1-l.step)) / 2
		to = min(max(to*0.99, least*0.99, refused*0.3), refused*0.995)
		l.step = min(2*l.step, lastStep)
	case l.downs < 2 || l.dear():
		to = min(max(refused*(1-l.step), least*0.99), refused*0.995)
		l.step = min(2*l.step, lastStep)
		if l.downs >= crashDown {
			l.step = crashStep
		}
	default:
		// Far too high: between what was refused and what was served since.
		served := 0.0
		if dt := now.Sub(l.trouble).Seconds(); dt > 0 {
			served = max(0, float64(l.admitted)-0.5) / dt
		}
		to = min(max(math.Sqrt(served*refused), refused/4), refused*0.95)
	}
	l.lo = 0
	return to
}
