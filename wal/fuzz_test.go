package wal

import (
	"bytes"
	"errors"
	"hash/crc32"
	"io"
	"testing"

	"ctappliance/internal/crashfs"
)

// FuzzHeader: what the decoder accepts, we would have written.
func FuzzHeader(f *testing.F) {
	good := header{ordinal: 7, logID: 1, base: 100, prevNext: 90, prevOrdinal: 5, salt: 42, size: 4096, snapLen: 17, snapCRC: 9}
	f.Add(good.encode(), true)
	good.flags = flagDamagedBefore
	f.Add(good.encode(), false)
	f.Add([]byte(magic), true)
	f.Fuzz(func(t *testing.T, b []byte, mend bool) {
		b = bytes.Clone(b)
		if mend && len(b) >= headerSize { // get past the checksum
			sum := crc32.Checksum(b[:92], castagnoli)
			b[92], b[93], b[94], b[95] = byte(sum), byte(sum>>8), byte(sum>>16), byte(sum>>24)
		}
		h, err := decodeHeader(b)
		if err != nil {
			return
		}
		if !bytes.Equal(h.encode(), b[:headerSize]) {
			t.Errorf("%x is accepted and would be written as %x", b[:headerSize], h.encode())
		}
		if h.firstFrame() > int64(h.size) || h.prevNext > h.base {
			t.Errorf("a header without sense is accepted: %+v", h)
		}
	})
}

// FuzzSnapshot: round trip, and no more memory than the bytes justify.
func FuzzSnapshot(f *testing.F) {
	f.Add(encodeSnapshot(nil))
	f.Add(encodeSnapshot(map[uint64][]byte{1: []byte("one"), 2: nil}))
	f.Add([]byte{255, 255, 255, 255})
	f.Fuzz(func(t *testing.T, b []byte) {
		states, err := decodeSnapshot(b)
		if err != nil {
			return
		}
		again, err := decodeSnapshot(encodeSnapshot(states))
		if err != nil || len(again) != len(states) || len(encodeSnapshot(states)) != len(b) {
			t.Errorf("%x does not survive: %v", b, err)
		}
	})
}

// FuzzFrame: a frame's body, with its checksum mended, yields records that
// encode to the same bytes.
func FuzzFrame(f *testing.F) {
	f.Add(appendRecord(nil, 1, 0, []byte("state"), []byte("payload")), uint32(1))
	f.Add(appendRecord(appendRecord(nil, 1, flagForget, nil, nil), 2, 0, nil, []byte("x")), uint32(2))
	f.Add([]byte{}, uint32(1))
	f.Add(append(appendRecord(nil, 1, 0, nil, nil), bytes.Repeat([]byte{0xff}, recordHeaderSize)...), uint32(2))
	f.Fuzz(func(t *testing.T, body []byte, count uint32) {
		const salt = 4711
		h := frameHeader{length: uint32(len(body)), count: count, first: 5, bodyCRC: salted(crc32.Checksum(body, castagnoli), salt)}
		b := make([]byte, frameHeaderSize)
		h.put(b, salt)
		got, ok := decodeFrameHeader(b, salt, int64(frameHeaderSize+len(body)))
		if !ok {
			return
		}
		if got != h {
			t.Fatalf("%+v became %+v", h, got)
		}
		var again []byte
		next := h.first
		err := decodeBody(body, h, salt, func(seq uint64, e entry) error {
			if seq != next {
				t.Errorf("seq %d, want %d", seq, next)
			}
			next++
			var flags uint32
			if e.forget {
				flags = flagForget
			}
			again = appendRecord(again, e.stream, flags, e.state, e.data)
			return nil
		})
		if err == nil && !bytes.Equal(again, body) {
			t.Errorf("%x is accepted and would be written as %x", body, again)
		}
		if err != nil && next != h.first {
			t.Error("records were given out of a body that is refused")
		}
	})
}

// FuzzSegment opens and reads a log whose only segment has foreign frames:
// no panic, no endless loop, and the log goes on. The frames are made valid
// if they start with plausible headers.
func FuzzSegment(f *testing.F) {
	f.Add([]byte{}, uint16(0))
	f.Add(bytes.Repeat([]byte{1}, 100), uint16(40))
	f.Fuzz(func(t *testing.T, data []byte, at uint16) {
		fs := crashfs.New()
		o := Options{SegmentSize: 8 << 10, FS: fs}
		l, err := Open("wal", o)
		if err != nil {
			t.Fatal(err)
		}
		for i := range uint64(6) {
			if _, err := l.Append(bg, i%2, []byte{byte(i)}, bytes.Repeat([]byte{byte(i)}, 50)); err != nil {
				t.Fatal(err)
			}
		}
		last := l.Next() - 1
		name := "wal/" + l.Segments()[0].Name
		l.Close()
		b, err := fs.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if int(at) < len(b) {
			copy(b[at:], data)
		}
		if err := fs.WriteFile(name, b); err != nil {
			t.Fatal(err)
		}
		l, err = Open("wal", o)
		if err != nil {
			if v := errVersion(0); errors.As(err, &v) {
				return
			}
			t.Fatal(err)
		}
		defer l.Close()
		seq, err := l.Append(bg, 1, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		r := l.Reader(0)
		for n := 0; ; n++ {
			rec, err := r.Next()
			var ce *CorruptError
			if err == io.EOF {
				break
			} else if err != nil && !errors.As(err, &ce) {
				t.Fatal(err)
			} else if err == nil && rec.Seq <= last && !bytes.Equal(rec.Payload, bytes.Repeat([]byte{byte(rec.Seq - 1)}, 50)) {
				t.Errorf("record %d came back different", rec.Seq)
			} else if n > 100 {
				t.Fatal("the reader does not come to an end")
			}
		}
		if r.Seq() != seq+1 {
			t.Errorf("the reader ends at %d, want %d", r.Seq(), seq+1)
		}
	})
}
