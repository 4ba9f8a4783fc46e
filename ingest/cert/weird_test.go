package cert

import (
	"bytes"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"ctappliance/schema"
)

// weird is one kind of odd certificate and what becomes of it. flags are all
// of the row's flags; check looks at the columns.
type weird struct {
	name   string
	der    []byte
	flags  Flag
	status schema.Status
	check  func(*schema.Row) error
}

// want returns a check that a column has a value.
func want(column string, value any) func(*schema.Row) error {
	return func(r *schema.Row) error {
		v := reflect.ValueOf(r).Elem()
		for _, f := range strings.Split(column, ".") {
			v = v.FieldByName(f)
		}
		if !reflect.DeepEqual(v.Interface(), value) {
			return fmt.Errorf("%s is %#v, want %#v", column, v.Interface(), value)
		}
		return nil
	}
}

// all returns a check that every check holds.
func all(checks ...func(*schema.Row) error) func(*schema.Row) error {
	return func(r *schema.Row) error {
		for _, c := range checks {
			if err := c(r); err != nil {
				return err
			}
		}
		return nil
	}
}

const odd, partial, refused = schema.StatusOdd, schema.StatusPartial, schema.StatusRefused

func dates(notBefore, notAfter int64) func(*schema.Row) error {
	return all(want("NotBefore", notBefore), want("NotAfter", notAfter))
}

func subject(rdns ...[]byte) spec { return spec{subject: name(rdns...)} }

func cn(tag byte, v string) []byte { return rdn("2.5.4.3", tag, v) }

// withExt is the ordinary certificate with one more extension.
func withExt(exts ...[]byte) []byte {
	return spec{exts: [][]byte{san(dns("example.com"))}}.with(exts...).cert()
}

func withSAN(names ...[]byte) []byte { return spec{exts: [][]byte{san(names...)}}.cert() }

