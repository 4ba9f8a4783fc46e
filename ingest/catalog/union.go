package catalog

import (
	"bytes"
	"cmp"
	"slices"
	"time"

	"ctappliance/ingest/ctlog"
)

// Listed is a log with the lists that name it.
type Listed struct {
	ctlog.Info
	Lists  []string // names of sources, in the order of Options.Sources
	States []string // what each of Lists says of its state
}

// equal reports whether nothing about a log differs.
func (l Listed) equal(o Listed) bool {
	return l.ID == o.ID && bytes.Equal(l.Key, o.Key) && l.Name == o.Name && l.Operator == o.Operator &&
		l.Kind == o.Kind && l.URL == o.URL && l.SubmissionURL == o.SubmissionURL && l.MMD == o.MMD &&
		l.State == o.State && l.StateSince.Equal(o.StateSince) && l.Start.Equal(o.Start) && l.End.Equal(o.End) &&
		l.FinalSize == o.FinalSize && l.FinalRoot == o.FinalRoot && l.Test == o.Test &&
		l.TileURL == o.TileURL && l.Problem == o.Problem &&
		slices.Equal(l.Lists, o.Lists) && slices.Equal(l.States, o.States)
}

// The states of log list schemas, the more alive the higher. What a list does
// not say is 0; a state that is not here is unknownState.
var aliveness = map[string]int{"": 0, "rejected": 2, "retired": 3, "pending": 4, "readonly": 5, "qualified": 6, "usable": 7}

const unknownState = 1

func alive(state string) int {
	if n, ok := aliveness[state]; ok {
		return n
	}
	return unknownState
}

// said is what one list says of a log.
type said struct {
	info   ctlog.Info
	list   string
	source int
	at     time.Time // of the list
}

// futureDated is how far ahead of our clock an unsigned list may be dated
// before its date counts for nothing.
const futureDated = 24 * time.Hour

// date returns a list's timestamp as far as it is to be believed.
func (g *goodList) date(now time.Time) time.Time {
	if g.dubious(now) {
		return time.Time{}
	}
	return g.list.Timestamp
}

// union joins the last good lists. The caller holds c.mu, or is alone.
func (c *Catalog) union(now time.Time) []Listed {
	byID := map[ctlog.Hash][]said{}
	for i, s := range c.sources {
		if s.good == nil {
			continue
		}
		for _, info := range s.good.list.Logs {
			byID[info.ID] = append(byID[info.ID], said{info, s.Name, i, s.good.date(now)})
		}
	}
	out := make([]Listed, 0, len(byID))
	for _, words := range byID {
		out = append(out, merge(words))
	}
	sortListed(out)
	return out
}

// merge makes one log of what lists say of it, see the package comment. words
// are in the order of sources and of the lists.
func merge(words []said) Listed {
	if sound := slices.DeleteFunc(slices.Clone(words), func(w said) bool { return w.info.Problem != "" }); len(sound) > 0 {
		words = sound
	}
	// Newest first; stable, so that equals keep the order of sources.
	slices.SortStableFunc(words, func(a, b said) int { return b.at.Compare(a.at) })
	l := Listed{Info: words[0].info}
	for _, w := range words[1:] {
		if alive(w.info.State) > alive(l.State) {
			l.State, l.StateSince, l.FinalSize, l.FinalRoot = w.info.State, w.info.StateSince, w.info.FinalSize, w.info.FinalRoot
		}
		l.Test = l.Test && w.info.Test
	}
	for _, w := range words {
		if w.info.State != l.State {
			continue
		}
		if l.StateSince.IsZero() {
			l.StateSince = w.info.StateSince
		}
		if l.FinalSize == 0 {
			l.FinalSize, l.FinalRoot = w.info.FinalSize, w.info.FinalRoot
		}
	}
	slices.SortStableFunc(words, func(a, b said) int { return cmp.Compare(a.source, b.source) })
	for _, w := range words {
		if !slices.Contains(l.Lists, w.list) {
			l.Lists, l.States = append(l.Lists, w.list), append(l.States, w.info.State)
		}
	}
	return l
}
