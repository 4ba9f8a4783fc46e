package main

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ctappliance/cmd/ctappliance/report"
	"ctappliance/ingest"
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
			n.ask = func(context.Context) (*report.Status, error) {
				if asked++; asked < 3 {
					return nil, errNotRunning
				}
				return &report.Status{Status: ingest.Status{Logs: []ingest.LogStatus{{State: "halted", Halted: "it lied"}}}}, nil
			}
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan struct{})
			go func() {
				defer close(done)
				n.run(ctx)
			}()
			if m := heard(); !strings.HasPrefix(m, "READY=1\nWATCHDOG=1\nSTATUS=1 log: 1 halted") || strings.Count(m, "\n") != 2 {
				t.Errorf("%q", m)
			}
			for range 3 {
				if m := heard(); !strings.HasPrefix(m, "WATCHDOG=1\nSTATUS=1 log: ") {
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
			ask: func(ctx context.Context) (*report.Status, error) {
				if d := time.Since(began); d >= hangs && d < answers {
					<-ctx.Done() // somebody holds a lock
					return nil, ctx.Err()
				}
				return &report.Status{}, nil
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
			ask: func(context.Context) (*report.Status, error) { return &report.Status{}, nil }}
		n.run(ctx)
		if strings.Count(log.String(), "\n") != 1 || sent < 10 {
			t.Errorf("%d sent, said: %s", sent, log.Bytes())
		}
	})
}
