package catalog

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// asked is when a source was asked, by a Run that goes on for d.
func asked(t *testing.T, c *Catalog, d time.Duration, serve func(w *web, note func()), w *web, changed func()) []time.Duration {
	t.Helper()
	var at []time.Duration
	began := time.Now()
	serve(w, func() { at = append(at, time.Since(began)) })
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	if err := c.Run(ctx, changed); err != nil {
		t.Error(err)
	}
	return at
}

// TestRunIntervals: random intervals around Refresh, the first question at
// once where there is no list, and not before its time where there is one.
func TestRunIntervals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, dir := newWeb(), t.TempDir()
		list := testList("1", time.Now(), testLogs(2)...)
		serve := func(w *web, note func()) {
			w.serve(bareURL, func(r *http.Request) (*http.Response, error) { note(); return answer(r, 200, nil, list), nil })
		}
		calls := 0
		at := asked(t, open(t, w, dir, bare()), 1000*time.Hour, serve, w, func() { calls++ })
		if at[0] != 0 || calls != 1 {
			t.Errorf("first asked after %v, %d changes", at[0], calls)
		}
		short, long := 0, 0
		for i := 1; i < len(at); i++ {
			gap := at[i] - at[i-1]
			if gap < DefaultRefresh/2 || gap >= DefaultRefresh*3/2 {
				t.Errorf("gap of %v", gap)
			}
			if gap < DefaultRefresh*3/4 {
				short++
			}
			if gap > DefaultRefresh*5/4 {
				long++
			}
		}
		if n := len(at); n < 60 || n > 110 || short < 5 || long < 5 {
			t.Errorf("asked %d times, %d short and %d long intervals", n, short, long)
		}
		// The last life's list is at most an interval old.
		at = asked(t, open(t, w, dir, bare()), 100*time.Hour, serve, w, nil)
		if at[0] > DefaultRefresh*3/2 {
			t.Errorf("after a restart first asked after %v", at[0])
		}
		if err := open(t, w, dir, bare()).Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		at = asked(t, open(t, w, dir, bare()), 100*time.Hour, serve, w, nil)
		if at[0] < DefaultRefresh/2 || at[0] > DefaultRefresh*3/2 {
			t.Errorf("with a fresh list first asked after %v", at[0])
		}
		time.Sleep(100 * time.Hour)
		at = asked(t, open(t, w, dir, bare()), 100*time.Hour, serve, w, nil)
		if at[0] > time.Minute {
			t.Errorf("with an old list first asked after %v", at[0])
		}
	})
}

// TestRunRetries: a source that fails is asked again soon, then less and less;
// one line when it goes bad, one a day, one when it is back. The other source
// does not notice.
func TestRunRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPublisher(t)
		p.publish(testList("1", time.Now(), testLogs(2)...))
		var said lines
		c, err := Open(Options{Sources: []Source{bare(), p.source()}, Transport: p.web, Logger: said.logger()})
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		at := asked(t, c, 100*time.Hour, func(w *web, note func()) {
			w.serve(bareURL, func(r *http.Request) (*http.Response, error) {
				note()
				if time.Since(began) < 72*time.Hour {
					return nil, errors.New("no route to host")
				}
				return answer(r, 200, nil, testList("1", time.Now(), testLog(9))), nil
			})
		}, p.web, nil)
		for i, most := range []time.Duration{0, time.Minute, 3 * time.Minute, 7 * time.Minute, 15 * time.Minute} {
			if at[i] > most {
				t.Errorf("question %d after %v", i, at[i])
			}
		}
		if n := len(at); n < 13 || n > 30 {
			t.Errorf("asked %d times in 100 hours: %v", n, at)
		}
		text := said.String()
		if bad, back := strings.Count(text, "log list refresh failed"), strings.Count(text, "log list refreshed again"); bad < 2 || bad > 4 || back != 1 {
			t.Errorf("%d and %d lines:\n%s", bad, back, text)
		}
		if len(c.Logs()) != 3 || p.count(listURL) < 5 || c.Sources()[0].Failures != 0 {
			t.Errorf("%d logs, the other source was asked %d times", len(c.Logs()), p.count(listURL))
		}
	})
}

