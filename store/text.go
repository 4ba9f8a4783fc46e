package store

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Safe returns s in a form that can be printed on a terminal: control
// characters, bidirectional and other format characters, private and
// unassigned code points and bytes that are not UTF-8 appear as escapes
// (\n, \x1b, \u202e), and a backslash as two. Everything else is as it was.
//
// Names, issuers, error texts and log names are chosen by strangers (CWE-150).
func Safe(s string) string {
	i := 0
	for i < len(s) && s[i] >= ' ' && s[i] < 0x7f && s[i] != '\\' {
		i++
	}
	if i == len(s) {
		return s
	}
	var b strings.Builder
	b.Grow(len(s) + 16)
	b.WriteString(s[:i])
	for i < len(s) {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case r == '\\':
			b.WriteString(`\\`)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case r == '\r':
			b.WriteString(`\r`)
		case r < ' ' || r == 0x7f:
			fmt.Fprintf(&b, `\x%02x`, r)
		case !printable(r):
			if r > 0xffff {
				fmt.Fprintf(&b, `\U%08x`, r)
			} else {
				fmt.Fprintf(&b, `\u%04x`, r)
			}
		default:
			b.WriteRune(r)
		}
		i += n
	}
	return b.String()
}

// printable reports whether r shows as itself and moves nothing else.
func printable(r rune) bool {
	// unicode.IsPrint leaves out categories Cc, Cf (bidi controls, zero-width
	// joiners, BOM), Co, Cs, Cn and all spaces but the ASCII one. Variation
	// selectors and the Hangul fillers are marks and letters that show nothing.
	switch {
	case r >= 0xfe00 && r <= 0xfe0f, r >= 0xe0100 && r <= 0xe01ef,
		r == 0x115f, r == 0x1160, r == 0x3164, r == 0xffa0, r == 0x034f, r == 0x17b4, r == 0x17b5:
		return false
	}
	return unicode.IsPrint(r)
}

// safeLine is Safe for an error text: at most max bytes of it.
func safeLine(s string, max int) string {
	s = Safe(strings.TrimSpace(s))
	if len(s) > max {
		s = strings.ToValidUTF8(s[:max], "") + "…"
	}
	return s
}
