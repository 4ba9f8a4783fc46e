//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"ctappliance/ingest"
)

// syscallFaults make the kernel answer the program as it is shipped with
// errors, or kill it, at its n-th system call of a kind: with strace, beneath
// everything that is ours. A quick row goes to n = 2, a whole one until n is not
// reached twice.
var syscallFaults = []fault{
	{"fdatasync fails", true, func(l *lab) { nthCall(l, "fdatasync", "error=EIO", dies) }},
	{"fsync fails", false, func(l *lab) { nthCall(l, "fsync", "error=EIO", dies) }},
	{"a write fails", false, func(l *lab) { nthCall(l, "pwrite64", "error=EIO", dies) }},
	{"a write meets a full disk", false, func(l *lab) { nthCall(l, "pwrite64", "error=ENOSPC", diesOrWaits) }},
	{"rename fails", false, func(l *lab) { nthCall(l, "renameat", "error=EIO", dies) }},
	{"fallocate fails", false, func(l *lab) { nthCall(l, "fallocate", "error=EIO", dies) }},
	{"fallocate meets a full disk", false, func(l *lab) { nthCall(l, "fallocate", "error=ENOSPC", diesOrWaits) }},
	{"ftruncate fails", false, func(l *lab) { nthCall(l, "ftruncate", "error=EIO", dies) }},
	{"unlink fails", false, func(l *lab) { nthCall(l, "unlinkat", "error=EIO", diesOrWaits) }},
	{"killed at a call", true, func(l *lab) {
		nthCall(l, "fdatasync,fsync,pwrite64,renameat,fallocate,ftruncate,unlinkat", "signal=SIGKILL", isKilled)
	}},
	{"engine: fdatasync fails", false, func(l *lab) { engineCalls(l, "fdatasync:error=EIO:when=5+7") }},
	{"engine: rename fails", false, func(l *lab) { engineCalls(l, "rename:error=EIO:when=2+3") }},
	{"engine: write fails", false, func(l *lab) {
		engineCalls(l, "write:error=ENOSPC:when=50")
	}},
}

// What becomes of a process whose call failed.
const (
	dies        = "dies"   // it ends with status 1 and one line
	diesOrWaits = "either" // or it goes on: the error may be waited out
	isKilled    = "killed"
)

// needStrace skips the row where there is no strace, or it may not be used.
func needStrace(l *lab) {
	out, err := exec.Command("strace", "-D", "-o", "/dev/null", "true").CombinedOutput()
	if err == nil {
		return
	}
	if errors.Is(err, exec.ErrNotFound) && os.Getenv("CI") == "true" {
		l.t.Fatal("strace is not installed")
	}
	l.t.Skipf("strace cannot be used here: %v %s", err, out)
}

// injected returns the calls that strace has interfered with.
func injected(l *lab, trace string) (hits []string) {
	text, err := os.ReadFile(trace)
	if err != nil {
		l.t.Fatal(err)
	}
	for line := range strings.SplitSeq(string(text), "\n") {
		if strings.Contains(line, "(INJECTED)") || strings.Contains(line, "+++ killed by SIGKILL") {
			hits = append(hits, line)
		}
	}
	return hits
}

// nthCall starts the appliance again and again on one data directory, each life
// with the n-th call of one of its threads going wrong, and at last one without.
func nthCall(l *lab, calls, what, outcome string) {
	needStrace(l)
	trace := filepath.Join(l.dir, "strace")
	most := 2
	if *faultsAll {
		most = 40
	}
	ended, wentOn, missed := 0, 0, 0
	var said []string
	for n := 1; n <= most && missed < 2; n++ {
		l.grow(100)
		// The engine, which executes the program once more, is let go.
		l.wrap = []string{"strace", "-D", "-f", "-y", "-s", "8", "-b", "execve", "-o", trace, "-e", "trace=" + calls, "-e", fmt.Sprintf("inject=%s:%s:when=%d", calls, what, n)}
		from := l.outSize()
		l.begin(l.command("run"))
		if l.livesOrDies() {
			_ = l.app.cmd.Process.Signal(syscall.SIGTERM)
		}
		<-l.app.ended
		hits := injected(l, trace)
		var exit *exec.ExitError
		_ = errors.As(l.app.err, &exit)
		words := lastLines(l, from)
		switch {
		case len(hits) == 0:
			missed++
			if l.app.err != nil {
				l.t.Errorf("n = %d: without a fault it ended with %v: %s", n, l.app.err, words)
			}
			continue
		case outcome == isKilled:
			if exit == nil || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
				l.t.Errorf("n = %d: it was not killed but ended with %v", n, l.app.err)
			}
			ended++
		case l.app.err == nil:
			wentOn++
			if outcome == dies && slices.ContainsFunc(hits, func(h string) bool { return !losesNothing(h) }) {
				l.t.Errorf("n = %d: it went on after %s", n, strings.Join(hits, "\n"))
			}
		default:
			ended++
			if exit == nil || exit.ExitCode() != 1 || len(words) != 1 {
				l.t.Errorf("n = %d: it ended with %v and %d lines, want status 1 and one:\n%s\nafter %s", n, l.app.err, len(words), strings.Join(words, "\n"), hits[0])
			}
		}
		if len(words) > 0 {
			said = append(said, words[len(words)-1])
		}
		missed = 0
	}
	l.wrap = nil
	if ended+wentOn == 0 {
		l.t.Error("no call went wrong: the row shows nothing")
	}
	l.grow(100)
	l.run()
	l.back = l.goesOn()
	l.settle()
	l.injected = fmt.Sprintf("%s %s at n = 1…: %d lives ended, %d went on", calls, what, ended, wentOn)
	slices.Sort(said)
	said = slices.Compact(said)
	l.t.Logf("what it said:\n%s", strings.Join(said, "\n"))
	if len(said) > 0 {
		l.said = said[0]
	}
}

