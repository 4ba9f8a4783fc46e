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
	"path/filepath"
	"strconv"
	"time"
)

// childConfig is what the parent tells its child, one line of JSON on the
// child's standard input. Secrets go this way because neither arguments nor
// environment are private.
type childConfig struct {
	Library     string `json:"library"`
	Dir         string `json:"dir"`
	Port        int    `json:"port"`
	Memory      int64  `json:"memory"`
	Connections int    `json:"connections"`
	MaxInsert   int64  `json:"max_insert"`

	Writer       string `json:"writer"`
	WriterSecret string `json:"writer_secret"`
	Reader       string `json:"reader"`
	ReaderSecret string `json:"reader_secret"`

	ReaderSeconds int64 `json:"reader_seconds"`
	ReaderMemory  int64 `json:"reader_memory"`
}

// readyLine is the one line the child writes to its standard output.
type readyLine struct {
	URL    string `json:"url,omitempty"`
	PID    int    `json:"pid,omitempty"`
	BootID string `json:"boot_id,omitempty"`
	Error  string `json:"error,omitempty"`
}

// ChildOptions are for Main. The zero value is right for a child process.
type ChildOptions struct {
	Stdin  io.Reader    // os.Stdin
	Stdout io.Writer    // os.Stdout
	Log    *slog.Logger // to standard error
}

// Main is what runs inside the child process. It reads its configuration from
// standard input, serves until standard input ends or ctx is done, and returns
// nil after a clean stop. An error has been told to the parent already.
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
		json.NewEncoder(o.Stdout).Encode(readyLine{Error: err.Error()})
	}
	return err
}

func child(ctx context.Context, o ChildOptions) error {
	in := bufio.NewReader(o.Stdin)
	line, err := in.ReadBytes('\n')
	if err != nil {
		return errors.New("reading engine configuration from standard input: the engine command is started by ctappliance itself, not by hand")
	}
	var c childConfig
	if err := json.Unmarshal(line, &c); err != nil {
		return fmt.Errorf("reading engine configuration from standard input: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		// The parent holds the other end for as long as it lives.
		io.Copy(io.Discard, in)
		cancel()
	}()
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return fmt.Errorf("making engine directory: %w", err)
	}
	lock, err := lockDir(c.Dir)
	if err != nil {
		return err
	}
	defer lock.Close()
	lis, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(c.Port)))
	if err != nil {
		return fmt.Errorf("listening for the engine's HTTP: %w; set another store.port, or 0 for any", err)
	}
	defer lis.Close()
	conf := filepath.Join(c.Dir, "engine.xml")
	if err := os.WriteFile(conf, []byte(configXML(c.Memory)), 0o600); err != nil {
		return fmt.Errorf("writing engine configuration: %w", err)
	}
	lib, err := loadLibrary(c.Library)
	if err != nil {
		return err
	}
	boot := rand.Text()
	p, err := newPool(lib, filepath.Join(c.Dir, "data"), boot, c.Connections, []string{"--config-file=" + conf})
	if err != nil {
		return err
	}
	f := &face{
		pool: p, log: o.Log, maxInsert: c.MaxInsert, readTimeout: time.Minute,
		users:  map[string]user{c.Writer: {roleWriter, sha256.Sum256([]byte(c.WriterSecret))}, c.Reader: {roleReader, sha256.Sum256([]byte(c.ReaderSecret))}},
		reader: readerLimits{maxSeconds: c.ReaderSeconds, maxMemory: c.ReaderMemory},
	}
	srv := &http.Server{
		Handler:           f,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       5 * time.Minute,
		MaxHeaderBytes:    2 << 20, // a statement may stand in the URL
		ErrorLog:          slog.NewLogLogger(o.Log.Handler(), slog.LevelWarn),
	}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(lis) }()
	if err := json.NewEncoder(o.Stdout).Encode(readyLine{URL: "http://" + lis.Addr().String(), PID: os.Getpid(), BootID: boot}); err != nil {
		return fmt.Errorf("telling the parent that the engine is ready: %w", err)
	}
	select {
	case err := <-done:
		return fmt.Errorf("serving the engine's HTTP: %w", err)
	case <-ctx.Done():
	}
	stop, cancelStop := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancelStop()
	if err := srv.Shutdown(stop); err != nil {
		srv.Close()
		return nil // statements still run in the library: closing it under them is worse than exiting
	}
	p.close()
	return nil
}
