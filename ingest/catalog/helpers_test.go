package catalog

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"ctappliance/ingest/ctlog"
)

// realFile returns a file of the shared data, or skips the test.
func realFile(t testing.TB, name string) []byte {
	t.Helper()
	dir := os.Getenv("CTAPPLIANCE_DATA")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "shared", "data")
	}
	b, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(name)))
	if err != nil {
		t.Skipf("no shared data (set CTAPPLIANCE_DATA): %v", err)
	}
	return b
}

// signer signs lists in the place of their publisher.
type signer struct {
	key *ecdsa.PrivateKey
	der []byte
}

func newSigner(t testing.TB) *signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return &signer{key, der}
}

func (s *signer) sign(t testing.TB, list []byte) []byte {
	t.Helper()
	digest := sha256.Sum256(list)
	sig, err := s.key.Sign(rand.Reader, digest[:], crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	return sig
}

// logKeys are the keys of test logs, made once.
var logKeys = sync.OnceValue(func() [][]byte {
	var out [][]byte
	for range 30 {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			panic(err)
		}
		der, err := x509.MarshalPKIXPublicKey(key.Public())
		if err != nil {
			panic(err)
		}
		out = append(out, der)
	}
	return out
})

// m is a JSON object.
type m = map[string]any

// testLog is a usable log of a list, with changes laid over it.
func testLog(n int, changes ...m) m {
	key := logKeys()[n]
	id := sha256.Sum256(key)
	l := m{
		"description": fmt.Sprintf("Op%d 'Shard%02d'", n%3, n), "key": key, "log_id": id[:], "mmd": 86400,
		"url":               fmt.Sprintf("https://ct%d.test.local/shard%02d/", n%3, n),
		"state":             m{"usable": m{"timestamp": "2026-01-01T00:00:00Z"}},
		"temporal_interval": m{"start_inclusive": "2026-01-01T00:00:00Z", "end_exclusive": "2026-07-01T00:00:00Z"},
	}
	for _, c := range changes {
		for k, v := range c {
			l[k] = v
		}
	}
	return l
}

func state(name, since string) m { return m{"state": m{name: m{"timestamp": since}}} }

// testList is a list of these logs, operator by operator.
func testList(version string, at time.Time, logs ...m) []byte {
	ops := map[string][]m{}
	for _, l := range logs {
		op, _, _ := strings.Cut(l["description"].(string), " ")
		ops[op] = append(ops[op], l)
	}
	var operators []m
	for _, op := range []string{"Op0", "Op1", "Op2", "Other"} {
		if len(ops[op]) > 0 {
			operators = append(operators, m{"name": op, "email": []string{"x@test.local"}, "logs": ops[op]})
		}
	}
	v := m{"operators": operators}
	if version != "" {
		v["version"] = version
	}
	if !at.IsZero() {
		v["log_list_timestamp"] = at.UTC().Format(time.RFC3339)
	}
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		panic(err)
	}
	return b
}

func testLogs(n int) []m {
	var out []m
	for i := range n {
		out = append(out, testLog(i))
	}
	return out
}

// web is a transport that answers from memory.
type web struct {
	mu    sync.Mutex
	pages map[string]func(*http.Request) (*http.Response, error)
	asked []string // URLs
}

func newWeb() *web { return &web{pages: map[string]func(*http.Request) (*http.Response, error){}} }

func (w *web) RoundTrip(r *http.Request) (*http.Response, error) {
	w.mu.Lock()
	w.asked = append(w.asked, r.URL.String())
	page := w.pages[r.URL.String()]
	w.mu.Unlock()
	if page == nil {
		return answer(r, 404, nil, []byte("not here")), nil
	}
	return page(r)
}

func (w *web) count(url string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for _, a := range w.asked {
		if a == url {
			n++
		}
	}
	return n
}

func (w *web) serve(url string, page func(*http.Request) (*http.Response, error)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pages[url] = page
}

func (w *web) put(url string, body []byte) {
	w.serve(url, func(r *http.Request) (*http.Response, error) { return answer(r, 200, nil, body), nil })
}

func (w *web) fail(url string, err error) {
	w.serve(url, func(r *http.Request) (*http.Response, error) { return nil, err })
}

func answer(r *http.Request, status int, h http.Header, body []byte) *http.Response {
	if h == nil {
		h = http.Header{}
	}
	return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)), Request: r}
}

const (
	listURL = "https://lists.test.local/log_list.json"
	sigURL  = "https://lists.test.local/log_list.sig"
	bareURL = "https://bare.test.local/list.json"
)

// publisher publishes a signed list on a web.
type publisher struct {
	t testing.TB
	*signer
	*web
}

func newPublisher(t testing.TB) *publisher { return &publisher{t, newSigner(t), newWeb()} }

func (p *publisher) source() Source {
	return Source{Name: "signed", URL: listURL, SigURL: sigURL, Key: p.der}
}

func (p *publisher) publish(list []byte) {
	p.put(listURL, list)
	p.put(sigURL, p.sign(p.t, list))
}

// bare is a source without a signature.
func bare() Source { return Source{Name: "bare", URL: bareURL} }

// open opens a catalog on a web.
func open(t testing.TB, w *web, dir string, sources ...Source) *Catalog {
	t.Helper()
	c, err := Open(Options{Dir: dir, Sources: sources, Transport: w, UserAgent: "test +https://test.local"})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// names returns the names of logs, joined.
func names(logs []Listed) string {
	var out []string
	for _, l := range logs {
		out = append(out, l.Name)
	}
	return strings.Join(out, "; ")
}

// wantErr checks that an error is one clear line that holds all the words.
func wantErr(t testing.TB, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("no error, want one with %q", words)
		return
	}
	if s := err.Error(); strings.ContainsAny(s, "\n\x1b") || len(s) > 700 {
		t.Errorf("not one clear line: %q", s)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("error %q does not say %q", err, w)
		}
	}
}

// lines collects what a logger says.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *lines) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
}

// find returns the log of that name.
func find(t testing.TB, logs []Listed, name string) Listed {
	t.Helper()
	for _, l := range logs {
		if l.Name == name {
			return l
		}
	}
	t.Fatalf("no log %q in %s", name, names(logs))
	return Listed{}
}

func idOf(n int) ctlog.Hash { return sha256.Sum256(logKeys()[n]) }
