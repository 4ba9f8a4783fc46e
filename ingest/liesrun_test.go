package ingest

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"ctappliance/ingest/ctlog"
	"ctappliance/ingest/ctlog/ctlogtest"
	"ctappliance/ingest/pace"
	"ctappliance/schema"
)

// leafSink is a ledger that holds every leaf against the log's own.
type leafSink struct {
	*memSink
	log   *ctlogtest.Log
	id    uint64
	mu    sync.Mutex
	wrong []uint64 // entries that came in with another leaf
}

func (s *leafSink) InsertLedger(ctx context.Context, f *schema.Flush, keep func(log, index uint64) bool) error {
	f, err := s.unpack(f)
	if err != nil {
		return err
	}
	s.mu.Lock()
	for _, r := range f.Rows {
		if r.LogID == s.id && !bytes.Equal(r.Leaf, s.log.Leaf(r.Index)) {
			s.wrong = append(s.wrong, r.Index)
		}
	}
	s.mu.Unlock()
	return s.memSink.InsertLedger(ctx, f, keep)
}

// hosts notes to which hosts requests went.
type hosts struct {
	http.RoundTripper
	mu   sync.Mutex
	seen map[string]int
}

func (h *hosts) RoundTrip(r *http.Request) (*http.Response, error) {
	h.mu.Lock()
	h.seen[r.URL.Scheme+"://"+r.URL.Host]++
	h.mu.Unlock()
	return h.RoundTripper.RoundTrip(r)
}

// all returns the hosts that were asked so far.
func (h *hosts) all() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Sorted(maps.Keys(h.seen))
}

const (
	lieMaxBody = 8 << 20
	// lieHeap is what the heap may grow by: four answers at the limit, what
	// reading them takes, and garbage. A missing limit takes 10 GB.
	lieHeap = 512 << 20
)

var lieCorpus = sync.OnceValue(func() *ctlogtest.Corpus {
	c, err := ctlogtest.NewCorpus(ctlogtest.CorpusOptions{Seed: 7})
	if err != nil {
		panic(err)
	}
	return c
})

// watchHeap samples the heap, outside of any bubble's clock, until stopped.
// It ends the test binary where the bound is broken: what would follow is the
// machine's last memory.
func watchHeap(what string) (stop func() (grown uint64)) {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	base := m.HeapAlloc
	var most atomic.Uint64
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-quit:
				return
			case <-tick.C:
			}
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			if grown := m.HeapAlloc - min(base, m.HeapAlloc); grown > most.Load() {
				most.Store(grown)
				if grown > lieHeap {
					panic(fmt.Sprintf("%s: the heap grew by %d MiB", what, grown>>20))
				}
			}
		}
	}()
	return func() uint64 {
		close(quit)
		<-done
		return most.Load()
	}
}

func (l lie) run(t *testing.T, kind ctlogtest.Kind) {
	if l.bulky && testing.Short() {
		t.Skip("gigabytes are served")
	}
	liar, err := ctlogtest.New(ctlogtest.Options{Kind: kind, Size: lieSize, Name: kind.String() + "-liar", PageSize: 50, Corpus: lieCorpus()})
	if err != nil {
		t.Fatal(err)
	}
	grown := func() uint64 { return 0 }
	if l.bulky {
		grown = watchHeap(l.name)
	}
	var line string
	synctest.Test(t, func(t *testing.T) { line = l.live(t, liar, kind) })
	if heap := grown(); l.bulky {
		line += fmt.Sprintf(", heap +%d MiB", heap>>20)
	}
	t.Logf("%-34s %-8v %s", l.name, kind, line)
}

