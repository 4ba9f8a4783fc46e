package ingest

import (
	"context"
	"sync"
	"time"
)

// ring hands appended batches to the parsers through memory, so that only a
// reader that fell behind reads the WAL. Every record appended in this life is
// announced exactly once, by the goroutine that appended it; beyond the memory
// limit only its number is kept.
//
// What is read from the WAL again is decompressed again, by a processor that
// the reader, which is behind, could have had. So whoever announces waits for
// room as long as it comes: while the reader has taken a record within the last
// ringPatience, and is not far behind. A store that is away or slow holds
// fetching up for no longer than that.
type ring struct {
	limit int64

	mu     sync.Mutex
	held   map[uint64]announced
	bytes  int64         // of the records in held that are in memory
	behind int64         // bytes of those that are not
	taken  time.Time     // when the reader took the last one; zero before the first
	notify chan struct{} // closed and replaced at every put
	room   chan struct{} // closed and replaced at every take
}

type announced struct {
	span     uint64
	from, to uint64
	rec      *record // nil: read it from the WAL
	size     int64
}

const (
	// ringPatience is twice what a flush of the usual size takes a store that is
	// on the same machine and busy.
	ringPatience = 2 * time.Second
	// ringBehind is how many times what fits a reader may be behind to be waited
	// for: seconds of its work.
	ringBehind = 4
)

func newRing(limit int64) *ring {
	return &ring{limit: limit, held: map[uint64]announced{}, notify: make(chan struct{}), room: make(chan struct{})}
}

// put announces the record seq. It may wait, and announces when ctx ends.
func (r *ring) put(ctx context.Context, seq, span uint64, rec *record, size int) {
	a := announced{span: span, from: rec.from, to: rec.end(), rec: rec, size: int64(size)}
	var timer *time.Timer
	for {
		r.mu.Lock()
		wait := r.patience(a.size)
		if wait <= 0 || ctx.Err() != nil {
			r.hold(seq, a)
			r.mu.Unlock()
			return
		}
		room := r.room
		r.mu.Unlock()
		if timer == nil {
			timer = time.NewTimer(wait)
			defer timer.Stop()
		} else {
			timer.Reset(wait)
		}
		select {
		case <-room:
		case <-timer.C:
		case <-ctx.Done():
		}
	}
}

// patience is for how long to wait for room for a record of size bytes.
func (r *ring) patience(size int64) time.Duration {
	if r.bytes+size <= r.limit || r.bytes == 0 || r.behind > ringBehind*r.limit {
		return 0
	}
	return ringPatience - time.Since(r.taken)
}

func (r *ring) hold(seq uint64, a announced) {
	if r.bytes+a.size > r.limit {
		a.rec.memory.Release() // it was the ring's alone
		a.rec = nil
		r.behind += a.size
	} else {
		r.bytes += a.size
	}
	r.held[seq] = a
	close(r.notify)
	r.notify = make(chan struct{})
}

// take waits until seq is announced and removes it.
func (r *ring) take(ctx context.Context, seq uint64) (announced, error) {
	for {
		r.mu.Lock()
		a, ok := r.held[seq]
		notify := r.notify
		if ok {
			delete(r.held, seq)
			if a.rec == nil {
				r.behind -= a.size
			} else {
				r.bytes -= a.size
			}
			r.taken = time.Now()
			close(r.room)
			r.room = make(chan struct{})
		}
		r.mu.Unlock()
		if ok {
			return a, nil
		}
		select {
		case <-notify:
		case <-ctx.Done():
			return announced{}, ctx.Err()
		}
	}
}
