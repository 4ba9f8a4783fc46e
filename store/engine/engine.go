package engine

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"sync"
	"time"
)

// State of an engine.
type State string

const (
	Starting   State = "starting"   // the first child is on its way
	Running    State = "running"    // a child answers
	Restarting State = "restarting" // the last child has ended, the next is not ready
	Stopped    State = "stopped"    // for good
)

// Status is what the status page shows.
type Status struct {
	State      State
	Since      time.Time // of State
	PID        int       // of the child, 0 while there is none
	URL        string    // "http://127.0.0.1:port"
	BootID     string    // server epoch: new with each child
	Version    string    // of the library
	Sandbox    string    // "landlock N", or "none: " and why
	Restarts   int       // since Start
	LastError  string    // why the last child ended, or the last start failed
	StartTook  time.Duration
	RSSAtStart int64 // bytes the child held when it was ready, 0 if not known

	// Parts that the engine could not read at a start and has moved to their
	// table's directory detached/: their rows are lost to every query. They
	// count until somebody removes them. Broken names the first few, as
	// "database.table part".
	SetAside int
	Broken   []string
}

// ErrStopped is what an engine gives that has been stopped.
var ErrStopped = errors.New("the engine is stopped")

// Engine is a supervised child process that runs the engine. Its methods may
// be called from any goroutine.
type Engine struct {
	o      Options
	secret string

	cancel context.CancelFunc
	done   chan struct{} // closed when the supervisor has ended

	mu      sync.Mutex
	st      Status
	proc    *process      // the newest, ready or not, alive or not
	running *process      // the one that State Running speaks of, nil in any other state
	changed chan struct{} // closed and replaced when st changes
}

// Start starts the engine and returns when it answers. From then on it is kept
// running until Stop: a child that ends is replaced, at once and then with
// pauses that double up to 30 s. ctx bounds the start only.
//
// The first start is not tried again: a library that cannot be loaded, a port
// or a directory in use are for the operator to mend.
func Start(ctx context.Context, o Options) (*Engine, error) {
	if err := o.fill(); err != nil {
		return nil, fmt.Errorf("starting engine: %w", err)
	}
	run, cancel := context.WithCancel(context.Background())
	e := &Engine{o: o, secret: rand.Text(), cancel: cancel, done: make(chan struct{}), changed: make(chan struct{})}
	e.update(func(s *Status) { s.State = Starting })
	p, err := e.spawn(ctx)
	if err != nil {
		cancel()
		return nil, err
	}
	go e.supervise(run, p)
	return e, nil
}

// errFenced is why a start failed that a fence ended.
var errFenced = errors.New("starting engine: the process was fenced")

// spawn starts a child and makes it the current one. For a fence it is that
// from its first moment: on a port that stays the same a statement may reach
// it before its parent knows that it is ready.
func (e *Engine) spawn(ctx context.Context) (*process, error) {
	t := time.Now()
	var begun *process
	p, err := spawn(ctx, &e.o, e.secret, func(p *process) {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.proc, begun = p, p
	})
	took := time.Since(t)
	if err == nil && !e.arrived(p, took) {
		err = fmt.Errorf("starting engine: process %d ended when it was ready: %s", p.ready.PID, p.ending())
	}
	if err != nil && begun != nil && begun.fenced() {
		return nil, errFenced
	}
	if err != nil {
		return nil, err
	}
	st := e.Status()
	e.o.Log.Info("engine runs", "pid", st.PID, "url", st.URL, "version", st.Version, "sandbox", st.Sandbox, "took", took, "rss", st.RSSAtStart)
	if st.SetAside > 0 {
		e.o.Log.Error("engine found parts broken and has set them aside: their rows are lost until they are written again", "parts", st.SetAside, "first", st.Broken)
	}
	return p, nil
}

// arrived notes that p is ready, unless it has ended since. Whoever ends it
// after this calls ended, or is waited for by supervise.
func (e *Engine) arrived(p *process, took time.Duration) (alive bool) {
	rss := residentMemory(p.ready.PID)
	e.update(func(s *Status) {
		select {
		case <-p.exited:
			return
		default:
		}
		alive, e.running = true, p
		s.State, s.PID, s.URL, s.BootID = Running, p.ready.PID, p.ready.URL, p.ready.BootID
		s.Version, s.Sandbox, s.StartTook, s.RSSAtStart = p.ready.Version, p.ready.Sandbox, took, rss
		s.SetAside, s.Broken = p.ready.SetAside, p.ready.Broken
	})
	return alive
}

// update changes the status and wakes whoever waits for it.
func (e *Engine) update(f func(*Status)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	before := e.st.State
	f(&e.st)
	if e.st.State != before {
		e.st.Since = time.Now()
	}
	close(e.changed)
	e.changed = make(chan struct{})
}

