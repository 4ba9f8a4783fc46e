package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"

	"github.com/urfave/cli/v2"
	"golang.org/x/sync/errgroup"

	"ctappliance/cmd/ctappliance/config"
	"ctappliance/cmd/ctappliance/report"
	"ctappliance/ingest"
	"ctappliance/internal/durable"
)

func runCommand() *cli.Command {
	return &cli.Command{
		Name:  "run",
		Usage: "follow logs for ever",
		Description: "Follows all logs that matter, by the log lists of Google and Apple, or those that the configuration\n" +
			"names; 'ctappliance logs' says which and why. A contact address is all that must be configured. It may be\n" +
			"stopped and killed at any time and goes on exactly where it was. 'ctappliance status' shows how it is\n" +
			"doing; 'ctappliance reload' (or SIGHUP) puts a changed configuration in force.",
		Flags: slices.Concat([]cli.Flag{resumeHaltedFlag()}, profileFlags(), config.Flags()),
		Action: profiled(func(c *cli.Context) error {
			cfg, err := configured(c, true)
			if err != nil {
				return err
			}
			log := cfg.operatorLog(c)
			for _, w := range cfg.Warnings {
				log.Warn(w)
			}
			ctx, stop := context.WithCancel(c.Context)
			defer stop()
			hup := hangups(ctx, stop)
			f := newFleet(cfg, log)
			f.reread = func() (*settings, error) { return configured(c, true) }
			f.probe = f.hosts.probeTiles
			if err := cfg.alone(); err != nil {
				return err
			}
			logs, err := f.begin(ctx)
			if err != nil {
				return stoppedAtStart(ctx, err)
			}
			if err := cfg.makeDataDir(); err != nil {
				return err
			}
			err = cfg.runPipeline(ctx, logs, log, func(pc *ingest.Config) func(context.Context, *ingest.Appliance) {
				pc.ResumeHalted = c.Bool(resumeHalted)
				cfg.servesMetrics, cfg.fleet = true, f
				return func(ctx context.Context, a *ingest.Appliance) { f.run(ctx, a, hup) }
			})
			return stoppedAtStart(ctx, err)
		}),
	}
}

// alone says so where another process works in the data directory: the notes
// that a fleet keeps there are that one's, and lists need not be waited for.
func (c *settings) alone() error {
	unlock, err := durable.Lock(filepath.Join(c.DataDir, "lock"))
	if held := (*durable.LockedError)(nil); errors.As(err, &held) {
		return &ingest.InUseError{Dir: c.DataDir, Err: err}
	}
	if err != nil {
		return nil // there is no directory yet, or the start says what is wrong with it
	}
	return unlock()
}

// stoppedAtStart drops the error that only says that we were told to stop while
// starting.
func stoppedAtStart(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

const resumeHalted = "resume-halted"

// resumeHaltedFlag is how an operator who has looked at the evidence lets a
// halted log go on.
func resumeHaltedFlag() cli.Flag {
	return &cli.BoolFlag{Name: resumeHalted, Usage: "let logs go on that were halted because they did not verify: what they had not vouched for is taken out of the store and fetched again; one that still does not verify halts again"}
}

// runPipeline opens the store and the pipeline and runs both with the control
// socket. adjust may change the pipeline's configuration; watch, if the
// adjusted configuration has one, runs beside it.
func (cfg *settings) runPipeline(ctx context.Context, logs []ingest.Follow, log *slog.Logger, adjust func(*ingest.Config) (watch func(context.Context, *ingest.Appliance))) error {
	cfg.limitMemory()
	// The data directory is locked before the engine starts, so that the error
	// of a second appliance is about the directory and not about a port.
	lazy := &lateSink{}
	pc := cfg.pipeline(lazy, logs, log)
	var watch func(context.Context, *ingest.Appliance)
	if adjust != nil {
		watch = adjust(&pc)
	}
	a, err := ingest.Open(pc)
	if err != nil {
		return err
	}
	defer func() {
		if err := a.Close(); err != nil {
			log.Warn("closing", "err", err)
		}
	}()
	metrics, err := cfg.listenMetrics(ctx, log)
	if err != nil {
		return err
	}
	if metrics != nil {
		defer metrics.Close()
	}
	s, err := cfg.openSink(ctx, log)
	if err != nil {
		return err
	}
	defer s.close()
	lazy.Sink = s.Sink
	sweepState(cfg.DataDir, log)
	if err := cfg.noteStoreSeen(); err != nil {
		return fmt.Errorf("writing to data directory: %w", err)
	}
	log.Info("started", "version", version, "data_dir", cfg.DataDir, "logs", len(logs), "embedded", cfg.embedded())

	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var g errgroup.Group
	g.Go(func() error {
		defer stop()
		return a.Run(ctx)
	})
	manager := newNotifier(cfg.DataDir, log)
	reports := &report.Reporter{Dir: cfg.DataDir, Pipeline: a.Status, Engine: s.engine}
	reload := func(context.Context) (applied, error) { return applied{}, errNoReload }
	if f := cfg.fleet; f != nil {
		reports.Lists, f.reloading = f.listStatuses, manager.reload
		reload = func(ctx context.Context) (applied, error) { return f.reload(ctx, a) }
	}
	g.Go(func() error {
		reports.Run(ctx)
		return nil
	})
	g.Go(func() error {
		manager.run(ctx)
		return nil
	})
	if cfg.fleet != nil {
		g.Go(func() error {
			report.Summarize(ctx, reports.Status, log)
			return nil
		})
	}
	g.Go(func() error {
		err := serveControl(ctx, cfg.DataDir, a, s.engine, reports.Status, reload)
		if err != nil {
			stop()
		}
		return err
	})
	if metrics != nil {
		g.Go(func() error {
			serveMetrics(ctx, metrics, cfg.Metrics.Token, reports.Status, log)
			return nil
		})
	}
	if watch != nil {
		g.Go(func() error {
			watch(ctx, a)
			return nil
		})
	}
	err = g.Wait()
	log.Info("stopped")
	return err
}

// lateSink is a sink that is known only after the pipeline was opened, and
// before it runs.
type lateSink struct{ ingest.Sink }
