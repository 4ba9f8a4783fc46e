package shabatch

import (
	"crypto/sha1"
	"math/rand/v2"
	"testing"
)

// check1 compares with crypto/sha1.
func check1(t *testing.T, m means, messages [][]byte) {
	t.Helper()
	got := make([]Hash1, len(messages))
	m.sha1(got, messages)
	for i, b := range messages {
		if want := sha1.Sum(b); got[i] != want {
			t.Fatalf("message %d of %d, %d bytes: got %x, want %x", i, len(messages), len(b), got[i], want)
		}
	}
}

// TestSHA1 has every length up to three blocks, in every number of company, at
// every address, alike and mixed.
func TestSHA1(t *testing.T) {
	everyWay(t, func(t *testing.T, m means) {
		data := random(1, 1000)
		for count := range 71 {
			var alike, falling, mixed [][]byte
			for i := range count {
				at := i % 7
				alike = append(alike, data[at:][:count*3])
				falling = append(falling, data[at:][:200-i*2])
				mixed = append(mixed, data[at:][:(i*i*61+count*17)%(201+i)])
			}
			check1(t, m, alike)
			check1(t, m, falling)
			check1(t, m, mixed)
		}
		for n := range 201 {
			var same, near [][]byte
			for i := range width + 1 {
				same = append(same, data[i:][:n])
				near = append(near, data[i:][:n+i%3])
			}
			check1(t, m, same)
			check1(t, m, near)
		}
	})
}

// TestSHA1Many has more messages than are sorted together, and long ones among
// them.
func TestSHA1Many(t *testing.T) {
	everyWay(t, func(t *testing.T, m means) {
		giant := random(2, 1<<20)
		for i, n := range []int{1, 2, 17, 40, chunk, chunk + 1, 2*chunk + 3} {
			messages := make([][]byte, n)
			for k := range messages {
				messages[k] = giant[k : k+(k*37+i)%600]
			}
			for k := range min(n, 20) {
				messages[k*k%n] = giant[k:][:alone-10+k]
			}
			messages[n/2] = giant
			check1(t, m, messages)
		}
		check(t, m, nil, split(giant, 20, 300)) // what lanes held of SHA-1 does not stay
	})
}

func FuzzSHA1(f *testing.F) {
	f.Add(random(1, 700), uint64(1), uint8(20))
	f.Add(random(3, 5000), uint64(3), uint8(60))
	f.Fuzz(func(t *testing.T, data []byte, seed uint64, count uint8) {
		r := rand.New(rand.NewPCG(seed, 3))
		messages := make([][]byte, count)
		for i := range messages {
			from := r.IntN(len(data) + 1)
			messages[i] = data[from : from+r.IntN(len(data)-from+1)]
		}
		for _, w := range ways {
			if w.wide && !hasWide || w.pairs && !hasPairs {
				continue
			}
			check1(t, w.means, messages)
		}
	})
}
