package cert

import (
	"encoding/binary"
	"strconv"

	"ctappliance/schema"
)

// maxOID bounds the content octets of an object identifier that is printed.
const maxOID = 128

// dotted returns the dotted form of an OBJECT IDENTIFIER's content. What is
// not one (empty, cut off, padded, an arc beyond 64 bits, longer than maxOID)
// gives ok false and the octets in hex behind "?", so that the column still
// says something. The strings of common OIDs are shared.
func (p *parser) dotted(b []byte) (s string, ok bool) {
	if k := knownOID(b); k != 0 {
		return oids[k].dotted, true
	}
	p.tmp, ok = appendDotted(p.tmp[:0], b)
	return p.str(p.tmp), ok
}

// appendDotted appends what [parser.dotted] returns.
func appendDotted(dst, b []byte) (_ []byte, ok bool) {
	at := len(dst)
	ok = len(b) > 0 && len(b) <= maxOID && b[len(b)-1] < 0x80
	var arc uint64
	first, fresh := true, true
	for i := 0; ok && i < len(b); i++ {
		c := b[i]
		if fresh && c == 0x80 || arc >= 1<<57 {
			ok = false
			break
		}
		arc = arc<<7 | uint64(c&0x7f)
		fresh = c < 0x80
		if !fresh {
			continue
		}
		if first {
			root := min(arc/40, 2)
			dst = append(dst, byte('0'+root))
			arc -= root * 40
			first = false
		}
		dst = append(dst, '.')
		dst = strconv.AppendUint(dst, arc, 10)
		arc = 0
	}
	if !ok {
		dst = appendHex(append(dst[:at], '?'), b[:min(len(b), maxOID)])
	}
	return dst, ok
}

// appendHex appends b in lower-case hexadecimal.
func appendHex(dst, b []byte) []byte {
	const hex = "0123456789abcdef"
	for _, c := range b {
		dst = append(dst, hex[c>>4], hex[c&15])
	}
	return dst
}

// oidBytes encodes a dotted OID of our own tables.
func oidBytes(s string) string {
	var out []byte
	var arcs []uint64
	n := uint64(0)
	for i := 0; i <= len(s); i++ {
		if i == len(s) || s[i] == '.' {
			arcs = append(arcs, n)
			n = 0
			continue
		}
		n = n*10 + uint64(s[i]-'0')
	}
	arcs = append([]uint64{arcs[0]*40 + arcs[1]}, arcs[2:]...)
	for _, a := range arcs {
		var rev []byte
		for rev = append(rev, byte(a&0x7f)); a > 0x7f; rev = append(rev, byte(a&0x7f|0x80)) {
			a >>= 7
		}
		for i := len(rev) - 1; i >= 0; i-- {
			out = append(out, rev[i])
		}
	}
	return string(out)
}

// Extensions. The values are the content octets of their OIDs.
const (
	oidAT        = "\x55\x04" // id-at, 2.5.4: likewise
	oidCE        = "\x55\x1d" // id-ce, 2.5.29: one more octet says which
	oidAIA       = "\x2b\x06\x01\x05\x05\x07\x01\x01"
	oidSCTList   = "\x2b\x06\x01\x04\x01\xd6\x79\x02\x04\x02"
	oidPoison    = "\x2b\x06\x01\x04\x01\xd6\x79\x02\x04\x03"
	oidPrecertCA = "\x2b\x06\x01\x04\x01\xd6\x79\x02\x04\x04" // as an extended key usage
	oidOCSP      = "\x2b\x06\x01\x05\x05\x07\x30\x01"
	oidCAIssuers = "\x2b\x06\x01\x05\x05\x07\x30\x02"
)

const precertSigningEKU = "1.3.6.1.4.1.11129.2.4.4"

// keyInfo says what a SubjectPublicKeyInfo's algorithm OID means.
type keyInfo struct {
	alg  schema.KeyAlg
	bits uint16 // fixed by the algorithm, else 0
}

// sigInfo says what a signature algorithm OID means.
type sigInfo = schema.SigAlg

// oidInfo is all that is known of an object identifier; what does not concern
// it is zero.
type oidInfo struct {
	octets string // its content octets
	dotted string
	key    keyInfo
	sig    sigInfo
	curve  uint16 // field size in bits
	level  schema.Validation
	dn     dnType
	ext    uint8 // which extension it is, of those that are read
}

