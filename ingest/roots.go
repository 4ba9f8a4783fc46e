package ingest

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"ctappliance/ingest/ctlog"
	"ctappliance/internal/durable"
)

// Roots keeps the root of every complete 256-leaf subtree of every log: 32
// bytes for 256 entries. One file per log, <hex log ID>.roots; the root of
// subtree n lies at offset 32·n; zeros mean that it is not known. The file is
// sparse where a log's history was not copied.
//
// The deliverer writes, and syncs before the delivered mark moves, so roots
// are known wherever rows are. Audits read.
type Roots struct {
	dir string

	mu       sync.Mutex
	files    map[ctlog.Hash]rootFile
	dirty    map[ctlog.Hash]bool
	readOnly bool // for audits beside a running appliance
}

type rootFile = *os.File

// OpenRoots opens the directory of root files, creating it if need be.
func OpenRoots(dir string) (*Roots, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("creating directory of subtree roots: %w", err)
	}
	return &Roots{dir: dir, files: map[ctlog.Hash]rootFile{}, dirty: map[ctlog.Hash]bool{}}, nil
}

func (r *Roots) file(log ctlog.Hash, create bool) (*os.File, error) {
	if f := r.files[log]; f != nil {
		return f, nil
	}
	flags := os.O_RDWR
	switch {
	case r.readOnly:
		flags = os.O_RDONLY
	case create:
		flags |= os.O_CREATE
	}
	f, err := os.OpenFile(filepath.Join(r.dir, hex.EncodeToString(log[:])+".roots"), flags, 0o600)
	if err != nil {
		return nil, err
	}
	if create {
		if err := (durable.OS{}).SyncDir(r.dir); err != nil {
			return nil, errors.Join(err, f.Close())
		}
	}
	r.files[log] = f
	return f, nil
}

// put writes a root; it is durable after the next sync.
func (r *Roots) put(log ctlog.Hash, s subtree) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	f, err := r.file(log, true)
	if err != nil {
		return fmt.Errorf("opening subtree roots: %w", err)
	}
	if _, err := f.WriteAt(s.Root[:], int64(s.Number)*32); err != nil {
		return fmt.Errorf("writing subtree root: %w", err)
	}
	r.dirty[log] = true
	return nil
}

// sync makes every root written so far durable.
func (r *Roots) sync() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for log := range r.dirty {
		if err := r.files[log].Sync(); err != nil {
			return fmt.Errorf("syncing subtree roots: %w", err)
		}
		delete(r.dirty, log)
	}
	return nil
}

// Get returns the root of subtree number of a log; ok is false where it is not
// known.
func (r *Roots) Get(log ctlog.Hash, number uint64) (root ctlog.Hash, ok bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f, err := r.file(log, false)
	if errors.Is(err, fs.ErrNotExist) {
		return root, false, nil
	}
	if err != nil {
		return root, false, fmt.Errorf("opening subtree roots: %w", err)
	}
	if _, err := f.ReadAt(root[:], int64(number)*32); errors.Is(err, io.EOF) {
		return ctlog.Hash{}, false, nil
	} else if err != nil {
		return root, false, fmt.Errorf("reading subtree root: %w", err)
	}
	return root, root != ctlog.Hash{}, nil
}

// Close closes the files.
func (r *Roots) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	var errs []error
	for _, f := range r.files {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}
