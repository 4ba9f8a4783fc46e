package ctlog

import (
	"sync"
	"sync/atomic"
)

// Memory is what the leaves and precertificates of a batch lie in: a megabyte
// and more of it for every answer, which the collector would have to find and
// the system to hand out anew.
//
// Whoever got the batch owns it. The owner may give it back with Release when
// nobody refers to the entries' bytes any more, nor to what was cut from them
// (rows alias their leaf); who does not leaves it to the collector. A nil Memory
// is that of a batch whose bytes are the collector's.
type Memory struct {
	bufs [][]byte
}

// What was given back: chunks of arenas, and larger buffers.
var chunks, tiles sync.Pool

// maxTile is the size above which a buffer is left to the collector: real tiles
// have half a megabyte.
const maxTile = 4 << 20

// Release gives the memory back. The entries of the batch are void.
func (m *Memory) Release() {
	if m == nil {
		return
	}
	bufs := m.bufs
	m.bufs = nil // doing it again changes nothing
	for _, b := range bufs {
		b = b[:cap(b)]
		if scribble.Load() {
			for i := range b {
				b[i] = 0xdb
			}
		}
		switch {
		case len(b) == arenaChunk:
			chunks.Put(&b)
		case len(b) > arenaChunk && len(b) <= maxTile:
			tiles.Put(&b)
		}
	}
}

// scribble makes Release write over what it takes.
var scribble atomic.Bool

// Scribble has Release write over what it takes, for tests: whoever refers to
// entries that were given back finds no entry there.
func Scribble() { scribble.Store(true) }

// chunk returns arenaChunk bytes, whatever is in them.
func (m *Memory) chunk() []byte {
	if m == nil {
		return make([]byte, arenaChunk)
	}
	var b []byte
	if p, _ := chunks.Get().(*[]byte); p != nil {
		b = *p
	} else {
		b = make([]byte, arenaChunk)
	}
	m.bufs = append(m.bufs, b)
	return b
}

// tile returns a buffer for a tile, of any capacity, and length 0. The tile that
// was made in it, or in its place, is kept by keep.
func (m *Memory) tile() []byte {
	if m != nil {
		if p, _ := tiles.Get().(*[]byte); p != nil {
			return (*p)[:0]
		}
	}
	return nil
}

func (m *Memory) keep(b []byte) {
	if m != nil {
		m.bufs = append(m.bufs, b)
	}
}

// Bytes returns n bytes for entries that are decoded elsewhere, whatever is in
// them.
func (m *Memory) Bytes(n int) []byte {
	b := m.tile()
	if cap(b) < n {
		b = make([]byte, n)
	}
	m.keep(b[:n])
	return b[:n]
}
