package main

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// results are the lines of benchmarks, in their order.
type results struct {
	pkg    string
	groups []*group
	notes  []string
	noting bool // the last line was part of the last note
}

// group is one benchmark with its parts.
type group struct {
	pkg, name string
	rows      []row
}

type row struct {
	name   string
	values map[string]string // by unit
}

// first are the units that people look for, in the order in which they are
// shown; others follow by name.
var first = []string{
	"cpu-us/entry", "x-faster", "entries/s", "rows/s", "us/entry", "engine-us/entry", "engine-merged-us/entry", "log-us/entry",
	"further-entries/s", "us/further-entry", "engine-us/further-entry",
	"%-of-a-core", "engine-%-of-a-core", "log-%-of-a-core",
	"MB-peak", "engine-MB-peak", "engine-anon-MB", "written-B/entry", "engine-written-B/entry", "WAL-B/entry", "B/entry", "merged-B/entry",
	"ns/op", "B/op", "allocs/op",
}

var (
	result = regexp.MustCompile(`^(Benchmark\S+?)(?:-\d+)?\s+\d+\s+(.+)$`)
	logged = regexp.MustCompile(`^ {4}\w+\.go:\d+: (.*)$`)
)

// read takes a line of "go test -v -bench".
func (r *results) read(line string) {
	line = strings.TrimRight(line, "\r\n")
	if pkg, ok := strings.CutPrefix(line, "pkg: "); ok {
		r.pkg = pkg
	}
	whole := strings.HasSuffix(r.pkg, "/bench")
	if m := logged.FindStringSubmatch(line); m != nil {
		if r.noting = whole; whole {
			r.notes = append(r.notes, m[1])
		}
		return
	}
	if more, ok := strings.CutPrefix(line, "        "); ok && r.noting {
		r.notes[len(r.notes)-1] += "\n" + more
		return
	}
	r.noting = false
	if whole && strings.HasPrefix(line, "Benchmark") && !strings.ContainsAny(line, " \t") {
		r.notes = append(r.notes, line) // begins; its result comes after what it logs
		return
	}
	m := result.FindStringSubmatch(line)
	if m == nil {
		return
	}
	fields := strings.Fields(m[2])
	values := map[string]string{}
	for i := 0; i+1 < len(fields); i += 2 {
		if _, err := strconv.ParseFloat(fields[i], 64); err != nil {
			return // something else that begins so
		}
		values[fields[i+1]] = fields[i]
	}
	name, part, _ := strings.Cut(m[1], "/")
	if n := len(r.groups); n == 0 || r.groups[n-1].pkg != r.pkg || r.groups[n-1].name != name {
		r.groups = append(r.groups, &group{pkg: r.pkg, name: name})
	}
	g := r.groups[len(r.groups)-1]
	g.rows = append(g.rows, row{part, values})
}

// markdown writes everything down.
func (r *results) markdown() string {
	var b strings.Builder
	if len(r.groups) > 0 {
		b.WriteString("\n# What was measured\n")
	}
	for _, g := range r.groups {
		fmt.Fprintf(&b, "\n%s, %s:\n\n", strings.TrimPrefix(g.name, "Benchmark"), g.pkg)
		units, parts := g.units(), make([]string, len(g.rows))
		for i, row := range g.rows {
			parts[i] = row.name
		}
		if len(units) <= len(parts) { // whatever is narrower
			table(&b, units, parts, func(column, row int) string { return g.rows[row].values[units[column]] })
		} else {
			table(&b, parts, units, func(column, row int) string { return g.rows[column].values[units[row]] })
		}
	}
	for i, n := range r.notes {
		begins := strings.HasPrefix(n, "Benchmark")
		if begins && (i+1 == len(r.notes) || strings.HasPrefix(r.notes[i+1], "Benchmark")) {
			continue // it has logged nothing
		}
		if begins {
			b.WriteByte('\n')
		}
		b.WriteString(n + "\n")
	}
	return b.String()
}

func table(b *strings.Builder, columns, rows []string, cell func(column, row int) string) {
	fmt.Fprintf(b, "| | %s |\n|---|%s\n", strings.Join(columns, " | "), strings.Repeat("---|", len(columns)))
	for i, name := range rows {
		fmt.Fprintf(b, "| %s |", name)
		for j := range columns {
			fmt.Fprintf(b, " %s |", cell(j, i))
		}
		b.WriteByte('\n')
	}
}

// units are what a group has measured, what matters first.
func (g *group) units() []string {
	has := map[string]bool{}
	var units []string
	for _, row := range g.rows {
		for u := range row.values {
			if !has[u] {
				has[u] = true
				units = append(units, u)
			}
		}
	}
	if has["cpu-us/entry"] { // says what these say, without what waits, and for an entry
		units = slices.DeleteFunc(units, func(u string) bool { return u == "ns/op" || u == "B/op" || u == "allocs/op" })
	}
	rank := func(u string) int {
		if i := slices.Index(first, u); i >= 0 {
			return i
		}
		return len(first)
	}
	slices.SortFunc(units, func(a, b string) int {
		if d := rank(a) - rank(b); d != 0 {
			return d
		}
		return strings.Compare(a, b)
	})
	return units
}
