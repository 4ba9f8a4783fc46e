package ctlog

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"time"
)

// localFile is a ranger on disk.
type localFile struct {
	f        *os.File
	length   int64
	modified time.Time
}

func newLocalFile(f *os.File) (*localFile, error) {
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	return &localFile{f, st.Size(), st.ModTime()}, nil
}

func (l *localFile) size(context.Context, Class) (int64, error) { return l.length, nil }
func (l *localFile) close()                                     { _ = l.f.Close() }

func (l *localFile) stale() bool {
	st, err := l.f.Stat()
	return err != nil || st.Size() != l.length || !st.ModTime().Equal(l.modified)
}

func (l *localFile) readAt(ctx context.Context, _ Class, p []byte, off int64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	_, err := l.f.ReadAt(p, off)
	if errors.Is(err, io.EOF) {
		return answerErrorf("archive "+quote(l.f.Name()), "ends before byte %d", off+int64(len(p)))
	}
	return err
}

// Blocks of a remote file: what one request asks for, and how many of them are
// kept. A data tile of an archive has 90 to 190 kB, and its neighbours follow
// it: a block holds what several workers want next.
const (
	blockBytes = 2 << 20
	maxBlocks  = 8
)

// remoteFile is a ranger over https, read with Range requests. Each takes a
// slot from the pacer. Blocks are fetched once however many wait for them.
type remoteFile struct {
	c    *client
	path string

	mu      sync.Mutex
	total   int64  // bytes; 0 until known
	tag     string // what the server calls this version
	moved   string // where the last redirect led; empty: ask at path
	changed bool
	blocks  map[int64]*block
	order   []int64 // block numbers, most recently used last
}

type block struct {
	done chan struct{}
	data []byte
	err  error
}

func newRemoteFile(c *client, path string) *remoteFile {
	return &remoteFile{c: c, path: path, blocks: map[int64]*block{}}
}

func (r *remoteFile) close() {}

func (r *remoteFile) stale() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.changed
}

// size asks for the first byte in order to be told how many there are.
func (r *remoteFile) size(ctx context.Context, class Class) (int64, error) {
	r.mu.Lock()
	total := r.total
	r.mu.Unlock()
	if total > 0 {
		return total, nil
	}
	if _, err := r.fetch(ctx, class, 0, 1); err != nil {
		return 0, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.total, nil
}

func (r *remoteFile) readAt(ctx context.Context, class Class, p []byte, off int64) error {
	for len(p) > 0 {
		b, err := r.block(ctx, class, off/blockBytes)
		if err != nil {
			return err
		}
		at := int(off % blockBytes)
		if at >= len(b) {
			return answerErrorf("archive "+quote(r.path), "ends before byte %d", off+1)
		}
		n := copy(p, b[at:])
		p, off = p[n:], off+int64(n)
	}
	return nil
}

// block returns block n of the file, the last one of which is shorter.
func (r *remoteFile) block(ctx context.Context, class Class, n int64) ([]byte, error) {
	for {
		r.mu.Lock()
		b := r.blocks[n]
		mine := b == nil
		if mine {
			b = &block{done: make(chan struct{})}
			r.blocks[n] = b
		}
		r.touch(n)
		total := r.total
		r.mu.Unlock()
		if mine {
			want := int64(blockBytes)
			if total > 0 {
				want = min(want, total-n*blockBytes)
			}
			b.data, b.err = r.fetch(ctx, class, n*blockBytes, want)
			if b.err != nil {
				r.mu.Lock()
				delete(r.blocks, n)
				r.mu.Unlock()
			}
			close(b.done)
			return b.data, b.err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-b.done:
		}
		// Whoever asked may have been told to stop; that is no answer to us.
		if b.err == nil || !errors.Is(b.err, context.Canceled) && !errors.Is(b.err, context.DeadlineExceeded) {
			return b.data, b.err
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
}

// touch notes that block n is in use and lets go of the oldest. r.mu is held.
func (r *remoteFile) touch(n int64) {
	r.order = slices.DeleteFunc(r.order, func(o int64) bool { return o == n || r.blocks[o] == nil })
	r.order = append(r.order, n)
	if len(r.order) > maxBlocks {
		delete(r.blocks, r.order[0])
		r.order = slices.Delete(r.order, 0, 1)
	}
}

// fetch asks for the bytes [from, from+n).
func (r *remoteFile) fetch(ctx context.Context, class Class, from, n int64) (data []byte, err error) {
	r.mu.Lock()
	url := r.moved
	r.mu.Unlock()
	q := request{class: class, path: r.path, url: url, from: from, n: n, limit: n, accept: plainOnly}
	err = r.c.get(ctx, q, func(a *answer) error {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.total > 0 && (a.total != r.total || a.tag != r.tag) {
			r.changed = true
			return answerErrorf("archive "+quote(r.path), "is not the file that it was: %d bytes, before %d", a.total, r.total)
		}
		r.total, r.tag, r.moved = a.total, a.tag, a.url
		data = a.body
		return nil
	})
	if err != nil && url != "" {
		// Redirects are often good for a while only: ask at the front door again.
		r.mu.Lock()
		r.moved = ""
		r.mu.Unlock()
	}
	if err != nil {
		return nil, fmt.Errorf("bytes from %d: %w", from, err)
	}
	return data, nil
}
