package schema

import (
	"encoding/binary"
	"math"
)

// MaxIndexedNames is the largest number of names of one certificate that are
// put into name_certs and names. certs has them all.
const MaxIndexedNames = 10_000

// nameCerts builds the insert into table name_certs. Its rows are many and
// come in groups, the names of one certificate, so that it has no list of
// fields.
type nameCerts struct {
	Block
	rname               *Str
	wildcard            *U8
	notBefore, validity *U32
	issuerID, tbs8      *U64
}

func newNameCerts() *nameCerts {
	n := &nameCerts{rname: new(Str), wildcard: new(U8), notBefore: new(U32), validity: new(U32), issuerID: new(U64), tbs8: new(U64)}
	n.Block = Block{Table: "name_certs", Columns: []Column{
		{"rname", "String", n.rname},
		{"wildcard", "Bool", n.wildcard},
		{"not_before", typeShortTime, n.notBefore},
		{"validity", "UInt32", n.validity},
		{"issuer_id", "UInt64", n.issuerID},
		{"tbs8", "UInt64", n.tbs8},
	}}
	return n
}

// append adds the names of one certificate.
func (n *nameCerts) append(r *Row, names [][]byte) {
	notBefore, validity, issuer := clamp32(r.NotBefore), clamp32(r.NotAfter-r.NotBefore), ShortID(r.IssuerKeyHash)
	// A number, since a conversion of FixedString to String would cut zeros off.
	tbs8 := binary.LittleEndian.Uint64(r.TBSID[:8])
	for _, name := range names {
		last := len(name) - 1
		n.rname.AppendBytes(name[:last])
		*n.wildcard = append(*n.wildcard, name[last])
		*n.notBefore = append(*n.notBefore, notBefore)
		*n.validity = append(*n.validity, validity)
		*n.issuerID = append(*n.issuerID, issuer)
		*n.tbs8 = append(*n.tbs8, tbs8)
	}
}

// names builds the insert into table names.
type names struct {
	Block
	rname            *Str
	wildcard         *U8
	first, last, end *U32
}

func newNames() *names {
	n := &names{rname: new(Str), wildcard: new(U8), first: new(U32), last: new(U32), end: new(U32)}
	n.Block = Block{Table: "names", Columns: []Column{
		{"rname", "String", n.rname},
		{"wildcard", "Bool", n.wildcard},
		{"first_seen", typeShortTime, n.first},
		{"last_seen", typeShortTime, n.last},
		{"max_not_after", typeShortTime, n.end},
	}}
	return n
}

// nameTime is the timestamp of a row in the name tables.
func nameTime(r *Row) uint32 { return clamp32(int64(min(r.Timestamp/1000, math.MaxUint32))) }

func (n *names) append(name []byte, at, end uint32) {
	last := len(name) - 1
	n.rname.AppendBytes(name[:last])
	*n.wildcard = append(*n.wildcard, name[last])
	*n.first, *n.last, *n.end = append(*n.first, at), append(*n.last, at), append(*n.end, end)
}

// fold adds to a row what the table's functions would.
func (n *names) fold(i int, at, end uint32) {
	first, last, until := &(*n.first)[i], &(*n.last)[i], &(*n.end)[i]
	*first, *last, *until = min(*first, at), max(*last, at), max(*until, end)
}

// clamp32 holds v to what a DateTime can say: 1970 to 2106.
func clamp32(v int64) uint32 { return uint32(max(0, min(v, math.MaxUint32))) }

// nameSet gives the distinct indexable names of one certificate.
type nameSet struct {
	buf  []byte
	list [][]byte            // of buf
	seen map[string]struct{} // for certificates of many names
}

// fewNames is up to how many names comparing each with all is faster than a map.
const fewNames = 16

// of returns the distinct names of r that can be looked up: DNS names first,
// then common names, at most MaxIndexedNames. Each is its rname and one byte: 1
// for a wildcard, else 0. What is returned is valid until the next call.
func (s *nameSet) of(r *Row) [][]byte {
	s.buf, s.list = s.buf[:0], s.list[:0]
	many := len(r.DNSNames)+len(r.Subject.CommonNames) > fewNames
	if many {
		if s.seen == nil || len(s.seen) > 4*fewNames*fewNames {
			s.seen = make(map[string]struct{}) // do not keep the memory of the largest certificate ever
		}
		clear(s.seen)
	}
	for i, list := range [...][]string{r.DNSNames, r.Subject.CommonNames} {
		for _, name := range list {
			if len(s.list) == MaxIndexedNames {
				return s.list
			}
			if i > 0 && len(r.DNSNames) > 0 && name == r.DNSNames[0] {
				continue // as nearly always
			}
			at := len(s.buf)
			b, wildcard, ok := AppendReverseName(s.buf, name)
			if !ok {
				continue
			}
			b = append(b, bit(wildcard, 1))
			// Where buf has grown, the names before stay in its old memory.
			if key := b[at:]; !s.has(many, key) {
				s.buf = b
				s.list = append(s.list, key)
				if many {
					s.seen[string(key)] = struct{}{}
				}
			}
		}
	}
	return s.list
}

// has reports whether a name is in the list.
func (s *nameSet) has(many bool, key []byte) bool {
	if many {
		_, ok := s.seen[string(key)]
		return ok
	}
	for _, n := range s.list {
		if string(n) == string(key) {
			return true
		}
	}
	return false
}
