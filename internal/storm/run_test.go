package storm

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"ctappliance/ingest"
	"ctappliance/ingest/ctlog"
	"ctappliance/ingest/ctlog/ctlogtest"
	"ctappliance/ingest/pace"
	"ctappliance/schema"
	"ctappliance/store"
	"ctappliance/store/storetest"
	"ctappliance/wal"
)

const (
	startSize   = 150 // entries of each log at the beginning
	stormSize   = 450 // and when the faults stop
	endSize     = 620 // what follows is enough to trim what came before
	growth      = 10
	growEvery   = 15 * time.Second
	flushRows   = 40
	segmentSize = 160 << 10
	stormTime   = 4 * time.Hour  // of the bubble: when faults stop at the latest
	endTime     = 24 * time.Hour // when it must be done
)

// corpora are what the logs of each kind hold, in all runs: entries cost more
// than everything else. The two have no certificate in common, for what one
// log brings again could hide what was lost of the other.
var corpora = map[ctlogtest.Kind]func() (*ctlogtest.Corpus, error){
	ctlogtest.RFC6962: corpusOf(1),
	ctlogtest.Static:  corpusOf(2),
}

func corpusOf(seed uint64) func() (*ctlogtest.Corpus, error) {
	return sync.OnceValues(func() (*ctlogtest.Corpus, error) {
		return ctlogtest.NewCorpus(ctlogtest.CorpusOptions{Seed: seed, Step: 12 * time.Hour}) // a flush often reaches into another month
	})
}

// run is one schedule.
type run struct {
	t    *testing.T
	v    variant
	rng  *rand.Rand
	dir  string
	srv  *storetest.Server
	logs []*logUnderTest

	mu       sync.Mutex // what follows; the server asks from its goroutines
	calm     bool       // faults have stopped
	kill     func()     // ends the present life
	mortal   bool       // the server dies now and then
	careless bool       // things happen to the data directory
	backup   string     // a copy of the data directory; empty is none
	snaps    []*storetest.Snapshot
	safe     uint64 // parts up to here were there when a segment was proven
	struck   map[string]int
	got      total
	history  []string
}

type logUnderTest struct {
	*ctlogtest.Log
	client ctlog.Log
	pace   *pace.Pacer
	id     uint64
}

func newRun(t *testing.T, v variant, seed uint64) *run {
	t.Helper()
	r := &run{t: t, v: v, rng: rand.New(rand.NewPCG(seed, 17)), struck: map[string]int{}, dir: fastDir(t)}
	r.srv = storetest.New(storetest.Options{PublishFirst: v.publishFirst, Wobble: true})
	r.srv.Decide(r.decide)
	for _, kind := range []ctlogtest.Kind{ctlogtest.RFC6962, ctlogtest.Static} {
		r.logs = append(r.logs, newLog(t, kind))
	}
	r.got.runs = 1
	r.mortal, r.careless = r.rng.IntN(4) > 0 && !v.steady, r.rng.IntN(3) == 0 && !v.hidden
	return r
}

func newLog(t *testing.T, kind ctlogtest.Kind) *logUnderTest {
	t.Helper()
	c, err := corpora[kind]()
	if err != nil {
		t.Fatal(err)
	}
	l, err := ctlogtest.New(ctlogtest.Options{Kind: kind, Size: startSize, Name: kind.String() + "-storm", PageSize: 25, PlainTiles: true, Corpus: c})
	if err != nil {
		t.Fatal(err)
	}
	info := l.Info("https://log.ctappliance.test/")
	pacer := pace.New(pace.Options{Start: 1e4})
	client, err := ctlog.New(ctlog.Info{ID: info.ID, Key: info.Key, Name: info.Name, Operator: info.Operator, Kind: ctlog.Kind(info.Kind),
		URL: info.URL, SubmissionURL: info.SubmissionURL}, ctlog.Options{UserAgent: "ctappliance-test (test@ctappliance.test)",
		Pacer: pacer, Transport: ctlogtest.Transport(l.Handler()), PageSize: 32})
	if err != nil {
		t.Fatal(err)
	}
	return &logUnderTest{Log: l, client: client, pace: pacer, id: schema.ShortID(info.ID)}
}

// fastDir is t.TempDir in memory where there is such a file system.
func fastDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "storm-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir); os.RemoveAll(dir + "-backup") })
	return dir
}

// all runs the schedule to its end.
func (r *run) all() total {
	ctx, cancel := context.WithCancel(r.t.Context())
	defer cancel()
	grown := make(chan struct{})
	go func() {
		defer close(grown)
		for size := uint64(startSize); size < stormSize; size += growth {
			for _, l := range r.logs {
				if err := l.Grow(growth); err != nil {
					r.t.Error(err)
				}
			}
			select {
			case <-time.After(growEvery):
			case <-ctx.Done():
				return
			}
		}
	}()
	began := time.Now()
	for n := 0; !r.life(began.Add(stormTime), stormSize); n++ {
		if n > 500 {
			r.t.Fatal("500 lives were not enough")
		}
		if r.careless {
			r.mishap()
		}
	}
	<-grown
	r.mu.Lock()
	r.calm = true
	r.mu.Unlock()
	for _, l := range r.logs {
		if err := l.Grow(endSize - stormSize); err != nil {
			r.t.Fatal(err)
		}
	}
	if !r.life(time.Now().Add(endTime), endSize) {
		r.t.Fatalf("killed in calm weather")
	}
	r.got.boots = r.srv.Boots()
	r.got.statements = r.srv.Statements()
	for _, c := range r.srv.Complaints() {
		r.t.Errorf("the server complains: %s", c)
	}
	return r.got
}

