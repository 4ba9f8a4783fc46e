package ctlog

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// dataDir returns the directory of captured data, or skips the test.
func dataDir(t testing.TB) string {
	t.Helper()
	if dir := os.Getenv("CTAPPLIANCE_DATA"); dir != "" {
		return dir
	}
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		if filepath.Dir(dir) == dir {
			t.Fatal("no go.mod above the working directory")
		}
		dir = filepath.Dir(dir)
	}
	dir = filepath.Join(dir, "..", "shared", "data")
	if _, err := os.Stat(dir); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("captured data is missing: %v", err)
		}
		t.Skipf("captured data is missing (CTAPPLIANCE_DATA names another place): %v", err)
	}
	return dir
}

func dataFile(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dataDir(t), name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// mth, path and consistency are the definitions of RFC 6962 section 2.1, word
// for word: slow, and independent of the library that the package uses.
func mth(d []Hash) Hash {
	switch len(d) {
	case 0:
		return sha256.Sum256(nil)
	case 1:
		return d[0]
	}
	k := split(len(d))
	return NodeHash(mth(d[:k]), mth(d[k:]))
}

func path(m int, d []Hash) []Hash {
	if len(d) == 1 {
		return nil
	}
	k := split(len(d))
	if m < k {
		return append(path(m, d[:k]), mth(d[k:]))
	}
	return append(path(m-k, d[k:]), mth(d[:k]))
}

func consistency(m int, d []Hash, whole bool) []Hash {
	if m == len(d) {
		if whole {
			return nil
		}
		return []Hash{mth(d)}
	}
	k := split(len(d))
	if m <= k {
		return append(consistency(m, d[:k], whole), mth(d[k:]))
	}
	return append(consistency(m-k, d[k:], false), mth(d[:k]))
}

// split returns the largest power of two smaller than n.
func split(n int) int {
	k := 1
	for 2*k < n {
		k *= 2
	}
	return k
}

// fakeLog is a small log with both read APIs. Handlers in override win over
// its own answers, by path below the log's root.
type fakeLog struct {
	key     *ecdsa.PrivateKey
	spki    []byte
	id      Hash
	origin  string
	leaves  [][]byte // MerkleTreeLeaf
	precert [][]byte
	chain   [][][]byte
	hashes  []Hash

	page    int // cap of get-entries
	aligned bool

	mu       sync.Mutex
	override map[string]http.HandlerFunc
	requests []string
	headers  []http.Header
}

// newFakeLog makes a log of n entries, each third a precert_entry, with two
// different chains. indexed adds leaf_index extensions.
func newFakeLog(t testing.TB, n int, indexed bool) *fakeLog {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	spki, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	l := &fakeLog{key: key, spki: spki, id: sha256.Sum256(spki), origin: "log.test.local/2027h1", page: 1024, override: map[string]http.HandlerFunc{}}
	for i := range n {
		l.add(i, indexed)
	}
	return l
}

func (l *fakeLog) add(i int, indexed bool) {
	cert := []byte(fmt.Sprintf("certificate %d", i))
	var precert []byte
	b := []byte{0, 0}
	b = binary.BigEndian.AppendUint64(b, uint64(1_700_000_000_000+i))
	if i%3 == 2 {
		b = append(b, 0, 1)
		b = append(b, bytes.Repeat([]byte{byte(i)}, 32)...)
		precert = append([]byte("poisoned "), cert...)
	} else {
		b = append(b, 0, 0)
	}
	b = append(vec24(b, cert), 0, 0)
	if indexed {
		b[len(b)-1] = 8
		b = append(b, 0, 0, 5, 0, byte(i>>24), byte(i>>16), byte(i>>8), byte(i))
	}
	chain := [][]byte{[]byte("intermediate " + strconv.Itoa(i%2)), []byte("root")}
	l.leaves, l.precert, l.chain = append(l.leaves, b), append(l.precert, precert), append(l.chain, chain)
	l.hashes = append(l.hashes, LeafHash(b))
}

func vec24(b, v []byte) []byte {
	return append(append(b, byte(len(v)>>16), byte(len(v)>>8), byte(len(v))), v...)
}

func (l *fakeLog) extra(i int) []byte {
	var chain, b []byte
	for _, c := range l.chain[i] {
		chain = vec24(chain, c)
	}
	if l.precert[i] != nil {
		b = vec24(b, l.precert[i])
	}
	return vec24(b, chain)
}

// sign returns the DigitallySigned over a head.
func (l *fakeLog) sign(timestamp, size uint64, root Hash) []byte {
	digest := sha256.Sum256(signedHead(timestamp, size, root))
	sig, err := ecdsa.SignASN1(rand.Reader, l.key, digest[:])
	if err != nil {
		panic(err)
	}
	return append([]byte{4, 3, byte(len(sig) >> 8), byte(len(sig))}, sig...)
}

func (l *fakeLog) sth(size int) []byte {
	root := mth(l.hashes[:size])
	b, _ := json.Marshal(map[string]any{"tree_size": size, "timestamp": 1_700_000_000_000, "sha256_root_hash": root[:],
		"tree_head_signature": l.sign(1_700_000_000_000, uint64(size), root)})
	return b
}

func noteLine(name string, keyID uint32, body []byte) string {
	return "— " + name + " " + base64.StdEncoding.EncodeToString(append(binary.BigEndian.AppendUint32(nil, keyID), body...)) + "\n"
}

func (l *fakeLog) noteText(size int) string {
	root := mth(l.hashes[:size])
	return fmt.Sprintf("%s\n%d\n%s\n\n", l.origin, size, base64.StdEncoding.EncodeToString(root[:]))
}

func (l *fakeLog) noteSig(size int) string {
	const timestamp = 1_700_000_000_000
	body := binary.BigEndian.AppendUint64(nil, timestamp)
	return noteLine(l.origin, noteKeyID(l.origin, l.id), append(body, l.sign(timestamp, uint64(size), mth(l.hashes[:size]))...))
}

func (l *fakeLog) checkpoint(size int) []byte { return []byte(l.noteText(size) + l.noteSig(size)) }

func (l *fakeLog) dataTile(first, end int) []byte {
	var b []byte
	for i := first; i < end; i++ {
		b = append(b, l.leaves[i][2:]...)
		if l.precert[i] != nil {
			b = vec24(b, l.precert[i])
		}
		b = binary.BigEndian.AppendUint16(b, uint16(32*len(l.chain[i])))
		for _, c := range l.chain[i] {
			h := sha256.Sum256(c)
			b = append(b, h[:]...)
		}
	}
	return b
}

func (l *fakeLog) entriesJSON(from, end int) []byte {
	type entry struct {
		Leaf  []byte `json:"leaf_input"`
		Extra []byte `json:"extra_data"`
	}
	v := struct {
		Entries []entry `json:"entries"`
	}{Entries: []entry{}}
	for i := from; i < end; i++ {
		v.Entries = append(v.Entries, entry{l.leaves[i], l.extra(i)})
	}
	b, _ := json.Marshal(v)
	return b
}

func (l *fakeLog) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p := strings.TrimPrefix(r.URL.Path, "/")
	l.mu.Lock()
	l.requests = append(l.requests, strings.TrimPrefix(r.URL.RequestURI(), "/"))
	l.headers = append(l.headers, r.Header.Clone())
	h := l.override[p]
	l.mu.Unlock()
	if h != nil {
		h(w, r)
		return
	}
	size := len(l.leaves)
	num := func(name string) int {
		n, err := strconv.Atoi(r.URL.Query().Get(name))
		if err != nil || n < 0 {
			return -1
		}
		return n
	}
	switch p {
	case "ct/v1/get-sth":
		w.Write(l.sth(size))
	case "ct/v1/get-entries":
		start, end := num("start"), num("end")+1
		if start < 0 || start >= end || start >= size {
			http.Error(w, fmt.Sprintf("need tree size: %d to get leaves but only got: %d", start+1, size), http.StatusBadRequest)
			return
		}
		limit := start + l.page
		if l.aligned && end-start >= l.page {
			limit -= limit % l.page
		}
		w.Write(l.entriesJSON(start, min(end, limit, size)))
	case "ct/v1/get-entry-and-proof":
		i, n := num("leaf_index"), num("tree_size")
		json.NewEncoder(w).Encode(map[string]any{"leaf_input": l.leaves[i], "extra_data": l.extra(i), "audit_path": slices32(path(i, l.hashes[:n]))})
	case "ct/v1/get-sth-consistency":
		json.NewEncoder(w).Encode(map[string]any{"consistency": slices32(consistency(num("first"), l.hashes[:num("second")], true))})
	case "checkpoint":
		w.Write(l.checkpoint(size))
	default:
		l.serveTile(w, p, size)
	}
}

