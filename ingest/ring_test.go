package ingest

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"ctappliance/ingest/ctlog"
	"ctappliance/ingest/ctlog/ctlogtest"
	"ctappliance/schema"
)

// announce puts records of 60 bytes each and tells how many have been put.
func announce(ctx context.Context, r *ring, from, to uint64) (announced func() int) {
	var n atomic.Int64
	go func() {
		for seq := from; seq < to; seq++ {
			r.put(ctx, seq, 1, &record{entries: make([]ctlog.Entry, 2)}, 60)
			n.Add(1)
		}
	}()
	return func() int { synctest.Wait(); return int(n.Load()) }
}

// Where the reader moves, room is waited for, and nothing is read twice. Where
// it stands still, or is far behind, nobody waits.
func TestRingPatience(t *testing.T) {
	taken := func(r *ring, seq uint64) (inMemory bool) {
		a, err := r.take(t.Context(), seq)
		if err != nil {
			t.Fatal(err)
		}
		return a.rec != nil
	}
	bubble(t, "a reader that moves", func(t *testing.T) {
		r := newRing(100)
		n := announce(t.Context(), r, 0, 20)
		if n(); !taken(r, 0) {
			t.Error("the first was not held")
		}
		for taken(r, uint64(n())-1) { // up to the last that is held
			time.Sleep(ringPatience / 2)
			if n() == 20 {
				break
			}
		}
		if r.bytes != 0 || n() != 20 {
			t.Errorf("%d announced, %d bytes are held of nothing", n(), r.bytes)
		}
	})
	bubble(t, "a reader that stops", func(t *testing.T) {
		r := newRing(100)
		n := announce(t.Context(), r, 0, 3)
		n()
		taken(r, 0)
		if got := n(); got != 3 {
			t.Fatalf("%d announced before the first was taken", got)
		}
		began := time.Now()
		n = announce(t.Context(), r, 3, 6)
		if got := n(); got != 1 {
			t.Errorf("%d announced, want one that fits and one that waits for room", got)
		}
		for n() < 3 && time.Since(began) < time.Minute {
			time.Sleep(ringPatience / 20)
		}
		if waited := time.Since(began); waited < ringPatience/2 || waited > 2*ringPatience {
			t.Errorf("waited %v for a reader that does not move", waited)
		}
	})
	bubble(t, "a reader that is far behind", func(t *testing.T) {
		r := newRing(100)
		n := announce(t.Context(), r, 0, 20)
		n() // nobody reads yet
		taken(r, 0)
		taken(r, 1)
		n = announce(t.Context(), r, 20, 40)
		if got := n(); got != 20 {
			t.Errorf("%d of 20 announced", got)
		}
	})
	bubble(t, "the end", func(t *testing.T) {
		r := newRing(100)
		n := announce(t.Context(), r, 0, 1)
		n()
		taken(r, 0)
		ctx, cancel := context.WithCancel(t.Context())
		n = announce(ctx, r, 1, 3)
		if got := n(); got != 1 {
			t.Errorf("%d announced, want one in memory and one that waits", got)
		}
		cancel()
		if got := n(); got != 2 {
			t.Errorf("%d announced when it ended", got)
		}
	})
	bubble(t, "larger than the ring", func(t *testing.T) {
		r := newRing(50)
		r.taken = time.Now()
		if n := announce(t.Context(), r, 0, 3); n() != 3 {
			t.Errorf("%d announced", n())
		}
	})
}

// The WAL is the distance between the clocks: a store that is dead, or slow,
// does not hold up who fetches.
func TestDeadStoreDoesNotHoldFetching(t *testing.T) {
	l := sharedLog(t, ctlogtest.RFC6962)
	for name, sink := range map[string]func(*memSink){
		"dead": func(s *memSink) {
			s.fail = func(op string, _ *schema.Flush) error { return errors.New("away") }
		},
		"dies": func(s *memSink) {
			s.fail = func(op string, _ *schema.Flush) error {
				if s.calls["ledger"] > 1 {
					return errors.New("away")
				}
				return nil
			}
		},
	} {
		bubble(t, name, func(t *testing.T) {
			log, s := dial(t, l), newMemSink()
			sink(s)
			c := bubbleConfig(t, s, log)
			c.RingMemory = 100 << 10
			a := follow(t, c, s)
			time.Sleep(5 * ringPatience)
			synctest.Wait()
			if got := a.Status().Logs[0].Fetched; got != 900 {
				t.Errorf("%d of 900 entries were fetched while the store is away", got)
			}
			if s.count() == 900 {
				t.Error("the store was not away")
			}
			a.end()
		})
	}
}
