package ctlog

import (
	"crypto/sha256"
	"fmt"
	"slices"
)

// DecodeTile decodes a static-ct data tile as it was received (Batch.Tile): a
// sequence of at most 256 TileLeaf structures (c2sp.org/static-ct-api). from
// is the index of the tile's first entry; a leaf_index that is there must
// agree with it, and one that is not there is accepted. raw is not changed and
// not referred to. The plain tile may have 1 GiB, more than any client accepts.
//
//	TileLeaf = TimestampedEntry
//	         | pre_certificate<24>   only of a precert_entry
//	         | fingerprints<16>      n·32 bytes, issuer first
func DecodeTile(from uint64, raw []byte, gz bool) ([]Entry, error) {
	entries, _, err := decodeTile(from, raw, gz, maxMaxBody, nil)
	return entries, err
}

// DecodeTileIn is DecodeTile into memory that can be given back.
func DecodeTileIn(m *Memory, from uint64, raw []byte, gz bool) ([]Entry, error) {
	entries, _, err := decodeTile(from, raw, gz, maxMaxBody, m)
	return entries, err
}

// decodeTile is DecodeTile with a limit of plain bytes. indexed says that
// every entry had a leaf_index.
func decodeTile(from uint64, raw []byte, gz bool, limit int64, m *Memory) (entries []Entry, indexed bool, err error) {
	const what = "data tile"
	// Two bytes of room in front: see below.
	buf := append(m.tile(), 0, 0)
	if gz {
		if buf, err = gunzip(buf, raw, limit); err != nil {
			return nil, false, err
		}
	} else {
		if int64(len(raw)) > limit {
			return nil, false, fmt.Errorf("%w: more than %d bytes", ErrTooLarge, limit)
		}
		buf = append(slices.Grow(buf, len(raw)), raw...)
	}
	m.keep(buf)
	if looksLikeHTML(buf[2:]) {
		return nil, false, &AnswerError{What: what, Reason: "a page instead of a tile", Excerpt: excerpt(buf[2:])}
	}
	entries = make([]Entry, 0, tileWidth)
	indexed = true
	var chains fingerprintCache
	for off := 2; off < len(buf); {
		if len(entries) == tileWidth {
			return nil, false, answerErrorf(what, "holds more than %d entries", tileWidth)
		}
		r := reader{b: buf[off:]}
		var leaf Leaf
		if err := leaf.timestampedEntry(&r); err != nil {
			return nil, false, answerErrorf(what, "entry %d: %v", len(entries), err)
		}
		// The leaf that hashes into the tree has two zero bytes in front,
		// version and leaf_type, which tiles leave out. What stands there in
		// buf is the end of the last entry's fingerprints, already copied.
		end := len(buf) - len(r.b)
		e := Entry{Leaf: buf[off-2 : end : end]}
		if leaf.EntryType == PrecertEntry {
			e.Precert = r.vec24()
		}
		fingerprints := r.vec16()
		if r.bad || len(fingerprints)%sha256.Size != 0 {
			return nil, false, answerErrorf(what, "entry %d: chain is cut short or a length is wrong", len(entries))
		}
		e.Chain = chains.get(fingerprints)
		e.Leaf[0], e.Leaf[1] = 0, 0

		index, ok, err := LeafIndex(leaf.Extensions)
		if err != nil {
			return nil, false, answerErrorf(what, "entry %d: %v", len(entries), err)
		}
		if want := from + uint64(len(entries)); ok && index != want {
			return nil, false, answerErrorf(what, "entry %d says that its index is %d, want %d", len(entries), index, want)
		}
		indexed = indexed && ok
		entries = append(entries, e)
		off = len(buf) - len(r.b)
	}
	return entries, indexed, nil
}

// fingerprintCache lets the entries of a tile share their chains: most have
// one of a handful. It compares with its own copies, because decodeTile
// overwrites the end of the fingerprints that it has read.
type fingerprintCache struct {
	chains [8][]Hash
	n      int
}

func (c *fingerprintCache) get(raw []byte) []Hash {
	if len(raw) == 0 {
		return nil
	}
	for _, hs := range c.chains {
		if sameHashes(hs, raw) {
			return hs
		}
	}
	hs := make([]Hash, len(raw)/sha256.Size)
	for i := range hs {
		hs[i] = Hash(raw[i*sha256.Size:])
	}
	c.chains[c.n%len(c.chains)] = hs
	c.n++
	return hs
}

func sameHashes(hs []Hash, raw []byte) bool {
	if len(raw) != len(hs)*sha256.Size {
		return false
	}
	for i := range hs {
		if hs[i] != Hash(raw[i*sha256.Size:]) {
			return false
		}
	}
	return true
}