func slices32(hs []Hash) [][]byte {
	bs := [][]byte{}
	for _, h := range hs {
		bs = append(bs, h[:])
	}
	return bs
}

// serveTile serves the tiles of a tree of size entries, of their published width only.
func (l *fakeLog) serveTile(w http.ResponseWriter, p string, size int) {
	parts := strings.SplitN(p, "/", 3)
	if len(parts) != 3 || parts[0] != "tile" {
		if hex, ok := strings.CutPrefix(p, "issuer/"); ok {
			for _, c := range [][]byte{[]byte("intermediate 0"), []byte("intermediate 1"), []byte("root")} {
				if h := sha256.Sum256(c); fmt.Sprintf("%x", h) == hex {
					w.Write(c)
					return
				}
			}
		}
		http.Error(w, "not found", http.StatusNotFound)
		return
	}
	level, _ := strconv.Atoi(parts[1])
	nodes := l.hashes[:size]
	for range level {
		var up []Hash
		for i := 0; i+256 <= len(nodes); i += 256 {
			up = append(up, mth(nodes[i:i+256]))
		}
		nodes = up
	}
	for n := 0; n*256 < len(nodes); n++ {
		width := min(256, len(nodes)-n*256)
		if parts[2] != tilePath(uint64(n), uint64(width)) {
			continue
		}
		if parts[1] == "data" {
			// Compressed whether asked for or not, as Sunlight does.
			w.Header().Set("Content-Encoding", "gzip")
			w.Write(gz(l.dataTile(n*256, n*256+width)))
			return
		}
		for _, h := range nodes[n*256 : n*256+width] {
			w.Write(h[:])
		}
		return
	}
	http.Error(w, "not found", http.StatusNotFound)
}

