package report

import (
	"bytes"
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ctappliance/ingest"
	"ctappliance/ingest/pace"
	"ctappliance/store/engine"
)

// The line for the service manager is one line, whatever it quotes.
func TestStatusLine(t *testing.T) {
	if got, want := StatusLine(manyLogs(), statusNow), "60 logs: 1 halted, 5 following, 3 retrying, 48 caught up, 1 waiting, 2 done; 29.3 G entries delivered, 2.00 G behind, 4512/s; ALARMS: 1"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got := StatusLine(hostileStatus(), statusNow); strings.ContainsFunc(got, func(r rune) bool { return r < ' ' || r > '~' }) || len(got) > 4096 {
		t.Errorf("%q", got)
	}
}

// Every ten minutes a line: what has happened since the last, and nothing that
// is as it should be.
func TestSummary(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := Status{Disk: Disk{Free: 3 << 30, Lasts: -1}}
		st.WAL.Bytes = 1 << 20
		st.Logs = []ingest.LogStatus{{ID: "aa", State: "caught up", Pace: &pace.Snapshot{Requests: 1000, Refusals: 500}}, {ID: "bb", State: "following", Wanted: 7, Lag: 90}}
		var log bytes.Buffer
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var mu sync.Mutex // of st
		go Summarize(ctx, func() Status {
			mu.Lock()
			defer mu.Unlock()
			now := st
			now.Logs = slices.Clone(st.Logs)
			return now
		}, slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		}})))
		synctest.Wait()
		expect := func(change func(), want string) {
			t.Helper()
			mu.Lock()
			change()
			mu.Unlock()
			time.Sleep(summaryEvery)
			synctest.Wait()
			if log.String() != want+"\n" {
				t.Errorf("%s, want %s", log.Bytes(), want)
			}
			log.Reset()
		}
		expect(func() {
			st.Delivery.Rows, st.Delivery.Rate = 42, 4.2
			st.Logs[0].Pace = &pace.Snapshot{Requests: 1100, Refusals: 501}
		}, `level=INFO msg="so far" logs=2 delivered=42 rate=4.2 behind=7 lag=90s refused=1.0% wal="1.0 MiB" disk_free="3.0 GiB"`)
		expect(func() {
			st.Logs[0].State, st.Logs[0].Pace = "retrying", &pace.Snapshot{Requests: 4}
			st.Engine, st.Disk.Lasts, st.Delivery.Rate = &engine.Status{}, 86400*3, 0
		}, `level=INFO msg="so far" logs=2 delivered=0 rate=0 behind=7 lag=90s refused=0% wal="1.0 MiB" disk_free="3.0 GiB" disk_lasts=3.0d retrying=1 reason="the engine is not running"`)
	})
}
