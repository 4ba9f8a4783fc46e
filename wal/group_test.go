package wal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ctappliance/internal/crashfs"
)

// TestGroupCommit: who arrives during a sync shares the next one.
func TestGroupCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := crashfs.New()
		l := open(t, fs, Options{SegmentSize: 1 << 20})
		fs.SetSyncDelay(10 * time.Millisecond)
		start := time.Now()
		var wg sync.WaitGroup
		var mu sync.Mutex
		seqs := map[uint64]byte{}
		for i := range 100 {
			wg.Go(func() {
				seq, err := l.Append(bg, uint64(i), []byte{byte(i)}, []byte{byte(i)})
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				seqs[seq] = byte(i)
			})
		}
		wg.Wait()
		if took := time.Since(start); took > 20*time.Millisecond {
			t.Errorf("100 appends took %v, want at most two syncs", took)
		}
		m := l.Metrics()
		if m.Appends != 100 || m.Groups > 2 || m.Fsyncs != m.Groups || m.FsyncNanos == 0 || m.Bytes == 0 {
			t.Errorf("metrics: %+v", m)
		}
		for _, rec := range all(t, l, 1) {
			if b, ok := seqs[rec.Seq]; !ok || !bytes.Equal(rec.Payload, []byte{b}) || rec.Stream != uint64(b) {
				t.Errorf("record %d is not what Append was told to be it", rec.Seq)
			}
			delete(seqs, rec.Seq)
		}
		if len(seqs) != 0 {
			t.Errorf("not found again: %v", seqs)
		}
		l.Close()
	})
}

// TestGroupLimit: a group does not outgrow half a segment, and those who find
// no room in it wait for the next.
func TestGroupLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := crashfs.New()
		l := open(t, fs, Options{SegmentSize: 8 << 10})
		fs.SetSyncDelay(10 * time.Millisecond)
		var wg sync.WaitGroup
		for range 30 {
			wg.Go(func() {
				if _, err := l.Append(bg, 1, nil, make([]byte, 1000)); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if g := l.Metrics().Groups; g < 10 || g > 12 {
			t.Errorf("30 records of 1000 bytes made %d groups, want three in each", g)
		}
		for _, s := range l.Segments() {
			if s.Bytes != 8<<10 {
				t.Errorf("segment %s has %d bytes", s.Name, s.Bytes)
			}
		}
		l.Close()
	})
}

// TestOversize: what is bigger than a segment gets one of its own size.
func TestOversize(t *testing.T) {
	fs := crashfs.New()
	o := Options{SegmentSize: 4 << 10, Budget: 8 << 10}
	l := open(t, fs, o)
	big := bytes.Repeat([]byte("big"), 30_000)
	state := bytes.Repeat([]byte("s"), maxState)
	for i := range 3 { // each time two segments, over the budget, but allowed
		seq, err := l.Append(bg, uint64(i), state, big)
		if err != nil {
			t.Fatal(err)
		}
		if rec, err := l.Read(seq); err != nil || !bytes.Equal(rec.Payload, big) || !bytes.Equal(rec.State, state) {
			t.Fatalf("Read(%d): %v", seq, err)
		}
		if err := l.Trim(l.Next()); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := l.Append(bg, 1, make([]byte, maxState+1), nil); err == nil {
		t.Error("a state that is too long was accepted")
	}
	if _, err := l.Append(bg, 1, nil, make([]byte, maxPayload+1)); err == nil {
		t.Error("a payload that is too long was accepted")
	}
	l.Close()
	l = open(t, fs, o)
	if len(l.States()) != 3 || !bytes.Equal(l.States()[2], state) {
		t.Error("the states did not survive a restart")
	}
}

// TestBudget: above the budget Append waits for Trim, says so, and can be
// called off.
func TestBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := crashfs.New()
		l := open(t, fs, Options{SegmentSize: 4 << 10, Budget: 12 << 10})
		payload := make([]byte, 2000)
		var last uint64
		var stuck chan error
		for stuck == nil {
			done := make(chan error, 1)
			go func() {
				seq, err := l.Append(bg, 1, []byte("x"), payload)
				last = max(last, seq)
				done <- err
			}()
			synctest.Wait()
			select {
			case err := <-done:
				if err != nil {
					t.Fatal(err)
				}
			default:
				stuck = done
			}
		}
		if l.Size() > 12<<10 || l.Stalled() != "budget" {
			t.Fatalf("%d bytes, stalled %q", l.Size(), l.Stalled())
		}
		// Whoever gives up is not written.
		ctx, cancel := context.WithTimeout(bg, time.Minute)
		defer cancel()
		if _, err := l.Append(ctx, 2, []byte("never"), []byte("never")); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("Append: %v", err)
		}
		time.Sleep(time.Hour)
		if l.Stalled() != "budget" {
			t.Errorf("an hour later: %q", l.Stalled())
		}
		if err := l.Trim(last); err != nil {
			t.Fatal(err)
		}
		if err := <-stuck; err != nil {
			t.Fatal(err)
		}
		if _, err := l.Append(bg, 1, nil, []byte("y")); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if l.Stalled() != "" {
			t.Errorf("stalled %q after the trim", l.Stalled())
		}
		if l.States()[2] != nil {
			t.Error("what was called off was written")
		}
		l.Close()
	})
}

