package report

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ctappliance/ingest"
	"ctappliance/ingest/pace"
	"ctappliance/store/engine"
)

// Each threshold is heeded, is off at zero, and lies where it says.
func TestCheckThresholds(t *testing.T) {
	well := func() *Status {
		st := &Status{Disk: Disk{Free: 100 << 30, Size: 200 << 30, Lasts: -1}, Engine: &engine.Status{State: engine.Running, PID: 7}}
		st.Running, st.Since = true, statusNow.Add(-100*time.Hour)
		st.Delivery.Last = statusNow
		st.WAL = ingest.WALStatus{Bytes: 79, Budget: 100}
		st.Logs = []ingest.LogStatus{{ID: "aa", Name: "log", State: "following", Wanted: 1000, Delivered: 500, Lag: 3000}}
		st.Recent = map[string]recentStatus{"aa": {Requests: 100, Refusals: 10}}
		return st
	}
	all := defaultThresholds()
	all.behind, all.lag = 500, 3000*time.Second
	for _, tt := range []struct {
		name   string
		change func(*Status)
		level  int
		want   string
		never  bool // no threshold decides it
	}{
		{"well", func(*Status) {}, 0, "OK: 1 logs, 500 entries delivered, 500 behind | logs=1 delivered=500c behind=500 lag=3000s wal=79B;;;0;100 disk_free=107374182400B;;;0;214748364800", true},
		{"behind", func(st *Status) { st.Logs[0].Wanted++ }, 1, "WARNING: log is 501 entries behind", false},
		{"lag", func(st *Status) { st.Logs[0].Lag = 7300 }, 1, "WARNING: log lags by 2.0h", false},
		{"an old entry is no lag where nothing waits", func(st *Status) { st.Logs[0].Lag, st.Logs[0].Delivered = 1e6, 1000 }, 0, "OK", true},
		{"refused", func(st *Status) { st.Recent["aa"] = recentStatus{100, 11} }, 1, "WARNING: log refuses 11% of the requests", false},
		{"refused at the first request", func(st *Status) { st.Recent["aa"] = recentStatus{99, 90} }, 0, "OK", true},
		{"WAL", func(st *Status) { st.WAL.Bytes = 81 }, 1, "WARNING: the WAL takes 81% of its budget", false},
		{"WAL without a budget", func(st *Status) { st.WAL.Budget = 0 }, 0, "OK", true},
		{"disk", func(st *Status) { st.Disk.Lasts, st.Disk.Window = 86400, 3600 }, 1, "WARNING: the disk is full in 24h at its present growth", false},
		{"disk, seen shortly", func(st *Status) { st.Disk.Lasts, st.Disk.Window = 86400, 3599 }, 0, "OK", true},
		{"undelivered", func(st *Status) { st.WAL.Undelivered, st.Oldest = 1, 601 }, 1, "WARNING: the oldest undelivered entry waits for 10m", false},
		{"nothing delivered", func(st *Status) {
			st.WAL.Undelivered, st.Oldest, st.Delivery.Last = 1, -1, statusNow.Add(-11*time.Minute)
		}, 1, "WARNING: nothing delivered for 11m", false},
		{"nothing to deliver", func(st *Status) { st.Delivery.Last = statusNow.Add(-time.Hour) }, 0, "OK", true},
		{"risk", func(st *Status) { st.Logs[0].Risk = "vanishes in June" }, 1, "WARNING: log may lose entries for good: vanishes in June", true},
		{"away", func(st *Status) {
			st.Logs[0].State, st.Logs[0].LastError, st.Logs[0].Polled = "retrying", "no route", statusNow.Add(-11*time.Minute)
		}, 1, "WARNING: log does not answer: no route", true},
		{"a poll that failed", func(st *Status) {
			st.Logs[0].State, st.Logs[0].LastError, st.Logs[0].Polled = "retrying", "429", statusNow.Add(-9*time.Minute)
		}, 0, "OK", true},
		{"engine", func(st *Status) { st.Engine.PID, st.Engine.State = 0, "restarting" }, 1, "WARNING: the engine is restarting", true},
		{"audit", func(st *Status) { st.Logs[0].Audit = &ingest.Verdict{At: statusNow, Missing: 3} }, 2, "CRITICAL: the audit counts 3 entries missing, 0 doubled", true},
		{"doubled", func(st *Status) { st.Logs[0].Audit = &ingest.Verdict{At: statusNow, Doubled: 4} }, 2, "CRITICAL: the audit counts 0 entries missing, 4 doubled", true},
		{"stopped", func(st *Status) { st.Running = false }, 2, "CRITICAL: the appliance is not running", true},
		{"bar", func(st *Status) { st.Alarms = []string{"a|b"} }, 2, "CRITICAL: a/b (", true},
		{"the worst first", func(st *Status) {
			st.WAL.Bytes, st.Logs[0].Halted, st.Alarms = 90, "it lied", []string{"alarm"}
		}, 2, "CRITICAL: alarm; log is halted: it lied; the WAL takes 90% of its budget (", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			st := well()
			tt.change(st)
			if level, line := Check(st, all, statusNow); level != tt.level || !strings.HasPrefix(line, tt.want) {
				t.Errorf("%d %s", level, line)
			}
			level, line := Check(st, thresholds{}, statusNow)
			if want := tt.level; tt.never && level != want || !tt.never && level != 0 {
				t.Errorf("without thresholds: %d %s", level, line)
			}
		})
	}
	st := well()
	if level, line := Check(st, thresholds{diskFree: 101 << 30}, statusNow); level != 1 || !strings.HasPrefix(line, "WARNING: 100.0 GiB of disk free") {
		t.Errorf("%d %s", level, line)
	}
	for i := range 40 {
		st.Logs = append(st.Logs, ingest.LogStatus{Name: fmt.Sprint("log ", i), Halted: "it lied"})
	}
	if _, line := Check(st, all, statusNow); !strings.Contains(line, "; and 28 more (41 logs") {
		t.Errorf("%s", line)
	}
}

