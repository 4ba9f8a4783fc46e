package catalog

import (
	"log/slog"
	"time"

	"ctappliance/ingest/ctlog"
)

// What is what happened to a log between two generations of the catalog.
type What string

// The kinds of Change.
const (
	Appeared     What = "appeared"
	Gone         What = "gone" // no list names it any more
	StateChanged What = "state changed"
	Moved        What = "moved" // URL, submission URL or kind
	Renamed      What = "renamed"
	Altered      What = "altered" // interval, final tree head, test, problem
)

// Change is one thing that happened to one log. Old is zero for Appeared, New
// for Gone.
type Change struct {
	What     What
	Old, New Listed
}

// Log returns the log as it is now, or was if it is gone.
func (c *Change) Log() *Listed {
	if c.What == Gone {
		return &c.Old
	}
	return &c.New
}

// Diff returns what happened between two generations, by log ID: first what
// is new or changed, in the order of new, then what is gone, in the order of
// old. Which lists name a log is not an event by itself.
func Diff(old, new []Listed) []Change {
	before := make(map[ctlog.Hash]*Listed, len(old))
	for i := range old {
		before[old[i].ID] = &old[i]
	}
	var out []Change
	kept := make(map[ctlog.Hash]bool, len(new))
	for _, n := range new {
		kept[n.ID] = true
		o := before[n.ID]
		if o == nil {
			out = append(out, Change{What: Appeared, New: n})
			continue
		}
		add := func(what What, differs bool) {
			if differs {
				out = append(out, Change{what, *o, n})
			}
		}
		add(StateChanged, o.State != n.State)
		add(Moved, o.URL != n.URL || o.SubmissionURL != n.SubmissionURL || o.Kind != n.Kind)
		add(Renamed, o.Name != n.Name || o.Operator != n.Operator)
		add(Altered, !o.Start.Equal(n.Start) || !o.End.Equal(n.End) || o.Test != n.Test || o.Problem != n.Problem ||
			o.State == n.State && (o.FinalSize != n.FinalSize || o.FinalRoot != n.FinalRoot))
	}
	for _, o := range old {
		if !kept[o.ID] {
			out = append(out, Change{What: Gone, Old: o})
		}
	}
	return out
}

// maxChangeLines bounds what one new list may write into the log.
const maxChangeLines = 100

// logChanges writes one line per change.
func logChanges(logger *slog.Logger, changes []Change) {
	for i, c := range changes {
		if i == maxChangeLines {
			logger.Info("more changes in the log lists", "changes", len(changes)-i)
			return
		}
		l := c.Log()
		attrs := []any{"log", l.Name, "operator", l.Operator}
		switch c.What {
		case Appeared:
			logger.Info("log appeared", append(attrs, "state", l.State, "kind", l.Kind.String(), "url", l.URL, "from", date(l.Start), "until", date(l.End), "lists", l.Lists)...)
		case Gone:
			logger.Info("log gone from all lists", append(attrs, "state", l.State, "until", date(l.End))...)
		case StateChanged:
			attrs = append(attrs, "was", c.Old.State, "state", l.State, "since", date(l.StateSince))
			if l.FinalSize > 0 {
				attrs = append(attrs, "final", l.FinalSize)
			}
			logger.Info("log changed its state", attrs...)
		case Moved:
			logger.Info("log moved", append(attrs, "was", c.Old.URL, "url", l.URL, "kind", l.Kind.String())...)
		case Renamed:
			logger.Info("log renamed", append(attrs, "was", c.Old.Name, "was_operator", c.Old.Operator)...)
		case Altered:
			logger.Info("log altered", append(attrs, "from", date(l.Start), "until", date(l.End), "final", l.FinalSize, "test", l.Test, "reason", l.Problem)...)
		}
	}
}

// date is a day for people; empty if there is none.
func date(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.DateOnly)
}
