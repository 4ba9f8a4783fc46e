package cert

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	stdx509 "crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"ctappliance/schema"

	ctx509 "github.com/google/certificate-transparency-go/x509"
)

func parse(in *Input) *schema.Row {
	row := new(schema.Row)
	Parse(in, row)
	return row
}

// TestEnvelope parses leaves that are not what RFC 6962 section 3.4 says.
func TestEnvelope(t *testing.T) {
	good := x509Leaf(spec{}.cert())
	set := func(at int, b ...byte) []byte {
		l := slices.Clone(good)
		copy(l[at:], b)
		return l
	}
	pre := precertLeaf(testIssuer, spec{}.tbs())
	for _, c := range []struct {
		name   string
		leaf   []byte
		status schema.Status
		typ    schema.EntryType
		flags  Flag
		time   uint64
	}{
		{"good", good, schema.StatusOK, schema.X509Entry, 0, 1_700_000_000_000},
		{"static log's extension", slices.Concat(good[:len(good)-2], []byte{0, 8, 0, 0, 5, 0, 0, 0, 0, 42}), schema.StatusOK, schema.X509Entry, 0, 1_700_000_000_000},
		{"empty", nil, refused, schema.UnknownEntry, LeafBad, 0},
		{"eleven bytes", good[:11], refused, schema.UnknownEntry, LeafBad, 0},
		{"version 1", set(0, 1), refused, schema.UnknownEntry, UnknownLeaf, 0},
		{"leaf type 1", set(1, 1), refused, schema.UnknownEntry, UnknownLeaf, 0},
		{"entry type 2", set(10, 0, 2), refused, schema.UnknownEntry, UnknownLeaf, 1_700_000_000_000},
		{"entry type 0x8000", set(10, 0x80, 0), refused, schema.UnknownEntry, UnknownLeaf, 1_700_000_000_000},
		{"no length", good[:14], refused, schema.X509Entry, LeafBad, 1_700_000_000_000},
		{"certificate longer than the leaf", set(12, 0xff), refused, schema.X509Entry, LeafBad, 1_700_000_000_000},
		{"no key hash", pre[:40], refused, schema.UnknownEntry, LeafBad, 1_700_000_000_000},
		{"no extensions", good[:len(good)-2], odd, schema.X509Entry, LeafBad, 1_700_000_000_000},
		{"bytes after the extensions", append(slices.Clone(good), 0), odd, schema.X509Entry, LeafBad, 1_700_000_000_000},
		{"extensions longer than the leaf", set(len(good)-1, 1), odd, schema.X509Entry, LeafBad, 1_700_000_000_000},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := x509Input(nil)
			in.Leaf = c.leaf
			row := parse(in)
			if row.Status != c.status || row.EntryType != c.typ || Flag(row.Flags) != c.flags || row.Timestamp != c.time {
				t.Errorf("status %d, type %d, flags %v, time %d; want %d, %d, %v, %d", row.Status, row.EntryType, Flag(row.Flags), row.Timestamp, c.status, c.typ, c.flags, c.time)
			}
			if !bytes.Equal(row.Leaf, c.leaf) || row.LogID != 7 || row.Index != 42 || len(row.Chain) != 1 {
				t.Error("the envelope is not kept")
			}
			if c.status == refused {
				if h := sha256.Sum256(c.leaf); row.TBSID != [16]byte(h[:16]) {
					t.Error("TBSID is not the hash of the leaf")
				}
				if c.typ == schema.UnknownEntry && !bytes.Equal(row.DER, c.leaf) {
					t.Error("the bytes are not kept")
				}
			}
			checkInvariants(t, row)
		})
	}
}

// TestRowIsReset makes sure that nothing of the row before stays.
func TestRowIsReset(t *testing.T) {
	row := parseX509(weirdCerts[0].der)
	in := x509Input(nil)
	in.Leaf = []byte{1}
	Parse(in, row)
	if len(row.DNSNames) != 0 || row.Serial != nil || row.Status != refused || row.PathLen != -1 {
		t.Errorf("left over: %+v", row)
	}
}

