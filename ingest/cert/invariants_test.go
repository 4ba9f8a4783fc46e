package cert

import (
	"crypto/sha256"
	"testing"
	"unicode/utf8"

	"ctappliance/schema"
)

// checkInvariants holds for every row, whatever the bytes were.
func checkInvariants(t testing.TB, row *schema.Row) {
	t.Helper()
	f := Flag(row.Flags)
	if f.Has(Panic) {
		t.Errorf("the parser panicked: %s", row.Error)
	}
	if f>>numFlags != 0 {
		t.Errorf("flags %#x beyond those defined", row.Flags)
	}
	if row.Status == schema.StatusOK && f != 0 {
		t.Errorf("status ok with flags %v", f)
	}
	if row.Status == schema.StatusOdd && f == 0 {
		t.Error("status odd without flags")
	}
	if (row.Error != "") != (row.Status >= schema.StatusPartial) {
		t.Errorf("status %d with error %q", row.Status, row.Error)
	}
	if row.TBSID == ([16]byte{}) {
		t.Error("no TBSID")
	}
	if row.DER != nil && row.Fingerprint != sha256.Sum256(row.DER) {
		t.Error("Fingerprint is not that of DER")
	}
	if row.ParserVersion != Version {
		t.Errorf("parser version %d", row.ParserVersion)
	}
	for _, n := range []*schema.Name{&row.Issuer, &row.Subject} {
		if !utf8.ValidString(n.Text) {
			t.Errorf("name %q is not UTF-8", n.Text)
		}
		for i := range len(n.Text) {
			if n.Text[i] < ' ' || n.Text[i] == 0x7f {
				t.Errorf("name %q has control characters", n.Text)
				break
			}
		}
		if len(n.Text) > maxNameText+4*maxNameValue {
			t.Errorf("name of %d bytes", len(n.Text))
		}
		total := 0
		for _, l := range [][]string{n.CommonNames, n.Organizations, n.Units, n.Countries, n.Localities, n.Provinces, n.SerialNumbers, n.Emails} {
			total += len(l)
			if cap(l) != len(l) {
				t.Error("a list's capacity reaches into its neighbour")
			}
		}
		if total > maxNameAttrs {
			t.Errorf("%d attributes", total)
		}
	}
	listed := len(row.DNSNames) + len(row.IPs) + len(row.Emails) + len(row.URIs) + len(row.OtherNames)
	if listed > maxSANs || int(row.SANCount) < listed || (int(row.SANCount) > listed) != f.Has(SANMany) {
		t.Errorf("%d names listed, %d counted, flags %v", listed, row.SANCount, f)
	}
	if len(row.Extensions) > maxExtensions || len(row.SCTs) > maxSCTs {
		t.Errorf("%d extensions, %d SCTs listed", len(row.Extensions), len(row.SCTs))
	}
}
