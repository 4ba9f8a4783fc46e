package wal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"ctappliance/internal/crashfs"
)

// TestReadersBesideTrim runs an appender, a trimmer and readers against each
// other. A reader that is not overtaken misses nothing; one that is gets told.
func TestReadersBesideTrim(t *testing.T) {
	l := open(t, crashfs.New(), Options{SegmentSize: 16 << 10})
	const total = 3000
	ctx, cancel := context.WithCancel(bg)
	defer cancel()
	marks := make(chan uint64, total) // what the faithful reader has read
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				next := l.Next()
				if next > total {
					return
				}
				if _, err := l.Append(ctx, 1, nil, make([]byte, next%300)); err != nil {
					t.Error(err)
					return
				}
				seq, err := l.Append(ctx, 2, nil, nil)
				if err != nil {
					t.Error(err)
					return
				}
				if seq <= next {
					t.Errorf("seq %d follows %d", seq, next)
				}
			}
		})
	}
	wg.Go(func() { // the faithful reader
		defer close(marks)
		r := l.Reader(1)
		defer r.Close()
		for want := uint64(1); want <= total; {
			rec, err := r.Next()
			if err == io.EOF {
				if err := l.Wait(ctx, want); err != nil {
					t.Error(err)
					return
				}
				continue
			}
			if err != nil || rec.Seq != want {
				t.Errorf("record %d, %v; want %d", rec.Seq, err, want)
				return
			}
			marks <- want
			want++
		}
	})
	wg.Go(func() { // trims right behind it
		for mark := range marks {
			if mark%50 == 0 {
				if err := l.Trim(mark); err != nil {
					t.Error(err)
				}
			}
		}
	})
	for range 2 {
		wg.Go(func() { // is overtaken
			r := l.Reader(0)
			defer r.Close()
			last := uint64(0)
			for last < total {
				rec, err := r.Next()
				switch {
				case err == io.EOF:
					if err := l.Wait(ctx, r.Seq()); err != nil {
						t.Error(err)
						return
					}
				case errors.Is(err, ErrNotFound):
				case err != nil:
					t.Error(err)
					return
				case rec.Seq <= last:
					t.Errorf("record %d after %d", rec.Seq, last)
					return
				default:
					last = rec.Seq
					if last > 200 {
						if _, err := l.Read(last - 200); err != nil && !errors.Is(err, ErrNotFound) {
							t.Error(err)
						}
					}
				}
			}
		})
	}
	wg.Wait()
	if d := l.Damage(); len(d) > 0 {
		t.Errorf("damage: %+v", d)
	}
}

// TestReaderSeesOnlySynced: a frame that is written and not synced does not
// exist.
func TestReaderSeesOnlySynced(t *testing.T) {
	fs := crashfs.New()
	var l *Log
	seen := []string{}
	o := Options{SegmentSize: 4 << 10, Step: func(step string) {
		if step != "wal-written" && step != "wal-synced" {
			return
		}
		_, err := l.Reader(0).Next()
		seen = append(seen, fmt.Sprintf("%s %v next=%d", step, err, l.Next()))
	}}
	l = open(t, fs, o)
	if _, err := l.Append(bg, 1, nil, []byte("x")); err != nil {
		t.Fatal(err)
	}
	if len(seen) != 2 || seen[0] != "wal-written EOF next=1" {
		t.Errorf("seen: %q", seen)
	}
	if rec, err := l.Reader(0).Next(); err != nil || rec.Seq != 1 {
		t.Errorf("after Append: %+v %v", rec, err)
	}
}

