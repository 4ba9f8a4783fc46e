package catalog

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ctappliance/ingest/ctlog"
)

var day = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

// TestRealLists: Google's list of May verifies with the embedded key, and is
// there after a restart without a network.
func TestRealLists(t *testing.T) {
	list, sig := realFile(t, "loglists/google-v3-85.92-2026-05-29.json"), realFile(t, "loglists/google-v3-85.92-2026-05-29.sig")
	w, dir := newWeb(), t.TempDir()
	w.put(Google().URL, list)
	w.put(Google().SigURL, sig)
	c := open(t, w, dir, Google())
	if len(c.Logs()) != 0 {
		t.Error("logs before the first refresh")
	}
	if err := c.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	check := func(c *Catalog) {
		t.Helper()
		logs := c.Logs()
		follow, why := 0, map[string]int{}
		for _, l := range logs {
			d := Rules{}.Decide(l, day)
			if d.Follow {
				follow++
			} else {
				why[d.Why]++
			}
		}
		if len(logs) != 56 || follow != 52 || why["retired since 2026-02-28"] != 2 || why["its URL is a placeholder"] != 2 {
			t.Errorf("%d logs, %d followed, %v", len(logs), follow, why)
		}
		s := c.Sources()[0]
		if !s.Signed || s.Version != "85.92" || s.Logs != 56 || s.Err != "" || s.Fetched.IsZero() || s.Timestamp.Format(time.RFC3339) != "2026-05-29T13:42:48Z" {
			t.Errorf("%+v", s)
		}
		sabre := find(t, logs, "Sectigo 'Sabre2026h1'")
		if d := (Rules{}).Decide(sabre, day); !d.Follow || d.Why != "readonly since 2025-09-18, ends at 88744201, in google" {
			t.Errorf("%+v", d)
		}
		argon := find(t, logs, "Google 'Argon2026h1' log")
		if d := (Rules{}).Decide(argon, day.AddDate(0, 1, 0)); !d.Follow || d.Why != "usable in google; its shard ended on 2026-07-01" {
			t.Errorf("%+v", d)
		}
	}
	check(c)
	check(open(t, newWeb(), dir, Google()))
}

// TestRealUpdate: 81.14, then 85.92 as an update, then 81.14 once more.
func TestRealUpdate(t *testing.T) {
	older, newer := realFile(t, "loglists/google-v3-81.14-2026-01-20.json"), realFile(t, "loglists/google-v3-85.92-2026-05-29.json")
	p, dir := newPublisher(t), t.TempDir()
	var said lines
	c, err := Open(Options{Dir: dir, Sources: []Source{p.source()}, Transport: p.web, Logger: said.logger()})
	if err != nil {
		t.Fatal(err)
	}
	p.publish(older)
	if err := c.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	before := c.Logs()
	p.publish(newer)
	if err := c.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	count := map[What]int{}
	changes := Diff(before, c.Logs())
	for _, ch := range changes {
		count[ch.What]++
	}
	if len(before) != 75 || len(c.Logs()) != 56 || count[Gone] != 19 || count[StateChanged] != 3 || len(count) != 2 {
		t.Errorf("%d, then %d logs: %v", len(before), len(c.Logs()), count)
	}
	if text := said.String(); strings.Count(text, "\n") != 1+len(changes) || !strings.Contains(text, `msg="log changed its state" log="TrustAsia Luoshu2027" operator=TrustAsia was=qualified state=usable since=2026-02-11`) {
		t.Errorf("%d changes, lines:\n%s", len(changes), text)
	}
	p.publish(older)
	err = c.Refresh(t.Context())
	wantErr(t, err, "log list signed", `version "81.14" of 2026-01-20T12:54:10Z`, "older than", `version "85.92"`, filepath.Join(dir, "signed.list"))
	if len(c.Logs()) != 56 || c.Sources()[0].Version != "85.92" || c.Sources()[0].Failures != 1 {
		t.Errorf("%+v", c.Sources())
	}
}

