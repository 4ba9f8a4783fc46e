package archtest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "ctappliance"

// pkg is what go list says of a package. Files are those of the system that
// was asked about.
type pkg struct {
	Name, Dir, ImportPath              string
	GoFiles, CgoFiles, IgnoredGoFiles  []string
	TestGoFiles, XTestGoFiles          []string
	Imports, TestImports, XTestImports []string
	Error                              *struct{ Err string }
}

// rel is the import path within the module.
func (p pkg) rel() string { return strings.TrimPrefix(p.ImportPath, module+"/") }

// list returns the packages of the module as built for goos.
func list(t *testing.T, goos string) []pkg {
	t.Helper()
	cmd := exec.Command("go", "list", "-e", "-json", module+"/...")
	cmd.Env = append(os.Environ(), "GOOS="+goos, "CGO_ENABLED=0")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.Bytes())
	}
	var pkgs []pkg
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		pkgs = append(pkgs, p)
	}
	if len(pkgs) < 5 {
		t.Fatalf("go list found %d packages; the rules would hold of nothing", len(pkgs))
	}
	return pkgs
}

// matches reports whether a pattern of the tables stands for a package.
func matches(pattern, name string) bool {
	if below, ok := strings.CutSuffix(pattern, "/*"); ok {
		return strings.HasPrefix(name, below+"/")
	}
	if at, ok := strings.CutSuffix(pattern, "/..."); ok {
		return name == at || strings.HasPrefix(name, at+"/")
	}
	return pattern == name
}

func matchesAny(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return matches(p, name) })
}

// isStandard reports whether an import path is of the standard library: its
// first element has no dot (as the go command decides it) and is not ours.
func isStandard(path string) bool {
	first, _, _ := strings.Cut(path, "/")
	return !strings.Contains(first, ".") && first != module
}

// checkImport returns what is wrong with an import, or "".
func checkImport(from, path string, test bool) string {
	if isStandard(path) {
		return ""
	}
	if matchesAny(standardOnly, from) && !(test && strings.HasPrefix(path, module+"/"+from)) {
		return "imports the standard library only"
	}
	if to, ours := strings.CutPrefix(path, module+"/"); ours {
		return checkOwn(from, to, test)
	}
	for _, h := range homes {
		if path != h.path && !strings.HasPrefix(path, h.path+"/") {
			continue
		}
		if matchesAny(h.pkgs, from) || test && matchesAny(h.tests, from) {
			return ""
		}
		home := strings.Join(h.pkgs, ", ")
		if home == "" {
			home = "tests of " + strings.Join(h.tests, ", ")
		}
		return "that module's home is " + home
	}
	return "a module without a home; go through the package that has one for this, or give it a home in homes"
}

func checkOwn(from, to string, test bool) string {
	if test && to == from {
		return "" // an external test of its own package
	}
	if slices.Contains(testSupport, to) {
		if test || slices.Contains(testSupport, from) || slices.Contains(supportInProgram[from], to) {
			return ""
		}
		return "is made for tests"
	}
	if strings.HasPrefix(from, to+"/") {
		return "a package below never imports the one above"
	}
	if test && matchesAny(testImports[from], to) {
		return ""
	}
	for _, r := range imports {
		if !matches(r.pkg, from) {
			continue
		}
		// Below a support package's own rule, what it supports is free to it:
		// a log for tests may use ctlog.
		if matchesAny(r.may, to) {
			return ""
		}
		return fmt.Sprintf("may import of this module: %s", strings.Join(r.may, ", "))
	}
	return "the package is not in imports; decide there what it may import"
}

func TestImports(t *testing.T) {
	for _, goos := range []string{"linux", "darwin"} {
		for _, p := range list(t, goos) {
			from := p.rel()
			known := slices.ContainsFunc(imports, func(r struct {
				pkg string
				may []string
			}) bool {
				return matches(r.pkg, from)
			})
			if !known {
				t.Errorf("%s: the package is not in imports; decide there what it may import", from)
			}
			for _, path := range p.Imports {
				if why := checkImport(from, path, false); why != "" && !allowedSupport(from, path) {
					t.Errorf("%s (%s) imports %s: %s", from, goos, path, why)
				}
			}
			for _, path := range append(slices.Clone(p.TestImports), p.XTestImports...) {
				if why := checkImport(from, path, true); why != "" {
					t.Errorf("%s (%s), a test, imports %s: %s", from, goos, path, why)
				}
			}
		}
	}
}

