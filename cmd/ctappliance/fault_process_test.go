//go:build linux

package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

// processFaults are what is done to processes, beyond killing them: TestCrash
// does that.
var processFaults = []fault{
	{"engine hangs", false, hungEngine},
	{"appliance is stopped for a while", false, stoppedAppliance},
	{"told to stop in every phase", false, func(l *lab) { toldToStop(l, "") }},
	{"told to stop, store away", false, func(l *lab) { toldToStop(l, "store") }},
	{"told to stop, logs hang", false, func(l *lab) { toldToStop(l, "logs") }},
}

// hungEngine stops the engine's process without killing it.
func hungEngine(l *lab) {
	l.run()
	l.hasDelivered(labEntries)
	hung := childOf(l.app.pid())
	l.must(syscall.Kill(hung, syscall.SIGSTOP))
	at := time.Now()
	l.grow(500)
	l.await("another engine runs", 50*time.Millisecond, crashPatience, func() bool {
		st, ok := l.status()
		if ok && st.Delivery.Trouble != "" {
			l.said = st.Delivery.Trouble
		}
		return ok && st.Engine != nil && st.Engine.PID != 0 && st.Engine.PID != hung
	})
	l.goesOn()
	l.back = time.Since(at)
	l.settle()
	l.injected = "SIGSTOP to the engine, once"
}

// stoppedAppliance stops the appliance's process and lets it go on.
func stoppedAppliance(l *lab) {
	l.run()
	l.hasDelivered(labEntries)
	const times, pause = 3, 4 * time.Second
	for range times {
		l.grow(300)
		l.must(l.app.cmd.Process.Signal(syscall.SIGSTOP))
		time.Sleep(pause) // it is what is tested
		l.must(l.app.cmd.Process.Signal(syscall.SIGCONT))
		l.back = max(l.back, l.goesOn())
	}
	l.settle()
	l.injected, l.said = fmt.Sprintf("SIGSTOP to the appliance, %d times %v", times, pause), "nothing"
}

// toldToStop sends SIGTERM at all times of a life. It must end with status 0,
// and soon, whatever it waits for.
func toldToStop(l *lab, away string) {
	l.run()
	l.hasDelivered(labEntries)
	l.stop()
	if away == "store" {
		l.env = []string{"CTAPPLIANCE_STORE_DSN=http://127.0.0.1:9/"} // where nobody listens
	}
	if away == "logs" {
		for _, log := range l.logs {
			l.must(log.proc.cmd.Process.Signal(syscall.SIGSTOP))
		}
	}
	var took []time.Duration
	early := 0 // before it heeded signals
	delays := []time.Duration{0, 5, 20, 50, 100, 200, 350, 500, 700, 1000, 1400, 2000, 3000}
	for _, d := range delays {
		if away != "logs" {
			l.grow(200)
		}
		l.run()
		before := l.outSize()
		time.Sleep(d * time.Millisecond)
		told := time.Now()
		if l.outSize() == before {
			// The signal may come before the program is there to heed it; then the
			// kernel ends the process, and it has done nothing.
			_ = l.app.cmd.Process.Signal(syscall.SIGTERM)
			<-l.app.ended
			state := l.app.cmd.ProcessState
			switch {
			case state.ExitCode() == 0:
			case state.Sys().(syscall.WaitStatus).Signal() == syscall.SIGTERM:
				early++
			default:
				l.t.Errorf("told to stop at its start it ended with %v", l.app.err)
			}
		} else {
			l.stop()
		}
		took = append(took, time.Since(told))
	}
	slices.Sort(took)
	l.env = nil
	for _, log := range l.logs {
		l.must(log.proc.cmd.Process.Signal(syscall.SIGCONT))
	}
	l.grow(100)
	l.run()
	l.back = l.goesOn()
	l.settle()
	l.injected = fmt.Sprintf("SIGTERM %d times, 0 to 3 s after the start, %d of them before it heeded signals", len(delays), early)
	l.said = fmt.Sprintf("status 0 after %v, at most %v", took[len(took)/2].Round(time.Millisecond), took[len(took)-1].Round(time.Millisecond))
	if took[len(took)-1] > 20*time.Second {
		l.t.Errorf("it took %v to stop; see %s", took[len(took)-1], filepath.Join(l.dir, "appliance.log"))
	}
}
