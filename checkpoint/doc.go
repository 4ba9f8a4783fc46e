// Package checkpoint remembers positions: which ranges of which logs are being
// copied, how far each has come, and which insert was about to be made.
//
// # Promise
//
// A checkpoint is a snapshot, the write-ahead log is the truth: cursors and
// frontiers here may lag behind it and are overruled by it at every start. Two
// things are known here alone until the next proof: the delivered mark (below
// it every entry was acknowledged by the store) and the intents (inserts that
// may have been attempted). Losing the file therefore costs counting, never
// entries: spans come back from the write-ahead log's snapshot, and what was
// delivered is counted in the ledger.
//
// # File
//
// One bbolt file, checkpoint.db, four buckets. Every value is a CRC-32C (four
// bytes, big endian) of the bytes behind it, which are JSON.
//
//	meta     "state"            → Meta
//	         "seal"             → CRC-32C over all keys and values but this
//	spans    id, u64 big endian → Span
//	intents  id, u64 big endian → Intent
//	heads    log ID, 32 bytes   → Head
//
// A file is read whole and checked, page by page, before bbolt maps it: bbolt
// trusts its pages, and a flipped byte in one ends the process with a fault,
// or leads silently to an older transaction. The seal notices what the pages
// cannot show: a value that is not there.
//
// The file is created under a temporary name and renamed, since creation by
// bbolt is not atomic. It is written at segment rotation and once or twice per
// flush, never per batch. A file that is damaged is renamed, never deleted:
// see [Open].
//
// # Limits
//
// One process at a time; bbolt's file lock is the guard, and [ErrInUse] its
// voice. A handful of values per log: everything is read into memory at once.
package checkpoint
