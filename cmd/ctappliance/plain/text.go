package plain

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Quote makes foreign text safe for one line on a terminal: ASCII, no control
// characters, at most 80 bytes of it.
func Quote(s string) string {
	if len(s) > 80 {
		return strconv.QuoteToASCII(s[:80]) + "…"
	}
	return strconv.QuoteToASCII(s)
}

// QuotePath quotes a path only where it holds what a terminal might act on.
func QuotePath(p string) string {
	if q := strconv.QuoteToASCII(p); len(q) != len(p)+2 {
		return q
	}
	return p
}

// Printable replaces what a terminal might act on, and keeps one line short.
func Printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s)
	if len(s) > 200 {
		s = s[:200]
	}
	return s
}

// PrintableAll is Printable for each of words.
func PrintableAll(words []string) []string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = Printable(w)
	}
	return out
}

// OnScreen keeps of a line what a terminal shows and does not act on, whoever
// chose it: printable ASCII.
func OnScreen(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s)
}

// Cut shortens s to width columns, with dots at its end.
func Cut(s string, width int) string {
	if len(s) <= width {
		return s
	}
	return s[:max(0, width-2)] + ".."
}

// LineError is an error that is one line, whatever it repeats of what the user
// wrote: the operating system's errors hold paths as they are.
type LineError struct{ Err error }

func (e LineError) Error() string {
	var b strings.Builder
	for _, r := range e.Err.Error() {
		if strconv.IsPrint(r) && r != utf8.RuneError {
			b.WriteRune(r)
		} else {
			q := strconv.QuoteRuneToASCII(r)
			b.WriteString(q[1 : len(q)-1])
		}
	}
	return b.String()
}

func (e LineError) Unwrap() error { return e.Err }

// OneLine is an error on one line: the first of what it says, and how much
// more there is.
func OneLine(err error) string {
	if err == nil {
		return ""
	}
	lines := strings.Split(err.Error(), "\n")
	text := LineError{Err: errors.New(lines[0])}.Error()
	if len(lines) > 1 {
		text += fmt.Sprintf(" (and %d more)", len(lines)-1)
	}
	return text
}

// First returns the first word that is not empty, or "".
func First(words ...string) string {
	for _, w := range words {
		if w != "" {
			return w
		}
	}
	return ""
}
