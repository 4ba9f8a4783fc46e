package sha256x2

import "crypto/sha256"

// Nodes writes to dst[i] the SHA-256 of prefix and children 2i and 2i+1: one
// level of a Merkle tree. There must be two children for each; dst may
// be the beginning of children.
func Nodes(dst []Hash, prefix byte, children []Hash) {
	if 2*len(dst) != len(children) {
		panic("sha256x2: not two children for each node")
	}
	n := 0
	if interleaved {
		n = len(dst) &^ 1
		nodesPaired(dst[:n], prefix, children)
	}
	var b [1 + 2*Size]byte
	b[0] = prefix
	for i := n; i < len(dst); i++ {
		copy(b[1:], children[2*i][:])
		copy(b[1+Size:], children[2*i+1][:])
		dst[i] = sha256.Sum256(b[:])
	}
}

// nodesPaired is Nodes of an even number of them. A node's message has 65
// bytes: two blocks, of which the second is nearly all padding.
func nodesPaired(dst []Hash, prefix byte, children []Hash) {
	const bits = (1 + 2*Size) * 8
	var a, b lane
	for _, l := range []*lane{&a, &b} {
		l.last[0] = prefix
		l.last[blockSize+1] = 0x80
		l.last[2*blockSize-2], l.last[2*blockSize-1] = bits>>8, bits&0xff
	}
	for i := 0; i < len(dst); i += 2 {
		for j, l := range []*lane{&a, &b} {
			l.h = initial
			c := children[2*(i+j):]
			copy(l.last[1:], c[0][:])
			copy(l.last[1+Size:], c[1][:])
		}
		blocks2(&a.h, &b.h, &a.last[0], &b.last[0], 2)
		a.put(&dst[i])
		b.put(&dst[i+1])
	}
}