// TestRowsAreApart parses many entries into rows that are all kept, and finds
// each as it was: rows share no memory that is written to again.
func TestRowsAreApart(t *testing.T) {
	var rows []schema.Row
	var row schema.Row
	for i := range 200 {
		s := spec{
			subject: name(cn(tagUTF8, fmt.Sprint("subject ", i))),
			issuer:  name(cn(tagUTF8, fmt.Sprint("issuer ", i%7))),
			exts:    [][]byte{san(dns(fmt.Sprintf("%d.example.com", i)), dns("b")), ext("2.5.29.37", tlv(tagSeq, oid(fmt.Sprint("1.2.", i)))), sctExt},
		}
		Parse(x509Input(s.cert()), &row)
		rows = append(rows, row)
	}
	for i, r := range rows {
		got := fmt.Sprintf("%s %s %q %q %q", r.Subject.Text, r.Issuer.Text, r.DNSNames, r.ExtKeyUsage, r.Extensions)
		want := fmt.Sprintf(`CN=subject %d CN=issuer %d ["%d.example.com" "b"] ["1.2.%d"] ["2.5.29.17" "2.5.29.37" "1.3.6.1.4.1.11129.2.4.2"]`, i, i%7, i, i)
		if got != want {
			t.Fatalf("row %d is %s, want %s", i, got, want)
		}
	}
}

// TestConcurrent parses the same entries in several goroutines.
func TestConcurrent(t *testing.T) {
	entries := goldenEntries(t)
	want := map[string]string{}
	for name, in := range entries {
		want[name] = fmt.Sprintf("%+v", *parse(in))
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 50 {
				for name, in := range entries {
					if got := fmt.Sprintf("%+v", *parse(in)); got != want[name] {
						t.Errorf("%s: got %s, want %s", name, got, want[name])
						return
					}
				}
			}
		})
	}
	wg.Wait()
}

// TestPanic makes the parser panic and expects a row all the same.
func TestPanic(t *testing.T) {
	testHookParse = func(*Input) { panic("a defect") }
	defer func() { testHookParse = nil }()
	in := x509Input(spec{}.cert())
	row := parse(in)
	if row.Status != refused || !Flag(row.Flags).Has(Panic) || row.Error != "parser panic: a defect" || !bytes.Equal(row.DER, spec{}.cert()) {
		t.Errorf("%d %v %q", row.Status, Flag(row.Flags), row.Error)
	}
	if row.Fingerprint != sha256.Sum256(row.DER) || row.Timestamp != 1_700_000_000_000 {
		t.Error("the envelope is not kept")
	}
}

