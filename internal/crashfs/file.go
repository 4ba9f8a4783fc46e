package crashfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path"
	"slices"
	"syscall"
	"time"

	"ctappliance/internal/durable"
)

// blockSize is what survives or is lost as a whole.
const blockSize = 512

// content is a file's bytes as blocks, which are never changed in place: two
// contents may share them, and differ where their pointers do. A missing
// block is zeros.
type content struct {
	size   int64
	blocks map[int64]*[blockSize]byte
}

func (c *content) clone() content {
	return content{c.size, maps.Clone(c.blocks)}
}

func (c *content) readAt(b []byte, off int64) int {
	n := int(max(0, min(int64(len(b)), c.size-off)))
	b = b[:n]
	clear(b)
	for i := 0; i < n; {
		at := off + int64(i)
		step := min(n-i, blockSize-int(at%blockSize))
		if p := c.blocks[at/blockSize]; p != nil {
			copy(b[i:i+step], p[at%blockSize:])
		}
		i += step
	}
	return n
}

// writeAt returns the blocks that it changed.
func (c *content) writeAt(b []byte, off int64) (changed []int64) {
	if c.blocks == nil {
		c.blocks = map[int64]*[blockSize]byte{}
	}
	for i := 0; i < len(b); {
		at := off + int64(i)
		var block [blockSize]byte
		if p := c.blocks[at/blockSize]; p != nil {
			block = *p
		}
		step := copy(block[at%blockSize:], b[i:])
		c.blocks[at/blockSize] = &block
		changed = append(changed, at/blockSize)
		i += step
	}
	c.size = max(c.size, off+int64(len(b)))
	return changed
}

// truncate also clears what is behind the new end.
func (c *content) truncate(size int64) {
	for i := range c.blocks {
		if i*blockSize >= size {
			delete(c.blocks, i)
		}
	}
	if p := c.blocks[size/blockSize]; p != nil {
		block := *p
		clear(block[size%blockSize:])
		c.blocks[size/blockSize] = &block
	}
	c.size = size
}

// crash tosses a coin for the size and for each block that differs.
func (c *content) crash(now content, rng *rand.Rand) content {
	out := c.clone()
	if out.blocks == nil {
		out.blocks = map[int64]*[blockSize]byte{}
	}
	size := c.size
	if now.size != size && rng.IntN(2) == 1 {
		size = now.size
	}
	differ := map[int64]bool{}
	for i, p := range now.blocks {
		if c.blocks[i] != p {
			differ[i] = true
		}
	}
	for i := range c.blocks {
		if now.blocks[i] == nil {
			differ[i] = true
		}
	}
	for _, i := range slices.Sorted(maps.Keys(differ)) {
		if rng.IntN(2) == 0 {
			continue
		}
		if p := now.blocks[i]; p != nil {
			out.blocks[i] = p
		} else {
			delete(out.blocks, i)
		}
	}
	out.truncate(size)
	return out
}

// file is an open file.
type file struct {
	fs     *FS
	n      *node
	name   string
	flag   int
	off    int64 // of Write
	closed bool
}

