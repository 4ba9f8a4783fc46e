//go:build linux

package bench

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"

	"ctappliance/ingest/ctlog/ctlogtest"
	"ctappliance/store/engine/enginetest"
)

// BenchmarkDoubt copies one log with the program itself while the answer to
// every flush's first insert into the ledger is lost: each flush is in doubt,
// reads its rows from the WAL again, and is counted. What it costs in memory is
// asked for; with time it says little, for after each loss the program pauses.
func BenchmarkDoubt(b *testing.B) {
	needProc(b)
	exe := build(b)
	for _, kind := range kinds {
		b.Run(kind.String(), func(b *testing.B) {
			logs := startLogs(b, logSpec{Kinds: []ctlogtest.Kind{kind}, Entries: *entries, Captured: true})
			log := &logs.Logs[0]
			for b.Loop() {
				e := enginetest.StartEngine(b)
				proxy := newLossy(b, e.DSN())
				b.Setenv("CTAPPLIANCE_STORE_DSN", proxy.dsn)
				p := start(b, exe, enginetest.Library(b), logs.pid, append([]string{"backfill", "--end", fmt.Sprint(log.Size)}, logArgs(log)...)...)
				p.watch(nil)
				p.end(false)
				e.Stop()
				if !strings.Contains(p.said.String(), fmt.Sprintf("%d rows", log.Size)) {
					b.Fatalf("backfill did not say that it has %d rows:\n%s", log.Size, &p.said)
				}
				flushes, committed, lost := proxy.counts()
				b.Logf("%d flushes; of %d their ledger rows were committed and the answer lost, of %d they were lost", flushes, committed, lost)
				if flushes < 2 || committed+lost != flushes {
					b.Fatalf("not every flush was in doubt: %s", &p.said)
				}
				b.ReportMetric(0, "ns/op")
				b.ReportMetric(float64(log.Size)/p.took.Seconds(), "entries/s")
				b.ReportMetric(perEntry(p.cpu.cpu, log.Size), "us/entry")
				b.ReportMetric(mb(p.own.rss), "MB-peak")
				b.ReportMetric(float64(flushes), "flushes")
			}
		})
	}
}

// lossy is a proxy before a ClickHouse. The first insert of each flush into the
// ledger gets no answer: of every other flush the server has taken it, of the
// others it never saw it.
type lossy struct {
	dsn     string
	forward *httputil.ReverseProxy

	mu              sync.Mutex
	seen            map[string]bool // flushes
	committed, lost int
}

func newLossy(b testing.TB, dsn string) *lossy {
	target, err := url.Parse(dsn)
	if err != nil {
		b.Fatal(err)
	}
	engine := target.Host
	l := &lossy{seen: map[string]bool{}}
	l.forward = &httputil.ReverseProxy{
		Rewrite:      func(r *httputil.ProxyRequest) { r.Out.URL.Scheme, r.Out.URL.Host = "http", engine },
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}
	server := httptest.NewServer(l)
	b.Cleanup(server.Close)
	target.Host = strings.TrimPrefix(server.URL, "http://")
	l.dsn = target.String()
	return l
}

func (l *lossy) counts() (flushes, committed, lost int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.seen), l.committed, l.lost
}

// ServeHTTP implements http.Handler.
func (l *lossy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	commit, lose := l.draw(r.URL.Query().Get("query_id"))
	if commit {
		l.forward.ServeHTTP(httptest.NewRecorder(), r)
	}
	if commit || lose {
		panic(http.ErrAbortHandler)
	}
	l.forward.ServeHTTP(w, r)
}

// draw decides about a statement. The id of a flush's begins with
// ct-FLUSH-gGENERATION-tTRY-TABLE (package store).
func (l *lossy) draw(id string) (commit, lose bool) {
	parts := strings.Split(id, "-")
	if len(parts) < 5 || parts[4] != "ledger" {
		return false, false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.seen[parts[1]] {
		return false, false
	}
	l.seen[parts[1]] = true
	if len(l.seen)%2 == 1 {
		l.committed++
		return true, false
	}
	l.lost++
	return false, true
}
