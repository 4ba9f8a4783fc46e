package ctlog

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ctappliance/ingest/ctlog/ctlogtest"
)

// mirrorSize leaves tiles far from the head.
const mirrorSize = nearHead + 12*tileWidth + 100

var mirrored = sync.OnceValues(func() (map[bool]*ctlogtest.Log, error) {
	corpus, err := ctlogtest.NewCorpus(ctlogtest.CorpusOptions{Seed: 11})
	if err != nil {
		return nil, err
	}
	logs := map[bool]*ctlogtest.Log{}
	for _, mirror := range []bool{true, false} {
		if logs[mirror], err = ctlogtest.New(ctlogtest.Options{Corpus: corpus, Size: mirrorSize, Mirror: mirror, PageSize: 64}); err != nil {
			return nil, err
		}
	}
	return logs, nil
})

// frontend is a log's server that misbehaves at some paths, and counts.
type frontend struct {
	log *ctlogtest.Log

	mu     sync.Mutex
	bad    func(w http.ResponseWriter, r *http.Request) bool // answered
	counts map[string]int
}

func newFrontend(t testing.TB, mirror bool) *frontend {
	t.Helper()
	logs, err := mirrored()
	if err != nil {
		t.Fatal(err)
	}
	return &frontend{log: logs[mirror], counts: map[string]int{}}
}

func (f *frontend) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	kind := "rfc6962"
	for _, k := range []string{"tile", "issuer"} {
		if strings.HasPrefix(r.URL.Path, "/"+k+"/") {
			kind = k
		}
	}
	f.counts[kind]++
	bad := f.bad
	f.mu.Unlock()
	if bad != nil && bad(w, r) {
		return
	}
	f.log.Handler().ServeHTTP(w, r)
}

func (f *frontend) set(bad func(w http.ResponseWriter, r *http.Request) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.bad = bad
}

// asked returns how often something was asked for since the last call.
func (f *frontend) asked() map[string]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := f.counts
	f.counts = map[string]int{}
	return c
}

func (f *frontend) options() Options {
	return Options{UserAgent: testUA, AllowPrivate: true, Transport: ctlogtest.Transport(f)}
}

func (f *frontend) info(tiles bool) Info {
	info := Info{Key: f.log.Key(), Kind: RFC6962, URL: "http://localhost/"}
	if tiles {
		info.TileURL = info.URL
	}
	return info
}

// at answers for paths that begin with prefix.
func at(prefix string, h http.HandlerFunc) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasPrefix(r.URL.Path, prefix) {
			return false
		}
		h(w, r)
		return true
	}
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", code) }
}

// otherTile answers with the tile of another place.
func (f *frontend) otherTile(w http.ResponseWriter, r *http.Request) {
	r = r.Clone(r.Context())
	r.URL.Path = "/tile/data/001"
	f.log.Handler().ServeHTTP(w, r)
}

// read reads one tile's range as a leg would, and checks what comes. ok false:
// an error that the caller waits out.
func (f *frontend) read(t *testing.T, l Log, from uint64) (tile, ok bool) {
	t.Helper()
	end, planned := l.Plan(from, from+tileWidth, f.log.Size(), false)
	if !planned {
		t.Fatalf("no plan at %d", from)
	}
	b, err := l.Entries(t.Context(), from, end, f.log.Size())
	if err != nil {
		return false, false
	}
	for i, e := range b.Entries {
		if LeafHash(e.Leaf) != f.log.LeafHash(b.From+uint64(i)) {
			t.Fatalf("entry %d is not the log's", b.From+uint64(i))
		}
	}
	return b.Tile != nil, true
}

