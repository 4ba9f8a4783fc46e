package catalog

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Rules choose among the known logs. The zero value is the default: all logs
// that can be followed, but for test logs and pending ones.
type Rules struct {
	include, exclude []rule
}

// rule is met by a log that meets all its terms.
type rule struct {
	text  string // as the user wrote it
	terms []term

	// What a rule must ask for by name.
	pending, test bool
}

// term is met by a log for which one of its tests holds.
type term struct {
	key   string
	tests []func(*Listed) bool
}

// Bounds of what a user, or somebody who may edit the configuration, can make
// us do for each log.
const (
	maxRules = 1000
	maxRule  = 500 // bytes
)

// keys are the words that a term may begin with.
var keys = []string{"operator", "name", "url", "id", "state", "kind", "interval", "list", "test"}

// ParseRules reads rules as users write them. A rule is one or more terms
// between commas or spaces, all of which must hold; a list of rules is met by
// a log that meets any of them. A log is followed if include is empty or met,
// and exclude is not met; see [Rules.Decide] for what no rule can change.
//
//	operator=google         a part of the operator's name
//	name=argon2026h1        a part of the log's name; the word alone means the same
//	url=ct.example.org      a host, or a host and the beginning of a path, of the log's URLs
//	id=a1b2c3…              the log ID, hex (eight digits or more of it) or base64
//	state=usable            usable, qualified, readonly, pending, retired, rejected
//	kind=static             rfc6962, static
//	interval=2026           the log takes certificates that expire in the year, the month (2026-07), the day, or
//	                        from one date until before another: 2026-01-01..2027-01-01, 2026-07.., ..2027
//	list=google             the name of a source that lists it
//	test=true               true, false
//
// Names are compared without case, quotes, dots, dashes and spaces; "*" stands
// for anything. "|" separates alternatives: kind=static, operator=google|apple.
// Double quotes keep together what has commas or spaces: operator="Let's
// Encrypt".
//
// The error has one line for every rule that is wrong.
func ParseRules(include, exclude []string) (Rules, error) {
	var r Rules
	var errs []error
	for _, part := range []struct {
		what  string
		texts []string
		rules *[]rule
	}{{"include", include, &r.include}, {"exclude", exclude, &r.exclude}} {
		if len(part.texts) > maxRules {
			errs = append(errs, fmt.Errorf("%s: %d rules; %d are the most", part.what, len(part.texts), maxRules))
			continue
		}
		for _, text := range part.texts {
			parsed, err := parseRule(text)
			if err != nil {
				errs = append(errs, fmt.Errorf("%s: rule %s: %w", part.what, quote(text), err))
				continue
			}
			*part.rules = append(*part.rules, parsed)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return Rules{}, err
	}
	return r, nil
}

func parseRule(text string) (rule, error) {
	if len(text) > maxRule {
		return rule{}, fmt.Errorf("it has more than %d bytes", maxRule)
	}
	words, err := splitTerms(text)
	if err != nil {
		return rule{}, err
	}
	if len(words) == 0 {
		return rule{}, errors.New(`it is empty; write a part of a log's name, or a term like operator=google; "*" is all logs`)
	}
	r := rule{text: strings.TrimSpace(text)}
	for _, word := range words {
		key, value, ok := strings.Cut(word, "=")
		if !ok || strings.TrimLeft(value, "=") == "" && isBase64ID(word) {
			key, value = "name", word
		}
		key = strings.ToLower(strings.TrimSpace(key))
		if !slices.Contains(keys, key) {
			return rule{}, fmt.Errorf("%s is not known; use %s", quote(key), strings.Join(keys, ", "))
		}
		t := term{key: key}
		for _, v := range strings.Split(value, "|") {
			v = strings.TrimSpace(v)
			if v == "" {
				return rule{}, fmt.Errorf("%s= says nothing; write a value behind it", key)
			}
			test, err := parseTest(key, v)
			if err != nil {
				return rule{}, err
			}
			t.tests = append(t.tests, test)
			r.pending = r.pending || key == "id" || key == "state" && strings.EqualFold(v, "pending")
			r.test = r.test || key == "id" || key == "test" && strings.EqualFold(v, "true")
		}
		r.terms = append(r.terms, t)
	}
	return r, nil
}

// splitTerms splits at commas and white space outside double quotes, which it
// removes.
func splitTerms(text string) ([]string, error) {
	var words []string
	var word strings.Builder
	quoted, began := false, false
	end := func() {
		if began {
			words = append(words, word.String())
		}
		word.Reset()
		began = false
	}
	for _, r := range text {
		switch {
		case r == '"':
			quoted, began = !quoted, true
		case !quoted && (r == ',' || r == ' ' || r == '\t' || r == '\n' || r == '\r'):
			end()
		default:
			word.WriteRune(r)
			began = true
		}
	}
	if quoted {
		return nil, errors.New("a double quote is not closed")
	}
	end()
	return words, nil
}

// isBase64ID reports whether a word is a log ID as lists print it, whose "="
// separates nothing.
func isBase64ID(word string) bool {
	b, err := base64.StdEncoding.DecodeString(word)
	return err == nil && len(b) == 32
}

func parseTest(key, v string) (func(*Listed) bool, error) {
	switch key {
	case "operator":
		p, err := namePattern(v)
		return func(l *Listed) bool { return p.within(fold(l.Operator)) }, err
	case "name":
		if id, err := parseIDPattern(v); err == nil && len(v) >= 43 {
			return id, nil // a whole ID is no part of a name
		}
		p, err := namePattern(v)
		return func(l *Listed) bool { return p.within(fold(l.Name)) }, err
	case "url":
		return parseURLPattern(v)
	case "id":
		return parseIDPattern(v)
	case "state":
		v = strings.ToLower(v)
		if alive(v) == unknownState {
			return nil, fmt.Errorf("state %s is not known; use usable, qualified, readonly, pending, retired or rejected", quote(v))
		}
		return func(l *Listed) bool { return l.State == v }, nil
	case "kind":
		v = strings.ToLower(v)
		if v != "rfc6962" && v != "static" {
			return nil, fmt.Errorf("kind %s is not known; use rfc6962 or static", quote(v))
		}
		return func(l *Listed) bool { return l.Kind.String() == v }, nil
	case "interval":
		from, until, err := parseInterval(v)
		return func(l *Listed) bool { return overlaps(l, from, until) }, err
	case "list":
		return func(l *Listed) bool {
			return slices.ContainsFunc(l.Lists, func(name string) bool { return strings.EqualFold(name, v) })
		}, nil
	default: // test
		v = strings.ToLower(v)
		if v != "true" && v != "false" {
			return nil, fmt.Errorf("test %s is not true or false", quote(v))
		}
		return func(l *Listed) bool { return l.Test == (v == "true") }, nil
	}
}

// pattern is text between stars.
type pattern []string

// within reports whether some part of s is of the pattern.
func (p pattern) within(s string) bool {
	for _, part := range p {
		i := strings.Index(s, part)
		if i < 0 {
			return false
		}
		s = s[i+len(part):]
	}
	return true
}

// begins reports whether s is of the pattern, or goes on with a "/" where the
// pattern ends.
func (p pattern) begins(s string) bool {
	first, ok := strings.CutPrefix(s, p[0])
	if !ok {
		return false
	}
	if len(p) == 1 {
		return first == "" || first[0] == '/'
	}
	last := p[len(p)-1]
	if !p[1 : len(p)-1].within(first) {
		return false
	}
	for _, part := range p[1 : len(p)-1] {
		_, first, _ = strings.Cut(first, part)
	}
	for {
		i := strings.Index(first, last)
		if i < 0 {
			return false
		}
		rest := first[i+len(last):]
		if last == "" || rest == "" || rest[0] == '/' {
			return true
		}
		first = first[i+1:]
	}
}

// fold is a name without what people leave out.
func fold(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '*':
			return r
		}
		return -1
	}, s)
}

