package wal

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"ctappliance/internal/durable"
)

// SegmentReport is what Verify found in a segment.
type SegmentReport struct {
	SegmentInfo
	Frames  int
	Records int
	Streams int   // in the state behind the segment
	End     int64 // offset behind the last readable frame
	Torn    bool  // the newest segment's last write was not finished, or is under way
	Damage  []CorruptError
}

// List describes the segments in dir without reading more than their headers.
// It changes nothing and works beside a process that writes the log.
func List(dir string) ([]SegmentInfo, error) {
	l, err := readOnly(dir)
	if err != nil {
		return nil, fmt.Errorf("listing log: %w", err)
	}
	infos := l.Segments()
	for i := range l.segs {
		infos[i].Active = i == len(l.segs)-1
		infos[i].Damaged = l.segs[i].bad
	}
	return infos, nil
}

// Verify reads all of the log in dir and calls each for every segment, in the
// order of the log, evidence last. It changes nothing and works beside a
// process that writes the log. An error of each ends it. If all could be read
// and something is damaged, the error is the first *CorruptError, with the
// number of the others.
func Verify(dir string, each func(SegmentReport) error) error {
	l, err := readOnly(dir)
	if err != nil {
		return fmt.Errorf("verifying log: %w", err)
	}
	infos := l.Segments()
	var first *CorruptError
	count := 0
	var states map[uint64][]byte
	for i, s := range l.segs {
		sc, err := l.verifySegment(s, states)
		if errors.Is(err, fs.ErrNotExist) {
			states = nil
			continue // trimmed since we listed it
		}
		if err != nil {
			return fmt.Errorf("verifying log: %w", err)
		}
		states = nil
		if sc.known {
			states = sc.states
		}
		r := SegmentReport{
			SegmentInfo: infos[i],
			Frames:      sc.frames, Records: sc.records, Streams: len(sc.states), End: sc.end,
			Torn: sc.torn && i == len(l.segs)-1,
		}
		r.Active = i == len(l.segs)-1
		if r.NextSeq == 0 {
			r.NextSeq = sc.next
		}
		r.Damaged = len(sc.damages) > 0
		for _, d := range sc.damages {
			ce := CorruptError{d.Segment, d.Offset, d.FirstSeq, d.NextSeq, d.Reason}
			r.Damage = append(r.Damage, ce)
			if count++; first == nil {
				first = &ce
			}
		}
		if err := each(r); err != nil {
			return err
		}
	}
	for _, info := range infos[len(l.segs):] {
		if err := each(SegmentReport{SegmentInfo: info}); err != nil {
			return err
		}
	}
	switch {
	case first == nil:
		return nil
	case count == 1:
		return fmt.Errorf("verifying log: %w", first)
	}
	return fmt.Errorf("verifying log: %w (and %d more)", first, count-1)
}

// verifySegment reads a segment, and reads it again if it looks damaged: in a
// live log, a frame may have been completed, and followed by another, between
// our reading the one and the other. Damage is where both readings find it: a
// frame that is followed by another stays as it is.
func (l *Log) verifySegment(s *segment, states map[uint64][]byte) (*scan, error) {
	sc, err := l.scanSegment(s, states)
	if err != nil || len(sc.damages) == 0 {
		return sc, err
	}
	again, err := l.scanSegment(s, states)
	if err != nil {
		return nil, err
	}
	both := again.damages[:0]
	for _, d := range again.damages {
		for _, e := range sc.damages {
			if d.Offset == e.Offset && d.FirstSeq == e.FirstSeq {
				both = append(both, d)
				break
			}
		}
	}
	again.damages = both
	return again, nil
}

// readOnly looks at a log without opening it.
func readOnly(dir string) (*Log, error) {
	l := &Log{dir: dir}
	l.o.FS = durable.OS{}
	for range 10 {
		fl, err := listFiles(l.o.FS, dir)
		if err != nil {
			return nil, err
		}
		l.segs, l.evidence = fl.segments, fl.evidence
		l.nextSeg = header{}
		err = l.link()
		if err == nil {
			return l, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		// A segment was trimmed between our listing and our reading.
	}
	return nil, fmt.Errorf("the segments in %s change faster than they can be listed", filepath.Clean(dir))
}
