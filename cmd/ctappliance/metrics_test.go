package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"ctappliance/cmd/ctappliance/config"
	"ctappliance/cmd/ctappliance/report"
	"ctappliance/ingest"
	"ctappliance/ingest/pace"
	"ctappliance/store/engine"
)

// fullMetrics is a status in which every metric has a value.
func fullMetrics() report.Status {
	when := time.Unix(1_790_000_000, 500_000_000)
	st := report.Status{Engine: &engine.Status{PID: 7, Restarts: 3, SetAside: 2}}
	st.Running, st.Since, st.Alarmed = true, when, 2
	st.WAL = ingest.WALStatus{Bytes: 1 << 40, Budget: 1 << 41, Undelivered: 9, Stalled: "full", Fsyncs: 5, Appended: 6}
	st.Delivery = ingest.DeliveryStatus{Rows: 11, Last: when, InsertErrors: 12, Reinserted: 13, Trouble: "away"}
	st.Oldest, st.Memory.Engine, st.Disk = 4.5, 1<<30, report.Disk{Free: 1 << 33, Size: 1 << 34, Growth: 1, Window: 3600, Lasts: 1 << 33}
	st.Lists = []report.List{{Name: "Google", At: when, Read: when, Logs: 51, Followed: 52, Error: "away"}, {Name: "Google"}}
	st.Logs = []ingest.LogStatus{
		{Name: "First", Operator: "Op", Lag: 61.5, ETA: 62, Final: 900, Ends: when, Risk: "gone soon", LastError: "away", ErrorAt: when, ID: "aa", ShortID: 1, Kind: "static", State: "halted", Head: 900, HeadTime: 1_790_000_000_250, Polled: when, Fetched: 800, Verified: 700, Delivered: 600, Wanted: 900,
			Halted: "it lied", HaltKind: ingest.KindSplitView, Pace: &pace.Snapshot{Rate: 2.5, Limit: 2.6, Requests: 21, Refusals: 22},
			Heads: ingest.HeadCounts{Rejected: 31, RolledBack: 32, Future: 33, Backdated: 34, BehindSince: when},
			Audit: &ingest.Verdict{At: when, Entries: 41, Missing: 42, Doubled: 43, Found: 45, Tiles: 44, Error: "away"}},
		{Name: "Second", ID: "bb", ShortID: 2, Kind: "rfc6962", State: "retrying", Lag: -1, ETA: -1},
	}
	return st
}

// scrape returns what /metrics says of a status, by name and labels.
func scrape(t *testing.T, st report.Status) map[string]string {
	t.Helper()
	registry := prometheus.NewRegistry()
	registry.MustRegister(&collector{func() report.Status { return st }})
	w := httptest.NewRecorder()
	r := httptest.NewRequest("GET", "http://127.0.0.1:9123/metrics", nil)
	metricsHandler(registry, "", func() report.Status { return st }).ServeHTTP(w, r)
	if w.Code != 200 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	out := map[string]string{}
	for s := bufio.NewScanner(w.Body); s.Scan(); {
		if line := s.Text(); !strings.HasPrefix(line, "#") {
			at := strings.LastIndexByte(line, ' ')
			out[line[:at]] = line[at+1:]
		}
	}
	return out
}

