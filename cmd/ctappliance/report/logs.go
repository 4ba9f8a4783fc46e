package report

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"ctappliance/cmd/ctappliance/plain"
	"ctappliance/ingest"
)

// leastLogs is how many columns a table of logs takes at least; narrower
// terminals wrap it.
const leastLogs = 80

// LogTable is what 'ctappliance logs' shows.
type LogTable struct {
	Logs    []LogLine `json:"logs"`
	Others  int       `json:"others"` // logs that are known and not followed
	Lists   []List    `json:"lists,omitempty"`
	Running bool      `json:"running"`          // an appliance runs on the data directory
	Unused  []string  `json:"unused,omitempty"` // rules that no log meets
}

// LogLine is one log.
type LogLine struct {
	Name     string    `json:"name"`
	Operator string    `json:"operator,omitempty"`
	ID       string    `json:"log_id"`
	Kind     string    `json:"kind"`
	State    string    `json:"state,omitempty"` // of the lists
	Start    time.Time `json:"start,omitzero"`  // of the shard's interval
	End      time.Time `json:"end,omitzero"`
	URL      string    `json:"url"`
	Tiles    string    `json:"tile_url,omitempty"` // where an RFC 6962 log serves tiles as well
	Lists    []string  `json:"lists,omitempty"`
	From     string    `json:"from,omitempty"` // where copying it begins, or began
	Follow   bool      `json:"follow"`
	Why      string    `json:"why"`

	Status *ingest.LogStatus `json:"status,omitempty"` // of the running appliance
}

// KeepFollowed drops the logs that are not followed.
func (t *LogTable) KeepFollowed() {
	all := t.Logs
	t.Logs = nil
	for _, l := range all {
		if l.Follow {
			t.Logs = append(t.Logs, l)
		} else {
			t.Others++
		}
	}
}

// Print writes the table for people, in so many columns; 0 is as many as it
// takes.
func (t *LogTable) Print(out io.Writer, now time.Time, width int) error {
	table := plain.Table{Heads: []string{"log", "operator", "kind", "state", "interval", "followed"}}
	if t.Running {
		table.Heads = append(table.Heads, "head", "behind", "lag")
	}
	table.Heads = append(table.Heads, "why", "url")
	for _, l := range t.Logs {
		followed := "no"
		if l.Follow {
			followed = "from " + l.From
		}
		kind := l.Kind
		if l.Tiles != "" {
			kind += "+tiles"
		}
		row := []string{l.Name, l.Operator, kind, plain.First(l.State, "-"), interval(l.Start, l.End), followed}
		if t.Running {
			head, behind, late := "-", "-", "-"
			if s := l.Status; s != nil {
				head, behind = strconv.FormatUint(s.Head, 10), strconv.FormatUint(s.Wanted-min(s.Delivered, s.Wanted), 10)
				if s.Lag >= 0 {
					late = time.Duration(s.Lag * float64(time.Second)).Round(time.Second).String()
				}
			}
			row = append(row, head, behind, late)
		}
		table.Rows = append(table.Rows, plain.PrintableAll(append(row, l.Why, l.URL)))
	}
	whole := true
	if width > 0 {
		whole = table.Fit(max(width, leastLogs), []plain.Narrowing{
			{Head: "url"}, {Head: "operator"}, {Head: "why", Least: 30}, {Head: "interval"}, {Head: "log", Least: 24, Ends: true}, {Head: "state"}, {Head: "why", Least: 12}})
	}
	if err := table.Print(out); err != nil {
		return err
	}
	if len(t.Logs) == 0 {
		fmt.Fprintln(out, "no log is followed")
	}
	if !whole {
		fmt.Fprintln(out, "\n--wide shows all columns whole")
	}
	if t.Others > 0 {
		fmt.Fprintf(out, "\n%d other logs are known; --all shows them, and why they are not followed\n", t.Others)
	}
	for _, rule := range t.Unused {
		fmt.Fprintf(out, "\nno log meets the rule: %s\n", plain.Printable(rule))
	}
	if len(t.Lists) > 0 {
		fmt.Fprintln(out)
	}
	for _, s := range t.Lists {
		fmt.Fprintln(out, s.line(now))
	}
	return nil
}

// line is a list on one line.
func (s List) line(now time.Time) string {
	if s.Read.IsZero() {
		text := fmt.Sprintf("list %s: never read", s.Name)
		if s.Error != "" {
			text += ": " + plain.Printable(s.Error)
		}
		return text
	}
	text := fmt.Sprintf("list %s: %d logs, %d followed", s.Name, s.Logs, s.Followed)
	if s.Version != "" {
		text += ", version " + plain.Printable(s.Version)
	}
	if !s.At.IsZero() {
		text += " of " + s.At.UTC().Format(time.DateOnly)
	}
	text += ", read " + s.Read.UTC().Format("2006-01-02 15:04Z")
	if s.Signed {
		text += ", signature verified"
	} else {
		text += ", not signed"
	}
	if s.Error != "" {
		text += "; last attempt failed: " + plain.Printable(s.Error)
	}
	return text
}

// interval is a shard's time on few characters: 2026-01-01..2026-07-01.
func interval(start, end time.Time) string {
	if start.IsZero() && end.IsZero() {
		return "-"
	}
	var parts [2]string
	for i, at := range []time.Time{start, end} {
		if !at.IsZero() {
			parts[i] = at.UTC().Format(time.DateOnly)
		}
	}
	return strings.Join(parts[:], "..")
}
