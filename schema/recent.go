package schema

import (
	"encoding/binary"
	"hash/maphash"
)

// Recent remembers keys of dependent rows that were written not long ago. The
// same certificate comes from several logs within minutes; writing its rows
// once saves most of the engine's work. To forget is harmless, since
// dependents may be written again; to remember what was never written would
// lose rows, so the owner calls Forget whenever an insert did not end well.
//
// It is a table of fixed size in which a new key takes an old one's place.
// Keys are 128-bit hashes with seeds of this process: no one can make two meet.
// A nil Recent remembers nothing. Not safe for concurrent use.
type Recent struct {
	seeds [2]maphash.Seed
	slots [][2]uint64
	buf   []byte
}

// NewRecent returns a Recent of 2^bits slots of 16 bytes.
func NewRecent(bits int) *Recent {
	return &Recent{
		seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()},
		slots: make([][2]uint64, 1<<bits),
	}
}

// Forget empties r.
func (r *Recent) Forget() {
	if r != nil {
		clear(r.slots)
	}
}

// add remembers the key and reports whether it was known.
func (r *Recent) add(kind byte, tbsID *[16]byte, n uint64, more []byte) bool {
	if r == nil {
		return false
	}
	r.buf = append(append(r.buf[:0], kind), tbsID[:]...)
	r.buf = append(binary.LittleEndian.AppendUint64(r.buf, n), more...)
	key := [2]uint64{maphash.Bytes(r.seeds[0], r.buf) | 1, maphash.Bytes(r.seeds[1], r.buf)} // never the zero of an empty slot
	slot := &r.slots[key[1]&uint64(len(r.slots)-1)]
	if *slot == key {
		return true
	}
	*slot = key
	return false
}
