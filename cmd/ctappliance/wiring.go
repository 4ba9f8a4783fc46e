package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"ctappliance/cmd/ctappliance/plain"
	"ctappliance/ingest"
	"ctappliance/internal/durable"
	"ctappliance/schema"
	"ctappliance/store"
	"ctappliance/store/engine"
	"ctappliance/wal"
)

// logger writes what an operator wants to know to w.
func (c *settings) logger(w io.Writer) *slog.Logger {
	if c.level == nil {
		c.level = new(slog.LevelVar)
		c.level.Set(c.logLevel())
	}
	options := &slog.HandlerOptions{Level: c.level}
	if c.Log.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}

func (c *settings) logLevel() (level slog.Level) {
	_ = level.UnmarshalText([]byte(c.Log.Level)) // validated
	return level
}

func (c *settings) engineDir() string { return filepath.Join(c.DataDir, "engine") }

func (c *settings) embedded() bool { return c.Store.DSN == "" }

// makeDataDir creates the data directory and says clearly why it cannot.
func (c *settings) makeDataDir() error {
	label := c.Label("data-dir")
	if info, err := os.Stat(c.DataDir); err == nil && !info.IsDir() {
		return fmt.Errorf("%s: %s is not a directory; choose another", label, plain.QuotePath(c.DataDir))
	}
	if err := os.MkdirAll(c.DataDir, 0o700); err != nil {
		return fmt.Errorf("%s: %s cannot be created: %w; create it with the right owner, or choose another", label, plain.QuotePath(c.DataDir), reason(err))
	}
	probe, err := os.CreateTemp(c.DataDir, ".probe-")
	if err != nil {
		return fmt.Errorf("%s: %s is not writable: %w; change its owner, or choose another", label, plain.QuotePath(c.DataDir), reason(err))
	}
	probe.Close()
	return os.Remove(probe.Name())
}

// reason is what the operating system says, without what it was asked to do.
func reason(err error) error {
	if path, ok := errors.AsType[*fs.PathError](err); ok {
		return path.Err
	}
	return err
}

// quiet leaves out of the log what a short command need not tell, unless the
// user asked for it.
func (c *settings) quiet() {
	if !c.Chosen("log.level") {
		c.Log.Level = "warn"
	}
}

// startEngine starts the embedded engine in the data directory.
func (c *settings) startEngine(ctx context.Context, log *slog.Logger) (*engine.Engine, error) {
	library, err := engine.Find(c.Engine.Library, c.DataDir)
	if err != nil {
		return nil, err
	}
	exe, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding our own program: %w", err)
	}
	return engine.Start(ctx, engine.Options{Library: library, Dir: c.engineDir(), Port: c.Engine.Port, Memory: int64(c.Engine.Memory),
		ReaderPassword: c.Engine.ReadonlyPassword.Reveal(), Command: []string{exe, engineChildName}, Log: log})
}

// storeConfig says how to reach the store; e is nil for a server of the user's.
func (c *settings) storeConfig(e *engine.Engine, log *slog.Logger) store.Config {
	sc := store.Config{Database: c.Store.Database, NoTokens: !c.Store.DedupTokens, KeepDER: c.Store.KeepDER, Log: log}
	if e != nil {
		sc.Embedded = e
		return sc
	}
	sc.DSN, sc.Password, sc.CAFile, sc.AllowPlaintext = string(c.Store.DSN), c.Store.Password.Reveal(), c.Store.CAFile, c.Store.AllowPlaintext
	sc.Compress = true
	if u, err := url.Parse(sc.DSN); err == nil && u.User.Username() == "" && c.Store.User != "" {
		u.User = url.User(c.Store.User)
		sc.DSN = u.String()
	}
	return sc
}