// OpenFile opens a file.
func (f *FS) OpenFile(name string, flag int, _ fs.FileMode) (durable.File, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	name = clean(name)
	kind := "open"
	if flag&os.O_CREATE != 0 {
		kind = "create"
	}
	var n *node
	err := f.do(kind, name, "", func(Outcome) error {
		d, b, err := f.parent(name)
		if err != nil {
			return &fs.PathError{Op: "open", Path: name, Err: err}
		}
		n = d.entries[b]
		switch {
		case n == nil && flag&os.O_CREATE == 0:
			return &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
		case n == nil:
			n = &node{}
			d.entries[b] = n
		case n.dir && flag&(os.O_WRONLY|os.O_RDWR) != 0:
			return &fs.PathError{Op: "open", Path: name, Err: syscall.EISDIR}
		case flag&(os.O_CREATE|os.O_EXCL) == os.O_CREATE|os.O_EXCL:
			return &fs.PathError{Op: "open", Path: name, Err: fs.ErrExist}
		}
		if flag&os.O_TRUNC != 0 {
			n.resize(0)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &file{fs: f, n: n, name: name, flag: flag}, nil
}

// Preallocate makes an empty file size zeros.
func (f *FS) Preallocate(df durable.File, size int64) error {
	h, ok := df.(*file)
	if !ok || h.fs != f {
		return errors.New("preallocating a file of another file system")
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.do("preallocate", h.name, fmt.Sprintf(" %d", size), func(Outcome) error {
		if err := f.room(size - h.n.file.size); err != nil {
			return &fs.PathError{Op: "preallocate", Path: h.name, Err: err}
		}
		h.n.resize(max(size, h.n.file.size))
		return nil
	})
}

// room returns ENOSPC if the disk cannot hold more bytes.
func (f *FS) room(more int64) error {
	if f.capacity > 0 && more > 0 && f.root.used()+more > f.capacity {
		return syscall.ENOSPC
	}
	return nil
}

func (n *node) resize(size int64) {
	for i := range n.file.blocks {
		if (i+1)*blockSize > size {
			n.touch(i)
		}
	}
	n.file.truncate(size)
}

func (n *node) touch(blocks ...int64) {
	if n.dirty == nil {
		n.dirty = map[int64]bool{}
	}
	for _, b := range blocks {
		n.dirty[b] = true
	}
}

func (h *file) usable(op string, writing bool) error {
	if h.closed {
		return &fs.PathError{Op: op, Path: h.name, Err: fs.ErrClosed}
	}
	if writing && h.flag&(os.O_WRONLY|os.O_RDWR) == 0 {
		return &fs.PathError{Op: op, Path: h.name, Err: syscall.EBADF}
	}
	return nil
}

func (h *file) ReadAt(b []byte, off int64) (n int, err error) {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	err = h.fs.do("read", h.name, "", func(Outcome) error {
		if err := h.usable("read", false); err != nil {
			return err
		}
		n = h.n.file.readAt(b, off)
		return nil
	})
	if err == nil && n < len(b) {
		err = io.EOF
	}
	return n, err
}

func (h *file) WriteAt(b []byte, off int64) (int, error) {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	return h.writeAt(b, off)
}

func (h *file) Write(b []byte) (int, error) {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	if h.flag&os.O_APPEND != 0 {
		h.off = h.n.file.size
	}
	n, err := h.writeAt(b, h.off)
	h.off += int64(n)
	return n, err
}

func (h *file) writeAt(b []byte, off int64) (n int, err error) {
	err = h.fs.do("write", h.name, fmt.Sprintf(" %d+%d", off, len(b)), func(o Outcome) error {
		if err := h.usable("write", true); err != nil {
			return err
		}
		if err := h.fs.room(off + int64(len(b)) - h.n.file.size); err != nil {
			return &fs.PathError{Op: "write", Path: h.name, Err: err}
		}
		if o == HalfDone {
			b = b[:len(b)/2]
		}
		h.n.touch(h.n.file.writeAt(b, off)...)
		n = len(b)
		return nil
	})
	return n, err
}

func (h *file) Sync() error     { return h.sync("sync") }
func (h *file) SyncData() error { return h.sync("fdatasync") }

func (h *file) sync(kind string) error {
	h.fs.mu.Lock()
	delay := h.fs.delay
	h.fs.mu.Unlock()
	if delay > 0 {
		time.Sleep(delay)
	}
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	return h.fs.do(kind, h.name, "", func(o Outcome) error {
		if err := h.usable(kind, false); err != nil {
			return err
		}
		n := h.n
		if o == Done || o == DoneFailed {
			if n.disk.blocks == nil {
				n.disk.blocks = map[int64]*[blockSize]byte{}
			}
			for i := range n.dirty {
				if p := n.file.blocks[i]; p != nil {
					n.disk.blocks[i] = p
				} else {
					delete(n.disk.blocks, i)
				}
			}
			n.disk.truncate(n.file.size)
		}
		n.dirty = nil // also if it failed: see the package comment
		return nil
	})
}

func (h *file) Truncate(size int64) error {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	return h.fs.do("truncate", h.name, fmt.Sprintf(" %d", size), func(Outcome) error {
		if err := h.usable("truncate", true); err != nil {
			return err
		}
		if err := h.fs.room(size - h.n.file.size); err != nil {
			return &fs.PathError{Op: "truncate", Path: h.name, Err: err}
		}
		h.n.resize(size)
		return nil
	})
}

func (h *file) Stat() (fs.FileInfo, error) {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	if err := h.usable("stat", false); err != nil {
		return nil, err
	}
	return info{path.Base(h.name), h.n.dir, h.n.file.size}, nil
}

func (h *file) Close() error {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	if err := h.usable("close", false); err != nil {
		return err
	}
	h.closed = true
	return nil
}
