package store_test

import (
	"archive/tar"
	"compress/gzip"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	ctx509 "github.com/google/certificate-transparency-go/x509"

	"ctappliance/ingest/cert"
	"ctappliance/schema"
	"ctappliance/store"
	"ctappliance/store/engine/enginetest"
)

// corpusDir returns the folder of certificates, which is not part of the
// project: $CTAPPLIANCE_DATA/certs, or ../shared/data/certs beside the folder
// that holds go.mod.
func corpusDir(t testing.TB) string {
	t.Helper()
	dir := os.Getenv("CTAPPLIANCE_DATA")
	if dir == "" {
		wd, err := os.Getwd()
		if err != nil {
			t.Fatal(err)
		}
		dir = filepath.Join(filepath.Dir(filepath.Dir(wd)), "shared", "data")
	}
	dir = filepath.Join(dir, "certs")
	if _, err := os.Stat(dir); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("no real data: %v; set CTAPPLIANCE_DATA", err)
		}
		t.Skipf("no real data: %v; set CTAPPLIANCE_DATA to run this test", err)
	}
	return dir
}

// tarred returns the files of a .tar.gz in order.
func tarred(t testing.TB, path string) (files [][]byte) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	r := tar.NewReader(z)
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Typeflag != tar.TypeReg {
			continue
		}
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, b)
	}
}

// leafOf builds a MerkleTreeLeaf (RFC 6962 section 3.4); body is what stands
// between the entry type and the certificate: nothing, or the issuer key hash.
func leafOf(entryType byte, body, der []byte) []byte {
	b := binary.BigEndian.AppendUint64([]byte{0, 0}, 1_700_000_000_000)
	b = append(append(b, 0, entryType), body...)
	b = append(b, byte(len(der)>>16), byte(len(der)>>8), byte(len(der)))
	return append(append(b, der...), 0, 0)
}

// corpusEntry is an entry of the corpora as one of four logs holds it, and
// what ct-go reads out of the same bytes: nil if nothing.
type corpusEntry struct {
	row *schema.Row
	ct  *ctx509.Certificate
}

// The logs of the test: two corpora, each once as x509 entries, and those
// certificates that are poisoned once more as precert entries.
var corpusLogs = []struct {
	name    string
	file    string
	precert bool
	least   int // entries
}{
	{"odd, x509", "odd-certificates.tar.gz", false, 1787},
	{"live, x509", "live-certificates.tar.gz", false, 1105},
	{"odd, precert", "odd-certificates.tar.gz", true, 10},
	{"live, precert", "live-certificates.tar.gz", true, 100},
}

// readCorpus parses the certificates of a log of corpusLogs.
func readCorpus(t testing.TB, n int) []corpusEntry {
	t.Helper()
	issuer := schema.Hash{1, 2, 3}
	var entries []corpusEntry
	for _, der := range tarred(t, filepath.Join(corpusDir(t), corpusLogs[n].file)) {
		// The second value says what is odd; where there is no certificate,
		// the first is nil.
		ct, _ := ctx509.ParseCertificate(der)
		in := cert.Input{LogID: uint64(n + 1), Index: uint64(len(entries)), Leaf: leafOf(0, nil, der), Chain: []schema.Hash{{0xcc}},
			Issuer: func(schema.Hash) (schema.Hash, bool) { return issuer, true }}
		if corpusLogs[n].precert {
			if ct == nil {
				continue
			}
			tbs, err := ctx509.RemoveCTPoison(ct.RawTBSCertificate)
			if err != nil {
				continue // not poisoned
			}
			in.Leaf, in.Precert = leafOf(1, issuer[:], tbs), der
			ct, _ = ctx509.ParseTBSCertificate(tbs)
		}
		e := corpusEntry{new(schema.Row), ct}
		cert.Parse(&in, e.row)
		entries = append(entries, e)
	}
	return entries
}