// TestIssuerKeyHash finds the issuer of x509 entries.
func TestIssuerKeyHash(t *testing.T) {
	self := spec{subject: name(cn(tagUTF8, "root")), issuer: name(cn(tagUTF8, "root"))}
	own := sha256.Sum256(p256Key)
	known := func(h schema.Hash) (schema.Hash, bool) { return testIssuer, h == schema.Hash{0xcc} }
	ids := func(ski, aki string) [][]byte {
		return [][]byte{ext("2.5.29.14", str(tagOctets, ski)), ext("2.5.29.35", tlv(tagSeq, str(0x80, aki)))}
	}
	for _, c := range []struct {
		name   string
		spec   spec
		chain  []schema.Hash
		issuer func(schema.Hash) (schema.Hash, bool)
		want   schema.Hash
	}{
		{"known", spec{}, []schema.Hash{{0xcc}, {0xdd}}, known, testIssuer},
		{"unknown", spec{}, []schema.Hash{{0xdd}, {0xcc}}, known, schema.Hash{}},
		{"nobody to ask", spec{}, []schema.Hash{{0xcc}}, nil, schema.Hash{}},
		{"no chain, not self-signed", spec{}, nil, known, schema.Hash{}},
		{"no chain, self-signed", self, nil, known, own},
		{"no chain, self-signed, own key named", spec{subject: self.subject, issuer: self.issuer, exts: ids("a", "a")}, nil, known, own},
		{"no chain, same name, other key", spec{subject: self.subject, issuer: self.issuer, exts: ids("a", "b")}, nil, known, schema.Hash{}},
		{"chain of itself", self, []schema.Hash{sha256.Sum256(self.cert())}, nil, own},
		{"self-signed with a chain", self, []schema.Hash{{0xcc}}, known, testIssuer},
	} {
		row := parse(&Input{Leaf: x509Leaf(c.spec.cert()), Chain: c.chain, Issuer: c.issuer})
		if row.IssuerKeyHash != c.want {
			t.Errorf("%s: %x, want %x", c.name, row.IssuerKeyHash[:4], c.want[:4])
		}
		if Flag(row.Flags).Has(NoIssuer) != (c.want == schema.Hash{}) {
			t.Errorf("%s: flags %v", c.name, Flag(row.Flags))
		}
		if row.SPKI != own {
			t.Errorf("%s: SPKI %x", c.name, row.SPKI)
		}
	}
}

// pair makes the entries of a precertificate and of its final certificate. The
// leaf's TBSCertificate is made by ct-go, as most logs do.
func pair(t testing.TB, pre, final spec) (precert, x509 *Input) {
	t.Helper()
	tbs, err := ctx509.RemoveCTPoison(pre.tbs())
	if err != nil {
		t.Fatal(err)
	}
	return &Input{Leaf: precertLeaf(testIssuer, tbs), Precert: pre.cert()}, x509Input(final.cert())
}

func insert(exts [][]byte, at int, e []byte) [][]byte {
	return slices.Insert(slices.Clone(exts), at, e)
}

// TestPairs gives precertificates and their certificates the same TBSID,
// wherever poison and SCT list stand and whatever lengths change.
func TestPairs(t *testing.T) {
	// both says that the precertificate carries an SCT list itself.
	check := func(name string, pre, final spec, both bool) {
		a, b := pair(t, pre, final)
		p, f := parse(a), parse(b)
		if Flag(p.Flags).Has(TBSDiffers) || !p.Poison || f.Poison {
			t.Errorf("%s: precert flags %v, poison %v, %v", name, Flag(p.Flags), p.Poison, f.Poison)
		}
		if p.TBSID != f.TBSID {
			t.Errorf("%s: TBSID %x and %x", name, p.TBSID, f.TBSID)
		}
		h := sha256.Sum256(append(testIssuer[:], tbsOf(a.Leaf)...))
		if !both && p.TBSID != [16]byte(h[:16]) {
			t.Errorf("%s: TBSID of the precert is not the hash of key hash and leaf TBS", name)
		}
	}
	base := [][]byte{san(dns("example.com")), ext("2.5.29.37", tlv(tagSeq, oid("1.3.6.1.5.5.7.3.1")))}
	for i := range 3 {
		for j := range 3 {
			check(fmt.Sprintf("poison at %d, SCTs at %d", i, j), spec{exts: insert(base, i, poisonExt)}, spec{exts: insert(base, j, sctExt)}, false)
		}
	}
	check("nothing but poison and SCTs", spec{exts: [][]byte{poisonExt}}, spec{exts: [][]byte{sctExt}}, false)
	check("no SCT list in the certificate", spec{exts: [][]byte{base[0], poisonExt}}, spec{exts: [][]byte{base[0]}}, false)
	check("an SCT list in the precertificate", spec{exts: [][]byte{base[0], poisonExt, base[1], sctExt}}, spec{exts: base}, true)
	// Every length at which an outer length needs another octet.
	for _, n := range slices.Concat(lengths(0, 300), lengths(65_100, 65_560)) {
		if testing.Short() && n%7 != 0 {
			continue
		}
		pad := ext("1.2.3.4", bytes.Repeat([]byte{'x'}, n))
		check(fmt.Sprint("padding ", n), spec{exts: [][]byte{pad, poisonExt}}, spec{exts: [][]byte{pad, sctExt}}, false)
	}

	// Logs write the dates of a leaf anew: ct-go does.
	gt := validity(tagGenTime, "20261101000000Z", "20270301000000Z")
	mixed := tlv(tagSeq, str(tagGenTime, "20261101000000Z"), str(tagGenTime, "20550301000000Z"))
	for name, v := range map[string][]byte{"GeneralizedTime": gt, "one GeneralizedTime": mixed} {
		a, b := pair(t, spec{validity: v, exts: insert(base, 0, poisonExt)}, spec{validity: v, exts: insert(base, 0, sctExt)})
		p, f := parse(a), parse(b)
		if p.TBSID != f.TBSID || !Flag(p.Flags).Has(TBSDiffers) || !Flag(f.Flags).Has(TimeGT) {
			t.Errorf("%s: TBSID %x and %x, flags %v and %v", name, p.TBSID, f.TBSID, Flag(p.Flags), Flag(f.Flags))
		}
		if h := sha256.Sum256(append(testIssuer[:], tbsOf(a.Leaf)...)); p.TBSID != [16]byte(h[:16]) {
			t.Errorf("%s: TBSID of the precert is not the hash of key hash and leaf TBS", name)
		}
	}

	// Another issuer key is another certificate.
	a, b := pair(t, spec{exts: insert(base, 0, poisonExt)}, spec{exts: insert(base, 0, sctExt)})
	b.Issuer = func(schema.Hash) (schema.Hash, bool) { return schema.Hash{9}, true }
	if parse(a).TBSID == parse(b).TBSID {
		t.Error("TBSID does not depend on the issuer's key")
	}
}

