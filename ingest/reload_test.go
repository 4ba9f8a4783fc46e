package ingest

import (
	"encoding/binary"
	"errors"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ctappliance/ingest/ctlog"
	"ctappliance/ingest/ctlog/ctlogtest"
	"ctappliance/ingest/pace"
)

func (f *following) set(logs ...Follow) {
	f.t.Helper()
	if err := f.SetLogs(f.t.Context(), logs); err != nil {
		f.t.Fatal(err)
	}
}

// await waits, in fake time, until a log is in a state.
func (f *following) await(name, state string) LogStatus {
	f.t.Helper()
	return f.awaitThat(name, func(l LogStatus) bool { return l.State == state })
}

// awaitEntries waits until so many entries of a log are delivered and verified.
func (f *following) awaitEntries(name string, n uint64) LogStatus {
	f.t.Helper()
	return f.awaitThat(name, func(l LogStatus) bool { return l.Delivered == n && l.Verified == n })
}

func (f *following) awaitThat(name string, ok func(LogStatus) bool) LogStatus {
	f.t.Helper()
	for range 3600 {
		for _, l := range f.Status().Logs {
			if l.Name == name && ok(l) {
				return l
			}
		}
		time.Sleep(time.Second)
	}
	f.t.Fatalf("%s did not get there in an hour: %+v", name, f.Status().Logs)
	return LogStatus{}
}

func tailOf(l *testLog) Follow {
	return Follow{Log: l.client, Pace: l.pace, Spans: []Request{{To: Forever}}}
}

func tailConfig(t *testing.T, sink Sink, logs ...*testLog) Config {
	c := bubbleConfig(t, sink, logs...)
	c.UntilDone, c.AuditInterval = false, 1000*time.Hour
	for i := range c.Logs {
		c.Logs[i].Spans = []Request{{To: Forever}}
	}
	return c
}

// redial returns another client for the same log, at another URL.
func redial(t *testing.T, l *testLog, url string, change func(*ctlog.Info)) *testLog {
	t.Helper()
	info := l.client.Info()
	info.URL = url
	if change != nil {
		change(&info)
	}
	pacer := pace.New(pace.Options{Start: 1e4})
	client, err := ctlog.New(info, ctlog.Options{UserAgent: "ctappliance-test (test@ctappliance.test)", Pacer: pacer, Transport: ctlogtest.Transport(l.Handler()), PageSize: 64})
	if err != nil {
		t.Fatal(err)
	}
	return &testLog{Log: l.Log, client: client, pace: pacer, id: l.id}
}

// Logs appear, move, are left out and come back while the appliance runs: none
// loses its place, no entry comes twice.
func TestSetLogs(t *testing.T) {
	for _, kind := range []ctlogtest.Kind{ctlogtest.RFC6962, ctlogtest.Static} {
		bubble(t, kind.String(), func(t *testing.T) {
			one := dial(t, newLog(t, kind, 300))
			other := dial(t, func() *ctlogtest.Log {
				l, err := ctlogtest.New(ctlogtest.Options{Kind: kind, Size: 700, Seed: 2, Name: "other", PageSize: 50})
				if err != nil {
					t.Fatal(err)
				}
				return l
			}())
			sink := newMemSink()
			a := follow(t, tailConfig(t, sink, one), sink)
			defer a.end()
			name := one.client.Info().Name
			a.await(name, "caught up")

			a.set(tailOf(one), tailOf(other)) // it appears
			a.await("other", "caught up")
			if n := len(a.following()); n != 2 {
				t.Fatalf("%d followers", n)
			}
			grow(t, one, 200)
			moved := redial(t, one, "https://moved.ctappliance.test/", func(i *ctlog.Info) { i.Name = "renamed" })
			a.set(tailOf(moved), tailOf(other))
			if st := a.awaitEntries("renamed", 500); st.URL != "https://moved.ctappliance.test/" || len(st.Spans) != 1 {
				t.Errorf("after the move: %+v", st)
			}
			a.set(tailOf(moved)) // the other one is left out
			grow(t, other, 100)
			time.Sleep(time.Minute)
			if top, _, _ := sink.Highest(t.Context(), schemaRange(other.id, 0, Forever)); top != 699 {
				t.Errorf("a log that is left out was copied up to %d", top)
			}
			a.set(tailOf(moved), tailOf(other)) // and comes back
			if st := a.awaitEntries("other", 800); len(st.Spans) != 1 {
				t.Errorf("after it came back: %+v", st)
			}
			for _, l := range []*testLog{one, other} {
				size, _, _ := l.Head()
				if err := sink.check(l.id, 0, size); err != nil {
					t.Error(err)
				}
			}
			if d := a.Status().Delivery; d.Rows != 500+800 || d.Reinserted != 0 {
				t.Errorf("%+v", d)
			}
		})
	}
}