// life runs an appliance until it has delivered size entries of every log, or
// it is killed, or the storm is over.
func (r *run) life(until time.Time, size uint64) (done bool) {
	ctx, cancel := context.WithCancel(r.t.Context())
	defer cancel()
	killed := false
	r.mu.Lock()
	r.got.lives++
	calm := r.calm
	r.kill = func() { killed = true; cancel() } // r.mu is held
	r.mu.Unlock()
	sink := r.open(ctx, until)
	if sink == nil {
		return false
	}
	defer sink.Close()
	c := ingest.Config{Dir: r.dir, Sink: sink, FlushRows: flushRows, PollInterval: 5 * time.Second, PartialAge: time.Millisecond, AuditInterval: 1000 * time.Hour,
		WAL: wal.Options{SegmentSize: segmentSize, Budget: 4 << 20}}
	for _, l := range r.logs {
		c.Logs = append(c.Logs, ingest.Follow{Log: l.client, Pace: l.pace, Spans: []ingest.Request{{From: 0, To: math.MaxUint64}}})
	}
	c.Step = func(step string) {
		r.mu.Lock()
		r.step(step)
		end := killed
		r.mu.Unlock()
		if end && !strings.HasPrefix(step, "wal-") {
			runtime.Goexit() // the deliverer does nothing more, as if it were killed
		}
	}
	a, err := ingest.Open(c)
	if err != nil {
		r.t.Fatalf("opening: %v", err)
	}
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		for ctx.Err() == nil {
			if time.Now().After(until) {
				if calm {
					r.t.Errorf("not done in time: %+v", a.Status())
				}
				done = true
			} else {
				done = delivered(a.Status(), size, calm)
			}
			if done {
				cancel()
				return
			}
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
			}
		}
	}()
	err = a.Run(ctx)
	cancel()
	<-watched
	if err != nil && !errors.Is(err, context.Canceled) {
		r.t.Fatalf("running: %v", err)
	}
	for _, alarm := range a.Status().Alarms {
		if !r.mortal && ledgerFell(alarm) || !r.v.limit && strings.Contains(alarm, "rows for") {
			r.t.Errorf("alarm: %s", alarm)
		}
	}
	if err := a.Close(); err != nil {
		r.t.Fatalf("closing: %v", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return done && !killed
}

// ledgerFell says whether an alarm is about rows that were in the ledger and
// are not any more.
func ledgerFell(alarm string) bool {
	return strings.Contains(alarm, "the ledger lost") || strings.Contains(alarm, "it is older than it was")
}

// open opens a store, as often as it takes.
func (r *run) open(ctx context.Context, until time.Time) *store.Store {
	for {
		s, err := store.Open(ctx, store.Config{DSN: r.srv.DSN(), Dial: r.srv.Dial, WriterID: "storm", NoTokens: !r.v.tokens, RecentBits: 12, Timeout: 2 * time.Minute})
		if err == nil {
			return s
		}
		if ctx.Err() != nil {
			return nil
		}
		if time.Now().After(until) {
			r.t.Fatalf("the store does not open: %v", err)
		}
		select {
		case <-time.After(5 * time.Second):
		case <-ctx.Done():
			return nil
		}
	}
}

// delivered says whether the logs are in the store; in the end also whether
// nothing is left to be proven.
func delivered(st ingest.Status, size uint64, settled bool) bool {
	for _, l := range st.Logs {
		if l.Delivered < size {
			return false
		}
		for _, s := range l.Spans {
			if s.To != math.MaxUint64 && s.Delivered < s.To {
				return false
			}
		}
	}
	return !settled || st.WAL.Segments <= 1
}

// step is called at every step of the appliance. r.mu is held.
func (r *run) step(step string) {
	if step == "trim" {
		// What is proven now must never be lost again.
		r.got.trims++
		snap := r.srv.Snapshot()
		r.safe, r.snaps = snap.Seq(), append(r.snaps[:0], snap)
	}
	if r.calm {
		return
	}
	switch {
	case r.rng.IntN(400) == 0:
		r.note("killed at step " + step)
		r.kill()
	case r.rng.IntN(8) == 0 && step != "trim":
		if len(r.snaps) > 5 {
			r.snaps = r.snaps[1:]
		}
		r.snaps = append(r.snaps, r.srv.Snapshot())
	}
}

func (r *run) note(what string) {
	name, _, _ := strings.Cut(what, ":")
	r.struck[name]++
	r.history = append(r.history, fmt.Sprintf("%s %s", time.Now().Format("15:04:05"), what))
}
