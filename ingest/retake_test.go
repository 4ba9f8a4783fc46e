package ingest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ctappliance/checkpoint"
	"ctappliance/ingest/ctlog/ctlogtest"
	"ctappliance/schema"
)

// Remove is the sink's part of taking out what a log did not vouch for.
func (s *memSink) Remove(_ context.Context, r schema.Range) (rows uint64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.begin("remove", nil); err != nil {
		return 0, err
	}
	for k, n := range s.ledger {
		if k.log == r.Log && k.index >= r.From && k.index < r.To {
			rows += uint64(n)
			delete(s.ledger, k)
			delete(s.rows, k)
		}
	}
	return rows, s.end("remove", nil)
}

// truth is what the rows of a log must be: those of a backfill without lies.
func truth(t *testing.T, l *ctlogtest.Log) map[entryKey]schema.Row {
	t.Helper()
	log, sink := dial(t, l), newMemSink()
	c := bubbleConfig(t, sink, log)
	c.Dir = t.TempDir()
	life(t, c, nil)
	return sink.rows
}

// equalRows says where the ledger is not the truth.
func equalRows(have, want map[entryKey]schema.Row) error {
	for k, w := range want {
		if h := have[k]; h.TBSID != w.TBSID || h.Timestamp != w.Timestamp || h.Fingerprint != w.Fingerprint {
			return fmt.Errorf("entry %d is not what the log signed", k.index)
		}
	}
	if len(have) != len(want) {
		return fmt.Errorf("%d rows, %d entries", len(have), len(want))
	}
	return nil
}

// A log that served something wrong once, a cache perhaps, is whole again after
// the operator's word: what it had not vouched for is taken out and fetched
// again, wherever a life or the store ends in the middle of it. The word is
// given once.
func TestRetake(t *testing.T) {
	for _, kind := range []ctlogtest.Kind{ctlogtest.RFC6962, ctlogtest.Static} {
		l := newLog(t, kind, 900)
		var want map[entryKey]schema.Row
		synctest.Test(t, func(t *testing.T) { want = truth(t, l) })
		seen := map[string]int{}
		for _, away := range []bool{false, true} {
			for _, dedup := range []bool{false, true} {
				for _, step := range append([]string{"", "swept"}, steps...) {
					for _, n := range []int{1, 3} {
						hit := false
						bubble(t, fmt.Sprintf("%v/away=%v/dedup=%v/%s/%d", kind, away, dedup, step, n), func(t *testing.T) {
							c, sink, log := haltedBackfill(t, l, dedup, away)
							if err := equalRows(sink.rows, want); err == nil {
								t.Fatal("the lie did not strike")
							}
							c.ResumeHalted = true
							if step != "" {
								_, hit = life(t, c, nth(step, n))
								c.ResumeHalted = false
							}
							st, _ := life(t, c, nil)
							checkDone(t, c, st, sink, log)
							if err := equalRows(sink.rows, want); err != nil {
								t.Error(err)
							}
							if found := auditAll(t, c, st, sink, log); len(found.Problems) > 0 || found.Missing+found.Doubled > 0 {
								t.Errorf("the audit finds %+v", found)
							}
							if len(st.Alarms) > 0 {
								t.Errorf("alarms: %q", st.Alarms)
							}
						})
						if !hit {
							break
						}
						seen[step]++
					}
				}
			}
		}
		for _, step := range append([]string{"swept"}, steps...) {
			if seen[step] == 0 {
				t.Errorf("%v: no life ended at %s", kind, step)
			}
		}
	}
}

