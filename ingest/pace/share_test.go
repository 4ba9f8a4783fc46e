package pace

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ctappliance/ingest/ctlog"
)

// fetchers asks for turns with n fetchers until ctx ends, and counts them.
func fetchers(ctx context.Context, g *sync.WaitGroup, p ctlog.Pacer, class ctlog.Class, n int, count *int, mu *sync.Mutex) {
	for range n {
		g.Go(func() {
			for {
				ticket, err := p.Acquire(ctx, class)
				if err != nil {
					return
				}
				mu.Lock()
				*count++
				mu.Unlock()
				time.Sleep(20 * time.Millisecond)
				ticket.Done(ok)
			}
		})
	}
}

// A log with one fetcher has as many turns as a log with 64.
func TestSharesTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(Options{Start: 20, Max: 20})
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Second)
		defer cancel()
		var g sync.WaitGroup
		var mu sync.Mutex
		var many, one int
		fetchers(ctx, &g, p.Share(), ctlog.ClassData, 64, &many, &mu)
		fetchers(ctx, &g, p.Share(), ctlog.ClassData, 1, &one, &mu)
		g.Wait()
		if many+one < 1950 || one < 900 || many < 900 {
			t.Errorf("64 fetchers had %d turns, 1 fetcher of another log %d", many, one)
		}
	})
}

// A log alone has all turns: nobody's share is kept for logs that want nothing.
func TestAnIdleShareCostsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(Options{Start: 20, Max: 20})
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Second)
		defer cancel()
		idle := p.Share()
		ticket, err := idle.Acquire(ctx, ctlog.ClassData)
		if err != nil {
			t.Fatal(err)
		}
		ticket.Done(ok)
		var g sync.WaitGroup
		var mu sync.Mutex
		n := 0
		fetchers(ctx, &g, p.Share(), ctlog.ClassData, 4, &n, &mu)
		g.Wait()
		if n < 1950 {
			t.Errorf("%d turns", n)
		}
	})
}

// The polls of many logs have at most every second turn while data waits, and
// at least that.
func TestHeadsDoNotStarveData(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(Options{Start: 10, Max: 10})
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Second)
		defer cancel()
		var g sync.WaitGroup
		var mu sync.Mutex
		var heads, data int
		for range 60 {
			fetchers(ctx, &g, p.Share(), ctlog.ClassHead, 1, &heads, &mu)
		}
		fetchers(ctx, &g, p.Share(), ctlog.ClassData, 3, &data, &mu)
		g.Wait()
		if heads < 450 || data < 450 {
			t.Errorf("%d polls, %d data", heads, data)
		}
	})
}

// A waiter that gives up in the queue of its share is not waited for, and a
// share left empty so has no turn.
func TestGivingUpInAShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(Options{Start: 1, Max: 1})
		a, b := p.Share(), p.Share()
		acquire(t, p, ctlog.ClassData).Done(ok)
		var g sync.WaitGroup
		g.Go(func() { // watches the clock
			ticket, err := a.Acquire(t.Context(), ctlog.ClassData)
			if err != nil {
				t.Error(err)
				return
			}
			ticket.Done(ok)
		})
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		for range 3 {
			g.Go(func() {
				if _, err := b.Acquire(ctx, ctlog.ClassData); err == nil {
					t.Error("a turn after giving up")
				}
			})
		}
		synctest.Wait()
		cancel()
		synctest.Wait()
		if len(p.shares) != 0 {
			t.Errorf("%d shares with waiters, want none", len(p.shares))
		}
		began := time.Now()
		ticket, err := a.Acquire(t.Context(), ctlog.ClassData)
		if err != nil {
			t.Fatal(err)
		}
		ticket.Done(ok)
		if waited := time.Since(began); waited > 2100*time.Millisecond {
			t.Errorf("waited %v behind those who had given up", waited)
		}
		g.Wait()
	})
}
