package cert

import (
	"bytes"
	"crypto/dsa" //lint:ignore SA1019 old certificates have such keys
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/big"
	"net/url"
	"slices"
	"strings"

	"ctappliance/schema"

	ctasn1 "github.com/google/certificate-transparency-go/asn1"
	ctx509 "github.com/google/certificate-transparency-go/x509"
)

// A difference is the name of a column and both values. The oracles are other
// people's parsers; where they are wrong, or say it in another way, the
// difference is in the table knownDiffs with its reason.
type difference struct {
	column       string
	ours, theirs any
}

func (d difference) String() string {
	return fmt.Sprintf("%s: ours %.200q, theirs %.200q", d.column, d.ours, d.theirs)
}

// differ collects differences.
type differ []difference

func (d *differ) add(column string, ours, theirs any) {
	*d = append(*d, difference{column, ours, theirs})
}

// same notes a column whose values differ.
func same[T comparable](d *differ, column string, ours, theirs T) {
	if ours != theirs {
		d.add(column, ours, theirs)
	}
}

func (d *differ) bytes(column string, ours, theirs []byte) {
	if !bytes.Equal(ours, theirs) {
		d.add(column, ours, theirs)
	}
}

func (d *differ) list(column string, ours, theirs []string) {
	if !slices.Equal(ours, theirs) {
		d.add(column, ours, theirs)
	}
}

// serial compares serial numbers: ours are octets, theirs is a number.
func (d *differ) serial(ours []byte, theirs *big.Int) {
	if n := twosComplement(ours); theirs == nil || n.Cmp(theirs) != 0 {
		d.add("Serial", n, theirs)
	}
}

// twosComplement returns the value of an INTEGER's content octets.
func twosComplement(b []byte) *big.Int {
	n := new(big.Int).SetBytes(b)
	if len(b) > 0 && b[0] >= 0x80 {
		n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(len(b))*8))
	}
	return n
}

func last(l []string) string {
	if len(l) == 0 {
		return ""
	}
	return l[len(l)-1]
}

