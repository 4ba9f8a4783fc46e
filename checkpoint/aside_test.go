package checkpoint

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// Whatever the clock shows, the evidence of earlier damage is not replaced.
func TestSetAsideKeepsOlderEvidence(t *testing.T) {
	dir := t.TempDir()
	kept := map[string][]byte{}
	for i := range 3 {
		damaged := bytes.Repeat([]byte{byte('a' + i)}, 20_000)
		if err := os.WriteFile(filepath.Join(dir, FileName), damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		db, aside, err := Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		kept[aside] = damaged
	}
	if len(kept) != 3 {
		t.Errorf("three damaged files are kept under %d names", len(kept))
	}
	for aside, want := range kept {
		if b, err := os.ReadFile(aside); err != nil || !bytes.Equal(b, want) {
			t.Errorf("%s: %v, not what was damaged", aside, err)
		}
	}
}
