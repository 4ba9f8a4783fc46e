package ctlogtest

import (
	"bytes"
	stdx509 "crypto/x509"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"testing"

	ct "github.com/google/certificate-transparency-go"
	"github.com/google/certificate-transparency-go/tls"
	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
)

// getSTH fetches a head and has certificate-transparency-go verify it.
func getSTH(t *testing.T, l *Log, c *testClient) (*ct.SignedTreeHead, error) {
	t.Helper()
	var answer ct.GetSTHResponse
	c.json("/ct/v1/get-sth", &answer)
	sth, err := answer.ToSignedTreeHead()
	if err != nil {
		t.Fatal(err)
	}
	key, err := stdx509.ParsePKIXPublicKey(l.Key())
	if err != nil {
		t.Fatal(err)
	}
	v, err := ct.NewSignatureVerifier(key)
	if err != nil {
		t.Fatal(err)
	}
	return sth, v.VerifySTHSignature(*sth)
}

// certificate-transparency-go accepts heads and entries, transparency-dev/merkle
// the proofs, and the entries hash to the signed root.
func TestRFC6962Log(t *testing.T) {
	t.Parallel()
	l := newTestLog(t, Options{Seed: 5, Size: 700})
	c := serveLog(t, l)
	first, err := getSTH(t, l, c)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Grow(333); err != nil {
		t.Fatal(err)
	}
	sth, err := getSTH(t, l, c)
	if err != nil {
		t.Fatal(err)
	}
	if sth.TreeSize != 1033 || sth.SHA256RootHash != ct.SHA256Hash(l.Root(1033)) || first.SHA256RootHash != ct.SHA256Hash(l.Root(700)) {
		t.Fatalf("heads %+v, %+v", first, sth)
	}
	rf := compact.RangeFactory{Hash: rfc6962.DefaultHasher.HashChildren}
	cr := rf.NewEmptyRange(0)
	for at := int64(0); at < 1033; {
		var answer ct.GetEntriesResponse
		c.json(fmt.Sprintf("/ct/v1/get-entries?start=%d&end=1032", at), &answer)
		for i := range answer.Entries {
			e := answer.Entries[i]
			if _, err := ct.LogEntryFromLeaf(at, &e); err != nil {
				t.Fatalf("entry %d: %v", at, err)
			}
			var leaf ct.MerkleTreeLeaf
			if rest, err := tls.Unmarshal(e.LeafInput, &leaf); err != nil || len(rest) != 0 {
				t.Fatalf("entry %d: %d bytes left, %v", at, len(rest), err)
			}
			if ts := leaf.TimestampedEntry.Timestamp; ts > sth.Timestamp {
				t.Errorf("entry %d is of %d, the head of %d", at, ts, sth.Timestamp)
			}
			if err := cr.Append(rfc6962.DefaultHasher.HashLeaf(e.LeafInput), nil); err != nil {
				t.Fatal(err)
			}
			at++
		}
	}
	root, err := cr.GetRootHash(nil)
	if err != nil || toHash(root) != [32]byte(sth.SHA256RootHash) {
		t.Fatalf("root over the entries %x, want %x (%v)", root, sth.SHA256RootHash, err)
	}
	var between ct.GetSTHConsistencyResponse
	c.json("/ct/v1/get-sth-consistency?first=700&second=1033", &between)
	if err := proof.VerifyConsistency(rfc6962.DefaultHasher, 700, 1033, between.Consistency, first.SHA256RootHash[:], root); err != nil {
		t.Error(err)
	}
	hash := l.LeafHash(901)
	var byHash ct.GetProofByHashResponse
	c.json("/ct/v1/get-proof-by-hash?tree_size=1033&hash="+url.QueryEscape(base64.StdEncoding.EncodeToString(hash[:])), &byHash)
	if byHash.LeafIndex != 901 {
		t.Fatalf("%+v", byHash)
	}
	if err := proof.VerifyInclusion(rfc6962.DefaultHasher, 901, 1033, hash[:], byHash.AuditPath, root); err != nil {
		t.Error(err)
	}
	var both ct.GetEntryAndProofResponse
	c.json("/ct/v1/get-entry-and-proof?leaf_index=699&tree_size=700", &both)
	if err := proof.VerifyInclusion(rfc6962.DefaultHasher, 699, 700, rfc6962.DefaultHasher.HashLeaf(both.LeafInput), both.AuditPath, first.SHA256RootHash[:]); err != nil {
		t.Error(err)
	}
	var roots struct{ Certificates [][]byte }
	c.json("/ct/v1/get-roots", &roots)
	if len(roots.Certificates) != 3 {
		t.Errorf("%d roots", len(roots.Certificates))
	}
}

