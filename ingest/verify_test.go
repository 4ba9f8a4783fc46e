package ingest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ctappliance/ingest/ctlog"
	"ctappliance/ingest/ctlog/ctlogtest"
	"ctappliance/schema"
)

// evidence is what a halted log leaves behind.
type evidence struct {
	LogID  string `json:"log_id"`
	Reason string `json:"reason"`
	Heads  []struct {
		Size uint64 `json:"size"`
		Raw  []byte `json:"raw"`
	} `json:"signed_heads"`
	Tree []byte `json:"recomputed_frontier"`
}

func readEvidence(t *testing.T, c Config) []evidence {
	t.Helper()
	files, _ := filepath.Glob(filepath.Join(c.Dir, "evidence", "*.json"))
	var out []evidence
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var e evidence
		if err := json.Unmarshal(b, &e); err != nil {
			t.Fatal(err)
		}
		out = append(out, e)
	}
	return out
}

// runHalted runs a backfill that must end with a halted log, and returns the
// last status.
func runHalted(t *testing.T, c Config) Status {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	a, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	err = a.Run(ctx)
	if ctx.Err() != nil {
		t.Fatalf("not done: %+v", a.Status())
	}
	if err == nil || !strings.Contains(err.Error(), "halted") {
		t.Errorf("the backfill ended with %v", err)
	}
	return a.Status()
}

// A log that serves altered entries, or proves wrongly for ever, is halted
// with evidence; nothing that it served after the lie is called verified; the
// other log comes to its end; and a restart does not forget (I5).
func TestLiesHalt(t *testing.T) {
	for name, fault := range map[string]ctlogtest.Fault{
		"altered entry":        {Mode: ctlogtest.CorruptEntry, From: 430, To: 431},
		"altered last entry":   {Mode: ctlogtest.CorruptEntry, From: 599, To: 600},
		"proof wrong for ever": {Mode: ctlogtest.CorruptHash},
	} {
		for _, kind := range []ctlogtest.Kind{ctlogtest.RFC6962, ctlogtest.Static} {
			liar := newLog(t, kind, 600)
			honestKind := ctlogtest.Static - kind
			bubble(t, fmt.Sprintf("%s/%v", name, kind), func(t *testing.T) {
				log, honest, sink := dial(t, liar), dial(t, sharedLog(t, honestKind)), newMemSink()
				if err := liar.Faults().Set(fault); err != nil {
					t.Fatal(err)
				}
				c := bubbleConfig(t, sink, log, honest)
				c.verifyEvery = 256
				c.FetchWorkers = 1
				limit := uint64(256) // the last boundary before the lie
				switch {
				case fault.Mode == ctlogtest.CorruptHash:
					limit = 0
				case fault.From == 599:
					limit = 512
				}
				st := runHalted(t, c)
				lied, other := st.Logs[0], st.Logs[1]
				if lied.State != "halted" || lied.Verified > limit {
					t.Errorf("the liar is %q, verified up to %d, the lie comes after %d: %s", lied.State, lied.Verified, limit, lied.Halted)
				}
				if other.State != "done" || other.Verified != other.Wanted {
					t.Errorf("the other log is %q: %+v", other.State, other)
				}
				if err := sink.check(honest.id, 0, 900); err != nil {
					t.Error(err)
				}
				found := readEvidence(t, c)
				if len(found) != 1 || len(found[0].Heads) == 0 || len(found[0].Heads[0].Raw) == 0 {
					t.Fatalf("evidence: %+v", found)
				}

				// The log behaves now. The halt stays, until an operator says otherwise.
				if err := liar.Faults().Set(); err != nil {
					t.Fatal(err)
				}
				cursor := lied.Spans[0].Cursor
				st = runHalted(t, c)
				if l := st.Logs[0]; l.State != "halted" || l.Spans[0].Cursor != cursor {
					t.Errorf("after a restart: %q, cursor %d, was %d", l.State, l.Spans[0].Cursor, cursor)
				}
				c.ResumeHalted = true
				st, _ = life(t, c, nil)
				checkDone(t, c, st, sink, log, honest)
			})
		}
	}
}