// writerID is the identity of this data directory: a database belongs to one.
func (c *settings) writerID() (string, error) {
	path := filepath.Join(c.DataDir, "writer-id")
	b, err := os.ReadFile(path)
	if err == nil {
		return strings.TrimSpace(string(b)), nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("reading writer ID: %w", err)
	}
	raw := make([]byte, 8)
	_, _ = rand.Read(raw) // never fails
	id := hex.EncodeToString(raw)
	if err := durable.WriteFile(durable.OS{}, path, []byte(id+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("writing writer ID: %w", err)
	}
	return id, nil
}

// What the pipeline and its audit need of a store.
var (
	_ ingest.Sink   = (*store.Store)(nil)
	_ ingest.Ledger = (*store.Store)(nil)
)

// sink is the store of a pipeline with what must be closed after it.
type sink struct {
	ingest.Sink
	engine *engine.Engine // nil for a server of the user's
	close  func()
}

// openSink opens the store for writing. A server that does not answer is an
// error on the first start, when somebody watches; afterwards it is waited
// for, while fetching goes on into the WAL.
func (c *settings) openSink(ctx context.Context, log *slog.Logger) (*sink, error) {
	id, err := c.writerID()
	if err != nil {
		return nil, err
	}
	s := &sink{close: func() {}}
	if c.embedded() {
		if s.engine, err = c.startEngine(ctx, log); err != nil {
			return nil, err
		}
		s.close = s.engine.Stop
	}
	sc := c.storeConfig(s.engine, log)
	sc.WriterID = id
	st, err := store.Open(ctx, sc)
	if err == nil {
		s.Sink = st
		s.close = func() {
			st.Close()
			if s.engine != nil {
				s.engine.Stop()
			}
		}
		return s, nil
	}
	if _, stat := os.Stat(filepath.Join(c.DataDir, "store-seen")); stat != nil || !isAway(err) {
		s.close()
		return nil, err
	}
	log.Warn("store does not answer, fetching goes on", "err", err)
	patient := &patientSink{open: func(ctx context.Context) (*store.Store, error) { return store.Open(ctx, sc) }}
	s.Sink = patient
	return s, nil
}

// noteStoreSeen remembers that the store was reached once.
func (c *settings) noteStoreSeen() error {
	return durable.WriteFile(durable.OS{}, filepath.Join(c.DataDir, "store-seen"), nil, 0o600)
}

// isAway says whether a store's error may go away by itself.
func isAway(err error) bool {
	text := err.Error()
	for _, sign := range []string{"connection refused", "no route", "timeout", "deadline exceeded", "i/o timeout", "EOF", "reset by peer", "no such host", "503", "502"} {
		if strings.Contains(text, sign) {
			return true
		}
	}
	return false
}

// patientSink opens its store when it can. Until then every call fails, and is
// tried again by the deliverer.
type patientSink struct {
	open func(context.Context) (*store.Store, error)
	mu   sync.Mutex
	st   *store.Store
}

func (p *patientSink) get(ctx context.Context) (*store.Store, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.st != nil {
		return p.st, nil
	}
	st, err := p.open(ctx)
	if err != nil {
		return nil, err
	}
	p.st = st
	return st, nil
}

// Prepare prepares nothing while there is no store.
func (p *patientSink) Prepare() schema.Prepared {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.st == nil {
		return unprepared{}
	}
	return p.st.Prepare()
}

func (p *patientSink) PrepareAgain() schema.Prepared {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.st == nil {
		return unprepared{}
	}
	return p.st.PrepareAgain()
}

// unprepared is the flush of a store that is not there yet: its rows are asked
// for when it is.
type unprepared struct{}

func (unprepared) Add([]schema.Row) {}
func (unprepared) Discard()         {}

func (p *patientSink) InsertDependents(ctx context.Context, f *schema.Flush) error {
	st, err := p.get(ctx)
	if err != nil {
		return err
	}
	return st.InsertDependents(ctx, f)
}

func (p *patientSink) InsertLedger(ctx context.Context, f *schema.Flush, keep func(log, index uint64) bool) error {
	st, err := p.get(ctx)
	if err != nil {
		return err
	}
	return st.InsertLedger(ctx, f, keep)
}

func (p *patientSink) Fence(ctx context.Context, flushID uint64) error {
	st, err := p.get(ctx)
	if err != nil {
		return err
	}
	return st.Fence(ctx, flushID)
}

func (p *patientSink) Prove(ctx context.Context, ranges []schema.Range) ([]schema.Proof, error) {
	st, err := p.get(ctx)
	if err != nil {
		return nil, err
	}
	return st.Prove(ctx, ranges)
}

func (p *patientSink) FenceAll(ctx context.Context) error {
	st, err := p.get(ctx)
	if err != nil {
		return err
	}
	return st.FenceAll(ctx)
}

func (p *patientSink) Epoch(ctx context.Context) (string, error) {
	st, err := p.get(ctx)
	if err != nil {
		return "", err
	}
	return st.Epoch(ctx)
}

func (p *patientSink) Highest(ctx context.Context, r schema.Range) (uint64, bool, error) {
	st, err := p.get(ctx)
	if err != nil {
		return 0, false, err
	}
	return st.Highest(ctx, r)
}

func (p *patientSink) Indices(ctx context.Context, r schema.Range) ([]uint64, error) {
	st, err := p.get(ctx)
	if err != nil {
		return nil, err
	}
	return st.Indices(ctx, r)
}

func (p *patientSink) Orphans(ctx context.Context, r schema.Range) ([]uint64, error) {
	st, err := p.get(ctx)
	if err != nil {
		return nil, err
	}
	return st.Orphans(ctx, r)
}

func (p *patientSink) Remove(ctx context.Context, r schema.Range) (uint64, error) {
	st, err := p.get(ctx)
	if err != nil {
		return 0, err
	}
	return st.Remove(ctx, r)
}

func (p *patientSink) PutLogs(ctx context.Context, logs []schema.Log) error {
	st, err := p.get(ctx)
	if err != nil {
		return err
	}
	return st.PutLogs(ctx, logs)
}

// pipeline is the part of ingest.Config that follows from ours.
func (c *settings) pipeline(s ingest.Sink, logs []ingest.Follow, log *slog.Logger) ingest.Config {
	workers := c.Parse.Workers
	if workers == 0 {
		workers = runtime.NumCPU()
	}
	return ingest.Config{
		Dir: c.DataDir, Sink: s, Logs: logs,
		WAL:       wal.Options{SegmentSize: int64(c.WAL.SegmentSize), Budget: int64(c.WAL.Budget), Reserve: int64(c.WAL.Reserve)},
		FlushRows: c.Flush.Rows, FlushBytes: int(c.Flush.Bytes), FlushInterval: time.Duration(c.Flush.Interval),
		ParseWorkers: workers, FetchWorkers: c.Fetch.Workers, PollInterval: time.Duration(c.HTTP.PollInterval), PartialAge: time.Duration(c.Fetch.PartialAge),
		AuditInterval: time.Duration(c.AuditInterval), Logger: log, Step: stepper(),
	}
}

func (c *settings) userAgent() string {
	contact := c.Contact
	if contact == "" {
		contact = "loopback@localhost.invalid" // validated: every log is on this machine
	}
	return "ctappliance/" + version + " (+" + contact + ")"
}
