//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// outputFaults are about who reads what the program writes.
var outputFaults = []fault{
	{"output is not read", true, unreadOutput},
	{"reader of the output is gone", true, goneReader},
	{"output of a short command is cut", false, cutOutput},
}

// fill fills a pipe to its last byte.
func fill(l *lab, w *os.File) {
	if err := w.SetWriteDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
		l.t.Fatal(err)
	}
	if _, err := w.Write(bytes.Repeat([]byte{'\n'}, 2<<20)); !errors.Is(err, os.ErrDeadlineExceeded) {
		l.t.Fatalf("filling a pipe: %v", err)
	}
}

// unreadOutput gives the appliance a full pipe that nobody reads while it has
// something to say. It must go on; say it when somebody reads; and end when
// told, with the pipe full again.
func unreadOutput(l *lab) {
	r, w, err := os.Pipe()
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { r.Close(); w.Close() })
	fill(l, w)
	// The appliance gets the pipe opened once more: a descriptor that it shared
	// with us would block for us too.
	raw, err := w.SyscallConn()
	if err != nil {
		l.t.Fatal(err)
	}
	var theirs *os.File
	if cerr := raw.Control(func(fd uintptr) { theirs, err = os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", fd), os.O_WRONLY, 0) }); cerr != nil || err != nil {
		l.t.Fatal(cerr, err)
	}
	cmd := l.command("run", "--log-level", "debug")
	cmd.Stdout, cmd.Stderr = theirs, theirs
	l.begin(cmd)
	theirs.Close()
	l.hasDelivered(2 * labEntries)
	killed := 0
	l.await("it has an engine", 20*time.Millisecond, crashPatience, func() bool {
		killed = childOf(l.app.pid())
		return killed != 0
	})
	_ = syscall.Kill(killed, syscall.SIGKILL) // it has to say something
	l.grow(300)
	l.back = l.goesOn()
	// Somebody reads again.
	var heard bytes.Buffer
	if err := r.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
		l.t.Fatal(err)
	}
	if _, err := io.Copy(&heard, r); !errors.Is(err, os.ErrDeadlineExceeded) {
		l.t.Fatal(err)
	}
	if n := strings.Count(heard.String(), `msg="engine runs"`); n != 2 || !strings.Contains(heard.String(), `msg="engine ended"`) {
		l.t.Errorf("when it was read again it told of %d starts of the engine, want 2, and of the end of one:\n%s", n, heard.String())
	}
	fill(l, w)
	l.finish(l.t.Context())
	l.counted = l.count(l.t.Context())
	told := time.Now()
	l.stop()
	took := time.Since(told)
	if took > 30*time.Second {
		l.t.Errorf("with a full pipe for its output it took %v to stop", took)
	}
	l.injected = "stdout and stderr a full pipe, 1 engine killed meanwhile"
	l.said = fmt.Sprintf("all of it when it was read, %d lines; stopped %v after it was told", bytes.Count(heard.Bytes(), []byte(" msg=")), took.Round(time.Millisecond))
}

// goneReader closes the reading end of the appliance's output in mid-life.
func goneReader(l *lab) {
	r, w, err := os.Pipe()
	if err != nil {
		l.t.Fatal(err)
	}
	cmd := l.command("run", "--log-level", "debug")
	cmd.Stdout, cmd.Stderr = w, w
	l.begin(cmd)
	w.Close()
	line := make([]byte, 1)
	if _, err := r.Read(line); err != nil {
		l.t.Fatal(err)
	}
	r.Close()
	l.hasDelivered(labEntries)
	l.grow(labEntries)
	l.back = l.goesOn()
	pid := childOf(l.app.pid())
	_ = syscall.Kill(pid, syscall.SIGKILL) // it has to say something
	l.grow(300)
	l.goesOn()
	l.settle()
	l.injected = "stdout and stderr a pipe whose reader went, 1 engine killed then"
	l.said = "nothing, to nobody"
}

// cutOutput pipes what short commands print into a reader that stops early.
func cutOutput(l *lab) {
	l.run()
	l.hasDelivered(labEntries)
	for _, args := range []string{"status", "status --json", "wal dump", "wal ls"} {
		r, w, err := os.Pipe()
		if err != nil {
			l.t.Fatal(err)
		}
		r.Close()
		cmd := l.command(strings.Fields(args)...)
		var said bytes.Buffer
		cmd.Stdout, cmd.Stderr = w, &said
		err = cmd.Run()
		w.Close()
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			l.t.Fatal(err)
		}
		if said.Len() > 0 {
			l.t.Errorf("%s into a closed pipe said %q", args, said.String())
		}
		if err == nil || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGPIPE {
			l.t.Errorf("%s into a closed pipe ended with %v, want SIGPIPE, as of other programs", args, err)
		}
	}
	l.settle()
	l.injected = "4 commands piped into nothing"
	l.said = "nothing: each ended by SIGPIPE, quietly"
}
