package ingest

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ctappliance/checkpoint"
	"ctappliance/ingest/ctlog"
	"ctappliance/ingest/ctlog/ctlogtest"
	"ctappliance/ingest/pace"
	"ctappliance/schema"
	"ctappliance/wal"
)

// Tests of this file's kind run in a testing/synctest bubble: no sockets, and
// back-offs cost no time.

// logs are expensive to make; those that no test changes are shared.
var (
	sharedMu   sync.Mutex
	sharedLogs = map[ctlogtest.Kind]*ctlogtest.Log{}
)

// sharedLog returns a log that tests only read.
func sharedLog(t *testing.T, kind ctlogtest.Kind) *ctlogtest.Log {
	t.Helper()
	sharedMu.Lock()
	defer sharedMu.Unlock()
	if l := sharedLogs[kind]; l != nil {
		return l
	}
	l := newLog(t, kind, 900)
	sharedLogs[kind] = l
	return l
}

// newLog makes a log whose data fills several small requests.
func newLog(t *testing.T, kind ctlogtest.Kind, size uint64) *ctlogtest.Log {
	t.Helper()
	l, err := ctlogtest.New(ctlogtest.Options{Kind: kind, Size: size, Name: kind.String() + "-bubble", PageSize: 50})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// dial returns a client for l that needs no network.
func dial(t *testing.T, l *ctlogtest.Log) *testLog {
	t.Helper()
	info := l.Info("https://log.ctappliance.test/")
	pacer := pace.New(pace.Options{Start: 1e4})
	client, err := ctlog.New(ctlog.Info{ID: info.ID, Key: info.Key, Name: info.Name, Operator: info.Operator, Kind: ctlog.Kind(info.Kind),
		URL: info.URL, SubmissionURL: info.SubmissionURL}, ctlog.Options{UserAgent: "ctappliance-test (test@ctappliance.test)",
		Pacer: pacer, Transport: ctlogtest.Transport(l.Handler()), PageSize: 64})
	if err != nil {
		t.Fatal(err)
	}
	return &testLog{Log: l, client: client, pace: pacer, id: schema.ShortID(info.ID)}
}

// bubbleConfig is a backfill of the logs with small flushes and segments, so
// that everything that happens now and then happens several times.
func bubbleConfig(t *testing.T, sink Sink, logs ...*testLog) Config {
	c := config(t, sink, logs...)
	c.FlushRows = 120
	c.PollInterval = time.Second
	c.WAL = wal.Options{SegmentSize: 64 << 10, Budget: 4 << 20}
	return c
}

// life opens and runs an appliance; stop, if not nil, is called with every
// step and ends the life as a signal would, by returning true. It returns the
// last status, and whether the life ended early.
func life(t *testing.T, c Config, stop func(step string) bool) (st Status, stopped bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	var mu sync.Mutex
	c.Step = func(step string) {
		mu.Lock()
		end := stop != nil && stop(step)
		if end {
			stopped = true
			cancel()
		}
		mu.Unlock()
		if end && !strings.HasPrefix(step, "wal-") {
			runtime.Goexit() // the deliverer does nothing more, as if it were killed
		}
	}
	a, err := Open(c)
	if err != nil {
		t.Fatalf("opening: %v", err)
	}
	defer func() {
		if err := a.Close(); err != nil {
			t.Errorf("closing: %v", err)
		}
	}()
	err = a.Run(ctx)
	mu.Lock()
	defer mu.Unlock()
	if err != nil && !(stopped && errors.Is(err, context.Canceled)) {
		t.Fatalf("running: %v", err)
	}
	if !stopped && ctx.Err() != nil {
		t.Fatalf("not done in an hour: %+v", a.Status())
	}
	return a.Status(), stopped
}

// checkDone holds the ledger, the status and the checkpoint against each other
// after a life that ran to its end.
func checkDone(t *testing.T, c Config, st Status, sink *memSink, logs ...*testLog) {
	t.Helper()
	sink.settle()
	for _, l := range logs {
		size, _, _ := l.Head()
		if err := sink.check(l.id, 0, size); err != nil {
			t.Errorf("%s: %v", l.client.Info().Name, err)
		}
	}
	for _, l := range st.Logs {
		if l.State != "done" || l.Delivered != l.Wanted || l.Verified != l.Wanted {
			t.Errorf("%s is %q: %d wanted, %d delivered, %d verified", l.Name, l.State, l.Wanted, l.Delivered, l.Verified)
		}
	}
	db, err := checkpoint.OpenReadOnly(c.Dir)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	saved, err := db.Load()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range saved.Spans {
		if s.Delivered != s.To || s.Cursor < s.Delivered {
			t.Errorf("span %d of the checkpoint: [%d,%d), cursor %d, delivered %d", s.ID, s.From, s.To, s.Cursor, s.Delivered)
		}
	}
	for _, in := range saved.Intents {
		if !in.Fence {
			t.Errorf("intent %+v is left", in)
		}
	}
}

// auditAll audits every log, with all its tiles.
func auditAll(t *testing.T, c Config, st Status, sink *memSink, logs ...*testLog) *Findings {
	t.Helper()
	var all Findings
	for i, l := range logs {
		f, err := (&Audit{Dir: c.Dir, Log: l.client.Info().ID, Spans: st.Logs[i].Spans, Ledger: sink, Client: l.client, Samples: 8}).Run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		all.Problems = append(all.Problems, f.Problems...)
		all.RootsLost += f.RootsLost
		all.Missing += f.Missing
		all.Doubled += f.Doubled
		all.Tiles += f.Tiles
	}
	return &all
}

func bubble(t *testing.T, name string, f func(t *testing.T)) {
	t.Helper()
	t.Run(name, func(t *testing.T) { synctest.Test(t, f) })
}

// flip inverts the byte at offset at of a file; negative counts from the end.
func flip(t *testing.T, path string, at int) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if at < 0 {
		at += len(b)
	}
	b[at] ^= 0xff
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// segments returns the WAL's segment files, oldest first.
func segments(t *testing.T, dir string) []string {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(WALDir(dir), "*.wal"))
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func hasAlarm(st Status, part string) bool {
	for _, a := range st.Alarms {
		if strings.Contains(a, part) {
			return true
		}
	}
	return false
}

// fastDir is t.TempDir in memory where there is such a file system: what these
// tests look at does not need a disk, and hundreds of lives sync often.
func fastDir(t *testing.T) string {
	t.Helper()
	const memory = "/dev/shm"
	if info, err := os.Stat(memory); err != nil || !info.IsDir() {
		return t.TempDir()
	}
	dir, err := os.MkdirTemp(memory, "ingest-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}
