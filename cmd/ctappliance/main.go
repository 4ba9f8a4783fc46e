package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/urfave/cli/v2"

	"ctappliance/cmd/ctappliance/usage"
)

// version is set by the linker for releases.
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	go func() {
		<-ctx.Done()
		stop() // a second Ctrl-C kills
	}()
	said := newMessages(os.Stderr)
	status := run(ctx, os.Args, os.Stdout, said)
	said.flush()
	os.Exit(status)
}

// exitError ends the process with a status of its own and says nothing more.
type exitError int

func (e exitError) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// run is main with its surroundings as arguments. It prints errors, each line
// once, and returns the exit status: 0 done, 1 failed, 2 used wrongly.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	app := &cli.App{
		Name:            "ctappliance",
		Usage:           "copy Certificate Transparency logs into ClickHouse and never lose the place",
		Version:         version,
		HideHelpCommand: true,
		Writer:          stdout,
		ErrWriter:       io.Discard, // what is wrong is said below, once
		Metadata:        map[string]any{stderrKey: stderr},
		ExitErrHandler:  func(*cli.Context, error) {},
		OnUsageError:    func(c *cli.Context, err error, _ bool) error { return usage.FlagError(c, err) },
		CommandNotFound: func(*cli.Context, string) {},
		Commands: []*cli.Command{
			runCommand(), backfillCommand(), statusCommand(), logsCommand(), reloadCommand(), profileCommand(), checkCommand(), verifyCommand(),
			walCommand(), schemaCommand(), engineCommand(), demoCommand(), engineChildCommand(),
		},
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return usage.NoCommand(c, "ctappliance", c.App.Commands)
			}
			return cli.ShowAppHelp(c)
		},
	}
	for _, c := range app.Commands {
		usage.Set(c)
	}
	err := app.RunContext(ctx, args)
	var exit exitError
	var usage *usage.Error
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return int(exit)
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		fmt.Fprintln(stderr, "ctappliance: interrupted")
		return 1
	}
	for line := range strings.SplitSeq(err.Error(), "\n") {
		fmt.Fprintf(stderr, "ctappliance: %s\n", line)
	}
	if errors.As(err, &usage) {
		return 2
	}
	return 1
}
