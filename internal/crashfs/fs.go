package crashfs

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"math/rand/v2"
	"path"
	"slices"
	"sort"
	"strings"
	"sync"
	"syscall"
	"time"

	"ctappliance/internal/durable"
)

// ErrInjected is the error of faults that name no other.
var ErrInjected = errors.New("injected fault")

// Outcome is what becomes of an operation.
type Outcome int

const (
	Done       Outcome = iota // it works
	NotDone                   // it fails and did not happen
	DoneFailed                // it happened, but says it failed
	HalfDone                  // half of the bytes are written, and it says it failed; other operations: NotDone
)

// Op is an operation that is about to happen.
type Op struct {
	N    int    // its number, from 1
	Kind string // open, create, read, write, sync, fdatasync, truncate, preallocate, rename, remove, mkdir, readdir, syncdir, lock
	Path string
}

// FS is a file system in memory. It is safe for concurrent use.
type FS struct {
	mu       sync.Mutex
	root     *node
	ops      int
	onOp     func(Op) (Outcome, error)
	trace    []string
	capacity int64 // 0: no limit
	delay    time.Duration
	locks    map[string]bool
}

var _ durable.FS = (*FS)(nil)

// node is a file or a directory.
type node struct {
	dir     bool
	entries map[string]*node // directory: the names as they are
	synced  map[string]*node // directory: the names that are durable
	file    content          // file: as it is
	disk    content          // file: what is durable
	dirty   map[int64]bool   // file: blocks written since the last sync
}

func newDir() *node {
	return &node{dir: true, entries: map[string]*node{}, synced: map[string]*node{}}
}

// New returns an empty file system.
func New() *FS {
	return &FS{root: newDir(), locks: map[string]bool{}}
}

// OnOp sets the function that decides about each operation; nil: all work. It
// is called with the file system locked. A nil error means ErrInjected.
func (f *FS) OnOp(decide func(Op) (Outcome, error)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.onOp = decide
}

// FailNth makes the operation n fail, and no other.
func (f *FS) FailNth(n int, how Outcome, err error) {
	f.OnOp(func(op Op) (Outcome, error) {
		if op.N == n {
			return how, err
		}
		return Done, nil
	})
}

// FailAfter makes all operations after n fail without effect: the disk is gone.
func (f *FS) FailAfter(n int, err error) {
	f.OnOp(func(op Op) (Outcome, error) {
		if op.N > n {
			return NotDone, err
		}
		return Done, nil
	})
}

// Ops returns the number of operations so far.
func (f *FS) Ops() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.ops
}

// Trace returns the changing operations so far, a line each.
func (f *FS) Trace() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return strings.Join(f.trace, "")
}

// SetCapacity bounds the bytes of all files together; 0 means no limit. What
// would exceed it fails with ENOSPC.
func (f *FS) SetCapacity(bytes int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.capacity = bytes
}

// SetSyncDelay makes syncs of files take time.
func (f *FS) SetSyncDelay(d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.delay = d
}

// Used returns the bytes of all files together.
func (f *FS) Used() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.root.used()
}

func (n *node) used() int64 {
	sum := n.file.size
	for _, e := range n.entries {
		sum += e.used()
	}
	return sum
}

// do numbers an operation, asks what is to become of it, and runs act unless
// it is not to happen. The caller holds mu.
func (f *FS) do(kind, name, detail string, act func(o Outcome) error) error {
	f.ops++
	out, ferr := Done, error(nil)
	if f.onOp != nil {
		if out, ferr = f.onOp(Op{f.ops, kind, name}); out != Done && ferr == nil {
			ferr = ErrInjected
		}
	}
	var err error
	if out == Done || out == DoneFailed || out == HalfDone && kind == "write" {
		err = act(out)
	} else if kind == "sync" || kind == "fdatasync" {
		err = act(out) // which only marks the pages clean
	}
	if out != Done {
		err = &fs.PathError{Op: kind, Path: name, Err: ferr}
	}
	switch kind {
	case "open", "read", "readdir", "lock":
	default:
		if err != nil {
			detail += " error"
		}
		f.trace = append(f.trace, strings.TrimSpace(kind+" "+name+detail)+"\n")
	}
	return err
}

