//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"ctappliance/ingest/ctlog/ctlogtest"
)

// buildProgram builds the program as it is shipped and returns its path.
func buildProgram(t *testing.T, dir string) string {
	t.Helper()
	exe := filepath.Join(dir, "ctappliance")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-buildvcs=false", "-o", exe, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building the program: %v\n%s", err, out)
	}
	return exe
}

// proc is a process that the kernel ends when the test does, however it does.
type proc struct {
	cmd   *exec.Cmd
	ended chan struct{}
	err   error // read after ended
}

func startProc(cmd *exec.Cmd) (*proc, error) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	p := &proc{cmd: cmd, ended: make(chan struct{})}
	started := make(chan error)
	go func() {
		// The parent in "parent death" is the thread that forked.
		runtime.LockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			p.err = cmd.Wait()
			close(p.ended)
		}
	}()
	if err := <-started; err != nil {
		return nil, err // nothing that could be killed
	}
	return p, nil
}

func (p *proc) pid() int { return p.cmd.Process.Pid }

// kill sends SIGKILL and returns when the process is no more.
func (p *proc) kill() {
	_ = p.cmd.Process.Kill()
	<-p.ended
}

func (p *proc) dead() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// childOf returns the process whose parent is pid; 0 if there is none. The
// appliance has one child at most, its engine.
func childOf(pid int) int {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return 0
	}
	for _, e := range entries {
		if child, err := strconv.Atoi(e.Name()); err == nil && parentOf(child) == pid {
			return child
		}
	}
	return 0
}

// parentOf returns the parent of a process that runs; 0 if it does not.
func parentOf(pid int) int {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	var state byte
	var parent int
	// The name before it, in parentheses, may hold anything.
	if _, err := fmt.Sscanf(string(stat[bytes.LastIndexByte(stat, ')')+1:]), " %c %d", &state, &parent); err != nil || state == 'Z' || state == 'X' {
		return 0
	}
	return parent
}

// moment is where a process is: the last step of its WAL and of its delivery.
type moment struct{ wal, delivery string }

// stepPage is the page that the appliance writes its steps to. It outlives the
// process, so what it holds after a kill is where the process was when it died.
type stepPage struct {
	path string
	mem  []byte
}

func newStepPage(path string) (*stepPage, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if err := f.Truncate(int64(os.Getpagesize())); err != nil {
		return nil, err
	}
	mem, err := unix.Mmap(int(f.Fd()), 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, err
	}
	return &stepPage{path, mem}, nil
}

func (p *stepPage) word() *uint32 { return (*uint32)(unsafe.Pointer(&p.mem[0])) }

// clear forgets the steps of a former life.
func (p *stepPage) clear() { atomic.StoreUint32(p.word(), 0) }

// clearDelivery forgets what delivery did last. The appliance may be alive.
func (p *stepPage) clearDelivery() { p.mem[1] = 0 }

func (p *stepPage) now() moment {
	var b [4]byte
	binary.NativeEndian.PutUint32(b[:], atomic.LoadUint32(p.word()))
	name := func(i byte) string {
		if int(i) < len(steps) {
			return steps[i]
		}
		return "?"
	}
	return moment{name(b[0]), name(b[1])}
}

// crashLog is a log in a process of its own, of which the appliance follows
// the one kind.
type crashLog struct {
	ctlogtest.ReadyLog
	proc  *proc
	stdin io.Closer
}

// startLog starts a demo log. Each has a seed of its own: if both served the
// same certificates, what one lost of them would be hidden by the other.
func startLog(exe, dir string, seed uint64, kind ctlogtest.Kind, entries uint64) (*crashLog, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	cmd := exec.Command(exe, "demo", "log", "--no-growth", "--entries", fmt.Sprint(entries), "--seed", fmt.Sprint(seed), "--list-dir", dir)
	stderr, err := os.Create(filepath.Join(dir, "stderr"))
	if err != nil {
		return nil, err
	}
	defer stderr.Close()
	cmd.Stderr = stderr
	in, inEnd, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer in.Close()
	out, outEnd, err := os.Pipe()
	if err != nil {
		inEnd.Close()
		return nil, err
	}
	defer out.Close()
	cmd.Stdin, cmd.Stdout = in, outEnd
	l := &crashLog{stdin: inEnd}
	l.proc, err = startProc(cmd)
	outEnd.Close()
	if err != nil {
		inEnd.Close()
		return nil, err
	}
	line, err := bufio.NewReader(out).ReadBytes('\n')
	var ready ctlogtest.Ready
	if err == nil {
		err = json.Unmarshal(line, &ready)
	}
	for _, r := range ready.Logs {
		if r.Kind == kind.String() {
			l.ReadyLog = r
		}
	}
	if err == nil && l.Control == "" {
		err = fmt.Errorf("it has no %v log", kind)
	}
	if err != nil {
		l.stop()
		return nil, fmt.Errorf("starting demo log: %w", err)
	}
	return l, nil
}

func (l *crashLog) stop() {
	l.stdin.Close()
	select {
	case <-l.proc.ended:
	case <-time.After(10 * time.Second):
		l.proc.kill()
	}
}

// ask calls one of the log's controls.
func (l *crashLog) ask(ctx context.Context, method, what string, into any) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, l.Control+what, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("the log's %s: %s", what, response.Status)
	}
	return json.NewDecoder(response.Body).Decode(into)
}

func (l *crashLog) stats(ctx context.Context) (s ctlogtest.Stats, err error) {
	err = l.ask(ctx, http.MethodGet, "stats", &s)
	return s, err
}

// feed lets the log grow as delivery goes on, until stop is closed, so that it
// is never more than lead entries ahead: fetching then has something to do all
// the time, and never much. When it returns the log has stopped growing: no
// request of its is called back half-way.
func (l *crashLog) feed(ctx context.Context, stop <-chan struct{}, lead uint64, delivered func(log string) (uint64, bool)) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		if n, ok := delivered(l.Name); ok {
			s, err := l.stats(ctx)
			if err == nil && s.Size < n+lead {
				err = l.grow(ctx, crashPage)
			}
			if err != nil {
				return fmt.Errorf("growing %s: %w", l.Name, err)
			}
		}
		select {
		case <-tick.C:
		case <-stop:
			return nil
		}
	}
}

func (l *crashLog) grow(ctx context.Context, n uint64) error {
	var s ctlogtest.Stats
	return l.ask(ctx, http.MethodPost, fmt.Sprintf("grow?n=%d", n), &s)
}

// tail returns the last lines of a file, for people.
func tail(path string, lines int) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimSpace(string(b)), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// exitOf describes how a process ended.
func exitOf(p *proc) string {
	var exit *exec.ExitError
	if errors.As(p.err, &exit) {
		return exit.String()
	}
	return fmt.Sprint(p.err)
}
