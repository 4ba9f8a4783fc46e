package ctlogtest

import (
	"bytes"
	"crypto/sha256"
	stdx509 "crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	ct "github.com/google/certificate-transparency-go"
	"github.com/google/certificate-transparency-go/tls"
	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/note"
)

// noteVerifier checks an RFC6962NoteSignature with certificate-transparency-go.
type noteVerifier struct {
	name string
	l    *Log
}

func (v *noteVerifier) Name() string { return v.name }
func (v *noteVerifier) KeyHash() uint32 {
	id := noteKeyID(v.name, v.l.ID())
	return binary.BigEndian.Uint32(id[:])
}

func (v *noteVerifier) Verify(msg, sig []byte) bool {
	lines := strings.Split(string(msg), "\n")
	if len(lines) != 4 || lines[3] != "" || len(sig) < 8 {
		return false
	}
	var sth ct.SignedTreeHead
	if _, err := fmt.Sscan(lines[1], &sth.TreeSize); err != nil {
		return false
	}
	root, err := base64.StdEncoding.DecodeString(lines[2])
	if err != nil || len(root) != 32 {
		return false
	}
	copy(sth.SHA256RootHash[:], root)
	sth.Timestamp = binary.BigEndian.Uint64(sig)
	var ds tls.DigitallySigned
	if rest, err := tls.Unmarshal(sig[8:], &ds); err != nil || len(rest) > 0 {
		return false
	}
	sth.TreeHeadSignature = ct.DigitallySigned(ds)
	key, err := stdx509.ParsePKIXPublicKey(v.l.Key())
	if err != nil {
		return false
	}
	sv, err := ct.NewSignatureVerifier(key)
	return err == nil && sv.VerifySTHSignature(sth) == nil
}

// openCheckpoint verifies a checkpoint as golang.org/x/mod/sumdb/note does and
// returns its three lines.
func openCheckpoint(t *testing.T, l *Log, b []byte) []string {
	t.Helper()
	n, err := note.Open(b, note.VerifierList(&noteVerifier{name: l.Origin(), l: l}))
	if err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	lines := strings.Split(n.Text, "\n")
	if lines[0] != l.Origin() {
		t.Fatalf("origin %q, want %q", lines[0], l.Origin())
	}
	if len(n.UnverifiedSigs) != 3 {
		t.Errorf("%d decoy lines, want 3", len(n.UnverifiedSigs))
	}
	return lines
}

// A static log's checkpoint verifies, its data tiles hash to its hash tiles
// and those to the root; every issuer that entries name is there.
func TestStaticLog(t *testing.T) {
	t.Parallel()
	for _, plain := range []bool{false, true} {
		l := newTestLog(t, Options{Kind: Static, Seed: 5, Size: 600, PlainTiles: plain})
		c := serveLog(t, l)
		lines := openCheckpoint(t, l, c.must("/checkpoint", 200))
		root := l.Root(600)
		if lines[1] != "600" || lines[2] != base64.StdEncoding.EncodeToString(root[:]) {
			t.Fatalf("checkpoint %q", lines)
		}
		rf := compact.RangeFactory{Hash: rfc6962.DefaultHasher.HashChildren}
		cr := rf.NewEmptyRange(0)
		index := uint64(0)
		for _, tile := range []string{"000", "001", "002.p/88"} {
			hashes := c.must("/tile/0/"+tile, 200)
			resp, body, err := c.get("/tile/data/" + tile)
			if err != nil || resp.StatusCode != 200 || (resp.Header.Get("Content-Encoding") == "gzip") == plain {
				t.Fatalf("%v %v", resp, err)
			}
			if !plain {
				body = gunzip(t, body)
			}
			for len(body) > 0 {
				leaf, rest := cutTileLeaf(t, c, body, index)
				h := rfc6962.DefaultHasher.HashLeaf(leaf)
				if at := index % 256; !bytes.Equal(h, hashes[32*at:32*at+32]) {
					t.Fatalf("entry %d hashes to %x, the hash tile has %x", index, h, hashes[32*at:32*at+32])
				}
				if err := cr.Append(h, nil); err != nil {
					t.Fatal(err)
				}
				body = rest
				index++
			}
		}
		got, err := cr.GetRootHash(nil)
		if err != nil || index != 600 || toHash(got) != root {
			t.Errorf("%d entries, root %x, want %x (%v)", index, got, root, err)
		}
		upper := c.must("/tile/1/000.p/2", 200)
		if n := l.snapshot(); len(upper) != 64 || toHash(upper[32:]) != n.node(8, 1) {
			t.Errorf("level 1: %x", upper)
		}
	}
}

