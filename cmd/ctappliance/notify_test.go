package main

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ctappliance/ingest"
	"ctappliance/ingest/pace"
	"ctappliance/store/engine"
)

// serviceManager listens as systemd does and sets the environment that it
// would. heard returns the next message.
func serviceManager(t *testing.T, address string, watchdog time.Duration) (heard func() string) {
	t.Helper()
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: address, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	t.Setenv("NOTIFY_SOCKET", address)
	t.Setenv("WATCHDOG_USEC", "")
	t.Setenv("WATCHDOG_PID", strconv.Itoa(os.Getpid()))
	if watchdog > 0 {
		t.Setenv("WATCHDOG_USEC", strconv.FormatInt(watchdog.Microseconds(), 10))
	}
	return func() string {
		t.Helper()
		if err := c.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 64<<10)
		n, err := c.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		return string(b[:n])
	}
}

// Over a real socket, with a name in the file system and with an abstract one:
// ready when the appliance answers, alive twice per interval of the watchdog,
// and stopping at the end.
func TestNotifySystemd(t *testing.T) {
	for name, address := range map[string]string{"file": filepath.Join(t.TempDir(), "notify"), "abstract": "@ctappliance-test-" + strconv.Itoa(os.Getpid())} {
		t.Run(name, func(t *testing.T) {
			heard := serviceManager(t, address, 20*time.Millisecond)
			n := newNotifier(t.TempDir(), slog.New(slog.DiscardHandler))
			n.reload()() // while it starts: nothing is heard of it
			if n.watchdog != 20*time.Millisecond {
				t.Fatalf("watchdog %v", n.watchdog)
			}
			asked := 0
			n.ask = func(context.Context) (*applianceStatus, error) {
				if asked++; asked < 3 {
					return nil, errNotRunning
				}
				return manyLogs(), nil
			}
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan struct{})
			go func() {
				defer close(done)
				n.run(ctx)
			}()
			if m := heard(); !strings.HasPrefix(m, "READY=1\nWATCHDOG=1\nSTATUS=60 logs: 1 halted, ") || strings.Count(m, "\n") != 2 {
				t.Errorf("%q", m)
			}
			for range 3 {
				if m := heard(); !strings.HasPrefix(m, "WATCHDOG=1\nSTATUS=60 logs: ") {
					t.Errorf("%q", m)
				}
			}
			cancel()
			<-done
			for m := heard(); m != "STOPPING=1"; m = heard() {
				if !strings.HasPrefix(m, "WATCHDOG=1\n") {
					t.Fatalf("%q", m)
				}
			}
			done2 := n.reload()
			m := heard()
			usec, ok := strings.CutPrefix(m, "RELOADING=1\nMONOTONIC_USEC=")
			if v, err := strconv.ParseUint(strings.TrimSuffix(usec, "\n"), 10, 64); !ok || err != nil || v == 0 {
				t.Errorf("%q", m)
			}
			done2()
			if m := heard(); m != "READY=1" {
				t.Errorf("%q", m)
			}
		})
	}
}

// Without a service manager nothing is said and nothing goes wrong.
func TestNotifyNobody(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	t.Setenv("WATCHDOG_USEC", "")
	if err := notify("READY=1"); err != nil {
		t.Error(err)
	}
	for usec, pid := range map[string]string{"": "", "x": "", "1000000": "1"} {
		t.Setenv("WATCHDOG_USEC", usec)
		t.Setenv("WATCHDOG_PID", pid)
		var said bytes.Buffer
		n := newNotifier(t.TempDir(), slog.New(slog.NewTextHandler(&said, nil)))
		n.ready.Store(true)
		n.reload()()
		if n.watchdog != 0 || (said.Len() > 0) != (usec == "x") {
			t.Errorf("%q: %v, %s", usec, n.watchdog, said.Bytes())
		}
	}
}

