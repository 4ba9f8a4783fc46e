package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// WriteFile puts data into the file name so that after a crash at any moment
// the file holds either what it held before or all of data:
//
//	open(name.tmp, O_TRUNC), write, fsync, rename(name.tmp, name), fsync(dir)
//
// When it returns nil, data is durable. When it returns an error, either of
// the two may be what a restart finds. Callers must not write the same name
// concurrently.
func WriteFile(fsys FS, name string, data []byte, perm fs.FileMode) error {
	tmp := name + ".tmp"
	f, err := fsys.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, perm)
	if err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		// Best effort: the next WriteFile overwrites what stays behind.
		_ = fsys.Remove(tmp)
		return fmt.Errorf("writing %s: %w", name, err)
	}
	if err := fsys.Rename(tmp, name); err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	if err := fsys.SyncDir(filepath.Dir(name)); err != nil {
		return fmt.Errorf("writing %s: syncing its directory: %w", name, err)
	}
	return nil
}

// MkdirAll creates the directory name and those above it that are missing,
// and makes each new name durable. The name of a directory that exists is made
// durable as well, in case the process that created it died before it could.
func MkdirAll(fsys FS, name string, perm fs.FileMode) error {
	name = filepath.Clean(name)
	info, err := fsys.Stat(name)
	if err == nil {
		if !info.IsDir() {
			return fmt.Errorf("creating directory %s: a file has this name", name)
		}
		err := fsys.SyncDir(filepath.Dir(name))
		if errors.Is(err, fs.ErrPermission) {
			return nil // not ours to read, so it was made by somebody else
		}
		if err != nil {
			return fmt.Errorf("creating directory %s: syncing the one above: %w", name, err)
		}
		return nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("creating directory %s: %w", name, err)
	}
	parent := filepath.Dir(name)
	if _, err := fsys.Stat(parent); err != nil && parent != name {
		if err := MkdirAll(fsys, parent, perm); err != nil {
			return err
		}
	}
	if err := fsys.MkdirAll(name, perm); err != nil {
		return fmt.Errorf("creating directory %s: %w", name, err)
	}
	if err := fsys.SyncDir(parent); err != nil {
		return fmt.Errorf("creating directory %s: syncing %s: %w", name, parent, err)
	}
	return nil
}
