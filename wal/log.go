package wal

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"

	"ctappliance/internal/durable"
)

// DefaultSegmentSize is the size of a segment file where Options says nothing.
const DefaultSegmentSize = 64 << 20

const (
	minSegmentSize = 4 << 10
	maxSegmentSize = 16 << 30

	maxGroupRecords = 4096
	maxGroupBytes   = 8 << 20
)

// Options configure a Log. The zero value is usable.
type Options struct {
	// SegmentSize is the preallocated size of a segment file in bytes, from
	// 4 KiB to 16 GiB; 0 means DefaultSegmentSize. A record that does not fit
	// gets a segment of its own size.
	SegmentSize int64

	// Budget bounds the bytes of segments on disk: above it Append waits for
	// Trim. Two segments are always allowed, whatever the budget. Open may
	// exceed it by one segment. Damaged segments kept as evidence after Trim
	// do not count. 0 means no limit.
	Budget int64

	// Reserve is how many bytes must stay free on the file system after a
	// segment was created; otherwise Append waits, looking again every second
	// and after each Trim. 0 means none.
	Reserve int64

	// FS is the file system; nil means the operating system's.
	FS durable.FS

	// Log gets the few lines an operator should see; nil discards them.
	Log *slog.Logger

	// Step, if not nil, is called by the log's own goroutines between two
	// steps of its work: "wal-written" (a frame is written, not synced),
	// "wal-synced" (synced, not acknowledged), "wal-rotate" (a new segment is
	// durable, not yet in use), "wal-trim" (a segment is removed, its
	// directory not yet synced). It is where tests kill the process.
	Step func(string)
}

func (o Options) withDefaults() (Options, error) {
	if o.SegmentSize == 0 {
		o.SegmentSize = DefaultSegmentSize
	}
	if o.SegmentSize < minSegmentSize || o.SegmentSize > maxSegmentSize {
		return o, fmt.Errorf("segment size: %d is not between %d and %d bytes", o.SegmentSize, minSegmentSize, int64(maxSegmentSize))
	}
	o.SegmentSize = align(o.SegmentSize, firstAlign)
	if o.Budget < 0 {
		return o, fmt.Errorf("budget: %d bytes is less than nothing", o.Budget)
	}
	if o.Reserve < 0 {
		return o, fmt.Errorf("reserve: %d bytes is less than nothing", o.Reserve)
	}
	if o.FS == nil {
		o.FS = durable.OS{}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Step == nil {
		o.Step = func(string) {}
	}
	return o, nil
}

// Log is an open write-ahead log. Its methods are safe for concurrent use.
type Log struct {
	dir string
	o   Options

	// Owned by the committer, the one goroutine that writes.
	out      *output  // the active segment's file; nil until the disk has room for one
	nextSeg  header   // what the next segment's header says, salt and snapshot aside
	replaced *segment // the newest of the segments found by Open, if it held no record
	spare    *group
	warnSlow bool

	// groupMu guards pending, the group that is still open to records.
	groupMu sync.Mutex
	pending *group

	wake   chan struct{} // tells the committer that pending has a record; buffered by one
	room   chan struct{} // tells the committer that space was freed; buffered by one
	quit   chan struct{} // closed by Close
	failed chan struct{} // closed by fail
	done   chan struct{} // closed by the committer when it ends
	closed sync.Once

	// trimMu is held for the length of a Trim, so that there is one at a time.
	trimMu sync.Mutex

	// mu guards the rest. It is never held across a file operation.
	mu       sync.Mutex
	segs     []*segment // in the order of the log; the active one, if any, is last
	evidence []SegmentInfo
	next     uint64
	states   map[uint64][]byte
	snapSize int64 // what a snapshot of states takes
	damage   []Damage
	stalled  string
	err      error         // wraps ErrFailed; nothing is acknowledged any more
	isClosed bool          // Close was called
	changed  chan struct{} // closed and replaced when next moves or the log ends

	metrics struct {
		appends, bytes, fsyncs, fsyncNanos, groups atomic.Uint64
	}
}

// segment is a file of the log. Immutable but for what Log.mu guards.
type segment struct {
	name     string
	ordinal  uint64
	base     uint64
	prevNext uint64
	size     int64 // of the file
	bad      bool  // its header is not readable
	hdr      header

	// Guarded by Log.mu.
	next    uint64 // one past its last record: where its successor says that it ended
	synced  int64  // of the active one: how far it may be read
	active  bool
	damaged bool // a stretch of it is not readable
	noted   bool // its damages are in Log.damage
	marks   []mark
}

// mark says that a frame begins with record seq at offset off.
type mark struct {
	seq uint64
	off int64
}

// SegmentInfo describes a segment file.
type SegmentInfo struct {
	Name    string
	BaseSeq uint64 // of its first record
	NextSeq uint64 // one past its last record; in List 0 where only reading the file would tell
	Bytes   int64  // on disk
	Active  bool   // it is the one being written; in List, the newest
	Damaged bool   // a stretch of it is not readable
	Trimmed bool   // nothing needs it any more; it is kept as evidence of damage
}

// Metrics are the log's counters since Open.
type Metrics struct {
	Appends    uint64 // records made durable
	Bytes      uint64 // written to segments: headers, snapshots and frames with their padding
	Fsyncs     uint64 // of frames
	FsyncNanos uint64
	Groups     uint64 // frames written
}

// Append adds a record and returns its seq when it is durable. Concurrent
// callers share an fsync. state is the stream's newest state after this record
// (at most 64 KiB), payload is at most 64 MiB; neither is kept.
//
// ctx ends the wait for a turn, for space under the budget and for space on
// the disk, not the write itself: an error that Is ctx.Err() means that the
// record was not and will not be written. An error that Is ErrFailed means
// that it may or may not be found after a restart.
func (l *Log) Append(ctx context.Context, stream uint64, state, payload []byte) (seq uint64, err error) {
	if len(state) > maxState {
		return 0, fmt.Errorf("appending to the log: a state of %d bytes exceeds %d", len(state), maxState)
	}
	if len(payload) > maxPayload {
		return 0, fmt.Errorf("appending to the log: a payload of %d bytes exceeds %d", len(payload), maxPayload)
	}
	return l.append(ctx, stream, 0, state, payload)
}

// Forget drops the stream from States and from later snapshots. It returns
// when that is durable.
func (l *Log) Forget(ctx context.Context, stream uint64) error {
	_, err := l.append(ctx, stream, flagForget, nil, nil)
	return err
}

// States returns the newest state of every stream as of Next. The map is the
// caller's; the slices are not to be written to.
func (l *Log) States() map[uint64][]byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.states)
}