// diffCT compares a row with what ct-go's x509 read out of the same bytes.
func diffCT(row *schema.Row, c *ctx509.Certificate) []difference {
	var d differ
	same(&d, "Version", int(row.Version), c.Version)
	d.serial(row.Serial, c.SerialNumber)
	d.bytes("Issuer.Raw", row.Issuer.Raw, c.RawIssuer)
	d.bytes("Subject.Raw", row.Subject.Raw, c.RawSubject)
	for _, n := range []struct {
		name string
		ours *schema.Name
		cn   string
		o    []string
		ou   []string
		c    []string
		l    []string
		st   []string
		sn   string
	}{
		{"Issuer", &row.Issuer, c.Issuer.CommonName, c.Issuer.Organization, c.Issuer.OrganizationalUnit, c.Issuer.Country, c.Issuer.Locality, c.Issuer.Province, c.Issuer.SerialNumber},
		{"Subject", &row.Subject, c.Subject.CommonName, c.Subject.Organization, c.Subject.OrganizationalUnit, c.Subject.Country, c.Subject.Locality, c.Subject.Province, c.Subject.SerialNumber},
	} {
		same(&d, n.name+".CN", last(n.ours.CommonNames), n.cn)
		d.list(n.name+".O", n.ours.Organizations, n.o)
		d.list(n.name+".OU", n.ours.Units, n.ou)
		d.list(n.name+".C", n.ours.Countries, n.c)
		d.list(n.name+".L", n.ours.Localities, n.l)
		d.list(n.name+".ST", n.ours.Provinces, n.st)
		same(&d, n.name+".serialNumber", last(n.ours.SerialNumbers), n.sn)
	}
	same(&d, "NotBefore", row.NotBefore, c.NotBefore.Unix())
	same(&d, "NotAfter", row.NotAfter, c.NotAfter.Unix())
	same(&d, "SPKI", row.SPKI, sha256.Sum256(c.RawSubjectPublicKeyInfo))
	d.list("DNSNames", row.DNSNames, c.DNSNames)
	d.list("Emails", row.Emails, c.EmailAddresses)
	var ips, uris, crls []string
	for _, ip := range c.IPAddresses {
		ips = append(ips, string(ip))
	}
	var oursIP []string
	for _, ip := range row.IPs {
		oursIP = append(oursIP, string(ip))
	}
	d.list("IPs", oursIP, ips)
	for _, u := range c.URIs {
		uris = append(uris, u.String())
	}
	var oursURI []string
	for _, u := range row.URIs {
		// ct-go keeps URIs parsed and writes them anew.
		if p, err := url.Parse(u); err == nil {
			u = p.String()
		}
		oursURI = append(oursURI, u)
	}
	d.list("URIs", oursURI, uris)

	alg, bits := ctKey(c)
	same(&d, "KeyAlg", row.KeyAlg, alg)
	if bits != 0 {
		same(&d, "KeyBits", row.KeyBits, bits)
	}
	same(&d, "SigAlg", row.SigAlg, ctSig(c))

	same(&d, "KeyUsage", row.KeyUsage, uint16(c.KeyUsage))
	d.list("ExtKeyUsage", slices.Sorted(slices.Values(row.ExtKeyUsage)), ctEKU(c))
	var policies, exts []string
	for _, p := range c.PolicyIdentifiers {
		policies = append(policies, p.String())
	}
	d.list("Policies", row.Policies, policies)
	for _, e := range c.Extensions {
		exts = append(exts, e.Id.String())
	}
	d.list("Extensions", row.Extensions, exts)
	same(&d, "IsCA", row.IsCA, c.IsCA)
	if c.BasicConstraintsValid {
		same(&d, "PathLen", int(row.PathLen), c.MaxPathLen)
	}
	d.bytes("AKI", row.AKI, c.AuthorityKeyId)
	d.bytes("SKI", row.SKI, c.SubjectKeyId)
	if method, ok := ctSKIMethod(c); ok {
		same(&d, "SKIMethod", row.SKIMethod, method)
	}
	d.list("OCSP", row.OCSP, c.OCSPServer)
	d.list("CAIssuers", row.CAIssuers, c.IssuingCertificateURL)
	d.list("CRLs", row.CRLs, append(crls, c.CRLDistributionPoints...))
	same(&d, "SCTs", len(row.SCTs), len(c.SCTList.SCTList))
	for i, s := range c.SCTList.SCTList {
		if i < len(row.SCTs) && len(s.Val) > 41 {
			d.bytes("SCT log", row.SCTs[i].LogID[:], s.Val[1:33])
			same(&d, "SCT time", row.SCTs[i].Timestamp, binary.BigEndian.Uint64(s.Val[33:]))
		}
	}
	return d
}

func ctEKU(c *ctx509.Certificate) []string {
	var out []string
	for _, e := range c.ExtKeyUsage {
		out = append(out, ekuOIDs[e])
	}
	for _, o := range c.UnknownExtKeyUsage {
		out = append(out, o.String())
	}
	slices.Sort(out)
	return out
}

var ekuOIDs = map[ctx509.ExtKeyUsage]string{
	ctx509.ExtKeyUsageAny:                        "2.5.29.37.0",
	ctx509.ExtKeyUsageServerAuth:                 "1.3.6.1.5.5.7.3.1",
	ctx509.ExtKeyUsageClientAuth:                 "1.3.6.1.5.5.7.3.2",
	ctx509.ExtKeyUsageCodeSigning:                "1.3.6.1.5.5.7.3.3",
	ctx509.ExtKeyUsageEmailProtection:            "1.3.6.1.5.5.7.3.4",
	ctx509.ExtKeyUsageIPSECEndSystem:             "1.3.6.1.5.5.7.3.5",
	ctx509.ExtKeyUsageIPSECTunnel:                "1.3.6.1.5.5.7.3.6",
	ctx509.ExtKeyUsageIPSECUser:                  "1.3.6.1.5.5.7.3.7",
	ctx509.ExtKeyUsageTimeStamping:               "1.3.6.1.5.5.7.3.8",
	ctx509.ExtKeyUsageOCSPSigning:                "1.3.6.1.5.5.7.3.9",
	ctx509.ExtKeyUsageMicrosoftServerGatedCrypto: "1.3.6.1.4.1.311.10.3.3",
	ctx509.ExtKeyUsageNetscapeServerGatedCrypto:  "2.16.840.1.113730.4.1",
	ctx509.ExtKeyUsageCertificateTransparency:    precertSigningEKU,
}