// TestRealBroken: each broken list is one clear line, or a list.
func TestRealBroken(t *testing.T) {
	for file, want := range map[string]string{
		"log_list_incomplete.json":       "not JSON",
		"log_list_too_big.json":          "bytes after its end",
		"log_list_no_operator_name.json": "",
		"log_list_valid_until.json":      "",
	} {
		w := newWeb()
		w.put(bareURL, realFile(t, "loglists/"+file))
		c := open(t, w, t.TempDir(), bare())
		err := c.Refresh(t.Context())
		if want != "" {
			wantErr(t, err, "log list bare", want)
			continue
		}
		if err != nil || len(c.Logs()) == 0 {
			t.Errorf("%s: %v, %d logs", file, err, len(c.Logs()))
		}
		for _, l := range c.Logs() {
			if d := (Rules{}).Decide(l, day); d.Why == "" {
				t.Errorf("%s: %s: no reason", file, l.Name)
			}
		}
	}
}

// TestKeptOut: what must not take the place of the last good list, and what
// must.
func TestKeptOut(t *testing.T) {
	now := time.Now().UTC().Truncate(time.Second)
	good := testList("5.10", now, testLogs(20)...)
	other := newSigner(t)
	retired := testLogs(20)
	for i := range 11 {
		retired[i] = testLog(i, state("retired", "2026-02-01T00:00:00Z"))
	}
	for _, c := range []struct {
		name string
		edit func(p *publisher)
		want []string // in the error; nil = taken over
	}{
		{"the same", func(p *publisher) {}, nil},
		{"newer", func(p *publisher) { p.publish(testList("5.11", now.Add(time.Hour), testLogs(19)...)) }, nil},
		{"newer time, older version", func(p *publisher) { p.publish(testList("1.0", now.Add(time.Hour), testLogs(20)...)) }, nil},
		{"same time and version, other logs", func(p *publisher) { p.publish(testList("5.10", now, testLogs(21)...)) }, nil},
		{"same time, newer version", func(p *publisher) { p.publish(testList("5.11", now, testLogs(21)...)) }, nil},
		{"half", func(p *publisher) { p.publish(testList("6", now.Add(time.Hour), testLogs(10)...)) }, nil},
		{"older", func(p *publisher) { p.publish(testList("5.12", now.Add(-time.Second), testLogs(20)...)) }, []string{"is older than"}},
		{"older version", func(p *publisher) { p.publish(testList("5.9", now, testLogs(21)...)) }, []string{`"5.9"`, "is older than"}},
		{"wrong signature", func(p *publisher) { p.put(sigURL, bytes.Repeat([]byte{7}, 512)); p.put(listURL, append(good, ' ')) }, []string{"signature does not match"}},
		{"signature of another list", func(p *publisher) { p.put(listURL, testList("5.11", now.Add(time.Hour), testLogs(20)...)) }, []string{"signature does not match"}},
		{"signature of another key", func(p *publisher) {
			list := testList("5.11", now.Add(time.Hour), testLogs(20)...)
			p.put(listURL, list)
			p.put(sigURL, other.sign(t, list))
		}, []string{"signature does not match"}},
		{"one byte more", func(p *publisher) { p.put(listURL, append(bytes.Clone(good), '\n')) }, []string{"signature does not match"}},
		{"truncated", func(p *publisher) { p.put(listURL, good[:len(good)/2]) }, []string{"signature does not match"}},
		{"truncated and signed", func(p *publisher) { p.publish(good[:len(good)/2]) }, []string{"not JSON"}},
		{"no signature", func(p *publisher) {
			p.put(listURL, append(bytes.Clone(good), '\n'))
			p.serve(sigURL, nil)
		}, []string{"its signature", "status 404"}},
		{"a page", func(p *publisher) { p.publish([]byte("<!DOCTYPE html>\x1b[31m<title>Just a moment")) }, []string{"no log list but", "DOCTYPE"}},
		{"nothing", func(p *publisher) { p.publish(nil) }, []string{`no log list but ""`}},
		{"no operators", func(p *publisher) { p.publish([]byte(`{"version":"6","operators":[]}`)) }, []string{"names no operators"}},
		{"no logs", func(p *publisher) { p.publish([]byte(`{"version":"6","operators":[{"name":"x"}]}`)) }, []string{"names no logs"}},
		{"shrunk", func(p *publisher) { p.publish(testList("6", now.Add(time.Hour), testLogs(9)...)) }, []string{"names 9 logs", "named 20", "not plausible"}},
		{"all but retired", func(p *publisher) { p.publish(testList("6", now.Add(time.Hour), retired...)) }, []string{"9 can be followed", "20", "not plausible"}},
		{"too many", func(p *publisher) {
			p.publish([]byte(`{"operators":[{"name":"x","logs":[` + strings.Repeat("{},", maxLogs) + `{}]}]}`))
		}, []string{"names 5001 logs"}},
		{"status 500", func(p *publisher) {
			p.serve(listURL, func(r *http.Request) (*http.Response, error) { return answer(r, 500, nil, good), nil })
		}, []string{"status 500"}},
		{"304 unasked", func(p *publisher) {
			p.serve(listURL, func(r *http.Request) (*http.Response, error) { return answer(r, 304, nil, nil), nil })
		}, []string{"status 304"}},
		{"gone", func(p *publisher) { p.fail(listURL, errors.New("no such host")) }, []string{"no such host"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, dir := newPublisher(t), t.TempDir()
			p.publish(good)
			cat := open(t, p.web, dir, p.source())
			if err := cat.Refresh(t.Context()); err != nil {
				t.Fatal(err)
			}
			before := cat.Logs()
			c.edit(p)
			err := cat.Refresh(t.Context())
			if c.want == nil {
				if err != nil {
					t.Error(err)
				}
			} else {
				wantErr(t, err, append(c.want, "log list signed")...)
				if d := Diff(before, cat.Logs()); len(d) > 0 || len(before) != 20 {
					t.Errorf("%d logs changed", len(d))
				}
				if s := cat.Sources()[0]; s.Err != err.Error() || s.Failures != 1 || s.Version != "5.10" {
					t.Errorf("%+v", s)
				}
			}
			if d := Diff(cat.Logs(), open(t, newWeb(), dir, p.source()).Logs()); len(d) > 0 {
				t.Errorf("after a restart: %d differences", len(d))
			}
		})
	}
}