func lengths(from, to int) (out []int) {
	for n := from; n < to; n++ {
		out = append(out, n)
	}
	return out
}

// TestPairByLibrary makes the pair with crypto/x509.
func TestPairByLibrary(t *testing.T) {
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, 32))
	ca := &stdx509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "CA"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Unix(1_700_000_000, 0), NotAfter: time.Unix(1_800_000_000, 0), KeyUsage: stdx509.KeyUsageCertSign, SubjectKeyId: []byte{1, 2, 3},
	}
	caDER, err := stdx509.CreateCertificate(nil, ca, ca, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	issuer := ParseIssuer(caDER)
	if issuer.Error != "" || !issuer.IsCA || !issuer.SelfSigned || issuer.Subject.Text != "CN=CA" || !bytes.Equal(issuer.SKI, []byte{1, 2, 3}) ||
		issuer.NotBefore != 1_700_000_000 || issuer.NotAfter != 1_800_000_000 || issuer.Fingerprint != sha256.Sum256(caDER) {
		t.Errorf("issuer %+v", issuer)
	}
	make := func(e pkix.Extension) []byte {
		tmpl := &stdx509.Certificate{
			SerialNumber: big.NewInt(77), Subject: pkix.Name{CommonName: "example.com"}, DNSNames: []string{"example.com"},
			NotBefore: ca.NotBefore, NotAfter: ca.NotAfter, ExtraExtensions: []pkix.Extension{e},
		}
		der, err := stdx509.CreateCertificate(nil, tmpl, ca, key.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	list, err := asn1.Marshal(sctListOf(sct(5)))
	if err != nil {
		t.Fatal(err)
	}
	pre := make(pkix.Extension{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11129, 2, 4, 3}, Critical: true, Value: []byte{5, 0}})
	final := make(pkix.Extension{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11129, 2, 4, 2}, Value: list})
	c, err := ctx509.ParseCertificate(pre)
	if c == nil {
		t.Fatal(err)
	}
	tbs, err := ctx509.RemoveCTPoison(c.RawTBSCertificate)
	if err != nil {
		t.Fatal(err)
	}
	p := parse(&Input{Leaf: precertLeaf(issuer.SPKI, tbs), Precert: pre})
	f := parse(&Input{Leaf: x509Leaf(final), Chain: []schema.Hash{issuer.Fingerprint}, Issuer: func(h schema.Hash) (schema.Hash, bool) {
		return issuer.SPKI, h == issuer.Fingerprint
	}})
	if p.Status != schema.StatusOK || f.Status != schema.StatusOK {
		t.Errorf("flags %v and %v", Flag(p.Flags), Flag(f.Flags))
	}
	if p.TBSID != f.TBSID || p.IssuerKeyHash != f.IssuerKeyHash {
		t.Errorf("TBSID %x and %x", p.TBSID, f.TBSID)
	}
	if p.Fingerprint != sha256.Sum256(pre) || f.Fingerprint != sha256.Sum256(final) {
		t.Error("fingerprints")
	}
	if len(f.SCTs) != 1 || len(p.SCTs) != 0 || !bytes.Equal(p.Serial, []byte{77}) {
		t.Errorf("SCTs %v, %v, serial %x", p.SCTs, f.SCTs, p.Serial)
	}
}