// allowedSupport lets a package made for tests import the package that it is
// made for, which lies above it: enginetest starts an engine.
func allowedSupport(from, path string) bool {
	return slices.Contains(testSupport, from) && strings.HasPrefix(from, strings.TrimPrefix(path, module+"/")+"/")
}

// The rules themselves: each case is one that must be refused, or must not.
func TestCheckImport(t *testing.T) {
	tests := []struct {
		from, path string
		test, ok   bool
	}{
		{"wal", "os", false, true},
		{"wal", "ctappliance/internal/durable", false, true},
		{"wal", "ctappliance/checkpoint", false, false},
		{"wal", "ctappliance/internal/crashfs", false, false},
		{"wal", "ctappliance/internal/crashfs", true, true},
		{"checkpoint", "ctappliance/wal", false, false},
		{"checkpoint", "go.etcd.io/bbolt/errors", false, true},
		{"wal", "go.etcd.io/bbolt", false, false},
		{"schema", "ctappliance/internal/durable", false, false},
		{"schema", "golang.org/x/sync/errgroup", false, false},
		{"ingest", "ctappliance/store", false, false},
		{"ingest", "ctappliance/store", true, false},
		{"ingest", "ctappliance/ingest/ctlog/ctlogtest", true, true},
		{"ingest", "ctappliance/ingest/ctlog/ctlogtest", false, false},
		{"ingest/ctlog", "ctappliance/ingest", false, false},
		{"ingest/ctlog", "ctappliance/ingest", true, false},
		{"ingest/pace", "ctappliance/ingest/ctlog", false, true},
		{"ingest/cert", "ctappliance/wal", false, false},
		{"store", "ctappliance/ingest", false, false},
		{"store", "github.com/ClickHouse/clickhouse-go/v2", false, true},
		{"cmd/ctappliance", "github.com/ClickHouse/clickhouse-go/v2", false, false},
		{"cmd/ctappliance", "github.com/ClickHouse/clickhouse-go/v2/lib/driver", true, false},
		{"cmd/ctappliance", "ctappliance/ingest/ctlog/ctlogtest", false, true},
		{"cmd/ctappliance", "ctappliance/store/engine/enginetest", false, false},
		{"internal/durable", "ctappliance/wal", false, false},
		{"store", "example.org/new/module", true, false},
		{"store/new", "ctappliance/schema", false, true},
		{"newroom", "ctappliance/schema", false, false},
	}
	for _, tt := range tests {
		if why := checkImport(tt.from, tt.path, tt.test); (why == "") != tt.ok {
			t.Errorf("%s imports %s (test: %v): %q", tt.from, tt.path, tt.test, why)
		}
	}
}

func TestPackages(t *testing.T) {
	for _, p := range list(t, "linux") {
		if p.Error != nil {
			t.Errorf("%s: %s", p.rel(), p.Error.Err)
			continue
		}
		if slices.Contains(badNames, p.Name) {
			t.Errorf("%s: a package called %s says nothing about what is in it", p.rel(), p.Name)
		}
		files := slices.Concat(p.GoFiles, p.CgoFiles, p.IgnoredGoFiles)
		checkDoc(t, p, files)
		for _, name := range files {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			text, err := os.ReadFile(filepath.Join(p.Dir, name))
			if err != nil {
				t.Fatal(err)
			}
			if n := bytes.Count(text, []byte("\n")); n > maxLines {
				t.Errorf("%s/%s has %d lines; %d is the most, split it by what it is about", p.rel(), name, n, maxLines)
			}
		}
	}
}

// checkDoc wants the package's specification in doc.go; a program may have it
// in main.go.
func checkDoc(t *testing.T, p pkg, files []string) {
	t.Helper()
	want := "Package " + p.Name + " "
	candidates := []string{"doc.go"}
	if p.Name == "main" {
		want, candidates = "Command "+filepath.Base(p.Dir)+" ", []string{"doc.go", "main.go"}
	}
	for _, name := range candidates {
		if !slices.Contains(files, name) {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, name), nil, parser.ParseComments|parser.PackageClauseOnly)
		if err != nil {
			t.Error(err)
			return
		}
		if doc := docText(f); !strings.HasPrefix(doc, want) {
			t.Errorf("%s/%s: the package comment begins with %q, not with %q", p.rel(), name, doc[:min(len(doc), 40)], want)
		}
		return
	}
	t.Errorf("%s: no %s; write there what the package promises", p.rel(), strings.Join(candidates, " or "))
}

func docText(f *ast.File) string {
	if f.Doc == nil {
		return ""
	}
	return f.Doc.Text()
}
