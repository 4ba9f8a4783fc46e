package shabatch

import (
	"math"
	"math/bits"
	"slices"
	"sync"
)

// width is the number of lanes of blocks256x16 and blocks1x16.
const width = 16

// all are the bits of all lanes.
const all = 1<<width - 1

// fewest returns the number of lanes with work from which on blocks256x16 takes
// less time than what else there is: eight blocks in pairs, or two by
// crypto/sha256 without the SHA instructions.
func (m means) fewest() int {
	if m.pairs {
		return 9
	}
	return 3
}

// maxStep is the number of blocks, a third of a millisecond, after which the
// scheduler gets a chance: it cannot interrupt a kernel.
const maxStep = 1024

// chunk is how many messages are sorted together.
const chunk = 1024

// wide is the state of sixteen lanes. It is too large for the stack of every
// goroutine that hashes, and belongs to one call at a time.
type wide struct {
	h     [8][width]uint32 // word by word, as the kernels want it
	at    [width]*byte     // the next blocks of each
	left  [width]int32     // how many lie there side by side; 0: the lane has no message
	had   [width]int32     // how many did when the lane came to them
	lane  [width]lane
	busy  int         // lanes with a message
	fresh uint16      // bits of lanes whose message begins
	made  [width]Hash // the states as hashes

	order [chunk]uint16
	begun [width]*lane
}

var wides = sync.Pool{New: func() any { return new(wide) }}

// sha256Wide hashes what is in the queue with sixteen lanes.
func (m means) sha256Wide(given *queue) {
	w := wides.Get().(*wide)
	dst, messages := given.dst, given.messages
	for len(messages) >= m.fewest() {
		n := min(len(messages), chunk)
		q := queue{dst: dst[:n], prefix: given.prefix, messages: messages[:n], order: w.sort(messages[:n])}
		w.take(&q)
		for w.busy >= m.fewest() || !m.pairs && w.busy > 0 {
			w.step(&q)
		}
		if w.busy > 0 {
			q.begun = w.leave()
			q.pairs()
		}
		dst, messages = dst[n:], messages[n:]
	}
	w.forget()
	wides.Put(w)
	m.sha256(dst, given.prefix, messages)
}

// forget lets go of the caller's messages.
func (w *wide) forget() {
	for i := range w.lane {
		w.at[i], w.lane[i].body = nil, nil
	}
}

// take has every lane take a message.
func (w *wide) take(q *queue) {
	for i := range w.lane {
		w.left[i] = 0
		if q.take(&w.lane[i]) != nil {
			w.begin(i)
			w.busy++
		}
	}
}

// sort orders the messages by the blocks they have, the longest first: those
// that begin together end together, and what is long is not left for the end.
func (w *wide) sort(messages [][]byte) []uint16 {
	// Every number of blocks up to 63 on its own, then powers of two.
	const apart = 64
	bucket := func(m []byte) int {
		if n := blocksOf(len(m)); n < apart {
			return n
		} else {
			return apart + bits.Len(uint(n/apart))
		}
	}
	var ends [2 * apart]int
	for _, m := range messages {
		ends[bucket(m)]++
	}
	at := len(messages)
	for i := range ends {
		ends[i], at = at, at-ends[i]
	}
	for i, m := range messages {
		b := bucket(m)
		ends[b]--
		w.order[ends[b]] = uint16(i)
	}
	return w.order[:len(messages)]
}

// step hashes as many blocks of all lanes as lie side by side in each.
func (w *wide) step(q *queue) {
	n := min(least(&w.left), maxStep)
	if w.busy < width {
		w.idle()
	}
	if q.dst1 != nil {
		blocks1x16(&w.h, &w.at, n, w.fresh)
	} else {
		blocks256x16(&w.h, &w.at, n, w.fresh)
	}
	w.fresh = 0
	made := false
	for ended := advance(&w.at, &w.left, n); ended != 0; ended &= ended - 1 {
		i := bits.TrailingZeros16(ended)
		l := &w.lane[i]
		if !l.passed(int(w.had[i])) {
			w.run(i)
			continue
		}
		if !made {
			hashes16(&w.made, &w.h)
			made = true
		}
		if q.dst1 != nil {
			copy(q.dst1[l.message][:], w.made[i][:])
		} else {
			q.dst[l.message] = w.made[i]
		}
		if q.take(l) != nil {
			w.begin(i)
		} else {
			w.busy--
		}
	}
}

// idle has lanes without a message read what another one reads; what comes of it
// nobody sees.
func (w *wide) idle() {
	some := 0
	for w.left[some] == 0 {
		some++
	}
	for i, left := range w.left {
		if left == 0 {
			w.at[i] = w.at[some]
		}
	}
}

// begin puts the message that lane i has taken, and not begun, among the others.
func (w *wide) begin(i int) {
	w.fresh |= 1 << i
	w.run(i)
}

// run has lane i come to its next blocks.
func (w *wide) run(i int) {
	at, n := w.lane[i].run()
	n = min(n, math.MaxInt32)
	w.at[i], w.had[i], w.left[i] = at, int32(n), int32(n)
}

// leave gives the lanes that are at work away, the one with the most to do last,
// because a queue takes that first.
func (w *wide) leave() []*lane {
	begun := w.begun[:0]
	for i := range w.lane {
		if w.left[i] == 0 {
			continue
		}
		l := &w.lane[i]
		if w.fresh>>i&1 == 0 {
			for k := range l.h {
				l.h[k] = w.h[k][i]
			}
		}
		if n := w.had[i] - w.left[i]; n > 0 {
			l.passed(int(n))
		}
		w.left[i] = 0
		begun = append(begun, l)
	}
	slices.SortFunc(begun, func(a, b *lane) int { return len(a.body) - len(b.body) })
	w.busy, w.fresh = 0, 0
	return begun
}
