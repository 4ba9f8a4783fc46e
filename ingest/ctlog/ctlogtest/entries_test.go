package ctlogtest

import (
	"bytes"
	"crypto/sha256"
	stdx509 "crypto/x509"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	ct "github.com/google/certificate-transparency-go"
	"github.com/google/certificate-transparency-go/x509"
)

func newTestCorpus(t testing.TB, o CorpusOptions) *Corpus {
	t.Helper()
	c, err := NewCorpus(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// leafEntry puts entry i into the form in which a get-entries client holds it.
func leafEntry(c *Corpus, i uint64) *ct.LeafEntry {
	e := c.Entry(i)
	return &ct.LeafEntry{LeafInput: e.appendLeaf(nil, RFC6962, i), ExtraData: e.appendExtra(nil, c.h)}
}

// Generated entries are what a log may hold: they decode and parse, the leaf
// of a precertificate is its TBS without the poison, its issuer key hash is
// its issuer's, and every signature along the chain verifies.
func TestEntriesAreSound(t *testing.T) {
	t.Parallel()
	c := newTestCorpus(t, CorpusOptions{Seed: 7})
	const n = 1600
	seen := map[string]int{}
	tbs := map[[32]byte]uint64{}
	for i := range uint64(n) {
		le, err := ct.LogEntryFromLeaf(int64(i), leafEntry(c, i))
		if err != nil {
			t.Fatalf("entry %d: %v", i, err)
		}
		e := c.Entry(i)
		chain := c.Chain(e)
		issuer, err := stdx509.ParseCertificate(chain[0])
		if err != nil {
			t.Fatalf("entry %d: issuer: %v", i, err)
		}
		if le.Precert != nil {
			seen["precert"]++
			p := le.Precert
			var preIssuer *x509.Certificate
			final := issuer
			if isPreissuer(issuer) {
				seen["preissuer"]++
				if preIssuer, err = x509.ParseCertificate(chain[0]); err != nil {
					t.Fatal(err)
				}
				if final, err = stdx509.ParseCertificate(chain[1]); err != nil {
					t.Fatal(err)
				}
			}
			submitted, err := x509.ParseCertificate(p.Submitted.Data)
			if err != nil {
				t.Fatalf("entry %d: submitted: %v", i, err)
			}
			want, err := x509.BuildPrecertTBS(submitted.RawTBSCertificate, preIssuer)
			if err != nil {
				t.Fatalf("entry %d: %v", i, err)
			}
			if !bytes.Equal(want, e.Body) {
				t.Errorf("entry %d: leaf TBS is not the submitted one without poison\n got %x\nwant %x", i, e.Body, want)
			}
			if got := sha256.Sum256(final.RawSubjectPublicKeyInfo); got != p.IssuerKeyHash {
				t.Errorf("entry %d: issuer key hash %x, want %x", i, p.IssuerKeyHash, got)
			}
			tbs[sha256.Sum256(e.Body)] = i
		} else {
			seen["final"]++
			cert := le.X509Cert
			bare, err := x509.RemoveSCTList(cert.RawTBSCertificate)
			if err != nil {
				t.Fatalf("entry %d: %v", i, err)
			}
			if _, ok := tbs[sha256.Sum256(bare)]; ok {
				seen["paired"]++
			} else if i > 2*lag*roundSize {
				t.Errorf("entry %d: a final certificate without its precertificate", i)
			}
			if len(cert.SCTList.SCTList) < 2 {
				t.Errorf("entry %d: %d SCTs", i, len(cert.SCTList.SCTList))
			}
			std, err := stdx509.ParseCertificate(cert.Raw)
			if err != nil {
				t.Fatalf("entry %d: crypto/x509: %v", i, err)
			}
			if i%8 == 0 {
				if err := std.CheckSignatureFrom(issuer); err != nil {
					t.Errorf("entry %d: %v", i, err)
				}
			}
			seen[fmt.Sprint(std.PublicKeyAlgorithm)]++
			seen[fmt.Sprint(std.SignatureAlgorithm)]++
			switch n := len(std.DNSNames); {
			case n <= 3:
				seen["names 1-3"]++
			case n > 50:
				seen["names >50"]++
			}
		}
		if e.Precert && i%8 == 0 {
			std, err := stdx509.ParseCertificate(e.Submitted)
			if err != nil {
				t.Fatalf("entry %d: precertificate: %v", i, err)
			}
			if err := issuer.CheckSignature(std.SignatureAlgorithm, std.RawTBSCertificate, std.Signature); err != nil {
				t.Errorf("entry %d: precertificate: %v", i, err)
			}
		}
	}
	t.Log(seen)
	for what, atLeast := range map[string]int{"precert": n * 59 / 100, "final": n * 39 / 100, "paired": n * 37 / 100, "preissuer": 4,
		"RSA": 250, "ECDSA": 250, "SHA256-RSA": 150, "ECDSA-SHA256": 250, "ECDSA-SHA384": 10, "names 1-3": 350, "names >50": 4} {
		if seen[what] < atLeast {
			t.Errorf("%d × %s among %d entries, want at least %d", seen[what], what, n, atLeast)
		}
	}
	for _, der := range c.Issuers() {
		if _, err := stdx509.ParseCertificate(der); err != nil {
			t.Errorf("issuer: %v", err)
		}
	}
}

func isPreissuer(c *stdx509.Certificate) bool {
	for _, u := range c.UnknownExtKeyUsage {
		if u.String() == "1.3.6.1.4.1.11129.2.4.4" {
			return true
		}
	}
	return false
}

// CAs certify each other as their chains say.
func TestChainsVerify(t *testing.T) {
	t.Parallel()
	h := newHierarchy(3)
	for _, a := range h.issuers {
		chains := [][]int{a.chain}
		if a.preissuer != nil {
			chains = append(chains, a.preissuer.chain)
		}
		for _, chain := range chains {
			for i := 0; i+1 < len(chain); i++ {
				child, err := stdx509.ParseCertificate(h.certs[chain[i]])
				if err != nil {
					t.Fatal(err)
				}
				parent, err := stdx509.ParseCertificate(h.certs[chain[i+1]])
				if err != nil {
					t.Fatal(err)
				}
				if err := child.CheckSignatureFrom(parent); err != nil {
					t.Errorf("%s by %s: %v", child.Subject, parent.Subject, err)
				}
			}
		}
	}
}

// The same options give the same bytes, others give others.
func TestDeterminism(t *testing.T) {
	t.Parallel()
	digest := func(o CorpusOptions, from uint64) [32]byte {
		c := newTestCorpus(t, o)
		h := sha256.New()
		for i := from; i < from+300; i++ {
			e := c.Entry(i)
			h.Write(e.appendLeaf(nil, RFC6962, i))
			h.Write(e.appendExtra(nil, c.h))
			h.Write(e.appendTileLeaf(nil, c.h, Static, i))
		}
		return [32]byte(h.Sum(nil))
	}
	o := CorpusOptions{Seed: 1}
	if once, again := digest(o, 0), digest(o, 0); once != again {
		t.Error("two corpora of one seed differ")
	}
	small := o
	small.CacheBytes = 1
	if digest(o, 100_000) != digest(small, 100_000) {
		t.Error("entries made again differ from those kept")
	}
	for name, other := range map[string]CorpusOptions{"seed": {Seed: 2}, "start": {Seed: 1, Start: time.Unix(1e9, 0)}, "step": {Seed: 1, Step: time.Hour}} {
		if digest(o, 0) == digest(other, 0) {
			t.Errorf("another %s makes no difference", name)
		}
	}
	a, err := newLogKey(1, "x")
	if err != nil {
		t.Fatal(err)
	}
	b, _ := newLogKey(1, "x")
	if !bytes.Equal(a.spki, b.spki) || a.id != sha256.Sum256(a.spki) {
		t.Error("one seed, two keys")
	}
}

func TestStepSpreadsOverMonths(t *testing.T) {
	t.Parallel()
	c := newTestCorpus(t, CorpusOptions{Step: time.Hour})
	first, last := time.UnixMilli(int64(c.Entry(0).Timestamp)).UTC(), time.UnixMilli(int64(c.Entry(2000).Timestamp)).UTC()
	if first.Month() != 5 || last.Month() != 7 {
		t.Errorf("entries of %v and %v, want May and July", first, last)
	}
}

func TestOddEntries(t *testing.T) {
	t.Parallel()
	odd := [][]byte{[]byte("not a certificate"), {}, {0x30, 0x80}}
	c := newTestCorpus(t, CorpusOptions{Seed: 1, Odd: odd, OddShare: 0.1})
	n := 0
	for i := range uint64(1000) {
		if e := c.Entry(i); !e.Precert && len(e.Body) < 20 {
			n++
			if _, err := json.Marshal(leafEntry(c, i)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if n < 60 || n > 140 {
		t.Errorf("%d odd entries of 1000, want about 100", n)
	}
	if _, err := NewCorpus(CorpusOptions{OddShare: 0.1}); err == nil {
		t.Error("an odd share of nothing was accepted")
	}
}

func BenchmarkGenerate(b *testing.B) {
	c := newTestCorpus(b, CorpusOptions{Seed: 1})
	b.ReportAllocs()
	i := uint64(0)
	for b.Loop() {
		c.generate(i)
		i++
	}
}
