package ctlog

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Entry types of RFC 6962 section 3.1.
const (
	X509Entry    = 0
	PrecertEntry = 1
)

// ErrUnknownLeaf is returned by ParseLeaf for a version, leaf type or entry
// type that RFC 6962 does not define. A v1 client must not read one as a fault
// of the log (RFC 6962 section 4.6): the bytes hash into the tree all the same.
var ErrUnknownLeaf = errors.New("unknown kind of leaf")

// Leaf is a MerkleTreeLeaf taken apart. Slices alias the leaf.
type Leaf struct {
	Version       uint8  // 0 = v1
	Type          uint8  // 0 = timestamped_entry
	Timestamp     uint64 // milliseconds since 1970
	EntryType     uint16
	IssuerKeyHash []byte // 32 bytes, SHA-256 of the issuer's SubjectPublicKeyInfo; nil unless a precert_entry
	Cert          []byte // x509_entry: the certificate; precert_entry: the TBSCertificate without poison. DER, unchecked
	Extensions    []byte // CtExtensions without their length
	Rest          []byte // what follows the last field understood: nil unless the kind of leaf is unknown
}

// ParseLeaf takes a MerkleTreeLeaf (RFC 6962 section 3.4) apart. With
// ErrUnknownLeaf the fields before the unknown one are set and Rest holds the
// remaining bytes; any other error means that the bytes are not a leaf.
func ParseLeaf(b []byte) (Leaf, error) {
	var l Leaf
	r := reader{b: b}
	l.Version, l.Type = r.u8(), r.u8()
	if r.bad {
		return Leaf{}, fmt.Errorf("leaf has %d bytes", len(b))
	}
	if l.Version != 0 || l.Type != 0 {
		l.Rest = r.b
		return l, fmt.Errorf("%w: version %d, leaf type %d", ErrUnknownLeaf, l.Version, l.Type)
	}
	if err := l.timestampedEntry(&r); err != nil {
		return l, err
	}
	if len(r.b) > 0 {
		return Leaf{}, fmt.Errorf("leaf has %d bytes too many", len(r.b))
	}
	return l, nil
}

// timestampedEntry reads a TimestampedEntry and leaves what follows it.
func (l *Leaf) timestampedEntry(r *reader) error {
	l.Timestamp = r.u64()
	l.EntryType = r.u16()
	switch {
	case r.bad:
	case l.EntryType == X509Entry:
		l.Cert = r.vec24()
	case l.EntryType == PrecertEntry:
		l.IssuerKeyHash = r.take(32)
		l.Cert = r.vec24()
	default:
		l.Rest = r.b
		return fmt.Errorf("%w: entry type %d", ErrUnknownLeaf, l.EntryType)
	}
	l.Extensions = r.vec16()
	if r.bad {
		*l = Leaf{}
		return errors.New("leaf is cut short or a length in it is wrong")
	}
	return nil
}

// LeafIndex returns the leaf_index extension of a static-ct-api log
// (c2sp.org/static-ct-api): the entry's own index. ok is false if the
// extensions do not have one. Extensions may come in any order; one that comes
// twice, or bytes that are not extensions, are an error.
func LeafIndex(extensions []byte) (index uint64, ok bool, err error) {
	var seen [256]bool
	r := reader{b: extensions}
	for len(r.b) > 0 {
		typ, data := r.u8(), r.vec16()
		if r.bad {
			return 0, false, errors.New("leaf extensions are malformed")
		}
		if seen[typ] {
			return 0, false, fmt.Errorf("leaf extension %d comes twice", typ)
		}
		seen[typ] = true
		if typ != 0 {
			continue
		}
		if len(data) != 5 {
			return 0, false, fmt.Errorf("leaf_index has %d bytes, want 5", len(data))
		}
		ok = true
		for _, c := range data {
			index = index<<8 | uint64(c)
		}
	}
	return index, ok, nil
}

// reader cuts fields off the front of b. After a field that is not there bad
// is set, b is empty and fields are zero. Slices have no spare capacity.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) take(n int) []byte {
	if n > len(r.b) {
		r.b, r.bad = nil, true
		return nil
	}
	v := r.b[:n:n]
	r.b = r.b[n:]
	return v
}

func (r *reader) u8() uint8 {
	if v := r.take(1); v != nil {
		return v[0]
	}
	return 0
}

func (r *reader) u16() uint16 {
	if v := r.take(2); v != nil {
		return binary.BigEndian.Uint16(v)
	}
	return 0
}

func (r *reader) u24() int {
	if v := r.take(3); v != nil {
		return int(v[0])<<16 | int(v[1])<<8 | int(v[2])
	}
	return 0
}

func (r *reader) u64() uint64 {
	if v := r.take(8); v != nil {
		return binary.BigEndian.Uint64(v)
	}
	return 0
}

func (r *reader) vec16() []byte { return r.take(int(r.u16())) }
func (r *reader) vec24() []byte { return r.take(r.u24()) }
