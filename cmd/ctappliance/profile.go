package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"ctappliance/cmd/ctappliance/config"
	"ctappliance/cmd/ctappliance/plain"
	"ctappliance/cmd/ctappliance/usage"
)

// profileFlags are those of the commands that copy or check entries: profiles
// of the whole run, for 'go tool pprof'.
func profileFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "cpu-profile", Usage: "write where processor time went, from start to end, to `FILE` (for go tool pprof)"},
		&cli.StringFlag{Name: "heap-profile", Usage: "write what was allocated, from start to end, to `FILE` (for go tool pprof)"},
	}
}

// profiled runs a command's action with the profiles that its flags ask for.
// They are whole when it returns, also with an error; a kill leaves none. The
// engine is another process and in none of them.
func profiled(action cli.ActionFunc) cli.ActionFunc {
	return func(c *cli.Context) (err error) {
		create := func(flag string) *os.File {
			path := c.String(flag)
			if path == "" || err != nil {
				return nil
			}
			f, openErr := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
			if openErr != nil {
				err = usage.Errorf("--%s: %s cannot be written: %w; name another file", flag, plain.QuotePath(path), reason(openErr))
				return nil
			}
			return f
		}
		cpu, heap := create("cpu-profile"), create("heap-profile")
		finish := func(f *os.File, what string, write func() error) {
			if f == nil {
				return
			}
			writeErr := write()
			if err := errors.Join(writeErr, f.Close()); err != nil {
				fmt.Fprintf(stderr(c), "ctappliance: %s: %s\n", what, plain.OneLine(err))
			}
		}
		if err != nil {
			for _, f := range []*os.File{cpu, heap} {
				if f != nil {
					f.Close()
				}
			}
			return err
		}
		if cpu != nil {
			if err := pprof.StartCPUProfile(cpu); err != nil {
				return fmt.Errorf("--cpu-profile: %w", err)
			}
		}
		defer finish(heap, "--heap-profile", func() error {
			runtime.GC() // a heap profile is as of the last collection
			return pprof.Lookup("allocs").WriteTo(heap, 0)
		})
		defer finish(cpu, "--cpu-profile", func() error {
			pprof.StopCPUProfile() // writes it; that it failed shows in Close, or in its reader
			return nil
		})
		return action(c)
	}
}

// profileKinds are the profiles that a running appliance gives; those behind
// the first are as of now.
var profileKinds = []string{"cpu", "heap", "goroutine"}

// longestProfile is for how long a processor profile may run.
const longestProfile = 10 * time.Minute

func profileCommand() *cli.Command {
	return &cli.Command{
		Name:  "profile",
		Usage: "where the time and memory of a running appliance go",
		Description: "Writes a profile for 'go tool pprof' to standard output:\n\n" +
			"  ctappliance profile --seconds 30 > cpu.pprof\n" +
			"  ctappliance profile --kind heap > heap.pprof\n\n" +
			"It is of the appliance alone; the embedded engine is a process of its own.",
		Flags: append([]cli.Flag{
			&cli.StringFlag{Name: "kind", Usage: "cpu, heap (what is held and what was allocated), or goroutine", Value: profileKinds[0]},
			&cli.IntFlag{Name: "seconds", Usage: "how long processor time is looked at, `N`", Value: 10},
		}, config.Flags("data-dir")...),
		Action: func(c *cli.Context) error {
			kind, seconds := c.String("kind"), c.Int("seconds")
			if !slices.Contains(profileKinds, kind) {
				return usage.Errorf("--kind: %s is not one of %s", plain.Quote(kind), strings.Join(profileKinds, ", "))
			}
			if most := int(longestProfile.Seconds()); seconds < 1 || seconds > most {
				return usage.Errorf("--seconds: %d is not between 1 and %d", seconds, most)
			}
			cfg, err := configured(c, false)
			if err != nil {
				return err
			}
			if f, ok := c.App.Writer.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
				return usage.Errorf("a profile is not for reading on a terminal; write it to a file: ctappliance profile > cpu.pprof")
			}
			ctx, cancel := context.WithTimeout(c.Context, time.Duration(seconds)*time.Second+30*time.Second)
			defer cancel()
			profile, err := controlBytes(ctx, cfg.DataDir, "GET", fmt.Sprintf("/profile?kind=%s&seconds=%d", kind, seconds), nil)
			if err != nil {
				return err
			}
			_, err = c.App.Writer.Write(profile)
			return err
		},
	}
}

// serveProfile answers profileCommand.
func serveProfile(w http.ResponseWriter, r *http.Request) {
	kind := r.FormValue("kind")
	var b bytes.Buffer
	var err error
	if kind == profileKinds[0] {
		seconds, bad := strconv.ParseUint(r.FormValue("seconds"), 10, 16)
		if bad != nil || time.Duration(seconds)*time.Second > longestProfile {
			http.Error(w, "that is no number of seconds", http.StatusBadRequest)
			return
		}
		err = profileCPU(r.Context(), &b, time.Duration(seconds)*time.Second)
	} else if p := pprof.Lookup(kind); p != nil && slices.Contains(profileKinds, kind) {
		err = p.WriteTo(&b, 0)
	} else {
		http.Error(w, "there is no such profile", http.StatusBadRequest)
		return
	}
	if err != nil {
		http.Error(w, plain.OneLine(err), http.StatusConflict)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	_, _ = w.Write(b.Bytes())
}

// profileCPU looks where processor time goes until d is over, or the asker is
// gone.
func profileCPU(ctx context.Context, to io.Writer, d time.Duration) error {
	if err := pprof.StartCPUProfile(to); err != nil {
		return errors.New("a processor profile is being taken already; wait for its end")
	}
	defer pprof.StopCPUProfile()
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
