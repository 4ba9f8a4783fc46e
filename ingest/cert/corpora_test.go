package cert

import (
	"bytes"
	"crypto/sha1"
	"crypto/sha256"
	stdx509 "crypto/x509"
	"encoding/asn1"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ctappliance/schema"

	ctx509 "github.com/google/certificate-transparency-go/x509"
)

var statusNames = map[schema.Status]string{
	schema.StatusOK: "ok", schema.StatusOdd: "odd", schema.StatusPartial: "partial",
	schema.StatusRefused: "refused", schema.StatusOversize: "oversize",
}

// asEntry wraps a certificate as the entry that a log would have made of it: a
// precert_entry if it is poisoned, else an x509_entry. The leaf's
// TBSCertificate is made by ct-go, as logs do, where ct-go can.
func asEntry(der []byte) *Input {
	c, _ := ctx509.ParseCertificate(der)
	if c == nil {
		return x509Input(der)
	}
	tbs, err := ctx509.RemoveCTPoison(c.RawTBSCertificate)
	if err != nil {
		return x509Input(der)
	}
	return &Input{LogID: 7, Index: 42, Leaf: precertLeaf(testIssuer, tbs), Precert: der, Chain: []schema.Hash{{0xcc}}}
}

// TestCorpora parses every certificate of the corpora, as the entry that it
// would be in a log, and holds the columns against two other parsers.
func TestCorpora(t *testing.T) {
	for _, set := range []struct {
		name       string
		certs      []corpusCert
		maxRefused int
		maxOdd     int
	}{
		// Roots: two of serial number zero, one of version 1, one with an
		// LDAP name as its CRL's issuer.
		{"live", liveCerts(t), 0, 4},
		{"odd", oddCerts(t), 2, 1787},
	} {
		t.Run(set.name, func(t *testing.T) {
			count := map[string]int{}
			oracle := map[string]int{}
			for _, c := range set.certs {
				in := asEntry(c.der)
				row := new(schema.Row)
				Parse(in, row)
				kind := "x509 "
				if in.Precert != nil {
					kind = "precert "
				}
				count[kind+statusNames[row.Status]]++
				count[statusNames[row.Status]]++
				if Flag(row.Flags).Has(Panic) {
					t.Errorf("%s: %s", c.name, row.Error)
				}
				if (row.Error != "") != (row.Status >= schema.StatusPartial) || (row.Flags != 0) != (row.Status >= schema.StatusOdd) && row.Error == "" {
					t.Errorf("%s: status %d, flags %v, error %q do not fit", c.name, row.Status, Flag(row.Flags), row.Error)
				}
				if row.Status >= schema.StatusPartial || set.name == "live" && row.Status != schema.StatusOK {
					t.Logf("%s: %s: %s [%v]", c.name, statusNames[row.Status], row.Error, Flag(row.Flags))
				}
				ct, err := ctx509.ParseCertificate(c.der)
				switch {
				case ct == nil:
					oracle["ct-go fatal"]++
				case err != nil:
					oracle["ct-go nonfatal"]++
				default:
					oracle["ct-go ok"]++
				}
				if ct != nil {
					if in.Precert != nil {
						ct, _ = ctx509.ParseTBSCertificate(tbsOf(in.Leaf))
					}
					diffs := diffCT(row, ct)
					oracle["ct-go differences explained by a flag"] += len(diffs)
					for _, d := range unexplained(row, diffs) {
						oracle["ct-go differences explained by a flag"]--
						t.Errorf("%s [%v]: ct-go: %v", c.name, Flag(row.Flags), d)
					}
				}
				std, err := stdx509.ParseCertificate(c.der)
				if err != nil {
					oracle["std refuses"]++
				} else if in.Precert == nil {
					for _, d := range unexplained(row, diffStd(row, std)) {
						t.Errorf("%s [%v]: crypto/x509: %v", c.name, Flag(row.Flags), d)
					}
				}
			}
			for _, k := range slices.Sorted(maps.Keys(count)) {
				t.Logf("%-16s %5d", k, count[k])
			}
			for _, k := range slices.Sorted(maps.Keys(oracle)) {
				t.Logf("%-40s %5d", k, oracle[k])
			}
			if n := count["refused"]; n > set.maxRefused {
				t.Errorf("%d refused, want at most %d", n, set.maxRefused)
			}
			if n := len(set.certs) - count["ok"]; n > set.maxOdd {
				t.Errorf("%d not ok, want at most %d", n, set.maxOdd)
			}
		})
	}
}

// tbsOf returns the TBSCertificate of a precert_entry.
func tbsOf(leaf []byte) []byte {
	n := int(leaf[44])<<16 | int(leaf[45])<<8 | int(leaf[46])
	return leaf[47 : 47+n]
}

// TestCapturedEntries parses what two log servers made of certificates that
// were odd on purpose: all of it is read, and only where the server wrote the
// leaf anew, or the issuer is another, does it differ from the submission.
func TestCapturedEntries(t *testing.T) {
	dir := filepath.Join(dataDir(t), "captured-local")
	entries := tileEntries(t, filepath.Join(dir, "static", "tile", "data"))
	for _, f := range []string{"get-entries-0-9.json", "get-entries-54300-tail.json"} {
		entries = append(entries, getEntries(t, filepath.Join(dir, "rfc6962", f))...)
	}
	count := map[string]int{}
	differ := 0
	for i := range entries {
		row := parse(&entries[i])
		checkInvariants(t, row)
		f := Flag(row.Flags) &^ NoIssuer // tiles have no chains
		count[f.String()]++
		if row.Status > schema.StatusOdd {
			t.Errorf("entry %d: %s", i, row.Error)
		}
		if f.Has(TBSDiffers) {
			differ++
		}
	}
	t.Logf("%d entries: %v", len(entries), count)
	// One had GeneralizedTime, one was issued by a Precertificate Signing
	// Certificate.
	if differ != 2 {
		t.Errorf("%d precertificates differ from their leaves, want 2", differ)
	}
}

