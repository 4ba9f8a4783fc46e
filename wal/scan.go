package wal

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"maps"

	"ctappliance/internal/durable"
)

// windowSize is how much of a file a window reads at a time.
const windowSize = 256 << 10

// window reads a file front to back through a buffer.
type window struct {
	f   io.ReaderAt
	end int64 // no byte at or behind it is read
	off int64 // of buf[0]
	buf []byte
}

// at returns the bytes [off, off+n), fewer at the end. They are valid until
// the next call. The buffer grows only to what the file really holds.
func (w *window) at(off int64, n int) ([]byte, error) {
	n = int(max(0, min(int64(n), w.end-off)))
	if off < w.off || off+int64(n) > w.off+int64(len(w.buf)) {
		want := int(max(0, min(w.end-off, int64(max(n, windowSize)))))
		if cap(w.buf) < want {
			w.buf = make([]byte, want)
		}
		got, err := w.f.ReadAt(w.buf[:want], off)
		w.off, w.buf = off, w.buf[:got]
		if err != nil && err != io.EOF {
			w.buf = w.buf[:0]
			return nil, err
		}
	}
	from := off - w.off
	return w.buf[from:min(from+int64(n), int64(len(w.buf)))], nil
}

// frame reads the header and the body at off. A frame which is not there or
// not whole is errNoFrame; other errors are the file system's.
func (w *window) frame(off int64, salt uint64) (frameHeader, []byte, error) {
	b, err := w.at(off, frameHeaderSize)
	if err != nil {
		return frameHeader{}, nil, err
	}
	h, ok := decodeFrameHeader(b, salt, w.end-off)
	if !ok {
		return frameHeader{}, nil, errNoFrame
	}
	body, err := w.at(off+frameHeaderSize, int(h.length))
	if err != nil {
		return frameHeader{}, nil, err
	}
	return h, body, nil
}

var errNoFrame = errors.New("no frame here")

// find looks from off on for the next place where a frame with a seq of at
// least atLeast begins. Its header is enough: the log started to write this
// frame only when everything before it was durable. (A payload cannot contain
// a header, since strangers do not know the salt; and the header's own CRC
// keeps the search linear.)
func (w *window) find(off int64, salt, atLeast uint64) (int64, frameHeader, bool, error) {
	for off = align(off, frameAlign); off+frameHeaderSize <= w.end; {
		b, err := w.at(off, windowSize)
		if err != nil {
			return 0, frameHeader{}, false, err
		}
		if len(b) < frameHeaderSize {
			break // the file is shorter than it says
		}
		for i := 0; i+frameHeaderSize <= len(b); i += frameAlign {
			h, ok := decodeFrameHeader(b[i:], salt, w.end-off-int64(i))
			if ok && h.first >= atLeast {
				return off + int64(i), h, true, nil
			}
		}
		off += int64((len(b) - frameHeaderSize + frameAlign) &^ (frameAlign - 1))
	}
	return 0, frameHeader{}, false, nil
}

// zero reports whether everything from off to the end is zero.
func (w *window) zero(off int64) (bool, error) {
	for off < w.end {
		b, err := w.at(off, windowSize)
		if err != nil {
			return false, err
		}
		if len(b) == 0 {
			return true, nil
		}
		for _, c := range b {
			if c != 0 {
				return false, nil
			}
		}
		off += int64(len(b))
	}
	return true, nil
}

// maxStretches bounds the damages told apart in one segment; behind the last,
// everything to the segment's end counts as one.
const maxStretches = 64

// scan is what reading a whole segment brings to light.
type scan struct {
	hdr      header
	hdrErr   error // errBadHeader: nothing else is known
	snapErr  error // errBadSnapshot: states start from what the caller knew
	frames   int
	records  int
	end      int64  // behind the last frame that is whole
	next     uint64 // seq behind the last record
	torn     bool   // there is something behind end, but no frame
	skip     uint64 // how many records the torn rest may hold at most
	short    bool   // the file is shorter than its header says
	lost     bool   // the skipped numbers count as lost
	states   map[uint64][]byte
	known    bool // states is all of them: it started from a snapshot or from the caller's knowledge
	damages  []Damage
	firstOff int64
}

