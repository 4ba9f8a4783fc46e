package wal

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"sort"

	"ctappliance/internal/durable"
)

// Record is what Append was given, and its place in the log. The slices are
// the caller's to keep, not to write to: records of one group commit share
// their memory.
type Record struct {
	Seq, Stream    uint64
	State, Payload []byte
}

// Read returns one record, which is checked against its checksum. The error Is
// ErrNotFound if there is no such record, and is a *CorruptError if it lies in
// a damaged stretch.
func (l *Log) Read(seq uint64) (Record, error) {
	r := &Reader{l: l, next: seq, exact: true}
	defer r.Close()
	return r.Next()
}

// Reader returns a reader of the records from seq on, also of those appended
// later. A Reader belongs to one goroutine.
func (l *Log) Reader(from uint64) *Reader {
	return &Reader{l: l, next: from, any: from == 0}
}

// Reader reads the log in order. It is safe to use beside Append and Trim.
type Reader struct {
	l     *Log
	next  uint64 // seq of the record to return next, or where it would be
	any   bool   // start wherever the log starts
	exact bool   // next or nothing: for Read

	seg  *segment
	file durable.File
	win  window
	off  int64  // of the next frame in file
	seq  uint64 // of the first record of that frame; those before it are passed over
	recs []Record
}

// Next returns the next record. Its error is io.EOF at the end of what is
// durable: call again later, or see [Log.Wait].
//
// A damaged stretch yields one *CorruptError, and the following call goes on
// behind it. If records at the reader's position were trimmed, the error is
// one that Is ErrNotFound, and the following call goes on at the oldest record
// that is left. Records that only made the log forget a stream are passed over
// silently, and so are numbers that were skipped after a crash.
func (r *Reader) Next() (Record, error) {
	for {
		if err := r.l.Err(); err != nil {
			return Record{}, err
		}
		for len(r.recs) > 0 {
			rec := r.recs[0]
			r.recs = r.recs[1:]
			if rec.Seq >= r.next {
				if r.exact && rec.Seq != r.next {
					return Record{}, r.notFound()
				}
				r.next = rec.Seq + 1
				return rec, nil
			}
		}
		if r.file == nil {
			if err := r.open(); err != nil {
				return Record{}, err
			}
		}
		more, err := r.fill()
		if err != nil {
			return Record{}, err
		}
		if !more {
			if err := r.leave(); err != nil {
				return Record{}, err
			}
		}
	}
}

// Seq returns the seq behind the last record returned: where a new Reader
// would have to start to go on.
func (r *Reader) Seq() uint64 { return r.next }

// Close releases the reader's file.
func (r *Reader) Close() error {
	if r.file == nil {
		return nil
	}
	err := r.file.Close()
	r.file, r.seg, r.recs = nil, nil, nil
	r.win = window{}
	return err
}

func (r *Reader) notFound() error {
	return fmt.Errorf("reading log: record %d: %w", r.next, ErrNotFound)
}

// open finds the segment that holds r.next, and opens it.
func (r *Reader) open() error {
	l := r.l
	for {
		l.mu.Lock()
		if len(l.segs) == 0 {
			l.mu.Unlock()
			return r.end()
		}
		first := l.segs[0]
		if r.any {
			r.next = max(r.next, first.base)
			r.any = false
		}
		if r.next < first.prevNext {
			// Trimmed.
			err := fmt.Errorf("reading log: record %d was trimmed, the log starts at %d: %w", r.next, first.base, ErrNotFound)
			if !r.exact {
				r.next = first.base
			}
			l.mu.Unlock()
			return err
		}
		i := sort.Search(len(l.segs), func(i int) bool { return l.segs[i].base > r.next }) - 1
		i = max(i, 0)
		// An older segment ends before the next begins where numbers were
		// skipped; an empty one may even share its base with the next.
		for i < len(l.segs)-1 && l.segs[i].next <= r.next {
			i++
		}
		s := l.segs[i]
		if r.next >= s.next && i == len(l.segs)-1 {
			l.mu.Unlock()
			return r.end()
		}
		m := mark{s.base, s.hdr.firstFrame()}
		if j := sort.Search(len(s.marks), func(j int) bool { return s.marks[j].seq > r.next }); j > 0 {
			m = s.marks[j-1]
		}
		l.mu.Unlock()

		f, err := durable.Open(l.o.FS, filepath.Join(l.dir, s.name))
		if errors.Is(err, fs.ErrNotExist) && !l.holds(s) {
			continue // trimmed in this moment
		}
		if err != nil {
			return fmt.Errorf("reading log: %w", err)
		}
		r.seg, r.file, r.off, r.seq = s, f, m.off, m.seq
		r.win = window{f: f, buf: r.win.buf[:0]}
		return nil
	}
}

