package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"ctappliance/checkpoint"
	"ctappliance/cmd/ctappliance/config"
	"ctappliance/cmd/ctappliance/plain"
	"ctappliance/cmd/ctappliance/report"
	"ctappliance/cmd/ctappliance/usage"
	"ctappliance/ingest"
	"ctappliance/wal"
)

func statusCommand() *cli.Command {
	watch := &report.WatchFlag{}
	return &cli.Command{
		Name:  "status",
		Usage: "say how the appliance is doing",
		Description: "Asks the running appliance; where none runs, reads what it left in the data directory.\n" +
			"The logs that need attention come first. NO_COLOR in the environment takes the colours away.\n" +
			"With --check it prints one line and exits 0 (ok), 1 (warning) or 2 (critical), as monitoring plugins do.",
		Flags: slices.Concat([]cli.Flag{
			&cli.BoolFlag{Name: "json", Usage: "everything, as JSON"},
			&cli.GenericFlag{Name: "watch", Usage: "draw again every two seconds, or as often as --watch=`TIME` says, until interrupted", Value: watch},
			&cli.StringSliceFlag{Name: "log", Usage: "only the logs of this `NAME`, part of a name, or log ID; may be given several times"},
		}, report.CheckFlags(), config.Flags("data-dir")),
		Action: func(c *cli.Context) error {
			limits, err := report.ThresholdsOf(c)
			if err != nil {
				return err
			}
			if watch.Every > 0 && (c.Bool("check") || c.Bool("json")) {
				return usage.Errorf("--watch draws screens; leave --check and --json away, or --watch")
			}
			cfg, err := configured(c, false)
			if err != nil {
				return err
			}
			read := func(ctx context.Context) (*report.Status, error) {
				st, err := readStatus(ctx, cfg.DataDir)
				if err == nil {
					err = report.OnlyLogs(st, c.StringSlice("log"))
				}
				return st, err
			}
			if watch.Every > 0 {
				return report.Watch(c.Context, c.App.Writer, watch.Every, read)
			}
			st, err := read(c.Context)
			if err != nil {
				if c.Bool("check") {
					fmt.Fprintln(c.App.Writer, "CRITICAL:", plain.OnScreen(err.Error()))
					return exitError(2)
				}
				return err
			}
			switch {
			case c.Bool("check"):
				level, line := report.Check(st, limits, time.Now())
				fmt.Fprintln(c.App.Writer, line)
				if level > 0 {
					return exitError(level)
				}
				return nil
			case c.Bool("json"):
				return report.PrintJSON(c.App.Writer, st)
			}
			return report.Print(c.App.Writer, st)
		},
	}
}

// readStatus asks the running appliance, or reads the files of a stopped one.
func readStatus(ctx context.Context, dir string) (*report.Status, error) {
	var st report.Status
	err := control(ctx, dir, "GET", "/status", nil, &st)
	if err == nil {
		return &st, nil
	}
	if !errors.Is(err, errNotRunning) {
		return nil, err
	}
	if info, err := os.Stat(dir); err == nil && !info.IsDir() {
		return nil, fmt.Errorf("%s is not a directory; point --data-dir at the directory of an appliance", plain.QuotePath(dir))
	}
	db, err := checkpoint.OpenReadOnly(dir)
	switch {
	case errors.Is(err, checkpoint.ErrNotExist):
		return nil, fmt.Errorf("nothing was ever ingested into %s; start with 'ctappliance run', or point --data-dir at the right directory", dir)
	case errors.Is(err, checkpoint.ErrInUse):
		return nil, fmt.Errorf("%s is in use by a process that does not answer; it may be starting or stopping, try again in a few seconds", dir)
	case err != nil:
		return nil, err
	}
	defer db.Close()
	state, err := db.Load()
	if err != nil {
		return nil, err
	}
	logs := map[[32]byte]int{}
	for _, s := range state.Spans {
		i, ok := logs[s.Log]
		if !ok {
			i = len(st.Logs)
			logs[s.Log] = i
			h := state.Heads[s.Log]
			st.Logs = append(st.Logs, ingest.LogStatus{Name: plain.First(h.Name, "log "+hex.EncodeToString(s.Log[:4])), ID: hex.EncodeToString(s.Log[:]),
				Kind: h.Kind, URL: h.URL, Head: h.Size, HeadTime: h.Timestamp, State: "stopped", ETA: -1, Lag: -1})
		}
		l := &st.Logs[i]
		if s.Halted != "" {
			l.Halted = s.Halted
			l.Evidence, l.HaltKind, _ = ingest.LastHalt(dir, s.Log)
		}
		l.Spans = append(l.Spans, ingest.SpanStatus{ID: s.ID, Kind: s.Kind, From: s.From, To: s.To, Cursor: s.Cursor, Verified: s.Verified, Delivered: s.Delivered})
		if s.Kind == checkpoint.KindRepair {
			continue
		}
		l.Fetched += s.Cursor - s.From
		l.Verified += s.Verified - s.From
		l.Delivered += s.Delivered - s.From
		if s.To != math.MaxUint64 {
			l.Wanted += s.To - s.From
		} else {
			l.Wanted += s.Cursor - s.From
		}
	}
	segments, err := wal.List(ingest.WALDir(dir))
	if err != nil {
		return nil, err
	}
	for _, s := range segments {
		st.WAL.Bytes += s.Bytes
		st.WAL.Segments++
	}
	st.Oldest, st.Disk.Lasts = -1, -1
	if free, size, err := report.DiskSpace(dir); err == nil {
		st.Disk.Free, st.Disk.Size = free, size
	}
	return &st, nil
}
