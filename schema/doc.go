// Package schema says what a row is: the [Row] that one log entry becomes, the
// tables that rows are kept in, and how a database gets to have those tables.
// It imports the standard library only and talks to no server.
//
// # Where a Row goes
//
//	table       one row per                                  engine
//	ledger      entry, exactly once                          MergeTree
//	certs       certificate: precert and final fold into one AggregatingMergeTree
//	profiles    what certificates of an issuer have in common ReplacingMergeTree
//	name_certs  (name, certificate)                          ReplacingMergeTree
//	names       name                                         AggregatingMergeTree
//	problems    entry that is not ok, with its bytes         ReplacingMergeTree
//	der         certificate's bytes, if asked for            ReplacingMergeTree
//	issuers     chain certificate                            ReplacingMergeTree
//	logs        log                                          ReplacingMergeTree
//	meta        fact about the database                      ReplacingMergeTree
//
// All but the ledger are dependents: to write one of their rows again changes
// nothing once the engine has merged, so they need no proof of exactness. The
// ledger's rows are written once, after those of the dependents.
//
// Every field of [Row] is a column somewhere, with three losses that were
// chosen for their size: certs keeps 16 of the 32 bytes of the hash of the key
// and of the precertificate, no subject key identifier that is the SHA-1 of
// the key or 20 bytes of its SHA-256, and the DER only where the status is not ok
// (table der keeps it for all, if asked to).
//
// A certificate that cannot be read at all ([StatusRefused], [StatusOversize])
// has a ledger row and a problems row, and no row in certs.
//
// # Identity
//
// tbs_id, 16 bytes of a SHA-256, is a certificate's key everywhere. certs is
// sorted by its first 8 bytes and then by the rest, so that name_certs, the
// largest table of the dependents, can refer to certificates by 8 bytes; two
// certificates that agree in 8 bytes are both found by a search for either's
// names. The ledger refers to them by 10 bytes (tbs10): two of 10^10
// certificates agree in these with a probability of 1 in 24,000, in 8 bytes some
// three pairs would, in 12, which take 1.0 bytes more for each entry, 1 in 10^9.
// Where two agree, because it so happened or because somebody who issues
// certificates has made them to, an entry of either leads to both; none is lost
// and none is hidden. An audit that fetches entries again compares these 10
// bytes. What is looked up by tbs10 is looked up by tbs8 as well, which is the
// key: see the view certificates_for_entry. A profile's id is
// the first 8 bytes of SHA-256 over its canonical encoding (see [Dependents]).
//
// # Columns
//
// The columns of a table stand in one list (ledger.go, certs.go, …), next to
// what they are filled from, in the order of the .sql file. To add one: a field
// in [Row], a line in that list, a migration with a line
// "-- unless column <table>.<column>".
//
// A [Block] holds the rows of one insert column by column, in slices that are
// used again after Reset. Filling it copies: a block does not alias the rows it
// was filled from. [Dependents] fills blocks when it is asked for them, and
// refers to the rows that it was given until then.
//
// # Migrations
//
// The files migrations/NNNN_*.sql are applied in order, that of the views last.
// Each statement asks whether it is needed ("-- unless table certs") by looking
// at the database, so that an interrupted migration is simply run again, and a
// database that was set up by hand is taken as it is. Nothing that holds rows is
// ever dropped. What was applied is recorded in table meta with the file's
// SHA-256; a file of views is applied again when it has changed.
//
// # Limits
//
// A certificate has at most [MaxIndexedNames] rows in name_certs; certs has all
// its names. Times beyond 1970-2106 are exact in certs and held to that range
// in the two name tables; beyond the years 0-9999 they are held to those. A timestamp of 2^63 milliseconds or more is kept bit
// for bit and reads as a time before 1970.
package schema
