// Package durable is the thin layer between the program's files and the disk:
// what it calls durable is on the disk when the call returns.
//
// # Assumptions
//
// A file's bytes are durable after [File.Sync] (or [File.SyncData]) returned
// nil, and only then. A name (created, renamed or removed) is durable after
// [FS.SyncDir] of its directory returned nil, and only then; until that moment
// a power failure may keep the old name, the new one, both or neither. A
// failed sync says nothing about what is on the disk, and a later one that
// succeeds does not mend it: Linux marks the pages clean when the write fails.
// Whoever gets an error from a sync must stop trusting the file.
//
// # Files
//
//	fs.go       FS and File, the interfaces; crashfs implements them for tests
//	os.go       the operating system's files
//	files.go    WriteFile and MkdirAll: the orders of operations worth naming
//	lock.go     a lock file which says who holds it
//
// # Limits
//
// Linux is what this package is made for. On other Unix systems space is
// reserved by writing zeros and free space is not known (see [FS.Free]).
package durable
