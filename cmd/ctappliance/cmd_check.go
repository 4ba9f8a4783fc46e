package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/urfave/cli/v2"

	"ctappliance/internal/durable"
	"ctappliance/store"
	"ctappliance/store/engine"
)

func checkCommand() *cli.Command {
	return &cli.Command{
		Name:        "check",
		Usage:       "check the configuration and reach everything, change nothing",
		Description: "Reads the configuration, looks at the data directory, asks every log for its head and the store for its version.",
		Flags: append([]cli.Flag{
			&cli.BoolFlag{Name: "print-config", Usage: "print the configuration in force, secrets redacted, and stop"},
		}, configFlags()...),
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
func (c *Config) check(ctx context.Context, out io.Writer) error {
	bad := 0
	say := func(what string, err error, good string) {
		if err == nil {
			fmt.Fprintf(out, "ok    %s: %s\n", what, good)
			return
		}
		bad++
		fmt.Fprintf(out, "FAIL  %s: %s\n", what, printable(err.Error()))
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
	logs, err := c.follows(ctx)
	if err != nil {
		say("logs", err, "")
	}
	for _, f := range logs {
		ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
		head, err := f.Log.Head(ctx)
		cancel()
		info := f.Log.Info()
		if err == nil {
			good = fmt.Sprintf("%d entries, head of %s, signature verified", head.Size, time.UnixMilli(int64(head.Timestamp)).UTC().Format(time.RFC3339))
		}
		say(fmt.Sprintf("log %s (%v)", printable(info.Name), info.Kind), err, good)
	}
	if bad > 0 {
		return fmt.Errorf("%d of the checks failed", bad)
	}
	return nil
}

// checkDataDir looks whether the directory could be used, without making it.
func (c *Config) checkDataDir() (good string, err error) {
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
		return size(free) + " free, an appliance has worked here", nil
	}
	return size(free) + " free", nil
}