// TestRealPairs looks for pairs among the certificates of real logs: same
// issuer and serial, one poisoned and one not.
func TestRealPairs(t *testing.T) {
	type half struct{ pre, final *schema.Row }
	found := map[string]*half{}
	for _, c := range liveCerts(t) {
		in := asEntry(c.der)
		row := parse(in)
		k := string(row.Issuer.Raw) + string(row.Serial)
		if found[k] == nil {
			found[k] = &half{}
		}
		if in.Precert != nil {
			found[k].pre = row
		} else {
			found[k].final = row
		}
	}
	n := 0
	for _, h := range found {
		if h.pre == nil || h.final == nil {
			continue
		}
		n++
		if h.pre.TBSID != h.final.TBSID {
			t.Errorf("%s %x: TBSID %x and %x", h.pre.Subject.Text, h.pre.Serial, h.pre.TBSID, h.final.TBSID)
		}
	}
	t.Logf("%d real pairs among %d certificates", n, len(found))
}

// TestPrecert compares leaf and submitted precertificate.
func TestPrecert(t *testing.T) {
	pre := spec{exts: [][]byte{san(dns("a.example.com")), poisonExt}}
	leafTBS := spec{exts: [][]byte{san(dns("a.example.com"))}}.tbs()
	other := spec{exts: [][]byte{san(dns("evil.example.com")), poisonExt}}
	for _, c := range []struct {
		name    string
		leaf    []byte
		precert []byte
		flags   Flag
		poison  bool
	}{
		{"same", leafTBS, pre.cert(), 0, true},
		{"another name", leafTBS, other.cert(), TBSDiffers, true},
		{"one byte more", append(slices.Clone(leafTBS), 0), pre.cert(), TBSDiffers | TrailingData, true},
		{"not poisoned", leafTBS, spec{exts: [][]byte{san(dns("a.example.com"))}}.cert(), PoisonOdd, false},
		{"poison in the leaf too", pre.tbs(), pre.cert(), TBSDiffers, true},
		{"none", leafTBS, nil, PrecertBad, false},
		{"garbage", leafTBS, []byte("garbage"), PrecertBad, false},
		{"other outer algorithm", leafTBS, spec{exts: pre.exts, outerAlg: rsaSHA256}.cert(), SigMismatch, true},
		{"bytes after it", leafTBS, append(pre.cert(), 0), TrailingData, true},
		{"extensions broken", leafTBS, spec{extList: tlv(0xa3, tlv(tagSeq, poisonExt, []byte{0x30, 9}))}.cert(), TBSDiffers, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			row := parse(&Input{Leaf: precertLeaf(testIssuer, c.leaf), Precert: c.precert})
			if got := Flag(row.Flags); got != c.flags {
				t.Errorf("flags %v, want %v", got, c.flags)
			}
			if row.Poison != c.poison {
				t.Errorf("poison %v", row.Poison)
			}
			// Only the leaf is authenticated: the columns are its.
			if !slices.Equal(row.DNSNames, []string{"a.example.com"}) || row.IssuerKeyHash != testIssuer {
				t.Errorf("names %q, issuer %x", row.DNSNames, row.IssuerKeyHash[:3])
			}
			if !bytes.Equal(row.DER, c.precert) {
				t.Error("DER is not what was submitted")
			}
			checkInvariants(t, row)
		})
	}
}

