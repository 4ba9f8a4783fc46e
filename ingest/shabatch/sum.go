package shabatch

import "crypto/sha256"

// Size is the length of a SHA-256 hash in bytes.
const Size = sha256.Size

// Hash is a SHA-256 value.
type Hash = [Size]byte

const blockSize = sha256.BlockSize // SHA-1 has the same

// MaxPrefix is the longest prefix, in bytes.
const MaxPrefix = 1

// means are what the blocks are hashed with. Tests take some away.
type means struct{ pairs, wide bool }

// here is what this processor has.
var here = means{pairs: hasPairs, wide: hasWide}

// SHA256 writes to dst[i] the SHA-256 of prefix and messages[i]. The prefix has at
// most MaxPrefix bytes, dst the length of messages, and lies in none of them. The
// messages may overlap. The more there are, the less time each takes.
func SHA256(dst []Hash, prefix []byte, messages [][]byte) { here.sha256(dst, prefix, messages) }

func (m means) sha256(dst []Hash, prefix []byte, messages [][]byte) {
	if len(prefix) > MaxPrefix || len(dst) != len(messages) {
		panic("shabatch: prefix too long, or as many hashes as messages are not wanted")
	}
	q := queue{dst: dst, prefix: prefix, messages: messages}
	switch {
	case m.wide && len(messages) >= m.fewest():
		m.sha256Wide(&q)
	case m.pairs && len(messages) > 1:
		q.pairs()
	default:
		sha256Apart(dst, prefix, messages)
	}
}

// sha256Apart is SHA256 where nothing is gained by lanes.
func sha256Apart(dst []Hash, prefix []byte, messages [][]byte) {
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

// queue is what lanes take their messages from.
type queue struct {
	begun    []*lane  // that others were on; they are taken first
	order    []uint16 // of messages, where they are sorted
	next     int      // of order, else of messages
	prefix   []byte
	messages [][]byte
	dst      []Hash
	dst1     []Hash1 // in place of dst: SHA-1
}

// take returns a lane that has a message to hash: l, or one that was on it
// already; nil where there are none left.
func (q *queue) take(l *lane) *lane {
	if n := len(q.begun) - 1; n >= 0 {
		l, q.begun = q.begun[n], q.begun[:n]
		return l
	}
	i := q.next
	if q.order != nil {
		if i == len(q.order) {
			return nil
		}
		i = int(q.order[i])
	} else if i == len(q.messages) {
		return nil
	}
	q.next++
	l.begin(i, q.prefix, q.messages[i])
	return l
}

// pairs hashes what is in the queue, two messages at a time; a lane that has
// finished one takes the next. Long messages should come first, unless all are
// alike: the last one left is hashed alone.
func (q *queue) pairs() {
	var la, lb lane
	a := q.take(&la)
	if a == nil {
		return
	}
	b := q.take(&lb)
	for a != nil && b != nil {
		pa, na := a.run()
		pb, nb := b.run()
		n := min(na, nb)
		blocks256x2(&a.h, &b.h, pa, pb, n)
		enda, endb := a.passed(n), b.passed(n)
		if enda {
			a.put(&q.dst[a.message])
			a = q.take(a)
		}
		if endb {
			b.put(&q.dst[b.message])
			b = q.take(b)
		}
	}
	// One lane, or none, has a message left. Its companion computes what
	// nobody reads: alone it would not be faster.
	last := a
	if a == nil {
		last = b
	}
	var idle [8]uint32
	for last != nil {
		p, n := last.run()
		blocks256x2(&last.h, &idle, p, p, n)
		if last.passed(n) {
			last.put(&q.dst[last.message])
			last = nil
		}
	}
}
