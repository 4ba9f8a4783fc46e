package ctlogtest

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// entries is what test logs hold unless a test wants others: made once.
var entries = sync.OnceValues(func() (*Corpus, error) { return NewCorpus(CorpusOptions{}) })

func newTestLog(t testing.TB, o Options) *Log {
	t.Helper()
	if o.Corpus == nil {
		var err error
		if o.Corpus, err = entries(); err != nil {
			t.Fatal(err)
		}
	}
	l, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// testClient reads a log over a real connection, without following redirects or
// unfolding gzip by itself.
type testClient struct {
	t    testing.TB
	base string
	http *http.Client
}

func serveLog(t testing.TB, l *Log) *testClient {
	t.Helper()
	s := httptest.NewServer(l.Handler())
	t.Cleanup(s.Close)
	tr := &http.Transport{DisableCompression: true}
	t.Cleanup(tr.CloseIdleConnections)
	return &testClient{t, s.URL, &http.Client{Transport: tr, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// get returns status, header and body as sent; err is what reading gave.
func (c *testClient) get(path string) (*http.Response, []byte, error) {
	c.t.Helper()
	resp, err := c.http.Get(c.base + path)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp, b, err
}

// must wants an answer with this status and unfolds it.
func (c *testClient) must(path string, status int) []byte {
	c.t.Helper()
	resp, b, err := c.get(path)
	if err != nil || resp.StatusCode != status {
		c.t.Fatalf("%s: %v, %v, %.200s", path, resp, err, b)
	}
	if resp.Header.Get("Content-Encoding") == "gzip" {
		return gunzip(c.t, b)
	}
	return b
}

func (c *testClient) json(path string, v any) {
	c.t.Helper()
	if err := json.Unmarshal(c.must(path, 200), v); err != nil {
		c.t.Fatalf("%s: %v", path, err)
	}
}

func gunzip(t testing.TB, b []byte) []byte {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	out, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// dataDir finds the captured data, or skips the test.
func dataDir(t testing.TB) string {
	t.Helper()
	dir := os.Getenv("CTAPPLIANCE_DATA")
	if dir == "" {
		at, err := os.Getwd()
		if err != nil {
			t.Fatal(err)
		}
		for {
			if _, err := os.Stat(filepath.Join(at, "go.mod")); err == nil {
				dir = filepath.Join(at, "..", "shared", "data")
				break
			}
			up := filepath.Dir(at)
			if up == at {
				t.Fatal("no go.mod above the test's directory")
			}
			at = up
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "static")); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("no captured data: %v", err)
		}
		t.Skipf("no captured data (set CTAPPLIANCE_DATA to the directory that has it): %v", err)
	}
	return dir
}