// TestSmallLists: what is not plausible of Chrome's list may be of somebody's
// own.
func TestSmallLists(t *testing.T) {
	w := newWeb()
	c := open(t, w, "", bare())
	for _, n := range []int{9, 1} {
		w.put(bareURL, testList("", time.Time{}, testLogs(n)...))
		if err := c.Refresh(t.Context()); err != nil || len(c.Logs()) != n {
			t.Errorf("%d logs: %v, %d", n, err, len(c.Logs()))
		}
	}
}

// TestFutureList: a forged list of the future does not shut out true ones, but
// a signed one says what it says.
func TestFutureList(t *testing.T) {
	now := time.Now()
	poison, honest := testList("9999", now.AddDate(70, 0, 0), testLogs(3)...), testList("6", now, testLogs(4)...)
	w := newWeb()
	c := open(t, w, "", bare())
	for i, list := range [][]byte{testList("5", now.Add(-time.Hour), testLogs(2)...), poison, honest} {
		w.put(bareURL, list)
		if err := c.Refresh(t.Context()); err != nil || len(c.Logs()) != 2+i {
			t.Errorf("list %d: %v, %d logs", i, err, len(c.Logs()))
		}
	}
	p := newPublisher(t)
	c = open(t, p.web, "", p.source())
	p.publish(poison)
	if err := c.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.publish(honest)
	wantErr(t, c.Refresh(t.Context()), "older than", "stays in use until a restart")
}

// TestAppleOrder: Apple's list has no timestamp; its asset version tells.
func TestAppleOrder(t *testing.T) {
	list := func(asset, logs int) []byte {
		var v m
		if err := json.Unmarshal(testList("", time.Time{}, testLogs(logs)...), &v); err != nil {
			t.Fatal(err)
		}
		v["assetVersion"], v["assetVersionV2"], v["$schema"] = 32, asset, "https://valid.apple.com/schema"
		b, _ := json.Marshal(v)
		return b
	}
	w := newWeb()
	c := open(t, w, "", bare())
	w.put(bareURL, list(1013, 3))
	if err := c.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.put(bareURL, list(1012, 4))
	wantErr(t, c.Refresh(t.Context()), "asset 1012", "older")
	w.put(bareURL, list(1014, 4))
	if err := c.Refresh(t.Context()); err != nil || len(c.Logs()) != 4 {
		t.Error(err, len(c.Logs()))
	}
}

