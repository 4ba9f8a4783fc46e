package engine

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"syscall"
	"time"
)

// What the child must know before it can read its configuration comes in its
// environment; none of it is secret.
const (
	dirEnv     = "CTAPPLIANCE_ENGINE_DIR"
	libraryEnv = "CTAPPLIANCE_ENGINE_LIBRARY"
	sandboxEnv = "CTAPPLIANCE_ENGINE_SANDBOX" // set by the child itself for its second start
)

// childConfig is what the parent tells its child, one line of JSON on the
// child's standard input. Secrets go this way because neither arguments nor
// environment are private.
type childConfig struct {
	Parent      int   `json:"parent"` // process ID
	Port        int   `json:"port"`
	Memory      int64 `json:"memory"`
	Connections int   `json:"connections"`
	MaxInsert   int64 `json:"max_insert"`

	Writer       string `json:"writer"`
	WriterSecret string `json:"writer_secret"`
	Reader       string `json:"reader"`
	ReaderSecret string `json:"reader_secret"`

	ReaderSeconds int64 `json:"reader_seconds"`
	ReaderMemory  int64 `json:"reader_memory"`
	ReaderResult  int64 `json:"reader_result"`
}

// readyLine is the one line the child writes to its standard output.
type readyLine struct {
	URL     string `json:"url,omitempty"`
	PID     int    `json:"pid,omitempty"`
	BootID  string `json:"boot_id,omitempty"`
	Version string `json:"version,omitempty"`
	Sandbox string `json:"sandbox,omitempty"`
	Error   string `json:"error,omitempty"`

	Silent   bool     `json:"silent,omitempty"`    // with Error: the library's reason is on standard error
	SetAside int      `json:"set_aside,omitempty"` // parts that the engine found broken and put away
	Broken   []string `json:"broken,omitempty"`    // the first few of them
}

// ChildOptions are for Main. The zero value is right for a child process.
type ChildOptions struct {
	Stdin  io.Reader    // os.Stdin
	Stdout io.Writer    // os.Stdout
	Log    *slog.Logger // to standard error
}

// Main is what runs inside the child process: `ctappliance engine`. It serves
// until standard input ends or ctx is done and returns nil after a clean stop.
// An error has been told to the parent already.
func Main(ctx context.Context, o ChildOptions) error {
	if o.Stdin == nil {
		o.Stdin = os.Stdin
	}
	if o.Stdout == nil {
		o.Stdout = os.Stdout
	}
	if o.Log == nil {
		o.Log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	err := child(ctx, o)
	if err != nil {
		json.NewEncoder(o.Stdout).Encode(readyLine{Error: err.Error(), Silent: errors.Is(err, errRefused)})
	}
	return err
}

func child(ctx context.Context, o ChildOptions) error {
	dir, library := os.Getenv(dirEnv), os.Getenv(libraryEnv)
	if dir == "" || library == "" {
		return errors.New("the engine command is started by ctappliance itself, not by hand")
	}
	// A terminal's Ctrl-C and a service manager's stop reach the whole group.
	// The parent still has rows to hand over then; it ends us by closing our
	// standard input.
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("making engine directory: %w", err)
	}
	sandbox := os.Getenv(sandboxEnv)
	if sandbox == "" {
		err := enterSandbox(dir, library)
		if errors.Is(err, errSandboxHalf) {
			return err
		}
		sandbox = "none: " + err.Error()
	}

	in := bufio.NewReader(o.Stdin)
	line, err := in.ReadBytes('\n')
	if err != nil {
		return errors.New("reading engine configuration: standard input ended")
	}
	var c childConfig
	if err := json.Unmarshal(line, &c); err != nil {
		return fmt.Errorf("reading engine configuration: %w", err)
	}
	dieWithParent(c.Parent)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		// The parent holds the other end for as long as it lives.
		io.Copy(io.Discard, in)
		cancel()
	}()
	return serve(ctx, o, c, dir, library, sandbox)
}

// shutdownGrace is how long statements may take to end at a clean stop.
const shutdownGrace = 10 * time.Second

func serve(ctx context.Context, o ChildOptions, c childConfig, dir, library, sandbox string) error {
	lock, err := lockDir(dir)
	if err != nil {
		return err
	}
	defer lock.Close()
	lis, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(c.Port)))
	if err != nil {
		return fmt.Errorf("opening the engine's port: %w; configure another, or 0 for any", err)
	}
	defer lis.Close()
	conf := filepath.Join(dir, "engine.xml")
	if err := os.WriteFile(conf, []byte(configXML(c.Memory)), 0o600); err != nil {
		return fmt.Errorf("writing engine configuration: %w", err)
	}
	// Go's part of this process passes bytes through; its garbage should not
	// grow beside the engine's own memory.
	debug.SetGCPercent(50)

	lib, err := loadLibrary(library)
	if err != nil {
		return err
	}
	names := &nameSync{root: filepath.Join(dir, "data")}
	if err := names.begin(); err != nil {
		return err
	}
	boot := rand.Text()
	p, err := newPool(lib, filepath.Join(dir, "data"), boot, c.Connections, []string{"--config-file=" + conf})
	if err != nil {
		return fmt.Errorf("opening the database in %s: %w", dir, err)
	}
	if err := syncAll(dir); err != nil {
		return err
	}
	f := &face{
		pool: p, log: o.Log, names: names,
		fatal: func(err error) {
			o.Log.Error("engine ends: what it wrote may not be on the disk", "err", err)
			os.Exit(2)
		},
		maxInsert: c.MaxInsert, readTimeout: time.Minute,
		users: map[string]user{
			c.Writer: {roleWriter, sha256.Sum256([]byte(c.WriterSecret))},
			c.Reader: {roleReader, sha256.Sum256([]byte(c.ReaderSecret))},
		},
		reader: readerLimits{seconds: c.ReaderSeconds, memory: c.ReaderMemory, result: c.ReaderResult, threads: 2},
	}
	srv := &http.Server{
		Handler:           f,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       5 * time.Minute,
		MaxHeaderBytes:    maxStatement + 64<<10, // a statement may stand in the URL
		ErrorLog:          slog.NewLogLogger(o.Log.Handler(), slog.LevelWarn),
	}
	go f.keepLooking(ctx)
	served := make(chan error, 1)
	go func() { served <- srv.Serve(&limitListener{Listener: lis, slots: make(chan struct{}, maxClients)}) }()
	ready := readyLine{URL: "http://" + lis.Addr().String(), PID: os.Getpid(), BootID: boot, Version: lib.version(), Sandbox: sandbox}
	if ready.SetAside, ready.Broken, err = p.setAside(); err != nil {
		o.Log.Warn("asking for parts set aside as broken", "err", err)
	}
	if err := json.NewEncoder(o.Stdout).Encode(ready); err != nil {
		return fmt.Errorf("telling the parent that the engine is ready: %w", err)
	}
	select {
	case err := <-served:
		return fmt.Errorf("serving the engine's HTTP: %w", err)
	case <-ctx.Done():
	}
	grace, done := context.WithTimeout(context.WithoutCancel(ctx), shutdownGrace)
	defer done()
	if err := srv.Shutdown(grace); err != nil {
		// Statements still run inside the library. Closing it under them is
		// worse than what the caller does next, which is to exit.
		o.Log.Warn("statements were still running at the stop", "running", len(p.list("")))
		return nil
	}
	p.close()
	return nil
}
