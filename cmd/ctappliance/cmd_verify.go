package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"ctappliance/cmd/ctappliance/config"
	"ctappliance/cmd/ctappliance/plain"
	"ctappliance/cmd/ctappliance/usage"
	"ctappliance/ingest"
	"ctappliance/ingest/ctlog"
	"ctappliance/store"
	"ctappliance/wal"
)

func verifyCommand() *cli.Command {
	return &cli.Command{
		Name:  "verify",
		Usage: "audit: WAL, checkpoint, subtree roots and ledger against each other and the logs",
		Description: "For every log that the data directory knows: counts the ledger against the delivered marks (missing,\n" +
			"doubled), folds the kept subtree roots and has the log prove them under its signed head, and fetches random\n" +
			"tiles again to compare them hash by hash and row by row. Reads every WAL record. Changes nothing; works\n" +
			"beside a running appliance. Exits 1 if anything is wrong.\n" +
			"With --repair it has fetched again exactly what is missing in the ledger: by the running appliance, or,\n" +
			"where none runs, by itself.",
		Flags: slices.Concat([]cli.Flag{
			&cli.BoolFlag{Name: "json", Usage: "the findings as JSON"},
			&cli.BoolFlag{Name: "repair", Usage: "have what is missing in the ledger fetched again"},
			&cli.BoolFlag{Name: "offline", Usage: "do not ask the logs"},
			&cli.IntFlag{Name: "tiles", Usage: "random tiles of each log to fetch again, `N`", Value: 5},
			&cli.Uint64Flag{Name: "lookups", Usage: "entries of each log, in one random stretch, whose certificates are looked up, `N`", Value: 1_000_000},
		}, profileFlags(), config.Flags()),
		Action: profiled(func(c *cli.Context) error {
			cfg, err := configured(c, false)
			if err != nil {
				return err
			}
			return verify(c, cfg)
		}),
	}
}

// logFindings is the audit of one log.
type logFindings struct {
	Log string `json:"log"`
	ID  string `json:"log_id"`
	ingest.Findings
	NotAsked string `json:"not_asked,omitempty"` // why the log itself was not asked
}

func verify(c *cli.Context, cfg *settings) error {
	ctx, out := c.Context, c.App.Writer
	cfg.quiet()
	st, err := readStatus(ctx, cfg.DataDir)
	if err != nil {
		return err
	}
	ledger, stop, err := cfg.reader(c)
	if err != nil {
		return err
	}
	defer func() { stop() }()
	if c.Bool("repair") && c.Bool("offline") {
		return usage.Errorf("repair: needs the logs, and --offline forbids to ask them; give one of the two")
	}
	clients := map[string]ctlog.Log{}
	var follows []ingest.Follow
	reason := "the log is not in the configuration"
	if c.Bool("offline") {
		reason = "--offline"
	} else if len(cfg.Logs)+len(cfg.LogNames) > 0 || cfg.FollowsLists() && cfg.Contact != "" {
		if err := cfg.ValidateLogs(); err != nil {
			return usage.Wrap(err)
		}
		if follows, err = cfg.follows(ctx); err != nil {
			return err
		}
		for _, f := range follows {
			id := f.Log.Info().ID
			clients[hex.EncodeToString(id[:])] = f.Log
		}
	}
	quiet := c.Bool("json") || !term.IsTerminal(int(os.Stderr.Fd()))
	var all []logFindings
	bad := 0
	for _, l := range st.Logs {
		id, err := hex.DecodeString(l.ID)
		if err != nil || len(id) != 32 {
			return fmt.Errorf("log ID %q of the checkpoint is not one", l.ID)
		}
		audit := &ingest.Audit{Dir: cfg.DataDir, Log: ctlog.Hash(id), Spans: l.Spans, Ledger: ledger, Client: clients[l.ID], Samples: c.Int("tiles"), Lookups: c.Uint64("lookups")}
		if client := clients[l.ID]; client != nil {
			l.Name = client.Info().Name
		}
		if !quiet {
			audit.Progress = func(what string) { fmt.Fprintf(stderr(c), "\r\x1b[K%s: %s", plain.Printable(l.Name), what) }
		}
		found, err := audit.Run(ctx)
		if !quiet {
			fmt.Fprint(stderr(c), "\r\x1b[K")
		}
		if err != nil {
			return fmt.Errorf("%s: %w", plain.Printable(l.Name), err)
		}
		f := logFindings{Log: l.Name, ID: l.ID, Findings: *found}
		if clients[l.ID] == nil {
			f.NotAsked = reason
		}
		if l.Halted != "" {
			f.Problems = append(f.Problems, "halted: "+l.Halted)
		}
		bad += len(f.Problems)
		all = append(all, f)
		if !c.Bool("json") {
			printFindings(c, &f)
		}
	}
	records, damaged, err := verifyWAL(cfg.DataDir)
	if err != nil {
		return err
	}
	bad += len(damaged)
	if c.Bool("json") {
		e := json.NewEncoder(out)
		e.SetIndent("", "  ")
		if err := e.Encode(map[string]any{"logs": all, "wal_records": records, "wal_damage": damaged, "at": time.Now().UTC()}); err != nil {
			return err
		}
	} else {
		fmt.Fprintf(out, "WAL: %d records, %d damaged stretches\n", records, len(damaged))
		for _, d := range damaged {
			fmt.Fprintf(out, "  PROBLEM %s\n", d)
		}
	}
	if c.Bool("repair") {
		stop() // the engine that was started to look; repairing starts its own
		stop = func() {}
		if err := cfg.repair(c, all, follows); err != nil {
			return err
		}
	}
	if bad > 0 {
		return fmt.Errorf("%d problems found", bad)
	}
	if !c.Bool("json") {
		fmt.Fprintf(out, "nothing missing, nothing doubled, as of %s\n", time.Now().UTC().Format(time.RFC3339))
	}
	return nil
}

