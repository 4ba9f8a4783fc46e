// Package ingest moves entries from logs to rows and knows the way back after
// a crash.
//
// # Promise
//
// Every entry of every span is in the ledger exactly once below the span's
// delivered mark, whatever was killed, and nothing is called verified that
// does not hang under a signed root.
//
// # The way of an entry
//
//	follower     one per log: polls the head, starts a conductor per span
//	conductor    owns the span's frontier: runs legs, has their ends proven
//	leg          plan ──> fetch × workers ──> hash, in order ──> wal.Append
//	ring         appended batches on their way to the parsers, bounded
//	feeder       WAL records in order, from the ring or from disk
//	parser × n   record ──> rows: pure
//	cutter       cuts flushes, one ahead: rows ──> the store's columns
//	deliverer    intent ──> dependents ──> ledger ──> marks ──> trim
//
// Two clocks meet in the WAL: legs tick at the pace of logs, the deliverer at
// that of the store. The WAL's disk budget is the only brake between them.
//
// # Who owns what
//
//	span.frontier              the span's conductor
//	marks (cursor, verified)   the conductor writes, anyone reads
//	where a flush ends         the cutter
//	mark delivered, intents    the deliverer
//	rows                       the record's parser, then the cutter, which makes columns of
//	                           them and gives their memory to another record; the deliverer
//	                           does the same from the WAL where a flush is in doubt
//	WAL stream state           written with each record: the span as of then
//	subtree roots              the deliverer writes, audits read
//
// # Restart
//
// Open locks the directory, loads the checkpoint, and lets the WAL overrule
// its cursors. The feeder then walks the undelivered records; intents found in
// the checkpoint are cut again exactly and resolved by counting. Where a
// span's records do not continue, the difference was lost to damage: it becomes
// a repair span, is fetched again, and counted before it is inserted.
//
// Stopping is a polite crash: Run abandons what is between the WAL and the
// store, because the WAL still has it.
//
// # Logs that come and go
//
// SetLogs replaces the set of followed logs while Run runs. A log is its ID.
// Where anything else about it is new, its follower is stopped and another one
// begins, with what the first has learnt, when that has ended: a span has one
// owner. What is left out keeps its spans, and what of it is in the WAL is
// delivered. A tail begins at an index, at the head as first seen (now), or at
// a date, and that is looked up once; history behind it is a span of its own.
//
// A log that has ended (Info.FinalSize) is followed to its final tree, which is
// held against the log list's, and closed: it is not polled any more. Every
// minute each log is assessed: whether what is still to be fetched will be
// there when it is asked for (LogStatus.Risk).
//
// Heads are polled every few seconds, and more seldom where the host's limit is
// so low that polls would take more than a twentieth of it.
//
// # Logs that misbehave
//
// A halted log stays halted until the operator says otherwise; other logs go
// on. Evidence (see [VerifyError]) holds the signed heads and the answers as
// they came. What anyone between the log and us could have done is waited out.
//
//	two roots for one size, a smaller head of another tree     halt, both heads
//	entries that are not those of the signed tree              halt, two heads, WAL records since the last proof
//	five proofs in a row that are none                         halt, heads, the proof as it came
//	a smaller head of the same tree                            waited out; an alarm and both heads after a day
//	a larger tree with an earlier time                         counted, both heads kept
//	a head that the log's key has not signed                   waited out, the head kept
//	a head of the future                                       counted
//	a tile that is not what it was                             alarm, the answer kept
//	too large, too slow, cut short, refused, a page instead    waited out, with fewer and fewer requests
//
// # Memory
//
// Bounded at every joint: answers under way (Config.FetchMemory, booked in the
// order of indices), batches for the parsers (Config.RingMemory), records
// being parsed (two per worker), columns of two flushes (Config.FlushRows and
// FlushBytes; one in doubt is made again in place of the first), and the rows of
// one that the store refuses, while they are looked for. The bytes of a record's
// entries belong to the record; the cutter, which has turned its rows into
// columns, gives them back (ctlog.Memory).
//
// # A second parser
//
// One row in a thousand, every row with flags, and every issuer when it is first
// seen are read by certificate-transparency-go too. What it reads otherwise, and
// no flag explains, is counted (Status.Parser) and said; rows stay as they are.
// Checks have a part of the time that what strangers write cannot exceed.
//
// # Imports
//
// ingest imports no sink: [Sink] says what it needs, package store has it, the
// command plugs them together.
package ingest