// live is the life of an appliance under a lie. It returns what came of it.
func (l lie) live(t *testing.T, liar *ctlogtest.Log, kind ctlogtest.Kind) string {
	info := liar.Info("https://log.ctappliance.test/")
	net := &hosts{RoundTripper: ctlogtest.Transport(liar.Handler()), seen: map[string]int{}}
	pacer := pace.New(pace.Options{Start: 1e4})
	client, err := ctlog.New(ctlog.Info{ID: info.ID, Key: info.Key, Name: info.Name, Kind: ctlog.Kind(info.Kind), URL: info.URL, SubmissionURL: info.SubmissionURL},
		ctlog.Options{UserAgent: "ctappliance-test (test@ctappliance.test)", Pacer: pacer, Transport: net, PageSize: 64, MaxBody: lieMaxBody})
	if err != nil {
		t.Fatal(err)
	}
	log := &testLog{Log: liar, client: client, pace: pacer, id: schema.ShortID(info.ID)}
	sink := &leafSink{memSink: newMemSink(), log: liar, id: log.id}
	logs := []*testLog{log}
	if l.halt != "" {
		logs = append(logs, dial(t, sharedLog(t, ctlogtest.Static-kind)))
	}
	c := bubbleConfig(t, sink, logs...)
	for i := range c.Logs {
		c.Logs[i].Spans[0].To = Forever
	}
	c.UntilDone, c.verifyEvery = false, 256
	if !l.trimmed {
		c.WAL.SegmentSize, c.WAL.Budget = 4<<20, 16<<20
	}
	c.PollInterval, c.PartialAge, c.AuditInterval = time.Minute, 10*time.Second, 1000*time.Hour
	if l.audits {
		c.AuditInterval = 10 * time.Minute
	}

	ctx, cancel := context.WithCancel(t.Context())
	a, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	arm := func() {
		if err := liar.Faults().Set(l.faults...); err != nil {
			t.Fatal(err)
		}
	}
	if l.fresh {
		arm()
	}
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	if !l.fresh {
		time.Sleep(210 * time.Second) // between two polls
		if s := a.Status().Logs[0]; s.Verified != lieSize || s.Delivered != lieSize || s.LastError != "" {
			t.Fatalf("before the lie: %+v", s)
		}
	}
	if !l.fresh {
		arm()
	}
	size := uint64(lieSize)
	if !l.still {
		size = lieGrown
		if l.grown != 0 {
			size = l.grown
		}
		if err := liar.Grow(size - lieSize); err != nil {
			t.Fatal(err)
		}
	}
	before := requests(liar)
	lasts := l.lasts
	if lasts == 0 {
		lasts = 2 * time.Hour
	}
	time.Sleep(lasts)
	under := a.Status()
	perHour := float64(requests(liar)-before) / lasts.Hours()
	l.judge(t, under, sink, perHour, size)
	if seen := net.all(); len(seen) != 1 {
		t.Errorf("requests went to %v", seen)
	}
	for _, f := range l.faults {
		if liar.Faults().Fired()[f.Mode] == 0 {
			t.Errorf("%s never struck", f.Mode)
		}
	}

	// The fault ends.
	if err := liar.Faults().Set(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(40 * time.Minute)
	st := a.Status()
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	s := under.Logs[0]
	line := fmt.Sprintf("verified %d of %d, delivered %d, %.0f requests/h", s.Verified, size, s.Delivered, perHour)
	found := l.evidence(t, c, info)
	if len(found) > 0 {
		line += fmt.Sprintf(", evidence %v", found)
	}
	if l.halt != "" {
		l.staysHalted(t, c, liar, st, logs, sink)
		return "HALTED " + l.halt + ": " + line
	}
	if s := st.Logs[0]; s.State != "caught up" || s.Verified != size || s.Delivered != size || !s.Heads.BehindSince.IsZero() {
		t.Errorf("40 minutes after the fault it is %q: verified %d, delivered %d of %d: %s", s.State, s.Verified, s.Delivered, size, s.LastError)
	}
	if err := sink.check(log.id, 0, size); err != nil {
		t.Error(err)
	}
	if len(sink.wrong) > 0 {
		t.Errorf("wrong leaves were delivered, and nobody says so: %v", sink.wrong)
	}
	if l.says != "" && l.limit != 0 {
		return "waits (" + l.says + "), recovers: " + line
	}
	return "harmless: " + line
}

func requests(l *ctlogtest.Log) (n uint64) {
	for _, k := range l.Stats().Requests {
		n += k
	}
	return n
}

// judge holds what the appliance says under the lie against the truth.
func (l lie) judge(t *testing.T, st Status, sink *leafSink, perHour float64, size uint64) {
	s := st.Logs[0]
	limit := l.limit
	if limit == 0 {
		limit = size
	}
	if s.Verified > limit {
		t.Errorf("verified up to %d, the truth ends at %d", s.Verified, limit)
	}
	sink.mu.Lock()
	for _, i := range sink.wrong {
		if i < s.Verified {
			t.Errorf("entry %d is called verified, its leaf is not the log's", i)
		}
	}
	sink.mu.Unlock()
	if err := sink.check(sink.id, 0, s.Delivered); err != nil {
		t.Errorf("under the lie: %v", err)
	}
	if l.limit == 0 && l.halt == "" && (s.Verified != size || s.Delivered != size) {
		t.Errorf("it stands in the way: verified %d, delivered %d of %d: %s", s.Verified, s.Delivered, size, s.LastError)
	}
	most := 300
	if l.often != 0 {
		most = l.often
	}
	if perHour > float64(most) {
		t.Errorf("%.0f requests per hour", perHour)
	}
	if l.halt != "" {
		if s.State != "halted" || s.HaltKind != l.halt || s.Halted == "" || s.Evidence == "" {
			t.Errorf("it is %q, halted for %q (%q), evidence %q, last error %q", s.State, s.HaltKind, s.Halted, s.Evidence, s.LastError)
		}
	} else if s.State == "halted" {
		t.Errorf("it is halted: %s", s.Halted)
	}
	if (l.says == "") != (s.LastError == "") || !strings.Contains(s.LastError, l.says) {
		if l.halt == "" {
			t.Errorf("last error is %q, want %q", s.LastError, l.says)
		}
	}
	if l.alarm == "" && len(st.Alarms) > 0 || l.alarm != "" && !hasAlarm(st, l.alarm) {
		t.Errorf("alarms: %q", st.Alarms)
	}
	if l.counts != nil && l.counts(s.Heads) == 0 {
		t.Errorf("it is not counted: %+v", s.Heads)
	}
}

// evidence holds what was kept against what is due, and returns its kinds.
func (l lie) evidence(t *testing.T, c Config, info ctlogtest.Info) (kinds []string) {
	want := slices.Clone(l.notes)
	if l.halt != "" {
		want = append(want, l.halt)
	}
	files, _ := filepath.Glob(filepath.Join(evidenceDir(c.Dir), "*.json"))
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var doc evidenceDoc
		if err := json.Unmarshal(b, &doc); err != nil {
			t.Fatal(err)
		}
		kinds = append(kinds, doc.Kind)
		if doc.Halted != (doc.Kind == l.halt) {
			t.Errorf("evidence of %q says halted: %v", doc.Kind, doc.Halted)
		}
		l.checkDoc(t, c, info, &doc)
	}
	slices.Sort(kinds)
	slices.Sort(want)
	if !slices.Equal(kinds, want) {
		t.Errorf("evidence of kinds %v, want %v", kinds, want)
	}
	return kinds
}

