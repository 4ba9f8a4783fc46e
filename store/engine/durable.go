package engine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// With fsync_after_insert and fsync_part_directory the library syncs the files
// of a part and the part's directory, before it renames the part from
// tmp_insert_… to the name that counts and after. It does not sync the table's
// directory, where that name is (ClickHouse's pull request 111861 came after
// this version), and the fdatasync of a directory whose own content has not
// changed need not commit the rename: ext4 would bring it to the disk within 5
// seconds, and until then an answered insert could be lost with the power. So
// the child does it, before it answers.

// nameSync brings names to the disk: it syncs those directories of the engine
// that have changed. Parts' own directories are the library's to sync.
type nameSync struct {
	root string // the engine's data directory

	mu    sync.Mutex
	known map[string]syncedDir
}

// syncedDir is when a directory was synced last, and what its time of
// modification was just before.
type syncedDir struct{ mod, at time.Time }

// tick is more than a file system's clock may stand still: two changes within
// it can have the same time.
const tick = 2 * time.Second

// Tables are at data/store/123/UUID or data/data/DATABASE/TABLE; parts below.
const tableDepth = 3

// sync returns when every name that was there before the call is on the disk.
// After an error nothing is known, now or later: the process must end, so that
// nobody takes what was written in its life for durable.
func (n *nameSync) sync() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	now := make(map[string]syncedDir, len(n.known))
	err := n.walk(n.root, 0, now)
	n.known = now
	return err
}

func (n *nameSync) walk(dir string, depth int, now map[string]syncedDir) error {
	st, err := os.Lstat(dir)
	if err == nil && !st.IsDir() {
		return nil
	}
	if err == nil {
		was, known := n.known[dir]
		if !known || !st.ModTime().Equal(was.mod) || was.at.Sub(was.mod) < tick {
			was = syncedDir{st.ModTime(), time.Now()}
			err = syncDir(dir)
		}
		now[dir] = was
	}
	var entries []fs.DirEntry
	if err == nil && depth < tableDepth {
		entries, err = os.ReadDir(dir)
	}
	if errors.Is(err, fs.ErrNotExist) && depth > 0 {
		return nil // a table dropped meanwhile
	}
	if err != nil {
		return fmt.Errorf("syncing engine directory: %w", err)
	}
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		if err := n.walk(filepath.Join(dir, e.Name()), depth+1, now); err != nil {
			return err
		}
	}
	return nil
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}
