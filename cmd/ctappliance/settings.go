package main

import (
	"log/slog"

	"github.com/urfave/cli/v2"

	"ctappliance/cmd/ctappliance/config"
	"ctappliance/cmd/ctappliance/usage"
)

// settings are what a command works with: the configuration, and what follows
// from the command that it is.
type settings struct {
	config.Config

	servesMetrics bool           // this command does: see listenMetrics
	level         *slog.LevelVar // of every logger made of these settings; a reload sets it
	fleet         *fleet         // the logs of run; nil for other commands
}

// configured reads the configuration; what is wrong with it is used wrongly.
func configured(c *cli.Context, talksToLogs bool) (*settings, error) {
	if err := usage.NoArguments(c); err != nil {
		return nil, err
	}
	return load(c, talksToLogs)
}

// load is configured for a command that has words of its own.
func load(c *cli.Context, talksToLogs bool) (*settings, error) {
	cfg, err := config.Load(c, talksToLogs)
	if err != nil {
		return nil, usage.Wrap(err)
	}
	return &settings{Config: *cfg}, nil
}
