package ctlogtest

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func (c *testClient) post(path, body string) (int, string) {
	c.t.Helper()
	resp, err := c.http.Post(c.base+path, "application/json", strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func TestCounters(t *testing.T) {
	t.Parallel()
	l := newTestLog(t, Options{Size: 1000})
	c := serveLog(t, l)
	for _, q := range []string{"start=0&end=255", "start=512&end=767", "start=600&end=609", "start=900&end=2000", "start=5000&end=5001"} {
		c.get("/ct/v1/get-entries?" + q)
	}
	c.must("/ct/v1/get-sth", 200)
	s := l.Stats()
	if s.Served != 256+256+10+100 || s.Distinct != 256+256+100 || s.Refetched != 10 {
		t.Errorf("%+v", s)
	}
	if s.Requests[ClassData] != 5 || s.Requests[ClassHead] != 1 || s.Statuses["data 200"] != 4 || s.Statuses["data 400"] != 1 || s.MaxInFlight != 1 || s.InFlight != 0 {
		t.Errorf("%+v", s)
	}
	if s.Bytes < 622*2000 {
		t.Errorf("%d bytes", s.Bytes)
	}
	var got servedSummary
	c.json("/demo/served?from=200", &got)
	want := servedSummary{From: 200, To: 1000, Never: 800 - 56 - 256 - 100, Once: 56 + 246 + 100, More: 10, Most: 2,
		Gaps: [][2]uint64{{256, 512}, {768, 900}}, Again: [][2]uint64{{600, 610}}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("served:\n got %+v\nwant %+v", got, want)
	}
	c.json("/demo/served?from=599&to=602&counts=1", &got)
	if !reflect.DeepEqual(got.Counts, []int{1, 2, 2}) {
		t.Errorf("counts %v", got.Counts)
	}
	if status, _ := c.post("/demo/reset", ""); status != 200 {
		t.Errorf("reset: %d", status)
	}
	if s := l.Stats(); s.Served != 0 || s.Bytes != 0 || len(s.Requests) != 0 {
		t.Errorf("after reset: %+v", s)
	}
}

func TestCountsSaturate(t *testing.T) {
	t.Parallel()
	var c counters
	c.init()
	c.grow(2)
	for range 300 {
		c.begin(ClassData)
		c.end(ClassData, 200, 0, 0, 1)
	}
	if c.times[0] != 255 || c.times[1] != 0 || c.served != 300 || c.distinct != 1 {
		t.Errorf("%+v", &c)
	}
}

// The oracle's digest is what anyone computes from indexes and leaf hashes.
func TestIndexSet(t *testing.T) {
	t.Parallel()
	l := newTestLog(t, Options{Size: 700, Kind: Static})
	c := serveLog(t, l)
	leaves := c.must("/demo/leaves?from=100&to=650", 200)
	h := sha256.New()
	for i := uint64(100); i < 650; i++ {
		h.Write(binary.BigEndian.AppendUint64(nil, i))
		sum := sha256.Sum256(append([]byte{0}, l.Leaf(i)...))
		if sum != [32]byte(leaves[32*(i-100):32*(i-99)]) {
			t.Fatalf("leaf hash %d", i)
		}
		h.Write(sum[:])
	}
	var got struct {
		From, To, Size uint64
		Digest         string
	}
	c.json("/demo/index-set?from=100&to=650", &got)
	if got.Digest != fmt.Sprintf("%x", h.Sum(nil)) || got.From != 100 || got.To != 650 || got.Size != 700 {
		t.Errorf("%+v", got)
	}
	c.json("/demo/index-set", &got)
	if got.To != 700 {
		t.Errorf("%+v", got)
	}
	c.must("/demo/index-set?from=x", 400)
}

func TestControl(t *testing.T) {
	t.Parallel()
	l := newTestLog(t, Options{Size: 100})
	c := serveLog(t, l)
	if status, body := c.post("/demo/grow?n=50", ""); status != 200 || l.Size() != 150 {
		t.Errorf("%d %s", status, body)
	}
	if sth, err := getSTH(t, l, c); err != nil || sth.TreeSize != 150 {
		t.Errorf("%v %v", sth, err)
	}
	if status, body := c.post("/demo/faults", `[{"mode":"status","status":429,"retry_after":"utc","count":1}]`); status != 200 {
		t.Errorf("%d %s", status, body)
	}
	c.must(entriesPath, 429)
	c.must(entriesPath, 200)
	var armed []ArmedFault
	c.json("/demo/faults", &armed)
	if len(armed) != 1 || armed[0].Struck != 1 || armed[0].Seen != 1 {
		t.Errorf("%+v", armed)
	}
	if status, body := c.post("/demo/limit", `{"rate":0.001,"burst":1}`); status != 200 {
		t.Errorf("%d %s", status, body)
	}
	c.must(entriesPath, 200)
	c.must(entriesPath, 429)
	if status, _ := c.post("/demo/limit", `null`); status != 200 {
		t.Errorf("%d", status)
	}
	c.must(entriesPath, 200)
	if status, body := c.post("/demo/faults", `[{"mode":"latency","delay":"1h30m","retry_in":5,"count":7}]`); status != 200 {
		t.Errorf("%d %s", status, body)
	}
	if f := l.Faults().Armed()[0].Fault; f.Delay != 90*time.Minute || f.RetryIn != 5 || f.Count != 7 {
		t.Errorf("%+v", f)
	}
	if status, body := c.post("/demo/limit", `{"rate":1e9,"burst":9,"penalty":"2s"}`); status != 200 || !strings.Contains(body, `"penalty": 2000000000`) {
		t.Errorf("%d %s", status, body)
	}
	for path, body := range map[string]string{"faults": `[{"mode":"x"}]`, "faults?": `[{"mode":"status","dealy":"1s"}]`, "faults?x": `[{"mode":"latency","delay":"x"}]`, "limit": `{"rate":-1}`, "grow?n=x": "", "grow": ""} {
		if status, answer := c.post("/demo/"+path, body); status != 400 {
			t.Errorf("%s %s: %d %s", path, body, status, answer)
		}
	}
	for path, want := range map[string]int{"grow?n=1": 405, "limit": 405, "reset": 405, "stats": 200, "nothing": 404} {
		c.must("/demo/"+path, want)
	}
	if l.Size() != 150 {
		t.Error("a GET grew the log")
	}
}

// The controls are for this machine only, and not for web pages of others.
func TestControlIsLocal(t *testing.T) {
	t.Parallel()
	l := newTestLog(t, Options{Size: 1})
	for _, tc := range []struct {
		remote, host string
		want         int
	}{
		{"127.0.0.1:5", "127.0.0.1:80", 200}, {"127.0.0.1:5", "localhost", 200}, {"[::1]:5", "[::1]:80", 200},
		{"192.0.2.1:5", "127.0.0.1:80", 403}, {"127.0.0.1:5", "evil.test:80", 403}, {"junk", "127.0.0.1", 403},
	} {
		r := httptest.NewRequest("GET", "/demo/stats", nil)
		r.RemoteAddr, r.Host = tc.remote, tc.host
		w := httptest.NewRecorder()
		l.Handler().ServeHTTP(w, r)
		if w.Code != tc.want {
			t.Errorf("from %s for %s: %d, want %d", tc.remote, tc.host, w.Code, tc.want)
		}
	}
}

// Run grows by steps to the maximum and goes on signing.
func TestRun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newTestLog(t, Options{Size: 10, GrowBy: 7, GrowEvery: time.Minute, MaxSize: 40})
		go l.Run(t.Context())
		time.Sleep(3*time.Minute + time.Second)
		if got := l.Size(); got != 31 {
			t.Errorf("size %d after three minutes, want 31", got)
		}
		time.Sleep(10 * time.Minute)
		if got := l.Size(); got != 40 {
			t.Errorf("size %d in the end, want 40", got)
		}
	})
	if _, err := New(Options{GrowBy: 1}); err == nil {
		t.Error("growth without an interval was accepted")
	}
	for _, bad := range []Options{{Kind: 7}, {PageSize: -1}, {PageSize: 5000}, {Size: 2, MaxSize: 1}} {
		if _, err := New(bad); err == nil {
			t.Errorf("%+v was accepted", bad)
		}
	}
}

// Readers and growth do not disturb each other.
func TestConcurrentUse(t *testing.T) {
	t.Parallel()
	l := newTestLog(t, Options{Kind: Static, Size: 256})
	c := serveLog(t, l)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 20 {
				for _, p := range []string{"/checkpoint", "/tile/0/000", "/tile/data/000", "/demo/stats"} {
					if _, _, err := c.get(p); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	for range 20 {
		if err := l.Grow(3); err != nil {
			t.Error(err)
		}
		l.Faults().Set(Fault{Mode: CorruptHash, Rate: 0.5})
	}
	wg.Wait()
	if l.Size() != 316 {
		t.Errorf("size %d", l.Size())
	}
}
