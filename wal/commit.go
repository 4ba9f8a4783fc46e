package wal

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"ctappliance/internal/durable"
)

const (
	// pollEvery is how often a full disk is looked at again.
	pollEvery = time.Second

	// slowFsync is when an operator is told that the disk is slow.
	slowFsync = time.Second
)

// group is a group commit in the making. Appenders encode their records into
// it themselves, so that the committer only has to write. Guarded by
// Log.groupMu until it is sealed; then it belongs to the committer.
type group struct {
	buf     []byte // frame header, not yet filled in, and records
	crc     uint32 // of the records
	recs    []*pendingRecord
	sealed  chan struct{} // closed when no further record may join
	settled chan struct{} // closed when first and err are known
	first   uint64        // seq of the first record
	err     error
}

type pendingRecord struct {
	g          *group
	index      int // in g.recs
	from, end  int // in g.buf
	stream     uint64
	forget     bool
	stateBytes int
}

func newGroup() *group {
	return &group{
		buf:     make([]byte, frameHeaderSize, 4<<10),
		sealed:  make(chan struct{}),
		settled: make(chan struct{}),
	}
}

// fits reports whether a record of n bytes may join. A record that is alone
// always may.
func (g *group) fits(n int, limit int64) bool {
	return len(g.recs) == 0 || len(g.recs) < maxGroupRecords && int64(len(g.buf)+n) <= limit
}

func (g *group) add(stream uint64, flags uint32, state, payload []byte) *pendingRecord {
	from := len(g.buf)
	g.buf = appendRecord(g.buf, stream, flags, state, payload)
	g.crc = crc32.Update(g.crc, castagnoli, g.buf[from:])
	p := &pendingRecord{
		g: g, index: len(g.recs), from: from, end: len(g.buf),
		stream: stream, forget: flags&flagForget != 0, stateBytes: len(state),
	}
	g.recs = append(g.recs, p)
	return p
}

// withdraw takes a record out again.
func (g *group) withdraw(p *pendingRecord) {
	n := p.end - p.from
	g.buf = append(g.buf[:p.from], g.buf[p.end:]...)
	g.recs = append(g.recs[:p.index], g.recs[p.index+1:]...)
	for i, q := range g.recs[p.index:] {
		q.index, q.from, q.end = p.index+i, q.from-n, q.end-n
	}
	g.crc = crc32.Checksum(g.buf[frameHeaderSize:], castagnoli)
}

// groupLimit bounds the bytes of a group of several records.
func (l *Log) groupLimit() int64 { return min(maxGroupBytes, l.o.SegmentSize/2) }

// append is Append and Forget.
func (l *Log) append(ctx context.Context, stream uint64, flags uint32, state, payload []byte) (uint64, error) {
	n := recordHeaderSize + len(state) + len(payload)
	var p *pendingRecord
	for p == nil {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		l.mu.Lock()
		err, full := l.errLocked(), l.snapSize+12+int64(len(state)) > maxSnapshot
		l.mu.Unlock()
		if err != nil {
			return 0, err
		}
		if full && flags&flagForget == 0 {
			return 0, fmt.Errorf("appending to the log: the states of all streams together exceed %d bytes", maxSnapshot)
		}
		l.groupMu.Lock()
		g := l.pending
		if g.fits(n, l.groupLimit()) {
			p = g.add(stream, flags, state, payload)
		}
		l.groupMu.Unlock()
		if p != nil {
			break
		}
		select {
		case <-g.sealed:
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-l.done:
			return 0, l.Err()
		}
	}
	select {
	case l.wake <- struct{}{}:
	default: // it knows already
	}
	select {
	case <-p.g.settled:
	case <-l.done:
		// The committer has ended. It settled the group, or never will.
		select {
		case <-p.g.settled:
		default:
			return 0, l.Err()
		}
	case <-ctx.Done():
		l.groupMu.Lock()
		if l.pending == p.g {
			p.g.withdraw(p)
			l.groupMu.Unlock()
			return 0, ctx.Err()
		}
		l.groupMu.Unlock()
		<-p.g.settled // it is being written: no way back
	}
	if p.g.err != nil {
		return 0, p.g.err
	}
	return p.g.first + uint64(p.index), nil
}

