package pace

import "time"

// failureFloor is the rate, in requests per second, at which a host is asked
// that has not answered for minutes.
const failureFloor = 0.1

// failed is told of a request that was neither answered nor refused.
func (l *law) failed(now time.Time, t tag) {
	l.roll()
	l.failures++
	if t.failEpoch != l.failEpoch || l.window < 20 || l.failures*20 <= l.window {
		return
	}
	floor := 0.5
	if 2*l.failures > l.window {
		// Nearly nothing works: ask less the longer it lasts.
		down := max(1, now.Sub(l.well).Seconds())
		floor = min(1, min(1, max(failureFloor, 30/down))/l.rate) // 1/s, less after half a minute
	}
	l.failEpoch++
	l.wellSince = 0
	l.window, l.failures = l.window/2, l.failures/2
	l.eased = now
	l.ease = max(l.ease*0.7, min(floor, l.ease))
	l.restart()
}

// healthy lets the rate come back after failures.
func (l *law) healthy(now time.Time) {
	l.roll()
	if 2*l.failures <= l.window {
		l.well = now
	}
	if l.ease == 1 {
		return
	}
	need := startRound
	if l.ease < 0.3 {
		need = 2
	}
	if l.wellSince++; l.wellSince >= need && now.Sub(l.eased) >= time.Second {
		l.wellSince = 0
		l.eased = now
		l.ease = min(1, l.ease*startGrowth)
		l.replan(now)
		l.restart()
	}
}

// roll counts one more outcome, forgetting half of the past every 60.
func (l *law) roll() {
	if l.window++; l.window > 60 {
		l.window /= 2
		l.failures /= 2
	}
}
