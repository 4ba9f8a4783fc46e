package ctlog

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestRealLogLists(t *testing.T) {
	for _, c := range []struct {
		file                       string
		version                    string
		rfc, static, bogus, follow int
	}{
		{"google-v3-85.92-2026-05-29.json", "85.92", 35, 21, 2, 52},
		{"google-v3-81.14-2026-01-20.json", "81.14", 49, 26, 2, 71},
	} {
		list, err := LoadList(filepath.Join(dataDir(t), "loglists", c.file))
		if err != nil {
			t.Fatal(err)
		}
		if list.Version != c.version || list.Timestamp.Year() != 2026 {
			t.Errorf("%s: version %q of %v", c.file, list.Version, list.Timestamp)
		}
		n := map[Kind]int{}
		bogus, follow := 0, 0
		for _, l := range list.Logs {
			n[l.Kind]++
			if l.Problem != "" {
				bogus++
				if !strings.Contains(l.URL, "bogus") || l.State != "retired" || !strings.Contains(l.Problem, "placeholder") {
					t.Errorf("%s: %s", l.Name, l.Problem)
				}
				if _, err := New(l, Options{UserAgent: testUA}); err == nil {
					t.Errorf("%s: New accepted it", l.Name)
				}
				continue
			}
			if l.Follow() {
				follow++
			}
			if l.State == "retired" && l.Follow() {
				t.Errorf("%s is retired and followed", l.Name)
			}
			if l.ID != sha256.Sum256(l.Key) || l.Name == "" || l.Operator == "" || l.State == "" || l.MMD == 0 || !strings.HasPrefix(l.URL, "https://") || l.Start.IsZero() || !l.End.After(l.Start) {
				t.Errorf("%+v", l)
			}
			client, err := New(l, Options{UserAgent: testUA})
			if err != nil {
				t.Errorf("%s: %v", l.Name, err)
			} else if client.Info().ID != l.ID {
				t.Errorf("%s: Info differs", l.Name)
			}
			if l.StateSince.IsZero() || l.StateSince.Location() != time.UTC || l.Test || (l.State == "readonly") != (l.FinalSize > 0 && l.FinalRoot != Hash{}) {
				t.Errorf("%s: %s since %v, final size %d, test %v", l.Name, l.State, l.StateSince, l.FinalSize, l.Test)
			}
			if (l.Kind == Static) != (l.SubmissionURL != "") {
				t.Errorf("%s: %v, submission %q", l.Name, l.Kind, l.SubmissionURL)
			}
		}
		if n[RFC6962] != c.rfc || n[Static] != c.static || bogus != c.bogus || follow != c.follow {
			t.Errorf("%s: %d + %d logs, %d bogus, %d to follow, want %+v", c.file, n[RFC6962], n[Static], bogus, follow, c)
		}
	}
}

func TestBrokenLogLists(t *testing.T) {
	for file, want := range map[string]string{
		"log_list_incomplete.json":       "not JSON",
		"log_list_too_big.json":          "bytes after its end",
		"log_list_no_operator_name.json": "",
		"log_list_valid_until.json":      "",
	} {
		list, err := LoadList(filepath.Join(dataDir(t), "loglists", file))
		if want == "" {
			if err != nil || len(list.Logs) == 0 {
				t.Errorf("%s: %v", file, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), file) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want %q", file, err, want)
		}
	}
	if _, err := LoadList("/nonexistent/list.json"); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	for _, text := range []string{"", "null", "[]", "{}", `{"operators":[]}`, `{"operators":{}}`, "<html>", `{"operators":[{"logs":{}}]}`, strings.Repeat(" ", maxList+1)} {
		if list, err := ParseList([]byte(text)); err == nil {
			t.Errorf("%.40q: accepted, %+v", text, list)
		}
	}
}

