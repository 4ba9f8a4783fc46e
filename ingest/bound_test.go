package ingest

import (
	"context"
	"testing"

	"ctappliance/ingest/ctlog/ctlogtest"
	"ctappliance/schema"
)

// A backfill on ground that a tail covers takes the tail to the range's end
// and no further, and leaves alone what it was not asked for.
func TestBackfillOverTail(t *testing.T) {
	l := serveLog(t, ctlogtest.Static, 4_000)
	sink := newMemSink()
	c := config(t, sink, l)
	c.Logs[0].Spans = []Request{{From: 0, To: 300}}
	run(t, c)

	// A tail from 1,000 on, and an unfinished backfill: as 'run' leaves them.
	a, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	id := l.client.Info().ID
	for _, r := range []Request{{From: 1_000, To: Forever}, {From: 500, To: 700}} {
		if _, err := a.addSpans(t.Context(), id, r.From, r.To); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}

	c.Logs[0].Spans = []Request{{From: 800, To: 2_000}}
	st := run(t, c)
	for _, s := range st.Logs[0].Spans {
		want := s.To
		switch s.From {
		case 500:
			want = 500
		case 1_000:
			want = 2_000
		}
		if s.Delivered != want || s.Verified != want {
			t.Errorf("span from %d: delivered %d, verified %d, want %d", s.From, s.Delivered, s.Verified, want)
		}
	}
	if _, holds, _ := sink.Highest(t.Context(), schemaRange(l.id, 2_000, 4_000)); holds {
		t.Error("more was copied than asked for")
	}
}

// Ranges that an audit found missing are mended while everything else waits.
func TestRepairsAlone(t *testing.T) {
	l := serveLog(t, ctlogtest.Static, 2_000)
	sink := newMemSink()
	c := config(t, sink, l)
	run(t, c)
	trimAll(t, c)
	delete(sink.ledger, entryKey{l.id, 777})
	if err := l.Grow(500); err != nil {
		t.Fatal(err)
	}
	c.Logs[0].Spans = nil
	c.Logs[0].Repairs = append(c.Logs[0].Repairs, schemaRange(l.id, 777, 778))
	run(t, c)
	if err := sink.check(l.id, 0, 2_000); err != nil {
		t.Error(err)
	}
}

// trimAll runs an appliance until the WAL of former lives is gone: as long as
// it has the entries, trimming mends the ledger without the log.
func trimAll(t *testing.T, c Config) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	c.UntilDone = false
	c.Step = func(step string) {
		if step == "wal-trim" {
			cancel()
		}
	}
	a, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if err := a.Run(ctx); err != nil {
		t.Fatal(err)
	}
}

func schemaRange(log, from, to uint64) schema.Range {
	return schema.Range{Log: log, From: from, To: to}
}