func namePattern(v string) (pattern, error) {
	key := fold(v)
	if key == "" {
		return nil, fmt.Errorf("%s has no letter or digit to go by", quote(v))
	}
	return strings.Split(key, "*"), nil
}

// foldPlace is a URL without scheme and trailing slashes, in lower case.
func foldPlace(s string) string {
	if _, rest, ok := strings.Cut(s, "://"); ok {
		s = rest
	}
	return strings.ToLower(strings.TrimRight(s, "/"))
}

func parseURLPattern(v string) (func(*Listed) bool, error) {
	key := foldPlace(v)
	if strings.Trim(key, "*") == "" && !strings.Contains(key, "*") {
		return nil, fmt.Errorf("%s is no URL; write a host, or a host and the beginning of a path", quote(v))
	}
	p := pattern(strings.Split(key, "*"))
	return func(l *Listed) bool {
		return p.begins(foldPlace(l.URL)) || l.SubmissionURL != "" && p.begins(foldPlace(l.SubmissionURL))
	}, nil
}

func parseIDPattern(v string) (func(*Listed) bool, error) {
	if b, err := base64.StdEncoding.DecodeString(v); err == nil && len(b) == 32 {
		return func(l *Listed) bool { return string(l.ID[:]) == string(b) }, nil
	}
	v = strings.ToLower(v)
	if len(v) < 8 || len(v) > 64 || strings.Trim(v, "0123456789abcdef") != "" {
		return nil, fmt.Errorf("id %s is neither base64 of 32 bytes nor 8 to 64 hex digits", quote(v))
	}
	return func(l *Listed) bool { return strings.HasPrefix(hex.EncodeToString(l.ID[:]), v) }, nil
}

