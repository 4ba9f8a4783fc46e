package main

import (
	"context"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

const root = "../.."

// TestList keeps the list in step with the code: every old text is where the
// list says, exactly once, and every test exists.
func TestList(t *testing.T) {
	all, err := readLists(root)
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]map[string]bool{}
	for _, m := range all {
		if _, err := m.apply(root); err != nil {
			t.Errorf("%s: %s: %v", m.Where, m.Name, err)
		}
		if known[m.Package] == nil {
			known[m.Package] = testsIn(t, filepath.Join(root, m.Package))
		}
		for _, name := range m.Tests {
			name, _, _ := strings.Cut(name, "/")
			if !known[m.Package][name] {
				t.Errorf("%s: %s: there is no %s in %s", m.Where, m.Name, name, m.Package)
			}
		}
	}
}

// testsIn returns the names of the tests of a package.
func testsIn(t *testing.T, dir string) map[string]bool {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, path := range paths {
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil {
				names[fn.Name.Name] = true
			}
		}
	}
	return names
}

func TestParse(t *testing.T) {
	got, err := parseList("x", []byte("# A comment.\n"+
		"file a.go\n"+
		"\n"+
		"== one I1\n"+
		"A guard\n"+
		"of two lines.\n"+
		"test ./p TestA TestB/case\n"+
		"- if a {\n"+
		"-\n"+
		"- \tb\n"+
		"+ if c {\n"+
		"- d\n"+
		"\n"+
		"== two -\n"+
		"Another one.\n"+
		"timeout 20s\n"+
		"test ./q FuzzA\n"+
		"- e\n"+
		"+\n"+
		"file b.go\n"+
		"- f\n"+
		"+ g\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := []mutation{
		{Name: "x/one", Invariant: "I1", Guard: "A guard of two lines.", Package: "./p", Tests: []string{"TestA", "TestB/case"}, Where: "x.txt:4",
			Edits: []edit{{"a.go", "if a {\n\n\tb", "if c {"}, {"a.go", "d", ""}}},
		{Name: "x/two", Invariant: "-", Guard: "Another one.", Package: "./q", Tests: []string{"FuzzA"}, Timeout: 20 * time.Second, Where: "x.txt:14",
			Edits: []edit{{"a.go", "e", ""}, {"b.go", "f", "g"}}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestParseRefuses(t *testing.T) {
	const good = "== a I1\nGuard.\nfile f\ntest ./p TestA\n- x\n+ y\n"
	if _, err := parseList("l", []byte(good)); err != nil {
		t.Fatal(err)
	}
	for old, bad := range map[string]string{
		"== a I1":          "== a I10",
		"== a":             "== A",
		"Guard.\n":         "",
		"file f\n":         "",
		"./p":              "p",
		" TestA":           "",
		"TestA":            "ATest",
		"- x\n":            "",
		"+ y\n":            "+ x\n",
		"+ y":              "y",
		"test ./p TestA\n": "",
		"Guard.":           "timeout 20",
	} {
		if !strings.Contains(good, old) {
			t.Fatalf("%q is not in the good list", old)
		}
		text := strings.Replace(good, old, bad, 1)
		if list, err := parseList("l", []byte(text)); err == nil {
			t.Errorf("accepted: %+v from\n%s", list, text)
		}
	}
	if _, err := parseList("l", []byte(good+good)); err == nil {
		t.Error("two mutations of one name were accepted")
	}
	if _, err := parseList("l", []byte("== a I1\nGuard.\nfile f\n")); err == nil {
		t.Error("a mutation without an end was accepted")
	}
}

// TestRunner removes guards of a small program, each of which ends in another
// way, and sees that the tree is as it was.
func TestRunner(t *testing.T) {
	dir := t.TempDir()
	files := map[string]string{
		"go.mod": "module m\n\ngo 1.26\n",
		"p/p.go": `package p

func Abs(n int) int {
	if n < 0 {
		return -n
	}
	return n
}

func Loop(n int) int {
	for n > 0 {
		n--
	}
	return n
}
`,
		"p/p_test.go": `package p

import (
	"os"
	"testing"
)

func TestAbs(t *testing.T) {
	if Abs(-1) != 1 {
		t.Error("negative")
	}
}

func TestCases(t *testing.T) {
	t.Run("negative one", TestAbs)
}

func TestCounts(t *testing.T) {
	ran := 0
	for _, name := range []string{"a", "b"} {
		t.Run(name, func(t *testing.T) { ran++ })
	}
	if ran < 2 {
		t.Error("not all ran")
	}
}

func TestLoop(t *testing.T) {
	if Loop(3) != 0 {
		t.Error("loop")
	}
}

func TestExit(t *testing.T) {
	if Abs(-1) != 1 {
		os.Exit(3)
	}
}

func TestPanic(t *testing.T) {
	done := make(chan bool)
	go func() {
		if Abs(-1) != 1 {
			panic("in a goroutine")
		}
		close(done)
	}()
	<-done
}

func TestNothing(t *testing.T) {}

func TestSkipped(t *testing.T) { t.Skip("no reason") }

func TestRed(t *testing.T) { t.Error("always") }
`,
	}
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	abs := edit{"p/p.go", "if n < 0 {", "if false {"}
	tests := []struct {
		edit   edit
		test   string
		result string
		failed string
	}{
		{abs, "TestAbs", killed, "TestAbs"},
		{abs, "TestCases/negative_one", killed, "TestCases/negative_one"},
		{abs, "TestCounts/a", redBase, ""},
		{abs, "TestExit", killed, "TestExit"},
		{abs, "TestPanic", killed, "TestPanic"},
		{abs, "TestNothing", survived, ""},
		{abs, "TestSkipped", redBase, ""},
		{abs, "TestRed", redBase, ""},
		{edit{"p/p.go", "n--", "_ = n"}, "TestLoop", killed, "TestLoop (timeout)"},
		{edit{"p/p.go", "return -n", "return"}, "TestAbs", noBuild, ""},
		{edit{"p/p.go", "return n", "return 0"}, "TestAbs", stale, ""},
		{edit{"p/p.go", "gone", ""}, "TestAbs", stale, ""},
		{edit{"p/gone.go", "x", ""}, "TestAbs", stale, ""},
	}
	var list []mutation
	for _, tt := range tests {
		list = append(list, mutation{Name: "x", Package: "./p", Tests: []string{tt.test}, Edits: []edit{tt.edit}})
	}
	reported := 0
	r := &runner{
		root: dir, timeout: 3 * time.Second, jobs: 2,
		say:    func(string) {},
		report: func(outcome) { reported++ },
	}
	outcomes, err := r.run(t.Context(), list)
	if err != nil {
		t.Fatal(err)
	}
	if reported != len(tests) {
		t.Errorf("%d of %d were reported", reported, len(tests))
	}
	for i, o := range outcomes {
		tt := tests[i]
		if o.Result != tt.result || o.Failed != tt.failed {
			t.Errorf("%v, %s: %s %q, want %s %q; %q", tt.edit, tt.test, o.Result, o.Failed, tt.result, tt.failed, o.Detail)
		}
	}
	for _, tt := range []struct {
		outcomes []outcome
		want     string
		ok       bool
	}{
		{outcomes, "13 guards removed in 1s: 5 killed, 1 SURVIVED, 3 stale, 1 does not compile, 3 baseline red\n", false},
		{outcomes[:1], "1 guards removed in 1s: 1 killed, 0 SURVIVED, 0 stale, 0 does not compile, 0 baseline red\n", true},
	} {
		if sums, err := total(tt.outcomes, time.Second); !strings.HasSuffix(sums, tt.want) || (err == nil) != tt.ok {
			t.Errorf("%v\n%swant\n%s", err, sums, tt.want)
		}
	}
	for name, text := range files {
		if now, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(now) != text {
			t.Errorf("%s was changed: %v", name, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.run(ctx, list); err == nil {
		t.Error("a run that was broken off has no error")
	}
}

func TestChoose(t *testing.T) {
	all := []mutation{
		{Name: "wal/a", Package: "./wal", Edits: []edit{{File: "wal/x.go"}}},
		{Name: "wal/b", Package: "./ingest", Edits: []edit{{File: "wal/x.go"}}},
		{Name: "ingest/a", Package: "./ingest", Edits: []edit{{File: "ingest/x.go"}}},
	}
	for _, tt := range []struct{ only, pkg, want string }{
		{"", "", "wal/a wal/b ingest/a"},
		{"/a$", "", "wal/a ingest/a"},
		{"", "wal", "wal/a wal/b"},
		{"", "./ingest/", "wal/b ingest/a"},
		{"b", "ingest", "wal/b"},
	} {
		got, err := choose(all, tt.only, tt.pkg)
		var names []string
		for _, m := range got {
			names = append(names, m.Name)
		}
		if want := strings.Fields(tt.want); err != nil || !slices.Equal(names, want) {
			t.Errorf("%+v: %v, %v", tt, names, err)
		}
	}
	if _, err := choose(all, "nothing", ""); err == nil {
		t.Error("no mutation matches, and no error")
	}
}