// TestRunOldList: a source that is there, but stands still, is mentioned once
// a day.
func TestRunOldList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWeb()
		w.put(bareURL, testList("1", time.Now(), testLog(1)))
		var said lines
		c, err := Open(Options{Sources: []Source{bare()}, Transport: w, Logger: said.logger()})
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range []int{0, 5, 10} {
			ctx, cancel := context.WithTimeout(t.Context(), 69*24*time.Hour)
			if i > 0 {
				ctx, cancel = context.WithTimeout(t.Context(), 6*24*time.Hour)
			}
			if err := c.Run(ctx, nil); err != nil {
				t.Error(err)
			}
			cancel()
			if n := strings.Count(said.String(), "log list is old"); n < want-2 || n > want+2 || i == 0 && n > 0 {
				t.Errorf("life %d: %d lines", i, n)
			}
		}
	})
}

// TestTogether: refreshes by hand beside Run's own, readers beside both, and a
// second process that reads what is written meanwhile.
func TestTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, dir := newPublisher(t), t.TempDir()
		p.publish(testList("0", time.Now(), testLogs(1)...))
		c := open(t, p.web, dir, p.source(), bare())
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { _ = c.Run(ctx, func() { _ = c.Logs() }) })
		for i := range 3 {
			wg.Go(func() {
				for range 20 {
					time.Sleep(time.Duration(1+i) * time.Hour)
					_ = c.Refresh(ctx)
					_, _ = c.Logs(), c.Sources()
				}
			})
		}
		for n := range 20 {
			time.Sleep(3 * time.Hour)
			p.publish(testList(strconv.Itoa(1+n), time.Now(), testLogs(1+n)...))
			var said lines
			if _, err := Open(Options{Dir: dir, Sources: []Source{p.source()}, Logger: said.logger()}); err != nil || said.String() != "" {
				t.Errorf("%v %s", err, said.String())
			}
		}
		time.Sleep(24 * time.Hour)
		cancel()
		wg.Wait()
		if len(c.Logs()) != 20 {
			t.Errorf("%d logs", len(c.Logs()))
		}
	})
}

// TestRunTells: changed is called for what changes, through Run or through
// Refresh, and for nothing else.
func TestRunTells(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPublisher(t)
		list := testList("1", time.Now(), testLogs(2)...)
		p.publish(list)
		c := open(t, p.web, "", p.source())
		ctx, cancel := context.WithCancel(t.Context())
		calls, ended := 0, make(chan struct{})
		go func() {
			defer close(ended)
			if err := c.Run(ctx, func() { calls++ }); err != nil {
				t.Error(err)
			}
		}()
		want := func(n int, what string) {
			t.Helper()
			synctest.Wait()
			if calls != n {
				t.Errorf("%s: %d calls, want %d", what, calls, n)
			}
		}
		want(1, "first list")
		time.Sleep(48 * time.Hour)
		want(1, "the same list")
		p.publish(testList("2", time.Now(), testLogs(2)...))
		time.Sleep(24 * time.Hour)
		want(1, "the same logs in a new list")
		p.publish(testList("3", time.Now(), testLog(0), testLog(1, state("readonly", "2026-03-01T00:00:00Z"))))
		time.Sleep(24 * time.Hour)
		want(2, "read-only")
		p.publish(testList("4", time.Now(), testLog(0), testLog(1, state("readonly", "2026-03-01T00:00:00Z")), testLog(2)))
		if err := c.Refresh(ctx); err != nil {
			t.Fatal(err)
		}
		want(3, "by Refresh")
		p.fail(listURL, errors.New("gone"))
		time.Sleep(48 * time.Hour)
		want(3, "a source that fails")
		cancel()
		<-ended
	})
}