var (
	oids      = make([]oidInfo, 1, maxKnownOIDs) // number → what is known of it; 0 is for unknown ones
	oidSlots  [1 << oidBits]uint8                // hash → number, 0 for none
	oidsCE    [256]uint8                         // last octet of an id-ce OID → number
	oidsAT    [256]uint8                         // last octet of an id-at OID → number
	oidRSAKey = oidBytes("1.2.840.113549.1.1.1")
)

const (
	maxKnownOIDs = 256
	oidBits      = 11
)

// knownOID returns the number of an OID in oids, or 0. It compares a length and
// a word or two, at one place: the table is so sparse that
// a search ends at its first slot or soon after.
func knownOID(b []byte) uint8 {
	if len(b) == 3 && string(b[:2]) == oidCE {
		return oidsCE[b[2]]
	}
	slot := oidSlot(b)
	for {
		k := oidSlots[slot]
		if k == 0 || oids[k].octets == string(b) {
			return k
		}
		slot = (slot + 1) % (1 << oidBits)
	}
}

// oidSlot returns where in oidSlots the search for an OID begins: a hash of its
// last eight octets, or of all if it has fewer than eight but those in between.
func oidSlot(b []byte) uint {
	var x uint64
	switch n := len(b); {
	case n >= 8:
		x = binary.LittleEndian.Uint64(b[n-8:])
	case n >= 4:
		x = uint64(binary.LittleEndian.Uint32(b))<<32 | uint64(binary.LittleEndian.Uint32(b[n-4:]))
	case n > 0:
		x = uint64(b[0])<<16 | uint64(b[n/2])<<8 | uint64(b[n-1])
	}
	return uint(x * 0x9e3779b97f4a7c15 >> (64 - oidBits))
}

// The other two extensions that most certificates have: their OIDs with
// identifier and length, in little-endian words, and their numbers.
const (
	sctListBegins = 0xd601_0401_062b_0a06
	sctListEnds   = 0x0204_0279
	aiaBegins     = 0x0705_0501_062b_0806
	aiaEnds       = 0x0101
)

var numberSCTs, numberAIA uint8