// output is the active segment as the committer sees it.
type output struct {
	seg  *segment
	file durable.File
	off  int64 // where the next frame goes
}

// commitLoop is the committer: it writes one group after the other, each only
// after the one before is durable.
func (l *Log) commitLoop() {
	defer close(l.done)
	for {
		if l.out != nil {
			select {
			case <-l.wake:
			case <-l.quit:
				return
			}
		}
		for {
			need, ok := l.makeRoom()
			if !ok {
				return
			}
			if need == 0 {
				break // nothing to write
			}
			g := l.seal()
			if g == nil {
				continue // it has grown, or shrunk, since there was room for it
			}
			if err := l.commit(g); err != nil {
				return // with the file left open: closing it can change nothing
			}
		}
	}
}

// need is what the pending group takes in a segment; 0 if it is empty.
func (l *Log) need() int64 {
	l.groupMu.Lock()
	defer l.groupMu.Unlock()
	if len(l.pending.recs) == 0 {
		return 0
	}
	return frameSize(int64(len(l.pending.buf) - frameHeaderSize))
}

// seal closes the pending group to further records, if there is room for it.
func (l *Log) seal() *group {
	l.groupMu.Lock()
	defer l.groupMu.Unlock()
	g := l.pending
	if len(g.recs) == 0 || frameSize(int64(len(g.buf)-frameHeaderSize)) > l.out.seg.size-l.out.off {
		return nil
	}
	l.pending = newGroup()
	if s := l.spare; s != nil {
		l.pending.buf, l.spare = s.buf[:frameHeaderSize], nil
	}
	close(g.sealed)
	return g
}

// makeRoom returns when the active segment has room for the pending group,
// whose size it returns, waiting for Trim or for space on the disk if need
// be. ok is false if the log was closed, or has failed.
func (l *Log) makeRoom() (need int64, ok bool) {
	defer l.stall("")
	for {
		select {
		case <-l.quit:
			return 0, false
		default:
		}
		need = l.need()
		reason := ""
		switch {
		case l.out != nil && need == 0:
			return 0, true
		case l.out != nil && need <= l.out.seg.size-l.out.off:
			if !l.overBudget(0) {
				return need, true
			}
			reason = "budget"
		default:
			hdr, snap := l.plan(need)
			if l.overBudget(int64(hdr.size)) {
				reason = "budget"
				break
			}
			err := l.rotate(hdr, snap)
			if err == nil {
				continue
			}
			if !durable.IsFull(err) {
				l.fail("starting a segment", err)
				return 0, false
			}
			reason = "disk full"
		}
		l.stall(reason)
		timer := time.NewTimer(pollEvery)
		select {
		case <-timer.C:
		case <-l.room:
		case <-l.quit:
		}
		timer.Stop()
	}
}

// stall sets what Stalled returns, and tells the operator when it changes.
func (l *Log) stall(reason string) {
	l.mu.Lock()
	was := l.stalled
	l.stalled = reason
	size := l.segmentBytes()
	l.mu.Unlock()
	switch {
	case was == reason:
	case reason != "":
		l.o.Log.Warn("appending waits", "reason", reason, "bytes", size, "budget", l.o.Budget, "reserve", l.o.Reserve)
	default:
		l.o.Log.Info("appending goes on", "waited_for", was)
	}
}

