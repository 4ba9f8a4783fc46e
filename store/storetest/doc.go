// Package storetest is a ClickHouse server in memory that misbehaves on
// demand. It speaks as much of the HTTP protocol as package store uses, keeps
// what is inserted, and can be made to fail at any statement in every way that
// a server, or the network before it, is known to fail.
//
// # What it is
//
// A [Server] is dialled in memory ([Server.Dial]), so that a store, and the
// whole appliance, run against it inside a testing/synctest bubble: a commit
// that comes 30 s late costs no time.
//
// It creates the tables it is told to create and answers questions about them
// from that DDL, so that it does not have to be kept in step with the schema.
// Inserts are decoded value by value. A table is a list of parts, one per
// insert and partition, with a log of deduplication tokens beside it. A
// statement that it does not know is an exception of code 62 and a complaint
// ([Server.Complaints]): the fake is then too small, or the store does
// something new.
//
// # What it is not
//
// There are no merges: folding is the engine's business and is tried on the
// engine. There is no SQL but the shapes that package store sends.
//
// # Faults
//
// [Server.Decide] is asked for every statement and answers with a [Fault]:
// what happens to the request, when and whether it takes effect, and what is
// said of it. [Server.Restart] ends the server's life and begins another, with
// all rows, or without those that were not synced, or without chosen parts, or
// with an older state ([Server.Snapshot]).
//
// Tokens are kept as versions of the server keep them: published before the
// part is committed, or after ([Options.PublishFirst]), and never synced.
package storetest
