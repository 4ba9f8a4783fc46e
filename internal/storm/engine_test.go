package storm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"ctappliance/ingest"
	"ctappliance/ingest/ctlog"
	"ctappliance/ingest/ctlog/ctlogtest"
	"ctappliance/store"
	"ctappliance/store/engine"
	"ctappliance/store/engine/enginetest"
	"ctappliance/wal"
)

func TestMain(m *testing.M) {
	ctlog.Scribble() // whoever looks at entries that were given back finds none
	enginetest.Main(m)
}

// spoiler is an engine behind a proxy that spoils inserts: the real engine,
// the real network, and what lies between them.
type spoiler struct {
	*engine.Engine
	srv *httptest.Server

	mu    sync.Mutex
	rng   *rand.Rand
	calm  bool
	hit   map[string]int
	tasks sync.WaitGroup // requests that are held back
}

func newSpoiler(t *testing.T, seed uint64) *spoiler {
	s := &spoiler{rng: rand.New(rand.NewPCG(seed, 5)), hit: map[string]int{}}
	s.srv = httptest.NewServer(s)
	t.Cleanup(func() { s.srv.Close(); s.tasks.Wait() })
	return s
}

// DSN is the engine's with the proxy's address.
func (s *spoiler) DSN() string {
	u, err := url.Parse(s.Engine.DSN())
	if err != nil {
		panic(err) // the engine's own
	}
	u.Host = strings.TrimPrefix(s.srv.URL, "http://")
	return u.String()
}

var spoils = []string{"refused", "exception", "page of HTML", "cut in the body", "commit, then reset", "commit, then reset", "commit, then 502", "late", "late", "late", "kill the engine"}

// ServeHTTP implements http.Handler.
func (s *spoiler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	target, err := url.Parse(s.Engine.URL()) // of the life in which it came
	if err != nil || target.Host == "" {
		panic(http.ErrAbortHandler)
	}
	forward := &httputil.ReverseProxy{
		Rewrite:      func(pr *httputil.ProxyRequest) { pr.SetURL(target) },
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}
	statement, insert := strings.CutPrefix(r.URL.Query().Get("query"), "INSERT INTO `t`.")
	spoil, late := "", time.Duration(0)
	if s.mu.Lock(); insert && !s.calm {
		share := 3
		if strings.HasPrefix(statement, "ledger ") {
			share = 30
		}
		if s.rng.IntN(100) < share {
			spoil, late = spoils[s.rng.IntN(len(spoils))], time.Duration(s.rng.IntN(3000))*time.Millisecond
			if spoil == "kill the engine" && s.hit[spoil] == 2 {
				spoil = "late" // the engine takes longer to come back the oftener it dies
			}
			s.hit[spoil]++
		}
	}
	s.mu.Unlock()
	switch spoil {
	case "":
		forward.ServeHTTP(w, r)
	case "refused":
		panic(http.ErrAbortHandler)
	case "exception":
		w.Header().Set("X-ClickHouse-Exception-Code", "241")
		w.WriteHeader(http.StatusInternalServerError)
		io.WriteString(w, "Code: 241. DB::Exception: Memory limit exceeded (MEMORY_LIMIT_EXCEEDED)")
	case "page of HTML":
		io.WriteString(w, "<html>Please sign in</html>\n")
	case "cut in the body":
		io.CopyN(io.Discard, r.Body, 500)
		panic(http.ErrAbortHandler)
	case "commit, then reset":
		s.forward(forward, r)
		panic(http.ErrAbortHandler)
	case "commit, then 502":
		s.forward(forward, r)
		w.WriteHeader(http.StatusBadGateway)
	case "late":
		// The request sits in a buffer; its sender has long given up.
		body, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		held := r.Clone(context.WithoutCancel(r.Context()))
		held.Body = io.NopCloser(strings.NewReader(string(body)))
		s.tasks.Add(1)
		time.AfterFunc(late, func() {
			defer s.tasks.Done()
			s.forward(forward, held)
		})
		panic(http.ErrAbortHandler)
	case "kill the engine":
		done := make(chan struct{})
		go func() {
			defer close(done)
			s.forward(forward, r)
		}()
		s.Engine.Fence(context.Background())
		<-done
		panic(http.ErrAbortHandler)
	}
}

