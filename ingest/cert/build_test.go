package cert

import (
	"bytes"
	"encoding/hex"
	"slices"
	"strings"
)

// tlv encodes an element; its content is the parts one after another.
func tlv(tag byte, parts ...[]byte) []byte {
	content := bytes.Join(parts, nil)
	return append(appendHeader(nil, tag, len(content)), content...)
}

// str encodes a string of a type.
func str(tag byte, s string) []byte { return tlv(tag, []byte(s)) }

// unhex decodes hex with spaces.
func unhex(s string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		panic(err)
	}
	return b
}

// oid encodes an OBJECT IDENTIFIER.
func oid(dotted string) []byte { return str(tagOID, oidBytes(dotted)) }

// ext encodes an extension around the DER of its value.
func ext(id string, value ...[]byte) []byte {
	return tlv(tagSeq, oid(id), tlv(tagOctets, value...))
}

// rdn encodes a RelativeDistinguishedName of one attribute.
func rdn(id string, tag byte, value string) []byte {
	return tlv(tagSet, tlv(tagSeq, oid(id), str(tag, value)))
}

// name encodes an RDNSequence.
func name(rdns ...[]byte) []byte { return tlv(tagSeq, rdns...) }

// san encodes a subjectAltName extension.
func san(names ...[]byte) []byte { return ext("2.5.29.17", tlv(tagSeq, names...)) }

// dns encodes a dNSName.
func dns(s string) []byte { return str(gnDNS, s) }

// validity encodes a Validity of two dates of a type.
func validity(tag byte, notBefore, notAfter string) []byte {
	return tlv(tagSeq, str(tag, notBefore), str(tag, notAfter))
}

var (
	poisonExt = tlv(tagSeq, oid("1.3.6.1.4.1.11129.2.4.3"), tlv(tagBool, []byte{0xff}), tlv(tagOctets, []byte{tagNull, 0}))
	sctExt    = ext("1.3.6.1.4.1.11129.2.4.2", tlv(tagOctets, sctListOf(sct(1), sct(2))))

	// The generator of P-256: a point on the curve that is nobody's key.
	p256Key = ecKey("1.2.840.10045.3.1.7", "04"+
		"6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"+
		"4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5")
	ecdsaSHA256 = tlv(tagSeq, oid("1.2.840.10045.4.3.2"))
	rsaSHA256   = tlv(tagSeq, oid("1.2.840.113549.1.1.11"), []byte{tagNull, 0})
)

// ecKey encodes a SubjectPublicKeyInfo of a named curve.
func ecKey(curve, point string) []byte {
	return tlv(tagSeq, tlv(tagSeq, oid("1.2.840.10045.2.1"), oid(curve)), tlv(tagBits, []byte{0}, unhex(point)))
}

// rsaKey encodes a SubjectPublicKeyInfo of the content octets of modulus and
// exponent.
func rsaKey(modulus, exponent []byte, params ...[]byte) []byte {
	return tlv(tagSeq,
		tlv(tagSeq, append([][]byte{oid("1.2.840.113549.1.1.1")}, params...)...),
		tlv(tagBits, []byte{0}, tlv(tagSeq, tlv(tagInt, modulus), tlv(tagInt, exponent))))
}

// modulus returns the content octets of an odd number of 8n bits.
func modulus(n int) []byte {
	m := bytes.Repeat([]byte{0xc5}, n)
	return append([]byte{0}, m...)
}

// sct encodes a version 1 SCT of a log whose ID is n repeated.
func sct(n byte) []byte {
	b := append([]byte{0}, bytes.Repeat([]byte{n}, 32)...)
	b = append(b, 0, 0, 0x01, 0x90, 0, 0, 0, n) // timestamp
	b = append(b, 0, 0, 4, 3, 0, 2, 0x30, 0)
	return b
}

// sctListOf encodes a SignedCertificateTimestampList.
func sctListOf(scts ...[]byte) []byte {
	var l []byte
	for _, s := range scts {
		l = append(l, byte(len(s)>>8), byte(len(s)))
		l = append(l, s...)
	}
	return append([]byte{byte(len(l) >> 8), byte(len(l))}, l...)
}

// spec is a certificate to be; every field is the DER of its element, nil for
// that of an ordinary certificate.
type spec struct {
	version  []byte // empty but not nil: none
	serial   []byte
	sigAlg   []byte
	issuer   []byte
	validity []byte
	subject  []byte
	key      []byte
	ids      []byte // unique ids: between key and extensions
	exts     [][]byte
	extList  []byte // the whole [3] element instead of exts; empty: none
	after    []byte // what follows the extensions
	outerAlg []byte
	tail     []byte // what follows the signature
}

func or(b, def []byte) []byte {
	if b == nil {
		return def
	}
	return b
}

// tbs encodes the TBSCertificate.
func (s spec) tbs() []byte {
	extList := s.extList
	if extList == nil {
		exts := s.exts
		if exts == nil {
			exts = [][]byte{san(dns("example.com"), dns("www.example.com"))}
		}
		extList = tlv(0xa3, tlv(tagSeq, exts...))
	}
	return tlv(tagSeq,
		or(s.version, []byte{0xa0, 3, tagInt, 1, 2}),
		or(s.serial, []byte{tagInt, 2, 0x12, 0x34}),
		or(s.sigAlg, ecdsaSHA256),
		or(s.issuer, name(rdn("2.5.4.6", tagPrintable, "XX"), rdn("2.5.4.10", tagUTF8, "Test CA"), rdn("2.5.4.3", tagPrintable, "Test Issuing CA 1"))),
		or(s.validity, validity(tagUTCTime, "250501000000Z", "250730235959Z")),
		or(s.subject, name(rdn("2.5.4.3", tagUTF8, "example.com"))),
		or(s.key, p256Key),
		s.ids, extList, s.after)
}

// cert encodes the Certificate; the signature is none.
func (s spec) cert() []byte {
	return tlv(tagSeq, s.tbs(), or(s.outerAlg, or(s.sigAlg, ecdsaSHA256)), tlv(tagBits, []byte{0, 0x30, 6, 2, 1, 1, 2, 1, 1}), s.tail)
}

// with returns s with further extensions behind its own.
func (s spec) with(exts ...[]byte) spec {
	s.exts = append(slices.Clone(s.exts), exts...)
	return s
}
