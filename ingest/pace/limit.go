package pace

import "time"

// open ends the wait after a refusal: a request that left after it was
// answered.
func (l *law) open(t tag) {
	l.opened = true
	l.openAt, l.passed = t.at, 0
	if l.onset.IsZero() {
		return
	}
	lost := min(t.at.Sub(l.onset), maxFreeze)
	l.lost = lost
	l.onset = time.Time{}
	if !l.told {
		short := max(300*time.Millisecond, seconds(2/l.rate))
		switch {
		case l.canaries > 0:
			if l.blocks {
				l.block = l.waited * 21 / 20 // of a block that each request begins anew, too
			} else {
				l.block = lost
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
	l.burnt, l.canaries = l.canaries > 0, 0
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
		l.restart()
		if l.idle++; l.idle >= 3 && l.gain > 0 {
			l.gain = 0
			l.set(now, l.lo)
		}
		return
	}
	l.idle = 0
	if l.ease < 1 {
		l.restart()
		return
	}
	if l.startup {
		l.lo = l.rate
		growth := startGrowth
		if l.inFlight > slowFlight {
			growth = slowGrowth
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
		l.restart()
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
	l.goBack(now)
	l.climb(now)
}

// goBack decides whether to try the way back to a rate that had held for long,
// and when that has come to an end.
func (l *law) goBack(now time.Time) {
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
}

// climb decides what comes after a round that has held: a step into the
// bracket, a probe beyond it, or another round.
func (l *law) climb(now time.Time) {
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
			free = !l.settled && l.climbs < dearClimbs
		}
		if l.dear() && l.settled {
			// The last step has held for long, or there is far to go.
			free = l.gain > 0 || l.hi > l.lo*1.15 && now.Sub(l.openAt) > 10*l.lost
		}
		if !free && !may {
			l.gain = 0
			l.restart()
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
		l.restart()
	}
}

// begin begins a run of probes, or goes on with one.
func (l *law) begin() {
	if l.gain == 0 {
		l.spent = 0
	}
	l.gain = probeGain
}
