package cert

import (
	"bytes"
	"crypto/sha256"
	stdx509 "crypto/x509"
	"fmt"
	"slices"
	"testing"

	"ctappliance/schema"
)

// diffStd compares a row with what crypto/x509 read.
func diffStd(row *schema.Row, c *stdx509.Certificate) []difference {
	var d differ
	same(&d, "Version", int(row.Version), c.Version)
	d.serial(row.Serial, c.SerialNumber)
	d.bytes("Issuer.Raw", row.Issuer.Raw, c.RawIssuer)
	d.bytes("Subject.Raw", row.Subject.Raw, c.RawSubject)
	same(&d, "Subject.CN", last(row.Subject.CommonNames), c.Subject.CommonName)
	d.list("Subject.O", row.Subject.Organizations, c.Subject.Organization)
	d.list("Subject.OU", row.Subject.Units, c.Subject.OrganizationalUnit)
	same(&d, "Issuer.CN", last(row.Issuer.CommonNames), c.Issuer.CommonName)
	same(&d, "NotBefore", row.NotBefore, c.NotBefore.Unix())
	same(&d, "NotAfter", row.NotAfter, c.NotAfter.Unix())
	same(&d, "SPKI", row.SPKI, sha256.Sum256(c.RawSubjectPublicKeyInfo))
	if bits := keyBits(c.PublicKey); bits != 0 {
		same(&d, "KeyBits", row.KeyBits, bits)
	}
	if row.Version != 3 {
		return d // crypto/x509 reads no extensions then
	}
	d.list("DNSNames", row.DNSNames, c.DNSNames)
	d.list("Emails", row.Emails, c.EmailAddresses)
	same(&d, "KeyUsage", row.KeyUsage, uint16(c.KeyUsage))
	same(&d, "IsCA", row.IsCA, c.IsCA)
	d.bytes("AKI", row.AKI, c.AuthorityKeyId)
	if !bytes.Equal(row.SKI, c.SubjectKeyId) {
		d.bytes("SKI", row.SKI, c.SubjectKeyId)
	}
	d.list("OCSP", row.OCSP, c.OCSPServer)
	d.list("CAIssuers", row.CAIssuers, c.IssuingCertificateURL)
	d.list("CRLs", row.CRLs, c.CRLDistributionPoints)
	var policies, exts []string
	for _, p := range c.Policies {
		policies = append(policies, p.String())
	}
	d.list("Policies", row.Policies, policies)
	for _, e := range c.Extensions {
		exts = append(exts, e.Id.String())
	}
	d.list("Extensions", row.Extensions, exts)
	return d
}

// TestCheck: the oracle in production agrees on all corpora, notices a column
// that is wrong, and is not asked what it could not bear.
func TestCheck(t *testing.T) {
	id := sha256.Sum256(p256Key[26:])
	good := spec{exts: [][]byte{san(dns("a.example")), ext("2.5.29.19", unhex("3000")), ext("2.5.29.14", tlv(tagOctets, id[:20]))}}
	row := parseX509(good.cert())
	if columns, ok := Check(row); len(columns) != 0 || !ok {
		t.Errorf("a good row: %v, %v", columns, ok)
	}
	pre, _ := pair(t, good.with(poisonExt), good.with(sctExt))
	prow := parse(pre)
	if columns, ok := Check(prow); len(columns) != 0 || !ok {
		t.Errorf("a good precertificate: %v, %v", columns, ok)
	}
	for column, change := range map[string]func(*schema.Row){
		"DNSNames":  func(r *schema.Row) { r.DNSNames = []string{"b.example"} },
		"Serial":    func(r *schema.Row) { r.Serial = []byte{9} },
		"NotAfter":  func(r *schema.Row) { r.NotAfter++ },
		"SPKI":      func(r *schema.Row) { r.SPKI[3]++ },
		"IsCA":      func(r *schema.Row) { r.IsCA = true },
		"SKIMethod": func(r *schema.Row) { r.SKIMethod = schema.SKISHA1 },
		"Status":    func(r *schema.Row) { r.Status = schema.StatusRefused },
		"Issuer.CN": func(r *schema.Row) { r.Issuer.CommonNames = nil },
	} {
		for _, from := range []*schema.Row{row, prow} {
			wrong := *from
			change(&wrong)
			if columns, ok := Check(&wrong); !slices.Equal(columns, []string{column}) || !ok {
				t.Errorf("%s is wrong: %v, %v", column, columns, ok)
			}
		}
	}
	// What a flag explains is no disagreement.
	odd := *row
	odd.DNSNames, odd.Flags = nil, uint64(SANBad)
	if columns, _ := Check(&odd); len(columns) != 0 {
		t.Errorf("explained by a flag: %v", columns)
	}
	var names [][]byte
	for i := range MaxChecked / 12 {
		names = append(names, dns(fmt.Sprintf("%d.example", i)))
	}
	large := good.with(san(names...)).cert()
	for name, row := range map[string]*schema.Row{
		"too large": parseX509(large), "no leaf": {Leaf: []byte{1}}, "no certificate": parseX509([]byte("x")),
	} {
		if columns, ok := Check(row); ok || columns != nil {
			t.Errorf("%s: %v, %v", name, columns, ok)
		}
	}
	if _, ok := CheckIssuer(large); ok {
		t.Error("a large issuer was checked")
	}
	if columns, ok := CheckIssuer(good.cert()); len(columns) != 0 || !ok {
		t.Errorf("a good issuer: %v, %v", columns, ok)
	}
	testHookCheck = func() { panic("oracle") }
	defer func() { testHookCheck = nil }()
	if columns, ok := Check(row); ok || columns != nil {
		t.Errorf("the oracle fails: %v, %v", columns, ok)
	}
}

// TestCheckCorpora checks every certificate there is, as an entry and as an issuer.
func TestCheckCorpora(t *testing.T) {
	checked, n := 0, 0
	for _, c := range append(liveCerts(t), oddCerts(t)...) {
		n++
		columns, ok := Check(parse(asEntry(c.der)))
		if ok {
			checked++
		}
		if len(columns) > 0 {
			t.Errorf("%s: %v", c.name, columns)
		}
		if columns, _ := CheckIssuer(c.der); len(columns) > 0 {
			t.Errorf("%s as an issuer: %v", c.name, columns)
		}
	}
	t.Logf("%d of %d were checked", checked, n)
	if checked < n*9/10 {
		t.Errorf("%d of %d were checked", checked, n)
	}
}
