package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"ctappliance/cmd/ctappliance/config"
	"ctappliance/cmd/ctappliance/plain"
	"ctappliance/ingest"
	"ctappliance/ingest/catalog"
	"ctappliance/ingest/ctlog"
)

func logsCommand() *cli.Command {
	return &cli.Command{
		Name:  "logs",
		Usage: "say which logs are followed, and why",
		Description: "Shows which logs 'ctappliance run' follows by this configuration, and why: from the lists as they were last\n" +
			"fetched, without asking anybody if they ever were. With --refresh the lists are fetched first. Where an appliance runs on the\n" +
			"data directory, sizes and lag are its.",
		Flags: append([]cli.Flag{
			&cli.BoolFlag{Name: "all", Usage: "also logs that are not followed, and why not"},
			&cli.BoolFlag{Name: "wide", Usage: "all columns whole, also where the terminal (or COLUMNS) is narrower"},
			&cli.BoolFlag{Name: "json", Usage: "everything, as JSON"},
			&cli.BoolFlag{Name: "refresh", Usage: "fetch the lists now"},
		}, config.Flags("contact", "data-dir", "lists", "follow", "logs", "log-list", "log-names", "limits", "allow-private", "log")...),
		Action: func(c *cli.Context) error {
			cfg, err := configured(c, false)
			if err != nil {
				return err
			}
			if c.Bool("refresh") && cfg.Contact == "" {
				return usagef("contact: is not set; write your e-mail address or an https URL, which the lists' servers see with every request")
			}
			cfg.quiet()
			for _, w := range cfg.Warnings {
				fmt.Fprintf(stderr(c), "ctappliance: %s\n", w)
			}
			table, err := cfg.logTable(c.Context, stderr(c), c.Bool("refresh"))
			if err != nil {
				return err
			}
			if !c.Bool("all") {
				table.keepFollowed()
			}
			if c.Bool("json") {
				e := json.NewEncoder(c.App.Writer)
				e.SetIndent("", "  ")
				return e.Encode(table)
			}
			width := 0
			if !c.Bool("wide") {
				width, _, _ = columnsOf(c.App.Writer)
			}
			return table.print(c.App.Writer, time.Now(), width)
		},
	}
}

// leastLogs is how many columns a table of logs takes at least; narrower
// terminals wrap it.
const leastLogs = 80

// logTable is what 'ctappliance logs' shows.
type logTable struct {
	Logs    []logLine    `json:"logs"`
	Others  int          `json:"others"` // logs that are known and not followed
	Lists   []listStatus `json:"lists,omitempty"`
	Running bool         `json:"running"`          // an appliance runs on the data directory
	Unused  []string     `json:"unused,omitempty"` // rules that no log meets
}

// logLine is one log.
type logLine struct {
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

// logTable chooses as run would, and asks the running appliance how it is
// doing.
func (c *settings) logTable(ctx context.Context, errOut io.Writer, refresh bool) (*logTable, error) {
	out := c.logger(errOut)
	f := newFleet(c, out)
	t := &logTable{}
	var lists *catalog.Catalog
	if c.NeedsLists() {
		var err error
		if lists, err = c.listsForTable(ctx, out, refresh); err != nil {
			return nil, err
		}
	}
	f.recall(out)
	var st applianceStatus
	switch err := control(ctx, c.DataDir, "GET", "/status", nil, &st); {
	case err == nil:
		t.Running = true
	case !errors.Is(err, errNotRunning):
		return nil, err
	}
	behind := backlogs(st.Status)
	choices, err := f.choose(ctx, c, lists, func(id ctlog.Hash) bool { return !t.Running || behind[hex.EncodeToString(id[:])] })
	if err != nil {
		return nil, err
	}
	statuses := map[string]*ingest.LogStatus{}
	for i := range st.Logs {
		statuses[st.Logs[i].ID] = &st.Logs[i]
	}
	var followed [][]string
	f.tiles.mark(choices)
	if _, err := f.hosts.follows(choices, out); err != nil {
		return nil, err
	}
	for _, ch := range choices {
		id := hex.EncodeToString(ch.Info.ID[:])
		line := logLine{Name: ch.Info.Name, Operator: ch.Info.Operator, ID: id, Kind: ch.Info.Kind.String(), State: ch.Info.State, Start: ch.Info.Start, End: ch.Info.End,
			URL: ch.Info.URL, Tiles: ch.Info.TileURL, Lists: ch.Lists, Follow: ch.Follow, Why: ch.Why, Status: statuses[id]}
		if ch.Follow {
			line.From = ch.Start.String()
			followed = append(followed, ch.Lists)
		}
		t.Logs = append(t.Logs, line)
	}
	t.Lists = listStatuses(lists, followed)
	if lists != nil && c.FollowsLists() {
		if rules, err := catalog.ParseRules(c.Follow.Include, c.Follow.Exclude); err == nil {
			t.Unused = rules.Unused(lists.Logs())
		}
	}
	return t, nil
}

// listsForTable reads the lists: files as they are now, others as they were
// last fetched, unless they are to be fetched now, or never were and we may say
// who asks. What is only shown is not kept.
func (c *settings) listsForTable(ctx context.Context, out *slog.Logger, refresh bool) (*catalog.Catalog, error) {
	sources, err := c.sources()
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(c.DataDir, listsDir)
	fetch := refresh
	if refresh {
		if err := c.makeDataDir(); err != nil {
			return nil, err
		}
	} else if !slices.ContainsFunc(sources, func(s catalog.Source) bool { return config.IsRemote(s.URL) || config.IsRemote(s.SigURL) }) {
		dir, fetch = "", true
	}
	lists, err := c.openLists(dir, out)
	if err != nil {
		return nil, err
	}
	if len(lists.Logs()) == 0 && !fetch && c.Contact != "" {
		// Before the first run: look, and leave nothing behind.
		fetch = true
		if lists, err = c.openLists("", out); err != nil {
			return nil, err
		}
	}
	var failed error
	if fetch {
		failed = lists.Refresh(ctx)
	}
	switch n := len(lists.Logs()); {
	case failed != nil && n > 0 && refresh:
		return nil, fmt.Errorf("%s; without --refresh the last good lists are shown", plain.OneLine(failed))
	case failed == nil && n == 0 && !fetch:
		return nil, fmt.Errorf("no list was ever fetched into %s; 'ctappliance logs --refresh' fetches them", plain.QuotePath(c.DataDir))
	case n == 0:
		return nil, errNoList(failed)
	}
	return lists, nil
}

// keepFollowed drops the logs that are not followed.
func (t *logTable) keepFollowed() {
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

// print writes the table for people, in so many columns; 0 is as many as it
// takes.
func (t *logTable) print(out io.Writer, now time.Time, width int) error {
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
		row := []string{l.Name, l.Operator, kind, dash(l.State), interval(l.Start, l.End), followed}
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
func (s listStatus) line(now time.Time) string {
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

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