func clean(name string) string { return strings.TrimPrefix(path.Clean("/"+name), "/") }

// find returns the node called name. The caller holds mu.
func (f *FS) find(name string) (*node, error) {
	n := f.root
	if name == "" {
		return n, nil
	}
	for part := range strings.SplitSeq(name, "/") {
		if !n.dir || n.entries[part] == nil {
			return nil, fs.ErrNotExist
		}
		n = n.entries[part]
	}
	return n, nil
}

// parent returns the directory that holds name, and the last part of name.
func (f *FS) parent(name string) (*node, string, error) {
	dir, base := path.Split(name)
	n, err := f.find(strings.TrimSuffix(dir, "/"))
	if err == nil && !n.dir {
		err = syscall.ENOTDIR
	}
	return n, base, err
}

// Rename moves a file.
func (f *FS) Rename(from, to string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	from, to = clean(from), clean(to)
	return f.do("rename", from, " "+to, func(Outcome) error {
		d1, b1, err := f.parent(from)
		if err != nil || d1.entries[b1] == nil {
			return &fs.PathError{Op: "rename", Path: from, Err: fs.ErrNotExist}
		}
		d2, b2, err := f.parent(to)
		if err != nil {
			return &fs.PathError{Op: "rename", Path: to, Err: err}
		}
		n := d1.entries[b1]
		delete(d1.entries, b1)
		d2.entries[b2] = n
		return nil
	})
}

// Remove deletes a file or an empty directory.
func (f *FS) Remove(name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	name = clean(name)
	return f.do("remove", name, "", func(Outcome) error {
		d, b, err := f.parent(name)
		if err != nil || d.entries[b] == nil {
			return &fs.PathError{Op: "remove", Path: name, Err: fs.ErrNotExist}
		}
		if len(d.entries[b].entries) > 0 {
			return &fs.PathError{Op: "remove", Path: name, Err: syscall.ENOTEMPTY}
		}
		delete(d.entries, b)
		return nil
	})
}