// TestLogProblems: a log that contradicts itself does not spoil the list.
func TestLogProblems(t *testing.T) {
	l, other := newFakeLog(t, 0, false), newFakeLog(t, 0, false)
	good := func() map[string]any {
		return map[string]any{"description": "Fine 2027h1", "log_id": l.id[:], "key": l.spki, "url": "https://ct.test.local/2027h1/", "mmd": 86400, "state": map[string]any{"usable": map[string]any{}}}
	}
	tiled := func(m map[string]any) {
		delete(m, "url")
		m["submission_url"], m["monitoring_url"] = "https://log.test.local/x/", "https://mon.test.local/x/"
	}
	for _, c := range []struct {
		name   string
		edit   func(map[string]any)
		want   string // in Problem; "" = none
		follow bool
	}{
		{"good", func(m map[string]any) {}, "", true},
		{"good tiled", tiled, "", true},
		{"without the slash", func(m map[string]any) { m["url"] = "https://ct.test.local/2027h1" }, "", true},
		{"Apple without ID", func(m map[string]any) { delete(m, "log_id") }, "", true},
		{"without state", func(m map[string]any) { delete(m, "state") }, "", true},
		{"read-only", func(m map[string]any) {
			m["state"] = map[string]any{"readonly": map[string]any{"final_tree_head": map[string]any{"tree_size": 5}}}
		}, "", true},
		{"retired", func(m map[string]any) { m["state"] = map[string]any{"retired": nil} }, "", false},
		{"pending", func(m map[string]any) { m["state"] = map[string]any{"pending": nil} }, "", false},
		{"rejected", func(m map[string]any) { m["state"] = map[string]any{"rejected": nil} }, "", false},
		{"a state of the future", func(m map[string]any) { m["state"] = map[string]any{"quarantined": nil} }, "", false},
		{"two states", func(m map[string]any) { m["state"] = map[string]any{"usable": nil, "retired": nil} }, "more than one state", false},
		{"wrong ID", func(m map[string]any) { m["log_id"] = other.id[:] }, "not the SHA-256 of its key", false},
		{"no key", func(m map[string]any) { delete(m, "key") }, "not a SubjectPublicKeyInfo", false},
		{"no URL", func(m map[string]any) { delete(m, "url") }, "not an https:// URL", false},
		{"odd URL", func(m map[string]any) { m["url"] = "javascript:alert(1)" }, "not an https:// URL", false},
		{"placeholder", func(m map[string]any) { m["url"] = "https://ct.EXAMPLE.com/bogus/" }, "placeholder", false},
		{"tiled, no submission URL", func(m map[string]any) { tiled(m); delete(m, "submission_url") }, "submission URL", false},
	} {
		m := good()
		c.edit(m)
		fine := good()
		fine["key"], fine["log_id"], fine["description"] = other.spki, other.id[:], "Other 2027h1"
		b, _ := json.Marshal(map[string]any{"version": "1.0", "operators": []any{map[string]any{"name": "Op", "logs": []any{m}, "tiled_logs": []any{fine}}}})
		list, err := ParseList(b)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		got := list.Logs[0]
		if (c.want == "") != (got.Problem == "") || !strings.Contains(got.Problem, c.want) || got.Follow() != c.follow || got.Operator != "Op" {
			t.Errorf("%s: %+v", c.name, got)
		}
		if !list.Logs[1].Follow() {
			t.Errorf("%s: the other log suffers: %+v", c.name, list.Logs[1])
		}
		if c.want == "" {
			if !strings.HasSuffix(got.URL, "/") || strings.HasSuffix(got.URL, "//") {
				t.Errorf("%s: %s", c.name, got.URL)
			}
			if got.MMD != 24*time.Hour {
				t.Errorf("%s: MMD %v", c.name, got.MMD)
			}
			continue
		}
		if _, err := New(got, Options{UserAgent: testUA}); err == nil {
			t.Errorf("%s: New accepted it", c.name)
		}
	}
	b, _ := json.Marshal(map[string]any{"operators": []any{map[string]any{"logs": []any{good(), good()}}}})
	if list, err := ParseList(b); err != nil || list.Logs[0].Problem != "" || !strings.Contains(list.Logs[1].Problem, "same key") {
		t.Errorf("%+v, %v", list, err)
	}
	// New does not take the list's word either.
	if _, err := New(Info{ID: other.id, Key: l.spki, URL: "https://ct.test.local/"}, Options{UserAgent: testUA}); err == nil {
		t.Error("New accepted an ID that is not the key's")
	}
}

