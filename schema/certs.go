package schema

import (
	"bytes"
	"cmp"
)

// certRow is what one row of certs is filled from: the row and what was worked
// out from it.
type certRow struct {
	*Row
	profile uint64      // profiles.id
	form    subjectForm // how the subject is stored
}

// certs builds the insert into table certs. Further rows of a certificate are
// folded into the one that is there, as the table's functions would.
type certs struct {
	*builder[certRow]

	notAfter            *I64
	seen                *U8
	sha256              *B32
	pre                 *B16
	profile, preProfile *U64
	skiMethod           *U8
	flags               *U64
	version             *U16
	sctList             *Array // filled by finish: lists grow while rows are folded
	sctLog              *B32
	sctTime             *U64
	lists               [][2]int // per row, the part of all that it has
	all                 []SCT
}

func newCerts() *certs {
	c := &certs{builder: newBuilder("certs", certFields())}
	c.notAfter, c.seen, c.sha256, c.pre = data[*I64](c, "not_after"), data[*U8](c, "seen"), data[*B32](c, "sha256"), data[*B16](c, "pre_sha16")
	c.profile, c.preProfile = data[*U64](c, "profile_id"), data[*U64](c, "pre_profile_id")
	c.skiMethod = data[*U8](c, "ski_method")
	c.flags, c.version = data[*U64](c, "flags"), data[*U16](c, "parser_version")
	c.sctList = data[*Array](c, "scts")
	tuple := c.sctList.Elem.(*Tuple)
	c.sctLog, c.sctTime = (*tuple)[0].(*B32), (*tuple)[1].(*U64)
	return c
}

// data returns the values of a column, which there must be.
func data[D Data](c *certs, name string) D {
	for _, col := range c.Columns {
		if col.Name == name {
			return col.Data.(D)
		}
	}
	panic("schema: certs has no column " + name)
}

// rows returns the number of rows, of which the scts may still be missing.
func (c *certs) rows() int { return len(*c.seen) }

// append adds a row. profile is its profiles.id.
func (c *certs) append(r *Row, profile uint64) {
	row := certRow{r, profile, formOf(r)}
	c.builder.append(&row)
	c.lists = append(c.lists, c.list(r.SCTs))
}

// list copies a list of SCTs.
func (c *certs) list(scts []SCT) [2]int {
	from := len(c.all)
	c.all = append(c.all, scts...)
	return [2]int{from, len(c.all)}
}

// fold adds to row i another one of the same certificate, as
// SimpleAggregateFunction does: any keeps the first, groupBitOr and max are what
// they are.
func (c *certs) fold(i int, r *Row, profile uint64) {
	(*c.seen)[i] |= seen(r)
	(*c.skiMethod)[i] = max((*c.skiMethod)[i], uint8(r.SKIMethod))
	(*c.flags)[i] |= r.Flags
	(*c.version)[i] = max((*c.version)[i], r.ParserVersion)
	if r.EntryType == PrecertEntry {
		(*c.preProfile)[i] = max((*c.preProfile)[i], profile)
		if h := &(*c.pre)[i]; bytes.Compare(r.Fingerprint[:16], h[:]) > 0 {
			*h = [16]byte(r.Fingerprint[:16])
		}
	} else {
		(*c.profile)[i] = max((*c.profile)[i], profile)
		if h := &(*c.sha256)[i]; bytes.Compare(r.Fingerprint[:], h[:]) > 0 {
			*h = r.Fingerprint
		}
	}
	if of := &c.lists[i]; compareSCTs(r.SCTs, c.all[of[0]:of[1]]) > 0 {
		*of = c.list(r.SCTs)
	}
}

// finish fills the columns that could not be while rows were folded. No row is
// folded after it into those before.
func (c *certs) finish() {
	for _, of := range c.lists[len(c.sctList.Ends):] {
		for i := of[0]; i < of[1]; i++ {
			*c.sctLog = append(*c.sctLog, c.all[i].LogID)
			*c.sctTime = append(*c.sctTime, c.all[i].Timestamp)
		}
		c.sctList.end()
	}
}

