package pace

import (
	"context"
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ctappliance/ingest/ctlog"
)

func bucketModel(rate, burst float64) *model {
	return &model{limiter: &bucket{rate: rate, burst: burst}, limit: always(rate), fetchers: 64, minutes: 30}
}

// The turnstile with its goroutines comes to what the law comes to in the
// simulator, so that the table speaks of what runs.
func TestShellAgrees(t *testing.T) {
	for _, rate := range []float64{4, 30} {
		synctest.Test(t, func(t *testing.T) {
			m := bucketModel(rate, 30)
			w := newWorld(m, 1)
			p := New(Options{})
			began := time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), 40*time.Minute)
			defer cancel()
			var mu sync.Mutex
			var g sync.WaitGroup
			for range 32 {
				g.Go(func() {
					for {
						ticket, err := p.Acquire(ctx, ctlog.ClassData)
						if err != nil {
							return
						}
						mu.Lock()
						there, back := w.way()
						mu.Unlock()
						time.Sleep(seconds(there))
						mu.Lock()
						out, _ := w.arrive(time.Since(began).Seconds())
						mu.Unlock()
						time.Sleep(seconds(back))
						ticket.Done(out)
					}
				})
			}
			time.Sleep(10 * time.Minute)
			mu.Lock()
			w.served, w.refused = 0, 0
			mu.Unlock()
			g.Wait()
			used := float64(w.served) / (rate * 1800)
			refused := float64(w.refused) / float64(w.served+w.refused)
			sim := simulate(bucketModel(rate, 30), newOurs(Options{}, 32, 1), 1, nil)
			t.Logf("%v/s: goroutines %.2f %% used, %.3f %% refused; simulator %v", rate, 100*used, 100*refused, sim)
			if math.Abs(used-sim.used) > 0.02 || math.Abs(refused-sim.refused) > 0.005 {
				t.Errorf("%v/s: goroutines %.2f %% used, %.3f %% refused; simulator %v", rate, 100*used, 100*refused, sim)
			}
		})
	}
}

// The operator's cap holds from the first request on, after a change of it,
// and whatever the state says.
func TestHardCap(t *testing.T) {
	m := &model{limit: always(10), minutes: 10}
	c := newOurs(Options{Max: 10, Start: 500, State: &State{Rate: 300, Limit: 400, At: time.Unix(1e9, 0)}}, 64, 1)
	if r := simulate(m, c, 1, nil); r.used > 1.005 || r.used < 0.98 {
		t.Errorf("%.2f %% of the cap used", 100*r.used)
	}
	c = newOurs(Options{Start: 100}, 64, 1)
	c.law.setLimits(c.zero, 10, 0)
	if c.law.rate != 10 {
		t.Errorf("%v/s after the cap was lowered to 10/s", c.law.rate)
	}
	if r := simulate(m, c, 1, nil); r.used > 1.005 || r.used < 0.98 {
		t.Errorf("%.2f %% of the changed cap used", 100*r.used)
	}
}

// A domain that is asked less than its rate does not grow it, and keeps what it
// knows.
func TestNoGrowthWithoutDemand(t *testing.T) {
	l := newLaw(Options{Start: 20}, rand.New(rand.NewPCG(1, 1)), time.Unix(0, 0))
	now := time.Unix(0, 0)
	for range 2000 { // two requests per second
		now = now.Add(500 * time.Millisecond)
		l.arrive(now)
		l.done(now.Add(50*time.Millisecond), l.launch(now), ok)
	}
	if l.rate != 20 {
		t.Errorf("rate %v/s", l.rate)
	}
}

// The pacer begins at nine tenths of a limit that a former life has found, and
// is at the limit soon.
func TestRestartFromState(t *testing.T) {
	zero := time.Unix(1e9, 0)
	o := Options{State: &State{Rate: 29, Limit: 30, At: zero.Add(-time.Hour)}}
	c := newOurs(o, 64, 1)
	if c.law.rate != 27 || c.law.startup || c.law.limit() != 27 {
		t.Errorf("begins with %v/s, start-up %v, limit %v", c.law.rate, c.law.startup, c.law.limit())
	}
	m := bucketModel(30, 30)
	m.minutes = 3 // after one of warming up
	if r := simulate(m, c, 1, nil); r.used < 0.95 || r.refused > 0.02 || r.first > 20 {
		t.Errorf("%v, %d refusals at the beginning", r, r.first)
	}
}

