package wal

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strings"
	"testing"

	"ctappliance/internal/crashfs"
)

// build writes a log of two segments in two lives, each with n frames, and
// returns the files and the records.
func build(t *testing.T, n int) (files map[string][]byte, names []string, recs []Record) {
	t.Helper()
	fs := crashfs.New()
	for range 2 {
		l := open(t, fs, Options{SegmentSize: 4 << 10})
		for i := range n {
			rec := Record{Stream: uint64(i % 3), State: fmt.Appendf(nil, "state %d", l.Next()),
				Payload: bytes.Repeat([]byte{byte(l.Next())}, 20*(i+1))}
			seq, err := l.Append(bg, rec.Stream, rec.State, rec.Payload)
			if err != nil {
				t.Fatal(err)
			}
			rec.Seq = seq
			recs = append(recs, rec)
		}
		l.Close()
	}
	files = map[string][]byte{}
	list, err := fs.ReadDir("wal")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		b, err := fs.ReadFile("wal/" + e.Name())
		if err != nil {
			t.Fatal(err)
		}
		files[e.Name()] = b
		names = append(names, e.Name())
	}
	if len(names) != 2 {
		t.Fatalf("the log has the segments %q, want two", names)
	}
	return files, names, recs
}

// restore puts files on a new disk, with one of them replaced.
func restore(t *testing.T, files map[string][]byte, name string, b []byte) *crashfs.FS {
	t.Helper()
	fs := crashfs.New()
	if err := fs.MkdirAll("wal", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := fs.SyncDir("."); err != nil {
		t.Fatal(err)
	}
	for n, data := range files {
		if n == name {
			data = b
		}
		if err := fs.WriteFile("wal/"+n, data); err != nil {
			t.Fatal(err)
		}
	}
	return fs
}

// readThrough reads everything with a Reader, and returns the records and the
// stretches reported as lost.
func readThrough(t *testing.T, l *Log) (recs []Record, lost []*CorruptError) {
	t.Helper()
	r := l.Reader(0)
	defer r.Close()
	for {
		rec, err := r.Next()
		var ce *CorruptError
		switch {
		case err == io.EOF:
			return recs, lost
		case errors.As(err, &ce):
			lost = append(lost, ce)
		case err != nil:
			t.Fatal(err)
		default:
			recs = append(recs, rec)
		}
	}
}

// verdict checks a log with one damaged file against what was written: no
// record comes back other than it was, none is missing without a report, and
// no number is given twice. tornFrom is the first record that may be missing
// silently, because its loss looks like a write that was never finished.
func verdict(t *testing.T, fs *crashfs.FS, recs []Record, tornFrom uint64) {
	t.Helper()
	l := open(t, fs, Options{SegmentSize: 4 << 10})
	defer l.Close()
	next := l.Next()
	if last := recs[len(recs)-1].Seq; next <= last {
		t.Errorf("Next is %d, but %d was acknowledged", next, last)
	}
	seq, err := l.Append(bg, 77, []byte("new"), []byte("new"))
	if err != nil || seq != next {
		t.Errorf("the log does not go on: %d, %v", seq, err)
	}
	got, lost := readThrough(t, l)
	if len(got) == 0 || got[len(got)-1].Seq != seq {
		t.Error("the reader does not get past the damage")
	}
	byseq := map[uint64]Record{}
	for i, r := range got {
		byseq[r.Seq] = r
		if i > 0 && got[i-1].Seq >= r.Seq {
			t.Errorf("record %d follows %d", r.Seq, got[i-1].Seq)
		}
	}
	state := map[uint64]string{}
	unknown := map[uint64]bool{} // streams whose newest record is lost
	for _, want := range recs {
		r, ok := byseq[want.Seq]
		one, err := l.Read(want.Seq)
		if ok != (err == nil) {
			t.Errorf("record %d: the reader found it: %v; Read: %v", want.Seq, ok, err)
		}
		if ok {
			if !sameRecord(r, want) || !sameRecord(one, want) {
				t.Errorf("record %d came back different", want.Seq)
			}
			state[want.Stream] = string(want.State)
			delete(unknown, want.Stream)
			continue
		}
		reported := want.Seq >= tornFrom
		for _, ce := range lost {
			if ce.FirstSeq <= want.Seq && want.Seq < ce.NextSeq {
				reported = true
				known := false
				for _, d := range l.Damage() {
					known = known || d.Segment == ce.Segment && d.FirstSeq <= want.Seq && want.Seq < d.NextSeq
				}
				if !known {
					t.Errorf("record %d is lost, says the reader, but Damage does not: %+v", want.Seq, l.Damage())
				}
				var re *CorruptError
				if !errors.As(err, &re) {
					t.Errorf("Read of the lost record %d: %v", want.Seq, err)
				}
			}
		}
		if !reported {
			t.Errorf("record %d is missing, and nobody says so", want.Seq)
		}
		unknown[want.Stream] = true
	}
	for id, s := range state {
		if g := string(l.States()[id]); !unknown[id] && g != s {
			t.Errorf("the state of stream %d is %q, want %q", id, g, s)
		}
	}
}

// places returns the offset of every byte up to the last that is not zero, and
// of some in the empty rest, which are all alike.
func places(b []byte) []int {
	var at []int
	for i := range b {
		if i%61 == 0 || i < len(bytes.TrimRight(b, "\x00"))+frameHeaderSize {
			at = append(at, i)
		}
	}
	return at
}

// TestEveryFlip damages every byte of the newest segment, and of an older one.
func TestEveryFlip(t *testing.T) {
	files, names, recs := build(t, 5)
	for i, name := range names {
		tornFrom := recs[len(recs)-1].Seq // bit rot in the last frame looks torn
		if i == 0 {
			tornFrom = recs[len(recs)-1].Seq + 1 // nothing of an older segment may look so
		}
		for _, at := range places(files[name]) {
			for _, mask := range []byte{0xff, 1 << (at % 8)} {
				b := bytes.Clone(files[name])
				b[at] ^= mask
				verdict(t, restore(t, files, name, b), recs, tornFrom)
				if t.Failed() {
					t.Fatalf("segment %s, byte %d flipped with %#x", name, at, mask)
				}
			}
		}
	}
}

// TestEveryCut cuts a segment at every byte: the newest, and an older one. A
// preallocated file is never shorter than its header says, so every cut is
// known to be damage.
func TestEveryCut(t *testing.T) {
	files, names, recs := build(t, 5)
	for _, name := range names {
		for _, at := range places(files[name]) {
			verdict(t, restore(t, files, name, files[name][:at]), recs, recs[len(recs)-1].Seq+1)
			if t.Failed() {
				t.Fatalf("segment %s cut at %d", name, at)
			}
		}
	}
}

// TestEveryZeroedSector wipes each sector, as a disk does that forgets.
func TestEveryZeroedSector(t *testing.T) {
	files, names, recs := build(t, 5)
	for i, name := range names {
		tornFrom := recs[len(recs)-1].Seq + 1
		if i == 1 {
			// A wiped end looks as if nothing was ever written there.
			tornFrom = recs[len(recs)-5].Seq
		}
		for at := 0; at < len(files[name]); at += 512 {
			b := bytes.Clone(files[name])
			clear(b[at : at+512])
			if i == 1 && len(bytes.Trim(b[max(at, 1024):], "\x00")) == 0 {
				continue
			}
			verdict(t, restore(t, files, name, b), recs, tornFrom)
			if t.Failed() {
				t.Fatalf("segment %s, sector at %d wiped", name, at)
			}
		}
	}
}

// TestMissingSegment: a segment that vanished from the middle is damage.
func TestMissingSegment(t *testing.T) {
	fs := crashfs.New()
	for i := range 3 {
		l := open(t, fs, Options{SegmentSize: 4 << 10})
		if _, err := l.Append(bg, 1, fmt.Appendf(nil, "s%d", i), []byte("x")); err != nil {
			t.Fatal(err)
		}
		l.Close()
	}
	if err := fs.Remove("wal/" + segmentName(2, 2)); err != nil {
		t.Fatal(err)
	}
	l := open(t, fs, Options{SegmentSize: 4 << 10})
	d := l.Damage()
	if len(d) != 1 || d[0].FirstSeq != 2 || d[0].NextSeq != 3 || string(d[0].Before[1]) != "s0" || string(d[0].After[1]) != "s1" {
		t.Fatalf("damage: %+v", d)
	}
	got, lost := readThrough(t, l)
	if len(got) != 2 || len(lost) != 1 || lost[0].FirstSeq != 2 || lost[0].NextSeq != 3 {
		t.Errorf("read %d records, lost %v", len(got), lost)
	}
}

// TestDamageStates: what a caller needs to fetch the lost records again.
func TestDamageStates(t *testing.T) {
	fs := crashfs.New()
	o := Options{SegmentSize: 8 << 10}
	l := open(t, fs, o)
	for i := range 12 { // streams 0, 1, 2; stream 2 has no record behind the damage
		stream := uint64(i % 3)
		if i > 6 {
			stream = uint64(i % 2)
		}
		if _, err := l.Append(bg, stream, fmt.Appendf(nil, "%d", i+1), make([]byte, 100)); err != nil {
			t.Fatal(err)
		}
	}
	name := l.Segments()[0].Name
	damageAt := l.segs[0].hdr.firstFrame() + 4*frameSize(recordHeaderSize+1+100) + 30 // record 5
	l.Close()
	b, err := fs.ReadFile("wal/" + name)
	if err != nil {
		t.Fatal(err)
	}
	b[damageAt] ^= 1
	b[damageAt+frameSize(recordHeaderSize+1+100)] ^= 1 // and record 6, of stream 2
	if err := fs.WriteFile("wal/"+name, b); err != nil {
		t.Fatal(err)
	}
	check := func(l *Log) {
		t.Helper()
		d := l.Damage()
		if len(d) == 2 { // two frames, each of which may count for itself
			if d[0].NextSeq != d[1].FirstSeq {
				t.Fatalf("damage: %+v", d)
			}
			d[0].NextSeq = d[1].NextSeq
			d = d[:1]
		}
		if len(d) != 1 || d[0].Segment != name || d[0].FirstSeq != 5 || d[0].NextSeq != 7 {
			t.Fatalf("damage: %+v", d)
		}
		if !sameStates(d[0].Before, map[uint64]string{0: "4", 1: "2", 2: "3"}) {
			t.Errorf("before: %v", show(d[0].Before))
		}
		if !sameStates(d[0].After, map[uint64]string{0: "7", 1: "8", 2: "3"}) {
			t.Errorf("after: %v", show(d[0].After))
		}
		if d[0].AfterSeq[0] != 7 || d[0].AfterSeq[1] != 8 || len(d[0].AfterSeq) != 2 {
			t.Errorf("after seq: %v", d[0].AfterSeq)
		}
	}
	// Every later life is told of it again, until the segment is trimmed.
	for life := range 3 {
		l = open(t, fs, o)
		check(l)
		if life > 0 { // an empty life, then one with records
			if _, err := l.Append(bg, 1, []byte("later"), nil); err != nil {
				t.Fatal(err)
			}
		}
		if life < 2 {
			l.Close()
		}
	}
	// Trim keeps the file as evidence.
	if err := l.Trim(l.Next()); err != nil {
		t.Fatal(err)
	}
	kept, err := fs.ReadFile("wal/" + strings.TrimSuffix(name, suffix) + damagedSuffix)
	if err != nil || !bytes.Equal(kept, b) {
		t.Errorf("the damaged segment was not kept: %v", err)
	}
	segs := l.Segments()
	if e := segs[len(segs)-1]; !e.Trimmed || !e.Damaged {
		t.Errorf("the evidence is not listed: %+v", segs)
	}
	if len(l.Damage()) != 0 {
		t.Errorf("damage after the trim: %+v", l.Damage())
	}
	l.Close()
	l = open(t, fs, o)
	if segs := l.Segments(); !segs[len(segs)-1].Trimmed || len(l.Damage()) != 0 {
		t.Errorf("after a restart: %+v, damage %+v", segs, l.Damage())
	}
}

// TestForeignSegment: the files of two logs in one directory are refused.
func TestForeignSegment(t *testing.T) {
	files, names, _ := build(t, 2)
	others, _, _ := build(t, 2)
	fs := restore(t, files, names[0], others[names[0]])
	_, err := Open("wal", Options{SegmentSize: 4 << 10, FS: fs})
	if err == nil || !strings.Contains(err.Error(), "of another log") {
		t.Errorf("Open: %v", err)
	}
}

// TestStrangersCannotForge: a payload that has the bytes of frames, written by
// somebody who knows all of the format but not the segment's salt, is nothing
// but a payload, even where the log is torn.
func TestStrangersCannotForge(t *testing.T) {
	var forged []byte
	for i := range uint64(8) {
		body := appendRecord(nil, 1, 0, []byte("forged"), []byte("forged"))
		h := frameHeader{length: uint32(len(body)), count: 1, first: 100 + i, bodyCRC: salted(crc32.Checksum(body, castagnoli), 4711)}
		b := make([]byte, h.size())
		h.put(b, 4711)
		copy(b[frameHeaderSize:], body)
		forged = append(forged, b...)
	}
	fs := crashfs.New()
	o := Options{SegmentSize: 16 << 10}
	l := open(t, fs, o)
	var off, size int64
	for pad := range 8 { // one of these aligns the forged frames as true ones are
		off = l.nextFrame(t)
		payload := append(make([]byte, pad), forged...)
		if _, err := l.Append(bg, 1, nil, payload); err != nil {
			t.Fatal(err)
		}
		size = frameSize(int64(recordHeaderSize + len(payload)))
	}
	name, last := l.Segments()[0].Name, l.Next()-1
	l.Close()
	b, err := fs.ReadFile("wal/" + name)
	if err != nil {
		t.Fatal(err)
	}
	// Any frame may be the last one, and torn: its header is gone, its payload
	// is there, and behind it is nothing.
	for n := last; n > 0; n-- {
		torn := bytes.Clone(b)
		clear(torn[off:][:frameHeaderSize])
		clear(torn[off+size:])
		if err := fs.WriteFile("wal/"+name, torn); err != nil {
			t.Fatal(err)
		}
		crashed := restore(t, map[string][]byte{name: torn}, "", nil)
		l = open(t, crashed, o)
		if d := l.Damage(); len(d) != 0 {
			t.Errorf("a forged frame was believed: %+v", d)
		}
		if got := all(t, l, 0); len(got) != int(n)-1 {
			t.Errorf("%d records, want %d", len(got), n-1)
		}
		if l.Next() <= n {
			t.Errorf("Next is %d, but %d was acknowledged", l.Next(), n)
		}
		l.Close()
		size = frameSize(int64(recordHeaderSize + int(n) - 2 + len(forged)))
		off -= size
	}
}

// nextFrame returns the offset of the next frame.
func (l *Log) nextFrame(t *testing.T) int64 {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.segs[len(l.segs)-1].synced
}

// TestFramesOutOfPlace: frames that are valid by themselves, but are not the
// ones that belong where they are, as after a write that was lost or went to
// the wrong place.
func TestFramesOutOfPlace(t *testing.T) {
	fs := crashfs.New()
	o := Options{SegmentSize: 4 << 10}
	var recs []Record
	for range 2 {
		l := open(t, fs, o)
		for i := range 6 {
			rec := Record{Stream: uint64(i % 2), State: fmt.Appendf(nil, "%02d", l.Next()), Payload: make([]byte, 50)}
			seq, err := l.Append(bg, rec.Stream, rec.State, rec.Payload)
			if err != nil {
				t.Fatal(err)
			}
			rec.Seq = seq
			recs = append(recs, rec)
		}
		l.Close()
	}
	files := map[string][]byte{}
	names := []string{segmentName(1, 1), segmentName(2, 7)}
	for _, name := range names {
		b, err := fs.ReadFile("wal/" + name)
		if err != nil {
			t.Fatal(err)
		}
		files[name] = b
	}
	size := int(frameSize(recordHeaderSize + 2 + 50))
	for _, name := range names {
		h, err := readHeader(bytes.NewReader(files[name]))
		if err != nil {
			t.Fatal(err)
		}
		first := int(h.firstFrame())
		frame := func(b []byte, i int) []byte { return b[first+i*size:][:size] }
		for what, damage := range map[string]func(b []byte){
			"repeated":      func(b []byte) { copy(frame(b, 3), frame(b, 2)) },
			"missing":       func(b []byte) { copy(b[first+2*size:], b[first+3*size:]) },
			"last repeated": func(b []byte) { copy(frame(b, 5), frame(b, 4)) },
			"last two broken": func(b []byte) { // the last but one was durable before the last was begun
				frame(b, 4)[frameHeaderSize+3] ^= 1
				frame(b, 5)[3] ^= 1
			},
			"swapped": func(b []byte) {
				two := bytes.Clone(frame(b, 2))
				copy(frame(b, 2), frame(b, 3))
				copy(frame(b, 3), two)
			},
		} {
			t.Run(what+" in "+name, func(t *testing.T) {
				b := bytes.Clone(files[name])
				damage(b)
				tornFrom := recs[len(recs)-1].Seq + 1
				if what == "last repeated" && name == names[1] {
					tornFrom-- // looks torn
				}
				verdict(t, restore(t, files, name, b), recs, tornFrom)
			})
		}
	}
}

// TestEveryFlipInSnapshot: a stream that is silent for a whole segment is
// remembered by the snapshot alone. Damage to it is noticed; the states are
// then those of the segment before with its records, and if there is none,
// the loss is reported.
func TestEveryFlipInSnapshot(t *testing.T) {
	for _, alone := range []bool{false, true} {
		fs := crashfs.New()
		o := Options{SegmentSize: 4 << 10}
		l := open(t, fs, o)
		for id := range uint64(2) {
			if _, err := l.Append(bg, id, fmt.Appendf(nil, "state of %d", id), nil); err != nil {
				t.Fatal(err)
			}
		}
		l.Close()
		l = open(t, fs, o)
		if _, err := l.Append(bg, 0, []byte("newer"), nil); err != nil {
			t.Fatal(err)
		}
		if alone {
			if err := l.Trim(3); err != nil {
				t.Fatal(err)
			}
		}
		name, end := segmentName(2, 3), snapshotAt+int(l.segs[len(l.segs)-1].hdr.snapLen)
		l.Close()
		files := map[string][]byte{}
		for _, n := range []string{segmentName(1, 1), name} {
			if b, err := fs.ReadFile("wal/" + n); err == nil {
				files[n] = b
			}
		}
		for at := snapshotAt; at < end; at++ {
			b := bytes.Clone(files[name])
			b[at] ^= 1 << (at % 8)
			l := open(t, restore(t, files, name, b), o)
			states, damage := show(l.States()), l.Damage()
			switch {
			case states[0] != "newer":
				t.Fatalf("byte %d: states %v", at, states)
			case !alone && (states[1] != "state of 1" || len(states) != 2 || len(damage) != 0):
				t.Fatalf("byte %d: states %v, damage %+v", at, states, damage)
			case alone && (len(states) != 1 || len(damage) != 1 || damage[0].Before != nil):
				t.Fatalf("byte %d: states %v, damage %+v", at, states, damage)
			}
			l.Close()
		}
	}
}

// TestHeaderCopies: one readable copy of the header is enough, and nothing is
// lost; a file under another segment's name is not that segment.
func TestHeaderCopies(t *testing.T) {
	files, names, recs := build(t, 3)
	o := Options{SegmentSize: 4 << 10}
	for _, name := range names {
		for _, at := range []int{0, headerCopyAt} {
			b := bytes.Clone(files[name])
			clear(b[at : at+headerSize])
			l := open(t, restore(t, files, name, b), o)
			if got := all(t, l, 0); len(got) != len(recs) || len(l.Damage()) != 0 {
				t.Errorf("%s without the header at %d: %d records, damage %+v", name, at, len(got), l.Damage())
			}
			l.Close()
		}
	}
	renamed := map[string][]byte{names[0]: files[names[0]], segmentName(2, recs[3].Seq+5): files[names[1]]}
	l := open(t, restore(t, renamed, "", nil), o)
	if len(l.Damage()) == 0 {
		t.Error("a segment under a false name is believed")
	}
}