// First returns the lowest seq still held; Next if there is none.
func (l *Log) First() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.segs) == 0 {
		return l.next
	}
	return l.segs[0].base
}

// Next returns the seq that the next record will get. Seqs start at 1 and
// never repeat; after a crash some may be skipped.
func (l *Log) Next() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.next
}

// Segments lists the segments in the order of the log, and behind them those
// kept as evidence.
func (l *Log) Segments() []SegmentInfo {
	l.mu.Lock()
	defer l.mu.Unlock()
	infos := make([]SegmentInfo, 0, len(l.segs)+len(l.evidence))
	for _, s := range l.segs {
		infos = append(infos, SegmentInfo{
			Name: s.name, BaseSeq: s.base, NextSeq: s.next, Bytes: s.size,
			Active: s.active, Damaged: s.damaged,
		})
	}
	return append(infos, l.evidence...)
}

// Size returns the bytes on disk, evidence included.
func (l *Log) Size() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.segmentBytes()
	for _, e := range l.evidence {
		n += e.Bytes
	}
	return n
}

// segmentBytes is what counts against the budget. The caller holds mu.
func (l *Log) segmentBytes() int64 {
	var n int64
	for _, s := range l.segs {
		n += s.size
	}
	return n
}

// Damage returns what recovery, and reading since then, found damaged. A
// damage is reported again by every Open until its segment is trimmed, so
// callers tell new from known by Segment and FirstSeq.
func (l *Log) Damage() []Damage {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]Damage(nil), l.damage...)
}

// Stalled says why Append waits: "budget" (for Trim), "disk full" (for space
// on the file system), or "" if it does not.
func (l *Log) Stalled() (reason string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.stalled
}

// Metrics returns the log's counters.
func (l *Log) Metrics() Metrics {
	m := &l.metrics
	return Metrics{m.appends.Load(), m.bytes.Load(), m.fsyncs.Load(), m.fsyncNanos.Load(), m.groups.Load()}
}

// Err returns nil, or the error that Is ErrFailed or ErrClosed which every
// call returns from now on.
func (l *Log) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.errLocked()
}

func (l *Log) errLocked() error {
	if l.err != nil {
		return l.err
	}
	if l.isClosed {
		return ErrClosed
	}
	return nil
}

// Wait returns nil when the record seq is durable or skipped, that is, when
// Next is greater than seq.
func (l *Log) Wait(ctx context.Context, seq uint64) error {
	for {
		l.mu.Lock()
		err, next, changed := l.errLocked(), l.next, l.changed
		l.mu.Unlock()
		if err != nil {
			return err
		}
		if next > seq {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Close waits for the commit in flight and closes the files. Records that
// wait for their turn are refused with ErrClosed. It changes nothing on disk:
// a clean stop is like any other.
func (l *Log) Close() error {
	l.mu.Lock()
	first := !l.isClosed
	l.isClosed = true
	l.mu.Unlock()
	l.closed.Do(func() { close(l.quit) })
	<-l.done
	if !first {
		return ErrClosed
	}
	l.announce()
	l.mu.Lock()
	err := l.err
	l.mu.Unlock()
	if l.out != nil {
		// Everything acknowledged is synced: an error here loses nothing.
		err = errors.Join(err, l.out.file.Close())
	}
	return err
}

// announce wakes those who wait for the log to change.
func (l *Log) announce() {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.changed)
	l.changed = make(chan struct{})
}

// fail makes the log refuse everything from now on, and returns the error it
// does so with. The first failure is the one that counts.
func (l *Log) fail(doing string, err error) error {
	l.mu.Lock()
	first := l.err == nil
	if first {
		l.err = fmt.Errorf("%w: %s: %w", ErrFailed, doing, err)
		close(l.failed)
	}
	err = l.err
	l.mu.Unlock()
	if first {
		l.o.Log.Error("write-ahead log failed", "err", err)
		l.announce()
	}
	return err
}
