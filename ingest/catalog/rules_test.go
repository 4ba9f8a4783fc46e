package catalog

import (
	"encoding/base64"
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"ctappliance/ingest/ctlog"
)

// realLogs returns the logs of Google's real list.
func realLogs(t testing.TB) []Listed {
	t.Helper()
	w := newWeb()
	w.put(bareURL, realFile(t, "loglists/google-v3-85.92-2026-05-29.json"))
	c := open(t, w, "", Source{Name: "google", URL: bareURL})
	if err := c.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	return c.Logs()
}

func mustRules(t testing.TB, include, exclude []string) Rules {
	t.Helper()
	r, err := ParseRules(include, exclude)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestRules: how many logs of the real list each rule includes.
func TestRules(t *testing.T) {
	logs := realLogs(t)
	argon := find(t, logs, "Google 'Argon2026h1' log")
	b64 := base64.StdEncoding.EncodeToString(argon.ID[:])
	id := hex.EncodeToString(argon.ID[:])
	for rule, want := range map[string]int{
		"operator=Google":                         6,
		"operator=google":                         6,
		"OPERATOR=google":                         6,
		`operator="Let's Encrypt"`:                8,
		"operator=letsencrypt":                    8,
		"operator=IPng":                           8,
		"operator=google|ipng":                    14,
		"operator=*crypt":                         8,
		"argon2026h1":                             1,
		"argon":                                   3,
		"name=ARGON2026H1":                        1,
		`"Google 'Argon2026h1' log"`:              1,
		"name=2026h1":                             13,
		"argon*h1":                                2,
		"*":                                       52,
		"operator=google,argon":                   3,
		"operator=google argon":                   3,
		"operator=google, 2026h1":                 2,
		"operator=google sectigo":                 0,
		"url=ct.googleapis.com":                   6,
		"url=https://ct.googleapis.com/logs/us1/": 3,
		"url=ct.googleapis.com/logs/us":           0,
		"url=*.ct.digicert.com":                   8,
		"url=*.digicert.com/2026h1":               2,
		"url=googleapis.com":                      0,
		"url=*skylight*":                          4,
		"id=" + b64:                               1,
		"id=" + id:                                1,
		"id=" + strings.ToUpper(id[:8]):           1,
		b64:                                       1,
		id:                                        1,
		"state=usable":                            48,
		"state=readonly":                          4,
		"state=readonly|usable":                   52,
		"state=pending":                           0,
		"state=retired":                           0, // met, and never followed
		"kind=static":                             21,
		"kind=rfc6962":                            31,
		"kind=static state=usable":                21,
		"interval=2027":                           25,
		"interval=2026-12":                        20,
		"interval=2028":                           2,
		"interval=..2026":                         4,
		"interval=2028-01-01..":                   2,
		"list=google":                             52,
		"list=GOOGLE|apple":                       52,
		"list=apple":                              0,
		"test=true":                               0,
		"test=false":                              52,
	} {
		r, err := ParseRules([]string{rule}, nil)
		if err != nil {
			t.Errorf("%s: %v", rule, err)
			continue
		}
		got := 0
		for _, l := range logs {
			if d := r.Decide(l, day); d.Follow {
				got++
				if !strings.Contains(d.Why, "; included by ") {
					t.Errorf("%s: %q", rule, d.Why)
				}
			}
		}
		if got != want {
			t.Errorf("%s: %d logs, want %d", rule, got, want)
		}
	}
}

func TestBadRules(t *testing.T) {
	for rule, want := range map[string]string{
		"":                                "it is empty",
		" , ":                             "it is empty",
		`""`:                              "says nothing",
		"opertor=Google":                  `"opertor" is not known; use operator, name, url, id, state, kind, interval, list, test`,
		"=x":                              `"" is not known`,
		"operator=":                       "operator= says nothing",
		"operator=a|":                     "operator= says nothing",
		"operator='":                      "no letter or digit",
		`operator="Let's`:                 "not closed",
		"state=live":                      `state "live" is not known; use usable`,
		"kind=tiles":                      "use rfc6962 or static",
		"interval=soon":                   "write 2026, 2026-07",
		"interval=..":                     "one date at least",
		"interval=2027..2026":             "ends before it begins",
		"interval=2026..2026":             "ends before it begins",
		"interval=2026-01-01..x":          "is not a date",
		"id=xyz":                          "8 to 64 hex digits",
		"id=abcdef":                       "8 to 64 hex digits",
		"id=" + strings.Repeat("a", 65):   "8 to 64 hex digits",
		"test=maybe":                      "true or false",
		"url=https://":                    "is no URL",
		"name=\x1b[31m\x00":               "", // folds to 31m
		"name=\x1b\x00":                   "no letter or digit",
		strings.Repeat("x", maxRule+1):    "more than 500 bytes",
		"operator=google opertor=sectigo": `"opertor"`,
	} {
		_, err := ParseRules(nil, []string{rule})
		if want == "" {
			if err != nil {
				t.Error(err)
			}
			continue
		}
		wantErr(t, err, want, "exclude: rule ")
	}
	_, err := ParseRules([]string{"a=b", "fine", "c=d"}, []string{"e=f"})
	if n := strings.Count(err.Error(), "\n"); n != 2 {
		t.Errorf("%d lines: %v", n+1, err)
	}
	_, err = ParseRules(make([]string, maxRules+1), nil)
	wantErr(t, err, "1001 rules")
}

// TestDecide: the order of the reasons, and their words.
func TestDecide(t *testing.T) {
	with := func(edit func(*Listed)) Listed {
		l := Listed{Info: ctlog.Info{
			ID: idOf(1), Name: "Op 'Shard2026h1'", Operator: "Op", URL: "https://ct.test.local/2026h1/", State: "usable",
			Start: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), End: time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC),
		}, Lists: []string{"google", "apple"}, States: []string{"usable", "usable"}}
		edit(&l)
		return l
	}
	state := func(s string) func(*Listed) {
		return func(l *Listed) {
			l.State, l.States = s, []string{s, s}
			l.StateSince = time.Date(2026, 2, 28, 23, 0, 0, 0, time.UTC)
		}
	}
	id := "id=" + hex.EncodeToString(idSlice(1))
	for _, c := range []struct {
		name             string
		edit             func(*Listed)
		include, exclude []string
		follow           bool
		why              string
	}{
		{"default", func(*Listed) {}, nil, nil, true, "usable in google, apple"},
		{"qualified", state("qualified"), nil, nil, true, "qualified in google, apple"},
		{"readonly", state("readonly"), nil, nil, true, "readonly since 2026-02-28, in google, apple"},
		{"no state", state(""), nil, nil, true, "listed in google, apple"},
		{"without lists", func(l *Listed) { l.Lists, l.States = nil, nil }, nil, nil, true, "usable"},
		{"included", func(*Listed) {}, []string{"other", "operator=op"}, nil, true, "usable in google, apple; included by operator=op"},
		{"not included", func(*Listed) {}, []string{"other"}, nil, false, "no include rule names it"},
		{"excluded", func(*Listed) {}, nil, []string{"operator=Op"}, false, "excluded by operator=Op"},
		{"excluded wins", func(*Listed) {}, []string{id}, []string{"list=apple"}, false, "excluded by list=apple"},
		{"retired", state("retired"), []string{"state=retired", id}, nil, false, "retired since 2026-02-28"},
		{"rejected", state("rejected"), []string{id}, nil, false, "rejected since 2026-02-28"},
		{"unknown", state("quaran\x1btined"), []string{id}, nil, false, `its state "quaran\x1btined" is not known`},
		{"problem", func(l *Listed) { l.Problem = "its URL is a placeholder" }, []string{id}, nil, false, "its URL is a placeholder"},
		{"pending", state("pending"), nil, nil, false, "pending in google, apple; include it with state=pending"},
		{"pending, by name", state("pending"), []string{"shard2026h1"}, nil, false, "pending in google, apple; include it with state=pending"},
		{"pending, asked for", state("pending"), []string{"shard2026h1", "operator=op,state=pending"}, nil, true, "pending in google, apple; included by shard2026h1"},
		{"pending, another one asked for", state("pending"), []string{"shard2026h1", "operator=x,state=pending"}, nil, false, "pending in google, apple; include it with state=pending"},
		{"pending, by ID", state("pending"), []string{id}, nil, true, "pending in google, apple; included by " + id},
		{"test", func(l *Listed) { l.Test = true }, nil, nil, false, "a test log; include it with test=true"},
		{"test, by name", func(l *Listed) { l.Test = true }, []string{"*"}, nil, false, "a test log; include it with test=true"},
		{"test, asked for", func(l *Listed) { l.Test = true }, []string{"test=true"}, nil, true, "usable in google, apple; included by test=true"},
		{"an odd rule", func(l *Listed) {}, nil, []string{"shard\x1b2026"}, false, `excluded by "shard\x1b2026"`},
		{"interval", func(l *Listed) {}, []string{"interval=2026-06-30"}, nil, true, "usable in google, apple; included by interval=2026-06-30"},
		{"interval after", func(l *Listed) {}, []string{"interval=2026-07-01"}, nil, false, "no include rule names it"},
		{"interval until", func(l *Listed) {}, []string{"interval=2025..2026"}, nil, false, "no include rule names it"},
		{"interval until, a day later", func(l *Listed) {}, []string{"interval=2025..2026-01-02"}, nil, true, "usable in google, apple; included by interval=2025..2026-01-02"},
		{"no interval", func(l *Listed) { l.Start, l.End = time.Time{}, time.Time{} }, []string{"interval=1999"}, nil, true, "usable in google, apple; included by interval=1999"},
	} {
		d := mustRules(t, c.include, c.exclude).Decide(with(c.edit), day)
		if d.Follow != c.follow || d.Why != c.why {
			t.Errorf("%s: %+v, want %v, %q", c.name, d, c.follow, c.why)
		}
	}
}

