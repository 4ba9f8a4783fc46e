package pace

import (
	"math"
	"time"
)

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
			l.waited = max(l.waited, seconds(l.block.Seconds()*math.Pow(1.25, float64(l.canaries))))
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

func (l *law) charge() {
	if !l.voluntary && l.trouble.After(time.Time{}) {
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

func (l *law) freeze(now time.Time, d time.Duration) {
	if until := now.Add(d); until.After(l.frozen) {
		l.frozen = until
	}
}

// turn begins an epoch.
func (l *law) turn(alone bool) {
	l.epoch++
	l.abroad = 0
	l.opened = false
	l.alone = alone
	l.score = 0
}

// react lowers the rate: the one at which t was launched is too high.
func (l *law) react(now time.Time, t tag) {
	refused := t.rate
	held := l.lo
	if l.dear() {
		l.credit = max(l.credit, -2)
	} else {
		l.credit = max(l.credit, -debtReact)
	}
	if l.trouble.IsZero() {
		l.trouble, l.admitted = t.at, 0
	}
	to := 0.0
	ran := t.at.Sub(l.openAt).Seconds()
	between := t.at.Sub(l.onsetAt).Seconds()
	least := 0.0 // what has been admitted since the last overflow is no more than the limit
	if !l.onsetAt.IsZero() && l.since >= 20 {
		least = float64(l.since) / between
	}
	if l.downs == 0 && l.run >= 500 {
		l.step = firstStep
	}
	switch {
	case l.startup:
		to = l.lo * 0.95
		if l.lo == 0 {
			to = refused * 0.6
		}
		l.lo = 0
		l.credit = creditMost
	case l.lo > 0 && refused > l.lo*1.002:
		to = l.lo
		l.burst = l.spent
	case l.dear() && l.lastRun > 0 && ran > 1.3*l.lastRun:
		l.settled = true
		to = (float64(l.passed) - float64(l.lastN)) / (ran - l.lastRun)
		to = (to + refused*(1-l.step)) / 2
		l.step = min(2*l.step, lastStep)
		to = min(max(to*0.99, least*0.99, refused*0.3), refused*0.995)
		l.lo = 0
	case l.downs < 2 || l.dear():
		to = min(max(refused*(1-l.step), least*0.99), refused*0.995)
		l.step = min(2*l.step, lastStep)
		if l.downs >= 6 {
			l.step = 0.5
		}
		l.lo = 0
	default:
		floor := 0.0
		if dt := now.Sub(l.trouble).Seconds(); dt > 0 {
			floor = max(0, float64(l.admitted)-0.5) / dt
		}
		to = min(max(math.Sqrt(floor*refused), refused/4), refused*0.95)
		l.lo = 0
	}
	if l.dear() && !l.startup {
		l.lastRun, l.lastN = ran, l.passed
	} else {
		l.lastRun = 0
	}
	gain := l.gain
	l.onsetAt, l.since = t.at, 0
	if l.downs == 0 && l.run >= 300 && !l.returned && (!l.dear() || t.at.Sub(l.openAt) > 10*l.lost) {
		l.top = min(refused, held)
		if !l.dear() || !l.settled {
			l.top = min(l.top, 1.03*l.proven)
		}
	}
	if l.returned {
		l.back, l.returned = false, false
		l.top *= 0.95
		l.pause = min(3*l.pause, time.Hour)
		l.retry = now.Add(l.pause)
	}
	if !l.startup && gain == 0 && l.run > 300 && l.suspect(to) {
		to *= 0.9
	}
	l.run = 0
	l.voluntary = gain > 0 && !l.returned
	first := l.startup
	l.startup = false
	l.downs++
	l.gain = 0
	l.hi = refused
	l.onset = t.at
	l.canaries = 0
	l.base = max(seconds(1.5/refused+l.spread), time.Duration(0))
	if l.told {
		l.base = max(l.base, l.frozen.Sub(now))
	}
	if l.blocks && !l.told {
		l.freeze(now, l.block)
	}
	l.freeze(now, l.base)
	l.turn(l.dear() || first)
	l.set(now, to)
}
