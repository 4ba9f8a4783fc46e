//go:build unix

package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// scripted are Options whose child is a shell script: the supervisor sees a
// process, its pipes and its ready line, and needs no more. In the script,
// ready says that the child is there.
func scripted(t *testing.T, script string) Options {
	t.Helper()
	lib := filepath.Join(t.TempDir(), libraryName)
	if err := os.WriteFile(lib, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	o := Options{
		Library: lib, Dir: t.TempDir(),
		Command: []string{"/bin/sh", "-c", `ready() { echo "{\"url\":\"http://127.0.0.1:1\",\"pid\":$$,\"boot_id\":\"boot-$$\"}"; }; ` + script},
		Env:     []string{"PATH=/usr/bin:/bin"},
		// Nobody answers at port 1; only the tests of health care.
		times: times{start: time.Minute, stop: 10 * time.Second, health: time.Hour, failures: 1},
	}
	if err := o.fill(); err != nil {
		t.Fatal(err)
	}
	return o
}

// bounded is the test's context with an end: what does not happen is an error,
// not a test that hangs.
func bounded(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func startScripted(t *testing.T, o Options) *Engine {
	t.Helper()
	e, err := Start(bounded(t), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Stop)
	return e
}

func mustWait(t *testing.T, e *Engine) {
	t.Helper()
	if err := e.Wait(bounded(t)); err != nil {
		t.Fatal(err)
	}
}

// A fence is our own wish: the next child starts at once, however many there
// were. Were they counted as crashes, the pauses of these would be minutes.
func TestFenceIsNoCrash(t *testing.T) {
	t.Parallel()
	e := startScripted(t, scripted(t, "ready; exec cat >/dev/null"))
	ctx := bounded(t)
	boots := map[string]bool{e.BootID(): true}
	for range 15 {
		if err := e.Fence(ctx); err != nil {
			t.Fatal(err)
		}
		if err := e.Wait(ctx); err != nil {
			t.Fatal(err)
		}
		if boots[e.BootID()] {
			t.Fatal("a boot ID twice")
		}
		boots[e.BootID()] = true
	}
	if st := e.Status(); st.Restarts != 15 || !strings.Contains(st.LastError, "fenced") {
		t.Errorf("%+v", st)
	}
}

// A pause that crashes have earned is neither made nor lost by a fence.
func TestPauseSurvivesFence(t *testing.T) {
	t.Parallel()
	e := startScripted(t, scripted(t, "ready; exec cat >/dev/null"))
	p, pause := e.respawn(bounded(t), true, time.Hour)
	if p == nil || pause != time.Hour {
		t.Fatalf("process %v, pause %v", p, pause)
	}
	p.stop(0)
}

// Many fence at once, while children come and go: all of them are told that
// the child they saw is dead, and the engine runs in the end.
func TestFencesAtOnce(t *testing.T) {
	t.Parallel()
	e := startScripted(t, scripted(t, "sleep 0.02; ready; exec cat >/dev/null"))
	ctx := bounded(t)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			for range 5 {
				st := e.Status()
				if err := e.Fence(ctx); err != nil {
					t.Error(err)
				}
				if st.PID != 0 && !errors.Is(syscall.Kill(st.PID, 0), syscall.ESRCH) {
					t.Errorf("process %d is there after a fence", st.PID)
				}
				if err := e.Wait(ctx); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	mustWait(t, e)
	if pid := e.PID(); syscall.Kill(pid, 0) != nil {
		t.Errorf("process %d runs and is not there", pid)
	}
}

// A child that is still starting is fenced like one that runs, from when it has
// its configuration; before that it serves nobody.
func TestFenceOfStarting(t *testing.T) {
	t.Parallel()
	mark := filepath.Join(t.TempDir(), "starting")
	gate := filepath.Join(t.TempDir(), "gate")
	e := startScripted(t, scripted(t, fmt.Sprintf("if [ -e %[1]s ]; then read -r conf; echo $$ >%[1]s.now; mv %[1]s.now %[1]s; until [ -e %[2]s ]; do sleep 0.01; done; fi; ready; exec cat >/dev/null", mark, gate)))
	ctx := bounded(t)
	if err := os.WriteFile(mark, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := e.Fence(ctx); err != nil {
		t.Fatal(err)
	}
	last := 0
	for range 12 {
		pid := 0
		for pid == 0 || pid == last {
			b, _ := os.ReadFile(mark)
			fmt.Sscan(string(b), &pid)
			if ctx.Err() != nil {
				t.Fatal("no child starts")
			}
			time.Sleep(time.Millisecond)
		}
		if e.Status().State != Restarting {
			t.Fatalf("%+v", e.Status())
		}
		if err := e.Fence(ctx); err != nil {
			t.Fatal(err)
		}
		if !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
			t.Fatal("the starting child lived through the fence")
		}
		last = pid
	}
	if err := os.WriteFile(gate, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	mustWait(t, e)
}

// A dead child is not taken for one that runs, though it said that it is ready.
func TestReadyAndDead(t *testing.T) {
	t.Parallel()
	e := startScripted(t, scripted(t, "ready; exec cat >/dev/null"))
	ctx := bounded(t)
	o := scripted(t, "ready; exec cat >/dev/null")
	p, err := spawn(ctx, &o, "", func(*process) {})
	if err != nil {
		t.Fatal(err)
	}
	p.kill(killFence)
	<-p.exited
	if e.arrived(p, 0) || e.BootID() == p.ready.BootID {
		t.Error("the engine runs on a dead child")
	}
}

// Stop ends a child that is starting, and one that heeds nothing but a kill.
func TestStopOfStartingAndDeaf(t *testing.T) {
	t.Parallel()
	mark := filepath.Join(t.TempDir(), "mark")
	for name, script := range map[string]string{
		"starting": fmt.Sprintf("[ -e %[1]s ] && { echo $$ >%[1]s.2; exec sleep 1000; }; touch %[1]s; ready; exec sleep 1000", mark),
		"deaf":     "ready; exec sleep 1000",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := scripted(t, script)
			o.times.stop = 50 * time.Millisecond
			e := startScripted(t, o)
			pid := e.PID()
			if name == "starting" {
				if err := e.Fence(bounded(t)); err != nil {
					t.Fatal(err)
				}
				for ctx := bounded(t); ; time.Sleep(time.Millisecond) {
					b, _ := os.ReadFile(mark + ".2")
					if n, _ := fmt.Sscan(string(b), &pid); n == 1 && strings.HasSuffix(string(b), "\n") {
						break
					}
					if ctx.Err() != nil {
						t.Fatal("no second child")
					}
				}
			}
			e.Stop()
			if !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
				t.Errorf("process %d is there after Stop", pid)
			}
			if err := e.Wait(bounded(t)); !errors.Is(err, ErrStopped) {
				t.Errorf("Wait: %v", err)
			}
			// A fence has nothing left to kill, and does not revive the status.
			if err := e.Fence(bounded(t)); err != nil || e.Status().State != Stopped {
				t.Errorf("Fence after Stop: %v, %+v", err, e.Status())
			}
		})
	}
}

// A child that says that it is ready and then answers nothing is replaced, and
// the status says why.
func TestReadyAndSilent(t *testing.T) {
	t.Parallel()
	o := scripted(t, "ready; exec sleep 1000")
	o.times.health, o.times.failures, o.times.stop = 10*time.Millisecond, 3, 0
	e := startScripted(t, o)
	first := e.BootID()
	for ctx := bounded(t); e.BootID() == first; {
		if err := e.Wait(ctx); err != nil {
			t.Fatal(err)
		}
		if ctx.Err() != nil {
			t.Fatal("a child that does not answer is left alone")
		}
		time.Sleep(time.Millisecond)
	}
	if st := e.Status(); st.Restarts == 0 || !strings.Contains(st.LastError, "did not answer") {
		t.Errorf("%+v", st)
	}
}

// What a child says after its ready line is read and dropped: it never waits
// for its parent.
func TestTalkativeChild(t *testing.T) {
	t.Parallel()
	done := filepath.Join(t.TempDir(), "done")
	startScripted(t, scripted(t, "ready; head -c 5000000 /dev/zero; head -c 5000000 /dev/zero >&2; touch "+done+"; exec cat >/dev/null"))
	for ctx := bounded(t); ; time.Sleep(time.Millisecond) {
		if _, err := os.Stat(done); err == nil {
			return
		}
		if ctx.Err() != nil {
			t.Fatal("the child waits for a reader of its output")
		}
	}
}
