package ctlogtest

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// Inside a bubble an hour of a slow log takes no time, and nothing leaks.
func TestTransportInBubble(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newTestLog(t, Options{Size: 300})
		c := &http.Client{Transport: Transport(http.StripPrefix("/rfc", l.Handler()))}
		get := func(ctx context.Context) ([]byte, error) {
			req, err := http.NewRequestWithContext(ctx, "GET", "http://log.test/rfc"+entriesPath, nil)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := c.Do(req)
			if err != nil {
				return nil, err
			}
			defer resp.Body.Close()
			b, err := io.ReadAll(resp.Body)
			if err == nil && int64(len(b)) != resp.ContentLength {
				t.Errorf("%d bytes, %d were promised", len(b), resp.ContentLength)
			}
			return b, err
		}
		want, err := get(t.Context())
		if err != nil || len(want) < 10_000 {
			t.Fatalf("%d bytes, %v", len(want), err)
		}

		arm(t, l, Fault{Mode: Latency, Delay: time.Hour})
		start := time.Now()
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				if b, err := get(t.Context()); err != nil || string(b) != string(want) {
					t.Errorf("%d bytes, %v", len(b), err)
				}
			})
		}
		wg.Wait()
		if took := time.Since(start); took != time.Hour {
			t.Errorf("took %v, want an hour", took)
		}
		if s := l.Stats(); s.MaxInFlight != 3 || s.InFlight != 0 || s.Served != 40 {
			t.Errorf("%+v", s)
		}

		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := get(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("deadline before the header: %v", err)
		}
		arm(t, l, Fault{Mode: SlowBody, N: 1000, Delay: time.Minute})
		ctx, cancel = context.WithTimeout(t.Context(), 5*time.Minute)
		defer cancel()
		if b, err := get(ctx); !errors.Is(err, context.DeadlineExceeded) || len(b) == 0 {
			t.Errorf("deadline in the body: %d bytes, %v", len(b), err)
		}
		arm(t, l, Fault{Mode: Reset, N: 10})
		if _, err := get(t.Context()); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("reset: %v", err)
		}
		arm(t, l, Fault{Mode: EndlessBody})
		resp, err := c.Get("http://log.test/rfc" + entriesPath)
		if err != nil {
			t.Fatal(err)
		}
		io.CopyN(io.Discard, resp.Body, 1<<20)
		resp.Body.Close() // must free the handler, or the bubble never ends
	})
}