// end is the answer where the log has no more records.
func (r *Reader) end() error {
	if r.exact {
		return r.notFound()
	}
	return io.EOF
}

// holds reports whether the segment is still part of the log.
func (l *Log) holds(s *segment) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, t := range l.segs {
		if s == t {
			return true
		}
	}
	return false
}

// fill reads the next frame into recs. more is false at the segment's end.
func (r *Reader) fill() (more bool, err error) {
	l, s := r.l, r.seg
	l.mu.Lock()
	end, synced := s.next, s.synced
	l.mu.Unlock()
	if r.seq >= end {
		return false, nil
	}
	if r.exact && r.seq > r.next {
		return false, r.notFound()
	}
	if s.bad {
		return false, r.corrupt(end, errBadHeader.Error())
	}
	limit := s.hdr.size
	if synced != 0 {
		limit = uint64(synced) // behind it, bytes may change while we read them
	}
	if r.win.end != int64(limit) {
		r.win.end, r.win.buf = int64(limit), r.win.buf[:0]
	}
	h, body, err := r.win.frame(r.off, s.hdr.salt)
	from := r.off + frameAlign // where to look for a frame if this is not the one
	if err == nil && h.first != r.seq {
		err = errNoFrame
		if h.first > r.seq {
			from = r.off // it is a later one
		}
	}
	if err == nil && h.first+uint64(h.count) <= r.next {
		r.off, r.seq = r.off+h.size(), h.first+uint64(h.count) // passed over unread
		return true, nil
	}
	if err == nil {
		body = append([]byte(nil), body...)
		err = decodeBody(body, h, s.hdr.salt, func(seq uint64, e entry) error {
			if !e.forget {
				r.recs = append(r.recs, Record{seq, e.stream, e.state, e.data})
			}
			return nil
		})
	}
	switch err {
	case nil:
		l.mu.Lock()
		s.addMark(mark{r.seq, r.off})
		l.mu.Unlock()
		r.off, r.seq = r.off+h.size(), h.first+uint64(h.count)
		return true, nil
	case errNoFrame, errBadBody:
		return r.skip(from, end)
	}
	return false, fmt.Errorf("reading log: segment %s: %w", s.name, err)
}

// skip moves behind a damaged stretch, to the next frame at or behind from,
// and reports it.
func (r *Reader) skip(from int64, end uint64) (bool, error) {
	reason := "a frame is not readable"
	off, h, ok, err := r.win.find(from, r.seg.hdr.salt, r.seq)
	if err != nil {
		return false, fmt.Errorf("reading log: segment %s: %w", r.seg.name, err)
	}
	if ok && h.first <= end {
		at := r.off
		r.off = off
		return r.report(at, h.first, reason)
	}
	return r.report(r.off, end, "the segment ends too early")
}

// report makes the damage at off known, and moves the reader to seq to.
func (r *Reader) report(off int64, to uint64, reason string) (bool, error) {
	from := r.seq
	r.seq = to
	if to <= r.next {
		return true, nil // not the records we are after
	}
	err := r.l.examine(r.seg)
	ce := &CorruptError{Segment: r.seg.name, Offset: off, FirstSeq: from, NextSeq: to, Reason: reason}
	if !r.exact {
		r.next = to
	}
	if err != nil {
		return false, errors.Join(ce, err)
	}
	return false, ce
}

func (r *Reader) corrupt(to uint64, reason string) error {
	_, err := r.report(0, to, reason)
	return err
}

// leave closes the segment at its end. There may be a next one, or more of
// this one later.
func (r *Reader) leave() error {
	r.l.mu.Lock()
	active, end := r.seg.active, r.seg.next
	r.l.mu.Unlock()
	if r.seq < end {
		return nil
	}
	if active || r.exact {
		return r.end()
	}
	r.next = max(r.next, end)
	buf := r.win.buf
	err := r.Close()
	r.win.buf = buf[:0]
	if err != nil {
		return fmt.Errorf("reading log: %w", err)
	}
	return nil
}
