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
// that have changed, and checks the parts in them that are new. Parts' own
// directories are the library's to sync.
type nameSync struct {
	root string // the engine's data directory

	mu   sync.Mutex
	next *syncPass // that has not begun; nil if nobody waits for one
	last *syncPass // the newest that anybody waits for; passes run one after the other

	known map[string]syncedDir // the running pass's
	begun func()               // called when a pass has begun, in tests
}

// syncPass is one walk over the directories, for all who asked before it began:
// inserts that end together share it.
type syncPass struct {
	done chan struct{}
	err  error
}

// syncedDir is when a directory was synced last, what its time of modification
// was just before, and which parts were in it just after.
type syncedDir struct {
	mod, at time.Time
	parts   map[string]bool
}

// tick is more than a file system's clock may stand still: two changes within
// it can have the same time.
const tick = 2 * time.Second

// Tables are at data/store/123/UUID or data/data/DATABASE/TABLE; parts below.
const tableDepth = 3

// begin takes the parts that there are for whole; it comes before the library,
// which looks at them when it loads them.
func (n *nameSync) begin() error {
	n.known = map[string]syncedDir{}
	err := filepath.WalkDir(n.root, func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || !e.IsDir() {
			return err
		}
		if isPart(e.Name()) {
			table := n.known[filepath.Dir(path)]
			if table.parts == nil {
				table.parts = map[string]bool{}
			}
			table.parts[e.Name()] = true
			n.known[filepath.Dir(path)] = table
			return filepath.SkipDir
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("listing parts: %w", err)
	}
	return nil
}

// sync returns when every name that was there before the call is on the disk,
// and every part that was is what it should be.
// After an error nothing is known, now or later: the process must end, so that
// nobody takes what was written in its life for durable.
func (n *nameSync) sync() error {
	n.mu.Lock()
	p, before := n.next, n.last
	leads := p == nil
	if leads {
		p = &syncPass{done: make(chan struct{})}
		n.next, n.last = p, p
	}
	n.mu.Unlock()
	if leads {
		if before != nil {
			<-before.done
		}
		n.mu.Lock()
		n.next = nil // who asks from here on may have names that this pass does not see
		n.mu.Unlock()
		p.err = n.pass()
		close(p.done)
	}
	<-p.done
	return p.err
}

// pass walks the directories once.
func (n *nameSync) pass() error {
	if n.begun != nil {
		n.begun()
	}
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
	var entries []fs.DirEntry
	if err == nil {
		was := n.known[dir]
		changed := !st.ModTime().Equal(was.mod) || was.at.Sub(was.mod) < tick
		if changed {
			was.mod, was.at = st.ModTime(), time.Now()
			err = syncDir(dir)
		}
		if err == nil && (changed || depth < tableDepth) {
			entries, err = os.ReadDir(dir)
		}
		if err == nil && changed {
			was.parts, err = newParts(dir, entries, was.parts)
		}
		now[dir] = was
	}
	if errors.Is(err, fs.ErrNotExist) && depth > 0 {
		return nil // a table dropped meanwhile
	}
	if err != nil {
		return fmt.Errorf("syncing engine directory: %w", err)
	}
	if depth == tableDepth {
		return nil
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
