package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"ctappliance/cmd/ctappliance/config"
	"ctappliance/ingest"
)

// fakePipeline is a pipeline that notes what it is told to follow, and says
// what it was told to say.
type fakePipeline struct {
	mu   sync.Mutex
	sets [][]ingest.Follow
	logs []ingest.LogStatus
	err  error
}

func (p *fakePipeline) SetLogs(_ context.Context, logs []ingest.Follow) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil {
		p.sets = append(p.sets, logs)
	}
	return p.err
}

func (p *fakePipeline) Status() ingest.Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	return ingest.Status{Running: true, Logs: p.logs}
}

func (p *fakePipeline) last() []ingest.Follow {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.sets) == 0 {
		return nil
	}
	return p.sets[len(p.sets)-1]
}

// listed is a log of a list that a test writes.
type listed struct {
	name, operator, url, state string
	key                        []byte // DER
}

func newKey(t *testing.T) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// someLogs are logs of the same operator at hosts of their own.
func someLogs(t *testing.T, names ...string) []listed {
	var out []listed
	for _, name := range names {
		out = append(out, listed{name, "Somebody", "https://" + strings.ToLower(name) + ".ct-watch.org/", "usable", newKey(t)})
	}
	return out
}

// writeList writes a log list; every further one is newer.
func writeList(t *testing.T, path string, generation int, logs []listed) {
	t.Helper()
	var operators []any
	for _, l := range logs {
		id := sha256.Sum256(l.key)
		operators = append(operators, map[string]any{"name": l.operator, "logs": []any{map[string]any{
			"description": l.name, "log_id": base64.StdEncoding.EncodeToString(id[:]), "key": base64.StdEncoding.EncodeToString(l.key), "url": l.url, "mmd": 86400,
			"state": map[string]any{l.state: map[string]any{"timestamp": "2026-01-01T00:00:00Z"}},
		}}})
	}
	text, err := json.Marshal(map[string]any{"version": fmt.Sprintf("1.%d", generation), "operators": operators,
		"log_list_timestamp": time.Date(2026, 1, 1, generation, 0, 0, 0, time.UTC).Format(time.RFC3339)})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, text, 0o644); err != nil {
		t.Fatal(err)
	}
}

// testFleet is a fleet over files in a directory of the test.
type testFleet struct {
	*fleet
	t          *testing.T
	dir        string // of everything
	file, list string // the config file and the list
	generation int
	said       *bytes.Buffer
	p          *fakePipeline
}

const fleetConfig = "contact: me@ct-watch.org\ndata-dir: DIR/data\nlists.sources: DIR/list.json\n"

// newTestFleet writes a config file and a list and begins with them.
func newTestFleet(t *testing.T, yaml string, logs []listed) *testFleet {
	t.Helper()
	f := &testFleet{t: t, dir: t.TempDir()}
	f.file, f.list = filepath.Join(f.dir, "c.yaml"), filepath.Join(f.dir, "list.json")
	f.publish(logs)
	f.configure(yaml)
	f.restart()
	return f
}

func (f *testFleet) configure(yaml string) {
	f.t.Helper()
	if err := os.WriteFile(f.file, []byte(strings.ReplaceAll(fleetConfig+yaml, "DIR", f.dir)), 0o600); err != nil {
		f.t.Fatal(err)
	}
}

func (f *testFleet) publish(logs []listed) {
	f.t.Helper()
	f.generation++
	writeList(f.t, f.list, f.generation, logs)
}

// restart is another life in the same directory.
func (f *testFleet) restart() []ingest.Follow {
	f.t.Helper()
	reread := func() (*settings, error) {
		c, err := config.Read(config.Input{File: f.file}, func(c *config.Config) []config.KeyError { return append(c.Problems(), c.LogProblems()...) })
		if err != nil {
			return nil, err
		}
		return &settings{Config: *c}, nil
	}
	c, err := reread()
	if err != nil {
		f.t.Fatal(err)
	}
	f.said = &bytes.Buffer{}
	f.fleet = newFleet(c, c.logger(f.said))
	f.reread = reread
	follows, err := f.begin(f.t.Context())
	if err != nil {
		f.t.Fatal(err)
	}
	f.p = &fakePipeline{sets: [][]ingest.Follow{follows}}
	return follows
}

// refresh reads the list as it is now and follows it.
func (f *testFleet) refresh() {
	f.t.Helper()
	if err := f.lists.Refresh(f.t.Context()); err != nil {
		f.t.Fatal(err)
	}
	f.rechoose(f.t.Context(), f.p)
}

