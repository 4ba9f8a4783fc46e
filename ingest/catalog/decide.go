package catalog

import (
	"fmt"
	"strings"
	"time"
)

// Decision says whether a log is followed, and why in a few words for people.
type Decision struct {
	Follow bool
	Why    string
}

// Decide applies the rules to one log. now is for the words only: "its shard
// ended".
//
// In this order: an entry with a Problem, and a log that is retired, rejected
// or in a state that we do not know, is never followed. What an exclude rule
// names is not. A pending log is followed if an include rule that names it
// says state=pending or id=; a test log, if one says test=true or id=.
// All others are followed if there are no include rules, or one names them.
func (r Rules) Decide(l Listed, now time.Time) Decision {
	no := func(format string, args ...any) Decision { return Decision{false, fmt.Sprintf(format, args...)} }
	switch {
	case l.Problem != "":
		return no("%s", l.Problem)
	case l.State == "retired" || l.State == "rejected":
		return no("%s", stateSince(&l))
	case alive(l.State) == unknownState:
		return no("its state %s is not known", quote(l.State))
	}
	if e := anyOf(r.exclude, &l); e != nil {
		return no("excluded by %s", plain(e.text))
	}
	var by *rule
	named, pendingAsked, testAsked := len(r.include) == 0, false, false
	for i := range r.include {
		if in := &r.include[i]; in.holds(&l) {
			named = true
			if by == nil {
				by = in
			}
			pendingAsked = pendingAsked || in.pending
			testAsked = testAsked || in.test
		}
	}
	switch {
	case !named:
		return no("no include rule names it")
	case l.State == "pending" && !pendingAsked:
		return no("%s; include it with state=pending", lists(&l))
	case l.Test && !testAsked:
		return no("a test log; include it with test=true")
	}
	why := lists(&l)
	if l.State == "readonly" {
		why = stateSince(&l)
		if l.FinalSize > 0 {
			why += fmt.Sprintf(", ends at %d", l.FinalSize)
		}
		why += ", in " + strings.Join(l.Lists, ", ")
	}
	if by != nil {
		why += "; included by " + plain(by.text)
	}
	if !l.End.IsZero() && !l.End.After(now) {
		why += "; its shard ended on " + date(l.End)
	}
	return Decision{true, why}
}

// lists says in which lists a log has the state that counts, and what the
// others say: "usable in google, readonly in apple".
func lists(l *Listed) string {
	word := func(state string) string {
		if state == "" {
			return "listed"
		}
		if alive(state) == unknownState {
			return quote(state)
		}
		return state
	}
	if len(l.Lists) == 0 {
		return word(l.State)
	}
	var agree, others []string
	for i, name := range l.Lists {
		if i < len(l.States) && l.States[i] != l.State {
			others = append(others, word(l.States[i])+" in "+name)
			continue
		}
		agree = append(agree, name)
	}
	return strings.Join(append([]string{word(l.State) + " in " + strings.Join(agree, ", ")}, others...), ", ")
}

func stateSince(l *Listed) string {
	if l.StateSince.IsZero() {
		return l.State
	}
	return l.State + " since " + date(l.StateSince)
}

// plain is a rule as the user wrote it, quoted if a terminal could not show it.
func plain(text string) string {
	for _, r := range text {
		if r < ' ' || r > '~' {
			return quote(text)
		}
	}
	return text
}
