package pace

import (
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
)

var (
	drawFlag  = flag.Int("pace.draw", 20, "models to draw")
	seedFlag  = flag.Uint64("pace.seed", 1, "seed of the drawn models; 0 draws a fresh one")
	portsFlag = flag.Bool("pace.ports", false, "run the ports of other clients' policies too")
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
		with(&model{least: 0.8, limiter: &fixed{n: 1000, length: 60}}, "1000 in 60 s, fixed", "burst", 1000.0/60),
		with(&model{limiter: &sliding{n: 300, length: 10}}, "300 in 10 s, sliding", "burst", 30),
		with(&model{least: 0.95, limiter: bucketOf(30, 30), sporadic: 0.005}, "30/s, 0.5 % refused at random", "other", 30),
		with(&model{least: 0.95, limiter: bucketOf(30, 30), foreign: 10}, "30/s, 10/s of others", "other", 20),
		with(&model{least: 0.5, limiter: bucketOf(30, 30), bursts: 120, burstRate: 60}, "30/s, bursts of others", "other", 27),
		with(steps(bucketOf(30, 30)), "30, 10, 60/s", "other", 0),
		with(&model{least: 0.93, limiter: bucketOf(30, 30), failEvery: 600, failShare: 0.5}, "30/s, half fails for a minute", "other", 28.5),
		with(&model{least: 0.95, limiter: bucketOf(30, 30), failEvery: 600, failShare: 1}, "30/s, all fails for a minute", "other", 27),
		with(&model{least: 0.8, most: 8, latency: 0.2, early: true}, "8 at once", "other", 40),
		with(&model{least: 0.97, capacity: 40}, "40/s at most, slower beyond", "other", 40),
	}
}

// draw makes the model of a seed and a number, of the kinds that are known,
// with parameters at random.
func draw(seed uint64, i int) *model {
	rng := rand.New(rand.NewPCG(seed, uint64(i)))
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

// line is a model's row in the table.
type line struct {
	m                       *model
	ours, certspotter, ctgo result
}

func (l line) String() string {
	s := fmt.Sprintf("%-7s %-58s %s", l.m.class, l.m.name, l.ours)
	if *portsFlag {
		s += fmt.Sprintf("  %s  %s", l.certspotter, l.ctgo)
	}
	return s + fmt.Sprintf("  %3d in a row", l.ours.row)
}

// table runs the pacer against models, and the ports too if they are wanted.
// A model has a state: make returns a new one each time.
func table(n int, make func(i int) *model, seed uint64) []line {
	lines := slices.Repeat([]line{{}}, n)
	var g sync.WaitGroup
	next := atomic.Int64{}
	for range runtime.GOMAXPROCS(0) {
		g.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				m, seed := make(i), seed+uint64(i)
				lines[i] = line{m: m, ours: simulate(m, newOurs(Options{}, fetchersOf(m), seed), seed, nil)}
				if *portsFlag {
					port := func(c client) result {
						m := make(i)
						m.minutes = min(m.minutes, 20) // they learn nothing
						if m.minutes == 0 {
							m.minutes = 20
						}
						return simulate(m, c, seed, nil)
					}
					lines[i].certspotter, lines[i].ctgo = port(certspotter(64, seed)), port(ctgo(64, seed))
				}
			}
		})
	}
	g.Wait()
	return lines
}

// goals of a class: the least share of the limit that is used, and the most
// that is refused.
func goals(class string) (used, refused float64) {
	switch class {
	case "burst":
		return 0.97, 0.01
	case "spacing":
		return 0.85, 0.01
	case "block":
		return 0.85, 0.001
	}
	return 0, 0.025
}

const worstRefused = 0.025

func head(t *testing.T) {
	s := fmt.Sprintf("%-66s %s", "", "used     refused")
	if *portsFlag {
		s += "   certspotter's       ct-go's policy"
	}
	t.Log(s)
}

// Every model of the table meets the goals of its class.
func TestNamedModels(t *testing.T) {
	head(t)
	lines := table(len(named()), func(i int) *model { return named()[i] }, 3)
	for _, l := range lines {
		t.Log(l)
		used, refused := goals(l.m.class)
		if l.m.least > 0 {
			used = l.m.least
		}
		if l.ours.used < used || l.ours.refused > refused {
			t.Errorf("%s: wanted at least %.1f %% used and at most %.2f %% refused", l.m.name, 100*used, 100*refused)
		}
		checkStorm(t, l)
	}
}

// checkStorm fails if a model has refused more in a row than what was on its
// way at the first refusal, what left after that before the second one was
// known, and the canaries of a doubling wait.
func checkStorm(t *testing.T, l line) {
	if l.ours.row > 2*l.ours.flight+20 {
		t.Errorf("%s: %d refusals in a row, with %d in flight at most", l.m.name, l.ours.row, l.ours.flight)
	}
}

func quantile(lines []line, q float64, of func(line) float64) float64 {
	var v []float64
	for _, l := range lines {
		v = append(v, of(l))
	}
	slices.Sort(v)
	return v[int(q*float64(len(v)-1))]
}

// Models with parameters at random meet the goals in the median, and none is
// refused much more.
func TestDrawnModels(t *testing.T) {
	seed := *seedFlag
	if seed == 0 {
		seed = rand.Uint64() % 1e6
	}
	t.Logf("%d models drawn from -pace.seed=%d", *drawFlag, seed)
	head(t)
	by := map[string][]line{}
	for _, l := range table(*drawFlag, func(i int) *model { return draw(seed, i) }, seed) {
		t.Log(l)
		by[l.m.class] = append(by[l.m.class], l)
		checkStorm(t, l)
	}
	for _, class := range []string{"burst", "spacing", "block", "other"} {
		lines := by[class]
		if len(lines) == 0 {
			continue
		}
		summary := func(name string, of func(line) result) (used, refused, worst float64) {
			u := func(l line) float64 { return of(l).used }
			r := func(l line) float64 { return of(l).refused }
			used, refused, worst = quantile(lines, 0.5, u), quantile(lines, 0.5, r), quantile(lines, 1, r)
			t.Logf("%-7s %3d models, %-11s  used: median %6.2f %%, p10 %6.2f %%, least %6.2f %%; refused: median %6.3f %%, p90 %6.3f %%, worst %6.3f %%",
				class, len(lines), name, 100*used, 100*quantile(lines, 0.1, u), 100*quantile(lines, 0, u), 100*refused, 100*quantile(lines, 0.9, r), 100*worst)
			return used, refused, worst
		}
		used, refused, worst := summary("ours", func(l line) result { return l.ours })
		if *portsFlag {
			summary("certspotter", func(l line) result { return l.certspotter })
			summary("ct-go", func(l line) result { return l.ctgo })
		}
		wantUsed, mostRefused := goals(class)
		if used < wantUsed || refused > mostRefused {
			t.Errorf("%s: wanted at least %.1f %% used and at most %.2f %% refused in the median", class, 100*wantUsed, 100*mostRefused)
		}
		if class != "other" && worst > worstRefused {
			t.Errorf("%s: wanted no model worse than %.1f %% refused", class, 100*worstRefused)
		}
	}
}
