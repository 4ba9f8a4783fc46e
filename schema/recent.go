package schema

import (
	"encoding/binary"
	"hash/maphash"
)

// Recent remembers which dependent rows were written not long ago. The same
// certificate comes from several logs within minutes, and a name with every
// renewal; writing a row once saves most of the engine's work. To forget is
// harmless, since dependents may be written again; to remember what was never
// written would lose rows, so the owner calls Forget whenever an insert did not
// end well.
//
// It is two tables of fixed size, in which what comes takes the place of what
// was there: one of certificates by tbs_id, which it compares whole, one of
// names by 64 bits of a hash with a seed of this process, in a place that
// another seed chooses: no one can make two meet. A certificate has two places,
// and that goes which was asked for longer ago. A nil Recent remembers nothing.
// Not safe for concurrent use.
type Recent struct {
	certs []recentCert // pairs; the lengths are powers of two
	names []recentName

	// profiles are the ids that were written, issuers the fingerprints.
	profiles map[uint64]struct{}
	issuers  map[Hash]struct{}

	turn turn // the newest

	contents, tags, places maphash.Seed
	buf                    []byte
}

// recentCert is a certificate: 32 bytes.
type recentCert struct {
	tbsID [16]byte
	pre   uint32 // hash of what the precertificate's row said; 0: not written
	final uint32 // and of the final certificate's
	day   uint32 // day, plus one, of a timestamp with which its names were written; 0: not written
	at    place  // of its row
}

// recentName is a name: 20 bytes.
type recentName struct {
	tag         [2]uint32
	notAfter    uint32 // the highest that was written
	first, last uint16 // days, of timestamps that were
	at          place  // of its row
}

// turn is a flush that is being filled: rows of it can still be added to. Turns
// have numbers from 1 to 255, and begin anew in the next lap, where no place of
// a former one counts. The zero turn is none.
type turn struct {
	n   uint8
	lap uint64
}

// place is a row of a turn: the turn's number in 8 bits, the row's in 24. The
// zero place is none.
type place uint32

const maxPlaces = 1 << 24

// place returns the place of row i.
func (t turn) place(i int) place {
	if i >= maxPlaces {
		return 0
	}
	return place(t.n)<<24 | place(i)
}

// row returns the row at p; ok is false if p is not of this turn.
func (t turn) row(p place) (i int, ok bool) {
	return int(p % maxPlaces), t.n != 0 && uint8(p>>24) == t.n
}

// take makes t a turn of the present lap, a new one if it is not.
func (r *Recent) take(t *turn) {
	if t.n != 0 && t.lap == r.turn.lap {
		return
	}
	if r.turn.n++; r.turn.n == 0 {
		for i := range r.certs {
			r.certs[i].at = 0
		}
		for i := range r.names {
			r.names[i].at = 0
		}
		r.turn = turn{1, r.turn.lap + 1}
	}
	*t = r.turn
}

// NewRecent returns a Recent of about 18 << bits bytes: 2^bits / 4 certificates
// and 2^bits / 2 names.
func NewRecent(bits int) *Recent {
	return &Recent{
		certs:    make([]recentCert, 1<<max(bits-2, 1)),
		names:    make([]recentName, 1<<max(bits-1, 0)),
		profiles: map[uint64]struct{}{},
		issuers:  map[Hash]struct{}{},
		contents: maphash.MakeSeed(),
		tags:     maphash.MakeSeed(),
		places:   maphash.MakeSeed(),
	}
}

// Forget empties r.
func (r *Recent) Forget() {
	if r != nil {
		clear(r.certs)
		clear(r.names)
		clear(r.profiles)
		clear(r.issuers)
	}
}

// maxIssuers bounds the memory of the chain certificates that are remembered:
// some 2 MB. All that logs accept are a few thousand.
const maxIssuers = 1 << 14

// issuer says whether a chain certificate was written, and remembers that it
// is from now on.
func (r *Recent) issuer(fingerprint Hash) bool {
	if r == nil {
		return false
	}
	if _, ok := r.issuers[fingerprint]; ok {
		return true
	}
	if len(r.issuers) == maxIssuers {
		clear(r.issuers)
	}
	r.issuers[fingerprint] = struct{}{}
	return false
}

// cert returns what is known of a row's certificate, which may be nothing. What
// is returned is valid until the next call.
func (r *Recent) cert(row *Row) *recentCert {
	// The id is a hash of what others chose, who could aim at one place with
	// many: all that does is that rows are written again.
	i := binary.LittleEndian.Uint64(row.TBSID[:8]) & uint64(len(r.certs)-1) &^ 1
	pair := r.certs[i : i+2 : i+2] // the first was asked for last
	if pair[0].tbsID == row.TBSID {
		return &pair[0]
	}
	if pair[1].tbsID == row.TBSID {
		pair[0], pair[1] = pair[1], pair[0]
	} else {
		pair[0], pair[1] = recentCert{tbsID: row.TBSID}, pair[0]
	}
	return &pair[0]
}

// known remembers what the row says of its certificate and reports whether that
// was known.
func (c *recentCert) known(r *Recent, row *Row) bool {
	r.buf = append(r.buf[:0], row.Fingerprint[:]...)
	r.buf = append(binary.LittleEndian.AppendUint64(r.buf, row.Flags), seen(row), byte(row.ParserVersion), byte(row.ParserVersion>>8))
	h := uint32(maphash.Bytes(r.contents, r.buf)) | 1
	of := &c.final
	if row.EntryType == PrecertEntry {
		of = &c.pre
	}
	if *of == h {
		return true
	}
	*of = h
	return false
}

// name returns the place of a name, which ends in its wildcard byte, and
// whether it holds that one; if not, it does from now on, with nothing known.
func (r *Recent) name(name []byte) (*recentName, bool) {
	h := maphash.Bytes(r.tags, name)
	tag := [2]uint32{uint32(h) | 1, uint32(h >> 32)} // never the zero of an empty place
	n := &r.names[maphash.Bytes(r.places, name)&uint64(len(r.names)-1)]
	if n.tag == tag {
		return n, true
	}
	*n = recentName{tag: tag}
	return n, false
}
