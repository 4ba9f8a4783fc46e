// Package crashfs is a file system in memory that lies as disks do. It
// implements durable.FS for tests, which then pull the plug at any moment, as
// often as they like, in microseconds.
//
// # What is durable
//
// Per file, the file system keeps what was synced and what was written since,
// in blocks of 512 bytes; per directory, the names as synced and as they are.
// [FS.Crash] returns what a machine would find after losing power now: all
// that was synced, and for each unsynced block, file size and name a coin
// toss between old and new. A renamed file may thus be found under its old
// name, its new one, both or neither. A block is never torn inside.
//
// A sync that fails without effect behaves as Linux does: the pages count as
// clean, and later syncs do not write them unless they are written again.
//
// # Faults
//
// Every operation but Stat and Close has a number, and [FS.OnOp] is asked for
// each what is to become of it: it may fail without effect, fail although it
// took effect, or, if it writes, fail half done. [FS.FailNth] and
// [FS.FailAfter] cover the usual wants. [FS.SetCapacity] makes the disk small.
//
// # Trace
//
// [FS.Trace] returns the operations that change something, one a line, as in
//
//	write wal/000001-00000000000000000001.wal 1024+48
//	fdatasync wal/000001-00000000000000000001.wal
//
// A golden file of it shows a missing sync in a review as a missing line.
package crashfs
