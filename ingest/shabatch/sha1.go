package shabatch

import "crypto/sha1"

// Hash1 is a SHA-1 value.
type Hash1 = [sha1.Size]byte

// alone is the size from which on a message is hashed with SHA-1 alone: there
// are no pairs for it, and the last lanes with a long one would wait for fourteen
// that do nothing.
const alone = 32 * blockSize

// SHA1 writes to dst[i] the SHA-1 of messages[i]; dst has the length of
// messages. The messages may overlap.
func SHA1(dst []Hash1, messages [][]byte) { here.sha1(dst, messages) }

func (m means) sha1(dst []Hash1, messages [][]byte) {
	if len(dst) != len(messages) {
		panic("shabatch: as many hashes as messages are not wanted")
	}
	if !m.wide || len(messages) < fewest1 {
		sha1Apart(dst, messages)
		return
	}
	w := wides.Get().(*wide)
	for len(messages) > 0 {
		n := min(len(messages), chunk)
		q := queue{dst1: dst[:n], messages: messages[:n], order: w.sort(messages[:n])}
		for len(q.order) > 0 && len(messages[q.order[0]]) >= alone {
			i := q.order[0]
			dst[i] = sha1.Sum(messages[i])
			q.order = q.order[1:]
		}
		w.take(&q)
		for w.busy > 0 {
			w.step(&q)
		}
		dst, messages = dst[n:], messages[n:]
	}
	w.forget()
	wides.Put(w)
}

// sha1Apart is SHA1 where nothing is gained by lanes.
func sha1Apart(dst []Hash1, messages [][]byte) {
	for i, m := range messages {
		dst[i] = sha1.Sum(m)
	}
}

// fewest1 is fewest for SHA-1.
const fewest1 = 2