// parseInterval reads a year, month or day, or two of them with ".." between.
// A zero time is an open end.
func parseInterval(v string) (from, until time.Time, err error) {
	a, b, isRange := strings.Cut(v, "..")
	if !isRange {
		return parseDate(v)
	}
	if a == "" && b == "" {
		return from, until, errors.New(`interval ".." has no end; write one date at least`)
	}
	if a != "" {
		if from, _, err = parseDate(a); err != nil {
			return from, until, err
		}
	}
	if b != "" {
		if until, _, err = parseDate(b); err != nil {
			return from, until, err
		}
	}
	if a != "" && b != "" && !from.Before(until) {
		return from, until, fmt.Errorf("interval %s ends before it begins", quote(v))
	}
	return from, until, nil
}

// parseDate returns the first moment of a year, month or day, and the first
// one after it.
func parseDate(v string) (from, until time.Time, err error) {
	for _, f := range []struct {
		layout              string
		years, months, days int
	}{{"2006", 1, 0, 0}, {"2006-01", 0, 1, 0}, {time.DateOnly, 0, 0, 1}} {
		if from, err := time.Parse(f.layout, v); err == nil {
			return from, from.AddDate(f.years, f.months, f.days), nil
		}
	}
	return from, until, fmt.Errorf("interval %s is not a date; write 2026, 2026-07, 2026-07-01, or two of them as 2026-01-01..2027-01-01", quote(v))
}

// overlaps reports whether a log takes certificates that expire in [from,
// until). One without an interval takes all.
func overlaps(l *Listed, from, until time.Time) bool {
	if !l.End.IsZero() && !from.IsZero() && !from.Before(l.End) {
		return false
	}
	return l.Start.IsZero() || until.IsZero() || l.Start.Before(until)
}

// holds reports whether a log meets the rule.
func (r *rule) holds(l *Listed) bool {
	for i := range r.terms {
		if !slices.ContainsFunc(r.terms[i].tests, func(test func(*Listed) bool) bool { return test(l) }) {
			return false
		}
	}
	return true
}

func anyOf(rules []rule, l *Listed) *rule {
	for i := range rules {
		if rules[i].holds(l) {
			return &rules[i]
		}
	}
	return nil
}

// Unused returns the rules that no log meets, as the user wrote them and with
// "include " or "exclude " before them: a name that is mistyped, or a log that
// is no more.
func (r Rules) Unused(logs []Listed) []string {
	var out []string
	for _, part := range []struct {
		what  string
		rules []rule
	}{{"include ", r.include}, {"exclude ", r.exclude}} {
		for i := range part.rules {
			if !slices.ContainsFunc(logs, func(l Listed) bool { return part.rules[i].holds(&l) }) {
				out = append(out, part.what+part.rules[i].text)
			}
		}
	}
	return out
}
