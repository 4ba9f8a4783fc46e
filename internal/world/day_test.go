package world

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"text/tabwriter"
	"time"

	"ctappliance/ingest"
	"ctappliance/ingest/catalog"
	"ctappliance/ingest/ctlog"
	"ctappliance/ingest/pace"
	"ctappliance/schema"
	"ctappliance/store"
	"ctappliance/store/storetest"
	"ctappliance/wal"
)

var dayLength = flag.Duration("world.day", 2*time.Hour, "how long TestDay's day is")

// dayScale is the one factor between the world's growth and that of TestDay.
const dayScale = 1. / 600

// lists returns the two real lists.
func lists(t testing.TB) (first, update []byte) {
	t.Helper()
	dir := os.Getenv("CTAPPLIANCE_DATA")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "shared", "data")
	}
	read := func(name string) []byte {
		b, err := os.ReadFile(filepath.Join(dir, "loglists", name))
		if errors.Is(err, fs.ErrNotExist) {
			t.Skipf("the real log lists are not here: %v", err)
		}
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	return read("google-v3-81.14-2026-01-20.json"), read("google-v3-85.92-2026-05-29.json")
}

// day is an appliance in a world, in a bubble.
type day struct {
	t      *testing.T
	w      *World
	srv    *storetest.Server
	a      *ingest.Appliance
	lists  *catalog.Catalog
	pacers map[string]*pace.Pacer
	known  map[ctlog.Hash]ingest.Follow // all that were ever followed
	series []point
	began  time.Time
}

// point is one line of the time series.
type point struct {
	at               time.Duration
	logs             int
	behind, most     uint64
	asked            Counts
	wal              int64
	heap             uint64
	goroutines       int
	delivered        uint64
	halted, retrying int
}

// A day in the life: every log that survives it is copied whole, once, and
// verified to its last head, whatever became of the others.
func TestDay(t *testing.T) {
	first, update := lists(t)
	real := time.Now()
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(time.Date(2026, 5, 30, 0, 0, 0, 0, time.UTC)))
		w, err := New(Options{List: first, Update: update, Seed: 1, Scale: dayScale, History: time.Hour, Resting: 600, Plain: 0.97, CacheBytes: 256 << 10})
		if err != nil {
			t.Fatal(err)
		}
		d := &day{t: t, w: w, srv: storetest.New(storetest.Options{Wobble: true, Lean: true}), pacers: map[string]*pace.Pacer{}, known: map[ctlog.Hash]ingest.Follow{}, began: time.Now()}
		defer d.srv.Close()
		d.run()
	})
	t.Logf("%v in %v", *dayLength, time.Since(real).Round(time.Second))
}