// TestListStates: what stands beside a state, as lists have it, as Apple has
// it, and as nobody should.
func TestListStates(t *testing.T) {
	l := newFakeLog(t, 0, false)
	root := bytes.Repeat([]byte{7}, 32)
	b64 := base64.StdEncoding.EncodeToString(root)
	since := time.Date(2025, 9, 18, 17, 20, 0, 0, time.UTC)
	for _, c := range []struct {
		name, state, extra string
		want               Info // State, StateSince, FinalSize, FinalRoot, Test
		problem            string
	}{
		{"usable", `{"usable":{"timestamp":"2025-09-18T17:20:00Z"}}`, "", Info{State: "usable", StateSince: since}, ""},
		{"another zone", `{"usable":{"timestamp":"2025-09-18T19:20:00+02:00"}}`, "", Info{State: "usable", StateSince: since}, ""},
		{"read-only", `{"readonly":{"timestamp":"2025-09-18T17:20:00Z","final_tree_head":{"sha256_root_hash":"` + b64 + `","tree_size":77}}}`, "",
			Info{State: "readonly", StateSince: since, FinalSize: 77, FinalRoot: Hash(root)}, ""},
		{"a final head of a usable log", `{"usable":{"final_tree_head":{"sha256_root_hash":"` + b64 + `","tree_size":77}}}`, "", Info{State: "usable"}, ""},
		{"half a final head", `{"readonly":{"timestamp":"2025-09-18T17:20:00Z","final_tree_head":{"tree_size":77}}}`, "", Info{State: "readonly", StateSince: since}, ""},
		{"a short root", `{"readonly":{"final_tree_head":{"sha256_root_hash":"AAAA","tree_size":77}}}`, "", Info{State: "readonly"}, ""},
		{"an absurd size", `{"readonly":{"final_tree_head":{"sha256_root_hash":"` + b64 + `","tree_size":18446744073709551615}}}`, "", Info{State: "readonly"}, ""},
		{"a negative size", `{"readonly":{"final_tree_head":{"sha256_root_hash":"` + b64 + `","tree_size":-1}}}`, "", Info{State: "readonly"}, ""},
		{"a bad date", `{"retired":{"timestamp":"yesterday"}}`, "", Info{State: "retired"}, ""},
		{"Apple", `{"qualified":{"timestamp":"2025-09-18T17:20:00Z","version":14}}`, `,"tls_only":true,"dns":"x.test","previous_operators":[{"name":"Old","end_time":"2020-01-01T00:00:00Z"}]`,
			Info{State: "qualified", StateSince: since}, ""},
		{"a word of the future", `{"quarantined":{"timestamp":"2025-09-18T17:20:00Z","why":[1,2]}}`, "", Info{State: "quarantined", StateSince: since}, ""},
		{"no state", `null`, "", Info{}, ""},
		{"production", `{"usable":{}}`, `,"log_type":"prod"`, Info{State: "usable"}, ""},
		{"test", `{"usable":{}}`, `,"log_type":"test"`, Info{State: "usable", Test: true}, ""},
		{"two", `{"readonly":{"final_tree_head":{"sha256_root_hash":"` + b64 + `","tree_size":77}},"usable":{"timestamp":"2025-09-18T17:20:00Z"}}`, "", Info{}, "more than one state"},
		{"a state that is a word", `"usable"`, "", Info{}, "not of the log list schema"},
		{"an interval that is none", `{"usable":{}}`, `,"temporal_interval":{"start_inclusive":"soon"}`, Info{State: "usable"}, "not of the log list schema"},
		{"a long state", `{"` + strings.Repeat("x", 300) + `":{}}`, "", Info{State: strings.Repeat("x", 200)}, "its state has more than 200 bytes"},
	} {
		text := fmt.Sprintf(`{"assetVersion":32,"assetVersionV2":1013,"version":4,"operators":[{"name":"Op","logs":[{"description":"L","key":%q,"log_id":%q,"url":"https://ct.test.local/x/","state":%s%s}]}]}`,
			base64.StdEncoding.EncodeToString(l.spki), base64.StdEncoding.EncodeToString(l.id[:]), c.state, c.extra)
		list, err := ParseList([]byte(text))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if list.Serial != 1013 || list.Version != "4" || !list.Timestamp.IsZero() {
			t.Errorf("%s: %+v", c.name, list)
		}
		got := list.Logs[0]
		if (c.problem == "") != (got.Problem == "") || !strings.Contains(got.Problem, c.problem) {
			t.Errorf("%s: problem %q", c.name, got.Problem)
		}
		if got.State != c.want.State || !got.StateSince.Equal(c.want.StateSince) || got.FinalSize != c.want.FinalSize || got.FinalRoot != c.want.FinalRoot || got.Test != c.want.Test {
			t.Errorf("%s: %+v", c.name, got)
		}
	}
}

