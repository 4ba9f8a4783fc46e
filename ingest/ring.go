package ingest

import (
	"context"
	"sync"
)

// ring hands appended batches to the parsers through memory, so that only a
// reader that fell behind reads the WAL. Every record appended in this life is
// announced exactly once, by the goroutine that appended it; beyond the memory
// limit only its number is kept.
type ring struct {
	limit int64

	mu     sync.Mutex
	held   map[uint64]announced
	bytes  int64
	notify chan struct{} // closed and replaced at every put
}

type announced struct {
	span     uint64
	from, to uint64
	rec      *record // nil: read it from the WAL
	size     int64
}

func newRing(limit int64) *ring {
	return &ring{limit: limit, held: map[uint64]announced{}, notify: make(chan struct{})}
}

// put announces the record seq.
func (r *ring) put(seq, span uint64, rec *record, size int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	a := announced{span: span, from: rec.from, to: rec.end(), rec: rec, size: int64(size)}
	if r.bytes+a.size > r.limit {
		a.rec, a.size = nil, 0
	}
	r.bytes += a.size
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
			r.bytes -= a.size
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
