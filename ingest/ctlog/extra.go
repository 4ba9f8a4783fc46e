package ctlog

import (
	"bytes"
	"crypto/sha256"
	"hash/maphash"
	"sync"
)

// chain is a certificate chain as extra_data carries it: the bytes, and what
// they mean. Shared between entries and batches, and never changed.
type chain struct {
	raw    []byte // the vectors, without the outer length
	certs  [][]byte
	hashes []Hash
}

// maxChain bounds the certificates of a chain; real ones have up to six. It
// keeps three bytes of extra_data from becoming a record of ours each.
const maxChain = 64

// parseChain takes "cert<24>, cert<24>, …" apart. ok is false if the lengths
// do not fit, or if it is no chain that anyone would submit. The result
// aliases raw.
func parseChain(raw []byte) (c *chain, ok bool) {
	c = &chain{raw: raw}
	for r := (reader{b: raw}); len(r.b) > 0; {
		cert := r.vec24()
		if r.bad || len(cert) == 0 || len(c.certs) == maxChain {
			return nil, false
		}
		c.certs = append(c.certs, cert)
	}
	c.hashes = make([]Hash, len(c.certs))
	for i, cert := range c.certs {
		c.hashes[i] = sha256.Sum256(cert)
	}
	return c, true
}

// Limits of chainCache.
const (
	maxCachedChains = 1024
	maxCachedBytes  = 8 << 20
	maxChainCached  = 64 << 10 // a longer one is not kept
)

// chainCache recognises chains that came before: an RFC 6962 log repeats the
// chain in every entry, and hashing it costs more than all else. It compares
// bytes, not only their hash. When it is full it starts anew, so a log that
// invents chains costs itself speed and us no memory. Safe for concurrent use.
type chainCache struct {
	mu     sync.Mutex
	seed   maphash.Seed
	chains map[uint64]*chain
	bytes  int
}

func newChainCache() *chainCache {
	return &chainCache{seed: maphash.MakeSeed(), chains: map[uint64]*chain{}}
}

// get returns the chain in raw, which it does not keep a reference to.
func (cc *chainCache) get(raw []byte) (*chain, bool) {
	if len(raw) > maxChainCached {
		return parseChain(bytes.Clone(raw))
	}
	key := maphash.Bytes(cc.seed, raw)
	cc.mu.Lock()
	c := cc.chains[key]
	cc.mu.Unlock()
	if c != nil && bytes.Equal(c.raw, raw) {
		return c, true
	}
	c, ok := parseChain(bytes.Clone(raw))
	if !ok {
		return nil, false
	}
	cc.mu.Lock()
	defer cc.mu.Unlock()
	size := len(raw) + 64*len(c.certs) + 128
	if len(cc.chains) >= maxCachedChains || cc.bytes+size > maxCachedBytes {
		clear(cc.chains)
		cc.bytes = 0
	}
	if _, taken := cc.chains[key]; !taken {
		cc.chains[key] = c
		cc.bytes += size
	}
	return c, true
}

// setExtra fills an entry from its extra_data (RFC 6962 section 4.6): for an
// x509_entry the chain, for a precert_entry the submitted precertificate and
// the chain. What does not fit that is kept whole in Extra, and nil returned:
// extra_data is unauthenticated, and no reason to refuse the entry. Precert
// and Extra alias extra.
func (cc *chainCache) setExtra(e *Entry, extra []byte) *chain {
	e.Extra = extra
	leaf, err := ParseLeaf(e.Leaf)
	if err != nil {
		return nil
	}
	r := reader{b: extra}
	var precert []byte
	if leaf.EntryType == PrecertEntry {
		precert = r.vec24()
	}
	raw := r.vec24()
	if r.bad || len(r.b) > 0 {
		return nil
	}
	c, ok := cc.get(raw)
	if !ok {
		return nil
	}
	e.Precert, e.Chain, e.Extra = precert, c.hashes, nil
	return c
}
