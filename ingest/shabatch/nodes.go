package shabatch

import "crypto/sha256"

// Nodes writes to dst[i] the SHA-256 of prefix and children 2i and 2i+1: one
// level of a Merkle tree. There must be two children for each; dst may
// be the beginning of children.
func Nodes(dst []Hash, prefix byte, children []Hash) { here.nodes(dst, prefix, children) }

func (m means) nodes(dst []Hash, prefix byte, children []Hash) {
	if 2*len(dst) != len(children) {
		panic("shabatch: not two children for each node")
	}
	if n := len(dst); m.wide && n >= m.fewest() {
		n = m.nodesWide(dst, prefix, children)
		dst, children = dst[n:], children[2*n:]
	}
	if m.pairs {
		n := len(dst) &^ 1
		nodesPaired(dst[:n], prefix, children)
		dst, children = dst[n:], children[2*n:]
	}
	var b [1 + 2*Size]byte
	b[0] = prefix
	for i := range dst {
		copy(b[1:], children[2*i][:])
		copy(b[1+Size:], children[2*i+1][:])
		dst[i] = sha256.Sum256(b[:])
	}
}

// node makes the message of prefix and two children the lane's: 65 bytes, and
// so two blocks, of which the second is nearly all padding.
func (l *lane) node(prefix byte, children []Hash) {
	const bits = (1 + 2*Size) * 8
	clear(l.last[1+2*Size : 2*blockSize])
	l.last[0] = prefix
	*(*Hash)(l.last[1:]) = children[0]
	*(*Hash)(l.last[1+Size:]) = children[1]
	l.last[1+2*Size] = 0x80
	l.last[2*blockSize-2], l.last[2*blockSize-1] = bits>>8, bits&0xff
}

// nodesPaired is Nodes of an even number of them.
func nodesPaired(dst []Hash, prefix byte, children []Hash) {
	var a, b lane
	for i := 0; i < len(dst); i += 2 {
		for j, l := range []*lane{&a, &b} {
			l.h = initial256
			l.node(prefix, children[2*(i+j):])
		}
		blocks256x2(&a.h, &b.h, &a.last[0], &b.last[0], 2)
		a.put(&dst[i])
		b.put(&dst[i+1])
	}
}

// nodesWide makes nodes until there are fewer left than it is good for, and
// returns how many it made.
func (m means) nodesWide(dst []Hash, prefix byte, children []Hash) (made int) {
	w := wides.Get().(*wide)
	for len(dst)-made >= m.fewest() {
		n := min(len(dst)-made, width)
		for i := range w.at {
			l := &w.lane[min(i, n-1)]
			if i < n {
				l.node(prefix, children[2*(made+i):])
			}
			w.at[i] = &l.last[0]
		}
		blocks256x16(&w.h, &w.at, 2, all)
		hashes16(&w.made, &w.h)
		copy(dst[made:made+n], w.made[:])
		made += n
	}
	wides.Put(w)
	return made
}
