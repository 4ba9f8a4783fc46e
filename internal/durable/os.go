package durable

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// OS is the operating system's file system.
type OS struct{}

var _ FS = OS{}

// OpenFile calls open(2), with O_CLOEXEC as package os does.
func (OS) OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	f, err := os.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err // not a File holding a nil *os.File
	}
	return osFile{f}, nil
}

// Rename calls rename(2).
func (OS) Rename(from, to string) error { return os.Rename(from, to) }

// Remove calls unlink(2) or rmdir(2).
func (OS) Remove(name string) error { return os.Remove(name) }

// ReadDir lists a directory.
func (OS) ReadDir(name string) ([]fs.DirEntry, error) { return os.ReadDir(name) }

// Stat calls stat(2).
func (OS) Stat(name string) (fs.FileInfo, error) { return os.Stat(name) }

// MkdirAll calls mkdir(2) for what is missing of the path.
func (OS) MkdirAll(name string, perm fs.FileMode) error { return os.MkdirAll(name, perm) }

// SyncDir opens the directory and calls fsync(2).
func (OS) SyncDir(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Preallocate calls fallocate(2); where the file system has none, it writes
// zeros.
func (OS) Preallocate(f File, size int64) error {
	of, ok := f.(osFile)
	if !ok {
		return errors.New("preallocating a file of another file system")
	}
	err := fallocate(of.File, size)
	if errors.Is(err, errors.ErrUnsupported) || errors.Is(err, syscall.EOPNOTSUPP) {
		return writeZeros(of, size)
	}
	if err != nil {
		return &fs.PathError{Op: "fallocate", Path: of.Name(), Err: err}
	}
	return nil
}

// Free calls statfs(2).
func (OS) Free(name string) (int64, error) {
	n, err := free(name)
	if err != nil {
		return 0, &fs.PathError{Op: "statfs", Path: name, Err: err}
	}
	return n, nil
}

// Lock takes a lock file; see the function Lock.
func (OS) Lock(name string) (func() error, error) { return Lock(name) }

type osFile struct{ *os.File }

// SyncData calls fdatasync(2) on Linux, and Sync elsewhere.
func (f osFile) SyncData() error {
	if err := fdatasync(f.File); err != nil {
		return &fs.PathError{Op: "fdatasync", Path: f.Name(), Err: err}
	}
	return nil
}

// writeZeros is the slow way of reserving space. The zeros are really
// written, a mebibyte at a time: a hole reserves nothing.
func writeZeros(f File, size int64) error {
	zeros := make([]byte, min(size, 1<<20))
	for off := int64(0); off < size; {
		n, err := f.WriteAt(zeros[:min(int64(len(zeros)), size-off)], off)
		if err != nil {
			return err
		}
		off += int64(n)
	}
	return nil
}
