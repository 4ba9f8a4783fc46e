package catalog

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"ctappliance/ingest/ctlog"
)

// both opens a catalog of two unsigned lists and refreshes it.
func both(t *testing.T, a, b []byte) *Catalog {
	t.Helper()
	w := newWeb()
	w.put(bareURL, a)
	w.put(listURL, b)
	c := open(t, w, "", Source{Name: "a", URL: bareURL}, Source{Name: "b", URL: listURL})
	if err := c.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	return c
}

// TestUnion: what lists that differ make of one log.
func TestUnion(t *testing.T) {
	old, recent := day.AddDate(-1, 0, 0), day.AddDate(0, -5, 0)
	final := m{"state": m{"readonly": m{"timestamp": "2026-03-01T00:00:00Z", "final_tree_head": m{"tree_size": 77, "sha256_root_hash": make([]byte, 32)}}}}
	stateless := m{"state": nil}
	for _, c := range []struct {
		name     string
		a, b     m
		aAt, bAt time.Time
		want     func(l Listed) bool
		why      string
	}{
		{"agree", testLog(1), testLog(1), old, recent, func(l Listed) bool { return l.State == "usable" }, "usable in a, b"},
		{"the newest names and places", testLog(1, m{"url": "https://new.test.local/"}), testLog(1, m{"description": "Op1 old"}), recent, old,
			func(l Listed) bool { return l.URL == "https://new.test.local/" && l.Name == "Op1 'Shard01'" }, "usable in a, b"},
		{"the newest, from the second", testLog(1, m{"description": "Op1 old"}), testLog(1, m{"url": "https://new.test.local/"}), old, recent,
			func(l Listed) bool { return l.URL == "https://new.test.local/" && l.Name == "Op1 'Shard01'" }, "usable in a, b"},
		{"without a date nothing is newest", testLog(1), testLog(1, m{"url": "https://new.test.local/"}), time.Time{}, time.Time{},
			func(l Listed) bool { return strings.HasPrefix(l.URL, "https://ct1.") }, "usable in a, b"},
		{"an impossible date is not the newest", testLog(1), testLog(1, m{"url": "https://new.test.local/"}), recent, time.Now().AddDate(50, 0, 0),
			func(l Listed) bool { return strings.HasPrefix(l.URL, "https://ct1.") }, "usable in a, b"},
		{"alive in one", testLog(1, state("retired", "2026-02-01T00:00:00Z")), testLog(1), recent, old,
			func(l Listed) bool { return l.State == "usable" && date(l.StateSince) == "2026-01-01" }, "usable in b, retired in a"},
		{"more alive", testLog(1, state("qualified", "2026-02-01T00:00:00Z")), testLog(1, final), old, recent,
			func(l Listed) bool { return l.State == "qualified" && l.FinalSize == 0 }, "qualified in a, readonly in b"},
		{"pending and retired", testLog(1, state("pending", "2026-02-01T00:00:00Z")), testLog(1, state("retired", "2026-02-01T00:00:00Z")), old, recent,
			func(l Listed) bool { return l.State == "pending" }, "pending in a, retired in b; include it with state=pending"},
		{"a word we do not know", testLog(1, state("quarantined", "2026-02-01T00:00:00Z")), testLog(1), recent, old,
			func(l Listed) bool { return l.State == "usable" }, `usable in b, "quarantined" in a`},
		{"no word at all", testLog(1, stateless), testLog(1, state("retired", "2026-02-01T00:00:00Z")), recent, old,
			func(l Listed) bool { return l.State == "retired" }, "retired since 2026-02-01"},
		{"final in the older", testLog(1, state("readonly", "2026-02-01T00:00:00Z")), testLog(1, final), recent, old,
			func(l Listed) bool { return l.FinalSize == 77 && date(l.StateSince) == "2026-02-01" }, "readonly since 2026-02-01, ends at 77, in a, b"},
		{"a test in one", testLog(1, m{"log_type": "test"}), testLog(1), recent, old, func(l Listed) bool { return !l.Test }, "usable in a, b"},
		{"a test in both", testLog(1, m{"log_type": "test"}), testLog(1, m{"log_type": "test"}), recent, old, func(l Listed) bool { return l.Test }, "a test log; include it with test=true"},
		{"a problem in one", testLog(1, m{"url": "https://ct.example.com/bogus/"}), testLog(1), recent, old,
			func(l Listed) bool { return l.Problem == "" && slices.Equal(l.Lists, []string{"b"}) }, "usable in b"},
		{"a wrong ID in one", testLog(1, m{"log_id": make([]byte, 32)}), testLog(1), recent, old,
			func(l Listed) bool { return l.Problem == "" }, "usable in b"},
		{"a problem in both", testLog(1, m{"url": "https://ct.example.com/bogus/"}), testLog(1, m{"url": "javascript:x"}), recent, old,
			func(l Listed) bool { return l.Problem == "its URL is a placeholder" }, "its URL is a placeholder"},
	} {
		cat := both(t, testList("", c.aAt, c.a), testList("", c.bAt, c.b))
		logs := cat.Logs()
		if len(logs) != 1 || !c.want(logs[0]) || logs[0].ID != idOf(1) {
			t.Errorf("%s: %+v", c.name, logs)
			continue
		}
		d := Rules{}.Decide(logs[0], day)
		if d.Why != c.why {
			t.Errorf("%s: %q, want %q", c.name, d.Why, c.why)
		}
	}
}

