package ingest

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"ctappliance/checkpoint"
	"ctappliance/ingest/ctlog/ctlogtest"
	"ctappliance/schema"
	"ctappliance/wal"
)

// copyTree copies a directory, replacing what is there.
func copyTree(t *testing.T, from, to string) {
	t.Helper()
	if err := os.RemoveAll(to); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}

// oldCopies are the parts of a data directory that an operator, or a virtual
// machine, brings back from a copy made some time ago.
var oldCopies = map[string][]string{
	"all":        {"."},
	"checkpoint": {checkpoint.FileName},
	"WAL":        {"wal"},
	"WAL, roots": {"wal", "roots"},
}

// A data directory that is older than the ledger doubles nothing and loses
// nothing, whichever part of it is old. Tokens of flushes that the copy knows
// nothing of do not swallow the rows of others.
func TestOldCopies(t *testing.T) {
	l := sharedLog(t, ctlogtest.RFC6962)
	for name, parts := range oldCopies {
		for _, dedup := range []bool{false, true} {
			for _, when := range [][2]int{{1, 1}, {1, 3}, {2, 100}} {
				bubble(t, fmt.Sprintf("%s/dedup=%v/%d then %d", name, dedup, when[0], when[1]), func(t *testing.T) {
					log, sink := dial(t, l), newMemSink()
					sink.dedup = dedup
					c := bubbleConfig(t, sink, log)
					life(t, c, nth("delivered", when[0]))
					copied := fastDir(t)
					copyTree(t, c.Dir, copied)
					life(t, c, nth("delivered", when[1]))
					before := sink.count()
					for _, part := range parts {
						if info, err := os.Stat(filepath.Join(copied, part)); err != nil {
							t.Fatal(err)
						} else if info.IsDir() {
							copyTree(t, filepath.Join(copied, part), filepath.Join(c.Dir, part))
							continue
						}
						body, err := os.ReadFile(filepath.Join(copied, part))
						if err != nil {
							t.Fatal(err)
						}
						if err := os.WriteFile(filepath.Join(c.Dir, part), body, 0o600); err != nil {
							t.Fatal(err)
						}
					}
					st, _ := life(t, c, nil)
					checkDone(t, c, st, sink, log)
					if hasAlarm(st, "ledger") {
						t.Errorf("alarms: %q", st.Alarms)
					}
					if before == 0 {
						t.Error("nothing was in the ledger when the copy came back")
					}
				})
			}
		}
	}
}

// A store that was started anew and came back without some rows of the tables
// that nobody counts gets them again before the WAL lets go of them (I3).
func TestStoreStartedAnew(t *testing.T) {
	l := sharedLog(t, ctlogtest.RFC6962)
	for _, at := range []string{"intent", "dependents", "ledger", "acknowledged", "delivered", "after all"} {
		for _, restart := range []bool{false, true} {
			lost := 0
			for nth := 1; nth <= 5; nth++ {
				bubble(t, fmt.Sprintf("%s/restart=%v/%d", at, restart, nth), func(t *testing.T) {
					log, sink := dial(t, l), newMemSink()
					c := bubbleConfig(t, sink, log)
					n := 0
					life(t, c, func(step string) bool {
						if step == at {
							n++
						}
						if step != at || n != nth {
							return false
						}
						lost += sink.startAnew(firstOfWAL(t, c))
						return restart
					})
					if at == "after all" {
						lost += sink.startAnew(firstOfWAL(t, c))
					} else {
						life(t, c, nil)
					}
					for firstOfWAL(t, c) != math.MaxUint64 {
						trimAll(t, c)
					}
					size, _, _ := log.Head()
					for i := range size {
						if k := (entryKey{log.id, i}); sink.ledger[k] != 1 || !sink.dependents[k] {
							t.Fatalf("entry %d: %d times in the ledger, dependents %v", i, sink.ledger[k], sink.dependents[k])
						}
					}
				})
			}
			if lost == 0 {
				t.Errorf("%s/restart=%v: nothing was ever lost", at, restart)
			}
		}
	}
}

// startAnew begins another life of the store, which has lost the dependents of
// all entries from index from on. What was trimmed is its own to keep.
func (s *memSink) startAnew(from uint64) (lost int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.epoch++
	for k := range s.dependents {
		if k.index >= from {
			delete(s.dependents, k)
			lost++
		}
	}
	return lost
}

// A store that comes back older than the marks is noticed at once, before
// anything else is delivered, and gets the difference again: from the WAL what
// it has, from the log what was trimmed.
func TestStoreOlderThanMarks(t *testing.T) {
	l := sharedLog(t, ctlogtest.RFC6962)
	for _, kept := range []uint64{0, 1, 500, 899} {
		bubble(t, fmt.Sprint(kept), func(t *testing.T) {
			log, sink := dial(t, l), newMemSink()
			c := bubbleConfig(t, sink, log)
			life(t, c, nil)
			for firstOfWAL(t, c) != math.MaxUint64 {
				trimAll(t, c)
			}
			for k := range sink.ledger {
				if k.index >= kept {
					delete(sink.ledger, k)
				}
			}
			sink.slow = 10 * time.Second // longer than it takes to find that nothing is left to fetch
			st, _ := life(t, c, nil)
			checkDone(t, c, st, sink, log)
			if !hasAlarm(st, "older than it was") {
				t.Errorf("alarms: %q", st.Alarms)
			}
			st, _ = life(t, c, nil)
			if len(st.Alarms) > 0 {
				t.Errorf("alarms when all is well again: %q", st.Alarms)
			}
		})
	}
}

