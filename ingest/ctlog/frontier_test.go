package ctlog

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"testing"

	"github.com/transparency-dev/merkle/rfc6962"
)

func testHashes(n int) []Hash {
	hs := make([]Hash, n)
	for i := range hs {
		hs[i] = LeafHash(binary.BigEndian.AppendUint32(nil, uint32(i)))
	}
	return hs
}

func TestHashesAreThoseOfTheRFC(t *testing.T) {
	leaf := []byte("some leaf")
	if got := LeafHash(leaf); string(got[:]) != string(rfc6962.DefaultHasher.HashLeaf(leaf)) {
		t.Errorf("LeafHash = %x", got)
	}
	l, r := LeafHash([]byte("l")), LeafHash([]byte("r"))
	if got := NodeHash(l, r); string(got[:]) != string(rfc6962.DefaultHasher.HashChildren(l[:], r[:])) {
		t.Errorf("NodeHash = %x", got)
	}
}

func TestFrontierRootAtEverySize(t *testing.T) {
	hs := testHashes(530)
	var f Frontier
	for n := 0; ; n++ {
		if got, want := f.Root(), mth(hs[:n]); got != want || f.Size() != uint64(n) {
			t.Fatalf("size %d: root %x, want %x", f.Size(), got, want)
		}
		// Whatever the size, it survives being written and read.
		b, err := f.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		var g Frontier
		if err := g.UnmarshalBinary(b); err != nil || !g.Equal(&f) || !f.Equal(g.Clone()) {
			t.Fatalf("size %d: not equal after a round trip: %v", n, err)
		}
		if n == len(hs) {
			break
		}
		f.Append(hs[n], nil)
		if f.Equal(&g) {
			t.Fatalf("size %d equals size %d", f.Size(), n)
		}
	}
}

func TestFrontierVisitsEverySubtree(t *testing.T) {
	hs := testHashes(1100)
	type node struct{ level, index uint64 }
	got := map[node]Hash{}
	var f Frontier
	for _, h := range hs {
		f.Append(h, func(level uint, index uint64, h Hash) {
			n := node{uint64(level), index}
			if _, twice := got[n]; twice {
				t.Errorf("node %v was visited twice", n)
			}
			got[n] = h
		})
	}
	want := 0
	for level := 0; 1<<level <= len(hs); level++ {
		for i := 0; (i+1)<<level <= len(hs); i++ {
			want++
			if got[node{uint64(level), uint64(i)}] != mth(hs[i<<level:(i+1)<<level]) {
				t.Fatalf("node of level %d, index %d is wrong or missing", level, i)
			}
		}
	}
	if len(got) != want {
		t.Errorf("visited %d nodes, want %d", len(got), want)
	}
}

func TestFrontierKeepsNoReference(t *testing.T) {
	hs := testHashes(3)
	var f Frontier
	for _, h := range hs {
		f.Append(h, nil)
	}
	c := f.Clone()
	root := c.Root()
	f.Append(hs[0], func(_ uint, _ uint64, h Hash) { h[0]++ })
	f.Hashes()[0][0]++
	if c.Root() != root || c.Size() != 3 {
		t.Error("a clone changed with its origin")
	}
	if f.Size() != 4 || f.Root() != mth([]Hash{hs[0], hs[1], hs[2], hs[0]}) {
		t.Error("a visitor or Hashes could change the frontier")
	}
}

func TestFrontierUnmarshalIsStrict(t *testing.T) {
	good := func() []byte {
		var f Frontier
		for _, h := range testHashes(7) {
			f.Append(h, nil)
		}
		b, _ := f.MarshalBinary()
		return b
	}()
	size := func(n uint64) []byte { return append(binary.BigEndian.AppendUint64(nil, n), good[8:]...) }
	for name, b := range map[string][]byte{
		"nothing":            {},
		"half a size":        good[:4],
		"one hash less":      good[:len(good)-32],
		"cut":                good[:len(good)-1],
		"a byte more":        append(good[:len(good):len(good)], 0),
		"a hash more":        append(good[:len(good):len(good)], make([]byte, 32)...),
		"other size":         size(8),
		"size beyond all":    size(1<<63 | 1<<62 | 1),
		"size one too large": size(maxTreeSize | 3),
	} {
		var f Frontier
		if err := f.UnmarshalBinary(b); err == nil {
			t.Errorf("%s: accepted", name)
		} else if f.Size() != 0 || f.Root() != sha256.Sum256(nil) {
			t.Errorf("%s: the frontier changed", name)
		}
	}
	if err := new(Frontier).UnmarshalBinary(good); err != nil {
		t.Error(err)
	}
}

// TestAppendAll cuts the same leaves in all sorts of places: frontier and
// visited nodes are those of one leaf after the other.
func TestAppendAll(t *testing.T) {
	hs := testHashes(1400)
	type node struct {
		level uint
		index uint64
		h     Hash
	}
	for _, cuts := range [][]int{{}, {1}, {255}, {256}, {257}, {100, 300, 600, 1111}, {512, 1024}, {3, 259, 1283}} {
		var f, g Frontier
		var got, want []node
		from := 0
		for _, to := range append(cuts, len(hs)) {
			f.AppendAll(hs[from:to], func(level uint, index uint64, h Hash) { got = append(got, node{level, index, h}) })
			for _, h := range hs[from:to] {
				g.Append(h, func(level uint, index uint64, h Hash) {
					if level >= 8 {
						want = append(want, node{level, index, h})
					}
				})
			}
			if !f.Equal(&g) || f.Root() != mth(hs[:to]) {
				t.Fatalf("cuts %v: at %d the frontiers differ", cuts, to)
			}
			from = to
		}
		if !slices.Equal(got, want) {
			t.Errorf("cuts %v: visited %d nodes, want %d, or others", cuts, len(got), len(want))
		}
		f.AppendAll(hs[:513], nil)
		if f.Size() != 1913 {
			t.Errorf("size %d, want 1913", f.Size())
		}
	}
}

func TestLeafHashes(t *testing.T) {
	var entries []Entry
	for n := range 300 {
		entries = append(entries, Entry{Leaf: bytes.Repeat([]byte{byte(n)}, n*7%1000)})
	}
	for i, h := range LeafHashes(entries) {
		if want := LeafHash(entries[i].Leaf); h != want {
			t.Fatalf("leaf %d: %x, want %x", i, h, want)
		}
	}
	if len(LeafHashes(nil)) != 0 {
		t.Error("hashes of nothing")
	}
}