func (l lie) checkDoc(t *testing.T, c Config, info ctlogtest.Info, doc *evidenceDoc) {
	for _, h := range doc.Heads {
		parsed, err := ctlog.ParseHead(ctlog.Info{ID: info.ID, Key: info.Key, Kind: ctlog.Kind(info.Kind), SubmissionURL: info.SubmissionURL}, h.Raw)
		if err != nil || parsed.Size != h.Size || fmt.Sprintf("%x", parsed.Root) != h.Root {
			t.Errorf("head of %d in the evidence of %q: %v", h.Size, doc.Kind, err)
		}
	}
	switch doc.Kind {
	case KindSplitView, KindRollback, KindBackdated, KindMismatch, KindNoProof:
		if l.fresh && len(doc.Heads) == 1 {
			break // there was no other yet
		}
		if len(doc.Heads) != 2 || doc.Heads[0].Size == doc.Heads[1].Size && doc.Heads[0].Root == doc.Heads[1].Root {
			t.Errorf("evidence of %q has heads %+v", doc.Kind, doc.Heads)
		}
	case KindBadHead:
		if len(doc.Answers) != 1 || len(doc.Answers[0].Body) == 0 {
			t.Errorf("the bad head is not kept: %+v", doc.Answers)
		}
	}
	if doc.Kind == KindRewritten && (len(doc.Heads) != 1 || len(doc.Answers) < 2 || !slices.ContainsFunc(doc.Answers, func(a ctlog.Answer) bool { return len(a.Body) > 0 && !a.Cut })) {
		t.Errorf("what it serves now is not kept: %d heads, %d answers", len(doc.Heads), len(doc.Answers))
	}
	if doc.Kind == KindNoProof && (len(doc.Answers) == 0 || len(doc.Answers[0].Body) == 0) {
		t.Errorf("the proof is not kept: %+v", doc.Answers)
	}
	if doc.Kind != KindMismatch {
		return
	}
	e := doc.Entries
	if e == nil || e.From != lieSize || e.Absent != 0 || e.Records == 0 || filepath.Base(e.File) != e.File {
		t.Errorf("entries kept: %+v", e)
		return
	}
	if l.faults[0].To != 0 && (e.WrongFrom > lieAt || e.WrongTo <= lieAt) {
		t.Errorf("the wrong entry is looked for in [%d,%d)", e.WrongFrom, e.WrongTo)
	}
	b, err := os.ReadFile(filepath.Join(evidenceDir(c.Dir), e.File))
	if err != nil {
		t.Fatal(err)
	}
	if (e.KeptFrom > e.From) != l.trimmed {
		t.Errorf("entries are kept from %d, proven up to %d", e.KeptFrom, e.From)
	}
	next := e.KeptFrom
	for n := 0; len(b) > 0; n++ {
		size := binary.BigEndian.Uint32(b[8:])
		rec, err := decodeRecord(b[12 : 12+size])
		if err != nil {
			t.Fatal(err)
		}
		if rec.from != next {
			t.Errorf("kept entries go on at %d, not at %d", rec.from, next)
		}
		next = rec.end()
		b = b[12+size:]
	}
	if next != e.To {
		t.Errorf("entries are kept up to %d of %d", next, e.To)
	}
}