// Reset removes all rows and keeps the memory.
func (c *certs) Reset() {
	c.builder.Reset()
	c.lists, c.all = c.lists[:0], c.all[:0]
}

// compareSCTs orders lists of SCTs as the engine orders arrays of tuples.
func compareSCTs(a, b []SCT) int {
	for i := range min(len(a), len(b)) {
		if d := bytes.Compare(a[i].LogID[:], b[i].LogID[:]); d != 0 {
			return d
		}
		if d := cmp.Compare(a[i].Timestamp, b[i].Timestamp); d != 0 {
			return d
		}
	}
	return cmp.Compare(len(a), len(b))
}

// The bits of certs.seen.
const (
	seenFinal         = 1  // x509_entry without poison
	seenPrecert       = 2  // precert_entry with poison
	seenPoisonedFinal = 4  // x509_entry with poison
	seenBarePrecert   = 8  // precert_entry without poison
	seenOther         = 16 // a kind of leaf that this version does not know
)

func seen(r *Row) uint8 {
	switch {
	case r.EntryType == X509Entry && !r.Poison:
		return seenFinal
	case r.EntryType == X509Entry:
		return seenPoisonedFinal
	case r.EntryType == PrecertEntry && r.Poison:
		return seenPrecert
	case r.EntryType == PrecertEntry:
		return seenBarePrecert
	}
	return seenOther
}

const (
	typeAttrs = "Array(Tuple(attr Enum8('CN' = 1, 'O' = 2, 'OU' = 3, 'C' = 4, 'L' = 5, 'ST' = 6, 'serialNumber' = 7, 'email' = 8), value String))"
	typeSANs  = "Array(Tuple(kind Enum8('other' = 0, 'email' = 1, 'uri' = 6, 'ip' = 7), tag UInt8, value String))"
	typeSCTs  = "Array(Tuple(log_id FixedString(32), ts UInt64))"
)

// GeneralName tags of RFC 5280 section 4.2.1.6, which certs.sans uses as kinds.
const (
	sanOther = 0
	sanEmail = 1
	sanURI   = 6
	sanIP    = 7
)

var zeroHash Hash

func certFields() []field[certRow] {
	return []field[certRow]{
		b16("tbs_id", func(r *certRow) [16]byte { return r.TBSID }),
		i64("not_after", typeSeconds, func(r *certRow) int64 { return clampTime(r.NotAfter) }),
		i64("validity", "Int64", func(r *certRow) int64 { return clampTime(r.NotAfter) - clampTime(r.NotBefore) }),
		u8("seen", "UInt8", func(r *certRow) uint8 { return seen(r.Row) }),
		b32("sha256", func(r *certRow) *Hash {
			if r.EntryType == PrecertEntry {
				return &zeroHash
			}
			return &r.Fingerprint
		}),
		b16("pre_sha16", func(r *certRow) (h [16]byte) {
			if r.EntryType == PrecertEntry {
				copy(h[:], r.Fingerprint[:])
			}
			return h
		}),
		raw("serial", func(r *certRow) []byte { return r.Serial }),
		u64("profile_id", func(r *certRow) uint64 {
			if r.EntryType == PrecertEntry {
				return 0
			}
			return r.profile
		}),
		u64("pre_profile_id", func(r *certRow) uint64 {
			if r.EntryType == PrecertEntry {
				return r.profile
			}
			return 0
		}),
		u8("key_alg", "UInt8", func(r *certRow) uint8 { return uint8(r.KeyAlg) }),
		u16("key_bits", func(r *certRow) uint16 { return r.KeyBits }),
		str("key_oid", func(r *certRow) string {
			if r.KeyOID == usualKeyOID(r.KeyAlg, r.KeyBits) {
				return ""
			}
			return r.KeyOID
		}),
		b16("spki16", func(r *certRow) [16]byte { return [16]byte(r.SPKI[:16]) }),
		raw("ski", func(r *certRow) []byte {
			if r.SKIMethod != SKIOther {
				return nil
			}
			return r.SKI
		}),
		u8("ski_method", "UInt8", func(r *certRow) uint8 { return uint8(r.SKIMethod) }),
		u64("flags", func(r *certRow) uint64 { return r.Flags }),
		u16("parser_version", func(r *certRow) uint16 { return r.ParserVersion }),
		u8("subject_form", "UInt8", func(r *certRow) uint8 { return uint8(r.form) }),
		attrs("subject", func(r *certRow) *Name {
			if r.form != subjectStored {
				return nil
			}
			return &r.Subject
		}),
		str("subject_text", func(r *certRow) string {
			if r.form != subjectStored {
				return ""
			}
			return r.Subject.Text
		}),
		raw("subject_der", func(r *certRow) []byte {
			if r.form != subjectStored {
				return nil
			}
			return r.Subject.Raw
		}),
		strs("names", func(r *certRow) []string { return r.DNSNames }),
		sans("sans"),
		i64("sans_unlisted", "Int64", func(r *certRow) int64 {
			return int64(r.SANCount) - int64(len(r.DNSNames)+len(r.IPs)+len(r.Emails)+len(r.URIs)+len(r.OtherNames))
		}),
		scts("scts"),
	}
}

