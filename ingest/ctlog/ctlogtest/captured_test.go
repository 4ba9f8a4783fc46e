package ctlogtest

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	ct "github.com/google/certificate-transparency-go"
)

// The captured entries come first, in the order of their tiles, and are what
// was captured: with its own index extension, each hashes to what the log that
// it was taken from committed to.
func TestCapturedEntries(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	c := newTestCorpus(t, CorpusOptions{Seed: 1, DataDir: dir})
	if c.Captured() != 1024+40 {
		t.Fatalf("%d captured entries, want 1024 and 40", c.Captured())
	}
	for tile := range 4 {
		hashes, err := os.ReadFile(filepath.Join(dir, "static", "navigli2025h2", "tile", "0", fmt.Sprintf("%03d", tile)))
		if err != nil {
			t.Fatal(err)
		}
		start := uint64(tile * 256)
		for i := range uint64(256) {
			e := c.Entry(start + i)
			leaf := e.appendLeaf(nil, Static, start+i)
			if got := sha256.Sum256(append([]byte{0}, leaf...)); got != [32]byte(hashes[32*i:32*i+32]) {
				t.Fatalf("tile %d entry %d: leaf hash %x, captured %x", tile, i, got, hashes[32*i:32*i+32])
			}
		}
	}
	chains := 0
	for i := range uint64(c.Captured()) {
		if _, err := ct.LogEntryFromLeaf(int64(i), leafEntry(c, i)); err != nil {
			t.Fatalf("entry %d: %v", i, err)
		}
		chains += len(c.Entry(i).chain)
	}
	if chains < 40 {
		t.Errorf("%d chain certificates in all", chains)
	}
	if e := c.Entry(uint64(c.Captured())); e.Timestamp != uint64(c.time(0).UnixMilli()) {
		t.Error("generated entries do not begin behind the captured ones")
	}
	if _, err := NewCorpus(CorpusOptions{DataDir: t.TempDir()}); err == nil {
		t.Error("an empty data directory was accepted")
	}
}

// Every odd certificate of the public test suites can be served by both kinds.
func TestOddCertificatesOfTheCorpus(t *testing.T) {
	t.Parallel()
	odd, err := TarDER(filepath.Join(dataDir(t), "certs", "odd-certificates.tar.gz"))
	if err != nil {
		t.Fatal(err)
	}
	if len(odd) < 1700 {
		t.Fatalf("%d odd certificates", len(odd))
	}
	corpus := newTestCorpus(t, CorpusOptions{Odd: odd, OddShare: 1})
	for _, k := range []Kind{RFC6962, Static} {
		c := serveLog(t, newTestLog(t, Options{Kind: k, Size: 600, Corpus: corpus}))
		if k == Static {
			c.must("/tile/data/000", 200)
			c.must("/tile/data/002.p/88", 200)
			continue
		}
		var answer ct.GetEntriesResponse
		c.json("/ct/v1/get-entries?start=256&end=511", &answer)
		if len(answer.Entries) != 256 {
			t.Errorf("%d entries", len(answer.Entries))
		}
	}
}