// A proof that is wrong once is asked for again.
func TestWrongProofOnce(t *testing.T) {
	for _, kind := range []ctlogtest.Kind{ctlogtest.RFC6962, ctlogtest.Static} {
		l := newLog(t, kind, 600)
		bubble(t, kind.String(), func(t *testing.T) {
			log, sink := dial(t, l), newMemSink()
			if err := l.Faults().Set(ctlogtest.Fault{Mode: ctlogtest.CorruptHash, Count: 1}); err != nil {
				t.Fatal(err)
			}
			c := bubbleConfig(t, sink, log)
			c.verifyEvery = 256
			st, _ := life(t, c, nil)
			checkDone(t, c, st, sink, log)
			if l.Faults().Fired()[ctlogtest.CorruptHash] != 1 {
				t.Error("the fault did not strike")
			}
		})
	}
}

// Two roots for one size halt the log, with both heads as they came; also
// when a restart lies between them.
func TestSplitView(t *testing.T) {
	for _, restart := range []bool{false, true} {
		l := newLog(t, ctlogtest.RFC6962, 600)
		bubble(t, fmt.Sprintf("restart=%v", restart), func(t *testing.T) {
			log, sink := dial(t, l), newMemSink()
			good, err := log.client.Head(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			c := bubbleConfig(t, sink, log)
			c.Logs[0].Spans[0].To = Forever
			c.UntilDone = false
			follow := func(until time.Duration, then func()) Status {
				ctx, cancel := context.WithTimeout(t.Context(), until+time.Minute)
				defer cancel()
				a, err := Open(c)
				if err != nil {
					t.Fatal(err)
				}
				defer a.Close()
				ended := make(chan error, 1)
				go func() { ended <- a.Run(ctx) }()
				time.Sleep(until)
				then()
				st := a.Status()
				cancel()
				if err := <-ended; err != nil {
					t.Error(err)
				}
				return st
			}
			split := func() {
				if err := l.Faults().Set(ctlogtest.Fault{Mode: ctlogtest.SplitView}); err != nil {
					t.Fatal(err)
				}
			}
			var st Status
			if restart {
				follow(30*time.Second, split)
				st = follow(30*time.Second, func() {})
			} else {
				st = follow(30*time.Second, func() { split(); time.Sleep(20 * time.Second) })
			}
			if s := st.Logs[0]; s.State != "halted" || s.Verified != 600 {
				t.Errorf("%q, verified %d", s.State, s.Verified)
			}
			found := readEvidence(t, c)
			if len(found) != 1 || len(found[0].Heads) != 2 {
				t.Fatalf("evidence: %+v", found)
			}
			a, b := found[0].Heads[0].Raw, found[0].Heads[1].Raw
			if len(a) == 0 || len(b) == 0 || bytes.Equal(a, b) || !bytes.Equal(a, good.Raw) {
				t.Errorf("heads:\n%s\n%s\ngood: %s", a, b, good.Raw)
			}
		})
	}
}

// A smaller head is a frontend that lags, not a lie.
func TestRolledBackHead(t *testing.T) {
	l := newLog(t, ctlogtest.RFC6962, 600)
	synctest.Test(t, func(t *testing.T) {
		log, sink := dial(t, l), newMemSink()
		if err := l.Faults().Set(ctlogtest.Fault{Mode: ctlogtest.RolledBack, N: 100, Rate: 0.5}); err != nil {
			t.Fatal(err)
		}
		c := bubbleConfig(t, sink, log)
		st, _ := life(t, c, nil)
		checkDone(t, c, st, sink, log)
	})
}

// Ranges that begin and end inside tiles are proven at both ends, and on the
// way; a lie inside is found.
func TestMidRanges(t *testing.T) {
	for _, kind := range []ctlogtest.Kind{ctlogtest.RFC6962, ctlogtest.Static} {
		l := newLog(t, kind, 900)
		for _, r := range [][2]uint64{{1, 2}, {100, 356}, {255, 257}, {256, 512}, {300, 899}, {300, 900}} {
			for _, lie := range []bool{false, true} {
				bubble(t, fmt.Sprintf("%v/%v/lie=%v", kind, r, lie), func(t *testing.T) {
					log, sink := dial(t, l), newMemSink()
					c := bubbleConfig(t, sink, log)
					c.verifyEvery = 256
					c.Logs[0].Spans = []Request{{From: r[0], To: r[1]}}
					if lie {
						if err := l.Faults().Set(ctlogtest.Fault{Mode: ctlogtest.CorruptEntry, From: r[1] - 1, To: r[1]}); err != nil {
							t.Fatal(err)
						}
						defer l.Faults().Set()
						if st := runHalted(t, c); st.Logs[0].Spans[0].Verified >= r[1] {
							t.Errorf("verified up to %d", st.Logs[0].Spans[0].Verified)
						}
						return
					}
					st, _ := life(t, c, nil)
					if err := sink.check(log.id, r[0], r[1]); err != nil {
						t.Error(err)
					}
					if v := st.Logs[0].Spans[0].Verified; v != r[1] {
						t.Errorf("verified up to %d", v)
					}
				})
			}
		}
	}
}

// A tail follows growth, waits for a partial tile to fill, and fetches it when
// it does not.
func TestTail(t *testing.T) {
	for _, kind := range []ctlogtest.Kind{ctlogtest.RFC6962, ctlogtest.Static} {
		l := newLog(t, kind, 300)
		bubble(t, kind.String(), func(t *testing.T) {
			log, sink := dial(t, l), newMemSink()
			c := bubbleConfig(t, sink, log)
			c.Logs[0].Spans = []Request{{From: 0, To: Forever}}
			c.UntilDone, c.PartialAge, c.PollInterval = false, time.Minute, 2*time.Second
			a := follow(t, c, sink)
			time.Sleep(20 * time.Second)
			want := map[ctlogtest.Kind]uint64{ctlogtest.RFC6962: 300, ctlogtest.Static: 256}[kind]
			if err := sink.check(log.id, 0, want); err != nil {
				t.Errorf("after 20 s: %v", err)
			}
			time.Sleep(90 * time.Second) // the partial tile had its time
			if err := sink.check(log.id, 0, 300); err != nil {
				t.Errorf("after 110 s: %v", err)
			}
			for range 5 {
				if err := l.Grow(130); err != nil {
					t.Fatal(err)
				}
				time.Sleep(10 * time.Second)
			}
			time.Sleep(90 * time.Second)
			if err := sink.check(log.id, 0, 950); err != nil {
				t.Errorf("grown: %v", err)
			}
			if s := a.Status().Logs[0]; s.State != "caught up" || s.Verified != 950 || s.Fetched != 950 {
				t.Errorf("%+v", s)
			}
			a.end()
		})
	}
}

// Whatever the transport does, every entry comes once, nothing is halted, and
// the memory that was booked for answers is given back.
func TestFetchFaults(t *testing.T) {
	data := ctlogtest.ClassData
	for name, fault := range map[string]ctlogtest.Fault{
		"short answers":   {Mode: ctlogtest.ShortAnswer, N: 7, Count: 5},
		"empty answers":   {Mode: ctlogtest.EmptyAnswer, Count: 5},
		"extra entries":   {Mode: ctlogtest.ExtraEntries, Count: 3},
		"429":             {Mode: ctlogtest.Status, On: data, Status: 429, Count: 3},
		"429 seconds":     {Mode: ctlogtest.Status, On: data, Status: 429, RetryAfter: ctlogtest.RetrySeconds, RetryIn: 3 * time.Second, Count: 3},
		"429 date":        {Mode: ctlogtest.Status, On: data, Status: 429, RetryAfter: ctlogtest.RetryDate, RetryIn: 3 * time.Second, Count: 3},
		"429 UTC date":    {Mode: ctlogtest.Status, On: data, Status: 429, RetryAfter: ctlogtest.RetryUTC, RetryIn: 3 * time.Second, Count: 3},
		"429 junk":        {Mode: ctlogtest.Status, On: data, Status: 429, RetryAfter: ctlogtest.RetryJunk, Count: 3},
		"503 everywhere":  {Mode: ctlogtest.Status, Count: 3},
		"resets":          {Mode: ctlogtest.Reset, N: 100, Count: 3},
		"truncated gzip":  {Mode: ctlogtest.TruncatedGzip, On: data, Count: 3},
		"HTML":            {Mode: ctlogtest.HTML, Count: 3},
		"redirects":       {Mode: ctlogtest.Redirect, Count: 3},
		"endless bodies":  {Mode: ctlogtest.EndlessBody, N: 100 << 20, On: ctlogtest.ClassHead, Count: 2},
		"bad signatures":  {Mode: ctlogtest.BadSignature, Count: 3},
		"wrong key":       {Mode: ctlogtest.WrongKey, Count: 3},
		"slow":            {Mode: ctlogtest.Latency, Delay: 10 * time.Second, Count: 3},
		"issuers missing": {Mode: ctlogtest.MissingIssuer},
		"issuers wrong":   {Mode: ctlogtest.WrongIssuer},
	} {
		for _, kind := range []ctlogtest.Kind{ctlogtest.RFC6962, ctlogtest.Static} {
			if kind == ctlogtest.RFC6962 && strings.HasPrefix(name, "issuers") {
				continue
			}
			l := sharedLog(t, kind)
			bubble(t, fmt.Sprintf("%s/%v", name, kind), func(t *testing.T) {
				log, sink := dial(t, l), newMemSink()
				if err := l.Faults().Set(fault); err != nil {
					t.Fatal(err)
				}
				defer l.Faults().Set()
				before := l.Faults().Fired()[fault.Mode]
				c := bubbleConfig(t, sink, log)
				c.UntilDone = true
				ctx, cancel := context.WithTimeout(t.Context(), 12*time.Hour)
				defer cancel()
				a, err := Open(c)
				if err != nil {
					t.Fatal(err)
				}
				defer a.Close()
				if err := a.Run(ctx); err != nil || ctx.Err() != nil {
					t.Fatalf("%v, %+v", err, a.Status())
				}
				if l.Faults().Fired()[fault.Mode] == before {
					t.Error("the fault did not strike")
				}
				if err := sink.check(log.id, 0, 900); err != nil {
					t.Error(err)
				}
				if !a.fetchMemory.TryAcquire(a.c.FetchMemory) {
					t.Error("memory of answers is still booked")
				}
				if strings.HasPrefix(name, "issuers") && len(sink.issuers) != 0 {
					t.Errorf("%d issuers", len(sink.issuers))
				}
			})
		}
	}
}

// A log that is halted in the middle of a leg gives its memory back: it is
// that of all logs.
func TestHaltReleasesMemory(t *testing.T) {
	l := newLog(t, ctlogtest.RFC6962, 900)
	synctest.Test(t, func(t *testing.T) {
		log, sink := dial(t, l), newMemSink()
		if err := l.Faults().Set(ctlogtest.Fault{Mode: ctlogtest.Status, On: ctlogtest.ClassData, Status: 500, From: 400, To: 900}); err != nil {
			t.Fatal(err)
		}
		c := bubbleConfig(t, sink, log)
		a, err := Open(c)
		if err != nil {
			t.Fatal(err)
		}
		defer a.Close()
		ended := make(chan error, 1)
		go func() { ended <- a.Run(t.Context()) }()
		time.Sleep(30 * time.Second)
		a.following()[0].halt(&VerifyError{Log: "test", Reason: "test"})
		if err := <-ended; err == nil {
			t.Error("the backfill of a halted log succeeded")
		}
		if !a.fetchMemory.TryAcquire(a.c.FetchMemory) {
			t.Error("memory of answers is still booked")
		}
		if err := sink.check(log.id, 0, a.Status().Logs[0].Spans[0].Cursor); err != nil {
			t.Error(err)
		}
	})
}

// gaveUp is a log that is halted while its third request is under way, when
// those behind it have been answered.
type gaveUp struct {
	ctlog.Log
	at   uint64
	halt func()
}

func (g *gaveUp) Entries(ctx context.Context, from, to, size uint64) (*ctlog.Batch, error) {
	if from == g.at {
		time.Sleep(time.Second) // the ones behind it are ready
		g.halt()
		return nil, errors.New("gave up")
	}
	return g.Log.Entries(ctx, from, to, size)
}

// What lies behind a request that was given up is never appended.
func TestNothingBehindAGap(t *testing.T) {
	l := sharedLog(t, ctlogtest.RFC6962)
	for range 20 {
		synctest.Test(t, func(t *testing.T) {
			log, sink := dial(t, l), newMemSink()
			c := bubbleConfig(t, sink, log)
			gives := &gaveUp{Log: log.client, at: 128}
			c.Logs[0].Log = gives
			a, err := Open(c)
			if err != nil {
				t.Fatal(err)
			}
			defer a.Close()
			gives.halt = func() { a.following()[0].halt(&VerifyError{Log: "test", Kind: KindTooLarge, Reason: "test"}) }
			if err := a.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "halted") {
				t.Errorf("the backfill ended with %v", err)
			}
			st := a.Status()
			if s := st.Logs[0].Spans[0]; s.Cursor != 128 || s.Delivered != 128 {
				t.Errorf("%+v", s)
			}
			if err := sink.check(log.id, 0, 128); err != nil {
				t.Error(err)
			}
		})
	}
}