// Every metric of the table comes out, with the value of the status.
func TestMetrics(t *testing.T) {
	got := scrape(t, fullMetrics())
	for series, want := range map[string]string{
		`alarms_total`: "2",
		`log_info{kind="static",log="First",log_id="aa",operator="Op"}`: "1",
		`log_state{log="First",state="halted"}`:                         "1",
		`log_state{log="First",state="caught up"}`:                      "0",
		`log_state{log="Second",state="retrying"}`:                      "1",
		`log_behind_entries{log="First"}`:                               "300",
		`log_lag_seconds{log="First"}`:                                  "61.5",
		`log_eta_seconds{log="First"}`:                                  "62",
		`log_final_entries{log="First"}`:                                "900",
		`log_ends_timestamp_seconds{log="First"}`:                       "1.7900000005e+09",
		`log_at_risk{log="First"}`:                                      "1",
		`log_at_risk{log="Second"}`:                                     "0",
		`log_last_error_timestamp_seconds{log="First"}`:                 "1.7900000005e+09",
		`log_host_found_requests_per_second{log="First"}`:               "2.6",
		`wal_oldest_undelivered_seconds`:                                "4.5",
		`engine_resident_bytes`:                                         "1.073741824e+09",
		`disk_free_bytes`:                                               "8.589934592e+09",
		`disk_size_bytes`:                                               "1.7179869184e+10",
		`disk_lasts_seconds`:                                            "8.589934592e+09",
		`list_logs{list="Google"}`:                                      "51",
		`list_followed_logs{list="Google"}`:                             "52",
		`list_timestamp_seconds{list="Google"}`:                         "1.7900000005e+09",
		`list_read_timestamp_seconds{list="Google"}`:                    "1.7900000005e+09",
		`list_read_timestamp_seconds{list="Google#2"}`:                  "0",
		`list_failing{list="Google"}`:                                   "1",
		`log_up{log="First"}`:                                           "1",
		`log_up{log="Second"}`:                                          "0",
		`log_halted{log="First"}`:                                       "1",
		`log_halted{log="Second"}`:                                      "0",
		`log_halt_reason{kind="split-view",log="First"}`:                "1",
		`log_halt_reason{kind="mismatch",log="First"}`:                  "0",
		`log_halt_reason{kind="split-view",log="Second"}`:               "0",
		`log_head_entries{log="First"}`:                                 "900",
		`log_head_timestamp_seconds{log="First"}`:                       "1.79000000025e+09",
		`log_fetched_entries{log="First"}`:                              "800",
		`log_verified_entries{log="First"}`:                             "700",
		`log_delivered_entries{log="First"}`:                            "600",
		`log_wanted_entries{log="First"}`:                               "900",
		`log_heads_rejected_total{log="First"}`:                         "31",
		`log_heads_rolled_back_total{log="First"}`:                      "32",
		`log_heads_future_total{log="First"}`:                           "33",
		`log_heads_backdated_total{log="First"}`:                        "34",
		`log_host_requests_total{log="First"}`:                          "21",
		`log_host_refusals_total{log="First"}`:                          "22",
		`log_host_requests_per_second_limit{log="First"}`:               "2.5",
		`audit_entries{log="First"}`:                                    "41",
		`audit_missing_entries{log="First"}`:                            "42",
		`audit_doubled_rows{log="First"}`:                               "43",
		`audit_found_total{log="First"}`:                                "45",
		`audit_tiles_total{log="First"}`:                                "44",
		`audit_proven_timestamp_seconds{log="First"}`:                   "1.7900000005e+09",
		`audit_failing{log="First"}`:                                    "1",
		`audit_failing{log="Second"}`:                                   "0",
		`wal_bytes`:                                                     "1.099511627776e+12",
		`wal_budget_bytes`:                                              "2.199023255552e+12",
		`wal_undelivered_records`:                                       "9",
		`wal_stalled`:                                                   "1",
		`wal_fsyncs_total`:                                              "5",
		`wal_appended_bytes_total`:                                      "6",
		`delivery_rows_total`:                                           "11",
		`delivery_insert_errors_total`:                                  "12",
		`delivery_reinserted_rows_total`:                                "13",
		`delivery_last_timestamp_seconds`:                               "1.7900000005e+09",
		`delivery_trouble`:                                              "1",
		`engine_up`:                                                     "1",
		`engine_restarts_total`:                                         "3",
		`engine_parts_set_aside`:                                        "2",
	} {
		if got[metricPrefix+series] != want {
			t.Errorf("%s is %q, want %s", series, got[metricPrefix+series], want)
		}
	}
	for i := range metrics {
		found := false
		for series := range got {
			name, _, _ := strings.Cut(series, "{")
			found = found || name == metricPrefix+metrics[i].name
		}
		if !found {
			t.Errorf("%s has no value", metrics[i].name)
		}
	}
	for _, absent := range []string{`audit_entries{log="Second"}`, `log_head_entries{log="Second"}`, `log_host_requests_total{log="Second"}`, `log_polled_timestamp_seconds{log="Second"}`,
		`log_lag_seconds{log="Second"}`, `log_eta_seconds{log="Second"}`, `log_final_entries{log="Second"}`, `log_ends_timestamp_seconds{log="Second"}`, `log_last_error_timestamp_seconds{log="Second"}`, `list_timestamp_seconds{list="Google#2"}`} {
		if v, ok := got[metricPrefix+absent]; ok {
			t.Errorf("%s is %s: nobody knows that", absent, v)
		}
	}
}