// TestPrecertSigningCertificate has a precertificate issued by another name
// and key than the certificate will be (RFC 6962 section 3.1).
func TestPrecertSigningCertificate(t *testing.T) {
	aki := func(s string) []byte { return ext("2.5.29.35", tlv(tagSeq, str(0x80, s))) }
	issuer := name(cn(tagUTF8, "Precert Signer"))
	pre := spec{issuer: issuer, exts: [][]byte{san(dns("a.example.com")), aki("signer"), poisonExt}}
	final := spec{exts: [][]byte{san(dns("a.example.com")), aki("issuer"), sctExt}}
	leaf := spec{exts: [][]byte{san(dns("a.example.com")), aki("issuer")}}
	p := parse(&Input{Leaf: precertLeaf(testIssuer, leaf.tbs()), Precert: pre.cert()})
	f := parse(x509Input(final.cert()))
	if Flag(p.Flags) != TBSDiffers || p.TBSID != f.TBSID {
		t.Errorf("flags %v, TBSID %x and %x", Flag(p.Flags), p.TBSID, f.TBSID)
	}
	if string(p.AKI) != "issuer" || p.Issuer.Text != f.Issuer.Text {
		t.Errorf("issuer %s, AKI %q: not those of the leaf", p.Issuer.Text, p.AKI)
	}
	signer := ParseIssuer(spec{exts: [][]byte{ext("2.5.29.37", tlv(tagSeq, oid(precertSigningEKU)))}}.cert())
	if !signer.PrecertSigns || ParseIssuer(spec{}.cert()).PrecertSigns {
		t.Error("PrecertSigns")
	}
}

// TestParseIssuer reads chain certificates, good and bad.
func TestParseIssuer(t *testing.T) {
	for _, w := range weirdCerts {
		iss := ParseIssuer(w.der)
		row := parseX509(w.der)
		if iss.Fingerprint != sha256.Sum256(w.der) || !bytes.Equal(iss.DER, w.der) {
			t.Errorf("%s: fingerprint or DER", w.name)
		}
		if iss.Error != row.Error || iss.SPKI != row.SPKI || iss.Subject.Text != row.Subject.Text || iss.IssuerName.Text != row.Issuer.Text ||
			iss.NotBefore != row.NotBefore || iss.IsCA != row.IsCA {
			t.Errorf("%s: %+v", w.name, iss)
		}
	}
	if iss := ParseIssuer(make([]byte, MaxCertificate+1)); !strings.Contains(iss.Error, "larger") {
		t.Errorf("oversize: %q", iss.Error)
	}
	for _, c := range []struct {
		exts [][]byte
		want bool
	}{
		{[][]byte{}, true},
		{[][]byte{ext("2.5.29.14", str(tagOctets, "a")), ext("2.5.29.35", tlv(tagSeq, str(0x80, "a")))}, true},
		{[][]byte{ext("2.5.29.14", str(tagOctets, "a")), ext("2.5.29.35", tlv(tagSeq, str(0x80, "b")))}, false},
	} {
		n := name(cn(tagUTF8, "root"))
		if got := ParseIssuer((spec{issuer: n, subject: n, exts: c.exts}).cert()).SelfSigned; got != c.want {
			t.Errorf("self-signed with %d extensions: %v", len(c.exts), got)
		}
	}
}
