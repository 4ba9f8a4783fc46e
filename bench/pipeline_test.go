//go:build linux

package bench

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"ctappliance/ingest"
	"ctappliance/ingest/ctlog"
	"ctappliance/ingest/ctlog/ctlogtest"
	"ctappliance/ingest/pace"
	"ctappliance/schema"
	"ctappliance/store"
	"ctappliance/store/engine/enginetest"
)

// nowhere is a sink that takes everything and has nothing.
type nowhere struct{ flushes int }

func (*nowhere) Prepare() schema.Prepared                                { return thrownAway{} }
func (*nowhere) PrepareAgain() schema.Prepared                           { return thrownAway{} }
func (n *nowhere) InsertDependents(context.Context, *schema.Flush) error { n.flushes++; return nil }
func (*nowhere) InsertLedger(context.Context, *schema.Flush, func(log, index uint64) bool) error {
	return nil
}
func (*nowhere) Fence(context.Context, uint64) error { return nil }
func (*nowhere) FenceAll(context.Context) error      { return nil }
func (*nowhere) Highest(context.Context, schema.Range) (uint64, bool, error) {
	return 0, false, nil
}
func (*nowhere) Epoch(context.Context) (string, error)                   { return "1", nil }
func (*nowhere) Orphans(context.Context, schema.Range) ([]uint64, error) { return nil, nil }
func (*nowhere) Remove(context.Context, schema.Range) (uint64, error)    { return 0, nil }
func (*nowhere) PutLogs(context.Context, []schema.Log) error             { return nil }
func (*nowhere) Indices(context.Context, schema.Range) ([]uint64, error) { return nil, nil }

// thrownAway is what nowhere makes of rows.
type thrownAway struct{}

func (thrownAway) Add([]schema.Row) {}
func (thrownAway) Discard()         {}

// Prove says what would be right: there is nothing behind it.
func (*nowhere) Prove(_ context.Context, ranges []schema.Range) ([]schema.Proof, error) {
	proofs := make([]schema.Proof, len(ranges))
	for i, r := range ranges {
		proofs[i] = schema.Proof{Range: r, Count: r.Len(), Unique: r.Len()}
	}
	return proofs, nil
}

// BenchmarkPipeline copies one log within this process.
func BenchmarkPipeline(b *testing.B) {
	needProc(b)
	for _, kind := range kinds {
		log := &startLogs(b, logSpec{Kinds: []ctlogtest.Kind{kind}, Entries: *entries, Captured: true}).Logs[0]
		for _, into := range []string{"none", "engine"} {
			b.Run(fmt.Sprintf("%v/sink=%s", kind, into), func(b *testing.B) {
				for b.Loop() {
					b.StopTimer()
					pipeline(b, log, into)
				}
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}

func pipeline(b *testing.B, log *ctlogtest.ReadyLog, into string) {
	var sink ingest.Sink = &nowhere{}
	var st *store.Store
	engineID := 0
	if into == "engine" {
		e := enginetest.StartEngine(b)
		var err error
		if st, err = store.Open(b.Context(), store.Config{Embedded: e}); err != nil {
			b.Fatal(err)
		}
		defer st.Close()
		sink, engineID = st, e.PID()
	}
	kind := ctlog.Static
	if log.Kind == ctlog.RFC6962.String() {
		kind = ctlog.RFC6962
	}
	pacer := pace.New(pace.Options{Start: 1000})
	info := ctlog.Info{Key: log.Key, Name: log.Name, Kind: kind, URL: log.URL}
	if log.Origin != "" {
		info.SubmissionURL = "https://" + log.Origin
	}
	client, err := ctlog.New(info, ctlog.Options{UserAgent: "ctappliance-bench (bench@localhost.invalid)", AllowPrivate: true, AllowHTTP: true, Pacer: pacer})
	if err != nil {
		b.Fatal(err)
	}
	a, err := ingest.Open(ingest.Config{Dir: b.TempDir(), Sink: sink, UntilDone: true, FlushRows: 100_000, FlushBytes: flushBytes(b), ParseWorkers: 2,
		Logs: []ingest.Follow{{Log: client, Pace: pacer, Spans: []ingest.Request{{To: log.Size}}}}})
	if err != nil {
		b.Fatal(err)
	}
	defer a.Close()
	before, err := used(os.Getpid())
	if err != nil {
		b.Fatal(err)
	}
	engineCPU := cpuOf(engineID)
	b.StartTimer()
	began := time.Now()
	if err := a.Run(b.Context()); err != nil {
		b.Fatal(err)
	}
	took := time.Since(began)
	b.StopTimer()
	after, err := used(os.Getpid())
	if err != nil {
		b.Fatal(err)
	}
	status := a.Status()
	if l := status.Logs[0]; l.Delivered != log.Size || l.Verified != log.Size {
		b.Fatalf("not done: %+v", l)
	}
	b.ReportMetric(float64(log.Size)/took.Seconds(), "entries/s")
	b.ReportMetric(perEntry(after.cpu-before.cpu, log.Size), "us/entry")
	b.ReportMetric(float64(status.WAL.Appended)/float64(log.Size), "WAL-B/entry")
	if st != nil {
		b.ReportMetric(perEntry(cpuOf(engineID)-engineCPU, log.Size), "engine-us/entry")
		merge(b, st, log.Size)
		b.ReportMetric(perEntry(cpuOf(engineID)-engineCPU, log.Size), "engine-merged-us/entry")
	}
	b.StartTimer()
}

// merge merges every table into one part per partition, and says how large
// they are then.
func merge(b *testing.B, st *store.Store, entries uint64) {
	for _, table := range []string{"ledger", "certs", "profiles", "name_certs", "names", "issuers", "problems"} {
		if err := st.Exec(b.Context(), "OPTIMIZE TABLE "+st.Database()+"."+table+" FINAL"); err != nil {
			b.Fatal(err)
		}
	}
	sum, err := st.Summary(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	var bytes uint64
	for _, t := range sum.Tables {
		bytes += t.Bytes
		b.Logf("merged: %-12s %8d rows in %2d parts %10d bytes %7.2f B/entry %7.2f B/row", t.Name, t.Rows, t.Parts, t.Bytes, float64(t.Bytes)/float64(entries), float64(t.Bytes)/float64(max(t.Rows, 1)))
	}
	b.ReportMetric(float64(bytes)/float64(entries), "merged-B/entry")
}

// flushBytes is the size of a flush: the program's default unless told.
func flushBytes(b testing.TB) int {
	s := os.Getenv("BENCH_FLUSH_BYTES")
	if s == "" {
		return 112e6
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1<<16 {
		b.Fatalf("BENCH_FLUSH_BYTES=%s is not a number of bytes", s)
	}
	return n
}

// cpuOf is the processor time of a process, 0 if there is none.
func cpuOf(pid int) time.Duration {
	u, _ := used(pid)
	return u.cpu
}