func gz(b []byte) []byte {
	var buf bytes.Buffer
	zw := gzip.NewWriter(&buf)
	zw.Write(b)
	zw.Close()
	return buf.Bytes()
}

// set overrides the answer for a path.
func (l *fakeLog) set(path string, h http.HandlerFunc) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.override[path] = h
}

// seen returns the requests so far, and forgets them.
func (l *fakeLog) seen() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.requests
	l.requests, l.headers = nil, nil
	return r
}

const testUA = "ctappliance-test (+mailto:ops@ctappliance.dev)"

// open serves the fake log and returns a client for it.
func (l *fakeLog) open(t testing.TB, kind Kind, o Options) Log {
	t.Helper()
	srv := httptest.NewServer(l)
	t.Cleanup(srv.Close)
	if o.UserAgent == "" {
		o.UserAgent = testUA
	}
	if o.Transport == nil {
		tr := NewTransport(true, true)
		t.Cleanup(tr.CloseIdleConnections)
		o.Transport = tr
	}
	c, err := New(Info{ID: l.id, Key: l.spki, Name: "fake", Kind: kind, URL: srv.URL, SubmissionURL: "https://" + l.origin + "/"}, o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// check compares a batch with the log's entries from on.
func (l *fakeLog) check(t testing.TB, b *Batch, from, n int) {
	t.Helper()
	if b.From != uint64(from) || len(b.Entries) != n {
		t.Fatalf("got [%d,+%d), want [%d,+%d)", b.From, len(b.Entries), from, n)
	}
	for i, e := range b.Entries {
		j := from + i
		var chain []Hash
		for _, c := range l.chain[j] {
			h := sha256.Sum256(c)
			chain = append(chain, h)
			if b.Issuers != nil && !bytes.Equal(b.Issuers[h], c) {
				t.Fatalf("entry %d: certificate %q of its chain is not in Issuers", j, c)
			}
		}
		if !bytes.Equal(e.Leaf, l.leaves[j]) || !bytes.Equal(e.Precert, l.precert[j]) || fmt.Sprint(e.Chain) != fmt.Sprint(chain) || e.Extra != nil {
			t.Fatalf("entry %d is not the log's:\n%q\n%q", j, e.Leaf, l.leaves[j])
		}
	}
}

// recorder is a pacer that notes what it is told.
type recorder struct {
	mu       sync.Mutex
	classes  []Class
	outcomes []Outcome
}

func (p *recorder) Acquire(ctx context.Context, c Class) (Ticket, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.classes = append(p.classes, c)
	return p, ctx.Err()
}

func (p *recorder) Done(o Outcome) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.outcomes = append(p.outcomes, o)
}

// last returns the newest outcome and how many there were.
func (p *recorder) last() (Outcome, int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.outcomes) == 0 {
		return Outcome{}, 0
	}
	return p.outcomes[len(p.outcomes)-1], len(p.outcomes)
}
