package ctlog

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"github.com/transparency-dev/merkle/compact"

	"ctappliance/ingest/shabatch"
)

// maxTreeSize bounds the sizes that heads and frontiers may claim. Static logs
// end at 2^40 (leaf_index has 5 bytes); the bound keeps sums of indices, and
// indices of tree nodes, far from overflow.
const maxTreeSize = 1 << 56

// The first byte of what is hashed says what it is.
const (
	leafPrefix = 0
	nodePrefix = 1
)

// LeafHash returns the hash under which a leaf stands in the tree: SHA-256 of
// 0x00 and the MerkleTreeLeaf as received (RFC 6962 section 2.1).
func LeafHash(leaf []byte) Hash {
	d := sha256.New()
	d.Write([]byte{leafPrefix})
	d.Write(leaf)
	var h Hash
	d.Sum(h[:0])
	return h
}

// LeafHashes returns LeafHash of each entry, in less time than that of one
// after the other.
func LeafHashes(entries []Entry) []Hash {
	leaves := make([][]byte, len(entries))
	for i := range entries {
		leaves[i] = entries[i].Leaf
	}
	hashes := make([]Hash, len(entries))
	shabatch.SHA256(hashes, []byte{leafPrefix}, leaves)
	return hashes
}

// NodeHash returns the hash of a node with two children: SHA-256 of 0x01,
// left and right (RFC 6962 section 2.1).
func NodeHash(left, right Hash) Hash {
	var b [1 + 2*sha256.Size]byte
	b[0] = nodePrefix
	copy(b[1:], left[:])
	copy(b[1+sha256.Size:], right[:])
	return sha256.Sum256(b[:])
}

// ranges has the one hash function of RFC 6962; compact ranges compare equal
// only if they come from the same factory. It is never changed.
var ranges = &compact.RangeFactory{Hash: func(left, right []byte) []byte {
	h := NodeHash(Hash(left), Hash(right))
	return h[:]
}}

// Frontier is the compact range of [0, size): the roots of the perfect
// subtrees that cover it, largest first, one per set bit of size. It is all
// one needs to go on hashing a log, and to know its root. The zero value is
// the empty tree's. It is not safe for concurrent use.
type Frontier struct{ r *compact.Range }

// NewFrontier returns the frontier with these subtree roots, largest first.
// There must be one per set bit of size.
func NewFrontier(size uint64, roots []Hash) (*Frontier, error) {
	if size > maxTreeSize {
		return nil, fmt.Errorf("frontier of size %d is larger than any log", size)
	}
	hashes := make([][]byte, len(roots))
	for i := range roots {
		h := roots[i]
		hashes[i] = h[:]
	}
	r, err := ranges.NewRange(0, size, hashes) // counts them
	if err != nil {
		return nil, fmt.Errorf("frontier of size %d: %w", size, err)
	}
	return &Frontier{r}, nil
}

func (f *Frontier) init() *compact.Range {
	if f.r == nil {
		f.r = ranges.NewEmptyRange(0)
	}
	return f.r
}

// Append adds one leaf. If visit is not nil it is called with every node that
// the leaf completes, lowest first: level 0 is the leaf itself, level 8 the
// root of a complete subtree of 256 leaves; index counts nodes of a level.
func (f *Frontier) Append(leafHash Hash, visit func(level uint, index uint64, h Hash)) {
	var v compact.VisitFn
	if visit != nil {
		v = func(id compact.NodeID, h []byte) { visit(id.Level, id.Index, Hash(h)) }
	}
	h := leafHash // the range keeps a reference
	if err := f.init().Append(h[:], v); err != nil {
		// NewFrontier and UnmarshalBinary checked the number of hashes.
		panic("frontier lost a hash: " + err.Error())
	}
}

// AppendAll adds leaves: what Append does one by one, but that visit is called
// with nodes of level 8 and above only, and that complete subtrees of 256
// leaves are hashed as a whole.
func (f *Frontier) AppendAll(leafHashes []Hash, visit func(level uint, index uint64, h Hash)) {
	const level, width = 8, 256
	var above compact.VisitFn
	if visit != nil {
		above = func(id compact.NodeID, h []byte) {
			if id.Level >= level {
				visit(id.Level, id.Index, Hash(h))
			}
		}
	}
	must := func(err error) {
		if err != nil {
			panic("frontier lost a hash: " + err.Error())
		}
	}
	r := f.init()
	var nodes [width]Hash
	for len(leafHashes) > 0 {
		if r.End()%width != 0 || len(leafHashes) < width {
			h := leafHashes[0] // the range keeps a reference
			must(r.Append(h[:], above))
			leafHashes = leafHashes[1:]
			continue
		}
		copy(nodes[:], leafHashes)
		for n := width / 2; n > 0; n /= 2 {
			shabatch.Nodes(nodes[:n], nodePrefix, nodes[:2*n])
		}
		root := nodes[0]
		begin := r.End()
		if visit != nil {
			visit(level, begin/width, root)
		}
		sub, err := ranges.NewRange(begin, begin+width, [][]byte{root[:]})
		must(err)
		must(r.AppendRange(sub, above))
		leafHashes = leafHashes[width:]
	}
}

// Size returns the number of leaves.
func (f *Frontier) Size() uint64 {
	if f.r == nil {
		return 0
	}
	return f.r.End()
}

// Root returns the root of the tree of Size leaves.
func (f *Frontier) Root() Hash {
	if f.Size() == 0 {
		return sha256.Sum256(nil)
	}
	root, err := f.r.GetRootHash(nil)
	if err != nil {
		panic("frontier does not begin at 0: " + err.Error())
	}
	return Hash(root)
}

// Hashes returns the subtree roots, largest subtree first.
func (f *Frontier) Hashes() []Hash {
	if f.r == nil {
		return nil
	}
	hs := make([]Hash, len(f.r.Hashes()))
	for i, h := range f.r.Hashes() {
		hs[i] = Hash(h)
	}
	return hs
}

// Clone returns a frontier that grows on its own.
func (f *Frontier) Clone() *Frontier {
	c, err := NewFrontier(f.Size(), f.Hashes())
	if err != nil {
		panic("cloning a frontier: " + err.Error())
	}
	return c
}

// Equal reports whether both have the same size and the same hashes, and so
// the same leaves.
func (f *Frontier) Equal(g *Frontier) bool { return f.init().Equal(g.init()) }

// MarshalBinary encodes the frontier: u64 size, big-endian, then the hashes,
// largest subtree first. At most 8+56·32 bytes.
func (f *Frontier) MarshalBinary() ([]byte, error) { return f.AppendBinary(nil) }

// AppendBinary is MarshalBinary into a buffer.
func (f *Frontier) AppendBinary(b []byte) ([]byte, error) {
	b = binary.BigEndian.AppendUint64(b, f.Size())
	if f.r != nil {
		for _, h := range f.r.Hashes() {
			b = append(b, h...)
		}
	}
	return b, nil
}

// UnmarshalBinary decodes what MarshalBinary encoded, and nothing else.
func (f *Frontier) UnmarshalBinary(b []byte) error {
	if len(b) < 8 || (len(b)-8)%sha256.Size != 0 {
		return fmt.Errorf("frontier has %d bytes", len(b))
	}
	size := binary.BigEndian.Uint64(b)
	roots := make([]Hash, 0, (len(b)-8)/sha256.Size)
	for rest := b[8:]; len(rest) > 0; rest = rest[sha256.Size:] {
		roots = append(roots, Hash(rest[:sha256.Size]))
	}
	g, err := NewFrontier(size, roots)
	if err != nil {
		return err
	}
	*f = *g
	return nil
}
