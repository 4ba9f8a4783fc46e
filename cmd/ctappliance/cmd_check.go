package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/sync/errgroup"

	"ctappliance/cmd/ctappliance/config"
	"ctappliance/cmd/ctappliance/plain"
	"ctappliance/ingest/catalog"
	"ctappliance/ingest/ctlog"
	"ctappliance/internal/durable"
	"ctappliance/store"
	"ctappliance/store/engine"
)

func checkCommand() *cli.Command {
	return &cli.Command{
		Name:  "check",
		Usage: "check the configuration and reach everything, change nothing",
		Description: "Reads the configuration, looks at the data directory, fetches the log lists without keeping them,\n" +
			"asks logs for their heads (of those that the lists name one per host) and the store for its version.",
		Flags: append([]cli.Flag{
			&cli.BoolFlag{Name: "print-config", Usage: "print the configuration in force, secrets redacted, and stop"},
		}, config.Flags()...),
		Action: func(c *cli.Context) error {
			cfg, err := configured(c, !c.Bool("print-config"))
			if err != nil {
				return err
			}
			if c.Bool("print-config") {
				return cfg.Print(c.App.Writer)
			}
			return cfg.check(c.Context, c.App.Writer)
		},
	}
}

// check prints a line for everything that run would need.
func (c *settings) check(ctx context.Context, out io.Writer) error {
	bad := 0
	say := func(what string, err error, good string) {
		if err == nil {
			fmt.Fprintf(out, "ok    %s: %s\n", what, good)
			return
		}
		bad++
		fmt.Fprintf(out, "FAIL  %s: %s\n", what, plain.Printable(err.Error()))
	}
	for _, w := range c.Warnings {
		fmt.Fprintf(out, "warn  %s\n", w)
	}
	good, err := c.checkDataDir()
	say("data-dir "+c.DataDir, err, good)
	if c.embedded() {
		library, err := engine.Find(c.Engine.Library, c.DataDir)
		say("embedded engine", err, "library "+library)
	} else {
		sc := c.storeConfig(nil, slog.New(slog.DiscardHandler))
		sc.ReadOnly = true
		st, err := store.Open(ctx, sc)
		good := ""
		if err == nil {
			good = "ClickHouse " + st.Version() + ", database " + st.Database()
			st.Close()
		}
		say("store "+c.Store.DSN.String(), err, good)
	}
	choices, err := c.askLists(ctx, say)
	if err != nil {
		say("logs", err, "")
	}
	for _, r := range c.askHeads(ctx, choices) {
		say(r.what, r.err, r.good)
	}
	if bad > 0 {
		return fmt.Errorf("%d of the checks failed", bad)
	}
	return nil
}

// askLists fetches the lists, keeping nothing, and says of each what came.
// Where they cannot be had it goes on with those of the data directory, as run
// would. It returns the logs that run would follow.
func (c *settings) askLists(ctx context.Context, say func(what string, err error, good string)) ([]choice, error) {
	out := slog.New(slog.DiscardHandler)
	f := newFleet(c, out)
	f.recall(out)
	var lists *catalog.Catalog
	if c.NeedsLists() {
		var err error
		if lists, err = c.openLists("", out); err != nil {
			return nil, err
		}
		failed := lists.Refresh(ctx)
		for _, s := range listStatuses(lists, nil) {
			what := fmt.Sprintf("list %s (%s)", s.Name, plain.QuotePath(s.From))
			if s.Error != "" {
				say(what, errors.New(s.Error), "")
				continue
			}
			signed := "not signed"
			if s.Signed {
				signed = "signature verified"
			}
			say(what, nil, strings.TrimSpace(fmt.Sprintf("%d logs, version %s, %s", s.Logs, plain.Printable(plain.First(s.Version, "unknown")), signed)))
		}
		if len(lists.Logs()) == 0 {
			kept, err := c.openLists(filepath.Join(c.DataDir, listsDir), out)
			if err != nil || len(kept.Logs()) == 0 && len(c.Logs) == 0 {
				return nil, errNoList(errors.Join(failed, err))
			}
			lists = kept
		}
	}
	choices, err := f.choose(ctx, c, lists, func(ctlog.Hash) bool { return true })
	if err != nil {
		return nil, err
	}
	chosen := slices.DeleteFunc(slices.Clone(choices), func(ch choice) bool { return !ch.Follow })
	if len(chosen) == 0 {
		return nil, errNothing(choices)
	}
	if lists != nil {
		say("logs", nil, fmt.Sprintf("%d are followed of %d that are known; 'ctappliance logs' shows them", len(chosen), len(choices)))
	}
	return chosen, nil
}

// asked is what came of a question to a log.
type asked struct {
	what, good string
	err        error
}

// askHeads asks logs for their heads: those that the configuration names, and
// of the others one for each host and protocol.
func (c *settings) askHeads(ctx context.Context, choices []choice) []asked {
	type place struct {
		host string
		kind ctlog.Kind
	}
	var ask []choice
	spared := map[place]int{}
	for _, ch := range choices {
		host, _ := hostOf(ch.Info.URL)
		at := place{host, ch.Info.Kind}
		if n, known := spared[at]; known && !ch.Own {
			spared[at] = n + 1
			continue
		}
		spared[at] += 0
		ask = append(ask, ch)
	}
	h := newHosts(c)
	out := make([]asked, len(ask))
	var g errgroup.Group
	g.SetLimit(8)
	for i, ch := range ask {
		out[i].what = fmt.Sprintf("log %s (%v)", plain.Printable(ch.Info.Name), ch.Info.Kind)
		g.Go(func() error {
			client, _, err := h.client(ch.Info, ch.Access)
			if err != nil {
				out[i].err = err
				return nil
			}
			ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
			defer cancel()
			head, err := client.Head(ctx)
			if err != nil {
				out[i].err = err
				return nil
			}
			host, _ := hostOf(ch.Info.URL)
			out[i].good = fmt.Sprintf("%d entries, head of %s, signature verified", head.Size, time.UnixMilli(int64(head.Timestamp)).UTC().Format(time.RFC3339))
			if n := spared[place{host, ch.Info.Kind}]; n > 0 && !ch.Own {
				out[i].good += fmt.Sprintf("; %d more of its host not asked", n)
			}
			return nil
		})
	}
	_ = g.Wait() // none returns an error
	return out
}

// checkDataDir looks whether the directory could be used, without making it.
func (c *settings) checkDataDir() (good string, err error) {
	info, err := os.Stat(c.DataDir)
	if errors.Is(err, os.ErrNotExist) {
		return "not there yet; run will create it", nil
	}
	if err != nil {
		return "", err
	}
	if !info.IsDir() {
		return "", errors.New("is not a directory; choose another")
	}
	if err := c.makeDataDir(); err != nil {
		return "", err
	}
	free, err := durable.OS{}.Free(c.DataDir)
	if err != nil {
		return "", err
	}
	if _, err := readStatus(context.Background(), c.DataDir); err == nil {
		return plain.Bytes(free) + " free, an appliance has worked here", nil
	}
	return plain.Bytes(free) + " free", nil
}
