// Package wal is an append-only log of opaque records with one promise: when
// Append returns nil, the record survives kill -9 and power loss.
//
// A record belongs to a stream and carries the stream's newest state. The log
// remembers the newest state of every stream, so that whoever opens it knows
// at once where each stream stands, and, if a stretch of the log is damaged,
// between which two states each stream's loss lies.
//
// # Files
//
// A log is a directory of segments, each preallocated and written from front
// to back. A segment's name is its ordinal and the seq of its first record:
//
//	000007-00000000000000004096.wal          a segment
//	000008-00000000000000005120.wal.tmp      being made; never held a record
//	000003-00000000000000001024.wal.damaged  trimmed, kept as evidence
//
// A new segment is made in this order: create .wal.tmp, preallocate, write
// header and snapshot, fsync, rename to .wal, fsync the directory; only then
// frames. So a .wal whose header cannot be read was damaged: it is not merely
// unfinished.
//
// # Segments
//
// Numbers are little-endian.
//
//	   0  header, 96 bytes
//	 512  the same header again, in a sector of its own
//	1024  snapshot: the states of all streams as of the segment's beginning
//	   …  frames, from the next multiple of 512 on, each a multiple of 8 long
//	   …  zeros
//
// The header:
//
//	 0  8 bytes  "ctawal\r\n"
//	 8  u32  format version, 1
//	12  u32  flags: 1 = recovery found the segment before damaged
//	16  u64  ordinal
//	24  u64  log id, random, the same in all segments of a log
//	32  u64  base: seq of the first record
//	40  u64  where the log before this segment ends; the numbers from there to
//	         base were skipped and never acknowledged
//	48  u64  ordinal of the segment before, 0 if there was none
//	56  u64  salt, random
//	64  u64  size of the file
//	72  u32  length of the snapshot
//	76  u32  CRC-32C of the snapshot and the salt
//	80  12 bytes  zero
//	92  u32  CRC-32C of bytes [0,92)
//
// The snapshot: u32 number of streams, then for each u64 stream, u32 length
// and the state.
//
// # Frames
//
// One frame is one group commit: frame n+1 is written only after the fsync of
// frame n returned. Everything recovery knows follows from that.
//
//	 0  u32  length of the body
//	 4  u32  number of records
//	 8  u64  seq of the first record
//	16  u32  CRC-32C of the body and the salt
//	20  u32  CRC-32C of bytes [0,20) and the salt
//	24  body: the records, each
//	         u64 stream, u32 flags (1 = forget the stream), u32 length of the
//	         state, u32 length of the payload, state, payload
//	 …  zeros to the next multiple of 8
//
// The payload is chosen by strangers, who may put frames into it. The salt,
// which they do not know, makes these bytes like any other. The CRC of the
// frame's header lets recovery look for frames in garbage without reading the
// garbage again and again.
//
// # Recovery
//
// Open reads the newest segment, and of the others the headers, and starts a
// new segment. It appends to no old segment and repairs none. Where a frame
// cannot be read, what lies behind it decides:
//
//   - Only zeros, and the frame is zeros as well: the log ends here.
//   - No frame: a write was torn, or is bit rot in the last frame; the two
//     look the same. It is ignored, and all numbers that the rest of the file
//     has room for are skipped.
//   - The header of another frame, or anything that is not zero behind the
//     extent of a frame whose own header is good: the frame was durable once,
//     and this is damage. So is a file shorter than its header says, and a
//     segment that ends before the point which its successor's header names.
//
// Damage ends nothing. It is reported by [Log.Damage] with the states before
// and behind it, again by every Open until the segment is trimmed; readers
// get one *[CorruptError] for it and go on behind it. Older segments are
// checked when they are read. The damaged segment itself is left as it is. It
// goes on to serve the records around the stretch, and Trim, instead of
// deleting it, renames it to .wal.damaged, which counts in [Log.Size] but not
// against the budget, and is the operator's to remove.
//
// An old segment that never held a record is removed when its successor is
// durable, so that restarts do not pile them up.
//
// # Numbers
//
// Seqs start at 1 and never repeat, but some may be skipped after a crash. The
// header of an unreadable newest segment leaves unknown how many records it
// held; 2³² numbers are skipped then, more than a segment can hold.
//
// # Full disk and budget
//
// Space is reserved when a segment is made. A full disk is met there and only
// there: Append waits, [Log.Stalled] says "disk full", and the log looks again
// every second and after each Trim. The same goes for Options.Reserve. Where
// another segment would exceed Options.Budget, Append waits for Trim; two
// segments are always allowed, so that a small budget or a large record ends
// in no deadlock. A restart with more than two segments above the budget waits
// as well, before it has written anything.
//
// # Failure
//
// When a write or a sync fails, of a frame, of a new segment or of the
// directory, the log is over: every call returns an error that Is [ErrFailed],
// nothing is acknowledged any more, and no sync is tried again. The process
// must exit; recovery tells what is on the disk.
//
// # Limits
//
//   - A state has at most 64 KiB, a payload 64 MiB, all states together 256 MiB.
//   - A group has at most 4096 records, and 8 MiB or half a segment, whichever
//     is less; a record that is bigger than that is a group of its own.
//   - Bit rot in the very last frame looks like a torn tail. If nothing but
//     zeros is left of the last frames, the log looks as if it ended before
//     them, and their numbers are given out again. Callers that remember a seq
//     elsewhere should compare it with [Log.Next] after Open: it must not be
//     greater.
//   - We assume that writing a sector leaves the bytes in it that were not
//     changed as they were, also when the power fails.
//   - A segment that is damaged, but was never read after that happened, is
//     trimmed like any other.
//   - Nothing protects a directory from two logs: the caller locks.
package wal
