package store

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"

	"ctappliance/store/engine"
)

// proxy stands between a store and an engine and spoils inserts.
type proxy struct {
	*engine.Engine
	srv     *httptest.Server
	version string // if set, what SELECT version() is answered with

	mu    sync.Mutex
	fault func(table string) string // asked for each insert
	hit   map[string]int
}

func newProxy(t *testing.T, e *engine.Engine) *proxy {
	p := &proxy{Engine: e, hit: map[string]int{}}
	p.srv = httptest.NewServer(p)
	t.Cleanup(p.srv.Close)
	return p
}

// dsn is the engine's with the proxy's address.
func (p *proxy) dsn() string {
	u, err := url.Parse(p.Engine.DSN())
	if err != nil {
		panic(err) // the engine's own
	}
	u.Host = strings.TrimPrefix(p.srv.URL, "http://")
	return u.String()
}

// DSN makes a proxy an Embedded.
func (p *proxy) DSN() string { return p.dsn() }

func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	target, err := url.Parse(p.Engine.URL())
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	forward := &httputil.ReverseProxy{
		Rewrite:      func(pr *httputil.ProxyRequest) { pr.SetURL(target) },
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}
	if p.version != "" {
		forward.ModifyResponse = func(res *http.Response) error {
			body, err := io.ReadAll(res.Body)
			if err != nil {
				return err
			}
			body = bytes.Replace(body, []byte("version()\n26."), []byte("version()\n"+p.version+"-"), 1)
			res.Body = io.NopCloser(bytes.NewReader(body))
			res.Header.Del("Content-Length")
			return nil
		}
	}
	table, isInsert := strings.CutPrefix(r.URL.Query().Get("query"), "INSERT INTO `t`.")
	fault := ""
	if p.mu.Lock(); isInsert && p.fault != nil {
		table, _, _ = strings.Cut(table, " ")
		fault = p.fault(table)
		p.hit[fault]++
	}
	p.mu.Unlock()
	switch fault {
	case "refuse connection":
		panic(http.ErrAbortHandler)
	case "server error":
		w.Header().Set("X-ClickHouse-Exception-Code", "241")
		w.WriteHeader(500)
		io.WriteString(w, "Code: 241. DB::Exception: Memory limit exceeded (MEMORY_LIMIT_EXCEEDED)")
	case "cut in mid-body":
		// The client is cut off after some of the body; the engine sees it end.
		part, _ := io.ReadAll(io.LimitReader(r.Body, 3000))
		u := *target
		u.RawQuery = r.URL.RawQuery
		req, err := http.NewRequest("POST", u.String(), io.MultiReader(bytes.NewReader(part), errReader{}))
		if err == nil {
			req.Header = r.Header.Clone()
			if res, err := http.DefaultTransport.RoundTrip(req); err == nil {
				res.Body.Close()
			}
		}
		panic(http.ErrAbortHandler)
	case "commit, then cut":
		forward.ServeHTTP(httptest.NewRecorder(), r)
		panic(http.ErrAbortHandler)
	case "commit, then error":
		forward.ServeHTTP(httptest.NewRecorder(), r)
		w.WriteHeader(502)
		io.WriteString(w, "bad gateway")
	case "kill the engine":
		done := make(chan struct{})
		go func() {
			defer close(done)
			defer func() { recover() }() // the forwarding ends as a broken connection
			forward.ServeHTTP(httptest.NewRecorder(), r)
		}()
		p.Engine.Fence(context.Background())
		<-done
		panic(http.ErrAbortHandler)
	default:
		forward.ServeHTTP(w, r)
	}
}

type errReader struct{}

func (errReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

var faults = []string{"refuse connection", "server error", "cut in mid-body", "commit, then cut", "commit, then error", "kill the engine"}

// TestExactUnderFaults spoils half of the inserts in every way the proxy
// knows, settles each flush as delivery does, and counts: no entry may be
// missing or there twice, with tokens and without.
func TestExactUnderFaults(t *testing.T) {
	for _, tokens := range []bool{true, false} {
		t.Run(fmt.Sprint("tokens ", tokens), func(t *testing.T) {
			e, p := (*engine.Engine)(nil), (*proxy)(nil)
			s, _ := openEngine(t, func(c *Config) {
				e = c.Embedded.(*engine.Engine)
				p = newProxy(t, e)
				c.Embedded, c.NoTokens, c.RecentBits = p, !tokens, 16
			})
			seed := uint64(7)
			rng := rand.New(rand.NewPCG(seed, 0))
			p.fault = func(string) string {
				if rng.IntN(8) >= 3 {
					return ""
				}
				fault := faults[rng.IntN(len(faults))]
				if fault == "kill the engine" && p.hit[fault] == 3 {
					return "" // the engine takes longer to come back the oftener it dies
				}
				return fault
			}
			const flushes, size = 16, 200
			ctx := t.Context()
			for id := range uint64(flushes) {
				f := flushOf(id, append(rowsOf(1, id*size, size), rowsOf(2, id*size, size)...))
				err := s.InsertDependents(ctx, f)
				if err == nil {
					err = s.InsertLedger(ctx, f, nil)
				}
				for try := 0; err != nil; try++ {
					if try == 40 {
						t.Fatalf("seed %d, flush %d: still %v", seed, id, err)
					}
					if werr := e.Wait(ctx); werr != nil {
						t.Fatal(werr)
					}
					err = resolve(ctx, s, f)
				}
				if werr := e.Wait(ctx); werr != nil {
					t.Fatal(werr)
				}
				complete(t, s, f)
			}
			for _, fault := range faults {
				if p.hit[fault] == 0 {
					t.Errorf("seed %d never met %q", seed, fault)
				}
			}
			t.Log("inserts by fault:", p.hit)
			if got := one(t, s, "SELECT concat(toString(count()), ' ', toString(uniqExact(log_id, idx))) FROM {db}.ledger"); got != fmt.Sprintf("%d %[1]d", 2*flushes*size) {
				t.Errorf("the ledger has %s rows and distinct entries, want %d", got, 2*flushes*size)
			}
			for table, n := range map[string]int{"certs": 2 * flushes * size, "name_certs": flushes * size, "names": flushes * size} {
				key := map[string]string{"certs": "tbs_id", "name_certs": "(rname, tbs8)", "names": "rname"}[table]
				if got := one(t, s, "SELECT uniqExact("+key+") FROM {db}."+table); got != fmt.Sprint(n) {
					t.Errorf("%s has %s, want %d", table, got, n)
				}
			}
		})
	}
}
