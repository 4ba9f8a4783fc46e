package main

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"github.com/urfave/cli/v2"

	"ctappliance/cmd/ctappliance/config"
	"ctappliance/cmd/ctappliance/plain"
	"ctappliance/cmd/ctappliance/usage"
	"ctappliance/schema"
	"ctappliance/store"
	"ctappliance/store/engine"
)

// engineChildName is the command that the supervisor of the engine starts.
const engineChildName = "engine-child"

func engineChildCommand() *cli.Command {
	return &cli.Command{Name: engineChildName, Hidden: true, Action: func(c *cli.Context) error {
		return engine.Main(c.Context, engine.ChildOptions{})
	}}
}

func engineCommand() *cli.Command {
	return &cli.Command{
		Name:  "engine",
		Usage: "query the embedded ClickHouse, or serve it for curl and Grafana",
		Description: "Without arguments: starts the embedded engine on the data directory (or finds the one of the running\n" +
			"appliance), prints how to reach it and serves until Ctrl-C.\n" +
			"With a statement: runs it with a reader's rights and prints the rows, tab-separated, or in the FORMAT that\n" +
			"it ends with.\n\n" +
			"   ctappliance engine \"SELECT count() FROM ct.ledger\"",
		ArgsUsage: "[SQL]",
		Flags:     append([]cli.Flag{&cli.IntFlag{Name: "rows", Usage: "print `N` rows at most", Value: 10_000}}, config.Flags("data-dir", "engine", "store.database", "log")...),
		Action:    engineAction,
	}
}

func engineAction(c *cli.Context) error {
	statement := strings.Join(c.Args().Slice(), " ")
	cfg, err := load(c, false)
	if err != nil {
		return err
	}
	for _, word := range c.Args().Tail() {
		if strings.HasPrefix(word, "--") {
			return usage.Errorf("flags go before the statement: 'ctappliance engine %s … \"SELECT …\"'", plain.Printable(word))
		}
	}
	cfg.quiet()
	log := cfg.logger(stderr(c))
	if statement == "" {
		log = cfg.operatorLog(c) // it serves until it is told to stop
	}
	access, stop, err := cfg.storeAccess(c, log)
	if err != nil {
		return err
	}
	defer stop()
	out := forTerminal(c.App.Writer)
	if endsWithFormat.MatchString(statement) {
		return queryAsIs(c.Context, access.Reader, cfg.Store.Database, statement, out)
	}
	if statement != "" {
		st, err := store.Open(c.Context, store.Config{DSN: access.DSN, Database: cfg.Store.Database, ReadOnly: true})
		if err != nil {
			return err
		}
		defer st.Close()
		answer, err := st.Query(c.Context, c.Int("rows"), statement)
		if err != nil {
			return err
		}
		fmt.Fprintln(out, strings.Join(answer.Columns, "\t"))
		for _, row := range answer.Rows {
			fmt.Fprintln(out, strings.Join(row, "\t"))
		}
		if answer.More {
			fmt.Fprintf(stderr(c), "ctappliance: there are more rows; see --rows\n")
		}
		return nil
	}
	fmt.Fprintf(c.App.Writer, "ClickHouse answers at %s (read-only user), for example:\n\n  curl '%s' --data 'SELECT count() FROM %s.ledger'\n\nCtrl-C ends it.\n", access.Reader, access.Reader, cfg.Store.Database)
	<-c.Context.Done()
	return nil
}

// storeAccess reaches the engine of the running appliance, or starts one for
// the time of the command.
func (c *settings) storeAccess(ctx *cli.Context, log *slog.Logger) (access storeAccess, stop func(), err error) {
	err = control(ctx.Context, c.DataDir, "GET", "/store", nil, &access)
	if err == nil && !access.Embedded {
		return access, nil, errors.New("the running appliance uses a ClickHouse of yours; query that one")
	}
	if err == nil {
		return access, func() {}, nil
	}
	if !errors.Is(err, errNotRunning) {
		return access, nil, err
	}
	if _, err := os.Stat(c.engineDir()); err != nil {
		return access, nil, fmt.Errorf("there is no embedded store in %s; start with 'ctappliance run' or 'ctappliance demo', or point --data-dir at the right directory", c.DataDir)
	}
	e, err := c.startEngine(ctx.Context, log)
	if err != nil {
		return access, nil, err
	}
	return storeAccess{Embedded: true, DSN: e.DSN(), Reader: e.ReaderDSN()}, e.Stop, nil
}

func schemaCommand() *cli.Command {
	return &cli.Command{
		Name:  "schema",
		Usage: "print or apply the tables",
		Subcommands: []*cli.Command{
			{
				Name: "print", Usage: "print every statement, with comments on every column",
				Flags: config.Flags("store.database"),
				Action: func(c *cli.Context) error {
					cfg, err := configured(c, false)
					if err != nil {
						return err
					}
					text, err := schema.Print(cfg.Store.Database)
					if err != nil {
						return err
					}
					_, err = fmt.Fprint(c.App.Writer, text)
					return err
				},
			},
			{
				Name: "apply", Usage: "create what is missing in the store; 'run' does the same by itself",
				Flags: config.Flags("data-dir", "store", "engine", "log"),
				Action: func(c *cli.Context) error {
					cfg, err := configured(c, false)
					if err != nil {
						return err
					}
					if err := cfg.makeDataDir(); err != nil {
						return err
					}
					cfg.quiet()
					s, err := cfg.openSink(c.Context, cfg.logger(stderr(c)))
					if err != nil {
						return err
					}
					defer s.close()
					fmt.Fprintf(c.App.Writer, "schema version %d is in database %s\n", schema.Version, cfg.Store.Database)
					return nil
				},
			},
		},
	}
}
