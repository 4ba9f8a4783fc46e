package schema

import (
	"crypto/sha256"
	"encoding/binary"
	"hash/maphash"
)

// profileRow is what one row of profiles is filled from.
type profileRow struct {
	*Row
	id uint64
}

func profileFields() []field[profileRow] {
	return []field[profileRow]{
		u64("id", func(r *profileRow) uint64 { return r.id }),
		u8("version", "UInt8", func(r *profileRow) uint8 { return r.Version }),
		b32("issuer_key_hash", func(r *profileRow) *Hash { return &r.IssuerKeyHash }),
		hashes("chain", func(r *profileRow) []Hash { return r.Chain }),
		strs("issuer_cns", func(r *profileRow) []string { return r.Issuer.CommonNames }),
		strs("issuer_orgs", func(r *profileRow) []string { return r.Issuer.Organizations }),
		strs("issuer_units", func(r *profileRow) []string { return r.Issuer.Units }),
		strs("issuer_countries", func(r *profileRow) []string { return r.Issuer.Countries }),
		strs("issuer_localities", func(r *profileRow) []string { return r.Issuer.Localities }),
		strs("issuer_provinces", func(r *profileRow) []string { return r.Issuer.Provinces }),
		strs("issuer_serials", func(r *profileRow) []string { return r.Issuer.SerialNumbers }),
		strs("issuer_emails", func(r *profileRow) []string { return r.Issuer.Emails }),
		str("issuer_text", func(r *profileRow) string { return r.Issuer.Text }),
		raw("issuer_der", func(r *profileRow) []byte { return r.Issuer.Raw }),
		u8("sig_alg", "UInt8", func(r *profileRow) uint8 { return uint8(r.SigAlg) }),
		str("sig_oid", func(r *profileRow) string { return r.SigOID }),
		u16("key_usage", func(r *profileRow) uint16 { return r.KeyUsage }),
		strs("ext_key_usages", func(r *profileRow) []string { return r.ExtKeyUsage }),
		strs("policies", func(r *profileRow) []string { return r.Policies }),
		u8("validation", "Enum8('unknown' = 0, 'DV' = 1, 'OV' = 2, 'IV' = 3, 'EV' = 4)", func(r *profileRow) uint8 {
			if r.Validation > ValidationEV {
				return 0
			}
			return uint8(r.Validation)
		}),
		flag("is_ca", func(r *profileRow) bool { return r.IsCA }),
		i16("path_len", func(r *profileRow) int16 { return r.PathLen }),
		raw("aki", func(r *profileRow) []byte { return r.AKI }),
		strs("ocsp", func(r *profileRow) []string { return r.OCSP }),
		strs("ca_issuers", func(r *profileRow) []string { return r.CAIssuers }),
		strs("crls", func(r *profileRow) []string { return r.CRLs }),
		strs("extensions", func(r *profileRow) []string { return r.Extensions }),
	}
}

// profiler finds the id of a row's profile: SHA-256 of the profile's canonical
// encoding, which it looks up by a cheaper hash where it can: 64 bits among at
// most 2^16, with a seed of this process, so that no one can make two meet.
type profiler struct {
	seed maphash.Seed
	ids  map[uint64]uint64
	buf  []byte
}

// maxProfiles bounds the memory of the look-up: some 6 MB. Well beyond what
// the issuers of a day use; a log that makes them up costs a SHA-256 each.
const maxProfiles = 1 << 16

func newProfiler() *profiler {
	return &profiler{seed: maphash.MakeSeed(), ids: map[uint64]uint64{}}
}

func (p *profiler) id(r *Row) uint64 {
	p.buf = appendProfile(p.buf[:0], r)
	key := maphash.Bytes(p.seed, p.buf)
	if id, ok := p.ids[key]; ok {
		return id
	}
	if len(p.ids) == maxProfiles {
		clear(p.ids)
	}
	id := ShortID(sha256.Sum256(p.buf))
	p.ids[key] = id
	return id
}

// profileEncoding is the first byte of every canonical encoding. Another one
// makes every id another.
const profileEncoding = 1

// appendProfile appends the canonical encoding of r's profile: the columns of
// table profiles after id, in their order, numbers as uvarints, strings and
// lists led by their length as uvarint.
func appendProfile(b []byte, r *Row) []byte {
	b = append(b, profileEncoding, r.Version)
	b = append(b, r.IssuerKeyHash[:]...)
	b = binary.AppendUvarint(b, uint64(len(r.Chain)))
	for i := range r.Chain {
		b = append(b, r.Chain[i][:]...)
	}
	n := &r.Issuer
	for _, list := range [...][]string{n.CommonNames, n.Organizations, n.Units, n.Countries,
		n.Localities, n.Provinces, n.SerialNumbers, n.Emails} {
		b = appendStrings(b, list)
	}
	b = appendString(b, n.Text)
	b = append(binary.AppendUvarint(b, uint64(len(n.Raw))), n.Raw...)
	b = append(b, uint8(r.SigAlg))
	b = appendString(b, r.SigOID)
	b = binary.AppendUvarint(b, uint64(r.KeyUsage))
	b = appendStrings(b, r.ExtKeyUsage)
	b = appendStrings(b, r.Policies)
	b = append(b, uint8(r.Validation), bit(r.IsCA, 1))
	b = binary.AppendUvarint(b, uint64(uint16(r.PathLen)))
	b = append(binary.AppendUvarint(b, uint64(len(r.AKI))), r.AKI...)
	for _, list := range [...][]string{r.OCSP, r.CAIssuers, r.CRLs, r.Extensions} {
		b = appendStrings(b, list)
	}
	return b
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendStrings(b []byte, list []string) []byte {
	b = binary.AppendUvarint(b, uint64(len(list)))
	for _, s := range list {
		b = appendString(b, s)
	}
	return b
}
