package wal

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"ctappliance/internal/durable"
)

// Open recovers the log in dir, which is created if missing, and starts a new
// segment. It reads all of the newest segment and the headers of the others.
// It does not append to an old segment, nor truncate or repair one; what it
// deletes is an unfinished new segment, and an old one that never held a
// record, once its successor is durable.
//
// If the disk is full Open succeeds, and Append waits.
//
// Open locks nothing: two logs open in one directory destroy each other's
// promises, and the caller must see to it that there is one.
func Open(dir string, o Options) (*Log, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("opening log: %w", err)
	}
	if err := durable.MkdirAll(o.FS, dir, 0o700); err != nil {
		return nil, fmt.Errorf("opening log: %w", err)
	}
	l := &Log{
		dir: dir, o: o,
		pending: newGroup(),
		wake:    make(chan struct{}, 1),
		room:    make(chan struct{}, 1),
		quit:    make(chan struct{}),
		failed:  make(chan struct{}),
		done:    make(chan struct{}),
		changed: make(chan struct{}),
	}
	if err := l.recover(); err != nil {
		return nil, fmt.Errorf("recovering log: %w", err)
	}
	go l.commitLoop()
	return l, nil
}

// recover reads what is there and starts a segment, or, if the disk is full,
// leaves that to the committer.
func (l *Log) recover() error {
	files, err := listFiles(l.o.FS, l.dir)
	if err != nil {
		return err
	}
	for _, name := range files.unfinished {
		// Never complete, so nothing in it was ever acknowledged.
		if err := l.o.FS.Remove(filepath.Join(l.dir, name)); err != nil {
			return err
		}
	}
	for _, name := range files.ignored {
		l.o.Log.Warn("ignoring a foreign file in the log's directory", "file", name)
	}
	l.evidence = files.evidence
	l.segs = files.segments
	if err := l.link(); err != nil {
		return err
	}
	if err := l.recoverNewest(files.lastOrdinal); err != nil {
		return err
	}
	if err := l.recoverOlder(); err != nil {
		return err
	}
	for _, d := range l.damage {
		l.o.Log.Error("the log is damaged", "segment", d.Segment, "offset", d.Offset,
			"first", d.FirstSeq, "next", d.NextSeq, "reason", d.Reason)
	}
	for _, s := range l.states {
		l.snapSize += int64(12 + len(s))
	}
	l.next = l.nextSeg.base

	hdr, snap := l.plan(0)
	err = l.rotate(hdr, snap)
	if durable.IsFull(err) {
		l.stall("disk full")
		return nil
	}
	if err != nil {
		return fmt.Errorf("starting a segment: %w", err)
	}
	return nil
}

// link reads the headers of all segments and checks that they belong to one
// log, in this order; and it learns from each where the one before ended.
func (l *Log) link() error {
	for _, s := range l.segs {
		err := l.withFile(s, func(f durable.File) error {
			hdr, err := readHeader(f)
			if err == errBadHeader || err == nil && (hdr.ordinal != s.ordinal || hdr.base != s.base) {
				s.bad = true
				return nil
			}
			s.hdr, s.prevNext = hdr, hdr.prevNext
			return err
		})
		if err != nil {
			return err
		}
		if s.bad {
			s.prevNext = s.base // the best we know
			continue
		}
		if l.nextSeg.logID == 0 {
			l.nextSeg.logID = s.hdr.logID
		}
		if s.hdr.logID != l.nextSeg.logID {
			return fmt.Errorf("segment %s is of another log than those before it: move the files of one of them to another directory", s.name)
		}
	}
	for i, s := range l.segs[min(1, len(l.segs)):] {
		prev := l.segs[i]
		if s.ordinal <= prev.ordinal || s.base < prev.base {
			return fmt.Errorf("segment %s does not follow %s: move the one that does not belong here to another directory", s.name, prev.name)
		}
		prev.next = max(prev.base, s.prevNext)
	}
	return nil
}

