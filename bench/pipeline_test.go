package bench

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"ctappliance/ingest"
	"ctappliance/ingest/ctlog"
	"ctappliance/ingest/pace"
	"ctappliance/schema"
	"ctappliance/store"
	"ctappliance/store/engine/enginetest"
)

// nowhere is a sink that takes everything and has nothing.
type nowhere struct{ flushes int }

func (n *nowhere) InsertDependents(context.Context, *schema.Flush) error { n.flushes++; return nil }
func (*nowhere) InsertLedger(context.Context, *schema.Flush, func(*schema.Row) bool) error {
	return nil
}
func (*nowhere) Fence(context.Context, uint64) error                     { return nil }
func (*nowhere) Holds(context.Context, schema.Range) (bool, error)       { return false, nil }
func (*nowhere) Epoch(context.Context) (string, error)                   { return "1", nil }
func (*nowhere) PutLogs(context.Context, []schema.Log) error             { return nil }
func (*nowhere) Indices(context.Context, schema.Range) ([]uint64, error) { return nil, nil }

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
		log := startLog(b, kind)
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

func pipeline(b *testing.B, log *demoLog, into string) {
	var sink ingest.Sink = &nowhere{}
	if into == "engine" {
		st, err := store.Open(b.Context(), store.Config{Embedded: enginetest.StartEngine(b)})
		if err != nil {
			b.Fatal(err)
		}
		defer st.Close()
		sink = st
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
	a, err := ingest.Open(ingest.Config{Dir: b.TempDir(), Sink: sink, UntilDone: true, FlushRows: 100_000, FlushBytes: 32e6, ParseWorkers: 2,
		Logs: []ingest.Follow{{Log: client, Pace: pacer, Spans: []ingest.Request{{To: log.Size}}}}})
	if err != nil {
		b.Fatal(err)
	}
	defer a.Close()
	before, err := used(os.Getpid())
	if err != nil {
		b.Fatal(err)
	}
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
	st := a.Status()
	if st.Logs[0].Delivered != log.Size || st.Logs[0].Verified != log.Size {
		b.Fatalf("not done: %+v", st.Logs[0])
	}
	b.ReportMetric(float64(log.Size)/took.Seconds(), "entries/s")
	b.ReportMetric(perEntry(after.cpu-before.cpu, log.Size), "us/entry")
	b.ReportMetric(float64(st.WAL.Appended)/float64(log.Size), "WAL-B/entry")
	b.StartTimer()
}
