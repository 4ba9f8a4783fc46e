//go:build unix

package cert

import (
	stdx509 "crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"ctappliance/schema"

	ct "github.com/google/certificate-transparency-go"
	"github.com/google/certificate-transparency-go/tls"
	ctx509 "github.com/google/certificate-transparency-go/x509"
)

// benchEntries returns the real entries of a static log where the data is
// there, else generated precert entries.
func benchEntries(b *testing.B) []Input {
	dir := os.Getenv("CTAPPLIANCE_DATA")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "shared", "data")
	}
	dir = filepath.Join(dir, "static", "navigli2025h2", "tile", "data")
	if _, err := os.Stat(dir); err == nil {
		return tileEntries(b, dir)
	}
	var out []Input
	for i := range 1000 {
		s := spec{exts: [][]byte{
			ext("2.5.29.15", unhex("03020780")),
			ext("2.5.29.37", tlv(tagSeq, oid("1.3.6.1.5.5.7.3.1"), oid("1.3.6.1.5.5.7.3.2"))),
			ext("2.5.29.19", unhex("3000")),
			ext("2.5.29.14", tlv(tagOctets, make([]byte, 20))),
			ext("2.5.29.35", tlv(tagSeq, str(0x80, "01234567890123456789"))),
			ext("1.3.6.1.5.5.7.1.1", tlv(tagSeq, tlv(tagSeq, oid("1.3.6.1.5.5.7.48.1"), str(gnURI, "http://ocsp.example")))),
			san(dns(fmt.Sprintf("%d.example.com", i)), dns("example.com")),
			ext("2.5.29.32", tlv(tagSeq, tlv(tagSeq, oid(policyDV)))),
		}}
		p, _ := pair(b, s.with(poisonExt), s.with(sctExt))
		out = append(out, *p)
	}
	return out
}

// perCPU runs f b.N times and reports the processor time that one took beside
// the wall time, which says little on a busy machine.
func perCPU(b *testing.B, f func(i int)) {
	b.ReportAllocs()
	cpu := func() int64 {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return u.Utime.Nano() + u.Stime.Nano()
	}
	b.ResetTimer()
	start := cpu()
	for i := range b.N {
		f(i)
	}
	b.ReportMetric(float64(cpu()-start)/float64(b.N), "cpu-ns/op")
}

// BenchmarkParse compares, in one run, an entry to its row with what the
// libraries need to parse as much of it.
func BenchmarkParse(b *testing.B) {
	entries := benchEntries(b)
	finals := make([]Input, len(entries))
	for i, in := range entries {
		finals[i] = *x509Input(in.Precert)
	}
	var row schema.Row
	b.Run("precert", func(b *testing.B) {
		perCPU(b, func(i int) { Parse(&entries[i%len(entries)], &row) })
	})
	b.Run("x509", func(b *testing.B) {
		perCPU(b, func(i int) { Parse(&finals[i%len(finals)], &row) })
	})
	b.Run("issuer", func(b *testing.B) {
		perCPU(b, func(i int) { ParseIssuer(entries[i%len(entries)].Precert) })
	})
	b.Run("ctgo.LogEntryFromLeaf", func(b *testing.B) {
		leaves := make([]ct.LeafEntry, len(entries))
		for i, in := range entries {
			extra, err := tls.Marshal(ct.PrecertChainEntry{PreCertificate: ct.ASN1Cert{Data: in.Precert}})
			if err != nil {
				b.Fatal(err)
			}
			leaves[i] = ct.LeafEntry{LeafInput: in.Leaf, ExtraData: extra}
		}
		perCPU(b, func(i int) {
			if e, err := ct.LogEntryFromLeaf(0, &leaves[i%len(leaves)]); e == nil {
				b.Fatal(err)
			}
		})
	})
	b.Run("ctgo.ParseCertificate", func(b *testing.B) {
		perCPU(b, func(i int) {
			if c, err := ctx509.ParseCertificate(entries[i%len(entries)].Precert); c == nil {
				b.Fatal(err)
			}
		})
	})
	b.Run("std.ParseCertificate", func(b *testing.B) {
		perCPU(b, func(i int) {
			if _, err := stdx509.ParseCertificate(entries[i%len(entries)].Precert); err != nil {
				b.Fatal(err)
			}
		})
	})
}
