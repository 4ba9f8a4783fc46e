package main

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// mutation is one entry of a list.
type mutation struct {
	Name      string // list/name
	Invariant string // I1 to I9, or "-"
	Guard     string // what is removed, in a sentence
	Package   string // of the tests, as ./wal
	Tests     []string
	Timeout   time.Duration // of its tests; 0 means the runner's
	Edits     []edit
	Where     string // file and line of the list
}

// edit replaces a text that occurs once in a file.
type edit struct {
	File     string // relative to the module's directory
	Old, New string
}

var (
	nameRule      = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)
	invariantRule = regexp.MustCompile(`^(I[1-9]|-)$`)
	testRule      = regexp.MustCompile(`^(Test|Fuzz)\w+(/[\w.,=+-]+)*$`)
)

// readLists parses all lists below the module's directory root, in the order
// of their names.
func readLists(root string) ([]mutation, error) {
	paths, err := filepath.Glob(filepath.Join(root, "internal/mutation/list/*.txt"))
	if err != nil {
		return nil, err
	}
	if len(paths) == 0 {
		return nil, fmt.Errorf("no lists in %s/internal/mutation/list: run from the module's directory", root)
	}
	slices.Sort(paths)
	var all []mutation
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		list, err := parseList(strings.TrimSuffix(filepath.Base(path), ".txt"), text)
		if err != nil {
			return nil, err
		}
		all = append(all, list...)
	}
	return all, nil
}

// parseList parses one list. Errors name its line.
func parseList(list string, text []byte) ([]mutation, error) {
	p := listParser{list: list, seen: map[string]bool{}}
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		p.line++
		if err := p.take(lines.Text()); err != nil {
			return nil, fmt.Errorf("%s.txt:%d: %w", list, p.line, err)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("%s.txt: %w", list, err)
	}
	if err := p.finish(); err != nil {
		return nil, fmt.Errorf("%s.txt:%d: %w", list, p.line, err)
	}
	return p.done, nil
}

type listParser struct {
	list string
	line int
	seen map[string]bool
	done []mutation

	m        *mutation
	file     string
	old, new []string
	inNew    bool
}

func (p *listParser) take(line string) error {
	key, rest, _ := strings.Cut(line, " ")
	switch {
	case key == "==":
		return p.begin(rest)
	case line == "" || line[0] == '#':
		return nil
	case key == "file":
		p.closeEdit()
		p.file = rest
		return nil
	case p.m == nil:
		return fmt.Errorf("%q stands before the first ==", line)
	case key == "test":
		if p.m.Package != "" {
			return fmt.Errorf("a second line with tests")
		}
		words := strings.Fields(rest)
		if len(words) < 2 || !strings.HasPrefix(words[0], "./") {
			return fmt.Errorf("test needs a package, as ./wal, and the names of tests")
		}
		p.m.Package, p.m.Tests = words[0], words[1:]
		for _, name := range p.m.Tests {
			if !testRule.MatchString(name) {
				return fmt.Errorf("%q is not the name of a test", name)
			}
		}
		return nil
	case key == "timeout":
		d, err := time.ParseDuration(rest)
		if err != nil || d <= 0 {
			return fmt.Errorf("timeout needs a duration, as 20s")
		}
		p.m.Timeout = d
		return nil
	case key == "-":
		if p.inNew {
			p.closeEdit()
		}
		p.old = append(p.old, rest)
		return nil
	case key == "+":
		if len(p.old) == 0 {
			return fmt.Errorf("new text without an old one")
		}
		p.new, p.inNew = append(p.new, rest), true
		return nil
	case len(p.old) > 0:
		return fmt.Errorf("%q stands behind the replaced text", line)
	}
	p.m.Guard = strings.TrimSpace(p.m.Guard + " " + line)
	return nil
}

func (p *listParser) begin(rest string) error {
	if err := p.finish(); err != nil {
		return err
	}
	words := strings.Fields(rest)
	if len(words) != 2 || !nameRule.MatchString(words[0]) || !invariantRule.MatchString(words[1]) {
		return fmt.Errorf("== needs a name in lower case and an invariant, I1 to I9 or -")
	}
	if p.seen[words[0]] {
		return fmt.Errorf("a second %s", words[0])
	}
	p.seen[words[0]] = true
	p.m = &mutation{Name: p.list + "/" + words[0], Invariant: words[1], Where: fmt.Sprintf("%s.txt:%d", p.list, p.line)}
	return nil
}

// closeEdit ends a replacement, if one is open.
func (p *listParser) closeEdit() {
	if len(p.old) > 0 {
		p.m.Edits = append(p.m.Edits, edit{p.file, strings.Join(p.old, "\n"), strings.Join(p.new, "\n")})
	}
	p.old, p.new, p.inNew = nil, nil, false
}

// finish ends a mutation, if one is open.
func (p *listParser) finish() error {
	if p.m == nil {
		return nil
	}
	p.closeEdit()
	m := p.m
	p.m = nil
	switch {
	case m.Guard == "":
		return fmt.Errorf("%s does not say which guard it removes", m.Name)
	case m.Package == "":
		return fmt.Errorf("%s names no tests", m.Name)
	case len(m.Edits) == 0:
		return fmt.Errorf("%s replaces nothing", m.Name)
	}
	for _, e := range m.Edits {
		switch {
		case e.File == "":
			return fmt.Errorf("%s names no file", m.Name)
		case e.Old == e.New:
			return fmt.Errorf("%s changes nothing", m.Name)
		}
	}
	p.done = append(p.done, *m)
	return nil
}

// staleError says that an entry no longer fits the code.
type staleError struct{ reason string }

func (e *staleError) Error() string { return e.reason }

// apply returns the changed files by their path below root. The error is a
// *staleError where a text does not occur exactly once.
func (m *mutation) apply(root string) (map[string][]byte, error) {
	files := map[string][]byte{}
	for _, e := range m.Edits {
		text, ok := files[e.File]
		if !ok {
			var err error
			if text, err = os.ReadFile(filepath.Join(root, e.File)); err != nil {
				return nil, &staleError{err.Error()}
			}
		}
		if n := bytes.Count(text, []byte(e.Old)); n != 1 {
			return nil, &staleError{fmt.Sprintf("the old text occurs %d times in %s", n, e.File)}
		}
		files[e.File] = bytes.Replace(text, []byte(e.Old), []byte(e.New), 1)
	}
	return files, nil
}