var weirdCerts = []weird{
	{"ordinary", spec{}.cert(), 0, schema.StatusOK, all(
		want("DNSNames", []string{"example.com", "www.example.com"}), want("Version", uint8(3)),
		want("Issuer.Text", "CN=Test Issuing CA 1,O=Test CA,C=XX"), want("PathLen", int16(-1)))},

	// Times.
	{"UTCTime without Z", spec{validity: validity(tagUTCTime, "250501000000", "250730235959")}.cert(), TimeOdd, odd, dates(1746057600, 1753919999)},
	{"UTCTime with +0000", spec{validity: validity(tagUTCTime, "250501000000+0000", "250730235959+0000")}.cert(), TimeOdd, odd, dates(1746057600, 1753919999)},
	{"UTCTime with offset", spec{validity: validity(tagUTCTime, "250501020000+0200", "250730185959-0500")}.cert(), TimeOdd, odd, dates(1746057600, 1753919999)},
	{"UTCTime without seconds", spec{validity: validity(tagUTCTime, "2505010000Z", "2507302359Z")}.cert(), TimeOdd, odd, dates(1746057600, 1753919940)},
	{"GeneralizedTime with fraction", spec{validity: validity(tagGenTime, "20500501000000.123Z", "20510501000000.5Z")}.cert(), TimeOdd, odd, dates(2534976000, 2566512000)},
	{"GeneralizedTime before 2050", spec{validity: validity(tagGenTime, "20250501000000Z", "20250730235959Z")}.cert(), TimeGT, odd, dates(1746057600, 1753919999)},
	{"no well-defined expiration", spec{validity: tlv(tagSeq, str(tagUTCTime, "250501000000Z"), str(tagGenTime, "99991231235959Z"))}.cert(), 0, schema.StatusOK, dates(1746057600, 253402300799)},
	{"inverted validity", spec{validity: validity(tagUTCTime, "250730235959Z", "250501000000Z")}.cert(), 0, schema.StatusOK, dates(1753919999, 1746057600)},
	{"month 13, day 32, hour 24", spec{validity: validity(tagUTCTime, "251301000000Z", "250232240000Z")}.cert(), TimeBad, odd, dates(1764547200, 1740783600)},
	{"dates that are none", spec{validity: validity(tagUTCTime, "whenever", "250730235959Z")}.cert(), TimeBad, partial, dates(0, 1753919999)},
	{"one date", spec{validity: tlv(tagSeq, str(tagUTCTime, "250501000000Z"))}.cert(), TimeBad, partial, dates(1746057600, 0)},

	// keyUsage.
	{"keyUsage padding bits set", withExt(ext("2.5.29.15", unhex("03020181"))), KUBad, odd, want("KeyUsage", uint16(1))},
	{"keyUsage padding not trimmed", withExt(ext("2.5.29.15", unhex("03020080"))), 0, schema.StatusOK, want("KeyUsage", uint16(1))},
	{"keyUsage decipherOnly", withExt(ext("2.5.29.15", unhex("0303070080"))), 0, schema.StatusOK, want("KeyUsage", uint16(0x100))},
	{"keyUsage of 24 bits", withExt(ext("2.5.29.15", unhex("030400800001"))), KUBad, odd, want("KeyUsage", uint16(1))},
	{"keyUsage 9 unused bits", withExt(ext("2.5.29.15", unhex("03020980"))), KUBad, partial, want("KeyUsage", uint16(0))},
	{"keyUsage empty", withExt(ext("2.5.29.15", unhex("0300"))), KUBad, partial, nil},
	{"keyUsage trailing octet", withExt(ext("2.5.29.15", unhex("03020780 00"))), ExtBad, odd, want("KeyUsage", uint16(1))},

	// Serial numbers.
	{"serial padded", spec{serial: unhex("0202 0001")}.cert(), SerialPad, odd, want("Serial", []byte{0, 1})},
	{"serial negative", spec{serial: unhex("0201 80")}.cert(), SerialNeg, odd, want("Serial", []byte{0x80})},
	{"serial negative padded", spec{serial: unhex("0202 ff80")}.cert(), SerialNeg | SerialPad, odd, want("Serial", []byte{0xff, 0x80})},
	{"serial zero", spec{serial: unhex("0201 00")}.cert(), SerialZero, odd, want("Serial", []byte{0})},
	{"serial empty", spec{serial: unhex("0200")}.cert(), SerialZero | SerialPad, odd, want("Serial", []byte{})},
	{"serial of 20 octets", spec{serial: tlv(tagInt, bytes.Repeat([]byte{1}, 20))}.cert(), 0, schema.StatusOK, nil},
	{"serial of 21 octets", spec{serial: tlv(tagInt, bytes.Repeat([]byte{1}, 21))}.cert(), SerialLong, odd, want("Serial", bytes.Repeat([]byte{1}, 21))},

	// Names.
	{"PrintableString with UTF-8", subject(cn(tagPrintable, "Zoë")).cert(), NameOdd, odd, want("Subject.CommonNames", []string{"Zoë"})},
	{"PrintableString with Latin-1", subject(cn(tagPrintable, "Zo\xeb")).cert(), NameOdd, odd, want("Subject.CommonNames", []string{"Zoë"})},
	{"PrintableString with @", subject(cn(tagPrintable, "a@b")).cert(), NameOdd, odd, want("Subject.CommonNames", []string{"a@b"})},
	{"PrintableString with * and &", subject(cn(tagPrintable, "*.a&b")).cert(), 0, schema.StatusOK, want("Subject.Text", "CN=*.a&b")},
	{"UTF8String invalid", subject(cn(tagUTF8, "M\xfcller")).cert(), NameOdd, odd, want("Subject.CommonNames", []string{"Müller"})},
	{"IA5String with Latin-1", subject(cn(tagIA5, "M\xfcller")).cert(), NameOdd, odd, want("Subject.CommonNames", []string{"Müller"})},
	{"NumericString with letters", subject(rdn("2.5.4.5", tagNumeric, "12a")).cert(), NameOdd, odd, want("Subject.SerialNumbers", []string{"12a"})},
	{"T61String", subject(cn(tagT61, "M\xfcller")).cert(), NameOdd, odd, want("Subject.CommonNames", []string{"Müller"})},
	{"BMPString", subject(cn(tagBMP, "\x00M\x00\xfc\xd8\x3d\xde\x00")).cert(), NameOdd, odd, want("Subject.CommonNames", []string{"Mü😀"})},
	{"BMPString of odd length, lone surrogate", subject(cn(tagBMP, "\x00M\xd8\x3d\x00")).cert(), NameOdd, odd, want("Subject.CommonNames", []string{"M\ufffd\ufffd"})},
	{"UniversalString", subject(cn(tagUniversal, "\x00\x00\x00M\x00\x01\xf6\x00")).cert(), NameOdd, odd, want("Subject.CommonNames", []string{"M😀"})},
	{"VisibleString", subject(cn(tagVisible, "M\xc3\xbcller")).cert(), NameOdd, odd, want("Subject.CommonNames", []string{"Müller"})},
	{"UniversalString beyond Unicode", subject(cn(tagUniversal, "\xff\xff\xff\xff\x00\x00\x00M")).cert(), NameOdd, odd, want("Subject.CommonNames", []string{"\ufffdM"})},
	{"a common name that is no string", subject(cn(tagOctets, "\xff\x00")).cert(), NameOdd, odd, all(want("Subject.CommonNames", []string{"\xff\x00"}), want("Subject.Text", "CN=#0402ff00"))},
	{"multiple common names", subject(cn(tagUTF8, "a"), rdn("2.5.4.10", tagUTF8, "O"), cn(tagUTF8, "b")).cert(), 0, schema.StatusOK, all(
		want("Subject.CommonNames", []string{"a", "b"}), want("Subject.Text", "CN=b,O=O,CN=a"))},
	{"multi-valued RDN", subject(tlv(tagSet, tlv(tagSeq, oid("2.5.4.11"), str(tagUTF8, "u")), tlv(tagSeq, oid("2.5.4.3"), str(tagUTF8, "c")))).cert(), 0, schema.StatusOK, all(
		want("Subject.CommonNames", []string{"c"}), want("Subject.Units", []string{"u"}), want("Subject.Text", "OU=u+CN=c"))},
	{"empty subject", subject().cert(), 0, schema.StatusOK, all(want("Subject.Text", ""), want("Subject.Raw", []byte{0x30, 0}))},
	{"escapes", subject(cn(tagUTF8, " #a,b+c\"d\\e<f>g;h=i\x00j\x1b\x7f ")).cert(), 0, schema.StatusOK, all(
		want("Subject.CommonNames", []string{" #a,b+c\"d\\e<f>g;h=i\x00j\x1b\x7f "}),
		want("Subject.Text", `CN=\ #a\,b\+c\"d\\e\<f\>g\;h=i\00j\1b\7f\ `))},
	{"leading #, one space", subject(cn(tagUTF8, "#1"), rdn("2.5.4.10", tagUTF8, " ")).cert(), 0, schema.StatusOK, want("Subject.Text", `O=\ ,CN=\#1`)},
	{"unknown attribute type", subject(rdn("1.2.3.4", tagUTF8, "hi")).cert(), 0, schema.StatusOK, want("Subject.Text", "1.2.3.4=#0c026869")},
	{"attribute type that is no OID", subject(tlv(tagSet, tlv(tagSeq, tlv(tagOID, []byte{0x80, 1}), str(tagUTF8, "x")))).cert(), NameOdd | OIDOdd, odd, want("Subject.Text", "?8001=#0c0178")},
	{"subject broken off inside", subject(cn(tagUTF8, "kept"), []byte{tagSet, 9, 0}).cert(), NameOdd, odd, want("Subject.CommonNames", []string{"kept"})},
	{"empty RDN", subject(cn(tagUTF8, "kept"), []byte{tagSet, 0}).cert(), NameOdd, odd, want("Subject.Text", "CN=kept")},
	{"email in subject", subject(rdn("1.2.840.113549.1.9.1", tagIA5, "a@b.c")).cert(), 0, schema.StatusOK, want("Subject.Emails", []string{"a@b.c"})},

	// Alternative names.
	{"dNSName with trailing dot", withSAN(dns("example.com.")), SANOdd, odd, want("DNSNames", []string{"example.com."})},
	{"dNSName with space", withSAN(dns("a b.example.com")), SANOdd, odd, want("DNSNames", []string{"a b.example.com"})},
	{"dNSName with NUL", withSAN(dns("a\x00.example.com")), SANOdd, odd, want("DNSNames", []string{"a\x00.example.com"})},
	{"dNSName with leading ?", withSAN(dns("?.example.com")), SANOdd, odd, want("DNSNames", []string{"?.example.com"})},
	{"dNSName with scheme", withSAN(dns("https://example.com/")), SANOdd, odd, want("DNSNames", []string{"https://example.com/"})},
	{"dNSName with byte E9", withSAN(dns("caf\xe9.example.com")), SANOdd, odd, want("DNSNames", []string{"caf\xe9.example.com"})},
	{"dNSName that is an IP address", withSAN(dns("192.0.2.1")), SANOdd, odd, want("DNSNames", []string{"192.0.2.1"})},
	{"dNSName empty", withSAN(dns("")), SANOdd, odd, want("DNSNames", []string{""})},
	{"dNSName with empty label", withSAN(dns("a..b")), SANOdd, odd, nil},
	{"dNSName with label of 64", withSAN(dns(strings.Repeat("a", 64) + ".b")), SANOdd, odd, nil},
	{"dNSName of 254", withSAN(dns(strings.Repeat("a.", 126) + "bc")), SANOdd, odd, nil},
	{"dNSName of 253 with underscore and wildcard", withSAN(dns("*." + strings.Repeat("_.", 126) + "b")), 0, schema.StatusOK, nil},
	{"dNSName with wildcard inside", withSAN(dns("a.*.b"), dns("*")), SANOdd, odd, nil},
	{"iPAddress of 8 bytes", withSAN(str(gnIP, "\x7f\x00\x00\x01\xff\x00\x00\x00"), str(gnIP, "\x7f\x00\x00\x01")), SANBad, odd, all(
		want("OtherNames", []schema.OtherName{{Tag: 7, Value: []byte("\x7f\x00\x00\x01\xff\x00\x00\x00")}}), want("IPs", [][]byte{{127, 0, 0, 1}}))},
	{"iPAddress as text", withSAN(str(gnIP, "192.0.2.1")), SANBad, odd, want("OtherNames", []schema.OtherName{{Tag: 7, Value: []byte("192.0.2.1")}})},
	{"URI with NUL", withSAN(str(gnURI, "http://a\x00b/")), SANOdd, odd, want("URIs", []string{"http://a\x00b/"})},
	{"URI with invalid host", withSAN(str(gnURI, "http://[::1/")), 0, schema.StatusOK, want("URIs", []string{"http://[::1/"})},
	{"email", withSAN(str(gnEmail, "a@example.com")), 0, schema.StatusOK, want("Emails", []string{"a@example.com"})},
	{"directoryName, otherName, registeredID", withSAN(tlv(0xa4, name(cn(tagUTF8, "x"))), tlv(0xa0, oid("1.2.3"), tlv(0xa0, str(tagUTF8, "y"))), str(0x88, "\x2a\x03")), 0, schema.StatusOK,
		func(r *schema.Row) error {
			if len(r.OtherNames) != 3 || r.OtherNames[0].Tag != 4 || r.OtherNames[1].Tag != 0 || r.OtherNames[2].Tag != 8 {
				return fmt.Errorf("OtherNames %v", r.OtherNames)
			}
			return nil
		}},
	{"general name with wrong class", withSAN(str(tagInt, "a.example.com"), str(0xc2, "b.example.com"), str(0xa2, "c.example.com")), SANBad, odd, all(
		want("DNSNames", []string(nil)),
		want("OtherNames", []schema.OtherName{{Tag: 255, Value: []byte("a.example.com")}, {Tag: 255, Value: []byte("b.example.com")}, {Tag: 255, Value: []byte("c.example.com")}}))},
	{"SAN twice", withExt(san(dns("b.example.com"))), ExtDup, odd, all(want("DNSNames", []string{"example.com", "b.example.com"}), want("SANCount", uint32(2)))},
	{"unknown extension twice", withExt(ext("1.2.3.4", nil), ext("1.2.3.4", nil)), ExtDup, odd, want("Extensions", []string{"2.5.29.17", "1.2.3.4", "1.2.3.4"})},
	{"SAN with trailing data", spec{exts: [][]byte{ext("2.5.29.17", tlv(tagSeq, dns("a.example.com")), []byte{5, 0})}}.cert(), ExtBad, odd, want("DNSNames", []string{"a.example.com"})},
	{"SAN broken off", spec{exts: [][]byte{ext("2.5.29.17", tlv(tagSeq, dns("a.example.com"), []byte{gnDNS, 9, 'b'}))}}.cert(), ExtBad, partial, want("DNSNames", []string{"a.example.com"})},
	{"SAN that is no SEQUENCE", spec{exts: [][]byte{ext("2.5.29.17", str(tagUTF8, "x"))}}.cert(), ExtBad, partial, all(want("Serial", []byte{0x12, 0x34}), want("Error", "subjectAltName: not a SEQUENCE"))},
	{"SAN empty", withSAN(), 0, schema.StatusOK, want("DNSNames", []string(nil))},

	// Other extensions.
	{"name constraints malformed", withExt(ext("2.5.29.30", unhex("0500"))), 0, schema.StatusOK, nil},
	{"nameRelativeToCRLIssuer", withExt(ext("2.5.29.31", tlv(tagSeq,
		tlv(tagSeq, tlv(0xa0, tlv(0xa1, tlv(tagSeq, oid("2.5.4.3"), str(tagUTF8, "x"))))),
		tlv(tagSeq, tlv(0xa0, tlv(0xa0, str(gnURI, "http://c.example/c.crl"))))))), URLOdd, odd, want("CRLs", []string{"http://c.example/c.crl"})},
	{"critical AIA, AKI, SKI", withExt(
		tlv(tagSeq, oid("2.5.29.14"), unhex("0101ff"), tlv(tagOctets, unhex("0402aabb"))),
		tlv(tagSeq, oid("2.5.29.35"), unhex("0101ff"), tlv(tagOctets, unhex("30048002ccdd"))),
		tlv(tagSeq, oid("1.3.6.1.5.5.7.1.1"), unhex("0101ff"), tlv(tagOctets, tlv(tagSeq, tlv(tagSeq, oid("1.3.6.1.5.5.7.48.1"), str(gnURI, "http://o.example")))))),
		0, schema.StatusOK, all(want("SKI", []byte{0xaa, 0xbb}), want("AKI", []byte{0xcc, 0xdd}), want("OCSP", []string{"http://o.example"}))},
	{"critical BOOLEAN 01", withExt(tlv(tagSeq, oid("2.5.29.14"), unhex("010101"), tlv(tagOctets, unhex("0402aabb")))), CritBad, odd, want("SKI", []byte{0xaa, 0xbb})},
	{"empty EKU", withExt(ext("2.5.29.37", unhex("3000"))), ExtBad, odd, want("ExtKeyUsage", []string(nil))},
	{"EKU with empty OID", withExt(ext("2.5.29.37", unhex("30020600"))), ExtBad | OIDOdd, odd, want("ExtKeyUsage", []string{"?"})},
	{"EKU not a SEQUENCE", withExt(ext("2.5.29.37", nil)), ExtBad, partial, nil},
	{"empty AIA", withExt(ext("1.3.6.1.5.5.7.1.1", unhex("3000"))), 0, schema.StatusOK, want("OCSP", []string(nil))},
	{"AIA with a directoryName", withExt(ext("1.3.6.1.5.5.7.1.1", tlv(tagSeq, tlv(tagSeq, oid("1.3.6.1.5.5.7.48.2"), tlv(0xa4, name()))))), URLOdd, odd, want("CAIssuers", []string(nil))},
	{"AIA with bytes beyond ASCII", withExt(ext("1.3.6.1.5.5.7.1.1", tlv(tagSeq, tlv(tagSeq, oid("1.3.6.1.5.5.7.48.2"), str(gnURI, "http://\xe9/"))))), URLOdd, odd, want("CAIssuers", []string{"http://\xe9/"})},
	{"empty SCT list", withExt(ext("1.3.6.1.4.1.11129.2.4.2", tlv(tagOctets, unhex("0000")))), SCTBad, odd, want("SCTs", []schema.SCT(nil))},
	{"SCT list of wrong length", withExt(ext("1.3.6.1.4.1.11129.2.4.2", tlv(tagOctets, unhex("00ff00")))), SCTBad, partial, nil},
	{"SCT longer than its list", withExt(ext("1.3.6.1.4.1.11129.2.4.2", tlv(tagOctets, unhex("00040009 0000")))), SCTBad, partial, nil},
	{"SCT of 42 bytes", withExt(ext("1.3.6.1.4.1.11129.2.4.2", tlv(tagOctets, sctListOf(sct(1)[:42])))), SCTBad, partial, want("SCTs", []schema.SCT(nil))},
	{"SCT of another version beside a good one", withExt(ext("1.3.6.1.4.1.11129.2.4.2", tlv(tagOctets, sctListOf(append([]byte{1}, sct(9)[1:]...), sct(7))))), SCTBad, partial,
		func(r *schema.Row) error {
			if len(r.SCTs) != 1 || r.SCTs[0].LogID[0] != 7 || r.SCTs[0].Timestamp != 400<<32|7 {
				return fmt.Errorf("SCTs %v", r.SCTs)
			}
			return nil
		}},
	{"path length negative", withExt(ext("2.5.29.19", unhex("30060101ff0201ff"))), BCBad, odd, all(want("IsCA", true), want("PathLen", int16(-1)))},
	{"path length huge", withExt(ext("2.5.29.19", unhex("30080101ff0203010000"))), BCBad, odd, want("PathLen", int16(0x7fff))},
	{"path length 3", withExt(ext("2.5.29.19", unhex("30060101ff020103"))), 0, schema.StatusOK, all(want("IsCA", true), want("PathLen", int16(3)))},
	{"BOOLEAN cA 01", withExt(ext("2.5.29.19", unhex("3003010101"))), BCBad, odd, want("IsCA", true)},
	{"policies of two levels", withExt(ext("2.5.29.32", tlv(tagSeq, tlv(tagSeq, oid(policyDV)), tlv(tagSeq, oid(policyEV)), tlv(tagSeq, oid("1.2.3"))))), 0, schema.StatusOK,
		all(want("Validation", schema.ValidationEV), want("Policies", []string{policyDV, policyEV, "1.2.3"}))},
	{"policies malformed", withExt(ext("2.5.29.32", tlv(tagSeq, []byte{tagInt, 0}))), ExtBad, partial, nil},
	{"extensions not a SEQUENCE", spec{extList: tlv(0xa3, unhex("0500"))}.cert(), ExtBad, partial, want("Subject.Text", "CN=example.com")},
	{"extension list empty", spec{extList: unhex("a3023000")}.cert(), ExtEmpty, odd, nil},
	{"extension list broken off", spec{extList: tlv(0xa3, tlv(tagSeq, san(dns("a.example.com")), []byte{tagSeq, 0x7f}))}.cert(), ExtBad, partial, want("DNSNames", []string{"a.example.com"})},
	{"an extension that is none", withExt(unhex("0500")), ExtBad, partial, want("DNSNames", []string{"example.com"})},
	{"an extension without value", withExt(tlv(tagSeq, oid("2.5.29.15"))), ExtBad, partial, want("DNSNames", []string{"example.com"})},
	{"poison in an x509_entry", withExt(poisonExt), PoisonOdd, odd, want("Poison", true)},

	// Signature algorithms, keys, versions.
	{"algorithms inside and outside differ", spec{outerAlg: rsaSHA256}.cert(), SigMismatch, odd, want("SigAlg", schema.SigSHA256ECDSA)},
	{"unknown signature algorithm", spec{sigAlg: tlv(tagSeq, oid("1.2.3.4"))}.cert(), 0, schema.StatusOK, all(want("SigAlg", schema.SigOther), want("SigOID", "1.2.3.4"))},
	{"RSA", spec{key: rsaKey(modulus(256), []byte{1, 0, 1}, []byte{tagNull, 0})}.cert(), 0, schema.StatusOK, all(want("KeyAlg", schema.KeyRSA), want("KeyBits", uint16(2048)), want("KeyOID", "1.2.840.113549.1.1.1"))},
	{"RSA without NULL", spec{key: rsaKey(modulus(256), []byte{1, 0, 1})}.cert(), KeyOdd, odd, want("KeyBits", uint16(2048))},
	{"RSA exponent padded", spec{key: rsaKey(modulus(256), []byte{0, 1, 0, 1}, []byte{tagNull, 0})}.cert(), KeyOdd, odd, want("KeyBits", uint16(2048))},
	{"RSA exponent even", spec{key: rsaKey(modulus(256), []byte{4}, []byte{tagNull, 0})}.cert(), KeyOdd, odd, nil},
	{"RSA exponent one", spec{key: rsaKey(modulus(256), []byte{1}, []byte{tagNull, 0})}.cert(), KeyOdd, odd, nil},
	{"RSA modulus negative", spec{key: rsaKey(bytes.Repeat([]byte{0xc5}, 256), []byte{3}, []byte{tagNull, 0})}.cert(), KeyOdd, odd, all(want("KeyAlg", schema.KeyRSA), want("KeyBits", uint16(0)))},
	{"RSA modulus of 72,000 bits", spec{key: rsaKey(modulus(9000), []byte{3}, []byte{tagNull, 0})}.cert(), KeyOdd, odd, want("KeyBits", uint16(0xffff))},
	{"RSA key that is none", spec{key: tlv(tagSeq, tlv(tagSeq, oid("1.2.840.113549.1.1.1"), []byte{tagNull, 0}), tlv(tagBits, []byte{0, 1, 2}))}.cert(), KeyOdd, odd, want("KeyAlg", schema.KeyRSA)},
	{"secp192r1", spec{key: ecKey("1.2.840.10045.3.1.1", "04")}.cert(), 0, schema.StatusOK, want("KeyBits", uint16(192))},
	{"unknown curve", spec{key: ecKey("1.2.840.10045.3.1.12", "04")}.cert(), KeyOdd, odd, all(want("KeyAlg", schema.KeyEC), want("KeyBits", uint16(0)), want("KeyOID", "1.2.840.10045.3.1.12"))},
	{"EC with explicit parameters", spec{key: tlv(tagSeq, tlv(tagSeq, oid("1.2.840.10045.2.1"), tlv(tagSeq)), tlv(tagBits, []byte{0, 4}))}.cert(), KeyOdd, odd, want("KeyAlg", schema.KeyEC)},
	{"Ed25519", spec{key: tlv(tagSeq, tlv(tagSeq, oid("1.3.101.112")), tlv(tagBits, make([]byte, 33)))}.cert(), 0, schema.StatusOK, all(want("KeyAlg", schema.KeyEd25519), want("KeyBits", uint16(256)))},
	{"Ed448", spec{key: tlv(tagSeq, tlv(tagSeq, oid("1.3.101.113")), tlv(tagBits, make([]byte, 58)))}.cert(), 0, schema.StatusOK, want("KeyAlg", schema.KeyEd448)},
	{"ML-DSA-44", spec{key: tlv(tagSeq, tlv(tagSeq, oid("2.16.840.1.101.3.4.3.17")), tlv(tagBits, make([]byte, 1313))), sigAlg: tlv(tagSeq, oid("2.16.840.1.101.3.4.3.17"))}.cert(), 0, schema.StatusOK, all(want("KeyAlg", schema.KeyMLDSA), want("SigAlg", schema.SigMLDSA))},
	{"DSA", spec{key: tlv(tagSeq, tlv(tagSeq, oid("1.2.840.10040.4.1"), tlv(tagSeq, tlv(tagInt, modulus(128)), tlv(tagInt, modulus(20)), tlv(tagInt, []byte{2}))), tlv(tagBits, []byte{0}))}.cert(), 0, schema.StatusOK, want("KeyBits", uint16(1024))},
	{"unknown key algorithm", spec{key: tlv(tagSeq, tlv(tagSeq, oid("1.2.643.7.1.1.1.1")), tlv(tagBits, []byte{0, 4}))}.cert(), KeyOdd, odd, all(want("KeyAlg", schema.KeyOther), want("KeyOID", "1.2.643.7.1.1.1.1"))},
	{"version 1", spec{version: []byte{}, extList: []byte{}}.cert(), VersionOdd, odd, want("Version", uint8(1))},
	{"version 4", spec{version: unhex("a003020103")}.cert(), VersionOdd, odd, want("Version", uint8(4))},
	{"version absurd", spec{version: unhex("a0050203010000")}.cert(), VersionOdd, odd, want("Version", uint8(0))},
	{"unique ids", spec{ids: unhex("81020001 82020002")}.cert(), UniqueID, odd, want("DNSNames", []string{"example.com", "www.example.com"})},

	// Encodings.
	{"lengths not minimal", slices.Concat(unhex("3083"), lenBytes(spec{}.cert()), body(spec{}.cert())), NonMinLen, odd, want("DNSNames", []string{"example.com", "www.example.com"})},
	{"indefinite length outside", slices.Concat(unhex("3080"), body(spec{}.cert()), unhex("0000")), BER, odd, want("DNSNames", []string{"example.com", "www.example.com"})},
	{"indefinite lengths inside", spec{subject: slices.Concat(unhex("3080"), cn(tagUTF8, "x"), unhex("0000"))}.cert(), BER, odd, want("Subject.CommonNames", []string{"x"})},
	{"bytes after the certificate", append(spec{}.cert(), 0), TrailingData, odd, want("Serial", []byte{0x12, 0x34})},
	{"bytes after the signature", spec{tail: unhex("0500")}.cert(), TrailingData, odd, nil},
	{"bytes after the extensions", spec{after: unhex("0500")}.cert(), TrailingData, odd, want("DNSNames", []string{"example.com", "www.example.com"})},
	{"no signature", tlv(tagSeq, spec{}.tbs()), TrailingData, odd, want("Serial", []byte{0x12, 0x34})},
	{"TBSCertificate ends after the issuer", tlv(tagSeq, tlv(tagSeq, unhex("a003020102 020105"), ecdsaSHA256, name(cn(tagUTF8, "ca"))), ecdsaSHA256, unhex("030100")), KeyOdd, partial, want("Issuer.Text", "CN=ca")},
	{"cut off", spec{}.cert()[:200], 0, refused, want("Error", "certificate: not a SEQUENCE")},
	{"HTML", []byte("<html><body>502</body></html>"), 0, refused, nil},
	{"empty", nil, 0, refused, nil},
	{"no serial", tlv(tagSeq, tlv(tagSeq, ecdsaSHA256), ecdsaSHA256, unhex("030100")), 0, refused, nil},
}

