package ingest

import (
	"strings"
	"testing"

	"ctappliance/ingest/ctlog/ctlogtest"
)

// The auditor's rounds find what is missing and what is there twice, whenever
// it happened.
func TestAuditorRounds(t *testing.T) {
	l := serveLog(t, ctlogtest.Static, 2_000)
	sink := newMemSink()
	c := config(t, sink, l)
	run(t, c)
	a, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	f := a.following()[0]
	a.auditor.round(t.Context(), f)
	v := a.auditor.verdict(f.info.ID)
	if v == nil || v.Error != "" || v.Entries != 2_000 || v.Missing+v.Doubled > 0 || v.Tiles != 1 || len(a.alarms) > 0 {
		t.Fatalf("a sound ledger: %+v, alarms %q", v, a.alarms)
	}

	// Everything was counted: only the recount can find what is lost now, and
	// it covers this small log in one piece from its random beginning on.
	sink.mu.Lock()
	delete(sink.ledger, entryKey{l.id, 1_999})
	sink.ledger[entryKey{l.id, 1_998}]++
	sink.mu.Unlock()
	for range 100 {
		a.auditor.round(t.Context(), f)
		if v := a.auditor.verdict(f.info.ID); v.Missing > 0 && v.Doubled > 0 {
			if !strings.Contains(strings.Join(a.alarms, "\n"), "[1999,2000) is missing") {
				t.Errorf("alarms: %q", a.alarms)
			}
			// What is mended is no longer held against the ledger, but was found.
			sink.mu.Lock()
			sink.ledger[entryKey{l.id, 1_999}], sink.ledger[entryKey{l.id, 1_998}] = 1, 1
			sink.mu.Unlock()
			a.auditor.round(t.Context(), f)
			if v := a.auditor.verdict(f.info.ID); v.Missing+v.Doubled > 0 || v.Found < 2 {
				t.Errorf("after mending: %+v", v)
			}
			return
		}
	}
	t.Errorf("not found: %+v", a.auditor.verdict(f.info.ID))
}

// Rows whose certificates are gone are found, and get them again from the log.
func TestAuditorFindsOrphans(t *testing.T) {
	l := serveLog(t, ctlogtest.Static, 2_000)
	sink := newMemSink()
	c := config(t, sink, l)
	run(t, c)
	for i := uint64(700); i < 720; i++ {
		delete(sink.dependents, entryKey{l.id, i})
	}
	a, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	f := a.following()[0]
	a.auditor.round(t.Context(), f)
	v := a.auditor.verdict(f.info.ID)
	if v.Orphans != 20 || !strings.Contains(strings.Join(a.alarms, "\n"), "[700,720)") {
		t.Errorf("verdict %+v, alarms %q", v, a.alarms)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	run(t, c)
	for i := range uint64(2_000) {
		if k := (entryKey{l.id, i}); !sink.dependents[k] || sink.ledger[k] != 1 {
			t.Fatalf("entry %d: %d times in the ledger, dependents %v", i, sink.ledger[k], sink.dependents[k])
		}
	}
}
