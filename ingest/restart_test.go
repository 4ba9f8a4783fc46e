package ingest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"

	"ctappliance/checkpoint"
	"ctappliance/ingest/chain"
	"ctappliance/ingest/ctlog/ctlogtest"
	"ctappliance/schema"
)

// steps is every name that Config.Step is called with in these runs.
var steps = []string{"wal-written", "wal-synced", "wal-rotate", "wal-trim", "intent", "dependents", "ledger", "acknowledged", "delivered", "trim"}

// A life that ends at any step is followed by one that leaves every entry in
// the ledger once (I2, I4), with the server's tokens and without.
func TestStopAtEveryStep(t *testing.T) {
	for _, kind := range []ctlogtest.Kind{ctlogtest.RFC6962, ctlogtest.Static} {
		l := sharedLog(t, kind)
		seen := map[string]int{}
		for _, dedup := range []bool{false, true} {
			for _, step := range steps {
				for _, n := range []int{1, 2, 5} {
					hit := false
					bubble(t, fmt.Sprintf("%v/dedup=%v/%s/%d", kind, dedup, step, n), func(t *testing.T) {
						log, sink := dial(t, l), newMemSink()
						sink.dedup = dedup
						c := bubbleConfig(t, sink, log)
						_, hit = life(t, c, nth(step, n))
						st, _ := life(t, c, nil)
						checkDone(t, c, st, sink, log)
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
		for _, step := range steps {
			if seen[step] == 0 {
				t.Errorf("%v: no run came to %q", kind, step)
			}
		}
	}
}

func nth(step string, n int) func(string) bool {
	return func(at string) bool {
		if at == step {
			n--
		}
		return n == 0
	}
}

var errKilled = errors.New("killed")

// faults of the k-th call to the sink, at which the life ends.
var sinkFaults = map[string]func(s *memSink, strike func() bool){
	"did not happen": func(s *memSink, strike func() bool) {
		s.fail = func(string, *schema.Flush) error {
			if strike() {
				return errKilled
			}
			return nil
		}
	},
	"happened and said it failed": func(s *memSink, strike func() bool) {
		s.failed = func(string, *schema.Flush) error {
			if strike() {
				return errKilled
			}
			return nil
		}
	},
	// The insert takes effect after the client has gone: at the latest when it
	// is fenced.
	"happens late": func(s *memSink, strike func() bool) { s.late = func(string, *schema.Flush) bool { return strike() } },
}

// The k-th call to the sink, whichever it is, is the last of a life.
func TestStopAtEverySinkCall(t *testing.T) {
	l := sharedLog(t, ctlogtest.RFC6962)
	for name, arm := range sinkFaults {
		for _, dedup := range []bool{false, true} {
			calls := 0
			for k := 1; ; k++ {
				hit := false
				bubble(t, fmt.Sprintf("%s/dedup=%v/%d", name, dedup, k), func(t *testing.T) {
					log, sink := dial(t, l), newMemSink()
					sink.dedup = dedup
					n, dead := 0, make(chan struct{})
					arm(sink, func() bool {
						if n++; n == k {
							close(dead)
						}
						return n >= k
					})
					c := bubbleConfig(t, sink, log)
					// The appliance learns of its death at its next step.
					_, hit = life(t, c, func(string) bool {
						select {
						case <-dead:
							return true
						default:
							return false
						}
					})
					sink.mend()
					st, _ := life(t, c, nil)
					checkDone(t, c, st, sink, log)
				})
				if !hit {
					break
				}
				calls++
			}
			if calls < 5 {
				t.Errorf("%s: struck %d calls only", name, calls)
			}
		}
	}
}

// What happens to a data directory between two lives, and what is true
// afterwards all the same: every entry once.
var mishaps = map[string]struct {
	do    func(t *testing.T, dir string) bool // false: there was nothing to do
	lossy bool                                // what an audit sees is lost with it: subtree roots, issuers of rows
}{
	"nothing":            {do: func(*testing.T, string) bool { return true }},
	"checkpoint deleted": {do: func(t *testing.T, dir string) bool { return remove(t, filepath.Join(dir, checkpoint.FileName)) }},
	"checkpoint damaged": {do: func(t *testing.T, dir string) bool {
		for at := 40; at < 8192; at += 512 {
			flip(t, filepath.Join(dir, checkpoint.FileName), at)
		}
		return true
	}},
	"WAL deleted":    {do: func(t *testing.T, dir string) bool { return remove(t, WALDir(dir)) }, lossy: true},
	"chains deleted": {do: func(t *testing.T, dir string) bool { return remove(t, filepath.Join(dir, chain.FileName)) }, lossy: true},
	"chains damaged": {do: func(t *testing.T, dir string) bool {
		if info, err := os.Stat(filepath.Join(dir, chain.FileName)); err != nil || info.Size() < 100 {
			return false
		}
		flip(t, filepath.Join(dir, chain.FileName), 30)
		return true
	}, lossy: true},
	"roots deleted": {do: func(t *testing.T, dir string) bool { return remove(t, RootsDir(dir)) }, lossy: true},
}

func remove(t *testing.T, path string) bool {
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
	return true
}

func TestMishaps(t *testing.T) {
	l := sharedLog(t, ctlogtest.RFC6962)
	for name, m := range mishaps {
		for _, step := range []string{"wal-synced", "wal-rotate", "intent", "ledger", "acknowledged", "delivered", "trim"} {
			struck := 0
			for _, n := range []int{1, 4} {
				bubble(t, fmt.Sprintf("%s/%s/%d", name, step, n), func(t *testing.T) {
					log, sink := dial(t, l), newMemSink()
					c := bubbleConfig(t, sink, log)
					c.RingMemory = 1 // everything is read from the WAL
					if _, hit := life(t, c, nth(step, n)); !hit {
						return
					}
					if !m.do(t, c.Dir) {
						return
					}
					struck++
					st, _ := life(t, c, nil)
					checkDone(t, c, st, sink, log)
					f := auditAll(t, c, st, sink, log)
					if f.Missing+f.Doubled > 0 || len(f.Problems) > 0 && !m.lossy {
						t.Errorf("audit: %+v", f)
					}
				})
			}
			if struck == 0 && step != "wal-synced" && step != "intent" {
				t.Errorf("%s at %s: never struck", name, step)
			}
		}
	}
}

// A second data directory on the same ledger counts before it inserts.
func TestSecondDataDirectory(t *testing.T) {
	l := sharedLog(t, ctlogtest.RFC6962)
	for _, n := range []int{1, 3, 5, 100} {
		bubble(t, fmt.Sprint(n), func(t *testing.T) {
			log, sink := dial(t, l), newMemSink()
			c := bubbleConfig(t, sink, log)
			life(t, c, nth("acknowledged", n))
			c.Dir = fastDir(t)
			st, _ := life(t, c, nil)
			checkDone(t, c, st, sink, log)
		})
	}
}

// Stretches of the WAL that were acknowledged and cannot be read become repair
// spans, are fetched again and counted before they are inserted, also when the
// checkpoint is gone too.
func TestWALDamage(t *testing.T) {
	l := sharedLog(t, ctlogtest.RFC6962)
	for delivered := range 3 { // flushes that come through before the store goes away
		for segment := range 3 {
			for _, lost := range []bool{false, true} {
				bubble(t, fmt.Sprintf("delivered=%d/segment=%d/checkpoint lost=%v", delivered, segment, lost), func(t *testing.T) {
					log, sink := dial(t, l), newMemSink()
					c := bubbleConfig(t, sink, log)
					c.RingMemory = 1
					flushes := 0
					sink.fail = func(op string, _ *schema.Flush) error {
						if op == "ledger" {
							flushes++
						}
						if flushes > delivered {
							return errKilled
						}
						return nil
					}
					if _, hit := life(t, c, nth("wal-rotate", 6)); !hit {
						t.Fatal("the WAL is too small for this test")
					}
					sink.mend()
					all := segments(t, c.Dir)
					if segment+1 >= len(all) {
						t.Skip("trimmed")
					}
					for at := 4 << 10; at < 56<<10; at += 100 {
						flip(t, all[segment], at)
					}
					if lost {
						remove(t, filepath.Join(c.Dir, checkpoint.FileName))
					}
					log.ResetStats()
					st, _ := life(t, c, nil)
					checkDone(t, c, st, sink, log)
					if f := auditAll(t, c, st, sink, log); f.Missing+f.Doubled > 0 {
						t.Errorf("audit: %+v", f)
					}
					repaired := uint64(0)
					for _, s := range st.Logs[0].Spans {
						if s.Kind == checkpoint.KindRepair {
							repaired += s.To - s.From
						}
					}
					if repaired == 0 || !hasAlarm(st, "fetched again") {
						t.Errorf("%d entries repaired, alarms %q", repaired, st.Alarms)
					}
				})
			}
		}
	}
}

// A damaged chain store brings the rows less, never an entry, and says so.
func TestChainDamageIsSaid(t *testing.T) {
	l := sharedLog(t, ctlogtest.RFC6962)
	synctest.Test(t, func(t *testing.T) {
		log, sink := dial(t, l), newMemSink()
		c := bubbleConfig(t, sink, log)
		life(t, c, nil)
		flip(t, filepath.Join(c.Dir, chain.FileName), 30)
		st, _ := life(t, c, nil)
		if !hasAlarm(st, "chain store was damaged") {
			t.Errorf("alarms: %q", st.Alarms)
		}
	})
}
