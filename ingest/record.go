package ingest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/klauspost/compress/s2"

	"ctappliance/ingest/ctlog"
)

// A record is one batch as the WAL keeps it. All integers are big endian.
//
//	 0  u8    version (1)
//	 1  u8    body: 0 leaves (s2), 1 tile as received, 2 tile as received, gzip
//	 2  [32]  log ID
//	34  u64   index of the first entry
//	42  u32   number of entries
//	46  u16   entries of the tile before the first one (0 for leaves)
//	48  u16   number of subtree roots that follow
//	50  u32   number of inline chain certificates
//	54  ...   roots: u64 number of the 256-leaf subtree, hash[32] each
//	    ...   inline certificates: u32 length and DER each
//	    ...   body
//
// A body of leaves is, per entry and before compression: u32 leaf length,
// leaf, u32 precertificate length (all ones: none), precertificate, u16 chain
// length, SHA-256 of each chain certificate.
//
// Inline certificates are chain certificates that could not be stored apart
// (see package chain): the record stays whole without them.
type record struct {
	log     ctlog.Hash
	from    uint64
	entries []ctlog.Entry
	roots   []subtree
	inline  [][]byte
	memory  *ctlog.Memory // of the entries; whoever parses the record gives it back
}

// subtree is the root of the complete 256-leaf subtree of a log that holds
// entries [256·Number, 256·Number+256).
type subtree struct {
	Number uint64
	Root   ctlog.Hash
}

const (
	recordVersion = 1
	recordHeader  = 54

	bodyLeaves   = 0
	bodyTile     = 1
	bodyTileGzip = 2

	noPrecert = 1<<32 - 1

	// maxRecordBody bounds what a record may decompress to. Answers are capped
	// at 64 MiB and a leaf body repeats none of it.
	maxRecordBody = 256 << 20

	// maxRecord is the largest payload that the WAL takes.
	maxRecord   = 64 << 20
	maxTileSize = 256
)

func (r *record) end() uint64 { return r.from + uint64(len(r.entries)) }

// encodeBuffers is memory for encodeRecord, kept from one record to the next:
// a page of entries takes a megabyte, and is on the disk in a moment.
type encodeBuffers struct{ plain, out []byte }

var encodeMemory = sync.Pool{New: func() any { return new(encodeBuffers) }}

// maxEncodeMemory is how large buffers may be to be kept. Pages of ordinary
// size are a quarter of it.
const maxEncodeMemory = 4 << 20

// release gives m back. What encodeRecord returned is void from then on, so it
// must be on the disk, and not merely given up by whoever waited for that.
func (m *encodeBuffers) release() {
	if cap(m.plain) <= maxEncodeMemory && cap(m.out) <= maxEncodeMemory {
		encodeMemory.Put(m)
	}
}

// encodeRecord lays a batch out for the WAL, in memory of m.
func (m *encodeBuffers) encodeRecord(log ctlog.Hash, b *ctlog.Batch, roots []subtree, inline [][]byte) ([]byte, error) {
	out := append(m.out[:0], make([]byte, recordHeader)...)
	out[0] = recordVersion
	copy(out[2:], log[:])
	binary.BigEndian.PutUint64(out[34:], b.From)
	binary.BigEndian.PutUint32(out[42:], uint32(len(b.Entries)))
	if len(roots) > 1<<16-1 {
		return nil, errors.New("a batch completes too many subtrees")
	}
	binary.BigEndian.PutUint16(out[48:], uint16(len(roots)))
	binary.BigEndian.PutUint32(out[50:], uint32(len(inline)))
	for _, s := range roots {
		out = binary.BigEndian.AppendUint64(out, s.Number)
		out = append(out, s.Root[:]...)
	}
	for _, der := range inline {
		out = binary.BigEndian.AppendUint32(out, uint32(len(der)))
		out = append(out, der...)
	}
	if b.Tile != nil {
		out[1] = bodyTile
		if b.TileGzip {
			out[1] = bodyTileGzip
		}
		if b.TileSkip < 0 || b.TileSkip >= maxTileSize {
			return nil, fmt.Errorf("batch begins at entry %d of its tile", b.TileSkip)
		}
		binary.BigEndian.PutUint16(out[46:], uint16(b.TileSkip))
		m.out = append(out, b.Tile...)
		return m.out, nil
	}
	size := 0
	for _, e := range b.Entries {
		size += 10 + len(e.Leaf) + len(e.Precert) + 32*len(e.Chain)
	}
	if size > maxRecordBody {
		return nil, fmt.Errorf("a batch of %d bytes is too large for a record", size)
	}
	plain := slices.Grow(m.plain[:0], size)
	for _, e := range b.Entries {
		plain = binary.BigEndian.AppendUint32(plain, uint32(len(e.Leaf)))
		plain = append(plain, e.Leaf...)
		if e.Precert == nil {
			plain = binary.BigEndian.AppendUint32(plain, noPrecert)
		} else {
			plain = binary.BigEndian.AppendUint32(plain, uint32(len(e.Precert)))
			plain = append(plain, e.Precert...)
		}
		if len(e.Chain) > 1<<16-1 {
			return nil, errors.New("a chain is too long for a record")
		}
		plain = binary.BigEndian.AppendUint16(plain, uint16(len(e.Chain)))
		for _, h := range e.Chain {
			plain = append(plain, h[:]...)
		}
	}
	m.plain = plain
	n := len(out)
	out = slices.Grow(out, s2.MaxEncodedLen(len(plain)))
	m.out = out[:n+len(s2.Encode(out[n:cap(out)], plain))]
	return m.out, nil
}

