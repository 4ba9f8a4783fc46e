package ctlogtest

import (
	"crypto/sha256"
	"encoding/binary"
)

// Entry is one log entry as this package makes it: what both protocols are
// encoded from.
type Entry struct {
	Timestamp     uint64   // milliseconds since 1970
	Precert       bool     // precert_entry, else x509_entry
	IssuerKeyHash [32]byte // precert_entry only
	Body          []byte   // TBSCertificate of a precert_entry, certificate of an x509_entry
	Submitted     []byte   // the submitted precertificate; nil for an x509_entry
	chain         []int    // certificates of the hierarchy, issuer first

	// What faults make of it.
	version    byte   // of the leaf, 0 is v1
	entryType  uint16 // if not zero, in place of the true one
	wrongChain bool   // the last certificate is altered
}

func appendOpaque16(b, v []byte) []byte {
	return append(append(b, byte(len(v)>>8), byte(len(v))), v...)
}

func appendOpaque24(b, v []byte) []byte {
	return append(append(b, byte(len(v)>>16), byte(len(v)>>8), byte(len(v))), v...)
}

// appendTimestamped appends a TimestampedEntry (RFC 6962 section 3.4). A
// static log's has the leaf_index extension of static-ct-api with index; an
// RFC 6962 log's has no extensions.
func (e *Entry) appendTimestamped(b []byte, kind Kind, index uint64) []byte {
	b = binary.BigEndian.AppendUint64(b, e.Timestamp)
	typ := len(b)
	if e.Precert {
		b = append(b, 0, 1)
		b = append(b, e.IssuerKeyHash[:]...)
	} else {
		b = append(b, 0, 0)
	}
	if e.entryType != 0 {
		binary.BigEndian.PutUint16(b[typ:], e.entryType)
	}
	b = appendOpaque24(b, e.Body)
	if kind == RFC6962 {
		return append(b, 0, 0)
	}
	return append(b, 0, 8, 0, 0, 5, byte(index>>32), byte(index>>24), byte(index>>16), byte(index>>8), byte(index))
}

// appendLeaf appends a MerkleTreeLeaf: version v1, timestamped_entry.
func (e *Entry) appendLeaf(b []byte, kind Kind, index uint64) []byte {
	return e.appendTimestamped(append(b, e.version, 0), kind, index)
}

// leafHash is the hash of the entry in a log of this kind (RFC 6962 section
// 2.1). scratch is reused if it is large enough.
func (e *Entry) leafHash(scratch []byte, kind Kind, index uint64) ([32]byte, []byte) {
	scratch = e.appendLeaf(append(scratch[:0], 0), kind, index)
	return sha256.Sum256(scratch), scratch
}

// appendExtra appends the extra_data of a get-entries answer: a
// PrecertChainEntry, or the chain of an x509_entry (RFC 6962 section 4.6).
func (e *Entry) appendExtra(b []byte, h *hierarchy) []byte {
	if e.Precert {
		b = appendOpaque24(b, e.Submitted)
	}
	n := 0
	for _, c := range e.chain {
		n += 3 + len(h.certs[c])
	}
	b = append(b, byte(n>>16), byte(n>>8), byte(n))
	for _, c := range e.chain {
		b = appendOpaque24(b, h.certs[c])
	}
	return e.spoilChain(b)
}

// appendTileLeaf appends a TileLeaf of a data tile. That of an RFC 6962 log
// has no extensions, as in archives ("archival leaf").
func (e *Entry) appendTileLeaf(b []byte, h *hierarchy, kind Kind, index uint64) []byte {
	b = e.appendTimestamped(b, kind, index)
	if e.Precert {
		b = appendOpaque24(b, e.Submitted)
	}
	n := 32 * len(e.chain)
	b = append(b, byte(n>>8), byte(n))
	for _, c := range e.chain {
		b = append(b, h.hashes[c][:]...)
	}
	return e.spoilChain(b)
}

// spoilChain alters the end of what ends with a chain.
func (e *Entry) spoilChain(b []byte) []byte {
	if e.wrongChain && len(e.chain) > 0 {
		b[len(b)-1] ^= 1
	}
	return b
}
