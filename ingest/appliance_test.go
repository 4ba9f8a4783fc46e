package ingest

import (
	"context"
	"errors"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"ctappliance/ingest/ctlog"
	"ctappliance/ingest/ctlog/ctlogtest"
	"ctappliance/ingest/pace"
	"ctappliance/schema"
	"ctappliance/wal"
)

// testLog is a log served on loopback and a client for it.
type testLog struct {
	*ctlogtest.Log
	client ctlog.Log
	pace   *pace.Pacer
	id     uint64
}

func serveLog(t *testing.T, kind ctlogtest.Kind, size uint64) *testLog {
	t.Helper()
	l, err := ctlogtest.New(ctlogtest.Options{Kind: kind, Size: size, Name: kind.String() + "-test-log"})
	if err != nil {
		t.Fatal(err)
	}
	return serve(t, l)
}

func serve(t *testing.T, l *ctlogtest.Log) *testLog {
	t.Helper()
	server := httptest.NewServer(l.Handler())
	t.Cleanup(server.Close)
	info := l.Info(server.URL + "/")
	pacer := pace.New(pace.Options{Start: 1e4})
	client, err := ctlog.New(ctlog.Info{ID: info.ID, Key: info.Key, Name: info.Name, Operator: info.Operator, Kind: ctlog.Kind(info.Kind),
		URL: info.URL, SubmissionURL: info.SubmissionURL}, ctlog.Options{UserAgent: "ctappliance-test (test@ctappliance.test)", AllowPrivate: true, Pacer: pacer})
	if err != nil {
		t.Fatal(err)
	}
	return &testLog{Log: l, client: client, pace: pacer, id: schema.ShortID(info.ID)}
}

func config(t *testing.T, sink Sink, logs ...*testLog) Config {
	c := Config{Dir: fastDir(t), Sink: sink, UntilDone: true, FlushRows: 3000, PollInterval: 20 * time.Millisecond, PartialAge: time.Millisecond,
		WAL: wal.Options{SegmentSize: 1 << 20, Budget: 16 << 20}}
	for _, l := range logs {
		size, _, _ := l.Head()
		c.Logs = append(c.Logs, Follow{Log: l.client, Pace: l.pace, Spans: []Request{{From: 0, To: size}}})
	}
	return c
}

// run opens and runs an appliance until it is done.
func run(t *testing.T, c Config) Status {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	a, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if err := a.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if ctx.Err() != nil {
		t.Fatalf("not done in time: %+v", a.Status())
	}
	return a.Status()
}

func TestBothProtocols(t *testing.T) {
	rfc, static := serveLog(t, ctlogtest.RFC6962, 10_000), serveLog(t, ctlogtest.Static, 10_100)
	sink := newMemSink()
	st := run(t, config(t, sink, rfc, static))
	for _, l := range []*testLog{rfc, static} {
		size, _, _ := l.Head()
		if err := sink.check(l.id, 0, size); err != nil {
			t.Errorf("%s: %v", l.client.Info().Name, err)
		}
		if n := l.Stats().Refetched; n != 0 {
			t.Errorf("%s: %d entries fetched more than once", l.client.Info().Name, n)
		}
	}
	if d := st.Delivery; d.InsertErrors != 0 || d.Reinserted != 0 {
		t.Errorf("a store without faults: %+v", d) // it wants dependents before ledger rows
	}
	for _, l := range st.Logs {
		if l.State != "done" || l.Verified != l.Wanted || l.Delivered != l.Wanted {
			t.Errorf("status: %+v", l)
		}
	}
	for i, r := range sink.rows {
		if r.Status > schema.StatusOdd {
			t.Fatalf("entry %v: status %v: %s", i, r.Status, r.Error)
		}
	}
	if len(sink.issuers) == 0 || len(sink.logs) != 2 {
		t.Errorf("%d issuers, %d logs", len(sink.issuers), len(sink.logs))
	}
}

