package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"ctappliance/checkpoint"
	"ctappliance/ingest"
	"ctappliance/wal"
)

func statusCommand() *cli.Command {
	return &cli.Command{
		Name:  "status",
		Usage: "say how the appliance is doing",
		Description: "Asks the running appliance; where none runs, reads what it left in the data directory.\n" +
			"With --check it prints one line and exits 0 (ok), 1 (warning) or 2 (critical), as monitoring plugins do.",
		Flags: append([]cli.Flag{
			&cli.BoolFlag{Name: "json", Usage: "everything, as JSON"},
			&cli.BoolFlag{Name: "check", Usage: "one line and an exit status for monitoring"},
			&cli.Uint64Flag{Name: "max-behind", Usage: "with --check: warn when a log is more than `N` entries behind; 0: never"},
			&cli.DurationFlag{Name: "max-age", Usage: "with --check: warn when undelivered entries wait longer than this `TIME`", Value: 10 * time.Minute},
		}, configFlags("data-dir")...),
		Action: func(c *cli.Context) error {
			cfg, err := configured(c, false)
			if err != nil {
				return err
			}
			st, err := readStatus(c.Context, cfg.DataDir)
			if err != nil {
				if c.Bool("check") {
					fmt.Fprintln(c.App.Writer, "CRITICAL:", err)
					return exitError(2)
				}
				return err
			}
			switch {
			case c.Bool("check"):
				level, line := checkStatus(st, c.Uint64("max-behind"), c.Duration("max-age"))
				fmt.Fprintln(c.App.Writer, line)
				if level > 0 {
					return exitError(level)
				}
				return nil
			case c.Bool("json"):
				e := json.NewEncoder(c.App.Writer)
				e.SetIndent("", "  ")
				return e.Encode(st)
			}
			return printStatus(c.App.Writer, st)
		},
	}
}

// readStatus asks the running appliance, or reads the files of a stopped one.
func readStatus(ctx context.Context, dir string) (*applianceStatus, error) {
	var st applianceStatus
	err := control(ctx, dir, "GET", "/status", nil, &st)
	if err == nil {
		return &st, nil
	}
	if !errors.Is(err, errNotRunning) {
		return nil, err
	}
	if info, err := os.Stat(dir); err == nil && !info.IsDir() {
		return nil, fmt.Errorf("%s is not a directory; point --data-dir at the directory of an appliance", quotePath(dir))
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
			st.Logs = append(st.Logs, ingest.LogStatus{Name: first(h.Name, "log "+hex.EncodeToString(s.Log[:4])), ID: hex.EncodeToString(s.Log[:]),
				Kind: h.Kind, URL: h.URL, Head: h.Size, HeadTime: h.Timestamp, State: "stopped", ETA: -1})
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
	return &st, nil
}

// checkStatus judges for monitoring: 0 ok, 1 warning, 2 critical.
func checkStatus(st *applianceStatus, maxBehind uint64, maxAge time.Duration) (level int, line string) {
	var critical, warning []string
	if !st.Running {
		critical = append(critical, "the appliance is not running")
	}
	critical = append(critical, printableAll(st.Alarms)...)
	var delivered, behind uint64
	for _, l := range st.Logs {
		delivered += l.Delivered
		lag := l.Wanted - min(l.Delivered, l.Wanted)
		behind += lag
		switch {
		case l.Halted != "":
			critical = append(critical, fmt.Sprintf("%s is halted: %s", printable(l.Name), printable(l.Halted)))
		case l.State == "retrying":
			warning = append(warning, fmt.Sprintf("%s does not answer: %s", printable(l.Name), printable(l.LastError)))
		case !l.Heads.BehindSince.IsZero() && time.Since(l.Heads.BehindSince) > time.Hour:
			warning = append(warning, fmt.Sprintf("%s shows smaller heads than it signed before, for %v", printable(l.Name), time.Since(l.Heads.BehindSince).Round(time.Minute)))
		case maxBehind > 0 && lag > maxBehind:
			warning = append(warning, fmt.Sprintf("%s is %d entries behind", printable(l.Name), lag))
		}
	}
	if st.Delivery.Trouble != "" {
		warning = append(warning, "delivery waits: "+printable(st.Delivery.Trouble))
	}
	if st.WAL.Stalled != "" {
		warning = append(warning, "WAL waits: "+printable(st.WAL.Stalled))
	}
	if since := latest(st.Delivery.Last, st.Since); st.Running && st.WAL.Undelivered > 0 && time.Since(since) > maxAge {
		warning = append(warning, fmt.Sprintf("nothing delivered for %v", time.Since(since).Round(time.Second)))
	}
	figures := fmt.Sprintf("%d logs, %d entries delivered, %d behind", len(st.Logs), delivered, behind)
	switch {
	case len(critical) > 0:
		return 2, "CRITICAL: " + strings.Join(append(critical, warning...), "; ") + " (" + figures + ")"
	case len(warning) > 0:
		return 1, "WARNING: " + strings.Join(warning, "; ") + " (" + figures + ")"
	}
	return 0, "OK: " + figures
}

// ago is how long ago t was by the wall clock, which may have been set since.
func ago(t time.Time) time.Duration { return max(0, time.Since(t).Round(time.Second)) }

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func printableAll(words []string) []string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = printable(w)
	}
	return out
}

