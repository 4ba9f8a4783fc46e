package ingest

import (
	"fmt"
	"strings"
	"testing"
	"time"

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

// The audits of many logs are spread over the interval, and a log that is left
// out is not audited any more.
func TestAuditorTakesTurns(t *testing.T) {
	bubble(t, "turns", func(t *testing.T) {
		const n = 12
		var logs []*testLog
		var all []Follow
		for i := range n {
			l, err := ctlogtest.New(ctlogtest.Options{Kind: ctlogtest.Static, Size: 300, Seed: uint64(i), Name: fmt.Sprint("log-", i), PageSize: 50})
			if err != nil {
				t.Fatal(err)
			}
			logs = append(logs, dial(t, l))
			all = append(all, tailOf(logs[i]))
		}
		sink := newMemSink()
		c := tailConfig(t, sink, logs...)
		c.AuditInterval = 6 * time.Minute
		a := follow(t, c, sink)
		defer a.end()
		began := time.Now()
		var at []time.Time
		for time.Since(began) < c.AuditInterval*3/2+time.Minute {
			time.Sleep(time.Second)
			for _, l := range a.Status().Logs {
				if l.Audit != nil && time.Since(l.Audit.At) < time.Second {
					at = append(at, l.Audit.At)
				}
			}
		}
		if len(at) < n {
			t.Errorf("%d audits of %d logs in one and a half intervals", len(at), n)
		}
		for i := 1; i < len(at); i++ {
			if gap := at[i].Sub(at[i-1]); gap < c.AuditInterval/n/2 {
				t.Errorf("audit %d came %v after the one before", i, gap)
			}
		}
		a.set(all[:1]...)
		left := time.Now()
		time.Sleep(2 * c.AuditInterval)
		for _, l := range logs[1:] {
			if v := a.auditor.verdict(l.client.Info().ID); v != nil && v.At.After(left) {
				t.Errorf("%s was audited %v after it was left out", l.client.Info().Name, v.At.Sub(left))
			}
		}
	})
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