// staysHalted holds the other log against its truth, and starts again: nothing
// is forgotten, and nothing is asked of the halted log but its head.
func (l lie) staysHalted(t *testing.T, c Config, liar *ctlogtest.Log, st Status, logs []*testLog, sink *leafSink) {
	if o := st.Logs[1]; o.State != "caught up" || o.Verified != o.Wanted || o.Verified == 0 {
		t.Errorf("the other log is %q: verified %d of %d", o.State, o.Verified, o.Wanted)
	}
	if err := sink.check(logs[1].id, 0, logs[1].Size()); err != nil {
		t.Errorf("the other log: %v", err)
	}
	was := st.Logs[0]
	data := liar.Stats().Requests[ctlogtest.ClassData]
	a, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(time.Hour, cancel)
	if err := a.Run(ctx); err != nil {
		t.Error(err)
	}
	is := a.Status().Logs[0]
	if is.State != "halted" || is.HaltKind != was.HaltKind || is.Halted != was.Halted || is.Evidence != was.Evidence || is.Verified > was.Verified {
		t.Errorf("after a restart it is %q, %q (%q), verified %d", is.State, is.HaltKind, is.Halted, is.Verified)
	}
	if n := liar.Stats().Requests[ctlogtest.ClassData] - data; n != 0 {
		t.Errorf("%d requests for entries of a halted log", n)
	}
}