func lenBytes(der []byte) []byte {
	n := len(body(der))
	return []byte{byte(n >> 16), byte(n >> 8), byte(n)}
}
func body(der []byte) []byte {
	var e elem
	c := cur{b: der}
	c.next(&e)
	return e.content(der)
}

// TestWeird has one row for every kind of odd certificate known.
func TestWeird(t *testing.T) {
	for _, w := range weirdCerts {
		t.Run(w.name, func(t *testing.T) {
			row := parseX509(w.der)
			if got := Flag(row.Flags); got != w.flags {
				t.Errorf("flags %v, want %v", got, w.flags)
			}
			if row.Status != w.status {
				t.Errorf("status %s (%s), want %s", statusNames[row.Status], row.Error, statusNames[w.status])
			}
			if (row.Error != "") != (row.Status >= partial) {
				t.Errorf("status %s with error %q", statusNames[row.Status], row.Error)
			}
			if w.check != nil {
				if err := w.check(row); err != nil {
					t.Error(err)
				}
			}
			checkInvariants(t, row)
		})
	}
}

// weirdFiles are odd certificates of public test suites, with all the flags of
// their rows.
var weirdFiles = map[string]Flag{
	"google+certificate-transparency-go/x509/testdata/invalid/mismatching-sig-alg.pem":                 SerialZero | SigMismatch,
	"google+certificate-transparency-go/x509/testdata/invalid/xf-der-invalid-nonminimal-int.pem":       SerialPad,
	"google+certificate-transparency-go/x509/testdata/invalid/xf-der-pubkey-rsa-nonminimal-int.pem":    KeyOdd,
	"google+certificate-transparency-go/x509/testdata/invalid/xf-ext-extended-key-usage-empty-oid.pem": ExtBad | OIDOdd,
	"google+certificate-transparency-go/x509/testdata/invalid/xf-ext-extended-key-usage-empty.pem":     ExtBad,
	"google+certificate-transparency-go/x509/testdata/invalid/xf-pubkey-ecdsa-secp192r1.pem":           0,
	"google+certificate-transparency-go/x509/testdata/invalid/xf-pubkey-rsa-modulus-negative.pem":      KeyOdd,
	"google+certificate-transparency-go/x509/testdata/invalid/xf-pubkey-rsa-param-nonnull.pem":         KeyOdd,
	"google+certificate-transparency-go/x509/testdata/invalid/xf-subject-nonprintable.pem":             NameOdd,
	"zmap+zlint/v3/testdata/SANDNSNameNotFQDN.pem":                                                     SANBad,
	"zmap+zlint/v3/testdata/SANDNSNotIA5String.pem":                                                    SANOdd,
	"zmap+zlint/v3/testdata/SANDNSNull.pem":                                                            NameOdd | SANOdd, // an empty RDN too
	"zmap+zlint/v3/testdata/SANDNSTooLong.pem":                                                         SANOdd,
	"zmap+zlint/v3/testdata/SANEmptyName.pem":                                                          SANOdd,
	"zmap+zlint/v3/testdata/SANURINoSchemeSpecificPart.pem":                                            NameOdd,
	"zmap+zlint/v3/testdata/SANWithInvalidEmail.pem":                                                   0,
	"zmap+zlint/v3/testdata/aiaCrit.pem":                                                               NameOdd | SANOdd | UniqueID | URLOdd,
	"zmap+zlint/v3/testdata/basic_constr_invalid_der_ko.pem":                                           0,
	"zmap+zlint/v3/testdata/certVersion1NoExtensions.pem":                                              VersionOdd,
	"zmap+zlint/v3/testdata/certVersion4WithExtension.pem":                                             SerialZero | VersionOdd,
	"zmap+zlint/v3/testdata/ct3mo2DupeSCTs.pem":                                                        0,
	"zmap+zlint/v3/testdata/dnsNameBadCharacterInLabel.pem":                                            NameOdd | SANOdd,
	"zmap+zlint/v3/testdata/dnsNameEmptyLabel.pem":                                                     NameOdd | SANOdd,
	"zmap+zlint/v3/testdata/empty_sct_list_ko_01.pem":                                                  SCTBad,
	"zmap+zlint/v3/testdata/empty_seq_of_aia.pem":                                                      0,
	"zmap+zlint/v3/testdata/empty_seq_of_san.pem":                                                      0,
	"zmap+zlint/v3/testdata/evenRsaMod.pem":                                                            0,
	"zmap+zlint/v3/testdata/extSANDuplicated.pem":                                                      ExtDup,
	"zmap+zlint/v3/testdata/generalizedNoFraction.pem":                                                 TimeOdd | NameOdd | SANOdd,
	"zmap+zlint/v3/testdata/generalizedNoSeconds.pem":                                                  TimeOdd | NameOdd | SANOdd,
	"zmap+zlint/v3/testdata/generalizedNotZulu.pem":                                                    TimeOdd | NameOdd | SANOdd,
	"zmap+zlint/v3/testdata/incorrect_unused_bits_in_ku_encoding.pem":                                  0,
	"zmap+zlint/v3/testdata/keyUsageNoBits.pem":                                                        0,
	"zmap+zlint/v3/testdata/mismatchingSigAlgsBadParams.pem":                                           SerialZero | SigMismatch,
	"zmap+zlint/v3/testdata/multDupeExts.pem":                                                          TimeGT | ExtDup,
	"zmap+zlint/v3/testdata/ncEmptyValue.pem":                                                          NameOdd | SANOdd,
	"zmap+zlint/v3/testdata/precert_with_sct_list_ko.pem":                                              PoisonOdd,
	"zmap+zlint/v3/testdata/rsaAlgIDNoNULLParams.pem":                                                  KeyOdd | PoisonOdd,
	"zmap+zlint/v3/testdata/serialNumberLarge.pem":                                                     SerialLong,
	"zmap+zlint/v3/testdata/serialNumberNegative.pem":                                                  SerialNeg,
	"zmap+zlint/v3/testdata/serialNumberZero.pem":                                                      SerialZero | ExtEmpty,
	"zmap+zlint/v3/testdata/subCertPathLenNegative.pem":                                                BCBad,
	"zmap+zlint/v3/testdata/subjectCNWrongEncoding.pem":                                                NameOdd,
	"zmap+zlint/v3/testdata/subjectCommonNamePrintableStringBadAlpha.pem":                              0,
	"zmap+zlint/v3/testdata/uniqueIdVersion1.pem":                                                      NameOdd | SANOdd | VersionOdd | UniqueID,
	"zmap+zcrypto/x509/testdata/parsecert12-minlen.pem":                                                NonMinLen,
	"zmap+zcrypto/x509/testdata/parsecert4-time.pem":                                                   TimeOdd,
	"zmap+zcrypto/x509/testdata/unknown_sig_alg.cert":                                                  NameOdd | KeyOdd,
}

// TestWeirdFiles parses, as x509 entries, the files of the corpus that public
// test suites made odd on purpose.
func TestWeirdFiles(t *testing.T) {
	left := maps.Clone(weirdFiles)
	for _, c := range oddCerts(t) {
		flags, ok := left[c.name]
		if !ok {
			continue
		}
		delete(left, c.name)
		row := parseX509(c.der)
		if got := Flag(row.Flags); got != flags {
			t.Errorf("%s: flags %v, want %v", c.name, got, flags)
		}
		if row.Status == schema.StatusRefused || len(row.Serial) == 0 || row.Issuer.Raw == nil || row.Subject.Raw == nil ||
			row.NotBefore == 0 || row.NotAfter == 0 || row.SPKI == (schema.Hash{}) || row.KeyAlg == 0 || row.SigAlg == 0 {
			t.Errorf("%s: a core column is empty: %s", c.name, row.Error)
		}
	}
	for name := range left {
		t.Errorf("%s is not in the corpus", name)
	}
}
