package ingest

import (
	"context"
	"encoding/hex"
	"testing"
	"time"

	"ctappliance/ingest/ctlog/ctlogtest"
	"ctappliance/schema"
)

// A range that the ledger lost is fetched again; what is there stays as it is.
func TestRepair(t *testing.T) {
	l := serveLog(t, ctlogtest.RFC6962, 1_000)
	sink := newMemSink()
	c := config(t, sink, l)
	run(t, c)
	repaired := make(chan bool, 1)
	sink.failed = func(op string, f *schema.Flush) error {
		if op == "ledger" {
			select {
			case repaired <- true:
			default:
			}
		}
		return nil
	}
	// As long as the WAL has the entries, trimming finds and mends it without
	// the log: so let that be over.
	trimmed := make(chan bool, 1)
	c.Step = func(step string) {
		if step == "wal-trim" {
			select {
			case trimmed <- true:
			default:
			}
		}
	}
	c.UntilDone, c.FlushInterval = false, 50*time.Millisecond
	a, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- a.Run(ctx) }()
	<-trimmed
	sink.mu.Lock()
	for _, i := range []uint64{300, 301, 450} {
		delete(sink.ledger, entryKey{l.id, i})
	}
	sink.mu.Unlock()
	id := l.client.Info().ID
	r := SpanRequest{Log: hex.EncodeToString(id[:]), From: 290, To: 460}
	if err := a.Repair(ctx, r); err != nil {
		t.Error(err)
	}
	if err := a.Repair(ctx, r); err != nil { // it is being mended: nothing to add
		t.Error(err)
	}
	if n := len(a.spans.ofLog(id)); n != 2 {
		t.Errorf("%d spans", n)
	}
	if err := a.Repair(ctx, SpanRequest{Log: r.Log, From: 999, To: 1001}); err == nil {
		t.Error("a range that is not delivered was taken for lost")
	}
	if err := a.Repair(ctx, SpanRequest{Log: "00", From: 1, To: 2}); err != ErrNotFollowed {
		t.Errorf("another log: %v", err)
	}
	<-repaired
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if err := sink.check(l.id, 0, 1_000); err != nil {
		t.Error(err)
	}
}

// What a repair has still to bring does not count as delivered.
func TestRepairIsNotDelivered(t *testing.T) {
	l := serveLog(t, ctlogtest.Static, 1_000)
	sink := newMemSink()
	c := config(t, sink, l)
	run(t, c)
	a, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if st := a.Status().Logs[0]; st.Delivered != 1_000 {
		t.Errorf("%d delivered", st.Delivered)
	}
	id := l.client.Info().ID
	if err := a.Repair(t.Context(), SpanRequest{Log: hex.EncodeToString(id[:]), From: 300, To: 350}); err != nil {
		t.Fatal(err)
	}
	if st := a.Status().Logs[0]; st.Delivered != 950 || st.State == "done" {
		t.Errorf("%d delivered, %q", st.Delivered, st.State)
	}
}