// forward sends a request on and drops the answer.
func (s *spoiler) forward(p *httputil.ReverseProxy, r *http.Request) {
	defer func() { _ = recover() }() // a connection that broke
	p.ServeHTTP(httptest.NewRecorder(), r)
}

// The same on the real engine, in real time: spoiled inserts, requests that
// are held back and come late, parts that are lost in a restart, and a
// directory of the engine that is put back as it was. A life proves and trims
// what lives before it delivered, so only what the last one brought is lost.
func TestEngine(t *testing.T) {
	want := reference(t)
	for _, tokens := range []bool{false, true} {
		if tokens && *runs < 2 {
			break // make storm has the time
		}
		t.Run(fmt.Sprint("tokens ", tokens), func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "engine")
			s := newSpoiler(t, *seed)
			s.Engine = enginetest.StartIn(t, dir)
			e := &engineRun{t: t, s: s, tokens: tokens, dir: fastDir(t)}
			for _, kind := range []ctlogtest.Kind{ctlogtest.RFC6962, ctlogtest.Static} {
				e.logs = append(e.logs, newLog(t, kind))
			}
			e.life(60, -1) // killed in the middle
			e.life(startSize, 0)
			e.dropNewest("ledger", "certs", "names", "name_certs", "profiles")
			e.grow(40)
			e.life(startSize+40, 0)

			s.Stop()
			copyOf := dir + "-copy"
			if err := os.CopyFS(copyOf, os.DirFS(dir)); err != nil {
				t.Fatal(err)
			}
			s.Engine = enginetest.StartIn(t, dir)
			e.grow(60)
			e.life(startSize+100, 0)
			s.Stop()
			if err := errors.Join(os.RemoveAll(dir), os.CopyFS(dir, os.DirFS(copyOf))); err != nil {
				t.Fatal(err)
			}
			s.Engine = enginetest.StartIn(t, dir)
			e.grow(30)
			e.life(startSize+130, 0)

			s.mu.Lock()
			s.calm = true
			s.mu.Unlock()
			e.grow(endSize - startSize - 130)
			e.life(endSize, 1)
			s.tasks.Wait()
			e.check(want)
			if e.alarms == 0 {
				t.Error("the ledger lost entries twice, and no alarm said so")
			}
			t.Log("inserts spoiled:", s.hit)
		})
	}
}

type engineRun struct {
	t      *testing.T
	s      *spoiler
	tokens bool
	dir    string
	alarms int // of lives so far
	logs   []*logUnderTest
}

func (e *engineRun) grow(n uint64) {
	for _, l := range e.logs {
		if err := l.Grow(n); err != nil {
			e.t.Fatal(err)
		}
	}
}

func (e *engineRun) open() *store.Store {
	e.t.Helper()
	for try := 0; ; try++ {
		s, err := store.Open(e.t.Context(), store.Config{Embedded: e.s, Database: "t", WriterID: "storm", NoTokens: !e.tokens, RecentBits: 12})
		if err == nil {
			return s
		}
		if try == 20 {
			e.t.Fatal(err)
		}
		e.s.Wait(e.t.Context())
	}
}

// life runs an appliance until it has delivered size entries of every log and,
// if segments is not 0, has trimmed the WAL down to so many; with -1 it is
// killed there, at the next step.
func (e *engineRun) life(size uint64, segments int) {
	e.t.Helper()
	ctx, cancel := context.WithTimeout(e.t.Context(), 3*time.Minute)
	defer cancel()
	sink := e.open()
	defer sink.Close()
	if err := sink.Exec(ctx, "SYSTEM STOP MERGES"); err != nil {
		e.t.Fatal(err)
	}
	c := ingest.Config{Dir: e.dir, Sink: sink, FlushRows: 2 * flushRows, FlushInterval: 100 * time.Millisecond, PollInterval: 50 * time.Millisecond, PartialAge: time.Millisecond,
		AuditInterval: time.Hour, WAL: wal.Options{SegmentSize: 256 << 10, Budget: 64 << 20}}
	for _, l := range e.logs {
		c.Logs = append(c.Logs, ingest.Follow{Log: l.client, Pace: l.pace, Spans: []ingest.Request{{From: 0, To: math.MaxUint64}}})
	}
	done, kill := make(chan struct{}), make(chan struct{})
	c.Step = func(step string) {
		select {
		case <-kill:
			cancel()
			if !strings.HasPrefix(step, "wal-") {
				runtime.Goexit()
			}
		default:
		}
	}
	a, err := ingest.Open(c)
	if err != nil {
		e.t.Fatal(err)
	}
	go func() {
		defer close(done)
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				st := a.Status()
				if segments > 0 && st.WAL.Segments > segments || !delivered(st, size, false) {
					continue
				}
				if close(kill); segments < 0 {
					time.Sleep(300 * time.Millisecond) // for a step to come
				}
				cancel()
				return
			}
		}
	}()
	err = a.Run(ctx)
	timedOut := errors.Is(ctx.Err(), context.DeadlineExceeded)
	cancel()
	<-done
	if st := a.Status(); timedOut && segments >= 0 {
		e.t.Fatalf("not done in time: %+v", st)
	}
	if err != nil && !errors.Is(err, context.Canceled) {
		e.t.Fatal(err)
	}
	for _, alarm := range a.Status().Alarms {
		if !ledgerFell(alarm) {
			e.t.Errorf("alarm: %s", alarm)
		}
		e.alarms++
	}
	if err := a.Close(); err != nil {
		e.t.Fatal(err)
	}
}