// get-entries is cut as CTFE cuts it; the cases are what a CTFE with the same
// settings answered.
func TestGetEntriesIsCutLikeCTFE(t *testing.T) {
	t.Parallel()
	l := newTestLog(t, Options{Size: 1500})
	c := serveLog(t, l)
	loose := serveLog(t, newTestLog(t, Options{Size: 1500, PageSize: 100, Unaligned: true, Corpus: l.Corpus()}))
	for _, tc := range []struct {
		c     *testClient
		query string
		want  int
	}{
		{c, "start=0&end=999999", 256},
		{c, "start=100&end=1099", 156},
		{c, "start=100&end=300", 201},
		{c, "start=250&end=505", 6},
		{c, "start=1499&end=1499", 1},
		{c, "start=1400&end=1999", 100},
		{loose, "start=50&end=999", 100},
		{loose, "start=50&end=60", 11},
	} {
		var answer struct{ Entries []ct.LeafEntry }
		tc.c.json("/ct/v1/get-entries?"+tc.query, &answer)
		if len(answer.Entries) != tc.want {
			t.Errorf("%s: %d entries, want %d", tc.query, len(answer.Entries), tc.want)
		}
	}
	for _, q := range []string{"start=1500&end=1500", "start=99999999&end=99999999", "start=2&end=1", "start=-1&end=1", "start=x&end=1", "start=1", ""} {
		c.must("/ct/v1/get-entries?"+q, http.StatusBadRequest)
	}
	for _, path := range []string{"/ct/v1/get-everything", "/checkpoint", "/tile/0/000", "/"} {
		c.must(path, http.StatusNotFound)
	}
}

func TestProofParameters(t *testing.T) {
	t.Parallel()
	l := newTestLog(t, Options{Size: 20})
	c := serveLog(t, l)
	h := l.LeafHash(3)
	good := url.QueryEscape(base64.StdEncoding.EncodeToString(h[:]))
	for path, status := range map[string]int{
		"get-sth-consistency?first=0&second=20":            200,
		"get-sth-consistency?first=20&second=20":           200,
		"get-sth-consistency?first=21&second=20":           400,
		"get-sth-consistency?first=1&second=21":            400,
		"get-entry-and-proof?leaf_index=20&tree_size=20":   400,
		"get-entry-and-proof?leaf_index=0&tree_size=21":    400,
		"get-entry-and-proof?leaf_index=19&tree_size=20":   200,
		"get-proof-by-hash?hash=" + good + "&tree_size=20": 200,
		"get-proof-by-hash?hash=" + good + "&tree_size=3":  404,
		"get-proof-by-hash?hash=" + good + "&tree_size=21": 400,
		"get-proof-by-hash?hash=AA&tree_size=20":           400,
	} {
		c.must("/ct/v1/"+path, status)
	}
	var empty struct{ Consistency *[][]byte }
	c.json("/ct/v1/get-sth-consistency?first=20&second=20", &empty)
	if empty.Consistency == nil || len(*empty.Consistency) != 0 {
		t.Errorf("proof of a tree with itself: %v, want an empty list", empty.Consistency)
	}
}

func TestEmptyLog(t *testing.T) {
	t.Parallel()
	l := newTestLog(t, Options{})
	c := serveLog(t, l)
	sth, err := getSTH(t, l, c)
	if err != nil || sth.TreeSize != 0 || toHash(rfc6962.DefaultHasher.EmptyRoot()) != [32]byte(sth.SHA256RootHash) {
		t.Errorf("%v, %v", sth, err)
	}
	c.must("/ct/v1/get-entries?start=0&end=0", http.StatusBadRequest)
}

// A mirror serves full data tiles whose leaves are those of the RFC 6962 tree.
func TestMirror(t *testing.T) {
	t.Parallel()
	l := newTestLog(t, Options{Size: 600, Mirror: true})
	c := serveLog(t, l)
	body := c.must("/tile/data/001", 200)
	for i := uint64(256); i < 512; i++ {
		var te ct.TimestampedEntry
		rest, err := tls.Unmarshal(body, &te)
		if err != nil || len(te.Extensions) != 0 {
			t.Fatalf("entry %d: extensions %x, %v", i, te.Extensions, err)
		}
		leaf := append([]byte{0, 0}, body[:len(body)-len(rest)]...)
		if h := l.LeafHash(i); !bytes.Equal(rfc6962.DefaultHasher.HashLeaf(leaf), h[:]) {
			t.Fatalf("entry %d is another one", i)
		}
		if te.EntryType == ct.PrecertLogEntryType {
			rest = rest[3+int(rest[0])<<16+int(rest[1])<<8+int(rest[2]):]
		}
		body = rest[2+int(rest[0])<<8+int(rest[1]):]
	}
	if len(body) != 0 {
		t.Errorf("%d bytes left", len(body))
	}
	c.must("/issuer/"+hexOf(l.Corpus().h.hashes[0]), 200)
	for _, p := range []string{"/tile/data/002", "/tile/data/002.p/88", "/tile/0/000", "/checkpoint"} {
		c.must(p, 404)
	}
}

// Warming changes nothing but the time that answers take, and stops when the
// cache is full.
func TestWarm(t *testing.T) {
	t.Parallel()
	for _, k := range []Kind{RFC6962, Static} {
		l := newTestLog(t, Options{Kind: k, Size: 2000, CacheBytes: 4 << 20})
		l.Warm()
		n := len(l.pages.items) + len(l.tiles.items)
		if n == 0 || l.pages.bytes+l.tiles.bytes > 4<<20 || k == Static && n != 7 || k == RFC6962 && n > 4 {
			t.Errorf("%v: %d things of %d and %d bytes", k, n, l.pages.bytes, l.tiles.bytes)
		}
	}
}