// TestCrashLoopKeepsToBudget: lives that write little and die do not pile up
// preallocated segments beyond the budget.
func TestCrashLoopKeepsToBudget(t *testing.T) {
	fs := crashfs.New()
	o := Options{SegmentSize: 4 << 10, Budget: 16 << 10}
	for range 20 {
		l := open(t, fs, o)
		ctx, cancel := context.WithTimeout(bg, 20*time.Millisecond)
		l.Append(ctx, 1, nil, []byte("x"))
		cancel()
		l.Close()
	}
	if used := fs.Used(); used > 20<<10 {
		t.Errorf("%d bytes on disk, the budget is %d", used, o.Budget)
	}
}

// TestEmptySegmentsDoNotPileUp: restarts without records leave one segment.
func TestEmptySegmentsDoNotPileUp(t *testing.T) {
	fs := crashfs.New()
	o := Options{SegmentSize: 4 << 10}
	for range 5 {
		l := open(t, fs, o)
		if l.Next() != 1 || len(l.Segments()) != 1 {
			t.Fatalf("next %d, segments %+v", l.Next(), l.Segments())
		}
		l.Close()
	}
	l := open(t, fs, o)
	if _, err := l.Append(bg, 1, []byte("a"), nil); err != nil {
		t.Fatal(err)
	}
	l.Close()
	for range 5 {
		l := open(t, fs, o)
		if l.Next() != 2 || len(l.Segments()) != 2 || string(l.States()[1]) != "a" {
			t.Fatalf("next %d, segments %+v", l.Next(), l.Segments())
		}
		l.Close()
	}
}

// TestDiskFull: a disk without room for a segment makes Append wait, also
// right after Open, and it goes on by itself when there is room again.
func TestDiskFull(t *testing.T) {
	for _, c := range []struct {
		name string
		full func(*crashfs.FS)
		o    Options
	}{
		{"capacity", func(fs *crashfs.FS) { fs.SetCapacity(fs.Used()) }, Options{SegmentSize: 4 << 10}},
		{"reserve", func(fs *crashfs.FS) { fs.SetCapacity(fs.Used() + 20<<10) }, Options{SegmentSize: 4 << 10, Reserve: 17 << 10}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fs := crashfs.New()
				l := open(t, fs, c.o)
				fill := make([]byte, 2500)
				if _, err := l.Append(bg, 1, []byte("1"), fill); err != nil {
					t.Fatal(err)
				}
				c.full(fs)
				stuck := func(l *Log) {
					t.Helper()
					ctx, cancel := context.WithTimeout(bg, time.Minute)
					defer cancel()
					if _, err := l.Append(ctx, 2, nil, fill); !errors.Is(err, context.DeadlineExceeded) {
						t.Fatalf("Append on a full disk: %v", err)
					}
				}
				stuck(l)
				used := fs.Used()
				done := make(chan error)
				go func() {
					_, err := l.Append(bg, 1, []byte("2"), fill)
					done <- err
				}()
				time.Sleep(time.Hour)
				if l.Stalled() != "disk full" {
					t.Fatalf("stalled: %q", l.Stalled())
				}
				if fs.Used() != used {
					t.Errorf("waiting for space takes space: %d, then %d bytes", used, fs.Used())
				}
				if list, err := fs.ReadDir("wal"); err != nil || len(list) != 1 {
					t.Errorf("waiting for space leaves files behind: %v, %v", list, err)
				}
				fs.SetCapacity(0)
				if err := <-done; err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				if l.Stalled() != "" {
					t.Errorf("stalled: %q", l.Stalled())
				}
				l.Close()

				c.full(fs)
				l = open(t, fs, c.o)
				if l.Stalled() != "disk full" || string(l.States()[1]) != "2" || l.Next() != 3 {
					t.Fatalf("Open on a full disk: stalled %q, states %v, next %d", l.Stalled(), show(l.States()), l.Next())
				}
				if got := all(t, l, 0); len(got) != 2 {
					t.Errorf("%d records are readable, want 2", len(got))
				}
				stuck(l)
				fs.SetCapacity(0)
				if _, err := l.Append(bg, 1, []byte("3"), fill); err != nil {
					t.Fatal(err)
				}
				l.Close()
				l = open(t, fs, c.o)
				if string(l.States()[1]) != "3" || len(all(t, l, 0)) != 3 || len(l.Damage()) != 0 {
					t.Errorf("afterwards: states %v, damage %+v", show(l.States()), l.Damage())
				}
				l.Close()
			})
		})
	}
}