// dropNewest takes the newest part away from tables, and restarts the engine.
// Of the ledger it takes all parts that the newest flush may have made, one for
// each month: entries that it keeps are not brought again, and so would lack
// what else is taken.
func (e *engineRun) dropNewest(tables ...string) {
	e.t.Helper()
	s := e.open()
	defer s.Close()
	for _, table := range tables {
		rows, err := s.Rows(e.t.Context(), "SELECT name, partition_id FROM system.parts WHERE database = 't' AND active AND level = 0 AND table = {t:String} ORDER BY max_block_number DESC", store.Param("t", table))
		if err != nil {
			e.t.Fatal(err)
		}
		// None: merged with older ones, which may be trimmed.
		taken := map[string]bool{}
		for _, part := range rows {
			if taken[part[1]] || len(taken) > 0 && table != "ledger" {
				break
			}
			taken[part[1]] = true
			if err := s.Exec(e.t.Context(), "ALTER TABLE t."+table+" DROP PART '"+part[0]+"'"); err != nil {
				e.t.Fatal(err)
			}
		}
	}
	if err := errors.Join(e.s.Fence(e.t.Context()), e.s.Wait(e.t.Context())); err != nil {
		e.t.Fatal(err)
	}
}

// check holds the engine against what a run without faults leaves.
func (e *engineRun) check(want map[string]map[string]int) {
	e.t.Helper()
	s := e.open()
	defer s.Close()
	count := func(query string) string {
		rows, err := s.Rows(e.t.Context(), query)
		if err != nil || len(rows) != 1 {
			e.t.Fatalf("%s: %v, %v", query, rows, err)
		}
		return strings.Join(rows[0], " ")
	}
	if got, n := count("SELECT count(), uniqExact(log_id, idx) FROM t.ledger"), fmt.Sprint(2*endSize, " ", 2*endSize); got != n {
		e.t.Errorf("the ledger has %s rows and distinct entries, want %s", got, n)
	}
	for _, table := range []string{"names", "name_certs", "issuers"} {
		if got, n := count("SELECT uniqExact("+strings.Join(dependents[table], ", ")+") FROM t."+table), fmt.Sprint(len(want[table])); got != n {
			e.t.Errorf("%s has %s distinct rows, want %s", table, got, n)
		}
	}
	// The engine folds the rows of a certificate; what they add up to stays.
	ids, seen := map[string]byte{}, 0
	for k := range want["certs"] {
		v := split(k)
		ids[v[0]] |= v[1][0]
	}
	for _, bits := range ids {
		seen += int(bits)
	}
	if got, n := count("SELECT count(), sum(b) FROM (SELECT groupBitOr(seen) AS b FROM t.certs GROUP BY tbs_id)"), fmt.Sprint(len(ids), " ", seen); got != n {
		e.t.Errorf("certs has %s certificates and kinds, want %s", got, n)
	}
	if got := count("SELECT count() FROM t.certs WHERE profile_id != 0 AND profile_id NOT IN (SELECT id FROM t.profiles) OR pre_profile_id != 0 AND pre_profile_id NOT IN (SELECT id FROM t.profiles)"); got != "0" {
		e.t.Errorf("%s certificates without their profile", got)
	}
}