// A task whose worker gave up keeps the ones behind it waiting until the leg
// has ended.
func TestShortTaskWaitsForTheEnd(t *testing.T) {
	l := sharedLog(t, ctlogtest.RFC6962)
	synctest.Test(t, func(t *testing.T) {
		log := dial(t, l)
		a, err := Open(bubbleConfig(t, newMemSink(), log))
		if err != nil {
			t.Fatal(err)
		}
		defer a.Close()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		short := &task{from: 0, to: 64, out: make(chan fetched)}
		close(short.out)
		ended := make(chan error, 1)
		go func() {
			ended <- (&conductor{f: a.following()[0], s: &span{to: 900}}).appendTask(ctx, short)
		}()
		synctest.Wait()
		select {
		case err := <-ended:
			t.Errorf("it ended before the leg did: %v", err)
		default:
			cancel()
			if err := <-ended; !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		}
	})
}

// Rows that an honest server acknowledged and lost before the WAL was trimmed
// come back from the WAL, with an alarm (I3). Tokens that the server remembers
// for rows that it lost do not stand in the way.
func TestServerRolledBack(t *testing.T) {
	l := sharedLog(t, ctlogtest.RFC6962)
	for _, dedup := range []bool{false, true} {
		for _, restart := range []bool{false, true} {
			bubble(t, fmt.Sprintf("dedup=%v/restart=%v", dedup, restart), func(t *testing.T) {
				log, sink := dial(t, l), newMemSink()
				sink.dedup = dedup
				c := bubbleConfig(t, sink, log)
				lost, proofs := 0, 0
				roll := func() {
					for k := range sink.ledger {
						if k.index%7 == 3 {
							delete(sink.ledger, k)
							lost++
						}
					}
				}
				sink.fail = func(op string, _ *schema.Flush) error {
					if op == "prove" {
						if proofs++; proofs == 2 && !restart {
							roll() // before the second segment is counted
						}
					}
					return nil
				}
				if restart {
					c.WAL.SegmentSize = 1 << 20 // the first life trims nothing
					life(t, c, nth("delivered", 3))
					roll()
					c.WAL.SegmentSize = 64 << 10
				}
				st, _ := life(t, c, nil)
				if lost == 0 || !hasAlarm(st, "lost") {
					t.Errorf("%d rows lost, alarms %q", lost, st.Alarms)
				}
				// What lay in a segment that is still there when the run ends has
				// not been counted yet; what was trimmed is there.
				for i := uint64(0); i < firstKept(t, c, log); i++ {
					if n := sink.ledger[entryKey{log.id, i}]; n != 1 && (restart || n != 0 || i%7 != 3) {
						t.Errorf("entry %d is there %d times", i, n)
					}
				}
			})
		}
	}
}

