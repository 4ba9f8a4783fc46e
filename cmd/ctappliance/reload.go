package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"ctappliance/cmd/ctappliance/config"
	"ctappliance/cmd/ctappliance/plain"
	"ctappliance/ingest/catalog"
)

const (
	savePaceEvery = 5 * time.Minute
	lookEvery     = 10 * time.Minute // at logs that have left the lists
	reloadWait    = 2 * time.Minute  // of the command for its answer
)

func reloadCommand() *cli.Command {
	return &cli.Command{
		Name:  "reload",
		Usage: "have a running appliance read its configuration again",
		Description: "Asks the appliance that runs on the data directory to read its config file again: which logs, lists and\n" +
			"limits, and the log level; and to ask for the lists now. It says what came of it. SIGHUP does the same.\n" +
			"Where the new configuration has a mistake, or changes what only a restart can, it says so and the old one\n" +
			"stays in force.",
		Flags: config.Flags("data-dir"),
		Action: func(c *cli.Context) error {
			cfg, err := configured(c, false)
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(c.Context, reloadWait)
			defer cancel()
			var done applied
			if err := control(ctx, cfg.DataDir, "POST", "/reload", nil, &done); err != nil {
				return err
			}
			fmt.Fprintf(c.App.Writer, "reloaded: %s\n", done)
			return nil
		},
	}
}

// String says what has changed on one line.
func (a applied) String() string {
	s := fmt.Sprintf("%d logs are followed", a.Followed)
	for _, part := range []struct {
		sign  string
		names []string
	}{{"new", a.Added}, {"no longer", a.Removed}} {
		if len(part.names) > 0 {
			s += fmt.Sprintf(", %d %s (%s)", len(part.names), part.sign, someNames(part.names))
		}
	}
	for _, l := range a.Lists {
		s += "; " + plain.Printable(l)
	}
	return s
}

// someNames lists the first few names.
func someNames(names []string) string {
	const most = 5
	out := strings.Join(plain.PrintableAll(names[:min(len(names), most)]), ", ")
	if len(names) > most {
		out += ", …"
	}
	return out
}

// hangups hands on the SIGHUPs of a process that reloads on them, until ctx
// ends. One that comes because our terminal was closed stops us instead. The
// signal stays caught: one that came while we stop would kill.
func hangups(ctx context.Context, stop func()) <-chan struct{} {
	stdin := int(os.Stdin.Fd())
	atTerminal := term.IsTerminal(stdin)
	caught, hup := make(chan os.Signal, 1), make(chan struct{}, 1)
	signal.Notify(caught, syscall.SIGHUP)
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-caught:
				if atTerminal && !term.IsTerminal(stdin) {
					stop()
					return
				}
				poke(hup)
			}
		}
	}()
	return hup
}

// run changes the set of logs while the pipeline p runs, until ctx ends. Each
// of hup reads the configuration again.
func (f *fleet) run(ctx context.Context, p pipeline, hup <-chan struct{}) {
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { f.keepLists(ctx) })
	wg.Go(func() { f.probeTiles(ctx, p) })
	defer func() { f.hosts.savePace(f.dir, f.now(), f.out) }()
	save, look := time.NewTicker(savePaceEvery), time.NewTicker(lookEvery)
	defer save.Stop()
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-hup:
			if _, err := f.reload(ctx, p); err != nil && ctx.Err() == nil {
				f.out.Error("reload refused, the old configuration stays in force", "err", plain.OneLine(err))
			}
		case <-f.kick:
			f.rechoose(ctx, p)
		case <-look.C:
			if f.vanished() {
				f.rechoose(ctx, p)
			}
		case <-save.C:
			f.hosts.savePace(f.dir, f.now(), f.out)
		}
	}
}

// keepLists keeps the lists fresh, whichever they are.
func (f *fleet) keepLists(ctx context.Context) {
	for ctx.Err() == nil {
		f.mu.Lock()
		lists := f.lists
		f.mu.Unlock()
		f.keepThese(ctx, lists)
	}
}

// keepThese keeps lists fresh until others take their place.
func (f *fleet) keepThese(ctx context.Context, lists *catalog.Catalog) {
	ctx, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	if lists != nil {
		wg.Go(func() { _ = lists.Run(ctx, func() { poke(f.kick) }) })
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-f.relist:
			return
		case <-f.again:
			if lists == nil {
				continue
			}
			if err := lists.Refresh(ctx); err != nil && ctx.Err() == nil {
				f.out.Warn("log lists not refreshed, the last good ones stay", "err", plain.OneLine(err))
			}
		}
	}
}