// An appliance whose status cannot be had is not kept alive: from the moment
// it hangs until it answers again the watchdog hears nothing, and ready it is
// called once.
func TestWatchdogOfADeadlock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		type said struct {
			at      time.Duration
			message string
		}
		var all []said
		began := time.Now()
		const hangs, answers = 10 * time.Minute, 30 * time.Minute
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		n := &notifier{watchdog: 2 * time.Minute, log: slog.New(slog.DiscardHandler),
			send: func(m string) error { all = append(all, said{time.Since(began), m}); return nil },
			ask: func(ctx context.Context) (*applianceStatus, error) {
				if d := time.Since(began); d >= hangs && d < answers {
					<-ctx.Done() // somebody holds a lock
					return nil, ctx.Err()
				}
				return &applianceStatus{}, nil
			}}
		n.run(ctx)
		alive, last := 0, time.Duration(0)
		for i, s := range all {
			if got, want := strings.Contains(s.message, "READY=1"), i == 0; got != want {
				t.Errorf("%v: %q", s.at, s.message)
			}
			if !strings.Contains(s.message, "WATCHDOG=1") {
				continue
			}
			alive++
			if s.at >= hangs && s.at < answers {
				t.Errorf("kept alive at %v", s.at)
			}
			if gap := s.at - last; gap > n.watchdog/2 && last < hangs-n.watchdog/2 {
				t.Errorf("at %v nothing was said for %v", s.at, gap)
			}
			last = s.at
		}
		if alive < 35 || last < answers || all[len(all)-1].message != "STOPPING=1" {
			t.Errorf("%d signs of life, the last at %v: %v", alive, last, all[len(all)-1])
		}
	})
}

// A manager that cannot be reached is said to be once, and does not stop us.
func TestNotifyUnheard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		sent := 0
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		n := &notifier{log: slog.New(slog.NewTextHandler(&log, nil)), send: func(string) error { sent++; return errors.New("no such file") },
			ask: func(context.Context) (*applianceStatus, error) { return &applianceStatus{}, nil }}
		n.run(ctx)
		if strings.Count(log.String(), "\n") != 1 || sent < 10 {
			t.Errorf("%d sent, said: %s", sent, log.Bytes())
		}
	})
}

// The line for the service manager is one line, whatever it quotes.
func TestStatusLine(t *testing.T) {
	if got, want := statusLine(manyLogs(), statusNow), "60 logs: 1 halted, 5 following, 3 retrying, 48 caught up, 1 waiting, 2 done; 29.3 G entries delivered, 2.00 G behind, 4512/s; ALARMS: 1"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got := statusLine(hostileStatus(), statusNow); strings.ContainsFunc(got, func(r rune) bool { return r < ' ' || r > '~' }) || len(got) > 4096 {
		t.Errorf("%q", got)
	}
}

// Every ten minutes a line: what has happened since the last, and nothing that
// is as it should be.
func TestSummary(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := applianceStatus{Disk: diskStatus{Free: 3 << 30, Lasts: -1}}
		st.WAL.Bytes = 1 << 20
		st.Logs = []ingest.LogStatus{{ID: "aa", State: "caught up", Pace: &pace.Snapshot{Requests: 1000, Refusals: 500}}, {ID: "bb", State: "following", Wanted: 7, Lag: 90}}
		var log bytes.Buffer
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var mu sync.Mutex // of st
		go summarize(ctx, func() applianceStatus {
			mu.Lock()
			defer mu.Unlock()
			now := st
			now.Logs = slices.Clone(st.Logs)
			return now
		}, slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		}})))
		synctest.Wait()
		expect := func(change func(), want string) {
			t.Helper()
			mu.Lock()
			change()
			mu.Unlock()
			time.Sleep(summaryEvery)
			synctest.Wait()
			if log.String() != want+"\n" {
				t.Errorf("%s, want %s", log.Bytes(), want)
			}
			log.Reset()
		}
		expect(func() {
			st.Delivery.Rows, st.Delivery.Rate = 42, 4.2
			st.Logs[0].Pace = &pace.Snapshot{Requests: 1100, Refusals: 501}
		}, `level=INFO msg="so far" logs=2 delivered=42 rate=4.2 behind=7 lag=90s refused=1.0% wal="1.0 MiB" disk_free="3.0 GiB"`)
		expect(func() {
			st.Logs[0].State, st.Logs[0].Pace = "retrying", &pace.Snapshot{Requests: 4}
			st.Engine, st.Disk.Lasts, st.Delivery.Rate = &engine.Status{}, 86400*3, 0
		}, `level=INFO msg="so far" logs=2 delivered=0 rate=0 behind=7 lag=90s refused=0% wal="1.0 MiB" disk_free="3.0 GiB" disk_lasts=3.0d retrying=1 reason="the engine is not running"`)
	})
}