func TestCompareVersions(t *testing.T) {
	for _, c := range []struct {
		a, b  string
		order int
		ok    bool
	}{
		{"85.92", "85.92", 0, true}, {"81.14", "85.92", -1, true}, {"85.100", "85.92", 1, true}, {"85", "85.0", 0, true},
		{"85", "85.1", -1, true}, {"", "1", 0, false}, {"v4", "5", 0, false}, {"1.x", "2", 0, false}, {"99999999999999999999", "1", 0, false},
	} {
		if order, ok := compareVersions(c.a, c.b); order != c.order && c.ok || ok != c.ok {
			t.Errorf("%q, %q: %d, %v", c.a, c.b, order, ok)
		}
	}
}

// TestBodies: what comes is bounded, whatever the source says of it.
func TestBodies(t *testing.T) {
	var bomb bytes.Buffer
	zw, _ := gzip.NewWriterLevel(&bomb, gzip.BestSpeed)
	chunk := bytes.Repeat([]byte(" "), 1<<20)
	for range 256 {
		_, _ = zw.Write(chunk)
	}
	_ = zw.Close()
	list := testList("1", day, testLogs(3)...)
	var packed bytes.Buffer
	zw = gzip.NewWriter(&packed)
	_, _ = zw.Write(list)
	_ = zw.Close()
	endless := func(declared int64) func(r *http.Request) (*http.Response, error) {
		return func(r *http.Request) (*http.Response, error) {
			a := answer(r, 200, nil, nil)
			a.Body, a.ContentLength = io.NopCloser(&spaces{t: t, left: maxList + 64<<10}), declared
			return a, nil
		}
	}
	encoded := func(encoding string, body []byte) func(r *http.Request) (*http.Response, error) {
		return func(r *http.Request) (*http.Response, error) {
			return answer(r, 200, http.Header{"Content-Encoding": {encoding}}, body), nil
		}
	}
	for _, c := range []struct {
		name string
		page func(r *http.Request) (*http.Response, error)
		want string // "" = fine
	}{
		{"10 GB, declared", endless(10 << 30), "declares 10737418240 bytes; 4194304 is the most"},
		{"10 GB, not declared", endless(-1), "has more than 4194304 bytes"},
		{"gzip bomb", encoded("gzip", bomb.Bytes()), "has more than 4194304 bytes"},
		{"gzip unasked", encoded("gzip", packed.Bytes()), ""},
		{"gzip damaged", encoded("gzip", packed.Bytes()[:100]), "reading the answer"},
		{"no gzip at all", encoded("gzip", list), "not gzip as its header says"},
		{"brotli", encoded("br\x1b", list), `encoding "br\x1b"`},
	} {
		w := newWeb()
		w.serve(bareURL, c.page)
		cat := open(t, w, "", bare())
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		err := cat.Refresh(t.Context())
		runtime.ReadMemStats(&after)
		// io.ReadAll grows by copying: a few times the limit.
		if got := after.TotalAlloc - before.TotalAlloc; got > 8*maxList {
			t.Errorf("%s: %d bytes of memory for a limit of %d", c.name, got, maxList)
		}
		if c.want == "" {
			if err != nil || len(cat.Logs()) != 3 {
				t.Errorf("%s: %v", c.name, err)
			}
			continue
		}
		wantErr(t, err, c.want, bareURL)
	}
	p := newPublisher(t)
	p.put(listURL, list)
	p.put(sigURL, make([]byte, maxSig+1))
	wantErr(t, open(t, p.web, "", p.source()).Refresh(t.Context()), "its signature", "65537 bytes")
}

// spaces is a body without an end that anybody should see.
type spaces struct {
	t    *testing.T
	left int
}

func (s *spaces) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = ' '
	}
	if s.left -= len(b); s.left < 0 {
		s.t.Error("read on behind the limit")
		return 0, errors.New("enough")
	}
	return len(b), nil
}

// TestSlowBody: a source that never ends its answer is left after a minute.
func TestSlowBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWeb()
		w.serve(bareURL, func(r *http.Request) (*http.Response, error) {
			a := answer(r, 200, nil, nil)
			a.Body, a.ContentLength = io.NopCloser(drip{r.Context()}), -1
			return a, nil
		})
		began := time.Now()
		wantErr(t, open(t, w, "", bare()).Refresh(t.Context()), "deadline exceeded")
		if took := time.Since(began); took > 62*time.Second {
			t.Errorf("after %v", took)
		}
	})
}

// drip gives a byte a second.
type drip struct{ ctx context.Context }

