package ctlogtest

import (
	"crypto/sha256"
	"math/bits"
)

// tree is an append-only Merkle tree (RFC 6962 section 2.1). It keeps the
// levels that are also static-ct tiles, 0, 8, 16 and so on, and computes the
// seven between two of them when asked: 32.1 bytes per leaf.
//
// A copy of a tree is a snapshot: append never changes what a copy sees.
type tree struct {
	levels [6][][32]byte
}

func (t *tree) size() uint64 { return uint64(len(t.levels[0])) }

func hashNode(l, r [32]byte) [32]byte {
	var b [65]byte
	b[0] = 1
	copy(b[1:], l[:])
	copy(b[33:], r[:])
	return sha256.Sum256(b[:])
}

func (t *tree) append(leaf [32]byte) {
	t.levels[0] = append(t.levels[0], leaf)
	for l := 0; l+1 < len(t.levels) && len(t.levels[l])%256 == 0; l++ {
		t.levels[l+1] = append(t.levels[l+1], t.node(8*(l+1), uint64(len(t.levels[l])/256-1)))
	}
}

// node returns the root of the complete subtree of 2^level leaves that is the
// n-th from the left.
func (t *tree) node(level int, n uint64) [32]byte {
	if level%8 == 0 && n < uint64(len(t.levels[level/8])) {
		return t.levels[level/8][n]
	}
	return hashNode(t.node(level-1, 2*n), t.node(level-1, 2*n+1))
}

// split returns the largest power of two below n, n > 1.
func split(n uint64) uint64 { return 1 << (bits.Len64(n-1) - 1) }

// hash returns MTH of leaves [from, to), where from is a multiple of the next
// power of two at or above to-from.
func (t *tree) hash(from, to uint64) [32]byte {
	n := to - from
	if n&(n-1) == 0 {
		level := bits.TrailingZeros64(n)
		return t.node(level, from>>level)
	}
	k := split(n)
	return hashNode(t.hash(from, from+k), t.hash(from+k, to))
}

// root returns the root of the first n leaves.
func (t *tree) root(n uint64) [32]byte {
	if n == 0 {
		return sha256.Sum256(nil)
	}
	return t.hash(0, n)
}

// inclusion returns the audit path of leaf m among the first n (RFC 6962
// section 2.1.1), m < n.
func (t *tree) inclusion(m, n uint64) [][32]byte { return t.path(m, 0, n) }

func (t *tree) path(m, from, to uint64) [][32]byte {
	if to-from == 1 {
		return nil
	}
	k := split(to - from)
	if m-from < k {
		return append(t.path(m, from, from+k), t.hash(from+k, to))
	}
	return append(t.path(m, from+k, to), t.hash(from, from+k))
}

// consistency returns the proof that the tree of m leaves is a prefix of that
// of n (RFC 6962 section 2.1.2), 0 < m ≤ n.
func (t *tree) consistency(m, n uint64) [][32]byte { return t.subproof(m, 0, n, true) }

func (t *tree) subproof(m, from, to uint64, whole bool) [][32]byte {
	if m == to-from {
		if whole {
			return nil
		}
		return [][32]byte{t.hash(from, to)}
	}
	k := split(to - from)
	if m <= k {
		return append(t.subproof(m, from, from+k, whole), t.hash(from+k, to))
	}
	return append(t.subproof(m-k, from+k, to, false), t.hash(from, from+k))
}