// A halt whose kind nobody knows any more is of one kind all the same.
func TestHaltOfUnknownKind(t *testing.T) {
	st := fullMetrics()
	st.Logs[0].HaltKind = "from another version"
	got := scrape(t, st)
	sum := 0
	for _, kind := range ingest.HaltKinds {
		if got[fmt.Sprintf(`%slog_halt_reason{kind="%s",log="First"}`, metricPrefix, kind)] == "1" {
			sum++
		}
	}
	if sum != 1 || got[metricPrefix+`log_halt_reason{kind="unknown",log="First"}`] != "1" {
		t.Errorf("%d kinds", sum)
	}
}

// Names that strangers chose are short and printable in labels, and never make
// two logs one.
func TestMetricLabels(t *testing.T) {
	evil := "evil\"\n\\x{log=\"y\"} 1\n\x1b[31m\u202e\xff" + strings.Repeat("A", 1000)
	st := report.Status{}
	st.Logs = []ingest.LogStatus{{Name: evil, ShortID: 1}, {Name: evil, ShortID: 2}, {Name: "", ShortID: 3}, {Name: "good", ShortID: 4}}
	names := labelNames(st.Logs)
	for i, n := range names {
		if len(n) > maxLabel+17 || n == "" || slices.Contains(names[:i], n) || strings.ContainsFunc(n, func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Errorf("%d: %q", i, n)
		}
	}
	if names[3] != "good" {
		t.Errorf("%q", names[3])
	}
	count := 0
	for series := range scrape(t, st) {
		if strings.HasPrefix(series, metricPrefix+"log_up{") {
			count++
		}
	}
	if count != 4 {
		t.Errorf("%d logs", count)
	}
}

// Names and words of the table are as Prometheus and its readers want them.
func TestMetricNames(t *testing.T) {
	seen := map[string]bool{}
	for _, m := range metrics {
		if !regexp.MustCompile(`^[a-z]+(_[a-z]+)+$`).MatchString(m.name) || seen[m.name] {
			t.Errorf("%s: name", m.name)
		}
		seen[m.name] = true
		if m.counter != strings.HasSuffix(m.name, "_total") {
			t.Errorf("%s: counters, and only they, end in _total", m.name)
		}
		if !strings.HasSuffix(m.help, ".") || strings.ContainsAny(m.help, "|\n") {
			t.Errorf("%s: help is not a sentence for a table", m.name)
		}
		given := 0
		for _, is := range []bool{m.whole != nil, m.log != nil, m.kind != nil, m.info, m.state, m.list != nil} {
			if is {
				given++
			}
		}
		if given != 1 {
			t.Errorf("%s: %d sources of values", m.name, given)
		}
	}
}

