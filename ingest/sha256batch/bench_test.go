package sha256batch

import (
	"crypto/sha256"
	"testing"

	"ctappliance/internal/stagebench"
)

// BenchmarkSums is hashing together, in pairs and one by one: a
// precertificate with its TBSCertificate and key, the leaves of a tile, and all
// that is hashed of its rows.
func BenchmarkSums(b *testing.B) {
	for _, c := range []struct {
		name string
		size []int
	}{{"row", []int{811, 695, 126}}, {"leaves", tile()}, {"rows", rows()}} {
		b.Run(c.name, func(b *testing.B) {
			var messages [][]byte
			for i, n := range c.size {
				messages = append(messages, random(uint64(i), n))
			}
			out := make([]Hash, len(messages))
			t := stagebench.New(b)
			t.Ours("Sums", len(messages), func(int) error { Sums(out, nil, messages); return nil })
			if hasWide && hasPairs && len(messages) >= here.fewest() {
				t.Instead("in pairs", "Sums", len(messages), func(int) error { means{pairs: true}.sums(out, nil, messages); return nil })
			}
			t.Instead("crypto/sha256", "Sums", len(messages), func(int) error {
				for i, m := range messages {
					out[i] = sha256.Sum256(m)
				}
				return nil
			})
		})
	}
}

// tile are the lengths of 256 leaves.
func tile() (out []int) {
	for i := range 256 {
		out = append(out, 650+i*37%300)
	}
	return out
}

// rows are the lengths of what is hashed of 256 rows.
func rows() (out []int) {
	for i := range 256 {
		key := 91 // of a curve; the others RSA with 2048 bits
		if i%3 == 0 {
			key = 294
		}
		out = append(out, 700+i*37%300, 900+i*37%500, key)
	}
	return out
}

// BenchmarkNodes is a level of 128 nodes.
func BenchmarkNodes(b *testing.B) {
	children := make([]Hash, 256)
	out := make([]Hash, 128)
	t := stagebench.New(b)
	t.Ours("Nodes", 128, func(int) error { Nodes(out, 1, children); return nil })
	if hasWide && hasPairs {
		t.Instead("in pairs", "Nodes", 128, func(int) error { means{pairs: true}.nodes(out, 1, children); return nil })
	}
	t.Instead("crypto/sha256", "Nodes", 128, func(int) error {
		var m [65]byte
		for i := range out {
			copy(m[1:], children[2*i][:])
			copy(m[33:], children[2*i+1][:])
			out[i] = sha256.Sum256(m[:])
		}
		return nil
	})
}