// ReadDir lists a directory, sorted by name.
func (f *FS) ReadDir(name string) (list []fs.DirEntry, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	name = clean(name)
	err = f.do("readdir", name, "", func(Outcome) error {
		d, err := f.find(name)
		if err == nil && !d.dir {
			err = syscall.ENOTDIR
		}
		if err != nil {
			return &fs.PathError{Op: "readdir", Path: name, Err: err}
		}
		for b, n := range d.entries {
			list = append(list, fs.FileInfoToDirEntry(info{b, n.dir, n.file.size}))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	sort.Slice(list, func(i, j int) bool { return list[i].Name() < list[j].Name() })
	return list, nil
}

// Stat describes a file. It never fails by injection.
func (f *FS) Stat(name string) (fs.FileInfo, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	name = clean(name)
	n, err := f.find(name)
	if err != nil {
		return nil, &fs.PathError{Op: "stat", Path: name, Err: err}
	}
	return info{path.Base(name), n.dir, n.file.size}, nil
}

// MkdirAll creates a directory and those above it.
func (f *FS) MkdirAll(name string, _ fs.FileMode) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	name = clean(name)
	return f.do("mkdir", name, "", func(Outcome) error {
		n := f.root
		for part := range strings.SplitSeq(name, "/") {
			if part == "" {
				continue
			}
			if n.entries[part] == nil {
				n.entries[part] = newDir()
			}
			if n = n.entries[part]; !n.dir {
				return &fs.PathError{Op: "mkdir", Path: name, Err: syscall.ENOTDIR}
			}
		}
		return nil
	})
}

// SyncDir makes the names in a directory durable.
func (f *FS) SyncDir(name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	name = clean(name)
	return f.do("syncdir", name, "", func(Outcome) error {
		d, err := f.find(name)
		if err == nil && !d.dir {
			err = syscall.ENOTDIR
		}
		if err != nil {
			return &fs.PathError{Op: "syncdir", Path: name, Err: err}
		}
		d.synced = make(map[string]*node, len(d.entries))
		for b, n := range d.entries {
			d.synced[b] = n
		}
		return nil
	})
}

// Free returns what the capacity leaves.
func (f *FS) Free(string) (int64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.capacity == 0 {
		return math.MaxInt64, nil
	}
	return max(0, f.capacity-f.root.used()), nil
}

// Lock takes a lock that lasts until unlock; a crash clone has none.
func (f *FS) Lock(name string) (func() error, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	name = clean(name)
	err := f.do("lock", name, "", func(Outcome) error {
		if f.locks[name] {
			return &durable.LockedError{Path: name}
		}
		f.locks[name] = true
		return nil
	})
	if err != nil {
		return nil, err
	}
	return func() error {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.locks, name)
		return nil
	}, nil
}

// Crash returns what would be found if the power failed now: what was synced,
// and rng's tosses for the rest. The file system itself goes on unharmed.
// Faults, capacity, trace and count start anew.
func (f *FS) Crash(rng *rand.Rand) *FS {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := New()
	c.root = f.root.crash(rng, map[*node]*node{})
	return c
}

// crash clones a node. A file found under two names stays one file.
func (n *node) crash(rng *rand.Rand, seen map[*node]*node) *node {
	if c := seen[n]; c != nil {
		return c
	}
	c := &node{dir: n.dir}
	seen[n] = c
	if !n.dir {
		c.disk = n.disk.crash(n.file, rng)
		c.file = c.disk.clone()
		return c
	}
	c.entries, c.synced = map[string]*node{}, map[string]*node{}
	names := map[string]bool{}
	for b := range n.entries {
		names[b] = true
	}
	for b := range n.synced {
		names[b] = true
	}
	sorted := make([]string, 0, len(names))
	for b := range names {
		sorted = append(sorted, b)
	}
	slices.Sort(sorted) // the tosses depend on the seed alone
	for _, b := range sorted {
		e := n.entries[b]
		if s := n.synced[b]; s != e && rng.IntN(2) == 0 {
			e = s
		}
		if e != nil {
			c.entries[b] = e.crash(rng, seen)
			c.synced[b] = c.entries[b]
		}
	}
	return c
}

// ReadFile returns a file's content, without counting as an operation.
func (f *FS) ReadFile(name string) ([]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, err := f.find(clean(name))
	if err != nil {
		return nil, &fs.PathError{Op: "read", Path: name, Err: err}
	}
	b := make([]byte, n.file.size)
	n.file.readAt(b, 0)
	return b, nil
}

// WriteFile puts a durable file in place, without counting as an operation:
// what a test finds on the disk before it starts. Its directory must exist.
func (f *FS) WriteFile(name string, data []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	d, b, err := f.parent(clean(name))
	if err != nil {
		return &fs.PathError{Op: "write", Path: name, Err: err}
	}
	n := &node{}
	n.file.truncate(int64(len(data)))
	n.file.writeAt(data, 0)
	n.disk = n.file.clone()
	d.entries[b], d.synced[b] = n, n
	return nil
}

type info struct {
	name string
	dir  bool
	size int64
}

func (i info) Name() string       { return i.name }
func (i info) Size() int64        { return i.size }
func (i info) ModTime() time.Time { return time.Time{} }
func (i info) IsDir() bool        { return i.dir }
func (i info) Sys() any           { return nil }
func (i info) Mode() fs.FileMode {
	if i.dir {
		return fs.ModeDir | 0o700
	}
	return 0o600
}

func (i info) String() string { return fmt.Sprintf("%s (%d bytes)", i.name, i.size) }