// shown is a certificate as the view certificates shows it.
type shown struct {
	serial, issuer, subject, keyType, spki, signature string
	notBefore, notAfter, sha256                       string
	names, others                                     []string
}

// TestCorpora sends every certificate of the corpora, the odd ones and those
// of real logs, through parser and store and reads it back: each has its ledger
// row, what is not ok has its bytes in problems, and nothing that ct-go reads
// is missing from the view.
func TestCorpora(t *testing.T) {
	corpusDir(t)
	e := enginetest.StartEngine(t)
	s, err := store.Open(t.Context(), store.Config{Embedded: e, Database: "t"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()

	var all []corpusEntry
	count := map[string]uint64{} // by status
	names := []string{"ok", "odd", "partial", "refused", "oversize"}
	t.Logf("%-14s %8s %8s %8s %8s %8s %8s", "log", "entries", "ok", "odd", "partial", "refused", "oversize")
	for n, log := range corpusLogs {
		entries := readCorpus(t, n)
		if len(entries) < log.least {
			t.Errorf("%s: %d entries, want %d or more", log.name, len(entries), log.least)
		}
		var of [5]int
		for _, e := range entries {
			of[e.row.Status]++
			count[names[e.row.Status]]++
		}
		t.Logf("%-14s %8d %8d %8d %8d %8d %8d", log.name, len(entries), of[0], of[1], of[2], of[3], of[4])
		all = append(all, entries...)
	}

	// Flushes of a size that does not fit the logs.
	var ranges []schema.Range
	var rows []*schema.Row
	for from := 0; from < len(all); from += 700 {
		f := &schema.Flush{ID: uint64(from + 1)}
		for _, e := range all[from:min(from+700, len(all))] {
			r := e.row
			if k := len(f.Ranges); k > 0 && f.Ranges[k-1].Log == r.LogID {
				f.Ranges[k-1].To++
			} else {
				f.Ranges = append(f.Ranges, schema.Range{Log: r.LogID, From: r.Index, To: r.Index + 1})
			}
			f.Rows = append(f.Rows, r)
		}
		if err := s.InsertDependents(t.Context(), f); err != nil {
			t.Fatal(err)
		}
		if err := s.InsertLedger(t.Context(), f, nil); err != nil {
			t.Fatal(err)
		}
		ranges = append(ranges, f.Ranges...)
		rows = append(rows, f.Rows...)
	}

	proofs, err := s.Prove(t.Context(), ranges)
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range proofs {
		if p.Count != ranges[i].Len() || p.Unique != p.Count || p.XOR != store.XOR(rows, ranges[i]) {
			t.Errorf("the ledger holds %+v, not the %d rows that were sent", p, ranges[i].Len())
		}
	}

	sum, err := s.Summary(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var inLedger uint64
	for _, st := range sum.Statuses {
		if st.Entries != count[st.Status] {
			t.Errorf("status %s: the ledger has %d entries, the parser made %d", st.Status, st.Entries, count[st.Status])
		}
		inLedger += st.Entries
	}
	if inLedger != uint64(len(all)) {
		t.Errorf("the ledger has %d entries, want %d", inLedger, len(all))
	}
	if count["refused"] >= 200 {
		t.Errorf("%d certificates are refused, want fewer than 200", count["refused"])
	}
	for _, table := range sum.Tables {
		t.Logf("%-12s %6d rows %8d bytes", table.Name, table.Rows, table.Bytes)
	}

	checkProblems(t, s, all)
	checkShown(t, s, all)
}

// checkProblems fails the test unless problems holds the bytes of every entry
// that is not ok, and nothing else.
func checkProblems(t *testing.T, s *store.Store, all []corpusEntry) {
	t.Helper()
	got, err := s.Rows(t.Context(), "SELECT log_id, idx, leaf, der, toUInt8(status), error FROM t.problems FINAL")
	if err != nil {
		t.Fatal(err)
	}
	kept := map[string][]string{}
	for _, r := range got {
		kept[r[0]+" "+r[1]] = r[2:]
	}
	want := 0
	for _, e := range all {
		r := e.row
		key := fmt.Sprint(r.LogID, r.Index)
		k := kept[key]
		if r.Status == schema.StatusOK {
			if k != nil {
				t.Errorf("entry %s is ok, and in problems", key)
			}
			continue
		}
		want++
		if k == nil {
			t.Errorf("entry %s, status %d, is not in problems", key, r.Status)
			continue
		}
		if k[0] != string(r.Leaf) || k[1] != string(r.DER) || k[2] != fmt.Sprint(uint8(r.Status)) || k[3] != r.Error {
			t.Errorf("entry %s, status %d: problems has other bytes: leaf %d, want %d; der %d, want %d; status %s, error %q, want %q",
				key, r.Status, len(k[0]), len(r.Leaf), len(k[1]), len(r.DER), k[2], k[3], r.Error)
		}
		if len(k[0])+len(k[1]) == 0 {
			t.Errorf("entry %s, status %d: no bytes were kept", key, r.Status)
		}
	}
	if len(got) != want {
		t.Errorf("problems has %d rows, want %d", len(got), want)
	}
	t.Logf("problems: %d entries, bytes as sent", want)
}

// checkShown compares the view with what the parser said and with what ct-go
// says.
func checkShown(t *testing.T, s *store.Store, all []corpusEntry) {
	t.Helper()
	// The times as numbers: as text, DateTime64 ends in 2299.
	got, err := s.Rows(t.Context(), "SELECT id, serial_number, issuer, subject, key_type, spki_sha256_prefix, signature, reinterpret(not_before, 'Int64'), reinterpret(not_after, 'Int64'), sha256, arrayStringConcat(arrayMap(n -> concat(hex(n), '.'), names)), arrayStringConcat(arrayMap(o -> concat(hex(o.value), '.'), other_names)) FROM t.certificates")
	if err != nil {
		t.Fatal(err)
	}
	view := map[string]shown{}
	for _, r := range got {
		if _, twice := view[r[0]]; twice {
			t.Errorf("the view shows %s twice", r[0])
		}
		view[r[0]] = shown{r[1], r[2], r[3], r[4], r[5], r[6], r[7], r[8], r[9], hexList(t, r[10]), hexList(t, r[11])}
	}
	// Certificates that differ in their signature only are one certificate.
	seen := map[[16]byte]bool{}
	fingerprints := map[[16]byte][]string{}
	for _, e := range all {
		if e.row.EntryType == schema.X509Entry {
			fingerprints[e.row.TBSID] = append(fingerprints[e.row.TBSID], hex.EncodeToString(e.row.Fingerprint[:]))
		}
	}
	compared := 0
	for _, e := range all {
		r := e.row
		id := hex.EncodeToString(r.TBSID[:])
		at := fmt.Sprintf("log %d entry %d (%s)", r.LogID, r.Index, id)
		v, ok := view[id]
		if r.Status >= schema.StatusRefused {
			if e.ct != nil {
				t.Errorf("%s: ct-go reads it, we refuse it: %s", at, r.Error)
			}
			continue
		}
		seen[r.TBSID] = true
		if !ok {
			t.Errorf("%s is not in the view", at)
			continue
		}
		// As the parser said.
		for _, c := range []struct{ column, got, want string }{
			{"serial", v.serial, hex.EncodeToString(r.Serial)},
			{"issuer", v.issuer, r.Issuer.Text},
			{"subject", v.subject, r.Subject.Text},
			{"SPKI", v.spki, hex.EncodeToString(r.SPKI[:16])},
			{"not before", v.notBefore, fmt.Sprint(r.NotBefore)},
			{"not after", v.notAfter, fmt.Sprint(r.NotAfter)},
			{"names", fmt.Sprintf("%q", v.names), fmt.Sprintf("%q", r.DNSNames)},
		} {
			if c.got != c.want {
				t.Errorf("%s: %s is %.200q in the view, %.200q by the parser", at, c.column, c.got, c.want)
			}
		}
		if r.EntryType == schema.X509Entry && !slices.Contains(fingerprints[r.TBSID], v.sha256) {
			t.Errorf("%s: fingerprint %s is of no certificate with this TBS", at, v.sha256)
		}
		if e.ct == nil {
			continue
		}
		// Nothing that ct-go has is empty.
		compared++
		ct := e.ct
		empty := func(column string, they bool, we string) {
			if they && we == "" {
				t.Errorf("%s: ct-go has %s, the view has none", at, column)
			}
		}
		known := func(s string) string { return strings.TrimPrefix(s, "unknown") }
		empty("a serial number", ct.SerialNumber != nil, v.serial)
		empty("an issuer", ct.Issuer.String() != "", v.issuer)
		empty("a subject", ct.Subject.String() != "", v.subject)
		empty("a key algorithm", ct.PublicKeyAlgorithm != ctx509.UnknownPublicKeyAlgorithm, known(v.keyType))
		empty("a signature algorithm", ct.SignatureAlgorithm != ctx509.UnknownSignatureAlgorithm, known(v.signature))
		if cert.Flag(r.Flags).Has(cert.SANBad) {
			// ct-go takes a general name of the wrong class or form for a DNS
			// name. We keep it among the other names.
			for _, n := range ct.DNSNames {
				if !slices.Contains(v.names, n) && !slices.Contains(v.others, n) {
					t.Errorf("%s: ct-go has the DNS name %.100q, the view has it nowhere", at, n)
				}
			}
		} else {
			empty("DNS names", strings.Join(ct.DNSNames, "") != "", strings.Join(v.names, ""))
		}
		// What needs no interpretation is the same.
		spki := sha256.Sum256(ct.RawSubjectPublicKeyInfo)
		if v.spki != hex.EncodeToString(spki[:16]) {
			t.Errorf("%s: SPKI is %s, ct-go's is %x", at, v.spki, spki[:16])
		}
		if v.notBefore != fmt.Sprint(ct.NotBefore.Unix()) || v.notAfter != fmt.Sprint(ct.NotAfter.Unix()) {
			t.Errorf("%s: valid [%s,%s], by ct-go [%d,%d]", at, v.notBefore, v.notAfter, ct.NotBefore.Unix(), ct.NotAfter.Unix())
		}
		if octets, _ := hex.DecodeString(v.serial); integer(octets).Cmp(ct.SerialNumber) != 0 {
			t.Errorf("%s: serial %s, by ct-go %x", at, v.serial, ct.SerialNumber)
		}
		if r.Status == schema.StatusOK && !slices.Equal(v.names, ct.DNSNames) {
			t.Errorf("%s: names %.200q, by ct-go %.200q", at, v.names, ct.DNSNames)
		}
	}
	if len(view) != len(seen) {
		t.Errorf("the view shows %d certificates, want %d", len(view), len(seen))
	}
	t.Logf("view certificates: %d, no core column empty in %d entries that ct-go reads", len(view), compared)
	if compared < 2000 {
		t.Errorf("only %d entries were compared with ct-go", compared)
	}
}

// hexList reads hexadecimal values, each followed by a dot.
func hexList(t testing.TB, s string) (list []string) {
	t.Helper()
	for s != "" {
		var h string
		h, s, _ = strings.Cut(s, ".")
		b, err := hex.DecodeString(h)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, string(b))
	}
	return list
}

// integer is the value of an INTEGER's content octets.
func integer(b []byte) *big.Int {
	n := new(big.Int).SetBytes(b)
	if len(b) > 0 && b[0] >= 0x80 {
		n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(len(b))*8))
	}
	return n
}
