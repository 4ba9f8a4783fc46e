package durable

import (
	"os"
	"path/filepath"
	"testing"
)

// What was set aside stays, however often the clock shows the same second.
func TestAsideIsNew(t *testing.T) {
	name := filepath.Join(t.TempDir(), "file")
	seen := map[string]bool{}
	for range 5 {
		aside := Aside(name)
		if seen[aside] {
			t.Fatalf("%s twice", aside)
		}
		seen[aside] = true
		if err := os.WriteFile(aside, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
