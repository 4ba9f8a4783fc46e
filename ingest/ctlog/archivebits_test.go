package ctlog

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ctappliance/ingest/ctlog/ctlogtest"
)

// A bit that a disk has flipped in a data tile, or in its hash tile, is damage
// that is named, before an entry of the tile is taken; with the whole file back
// it goes on.
func TestArchiveFlippedBits(t *testing.T) {
	l := archived()[ctlogtest.RFC6962]
	size := l.Size()
	for _, name := range []string{"tile/data/002", "tile/0/002"} {
		dir := t.TempDir()
		if err := ctlogtest.WriteDir(dir, l.Archive(ctlogtest.ArchiveOptions{})); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, filepath.FromSlash(name))
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		damaged := bytes.Clone(whole)
		damaged[len(damaged)-40] ^= 1 // of the last entry's chain in a data tile: not hashed
		damaged[20] ^= 1              // of the first entry
		write := func(b []byte) {
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		write(damaged)
		c := openArchive(t, archiveInfo(l, fileURL(dir)), archiveOptions)
		var bad *AnswerError
		if _, err := c.Entries(t.Context(), 512, 768, size); !errors.As(err, &bad) || !strings.Contains(err.Error(), "tile/data/002") || !strings.Contains(err.Error(), "damaged") {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := c.Entries(t.Context(), 256, 512, size); err != nil {
			t.Errorf("%s, the tile before: %v", name, err)
		}
		write(whole)
		b, err := openArchive(t, archiveInfo(l, fileURL(dir)), archiveOptions).Entries(t.Context(), 600, 700, size)
		if err != nil || len(b.Entries) != 100 || LeafHash(b.Entries[0].Leaf) != l.LeafHash(600) {
			t.Errorf("%s, whole again: %v", name, err)
		}
	}
}