func grow(t *testing.T, l *testLog, n uint64) {
	t.Helper()
	if err := l.Grow(n); err != nil {
		t.Fatal(err)
	}
}

// The set is replaced all the time while entries are on their way: whatever a
// conductor was doing when its follower was stopped, the WAL follows on.
func TestSetLogsInTheMiddle(t *testing.T) {
	for _, kind := range []ctlogtest.Kind{ctlogtest.RFC6962, ctlogtest.Static} {
		bubble(t, kind.String(), func(t *testing.T) {
			l := dial(t, newLog(t, kind, 3_000))
			sink := newMemSink()
			c := tailConfig(t, sink, l)
			var a *following
			var mu sync.Mutex
			steps, asked := 0, make(chan struct{}, 1)
			c.Step = func(step string) {
				mu.Lock()
				defer mu.Unlock()
				if steps++; strings.HasPrefix(step, "wal-") && steps%3 == 0 {
					select {
					case asked <- struct{}{}:
					default:
					}
					runtime.Gosched()
				}
			}
			a = follow(t, c, sink)
			done := make(chan struct{})
			go func() {
				defer close(done)
				for i := range 200 {
					select {
					case <-asked:
					case <-time.After(10 * time.Second):
						return
					}
					if i%2 == 0 {
						a.set()
					}
					a.set(tailOf(redial(t, l, "https://log.ctappliance.test/", nil)))
				}
			}()
			<-done
			if st := a.awaitEntries(l.client.Info().Name, 3_000); len(st.Spans) != 1 {
				t.Errorf("%+v", st)
			}
			a.end()
			if err := sink.check(l.id, 0, 3_000); err != nil {
				t.Error(err)
			}
			if alarms := a.Status().Alarms; len(alarms) != 0 {
				t.Errorf("alarms: %q", alarms)
			}
		})
	}
}

// A batch is being written when its log moves: whoever runs the span next waits
// for it, and goes on behind it.
func TestSetLogsWhileAppending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := dial(t, newLog(t, ctlogtest.RFC6962, 900))
		sink := newMemSink()
		c := tailConfig(t, sink, l)
		writing, goOn := make(chan struct{}), make(chan struct{})
		var once sync.Once
		c.Step = func(step string) {
			if step == "wal-written" {
				once.Do(func() {
					close(writing)
					<-goOn
				})
			}
		}
		a := follow(t, c, sink)
		defer a.end()
		<-writing
		moved := redial(t, l, "https://moved.ctappliance.test/", nil)
		a.set(tailOf(moved))
		time.Sleep(time.Minute)
		close(goOn)
		a.awaitEntries(l.client.Info().Name, 900)
		if d := a.Status().Delivery; d.Rows != 900 {
			t.Errorf("%+v", d)
		}
		if err := sink.check(l.id, 0, 900); err != nil {
			t.Error(err)
		}
	})
}

// A log that is halted stays so when it moves, and what nobody follows is not
// followed.
func TestSetLogsHalted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := dial(t, newLog(t, ctlogtest.Static, 300))
		sink := newMemSink()
		a := follow(t, tailConfig(t, sink, l), sink)
		defer a.end()
		name := l.client.Info().Name
		a.await(name, "caught up")
		a.following()[0].halt(&VerifyError{Log: name, Kind: KindMismatch, Reason: "test"})
		a.set(tailOf(redial(t, l, "https://moved.ctappliance.test/", nil)))
		grow(t, l, 100)
		time.Sleep(time.Minute)
		if st := a.Status().Logs[0]; st.State != "halted" || st.Halted != "test" || st.Delivered != 300 || st.Evidence == "" {
			t.Errorf("%+v", st)
		}
	})
}

func TestSetLogsRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := dial(t, newLog(t, ctlogtest.Static, 300))
		sink := newMemSink()
		a := follow(t, tailConfig(t, sink, l), sink)
		a.await(l.client.Info().Name, "caught up")
		before := a.following()
		if err := a.SetLogs(t.Context(), []Follow{tailOf(l), tailOf(redial(t, l, "https://twice.ctappliance.test/", nil))}); err == nil {
			t.Error("the same log twice was taken")
		}
		if !slices.Equal(before, a.following()) {
			t.Error("a set that makes no sense changed what is followed")
		}
		a.set(tailOf(l))
		if !slices.Equal(before, a.following()) {
			t.Error("the same set started everything anew")
		}
		a.end()
		if err := a.SetLogs(t.Context(), []Follow{tailOf(l)}); !errors.Is(err, errNotRunning) {
			t.Errorf("after its end: %v", err)
		}
	})
}

// A read-only log is followed to its final tree and closed: no request is made
// any more, and a restart changes nothing about that.
func TestClosed(t *testing.T) {
	for _, kind := range []ctlogtest.Kind{ctlogtest.RFC6962, ctlogtest.Static} {
		bubble(t, kind.String(), func(t *testing.T) {
			l := dial(t, newLog(t, kind, 300))
			sink := newMemSink()
			c := tailConfig(t, sink, l)
			a := follow(t, c, sink)
			name := l.client.Info().Name
			a.await(name, "caught up")
			grow(t, l, 130)
			size, root, _ := l.Head()
			final := redial(t, l, "https://log.ctappliance.test/", func(i *ctlog.Info) { i.State, i.FinalSize, i.FinalRoot = "readonly", size, root })
			a.set(tailOf(final))
			st := a.await(name, "closed")
			if st.Delivered != size || st.Verified != size || st.Final != size || len(a.Status().Alarms) != 0 {
				t.Errorf("%+v, alarms %q", st, a.Status().Alarms)
			}
			before := l.Stats().Requests[ctlogtest.ClassHead]
			time.Sleep(time.Hour)
			if n := l.Stats().Requests[ctlogtest.ClassHead] - before; n > 3 { // the audit's
				t.Errorf("%d polls of a closed log in an hour", n)
			}
			a.end()
			c.Logs = []Follow{tailOf(final)}
			b := follow(t, c, sink)
			b.await(name, "closed")
			b.end()
			if err := sink.check(l.id, 0, size); err != nil {
				t.Error(err)
			}
		})
	}
}

// A final root that is not the log's is an alarm.
func TestClosedOtherwise(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := dial(t, newLog(t, ctlogtest.RFC6962, 300))
		sink := newMemSink()
		a := follow(t, tailConfig(t, sink, redial(t, l, "https://log.ctappliance.test/", func(i *ctlog.Info) { i.FinalSize, i.FinalRoot = 300, ctlog.Hash{1} })), sink)
		a.await(l.client.Info().Name, "closed")
		a.end()
		if st := a.Status(); !hasAlarm(st, "has root") || st.Logs[0].Delivered != 300 {
			t.Errorf("alarms %q, %+v", st.Alarms, st.Logs[0])
		}
	})
}

// A log that goes on beyond the end that the list names is followed to where
// it is, however often it grows; that is no alarm.
func TestGrowsBeyondItsEnd(t *testing.T) {
	for _, kind := range []ctlogtest.Kind{ctlogtest.RFC6962, ctlogtest.Static} {
		bubble(t, kind.String(), func(t *testing.T) {
			l := dial(t, newLog(t, kind, 300))
			sink := newMemSink()
			c := tailConfig(t, sink, redial(t, l, "https://log.ctappliance.test/", func(i *ctlog.Info) { i.FinalSize, i.FinalRoot = 200, ctlog.Hash{1} }))
			c.FlushInterval = time.Minute // it grows again before it is closed
			a := follow(t, c, sink)
			defer a.end()
			name := l.client.Info().Name
			for size := uint64(300); size < 800; size += 100 {
				a.awaitThat(name, func(l LogStatus) bool { return l.Verified == size })
				grow(t, l, 100)
			}
			st := a.awaitEntries(name, 800)
			a.await(name, "closed")
			if len(st.Spans) != 1 || len(a.Status().Alarms) != 0 {
				t.Errorf("%+v, alarms %q", st, a.Status().Alarms)
			}
		})
	}
}

