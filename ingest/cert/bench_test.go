package cert

import (
	"crypto/sha256"
	stdx509 "crypto/x509"
	"os"
	"path/filepath"
	"testing"

	"ctappliance/ingest/ctlog/ctlogtest"
	"ctappliance/ingest/shabatch"
	"ctappliance/internal/stagebench"
	"ctappliance/schema"

	ct "github.com/google/certificate-transparency-go"
	"github.com/google/certificate-transparency-go/tls"
	ctx509 "github.com/google/certificate-transparency-go/x509"
)

// benchSet are entries, and the same as the libraries want them.
type benchSet struct {
	entries []Input
	leaves  []ct.LeafEntry
}

// benchData finds the folder of real data.
func benchData() string {
	if dir := os.Getenv("CTAPPLIANCE_DATA"); dir != "" {
		return dir
	}
	return filepath.Join("..", "..", "..", "shared", "data")
}

// tileSet are the real entries of a static log. Its extra_data has no chain,
// because tiles have none.
func tileSet(b *testing.B) (s benchSet) {
	dir := filepath.Join(benchData(), "static", "navigli2025h2", "tile", "data")
	if _, err := os.Stat(dir); err != nil {
		b.Skipf("no real data: %v; set CTAPPLIANCE_DATA", err)
	}
	for _, in := range tileEntries(b, dir) {
		extra, err := tls.Marshal(ct.PrecertChainEntry{PreCertificate: ct.ASN1Cert{Data: in.Precert}})
		if err != nil {
			b.Fatal(err)
		}
		s.entries = append(s.entries, in)
		s.leaves = append(s.leaves, ct.LeafEntry{LeafInput: in.Leaf, ExtraData: extra})
	}
	return s
}

// pageSet are the real entries of get-entries answers, with their chains.
func pageSet(b *testing.B) (s benchSet) {
	paths, err := filepath.Glob(filepath.Join(benchData(), "rfc6962", "get-entries-*.json"))
	if err != nil || len(paths) == 0 {
		b.Skipf("no real data: %v; set CTAPPLIANCE_DATA", err)
	}
	for _, path := range paths {
		s.entries = append(s.entries, getEntries(b, path)...)
		s.leaves = append(s.leaves, getLeaves(b, path)...)
	}
	return s
}

// generatedSet is the mix of the demo's log: six of ten are precertificates,
// names as they are distributed in logs, chains of the depths that are usual.
func generatedSet(b *testing.B) (s benchSet) {
	corpus, err := ctlogtest.NewCorpus(ctlogtest.CorpusOptions{Seed: 1})
	if err != nil {
		b.Fatal(err)
	}
	const n = 2000
	log, err := ctlogtest.New(ctlogtest.Options{Corpus: corpus, Size: n})
	if err != nil {
		b.Fatal(err)
	}
	issuers := map[schema.Hash]schema.Hash{}
	for i := range uint64(n) {
		e := corpus.Entry(i)
		in := Input{Index: i, Leaf: log.Leaf(i), Precert: e.Submitted,
			Issuer: func(h schema.Hash) (schema.Hash, bool) { k, ok := issuers[h]; return k, ok }}
		var chain []ct.ASN1Cert
		for _, der := range corpus.Chain(e) {
			iss := ParseIssuer(der)
			issuers[iss.Fingerprint] = iss.SPKI
			in.Chain = append(in.Chain, iss.Fingerprint)
			chain = append(chain, ct.ASN1Cert{Data: der})
		}
		var extra []byte
		if e.Precert {
			extra, err = tls.Marshal(ct.PrecertChainEntry{PreCertificate: ct.ASN1Cert{Data: e.Submitted}, CertificateChain: chain})
		} else {
			extra, err = tls.Marshal(ct.CertificateChain{Entries: chain})
		}
		if err != nil {
			b.Fatal(err)
		}
		s.entries = append(s.entries, in)
		s.leaves = append(s.leaves, ct.LeafEntry{LeafInput: in.Leaf, ExtraData: extra})
	}
	return s
}