func TestShares(t *testing.T) {
	for s, want := range map[string]float64{"80%": 0.8, "0.8": 0.8, " 1 ": 1, "0": 0, "100%": 1, "81": -1, "": -1, "-1%": -1, "NaN": -1, "101%": -1, "x": -1, "1e-1": 0.1} {
		got, err := parseShare(s)
		if (err != nil) != (want < 0) || err == nil && math.Abs(got-want) > 1e-12 {
			t.Errorf("%q: %v %v", s, got, err)
		}
	}
	for s, want := range map[string]time.Duration{"true": watchDefault, "5s": 5 * time.Second, "false": 0, "99ms": -1, "2": -1, "0": -1, "-1s": -1} {
		var w WatchFlag
		if err := w.Set(s); (err != nil) != (want < 0) || err == nil && w.Every != want {
			t.Errorf("%q: %v %v", s, w.Every, err)
		}
	}
}

// sampleStep is how often the tests sample.
const sampleStep = 10 * time.Second

// What a running appliance samples of its surroundings says how long the disk
// lasts, how long an entry has waited, and how much was refused lately.
func TestReporterSamples(t *testing.T) {
	start := statusNow
	r := &Reporter{}
	st := Status{}
	st.Since = start
	st.Logs = []ingest.LogStatus{{ID: "aa", Pace: &pace.Snapshot{}}, {ID: "bb"}}
	judged := func(at time.Duration) Status {
		got := st
		got.Disk.Free, got.Disk.Size = 1<<40, 1<<41
		r.judge(start.Add(at), &got)
		return got
	}
	if got := judged(0); got.Disk.Lasts != -1 || got.Disk.Window != 0 || got.Oldest != 0 {
		t.Errorf("before the first sample: %+v", got)
	}
	st.WAL.Undelivered, st.WAL.NextSeq = 5, 5
	// A gigabyte a minute goes, and comes back in part with every trim; the
	// store is away from the twentieth minute on.
	for at := time.Duration(0); at <= 90*time.Minute; at += sampleStep {
		minutes := int64(at / time.Minute)
		free := int64(1<<41) - minutes<<30 + (minutes%5)<<29
		st.WAL.NextSeq += 10
		if at <= 20*time.Minute {
			st.WAL.Undelivered = 0
		} else {
			st.WAL.Undelivered += 10
		}
		st.Logs[0].Pace.Requests += 10
		if at > 60*time.Minute {
			st.Logs[0].Pace.Refusals++
		}
		r.sample(start.Add(at), free, true, st.Status)
		switch at {
		case diskWindow - sampleStep:
			if got := judged(at); got.Disk.Window != 0 || got.Disk.Lasts != -1 {
				t.Errorf("too early: %+v", got.Disk)
			}
		case 20 * time.Minute:
			if got := judged(at); got.Oldest != 0 {
				t.Errorf("nothing waits: %v", got.Oldest)
			}
		}
	}
	got := judged(90 * time.Minute)
	if g := got.Disk.Growth * 60 / (1 << 30); g < 0.97 || g > 1.03 || got.Disk.Window != 5400 || math.Abs(got.Disk.Lasts-1024*60/g) > 60 {
		t.Errorf("%+v: %v GiB a minute", got.Disk, g)
	}
	if want := 70 * 60.0; got.Oldest < want-sampleStep.Seconds() || got.Oldest > want {
		t.Errorf("the oldest waits for %v, want %v", got.Oldest, want)
	}
	if len(r.marks) > maxMarks {
		t.Errorf("%d marks", len(r.marks))
	}
	// 60 to 90 minutes ago is forgotten, what was refused since is not.
	if l := got.Recent["aa"]; l.Refusals < 170 || l.Requests < 1700 || l.Requests > 3700 {
		t.Errorf("%+v", l)
	}
	if _, known := got.Recent["bb"]; known {
		t.Error("a log without a pacer has requests")
	}
	st.WAL.Undelivered = st.WAL.NextSeq
	if got := judged(90 * time.Minute); got.Oldest != 5400 {
		t.Errorf("of before the first sample: %v", got.Oldest)
	}
	st.Logs[0].Pace = &pace.Snapshot{Requests: 3, Refusals: 1}
	if l := judged(90 * time.Minute).Recent["aa"]; l != (recentStatus{3, 1}) {
		t.Errorf("a new pacer: %+v", l)
	}
	// Space that comes back is no growth.
	for i := range 2 * diskSamples {
		r.sample(start.Add(time.Duration(100+i)*time.Minute), int64(i)<<30, true, st.Status)
	}
	if got := judged(time.Hour); got.Disk.Lasts != -1 || got.Disk.Growth >= 0 || len(r.disk) != diskSamples {
		t.Errorf("%+v, %d samples", got.Disk, len(r.disk))
	}
}