func idSlice(n int) []byte {
	id := idOf(n)
	return id[:]
}

func TestUnused(t *testing.T) {
	logs := both(t, testList("", day, testLogs(3)...), testList("", day, testLog(4))).Logs()
	r := mustRules(t, []string{"op1", "argn2026"}, []string{"operator=op2", "list=googel"})
	if got := strings.Join(r.Unused(logs), "; "); got != "include argn2026; exclude list=googel" {
		t.Error(got)
	}
}

// TestBegins: stars in URLs.
func TestBegins(t *testing.T) {
	for _, c := range []struct {
		pattern, place string
		want           bool
	}{
		{"a.b", "a.b", true}, {"a.b", "a.b/c", true}, {"a.b", "a.bc", false}, {"a.b/c", "a.b", false},
		{"*.b", "x.b/c", true}, {"*.b", "x.bc", false}, {"*.b", "x.bc.b/d", true}, {"*b*", "xby", true}, {"*b*", "x", false},
		{"a*c*e", "abcde/f", true}, {"a*c*e", "abcdef", false}, {"a*c*e", "aecx", false}, {"*", "x", true}, {"*/c", "a/c", true}, {"*/c", "a/cd", false},
	} {
		if got := pattern(strings.Split(c.pattern, "*")).begins(c.place); got != c.want {
			t.Errorf("%s, %s: %v", c.pattern, c.place, got)
		}
	}
}

