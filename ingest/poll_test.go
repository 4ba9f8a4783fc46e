package ingest

import (
	"testing"
	"testing/synctest"
	"time"

	"ctappliance/ingest/ctlog"
	"ctappliance/ingest/ctlog/ctlogtest"
	"ctappliance/ingest/pace"
)

// Eight shards behind one request in six seconds are not polled every fifteen:
// polls take a twentieth of what the host allows, all its logs together.
func TestPollsFitTheLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		scarce := pace.New(pace.Options{State: &pace.State{Rate: 0.16, Limit: 0.16, At: time.Now()}})
		plenty := pace.New(pace.Options{})
		limit := scarce.Snapshot().Limit
		if limit < 0.1 || limit > 0.2 || plenty.Snapshot().Limit != 0 {
			t.Fatalf("limits: %v, %v", limit, plenty.Snapshot().Limit)
		}
		a := &Appliance{c: &Config{}, spans: &spanTable{byID: map[uint64]*span{}, next: 1}}
		of := func(kind ctlog.Kind, p *pace.Pacer) *follower {
			return &follower{a: a, info: ctlog.Info{Kind: kind}, pace: p}
		}
		a.spans.add(ctlog.Hash{}, "tail", 0, Forever)
		alone := of(ctlog.RFC6962, scarce)
		set := []*follower{alone, of(ctlog.RFC6962, plenty), of(ctlog.Static, plenty), of(ctlog.Static, nil)}
		a.followers.Store(&set)
		idle := time.Duration(1 / (limit * idleShare) * float64(time.Second))
		if got := alone.pollEvery(); got != max(idle, pollRFC6962) {
			t.Errorf("polled every %v where nothing waits, want %v", got, idle)
		}
		alone.head = &ctlog.Head{Size: 10_000}
		for i, want := range []time.Duration{time.Duration(1 / (limit * pollShare) * float64(time.Second)), pollRFC6962, pollStatic, pollStatic} {
			if got := set[i].pollEvery(); got != want {
				t.Errorf("follower %d is polled every %v, want %v", i, got, want)
			}
		}
		for range 7 {
			set = append(set, of(ctlog.RFC6962, scarce))
		}
		a.followers.Store(&set)
		if got := alone.pollEvery(); got != maxPoll {
			t.Errorf("one of eight is polled every %v, want %v", got, maxPoll)
		}
		a.c.PollInterval = 30 * time.Minute // the user's own word, where it asks for less
		if got := alone.pollEvery(); got != 30*time.Minute {
			t.Errorf("polled every %v", got)
		}
	})
}

// A log that is asked for its head does so as often as it should: no more
// polls in an hour than the interval has room for.
func TestPollsAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := dial(t, newLog(t, ctlogtest.RFC6962, 300))
		sink := newMemSink()
		c := tailConfig(t, sink, l)
		c.PollInterval = 0
		a := follow(t, c, sink)
		a.await(l.client.Info().Name, "caught up")
		before := l.Stats().Requests[ctlogtest.ClassHead]
		time.Sleep(time.Hour)
		if n := l.Stats().Requests[ctlogtest.ClassHead] - before; n < 230 || n > 245 {
			t.Errorf("%d polls in an hour, want one in %v", n, pollRFC6962)
		}
		a.end()
	})
}
