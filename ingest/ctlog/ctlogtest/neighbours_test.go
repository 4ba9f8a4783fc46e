package ctlogtest

import (
	"crypto/sha256"
	stdx509 "crypto/x509"
	"encoding/json"
	"io"
	"math"
	"net/http"
	"testing"

	"github.com/google/certificate-transparency-go/x509"
)

// Neighbours hold certificates in common, each in two or three of them and at
// the same indexes, about 4.2 entries for each; and nobody else's.
func TestNeighbours(t *testing.T) {
	t.Parallel()
	first := newTestCorpus(t, CorpusOptions{Seed: 7})
	const logs, size = 6, 3000
	type place struct{ entries, logs, names int }
	places := map[[32]byte]*place{}
	total := 0
	for n := range logs {
		c := newTestCorpus(t, CorpusOptions{Seed: 7, Authorities: first, Neighbour: n + 1})
		here := map[[32]byte]bool{}
		for i := range uint64(size) {
			e := c.Entry(i)
			tbs := e.Body
			if !e.Precert {
				cert, err := x509.ParseCertificate(e.Body)
				if x509.IsFatal(err) {
					t.Fatal(err)
				}
				if tbs, err = x509.RemoveSCTList(cert.RawTBSCertificate); err != nil {
					t.Fatal(err)
				}
			}
			id := sha256.Sum256(tbs)
			if places[id] == nil {
				places[id] = &place{}
				if cert, err := x509.ParseTBSCertificate(tbs); !x509.IsFatal(err) {
					places[id].names = len(cert.DNSNames)
				}
			}
			places[id].entries++
			if !here[id] {
				places[id].logs++
				here[id] = true
			}
			total++
			if i == 100 {
				issuer, err := stdx509.ParseCertificate(c.Chain(e)[0])
				if err != nil {
					t.Fatal(err)
				}
				der := e.Submitted
				if !e.Precert {
					der = e.Body
				}
				cert, err := stdx509.ParseCertificate(der)
				if err != nil {
					t.Fatal(err)
				}
				if err := issuer.CheckSignature(cert.SignatureAlgorithm, cert.RawTBSCertificate, cert.Signature); err != nil {
					t.Error(err)
				}
			}
		}
	}
	names := 0
	for id, p := range places {
		names += p.names
		if p.logs < 2 || p.logs > 3 || p.entries > 6 {
			t.Fatalf("certificate %x has %d entries in %d logs", id[:4], p.entries, p.logs)
		}
	}
	if got := float64(total) / float64(len(places)); math.Abs(got-4.2) > 0.1 {
		t.Errorf("%.2f entries for a certificate", got)
	}
	if got := float64(names) / float64(len(places)); math.Abs(got-2.7) > 0.25 {
		t.Errorf("%.2f names in a certificate", got)
	}
	for _, o := range []CorpusOptions{{Neighbour: -1}, {Neighbour: maxNeighbours + 1}, {Neighbour: 1, DataDir: "x"}} {
		if _, err := NewCorpus(o); err == nil {
			t.Errorf("%+v was taken", o)
		}
	}
}

// A process serves neighbours of both kinds, with keys, origins and places of
// their own; warm ones have the trees of cold ones.
func TestServeNeighbours(t *testing.T) {
	t.Parallel()
	o := ServeOptions{Neighbours: 2, Log: Options{Seed: 3, Size: 600}}
	cold, stop := demo(t, o)
	defer func() { _ = stop() }()
	o.Warm = true
	warm, stopWarm := demo(t, o)
	defer func() { _ = stopWarm() }()
	if len(cold.Logs) != 4 || len(warm.Logs) != 4 {
		t.Fatalf("%d and %d logs", len(cold.Logs), len(warm.Logs))
	}
	root := func(l ReadyLog) string {
		resp, err := http.Get(l.Control + "index-set?from=0&to=600")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != 200 || !json.Valid(b) {
			t.Fatalf("%d %s %v", resp.StatusCode, b, err)
		}
		return string(b)
	}
	seen := map[string]bool{}
	for i, l := range cold.Logs {
		if l.Size != 600 || l.Kind == Static.String() != (l.Origin != "") {
			t.Errorf("%+v", l)
		}
		if got := root(warm.Logs[i]); got != root(l) {
			t.Errorf("%s has another tree when it is warm", l.Name)
		}
		for _, s := range []string{string(l.LogID), l.URL, l.Name, root(l)} {
			if seen[s] {
				t.Errorf("%q is there twice", s)
			}
			seen[s] = true
		}
	}
}