// withFile calls do with the segment's file, open for reading.
func (l *Log) withFile(s *segment, do func(durable.File) error) error {
	f, err := durable.Open(l.o.FS, filepath.Join(l.dir, s.name))
	if err != nil {
		return err
	}
	if err := do(f); err != nil {
		f.Close()
		return fmt.Errorf("segment %s: %w", s.name, err)
	}
	return f.Close()
}

// recoverNewest reads the newest segment, which tells the states and where
// the new segment begins.
func (l *Log) recoverNewest(lastOrdinal uint64) error {
	n := &l.nextSeg
	n.ordinal = lastOrdinal + 1
	if n.logID == 0 {
		var id [8]byte
		rand.Read(id[:]) // never fails
		n.logID = binary.LittleEndian.Uint64(id[:]) | 1
	}
	if len(l.segs) == 0 {
		n.base = 1
		for _, e := range l.evidence { // all that is left of a log
			n.base = max(n.base, e.BaseSeq+unknownSkip)
		}
		n.prevNext = n.base
		l.states = map[uint64][]byte{}
		return nil
	}
	last := len(l.segs) - 1
	newest := l.segs[last]
	s, err := l.scanAt(l.segs, last)
	if err != nil {
		return err
	}
	switch {
	case s.hdrErr != nil:
		// Frames may be there, but without the salt they cannot be told from
		// what strangers wrote.
		n.base = newest.base + unknownSkip
		n.prevNext, n.prevOrdinal, n.flags = n.base, newest.ordinal, flagDamagedBefore
		s.next, s.damages[0].NextSeq = n.base, n.base
	case s.empty():
		// The new segment takes its place.
		n.base, n.prevNext, n.prevOrdinal, n.flags = s.hdr.base, s.hdr.prevNext, s.hdr.prevOrdinal, s.hdr.flags
		l.replaced = newest
	default:
		n.base, n.prevNext, n.prevOrdinal = s.next+s.skip, s.next, newest.ordinal
		if len(s.damages) > 0 {
			n.flags = flagDamagedBefore
		}
		if s.lost {
			n.prevNext = n.base // the skipped numbers count as lost
		}
	}
	newest.next = n.prevNext
	if l.replaced != nil {
		newest.next = newest.base
	}
	s.settle(nil)
	l.states = s.states
	l.note(newest, s)
	if s.torn {
		l.o.Log.Info("the last write to the log was not finished", "segment", newest.name, "offset", s.end,
			"next", s.next, "skipped", s.skip)
	}
	return nil
}

// unknownSkip is more records than a segment can hold.
const unknownSkip = 1 << 32

// recoverOlder reads those older segments whose successor does not vouch for
// them: the ones found damaged in an earlier life, and the neighbours of what
// is missing. The others are checked when they are read.
func (l *Log) recoverOlder() error {
	for i := range max(0, len(l.segs)-1) {
		s, next := l.segs[i], l.segs[i+1]
		missing := !next.bad && s.ordinal < next.hdr.prevOrdinal
		flagged := !next.bad && next.hdr.flags&flagDamagedBefore != 0 && s.ordinal == next.hdr.prevOrdinal
		if !s.bad && !missing && !flagged {
			continue
		}
		sc, err := l.scanAt(l.segs, i)
		if err != nil {
			return err
		}
		if missing && len(sc.damages) == 0 {
			continue // what is missing held no record
		}
		if err := l.settleAt(l.segs, i, sc); err != nil {
			return err
		}
		l.note(s, sc)
	}
	return nil
}

// scanAt reads the segment segs[i], and the ones before it as far as it must
// to know the states at its beginning.
func (l *Log) scanAt(segs []*segment, i int) (*scan, error) {
	sc, err := l.scanSegment(segs[i], nil)
	if err != nil || sc.known || i == 0 {
		return sc, err
	}
	// Its header or its snapshot is not readable.
	prev, err := l.scanAt(segs, i-1)
	if err != nil || !prev.known {
		return sc, err
	}
	return l.scanSegment(segs[i], prev.states)
}

