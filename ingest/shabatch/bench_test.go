package shabatch

import (
	"crypto/sha1"
	"crypto/sha256"
	"testing"

	"ctappliance/internal/stagebench"
)

// BenchmarkSHA256 is hashing together, in pairs and one by one: a
// precertificate with its TBSCertificate and key, the leaves of a tile, and all
// that is hashed of its rows.
func BenchmarkSHA256(b *testing.B) {
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
			t.Ours("SHA256", len(messages), func(int) error { SHA256(out, nil, messages); return nil })
			if hasWide && hasPairs && len(messages) >= here.fewest() {
				t.Instead("in pairs", "SHA256", len(messages), func(int) error { means{pairs: true}.sha256(out, nil, messages); return nil })
			}
			t.Instead("crypto/sha256", "SHA256", len(messages), func(int) error {
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

// BenchmarkSHA1 is of 256 keys.
func BenchmarkSHA1(b *testing.B) {
	var messages [][]byte
	for i := range 256 {
		n := 65
		if i%3 == 0 {
			n = 270
		}
		messages = append(messages, random(uint64(i), n))
	}
	out := make([]Hash1, len(messages))
	t := stagebench.New(b)
	t.Ours("SHA1", len(messages), func(int) error { SHA1(out, messages); return nil })
	t.Instead("crypto/sha1", "SHA1", len(messages), func(int) error {
		for i, m := range messages {
			out[i] = sha1.Sum(m)
		}
		return nil
	})
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
