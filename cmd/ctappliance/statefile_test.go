package main

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"ctappliance/internal/durable"
)

// What a kill has left of a file that was not whole yet is gone after the next
// start, and nothing else.
func TestSweepState(t *testing.T) {
	dir := t.TempDir()
	keep := []string{paceFile, followedFile, tilesFile, "other" + tempSuffix}
	for _, name := range append([]string{paceFile + tempSuffix, tilesFile + tempSuffix}, keep...) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("{}"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	sweepState(dir, slog.New(slog.DiscardHandler))
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != len(keep) {
		t.Errorf("%d files are left: %v", len(left), err)
	}
	for _, name := range keep {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
	// It is the suffix that durable.WriteFile uses.
	if err := os.Mkdir(filepath.Join(dir, paceFile+tempSuffix), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := durable.WriteFile(durable.OS{}, filepath.Join(dir, paceFile), nil, 0o600); err == nil {
		t.Error("WriteFile goes by way of another file")
	}
}
