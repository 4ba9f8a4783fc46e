// Command mutation shows that the guards of the program are defended by tests:
// it takes one guard away at a time and wants to see a test fail. "make
// mutate" runs it.
//
// # The list
//
// list/*.txt holds the mutations, by package. One of them:
//
//	== frame-sync I1
//	The fsync of a frame, before its records are acknowledged.
//	file wal/commit.go
//	test ./wal TestTrace TestEveryCrash
//	- if err := out.file.SyncData(); err != nil {
//	+ if err := error(nil); err != nil {
//
// The first line is the mutation's name, unique in its file, and the invariant
// of ARCHITECTURE.md that the guard serves, "-" for none. Then, in a sentence,
// the guard that is removed; the file it is removed from; the package and the
// tests of which at least one must fail without it; the old text, line by line
// behind "- ", and what takes its place behind "+ " (nothing, if there is no
// such line). "-" and "+" alone are empty lines. A "#" begins a comment.
//
// The old text must occur in the file exactly once. It is the guard itself and
// no lines around it, so that it survives what happens beside it; it may begin
// and end in the middle of a line. Another "- " after a "+ ", or another "file",
// begins a second replacement that belongs to the same mutation: some guards
// stand in two places. "file" holds for the mutations below as well, until
// another one is named.
//
// The tests are named by their functions, followed by /subtest where one of
// many cases is meant. Few and quick ones are best: they run for every
// mutation that names them. Where they hang without the guard, a line "timeout
// 20s" spares the time; it must be far above what they take with the guard.
//
// # A run
//
// The tree is never touched: the changed file is written elsewhere, and go
// test's -overlay shows it to the compiler. For every package, the tests that
// the list names must first pass, and not be skipped, without a mutation. Then
// each mutation is one of:
//
//	killed            a named test failed, or ran into the timeout
//	SURVIVED          all named tests passed: nothing defends the guard
//	stale             the old text does not occur exactly once
//	does not compile  the list's mistake, not a test's merit
//	baseline red      its tests fail, or are skipped, without a mutation too
//
// Anything but killed makes the run fail. A test that fails by itself would
// pass for a merit; hence the tests without a mutation, and the column that
// names the test that failed.
//
// What survives gets a test, or the guard goes. An entry leaves the list only
// together with its guard.
//
// TestList keeps the list in step with the code: it fails as soon as an entry
// is stale, or names a test that is gone.
package main
