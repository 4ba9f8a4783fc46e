package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ctappliance/cmd/ctappliance/config"
	"ctappliance/ingest"
	"ctappliance/ingest/ctlog"
	"ctappliance/ingest/pace"
)

func followOf(t *testing.T, logs []ingest.Follow, name string) ingest.Follow {
	t.Helper()
	for _, l := range logs {
		if l.Log.Info().Name == name {
			return l
		}
	}
	t.Fatalf("%s is not followed", name)
	return ingest.Follow{}
}

// There is one pacer per host over the whole life, whatever is reloaded, and
// new limits reach it.
func TestOnePacerPerHost(t *testing.T) {
	logs := someLogs(t, "A", "B", "C")
	logs[0].url, logs[1].url = "https://one.ct-watch.org/a/", "https://ONE.ct-watch.org/b/"
	f := newTestFleet(t, "limits: [{host: one.ct-watch.org, max-qps: 5}]\n", logs)
	a, b, c := f.follow("A"), f.follow("B"), f.follow("C")
	if a.Pace != b.Pace || a.Pace == c.Pace {
		t.Error("hosts and pacers do not correspond")
	}
	if got := a.Pace.Snapshot().Rate; got > 5 {
		t.Errorf("%v requests per second, 5 are allowed", got)
	}
	f.configure("limits: [{host: one.ct-watch.org, max-qps: 0.5}, {operator: somebody, max-in-flight: 2}]\ncontact: you@ct-watch.org\n")
	// A contact twice is a mistake; the limits count.
	if _, err := f.reload(t.Context(), f.p); err == nil {
		t.Fatal("a key twice was accepted")
	}
	f.configure("limits: [{host: one.ct-watch.org, max-qps: 0.5}, {operator: somebody, max-in-flight: 2}]\n")
	if _, err := f.reload(t.Context(), f.p); err != nil {
		t.Fatal(err)
	}
	a2 := f.follow("A")
	if a2.Pace != a.Pace || f.follow("C").Pace != c.Pace {
		t.Error("a reload has made another pacer")
	}
	if a2.Log == a.Log {
		t.Error("A is not behind its operator's turnstile")
	}
	if got := a.Pace.Snapshot().Rate; got > 0.5 {
		t.Errorf("%v requests per second after the reload, 0.5 are allowed", got)
	}
	f.configure("")
	if _, err := f.reload(t.Context(), f.p); err != nil {
		t.Fatal(err)
	}
	if f.follow("A").Pace != a.Pace {
		t.Error("a reload has made another pacer")
	}
}

// Hosts that are known for it get a connection per request and a slow
// beginning; the configuration has the last word.
func TestHints(t *testing.T) {
	logs := someLogs(t, "A", "B")
	logs[0].url, logs[1].url = "https://wyvern.ct.digicert.com/2027h1/", "https://notdigicert.com/"
	f := newTestFleet(t, "", logs)
	closed := func(host string) bool {
		for key := range f.hosts.transports {
			if key.host == host {
				return f.hosts.transports[key].DisableKeepAlives
			}
		}
		t.Fatalf("no connections to %s", host)
		return false
	}
	if !closed("wyvern.ct.digicert.com") || closed("notdigicert.com") {
		t.Error("keep-alive is not as the hints say")
	}
	if a, b := f.follow("A").Pace.Snapshot().Rate, f.follow("B").Pace.Snapshot().Rate; a > 0.26 || b < 1 {
		t.Errorf("begins at %v and %v requests per second", a, b)
	}
	f = newTestFleet(t, "limits: [{host: wyvern.ct.digicert.com, keep-alive: on, start-qps: 3}, {host: notdigicert.com, keep-alive: off}]\n", logs)
	if closed("wyvern.ct.digicert.com") || !closed("notdigicert.com") {
		t.Error("keep-alive is not as configured")
	}
	if a := f.follow("A").Pace.Snapshot().Rate; a < 2.9 || a > 3.1 {
		t.Errorf("begins at %v requests per second", a)
	}
}

// All hosts of an operator share its turnstile; a request that waits there and
// is given up leaves no trace.
func TestOperatorGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := pace.New(pace.Options{Start: 1e5, MaxInFlight: 1})
		one := gated{pace.New(pace.Options{Start: 100}).Share(), gate}
		hostTwo := pace.New(pace.Options{Start: 100})
		two := gated{hostTwo.Share(), gate}
		first, err := one.Acquire(t.Context(), ctlog.ClassData)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := two.Acquire(ctx, ctlog.ClassData); err == nil {
			t.Fatal("two requests at once")
		}
		if s := hostTwo.Snapshot(); s.InFlight != 0 || s.Refusals != 0 {
			t.Errorf("the request that was given up is still there: %+v", s)
		}
		first.Done(ctlog.Outcome{Status: 429, RetryAfter: time.Hour})
		second, err := two.Acquire(t.Context(), ctlog.ClassData)
		if err != nil {
			t.Fatal(err)
		}
		second.Done(ctlog.Outcome{Status: 200})
		if s := gate.Snapshot(); s.InFlight != 0 || s.Refusals != 0 {
			t.Errorf("the refusal of one host is the operator's: %+v", s)
		}
	})
}