func (d drip) Read(b []byte) (int, error) {
	select {
	case <-d.ctx.Done():
		return 0, d.ctx.Err()
	case <-time.After(time.Second):
		b[0] = '{'
		return 1, nil
	}
}

// TestNetwork: redirects stay within the host, private addresses are not
// dialled, and headers are what they should be. With real sockets.
func TestNetwork(t *testing.T) {
	list := testList("1", day, testLogs(2)...)
	var agent, encoding string
	inner := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write(list) }))
	defer inner.Close()
	mux := http.NewServeMux()
	mux.HandleFunc("/list", func(w http.ResponseWriter, r *http.Request) {
		agent, encoding = r.Header.Get("User-Agent"), r.Header.Get("Accept-Encoding")
		_, _ = w.Write(list)
	})
	mux.HandleFunc("/here", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/list", http.StatusFound) })
	mux.HandleFunc("/round", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/round", http.StatusFound) })
	mux.HandleFunc("/away", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, inner.URL+"/list", http.StatusFound) })
	mux.HandleFunc("/metadata", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://169.254.169.254/latest/meta-data/", http.StatusFound)
	})
	srv := httptest.NewServer(mux)
	defer srv.Close()
	for path, want := range map[string]string{
		"/list": "", "/here": "",
		"/round": "redirects", "/away": "redirects to \"http://127.0.0.1:", "/metadata": `redirects to "http://169.254.169.254"`, "/none": "status 404",
	} {
		c, err := Open(Options{Sources: []Source{{Name: "x", URL: srv.URL + path}}, UserAgent: "me +https://me.test", AllowPrivate: true})
		if err != nil {
			t.Fatal(err)
		}
		err = c.Refresh(t.Context())
		if want == "" {
			if err != nil || len(c.Logs()) != 2 || agent != "me +https://me.test" || encoding != "identity" {
				t.Errorf("%s: %v, agent %q, encoding %q", path, err, agent, encoding)
			}
			continue
		}
		wantErr(t, err, want)
	}
	_, port, _ := strings.Cut(strings.TrimPrefix(srv.URL, "http://"), ":")
	c, err := Open(Options{Sources: []Source{{Name: "x", URL: "https://127.0.0.1:" + port + "/list"}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Refresh(t.Context()); !errors.Is(err, ctlog.ErrPrivateAddress) {
		t.Error(err)
	}
}

// TestETag: a list that has not changed is not sent again, nor is its
// signature asked for.
func TestETag(t *testing.T) {
	list := testList("1", day, testLogs(2)...)
	p, dir := newPublisher(t), t.TempDir()
	p.publish(list)
	conditional := 0
	p.serve(listURL, func(r *http.Request) (*http.Response, error) {
		if r.Header.Get("If-None-Match") == `"a"` {
			conditional++
			return answer(r, 304, nil, nil), nil
		}
		return answer(r, 200, http.Header{"Etag": {`"a"`}}, list), nil
	})
	for range 2 {
		c := open(t, p.web, dir, p.source())
		before := c.Sources()[0].Fetched
		for range 2 {
			if err := c.Refresh(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if after := c.Sources()[0].Fetched; !after.After(before) || len(c.Logs()) != 2 {
			t.Errorf("fetched %v, then %v", before, after)
		}
	}
	if conditional != 3 || p.count(sigURL) != 1 {
		t.Errorf("%d answers of 304, %d signatures", conditional, p.count(sigURL))
	}
	p.put(listURL, list) // a source that forgets its tags
	c := open(t, p.web, dir, p.source())
	if err := c.Refresh(t.Context()); err != nil || p.count(sigURL) != 1 {
		t.Errorf("%v, %d signatures", err, p.count(sigURL))
	}
}

// TestOneSourceFails: the others work, and the error names the one.
func TestOneSourceFails(t *testing.T) {
	p := newPublisher(t)
	p.publish(testList("1", day, testLogs(2)...))
	p.fail(bareURL, errors.New("connection refused"))
	c := open(t, p.web, t.TempDir(), bare(), p.source())
	err := c.Refresh(t.Context())
	wantErr(t, err, "log list bare", "connection refused")
	if strings.Contains(err.Error(), "signed") || len(c.Logs()) != 2 {
		t.Errorf("%v, %d logs", err, len(c.Logs()))
	}
	p.fail(listURL, errors.New("reset"))
	if err := c.Refresh(t.Context()); !strings.Contains(fmt.Sprint(err), "bare: ") || !strings.Contains(fmt.Sprint(err), "signed: ") || strings.Count(fmt.Sprint(err), "\n") != 1 {
		t.Error(err)
	}
	if len(c.Logs()) != 2 {
		t.Error("the last good list is not used")
	}
}

// TestFiles: lists out of files, by path and by URL.
func TestFiles(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "my list.json")
	s := newSigner(t)
	list := testList("1", day, testLogs(3)...)
	for name, b := range map[string][]byte{path: list, path + ".sig": s.sign(t, list)} {
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	url := "file://" + strings.ReplaceAll(path, " ", "%20")
	for _, src := range []Source{{Name: "a", URL: path}, {Name: "b", URL: url}, {Name: "c", URL: path, SigURL: url + ".sig", Key: s.der}} {
		c := open(t, newWeb(), "", src)
		if err := c.Refresh(t.Context()); err != nil || len(c.Logs()) != 3 || c.Sources()[0].Signed != (src.Name == "c") {
			t.Errorf("%s: %v, %+v", src.Name, err, c.Sources())
		}
	}
	wantErr(t, open(t, newWeb(), "", Source{Name: "d", URL: dir}).Refresh(t.Context()), "log list d", "is not a regular file")
	wantErr(t, open(t, newWeb(), "", Source{Name: "e", URL: path + "x"}).Refresh(t.Context()), "log list e", "no such file")
}

func TestOptions(t *testing.T) {
	key := newSigner(t).der
	for _, c := range []struct {
		o    Options
		want string
	}{
		{Options{Sources: []Source{{Name: "", URL: listURL}}}, "name"},
		{Options{Sources: []Source{{Name: "../x", URL: listURL}}}, "name"},
		{Options{Sources: []Source{{Name: strings.Repeat("x", 65), URL: listURL}}}, "name"},
		{Options{Sources: []Source{{Name: "x", URL: listURL}, {Name: "x", URL: bareURL}}}, "two sources"},
		{Options{Sources: []Source{{Name: "x", URL: ""}}}, "neither an https"},
		{Options{Sources: []Source{{Name: "x", URL: "http://lists.test.local/x"}}}, "plain http"},
		{Options{Sources: []Source{{Name: "x", URL: "ftp://lists.test.local/x"}}}, "neither an https"},
		{Options{Sources: []Source{{Name: "x", URL: "https:///x"}}}, "neither an https"},
		{Options{Sources: []Source{{Name: "x", URL: "https://me:secret@lists.test.local/x"}}}, "user name or password"},
		{Options{Sources: []Source{{Name: "x", URL: "file://host/x"}}}, "file:///path"},
		{Options{Sources: []Source{{Name: "x", URL: "file:x"}}}, "file:///path"},
		{Options{Sources: []Source{{Name: "x", URL: listURL, SigURL: sigURL}}}, "go together"},
		{Options{Sources: []Source{{Name: "x", URL: listURL, Key: key}}}, "go together"},
		{Options{Sources: []Source{{Name: "x", URL: listURL, SigURL: "http://x.test.local/", Key: key}}}, "plain http"},
		{Options{Refresh: time.Second}, "too often"},
	} {
		_, err := Open(c.o)
		wantErr(t, err, c.want)
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%v", err)
		}
	}
}

func TestParseSource(t *testing.T) {
	for text, want := range map[string]Source{
		"google":                                Google(),
		" apple ":                               Apple(),
		"https://ct.test.local/a/all_logs.json": {Name: "ct.test.local", URL: "https://ct.test.local/a/all_logs.json"},
		"/etc/ct/my logs.json":                  {Name: "my-logs", URL: "/etc/ct/my logs.json"},
		"file:///etc/ct/own.json":               {Name: "own", URL: "file:///etc/ct/own.json"},
		"lists/google.json":                     {Name: "google-copy", URL: "lists/google.json"},
		"….json":                                {Name: "list", URL: "….json"},
	} {
		got, err := ParseSource(text)
		if err != nil || got.Name != want.Name || got.URL != want.URL || got.SigURL != want.SigURL || !bytes.Equal(got.Key, want.Key) {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
		if err := got.check(false); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
	for _, text := range []string{"", "ftp://x.test.local/", "https://", "file://x/y"} {
		if got, err := ParseSource(text); err == nil {
			t.Errorf("%q: %+v", text, got)
		}
	}
}