// overBudget reports whether more bytes are too many. Two segments are always
// allowed, so that neither a small budget nor a large record ends in a
// deadlock: what is in the first can be delivered and trimmed.
func (l *Log) overBudget(more int64) bool {
	if l.o.Budget == 0 {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(l.segs)
	if more > 0 {
		n++
	}
	return n > 2 && l.segmentBytes()+more > l.o.Budget
}

// plan returns the header and the snapshot of a segment with room for a frame
// of need bytes.
func (l *Log) plan(need int64) (header, []byte) {
	l.mu.Lock()
	snap := encodeSnapshot(l.states)
	l.mu.Unlock()
	hdr := l.nextSeg
	hdr.snapLen = uint32(len(snap))
	hdr.size = uint64(max(l.o.SegmentSize, align(hdr.firstFrame()+need, firstAlign)))
	return hdr, snap
}

// errReserve is a full disk by our own measure.
type errReserve struct{ free, reserve int64 }

func (e errReserve) Error() string {
	return fmt.Sprintf("%d bytes are free, and %d must stay so", e.free, e.reserve)
}

func (errReserve) Unwrap() error { return syscall.ENOSPC }

// rotate starts a new segment and makes it the active one. An error that is a
// full disk leaves things as they were.
func (l *Log) rotate(hdr header, snap []byte) error {
	out, err := l.create(hdr, snap)
	if err != nil {
		return err
	}
	l.metrics.bytes.Add(uint64(out.off))
	old := l.replaced
	if l.out != nil {
		l.o.Step("wal-rotate")
		// Synced frame by frame: an error in closing loses nothing.
		if err := l.out.file.Close(); err != nil {
			l.o.Log.Warn("closing a full segment failed", "segment", l.out.seg.name, "err", err)
		}
		if l.out.off == l.out.seg.hdr.firstFrame() {
			old = l.out.seg
		}
	}
	l.mu.Lock()
	if l.out != nil {
		l.out.seg.active = false
	}
	if n := len(l.segs); old != nil && n > 0 && l.segs[n-1] == old {
		l.segs = l.segs[: n-1 : n-1]
	}
	l.segs = append(l.segs, out.seg)
	l.mu.Unlock()
	l.out, l.replaced = out, nil
	l.nextSeg.ordinal++
	if old == nil {
		return nil
	}
	// The new segment takes the place of one that never held a record, so
	// that restarts do not pile them up. Should the name come back after a
	// crash, it is as empty as before.
	if err := l.o.FS.Remove(filepath.Join(l.dir, old.name)); err != nil {
		l.o.Log.Warn("removing an empty segment failed", "segment", old.name, "err", err)
	}
	return nil
}

// create makes a segment file. Its name ends in ".wal" only when its header
// and snapshot are durable; so a ".wal" whose header cannot be read was
// damaged, and is not merely new. When create returns nil, the name is
// durable too, and frames may follow.
func (l *Log) create(hdr header, snap []byte) (_ *output, err error) {
	fsys := l.o.FS
	if l.o.Reserve > 0 {
		free, err := fsys.Free(l.dir)
		if err != nil {
			return nil, err
		}
		if free-int64(hdr.size) < l.o.Reserve {
			return nil, errReserve{free, l.o.Reserve}
		}
	}
	var salt [8]byte
	rand.Read(salt[:]) // never fails
	hdr.salt = binary.LittleEndian.Uint64(salt[:])
	hdr.snapCRC = salted(crc32.Checksum(snap, castagnoli), hdr.salt)
	head := make([]byte, hdr.firstFrame())
	copy(head, hdr.encode())
	copy(head[headerCopyAt:], hdr.encode())
	copy(head[snapshotAt:], snap)

	name := segmentName(hdr.ordinal, hdr.base)
	path := filepath.Join(l.dir, name)
	tmp := path[:len(path)-len(suffix)] + tmpSuffix
	f, err := fsys.OpenFile(tmp, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			f.Close()
			fsys.Remove(tmp) // best effort; Open sweeps up what stays
		}
	}()
	if err := fsys.Preallocate(f, int64(hdr.size)); err != nil {
		return nil, err
	}
	if _, err := f.WriteAt(head, 0); err != nil {
		return nil, err
	}
	// A failed sync is final, even if a full disk is its reason: hence %v,
	// which takes the reason out of errors.Is.
	if err := f.Sync(); err != nil {
		return nil, fmt.Errorf("syncing %s: %v", tmp, err)
	}
	if err := fsys.Rename(tmp, path); err != nil {
		return nil, err
	}
	if err := fsys.SyncDir(l.dir); err != nil {
		return nil, fmt.Errorf("syncing %s: %v", l.dir, err)
	}
	return &output{
		file: f,
		off:  hdr.firstFrame(),
		seg: &segment{
			name: name, ordinal: hdr.ordinal, base: hdr.base, prevNext: hdr.prevNext,
			size: int64(hdr.size), hdr: hdr,
			next: hdr.base, synced: hdr.firstFrame(), active: true,
		},
	}, nil
}