// A store that is away for days costs a bounded number of marks, and the age
// stays right within their grain.
func TestReporterMarksAreBounded(t *testing.T) {
	r := &Reporter{}
	var st ingest.Status
	const n = 20 * maxMarks
	for i := range n {
		st.WAL.NextSeq++
		st.WAL.Undelivered = st.WAL.NextSeq - 1
		r.sample(statusNow.Add(time.Duration(i)*sampleStep), 0, false, st)
	}
	if len(r.marks) > maxMarks+1 || len(r.disk) != 0 {
		t.Fatalf("%d marks", len(r.marks))
	}
	got := Status{Status: st}
	got.WAL.Undelivered /= 2
	now := statusNow.Add(n * sampleStep)
	r.judge(now, &got)
	if want := (n / 2 * sampleStep).Seconds(); got.Oldest < want*0.99 || got.Oldest > want*1.01 {
		t.Errorf("%v, want about %v", got.Oldest, want)
	}
}

// --watch draws until it is interrupted, shows errors that pass, and ends with
// one that was there from the start.
func TestWatchStatus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var out bytes.Buffer
		reads := 0
		err := Watch(ctx, &out, time.Second, func(context.Context) (*Status, error) {
			switch reads++; reads {
			case 2:
				return nil, errors.New("away\x1b")
			case 4:
				cancel()
			}
			return manyLogs(), nil
		})
		if err != nil || reads != 4 || strings.Count(out.String(), "running   pid 4242") != 2 || strings.Count(out.String(), "away?") != 1 || strings.Contains(out.String(), "\x1b") {
			t.Errorf("%v after %d reads: %s", err, reads, out.Bytes())
		}
		away := errors.New("nobody answers")
		err = Watch(t.Context(), &out, time.Second, func(context.Context) (*Status, error) { return nil, away })
		if !errors.Is(err, away) {
			t.Error(err)
		}
	})
}

// In place, a screen takes no more lines and columns than the terminal has,
// and leaves nothing of the one before.
func TestRedrawInPlace(t *testing.T) {
	var out bytes.Buffer
	s := statusScreen(manyLogs(), statusNow, 100)
	if err := redraw(&out, s, display{width: 100, rows: 20, colour: true}, true, true); err != nil {
		t.Fatal(err)
	}
	text := out.String()
	if !strings.HasPrefix(text, "\x1b[H\x1b[31mrunning") || !strings.HasSuffix(text, "more lines\x1b[0m\x1b[K\n\x1b[J") || strings.Contains(text, "\x1b[2J") {
		t.Errorf("%q", text)
	}
	lines := strings.Split(strings.TrimSuffix(text, "\x1b[J"), "\n")
	if len(lines) != 20 { // the last one is where the cursor stands
		t.Errorf("%d lines", len(lines))
	}
	for _, l := range lines[:len(lines)-1] {
		bare := strings.NewReplacer("\x1b[H", "", "\x1b[K", "", "\x1b[0m", "", "\x1b[1m", "", "\x1b[31m", "", "\x1b[33m", "").Replace(l)
		if len(bare) > 100 || strings.Contains(bare, "\x1b") || !strings.HasSuffix(l, "\x1b[K") {
			t.Errorf("%q", l)
		}
	}
}

func TestOnlyLogs(t *testing.T) {
	for _, tt := range []struct {
		names []string
		logs  int
		err   string
	}{
		{nil, 60, ""}, {[]string{"nimbus"}, 3, ""}, {[]string{"Oak2026h1", "Oak2026H2"}, 2, ""}, {[]string{strings.Repeat("0", 62) + "3C"}, 1, ""},
		{[]string{"nimbus", "absent\x1b"}, 0, `no log that is followed is called "absent\x1b"`}, {[]string{""}, 0, `called ""`},
	} {
		st := manyLogs()
		err := OnlyLogs(st, tt.names)
		if tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)) || tt.err == "" && (err != nil || len(st.Logs) != tt.logs) {
			t.Errorf("%q: %d logs, %v", tt.names, len(st.Logs), err)
		}
	}
}
