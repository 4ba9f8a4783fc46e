// Package store keeps rows in ClickHouse: it connects, migrates, inserts,
// proves and queries. It is the only package that imports the ClickHouse
// clients, and the same code serves a server of the user's and the embedded
// engine: both speak HTTP.
//
// # Promise
//
// A [Store] never sends rows that it was not asked to send, never sends an
// insert twice on its own account, and never reports an insert as done that
// the server did not acknowledge. An error of an insert says nothing about
// whether its rows are there, with one exception: a [schema.RefusedError] says
// that the server will not have them.
//
// # Inserts
//
// One insert is one HTTP request with one block of the Native format, columns
// as package schema built them. What goes with each of them:
//
//	async_insert                 0  the answer means that the rows are in
//	max_insert_threads           1  one stream, one part per partition
//	optimize_on_insert           0  rows arrive as sent; merging is the merges' work
//	min_insert_block_size_*      above any flush: the server never cuts a block in two
//	exclude_materialize_…_on_insert words, for table names: the index of words is half of what
//	                             an insert costs; merges make it, and parts without it are read whole
//	max_partitions_per_insert_block 0  timestamps are the logs' choice, and must not fail a flush
//	query_id                     ct-<flush>-g<generation>-t<try>-<table>-<life>-<writer>
//	insert_deduplication_token   <flush>:g<generation>, ledger only; see Config.NoTokens
//
// Tables must have the settings that make an acknowledged insert durable
// (fsync_after_insert and the others in settings.go). They are read back at
// Open, which refuses to go on where one differs.
//
// Every statement has a query id, and a status of 200 is an answer only if its
// headers repeat that id: what a captive portal, a load balancer or a caching
// proxy says in the server's place acknowledges nothing. A proxy that renames
// statements (chproxy) cannot be used for that reason; behind it an insert
// could not be fenced either.
//
// # Exactness
//
// The ledger is exact because its rows are counted, not because inserts are
// deduplicated: a flush in doubt is fenced ([Store.Fence]), its dependents are
// written again, its ranges proven ([Store.Prove]) and what is missing
// inserted. The token is a second net under that.
//
// # Recently seen
//
// The same certificate comes from several logs within minutes, and names come
// again with other certificates. Rows that add nothing are not sent:
// [schema.Recent] remembers what was acknowledged lately and is emptied by every
// insert that failed, by every fence, and where the server's epoch has changed.
// A flush that comes out of turn, made again ([Store.PrepareAgain]) or as rows, has
// nothing to do with it while another one is being prepared.
// The rows of a certificate that are sent in one flush are one row, folded as
// the table would fold them.
//
// # Errors
//
// Errors are one line, say what to do where something can be done, and never
// contain a password. Text that comes from a server, a log or a certificate is
// passed through [Safe] before it goes to a terminal.
//
// # Limits
//
// Every statement ends within Config.Timeout; the first, which asks for the
// version, within 30 s. An answer is at most 64 MiB of text that takes at most
// 512 MiB of memory, and must have the columns that were asked for. What a
// server says is data: it ends in an error of one line at worst.
//
// The server is one server: two that answer in turn under one name are refused
// ([ErrBalanced]).
//
// One writer per database (schema.Owner). Answers of [Store.Query] are bounded
// by 64 MiB of text. [Store.Prove] splits ranges of more than 4 Mi entries, and
// counts at most 64 ranges, and at most as many entries together, by one query.
package store
