//go:build linux

package bench

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// usage is what a process has used.
type usage struct {
	cpu      time.Duration // user and system
	children time.Duration // the same of children that it has waited for
	ended    bool
}

// tick is the unit of times in /proc/PID/stat on every Linux that Go runs on.
const tick = 10 * time.Millisecond

// used reads a process's times. They stay readable until somebody waits for
// the process.
func used(pid int) (u usage, err error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return u, err
	}
	// The name, in parentheses, may hold anything.
	f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	if len(f) < 15 {
		return u, fmt.Errorf("/proc/%d/stat has %d fields", pid, len(f))
	}
	n := func(i int) time.Duration {
		v, perr := strconv.ParseInt(f[i], 10, 64)
		if perr != nil {
			err = perr
		}
		return time.Duration(v) * tick
	}
	u = usage{cpu: n(11) + n(12), children: n(13) + n(14), ended: f[0] == "Z"}
	return u, err
}

// field reads a number from a file of /proc/PID, 0 if it is not there.
func field(pid int, file, name string) int64 {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, name+":"); ok {
			v, _ := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			return v
		}
	}
	return 0
}

// childOf returns the first child of a process, 0 if there is none.
func childOf(pid int) int {
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, l := range lists {
		b, _ := os.ReadFile(l)
		if f := strings.Fields(string(b)); len(f) > 0 {
			child, _ := strconv.Atoi(f[0])
			return child
		}
	}
	return 0
}

// peaks are the largest values seen of a process, in bytes.
type peaks struct {
	rss, anon, written int64
}

func (p *peaks) look(pid int) {
	if pid == 0 {
		return
	}
	p.rss = max(p.rss, field(pid, "status", "VmHWM")<<10)
	p.anon = max(p.anon, field(pid, "status", "RssAnon")<<10)
	p.written = max(p.written, field(pid, "io", "write_bytes"))
}

func mb(bytes int64) float64 { return float64(bytes) / 1e6 }

// perEntry is a duration per entry in microseconds.
func perEntry(d time.Duration, n uint64) float64 { return float64(d.Microseconds()) / float64(n) }

func needProc(b *testing.B) {
	b.Helper()
	if _, err := used(os.Getpid()); err != nil {
		b.Skipf("no processor times here: %v", err)
	}
}