// commit writes a group as one frame, syncs it, and tells the appenders.
func (l *Log) commit(g *group) error {
	out := l.out
	body := g.buf[frameHeaderSize:]
	h := frameHeader{
		length:  uint32(len(body)),
		count:   uint32(len(g.recs)),
		first:   l.nextSeg.base,
		bodyCRC: salted(g.crc, out.seg.hdr.salt),
	}
	h.put(g.buf, out.seg.hdr.salt)
	frame := append(g.buf, make([]byte, h.size()-int64(len(g.buf)))...)
	if _, err := out.file.WriteAt(frame, out.off); err != nil {
		return l.settle(g, l.fail("writing to "+out.seg.name, err))
	}
	l.o.Step("wal-written")
	start := time.Now()
	if err := out.file.SyncData(); err != nil {
		return l.settle(g, l.fail("syncing "+out.seg.name, err))
	}
	took := time.Since(start)
	l.metrics.fsyncs.Add(1)
	l.metrics.fsyncNanos.Add(uint64(took))
	l.metrics.groups.Add(1)
	l.metrics.appends.Add(uint64(len(g.recs)))
	l.metrics.bytes.Add(uint64(len(frame)))
	if slow := took > slowFsync; slow != l.warnSlow {
		l.warnSlow = slow
		if slow {
			l.o.Log.Warn("fsync is slow", "segment", out.seg.name, "took", took, "bytes", len(frame))
		}
	}
	l.o.Step("wal-synced")

	g.first = h.first
	end := h.first + uint64(h.count)
	l.mu.Lock()
	for _, r := range g.recs {
		l.applyLocked(r, g.buf)
	}
	out.seg.addMark(mark{h.first, out.off})
	out.off += int64(len(frame))
	out.seg.synced, out.seg.next, l.next = out.off, end, end
	l.mu.Unlock()
	n := &l.nextSeg
	n.base, n.prevNext, n.prevOrdinal, n.flags = end, end, out.seg.ordinal, 0
	l.settle(g, nil)
	l.announce()
	return nil
}

// applyLocked moves the states over a record that is durable. The caller
// holds mu.
func (l *Log) applyLocked(r *pendingRecord, buf []byte) {
	old, had := l.states[r.stream]
	if had {
		l.snapSize -= int64(12 + len(old))
	}
	if r.forget {
		delete(l.states, r.stream)
		return
	}
	from := r.from + recordHeaderSize
	l.states[r.stream] = append([]byte{}, buf[from:from+r.stateBytes]...)
	l.snapSize += int64(12 + r.stateBytes)
}

// markEvery is how many bytes of a segment lie between two marks at least: a
// Read of one record passes over that much.
const markEvery = 64 << 10

func (s *segment) addMark(m mark) {
	if n := len(s.marks); n == 0 || m.off-s.marks[n-1].off >= markEvery {
		s.marks = append(s.marks, m)
	}
}

// settle lets the appenders of a group go, and keeps its buffer for the next.
func (l *Log) settle(g *group, err error) error {
	g.err = err
	close(g.settled)
	if err == nil && cap(g.buf) <= maxGroupBytes+maxGroupBytes/4 {
		l.spare = &group{buf: g.buf}
	}
	return err
}
