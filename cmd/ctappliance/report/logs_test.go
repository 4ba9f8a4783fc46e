package report

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"
)

// The table of logs fits the terminal: columns that can be missed go, others
// are cut, and a line says so; without a width everything is there.
func TestLogTableFits(t *testing.T) {
	table := &LogTable{Running: true}
	st := manyLogs()
	for i := range st.Logs {
		l := &st.Logs[i]
		table.Logs = append(table.Logs, LogLine{Name: l.Name, Operator: l.Operator, Kind: l.Kind, State: "usable", Start: statusNow, End: statusNow.Add(180 * 24 * time.Hour), Follow: i%2 == 0, From: "now+history",
			URL: "https://" + strings.ToLower(l.Operator) + ".ct-watch.org/2027h1/", Why: "usable in google, apple; included by operator=somebody kind=static", Status: l})
	}
	table.Logs[0].Why = evil
	draw := func(width int) []string {
		var b bytes.Buffer
		if err := table.Print(&b, statusNow, width); err != nil {
			t.Fatal(err)
		}
		if strings.ContainsFunc(b.String(), func(r rune) bool { return r != '\n' && (r < ' ' || r > '~') }) {
			t.Errorf("%d columns: not printable: %q", width, b.String())
		}
		return strings.Split(b.String(), "\n")
	}
	all := draw(0)
	if !strings.HasSuffix(all[0], "url") || !strings.Contains(all[2], table.Logs[1].URL) || slices.Contains(all, "--wide shows all columns whole") {
		t.Errorf("%s", strings.Join(all[:3], "\n"))
	}
	for _, width := range []int{40, 80, 100, 132, 160, 200} {
		lines := draw(width)
		if !slices.Contains(lines, "--wide shows all columns whole") {
			t.Errorf("%d columns: it does not say that something is missing", width)
		}
		for _, l := range lines {
			if len(l) > max(width, 100) { // 100: what cannot be given
				t.Errorf("%d columns: %d: %s", width, len(l), l)
			}
		}
		names := map[string]bool{}
		for _, l := range lines[1 : 1+len(table.Logs)] {
			name, _, _ := strings.Cut(l, "  ")
			names[name] = true
		}
		if len(names) != len(table.Logs) {
			t.Errorf("%d columns: %d names of %d logs", width, len(names), len(table.Logs))
		}
		for _, head := range []string{"log ", "kind ", "followed ", "lag ", "why"} {
			if !strings.Contains(lines[0], head) {
				t.Errorf("%d columns: no %s", width, head)
			}
		}
	}
	if wide := draw(1000); !slices.Equal(wide, all) {
		t.Error("what has room is cut")
	}
}