// TestListSerial: Apple's numbers, and what stands in their place.
func TestListSerial(t *testing.T) {
	for text, want := range map[string]uint64{
		`"assetVersion":32,"assetVersionV2":1013`: 1013, `"assetVersion":32`: 32, `"assetVersionV2":"1013"`: 1013,
		`"assetVersionV2":-1`: 0, `"assetVersionV2":1.5`: 0, `"assetVersionV2":{},"assetVersion":7`: 7, `"assetVersionV2":99999999999999999999`: 0, `"version":"1"`: 0,
	} {
		list, err := ParseList([]byte(`{` + text + `,"operators":[{}]}`))
		if err != nil || list.Serial != want {
			t.Errorf("%s: %+v, %v", text, list, err)
		}
	}
}

// TestListWords: no word of a list can move the cursor of a terminal.
func TestListWords(t *testing.T) {
	for raw, want := range map[string]string{
		`"85.92"`: "85.92", `4`: "4", `4.50`: "4.50", `null`: "", `{"a":\n1}`: "", `[]`: "", `true`: "", `"a\u001b[31m\nb"`: "a?[31m?b", `"` + strings.Repeat("9", 300) + `"`: strings.Repeat("9", 200),
	} {
		list, err := ParseList([]byte(`{"version":` + strings.ReplaceAll(raw, "\\n1", "\n1") + `,"operators":[{}]}`))
		if err != nil || list.Version != want {
			t.Errorf("%s: %+v, %v", raw, list, err)
		}
	}
	list, err := ParseList([]byte(`{"operators":[{"name":"O\u001b]0;x\u0007p\u202e","logs":[{"description":"日本 \u001b[2J\nx","url":"\u001b","state":{"us\u0000ed":{}}}]}]}`))
	if err != nil {
		t.Fatal(err)
	}
	if l := list.Logs[0]; l.Operator != "O?]0;x?p?" || l.Name != "日本 ?[2J?x" || l.URL != "?" || l.State != "us?ed" {
		t.Errorf("%+v", l)
	}
}

// TestOneBadEntry: an entry that is not of the schema, or only stands in the
// way, spoils no other.
func TestOneBadEntry(t *testing.T) {
	l := newFakeLog(t, 0, false)
	key, id := base64.StdEncoding.EncodeToString(l.spki), base64.StdEncoding.EncodeToString(l.id[:])
	fine := fmt.Sprintf(`{"description":"Fine","key":%q,"log_id":%q,"url":"https://ct.test.local/x/","state":{"usable":{}}}`, key, id)
	for _, bad := range []string{
		`7`, `null`, `[]`, `{"mmd":"x"}`, `{"key":"no base64!"}`, `{"key":7}`, `{"log_id":"AAAA"}`, `{"description":{}}`,
		fmt.Sprintf(`{"key":%q,"log_id":%q,"url":"https://ct.example.com/bogus/"}`, key, id),
		fmt.Sprintf(`{"key":%q,"log_id":"AAAA","url":"https://ct.test.local/x/"}`, key),
		fmt.Sprintf(`{"key":%q,"log_id":%q,"url":"https://ct.test.local/%s/"}`, key, id, strings.Repeat("x", 600)),
		fmt.Sprintf(`{"description":%q,"key":%q,"log_id":%q,"url":"https://ct.test.local/x/"}`, strings.Repeat("é", 200), key, id),
	} {
		list, err := ParseList([]byte(`{"operators":[{"name":"Op","logs":[` + bad + `,` + fine + `]}]}`))
		if err != nil {
			t.Errorf("%.80s: %v", bad, err)
			continue
		}
		if got := list.Logs[0]; got.Problem == "" || strings.Contains(got.Problem, "\n") || len(got.Problem) > 400 || len(got.Name) > maxListName || len(got.URL) > maxListURL {
			t.Errorf("%.80s: %+v", bad, got)
		}
		if got := list.Logs[1]; got.Problem != "" || !got.Follow() || got.Name != "Fine" {
			t.Errorf("%.80s: the other one: %+v", bad, got)
		}
	}
}