// FuzzParseRules: no rule crashes, and what is refused is refused in a line.
func FuzzParseRules(f *testing.F) {
	for _, s := range []string{"", "operator=Google,argon", `operator="Let's Encrypt" 2026`, "interval=2026-01..2027", "url=*.x|y", "id=abcdef12", "state=pending|usable kind=static", "a*b*c", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="} {
		f.Add(s, "Google 'Argon2026h1' log", "https://ct.test.local/logs/x/")
	}
	f.Fuzz(func(t *testing.T, rule, name, url string) {
		l := Listed{Info: ctlog.Info{Name: name, Operator: name, URL: url, SubmissionURL: url, State: "usable", Start: day, End: day}, Lists: []string{name}}
		r, err := ParseRules([]string{rule}, nil)
		if err != nil {
			if s := err.Error(); strings.ContainsAny(s, "\n\x1b\x00") || len(s) > 700 {
				t.Errorf("%q", s)
			}
			return
		}
		in := r.Decide(l, day)
		ex := mustRules(t, nil, []string{rule}).Decide(l, day)
		if in.Follow == ex.Follow {
			t.Errorf("rule %q includes %+v and excludes %+v", rule, in, ex)
		}
		if s := in.Why + ex.Why; strings.ContainsAny(s, "\n\x1b\x00") && !strings.ContainsAny(name, "\n\x1b\x00") {
			t.Errorf("%q", s)
		}
	})
}