// poke puts a token into a channel that holds one.
func poke(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// rechoose applies the configuration in force anew, because the lists or
// something else about the logs has changed.
func (f *fleet) rechoose(ctx context.Context, p pipeline) {
	f.changing.Lock()
	defer f.changing.Unlock()
	done, err := f.apply(ctx, p, f.c, f.lists)
	switch {
	case ctx.Err() != nil:
	case err != nil:
		f.out.Error("change of the log lists not followed, the logs stay as they were", "err", plain.OneLine(err))
	case len(done.Added)+len(done.Removed) > 0:
		f.out.Info("logs chosen anew", "logs", done.Followed, "added", someNames(done.Added), "removed", someNames(done.Removed))
	}
}

// reload reads the configuration again and puts it in force, or leaves
// everything as it was.
func (f *fleet) reload(ctx context.Context, p pipeline) (applied, error) {
	f.changing.Lock()
	defer f.changing.Unlock()
	defer f.reloading()()
	next, err := f.reread()
	if err != nil {
		return applied{}, err
	}
	if keys := config.FixedChanges(&f.c.Config, &next.Config); len(keys) > 0 {
		return applied{}, fmt.Errorf("%s cannot be changed while the appliance runs; restart it, or put the old value back", strings.Join(keys, ", "))
	}
	lists, err := f.listsFor(ctx, next)
	if err != nil {
		return applied{}, err
	}
	asked, err := refreshLists(ctx, lists.Catalog)
	if err != nil && ctx.Err() == nil {
		f.out.Warn("log lists not refreshed, the last good ones stay", "err", plain.OneLine(err))
	}
	old := f.c
	f.hosts.use(next)
	done, err := f.apply(ctx, p, next, lists.Catalog)
	if err != nil {
		f.hosts.use(old)
		return applied{}, err
	}
	if next.level = old.level; next.level != nil {
		next.level.Set(next.logLevel())
	}
	if lists.replaced {
		poke(f.relist)
	}
	done.Lists = asked
	for _, w := range next.Warnings {
		f.out.Warn(w)
	}
	f.out.Info("configuration reloaded", "logs", done.Followed, "added", someNames(done.Added), "removed", someNames(done.Removed))
	return done, nil
}

// refreshLists asks for the lists as they are now, and says of each what came
// of it. Those that cannot be had stay as they were.
func refreshLists(ctx context.Context, lists *catalog.Catalog) (said []string, err error) {
	if lists == nil {
		return nil, nil
	}
	was := map[string]string{}
	for _, s := range lists.Sources() {
		was[s.Name] = s.Version
	}
	ctx, cancel := context.WithTimeout(ctx, fetchWait)
	defer cancel()
	err = lists.Refresh(ctx)
	for _, s := range lists.Sources() {
		switch {
		case s.Err != "":
			said = append(said, fmt.Sprintf("%s NOT READ, its last good copy stays: %s", s.Name, s.Err))
		case s.Version != was[s.Name]:
			said = append(said, fmt.Sprintf("%s read, version %s after %s", s.Name, plain.First(s.Version, "-"), plain.First(was[s.Name], "-")))
		default:
			said = append(said, fmt.Sprintf("%s read, version %s as before", s.Name, plain.First(s.Version, "-")))
		}
	}
	return said, err
}

// chosenLists are the lists of a configuration, and whether they are others
// than those in use.
type chosenLists struct {
	*catalog.Catalog
	replaced bool
}

// listsFor returns the lists that a configuration wants: those in use, where it
// wants the same.
func (f *fleet) listsFor(ctx context.Context, next *settings) (chosenLists, error) {
	if !next.NeedsLists() {
		return chosenLists{nil, f.lists != nil}, nil
	}
	if f.lists != nil && reflect.DeepEqual(f.c.Lists.Sources, next.Lists.Sources) && f.c.Lists.Refresh == next.Lists.Refresh &&
		f.c.AllowPrivate == next.AllowPrivate && f.c.Contact == next.Contact {
		return chosenLists{f.lists, false}, nil
	}
	lists, err := next.openLists(filepath.Join(f.dir, listsDir), f.out)
	if err != nil {
		return chosenLists{}, err
	}
	if err := fetchLists(ctx, lists); len(lists.Logs()) == 0 && len(next.Logs) == 0 {
		return chosenLists{}, errNoList(err)
	}
	return chosenLists{lists, true}, nil
}
