package report

import (
	"strings"
	"testing"
	"time"

	"ctappliance/ingest"
)

// What a log did wrong is on the screen and in the exit status, and its words
// do not command the terminal.
func TestStatusOfLogsThatLie(t *testing.T) {
	ago := func(d time.Duration) time.Time { return time.Now().Add(-d) }
	for _, tt := range []struct {
		name   string
		log    ingest.LogStatus
		alarms []string
		level  int
		check  string // part of the line of --check
		screen string // part of the screen
	}{
		{name: "all is well", log: ingest.LogStatus{State: "caught up"}, level: 0, check: "OK: 1 logs"},
		{name: "halted", log: ingest.LogStatus{State: "halted", Halted: "it lied\x1b[2J", HaltKind: ingest.KindSplitView, Evidence: "/data/evidence/aa-1.json"}, level: 2,
			check: "CRITICAL: log is halted: it lied?[2J", screen: "HALTED log: it lied?[2J\n  what it sent is kept in /data/evidence/aa-1.json;"},
		{name: "behind for a while", log: ingest.LogStatus{State: "caught up", Heads: ingest.HeadCounts{BehindSince: ago(10 * time.Minute)}}, level: 0, check: "OK", screen: "log: shows smaller heads than it signed before, since "},
		{name: "behind for long", log: ingest.LogStatus{State: "caught up", Heads: ingest.HeadCounts{BehindSince: ago(3 * time.Hour)}}, level: 1, check: "WARNING: log shows smaller heads than it signed before, for 3.0h"},
		{name: "behind for a day", log: ingest.LogStatus{State: "caught up", Heads: ingest.HeadCounts{BehindSince: ago(25 * time.Hour)}}, alarms: []string{"log: it signed 600 entries\x07"}, level: 2,
			check: "CRITICAL: log: it signed 600 entries?; log shows smaller heads", screen: "ALARM log: it signed 600 entries?"},
		{name: "does not answer", log: ingest.LogStatus{State: "retrying", LastError: "away"}, level: 1, check: "WARNING: log does not answer: away", screen: " ago: away\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			st := &Status{}
			st.Running, st.Since, st.Alarms = true, ago(48*time.Hour), tt.alarms
			tt.log.Name, tt.log.ErrorAt = "log", ago(time.Minute)
			st.Logs = []ingest.LogStatus{tt.log}
			level, line := Check(st, thresholds{age: time.Hour}, time.Now())
			if level != tt.level || !strings.HasPrefix(line, tt.check) {
				t.Errorf("%d %q", level, line)
			}
			var screen strings.Builder
			if err := Print(&screen, st); err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(screen.String(), tt.screen) || strings.ContainsAny(screen.String(), "\x1b\x07") {
				t.Errorf("%q", screen.String())
			}
		})
	}
}
