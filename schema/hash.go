package schema

import (
	"encoding/binary"
	"math/bits"
)

// RowHashSQL is what [RowHash] is in SQL, of a row of the ledger: the engine
// computes it from what it stored.
const RowHashSQL = "xxHash64(concat(tbs10, reinterpretAsFixedString(idx)))"

// RowHash is what [Proof].XOR sums up: xxHash64 (seed 0) over what the ledger
// has of the tbs_id, which are its first 10 bytes, and the index as 8 bytes,
// little endian. See [RowHashSQL].
func RowHash(tbsID [16]byte, idx uint64) uint64 {
	// The general algorithm for inputs of 18 bytes, with the loops written out.
	h := uint64(prime5) + 18
	h = round8(h, binary.LittleEndian.Uint64(tbsID[:8]))
	h = round8(h, uint64(binary.LittleEndian.Uint16(tbsID[8:10]))|idx<<16)
	h = round1(h, idx>>48&0xff)
	h = round1(h, idx>>56)
	h ^= h >> 33
	h *= prime2
	h ^= h >> 29
	h *= prime3
	return h ^ h>>32
}

const (
	prime1 = 0x9E3779B185EBCA87
	prime2 = 0xC2B2AE3D27D4EB4F
	prime3 = 0x165667B19E3779F9
	prime4 = 0x85EBCA77C2B2AE63
	prime5 = 0x27D4EB2F165667C5
)

func round1(h, v uint64) uint64 {
	return bits.RotateLeft64(h^v*prime5, 11) * prime1
}

func round8(h, v uint64) uint64 {
	v *= prime2
	v = bits.RotateLeft64(v, 31) * prime1
	h ^= v
	return bits.RotateLeft64(h, 27)*prime1 + prime4
}
