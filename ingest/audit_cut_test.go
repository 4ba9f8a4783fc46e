package ingest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ctappliance/ingest/ctlog/ctlogtest"
	"ctappliance/schema"
)

// An audit finds what is wrong with a ledger, each in its own words.
func TestAuditFinds(t *testing.T) {
	for name, test := range map[string]struct {
		harm func(t *testing.T, dir string, log *testLog, sink *memSink)
		want string // in a problem; empty: none
	}{
		"nothing": {harm: func(*testing.T, string, *testLog, *memSink) {}},
		"a missing row": {want: "[300,301) is missing", harm: func(_ *testing.T, _ string, log *testLog, sink *memSink) {
			delete(sink.ledger, entryKey{log.id, 300})
		}},
		"missing rows at both ends": {want: "[890,900) is missing", harm: func(_ *testing.T, _ string, log *testLog, sink *memSink) {
			for i := range uint64(10) {
				delete(sink.ledger, entryKey{log.id, i})
				delete(sink.ledger, entryKey{log.id, 890 + i})
			}
		}},
		"a doubled row": {want: "1 rows too many", harm: func(_ *testing.T, _ string, log *testLog, sink *memSink) {
			sink.ledger[entryKey{log.id, 300}]++
		}},
		"an altered row": {want: "are not those of the log's entries", harm: func(_ *testing.T, _ string, log *testLog, sink *memSink) {
			for i := uint64(0); i < 768; i += 256 {
				r := sink.rows[entryKey{log.id, i}]
				r.TBSID[3] ^= 1
				sink.rows[entryKey{log.id, i}] = r
			}
		}},
		"two rows exchanged": {want: "are not those of the log's entries", harm: func(_ *testing.T, _ string, log *testLog, sink *memSink) {
			for i := uint64(0); i < 768; i += 256 {
				a, b := entryKey{log.id, i}, entryKey{log.id, i + 1}
				sink.rows[a], sink.rows[b] = sink.rows[b], sink.rows[a]
			}
		}},
		"lost roots": {want: "3 roots of 256-entry subtrees", harm: func(t *testing.T, dir string, _ *testLog, _ *memSink) {
			remove(t, RootsDir(dir))
		}},
		"an altered root": {want: "do not give the tree that the log has signed", harm: func(t *testing.T, dir string, _ *testLog, _ *memSink) {
			files, _ := filepath.Glob(filepath.Join(RootsDir(dir), "*"))
			flip(t, files[0], 32)
		}},
		"other entries now": {want: "now serves other entries", harm: func(t *testing.T, _ string, log *testLog, _ *memSink) {
			if err := log.Faults().Set(ctlogtest.Fault{Mode: ctlogtest.CorruptEntry}); err != nil {
				t.Fatal(err)
			}
		}},
		"wrong proofs now": {want: "does not prove its first", harm: func(t *testing.T, _ string, log *testLog, _ *memSink) {
			if err := log.Faults().Set(ctlogtest.Fault{Mode: ctlogtest.CorruptHash}); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		for _, kind := range []ctlogtest.Kind{ctlogtest.RFC6962, ctlogtest.Static} {
			l := sharedLog(t, kind)
			bubble(t, fmt.Sprintf("%s/%v", name, kind), func(t *testing.T) {
				defer l.Faults().Set()
				log, sink := dial(t, l), newMemSink()
				c := bubbleConfig(t, sink, log)
				st, _ := life(t, c, nil)
				test.harm(t, c.Dir, log, sink)
				f, err := (&Audit{Dir: c.Dir, Log: log.client.Info().ID, Spans: st.Logs[0].Spans, Ledger: sink, Client: log.client, Samples: 30}).Run(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				found := strings.Join(f.Problems, "\n")
				switch {
				case test.want == "" && found != "":
					t.Errorf("found %s", found)
				case !strings.Contains(found, test.want):
					t.Errorf("found %q, want %q", found, test.want)
				}
				if test.want == "" && (f.Entries != 900 || f.Rows != 900 || f.Roots != 3 || f.Proven != 768 || f.Tiles == 0) {
					t.Errorf("%+v", f)
				}
			})
		}
	}
}

// A ledger with a million gaps is told in a few lines.
func TestAuditIsBounded(t *testing.T) {
	l := sharedLog(t, ctlogtest.RFC6962)
	synctest.Test(t, func(t *testing.T) {
		log, sink := dial(t, l), newMemSink()
		c := bubbleConfig(t, sink, log)
		st, _ := life(t, c, nil)
		for i := uint64(0); i < 900; i += 2 {
			delete(sink.ledger, entryKey{log.id, i})
		}
		f := auditAll(t, c, st, sink, log)
		if f.Missing != 450 || len(f.Problems) > 2*maxGaps {
			t.Errorf("%d missing in %d lines", f.Missing, len(f.Problems))
		}
	})
}

func rowsAt(n int, at time.Time) []schema.Row {
	rows := make([]schema.Row, n)
	for i := range rows {
		rows[i].Timestamp = uint64(at.UnixMilli())
	}
	return rows
}

// A flush is cut by rows, by bytes and, once it is worth a part, by month.
func TestCutRules(t *testing.T) {
	may, june := time.Date(2026, 5, 31, 23, 0, 0, 0, time.UTC), time.Date(2026, 6, 1, 1, 0, 0, 0, time.UTC)
	c := &Config{FlushRows: 10_000, FlushBytes: 1000}
	for name, test := range map[string]struct {
		have, next  int
		bytes, more int
		from, to    time.Time
		want        bool
	}{
		"an empty flush takes anything":   {0, 50_000, 0, 5000, may, may, false},
		"room for both":                   {5000, 5000, 500, 500, may, may, false},
		"one row too many":                {5000, 5001, 0, 0, may, may, true},
		"one byte too many":               {10, 10, 500, 501, may, may, true},
		"another month, and worth a part": {monthCutRows, 10, 0, 0, may, june, true},
		"another month, but small":        {monthCutRows - 1, 10, 0, 0, may, june, false},
		"the same month":                  {monthCutRows, 10, 0, 0, june, june, false},
	} {
		f := newFlush(1, nil)
		if test.have > 0 {
			f.add(&parsed{seq: 1, from: 0, to: uint64(test.have), rows: rowsAt(test.have, test.from), bytes: test.bytes})
		}
		if got := f.full(&parsed{seq: 2, rows: rowsAt(test.next, test.to), bytes: test.more}, c); got != test.want {
			t.Errorf("%s: cut is %v", name, got)
		}
	}
	mixed := append(rowsAt(1, may), rowsAt(1, june)...)
	if monthOf(mixed) != -1 || monthOf(nil) != -1 || monthOf(rowsAt(2, may)) != 2026*12+5 {
		t.Error("months")
	}
	mixed[0].Timestamp = 1<<64 - 1 // no date at all; a log may say so
	monthOf(mixed)
}

// The rows of a slow log do not wait for company for longer than the interval.
func TestInterval(t *testing.T) {
	l := newLog(t, ctlogtest.RFC6962, 10)
	synctest.Test(t, func(t *testing.T) {
		log, sink := dial(t, l), newMemSink()
		c := bubbleConfig(t, sink, log)
		c.UntilDone, c.FlushInterval = false, 30*time.Second
		c.Logs[0].Spans[0].To = Forever
		a := follow(t, c, sink)
		time.Sleep(29 * time.Second)
		if n := sink.count(); n != 0 {
			t.Errorf("%d rows before the interval was over", n)
		}
		time.Sleep(5 * time.Second)
		if n := sink.count(); n != 10 {
			t.Errorf("%d rows after it", n)
		}
		a.end()
	})
}

// Rows and chain certificates that the server refuses for good are found, kept
// as problems or left out, and pin nothing.
func TestPoison(t *testing.T) {
	l := sharedLog(t, ctlogtest.RFC6962)
	synctest.Test(t, func(t *testing.T) {
		log, sink := dial(t, l), newMemSink()
		c := bubbleConfig(t, sink, log)
		poisoned := map[uint64]bool{0: true, 1: true, 333: true, 899: true}
		var poison schema.Hash
		sink.fail = func(op string, f *schema.Flush) error {
			if op != "dependents" {
				return nil
			}
			for _, i := range f.Issuers {
				if poison == (schema.Hash{}) {
					poison = i.Fingerprint
				}
				if i.Fingerprint == poison {
					return &schema.RefusedError{Table: "issuers", Code: 6, Err: errors.New("cannot parse")}
				}
			}
			for _, r := range f.Rows {
				if poisoned[r.Index] && r.Status != schema.StatusRefused {
					return &schema.RefusedError{Table: "certs", Code: 6, Err: errors.New("cannot parse")}
				}
			}
			return nil
		}
		st, _ := life(t, c, nil)
		checkDone(t, c, st, sink, log)
		refused := 0
		for k, r := range sink.rows {
			if r.Status == schema.StatusRefused {
				refused++
				if !poisoned[k.index] || len(r.DER) == 0 {
					t.Errorf("entry %d: %s", k.index, r.Error)
				}
			}
		}
		if refused != 4 || sink.issuers[poison] || len(sink.issuers) == 0 || !hasAlarm(st, "chain certificate") {
			t.Errorf("%d rows refused, %d issuers, alarms %q", refused, len(sink.issuers), st.Alarms)
		}
	})
}

// Chain certificates beyond a log's daily share travel inside the records, and
// the rows are the same.
func TestInlineCertificates(t *testing.T) {
	l := sharedLog(t, ctlogtest.RFC6962)
	var rows [2]map[entryKey]schema.Row
	for i, full := range []bool{false, true} {
		bubble(t, fmt.Sprintf("full=%v", full), func(t *testing.T) {
			log, sink := dial(t, l), newMemSink()
			c := bubbleConfig(t, sink, log)
			c.RingMemory = 1
			if full {
				a, err := Open(c)
				if err != nil {
					t.Fatal(err)
				}
				fill := map[schema.Hash][]byte{}
				for n := range 10_000 {
					der := fmt.Appendf(nil, "%d", n)
					fill[schema.Hash([]byte(fmt.Sprintf("%032d", n)))] = der
				}
				if left, err := a.chains.Add(log.client.Info().ID, fill); err != nil || len(left) != 0 {
					t.Fatal(len(left), err)
				}
				// In the same life: the share is counted in memory.
				if err := a.Run(t.Context()); err != nil {
					t.Fatal(err)
				}
				if err := a.Close(); err != nil {
					t.Fatal(err)
				}
			} else {
				life(t, c, nil)
			}
			if err := sink.check(log.id, 0, 900); err != nil {
				t.Error(err)
			}
			rows[i] = sink.rows
			if len(sink.issuers) == 0 {
				t.Error("no issuers")
			}
		})
	}
	for k, r := range rows[0] {
		if o := rows[1][k]; o.TBSID != r.TBSID || o.IssuerKeyHash != r.IssuerKeyHash {
			t.Fatalf("entry %d differs", k.index)
		}
	}
}

// Two requests for the same ground at the same time get it once.
func TestBackfillTwice(t *testing.T) {
	l := sharedLog(t, ctlogtest.RFC6962)
	synctest.Test(t, func(t *testing.T) {
		log, sink := dial(t, l), newMemSink()
		c := bubbleConfig(t, sink, log)
		c.UntilDone = false
		c.Logs[0].Spans = []Request{{From: 800, To: Forever}}
		sink.slow = time.Second
		ctx, cancel := context.WithCancel(t.Context())
		a, err := Open(c)
		if err != nil {
			t.Fatal(err)
		}
		defer a.Close()
		ended := make(chan error, 1)
		go func() { ended <- a.Run(ctx) }()
		time.Sleep(10 * time.Second)
		id := a.Status().Logs[0].ID
		answers := make(chan error, 4)
		for range cap(answers) {
			go func() { answers <- a.Backfill(ctx, SpanRequest{Log: id, From: 100, To: 850}) }()
		}
		for range cap(answers) {
			if err := <-answers; err != nil {
				t.Error(err)
			}
		}
		time.Sleep(time.Minute)
		if err := sink.check(log.id, 100, 900); err != nil {
			t.Error(err)
		}
		if n := len(a.Status().Logs[0].Spans); n != 2 {
			t.Errorf("%d spans", n)
		}
		if err := a.Backfill(ctx, SpanRequest{Log: "ff", From: 1, To: 2}); err == nil {
			t.Error("a log that nobody follows")
		}
		if err := a.Backfill(ctx, SpanRequest{Log: id, From: 2, To: 2}); err == nil {
			t.Error("an empty range")
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// The lock keeps a second process out, and says what to do.
func TestDirectoryInUse(t *testing.T) {
	c := Config{Dir: fastDir(t), Sink: newMemSink()}
	a, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	var used *InUseError
	if _, err := Open(c); !errors.As(err, &used) {
		t.Errorf("second: %v", err)
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	if a, err = Open(c); err != nil {
		t.Fatal(err)
	}
	a.Close()
	if _, err := os.Stat(filepath.Join(c.Dir, "evidence")); err == nil {
		t.Error("evidence of nothing")
	}
}
