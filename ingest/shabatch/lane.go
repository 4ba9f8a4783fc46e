package shabatch

import "encoding/binary"

// lane is one message on its way: a first block of the prefix and what
// follows it, the blocks that lie in the message as they are, and one or two
// that end with the padding. A short message has the last alone.
type lane struct {
	h       [8]uint32
	message int    // its number
	first   bool   // the first block is to come
	body    []byte // of the message: whole blocks to come, then what stands in last already
	ending  int    // blocks of last to come
	pad     int    // where in last they begin
	begun   [blockSize]byte
	last    [5 * blockSize]byte
}

// The initial hash value of SHA-256 (FIPS 180-4 section 5.3.3).
var initial256 = [8]uint32{
	0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
}

// blocksOf returns how many blocks a message of n bytes has, its padding
// included.
func blocksOf(n int) int { return (n + 9 + blockSize - 1) / blockSize }

// begin makes m, behind the prefix, the lane's message.
func (l *lane) begin(number int, prefix, m []byte) {
	total := len(prefix) + len(m)
	l.h, l.message = initial256, number
	l.first = false
	l.body = nil
	if len(m) < 2*blockSize {
		// As a whole: its blocks lie side by side.
		n := copy(l.last[:], prefix)
		n += copy(l.last[n:], m)
		*(*[2 * blockSize]byte)(l.last[n:]) = [2 * blockSize]byte{}
		l.close(0, n, total)
		return
	}
	if len(prefix) > 0 {
		l.first = true
		l.begun[0] = prefix[0]
		*(*[blockSize - 1]byte)(l.begun[1:]) = *(*[blockSize - 1]byte)(m)
		m = m[blockSize-1:]
	}
	// Copies of one length need no decisions: what stands behind the whole
	// blocks ends the last one of what is copied.
	n := len(m) % blockSize
	*(*[blockSize]byte)(l.last[n:]) = *(*[blockSize]byte)(m[len(m)-blockSize:])
	*(*[2 * blockSize]byte)(l.last[blockSize+n:]) = [2 * blockSize]byte{}
	l.body = m
	l.close(blockSize, n, total)
}

// close writes the padding behind n bytes of last, of which the first is at
// at: the message had total.
func (l *lane) close(at, n, total int) {
	l.pad = at
	l.ending = blocksOf(n)
	l.last[at+n] = 0x80
	binary.BigEndian.PutUint64(l.last[at+l.ending*blockSize-8:], uint64(total)*8)
}

// run returns blocks that lie side by side and are to come next.
func (l *lane) run() (p *byte, n int) {
	if l.first {
		return &l.begun[0], 1
	}
	if n := len(l.body) / blockSize; n > 0 {
		return &l.body[0], n
	}
	return &l.last[l.pad], l.ending
}

// passed notes that n blocks of run have been hashed. It reports whether that
// was all.
func (l *lane) passed(n int) bool {
	switch {
	case l.first:
		l.first = false
	case len(l.body) >= blockSize:
		l.body = l.body[n*blockSize:]
	default:
		l.pad += n * blockSize
		l.ending -= n
	}
	return l.ending == 0
}

// put writes the hash of the message that has ended.
func (l *lane) put(h *Hash) {
	for i, v := range l.h {
		binary.BigEndian.PutUint32(h[4*i:], v)
	}
}