// TestEqual: whatever can be said of a log, a change of it is seen.
func TestEqual(t *testing.T) {
	var base Listed
	for _, whole := range []reflect.Type{reflect.TypeFor[ctlog.Info](), reflect.TypeFor[Listed]()} {
		for _, f := range reflect.VisibleFields(whole) {
			if f.Anonymous {
				continue
			}
			changed := base
			v := reflect.ValueOf(&changed).Elem().FieldByName(f.Name)
			switch p := v.Addr().Interface().(type) {
			case *string:
				*p = "x"
			case *[]byte:
				*p = []byte{1}
			case *[]string:
				*p = []string{"x"}
			case *bool:
				*p = true
			case *uint64:
				*p = 1
			case *time.Time:
				*p = day
			case *time.Duration:
				*p = 1
			case *ctlog.Kind:
				*p = ctlog.Static
			case *ctlog.Hash:
				p[0] = 1
			default:
				t.Fatalf("%s is of a new type; say here how it changes", f.Name)
			}
			if base.equal(changed) || !changed.equal(changed) {
				t.Errorf("a change of %s is not seen", f.Name)
			}
		}
	}
}

// TestOrder: by operator and name, however the lists are ordered.
func TestOrder(t *testing.T) {
	c := both(t, testList("", day, testLog(4), testLog(2), testLog(1)), testList("", day, testLog(3), testLog(0)))
	if got := names(c.Logs()); got != "Op0 'Shard00'; Op0 'Shard03'; Op1 'Shard01'; Op1 'Shard04'; Op2 'Shard02'" {
		t.Error(got)
	}
	logs := c.Logs()
	logs[0].Name = "mine"
	if c.Logs()[0].Name == "mine" {
		t.Error("a caller's change is seen by others")
	}
}

