package pace

import (
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

var (
	drawFlag = flag.Int("pace.draw", 20, "models to draw")
	seedFlag = flag.Uint64("pace.seed", 1, "seed of the drawn models; 0 draws a fresh one")
	portFlag = flag.Bool("pace.ports", false, "run the ports of other clients' policies too")
)

func always(r float64) func(float64) float64 { return func(float64) float64 { return r } }

// named is the table of models with names.
func named() []*model {
	bucketOf := func(rate, burst float64) *bucket { return &bucket{rate: rate, burst: burst} }
	steps := func(b *bucket) *model {
		rate := func(t float64) float64 {
			switch int(t/1200) % 3 {
			case 0:
				return 30
			case 1:
				return 10
			}
			return 60
		}
		return &model{limiter: b, limit: rate, steps: func(t float64) {
			if r := rate(t); b.rate != r {
				b.admit(t)
				b.rate = r
			}
		}}
	}
	with := func(m *model, name, class string, limit float64) *model {
		m.name, m.class = name, class
		if m.limit == nil {
			m.limit = always(limit)
		}
		return m
	}
	return []*model{
		with(&model{limiter: bucketOf(30, 30)}, "30/s burst 30", "burst", 30),
		with(&model{limiter: bucketOf(30, 1000)}, "30/s burst 1000", "burst", 30),
		with(&model{limiter: bucketOf(75, 10), retryAfter: 1}, "75/s burst 10, Retry-After", "burst", 75),
		with(&model{limiter: bucketOf(75, 10), retryAfter: 2}, "75/s burst 10, Retry-After now", "burst", 75),
		with(&model{limiter: bucketOf(4, 5)}, "4/s burst 5", "burst", 4),
		with(&model{limiter: bucketOf(0.16, 2), minutes: 24 * 60, latency: 0.4}, "0.16/s burst 2", "burst", 0.16),
		with(&model{limiter: &bucket{rate: 30, burst: 30, rejectsCost: true}}, "30/s, refusals cost tokens", "burst", 30),
		with(&model{limiter: bucketOf(500, 500), latency: 0.05}, "500/s burst 500", "burst", 500),
		with(&model{limiter: bucketOf(160, 3), latency: 0.9, early: true, fetchers: 256}, "160/s burst 3, 0.9 s away", "burst", 160),
		with(&model{limiter: bucketOf(10, 1), latency: 0.05, early: true}, "10/s burst 1", "spacing", 10),
		with(&model{limiter: bucketOf(100, 1), latency: 0.05, early: true}, "100/s burst 1", "spacing", 100),
		with(&model{limiter: bucketOf(10, 1), latency: 0.05, jitter: 0.1}, "10/s burst 1, jitter", "spacing", 10),
		with(&model{limiter: &box{limiter: bucketOf(30, 30), length: 10}}, "30/s, 10 s box", "block", 30),
		with(&model{limiter: &box{limiter: bucketOf(30, 30), length: 60}, retryAfter: 1}, "30/s, 60 s box, Retry-After", "block", 30),
		with(&model{limiter: &box{limiter: bucketOf(30, 30), length: 60, restarts: true}}, "30/s, 60 s box that restarts", "block", 30),
		with(&model{limiter: &fixed{n: 300, length: 10}}, "300 in 10 s, fixed", "burst", 30),
		with(&model{limiter: &fixed{n: 1000, length: 60}}, "1000 in 60 s, fixed", "burst", 1000.0/60),
		with(&model{limiter: &sliding{n: 300, length: 10}}, "300 in 10 s, sliding", "burst", 30),
		with(&model{limiter: bucketOf(30, 30), sporadic: 0.005}, "30/s, 0.5 % refused at random", "other", 30),
		with(&model{limiter: bucketOf(30, 30), foreign: 10}, "30/s, 10/s of others", "other", 20),
		with(&model{limiter: bucketOf(30, 30), bursts: 120, burstRate: 60}, "30/s, bursts of others", "other", 27),
		with(steps(bucketOf(30, 30)), "30, 10, 60/s", "other", 0),
		with(&model{limiter: bucketOf(30, 30), failEvery: 600, failShare: 0.5}, "30/s, half fails for a minute", "other", 28.5),
		with(&model{limiter: bucketOf(30, 30), failEvery: 600, failShare: 1}, "30/s, all fails for a minute", "other", 27),
		with(&model{most: 8, latency: 0.2, early: true}, "8 at once", "other", 40),
		with(&model{capacity: 40}, "40/s at most, slower beyond", "other", 40),
	}
}

// draw makes a model of the kinds that are known, with parameters at random.
func draw(rng *rand.Rand, i int) *model {
	logUniform := func(lo, hi float64) float64 { return lo * math.Exp(rng.Float64()*math.Log(hi/lo)) }
	r := logUniform(0.16, 500)
	burst := math.Round(logUniform(2, 1000))
	m := &model{latency: logUniform(0.005, 2), jitter: rng.Float64() * 0.6, early: rng.IntN(2) == 0, class: "burst"}
	m.fetchers = []int{1, 4, 16, 64, 256}[rng.IntN(5)]
	for m.fetchers < 256 && float64(m.fetchers)/m.latency < 1.6*r {
		m.fetchers *= 2
	}
	if most := float64(m.fetchers) / m.latency / 1.6; r > most {
		r = most
	}
	if rng.IntN(3) == 0 {
		m.retryAfter = 1 + rng.IntN(2)
	}
	kind := i % 10
	limit := r
	switch kind {
	case 0, 1, 2, 3:
		m.limiter = &bucket{rate: r, burst: burst, rejectsCost: rng.IntN(5) == 0}
		m.name = "bucket"
	case 4, 5:
		m.limiter, m.class, m.name = &bucket{rate: r, burst: 1}, "spacing", "spacing"
		burst = 1
		if !m.early {
			m.jitter = min(m.jitter, 0.1/(r*m.latency)) // more than that nobody can serve
		}
	case 6, 7:
		b := &box{limiter: &bucket{rate: r, burst: burst}, length: logUniform(10, 60), restarts: rng.IntN(2) == 0}
		m.limiter, m.class, m.name = b, "block", fmt.Sprintf("box %.0f s", b.length)
		if b.restarts {
			m.name += " restarts"
		}
	case 8:
		w := logUniform(1, 60)
		n := max(2, int(r*w))
		limit = float64(n) / w
		burst = float64(n)
		if rng.IntN(2) == 0 {
			m.limiter, m.name = &fixed{n: n, length: w}, "fixed window"
		} else {
			m.limiter, m.name = &sliding{n: n, length: w}, "sliding window"
		}
	case 9:
		m.limiter, m.class = &bucket{rate: r, burst: burst}, "other"
		switch rng.IntN(3) {
		case 0:
			m.foreign = r * rng.Float64() * 0.5
			limit = r - m.foreign
			m.name = "others"
		case 1:
			m.sporadic = 0.005
			m.name = "random refusals"
		case 2:
			m.bursts, m.burstRate = logUniform(60, 600), r*2*rng.Float64()
			limit = r - min(r, m.burstRate)/10
			m.name = "bursts of others"
		}
	}
	m.minutes = max(60, min(24*60, 4000/r/60*10))
	m.limit = always(limit)
	m.name = fmt.Sprintf("%s %.3g/s b%.0f %.3gs j%.2f f%d ra%d", m.name, limit, burst, m.latency, m.jitter, m.fetchers, m.retryAfter)
	if m.early {
		m.name += " e"
	}
	return m
}

func fetchersOf(m *model) int {
	if m.fetchers == 0 {
		return 64
	}
	return m.fetchers
}

func run(m *model, seed uint64) result {
	return simulate(m, newOurs(Options{}, fetchersOf(m), seed), seed, nil)
}

type line struct {
	m *model
	r result
}

func TestNamedModels(t *testing.T) {
	for _, m := range named() {
		r := run(m, 3)
		t.Logf("%-8s %-34s %s row %3d first %d", m.class, m.name, r, r.row, r.first)
	}
}

func TestDrawnModels(t *testing.T) {
	seed := *seedFlag
	if seed == 0 {
		seed = rand.Uint64() % 1e6
	}
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	by := map[string][]line{}
	for i := range *drawFlag {
		m := draw(rng, i)
		r := run(m, seed+uint64(i))
		t.Logf("%-8s %-60s %s row %3d first %d of %d", m.class, m.name, r, r.row, r.first, r.total)
		by[m.class] = append(by[m.class], line{m, r})
	}
	for _, class := range []string{"burst", "spacing", "block", "other"} {
		lines := by[class]
		if len(lines) == 0 {
			continue
		}
		slices.SortFunc(lines, func(a, b line) int { return int(math.Copysign(1, a.r.used-b.r.used)) })
		used := func(q float64) float64 { return 100 * lines[int(q*float64(len(lines)-1))].r.used }
		p10, med := used(0.1), used(0.5)
		least := lines[0]
		slices.SortFunc(lines, func(a, b line) int { return int(math.Copysign(1, a.r.refused-b.r.refused)) })
		ref := func(q float64) float64 { return 100 * lines[int(q*float64(len(lines)-1))].r.refused }
		t.Logf("%-8s %3d models: used median %.2f p10 %.2f least %.2f (%s); refused median %.3f p90 %.3f worst %.3f (%s)", class, len(lines), med, p10,
			100*least.r.used, least.m.name, ref(0.5), ref(0.9), ref(1), lines[len(lines)-1].m.name)
	}
}