// names are the logs that are followed, sorted.
func (f *testFleet) names() string { return followNames(f.p.last()) }

func followNames(logs []ingest.Follow) string {
	var out []string
	for _, l := range logs {
		out = append(out, l.Log.Info().Name)
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

func (f *testFleet) follow(name string) ingest.Follow {
	f.t.Helper()
	for _, l := range f.p.last() {
		if l.Log.Info().Name == name {
			return l
		}
	}
	f.t.Fatalf("%s is not followed; %s are", name, f.names())
	return ingest.Follow{}
}

// behind says of logs that they have entries that are not copied yet.
func (f *testFleet) behind(logs ...listed) {
	f.p.mu.Lock()
	defer f.p.mu.Unlock()
	f.p.logs = nil
	for _, l := range logs {
		id := sha256.Sum256(l.key)
		f.p.logs = append(f.p.logs, ingest.LogStatus{ID: hex.EncodeToString(id[:]), Head: 10000, Wanted: 10000, Delivered: 10})
	}
}

// A contact and a list are enough: what is usable is followed from now on, and
// what no longer answers is not.
func TestFleetFollowsTheLists(t *testing.T) {
	logs := someLogs(t, "A", "B", "C", "D")
	logs[1].state, logs[2].state, logs[3].url = "readonly", "retired", "https://ct.example.com/bogus/"
	f := newTestFleet(t, "", logs)
	if got := f.names(); got != "A B" {
		t.Fatalf("follows %s", got)
	}
	a := f.follow("A")
	if want := (ingest.Request{Start: ingest.StartNow, To: ingest.Forever}); len(a.Spans) != 1 || a.Spans[0] != want || a.Why != "usable in list" || a.Pace == nil {
		t.Errorf("A: %+v", a)
	}
	if b := f.follow("B"); !strings.HasPrefix(b.Why, "readonly since 2026-01-01") {
		t.Errorf("B: %s", b.Why)
	}
	if st := f.listStatuses(); len(st) != 1 || st[0].Logs != 4 || st[0].Followed != 2 || st[0].Version != "1.1" || st[0].Read.IsZero() {
		t.Errorf("lists: %+v", st)
	}
}

// A new list: a log more, one retired, one renamed and moved. Who stays keeps
// its client, which the pipeline knows it by; who moves keeps its identity.
func TestFleetFollowsANewList(t *testing.T) {
	logs := someLogs(t, "A", "B", "C")
	f := newTestFleet(t, "", logs)
	a, b := f.follow("A"), f.follow("B")
	logs[1].name, logs[1].url = "B2", "https://elsewhere.ct-watch.org/b/"
	logs[2].state = "retired"
	f.publish(append(logs, someLogs(t, "D")...))
	f.refresh()
	if got := f.names(); got != "A B2 D" {
		t.Fatalf("follows %s", got)
	}
	if f.follow("A").Log != a.Log {
		t.Error("A has another client though nothing about it has changed")
	}
	if moved := f.follow("B2"); moved.Log.Info().ID != b.Log.Info().ID || moved.Log == b.Log || moved.Log.Info().URL != logs[1].url || moved.Pace == b.Pace {
		t.Errorf("B moved: %+v", moved.Log.Info())
	}
	if !strings.Contains(f.said.String(), `msg="logs chosen anew" logs=3 added=D removed=C`) {
		t.Errorf("said:\n%s", f.said)
	}
}

// "From now on" means from when the lists were first followed: a shard that
// they name later is older than the list that names it. A log that was known,
// and is chosen later, is followed from then on.
func TestFleetLateLog(t *testing.T) {
	logs := someLogs(t, "A", "B")
	f := newTestFleet(t, "follow.exclude: [B]\n", logs)
	began := f.began
	if began.IsZero() {
		t.Fatal("it is not known when the lists were first followed")
	}
	f.publish(append(logs, someLogs(t, "D")...))
	f.refresh()
	late := ingest.Request{Start: ingest.StartDate, Since: began, To: ingest.Forever}
	if got := f.follow("D").Spans; len(got) != 1 || got[0] != late {
		t.Errorf("D: %+v, want %+v", got, late)
	}
	now := ingest.Request{Start: ingest.StartNow, To: ingest.Forever}
	if got := f.follow("A").Spans; len(got) != 1 || got[0] != now {
		t.Errorf("A: %+v", got)
	}
	f.configure("")
	f.restart()
	for name, want := range map[string]ingest.Request{"A": now, "B": now, "D": late} {
		if got := f.follow(name).Spans; len(got) != 1 || got[0].Start != want.Start || !got[0].Since.Equal(want.Since) {
			t.Errorf("%s after a restart: %+v, want %+v", name, got, want)
		}
	}
	// A start that is no now is nobody's but the user's.
	f.configure("follow.start: zero\n")
	f.restart()
	if got := f.follow("D").Spans[0]; got != (ingest.Request{To: ingest.Forever}) {
		t.Errorf("D from zero: %+v", got)
	}
}

// A log that vanishes from the lists is followed until its backlog is copied,
// over restarts, and then no longer.
func TestFleetVanishedLog(t *testing.T) {
	logs := someLogs(t, "A", "B", "C", "D")
	f := newTestFleet(t, "", logs)
	f.behind(logs[1])
	f.publish(logs[2:])
	f.now = func() time.Time { return time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC) }
	f.refresh()
	if got := f.names(); got != "B C D" {
		t.Fatalf("follows %s", got)
	}
	const why = "no longer listed since 2026-10-01, followed until its backlog is copied"
	if b := f.follow("B"); b.Why != why || !f.vanished() {
		t.Errorf("B: %s", b.Why)
	}
	if st := f.listStatuses(); len(st) != 1 || st[0].Logs != 2 || st[0].Followed != 2 {
		t.Errorf("a log that no list names counts among those of the list: %+v", st)
	}
	for range 2 { // the second knows what the first has written
		f.restart()
		if b := f.follow("B"); b.Why != why {
			t.Errorf("B after a restart: %s", b.Why)
		}
	}
	f.behind()
	f.rechoose(t.Context(), f.p)
	if got := f.names(); got != "C D" || f.vanished() {
		t.Fatalf("follows %s though B is copied", got)
	}
	f.restart()
	if got := f.names(); got != "C D" {
		t.Errorf("follows %s after another restart", got)
	}
	// Back in the list, it is followed as before.
	f.publish(logs[1:])
	f.refresh()
	if b := f.follow("B"); b.Why != "usable in list" {
		t.Errorf("B: %s", b.Why)
	}
}

// A log of a list that we must not ask is left out, and is no hindrance to the
// others; nor does it come back as one that was followed.
func TestFleetLogThatCannotBeAsked(t *testing.T) {
	logs := someLogs(t, "A", "B")
	logs[1].url = "http://b.ct-watch.org/" // a list may not make us speak in the clear
	f := newTestFleet(t, "", logs)
	if f.names() != "A" || !strings.Contains(f.said.String(), `msg="log of the lists cannot be followed" log=B`) || len(f.followed) != 1 || len(f.left) != 1 {
		t.Errorf("follows %s, notes %d and %d, said:\n%s", f.names(), len(f.followed), len(f.left), f.said)
	}
	f.rechoose(t.Context(), f.p)
	if f.names() != "A" || len(f.left) != 1 {
		t.Errorf("follows %s, notes %d", f.names(), len(f.left))
	}
}

// What counts as backlog.
func TestBacklogs(t *testing.T) {
	for name, tt := range map[string]struct {
		log  ingest.LogStatus
		want bool
	}{
		"copied":         {ingest.LogStatus{Head: 9, Wanted: 9, Delivered: 9, Verified: 9}, false},
		"not delivered":  {ingest.LogStatus{Head: 9, Wanted: 9, Delivered: 8, Verified: 9}, true},
		"not verified":   {ingest.LogStatus{Head: 9, Wanted: 9, Delivered: 9, Verified: 8}, true},
		"never answered": {ingest.LogStatus{}, true},
		"halted":         {ingest.LogStatus{Head: 9, Wanted: 9, Halted: "it lies"}, false},
	} {
		tt.log.ID = "x"
		if got := backlogs(ingest.Status{Logs: []ingest.LogStatus{tt.log}})["x"]; got != tt.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// What a rule leaves out does not come back by vanishing.
func TestFleetVanishedAndExcluded(t *testing.T) {
	logs := someLogs(t, "A", "B")
	f := newTestFleet(t, "", logs)
	f.behind(logs...)
	f.publish(logs[1:])
	f.configure("follow.exclude: name=A\n")
	if err := f.lists.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := f.reload(t.Context(), f.p); err != nil {
		t.Fatal(err)
	}
	if got := f.names(); got != "B" {
		t.Errorf("follows %s", got)
	}
}

// Logs of the user's own stand beside those of the lists, and come first.
func TestFleetOwnLogs(t *testing.T) {
	logs := someLogs(t, "A", "B")
	own := base64.StdEncoding.EncodeToString(newKey(t))
	yaml := "lists.follow: all\nlogs:\n  - {name: Own, url: https://own.ct-watch.org/, key: " + own + ", kind: rfc6962, start: now+history}\n" +
		"  - {url: https://a.ct-watch.org/, start: 7}\n"
	f := newTestFleet(t, yaml, logs)
	if got := f.names(); got != "A B Own" {
		t.Fatalf("follows %s", got)
	}
	if o := f.follow("Own"); o.Why != "named under logs" || o.Spans[0] != (ingest.Request{Start: ingest.StartNow, To: ingest.Forever, History: true}) {
		t.Errorf("Own: %+v", o)
	}
	if a := f.follow("A"); a.Spans[0] != (ingest.Request{From: 7, To: ingest.Forever}) || a.Why != "named under logs" || a.Log.Info().Operator != "Somebody" {
		t.Errorf("A: %+v %+v", a, a.Log.Info())
	}
	// Without lists.follow, naming logs is choosing them.
	f.configure("log-names: [b]\n")
	if _, err := f.reload(t.Context(), f.p); err != nil {
		t.Fatal(err)
	}
	if b := f.follow("B"); f.names() != "B" || b.Why != "named in log-names" {
		t.Errorf("follows %s, %s", f.names(), b.Why)
	}
}

// Where no list can be had, what the last life followed is followed on, and own
// logs are begun with, while the lists are waited for; without either nothing
// can begin.
func TestFleetWithoutLists(t *testing.T) {
	f := newTestFleet(t, "lists.follow: all\nlogs:\n  - {name: Own, url: https://own.ct-watch.org/, key: "+testKey+", kind: rfc6962}\n", someLogs(t, "A"))
	remove := func(name string) {
		t.Helper()
		if err := os.Remove(filepath.Join(f.dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	none := *f.c
	none.Logs = nil
	begin := func(c *settings) (*fleet, string, error) {
		again := newFleet(c, f.out)
		follows, err := again.begin(t.Context())
		for _, l := range follows {
			if l.Log.Info().Name == "A" && l.Why != "followed before; no list can be had at present" {
				t.Errorf("A: %s", l.Why)
			}
		}
		return again, followNames(follows), err
	}
	remove("list.json")
	remove("data/lists/list.list")
	again, names, err := begin(f.c)
	if err != nil || names != "A Own" || again.vanished() || !strings.Contains(f.said.String(), "not all log lists could be had, going on with what is there") {
		t.Errorf("follows %s, %v, said:\n%s", names, err, f.said)
	}
	if _, names, err = begin(&none); err != nil || names != "A" {
		t.Errorf("without logs of its own: follows %s, %v", names, err)
	}
	remove("data/" + followedFile)
	if _, names, err = begin(f.c); err != nil || names != "Own" {
		t.Errorf("without former logs: follows %s, %v", names, err)
	}
	if _, _, err = begin(&none); err == nil || !strings.Contains(err.Error(), "no log list could be had: ") || !strings.Contains(err.Error(), "set lists.sources to its path") {
		t.Errorf("without anything: %v", err)
	}
}

// A list that would leave nothing to follow changes nothing.
func TestFleetKeepsALogAtLeast(t *testing.T) {
	logs := someLogs(t, "A", "B")
	f := newTestFleet(t, "follow.include: state=usable\n", logs)
	for i := range logs {
		logs[i].state = "readonly"
	}
	f.publish(logs)
	f.refresh()
	if got := f.names(); got != "A B" || len(f.p.sets) != 1 {
		t.Errorf("follows %s, told %d times", got, len(f.p.sets))
	}
	if !strings.Contains(f.said.String(), "level=ERROR") {
		t.Errorf("said:\n%s", f.said)
	}
}

func TestFleetPipelineRefuses(t *testing.T) {
	f := newTestFleet(t, "", someLogs(t, "A", "B"))
	f.p.err = errors.New("no")
	f.configure("follow.exclude: name=A\nlimits: [{host: b.ct-watch.org, max-qps: 1}]\nlog.level: debug\n")
	if _, err := f.reload(t.Context(), f.p); err == nil {
		t.Fatal("no error")
	}
	if len(f.c.Follow.Exclude) != 0 || len(f.hosts.c.Limits) != 0 || f.out.Enabled(t.Context(), slog.LevelDebug) || len(f.followed) != 2 {
		t.Error("a refused reload has changed something")
	}
}