// TestHybridFallsBack: tiles stop being served, or are others, and come back.
func TestHybridFallsBack(t *testing.T) {
	f := newFrontend(t, true)
	for _, c := range []struct {
		name   string
		bad    http.HandlerFunc
		errors int // that the caller sees before the fallback
		tries  int // tiles asked for before the fallback
		pause  time.Duration
		retry  int // errors that each further try shows
	}{
		{"404", status(404), 0, tileFailures, firstTilePause, 0},
		{"403", status(403), 0, tileFailures, firstTilePause, 0},
		{"500", status(500), tileFailures, tileFailures, firstTilePause, 1},
		{"page", func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("<html>")) }, 0, tileFailures, firstTilePause, 0},
		{"garbage", func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("garbage")) }, 0, tileFailures, firstTilePause, 0},
		{"other tile", f.otherTile, 0, 1, lastTilePause, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f.set(at("/tile/", c.bad))
				l := openArchive(t, f.info(true), f.options())
				f.asked()
				failures := 0
				reads := func(n int) {
					for range n {
						if tile, ok := f.read(t, l, 512); tile {
							t.Fatal("a tile was believed")
						} else if !ok {
							failures++
						}
					}
				}
				reads(20)
				if got := f.asked()["tile"]; got != c.tries || failures != c.errors {
					t.Errorf("%d tiles asked for, want %d; %d errors, want %d", got, c.tries, failures, c.errors)
				}
				if end, _ := l.Plan(512, 2048, f.log.Size(), false); end == 768 {
					t.Error("tiles are planned")
				}
				if why, until := TilesPaused(l); why == "" || time.Until(until) != c.pause {
					t.Errorf("paused until %v: %q", until, why)
				}
				// One try after each pause, and longer pauses.
				pause, before := c.pause, failures
				for range 4 {
					time.Sleep(pause - time.Second)
					reads(3)
					time.Sleep(time.Second)
					if got := f.asked()["tile"]; got != 0 {
						t.Errorf("%d tiles asked for during the pause", got)
					}
					reads(3)
					if got := f.asked()["tile"]; got != 1 {
						t.Errorf("%d tiles asked for after it", got)
					}
					pause = min(2*pause, lastTilePause)
				}
				if got := failures - before; got != 4*c.retry {
					t.Errorf("%d errors, want %d", got, 4*c.retry)
				}
				f.set(nil)
				time.Sleep(pause)
				for range 3 {
					if tile, _ := f.read(t, l, 512); !tile {
						t.Error("tiles are back, and not used")
					}
				}
				if why, _ := TilesPaused(l); why != "" {
					t.Errorf("still paused: %s", why)
				}
			})
		})
	}
}

// TestHybridIsPatient: what says nothing of the tiles does not pause them.
func TestHybridIsPatient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFrontend(t, true)
		l := openArchive(t, f.info(true), f.options())
		f.set(at("/tile/", status(429)))
		for range 10 {
			if _, err := l.Entries(t.Context(), 512, 768, f.log.Size()); err == nil {
				t.Fatal("no error: who limits the rate is not asked in other ways")
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		for range 10 {
			if _, err := l.Entries(ctx, 512, 768, f.log.Size()); !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
		}
		// Tiles near the head are late, and only if none comes they are missing.
		late := mirrorSize - nearHead - mirrorSize%tileWidth + tileWidth
		f.set(at("/tile/", status(404)))
		f.asked()
		for range lateTiles - 1 {
			f.read(t, l, uint64(late))
		}
		f.set(nil)
		if tile, _ := f.read(t, l, 512); !tile {
			t.Error("no tiles, though none failed")
		}
		f.set(at("/tile/", status(404)))
		f.asked()
		for range 3 * lateTiles {
			f.read(t, l, uint64(late))
		}
		if got := f.asked()["tile"]; got != lateTiles {
			t.Errorf("%d late tiles asked for, want %d", got, lateTiles)
		}
	})
}

// TestHybridCompares: one tile of many costs a page, the first one always.
func TestHybridCompares(t *testing.T) {
	f := newFrontend(t, true)
	l := openArchive(t, f.info(true), f.options())
	f.asked()
	for range 2*compareEvery + 1 {
		if tile, _ := f.read(t, l, 0); !tile {
			t.Fatal("no tile")
		}
	}
	if got := f.asked(); got["rfc6962"] != 3 || got["tile"] != 2*compareEvery+1 {
		t.Errorf("%v", got)
	}
	// Without get-entries it is tried again soon, not at each tile.
	l = openArchive(t, f.info(true), f.options())
	f.set(at("/ct/v1/get-entries", status(500)))
	defer f.set(nil)
	for range 100 {
		f.read(t, l, 0)
	}
	if got := f.asked()["rfc6962"]; got < 2 || got > 100/(compareEvery/64)+2 {
		t.Errorf("%d comparisons", got)
	}
}

