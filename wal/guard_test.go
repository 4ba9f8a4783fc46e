package wal

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	iofs "io/fs"
	"math"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"ctappliance/internal/crashfs"
	"ctappliance/internal/durable"
)

// TestGroupBehindAFailedOne: records that came while a group was being synced
// are refused when that sync fails; the next sync, which would succeed, is not
// tried.
func TestGroupBehindAFailedOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := crashfs.New()
		second := make(chan error, 1)
		var l *Log
		began := false
		l = open(t, fs, Options{SegmentSize: 4 << 10, Step: func(step string) {
			if step != "wal-written" || began {
				return
			}
			began = true
			go func() {
				_, err := l.Append(bg, 2, nil, []byte("second"))
				second <- err
			}()
			synctest.Wait() // it has joined the next group
		}})
		failed := false
		fs.OnOp(func(op crashfs.Op) (crashfs.Outcome, error) {
			if op.Kind == "fdatasync" && !failed {
				failed = true
				return crashfs.NotDone, nil
			}
			return crashfs.Done, nil
		})
		if _, err := l.Append(bg, 1, nil, []byte("first")); !errors.Is(err, ErrFailed) {
			t.Errorf("first: %v", err)
		}
		if err := <-second; !errors.Is(err, ErrFailed) {
			t.Errorf("second: %v", err)
		}
		if n := strings.Count(fs.Trace(), "fdatasync"); n > 1 {
			t.Errorf("%d syncs:\n%s", n, fs.Trace())
		}
		l.Close()
	})
}

// TestToldAfterSync: whoever appends is told when the frame has been synced,
// not while it is.
func TestToldAfterSync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := crashfs.New()
		l := open(t, fs, Options{SegmentSize: 4 << 10})
		var told atomic.Bool
		syncs := 0
		fs.OnOp(func(op crashfs.Op) (crashfs.Outcome, error) {
			if op.Kind == "fdatasync" {
				syncs++
				synctest.Wait() // all who could go on have gone on
				if told.Load() {
					t.Error("Append returned before its frame was synced")
				}
			}
			return crashfs.Done, nil
		})
		_, err := l.Append(bg, 1, nil, []byte("a record"))
		told.Store(true)
		if err != nil || syncs != 1 {
			t.Errorf("%v, %d syncs", err, syncs)
		}
		l.Close()
	})
}

// TestTooLateToGiveUp: a record that is being written is not taken back, and
// its caller is told its number although it gave up.
func TestTooLateToGiveUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := crashfs.New()
		ctx, cancel := context.WithCancel(bg)
		l := open(t, fs, Options{SegmentSize: 4 << 10, Step: func(step string) {
			if step == "wal-written" {
				cancel()
				synctest.Wait()
			}
		}})
		seq, err := l.Append(ctx, 1, nil, []byte("written"))
		if err != nil || seq != 1 {
			t.Errorf("Append: %d, %v", seq, err)
		}
		if got := all(t, l, 0); len(got) != 1 {
			t.Errorf("%d records", len(got))
		}
		l.Close()
	})
}

// TestSyncOfFullDiskIsFinal: a sync that fails because the disk is full is
// still a sync that failed, and not a reason to wait and to try again.
func TestSyncOfFullDiskIsFinal(t *testing.T) {
	for _, kind := range []string{"sync", "syncdir"} {
		synctest.Test(t, func(t *testing.T) {
			fs := crashfs.New()
			l := open(t, fs, Options{SegmentSize: 4 << 10})
			fill := make([]byte, 2800)
			if _, err := l.Append(bg, 1, nil, fill); err != nil {
				t.Fatal(err)
			}
			fs.OnOp(func(op crashfs.Op) (crashfs.Outcome, error) {
				if op.Kind == kind {
					return crashfs.NotDone, errFullForTest
				}
				return crashfs.Done, nil
			})
			ctx, cancel := context.WithTimeout(bg, time.Hour)
			defer cancel()
			if _, err := l.Append(ctx, 1, nil, fill); !errors.Is(err, ErrFailed) {
				t.Errorf("%s: Append: %v", kind, err)
			}
			l.Close()
		})
	}
}

