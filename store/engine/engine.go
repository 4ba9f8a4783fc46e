package engine

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"time"
)

// Options say how to run the engine. Dir and Library are needed.
type Options struct {
	Library string // path of libchdb, from Find
	Dir     string // the engine's own directory

	Port        int   // on 127.0.0.1; 0 for any
	Memory      int64 // bytes the engine may use; 0 for 1.4 GB, or a third of the machine if that is less
	Connections int   // statements at a time; 0 for 16
	MaxInsert   int64 // bytes of one insert's body after decompression; 0 for 1 GiB

	ReaderName     string // "reader" if empty
	ReaderPassword string // generated if empty

	Command []string     // program and arguments of the child; os.Executable() and "engine" if empty
	Env     []string     // added to the child's environment
	Log     *slog.Logger // nil for none
}

// writerName is the user that may do everything. Its password is new at each
// start and known to parent and child only.
const writerName = "ctappliance"

// State of an engine.
type State string

const (
	Starting   State = "starting"
	Running    State = "running"
	Restarting State = "restarting"
	Stopped    State = "stopped"
)

// Status is what the status page shows.
type Status struct {
	State      State
	PID        int
	URL        string
	BootID     string
	Since      time.Time
	Restarts   int
	LastError  string
	RSSAtStart int64
}

// Engine is a supervised child process that runs the engine.
type Engine struct {
	o      Options
	log    *slog.Logger
	secret string

	cancel context.CancelFunc
	done   chan struct{}

	mu      sync.Mutex
	st      Status
	proc    *process
	changed chan struct{} // closed and replaced at each change of st
}

// process is one life of the child.
type process struct {
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	ready  readyLine
	exited chan struct{}
	err    error // of Wait, after exited
}

// Start starts the engine and returns when it answers. Afterwards it is kept
// running, with a growing pause between attempts, until Stop.
func Start(ctx context.Context, o Options) (*Engine, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Connections == 0 {
		o.Connections = 16
	}
	if o.MaxInsert == 0 {
		o.MaxInsert = 1 << 30
	}
	if o.Memory == 0 {
		o.Memory = 1_400_000_000
	}
	if o.ReaderName == "" {
		o.ReaderName = "reader"
	}
	if o.ReaderPassword == "" {
		o.ReaderPassword = rand.Text()
	}
	if len(o.Command) == 0 {
		exe, err := os.Executable()
		if err != nil {
			return nil, fmt.Errorf("starting engine: %w", err)
		}
		o.Command = []string{exe, "engine"}
	}
	run, cancel := context.WithCancel(context.Background())
	e := &Engine{o: o, log: o.Log, secret: rand.Text(), cancel: cancel, done: make(chan struct{}), changed: make(chan struct{})}
	e.set(func(s *Status) { s.State = Starting })
	p, err := e.spawn(ctx)
	if err != nil {
		cancel()
		return nil, err
	}
	e.began(p)
	go e.supervise(run, p)
	return e, nil
}

func (e *Engine) set(f func(*Status)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	f(&e.st)
	e.st.Since = time.Now()
	close(e.changed)
	e.changed = make(chan struct{})
}

func (e *Engine) began(p *process) {
	e.mu.Lock()
	e.proc = p
	e.mu.Unlock()
	e.set(func(s *Status) {
		s.State, s.PID, s.URL, s.BootID = Running, p.ready.PID, p.ready.URL, p.ready.BootID
	})
}

// spawn starts one child and waits for its ready line.
func (e *Engine) spawn(ctx context.Context) (*process, error) {
	cmd := exec.Command(e.o.Command[0], e.o.Command[1:]...)
	cmd.Env = append(os.Environ(), e.o.Env...)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("starting engine: %w", err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("starting engine: %w", err)
	}
	cmd.Stderr = &logWriter{log: e.log}
	dieWithParent(cmd)
	p := &process{cmd: cmd, stdin: stdin, exited: make(chan struct{})}
	started := make(chan error, 1)
	lines := make(chan readyLine, 1)
	go func() {
		// The kernel's word "parent" in the parent-death signal means the
		// thread that forked: it must live as long as the child may.
		runtime.LockOSThread()
		err := cmd.Start()
		started <- err
		if err != nil {
			return
		}
		rd := bufio.NewReaderSize(stdout, 64<<10)
		var l readyLine
		if b, err := rd.ReadSlice('\n'); err == nil {
			if json.Unmarshal(b, &l) != nil {
				l.Error = fmt.Sprintf("the engine process said %.200q instead of its address", b)
			}
			lines <- l
			io.Copy(io.Discard, rd)
		}
		close(lines)
		p.err = cmd.Wait()
		close(p.exited)
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("starting engine: %w", err)
	}
	conf, _ := json.Marshal(childConfig{
		Library: e.o.Library, Dir: e.o.Dir, Port: e.o.Port, Memory: e.o.Memory, Connections: e.o.Connections, MaxInsert: e.o.MaxInsert,
		Writer: writerName, WriterSecret: e.secret, Reader: e.o.ReaderName, ReaderSecret: e.o.ReaderPassword,
	})
	stdin.Write(append(conf, '\n'))
	select {
	case l, ok := <-lines:
		if !ok {
			<-p.exited
			return nil, fmt.Errorf("starting engine: the process ended before it was ready: %v", p.err)
		}
		if l.Error != "" {
			p.stop(time.Second)
			return nil, fmt.Errorf("starting engine: %s", l.Error)
		}
		p.ready = l
		return p, nil
	case <-ctx.Done():
		p.stop(0)
		return nil, fmt.Errorf("starting engine: %w", ctx.Err())
	}
}