// What pacers have learnt is there in the next life, for hosts that are not
// asked at present too.
func TestPaceOutlivesARestart(t *testing.T) {
	logs := someLogs(t, "A", "B", "C")
	f := newTestFleet(t, "", logs)
	dir := filepath.Join(f.dir, "data")
	now := f.now()
	f.hosts.learnt["gone.ct-watch.org"] = pace.State{Rate: 7, At: now.Add(-time.Hour)}
	f.hosts.learnt["long-gone.ct-watch.org"] = pace.State{Rate: 7, At: now.Add(-31 * 24 * time.Hour)}
	f.hosts.savePace(dir, now, f.out)
	text, err := os.ReadFile(filepath.Join(dir, paceFile))
	if err != nil {
		t.Fatal(err)
	}
	slow := strings.Replace(string(text), `"a.ct-watch.org": {`+"\n   \"rate\": 8", `"a.ct-watch.org": {`+"\n   \"rate\": 2.5", 1)
	if slow == string(text) {
		t.Fatalf("a.ct-watch.org is not there at 8 requests per second:\n%s", text)
	}
	// As another clock wrote it: who writes leaves out what is old, too.
	slow = strings.Replace(slow, `"hosts": {`, `"hosts": {"older.ct-watch.org": {"rate": 7, "at": "`+now.Add(-31*24*time.Hour).Format(time.RFC3339)+`"},`, 1)
	if err := os.WriteFile(filepath.Join(dir, paceFile), []byte(slow), 0o600); err != nil {
		t.Fatal(err)
	}
	follows := f.restart()
	if a, b := followOf(t, follows, "A").Pace.State().Rate, followOf(t, follows, "B").Pace.State().Rate; a > 2.6 || b < 7 {
		t.Errorf("begins at %v and %v requests per second", a, b)
	}
	if _, ok := f.hosts.learnt["gone.ct-watch.org"]; !ok {
		t.Error("a host that is not asked at present was forgotten")
	}
	for _, host := range []string{"long-gone.ct-watch.org", "older.ct-watch.org"} {
		if _, ok := f.hosts.learnt[host]; ok {
			t.Errorf("%s: a limit of last month is believed", host)
		}
	}
}

// A file that is damaged or says what cannot be is ignored, with a line.
func TestAbsurdPace(t *testing.T) {
	for name, text := range map[string]string{
		"not JSON":   "{",
		"zeros":      strings.Repeat("\x00", 4096),
		"no rate":    `{"hosts": {"a.ct-watch.org": {"rate": 0, "at": "2026-11-23T00:00:00Z"}}}`,
		"negative":   `{"hosts": {"a.ct-watch.org": {"rate": -1, "at": "2026-11-23T00:00:00Z"}}}`,
		"immense":    `{"hosts": {"a.ct-watch.org": {"rate": 1e300, "at": "2026-11-23T00:00:00Z"}}}`,
		"the future": `{"hosts": {"a.ct-watch.org": {"rate": 1, "at": "2199-11-23T00:00:00Z"}}}`,
	} {
		t.Run(name, func(t *testing.T) {
			f := newTestFleet(t, "", someLogs(t, "A"))
			f.now = func() time.Time { return time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC) }
			if err := os.WriteFile(filepath.Join(f.dir, "data", paceFile), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			follows := f.restart()
			if got := followOf(t, follows, "A").Pace.State().Rate; got < 7 || got > 9 {
				t.Errorf("begins at %v requests per second", got)
			}
			if !strings.Contains(f.said.String(), "level=WARN") || strings.Count(f.said.String(), paceFile) != 1 {
				t.Errorf("said:\n%s", f.said)
			}
		})
	}
}

// What is read as an archive, and what may be a file.
func TestAccess(t *testing.T) {
	tests := []struct {
		url, kind string
		want      access
	}{
		{"https://ct.ct-watch.org/2026/", "auto", access{}},
		{"https://ct.ct-watch.org/2026/", "archive", access{archive: true}},
		{"https://ct.ct-watch.org/2026/000.ZIP", "auto", access{archive: true}},
		{"https://ct.ct-watch.org/2026.zip/", "auto", access{archive: true}},
		{"https://ct.ct-watch.org/2026.zip/", "static", access{}},
		{"file:///old/", "auto", access{file: true, archive: true}},
	}
	for _, tt := range tests {
		if got := accessOf(&config.LogConfig{URL: tt.url, Kind: tt.kind}); got != tt.want {
			t.Errorf("%s, %s: %+v", tt.url, tt.kind, got)
		}
	}
}