// docs/metrics.md is what the table says.
func TestMetricsReference(t *testing.T) {
	path := filepath.Join("..", "..", "docs", "metrics.md")
	var b strings.Builder
	b.WriteString(`# Metrics

<!-- Written by go test ./cmd/ctappliance -run TestMetricsReference -update. Change cmd/ctappliance/metrics.go instead. -->

` + "`ctappliance run`" + ` serves three paths, to read only, on ` + "`metrics.listen`" + ` (127.0.0.1:9123; ` + "`none`" + ` serves nothing):

| path | answer |
|---|---|
| /metrics | what follows, in Prometheus's text format |
| /healthz | 200 while the process answers |
| /readyz | 200 while entries go all the way; 503 while the engine is down, while delivery waits for a store that is away or refuses, and while the write-ahead log has no room. Fetching goes on as long as there is room. A log that is away or halted does not count: others go on |

Without a token the listener answers clients on this machine only, and only if they address it by a loopback name or address: a web page cannot have a browser read it. With ` + "`metrics.token`" + ` it may listen elsewhere; /metrics then wants ` + "`Authorization: Bearer`" + ` and the token, which crosses the network readable unless a proxy adds TLS.

Counters count since the process started. The label ` + "`log`" + ` is the log's name, made printable and cut at 64 characters, with the log's number behind it where two logs would have the same. Kinds of halt are ` + "`" + strings.Join(ingest.HaltKinds, "`, `") + "`" + `.
Metrics of Go's runtime (` + "`go_*`" + `) and of the process (` + "`process_*`" + `) come with them.

| metric | type | labels | meaning |
|---|---|---|---|
| ` + "`ctappliance_build_info`" + ` | gauge | version, go | The build that runs. Always 1. |
`)
	for i := range metrics {
		m := &metrics[i]
		kind := "gauge"
		if m.counter {
			kind = "counter"
		}
		fmt.Fprintf(&b, "| `%s%s` | %s | %s | %s |\n", metricPrefix, m.name, kind, strings.Join(m.labels(), ", "), m.help)
	}
	b.WriteString(`
Alert rules that use them are in ` + "`deploy/prometheus/`" + `, with a configuration that scrapes the appliance.
`)
	if *update {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil || string(got) != b.String() {
		t.Errorf("%s is not what the table says (%v); run go test ./cmd/ctappliance -run TestMetricsReference -update", path, err)
	}
}

// Who may read what.
func TestMetricsListener(t *testing.T) {
	const token = "0123456789abcdef"
	ready := report.Status{}
	waiting := report.Status{}
	waiting.Delivery.Trouble = "server \x1b away"
	for _, tt := range []struct {
		name, method, path, host, auth string
		token                          config.Secret
		st                             report.Status
		status                         int
		body                           string
	}{
		{name: "scrape", path: "/metrics", status: 200, body: "ctappliance_build_info"},
		{name: "by name", path: "/metrics", host: "LocalHost:9123", status: 200},
		{name: "IPv6", path: "/metrics", host: "[::1]:9123", status: 200},
		{name: "rebound name", path: "/metrics", host: "evil.example:9123", status: 403},
		{name: "other address", path: "/healthz", host: "192.168.1.1:9123", status: 403},
		{name: "no host", path: "/metrics", host: "-", status: 403},
		{name: "POST", method: "POST", path: "/metrics", status: 405},
		{name: "DELETE", method: "DELETE", path: "/healthz", status: 405},
		{name: "HEAD", method: "HEAD", path: "/healthz", status: 200},
		{name: "elsewhere", path: "/debug/pprof/", status: 404},
		{name: "root", path: "/", status: 404},
		{name: "healthy", path: "/healthz", status: 200, body: "ok"},
		{name: "ready", path: "/readyz", st: ready, status: 200, body: "ok"},
		{name: "not ready", path: "/readyz", st: waiting, status: 503, body: "server ? away"},
		{name: "no token", path: "/metrics", token: token, status: 401},
		{name: "wrong token", path: "/metrics", token: token, auth: "Bearer 0123456789abcdeF", status: 401},
		{name: "bare token", path: "/metrics", token: token, auth: token, status: 401},
		{name: "empty token", path: "/metrics", token: token, auth: "Bearer ", status: 401},
		{name: "token", path: "/metrics", host: "metrics.internal", token: token, auth: "Bearer " + token, status: 200},
		{name: "health without token", path: "/healthz", host: "10.0.0.1", token: token, status: 200},
		{name: "reason without token", path: "/readyz", token: token, st: waiting, status: 503, body: "not ready"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			registry := prometheus.NewRegistry()
			registry.MustRegister(&collector{func() report.Status { return tt.st }})
			method := tt.method
			if method == "" {
				method = "GET"
			}
			r := httptest.NewRequest(method, "http://127.0.0.1:9123"+tt.path, nil)
			switch tt.host {
			case "":
			case "-":
				r.Host = ""
			default:
				r.Host = tt.host
			}
			if tt.auth != "" {
				r.Header.Set("Authorization", tt.auth)
			}
			w := httptest.NewRecorder()
			metricsHandler(registry, tt.token, func() report.Status { return tt.st }).ServeHTTP(w, r)
			body := w.Body.String()
			if w.Code != tt.status || !strings.Contains(body, tt.body) {
				t.Errorf("%d %q", w.Code, body)
			}
			if tt.status != 200 && (strings.Contains(body, "ctappliance_") || strings.Contains(body, token)) {
				t.Errorf("a refusal says too much: %q", body)
			}
			if tt.name == "reason without token" && strings.Contains(body, "away") {
				t.Errorf("%q", body)
			}
			if w.Header().Get("X-Content-Type-Options") != "nosniff" {
				t.Error("browsers may sniff")
			}
		})
	}
}

