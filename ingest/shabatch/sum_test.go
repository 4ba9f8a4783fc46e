package shabatch

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

// ways are all means and what is left where some are missing.
var ways = []struct {
	name string
	means
}{
	{"wide and pairs", means{wide: true, pairs: true}},
	{"wide", means{wide: true}},
	{"pairs", means{pairs: true}},
	{"apart", means{}},
}

// everyWay runs a test with each; what this processor does not have is skipped.
func everyWay(t *testing.T, test func(*testing.T, means)) {
	for _, w := range ways {
		t.Run(w.name, func(t *testing.T) {
			if w.wide && !hasWide {
				t.Skip("this processor has no AVX-512: sixteen lanes are not tested")
			}
			if w.pairs && !hasPairs {
				t.Skip("this processor has no SHA instructions: pairs are not tested")
			}
			test(t, w.means)
		})
	}
}

// check compares with crypto/sha256.
func check(t *testing.T, m means, prefix []byte, messages [][]byte) {
	t.Helper()
	got := make([]Hash, len(messages))
	m.sha256(got, prefix, messages)
	for i, b := range messages {
		if want := sha256.Sum256(append(append([]byte{}, prefix...), b...)); got[i] != want {
			t.Fatalf("message %d of %d, %d bytes behind %d: got %x, want %x", i, len(messages), len(b), len(prefix), got[i], want)
		}
	}
}

var prefixes = [][]byte{nil, {0}}

// TestPairsOfLengths pairs every length with every other: the lanes end, pad
// and go on at every distance from each other.
func TestPairsOfLengths(t *testing.T) {
	everyWay(t, func(t *testing.T, m means) {
		a, b := random(1, 300), random(2, 300)
		for _, prefix := range prefixes {
			for i := range len(a) + 1 {
				for k := range len(b) + 1 {
					check(t, m, prefix, [][]byte{a[:i], b[:k]})
				}
			}
		}
	})
}

// TestLengths has every length up to three blocks and some in every number
// of company, so that lanes begin, pad and end together and apart from each
// other, and are handed on with every amount of work.
func TestLengths(t *testing.T) {
	everyWay(t, func(t *testing.T, m means) {
		data := random(3, 1000)
		for count := range 71 {
			for _, prefix := range prefixes {
				var alike, rising, falling, mixed [][]byte
				for i := range count {
					at := i % 7 // at every address
					alike = append(alike, data[at:][:count*3])
					rising = append(rising, data[at:][:i*3])
					falling = append(falling, data[at:][:200-i*2])
					mixed = append(mixed, data[at:][:(i*i*61+count*17)%(201+i)])
				}
				for _, messages := range [][][]byte{alike, rising, falling, mixed} {
					check(t, m, prefix, messages)
				}
			}
		}
		for n := range 201 {
			var same, near [][]byte
			for i := range width + 1 {
				same = append(same, data[i:][:n])
				near = append(near, data[i:][:n+i%3])
			}
			for _, prefix := range prefixes {
				check(t, m, prefix, same)
				check(t, m, prefix, near)
			}
		}
	})
}

// TestMany has lanes take one message after the other, at odd addresses, also
// more than are sorted together.
func TestMany(t *testing.T) {
	everyWay(t, func(t *testing.T, m means) {
		for seed := range uint64(100) {
			r := rand.New(rand.NewPCG(seed, 1))
			messages := make([][]byte, r.IntN(100))
			for i := range messages {
				messages[i] = random(seed<<8|uint64(i), 3+r.IntN(1+r.IntN(5000)))[r.IntN(3):]
			}
			check(t, m, prefixes[seed%2], messages)
		}
		data := random(4, 300)
		for _, n := range []int{chunk - 1, chunk, chunk + 1, chunk + 8, chunk + 9, 2*chunk + 3} {
			messages := make([][]byte, n)
			for i := range messages {
				messages[i] = data[i%100:][:i%200]
			}
			check(t, m, prefixes[n%2], messages)
		}
	})
}

// TestGiants has messages of a mebibyte among tiny ones: the few lanes that are
// left with them go on where they are.
func TestGiants(t *testing.T) {
	everyWay(t, func(t *testing.T, m means) {
		giant := random(5, 1<<20)
		for giants := range 11 {
			for _, count := range []int{giants, 9, 16, 17, 40} {
				messages := make([][]byte, count)
				for i := range messages {
					messages[i] = giant[i : 100+i*3]
					if k := i * 7 % count; k < giants {
						messages[i] = giant[k:]
					}
				}
				check(t, m, prefixes[count%2], messages)
			}
		}
	})
}