// FuzzParseList: no list crashes, and what is followed has an identity and a
// place.
func FuzzParseList(f *testing.F) {
	seedFiles(f, func(b []byte) { f.Add(b[:min(len(b), 12<<10)]) }, "loglists/*.json", "captured-local/static/log.v3.json")
	l := newFakeLog(f, 0, false)
	b, _ := json.Marshal(map[string]any{"version": 4, "assetVersion": 1, "operators": []any{map[string]any{"name": "Op", "logs": []any{
		map[string]any{"key": l.spki, "log_id": l.id[:], "url": "https://ct.test.local/", "state": map[string]any{"readonly": map[string]any{"final_tree_head": map[string]any{"tree_size": 3, "sha256_root_hash": l.id[:]}}}},
		map[string]any{"key": l.spki, "monitoring_url": "https://ct.test.local/", "submission_url": "https://ct.test.local/"},
	}}}})
	f.Add(b)
	f.Fuzz(func(t *testing.T, data []byte) {
		list, err := ParseList(data)
		if err != nil {
			if s := err.Error(); strings.ContainsAny(s, "\n\x1b") || len(s) > 500 {
				t.Errorf("%q", s)
			}
			return
		}
		for _, l := range list.Logs {
			if strings.ContainsAny(l.Problem+l.Name+l.Operator+l.URL+l.SubmissionURL+l.State+list.Version, "\n\x1b\x00\x7f") || len(l.Problem) > 500 || len(l.Name) > maxListName || len(l.URL) > maxListURL || len(l.State) > maxListName {
				t.Errorf("%+v", l)
			}
			if !l.Follow() {
				continue
			}
			if l.ID != sha256.Sum256(l.Key) {
				t.Errorf("%+v", l)
			}
			if _, err := New(l, Options{UserAgent: testUA, AllowHTTP: true}); err != nil {
				t.Errorf("%+v: %v", l, err)
			}
		}
	})
}

// TestOwnMetadata: log.v3.json is one log and no list.
func TestOwnMetadata(t *testing.T) {
	list, err := LoadList(filepath.Join(dataDir(t), "captured-local", "static", "log.v3.json"))
	if err != nil {
		t.Fatal(err)
	}
	l := list.Logs[0]
	if len(list.Logs) != 1 || l.Kind != Static || l.SubmissionURL != "https://localhost/static2027h1/" || l.Problem != "" || base64.StdEncoding.EncodeToString(l.Key) != staticKey || l.MMD != time.Minute {
		t.Errorf("%+v", list)
	}
}

func TestVerifyList(t *testing.T) {
	list := dataFile(t, "loglists/google-v3-85.92-2026-05-29.json")
	sig := dataFile(t, "loglists/google-v3-85.92-2026-05-29.sig")
	key := dataFile(t, "loglists/google-log-list-signing-key.pem")
	if err := VerifyList(list, sig, key); err != nil {
		t.Error(err)
	}
	block, _ := pem.Decode(key)
	if err := VerifyList(list, sig, block.Bytes); err != nil {
		t.Errorf("DER: %v", err)
	}
	changed := bytes.Clone(list)
	changed[len(changed)/2] ^= 1
	for name, err := range map[string]error{
		"changed list": VerifyList(changed, sig, key),
		"a byte more":  VerifyList(append(bytes.Clone(list), '\n'), sig, key),
		"other sig":    VerifyList(list, sig[1:], key),
		"no sig":       VerifyList(list, nil, key),
		"no key":       VerifyList(list, sig, []byte("x")),
		"other key":    VerifyList(list, sig, newFakeLog(t, 0, false).spki),
	} {
		if err == nil {
			t.Errorf("%s: verified", name)
		}
	}
}