// repair has the gaps that were found fetched again.
func (c *settings) repair(ctx *cli.Context, all []logFindings, follows []ingest.Follow) error {
	gaps := 0
	var mend []ingest.Follow
	for _, f := range all {
		for _, follow := range follows {
			id := follow.Log.Info().ID
			if hex.EncodeToString(id[:]) != f.ID || len(f.Gaps) == 0 {
				continue
			}
			follow.Spans, follow.Repairs = nil, f.Gaps
			mend = append(mend, follow)
			gaps += len(f.Gaps)
		}
		if len(f.Gaps) > 0 && f.NotAsked != "" {
			return fmt.Errorf("%s: nothing was repaired: %s", plain.Printable(f.Log), f.NotAsked)
		}
	}
	if gaps == 0 {
		fmt.Fprintln(stderr(ctx), "ctappliance: nothing is missing, so there is nothing to fetch again")
		return nil
	}
	for _, f := range mend {
		for _, gap := range f.Repairs {
			id := f.Log.Info().ID
			body, err := json.Marshal(ingest.SpanRequest{Log: hex.EncodeToString(id[:]), From: gap.From, To: gap.To})
			if err != nil {
				return err
			}
			err = control(ctx.Context, c.DataDir, "POST", "/repair", bytes.NewReader(body), &struct{}{})
			if errors.Is(err, errNotRunning) {
				return c.repairAlone(ctx, mend, gaps)
			}
			if err != nil {
				return err
			}
		}
	}
	fmt.Fprintf(stderr(ctx), "ctappliance: %d ranges handed to the running appliance; verify again when 'status' shows them delivered\n", gaps)
	return nil
}

// repairAlone runs a pipeline that does nothing but fetch the gaps again.
func (c *settings) repairAlone(ctx *cli.Context, mend []ingest.Follow, gaps int) error {
	err := c.runPipeline(ctx.Context, mend, c.operatorLog(ctx), func(pc *ingest.Config) func(context.Context, *ingest.Appliance) {
		pc.UntilDone = true
		return nil
	})
	if err == nil {
		fmt.Fprintf(stderr(ctx), "ctappliance: %d ranges fetched again and delivered; verify again to see\n", gaps)
	}
	return err
}

func printFindings(c *cli.Context, f *logFindings) {
	out := c.App.Writer
	fmt.Fprintf(out, "%s: %d entries, %d rows, %d missing, %d doubled; %d subtree roots kept, %d lost\n", plain.Printable(f.Log), f.Entries, f.Rows, f.Missing, f.Doubled, f.Roots, f.RootsLost)
	fmt.Fprintf(out, "  %d certificates looked up, %d not there\n", f.LookedUp, f.Orphans)
	switch {
	case f.NotAsked != "":
		fmt.Fprintf(out, "  the log was not asked: %s\n", f.NotAsked)
	default:
		if f.Proven > 0 {
			fmt.Fprintf(out, "  the roots up to %d hang under the log's signed head\n", f.Proven)
		}
		fmt.Fprintf(out, "  %d tiles fetched again and compared by hash and row\n", f.Tiles)
	}
	for i, p := range f.Problems {
		if i == 20 {
			fmt.Fprintf(out, "  and %d more\n", len(f.Problems)-i)
			break
		}
		fmt.Fprintf(out, "  PROBLEM %s\n", plain.Printable(p))
	}
}

// verifyWAL reads every record of the WAL.
func verifyWAL(dir string) (records int, damaged []string, err error) {
	err = wal.Verify(ingest.WALDir(dir), func(r wal.SegmentReport) error {
		records += r.Records
		for _, d := range r.Damage {
			damaged = append(damaged, d.Error())
		}
		return nil
	})
	var corrupt *wal.CorruptError
	if errors.As(err, &corrupt) {
		err = nil
	}
	return records, damaged, err
}

// reader opens the store for looking: that of the running appliance, the
// configured server, or the embedded engine for the time of the command.
func (c *settings) reader(ctx *cli.Context) (st *store.Store, stop func(), err error) {
	log := c.logger(stderr(ctx))
	sc := c.storeConfig(nil, log)
	end := func() {}
	if c.embedded() {
		access, stopEngine, err := c.storeAccess(ctx, log)
		if err != nil {
			return nil, nil, err
		}
		sc = store.Config{DSN: access.DSN, Database: c.Store.Database}
		end = stopEngine
	}
	sc.ReadOnly = true
	opening, cancel := context.WithTimeout(ctx.Context, time.Minute)
	defer cancel()
	st, err = store.Open(opening, sc)
	if err != nil {
		end()
		return nil, nil, err
	}
	return st, func() { st.Close(); end() }, nil
}
