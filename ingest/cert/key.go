package cert

import (
	"bytes"
	"math/bits"

	"ctappliance/schema"
)

// signature reads an AlgorithmIdentifier as a signature algorithm.
func (p *parser) signature(t *tbs) (string, schema.SigAlg) {
	// The usual ones, their parameters as they should be.
	switch string(t.sigAlg.full(t.src)) {
	case "\x30\x0a\x06\x08" + oidECDSA + "\x02":
		return "1.2.840.10045.4.3.2", schema.SigSHA256ECDSA
	case "\x30\x0a\x06\x08" + oidECDSA + "\x03":
		return "1.2.840.10045.4.3.3", schema.SigSHA384ECDSA
	case "\x30\x0d\x06\x09" + oidRSASig + "\x0b\x05\x00":
		return "1.2.840.113549.1.1.11", schema.SigSHA256RSA
	case "\x30\x0d\x06\x09" + oidRSASig + "\x0c\x05\x00":
		return "1.2.840.113549.1.1.12", schema.SigSHA384RSA
	}
	var oid elem
	c := t.in(&t.sigAlg)
	if !c.next(&oid) || oid.tag != tagOID {
		p.lost(0, "tbsCertificate: signature algorithm without OID")
		return "", schema.SigUnknown
	}
	p.odd(c.flags)
	b := oid.content(t.src)
	if k := &oids[knownOID(b)]; k.sig != 0 {
		return k.dotted, k.sig
	}
	s, ok := p.dotted(b)
	if !ok {
		p.odd(OIDOdd)
	}
	return s, schema.SigOther
}

// publicKey reads a SubjectPublicKeyInfo (RFC 5280 section 4.1.2.7, RFC 3279,
// 5480, 8410, 9881) and returns the octets of the key's BIT STRING.
func (p *parser) publicKey(t *tbs) (key []byte) {
	row := p.row
	full := t.spki.full(t.src)
	for i := range plainKeys {
		k := &plainKeys[i]
		if k.is(full) && !testGeneral {
			row.KeyAlg, row.KeyBits, row.KeyOID = k.alg, k.bits, k.oid
			return full[k.key:]
		}
	}
	var alg, oid, params, bitString elem
	src := t.src
	c := t.in(&t.spki)
	if !c.next(&alg) || alg.tag != tagSeq {
		p.lost(KeyOdd, "public key: no algorithm")
		return nil
	}
	if c.next(&bitString) && bitString.tag == tagBits && !bitString.empty() {
		key = bitString.content(src)[1:]
		if src[bitString.body] != 0 {
			p.odd(KeyOdd)
		}
	} else {
		p.odd(KeyOdd)
	}
	if c.more() {
		p.odd(TrailingData)
	}
	a := c.in(&alg)
	if !a.next(&oid) || oid.tag != tagOID {
		p.lost(KeyOdd, "public key: algorithm without OID")
		return key
	}
	a.next(&params)
	p.odd(c.flags | a.flags)

	name := oid.content(src)
	var ok bool
	if row.KeyOID, ok = p.dotted(name); !ok {
		p.odd(OIDOdd)
	}
	info := oids[knownOID(name)].key
	if info.alg == schema.KeyUnknown {
		row.KeyAlg = schema.KeyOther
		p.odd(KeyOdd)
		return key
	}
	row.KeyAlg, row.KeyBits = info.alg, info.bits
	switch info.alg {
	case schema.KeyRSA:
		// RFC 3279 section 2.3.1: the parameters of rsaEncryption are NULL.
		if string(name) == oidRSAKey && (params.tag != tagNull || !params.empty()) {
			p.odd(KeyOdd)
		}
		row.KeyBits = p.rsaBits(key)
	case schema.KeyEC:
		if !params.is(tagOID) {
			p.odd(KeyOdd) // explicit or inherited parameters
			break
		}
		if row.KeyOID, ok = p.dotted(params.content(src)); !ok {
			p.odd(OIDOdd)
		}
		if row.KeyBits = oids[knownOID(params.content(src))].curve; row.KeyBits == 0 {
			p.odd(KeyOdd)
		}
	case schema.KeyDSA:
		// The parameters are SEQUENCE { p, q, g }, or inherited.
		var prime elem
		in := c.in(&params)
		if params.is(tagSeq) && in.next(&prime) && prime.tag == tagInt {
			row.KeyBits = p.bitLen(prime.content(src))
		} else {
			p.odd(KeyOdd)
		}
		p.odd(in.flags)
	}
	return key
}

