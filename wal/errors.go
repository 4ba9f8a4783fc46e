package wal

import (
	"errors"
	"fmt"
)

var (
	// ErrClosed: the log was closed.
	ErrClosed = errors.New("the write-ahead log is closed")

	// ErrNotFound: there is no record with this seq. It was trimmed, it was
	// not written yet, the number was skipped, or the record only made the
	// log forget a stream.
	ErrNotFound = errors.New("no such record in the write-ahead log")

	// ErrFailed: a write or a sync failed, and what is on the disk is no
	// longer known. Nothing is acknowledged any more; the process must exit
	// and recover. The error that carries it says what failed.
	ErrFailed = errors.New("the write-ahead log has failed")
)

// CorruptError says that a stretch of a segment, which once held acknowledged
// records, cannot be read. [Log.Damage] tells the states around it.
type CorruptError struct {
	Segment  string
	Offset   int64  // where in the segment's file the stretch begins
	FirstSeq uint64 // the records [FirstSeq, NextSeq) are lost
	NextSeq  uint64
	Reason   string
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("segment %s is damaged at offset %d: %s; records [%d,%d) are lost",
		e.Segment, e.Offset, e.Reason, e.FirstSeq, e.NextSeq)
}

// Damage is a stretch of the log that held acknowledged records and cannot be
// read, with what the log knew about its streams on both sides of it.
type Damage struct {
	Segment  string
	Offset   int64  // where in the segment's file the stretch begins
	FirstSeq uint64 // the records [FirstSeq, NextSeq) are lost; if both are equal, only states are
	NextSeq  uint64
	Reason   string

	// Before holds the states as of FirstSeq; nil if nothing tells them (the
	// snapshot is lost as well, and there is no segment before).
	Before map[uint64][]byte

	// After holds the first state known of each stream behind the stretch. If
	// AfterSeq has the stream, that is the state after the record AfterSeq,
	// which itself is not lost. Otherwise the stream has no record in the
	// rest of the segment, and it is the state right behind the stretch, or,
	// where the log has nothing newer, that of Before. A stream that is in
	// Before only was forgotten.
	After    map[uint64][]byte
	AfterSeq map[uint64]uint64
}
