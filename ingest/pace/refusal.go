package pace

import (
	"math"
	"time"
)

func (l *law) refused(now time.Time, t tag, retryAfter time.Duration) {
	l.refusals++
	l.refusedAt = now
	l.share = l.share*(1-1.0/1000) + 1.0/1000
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
		l.freeze(now, min(l.base<<min(l.canaries, 20), maxFreeze))
		l.turn(true)
		return
	}
	l.score++
	l.charge()
	l.listen(1)
	if l.score < alarm && !l.dear() && !l.startup {
		l.freeze(now, seconds(1.5/l.rate))
		return
	}
	l.react(now, t)
}

func (l *law) charge() {
	most := debtMost
	if l.dear() {
		most = debtDear
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
	switch {
	case l.startup:
		to = refused / startGrowth * 0.95
		l.lo = 0
		l.credit = creditMost
	case l.lo > 0 && refused > l.lo*1.002:
		to = l.lo
		l.burst = l.spent
	case l.dear() && l.lastRun > 0 && ran > 1.3*l.lastRun && l.passed > l.lastN:
		to = (float64(l.passed) - float64(l.lastN)) / (ran - l.lastRun)
		to = min(max(to*0.99, least*0.99, refused*(1-lastStep)), refused*0.995)
		l.lo = 0
	case l.downs < 2:
		to = min(max(refused*(1-l.step), least*0.99), refused*0.995)
		l.step = min(2*l.step, lastStep)
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
	l.onsetAt, l.since, l.run = t.at, 0, 0
	if l.back {
		l.back = false
		l.proven *= 0.95
		l.pause = min(3*l.pause, time.Hour)
		l.retry = now.Add(l.pause)
	}
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