// A tail that begins beyond the log's head says what it waits for.
func TestBeginsBeyondTheHead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := dial(t, newLog(t, ctlogtest.RFC6962, 300))
		sink := newMemSink()
		c := tailConfig(t, sink, l)
		c.Logs[0].Spans = []Request{{From: 20260101, To: Forever}}
		a := follow(t, c, sink)
		defer a.end()
		time.Sleep(time.Minute)
		if st := a.Status().Logs[0]; st.State != "waiting" || !strings.Contains(st.LastError, "waits for entry 20260101: it has 300") {
			t.Errorf("%s: %q", st.State, st.LastError)
		}
	})
}

// The head first, history beside it, and both over a restart.
func TestTailAndHistory(t *testing.T) {
	for _, kind := range []ctlogtest.Kind{ctlogtest.RFC6962, ctlogtest.Static} {
		bubble(t, kind.String(), func(t *testing.T) {
			l := dial(t, newLog(t, kind, 900))
			sink := newMemSink()
			c := tailConfig(t, sink, l)
			c.Logs[0].Spans = []Request{{Start: StartNow, To: Forever}}
			a := follow(t, c, sink)
			name := l.client.Info().Name
			a.await(name, "caught up")
			grow(t, l, 100)
			time.Sleep(time.Minute)
			a.end()
			if top, _, _ := sink.Highest(t.Context(), schemaRange(l.id, 0, 900)); top != 0 {
				t.Errorf("a tail from now on has entry %d", top)
			}
			if err := sink.check(l.id, 900, 1_000); err != nil {
				t.Error(err)
			}
			c.Logs[0].Spans[0].History = true // an afterthought
			b := follow(t, c, sink)
			st := b.awaitEntries(name, 1_000)
			b.end()
			if len(st.Spans) != 2 || st.Spans[0].To != 900 {
				t.Errorf("%+v", st)
			}
			if err := sink.check(l.id, 0, 1_000); err != nil {
				t.Error(err)
			}
		})
	}
}

// A start by date is looked up once: the tail that it gave is where it is, also
// after a restart with another date.
func TestStartDate(t *testing.T) {
	for _, kind := range []ctlogtest.Kind{ctlogtest.RFC6962, ctlogtest.Static} {
		bubble(t, kind.String(), func(t *testing.T) {
			l := redial(t, dial(t, newLog(t, kind, 900)), "https://log.ctappliance.test/", func(i *ctlog.Info) { i.MMD = time.Millisecond })
			size, _, _ := l.Head()
			since := time.UnixMilli(int64(binary.BigEndian.Uint64(l.Leaf(600)[2:])))
			sink := newMemSink()
			c := tailConfig(t, sink, l)
			c.Logs[0].Spans = []Request{{Start: StartDate, Since: since, To: Forever}}
			a := follow(t, c, sink)
			name := l.client.Info().Name
			st := a.await(name, "caught up")
			a.end()
			from := st.Spans[0].From
			if len(st.Spans) != 1 || from == 0 || from > 600 {
				t.Fatalf("began at %d, want 600 or somewhat less: %+v", from, st.Spans)
			}
			if err := sink.check(l.id, from, size); err != nil {
				t.Error(err)
			}
			c.Logs[0].Spans[0].Since = since.AddDate(-1, 0, 0)
			b := follow(t, c, sink)
			st = b.await(name, "caught up")
			b.end()
			if len(st.Spans) != 1 || st.Spans[0].From != from {
				t.Errorf("another date moved the beginning: %+v", st.Spans)
			}
		})
	}
}