// firstOfWAL returns the first index that the segment files still hold.
func firstOfWAL(t *testing.T, c Config) uint64 {
	t.Helper()
	first := uint64(math.MaxUint64)
	if err := wal.Each(WALDir(c.Dir), func(r wal.Record) error {
		if len(r.Payload) == 0 {
			return nil
		}
		_, from, _, err := RecordRange(r.Payload)
		first = min(first, from)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return first
}

// Ledger rows that the server refuses for good are found and kept with time
// zero; the others are there once, with the server's tokens and without.
func TestPoisonInLedger(t *testing.T) {
	l := sharedLog(t, ctlogtest.RFC6962)
	for _, dedup := range []bool{false, true} {
		bubble(t, fmt.Sprintf("dedup=%v", dedup), func(t *testing.T) {
			log, sink := dial(t, l), newMemSink()
			sink.dedup = dedup
			c := bubbleConfig(t, sink, log)
			poisoned := map[uint64]bool{0: true, 17: true, 18: true, 600: true, 899: true}
			sink.refuse = func(r *schema.Row) bool { return poisoned[r.Index] && r.Timestamp != 0 }
			st, _ := life(t, c, nil)
			checkDone(t, c, st, sink, log)
			for k, r := range sink.rows {
				if (r.Status == schema.StatusRefused) != poisoned[k.index] || poisoned[k.index] && len(r.DER) == 0 {
					t.Errorf("entry %d: status %d, %q", k.index, r.Status, r.Error)
				}
			}
			if !hasAlarm(st, "refused by the store") {
				t.Errorf("alarms: %q", st.Alarms)
			}
		})
	}
}

// A table that refuses everything for a while costs no row its content.
func TestTableRefusesAll(t *testing.T) {
	l := sharedLog(t, ctlogtest.RFC6962)
	for _, table := range []string{"ledger", "certs"} {
		bubble(t, table, func(t *testing.T) {
			log, sink := dial(t, l), newMemSink()
			c := bubbleConfig(t, sink, log)
			n := 0
			if table == "ledger" {
				sink.refuse = func(*schema.Row) bool { n++; return n < 2000 }
			} else {
				sink.fail = func(op string, f *schema.Flush) error {
					if op != "dependents" || len(f.Rows) == 0 {
						return nil
					}
					if n++; n < 2000 {
						return &schema.RefusedError{Table: "certs", Code: 53, Err: errors.New("type mismatch")}
					}
					return nil
				}
			}
			st, _ := life(t, c, nil)
			checkDone(t, c, st, sink, log)
			for k, r := range sink.rows {
				if r.Status == schema.StatusRefused {
					t.Fatalf("entry %d lost its content: %s", k.index, r.Error)
				}
			}
			if n < 2000 {
				t.Errorf("refused %d times only", n)
			}
		})
	}
}

// An insert of a life whose checkpoint is lost may take effect yet. The next
// life cannot know it, and fences whatever there may be.
func TestLateInsertOfLostCheckpoint(t *testing.T) {
	l := sharedLog(t, ctlogtest.RFC6962)
	for _, dedup := range []bool{false, true} {
		for nth := 1; nth <= 4; nth++ {
			bubble(t, fmt.Sprintf("dedup=%v/%d", dedup, nth), func(t *testing.T) {
				log, sink := dial(t, l), newMemSink()
				sink.dedup = dedup
				c := bubbleConfig(t, sink, log)
				n := 0
				sink.late = func(string, *schema.Flush) bool { n++; return n >= nth }
				life(t, c, func(string) bool { return n >= nth })
				if n < nth {
					t.Fatal("no insert was late")
				}
				sink.mend()
				remove(t, filepath.Join(c.Dir, checkpoint.FileName))
				st, _ := life(t, c, nil)
				checkDone(t, c, st, sink, log)
			})
		}
	}
}

// A store that is started anew while a segment is being settled makes the
// proof worthless.
func TestStartedAnewWhileSettling(t *testing.T) {
	l := sharedLog(t, ctlogtest.RFC6962)
	synctest.Test(t, func(t *testing.T) {
		log, sink := dial(t, l), newMemSink()
		c := bubbleConfig(t, sink, log)
		life(t, c, nil)
		sink.startAnew(firstOfWAL(t, c))
		proofs := 0
		sink.fail = func(op string, _ *schema.Flush) error {
			if op != "prove" {
				return nil
			}
			// The first counts the segment, the second comes when its rows have been
			// written again.
			if proofs++; proofs == 2 {
				sink.epoch++
				clear(sink.dependents)
			}
			return nil
		}
		first := firstOfWAL(t, c)
		for firstOfWAL(t, c) != math.MaxUint64 {
			trimAll(t, c)
		}
		size, _, _ := log.Head()
		for i := first; i < size; i++ {
			if !sink.dependents[entryKey{log.id, i}] {
				t.Fatalf("entry %d was let go of without its dependents", i)
			}
		}
		if proofs < 4 {
			t.Errorf("%d proofs", proofs)
		}
	})
}