// empty reports whether the segment holds no record and never did.
func (s *scan) empty() bool {
	return s.hdrErr == nil && s.snapErr == nil && s.frames == 0 && !s.torn && !s.short && len(s.damages) == 0
}

// readHeader reads the header from either of its copies. Bytes that cannot be
// read at all count as damaged ones only if they are past the end of the file.
func readHeader(f io.ReaderAt) (header, error) {
	b := make([]byte, headerCopyAt+headerSize)
	n, err := f.ReadAt(b, 0)
	if err != nil && err != io.EOF {
		return header{}, err
	}
	b = b[:n]
	h, err := decodeHeader(b)
	if err == errBadHeader && len(b) > headerCopyAt {
		h, err = decodeHeader(b[headerCopyAt:])
	}
	return h, err
}

// readSnapshot reads and checks the snapshot.
func readSnapshot(f io.ReaderAt, h header, size int64) (map[uint64][]byte, error) {
	if snapshotAt+int64(h.snapLen) > size {
		return nil, errBadSnapshot
	}
	b := make([]byte, h.snapLen)
	if _, err := f.ReadAt(b, snapshotAt); err != nil {
		if err == io.EOF {
			return nil, errBadSnapshot
		}
		return nil, err
	}
	if salted(crc32.Checksum(b, castagnoli), h.salt) != h.snapCRC {
		return nil, errBadSnapshot
	}
	return decodeSnapshot(b)
}

// scanFile reads the segment name from front to back. before holds the states
// at its beginning if the caller knows them (nil: not known); they are used
// only if the snapshot is not readable. next, if not zero, is the seq at which
// the segment is known to end: what is missing up to there is damage. limit,
// if not zero, is the offset behind which bytes may change.
func scanFile(f durable.File, name string, before map[uint64][]byte, next uint64, limit int64) (*scan, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	s := &scan{}
	ordinal, base, ok := parseName(name, suffix)
	if !ok {
		ordinal, base, _ = parseName(name, damagedSuffix)
	}
	s.next = base
	s.hdr, s.hdrErr = readHeader(f)
	if s.hdrErr == nil && (s.hdr.base != base || s.hdr.ordinal != ordinal) {
		s.hdrErr = errBadHeader // somebody renamed the file
	}
	if s.hdrErr != nil {
		if s.hdrErr != errBadHeader {
			return nil, s.hdrErr
		}
		s.states, s.known = maps.Clone(before), before != nil
		if s.states == nil {
			s.states = map[uint64][]byte{}
		}
		s.damages = append(s.damages, Damage{
			Segment: name, FirstSeq: base, NextSeq: max(next, base), Reason: errBadHeader.Error(),
			Before: maps.Clone(before),
		})
		return s, nil
	}
	s.short = info.Size() < int64(s.hdr.size)
	s.firstOff = s.hdr.firstFrame()
	s.end = s.firstOff
	s.states, s.snapErr = readSnapshot(f, s.hdr, info.Size())
	s.known = s.snapErr == nil
	if s.snapErr != nil {
		if s.snapErr != errBadSnapshot {
			return nil, s.snapErr
		}
		s.states, s.known = maps.Clone(before), before != nil
		if s.states == nil {
			s.states = map[uint64][]byte{}
			s.stretch(name, snapshotAt, base, base, errBadSnapshot.Error())
			s.damages[0].Before = nil
		}
	}
	w := &window{f: f, end: min(info.Size(), int64(s.hdr.size))}
	if limit > 0 {
		w.end = min(w.end, limit)
	}
	if err := s.frameLoop(w, name, next); err != nil {
		return nil, err
	}
	return s, nil
}