// ended notes that p is dead. It may be called more than once.
func (e *Engine) ended(p *process) {
	e.update(func(s *Status) {
		if e.running == p {
			e.running = nil
			s.State, s.PID = Restarting, 0
			s.LastError = fmt.Sprintf("engine process %d ended: %s", p.ready.PID, p.ending())
			s.Restarts++
		}
	})
}

const (
	minPause = 100 * time.Millisecond
	maxPause = 30 * time.Second
)

// supervise owns the child until ctx is done.
func (e *Engine) supervise(ctx context.Context, p *process) {
	defer close(e.done)
	defer e.update(func(s *Status) { e.running, s.State, s.PID = nil, Stopped, 0 })
	pause := minPause
	for {
		began := time.Now()
		watch, stopWatch := context.WithCancel(ctx)
		go p.watch(watch, e.o.times, e.o.Log)
		select {
		case <-ctx.Done():
			stopWatch()
			p.stop(e.o.times.stop)
			return
		case <-p.exited:
			stopWatch()
		}
		e.ended(p)
		e.o.Log.Warn("engine ended", "pid", p.ready.PID, "err", p.ending(), "lived", time.Since(began))
		if time.Since(began) > maxPause {
			pause = minPause
		}
		if p, pause = e.respawn(ctx, p.fenced(), pause); p == nil {
			return
		}
	}
}

// respawn tries until there is a child or ctx is done, when it returns nil. It
// also returns the pause to make before the next attempt: a child that starts
// and soon dies, again and again, is no reason to use a core. A child that was
// fenced did not die of itself: its successor starts at once, and the pause
// stays what it was.
func (e *Engine) respawn(ctx context.Context, atOnce bool, pause time.Duration) (*process, time.Duration) {
	for {
		if !atOnce {
			t := time.NewTimer(pause)
			select {
			case <-ctx.Done():
				t.Stop()
				return nil, 0
			case <-t.C:
			}
			pause = min(2*pause, maxPause)
		}
		p, err := e.spawn(ctx)
		if err == nil {
			return p, pause
		}
		if ctx.Err() != nil {
			return nil, 0
		}
		if atOnce = errors.Is(err, errFenced); atOnce {
			e.o.Log.Warn("engine fenced while it started")
			continue
		}
		e.o.Log.Error("engine does not start", "err", err, "pause", pause)
		e.update(func(s *Status) { s.LastError = err.Error() })
	}
}

// Stop ends the child, gives its statements time to finish, and returns when
// it is gone. It may be called more than once.
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
// each child unless Options.Port is set.
func (e *Engine) URL() string { return e.Status().URL }

// BootID is the server epoch: new with each child, since the engine has no
// serverUUID and no uptime of its own.
func (e *Engine) BootID() string { return e.Status().BootID }

// PID is the child's, 0 while there is none.
func (e *Engine) PID() int { return e.Status().PID }

// DSN is the writer's, for clickhouse-go. It holds a secret, and is good for
// the present child only unless Options.Port is set.
func (e *Engine) DSN() string { return dsn(e.URL(), writerName, e.secret) }

// ReaderDSN is the read-only user's.
func (e *Engine) ReaderDSN() string { return dsn(e.URL(), e.o.ReaderName, e.o.ReaderPassword) }

func dsn(base, user, password string) string {
	u, err := url.Parse(base)
	if err != nil {
		panic("engine URL does not parse: " + base) // spawn checked it
	}
	u.User, u.Path = url.UserPassword(user, password), "/"
	return u.String()
}

// Credentials are the writer's.
func (e *Engine) Credentials() (user, password string) { return writerName, e.secret }

// ReaderCredentials are the read-only user's.
func (e *Engine) ReaderCredentials() (user, password string) {
	return e.o.ReaderName, e.o.ReaderPassword
}

// Fence kills the child, be it one that is still starting, and returns when it
// is dead and, with it, its lock on the directory gone; the supervisor then
// starts another at once. After a nil no statement begun before the call can
// still write anything. Wait tells when the next child answers.
func (e *Engine) Fence(ctx context.Context) error {
	e.mu.Lock()
	p := e.proc
	e.mu.Unlock()
	p.kill(killFence)
	select {
	case <-p.exited:
		e.ended(p)
		return nil
	case <-ctx.Done():
		return fmt.Errorf("waiting for engine process %d to die: %w", p.cmd.Process.Pid, ctx.Err())
	}
}

// Wait waits until a child answers. After Stop it gives ErrStopped.
func (e *Engine) Wait(ctx context.Context) error {
	for {
		e.mu.Lock()
		st, changed := e.st, e.changed
		e.mu.Unlock()
		switch st.State {
		case Running:
			return nil
		case Stopped:
			return ErrStopped
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("waiting for the engine: %w; last error: %s", ctx.Err(), st.LastError)
		}
	}
}
