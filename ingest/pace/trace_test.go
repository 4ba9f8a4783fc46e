package pace

import (
	"flag"
	"strings"
	"testing"
)

var (
	traceFlag  = flag.String("pace.trace", "", "model whose course is printed: a name, or #number of a drawn one")
	traceEvery = flag.Float64("pace.every", 300, "seconds between lines of -pace.trace")
)

// TestTrace prints the course of one model.
func TestTrace(t *testing.T) {
	if *traceFlag == "" {
		t.Skip("no -pace.trace")
	}
	models := named()
	for i := range *drawFlag {
		models = append(models, draw(*seedFlag, i))
	}
	for i, m := range models {
		if !strings.Contains(m.name, *traceFlag) {
			continue
		}
		seed := uint64(3 + i)
		if i >= len(named()) {
			seed = *seedFlag + uint64(i-len(named()))
		}
		c := newOurs(Options{}, fetchersOf(m), seed)
		last, rate := -1e9, 0.0
		refusals, requests := uint64(0), uint64(0)
		r := simulate(m, c, seed, func(now float64) {
			l := c.law
			if now < last+*traceEvery && l.rate == rate {
				return
			}
			rate = l.rate
			t.Logf("%7.0f rate %8.3f lo %8.3f hi %8.3f proven %.3f gain %.3f credit %6.2f downs %d step %.3f score %.2f canaries %d flight %d/%d burst %.1f noise %.4f dear %v %v lost %.2f block %.2f open %v patient %.0f +%d -%d idle %d ease %.2f",
				now, l.rate, l.lo, l.hi, l.proven, l.gain, l.credit, l.downs, l.step, l.score, l.canaries, l.inFlight, l.room(), l.burst, l.noise, l.told, l.blocks, l.lost.Seconds(), l.block.Seconds(), l.opened, l.patient.Sub(c.time(now)).Seconds(),
				l.requests-requests, l.refusals-refusals, l.idle, l.ease)
			last, refusals, requests = now, l.refusals, l.requests
		})
		t.Logf("%s: %s", m.name, r)
		return
	}
}
