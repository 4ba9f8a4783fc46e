//go:build linux

package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ctappliance/cmd/ctappliance/config"
	"ctappliance/store/engine"
)

var faultsAll = flag.Bool("faults.all", false, "TestFaults runs every row of its matrix, for many minutes; otherwise a selection")

// fault is a row of the matrix: something that happens to a real appliance
// with real logs and a real engine. What it leaves in the ledger is compared
// with what the logs' own processes say.
type fault struct {
	name  string
	quick bool // part of the selection that runs with all tests
	run   func(l *lab)
}

// TestFaults lets things go wrong around the program as it is shipped, one at
// a time, and prints a line for each.
//
//	make faults
//	go test ./cmd/ctappliance -run TestFaults -v -timeout 0 -faults.all
func TestFaults(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes for a minute")
	}
	library, err := engine.Find("", filepath.Join("..", "..", "bin"))
	if err == nil {
		library, err = filepath.Abs(library)
	}
	if err != nil {
		if *faultsAll || os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skipf("the embedded engine is not here: make engine fetches it (%v)", err)
	}
	exe := buildProgram(t, t.TempDir())
	var table []string
	left := 0
	for i, f := range faultMatrix() {
		if !f.quick && !*faultsAll {
			left++
			continue
		}
		t.Run(f.name, func(t *testing.T) {
			l := newLab(t, exe, library, uint64(i))
			f.run(l)
			l.listen()
			line := l.line(f.name)
			if t.Failed() {
				line = "FAILED " + line
			}
			t.Log(line)
			table = append(table, line)
		})
	}
	t.Logf("what was done, and what came of it:\n%s", strings.Join(table, "\n"))
	if left > 0 {
		t.Logf("%d further rows run with -faults.all", left)
	}
}

func faultMatrix() []fault {
	var all []fault
	for _, rows := range [][]fault{outputFaults, diskFaults, syscallFaults, processFaults, dataFaults, memoryFaults, clockFaults, notifyFaults, lieFaults} {
		all = append(all, rows...)
	}
	return all
}

// lab is the ground of one row: logs, an appliance, and what was seen.
type lab struct {
	*crashHarness
	env  []string // of the appliance, beside the test's own
	wrap []string // the program that runs the appliance, with its arguments

	injected string        // what was done, how often
	said     string        // what status or the log said of it
	back     time.Duration // from the fault's end to work going on
	counted  crashCount
}

func newLab(t *testing.T, exe, library string, seed uint64) *lab {
	dir, err := os.MkdirTemp("", "ctappliance-fault-")
	if err != nil {
		t.Fatal(err)
	}
	h := &crashHarness{t: t, dir: dir, exe: exe, library: library}
	l := &lab{crashHarness: h}
	t.Cleanup(func() {
		if !t.Failed() {
			os.RemoveAll(dir)
			return
		}
		t.Logf("everything is left in %s; the appliance's last words:\n%s", dir, tail(filepath.Join(dir, "appliance.log"), 15))
	})
	h.prepare(500+seed, labEntries)
	return l
}

// labEntries is how many entries each log of a lab has to begin with.
const labEntries = 1500

// command is the appliance, not started.
func (l *lab) command(args ...string) *exec.Cmd {
	if _, err := os.Stat(filepath.Join(l.dir, "config.yaml")); err != nil {
		if err := l.writeConfig(); err != nil {
			l.t.Fatal(err)
		}
	}
	all := append(append(append([]string{}, l.wrap...), l.exe), args...)
	cmd := exec.Command(all[0], append(all[1:], "--config", filepath.Join(l.dir, "config.yaml"))...)
	cmd.Env = append(append(os.Environ(), config.StepFileEnv+"="+l.page.path), l.env...)
	cmd.Stderr = l.out
	return cmd
}

// begin starts a life of the appliance.
func (l *lab) begin(cmd *exec.Cmd) {
	l.t.Helper()
	l.page.clear()
	l.lives++
	fmt.Fprintf(l.out, "--- life %d\n", l.lives)
	l.began = time.Now()
	var err error
	if l.app, err = startProc(cmd); err != nil {
		l.t.Fatalf("starting the appliance: %v", err)
	}
}

// run is begin with nothing special about it.
func (l *lab) run() { l.begin(l.command("run")) }

// grow adds n entries to each log.
func (l *lab) grow(n uint64) {
	for _, log := range l.logs {
		if err := log.grow(l.t.Context(), n); err != nil {
			l.t.Fatal(err)
		}
	}
}

// goesOn waits until more is delivered than is now, and returns how long that
// took. The logs must have more.
func (l *lab) goesOn() time.Duration {
	l.t.Helper()
	began, at, first := time.Now(), uint64(0), true
	l.await("it delivers more", 5*time.Millisecond, crashPatience, func() bool {
		st, ok := l.status()
		if !ok {
			return false
		}
		if first {
			at, first = st.Delivery.Rows, false
		}
		return st.Delivery.Rows > at
	})
	return time.Since(began)
}

// hasDelivered waits until so many rows were delivered in this life.
func (l *lab) hasDelivered(n uint64) {
	l.t.Helper()
	l.await(fmt.Sprintf("%d rows are delivered", n), 5*time.Millisecond, crashPatience, func() bool {
		st, ok := l.status()
		return ok && st.Delivery.Rows >= n
	})
}

// settle waits until all is delivered, compares, and ends the appliance.
func (l *lab) settle() {
	l.t.Helper()
	l.finish(l.t.Context())
	l.counted = l.count(l.t.Context())
	l.stop()
}

// check returns the line that monitoring gets, and its exit status.
func (l *lab) check() (level int, line string) {
	l.t.Helper()
	cmd := l.command("status", "--check")
	cmd.Args = append(cmd.Args, "--max-behind", "0")
	out, err := cmd.Output()
	if cmd.ProcessState == nil {
		l.t.Fatalf("status --check: %v", err)
	}
	return cmd.ProcessState.ExitCode(), strings.TrimSpace(string(out))
}

// line is the row's result.
func (l *lab) line(name string) string {
	c := l.counted
	return fmt.Sprintf("%-34s %s; %d entries, %d lost, %d doubled; said: %s; went on after %v; %d lives",
		name, l.injected, c.entries, c.lost, c.doubled+c.foreign, l.said, l.back.Round(time.Millisecond), l.lives)
}