// scanSegment reads one segment; of the active one, what is durable.
func (l *Log) scanSegment(s *segment, before map[uint64][]byte) (sc *scan, err error) {
	l.mu.Lock()
	next, limit := s.next, s.synced
	l.mu.Unlock()
	err = l.withFile(s, func(f durable.File) (err error) {
		sc, err = scanFile(f, s.name, before, next, limit)
		return err
	})
	return sc, err
}

// examine reads the segment again in which a reader found damage, to know the
// states around it.
func (l *Log) examine(s *segment) error {
	l.mu.Lock()
	segs := slices.Clone(l.segs)
	noted := s.noted
	l.mu.Unlock()
	i := slices.Index(segs, s)
	if noted || i < 0 {
		return nil
	}
	sc, err := l.scanAt(segs, i)
	if err == nil {
		err = l.settleAt(segs, i, sc)
	}
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) && !l.holds(s) {
			return nil // trimmed in this moment
		}
		return err
	}
	for _, d := range sc.damages {
		l.o.Log.Error("the log is damaged", "segment", d.Segment, "offset", d.Offset,
			"first", d.FirstSeq, "next", d.NextSeq, "reason", d.Reason)
	}
	l.note(s, sc)
	return nil
}

// settleAt completes the damages of segs[i] with the states behind it.
func (l *Log) settleAt(segs []*segment, i int, sc *scan) error {
	var next *segment
	if i+1 < len(segs) {
		next = segs[i+1]
	}
	if next == nil || next.bad {
		sc.settle(nil)
		return nil
	}
	var after map[uint64][]byte
	err := l.withFile(next, func(f durable.File) error {
		info, err := f.Stat()
		if err != nil {
			return err
		}
		after, err = readSnapshot(f, next.hdr, info.Size())
		if err == errBadSnapshot {
			return nil
		}
		return err
	})
	sc.settle(after)
	return err
}

// note remembers the damages of a segment.
func (l *Log) note(s *segment, sc *scan) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s.noted || len(sc.damages) == 0 {
		return
	}
	s.noted, s.damaged = true, true
	l.damage = append(l.damage, sc.damages...)
	slices.SortStableFunc(l.damage, func(a, b Damage) int {
		switch {
		case a.FirstSeq < b.FirstSeq:
			return -1
		case a.FirstSeq > b.FirstSeq:
			return 1
		}
		return 0
	})
}

// files are the names in a log's directory, sorted out.
type files struct {
	segments    []*segment // by ordinal
	evidence    []SegmentInfo
	unfinished  []string
	ignored     []string
	lastOrdinal uint64
}

func listFiles(fsys durable.FS, dir string) (files, error) {
	var fl files
	entries, err := fsys.ReadDir(dir)
	if err != nil {
		return fl, err
	}
	for _, e := range entries {
		name := e.Name()
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue // trimmed since: Verify and List look at live logs
		}
		if err != nil {
			return fl, err
		}
		if ordinal, base, ok := parseName(name, suffix); ok && info.Mode().IsRegular() && ordinal > 0 && base > 0 {
			fl.segments = append(fl.segments, &segment{name: name, ordinal: ordinal, base: base, size: info.Size()})
			fl.lastOrdinal = max(fl.lastOrdinal, ordinal)
		} else if ordinal, base, ok := parseName(name, damagedSuffix); ok {
			fl.evidence = append(fl.evidence, SegmentInfo{Name: name, BaseSeq: base, Bytes: info.Size(), Damaged: true, Trimmed: true})
			fl.lastOrdinal = max(fl.lastOrdinal, ordinal)
		} else if _, _, ok := parseName(name, tmpSuffix); ok {
			fl.unfinished = append(fl.unfinished, name)
		} else {
			fl.ignored = append(fl.ignored, name)
		}
	}
	slices.SortFunc(fl.segments, func(a, b *segment) int {
		switch {
		case a.ordinal < b.ordinal:
			return -1
		case a.ordinal > b.ordinal:
			return 1
		}
		return 0
	})
	return fl, nil
}
