package schema

import (
	"encoding/binary"
	"math"
)

// MaxIndexedNames is the largest number of names of one certificate that are
// put into name_certs and names. certs has them all.
const MaxIndexedNames = 10_000

// nameRow is what one row of name_certs and of names is filled from.
type nameRow struct {
	*Row
	rname    string
	wildcard bool
}

func nameCertFields() []field[nameRow] {
	rname := new(Str)
	return []field[nameRow]{
		{Column{"rname", "String", rname}, func(r *nameRow) { rname.Append(r.rname) }},
		flag("wildcard", func(r *nameRow) bool { return r.wildcard }),
		u32("not_before", typeShortTime, func(r *nameRow) uint32 { return clamp32(r.NotBefore) }),
		u32("validity", "UInt32", func(r *nameRow) uint32 { return clamp32(r.NotAfter - r.NotBefore) }),
		u64("issuer_id", func(r *nameRow) uint64 { return ShortID(r.IssuerKeyHash) }),
		// A number, since a conversion of FixedString to String would cut zeros off.
		u64("tbs8", func(r *nameRow) uint64 { return binary.LittleEndian.Uint64(r.TBSID[:8]) }),
	}
}

func nameFields() []field[nameRow] {
	at := func(r *nameRow) uint32 { return clamp32(int64(min(r.Timestamp/1000, math.MaxUint32))) }
	return []field[nameRow]{
		str("rname", func(r *nameRow) string { return r.rname }),
		flag("wildcard", func(r *nameRow) bool { return r.wildcard }),
		u32("first_seen", typeShortTime, at),
		u32("last_seen", typeShortTime, at),
		u32("max_not_after", typeShortTime, func(r *nameRow) uint32 { return clamp32(r.NotAfter) }),
	}
}

// clamp32 holds v to what a DateTime can say: 1970 to 2106.
func clamp32(v int64) uint32 { return uint32(max(0, min(v, math.MaxUint32))) }

// nameSet gives the distinct indexable names of one certificate.
type nameSet struct {
	buf  []byte
	seen map[string]struct{} // for certificates of many names; keys are of the form rname + wildcard
	list []indexed
}

type indexed struct {
	rname    string
	wildcard bool
}

// fewNames is up to how many names comparing each with all is faster than a map.
const fewNames = 16

// of returns the distinct names of r that can be looked up: DNS names first,
// then common names, at most MaxIndexedNames. The slice and its strings are
// valid until the next call.
func (s *nameSet) of(r *Row) []indexed {
	s.list = s.list[:0]
	many := len(r.DNSNames)+len(r.Subject.CommonNames) > fewNames
	if many {
		if s.seen == nil || len(s.seen) > 4*fewNames*fewNames {
			s.seen = make(map[string]struct{}) // do not keep the memory of the largest certificate ever
		}
		clear(s.seen)
	}
	for _, list := range [...][]string{r.DNSNames, r.Subject.CommonNames} {
		for _, name := range list {
			if len(s.list) == MaxIndexedNames {
				return s.list
			}
			var wildcard, ok bool
			s.buf, wildcard, ok = AppendReverseName(s.buf[:0], name)
			if !ok || s.has(many, wildcard) {
				continue
			}
			n := indexed{string(s.buf), wildcard}
			s.list = append(s.list, n)
			if many {
				s.seen[n.rname+string(rune('0'+bit(wildcard, 1)))] = struct{}{}
			}
		}
	}
	return s.list
}

// has reports whether the name in s.buf is in the list.
func (s *nameSet) has(many, wildcard bool) bool {
	if many {
		s.buf = append(s.buf, '0'+bit(wildcard, 1))
		_, ok := s.seen[string(s.buf)]
		s.buf = s.buf[:len(s.buf)-1]
		return ok
	}
	for _, n := range s.list {
		if n.wildcard == wildcard && n.rname == string(s.buf) {
			return true
		}
	}
	return false
}