// clampTime holds a time to the years 0 to 9999, which is what X.509 can say
// and DateTime64 can compute with.
func clampTime(t int64) int64 { return max(-62167219200, min(t, 253402300799)) }

// attrs is the column of the attributes of a name: nil is none.
func attrs(name string, get func(*certRow) *Name) field[certRow] {
	kind, value := new(U8), new(Str)
	d := &Array{Elem: &Tuple{kind, value}}
	return field[certRow]{Column{name, typeAttrs, d}, func(r *certRow) {
		if n := get(r); n != nil {
			for i, list := range [...][]string{n.CommonNames, n.Organizations, n.Units, n.Countries,
				n.Localities, n.Provinces, n.SerialNumbers, n.Emails} {
				for _, s := range list {
					*kind = append(*kind, uint8(i+1))
					value.Append(s)
				}
			}
		}
		d.end()
	}}
}

// sans is the column of the subject alternative names that are no DNS names.
func sans(name string) field[certRow] {
	kind, tag, value := new(U8), new(U8), new(Str)
	d := &Array{Elem: &Tuple{kind, tag, value}}
	put := func(k, t uint8) {
		*kind, *tag = append(*kind, k), append(*tag, t)
	}
	return field[certRow]{Column{name, typeSANs, d}, func(r *certRow) {
		for _, s := range r.Emails {
			put(sanEmail, sanEmail)
			value.Append(s)
		}
		for _, s := range r.URIs {
			put(sanURI, sanURI)
			value.Append(s)
		}
		for _, ip := range r.IPs {
			put(sanIP, sanIP)
			value.AppendBytes(ip)
		}
		for _, o := range r.OtherNames {
			put(sanOther, o.Tag)
			value.AppendBytes(o.Value)
		}
		d.end()
	}}
}

// scts is the column that certs.finish fills.
func scts(name string) field[certRow] {
	return field[certRow]{Column{name, typeSCTs, &Array{Elem: &Tuple{new(B32), new(U64)}}}, func(*certRow) {}}
}

// usualKeyOID returns the OID that a key of this kind nearly always has, or a
// string that is no OID. certs.key_oid is empty for these.
func usualKeyOID(alg KeyAlg, bits uint16) string {
	switch {
	case alg == KeyRSA:
		return "1.2.840.113549.1.1.1"
	case alg == KeyEC && bits == 256:
		return "1.2.840.10045.3.1.7"
	case alg == KeyEC && bits == 384:
		return "1.3.132.0.34"
	case alg == KeyEC && bits == 521:
		return "1.3.132.0.35"
	case alg == KeyEd25519:
		return "1.3.101.112"
	case alg == KeyEd448:
		return "1.3.101.113"
	}
	return "none"
}
