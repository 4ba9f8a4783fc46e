// Package archtest holds the rules of the source tree that the compiler does
// not check, as tests:
//
//   - Which package may import which. Imports run one way: cmd → {ingest,
//     store} → {wal, checkpoint, schema} → internal/durable; wal, checkpoint
//     and schema do not know each other; what lies below ingest never imports
//     ingest; ingest knows no sink.
//   - Every module of others has one home, so that it can be replaced by
//     changing one room.
//   - schema imports the standard library only.
//   - What is made for tests (packages whose name ends in "test", and
//     internal/crashfs) reaches the program only where that is said here.
//   - Every package has a doc.go with its specification; no file is longer
//     than 600 lines; no package is called util or the like.
//
// A new import that a test here refuses is a decision. Where it is a good one,
// the table in rules_test.go is the place to make it, in the same change.
//
// The tests ask `go list` for linux and darwin, without cgo: what the program
// is built with.
package archtest