// TestRealEntries parses real entries of static and RFC 6962 logs.
func TestRealEntries(t *testing.T) {
	dir := dataDir(t)
	sets := map[string][]Input{
		"navigli2025h2": tileEntries(t, filepath.Join(dir, "static", "navigli2025h2", "tile", "data")),
	}
	answers, err := filepath.Glob(filepath.Join(dir, "rfc6962", "get-entries-*.json"))
	if err != nil || len(answers) == 0 {
		t.Fatalf("no get-entries answers: %v", err)
	}
	for _, path := range answers {
		name := strings.TrimSuffix(filepath.Base(path), ".json")
		sets[name] = getEntries(t, path)
	}
	for name, entries := range sets {
		t.Run(name, func(t *testing.T) {
			count := map[string]int{}
			for i := range entries {
				in := &entries[i]
				var row schema.Row
				Parse(in, &row)
				count[fmt.Sprintf("type %d %s", row.EntryType, statusNames[row.Status])]++
				if row.Status != schema.StatusOK {
					t.Errorf("entry %d: %s: %s [%v]", i, statusNames[row.Status], row.Error, Flag(row.Flags))
				}
				var ct *ctx509.Certificate
				if row.EntryType == schema.PrecertEntry {
					if !row.Poison {
						t.Errorf("entry %d: no poison", i)
					}
					ct, _ = ctx509.ParseTBSCertificate(tbsOf(in.Leaf))
				} else {
					ct, _ = ctx509.ParseCertificate(row.DER)
				}
				for _, d := range diffCT(&row, ct) {
					t.Errorf("entry %d: %v", i, d)
				}
			}
			t.Logf("%d entries: %v", len(entries), count)
		})
	}
}

// TestKeyIdentifiers: of real certificates, a subject key identifier is said to
// follow from the key where it does, by either way, and nowhere else; and no
// longer when a bit of it is another.
func TestKeyIdentifiers(t *testing.T) {
	dir := dataDir(t)
	sets := map[string][]*Input{}
	for name, certs := range map[string][]corpusCert{"live": liveCerts(t), "odd": oddCerts(t)} {
		for _, c := range certs {
			sets[name] = append(sets[name], asEntry(c.der))
		}
	}
	for _, in := range tileEntries(t, filepath.Join(dir, "static", "navigli2025h2", "tile", "data")) {
		sets["tile"] = append(sets["tile"], &in)
	}
	for name, least := range map[string][3]int{"live": {0, 50, 1000}, "odd": {400, 600, 3}, "tile": {0, 0, 1000}} {
		var count [3]int
		rows := batchOf(sets[name])
		for i := range rows {
			row := &rows[i]
			if len(row.SKI) == 0 {
				if row.SKIMethod != schema.SKIOther {
					t.Errorf("%s %d: no identifier, by method %d", name, i, row.SKIMethod)
				}
				continue
			}
			count[row.SKIMethod]++
			tbs := row.DER
			if row.EntryType == schema.PrecertEntry {
				tbs = tbsOf(row.Leaf)
			}
			ct, _ := ctx509.ParseCertificate(tbs)
			if row.EntryType == schema.PrecertEntry {
				ct, _ = ctx509.ParseTBSCertificate(tbs)
			}
			var spki struct {
				Algorithm asn1.RawValue
				Key       asn1.BitString
			}
			if ct == nil {
				continue
			}
			if _, err := asn1.Unmarshal(ct.RawSubjectPublicKeyInfo, &spki); err != nil {
				continue
			}
			want := schema.SKIOther
			h1, h256 := sha1.Sum(spki.Key.Bytes), sha256.Sum256(spki.Key.Bytes)
			switch string(row.SKI) {
			case string(h1[:]):
				want = schema.SKISHA1
			case string(h256[:20]):
				want = schema.SKISHA256
			}
			if row.SKIMethod != want {
				t.Errorf("%s %d: the identifier %x is by method %d, want %d", name, i, row.SKI, row.SKIMethod, want)
			}
			if want == schema.SKIOther || i%8 > 0 { // each takes time
				continue
			}
			for _, bit := range []int{0, 8*len(row.SKI) - 1} {
				tampered := slices.Clone(row.SKI)
				tampered[bit/8] ^= 0x80 >> (bit % 8)
				in := *sets[name][i]
				in.Leaf = bytes.ReplaceAll(in.Leaf, row.SKI, tampered)
				if got := parse(&in); got.SKIMethod != schema.SKIOther || !bytes.Equal(got.SKI, tampered) {
					t.Errorf("%s %d: the identifier %x, in which bit %d is another, is by method %d", name, i, got.SKI, bit, got.SKIMethod)
				}
			}
		}
		t.Logf("%s: of %d, %d SHA-1, %d SHA-256, %d others", name, len(rows), count[1], count[2], count[0])
		for method, n := range least {
			if count[method] < n {
				t.Errorf("%s: %d identifiers by method %d, want at least %d", name, count[method], method, n)
			}
		}
	}
}
