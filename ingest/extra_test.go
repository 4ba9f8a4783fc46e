package ingest

import (
	"context"
	"slices"
	"testing"

	"ctappliance/ingest/ctlog"
	"ctappliance/ingest/ctlog/ctlogtest"
	"ctappliance/schema"
)

// junkLog is a log whose extra_data nobody can take apart.
type junkLog struct{ ctlog.Log }

func (l junkLog) Entries(ctx context.Context, from, to, size uint64) (*ctlog.Batch, error) {
	b, err := l.Log.Entries(ctx, from, to, size)
	if err != nil {
		return nil, err
	}
	b.Entries = slices.Clone(b.Entries)
	for i := range b.Entries {
		b.Entries[i].Precert, b.Entries[i].Chain, b.Entries[i].Extra = nil, nil, []byte("not a precertificate chain")
	}
	return b, nil
}

// Bytes that came in place of a precertificate are kept with the row.
func TestJunkBesideTheLeaf(t *testing.T) {
	l := serveLog(t, ctlogtest.RFC6962, 300)
	sink := newMemSink()
	c := config(t, sink, l)
	c.Logs[0].Log = junkLog{l.client}
	run(t, c)
	if err := sink.check(l.id, 0, 300); err != nil {
		t.Error(err)
	}
	precerts := 0
	for k, r := range sink.rows {
		if r.EntryType != schema.PrecertEntry {
			continue
		}
		precerts++
		if string(r.DER) != "not a precertificate chain" || r.Status == schema.StatusOK {
			t.Fatalf("entry %d: status %d, DER %q", k.index, r.Status, r.DER)
		}
	}
	if precerts == 0 {
		t.Error("no precertificate among the entries")
	}
}
