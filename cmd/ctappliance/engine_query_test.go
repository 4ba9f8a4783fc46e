package main

import (
	"bytes"
	"testing"
)

// TestHarmless: what a terminal acts on does not reach it, however the bytes
// are cut into writes, and what people write does.
func TestHarmless(t *testing.T) {
	const in, want = "caf\u00e9\t\x1b[31m\u009b2J\x07\r\x7f\u00a0\n\u4e2d", "caf\u00e9\t?[31m\xc2?2J???\u00a0\n\u4e2d"
	for size := 1; size <= len(in); size++ {
		var out bytes.Buffer
		h := &harmless{w: &out}
		for rest := []byte(in); len(rest) > 0; rest = rest[min(size, len(rest)):] {
			if n, err := h.Write(rest[:min(size, len(rest))]); err != nil || n != min(size, len(rest)) {
				t.Fatal(n, err)
			}
		}
		if out.String() != want {
			t.Errorf("in pieces of %d: %q, want %q", size, out.String(), want)
		}
	}
}

func TestEndsWithFormat(t *testing.T) {
	for statement, want := range map[string]bool{
		"SELECT 1 FORMAT Vertical":       true,
		"select 1\nformat JSONEachRow ;": true,
		"SELECT 1":                       false,
		"SELECT format('{}', 1)":         false,
		"SELECT 1 FORMAT":                false,
		"SELECT ' FORMAT x' FROM t":      false,
		"SELECT count() FROM ct.ledger;": false,
	} {
		if got := endsWithFormat.MatchString(statement); got != want {
			t.Errorf("%q: %v", statement, got)
		}
	}
}
