package sha256x2

import (
	"crypto/sha256"
	"encoding/binary"
)

// Size is the length of a hash in bytes.
const Size = sha256.Size

// Hash is a SHA-256 value.
type Hash = [Size]byte

const blockSize = sha256.BlockSize

// MaxPrefix is the longest prefix, in bytes.
const MaxPrefix = 1

// Sum2 returns the SHA-256 of two messages.
func Sum2(a, b []byte) (ha, hb Hash) {
	messages := [...][]byte{a, b}
	var out [2]Hash
	Sums(out[:], nil, messages[:])
	return out[0], out[1]
}

// Sums writes to dst[i] the SHA-256 of prefix and messages[i]. The prefix has at most
// MaxPrefix bytes, dst the length of messages. Long messages should come first,
// unless all are alike: the last one left is hashed alone.
func Sums(dst []Hash, prefix []byte, messages [][]byte) {
	if len(prefix) > MaxPrefix || len(dst) != len(messages) {
		panic("sha256x2: prefix too long, or as many hashes as messages are not wanted")
	}
	if !interleaved {
		sumsApart(dst, prefix, messages)
		return
	}
	sumsPaired(dst, prefix, messages)
}

// sumsApart is Sums where nothing is gained by pairs.
func sumsApart(dst []Hash, prefix []byte, messages [][]byte) {
	if len(prefix) == 0 {
		for i, m := range messages {
			dst[i] = sha256.Sum256(m)
		}
		return
	}
	d := sha256.New()
	for i, m := range messages {
		d.Reset()
		d.Write(prefix)
		d.Write(m)
		d.Sum(dst[i][:0])
	}
}

// sumsPaired is Sums with a lane for each of two messages; a lane that has
// finished one takes the next.
func sumsPaired(dst []Hash, prefix []byte, messages [][]byte) {
	var a, b lane
	next := 0
	take := func(l *lane) bool {
		if next == len(messages) {
			return false
		}
		l.begin(next, prefix, messages[next])
		next++
		return true
	}
	if !take(&a) {
		return
	}
	if !take(&b) {
		sumsApart(dst, prefix, messages)
		return
	}
	for {
		pa, na := a.run()
		pb, nb := b.run()
		n := min(na, nb)
		blocks2(&a.h, &b.h, pa, pb, n)
		enda, endb := a.passed(n), b.passed(n)
		if enda {
			a.put(&dst[a.message])
			enda = !take(&a)
		}
		if endb {
			b.put(&dst[b.message])
			endb = !take(&b)
		}
		if !enda && !endb {
			continue
		}
		// One lane, or none, has a message left. Its companion computes what
		// nobody reads: alone it would not be faster.
		var idle [8]uint32
		last := &a
		if enda {
			last = &b
		}
		for end := enda && endb; !end; {
			p, n := last.run()
			blocks2(&last.h, &idle, p, p, n)
			if end = last.passed(n); end {
				last.put(&dst[last.message])
			}
		}
		return
	}
}

// lane is one message on its way: a first block of the prefix and what
// follows it, the blocks that lie in the message as they are, and one or two
// that end with the padding.
type lane struct {
	h       [8]uint32
	message int    // its number
	first   bool   // the first block is to come
	body    []byte // of the message: whole blocks to come, then what stands in last already
	ending  int    // blocks of last to come
	pad     int    // where in last they begin
	begun   [blockSize]byte
	last    [2 * blockSize]byte
}

// The initial hash value (FIPS 180-4 section 5.3.3).
var initial = [8]uint32{
	0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
}

// begin makes m, behind the prefix, the lane's message.
func (l *lane) begin(number int, prefix, m []byte) {
	l.h, l.message = initial, number
	total := len(prefix) + len(m)
	l.first = len(prefix) > 0 && total >= blockSize
	l.pad = 0
	clear(l.last[:])
	n := 0 // bytes in last
	switch {
	case l.first:
		n := copy(l.begun[:], prefix)
		m = m[copy(l.begun[n:], m):]
	case len(prefix) > 0:
		n = copy(l.last[:], prefix)
	}
	l.body = m
	n += copy(l.last[n:], m[len(m)/blockSize*blockSize:])
	l.last[n] = 0x80
	l.ending = 1
	if n+9 > blockSize {
		l.ending = 2
	}
	binary.BigEndian.PutUint64(l.last[l.ending*blockSize-8:], uint64(total)*8)
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
