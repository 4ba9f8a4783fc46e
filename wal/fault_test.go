package wal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"testing"

	"ctappliance/internal/crashfs"
)

var bg = context.Background()

// open opens a log in the memory file system, and closes it with the test.
func open(t testing.TB, fs *crashfs.FS, o Options) *Log {
	t.Helper()
	o.FS = fs
	l, err := Open("wal", o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// all reads the records from seq on, and fails the test at any damage.
func all(t testing.TB, l *Log, from uint64) []Record {
	t.Helper()
	r := l.Reader(from)
	defer r.Close()
	var recs []Record
	for {
		rec, err := r.Next()
		if err == io.EOF {
			return recs
		}
		if err != nil {
			t.Fatal(err)
		}
		recs = append(recs, rec)
	}
}

// model is what a caller of the log knows: what it asked for, and what it was
// promised.
type model struct {
	acked   []Record
	states  map[uint64]string
	trimmed uint64 // Trim(trimmed) was called

	// The one operation that got an error; it may or may not have happened.
	doubt       *Record
	doubtForget bool
}

// workload runs several lives with all the operations a log has, and stops at
// the first error, as a process would.
func workload(fs *crashfs.FS, o Options) (*model, error) {
	m := &model{states: map[uint64]string{}}
	o.FS = fs
	n := 0
	for life := range 3 {
		l, err := Open("wal", o)
		if err != nil {
			return m, err
		}
		defer l.Close()
		for i := range 7 {
			n++
			stream := uint64(n % 3)
			rec := Record{Stream: stream, State: fmt.Appendf(nil, "state %d", n),
				Payload: bytes.Repeat(fmt.Appendf(nil, "payload %d,", n), 1+n*31%120)}
			seq, err := l.Append(bg, rec.Stream, rec.State, rec.Payload)
			rec.Seq = seq
			if err != nil {
				m.doubt = &rec
				return m, err
			}
			m.acked = append(m.acked, rec)
			m.states[stream] = string(rec.State)
			if i == 4 {
				if err := l.Forget(bg, stream); err != nil {
					m.doubt, m.doubtForget = &Record{Stream: stream}, true
					return m, err
				}
				delete(m.states, stream)
			}
		}
		if life > 0 {
			m.trimmed = m.acked[len(m.acked)-6].Seq
			if err := l.Trim(m.trimmed); err != nil {
				return m, err
			}
		}
		if err := l.Close(); err != nil {
			return m, err
		}
	}
	return m, nil
}

// check compares what a log recovered with what its caller was promised.
func (m *model) check(t *testing.T, l *Log) {
	t.Helper()
	if d := l.Damage(); len(d) > 0 {
		t.Errorf("recovery reports damage where there is none: %+v", d)
	}
	got := all(t, l, 0)
	for _, a := range m.acked {
		if a.Seq < m.trimmed {
			continue
		}
		i, ok := slices.BinarySearchFunc(got, a.Seq, func(r Record, seq uint64) int { return int(r.Seq) - int(seq) })
		if !ok || !sameRecord(got[i], a) {
			t.Errorf("record %d was acknowledged and is lost", a.Seq)
		}
	}
	var last uint64
	if n := len(m.acked); n > 0 {
		last = m.acked[n-1].Seq
	}
	if l.Next() <= last {
		t.Errorf("Next is %d, but %d was acknowledged", l.Next(), last)
	}
	for _, r := range got {
		if r.Seq > last && (m.doubt == nil || m.doubtForget || !bytes.Equal(r.Payload, m.doubt.Payload)) {
			t.Errorf("record %d was never written", r.Seq)
		}
	}
	want := []map[uint64]string{m.states}
	if m.doubt != nil {
		alt := map[uint64]string{}
		for k, v := range m.states {
			alt[k] = v
		}
		alt[m.doubt.Stream] = string(m.doubt.State)
		if m.doubtForget {
			delete(alt, m.doubt.Stream)
		}
		want = append(want, alt)
	}
	if !slices.ContainsFunc(want, func(w map[uint64]string) bool { return sameStates(l.States(), w) }) {
		t.Errorf("states are %v, want one of %v", show(l.States()), want)
	}
}

func sameRecord(a, b Record) bool {
	return a.Seq == b.Seq && a.Stream == b.Stream && bytes.Equal(a.State, b.State) && bytes.Equal(a.Payload, b.Payload)
}

func sameStates(got map[uint64][]byte, want map[uint64]string) bool {
	if len(got) != len(want) {
		return false
	}
	for id, s := range want {
		if g, ok := got[id]; !ok || string(g) != s {
			return false
		}
	}
	return true
}

// TestEveryFault lets every single file operation fail, in each of its ways,
// pulls the plug, and recovers: what was acknowledged is there, what was not
// is there whole or not at all, and the log goes on.
func TestEveryFault(t *testing.T) {
	o := Options{SegmentSize: 4 << 10}
	clean := crashfs.New()
	if _, err := workload(clean, o); err != nil {
		t.Fatal(err)
	}
	seeds := uint64(4)
	if testing.Short() {
		seeds = 2
	}
	t.Logf("%d operations", clean.Ops())
	failed := 0
	for n := 1; n <= clean.Ops(); n++ {
		for _, how := range []crashfs.Outcome{crashfs.NotDone, crashfs.DoneFailed, crashfs.HalfDone} {
			for seed := range seeds {
				fs := crashfs.New()
				fs.FailNth(n, how, nil)
				m, err := workload(fs, o)
				if err != nil {
					failed++
				}
				crashed := fs.Crash(rand.New(rand.NewPCG(seed, uint64(n))))
				l := open(t, crashed, o)
				m.check(t, l)
				next := l.Next()
				seq, err := l.Append(bg, 9, []byte("on"), []byte("and on"))
				if err != nil || seq != next {
					t.Errorf("the log does not go on: %d, %v", seq, err)
				}
				l.Close()
				if l = open(t, crashed, o); len(all(t, l, seq)) != 1 {
					t.Errorf("what was appended after the crash is lost")
				}
				l.Close()
				if t.Failed() {
					t.Fatalf("operation %d, outcome %d, seed %d\n%s", n, how, seed, fs.Trace())
				}
			}
		}
	}
	if failed == 0 {
		t.Error("no fault was noticed")
	}
}

// TestEveryCrash pulls the plug between any two operations, without a fault
// that anybody notices, then again while recovering from that.
func TestEveryCrash(t *testing.T) {
	o := Options{SegmentSize: 4 << 10}
	gone := errors.New("power failure")
	clean := crashfs.New()
	if _, err := workload(clean, o); err != nil {
		t.Fatal(err)
	}
	seeds := uint64(10)
	if testing.Short() {
		seeds = 3
	}
	for n := range clean.Ops() {
		for seed := range seeds {
			rng := rand.New(rand.NewPCG(seed, uint64(n)))
			fs := crashfs.New()
			fs.FailAfter(n, gone)
			m, _ := workload(fs, o)
			fs = fs.Crash(rng)
			// The recovery is interrupted as well, a little later each time.
			for k := 1; ; k += 3 {
				fs.FailAfter(fs.Ops()+k, gone)
				oo := o
				oo.FS = fs
				l, err := Open("wal", oo)
				if err == nil {
					l.Close()
					break
				}
				fs = fs.Crash(rng)
			}
			fs.OnOp(nil)
			l := open(t, fs, o)
			m.check(t, l)
			l.Close()
			if t.Failed() {
				t.Fatalf("crash after operation %d, seed %d", n, seed)
			}
		}
	}
}

// TestFailureEndsEverything: after a sync that failed, everything is refused,
// although the next sync would succeed.
func TestFailureEndsEverything(t *testing.T) {
	for _, kind := range []string{"write", "fdatasync"} {
		t.Run(kind, func(t *testing.T) {
			fs := crashfs.New()
			l := open(t, fs, Options{SegmentSize: 4 << 10})
			if _, err := l.Append(bg, 1, []byte("a"), []byte("one")); err != nil {
				t.Fatal(err)
			}
			reader := l.Reader(1)
			boom := errors.New("boom")
			hit := false
			fs.OnOp(func(op crashfs.Op) (crashfs.Outcome, error) {
				if op.Kind == kind && !hit {
					hit = true
					return crashfs.NotDone, boom
				}
				return crashfs.Done, nil
			})
			_, err := l.Append(bg, 1, []byte("b"), []byte("two"))
			if !errors.Is(err, ErrFailed) || !errors.Is(err, boom) {
				t.Fatalf("Append: %v", err)
			}
			ops := fs.Ops()
			calls := map[string]error{}
			_, calls["Append"] = l.Append(bg, 1, nil, nil)
			calls["Forget"] = l.Forget(bg, 1)
			_, calls["Read"] = l.Read(1)
			_, calls["Next"] = reader.Next()
			calls["Trim"] = l.Trim(2)
			calls["Wait"] = l.Wait(bg, 7)
			calls["Err"] = l.Err()
			calls["Close"] = l.Close()
			for name, err := range calls {
				if !errors.Is(err, ErrFailed) {
					t.Errorf("%s after the failure: %v", name, err)
				}
			}
			if fs.Ops() != ops {
				t.Errorf("the files were touched after the failure:\n%s", fs.Trace())
			}
			if l.Next() != 2 || string(l.States()[1]) != "a" {
				t.Errorf("the failed record counts: next %d, states %v", l.Next(), show(l.States()))
			}
		})
	}
}

// TestRotationFailure: a fault while a segment is started, other than a full
// disk, ends the log; and nothing is acknowledged that needed it.
func TestRotationFailure(t *testing.T) {
	for _, kind := range []string{"create", "preallocate", "write", "sync", "rename", "syncdir"} {
		fs := crashfs.New()
		l := open(t, fs, Options{SegmentSize: 4 << 10})
		fill := make([]byte, 2800)
		if _, err := l.Append(bg, 1, nil, fill); err != nil {
			t.Fatal(err)
		}
		fs.OnOp(func(op crashfs.Op) (crashfs.Outcome, error) {
			if op.Kind == kind {
				return crashfs.NotDone, nil
			}
			return crashfs.Done, nil
		})
		if _, err := l.Append(bg, 1, nil, fill); !errors.Is(err, ErrFailed) {
			t.Errorf("%s: Append: %v", kind, err)
		}
	}
}

func show(states map[uint64][]byte) map[uint64]string {
	m := map[uint64]string{}
	for id, s := range states {
		m[id] = string(s)
	}
	return m
}