// A store that fails in the middle of taking out is asked again; nothing goes
// in before it has said that the rows are gone.
func TestRetakeStoreFails(t *testing.T) {
	l := newLog(t, ctlogtest.RFC6962, 900)
	var want map[entryKey]schema.Row
	synctest.Test(t, func(t *testing.T) { want = truth(t, l) })
	for _, after := range []bool{false, true} {
		bubble(t, fmt.Sprintf("after=%v", after), func(t *testing.T) {
			c, sink, log := haltedBackfill(t, l, false, false)
			fails := 0
			fault := func(op string, f *schema.Flush) error {
				if op == "remove" && fails < 3 {
					fails++
					return errors.New("not enough privileges")
				}
				if op == "ledger" && fails < 3 {
					t.Error("an insert went before the removal")
				}
				return nil
			}
			if after {
				sink.failed = fault
			} else {
				sink.fail = fault
			}
			c.ResumeHalted = true
			st, _ := life(t, c, nil)
			checkDone(t, c, st, sink, log)
			if err := equalRows(sink.rows, want); err != nil || fails != 3 {
				t.Error(err, fails)
			}
		})
	}
}

// A log that goes on lying is halted again, and what it served then comes out
// too once it tells the truth.
func TestRetakeAgain(t *testing.T) {
	l := newLog(t, ctlogtest.Static, 900)
	synctest.Test(t, func(t *testing.T) {
		want := truth(t, l)
		log, sink := dial(t, l), newMemSink()
		c := bubbleConfig(t, sink, log)
		c.verifyEvery = 256
		if err := l.Faults().Set(wrongEntry); err != nil {
			t.Fatal(err)
		}
		haltedBy(t, c, sink, false)
		c.ResumeHalted = true
		for range 2 {
			if st := runHalted(t, c); st.Logs[0].State != "halted" || st.Logs[0].Verified > 256 {
				t.Errorf("over a lie that goes on: %+v", st.Logs[0])
			}
		}
		if err := l.Faults().Set(); err != nil {
			t.Fatal(err)
		}
		st, _ := life(t, c, nil)
		checkDone(t, c, st, sink, log)
		if err := equalRows(sink.rows, want); err != nil {
			t.Error(err)
		}
	})
}