// TestSnapshotLimit: where the states of all streams together would outgrow a
// snapshot, records are refused; forgetting a stream helps.
func TestSnapshotLimit(t *testing.T) {
	l := open(t, crashfs.New(), Options{SegmentSize: 4 << 10})
	if _, err := l.Append(bg, 1, make([]byte, 100), nil); err != nil {
		t.Fatal(err)
	}
	l.mu.Lock()
	l.snapSize += maxSnapshot - 115 // as if there were many more
	l.mu.Unlock()
	if _, err := l.Append(bg, 2, make([]byte, 100), nil); err == nil || errors.Is(err, ErrFailed) {
		t.Errorf("Append beyond what a snapshot holds: %v", err)
	}
	if err := l.Forget(bg, 1); err != nil {
		t.Errorf("Forget: %v", err)
	}
	if _, err := l.Append(bg, 2, make([]byte, 100), nil); err != nil {
		t.Errorf("Append when there is room again: %v", err)
	}
}

// TestTrimWakes: who waits for the budget goes on with the trim that makes
// room, and not with the next look at the clock.
func TestTrimWakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := open(t, crashfs.New(), Options{SegmentSize: 4 << 10, Budget: 8 << 10})
		done := make(chan error, 1)
		go func() {
			for range 5 {
				if _, err := l.Append(bg, 1, nil, make([]byte, 2800)); err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
		for range 3 {
			time.Sleep(pollEvery / 4)
			synctest.Wait()
			if l.Stalled() != "budget" {
				t.Fatalf("stalled: %q", l.Stalled())
			}
			began, next := time.Now(), l.Next()
			if err := l.Trim(next - 1); err != nil {
				t.Fatal(err)
			}
			if err := l.Wait(bg, next); err != nil {
				t.Fatal(err)
			}
			if waited := time.Since(began); waited > 0 {
				t.Errorf("went on %v after the trim", waited)
			}
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
		l.Close()
	})
}

// threeSegments returns a log with three segments of a record each.
func threeSegments(t *testing.T, fs *crashfs.FS) *Log {
	t.Helper()
	l := open(t, fs, Options{SegmentSize: 4 << 10})
	for range 3 {
		if _, err := l.Append(bg, 1, []byte("s"), make([]byte, 2800)); err != nil {
			t.Fatal(err)
		}
	}
	return l
}

// TestTrimFailure: a removal that fails is tried again by the next Trim, and
// readers find what is left; a sync that fails ends the log.
func TestTrimFailure(t *testing.T) {
	for _, how := range []crashfs.Outcome{crashfs.NotDone, crashfs.DoneFailed} {
		fs := crashfs.New()
		l := threeSegments(t, fs)
		fs.OnOp(func(op crashfs.Op) (crashfs.Outcome, error) {
			if op.Kind == "remove" {
				return how, nil
			}
			return crashfs.Done, nil
		})
		if err := l.Trim(3); err == nil || errors.Is(err, ErrFailed) {
			t.Errorf("Trim that cannot remove: %v", err)
		}
		if l.First() != 1 || len(l.Segments()) != 3 {
			t.Errorf("after a trim that failed: first %d, %+v", l.First(), l.Segments())
		}
		if how == crashfs.NotDone && len(all(t, l, 0)) != 3 {
			t.Error("records are gone after a trim that failed")
		}
		fs.OnOp(nil)
		if err := l.Trim(3); err != nil {
			t.Errorf("the next Trim: %v", err)
		}
		if l.First() != 3 {
			t.Errorf("after the next Trim: first %d", l.First())
		}
	}
	fs := crashfs.New()
	l := threeSegments(t, fs)
	fs.OnOp(func(op crashfs.Op) (crashfs.Outcome, error) {
		if op.Kind == "syncdir" {
			return crashfs.NotDone, nil
		}
		return crashfs.Done, nil
	})
	if err := l.Trim(3); !errors.Is(err, ErrFailed) {
		t.Errorf("Trim whose directory cannot be synced: %v", err)
	}
	fs.OnOp(nil)
	if _, err := l.Append(bg, 1, nil, nil); !errors.Is(err, ErrFailed) {
		t.Errorf("Append after that: %v", err)
	}
}