// The tables are filled once and only read afterwards.
func init() {
	known := func(oid string) *oidInfo {
		b := []byte(oidBytes(oid))
		if k := knownOID(b); k != 0 {
			return &oids[k]
		}
		slot := oidSlot(b)
		for oidSlots[slot] != 0 {
			slot = (slot + 1) % (1 << oidBits)
		}
		oidSlots[slot] = uint8(len(oids))
		if len(b) == 3 && string(b[:2]) == oidCE {
			oidsCE[b[2]] = uint8(len(oids))
		}
		if len(b) == 3 && string(b[:2]) == oidAT {
			oidsAT[b[2]] = uint8(len(oids))
		}
		oids = append(oids, oidInfo{octets: string(b), dotted: oid})
		return &oids[len(oids)-1]
	}
	for oid, k := range map[string]keyInfo{
		"1.2.840.113549.1.1.1":    {schema.KeyRSA, 0},
		"1.2.840.113549.1.1.10":   {schema.KeyRSA, 0}, // RSASSA-PSS
		"1.2.840.113549.1.1.7":    {schema.KeyRSA, 0}, // RSAES-OAEP
		"1.2.840.10045.2.1":       {schema.KeyEC, 0},
		"1.3.101.112":             {schema.KeyEd25519, 256},
		"1.3.101.113":             {schema.KeyEd448, 448},
		"1.2.840.10040.4.1":       {schema.KeyDSA, 0},
		"2.16.840.1.101.3.4.3.17": {schema.KeyMLDSA, 0}, // ML-DSA-44
		"2.16.840.1.101.3.4.3.18": {schema.KeyMLDSA, 0}, // ML-DSA-65
		"2.16.840.1.101.3.4.3.19": {schema.KeyMLDSA, 0}, // ML-DSA-87
	} {
		known(oid).key = k
	}
	for oid, bits := range map[string]uint16{
		"1.2.840.10045.3.1.1":   192, // P-192
		"1.3.132.0.33":          224,
		"1.2.840.10045.3.1.7":   256, // P-256
		"1.3.132.0.34":          384,
		"1.3.132.0.35":          521,
		"1.3.132.0.10":          256, // secp256k1
		"1.3.36.3.3.2.8.1.1.7":  256, // brainpoolP256r1
		"1.3.36.3.3.2.8.1.1.11": 384,
		"1.3.36.3.3.2.8.1.1.13": 512,
		"1.2.156.10197.1.301":   256, // SM2
	} {
		known(oid).curve = bits
	}
	for oid, s := range map[string]sigInfo{
		"1.2.840.113549.1.1.2":    schema.SigMD2RSA,
		"1.2.840.113549.1.1.4":    schema.SigMD5RSA,
		"1.2.840.113549.1.1.5":    schema.SigSHA1RSA,
		"1.3.14.3.2.29":           schema.SigSHA1RSA, // OIW's name for it
		"1.2.840.113549.1.1.11":   schema.SigSHA256RSA,
		"1.2.840.113549.1.1.12":   schema.SigSHA384RSA,
		"1.2.840.113549.1.1.13":   schema.SigSHA512RSA,
		"1.2.840.113549.1.1.10":   schema.SigRSAPSS,
		"1.2.840.10045.4.1":       schema.SigSHA1ECDSA,
		"1.2.840.10045.4.3.1":     schema.SigSHA224ECDSA,
		"1.2.840.10045.4.3.2":     schema.SigSHA256ECDSA,
		"1.2.840.10045.4.3.3":     schema.SigSHA384ECDSA,
		"1.2.840.10045.4.3.4":     schema.SigSHA512ECDSA,
		"1.3.101.112":             schema.SigEd25519,
		"1.3.101.113":             schema.SigEd448,
		"2.16.840.1.101.3.4.3.17": schema.SigMLDSA,
		"2.16.840.1.101.3.4.3.18": schema.SigMLDSA,
		"2.16.840.1.101.3.4.3.19": schema.SigMLDSA,
		"1.2.840.10040.4.3":       schema.SigDSA, // with SHA-1
		"2.16.840.1.101.3.4.3.1":  schema.SigDSA,
		"2.16.840.1.101.3.4.3.2":  schema.SigDSA,
	} {
		known(oid).sig = s
	}
	for oid, t := range dnTypeTable {
		known(oid).dn = t
	}
	for _, oid := range []string{
		"2.5.29.9", "2.5.29.14", "2.5.29.15", "2.5.29.16", "2.5.29.17", "2.5.29.18", "2.5.29.19",
		"2.5.29.30", "2.5.29.31", "2.5.29.32", "2.5.29.32.0", "2.5.29.33", "2.5.29.35", "2.5.29.36", "2.5.29.37", "2.5.29.37.0",
		"1.3.6.1.5.5.7.1.1", "1.3.6.1.5.5.7.1.3", "1.3.6.1.5.5.7.1.24",
		"1.3.6.1.4.1.11129.2.4.2", "1.3.6.1.4.1.11129.2.4.3", precertSigningEKU,
		"1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2", "1.3.6.1.5.5.7.3.3", "1.3.6.1.5.5.7.3.4", "1.3.6.1.5.5.7.3.8", "1.3.6.1.5.5.7.3.9",
		"1.3.6.1.4.1.311.20.2", "1.3.6.1.4.1.311.21.7", "1.3.6.1.4.1.311.21.10",
	} {
		known(oid)
	}
	for oid, ext := range map[string]uint8{
		"2.5.29.14": extSKI, "2.5.29.15": extKeyUsage, "2.5.29.17": extSAN, "2.5.29.19": extBasic,
		"2.5.29.31": extCRLs, "2.5.29.32": extPolicies, "2.5.29.35": extAKI, "2.5.29.37": extEKU,
		"1.3.6.1.5.5.7.1.1": extAIA, "1.3.6.1.4.1.11129.2.4.2": extSCTs, "1.3.6.1.4.1.11129.2.4.3": extPoison,
	} {
		known(oid).ext = ext
	}
	numberSCTs, numberAIA = knownOID([]byte(oidSCTList)), knownOID([]byte(oidAIA))
	known(policyDV).level = schema.ValidationDV
	known(policyOV).level = schema.ValidationOV
	known(policyIV).level = schema.ValidationIV
	known(policyEV).level = schema.ValidationEV
}

// The CA/Browser Forum's policy identifiers.
const (
	policyDV = "2.23.140.1.2.1"
	policyOV = "2.23.140.1.2.2"
	policyIV = "2.23.140.1.2.3"
	policyEV = "2.23.140.1.1"
)
