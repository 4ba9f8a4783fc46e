package pace

import (
	"math"
	"time"
)

const (
	testRun   = 800   // outcomes of a test
	testPause = 5000  // requests between tests
	noiseMost = 0.006 // share that is believed to be noise
	noiseSane = 0.03  // share above which it was none

	longMemory  = 2000 // answered launches that the average is of
	shortMemory = 30   // before which there is none
)

// remember keeps the average of what is served, and the best one lately.
func (l *law) remember(t tag) {
	if !l.served.IsZero() {
		gap := max(0, t.at.Sub(l.served).Seconds())
		l.gaps = min(longMemory, l.gaps+1)
		l.gap += (gap - l.gap) / l.gaps
		if l.gaps >= shortMemory {
			keep := math.Exp(-gap / max(3600, 20000*l.gap))
			l.proven = max(1/l.gap, l.proven*keep)
			if l.gaps == longMemory {
				l.mean = max(1/l.gap, l.mean*keep)
			}
		}
	}
	if t.at.After(l.served) {
		l.served = t.at
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
	case l.testRefused < 2, float64(l.testRefused) > noiseSane*testRun:
		l.noise = 0
	default:
		l.noise = min(float64(l.testRefused)/testRun, noiseMost)
	}
	l.testing, l.suspects = 0, 0
	l.testAfter = l.requests + testPause
	if l.noise > 0 {
		l.lo, l.hi, l.gain, l.downs, l.step = 0, 0, 0, 0, firstStep
		l.score, l.credit = 0, max(l.credit, 0)
		l.set(now, l.tested)
	}
}