// printStatus is the screen that people look at.
func printStatus(out io.Writer, st *applianceStatus) error {
	if st.Running {
		fmt.Fprintf(out, "running   pid %d, since %s (%v)\n", st.PID, st.Since.Local().Format("2006-01-02 15:04:05"), ago(st.Since))
	} else {
		fmt.Fprintln(out, "stopped   figures as of the last flush")
	}
	fmt.Fprintf(out, "wal       %s in %d segments", size(st.WAL.Bytes), st.WAL.Segments)
	if st.Running {
		fmt.Fprintf(out, ", budget %s, %d records undelivered", size(st.WAL.Budget), st.WAL.Undelivered)
	}
	if st.WAL.Stalled != "" {
		fmt.Fprintf(out, ", FETCHING WAITS: %s", printable(st.WAL.Stalled))
	}
	fmt.Fprintln(out)
	if st.Running {
		fmt.Fprintf(out, "delivery  %d rows since start, %.0f/s", st.Delivery.Rows, st.Delivery.Rate)
		if st.Delivery.InsertErrors > 0 {
			fmt.Fprintf(out, ", %d insert errors, %d rows inserted again", st.Delivery.InsertErrors, st.Delivery.Reinserted)
		}
		if st.Delivery.Trouble != "" {
			fmt.Fprintf(out, ", WAITS: %s", printable(st.Delivery.Trouble))
		}
		fmt.Fprintln(out)
	}
	if st.Engine != nil {
		fmt.Fprintf(out, "engine    %s at %s, pid %d, version %s, restarts %d\n", st.Engine.State, st.Engine.URL, st.Engine.PID, printable(st.Engine.Version), st.Engine.Restarts)
		if note := setAside(st); note != "" {
			fmt.Fprintf(out, "          %s\n", note)
		}
	}
	fmt.Fprintln(out)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "log\tkind\tstate\thead\tfetched\tverified\tdelivered\tbehind\tentries/s\tETA\tlimit\t")
	var total ingest.LogStatus
	for _, l := range st.Logs {
		limit := "-"
		if l.Pace != nil {
			limit = strconv.FormatFloat(l.Pace.Rate, 'f', precision(l.Pace.Rate), 64) + "/s"
			if l.Pace.Startup {
				limit = "none met"
			}
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%d\t%d\t%d\t%d\t%.0f\t%s\t%s\t\n", printable(l.Name), l.Kind, l.State, l.Head, l.Fetched, l.Verified, l.Delivered,
			l.Wanted-min(l.Delivered, l.Wanted), l.Rate, eta(l.ETA), limit)
		total.Fetched += l.Fetched
		total.Verified += l.Verified
		total.Delivered += l.Delivered
		total.Wanted += l.Wanted
		total.Rate += l.Rate
	}
	if len(st.Logs) > 1 {
		fmt.Fprintf(w, "all\t\t\t\t%d\t%d\t%d\t%d\t%.0f\t\t\t\n", total.Fetched, total.Verified, total.Delivered, total.Wanted-min(total.Delivered, total.Wanted), total.Rate)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(out, auditLine(st))
	for _, l := range st.Logs {
		if l.Halted != "" {
			fmt.Fprintf(out, "\nHALTED %s: %s\n", printable(l.Name), printable(l.Halted))
			if l.Evidence != "" {
				fmt.Fprintf(out, "  what it sent is kept in %s; after looking at it, 'run --resume-halted' goes on\n", quotePath(l.Evidence))
			}
		} else if since := l.Heads.BehindSince; !since.IsZero() {
			fmt.Fprintf(out, "\n%s: shows smaller heads than it signed before, since %s\n", printable(l.Name), since.Local().Format("2006-01-02 15:04:05"))
		} else if l.LastError != "" {
			fmt.Fprintf(out, "\n%s: last error %v ago: %s\n", printable(l.Name), ago(l.ErrorAt), printable(l.LastError))
		}
	}
	for _, a := range st.Alarms {
		fmt.Fprintf(out, "\nALARM %s\n", printable(a))
	}
	return nil
}

// precision gives three digits, more or less.
func precision(rate float64) int {
	switch {
	case rate >= 100:
		return 0
	case rate >= 1:
		return 1
	}
	return 3
}

// setAside says that the engine has put parts away that it could not read. An
// insert that was cut off leaves such parts too, and then nothing is missing.
func setAside(st *applianceStatus) string {
	if st.Engine == nil || st.Engine.SetAside == 0 {
		return ""
	}
	first := ""
	if len(st.Engine.Broken) > 0 {
		first = ", " + printable(st.Engine.Broken[0]) + " first"
	}
	return fmt.Sprintf("%d broken parts were set aside%s; 'ctappliance verify' says whether rows are missing, --repair fetches them again", st.Engine.SetAside, first)
}

// auditLine is the audits' verdict over all logs.
func auditLine(st *applianceStatus) string {
	var all ingest.Verdict
	audited := 0
	for _, l := range st.Logs {
		if v := l.Audit; v != nil && !v.At.IsZero() {
			audited++
			all.Entries += v.Entries
			all.Missing += v.Missing
			all.Doubled += v.Doubled
			all.Found += v.Found
			all.Tiles += v.Tiles
			all.At = latest(all.At, v.At)
		}
	}
	if audited == 0 {
		return "\naudit     none in this life yet; 'ctappliance verify' makes one"
	}
	line := fmt.Sprintf("\naudit     %d entries, %d missing, %d doubled, %d tiles fetched again; proven at %s", all.Entries, all.Missing, all.Doubled, all.Tiles, all.At.UTC().Format(time.RFC3339))
	if mended := all.Found - min(all.Missing+all.Doubled, all.Found); mended > 0 {
		line += fmt.Sprintf("\n          %d entries were missing or doubled since start and have been mended", mended)
	}
	return line
}

func eta(seconds float64) string {
	switch {
	case seconds < 0:
		return "-"
	case seconds == 0:
		return "now"
	}
	return time.Duration(seconds * float64(time.Second)).Round(time.Second).String()
}

// size prints bytes for people.
func size(n int64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
}