func TestFind(t *testing.T) {
	list, err := LoadList(filepath.Join(dataDir(t), "loglists", "google-v3-85.92-2026-05-29.json"))
	if err != nil {
		t.Fatal(err)
	}
	argon := list.Logs[0]
	var tuscolo Info
	for _, l := range list.Logs {
		if l.Kind == Static && strings.Contains(l.Name, "Tuscolo2026h2") {
			tuscolo = l
		}
	}
	for what, want := range map[string]Info{
		"Google 'Argon2026h1' log":                        argon,
		"argon2026h1":                                     argon,
		" ARGON 2026 H1 ":                                 argon,
		hex.EncodeToString(argon.ID[:]):                   argon,
		strings.ToUpper(hex.EncodeToString(argon.ID[:])):  argon,
		base64.StdEncoding.EncodeToString(argon.ID[:]):    argon,
		"https://ct.googleapis.com/logs/us1/argon2026h1/": argon,
		"https://CT.googleapis.com/logs/us1/argon2026h1":  argon,
		"ct.googleapis.com/logs/us1/argon2026h1/":         argon,
		tuscolo.URL:           tuscolo,
		tuscolo.SubmissionURL: tuscolo,
		strings.TrimPrefix(tuscolo.SubmissionURL, "https"): tuscolo,
	} {
		if got, err := Find(list.Logs, what); err != nil || got.ID != want.ID {
			t.Errorf("%q: %q, %v", what, got.Name, err)
		}
	}
	for what, want := range map[string]string{
		"":                                     "no log was named",
		"argon":                                "names 3 logs",
		"2026h2":                               "and ",
		"argon2026h3":                          "near: \"Google 'Argon2026h1' log\", \"Google 'Argon2026h2' log\"",
		"agron2026h1":                          "Argon2026h1",
		"zzzzzzzzzzzz":                         "it has 56 logs",
		strings.Repeat("00", 32):               "has the ID 0000",
		"https://ct.test.local/":               "no log in the list",
		"\x1b[31m" + strings.Repeat("é", 1000): "no log in the list",
	} {
		_, err := Find(list.Logs, what)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", what, err, want)
			continue
		}
		if len(err.Error()) > 800 || strings.ContainsAny(err.Error(), "\x1bé\n") {
			t.Errorf("%q: error %q", what, err)
		}
	}
}

func TestParseKey(t *testing.T) {
	l := newFakeLog(t, 0, false)
	dir := t.TempDir()
	b64 := base64.StdEncoding.EncodeToString(l.spki)
	pemText := string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: l.spki}))
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for name, value := range map[string]string{
		"base64": b64, "PEM": pemText,
		"PEM file": file("key.pem", "# the log's key\n"+pemText), "DER file": file("key.der", string(l.spki)),
		"base64 file": file("key.b64", b64[:60]+"\n"+b64[60:]+"\n"),
	} {
		if got, err := ParseKey(value); err != nil || !bytes.Equal(got, l.spki) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, value := range map[string]string{
		"nothing": "", "directory": dir, "no file": filepath.Join(dir, "none.pem"), "half": b64[:40],
		"empty file": file("empty", ""), "large file": file("large", strings.Repeat("A", 1<<17)), "text": file("text", "hello"),
	} {
		if got, err := ParseKey(value); err == nil {
			t.Errorf("%s: accepted as %x", name, got)
		} else if strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if der := dataFile(t, "captured-local/rfc6962/pub.der"); len(der) > 0 {
		got, err := ParseKey(filepath.Join(dataDir(t), "captured-local/rfc6962/pub.der"))
		if err != nil || fmt.Sprintf("%x", got) != fmt.Sprintf("%x", der) {
			t.Error(err)
		}
	}
}

// TestHugeLists: a list that is too large is not decoded.
func TestHugeLists(t *testing.T) {
	list := append([]byte(`{"operators":[]}`), bytes.Repeat([]byte(" "), maxList)...)
	if _, err := ParseList(list); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("%d bytes: %v", len(list), err)
	}
}