// What a state says is not believed where it cannot be, and a day later it is
// a hint.
func TestStateThatIsNotBelieved(t *testing.T) {
	zero := time.Unix(1e9, 0)
	fresh := newLaw(Options{}, rand.New(rand.NewPCG(1, 1)), zero).rate
	for name, s := range map[string]State{
		"from the future": {Rate: 99, Limit: 99, At: zero.Add(time.Hour)},
		"without a time":  {Rate: 99, Limit: 99},
		"not a number":    {Rate: math.NaN(), Limit: math.NaN(), At: zero},
		"infinite":        {Rate: math.Inf(1), Limit: math.Inf(1), At: zero},
		"negative":        {Rate: -1, Limit: -1, At: zero},
		"absurd":          {Rate: 1e9, Limit: 1e9, At: zero},
	} {
		if l := newLaw(Options{State: &s}, rand.New(rand.NewPCG(1, 1)), zero); l.rate != fresh || !l.startup {
			t.Errorf("%s: rate %v/s, start-up %v", name, l.rate, l.startup)
		}
	}
	old := newLaw(Options{State: &State{Rate: 99, Limit: 100, At: zero.Add(-25 * time.Hour)}}, rand.New(rand.NewPCG(1, 1)), zero)
	if old.rate != 50 || !old.startup || old.limit() != 0 {
		t.Errorf("a day later: rate %v/s, start-up %v, limit %v", old.rate, old.startup, old.limit())
	}
}

// State gives back what the pacer knows, and the next life takes it.
func TestStateSurvives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(Options{Start: 40})
		for range 3000 {
			acquire(t, p, ctlog.ClassData).Done(ok)
		}
		if s := p.State(); s.Limit != 0 || s.Rate <= 40 {
			t.Errorf("no limit met: %+v", s)
		}
		acquire(t, p, ctlog.ClassData).Done(ctlog.Outcome{Status: 429})
		s := p.State()
		if s.Limit <= 0 || s.At.IsZero() {
			t.Errorf("limit met: %+v", s)
		}
		time.Sleep(time.Hour)
		if q := New(Options{State: &s}).Snapshot(); math.Abs(q.Rate-0.9*s.Limit) > 1e-6 || q.Startup {
			t.Errorf("of %+v the next life takes %+v", s, q)
		}
	})
}

// Lonely refusals that cost nothing, far apart, are no verdict.
func TestALonelyRefusalLowersNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(Options{State: &State{Rate: 20, Limit: 20, At: time.Now()}, Max: 18})
		for i := range 20 {
			for range 400 {
				acquire(t, p, ctlog.ClassData).Done(ok)
			}
			acquire(t, p, ctlog.ClassData).Done(ctlog.Outcome{Status: 429})
			if r := p.Snapshot().Rate; r != 18 {
				t.Fatalf("refusal %d: rate %v/s", i, r)
			}
		}
	})
}

// Where each refusal begins a long block, they are very rare.
func TestBlocksAreRare(t *testing.T) {
	m := &model{limiter: &box{limiter: &bucket{rate: 20, burst: 10}, length: 30, restarts: true}, limit: always(20), minutes: 120}
	if r := simulate(m, newOurs(Options{}, 64, 1), 1, nil); r.used < 0.9 || r.refused > 0.0005 {
		t.Error(r)
	}
}

// A part of the requests failing does not make a host be asked ever less.
func TestSomeFailuresAreLivedWith(t *testing.T) {
	m := &model{limiter: &bucket{rate: 30, burst: 30}, limit: always(30), failEvery: 1e-3, failShare: 1, minutes: 20}
	// Of every thousandth of a second a tenth: one request in ten fails.
	r := simulate(m, newOurs(Options{}, 64, 1), 1, nil)
	if r.used < 0.4 {
		t.Errorf("%.1f %% used with one request in ten failing", 100*r.used)
	}
}