// firstKept returns the first index that the WAL still holds.
func firstKept(t *testing.T, c Config, log *testLog) uint64 {
	t.Helper()
	a, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	r := a.wal.Reader(a.wal.First())
	defer r.Close()
	rec, err := r.Next()
	if err != nil {
		return log.Size()
	}
	_, from, _, err := RecordRange(rec.Payload)
	if err != nil {
		t.Fatal(err)
	}
	return from
}

// A store that is away just when segments are to be proven does not let the
// WAL fill up for ever: there may be no later flush to try again after.
func TestStoreAwayAtTrim(t *testing.T) {
	l := sharedLog(t, ctlogtest.RFC6962)
	synctest.Test(t, func(t *testing.T) {
		log, sink := dial(t, l), newMemSink()
		c := bubbleConfig(t, sink, log)
		c.WAL.Budget = 130 << 10 // two segments
		away := time.Now().Add(10 * time.Minute)
		refused := 0
		sink.fail = func(op string, _ *schema.Flush) error {
			if op == "prove" && time.Now().Before(away) {
				refused++
				return errors.New("away")
			}
			return nil
		}
		st, _ := life(t, c, nil)
		checkDone(t, c, st, sink, log)
		if refused == 0 || time.Now().Before(away) {
			t.Errorf("%d proofs refused, done at %v", refused, time.Now())
		}
		if st.Delivery.Trouble != "" {
			t.Errorf("trouble: %s", st.Delivery.Trouble)
		}
	})
}

