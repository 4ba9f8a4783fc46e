package report

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"ctappliance/cmd/ctappliance/plain"
)

// WatchFlag is --watch and --watch=TIME.
type WatchFlag struct{ Every time.Duration }

const watchDefault = 2 * time.Second

func (w *WatchFlag) String() string {
	if w == nil || w.Every == 0 {
		return ""
	}
	return w.Every.String()
}

// Set takes a time; the flag alone comes as "true".
func (w *WatchFlag) Set(s string) error {
	switch s {
	case "true":
		w.Every = watchDefault
		return nil
	case "false":
		w.Every = 0
		return nil
	}
	every, err := parseTime(s)
	if err != nil {
		return err
	}
	if every < 100*time.Millisecond {
		return fmt.Errorf("%s is too short; 100ms is the least", plain.Quote(s))
	}
	w.Every = every
	return nil
}

// IsBoolFlag lets the flag stand alone.
func (*WatchFlag) IsBoolFlag() bool { return true }

// Watch draws again and again until ctx ends, which is how one leaves it.
// On a terminal it draws in place, as much as fits; elsewhere one screen
// follows the other. The first error ends it, later ones are shown: appliances
// are started again.
func Watch(ctx context.Context, out io.Writer, every time.Duration, read func(context.Context) (*Status, error)) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	f, ok := out.(*os.File)
	terminal := ok && term.IsTerminal(int(f.Fd()))
	for seen := false; ; seen = true {
		st, err := read(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil && !seen {
			return err
		}
		d := displayOf(out)
		s := &screen{}
		if err != nil {
			s.add(red, "%s  %s", time.Now().Format(time.TimeOnly), err)
		} else {
			s = statusScreen(st, time.Now(), d.width)
		}
		if err := redraw(out, s, d, terminal, seen); err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// redraw prints a screen over the one before.
func redraw(out io.Writer, s *screen, d display, inPlace, again bool) error {
	if !inPlace {
		if again {
			if _, err := fmt.Fprintln(out); err != nil {
				return err
			}
		}
		return s.print(out, d, "")
	}
	if most := d.rows - 1; most > 1 && len(s.lines) > most {
		hidden := len(s.lines) - (most - 1)
		s.lines = s.lines[:most-1]
		s.add(bold, "... and %d more lines", hidden)
	}
	for i := range s.lines { // a line that wraps would push the first ones out
		s.lines[i].text = s.lines[i].text[:min(len(s.lines[i].text), d.width)]
	}
	var b strings.Builder
	b.WriteString("\x1b[H")
	if !again {
		b.WriteString("\x1b[2J")
	}
	if err := s.print(&b, d, "\x1b[K"); err != nil {
		return err
	}
	b.WriteString("\x1b[J")
	_, err := io.WriteString(out, b.String())
	return err
}
