package ctlogtest

import (
	"bytes"
	"crypto/sha256"
	"strconv"
	"time"
)

// faultyHead returns the newest head, or what the drawn faults make of it.
func (l *Log) faultyHead(d drawn) (head, error) {
	l.mu.RLock()
	h, t := l.head, l.tree
	l.mu.RUnlock()
	resign := false
	if f, ok := d[RolledBack]; ok {
		h.size -= min(h.size, uint64(max(f.n(1), 0)))
		h.root = t.root(h.size)
		resign = true
	}
	if _, ok := d[SplitView]; ok {
		h.root = sha256.Sum256(append([]byte("another view"), h.root[:]...))
		resign = true
	}
	if f, ok := d[Future]; ok {
		h.timestamp += uint64(f.delay(24 * time.Hour).Milliseconds())
		resign = true
	}
	if f, ok := d[Backdated]; ok {
		h.timestamp -= uint64(f.delay(24 * time.Hour).Milliseconds())
		resign = true
	}
	if f, ok := d[OddSize]; ok {
		if n, err := strconv.ParseUint(f.Text, 10, 64); err == nil {
			h.size, resign = n, true
		}
	}
	key := l.key
	if _, ok := d[WrongKey]; ok {
		key, resign = l.wrong, true
	}
	if resign {
		if err := key.sign(&h); err != nil {
			return h, err
		}
	}
	if _, ok := d[BadSignature]; ok {
		h.sig = bytes.Clone(h.sig)
		h.sig[len(h.sig)-1] ^= 1
	}
	return h, nil
}