// frameLoop reads the frames, and decides at each one that is not whole
// whether the log ends there or is damaged.
func (s *scan) frameLoop(w *window, name string, next uint64) error {
	off := s.end
	for {
		h, body, err := w.frame(off, s.hdr.salt)
		reason := "a frame is not readable"
		if err == nil {
			switch {
			case h.first < s.next:
				reason = "a frame repeats numbers"
				err = errNoFrame
			case h.first > s.next:
				reason = "a frame is missing"
				err = errNoFrame
			default:
				if err = decodeBody(body, h, s.hdr.salt, s.apply); err == nil {
					off += h.size()
					s.end, s.next = off, h.first+uint64(h.count)
					s.frames++
					s.records += int(h.count)
					continue
				}
			}
		}
		if err != errNoFrame && err != errBadBody {
			return err
		}
		from := off
		if reason != "a frame is missing" {
			from += frameAlign
		}
		at, found, ok, ferr := w.find(from, s.hdr.salt, s.next)
		if ferr != nil {
			return ferr
		}
		if ok && err == errBadBody && at == off+h.size() && found.first == h.first+uint64(h.count) {
			reason = "a frame's checksum does not match"
		}
		if ok {
			s.stretch(name, off, s.next, found.first, reason)
			off, s.next = at, found.first
			continue
		}
		return s.finish(w, name, off, h, err == errBadBody, next)
	}
}

// finish is called where no frame follows.
func (s *scan) finish(w *window, name string, off int64, h frameHeader, headerRead bool, next uint64) error {
	clean, err := w.zero(off)
	if err != nil {
		return err
	}
	size := int64(s.hdr.size)
	s.torn = !clean
	if s.torn || s.short {
		// What was acknowledged may be among what is not readable: no number
		// that the rest has room for is given out again.
		s.skip = uint64(max(0, size-off))/recordHeaderSize + 1
	}
	behind := true // nothing but zeros behind the frame here
	if headerRead && h.first == s.next {
		if behind, err = w.zero(off + h.size()); err != nil {
			return err
		}
	}
	switch {
	case next > s.next:
		s.stretch(name, off, s.next, next, "the segment ends too early")
		s.next = next
	case next > 0:
		// All that the next segment vouches for is here.
	case s.short:
		s.stretch(name, off, s.next, s.next+s.skip,
			fmt.Sprintf("the file has %d bytes, its header says %d", w.end, size))
		s.lost = true
	case !behind:
		s.stretch(name, off, s.next, s.next+s.skip, "a frame is not readable although another was begun behind it")
		s.lost = true
	}
	return nil
}

// stretch notes a damage at the present position. Past maxStretches, the last
// one swallows what lies between it and this one.
func (s *scan) stretch(name string, off int64, first, next uint64, reason string) {
	if len(s.damages) >= maxStretches {
		d := &s.damages[len(s.damages)-1]
		d.NextSeq = next
		d.After, d.AfterSeq = map[uint64][]byte{}, map[uint64]uint64{}
		return
	}
	s.damages = append(s.damages, Damage{
		Segment: name, Offset: off, FirstSeq: first, NextSeq: next, Reason: reason,
		Before: maps.Clone(s.states),
		After:  map[uint64][]byte{}, AfterSeq: map[uint64]uint64{},
	})
}

// apply moves the states over one record.
func (s *scan) apply(seq uint64, e entry) error {
	state := append([]byte{}, e.state...)
	for i := range s.damages {
		d := &s.damages[i]
		if _, seen := d.AfterSeq[e.stream]; !seen && d.AfterSeq != nil {
			d.AfterSeq[e.stream] = seq
			if !e.forget {
				d.After[e.stream] = state
			}
		}
	}
	if e.forget {
		delete(s.states, e.stream)
	} else {
		s.states[e.stream] = state
	}
	return nil
}

// settle completes the damages' After: for streams without a record behind
// the stretch it is what the next segment's snapshot says, or, without one
// (nil), what is known now.
func (s *scan) settle(snapshot map[uint64][]byte) {
	if snapshot == nil {
		snapshot = s.states
	}
	for i := range s.damages {
		d := &s.damages[i]
		if d.After == nil {
			d.After, d.AfterSeq = map[uint64][]byte{}, map[uint64]uint64{}
		}
		for id, state := range snapshot {
			if _, seen := d.AfterSeq[id]; !seen {
				d.After[id] = state
			}
		}
	}
}
