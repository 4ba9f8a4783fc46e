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
	"time"

	"github.com/urfave/cli/v2"

	"ctappliance/cmd/ctappliance/config"
	"ctappliance/cmd/ctappliance/plain"
	"ctappliance/cmd/ctappliance/report"
	"ctappliance/cmd/ctappliance/usage"
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
				return usage.Errorf("contact: is not set; write your e-mail address or an https URL, which the lists' servers see with every request")
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
				table.KeepFollowed()
			}
			if c.Bool("json") {
				e := json.NewEncoder(c.App.Writer)
				e.SetIndent("", "  ")
				return e.Encode(table)
			}
			width := 0
			if !c.Bool("wide") {
				width, _, _ = report.ColumnsOf(c.App.Writer)
			}
			return table.Print(c.App.Writer, time.Now(), width)
		},
	}
}

// logTable chooses as run would, and asks the running appliance how it is
// doing.
func (c *settings) logTable(ctx context.Context, errOut io.Writer, refresh bool) (*report.LogTable, error) {
	out := c.logger(errOut)
	f := newFleet(c, out)
	t := &report.LogTable{}
	var lists *catalog.Catalog
	if c.NeedsLists() {
		var err error
		if lists, err = c.listsForTable(ctx, out, refresh); err != nil {
			return nil, err
		}
	}
	f.recall(out)
	var st report.Status
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
		line := report.LogLine{Name: ch.Info.Name, Operator: ch.Info.Operator, ID: id, Kind: ch.Info.Kind.String(), State: ch.Info.State, Start: ch.Info.Start, End: ch.Info.End,
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
