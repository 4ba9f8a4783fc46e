package pace

import (
	"math"
	"math/rand/v2"
	"time"

	"ctappliance/ingest/ctlog"
)

// A limiter decides on a request at time t, in seconds since the beginning.
type limiter interface {
	// admit reports whether the request that arrives at t is served, and how
	// long after t a request would be.
	admit(t float64) (ok bool, after float64)
}

// bucket holds burst tokens and gets rate per second; GCRA is the same.
type bucket struct {
	rate, burst float64
	rejectsCost bool
	tokens, at  float64
	begun       bool
}

func (b *bucket) admit(t float64) (bool, float64) {
	if !b.begun {
		b.begun, b.tokens = true, b.burst
	} else {
		b.tokens = min(b.burst, b.tokens+(t-b.at)*b.rate)
	}
	b.at = t
	if b.tokens >= 1-1e-9 {
		b.tokens--
		return true, 0
	}
	if b.rejectsCost {
		b.tokens = max(b.tokens-1, -b.burst)
	}
	return false, (1 - b.tokens) / b.rate
}

// fixed admits a number of requests in each window.
type fixed struct {
	n      int
	length float64
	window float64
	used   int
}

func (f *fixed) admit(t float64) (bool, float64) {
	if w := math.Floor(t / f.length); w != f.window {
		f.window, f.used = w, 0
	}
	if f.used < f.n {
		f.used++
		return true, 0
	}
	return false, (f.window+1)*f.length - t
}

// sliding admits a number of requests in any window of its length.
type sliding struct {
	n      int
	length float64
	times  []float64 // ring of the last n
	next   int
}

func (s *sliding) admit(t float64) (bool, float64) {
	if len(s.times) < s.n {
		s.times = append(s.times, t)
		return true, 0
	}
	if oldest := s.times[s.next]; t-oldest < s.length {
		return false, oldest + s.length - t
	}
	s.times[s.next] = t
	s.next = (s.next + 1) % s.n
	return true, 0
}

// box refuses everything for a while after a refusal.
type box struct {
	limiter
	length   float64
	restarts bool // each request inside begins it anew
	until    float64
}

func (b *box) admit(t float64) (bool, float64) {
	if t < b.until {
		if b.restarts {
			b.until = t + b.length
		}
		return false, b.until - t
	}
	ok, after := b.limiter.admit(t)
	if !ok {
		b.until = t + b.length
		after = max(after, b.length)
	}
	return ok, after
}

// model is a server and the way to it.
type model struct {
	name     string
	limit    func(t float64) float64 // requests per second that it serves us at t
	limiter  limiter
	steps    func(t float64) // sets the limiter's rate, if it changes
	minutes  float64         // of measuring; default 60
	fetchers int             // default 64

	retryAfter int     // 0 = none; 1 = seconds, rounded up; 2 = a date that reads "now"
	latency    float64 // seconds; default 0.1
	jitter     float64 // share of the latency that is random; default 0.3
	early      bool    // decides when the request leaves, not half a latency later
	foreign    float64 // requests per second of others, on the same limiter
	bursts     float64 // seconds between bursts of others; 0 = none
	burstRate  float64 // of others, in a burst of a tenth of bursts
	sporadic   float64 // share of requests refused for no reason of ours
	failEvery  float64 // seconds between episodes of 5xx, which last a tenth of it
	failShare  float64 // in an episode
	most       int     // requests in service at once; more are refused
	capacity   float64 // requests per second; latency grows beyond

	class string  // burst, spacing, block, other
	least float64 // share of the limit to be used; 0 = the goal of the class
}

// world is a model at work.
type world struct {
	*model
	rng         *rand.Rand
	nextForeign float64
	serving     int
	freeAt      float64 // of a server with a capacity
	served      int
	refused     int
	failed      int
	row, worst  int // refusals in a row, and most of them
}

func newWorld(m *model, seed uint64) *world {
	return &world{model: m, rng: rand.New(rand.NewPCG(seed, 77))}
}

// others lets the foreign load in, up to t.
func (w *world) others(t float64) {
	rate := func(at float64) float64 {
		r := w.foreign
		if w.bursts > 0 && math.Mod(at, w.bursts) < w.bursts/10 && at > w.bursts {
			r += w.burstRate
		}
		return r
	}
	if w.foreign == 0 && w.bursts == 0 {
		return
	}
	for w.nextForeign <= t {
		r := rate(w.nextForeign)
		if r == 0 {
			w.nextForeign += w.bursts / 100
			continue
		}
		if w.steps != nil {
			w.steps(w.nextForeign)
		}
		w.limiter.admit(w.nextForeign)
		w.nextForeign += w.rng.ExpFloat64() / r
	}
}

// arrive is a request that arrives at t: what it is answered, and after how
// long beyond the way.
func (w *world) arrive(t float64) (ctlog.Outcome, float64) {
	w.others(t)
	if w.steps != nil {
		w.steps(t)
	}
	if w.failEvery > 0 && math.Mod(t, w.failEvery) > 0.9*w.failEvery && w.rng.Float64() < w.failShare {
		w.failed++
		return ctlog.Outcome{Status: 502}, 0
	}
	refuse := func(after float64) (ctlog.Outcome, float64) {
		w.refused++
		w.row++
		w.worst = max(w.worst, w.row)
		out := ctlog.Outcome{Status: 429}
		switch w.retryAfter {
		case 1:
			out.RetryAfter = time.Duration(max(1, math.Ceil(after))) * time.Second
		case 2:
			out.RetryAfter = max(250*time.Millisecond, time.Duration(math.Floor(after))*time.Second)
		}
		return out, 0
	}
	if w.sporadic > 0 && w.rng.Float64() < w.sporadic {
		return refuse(0)
	}
	if w.most > 0 && w.serving >= w.most {
		return refuse(0)
	}
	if w.limiter != nil {
		if ok, after := w.limiter.admit(t); !ok {
			return refuse(after)
		}
	}
	w.row = 0
	w.served++
	queue := 0.0
	if w.capacity > 0 {
		w.freeAt = max(w.freeAt, t) + 1/w.capacity
		queue = w.freeAt - t
	}
	return ctlog.Outcome{Status: 200}, queue
}

// way draws the two legs of a request's way, and when the server decides.
func (w *world) way() (there, back float64) {
	l := w.model.latency
	if l == 0 {
		l = 0.1
	}
	j := w.model.jitter
	if j == 0 {
		j = 0.3
	}
	there, back = l/2*(1-j/2+j*w.rng.Float64()), l/2*(1-j/2+j*w.rng.Float64())
	if w.early {
		return 0, there + back
	}
	return there, back
}
