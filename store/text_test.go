package store

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestSafe(t *testing.T) {
	for in, want := range map[string]string{
		"":                     "",
		"www.example.com":      "www.example.com",
		"Ωmega — ünïcode 漢字":   "Ωmega — ünïcode 漢字",
		"\x1b[2J":              `\x1b[2J`,
		"a\x00\x7f\n\t\r":      `a\x00\x7f\n\t\r`,
		`C:\x`:                 `C:\\x`,
		"\xff\xc0":             `\xff\xc0`,
		"\u202egnp.exe":        `\u202egnp.exe`,
		"a\u200bb\ufeff\u2066": `a\u200bb\ufeff\u2066`,
		"\u0085\u009b":         `\u0085\u009b`,
		"\U000e0041":           `\U000e0041`,
		"\ufe0f\u3164\u00a0":   `\ufe0f\u3164\u00a0`,
		"\ufffd":               "\ufffd",
	} {
		if got := Safe(in); got != want {
			t.Errorf("Safe(%q) = %q, want %q", in, got, want)
		}
	}
}

func FuzzSafe(f *testing.F) {
	f.Add("a\x1b\u202e\xff\\")
	f.Fuzz(func(t *testing.T, s string) {
		got := Safe(s)
		if !utf8.ValidString(got) {
			t.Errorf("%q is not UTF-8", got)
		}
		if i := strings.IndexFunc(got, func(r rune) bool { return !printable(r) }); i >= 0 {
			t.Errorf("%q has an unprintable character at %d", got, i)
		}
	})
}

func FuzzUnescape(f *testing.F) {
	f.Add("a\tb\\\x00\n")
	f.Fuzz(func(t *testing.T, s string) {
		if got := unescape([]byte(escapeParam(s))); got != s {
			t.Errorf("%q became %q", s, got)
		}
		unescape([]byte(s))
	})
}