// TestOverlap has many lanes read the same bytes.
func TestOverlap(t *testing.T) {
	everyWay(t, func(t *testing.T, m means) {
		data := random(6, 3000)
		messages := make([][]byte, 50)
		for i := range messages {
			messages[i] = data[i : len(data)-i*i%97]
		}
		check(t, m, nil, messages)
		for i := range messages {
			messages[i] = data
		}
		check(t, m, []byte{1}, messages)
	})
}

// TestPool: what a call left in the lanes does not get into another's hashes.
func TestPool(t *testing.T) {
	everyWay(t, func(t *testing.T, m means) {
		for i := range 50 {
			check(t, m, prefixes[i%2], split(random(uint64(i), 4000), 17+i, 40+i))
			check(t, m, nil, split(random(uint64(i), 10_000), 20, 9660)) // a length of many bits, in the second block
			checkNodes(t, m, 1+i)
			check(t, m, prefixes[(i+1)%2], split(random(uint64(i), 900), 33-i%20, i))
		}
	})
}

// split cuts count messages of n bytes out of b.
func split(b []byte, count, n int) (out [][]byte) {
	for i := range count {
		out = append(out, b[i:][:n])
	}
	return out
}

// TestMisuse: a mistake of the caller is no wrong hash.
func TestMisuse(t *testing.T) {
	for i, f := range []func(){
		func() { SHA256(make([]Hash, 1), nil, [][]byte{nil, nil}) },
		func() { SHA256(make([]Hash, 1), []byte{1, 2}, [][]byte{nil}) },
		func() { SHA1(make([]Hash1, 2), [][]byte{nil}) },
		func() { Nodes(make([]Hash, 1), 1, make([]Hash, 3)) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("call %d: no panic", i)
				}
			}()
			f()
		}()
	}
}

func TestAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("pools forget under the race detector")
	}
	everyWay(t, func(t *testing.T, m means) {
		messages := split(random(1, 3000), 40, 700)
		messages[3] = random(2, 9000)
		out := make([]Hash, len(messages))
		nodes := make([]Hash, 70)
		out1 := make([]Hash1, len(messages))
		if n := testing.AllocsPerRun(100, func() {
			m.sha256(out, nil, messages)
			m.sha256(out[:3], nil, messages[:3])
			m.nodes(nodes[:35], 1, nodes)
			m.sha1(out1, messages)
		}); n != 0 {
			t.Errorf("%v allocations, want none", n)
		}
	})
}

// FuzzSHA256 cuts messages out of the input, at places that it says itself.
func FuzzSHA256(f *testing.F) {
	f.Add(random(1, 700), uint64(1), uint8(20), true)
	f.Add(random(2, 64), uint64(2), uint8(3), false)
	f.Add(random(3, 5000), uint64(3), uint8(60), false)
	f.Fuzz(func(t *testing.T, data []byte, seed uint64, count uint8, behind bool) {
		r := rand.New(rand.NewPCG(seed, 2))
		messages := make([][]byte, count)
		for i := range messages {
			from := r.IntN(len(data) + 1)
			messages[i] = data[from : from+r.IntN(len(data)-from+1)]
		}
		var prefix []byte
		if behind {
			prefix = []byte{byte(seed)}
		}
		for _, w := range ways {
			if w.wide && !hasWide || w.pairs && !hasPairs {
				continue
			}
			check(t, w.means, prefix, messages)
		}
	})
}

// TestNodes compares levels of all widths with crypto/sha256.
func TestNodes(t *testing.T) {
	everyWay(t, func(t *testing.T, m means) {
		for n := range 140 {
			checkNodes(t, m, n)
		}
	})
}

// checkNodes compares a level of n nodes with crypto/sha256, in place too.
func checkNodes(t *testing.T, m means, n int) {
	t.Helper()
	children := make([]Hash, 2*n)
	want := make([]Hash, n)
	for i := range children {
		copy(children[i][:], random(uint64(i+100*n), Size))
	}
	for i := range want {
		want[i] = sha256.Sum256(append(append([]byte{1}, children[2*i][:]...), children[2*i+1][:]...))
	}
	got := make([]Hash, n)
	m.nodes(got, 1, children)
	m.nodes(children[:n], 1, children)
	for i := range want {
		if got[i] != want[i] || children[i] != want[i] {
			t.Fatalf("node %d of %d: got %x, in place %x, want %x", i, n, got[i], children[i], want[i])
		}
	}
}

// TestHere: what this processor has is used.
func TestHere(t *testing.T) {
	if want := (means{pairs: hasPairs, wide: hasWide}); here != want {
		t.Errorf("hashes are made by %+v, the processor has %+v", here, want)
	}
	t.Logf("this processor: %+v", here)
}