// RecordRange reads the log, the first index and the count from a record's
// header alone.
func RecordRange(b []byte) (log ctlog.Hash, from, to uint64, err error) {
	if len(b) < recordHeader || b[0] != recordVersion {
		return log, 0, 0, errors.New("record header is not one of ours")
	}
	from = binary.BigEndian.Uint64(b[34:])
	return ctlog.Hash(b[2:34]), from, from + uint64(binary.BigEndian.Uint32(b[42:])), nil
}

// decodeRecord is the inverse of encodeRecord. The entries alias buffers of
// their own, not b.
func decodeRecord(b []byte) (*record, error) {
	log, from, to, err := RecordRange(b)
	if err != nil {
		return nil, err
	}
	r := &record{log: log, from: from, memory: new(ctlog.Memory)}
	body, count := b[1], int(to-from)
	skip := int(binary.BigEndian.Uint16(b[46:]))
	roots := int(binary.BigEndian.Uint16(b[48:]))
	inline := int(binary.BigEndian.Uint32(b[50:]))
	b = b[recordHeader:]
	if len(b) < 40*roots {
		return nil, errors.New("record ends inside its subtree roots")
	}
	for range roots {
		r.roots = append(r.roots, subtree{binary.BigEndian.Uint64(b), ctlog.Hash(b[8:40])})
		b = b[40:]
	}
	for range inline {
		der, rest, ok := cut32(b)
		if !ok {
			return nil, errors.New("record ends inside an inline certificate")
		}
		r.inline = append(r.inline, der)
		b = rest
	}
	switch body {
	case bodyLeaves:
		r.entries, err = decodeLeaves(r.memory, b, count)
	case bodyTile, bodyTileGzip:
		r.entries, err = ctlog.DecodeTileIn(r.memory, from-uint64(skip), b, body == bodyTileGzip)
		if err == nil {
			if skip+count > len(r.entries) {
				return nil, fmt.Errorf("record wants entries [%d,%d) of a tile of %d", skip, skip+count, len(r.entries))
			}
			r.entries = r.entries[skip : skip+count]
		}
	default:
		err = fmt.Errorf("record body %d is unknown", body)
	}
	if err != nil {
		return nil, fmt.Errorf("decoding record: %w", err)
	}
	return r, nil
}

func decodeLeaves(m *ctlog.Memory, b []byte, count int) ([]ctlog.Entry, error) {
	n, err := s2.DecodedLen(b)
	if err != nil || n > maxRecordBody {
		return nil, fmt.Errorf("body of %d bytes: %w", n, errors.Join(err, errors.New("too large or not s2")))
	}
	if b, err = s2.Decode(m.Bytes(n), b); err != nil {
		return nil, err
	}
	if count > len(b)/10 { // the smallest entry has three lengths: bound before allocating
		return nil, fmt.Errorf("%d entries in %d bytes", count, len(b))
	}
	entries := make([]ctlog.Entry, count)
	var chains []ctlog.Hash // pieces of it are the entries' chains
	for i := range entries {
		e := &entries[i]
		var ok bool
		if e.Leaf, b, ok = cut32(b); !ok {
			return nil, errors.New("ends inside a leaf")
		}
		if len(b) >= 4 && binary.BigEndian.Uint32(b) == noPrecert {
			b = b[4:]
		} else if e.Precert, b, ok = cut32(b); !ok {
			return nil, errors.New("ends inside a precertificate")
		}
		if len(b) < 2 {
			return nil, errors.New("ends inside a chain")
		}
		n := int(binary.BigEndian.Uint16(b))
		if b = b[2:]; len(b) < 32*n {
			return nil, errors.New("ends inside a chain")
		}
		if cap(chains)-len(chains) < n {
			chains = make([]ctlog.Hash, 0, max(n, min(4*(count-i), len(b)/32)))
		}
		at := len(chains)
		for j := range n {
			chains = append(chains, ctlog.Hash(b[32*j:]))
		}
		e.Chain = chains[at:len(chains):len(chains)]
		b = b[32*n:]
	}
	if len(b) != 0 {
		return nil, fmt.Errorf("%d bytes behind the last entry", len(b))
	}
	return entries, nil
}

// cut32 takes a u32 length and that many bytes off the front of b.
func cut32(b []byte) (head, rest []byte, ok bool) {
	if len(b) < 4 {
		return nil, nil, false
	}
	n := binary.BigEndian.Uint32(b)
	if b = b[4:]; uint64(n) > uint64(len(b)) {
		return nil, nil, false
	}
	return b[:n:n], b[n:], true
}
