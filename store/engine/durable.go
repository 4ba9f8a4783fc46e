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
// was just before, and which directories and parts were in it just after.
type syncedDir struct {
	mod, at time.Time
	below   []string // directories in it; nil for a table's
	parts   map[string]bool
}

// changed says whether the directory, whose time of modification is mod, may
// have changed since it was synced.
func (d *syncedDir) changed(mod time.Time) bool {
	return !mod.Equal(d.mod) || d.at.Sub(d.mod) < tickOf(d.mod)
}

// A file system's clock stands still between ticks: two changes within one can
// have the same time. Linux takes the time from its timer, 100 to 1000 times a
// second, and notes it in nanoseconds; a file system that notes seconds, or two,
// shows it by round times.
const (
	tick     = 2 * time.Second
	fineTick = 50 * time.Millisecond
)

// tickOf is more than the clock may stand still that gave the time mod.
func tickOf(mod time.Time) time.Duration {
	if mod.Nanosecond()%int(time.Millisecond) == 0 {
		return tick
	}
	return fineTick
}

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
	was := n.known[dir]
	if err == nil && was.changed(st.ModTime()) {
		was.mod, was.at = st.ModTime(), time.Now()
		err = syncDir(dir)
		var entries []fs.DirEntry
		if err == nil {
			entries, err = os.ReadDir(dir)
		}
		if err == nil {
			was.parts, err = newParts(dir, entries, was.parts)
		}
		was.below = nil
		if depth < tableDepth {
			was.below = directories(entries)
		}
	}
	if errors.Is(err, fs.ErrNotExist) && depth > 0 {
		return nil // a table dropped meanwhile
	}
	if err != nil {
		return fmt.Errorf("syncing engine directory: %w", err)
	}
	now[dir] = was
	for _, name := range was.below {
		if err := n.walk(filepath.Join(dir, name), depth+1, now); err != nil {
			return err
		}
	}
	return nil
}

func directories(entries []fs.DirEntry) (names []string) {
	for _, e := range entries {
		if e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}
