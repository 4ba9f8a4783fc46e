package pace

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ctappliance/ingest/ctlog"
)

var ok = ctlog.Outcome{Status: 200}

func acquire(t *testing.T, p *Pacer, class ctlog.Class) ctlog.Ticket {
	t.Helper()
	ticket, err := p.Acquire(t.Context(), class)
	if err != nil {
		t.Fatal(err)
	}
	return ticket
}

// The spacing of one fetcher's requests is the number of fetchers divided by
// the rate, however many there are.
func TestSpacingGrowsWithFetchers(t *testing.T) {
	for _, n := range []int{1, 4, 16, 64} {
		synctest.Test(t, func(t *testing.T) {
			const rate, seconds = 10, 200
			p := New(Options{Start: rate, Max: rate})
			ctx, cancel := context.WithTimeout(t.Context(), seconds*time.Second)
			defer cancel()
			counts := make([]int, n)
			var g sync.WaitGroup
			for i := range n {
				g.Go(func() {
					for {
						ticket, err := p.Acquire(ctx, ctlog.ClassData)
						if err != nil {
							return
						}
						counts[i]++
						time.Sleep(50 * time.Millisecond)
						ticket.Done(ok)
					}
				})
			}
			g.Wait()
			total := 0
			for i, c := range counts {
				total += c
				if want := rate * seconds / n; c < want-want/10-2 || c > want+want/10+2 {
					t.Errorf("%d fetchers: number %d launched %d, want about %d", n, i, c, want)
				}
			}
			if total < rate*seconds*97/100 || total > rate*seconds*102/100 {
				t.Errorf("%d fetchers: %d launches in %d s at %d/s", n, total, seconds, rate)
			}
		})
	}
}

func TestRetryAfterIsHonoured(t *testing.T) {
	for _, status := range []int{429, 503} {
		synctest.Test(t, func(t *testing.T) {
			p := New(Options{Start: 100})
			inFlight := []ctlog.Ticket{acquire(t, p, ctlog.ClassData), acquire(t, p, ctlog.ClassHead), acquire(t, p, ctlog.ClassData)}
			refused := time.Now()
			inFlight[0].Done(ctlog.Outcome{Status: status, RetryAfter: 30 * time.Second})
			time.Sleep(10 * time.Second)
			inFlight[1].Done(ctlog.Outcome{Status: status, RetryAfter: time.Second}) // sooner: the longer one stands
			inFlight[2].Done(ok)
			acquire(t, p, ctlog.ClassHead).Done(ok) // heads too
			if waited := time.Since(refused); waited < 30*time.Second || waited > 34*time.Second {
				t.Errorf("%d: next launch after %v", status, waited)
			}
		})
	}
}

// Refusals of requests that were under way together lower the rate once, and
// refused canaries only wait longer.
func TestOneReactionPerEpoch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(Options{Start: 100})
		var tickets []ctlog.Ticket
		for range 10 {
			tickets = append(tickets, acquire(t, p, ctlog.ClassData))
		}
		for _, ticket := range tickets {
			ticket.Done(ctlog.Outcome{Status: 429})
			ticket.Done(ctlog.Outcome{Status: 429}) // the second call counts for nothing
		}
		if s := p.Snapshot(); s.Rate >= 70 || s.Rate < 50 || s.Refusals != 10 || s.InFlight != 0 || s.Startup {
			t.Errorf("%+v", s)
		}
		before := p.Snapshot().Rate
		var waits []time.Duration
		for range 6 {
			began := time.Now()
			acquire(t, p, ctlog.ClassData).Done(ctlog.Outcome{Status: 429})
			waits = append(waits, time.Since(began))
		}
		if s := p.Snapshot(); s.Rate != before {
			t.Errorf("canaries lowered the rate to %v", s.Rate)
		}
		for i := 2; i < len(waits); i++ {
			if waits[i] < waits[i-1]*3/2 {
				t.Errorf("canaries waited %v", waits)
				break
			}
		}
	})
}

// Refusals of requests that were under way together are one: the next launch
// does not wait as long as after so many canaries.
func TestOneWaitPerEpoch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(Options{Start: 100})
		var tickets []ctlog.Ticket
		for range 10 {
			tickets = append(tickets, acquire(t, p, ctlog.ClassData))
		}
		for _, ticket := range tickets {
			ticket.Done(ctlog.Outcome{Status: 429})
		}
		began := time.Now()
		acquire(t, p, ctlog.ClassData).Done(ok)
		if waited := time.Since(began); waited > time.Second {
			t.Errorf("waited %v", waited)
		}
	})
}

func TestHeadsFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(Options{Start: 10})
		acquire(t, p, ctlog.ClassData)
		var order []string
		var mu sync.Mutex
		var g sync.WaitGroup
		ask := func(name string, class ctlog.Class) {
			g.Go(func() {
				ticket := acquire(t, p, class)
				mu.Lock()
				order = append(order, name)
				mu.Unlock()
				ticket.Done(ok)
			})
			synctest.Wait()
		}
		for i := range 20 {
			ask(fmt.Sprint("data ", i), ctlog.ClassData)
		}
		ask("head", ctlog.ClassHead)
		g.Wait()
		if order[0] != "head" && order[1] != "head" {
			t.Errorf("order: %v", order)
		}
		if order[19] != "data 18" && order[20] != "data 19" {
			t.Errorf("data out of order: %v", order)
		}
	})
}

func TestInFlightCap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(Options{Start: 1e5, MaxInFlight: 3})
		now, most := 0, 0
		var mu sync.Mutex
		var g sync.WaitGroup
		for range 50 {
			g.Go(func() {
				ticket := acquire(t, p, ctlog.ClassData)
				mu.Lock()
				now++
				most = max(most, now)
				mu.Unlock()
				time.Sleep(time.Second)
				mu.Lock()
				now--
				mu.Unlock()
				ticket.Done(ok)
			})
		}
		began := time.Now()
		g.Wait()
		if took := time.Since(began); most != 3 || took < 16*time.Second || took > 18*time.Second {
			t.Errorf("%d in flight, took %v", most, took)
		}
	})
}

// Whoever gives up, waiting in the queue or watching the clock, passes the
// turn on.
func TestGivingUpPassesTheTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(Options{Start: 1})
		acquire(t, p, ctlog.ClassData).Done(ok)
		began := time.Now()
		var g sync.WaitGroup
		cancels := make([]context.CancelFunc, 10)
		got := 0
		for i := range cancels {
			ctx, cancel := context.WithCancel(t.Context())
			cancels[i] = cancel
			g.Go(func() {
				ticket, err := p.Acquire(ctx, ctlog.ClassData)
				if err == nil {
					got++
					ticket.Done(ok)
				} else if !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
			})
			synctest.Wait()
		}
		for i := range 9 {
			cancels[i]() // the first watches the clock, the others queue
			if i%2 == 0 {
				synctest.Wait()
			}
		}
		g.Wait()
		cancels[9]()
		if waited := time.Since(began); got != 1 || waited > 1100*time.Millisecond {
			t.Errorf("%d launches, the last waiter had its turn after %v", got, waited)
		}
		if s := p.Snapshot(); s.InFlight != 0 || p.turn != nil || len(p.heads)+len(p.shares) != 0 {
			t.Errorf("left over: %+v", s)
		}
	})
}

func TestIdleDoesNotSaveUp(t *testing.T) {
	for _, idle := range []time.Duration{300 * time.Millisecond, 900 * time.Millisecond, 10 * time.Second, time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			p := New(Options{Start: 20, Max: 20})
			for range 5 {
				acquire(t, p, ctlog.ClassData).Done(ok)
			}
			time.Sleep(idle)
			began := time.Now()
			for range 21 {
				acquire(t, p, ctlog.ClassData).Done(ok)
			}
			if took := time.Since(began); took < 980*time.Millisecond {
				t.Errorf("after %v of nothing, 20 launches at 20/s took %v", idle, took)
			}
		})
	}
}

// A host that was down for a day is not asked slowly for the days after.
func TestRecoveryAfterOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(Options{Start: 20, Max: 40})
		for range 2000 {
			acquire(t, p, ctlog.ClassData).Done(ok)
		}
		before := p.Snapshot().Rate
		for range 600 {
			acquire(t, p, ctlog.ClassData).Done(ctlog.Outcome{Status: 502})
			time.Sleep(2 * time.Minute)
		}
		during := p.Snapshot().Rate
		if during > before/2 {
			t.Errorf("a host that failed for a day was asked at %v/s, before %v/s", during, before)
		}
		began := time.Now()
		for p.Snapshot().Rate < before*0.8 {
			acquire(t, p, ctlog.ClassData).Done(ok)
			if time.Since(began) > 20*time.Minute {
				t.Fatalf("20 minutes after the outage the rate is %v/s, before %v/s, during %v/s", p.Snapshot().Rate, before, during)
			}
		}
		t.Logf("before %.1f/s, during %.2f/s, back after %v", before, during, time.Since(began).Round(time.Second))
	})
}

func TestCancelledRequestsCountForNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(Options{Start: 50, Max: 50})
		for range 500 {
			acquire(t, p, ctlog.ClassData).Done(ctlog.Outcome{Err: fmt.Errorf("get: %w", context.Canceled)})
		}
		if s := p.Snapshot(); s.Rate != 50 || s.InFlight != 0 {
			t.Errorf("%+v", s)
		}
	})
}