// ctSPKI is a SubjectPublicKeyInfo.
type ctSPKI struct {
	Algorithm struct {
		OID    ctasn1.ObjectIdentifier
		Params ctasn1.RawValue `asn1:"optional"`
	}
	Key ctasn1.BitString
}

// ctSKIMethod says how ct-go's view of the subject key identifier follows from
// the key; ok is false where it cannot read that.
func ctSKIMethod(c *ctx509.Certificate) (_ schema.SKIMethod, ok bool) {
	var spki ctSPKI
	if _, err := ctasn1.Unmarshal(c.RawSubjectPublicKeyInfo, &spki); err != nil {
		return 0, false
	}
	if h := sha1.Sum(spki.Key.Bytes); bytes.Equal(h[:], c.SubjectKeyId) {
		return schema.SKISHA1, true
	}
	if h := sha256.Sum256(spki.Key.Bytes); bytes.Equal(h[:20], c.SubjectKeyId) {
		return schema.SKISHA256, true
	}
	return schema.SKIOther, true
}

// ctKey returns our names for ct-go's view of the key; bits is 0 where it has
// none.
func ctKey(c *ctx509.Certificate) (alg schema.KeyAlg, bits uint16) {
	switch c.PublicKeyAlgorithm {
	case ctx509.RSA, ctx509.RSAESOAEP:
		alg = schema.KeyRSA
	case ctx509.ECDSA:
		alg = schema.KeyEC
	case ctx509.DSA:
		alg = schema.KeyDSA
	case ctx509.Ed25519:
		return schema.KeyEd25519, 256
	default:
		// What ct-go does not know is checked by OID.
		var spki ctSPKI
		if _, err := ctasn1.Unmarshal(c.RawSubjectPublicKeyInfo, &spki); err == nil {
			switch spki.Algorithm.OID.String() {
			case "1.3.101.113":
				return schema.KeyEd448, 448
			case "1.2.840.113549.1.1.10":
				return schema.KeyRSA, 0
			case "2.16.840.1.101.3.4.3.17", "2.16.840.1.101.3.4.3.18", "2.16.840.1.101.3.4.3.19":
				return schema.KeyMLDSA, 0
			}
		}
		return schema.KeyOther, 0
	}
	return alg, keyBits(c.PublicKey)
}

func ctSig(c *ctx509.Certificate) schema.SigAlg {
	switch c.SignatureAlgorithm {
	case ctx509.MD2WithRSA:
		return schema.SigMD2RSA
	case ctx509.MD5WithRSA:
		return schema.SigMD5RSA
	case ctx509.SHA1WithRSA:
		return schema.SigSHA1RSA
	case ctx509.SHA256WithRSA:
		return schema.SigSHA256RSA
	case ctx509.SHA384WithRSA:
		return schema.SigSHA384RSA
	case ctx509.SHA512WithRSA:
		return schema.SigSHA512RSA
	case ctx509.DSAWithSHA1, ctx509.DSAWithSHA256:
		return schema.SigDSA
	case ctx509.ECDSAWithSHA1:
		return schema.SigSHA1ECDSA
	case ctx509.ECDSAWithSHA256:
		return schema.SigSHA256ECDSA
	case ctx509.ECDSAWithSHA384:
		return schema.SigSHA384ECDSA
	case ctx509.ECDSAWithSHA512:
		return schema.SigSHA512ECDSA
	case ctx509.SHA256WithRSAPSS, ctx509.SHA384WithRSAPSS, ctx509.SHA512WithRSAPSS:
		return schema.SigRSAPSS
	case ctx509.PureEd25519:
		return schema.SigEd25519
	}
	// What ct-go does not know is checked by OID.
	var tbs struct {
		Version int `asn1:"optional,explicit,default:0,tag:0"`
		Serial  ctasn1.RawValue
		Alg     struct {
			OID    ctasn1.ObjectIdentifier
			Params ctasn1.RawValue `asn1:"optional"`
		}
		Rest []ctasn1.RawValue `asn1:"optional"`
	}
	ctasn1.Unmarshal(c.RawTBSCertificate, &tbs)
	switch tbs.Alg.OID.String() {
	case "1.2.840.113549.1.1.10":
		return schema.SigRSAPSS
	case "1.2.840.10045.4.3.1":
		return schema.SigSHA224ECDSA
	case "1.3.101.113":
		return schema.SigEd448
	case "1.3.14.3.2.29":
		return schema.SigSHA1RSA
	case "2.16.840.1.101.3.4.3.17", "2.16.840.1.101.3.4.3.18", "2.16.840.1.101.3.4.3.19":
		return schema.SigMLDSA
	}
	return schema.SigOther
}