// cutTileLeaf takes one TileLeaf off body with certificate-transparency-go's
// decoder, checks it and returns it as MerkleTreeLeaf.
func cutTileLeaf(t *testing.T, c *testClient, body []byte, index uint64) (leaf, rest []byte) {
	t.Helper()
	var te ct.TimestampedEntry
	rest, err := tls.Unmarshal(body, &te)
	if err != nil {
		t.Fatalf("entry %d: %v", index, err)
	}
	want := []byte{0, 0, 5, 0, byte(index >> 24), byte(index >> 16), byte(index >> 8), byte(index)}
	if !bytes.Equal(te.Extensions, want) {
		t.Fatalf("entry %d: extensions %x, want %x", index, te.Extensions, want)
	}
	leaf = append([]byte{0, 0}, body[:len(body)-len(rest)]...)
	if te.EntryType == ct.PrecertLogEntryType {
		n := int(rest[0])<<16 | int(rest[1])<<8 | int(rest[2])
		if _, err := stdx509.ParseCertificate(rest[3 : 3+n]); err != nil {
			t.Fatalf("entry %d: %v", index, err)
		}
		rest = rest[3+n:]
	}
	n := int(rest[0])<<8 | int(rest[1])
	for fp := rest[2 : 2+n]; len(fp) > 0; fp = fp[32:] {
		if index%50 == 0 {
			cert := c.must(fmt.Sprintf("/issuer/%x", fp[:32]), 200)
			if sha256.Sum256(cert) != [32]byte(fp[:32]) {
				t.Errorf("issuer %x is another one", fp[:32])
			}
		}
	}
	return leaf, rest[2+n:]
}

// Partial tiles exist for published sizes only, and go with DropPartials.
func TestPartialTiles(t *testing.T) {
	t.Parallel()
	for _, drop := range []bool{false, true} {
		l := newTestLog(t, Options{Kind: Static, Size: 10, DropPartials: drop})
		c := serveLog(t, l)
		for _, n := range []uint64{30, 200, 60} { // 10, 40, 240, 300
			if err := l.Grow(n); err != nil {
				t.Fatal(err)
			}
		}
		old := 200
		if drop {
			old = 404
		}
		for path, want := range map[string]int{
			"000.p/10": old, "000.p/40": old, "000.p/240": old, "000": 200, "001.p/44": 200,
			"000.p/11": 404, "000.p/44": 404, "001.p/43": 404, "001.p/45": 404, "001": 404, "002.p/1": 404,
			// What is not a tile's one spelling.
			"000.p/0": 404, "000.p/256": 404, "000.p/010": 404, "0": 404, "00": 404, "0000": 404, "x000/000": 404, "x000": 404, "000/000": 404, "-01": 404, "": 404,
		} {
			c.must("/tile/0/"+path, want)
			c.must("/tile/data/"+path, want)
		}
		c.must("/tile/1/000.p/1", 200)
		c.must("/tile/1/000", 404)
		c.must("/tile/6/000", 404)
		c.must("/tile/00/000", 404)
		c.must("/tile/names/000", 404)
		c.must("/issuer/"+strings.Repeat("00", 32), 404)
		c.must("/issuer/xyz", 404)
		c.must("/ct/v1/get-sth", 404)
	}
}

func TestTilePaths(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]tilePath{
		"0/005":              {level: 0, n: 5, width: 256},
		"1/x001/234":         {level: 1, n: 1234, width: 256},
		"data/x001/x234/067": {data: true, n: 1234067, width: 256},
		"5/999.p/255":        {level: 5, n: 999, width: 255, part: true},
	} {
		if got, ok := parseTile(path); !ok || got != want {
			t.Errorf("%s: %+v, %v, want %+v", path, got, ok, want)
		}
	}
}

// A checkpoint's true line does not always stand in the same place.
func TestDecoysMove(t *testing.T) {
	t.Parallel()
	l := newTestLog(t, Options{Kind: Static, Size: 1})
	c := serveLog(t, l)
	id := noteKeyID(l.Origin(), l.ID())
	places := map[int]bool{}
	for range 60 {
		b := c.must("/checkpoint", 200)
		openCheckpoint(t, l, b)
		for i, line := range strings.Split(string(b), "\n") {
			if f := strings.Fields(line); len(f) == 3 && f[1] == l.Origin() {
				if raw, err := base64.StdEncoding.DecodeString(f[2]); err == nil && bytes.HasPrefix(raw, id[:]) {
					places[i] = true
				}
			}
		}
	}
	if len(places) != 4 {
		t.Errorf("the true signature stood in lines %v, want all four", places)
	}
}

// Whatever path is accepted as a tile's is the one spelling of that tile.
func FuzzTilePath(f *testing.F) {
	for _, s := range []string{"0/005", "1/x001/234", "data/x001/x234/067", "5/999.p/255", "data/000.p/1", "0/x000/001", "0/1", "6/000", "0/000.p/256"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, ok := parseTile(s)
		if !ok {
			return
		}
		groups := []string{fmt.Sprintf("%03d", p.n%1000)}
		for n := p.n / 1000; n > 0; n /= 1000 {
			groups = append([]string{fmt.Sprintf("x%03d", n%1000)}, groups...)
		}
		level := fmt.Sprint(p.level)
		if p.data {
			level = "data"
		}
		again := level + "/" + strings.Join(groups, "/")
		if p.part {
			again += fmt.Sprintf(".p/%d", p.width)
		}
		if again != s {
			t.Errorf("%q was read as %+v, which is %q", s, p, again)
		}
	})
}
