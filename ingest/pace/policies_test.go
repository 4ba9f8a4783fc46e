package pace

import (
	"math/rand/v2"

	"ctappliance/ingest/ctlog"
)

// policy is a port of what other clients do: fixed workers, each of which
// tries its request again until it is served, after a pause of its own that
// doubles. It ignores Retry-After, as they do.
type policy struct {
	first, longest float64 // pause in seconds
	jitter         float64
	rng            *rand.Rand
	ready          []worker // by when it may ask, a heap
}

type worker struct {
	at    float64
	pause float64
}

// certspotter's, without a QPS in its list: a retry after 100 ms to 30 s,
// twice as long each time, with jitter.
func certspotter(workers int, seed uint64) *policy {
	return newPolicy(workers, 0.1, 30, 0.5, seed)
}

// ctgo's scanner: 1 s to 30 s, twice as long each time.
func ctgo(workers int, seed uint64) *policy { return newPolicy(workers, 1, 30, 0.05, seed) }

func newPolicy(workers int, first, longest, jitter float64, seed uint64) *policy {
	p := &policy{first: first, longest: longest, jitter: jitter, rng: rand.New(rand.NewPCG(seed, 9))}
	for range workers {
		p.put(worker{at: p.rng.Float64() * 0.1})
	}
	return p
}

func (p *policy) put(w worker) {
	p.ready = append(p.ready, w)
	for i := len(p.ready) - 1; i > 0 && p.ready[i].at < p.ready[(i-1)/2].at; i = (i - 1) / 2 {
		p.ready[i], p.ready[(i-1)/2] = p.ready[(i-1)/2], p.ready[i]
	}
}

func (p *policy) due(now float64) (float64, bool) {
	if len(p.ready) == 0 {
		return 0, false
	}
	return max(now, p.ready[0].at), true
}

func (p *policy) launch(float64) any {
	w := p.ready[0]
	n := len(p.ready) - 1
	p.ready[0] = p.ready[n]
	p.ready = p.ready[:n]
	for i := 0; ; {
		c := 2*i + 1
		if c >= n {
			break
		}
		if c+1 < n && p.ready[c+1].at < p.ready[c].at {
			c++
		}
		if p.ready[i].at <= p.ready[c].at {
			break
		}
		p.ready[i], p.ready[c] = p.ready[c], p.ready[i]
		i = c
	}
	return w
}

func (p *policy) done(now float64, launched any, o ctlog.Outcome) {
	w := launched.(worker)
	if o.Status == 200 {
		p.put(worker{at: now})
		return
	}
	w.pause = min(max(p.first, 2*w.pause), p.longest)
	w.at = now + w.pause*(1-p.jitter+2*p.jitter*p.rng.Float64())
	p.put(w)
}
