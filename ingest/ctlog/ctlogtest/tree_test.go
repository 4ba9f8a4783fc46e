package ctlogtest

import (
	"crypto/sha256"
	"fmt"
	"testing"

	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
)

func toHash(b []byte) (h [32]byte) { copy(h[:], b); return h }

func slices2(p [][32]byte) [][]byte {
	out := [][]byte{}
	for _, h := range p {
		out = append(out, append([]byte(nil), h[:]...))
	}
	return out
}

// Roots at every size agree with transparency-dev/merkle, and so do proofs
// between the sizes where the shape of the tree changes.
func TestTreeAgainstMerkle(t *testing.T) {
	t.Parallel()
	const n = 1100
	var tr tree
	if got := tr.root(0); got != toHash(rfc6962.DefaultHasher.EmptyRoot()) {
		t.Errorf("empty root %x", got)
	}
	rf := compact.RangeFactory{Hash: rfc6962.DefaultHasher.HashChildren}
	cr := rf.NewEmptyRange(0)
	var roots [][]byte
	for i := range n {
		leaf := sha256.Sum256(fmt.Append(nil, i))
		tr.append(leaf)
		if err := cr.Append(leaf[:], nil); err != nil {
			t.Fatal(err)
		}
		root, err := cr.GetRootHash(nil)
		if err != nil {
			t.Fatal(err)
		}
		roots = append(roots, root)
	}
	for i, want := range roots {
		if got := tr.root(uint64(i + 1)); got != toHash(want) {
			t.Fatalf("root of %d: %x, want %x", i+1, got, want)
		}
	}
	if got := len(tr.levels[1]); got != n/256 {
		t.Errorf("%d hashes in level 1, want %d", got, n/256)
	}
	sizes := []uint64{1, 2, 3, 5, 7, 8, 9, 255, 256, 257, 511, 512, 513, 700, 1023, 1024, 1025, 1099, 1100}
	for _, m := range sizes {
		for _, n := range sizes {
			if m > n {
				continue
			}
			if err := proof.VerifyConsistency(rfc6962.DefaultHasher, m, n, slices2(tr.consistency(m, n)), roots[m-1], roots[n-1]); err != nil {
				t.Errorf("consistency %d %d: %v", m, n, err)
			}
			if err := proof.VerifyInclusion(rfc6962.DefaultHasher, m-1, n, tr.levels[0][m-1][:], slices2(tr.inclusion(m-1, n)), roots[n-1]); err != nil {
				t.Errorf("inclusion %d %d: %v", m-1, n, err)
			}
		}
	}
}

// A copy does not see what is appended later.
func TestTreeSnapshot(t *testing.T) {
	t.Parallel()
	var tr tree
	for i := range 300 {
		tr.append(sha256.Sum256(fmt.Append(nil, i)))
	}
	snap, root := tr, tr.root(300)
	for i := range 300 {
		tr.append(sha256.Sum256(fmt.Append(nil, "later", i)))
	}
	if snap.size() != 300 || snap.root(300) != root || tr.root(300) != root || tr.root(600) == root {
		t.Error("a snapshot changed")
	}
}