// A checkpoint that is lost in the middle of it loses nothing, and doubles
// nothing: the WAL shows which span was replaced.
func TestRetakeLostCheckpoint(t *testing.T) {
	l := newLog(t, ctlogtest.RFC6962, 900)
	var want map[entryKey]schema.Row
	synctest.Test(t, func(t *testing.T) { want = truth(t, l) })
	for _, away := range []bool{false, true} {
		for n := 1; n <= 6; n++ {
			bubble(t, fmt.Sprintf("away=%v/%d", away, n), func(t *testing.T) {
				c, sink, log := haltedBackfill(t, l, false, away)
				c.ResumeHalted = true
				life(t, c, nth("delivered", n))
				if err := os.Remove(filepath.Join(c.Dir, checkpoint.FileName)); err != nil {
					t.Fatal(err)
				}
				// Where nothing of the new span had reached the WAL, nobody knows of it:
				// the old one is halted again, and the word is given again.
				if st := lastStatus(t, c); st.Logs[0].State == "halted" {
					if n > 2 {
						t.Errorf("halted again: %+v", st.Logs[0])
					}
				}
				st, _ := life(t, c, nil)
				checkDone(t, c, st, sink, log)
				if err := equalRows(sink.rows, want); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// lastStatus is the status with which a backfill ends, however it does.
func lastStatus(t *testing.T, c Config) Status {
	t.Helper()
	a, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	_ = a.Run(t.Context()) // a halted log is an error
	return a.Status()
}

// Repairs of a halted log are taken out with the part of their parent that is,
// and by themselves where it is not.
func TestRetakeRepairs(t *testing.T) {
	reason := "it lied"
	for _, c := range []struct {
		verified, cursor          uint64 // of the parent, [0, 1000)
		from, to, proven, reached uint64 // of the repair
		want                      string
	}{
		{400, 600, 100, 200, 100, 150, "[0,400) [100,100) sweep[100,200) sweep[400,1000)"},
		{400, 600, 100, 200, 200, 200, "[0,400) [100,200) sweep[400,1000)"},
		{400, 600, 450, 500, 450, 480, "[0,400) [450,450) sweep[400,1000)"},
		{400, 600, 300, 500, 300, 500, "[0,400) [300,300) sweep[300,400) sweep[400,1000)"},
		{400, 600, 300, 500, 400, 500, "[0,400) [300,400) sweep[400,1000)"},
		{600, 600, 100, 200, 100, 150, "[0,1000) [100,100) sweep[100,200)"},
		{600, 600, 100, 200, 150, 150, "[0,1000) [100,200)"},
	} {
		synctest.Test(t, func(t *testing.T) {
			log := dial(t, sharedLog(t, ctlogtest.RFC6962))
			a, err := Open(bubbleConfig(t, newMemSink(), log))
			if err != nil {
				t.Fatal(err)
			}
			defer a.Close()
			id := log.client.Info().ID
			parent := a.spans.add(id, checkpoint.KindBackfill, 0, 1000)
			parent.verified.Store(c.verified)
			parent.cursor.Store(c.cursor)
			repair := a.spans.add(id, checkpoint.KindRepair, c.from, c.to)
			repair.verified.Store(c.proven)
			repair.cursor.Store(c.reached)
			for _, s := range []*span{parent, repair} {
				s.halted.Store(&reason)
			}
			a.retake()
			var parts []string
			for _, s := range a.spans.all() {
				part := fmt.Sprintf("[%d,%d)", s.from, s.to)
				if s.sweep.Load() {
					part = "sweep" + part
				}
				parts = append(parts, part)
			}
			slices.Sort(parts)
			if got := strings.Join(parts, " "); got != c.want {
				t.Errorf("%+v: %s", c, got)
			}
		})
	}
}

// A store that was started anew has the rows of untrimmed segments written
// again: all but those that were taken out.
func TestRetakeStoreStartedAnew(t *testing.T) {
	for _, kind := range []ctlogtest.Kind{ctlogtest.RFC6962, ctlogtest.Static} {
		l := newLog(t, kind, 900)
		synctest.Test(t, func(t *testing.T) {
			want := truth(t, l)
			log, sink := dial(t, l), newMemSink()
			c := bubbleConfig(t, sink, log)
			c.verifyEvery = 256
			if err := l.Faults().Set(wrongEntry); err != nil {
				t.Fatal(err)
			}
			sink.fail = func(op string, _ *schema.Flush) error {
				if op == "prove" {
					return errors.New("away") // nothing is trimmed
				}
				return nil
			}
			haltedBy(t, c, sink, false)
			sink.mend()
			// The segments are written again and trimmed before anything new comes.
			if err := l.Faults().Set(ctlogtest.Fault{Mode: ctlogtest.Status, On: ctlogtest.ClassData}); err != nil {
				t.Fatal(err)
			}
			sink.epoch++
			before := sink.calls["dependents"]
			c.ResumeHalted, c.UntilDone = true, false
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute) // one segment at a time
			defer cancel()
			a, err := Open(c)
			if err != nil {
				t.Fatal(err)
			}
			old := len(a.wal.Segments())
			if err := a.Run(ctx); err != nil && ctx.Err() == nil {
				t.Error(err)
			}
			if left := len(a.wal.Segments()); left > 2 {
				t.Errorf("%d segments are left of %d", left, old)
			}
			if err := a.Close(); err != nil {
				t.Error(err)
			}
			if sink.calls["dependents"] == before {
				t.Error("nothing was written again")
			}
			if err := l.Faults().Set(); err != nil {
				t.Fatal(err)
			}
			c.ResumeHalted, c.UntilDone = false, true
			st, _ := life(t, c, nil)
			checkDone(t, c, st, sink, log)
			if err := equalRows(sink.rows, want); err != nil {
				t.Error(err)
			}
		})
	}
}
