package cert

import (
	ctx509 "github.com/google/certificate-transparency-go/x509"

	"ctappliance/schema"
)

// MaxChecked is the size in bytes, 64 KiB, beyond which [Check] does not ask its
// oracle: that takes some ten times as long as [Parse], and more where someone
// wants it to.
const MaxChecked = 64 << 10

// Check has certificate-transparency-go's x509 read the certificate of a row
// that Parse filled, or a leaf's TBSCertificate, and returns the names of the columns
// in which it reads something else. Differences that are known and wanted, by
// the row's flags (knownDiffs), are none. A certificate that we refuse and it
// reads without complaint is the column "Status".
//
// ok is false where there is nothing to compare with: the certificate is none,
// too large, or the oracle refuses it, or fails over it.
func Check(row *schema.Row) (columns []string, ok bool) {
	defer func() {
		if recover() != nil {
			columns, ok = nil, false // a defect of the oracle's, on bytes that a stranger chose
		}
	}()
	var env envelope
	if _, why := env.read(row.Leaf); why != "" || len(env.cert) > MaxChecked {
		return nil, false
	}
	if testHookCheck != nil {
		testHookCheck()
	}
	parse := ctx509.ParseCertificate
	if env.typ == schema.PrecertEntry {
		parse = ctx509.ParseTBSCertificate
	}
	c, err := parse(env.cert)
	if c == nil {
		return nil, false
	}
	if row.Status == schema.StatusRefused {
		if err == nil {
			return []string{"Status"}, true
		}
		return nil, false
	}
	for _, d := range unexplained(row, diffCT(row, c)) {
		columns = append(columns, d.column)
	}
	return columns, true
}

// testHookCheck lets a test make the oracle panic.
var testHookCheck func()

// CheckIssuer is Check for a chain certificate, read as the entry that it would
// be in a log.
func CheckIssuer(der []byte) (columns []string, ok bool) {
	if len(der) > MaxChecked {
		return nil, false
	}
	leaf := make([]byte, 12, 17+len(der)) // version, type, time, and x509_entry are zeros
	leaf = append(leaf, byte(len(der)>>16), byte(len(der)>>8), byte(len(der)))
	leaf = append(append(leaf, der...), 0, 0)
	var row schema.Row
	Parse(&Input{Leaf: leaf}, &row)
	return Check(&row)
}