func TestMidLogRange(t *testing.T) {
	for _, kind := range []ctlogtest.Kind{ctlogtest.RFC6962, ctlogtest.Static} {
		l := serveLog(t, kind, 9_000)
		sink := newMemSink()
		c := config(t, sink, l)
		c.Logs[0].Spans = []Request{{From: 1000, To: 7001}}
		st := run(t, c)
		if err := sink.check(l.id, 1000, 7001); err != nil {
			t.Errorf("%v: %v", kind, err)
		}
		if v := st.Logs[0].Spans[0].Verified; v != 7001 {
			t.Errorf("%v: verified up to %d", kind, v)
		}
	}
}

// A second run over more of the log does only what is new, and a third does
// nothing.
func TestRunAgain(t *testing.T) {
	l := serveLog(t, ctlogtest.Static, 3_000)
	sink := newMemSink()
	c := config(t, sink, l)
	run(t, c)
	if err := l.Grow(2_000); err != nil {
		t.Fatal(err)
	}
	c.Logs[0].Spans = []Request{{From: 0, To: 5_000}}
	run(t, c)
	run(t, c)
	if err := sink.check(l.id, 0, 5_000); err != nil {
		t.Error(err)
	}
	if n := l.Stats().Refetched; n > 256 { // the partial tile
		t.Errorf("%d entries fetched more than once", n)
	}
}

func TestStoreFails(t *testing.T) {
	broken := errors.New("connection reset")
	for name, set := range map[string]func(*memSink, func() bool){
		"dependents refused":     func(s *memSink, now func() bool) { s.fail = failing("dependents", now, broken) },
		"dependents lost answer": func(s *memSink, now func() bool) { s.failed = failing("dependents", now, broken) },
		"ledger refused":         func(s *memSink, now func() bool) { s.fail = failing("ledger", now, broken) },
		"ledger lost answer":     func(s *memSink, now func() bool) { s.failed = failing("ledger", now, broken) },
		// The server remembers the token of an insert that it lost: the retry
		// under the same token succeeds and brings nothing.
		"swallowed by token": func(s *memSink, now func() bool) {
			s.dedup = true
			s.fail = func(op string, f *schema.Flush) error {
				if op == "ledger" && now() {
					s.tokens[token(f)] = true
					return broken
				}
				return nil
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := serveLog(t, ctlogtest.Static, 2_000)
			sink := newMemSink()
			n := 0
			set(sink, func() bool { n++; return n == 1 })
			run(t, config(t, sink, l))
			if err := sink.check(l.id, 0, 2_000); err != nil {
				t.Error(err)
			}
			if n == 0 || sink.calls["fence"] == 0 {
				t.Errorf("the fault did not strike: %d, %v", n, sink.calls)
			}
		})
	}
}

func failing(op string, now func() bool, err error) func(string, *schema.Flush) error {
	return func(at string, _ *schema.Flush) error {
		if at == op && now() {
			return err
		}
		return nil
	}
}

func TestPoisonousRow(t *testing.T) {
	l := serveLog(t, ctlogtest.Static, 1_000)
	sink := newMemSink()
	sink.fail = func(op string, f *schema.Flush) error {
		for _, r := range rowsOf(f) {
			if op == "dependents" && r.Index == 333 && r.Status != schema.StatusRefused {
				return &schema.RefusedError{Table: "certs", Code: 6, Err: errors.New("cannot parse")}
			}
		}
		return nil
	}
	st := run(t, config(t, sink, l))
	if err := sink.check(l.id, 0, 1_000); err != nil {
		t.Error(err)
	}
	if r := sink.rows[entryKey{l.id, 333}]; !strings.Contains(r.Error, "refused by the store") || len(r.DER) == 0 {
		t.Errorf("row 333: status %d, error %q, %d bytes", r.Status, r.Error, len(r.DER))
	}
	if len(st.Alarms) == 0 {
		t.Error("no alarm")
	}
}

func rowsOf(f *schema.Flush) []*schema.Row {
	if f == nil {
		return nil
	}
	return f.Rows
}
