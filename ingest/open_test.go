package ingest

import (
	"os"
	"path/filepath"
	"testing"
)

// A directory with something unusable in it is an error that can be mended:
// nothing panics, and nothing stays locked.
func TestOpenThatFailsLetsGo(t *testing.T) {
	for _, name := range []string{"checkpoint.db", "chains.bin", "roots", "wal"} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, name)
			var err error
			if filepath.Ext(name) == "" {
				err = os.WriteFile(path, nil, 0o600) // where a directory belongs
			} else {
				err = os.Mkdir(path, 0o700) // where a file belongs
			}
			if err != nil {
				t.Fatal(err)
			}
			c := Config{Dir: dir, Sink: newMemSink()}
			if a, err := Open(c); err == nil {
				a.Close()
				t.Fatal("it opened")
			}
			if err := os.RemoveAll(path); err != nil {
				t.Fatal(err)
			}
			a, err := Open(c)
			if err != nil {
				t.Fatalf("mended, it does not open: %v", err)
			}
			if err := a.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}
