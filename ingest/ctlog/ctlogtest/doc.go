// Package ctlogtest is a Certificate Transparency log in memory: it speaks
// RFC 6962 (section 4) or static-ct-api (c2sp.org/static-ct-api) with real
// signatures over realistic certificates, grows while it is watched, counts
// what it serves and misbehaves on demand. Tests use it through [Log.Handler]
// or [Transport]; [Serve] runs it as a process of its own.
//
// It is the oracle for the clients in package ctlog. So that both cannot be
// wrong in the same way it shares no code with them and imports nothing of
// them: encodings, Merkle tree, signed notes and log list are its own.
//
// # Entries
//
// A [Corpus] is an endless sequence of entries that follows from its options:
// captured entries of real logs if a directory is given, then generated ones,
// three precertificates to two final certificates. A final certificate follows
// its precertificate by about 35 indexes and differs from it by poison and SCT
// list only. Nine issuing CAs (P-256, P-384, RSA) stand below three roots, one
// by way of a cross-signed root; one signs its precertificates with a
// Precertificate Signing Certificate. All signatures verify, and all keys are
// worthless: see signer.go. Embedded SCTs are of logs that do not exist.
//
// Entries are made when they are first asked for, in blocks of 256, about
// 40 µs of CPU each, and kept as far as the cache goes. A log keeps 33 bytes
// per entry besides: its leaf hash and a counter. Two million entries take
// 66 MB, the caches, and a minute and a half of CPU before the first head.
//
// Timestamps are the corpus's own, [CorpusOptions.Step] apart: where a demo
// should look alive, choose Start and Step so that the sequence ends now. A
// head is never older than its newest entry, so a sequence that reaches beyond
// the present has heads of the future.
//
// Logs may be neighbours ([CorpusOptions.Neighbour]): then a certificate is in
// two or three of them, with 4.2 entries over all and 2.7 names, as many as the
// logs of the world together have. One log alone has 1.7 entries for a
// certificate, and 6 names.
//
// The two protocols hash an entry differently (static logs put its index into
// the leaf), so a log is of one [Kind]. Logs of both may share a corpus.
//
// # What is served
//
//	RFC 6962   ct/v1/get-sth, get-entries, get-entry-and-proof,
//	           get-proof-by-hash, get-sth-consistency, get-roots
//	static     checkpoint, tile/<L>/<N>[.p/<W>], tile/data/<N>[.p/<W>],
//	           issuer/<SHA-256>
//	both       log_list.json: a log list (schema v3) of this log
//
// get-entries is cut at multiples of the page size as CTFE cuts it, and answers
// 400 behind the end. A partial tile exists if a head was published that ends
// in it. Data tiles are gzipped whatever the client accepts, and checkpoints
// carry signature lines that are not meant for anyone, both as Sunlight does.
//
// # Faults
//
// [Log.Faults] arms misbehaviour while the log serves. Each [Fault] has a
// [Mode], says which requests it fits and how often it strikes; [RateLimit] is
// a limit that clients have to find. Answers that go out broken do not count
// as served.
//
// # Controls
//
// Below /demo/ the log answers clients on this machine that address it by a
// loopback name:
//
//	GET  stats                        Stats as JSON
//	GET  served?from=&to=[&counts=1]  how often entries were served: gaps, repeats
//	GET  index-set?from=&to=          digest over indexes and leaf hashes, see Log.IndexSet
//	GET  leaves?from=&to=             the leaf hashes, 32 bytes each
//	POST grow?n=                      adds n entries and signs a head
//	GET, POST faults                  JSON list of Fault; POST replaces, [] clears
//	POST limit                        JSON RateLimit; null takes it away
//	POST reset                        forgets what was served
//
// # Limits
//
// Nothing is persistent: a process that starts again with the same options has
// the same key, entries and tiles, at the size that it is told to start with,
// and only partial tiles of sizes that this life has published. There is no
// submission. TLS is left to the server around the handler; [Serve] is one that
// has it ([ServeOptions.TLS]).
package ctlogtest