// TestHybridIssuers: issuers of tiles' entries are had from get-entries where
// they are not served any more.
func TestHybridIssuers(t *testing.T) {
	f := newFrontend(t, true)
	l := openArchive(t, f.info(true), f.options())
	b, err := l.Entries(t.Context(), 256, 512, f.log.Size())
	if err != nil {
		t.Fatal(err)
	}
	f.set(func(w http.ResponseWriter, r *http.Request) bool {
		return at("/issuer/", status(404))(w, r) || at("/tile/", status(404))(w, r)
	})
	for _, e := range b.Entries {
		for _, fingerprint := range e.Chain {
			if _, err := l.Issuer(t.Context(), fingerprint); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := l.Issuer(t.Context(), Hash{1}); !isGone(err) {
		t.Errorf("an issuer that nobody has: %v", err)
	}
}

func TestProbeTiles(t *testing.T) {
	good, none := newFrontend(t, true), newFrontend(t, false)
	const most = 4
	for _, c := range []struct {
		name       string
		f          *frontend
		bad        func(http.ResponseWriter, *http.Request) bool
		candidates []string
		url        string
		no         bool // ErrNoTiles
		requests   int
	}{
		{name: "tiles", f: good, url: "http://localhost/", requests: most},
		{name: "no tiles", f: none, no: true, requests: 2},
		{name: "elsewhere", f: good, bad: at("/tiles/", status(404)), candidates: []string{"http://localhost/tiles", "http://localhost/"}, url: "http://localhost/", requests: most + 1},
		{name: "forbidden", f: none, bad: at("/tile/", status(403)), no: true, requests: 2},
		{name: "a page for all", f: none, bad: at("/tile/", func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("<html>")) }), no: true, requests: 2},
		{name: "redirect", f: none, bad: at("/tile/", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/", http.StatusFound) }), no: true, requests: 2},
		{name: "another log's tiles", f: good, bad: at("/tile/", good.otherTile), no: true, requests: 3},
		{name: "no issuers", f: good, bad: at("/issuer/", status(404)), no: true, requests: most},
		{name: "another issuer", f: good, bad: at("/issuer/", func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte{0x30, 0}) }), no: true, requests: most},
		{name: "too many requests", f: good, bad: at("/tile/", status(429)), requests: 2},
		{name: "in trouble", f: good, bad: at("/tile/", status(500)), requests: 2},
		{name: "get-entries in trouble", f: good, bad: at("/ct/v1/get-entries", status(500)), requests: 3},
		{name: "issuers in trouble", f: good, bad: at("/issuer/", status(503)), requests: most},
		{name: "no head", f: good, bad: at("/ct/v1/get-sth", status(500)), requests: 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.f.set(c.bad)
			defer c.f.set(nil)
			c.f.asked()
			p := &recorder{}
			o := c.f.options()
			o.Pacer = p
			url, err := ProbeTiles(t.Context(), c.f.info(false), o, c.candidates...)
			if url != c.url || (err == nil) != (c.url != "") || errors.Is(err, ErrNoTiles) != c.no {
				t.Errorf("%q, %v", url, err)
			}
			if _, n := p.last(); n != c.requests {
				t.Errorf("%d requests, want %d", n, c.requests)
			}
		})
	}
	t.Run("chains differ", func(t *testing.T) {
		log, err := ctlogtest.New(ctlogtest.Options{Corpus: good.log.Corpus(), Size: 600, Mirror: true})
		if err != nil {
			t.Fatal(err)
		}
		// Only the tile: the first data request.
		if err := log.Faults().Set(ctlogtest.Fault{Mode: ctlogtest.CorruptChain, On: ctlogtest.ClassData, Count: 1}); err != nil {
			t.Fatal(err)
		}
		f := &frontend{log: log, counts: map[string]int{}}
		if url, err := ProbeTiles(t.Context(), f.info(false), f.options()); !errors.Is(err, ErrNoTiles) {
			t.Errorf("%q, %v", url, err)
		}
	})
	t.Run("small", func(t *testing.T) {
		log, err := ctlogtest.New(ctlogtest.Options{Corpus: good.log.Corpus(), Size: 255, Mirror: true})
		if err != nil {
			t.Fatal(err)
		}
		f := &frontend{log: log, counts: map[string]int{}}
		if url, err := ProbeTiles(t.Context(), f.info(false), f.options()); url != "" || err == nil || errors.Is(err, ErrNoTiles) {
			t.Errorf("%q, %v", url, err)
		}
	})
	t.Run("static", func(t *testing.T) {
		info := good.info(false)
		info.Kind = Static
		if _, err := ProbeTiles(t.Context(), info, good.options()); !errors.Is(err, ErrNoTiles) {
			t.Error(err)
		}
	})
}