// plainKey is a form of key, and plainKeys are those of nearly all: SubjectPublicKeyInfo of size
// octets that begin with head and end with tail. The first octet behind head is
// least or more; the octets of the BIT STRING begin at key.
type plainKey struct {
	size       int
	head, tail string
	least      byte
	key        int
	alg        schema.KeyAlg
	bits       uint16
	oid        string
}

func (k *plainKey) is(b []byte) bool {
	return len(b) == k.size && string(b[:len(k.head)]) == k.head &&
		string(b[len(b)-len(k.tail):]) == k.tail && b[len(k.head)] >= k.least
}

var plainKeys = [...]plainKey{
	{91, "\x30\x59\x30\x13\x06\x07" + oidECKey + "\x06\x08" + oidP256 + "\x03\x42\x00", "", 0, 26, schema.KeyEC, 256, "1.2.840.10045.3.1.7"},
	{294, "\x30\x82\x01\x22" + rsaAlg + "\x03\x82\x01\x0f\x00\x30\x82\x01\x0a\x02\x82\x01\x01\x00", rsaF4, 0x80, 24, schema.KeyRSA, 2048, "1.2.840.113549.1.1.1"},
	{120, "\x30\x76\x30\x10\x06\x07" + oidECKey + "\x06\x05" + oidP384 + "\x03\x62\x00", "", 0, 23, schema.KeyEC, 384, "1.3.132.0.34"},
	{550, "\x30\x82\x02\x22" + rsaAlg + "\x03\x82\x02\x0f\x00\x30\x82\x02\x0a\x02\x82\x02\x01\x00", rsaF4, 0x80, 24, schema.KeyRSA, 4096, "1.2.840.113549.1.1.1"},
	{422, "\x30\x82\x01\xa2" + rsaAlg + "\x03\x82\x01\x8f\x00\x30\x82\x01\x8a\x02\x82\x01\x81\x00", rsaF4, 0x80, 24, schema.KeyRSA, 3072, "1.2.840.113549.1.1.1"},
}

const (
	oidECDSA  = "\x2a\x86\x48\xce\x3d\x04\x03"     // one more octet says with which hash
	oidRSASig = "\x2a\x86\x48\x86\xf7\x0d\x01\x01" // likewise
	oidECKey  = "\x2a\x86\x48\xce\x3d\x02\x01"
	oidP256   = "\x2a\x86\x48\xce\x3d\x03\x01\x07"
	oidP384   = "\x2b\x81\x04\x00\x22"
	rsaAlg    = "\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00" // rsaEncryption, NULL
	rsaF4     = "\x02\x03\x01\x00\x01"                                         // exponent 65537
)

// rsaBits returns the bits of the modulus in an RSAPublicKey, SEQUENCE {
// modulus, publicExponent }.
func (p *parser) rsaBits(key []byte) uint16 {
	var seq, modulus, exponent elem
	c := cur{b: key}
	if !c.next(&seq) || seq.tag != tagSeq {
		p.odd(KeyOdd)
		return 0
	}
	in := c.in(&seq)
	if !in.next(&modulus) || modulus.tag != tagInt {
		p.odd(KeyOdd | in.flags)
		return 0
	}
	if !in.next(&exponent) || exponent.tag != tagInt || c.more() || in.more() ||
		p.bitLen(exponent.content(key)) < 2 || key[exponent.stop-1]&1 == 0 {
		p.odd(KeyOdd)
	}
	p.odd(c.flags | in.flags)
	return p.bitLen(modulus.content(key))
}

// bitLen returns the bits of a positive INTEGER. One that is not positive, not
// minimal or beyond 65,535 bits is flagged; a negative one has 0.
func (p *parser) bitLen(b []byte) uint16 {
	if len(b) == 0 || b[0] >= 0x80 || len(b) > 1 && b[0] == 0 && b[1] < 0x80 {
		p.odd(KeyOdd)
	}
	if len(b) > 0 && b[0] >= 0x80 {
		return 0
	}
	b = bytes.TrimLeft(b, "\x00")
	if len(b) == 0 {
		p.odd(KeyOdd)
		return 0
	}
	n := (len(b)-1)*8 + bits.Len8(b[0])
	if n > 0xffff {
		p.odd(KeyOdd)
		n = 0xffff
	}
	return uint16(n)
}
