package sha256x2

import (
	"crypto/sha256"
	"math/rand/v2"
	"testing"
)

// random returns n bytes that a seed decides.
func random(seed uint64, n int) []byte {
	b := make([]byte, n)
	r := rand.New(rand.NewPCG(seed, 0))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// check compares with crypto/sha256.
func check(t *testing.T, prefix []byte, messages [][]byte) {
	t.Helper()
	got := make([]Hash, len(messages))
	Sums(got, prefix, messages)
	for i, m := range messages {
		if want := sha256.Sum256(append(append([]byte{}, prefix...), m...)); got[i] != want {
			t.Fatalf("message %d of %d, %d bytes behind %d: got %x, want %x", i, len(messages), len(m), len(prefix), got[i], want)
		}
	}
}

// TestLengths pairs every length with every other: the lanes end, pad and go
// on at every distance from each other.
func TestLengths(t *testing.T) {
	if !interleaved {
		t.Log("this processor has no SHA instructions: crypto/sha256 is compared with itself")
	}
	a, b := random(1, 300), random(2, 300)
	for _, prefix := range [][]byte{nil, {0}} {
		for m := range len(a) + 1 {
			for n := range len(b) + 1 {
				check(t, prefix, [][]byte{a[:m], b[:n]})
			}
		}
	}
}

// TestMany has lanes take one message after the other, at odd addresses.
func TestMany(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 1))
		messages := make([][]byte, r.IntN(40))
		for i := range messages {
			messages[i] = random(seed<<8|uint64(i), 3+r.IntN(1+r.IntN(5000)))[r.IntN(3):]
		}
		var prefix []byte
		if r.IntN(2) == 0 {
			prefix = []byte{byte(seed)}
		}
		check(t, prefix, messages)
	}
	x, y := random(5, 777), random(6, 801)
	hx, hy := Sum2(x, y)
	if hx != sha256.Sum256(x) || hy != sha256.Sum256(y) {
		t.Error("Sum2 differs from crypto/sha256")
	}
}

// TestApart is what machines without the instructions do.
func TestApart(t *testing.T) {
	for n := range 200 {
		m := random(3, n)
		var got [1]Hash
		sumsApart(got[:], []byte{1}, [][]byte{m})
		if want := sha256.Sum256(append([]byte{1}, m...)); got[0] != want {
			t.Fatalf("%d bytes behind a prefix: got %x, want %x", n, got[0], want)
		}
	}
}

// TestMisuse: a mistake of the caller is no wrong hash.
func TestMisuse(t *testing.T) {
	for _, f := range []func(){
		func() { Sums(make([]Hash, 1), nil, [][]byte{nil, nil}) },
		func() { Sums(make([]Hash, 1), []byte{1, 2}, [][]byte{nil}) },
		func() { Nodes(make([]Hash, 1), 1, make([]Hash, 3)) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			f()
		}()
	}
}

func TestAllocations(t *testing.T) {
	a, b := random(1, 700), random(2, 800)
	nodes := make([]Hash, 4)
	if n := testing.AllocsPerRun(100, func() { Sum2(a, b); Nodes(nodes[:2], 1, nodes) }); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

func FuzzSums(f *testing.F) {
	f.Add([]byte("a"), []byte("b"), []byte("c"), true)
	f.Add(random(1, 130), random(2, 64), random(3, 55), false)
	f.Fuzz(func(t *testing.T, a, b, c []byte, behind bool) {
		var prefix []byte
		if behind {
			prefix = []byte{0}
		}
		check(t, prefix, [][]byte{a, b, c})
	})
}

// TestNodes compares levels of all widths with crypto/sha256, in place too.
func TestNodes(t *testing.T) {
	for n := range 35 {
		children := make([]Hash, 2*n)
		want := make([]Hash, n)
		for i := range children {
			copy(children[i][:], random(uint64(i+100*n), Size))
		}
		for i := range want {
			want[i] = sha256.Sum256(append(append([]byte{1}, children[2*i][:]...), children[2*i+1][:]...))
		}
		got := make([]Hash, n)
		Nodes(got, 1, children)
		Nodes(children[:n], 1, children)
		for i := range want {
			if got[i] != want[i] || children[i] != want[i] {
				t.Fatalf("node %d of %d: got %x, in place %x, want %x", i, n, got[i], children[i], want[i])
			}
		}
	}
}