// BenchmarkParse compares an entry to its row with what the libraries need to
// parse as much of it, or less: none of them computes a hash.
func BenchmarkParse(b *testing.B) {
	for _, set := range []struct {
		name string
		make func(*testing.B) benchSet
	}{{"tile", tileSet}, {"page", pageSet}, {"generated", generatedSet}} {
		b.Run(set.name, func(b *testing.B) {
			s := set.make(b)
			ders := make([][]byte, len(s.entries))
			messages := make([][4][]byte, len(s.entries)) // that are hashed, and the key
			var row schema.Row
			p := newParser()
			for i := range s.entries {
				Parse(&s.entries[i], &row)
				ders[i] = row.DER
				var c certificate
				var f Flag
				if why := c.read(row.DER, &f); why != "" {
					b.Fatal(why)
				}
				c.tbs.scanExtensions()
				spki := c.tbs.spki.full(row.DER)
				p.row = &row
				messages[i] = [4][]byte{row.DER, p.named(nil, row.IssuerKeyHash, &c.tbs), spki, spki[min(len(spki), 26):]}
			}
			const batch = 256 // a tile, and so a record
			rows := make([]schema.Row, batch)
			parse := func(i int) error {
				b := NewBatch()
				for k := range rows {
					b.Add(&s.entries[(i*batch+k)%len(s.entries)], &rows[k])
				}
				b.End()
				return nil
			}
			t := stagebench.New(b)
			t.Ours("Batch", batch, parse)
			t.Ours("Parse, one by one", 1, func(i int) error {
				Parse(&s.entries[i%len(s.entries)], &row)
				return nil
			})
			t.Ours("without hashes", batch, func(i int) error {
				testNoHashes = true
				parse(i)
				testNoHashes = false
				return nil
			})
			var together [][]byte // of a batch: the key as well, whose SHA-1 few entries need
			for i := range batch {
				together = append(together, messages[i%len(messages)][:]...)
			}
			var hashes [4 * batch]schema.Hash
			t.Ours("hashes alone", batch, func(i int) error {
				shabatch.SHA256(hashes[:], nil, together)
				return nil
			})
			t.Instead("hashes alone, crypto/sha256", "hashes alone", 1, func(i int) error {
				m := &messages[i%len(messages)]
				for k := range m {
					hashes[k] = sha256.Sum256(m[k])
				}
				return nil
			})
			logEntry := func(i int) error {
				e, err := ct.LogEntryFromLeaf(0, &s.leaves[i%len(s.leaves)])
				if e == nil {
					return err
				}
				return nil // what it says beside an entry is not fatal
			}
			t.Instead("ctgo.LogEntryFromLeaf, without hashes", "without hashes", 1, logEntry)
			t.Instead("ctgo.ParseCertificate, without hashes", "without hashes", 1, func(i int) error {
				c, err := ctx509.ParseCertificate(ders[i%len(ders)])
				if c == nil {
					return err
				}
				return nil
			})
			t.Instead("crypto.x509.ParseCertificate, without hashes", "without hashes", 1, func(i int) error {
				_, err := stdx509.ParseCertificate(ders[i%len(ders)])
				return err
			})
			t.Instead("ctgo.LogEntryFromLeaf", "Batch", 1, logEntry)
			t.Instead("ctgo.ParseCertificate", "Batch", 1, func(i int) error {
				c, err := ctx509.ParseCertificate(ders[i%len(ders)])
				if c == nil {
					return err
				}
				return nil
			})
			t.Instead("crypto.x509.ParseCertificate", "Batch", 1, func(i int) error {
				_, err := stdx509.ParseCertificate(ders[i%len(ders)])
				return err
			})
		})
	}
}

// BenchmarkParseIssuer is for certificates of chains: once for each.
func BenchmarkParseIssuer(b *testing.B) {
	s := tileSet(b)
	t := stagebench.New(b)
	t.Ours("ParseIssuer", 1, func(i int) error {
		ParseIssuer(s.entries[i%len(s.entries)].Precert)
		return nil
	})
}

// BenchmarkCheck is what asking the oracle costs, once in a thousand rows.
func BenchmarkCheck(b *testing.B) {
	s := tileSet(b)
	rows := make([]schema.Row, len(s.entries))
	for i := range rows {
		Parse(&s.entries[i], &rows[i])
	}
	t := stagebench.New(b)
	t.Ours("Check", 1, func(i int) error {
		Check(&rows[i%len(rows)])
		return nil
	})
}
