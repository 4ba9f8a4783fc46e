package ctlogtest

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"
)

// demo runs Serve and returns its Ready line and what ends it.
func demo(t *testing.T, o ServeOptions) (Ready, func() error) {
	t.Helper()
	out, line := io.Pipe()
	stdin, hangUp := io.Pipe()
	o.Out, o.Stdin, o.Dir = line, stdin, t.TempDir()
	done := make(chan error, 1)
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	go func() {
		err := Serve(ctx, o)
		line.CloseWithError(io.EOF)
		done <- err
	}()
	b, err := bufio.NewReader(out).ReadBytes('\n')
	if err != nil {
		t.Fatalf("%v, %v", err, <-done)
	}
	var r Ready
	if err := json.Unmarshal(b, &r); err != nil {
		t.Fatal(err)
	}
	return r, func() error { hangUp.Close(); return <-done }
}

// A restarted demo log is the same log: keys, entries and tiles are equal byte
// for byte; and the end of stdin ends it.
func TestServeRestart(t *testing.T) {
	t.Parallel()
	o := ServeOptions{Log: Options{Seed: 11, Size: 600}}
	paths := []string{"/rfc/ct/v1/get-entries?start=256&end=511", "/rfc/ct/v1/get-sth-consistency?first=3&second=600", "/rfc/ct/v1/get-roots",
		"/static/tile/0/001", "/static/tile/1/000.p/2", "/static/tile/data/001", "/static/tile/data/002.p/88"}
	var first [][]byte
	var ids string
	for life := range 2 {
		r, stop := demo(t, o)
		if len(r.Logs) != 2 || r.Logs[0].Size != 600 {
			t.Fatalf("%+v", r)
		}
		host := strings.TrimSuffix(r.ListURL, "/log_list.json")
		for i, p := range paths {
			resp, err := http.Get(host + p)
			if err != nil {
				t.Fatal(err)
			}
			b, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err != nil || resp.StatusCode != 200 {
				t.Fatalf("%s: %d %v", p, resp.StatusCode, err)
			}
			if life == 0 {
				first = append(first, b)
			} else if !bytes.Equal(b, first[i]) {
				t.Errorf("%s differs after a restart", p)
			}
		}
		if now := fmt.Sprintf("%x %x", r.Logs[0].Key, r.Logs[1].LogID); life == 0 {
			ids = now
		} else if now != ids {
			t.Error("keys differ after a restart")
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	}
}

// The log list names both logs as a client needs them.
func TestLogListFile(t *testing.T) {
	t.Parallel()
	r, stop := demo(t, ServeOptions{Log: Options{Size: 3}})
	defer stop()
	b, err := os.ReadFile(r.LogList)
	if err != nil {
		t.Fatal(err)
	}
	type listed struct {
		LogID         []byte `json:"log_id"`
		Key           []byte `json:"key"`
		URL           string `json:"url"`
		SubmissionURL string `json:"submission_url"`
		MonitoringURL string `json:"monitoring_url"`
		MMD           int    `json:"mmd"`
		State         map[string]struct{ Timestamp time.Time }
	}
	var list struct {
		Operators []struct {
			Name      string
			Logs      []listed
			TiledLogs []listed `json:"tiled_logs"`
		}
		Timestamp time.Time `json:"log_list_timestamp"`
	}
	if err := json.Unmarshal(b, &list); err != nil {
		t.Fatal(err)
	}
	if len(list.Operators) != 1 || len(list.Operators[0].Logs) != 1 || len(list.Operators[0].TiledLogs) != 1 {
		t.Fatalf("%s", b)
	}
	rfc, tiled := list.Operators[0].Logs[0], list.Operators[0].TiledLogs[0]
	for _, l := range []listed{rfc, tiled} {
		if sha256.Sum256(l.Key) != [32]byte(l.LogID) || l.MMD == 0 || l.State["usable"].Timestamp.IsZero() {
			t.Errorf("%+v", l)
		}
	}
	if rfc.URL != r.Logs[0].URL || tiled.MonitoringURL != r.Logs[1].URL || tiled.SubmissionURL != "https://"+r.Logs[1].Origin+"/" {
		t.Errorf("%+v, %+v, want %+v", rfc, tiled, r.Logs)
	}
	for _, u := range []string{rfc.URL + "ct/v1/get-sth", tiled.MonitoringURL + "checkpoint", r.Logs[0].Control + "stats", tiled.MonitoringURL + "log_list.json", r.ListURL} {
		resp, err := http.Get(u)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != 200 {
			t.Errorf("%s: %d", u, resp.StatusCode)
		}
	}
}

// A log mounted below a prefix lists itself with that prefix.
func TestLogListOfOneLog(t *testing.T) {
	t.Parallel()
	r, stop := demo(t, ServeOptions{Log: Options{Size: 1}, Kinds: []Kind{Static}})
	defer stop()
	resp, err := http.Get(r.Logs[0].URL + "log_list.json")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || !bytes.Contains(b, []byte(`"monitoring_url": "`+r.Logs[0].URL+`"`)) {
		t.Errorf("%s %v", b, err)
	}
}

func TestServeRefuses(t *testing.T) {
	t.Parallel()
	for _, o := range []ServeOptions{{Port: -1}, {Port: 70000}, {Limit: &RateLimit{}}, {Faults: []Fault{{Mode: "x"}}}, {Log: Options{PageSize: -1}}} {
		if err := Serve(t.Context(), o); err == nil {
			t.Errorf("%+v was accepted", o)
		}
	}
}

// Over HTTPS a demo log gives the same bytes, by either version of HTTP.
func TestServeTLS(t *testing.T) {
	t.Parallel()
	authority := httptest.NewUnstartedServer(nil) // for its certificate
	authority.StartTLS()
	defer authority.Close()
	r, stop := demo(t, ServeOptions{Log: Options{Seed: 12, Size: 300}, TLS: &tls.Config{Certificates: authority.TLS.Certificates}})
	get := func(client *http.Client, url string) ([]byte, int) {
		resp, err := client.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("%s: %d %v", url, resp.StatusCode, err)
		}
		return b, resp.ProtoMajor
	}
	roots := authority.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	for _, l := range r.Logs {
		path := "ct/v1/get-entries?start=0&end=255"
		if l.Kind == Static.String() {
			path = "tile/data/000"
		}
		plain, _ := get(http.DefaultClient, l.URL+path)
		for version := 1; version <= 2; version++ {
			tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: version == 2}
			defer tr.CloseIdleConnections()
			if b, got := get(&http.Client{Transport: tr}, l.SecureURL+path); got != version || !bytes.Equal(b, plain) {
				t.Errorf("%s: by HTTP/%d, wanted %d, %d bytes of %d", l.SecureURL, got, version, len(b), len(plain))
			}
		}
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}