// A log whose beginning is still looked for waits: nothing of it is behind, and
// nothing is there.
func TestStartStillLookedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := dial(t, newLog(t, ctlogtest.RFC6962, 900))
		if err := l.Faults().Set(ctlogtest.Fault{Mode: ctlogtest.Latency, On: ctlogtest.ClassData, Delay: 20 * time.Second}); err != nil {
			t.Fatal(err)
		}
		sink := newMemSink()
		c := tailConfig(t, sink, l)
		c.Logs[0].Spans = []Request{{Start: StartDate, Since: time.UnixMilli(int64(binary.BigEndian.Uint64(l.Leaf(600)[2:]))), To: Forever}}
		a := follow(t, c, sink)
		defer a.end()
		time.Sleep(15 * time.Second)
		if st := a.Status().Logs[0]; st.Head == 0 || len(st.Spans) > 0 || st.State != "waiting" {
			t.Errorf("%s, head %d, spans %v; want it to wait", st.State, st.Head, st.Spans)
		}
		a.await(l.client.Info().Name, "caught up")
	})
}

// A shard that is copied too slowly for the time it has left is said to be at
// risk, and no longer when it is copied.
func TestRisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := dial(t, newLog(t, ctlogtest.RFC6962, 2_000))
		info := l.client.Info()
		info.End = time.Now().Add(-vanishAfter)
		pacer := pace.New(pace.Options{Start: 0.005, Max: 0.005})
		client, err := ctlog.New(info, ctlog.Options{UserAgent: "ctappliance-test (test@ctappliance.test)", Pacer: pacer, Transport: ctlogtest.Transport(l.Handler()), PageSize: 64})
		if err != nil {
			t.Fatal(err)
		}
		sink := newMemSink()
		a := follow(t, tailConfig(t, sink, &testLog{Log: l.Log, client: client, pace: pacer, id: l.id}), sink)
		defer a.end()
		time.Sleep(30 * time.Minute)
		if risk := a.Status().Logs[0].Risk; risk != "" {
			t.Errorf("said after half an hour: %s", risk)
		}
		st := a.awaitThat(info.Name, func(l LogStatus) bool { return l.Risk != "" })
		if !strings.Contains(st.Risk, "still to be fetched") {
			t.Errorf("risk: %s", st.Risk)
		}
		time.Sleep(6 * time.Hour)
		a.awaitEntries(info.Name, 2_000)
		time.Sleep(2 * assessEvery)
		if risk := a.Status().Logs[0].Risk; risk != "" {
			t.Errorf("it is copied, and still: %s", risk)
		}
	})
}

func TestRiskOf(t *testing.T) {
	now := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	hour := func(head0, fetched0, head1, fetched1, wanted uint64, ends time.Time) string {
		return riskOf(sample{now.Add(-time.Hour), head0, fetched0}, sample{now, head1, fetched1}, wanted, ends)
	}
	for name, tt := range map[string]struct {
		risk string
		want string
	}{
		"caught up":               {hour(1e6, 1e6, 1.1e6, 1.1e6, 1.1e6, now), ""},
		"a tail's few":            {hour(1e6, 1e6, 1.1e6, 1.09e6, 1.1e6, now), ""},
		"in time":                 {hour(1e9, 1e6, 1e9, 11e6, 1e9, now.AddDate(0, 1, 0)), ""},
		"too slow":                {hour(1e9, 1e6, 1e9, 2e6, 1e9, now.AddDate(0, 0, 20)), "998000000 entries are still to be fetched, done on 2027-01-03 at the present rate; the shard ends on 2026-12-13 and may be deleted from 2026-12-27 on"},
		"nothing comes":           {hour(1e9, 1e6, 1e9, 1e6, 1e9, now.AddDate(1, 0, 0)), "never at the present rate"},
		"it grows as we go":       {hour(1e9, 9e8, 1e9+1e6, 9e8+1e6, 1e9+1e6, now.AddDate(0, 3, 0)), ""},
		"it outruns us":           {hour(1e9, 1e8, 1e9+4e6, 1e8+1e5, 1e9+4e6, now.AddDate(0, 3, 0)), "may be deleted from 2027-03-09 on"},
		"ended long ago and slow": {hour(1e9, 1e8, 1e9, 1e8+10, 1e9, now.AddDate(0, -1, 0)), "may be deleted from 2026-11-06 on"},
	} {
		if tt.want == "" && tt.risk != "" || !strings.Contains(tt.risk, tt.want) {
			t.Errorf("%s: %q, want %q", name, tt.risk, tt.want)
		}
	}
}