// stop closes the child's standard input, waits, then kills.
func (p *process) stop(grace time.Duration) {
	p.stdin.Close()
	t := time.NewTimer(grace)
	defer t.Stop()
	select {
	case <-p.exited:
	case <-t.C:
		p.cmd.Process.Kill()
		<-p.exited
	}
}

func (e *Engine) supervise(ctx context.Context, p *process) {
	defer close(e.done)
	pause := 100 * time.Millisecond
	for {
		began := time.Now()
		select {
		case <-ctx.Done():
			p.stop(15 * time.Second)
			e.set(func(s *Status) { s.State, s.PID = Stopped, 0 })
			return
		case <-p.exited:
		}
		if time.Since(began) > time.Minute {
			pause = 100 * time.Millisecond
		}
		err := fmt.Errorf("engine process %d ended: %v", p.ready.PID, p.err)
		for {
			e.log.Warn("engine ended; starting it again", "err", err, "pause", pause)
			e.set(func(s *Status) { s.State, s.PID, s.LastError = Restarting, 0, err.Error(); s.Restarts++ })
			t := time.NewTimer(pause)
			select {
			case <-ctx.Done():
				t.Stop()
				e.set(func(s *Status) { s.State = Stopped })
				return
			case <-t.C:
			}
			pause = min(2*pause, 30*time.Second)
			if p, err = e.spawn(ctx); err == nil {
				e.began(p)
				break
			}
		}
	}
}

// Stop ends the child and waits until it is gone.
func (e *Engine) Stop() {
	e.cancel()
	<-e.done
}

// Status tells how the engine is.
func (e *Engine) Status() Status {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.st
}

// URL is where the engine answers, "http://127.0.0.1:port". It changes with
// each start of the child unless a port is configured.
func (e *Engine) URL() string { return e.Status().URL }

// BootID is new at each start of the child: the server epoch.
func (e *Engine) BootID() string { return e.Status().BootID }

// PID is the child's, 0 while there is none.
func (e *Engine) PID() int { return e.Status().PID }

// DSN is a clickhouse-go DSN of the writer. It holds a secret.
func (e *Engine) DSN() string {
	u, _ := url.Parse(e.URL())
	u.User = url.UserPassword(writerName, e.secret)
	u.Path = "/"
	return u.String()
}

// Credentials are the writer's.
func (e *Engine) Credentials() (user, password string) { return writerName, e.secret }

// ReaderCredentials are the read-only user's.
func (e *Engine) ReaderCredentials() (user, password string) {
	return e.o.ReaderName, e.o.ReaderPassword
}

// Fence kills the child and waits until it is dead; the supervisor then starts
// another. When Fence returns nil no statement begun before it can still write.
func (e *Engine) Fence(ctx context.Context) error {
	e.mu.Lock()
	p := e.proc
	e.mu.Unlock()
	if p == nil {
		return nil
	}
	p.cmd.Process.Kill()
	select {
	case <-p.exited:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("waiting for engine process %d to die: %w", p.ready.PID, ctx.Err())
	}
}

// Wait waits until the engine runs.
func (e *Engine) Wait(ctx context.Context) error {
	for {
		e.mu.Lock()
		st, ch := e.st, e.changed
		e.mu.Unlock()
		switch st.State {
		case Running:
			return nil
		case Stopped:
			return ErrStopped
		}
		select {
		case <-ch:
		case <-ctx.Done():
			return fmt.Errorf("waiting for engine: %w; last error: %s", ctx.Err(), st.LastError)
		}
	}
}

// ErrStopped is what waiting for a stopped engine gives.
var ErrStopped = errors.New("the engine is stopped")

// logWriter passes the child's standard error on, line by line.
type logWriter struct {
	log *slog.Logger
	buf []byte
}

func (w *logWriter) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		i := bytes.IndexByte(p, '\n')
		if i < 0 {
			w.buf = append(w.buf, p[:min(len(p), 4096-min(len(w.buf), 4096))]...)
			break
		}
		w.buf = append(w.buf, p[:i]...)
		if s := strings.TrimSpace(string(w.buf[:min(len(w.buf), 4096)])); s != "" {
			w.log.Info("engine says", "line", s)
		}
		w.buf, p = w.buf[:0], p[i+1:]
	}
	return n, nil
}