// losesNothing reports whether a call that failed loses nothing: the line is
// strace's.
func losesNothing(hit string) bool {
	for _, file := range []string{"/data/lock>", "/data/.probe-"} {
		if strings.Contains(hit, file) {
			return true
		}
	}
	return false
}

// livesOrDies returns true when everything is delivered, false when the process
// has ended.
func (l *lab) livesOrDies() bool {
	for deadline := time.Now().Add(crashPatience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if l.app.dead() {
			return false
		}
		if l.deliveredAll() {
			return true
		}
	}
	l.t.Errorf("after a fault it neither ended nor delivered everything; its status: %s", l.statusText())
	return true
}

// deliveredAll reports whether the appliance has all that the logs have.
func (l *lab) deliveredAll() bool {
	st, ok := l.status()
	if !ok {
		return false
	}
	for _, log := range l.logs {
		stats, err := log.stats(l.t.Context())
		if err != nil {
			l.t.Fatal(err)
		}
		if !slices.ContainsFunc(st.Logs, func(s ingest.LogStatus) bool { return s.Name == log.Name && s.Delivered >= stats.Size }) {
			return false
		}
	}
	return true
}

// outSize is how much the appliance has said.
func (l *lab) outSize() int64 {
	info, err := l.out.Stat()
	if err != nil {
		l.t.Fatal(err)
	}
	return info.Size()
}

// engineCalls has calls of the running engine go wrong for a while.
func engineCalls(l *lab, inject string) {
	needStrace(l)
	l.run()
	l.hasDelivered(labEntries)
	engine, trace := childOf(l.app.pid()), filepath.Join(l.dir, "strace")
	call, _, _ := strings.Cut(inject, ":")
	tracer, err := startProc(exec.Command("strace", "-f", "-y", "-s", "8", "-o", trace, "-e", "trace="+call, "-e", "inject="+inject, "-p", fmt.Sprint(engine)))
	if err != nil {
		l.t.Fatal(err)
	}
	rounds := 0
	l.await("calls of the engine fail", 50*time.Millisecond, crashPatience, func() bool {
		if rounds < 60 {
			l.grow(100)
			rounds++
		}
		if _, err := os.Stat(trace); err != nil {
			return tracer.dead()
		}
		return tracer.dead() || len(injected(l, trace)) >= 8
	})
	if st, ok := l.status(); ok {
		l.said = st.Delivery.Trouble
	}
	_ = tracer.cmd.Process.Signal(syscall.SIGINT)
	<-tracer.ended
	if l.said == "" {
		l.said = fmt.Sprintf("%d engines in all", strings.Count(tail(l.out.Name(), 1000), `msg="engine runs"`))
	}
	l.grow(100)
	l.back = l.goesOn()
	l.settle()
	l.injected = fmt.Sprintf("%s in the engine: %d calls failed", inject, len(injected(l, trace)))
}

// lastLines are the lines for people that were said behind from.
func lastLines(l *lab, from int64) (words []string) {
	text, err := os.ReadFile(l.out.Name())
	if err != nil {
		l.t.Fatal(err)
	}
	for line := range strings.SplitSeq(string(text[from:]), "\n") {
		if strings.HasPrefix(line, "ctappliance: ") {
			words = append(words, line)
		}
	}
	return words
}
