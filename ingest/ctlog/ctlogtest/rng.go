package ctlogtest

import "math/bits"

// rng is splitmix64. It is written out here, and not taken from math/rand,
// because a restarted demo log must serve the same bytes whatever Go version
// built it.
type rng struct{ s uint64 }

// newRNG derives an independent stream for one thing: what keeps streams of
// different sorts apart, n numbers the things of one sort.
func newRNG(seed uint64, what byte, n uint64) rng {
	r := rng{seed ^ uint64(what)<<56}
	r.s = r.next() ^ n*0x9e3779b97f4a7c15
	r.s = r.next() + n
	return r
}

func (r *rng) next() uint64 {
	r.s += 0x9e3779b97f4a7c15
	z := r.s
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// intn returns a number in [0, n), n > 0.
func (r *rng) intn(n int) int {
	hi, _ := bits.Mul64(r.next(), uint64(n))
	return int(hi)
}

// float returns a number in [0, 1).
func (r *rng) float() float64 { return float64(r.next()>>11) / (1 << 53) }

// chance is true with probability p.
func (r *rng) chance(p float64) bool { return r.float() < p }

// fill overwrites b with pseudo-random bytes.
func (r *rng) fill(b []byte) {
	for len(b) > 0 {
		v := r.next()
		for i := 0; i < 8 && len(b) > 0; i++ {
			b[0] = byte(v)
			v >>= 8
			b = b[1:]
		}
	}
}