// A log that was caught before anything of it was copied stays halted over a
// restart too, until an operator says otherwise.
func TestHaltWithoutSpans(t *testing.T) {
	l := newLog(t, ctlogtest.RFC6962, 10)
	log := dial(t, l)
	good, err := log.client.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Faults().Set(ctlogtest.Fault{Mode: ctlogtest.SplitView}); err != nil {
		t.Fatal(err)
	}
	bad, err := log.client.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c := bubbleConfig(t, newMemSink(), log)
	open := func() *follower {
		a, err := Open(c)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { a.Close() })
		return a.following()[0]
	}
	f := open()
	f.observe(t.Context(), good)
	if f.isHalted() {
		t.Fatal("halted by an honest head")
	}
	f.observe(t.Context(), bad)
	first := f.status()
	if first.State != "halted" || first.HaltKind != KindSplitView {
		t.Fatalf("%+v", first)
	}
	if err := f.a.Close(); err != nil {
		t.Fatal(err)
	}
	again := open()
	if s := again.status(); s.Halted != first.Halted || s.HaltKind != KindSplitView || s.Evidence != first.Evidence {
		t.Errorf("after a restart: %+v", s)
	}
	if err := again.a.Close(); err != nil {
		t.Fatal(err)
	}
	c.ResumeHalted = true
	if s := open().status(); s.State == "halted" {
		t.Errorf("resumed: %+v", s)
	}
}

// Frontends out of step, each with a head of its own, do not cost the log a
// proof at every poll.
func TestFewProofsOfSmallerHeads(t *testing.T) {
	l := newLog(t, ctlogtest.RFC6962, 600)
	synctest.Test(t, func(t *testing.T) {
		log := dial(t, l)
		a, err := Open(bubbleConfig(t, newMemSink(), log))
		if err != nil {
			t.Fatal(err)
		}
		defer a.Close()
		f := a.following()[0]
		for i := range int64(120) {
			if err := l.Faults().Set(ctlogtest.Fault{Mode: ctlogtest.RolledBack, N: max(i, 1), After: int(1 - min(i, 1))}); err != nil {
				t.Fatal(err)
			}
			head, err := log.client.Head(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			f.observe(t.Context(), head)
			time.Sleep(time.Second)
		}
		s := f.status()
		proofs := l.Stats().Requests[ctlogtest.ClassProof]
		if s.Halted != "" || s.Head != 600 || s.Heads.RolledBack != 119 || proofs == 0 || proofs > 2*3 {
			t.Errorf("%d proofs, %+v", proofs, s)
		}
	})
}

// Evidence that found no room when a log was halted is kept when there is some.
func TestEvidenceFindsRoom(t *testing.T) {
	l := newLog(t, ctlogtest.RFC6962, 600)
	synctest.Test(t, func(t *testing.T) {
		log := dial(t, l)
		c := bubbleConfig(t, newMemSink(), log)
		c.UntilDone = false
		if err := os.WriteFile(evidenceDir(c.Dir), nil, 0o600); err != nil { // where the directory should be
			t.Fatal(err)
		}
		a, err := Open(c)
		if err != nil {
			t.Fatal(err)
		}
		defer a.Close()
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- a.Run(ctx) }()
		time.Sleep(time.Minute)
		if err := l.Faults().Set(ctlogtest.Fault{Mode: ctlogtest.SplitView}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if s := a.Status().Logs[0]; s.State != "halted" || s.Evidence != "" {
			t.Errorf("without room: %q, evidence %q", s.State, s.Evidence)
		}
		if err := os.Remove(evidenceDir(c.Dir)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		s := a.Status().Logs[0]
		if path, kind, reason := LastHalt(c.Dir, log.client.Info().ID); path == "" || path != s.Evidence || kind != KindSplitView || reason != s.Halted {
			t.Errorf("with room: %q, kind %q, reason %q; status %+v", path, kind, reason, s)
		}
		if files, _ := filepath.Glob(filepath.Join(evidenceDir(c.Dir), "*")); len(files) != 1 {
			t.Errorf("%v", files)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