// A log that gives little is proven all the same while it gives: every
// VerifyAge, not only at the end of what it has to give.
func TestSlowLogIsProvenOnTheWay(t *testing.T) {
	for _, slow := range []struct {
		kind  ctlogtest.Kind
		size  uint64
		delay time.Duration
	}{{ctlogtest.RFC6962, 64 * 60, 5 * time.Second}, {ctlogtest.Static, 256 * 30, 10 * time.Second}} { // up to 10 s a task
		kind := slow.kind
		l := newLog(t, kind, slow.size)
		if err := l.Faults().Set(ctlogtest.Fault{Mode: ctlogtest.Latency, On: ctlogtest.ClassData, Delay: slow.delay}); err != nil {
			t.Fatal(err)
		}
		bubble(t, kind.String(), func(t *testing.T) {
			c := bubbleConfig(t, newMemSink(), dial(t, l))
			c.FetchWorkers, c.VerifyAge = 1, time.Minute
			ctx, cancel := context.WithCancel(t.Context())
			a, err := Open(c)
			if err != nil {
				t.Fatal(err)
			}
			defer a.Close()
			ended := make(chan error, 1)
			go func() { ended <- a.Run(ctx) }()
			time.Sleep(10 * legTasks * time.Second)
			time.Sleep(45 * time.Second)
			synctest.Wait()
			if s := a.Status().Logs[0].Spans[0]; s.Verified == 0 || s.Cursor == slow.size {
				t.Errorf("after four minutes: cursor %d, verified %d", s.Cursor, s.Verified)
			}
			cancel()
			<-ended
		})
	}
}