// TestTrimOrder: when the file goes, the list says so already. A reader in
// between would look for a file that is not there.
func TestTrimOrder(t *testing.T) {
	fs := crashfs.New()
	l := threeSegments(t, fs)
	removed := 0
	fs.OnOp(func(op crashfs.Op) (crashfs.Outcome, error) {
		if op.Kind == "remove" {
			removed++
			for _, s := range l.Segments() {
				if strings.HasSuffix(op.Path, s.Name) {
					t.Errorf("%s is removed and in the list", s.Name)
				}
			}
		}
		return crashfs.Done, nil
	})
	if err := l.Trim(3); err != nil || removed != 2 {
		t.Errorf("%d removed, %v", removed, err)
	}
}

// TestOnlyEvidence: where damaged segments set aside are all that is left, the
// log begins behind every number they may have held; and they do not count
// against the budget.
func TestOnlyEvidence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := restore(t, map[string][]byte{"000007-00000000000000000100" + damagedSuffix: make([]byte, 64<<10)}, "", nil)
		l := open(t, fs, Options{SegmentSize: 4 << 10, Budget: 12 << 10})
		if l.Next() < 100+unknownSkip {
			t.Errorf("Next is %d", l.Next())
		}
		ctx, cancel := context.WithTimeout(bg, time.Hour)
		defer cancel()
		for i := range 3 {
			if _, err := l.Append(ctx, 1, nil, make([]byte, 2400)); err != nil {
				t.Errorf("record %d: %v", i, err)
			}
		}
		if segs := l.Segments(); len(segs) != 4 || l.Size() != 76<<10 || parseOrdinal(t, segs[0].Name) <= 7 {
			t.Errorf("%d bytes in %+v", l.Size(), segs)
		}
		l.Close()
	})
}

func parseOrdinal(t *testing.T, name string) uint64 {
	t.Helper()
	ordinal, _, ok := parseName(name, suffix)
	if !ok {
		t.Fatalf("%q is no segment's name", name)
	}
	return ordinal
}