// TestFullInsideSegmentEndsEverything: the space was reserved, so a full disk
// there means that we do not know what is on it.
func TestFullInsideSegmentEndsEverything(t *testing.T) {
	fs := crashfs.New()
	l := open(t, fs, Options{SegmentSize: 4 << 10})
	fs.OnOp(func(op crashfs.Op) (crashfs.Outcome, error) {
		if op.Kind == "fdatasync" {
			return crashfs.NotDone, errFullForTest
		}
		return crashfs.Done, nil
	})
	if _, err := l.Append(bg, 1, nil, nil); !errors.Is(err, ErrFailed) {
		t.Errorf("Append: %v", err)
	}
}

// TestClose: who waits is let go, and what was acknowledged stays.
func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := crashfs.New()
		l := open(t, fs, Options{SegmentSize: 1 << 20})
		fs.SetSyncDelay(time.Second)
		results := make(chan error, 20)
		for i := range 20 {
			go func() {
				time.Sleep(time.Duration(i) * 200 * time.Millisecond)
				_, err := l.Append(bg, uint64(i), nil, fmt.Appendf(nil, "%d", i))
				results <- err
			}()
		}
		waiting := make(chan error)
		go func() { waiting <- l.Wait(bg, 100) }()
		time.Sleep(2500 * time.Millisecond)
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		if err := <-waiting; err != ErrClosed {
			t.Errorf("Wait: %v", err)
		}
		acked := 0
		for range 20 {
			switch err := <-results; err {
			case nil:
				acked++
			case ErrClosed:
			default:
				t.Errorf("Append: %v", err)
			}
		}
		if acked == 0 || acked == 20 {
			t.Errorf("%d of 20 were acknowledged, the test means some", acked)
		}
		if l.Close() != ErrClosed || l.Trim(1) != ErrClosed {
			t.Error("a closed log does not say so")
		}
		if _, err := l.Read(1); err != ErrClosed {
			t.Errorf("Read: %v", err)
		}
		l = open(t, fs, Options{SegmentSize: 1 << 20})
		if got := all(t, l, 0); len(got) != acked {
			t.Errorf("%d records, %d were acknowledged", len(got), acked)
		}
		l.Close()
	})
}

// TestWithdraw: callers that give up while a group waits leave the others'
// records as they are.
func TestWithdraw(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := crashfs.New()
		l := open(t, fs, Options{SegmentSize: 16 << 10})
		fs.SetSyncDelay(time.Second)
		type result struct {
			i   int
			seq uint64
			err error
		}
		results := make(chan result, 30)
		for i := range 30 {
			ctx, cancel := context.WithCancel(bg)
			defer cancel()
			if i%3 == 1 {
				time.AfterFunc(500*time.Millisecond, cancel)
			}
			go func() {
				seq, err := l.Append(ctx, uint64(i), fmt.Appendf(nil, "s%d", i), bytes.Repeat([]byte{byte(i)}, i*7))
				results <- result{i, seq, err}
			}()
		}
		want := map[uint64]int{}
		canceled := 0
		for range 30 {
			r := <-results
			switch {
			case r.err == nil:
				want[r.seq] = r.i
			case errors.Is(r.err, context.Canceled) && r.i%3 == 1:
				canceled++
			default:
				t.Errorf("Append %d: %v", r.i, r.err)
			}
		}
		if canceled == 0 {
			t.Error("nobody gave up in time, the test means some")
		}
		got := all(t, l, 0)
		if len(got) != len(want) {
			t.Errorf("%d records, want %d", len(got), len(want))
		}
		for _, r := range got {
			i, ok := want[r.Seq]
			if !ok || r.Stream != uint64(i) || string(r.State) != fmt.Sprintf("s%d", i) || !bytes.Equal(r.Payload, bytes.Repeat([]byte{byte(i)}, i*7)) {
				t.Errorf("record %d is not what was appended", r.Seq)
			}
		}
		if len(l.States()) != len(want) {
			t.Errorf("%d states, want %d", len(l.States()), len(want))
		}
		l.Close()
	})
}