func (d *day) run() {
	t := d.t
	dir, err := os.MkdirTemp("/dev/shm", "world-test-")
	if err != nil {
		dir = t.TempDir()
	}
	defer os.RemoveAll(dir)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	sink, err := store.Open(ctx, store.Config{DSN: d.srv.DSN(), Dial: d.srv.Dial, WriterID: "world"})
	if err != nil {
		t.Fatal(err)
	}
	defer sink.Close()
	d.lists, err = catalog.Open(catalog.Options{Transport: d.w.Transport(), Refresh: *dayLength / 24,
		Sources: []catalog.Source{{Name: "google", URL: ListURL, SigURL: SigURL, Key: d.w.ListKey()}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.lists.Refresh(ctx); err != nil {
		t.Fatal(err)
	}
	d.a, err = ingest.Open(ingest.Config{Dir: dir, Sink: sink, Logs: d.follows(), FlushInterval: 30 * time.Second, PollInterval: time.Minute, AuditInterval: 6 * time.Hour,
		WAL: wal.Options{SegmentSize: 4 << 20, Budget: 256 << 20}})
	if err != nil {
		t.Fatal(err)
	}
	ran := make(chan error, 1)
	go func() { ran <- d.a.Run(ctx) }()
	listed := make(chan error, 1)
	go func() {
		listed <- d.lists.Run(ctx, func() {
			if err := d.a.SetLogs(ctx, d.follows()); err != nil && ctx.Err() == nil {
				t.Error(err)
			}
		})
	}()
	acted := make(chan error, 1)
	go func() { acted <- d.w.Run(ctx, *dayLength) }()
	for n := 0; n < 48; n++ {
		time.Sleep(*dayLength / 48)
		d.sample()
	}
	if err := <-acted; err != nil {
		t.Fatal(err)
	}
	if err := d.w.Freeze(); err != nil {
		t.Fatal(err)
	}
	for until := time.Now().Add(4 * time.Hour); !d.complete(nil) && time.Now().Before(until); {
		time.Sleep(time.Minute)
	}
	d.sample()
	d.print()
	d.check()
	cancel()
	if err := <-listed; err != nil {
		t.Error(err)
	}
	if err := <-ran; err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("running: %v", err)
	}
	if err := d.a.Close(); err != nil {
		t.Error(err)
	}
}

// follows is the set of logs that the lists ask for, and those that they do
// not know any more: they may have entries that are not copied.
func (d *day) follows() []ingest.Follow {
	listed := d.lists.Logs()
	if len(listed) < 50 {
		d.t.Fatalf("the lists have %d logs", len(listed))
	}
	for _, l := range listed {
		old, ok := d.known[l.ID]
		decision := catalog.Rules{}.Decide(l, time.Now())
		switch {
		case !decision.Follow:
			delete(d.known, l.ID)
			continue
		case ok && reflect.DeepEqual(old.Log.Info(), l.Info):
			continue
		}
		host, _, err := address(l.URL)
		if err != nil {
			d.t.Fatal(err)
		}
		p := d.pacers[host]
		if p == nil {
			o := pace.Options{}
			if strings.HasSuffix(host, ".digicert.com") {
				o.Start = 0.25 // as the program has it
			}
			p = pace.New(o)
			d.pacers[host] = p
		}
		client, err := ctlog.New(l.Info, ctlog.Options{UserAgent: "ctappliance-test (test@ctappliance.test)", Pacer: p.Share(), Transport: d.w.Transport()})
		if err != nil {
			d.t.Fatal(err)
		}
		span := ingest.Request{To: ingest.Forever}
		if l.ID[0]%2 == 0 {
			span = ingest.Request{Start: ingest.StartNow, To: ingest.Forever, History: true}
		}
		d.known[l.ID] = ingest.Follow{Log: client, Pace: p, Spans: []ingest.Request{span}, Why: decision.Why}
	}
	return slices.Collect(maps.Values(d.known))
}

// complete says whether every surviving log is copied and verified to its
// end; report, if set, is told what is not.
func (d *day) complete(report func(string, ...any)) bool {
	have := map[string]ingest.LogStatus{}
	for _, st := range d.a.Status().Logs {
		have[st.ID] = st
	}
	ok := true
	for _, l := range d.w.Logs() {
		if !l.Survives() {
			continue
		}
		st, listed := have[fmt.Sprintf("%x", l.ID)]
		size := l.Size()
		if !listed && l.Role == Closed {
			continue // retired in the update; the ledger will tell
		}
		if st.Delivered < size || st.Verified < size {
			ok = false
			if report != nil {
				report("%s (%s) has %d entries, %d verified, %d delivered: %s %s", l.Name, l.Role, size, st.Verified, st.Delivered, st.State, st.LastError)
			}
		}
	}
	return ok
}

func (d *day) sample() {
	p := point{at: time.Since(d.began), asked: d.w.Count(), goroutines: runtime.NumGoroutine()}
	st := d.a.Status()
	delivered := map[string]uint64{}
	for _, l := range st.Logs {
		p.logs++
		delivered[l.ID] = l.Delivered
		p.delivered += l.Delivered
		switch l.State {
		case "halted":
			p.halted++
		case "retrying":
			p.retrying++
		}
	}
	for _, l := range d.w.Logs() {
		if n, ok := delivered[fmt.Sprintf("%x", l.ID)]; ok && l.Survives() {
			due := l.Due()
			behind := due - min(n, due)
			p.behind += behind
			p.most = max(p.most, behind)
		}
	}
	p.wal = st.WAL.Bytes
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	p.heap = m.HeapInuse
	d.series = append(d.series, p)
}

func (d *day) print() {
	var b strings.Builder
	tw := tabwriter.NewWriter(&b, 0, 4, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(tw, "time\tlogs\tdelivered\tbehind\tmost\trequests\theads\trefused\tlost\tWAL MB\theap MB\tgoroutines\thalted\tretrying\t")
	for _, p := range d.series {
		fmt.Fprintf(tw, "%v\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%.1f\t%.1f\t%d\t%d\t%d\t\n", p.at.Round(time.Second), p.logs, p.delivered, p.behind, p.most, p.asked.Requests, p.asked.Heads,
			p.asked.Refused, p.asked.Lost, float64(p.wal)/1e6, float64(p.heap)/1e6, p.goroutines, p.halted, p.retrying)
	}
	tw.Flush()
	fmt.Fprintln(&b)
	tw = tabwriter.NewWriter(&b, 0, 4, 2, ' ', 0)
	fmt.Fprintln(tw, "host\tlimit\trequests\theads\trefused\tshare")
	for _, h := range d.w.Hosts() {
		c, limit := h.Count(), "-"
		if h.Limit != nil {
			limit = fmt.Sprintf("%v/s burst %d %s", h.Limit.Rate, h.Limit.Burst, h.Limit.RetryAfter)
		} else if c.Refused == 0 && c.Lost == 0 {
			continue
		}
		fmt.Fprintf(tw, "%s\t%s\t%d\t%d\t%d\t%.2f %%\n", h.Name, limit, c.Requests, c.Heads, c.Refused, 100*float64(c.Refused)/float64(max(1, c.Requests)))
	}
	tw.Flush()
	d.t.Log(b.String())
}

func (d *day) check() {
	t := d.t
	d.complete(t.Errorf)
	ledger, rows, want := d.srv.Ledger(), 0, 0
	for _, l := range d.w.Logs() {
		short, lost, doubled := schema.ShortID(l.ID), 0, 0
		for i := range l.Size() {
			n := ledger[storetest.Entry{Log: short, Index: i}]
			delete(ledger, storetest.Entry{Log: short, Index: i})
			rows += n
			switch {
			case n > 1:
				doubled += n - 1
			case n == 0 && l.Survives():
				lost++
			}
		}
		if l.Survives() {
			want += int(l.Size())
		}
		if lost+doubled > 0 {
			t.Errorf("%s (%s) has %d entries: %d lost, %d doubled", l.Name, l.Role, l.Size(), lost, doubled)
		}
	}
	if len(ledger) > 0 {
		t.Errorf("the ledger has %d entries that no log has", len(ledger))
	}
	t.Logf("%d rows in the ledger, %d entries of the logs that survive", rows, want)
	for _, c := range d.srv.Complaints() {
		t.Errorf("the server complains: %s", c)
	}
	if s := d.w.Strays(); len(s) > 0 {
		t.Errorf("requests to hosts that are not of the list: %v", s)
	}
	d.fates()
	d.flat()
}

// fates looks at the logs that had one.
func (d *day) fates() {
	t := d.t
	have := map[string]ingest.LogStatus{}
	for _, st := range d.a.Status().Logs {
		have[st.ID] = st
	}
	for _, l := range d.w.Logs() {
		st, listed := have[fmt.Sprintf("%x", l.ID)]
		wrong := func(format string, args ...any) {
			t.Errorf("%s (%s), %s: %s", l.Name, l.Role, st.State, fmt.Sprintf(format, args...))
		}
		switch l.Role {
		case Retired:
			if c := l.Count(); c.Requests > 0 {
				wrong("it was asked %d times", c.Requests)
			}
		case Retiring, Closed:
			if listed && (st.State != "closed" || st.Final != l.Size()) {
				wrong("it has ended at %d and is followed to %d", l.Size(), st.Final)
			}
		case Lying:
			evidence, err := os.ReadDir(filepath.Dir(st.Evidence))
			if st.State != "halted" || st.HaltKind == "" || err != nil || len(evidence) == 0 {
				wrong("it has rewritten its tree of %d: kind %q, evidence %q, %v", l.Honest(), st.HaltKind, st.Evidence, err)
			}
			if st.Verified > l.Honest() {
				wrong("%d entries are verified, of which %d are true", st.Verified, l.Honest())
			}
			t.Logf("%s was halted: %s (%s)", l.Name, st.Halted, filepath.Base(st.Evidence))
		case Gone:
			hours := (time.Since(d.began) - *dayLength/6).Hours()
			perHour := float64(l.Count().Lost) / hours
			t.Logf("%s does not answer, and was asked %.0f times an hour", l.Name, perHour)
			if st.State != "retrying" || st.LastError == "" || perHour < 1 || perHour > 60 {
				wrong("it does not answer, and was asked %.0f times an hour: %q", perHour, st.LastError)
			}
		case Moved:
			n, of := l.Again()
			t.Logf("%s has moved; of its first %d entries %d were asked for again, by audits", l.Name, of, n)
			if n > of/2 {
				wrong("%d of %d entries came a second time after it had moved", n, of)
			}
			if st.Name != movedName || st.URL != l.URL() {
				wrong("it is %q at %s now", movedName, l.URL())
			}
		case Appearing:
			if l.Size() == 0 {
				wrong("it is empty")
			}
		}
		if l.Role != Lying && (st.Halted != "" || st.Evidence != "") {
			wrong("it was halted: %s", st.Halted)
		}
	}
	if alarms := d.a.Status().Alarms; len(alarms) > 0 {
		t.Errorf("alarms: %q", alarms)
	}
	for _, h := range d.w.Hosts() {
		if c := h.Count(); float64(c.Refused) > 30+0.03*float64(c.Requests) {
			t.Errorf("%s has refused %d of %d requests", h.Name, c.Refused, c.Requests)
		}
	}
}

// flat wants memory and goroutines not to grow: the last quarter of the day
// against the second.
func (d *day) flat() {
	n := len(d.series) / 4
	largest := func(points []point) (heap uint64, goroutines int) {
		for _, p := range points {
			heap, goroutines = max(heap, p.heap), max(goroutines, p.goroutines)
		}
		return heap, goroutines
	}
	heap, goroutines := largest(d.series[n : 2*n])
	lastHeap, lastGoroutines := largest(d.series[3*n : 4*n])
	// Of an entry, the world and the server keep less than 100 bytes.
	entries := d.series[len(d.series)-1].delivered - d.series[n].delivered
	if lastHeap > heap+heap/10+100*entries {
		d.t.Errorf("the heap has grown from %d to %d bytes", heap, lastHeap)
	}
	if lastGoroutines > goroutines+20 {
		d.t.Errorf("there were %d goroutines, and then %d", goroutines, lastGoroutines)
	}
}
