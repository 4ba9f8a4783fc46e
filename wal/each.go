package wal

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"ctappliance/internal/durable"
)

// Each calls fn for every record of the log in dir that can be read, in order.
// It changes nothing, takes no lock and works beside a writer: records that
// were durable when it began are among those it finds, later ones may be, and
// segments trimmed meanwhile are passed over. fn may keep what it gets. Each
// stops at fn's first error and returns it as it is.
//
// Damaged stretches are passed over; the error is then one that is a
// *CorruptError for the first of them, after fn has seen all that is whole.
// [Verify] lists all of them. A record that is being written in this moment is
// neither found nor damage. Segments set aside as damaged are not read: what
// they held was fetched again.
func Each(dir string, fn func(Record) error) error {
	l, err := readOnly(dir)
	if err != nil {
		return fmt.Errorf("reading log: %w", err)
	}
	var first *CorruptError
	for _, s := range l.segs {
		var stopped error
		err := l.withFile(s, func(f durable.File) error {
			damage, err := eachRecord(f, s, func(r Record) error {
				stopped = fn(r)
				return stopped
			})
			if first == nil {
				first = damage
			}
			return err
		})
		switch {
		case stopped != nil:
			return stopped
		case errors.Is(err, fs.ErrNotExist):
			// Trimmed since we listed it.
		case err != nil:
			return fmt.Errorf("reading log: %w", err)
		}
	}
	if first != nil {
		return fmt.Errorf("reading log: %w", first)
	}
	return nil
}

// eachRecord reads a segment front to back. Its error is the file system's or
// fn's; damage is the first stretch that it passed over.
func eachRecord(f durable.File, s *segment, fn func(Record) error) (damage *CorruptError, err error) {
	lost := func(off int64, first, next uint64, reason string) {
		if damage == nil {
			damage = &CorruptError{s.name, off, first, next, reason}
		}
	}
	if s.bad {
		lost(0, s.base, max(s.base, s.next), errBadHeader.Error())
		return damage, nil
	}
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	w := &window{f: f, end: min(info.Size(), int64(s.hdr.size))}
	for off, seq := s.hdr.firstFrame(), s.base; ; {
		size, recs, err := w.records(off, seq, s.hdr.salt)
		if err == errNoFrame || err == errBadBody {
			at, h, ok, ferr := w.find(off, s.hdr.salt, seq)
			if ferr == nil && ok && at == off && h.first == seq {
				at, h, ok, ferr = w.find(off+frameAlign, s.hdr.salt, seq)
			}
			if ferr != nil {
				return damage, ferr
			}
			// Beside a writer, this frame may have been completed between our
			// reading it and the one behind it. Damage is what stays.
			w.buf = w.buf[:0]
			size, recs, err = w.records(off, seq, s.hdr.salt)
			switch {
			case err == nil:
			case err != errNoFrame && err != errBadBody:
				return damage, err
			case ok:
				lost(off, seq, h.first, "a frame is not readable")
				off, seq = at, h.first
				continue
			default:
				if s.next > seq {
					lost(off, seq, s.next, "the segment ends too early")
				}
				return damage, nil
			}
		}
		if err != nil {
			return damage, err
		}
		for _, r := range recs.list {
			if err := fn(r); err != nil {
				return damage, err
			}
		}
		off, seq = off+size, recs.next
	}
}

// frameRecords are the records of a frame, and the seq behind them: those that
// only made the log forget a stream are not in the list.
type frameRecords struct {
	list []Record
	next uint64
}

// records reads the frame at off, which begins with record seq, and its size.
func (w *window) records(off int64, seq, salt uint64) (int64, frameRecords, error) {
	h, body, err := w.frame(off, salt)
	if err != nil {
		return 0, frameRecords{}, err
	}
	if h.first != seq {
		return 0, frameRecords{}, errNoFrame
	}
	recs := frameRecords{next: h.first + uint64(h.count)}
	err = decodeBody(slices.Clone(body), h, salt, func(seq uint64, e entry) error {
		if !e.forget {
			recs.list = append(recs.list, Record{seq, e.stream, e.state, e.data})
		}
		return nil
	})
	return h.size(), recs, err
}
