package cert

import (
	"bytes"
	"crypto/sha256"

	"ctappliance/schema"
)

// ParseIssuer reads a chain certificate. Like [Parse] it always yields
// something: Error says what is missing, and Fingerprint and DER are set
// whatever the bytes are. The result aliases der.
func ParseIssuer(der []byte) (out schema.Issuer) {
	out.DER = der
	out.Fingerprint = sha256.Sum256(der)
	if len(der) > MaxCertificate {
		out.Error = "certificate larger than 1 MiB"
		return out
	}
	p := parsers.Get().(*parser)
	defer func() {
		if r := recover(); r != nil {
			out = schema.Issuer{DER: der, Fingerprint: sha256.Sum256(der), Error: "parser panic"}
			return
		}
		p.release()
	}()
	if testHookParse != nil {
		testHookParse(nil)
	}
	defer p.private()() // issuers are kept for long
	var row schema.Row
	row.PathLen = -1
	p.row = &row
	var c certificate
	why := c.read(der, &p.flags)
	if why == "" && !c.tbs.hasSerial() {
		why = "certificate: no serial number"
	}
	if why != "" {
		out.Error = why
		return out
	}
	p.fill(&c.tbs)
	if c.tbs.spki.read() {
		out.SPKI = sha256.Sum256(c.tbs.spki.full(der))
	}
	out.Subject = row.Subject
	out.IssuerName = row.Issuer
	out.NotBefore, out.NotAfter = row.NotBefore, row.NotAfter
	out.SKI = row.SKI
	out.IsCA = row.IsCA
	out.Error = p.problem
	out.SelfSigned = c.tbs.subject.read() && bytes.Equal(c.tbs.issuer.full(der), c.tbs.subject.full(der)) &&
		(len(row.AKI) == 0 || len(row.SKI) == 0 || bytes.Equal(row.AKI, row.SKI))
	for _, oid := range row.ExtKeyUsage {
		out.PrecertSigns = out.PrecertSigns || oid == precertSigningEKU
	}
	return out
}
