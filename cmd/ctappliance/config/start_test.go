package config

import (
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

// What is printed of a start is read as the same start, and an index that looks
// like a date is neither guessed at nor refused where it is called one.
func TestStartText(t *testing.T) {
	for text, want := range map[string]string{
		"zero": "zero", "0": "zero", "index:0": "zero", "now+history": "now+history", "12": "12", "index:12": "12",
		"2026-01-01+history": "2026-01-01+history", "index:20260101": "index:20260101", "index:20260101+history": "index:20260101+history",
		"20261301": "20261301", "19991231": "19991231", "120260101": "120260101", "2026010": "2026010",
	} {
		var s, again Start
		if err := s.UnmarshalText([]byte(text)); err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if err := again.UnmarshalText([]byte(s.String())); err != nil || again != s || s.String() != want {
			t.Errorf("%s is %s, which is read as %s: %v", text, s, again, err)
		}
	}
	for _, text := range []string{"20260101", "20260101+history"} {
		var s Start
		if err := s.UnmarshalText([]byte(text)); err == nil || !strings.HasSuffix(err.Error(), "; write 2026-01-01 or index:20260101") {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// The help is for terminals: no Markdown in it.
func TestHelpIsPlain(t *testing.T) {
	for _, f := range Flags() {
		usage := f.(cli.DocGenerationFlag).GetUsage()
		// Two backquotes mark the word for the value.
		if strings.Contains(usage, "#") || strings.Contains(usage, "](") || strings.Count(usage, "`") > 2 {
			t.Errorf("--%s: %s", f.Names()[0], usage)
		}
	}
}
