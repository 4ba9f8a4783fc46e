package ctlog

import (
	"encoding/json"
	"testing"

	ct "github.com/google/certificate-transparency-go"
	cttls "github.com/google/certificate-transparency-go/tls"
)

// realPage is an answer with 256 real entries, 40 of them different.
func realPage(b *testing.B) []byte {
	b.Helper()
	var entries []map[string]string
	for _, name := range []string{"rfc6962/get-entries-Google--Argon2026h2-from-1111014090.json", "rfc6962/get-entries-Cloudflare--Nimbus2026-from-4354630040.json"} {
		var v struct{ Entries []map[string]string }
		if err := json.Unmarshal(dataFile(b, name), &v); err != nil {
			b.Fatal(err)
		}
		entries = append(entries, v.Entries...)
	}
	for len(entries) < 256 {
		entries = append(entries, entries[:min(40, 256-len(entries))]...)
	}
	body, err := json.Marshal(map[string]any{"entries": entries})
	if err != nil {
		b.Fatal(err)
	}
	return body
}

// BenchmarkDecode gives time per entry as "ns/entry".
func BenchmarkDecode(b *testing.B) {
	page := realPage(b)
	run := func(name string, n int, f func() error) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := f(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/entry")
		})
	}
	chains := newChainCache()
	run("get-entries", 256, func() error { _, _, err := decodeEntries(page, 256, chains); return err })
	run("get-entries/encoding-json", 256, func() error { _, err := decodePairs(page, 256); return err })
	run("get-entries/ct-go", 256, func() error {
		var resp ct.GetEntriesResponse
		if err := json.Unmarshal(page, &resp); err != nil {
			return err
		}
		for i := range resp.Entries {
			// Without the X.509 that LogEntryFromLeaf would add.
			if _, err := ct.RawLogEntryFromLeaf(int64(i), &resp.Entries[i]); err != nil {
				return err
			}
		}
		return nil
	})

	plain := dataFile(b, "static/navigli2025h2/tile/data/000")
	zipped := dataFile(b, "captured-local/static/tile/data/000")
	run("tile", 256, func() error { _, err := DecodeTile(0, plain, false); return err })
	run("tile/gzip", 256, func() error { _, err := DecodeTile(0, zipped, true); return err })
	entries, err := DecodeTile(0, plain, false)
	if err != nil {
		b.Fatal(err)
	}
	run("tile/ct-go", 256, func() error {
		for _, e := range entries {
			var leaf ct.MerkleTreeLeaf
			if _, err := cttls.Unmarshal(e.Leaf, &leaf); err != nil {
				return err
			}
		}
		return nil
	})
	var f Frontier
	run("leaf hash and frontier", 256, func() error {
		for _, e := range entries {
			f.Append(LeafHash(e.Leaf), nil)
		}
		return nil
	})
}