// knownDiffs are the columns in which an oracle may differ from us, by the
// flag that we set.
var knownDiffs = []struct {
	flag    Flag
	columns []string
	why     string
}{
	{NameOdd, []string{"Issuer.", "Subject."}, "ct-go leaves out values that are no string, keeps T61 octets that are not UTF-8, and cuts broken names"},
	{ExtDup, []string{"DNSNames", "Emails", "IPs", "URIs", "Policies", "ExtKeyUsage", "OCSP", "CAIssuers", "CRLs", "SCTs", "KeyUsage", "AKI", "SKI", "SKIMethod", "IsCA", "PathLen"}, "ct-go keeps the last extension, we keep the union"},
	{SANBad, []string{"DNSNames", "Emails", "URIs", "IPs"}, "ct-go ignores class and form of a general name and reads [2] out of 0x02, 0xA2, 0xC2"},
	{SANMany, []string{"DNSNames", "Emails", "URIs", "IPs"}, "our bound"},
	{SANOdd, []string{"URIs"}, "ct-go keeps URIs parsed"},
	{ListMany, []string{"Extensions", "ExtKeyUsage", "Policies", "OCSP", "CAIssuers", "CRLs", "SCTs"}, "our bounds"},
	{ExtBad, []string{"ExtKeyUsage", "Policies", "OCSP", "CAIssuers", "CRLs", "AKI", "SKI", "SKIMethod", "Extensions", "DNSNames", "Emails", "URIs", "IPs", "KeyUsage", "IsCA", "PathLen"}, "what is read of a malformed extension differs"},
	{URLOdd, []string{"OCSP", "CAIssuers", "CRLs"}, "ct-go ignores class and form of a general name here too"},
	{KeyOdd, []string{"KeyAlg", "KeyBits", "SKIMethod"}, "ct-go has no key where we have what can be said of it"},
	{SCTBad, []string{"SCTs", "SCT log", "SCT time"}, "ct-go drops the list, we keep its good part"},
	{BCBad, []string{"PathLen"}, "ct-go reads negative and large path lengths as they are"},
	{KUBad, []string{"KeyUsage"}, "bits beyond those defined"},
	{SerialPad, []string{"Serial"}, "ct-go reads nothing out of an empty INTEGER"},
	{VersionOdd, []string{"Version"}, "version beyond a byte"},
	{NonMinLen, []string{"SCTs", "SCT log", "SCT time"}, "ct-go refuses lengths that are not minimal, and the SCT list with them"},
	{OIDOdd, []string{"ExtKeyUsage", "Policies", "Extensions", "SigAlg", "KeyAlg", "Issuer.", "Subject."}, "not an OID"},
	{BER, []string{"Issuer.", "Subject."}, "ct-go refuses indefinite lengths"},
}

// unexplained returns the differences that knownDiffs does not cover.
func unexplained(row *schema.Row, diffs []difference) (out []difference) {
next:
	for _, d := range diffs {
		for _, k := range knownDiffs {
			if row.Flags&uint64(k.flag) == 0 {
				continue
			}
			for _, c := range k.columns {
				if d.column == c || strings.HasSuffix(c, ".") && strings.HasPrefix(d.column, c) && !strings.HasSuffix(d.column, ".Raw") {
					continue next
				}
			}
		}
		out = append(out, d)
	}
	return out
}

// keyBits returns the modulus or field size of a key of another parser, 0 if
// it has none.
func keyBits(key any) uint16 {
	switch k := key.(type) {
	case *rsa.PublicKey:
		return uint16(k.N.BitLen())
	case *ecdsa.PublicKey:
		return uint16(k.Curve.Params().BitSize)
	case *dsa.PublicKey:
		return uint16(k.P.BitLen())
	case ed25519.PublicKey:
		return 256
	}
	return 0
}