// TestNewerVersion: a segment that a newer program wrote is not damage.
func TestNewerVersion(t *testing.T) {
	files, names, _ := build(t, 2)
	for _, name := range names {
		b := bytes.Clone(files[name])
		for _, at := range []int{0, headerCopyAt} {
			h := b[at : at+headerSize]
			binary.LittleEndian.PutUint32(h[8:], formatVersion+1)
			binary.LittleEndian.PutUint32(h[92:], crc32.Checksum(h[:92], castagnoli))
		}
		_, err := Open("wal", Options{FS: restore(t, files, name, b)})
		if err == nil || !strings.Contains(err.Error(), "use the newer program") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestForeignNames: what is not named as we name segments is left alone, and
// what was being made when the log died goes.
func TestForeignNames(t *testing.T) {
	files, _, recs := build(t, 2)
	foreign := []string{"0000001-00000000000000000001.wal", "1-1.wal", "000009-00000000000000000009.wal.old", "000000-00000000000000000001.wal", "+00003-00000000000000000009.wal", "notes.txt"}
	unfinished := segmentName(9, 9) + ".tmp"
	for _, name := range append(foreign, unfinished) {
		files[name] = []byte("not ours")
	}
	fs := restore(t, files, "", nil)
	l := open(t, fs, Options{SegmentSize: 4 << 10})
	if got := all(t, l, 0); len(got) != len(recs) || len(l.Damage()) != 0 {
		t.Errorf("%d records of %d, damage %+v", len(got), len(recs), l.Damage())
	}
	for _, name := range foreign {
		if _, err := fs.Stat("wal/" + name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := fs.Stat("wal/" + unfinished); err == nil {
		t.Errorf("%s is still there", unfinished)
	}
}

// TestFalseNames: a segment whose name is not what its header says is not
// believed, wherever it stands; what can no longer be read is reported.
func TestFalseNames(t *testing.T) {
	fs := crashfs.New()
	o := Options{SegmentSize: 4 << 10}
	var recs []Record
	var names []string
	for range 3 {
		l := open(t, fs, o)
		for range 3 {
			rec := Record{Stream: 1, State: fmt.Appendf(nil, "s%d", l.Next()), Payload: []byte("x")}
			seq, err := l.Append(bg, rec.Stream, rec.State, rec.Payload)
			if err != nil {
				t.Fatal(err)
			}
			rec.Seq = seq
			recs = append(recs, rec)
		}
		segs := l.Segments()
		names = append(names, segs[len(segs)-1].Name)
		l.Close()
	}
	for i, name := range names {
		files := map[string][]byte{}
		for _, n := range names {
			b, err := fs.ReadFile("wal/" + n)
			if err != nil {
				t.Fatal(err)
			}
			files[n] = b
		}
		base := recs[3*i].Seq
		files[segmentName(uint64(i+1), base+1)] = files[name]
		delete(files, name)
		l := open(t, restore(t, files, "", nil), o)
		got, lost := readThrough(t, l)
		have := map[uint64]bool{}
		for _, r := range got {
			have[r.Seq] = true
		}
		for _, r := range recs {
			reported := have[r.Seq] || i == 0 && r.Seq == base // the log begins where the first name says
			for _, ce := range lost {
				reported = reported || ce.FirstSeq <= r.Seq && r.Seq < ce.NextSeq
			}
			for _, d := range l.Damage() {
				reported = reported || d.FirstSeq <= r.Seq && r.Seq < d.NextSeq
			}
			if !reported && !(i > 0 && r.Seq == base) {
				t.Errorf("%s under a false name: record %d is missing, and nobody says so", name, r.Seq)
			}
		}
		if len(l.Damage()) == 0 {
			t.Errorf("%s under a false name is believed", name)
		}
		l.Close()
	}
}

// TestBasesGoBack: segments whose numbers do not ascend are of no log.
func TestBasesGoBack(t *testing.T) {
	files, names, _ := build(t, 2)
	files[segmentName(1, 1000)] = files[names[0]]
	delete(files, names[0])
	_, err := Open("wal", Options{FS: restore(t, files, "", nil)})
	if err == nil || !strings.Contains(err.Error(), "does not follow") {
		t.Errorf("Open: %v", err)
	}
}

// TestManyDamages: a segment that is damaged everywhere has a bounded list of
// damages, in which nothing that is lost is missing.
func TestManyDamages(t *testing.T) {
	fs := crashfs.New()
	o := Options{SegmentSize: 64 << 10}
	l := open(t, fs, o)
	const n = 3 * maxStretches
	for i := range n {
		if _, err := l.Append(bg, 1, fmt.Appendf(nil, "%d", i), make([]byte, 40)); err != nil {
			t.Fatal(err)
		}
	}
	name := l.Segments()[0].Name
	first := int(l.segs[0].hdr.firstFrame())
	l.Close()
	b, err := fs.ReadFile("wal/" + name)
	if err != nil {
		t.Fatal(err)
	}
	lost := map[uint64]bool{}
	for off, seq := first, uint64(1); seq < n; seq++ {
		h, ok := decodeFrameHeader(b[off:], l.segs[0].hdr.salt, int64(len(b)-off))
		if !ok || h.first != seq {
			t.Fatalf("no frame of record %d at %d", seq, off)
		}
		if seq%2 == 0 {
			b[off+frameHeaderSize+30] ^= 1
			lost[seq] = true
		}
		off += int(h.size())
	}
	l = open(t, restore(t, map[string][]byte{name: b}, "", nil), o)
	if len(l.Damage()) > maxStretches {
		t.Errorf("%d damages", len(l.Damage()))
	}
	for _, d := range l.Damage() {
		for seq := d.FirstSeq; seq < d.NextSeq; seq++ {
			delete(lost, seq)
		}
	}
	if len(lost) > 0 {
		t.Errorf("lost and not reported: %v", lost)
	}
}

// TestImpossibleNumbers: a checksum vouches for bytes, not for their meaning.
// Numbers that no log writes are refused although the checksum is right.
func TestImpossibleNumbers(t *testing.T) {
	good := header{ordinal: 7, logID: 1, base: 100, prevNext: 90, prevOrdinal: 5, salt: 42, size: 4096, snapLen: 17}
	if h, err := decodeHeader(good.encode()); err != nil || h != good {
		t.Fatalf("%+v, %v", h, err)
	}
	for what, change := range map[string]func(*header){
		"unknown flags":              func(h *header) { h.flags = 2 },
		"no ordinal":                 func(h *header) { h.ordinal, h.prevOrdinal = 0, 0 },
		"follows itself":             func(h *header) { h.prevOrdinal = h.ordinal },
		"base 0":                     func(h *header) { h.base, h.prevNext = 0, 0 },
		"ends behind its base":       func(h *header) { h.prevNext = h.base + 1 },
		"before it was nothing":      func(h *header) { h.prevNext = 0 },
		"size beyond an int64":       func(h *header) { h.size = math.MaxInt64 + 1 },
		"a snapshot beyond the file": func(h *header) { h.snapLen = 4096 },
	} {
		h := good
		change(&h)
		if _, err := decodeHeader(h.encode()); err != errBadHeader {
			t.Errorf("header, %s: %v", what, err)
		}
	}
	for _, at := range []int{80, 88} {
		b := good.encode()
		b[at] = 1
		binary.LittleEndian.PutUint32(b[92:], crc32.Checksum(b[:92], castagnoli))
		if _, err := decodeHeader(b); err != errBadHeader {
			t.Errorf("header with something in byte %d: %v", at, err)
		}
	}

	snap := encodeSnapshot(map[uint64][]byte{1: []byte("one")})
	for what, b := range map[string][]byte{
		"empty":        {},
		"more streams": append([]byte{2}, snap[1:]...),
		"fewer":        append([]byte{0}, snap[1:]...),
		"longer state": append(append(bytes.Clone(snap[:12]), 4), snap[13:]...),
		"a rest":       append(bytes.Clone(snap), 0),
		"a state too long": append(binary.LittleEndian.AppendUint32(append([]byte{1, 0, 0, 0}, make([]byte, 8)...), maxState+1),
			make([]byte, maxState+1)...),
		"a stream twice": append(append([]byte{2, 0, 0, 0}, snap[4:]...), snap[4:]...),
	} {
		if states, err := decodeSnapshot(b); err != errBadSnapshot {
			t.Errorf("snapshot, %s: %v, %v", what, states, err)
		}
	}

	const salt, room = 42, 1 << 20
	for what, h := range map[string]frameHeader{
		"beyond the file":         {length: room, count: 1, first: 1},
		"larger than any":         {length: maxBody + 1, count: 1, first: 1},
		"no records":              {length: 100, count: 0, first: 1},
		"more records than bytes": {length: 100, count: 6, first: 1},
		"record 0":                {length: 100, count: 1, first: 0},
		"beyond all numbers":      {length: 100, count: 2, first: math.MaxUint64 - 1},
		"shorter than a record":   {length: recordHeaderSize - 1, count: 1, first: 1},
	} {
		b := make([]byte, frameHeaderSize)
		h.put(b, salt)
		r := int64(room)
		if what == "larger than any" {
			r = math.MaxInt64
		}
		if _, ok := decodeFrameHeader(b, salt, r); ok {
			t.Errorf("frame, %s: accepted", what)
		}
	}

	rec := appendRecord(nil, 1, 0, []byte("state"), []byte("payload"))
	set := func(at int, v uint32) []byte {
		b := bytes.Clone(rec)
		binary.LittleEndian.PutUint32(b[at:], v)
		return b
	}
	for what, b := range map[string][]byte{
		"a rest":             append(bytes.Clone(rec), 0),
		"a longer state":     set(12, 13),
		"a longer payload":   set(16, 8),
		"endless":            set(16, math.MaxUint32),
		"a shorter payload":  set(16, 6),
		"unknown flags":      set(8, 2),
		"half of the header": rec[:recordHeaderSize/2],
	} {
		h := frameHeader{length: uint32(len(b)), count: 1, first: 1, bodyCRC: salted(crc32.Checksum(b, castagnoli), salt)}
		if err := decodeBody(b, h, salt, func(uint64, entry) error { return nil }); err != errBadBody {
			t.Errorf("record, %s: %v", what, err)
		}
	}
}

// lateFS shows a file, to the first one who reads it, with a stretch at the
// beginning of which nothing is written yet: what somebody sees who reads
// while the log writes.
type lateFS struct {
	durable.FS
	from, to int64 // of the stretch
	reads    int
}

func (l *lateFS) OpenFile(name string, flag int, perm iofs.FileMode) (durable.File, error) {
	f, err := l.FS.OpenFile(name, flag, perm)
	return &lateFile{f, l}, err
}

type lateFile struct {
	durable.File
	fs *lateFS
}

func (f *lateFile) ReadAt(b []byte, off int64) (int, error) {
	n, err := f.File.ReadAt(b, off)
	if off <= f.fs.from && off+int64(n) > f.fs.from {
		if f.fs.reads++; f.fs.reads == 1 {
			clear(b[f.fs.from-off : min(f.fs.to-off, int64(n))])
		}
	}
	return n, err
}

// TestCompletedWhileRead: a frame that was not there at the first look, while
// the one behind it was at the second, is no damage, neither to Each nor to
// Verify.
func TestCompletedWhileRead(t *testing.T) {
	fs := crashfs.New()
	l := open(t, fs, Options{SegmentSize: 1 << 20})
	for range 5 {
		if _, err := l.Append(bg, 1, []byte("s"), make([]byte, 90<<10)); err != nil {
			t.Fatal(err)
		}
	}
	first := l.segs[0].hdr.firstFrame()
	size := frameSize(recordHeaderSize + 1 + 90<<10)
	// Records 2 and what the same reading shows of record 3 are late; the next
	// reading shows both.
	late := func() *lateFS { return &lateFS{FS: fs, from: first + size, to: first + windowSize} }

	look := func(fsys durable.FS) *Log {
		files, err := listFiles(fsys, "wal")
		if err != nil {
			t.Fatal(err)
		}
		r := &Log{dir: "wal", segs: files.segments}
		r.o.FS = fs
		if err := r.link(); err != nil {
			t.Fatal(err)
		}
		r.o.FS = fsys
		return r
	}
	lateFS := late()
	r := look(lateFS)
	records := 0
	if err := r.withFile(r.segs[0], func(f durable.File) error {
		damage, err := eachRecord(f, r.segs[0], func(Record) error { records++; return nil })
		if damage != nil {
			t.Errorf("Each: %v", damage)
		}
		return err
	}); err != nil || records != 5 || lateFS.reads < 2 {
		t.Errorf("Each: %d records, %d readings, %v", records, lateFS.reads, err)
	}
	lateFS = late()
	r = look(lateFS)
	sc, err := r.verifySegment(r.segs[0], nil)
	if err != nil || len(sc.damages) != 0 || sc.records != 5 || lateFS.reads < 2 {
		t.Errorf("Verify: %+v, %d readings, %v", sc, lateFS.reads, err)
	}
}
