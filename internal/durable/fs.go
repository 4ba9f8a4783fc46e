package durable

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// FS is the part of a file system that our storage needs, small enough for a
// test to lie about it. Names are paths as in package os. Methods are safe
// for concurrent use.
type FS interface {
	// OpenFile opens a file as os.OpenFile does. A name created by it is not
	// durable before SyncDir.
	OpenFile(name string, flag int, perm fs.FileMode) (File, error)

	// Rename moves a file over what has the new name. Not durable before
	// SyncDir.
	Rename(from, to string) error

	// Remove deletes a file or an empty directory. Not durable before SyncDir.
	Remove(name string) error

	// ReadDir lists a directory, sorted by name.
	ReadDir(name string) ([]fs.DirEntry, error)

	Stat(name string) (fs.FileInfo, error)

	// MkdirAll creates a directory and those above it. Not durable before
	// SyncDir of each parent: see the function MkdirAll.
	MkdirAll(name string, perm fs.FileMode) error

	// SyncDir makes the names in a directory durable.
	SyncDir(name string) error

	// Preallocate makes f, which must be empty, size bytes of zeros whose
	// space is reserved, so that writing into them cannot meet a full disk.
	// It is not durable before f.Sync. The error of a full disk satisfies
	// IsFull.
	Preallocate(f File, size int64) error

	// Free returns how many bytes an unprivileged process may still write to
	// the file system that holds name; math.MaxInt64 where it is not known.
	Free(name string) (int64, error)

	// Lock takes the lock file name; see the function Lock.
	Lock(name string) (unlock func() error, err error)
}

// File is an open file of an FS.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Writer
	io.Closer

	// Sync makes the file's bytes and size durable.
	Sync() error

	// SyncData makes durable the file's bytes and what is needed to read them
	// back, but not, say, its time of modification.
	SyncData() error

	Truncate(size int64) error
	Stat() (fs.FileInfo, error)
}

// Create opens a file for reading and writing that must not exist yet.
func Create(fsys FS, name string) (File, error) {
	return fsys.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
}

// Open opens a file for reading.
func Open(fsys FS, name string) (File, error) {
	return fsys.OpenFile(name, os.O_RDONLY, 0)
}

// IsFull reports whether err means that the file system, or the user's quota,
// has no space left.
func IsFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}