// A port that is taken: a warning where it is the default, an error where it
// was chosen; and over a real socket headers without end are cut off.
func TestListenMetrics(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	open := func(address string, chosen, serves bool) (net.Listener, string, error) {
		var out bytes.Buffer
		cfg := &settings{Config: *config.Default()}
		cfg.Metrics.Listen, cfg.servesMetrics = address, serves
		if chosen {
			cfg.Typed(nil, map[string]string{"metrics.listen": "--metrics-listen"})
		}
		l, err := cfg.listenMetrics(t.Context(), slog.New(slog.NewTextHandler(&out, nil)))
		return l, out.String(), err
	}
	if l, said, err := open(taken.Addr().String(), false, true); l != nil || err != nil || strings.Count(said, "\n") != 1 || !strings.Contains(said, "metrics.listen") {
		t.Errorf("taken by default: %v %v %q", l, err, said)
	}
	if l, said, err := open(taken.Addr().String(), true, true); l != nil || err == nil || !strings.Contains(err.Error(), "--metrics-listen") || said != "" {
		t.Errorf("taken and chosen: %v %v %q", l, err, said)
	}
	for _, address := range []string{config.NoListener, ""} {
		if l, said, err := open(address, true, true); l != nil || err != nil || said != "" {
			t.Errorf("%q: %v %v %q", address, l, err, said)
		}
	}
	if l, _, err := open("127.0.0.1:0", true, false); l != nil || err != nil {
		t.Errorf("a command that serves none: %v %v", l, err)
	}
	l, _, err := open("127.0.0.1:0", true, true)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		serveMetrics(ctx, l, "", fullMetrics, slog.New(slog.DiscardHandler))
	}()
	url := "http://" + l.Addr().String()
	resp, err := http.Get(url + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	for _, want := range []string{"ctappliance_wal_bytes ", "go_goroutines ", "process_open_fds ", "# HELP ctappliance_alarms_total "} {
		if !bytes.Contains(body, []byte(want)) {
			t.Errorf("/metrics has no %q", want)
		}
	}
	req, _ := http.NewRequestWithContext(t.Context(), "GET", url+"/healthz", nil)
	req.Header.Set("X-Long", strings.Repeat("x", 64<<10))
	if resp, err := http.DefaultClient.Do(req); err == nil {
		resp.Body.Close()
		if resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
			t.Errorf("64 kB of headers: %d", resp.StatusCode)
		}
	}
	cancel()
	<-ended
}

func TestMetricsConfig(t *testing.T) {
	for _, tt := range []struct {
		listen string
		token  config.Secret
		want   string // part of the error; empty: good
	}{
		{"127.0.0.1:9123", "", ""},
		{"localhost:9123", "", ""},
		{"[::1]:0", "", ""},
		{"none", "", ""},
		{"", "", ""},
		{"0.0.0.0:9123", "0123456789abcdef", ""},
		{":9123", "0123456789abcdef", ""},
		{"0.0.0.0:9123", "", "metrics.token"},
		{":9123", "", "metrics.token"},
		{"[::]:9123", "", "metrics.token"},
		{"192.168.1.1:9123", "", "metrics.token"},
		{"127.0.0.1:9123", "tiny", "shorter than 16"},
		{"127.0.0.1", "", "address and a port"},
		{"127.0.0.1:http", "", "not a port"},
		{"127.0.0.1:65536", "", "not a port"},
		{"example.com:9123", "0123456789abcdef", "not an IP address"},
	} {
		cfg := &settings{Config: *config.Default()}
		cfg.Metrics = config.MetricsConfig{Listen: tt.listen, Token: tt.token}
		err := cfg.Validate()
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q with token %v: %v", tt.listen, tt.token != "", err)
		}
		if err != nil && tt.token != "" && strings.Contains(err.Error(), tt.token.Reveal()) {
			t.Errorf("the error shows the token: %v", err)
		}
	}
}