// TestSteps: the places where a test can pull the plug.
func TestSteps(t *testing.T) {
	var steps []string
	l := open(t, crashfs.New(), Options{SegmentSize: 4 << 10, Step: func(s string) { steps = append(steps, s) }})
	for range 2 {
		if _, err := l.Append(bg, 1, nil, make([]byte, 2000)); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Trim(2); err != nil {
		t.Fatal(err)
	}
	want := "[wal-written wal-synced wal-rotate wal-written wal-synced wal-trim]"
	if got := fmt.Sprint(steps); got != want {
		t.Errorf("steps %s, want %s", got, want)
	}
}

// TestForget: a forgotten stream is in no later snapshot, and its record is
// nobody's to read.
func TestForget(t *testing.T) {
	fs := crashfs.New()
	o := Options{SegmentSize: 4 << 10}
	l := open(t, fs, o)
	for id := range uint64(2) {
		if _, err := l.Append(bg, id, []byte("s"), nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Forget(bg, 1); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Read(3); !errors.Is(err, ErrNotFound) {
		t.Errorf("Read(3): %v", err)
	}
	for range 3 {
		if s := l.States(); len(s) != 1 || s[0] == nil {
			t.Errorf("states: %v", show(s))
		}
		if got := all(t, l, 0); len(got) != 2 {
			t.Errorf("%d records, want 2", len(got))
		}
		l.Close()
		l = open(t, fs, o)
		if l.Next() != 4 {
			t.Errorf("Next is %d, want 4", l.Next())
		}
	}
	if _, err := l.Append(bg, 1, []byte("back"), nil); err != nil || string(l.States()[1]) != "back" {
		t.Errorf("a forgotten stream does not come back: %v", err)
	}
}

// TestReaderPositions: from everywhere, over gaps of skipped numbers.
func TestReaderPositions(t *testing.T) {
	fs := crashfs.New()
	o := Options{SegmentSize: 4 << 10}
	l := open(t, fs, o)
	for range 3 {
		if _, err := l.Append(bg, 1, nil, nil); err != nil {
			t.Fatal(err)
		}
	}
	// A torn write: half a frame, never acknowledged.
	fs.OnOp(func(op crashfs.Op) (crashfs.Outcome, error) {
		if op.Kind == "write" {
			return crashfs.HalfDone, nil
		}
		return crashfs.Done, nil
	})
	if _, err := l.Append(bg, 1, nil, bytes.Repeat([]byte{1}, 100)); err == nil {
		t.Fatal("no error")
	}
	l.Close()
	fs.OnOp(nil)
	l = open(t, fs, o)
	base := l.Next()
	if base <= 4 || len(l.Damage()) != 0 {
		t.Fatalf("after a torn write Next is %d, damage %+v", base, l.Damage())
	}
	for range 2 {
		if _, err := l.Append(bg, 1, nil, nil); err != nil {
			t.Fatal(err)
		}
	}
	for from, want := range map[uint64]uint64{0: 1, 1: 1, 3: 3, 4: base, 5: base, base - 1: base, base: base, base + 1: base + 1} {
		r := l.Reader(from)
		if rec, err := r.Next(); err != nil || rec.Seq != want {
			t.Errorf("Reader(%d): %d, %v; want %d", from, rec.Seq, err, want)
		}
		rec, err := l.Read(from)
		if from == want && (err != nil || rec.Seq != want) || from != want && !errors.Is(err, ErrNotFound) {
			t.Errorf("Read(%d): %+v, %v", from, rec, err)
		}
	}
	future := l.Reader(base + 3)
	for range 2 {
		if _, err := future.Next(); err != io.EOF {
			t.Errorf("a reader ahead of the log: %v", err)
		}
		if _, err := l.Append(bg, 1, nil, nil); err != nil {
			t.Fatal(err)
		}
	}
	if rec, err := future.Next(); err != nil || rec.Seq != base+3 {
		t.Errorf("a reader ahead of the log: %d, %v; want %d", rec.Seq, err, base+3)
	}
	// The torn write stays what it is in later lives.
	for range 2 {
		l.Close()
		l = open(t, fs, o)
		if got := all(t, l, 0); len(got) != 7 || len(l.Damage()) != 0 {
			t.Errorf("%d records, damage %+v", len(got), l.Damage())
		}
	}
}

// TestVerifyLiveLog: looking at a log that is being written finds no damage,
// changes nothing, and finds the damage that there is.
func TestVerifyLiveLog(t *testing.T) {
	dir := t.TempDir()
	l, err := Open(dir, Options{SegmentSize: 32 << 10})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	done := make(chan struct{})
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-done:
					return
				default:
				}
				seq, err := l.Append(bg, 1, []byte("s"), make([]byte, i%5000))
				if err != nil {
					t.Error(err)
					return
				}
				if i%40 == 0 {
					if err := l.Trim(max(seq, 200) - 200); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	for range 30 {
		if err := l.Wait(bg, l.Next()+5); err != nil {
			t.Fatal(err)
		}
		if err := Verify(dir, func(r SegmentReport) error {
			if r.Damaged {
				return fmt.Errorf("%+v", r)
			}
			return nil
		}); err != nil {
			t.Error(err)
			break
		}
		if _, err := List(dir); err != nil {
			t.Error(err)
		}
	}
	for len(l.Segments()) < 2 {
		if err := l.Wait(bg, l.Next()); err != nil {
			t.Fatal(err)
		}
	}
	close(done)
	wg.Wait()

	infos, err := List(dir)
	if err != nil || len(infos) < 2 {
		t.Fatalf("List: %+v, %v", infos, err)
	}
	name := filepath.Join(dir, infos[0].Name)
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	b[l.segs[0].hdr.firstFrame()+30] ^= 1
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
	var reports []SegmentReport
	err = Verify(dir, func(r SegmentReport) error { reports = append(reports, r); return nil })
	var ce *CorruptError
	if !errors.As(err, &ce) || ce.Segment != infos[0].Name || len(reports) != len(infos) || len(reports[0].Damage) != 1 {
		t.Errorf("Verify: %v, %+v", err, reports)
	}
	if after, err := os.ReadFile(name); err != nil || !bytes.Equal(b, after) {
		t.Error("Verify changed the file")
	}
	if _, err := List(filepath.Join(dir, "nowhere")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("List of nothing: %v", err)
	}
	// The log itself learns of the damage when it reads.
	_, err = l.Read(infos[0].BaseSeq)
	if !errors.As(err, &ce) || len(l.Damage()) != 1 || !l.Segments()[0].Damaged {
		t.Errorf("Read: %v, damage %+v", err, l.Damage())
	}
}

func BenchmarkAppend(b *testing.B) {
	for _, appenders := range []int{1, 8} {
		b.Run(fmt.Sprintf("appenders=%d", appenders), func(b *testing.B) {
			dir := b.TempDir()
			l, err := Open(dir, Options{})
			if err != nil {
				b.Fatal(err)
			}
			defer l.Close()
			payload := bytes.Repeat([]byte("0123456789abcdef"), 16<<10) // 256 KiB
			state := make([]byte, 1500)
			b.SetBytes(int64(len(payload)))
			b.ReportAllocs()
			b.ResetTimer()
			var wg sync.WaitGroup
			for g := range appenders {
				wg.Go(func() {
					for i := g; i < b.N; i += appenders {
						seq, err := l.Append(bg, uint64(g), state, payload)
						if err != nil {
							b.Error(err)
							return
						}
						if seq%256 == 0 {
							l.Trim(seq - 1)
						}
					}
				})
			}
			wg.Wait()
			b.StopTimer()
			m := l.Metrics()
			b.ReportMetric(float64(m.FsyncNanos)/float64(max(m.Fsyncs, 1))/1e6, "fsync-ms")
			b.ReportMetric(float64(m.Appends)/float64(max(m.Groups, 1)), "records/group")
		})
	}
}