func TestDiff(t *testing.T) {
	gen := func(logs ...m) []Listed {
		return both(t, testList("", day, logs...), testList("", day, testLog(29))).Logs()
	}
	base := gen(testLog(1), testLog(2))
	for _, c := range []struct {
		name string
		next []Listed
		want string
	}{
		{"nothing", gen(testLog(1), testLog(2)), ""},
		{"new", gen(testLog(1), testLog(2), testLog(3)), "appeared Op0 'Shard03'"},
		{"gone", gen(testLog(2)), "gone Op1 'Shard01'"},
		{"retired", gen(testLog(1, state("retired", "2026-05-01T00:00:00Z")), testLog(2)), "state changed Op1 'Shard01'"},
		{"moved", gen(testLog(1, m{"url": "https://x.test.local/"}), testLog(2)), "moved Op1 'Shard01'"},
		{"another protocol", gen(testLog(1, m{"url": nil, "monitoring_url": "https://ct1.test.local/shard01/", "submission_url": "https://x.test.local/"}), testLog(2)), "moved Op1 'Shard01'"},
		{"renamed", gen(testLog(1, m{"description": "Op1 x"}), testLog(2)), "renamed Op1 x"},
		{"interval", gen(testLog(1, m{"temporal_interval": nil}), testLog(2)), "altered Op1 'Shard01'"},
		{"several", gen(testLog(1, m{"description": "Other x", "url": "https://x.test.local/"}, state("retired", "2026-05-01T00:00:00Z"))), "state changed Other x, moved Other x, renamed Other x, gone Op2 'Shard02'"},
	} {
		var got []string
		for _, ch := range Diff(base, c.next) {
			got = append(got, string(ch.What)+" "+ch.Log().Name)
		}
		if strings.Join(got, ", ") != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
	var said lines
	many := slices.Repeat([]Change{{What: Gone}}, maxChangeLines+5)
	logChanges(said.logger(), many)
	if n := strings.Count(said.String(), "\n"); n != maxChangeLines+1 {
		t.Errorf("%d lines", n)
	}
}

// TestOffline: what was good once is there without a network, and signed
// lists are verified again.
func TestOffline(t *testing.T) {
	p, dir := newPublisher(t), filepath.Join(t.TempDir(), "new", "lists")
	p.publish(testList("1", day, testLogs(3)...))
	p.put(bareURL, testList("2", day, testLog(7)))
	if err := open(t, p.web, dir, p.source(), bare()).Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	c := open(t, newWeb(), dir, p.source(), bare())
	s := c.Sources()
	if len(c.Logs()) != 4 || !s[0].Signed || s[1].Signed || s[1].Version != "2" || !s[0].Checked.IsZero() {
		t.Errorf("%d logs, %+v", len(c.Logs()), s)
	}
	if c.Refresh(t.Context()) == nil || len(c.Logs()) != 4 {
		t.Errorf("without a network: %d logs", len(c.Logs()))
	}
	// Another URL under the same name is another list, unless it is signed.
	moved, signed := bare(), p.source()
	moved.URL, signed.URL = "https://elsewhere.test.local/x", "https://elsewhere.test.local/y"
	if c := open(t, newWeb(), dir, signed, moved); len(c.Logs()) != 3 {
		t.Errorf("%d logs", len(c.Logs()))
	}
	// Another key does not vouch for it.
	signed.Key = newSigner(t).der
	if c := open(t, newWeb(), dir, signed); len(c.Logs()) != 0 {
		t.Errorf("%d logs", len(c.Logs()))
	}
}

// TestDamagedCache: whatever happened to the file, it is set aside, kept, and
// fetched again.
func TestDamagedCache(t *testing.T) {
	p, dir := newPublisher(t), t.TempDir()
	p.publish(testList("1", day, testLogs(2)...))
	file := filepath.Join(dir, "signed.list")
	if err := open(t, p.web, dir, p.source()).Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	intact, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	damages := [][]byte{{}, intact[:10], intact[:len(intact)-1], append(slices.Clone(intact), '\n'), make([]byte, len(intact))}
	for i := 0; i < len(intact); i += 37 {
		b := slices.Clone(intact)
		b[i] ^= 0x20
		damages = append(damages, b)
	}
	for i, b := range damages {
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
		var said lines
		c, err := Open(Options{Dir: dir, Sources: []Source{p.source()}, Transport: p.web, Logger: said.logger()})
		if err != nil {
			t.Fatal(err)
		}
		if len(c.Logs()) != 0 || strings.Count(said.String(), "cached log list is damaged") != 1 || strings.Count(said.String(), "\n") != 1 {
			t.Errorf("damage %d: %d logs, %s", i, len(c.Logs()), said.String())
		}
		if _, err := os.Stat(file); !os.IsNotExist(err) {
			t.Errorf("damage %d: still there", i)
		}
		if i > 0 {
			continue
		}
		if err := c.Refresh(t.Context()); err != nil || len(open(t, newWeb(), dir, p.source()).Logs()) != 2 {
			t.Errorf("damage %d: %v", i, err)
		}
	}
	kept, _ := filepath.Glob(file + ".damaged-*")
	if len(kept) != len(damages) {
		t.Errorf("%d kept of %d", len(kept), len(damages))
	}
}

// TestForgedCache: a checksum is no signature.
func TestForgedCache(t *testing.T) {
	p, dir := newPublisher(t), t.TempDir()
	p.publish(testList("1", day, testLogs(2)...))
	c := open(t, p.web, dir, p.source())
	if err := c.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	forged := *c.sources[0].good
	forged.data = testList("2", day, testLogs(3)...)
	if err := saveCache(c.sources[0], &forged); err != nil {
		t.Fatal(err)
	}
	if c := open(t, newWeb(), dir, p.source()); len(c.Logs()) != 0 {
		t.Errorf("%d logs of a forged list", len(c.Logs()))
	}
}

// TestCacheNotWritten: a list that cannot be kept is used all the same.
func TestCacheNotWritten(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(dir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	w := newWeb()
	w.put(bareURL, testList("1", day, testLogs(2)...))
	var said lines
	c, err := Open(Options{Dir: dir, Sources: []Source{bare()}, Transport: w, Logger: said.logger()})
	if err != nil {
		t.Fatal(err)
	}
	wantErr(t, c.Refresh(t.Context()), "log list bare", "in use, but not kept")
	if len(c.Logs()) != 2 {
		t.Error("not used")
	}
}
