// Package engine runs the embedded ClickHouse: libchdb, loaded without cgo
// into a child process that speaks ClickHouse's HTTP protocol on loopback. The
// rest of the program talks to it as to any server.
//
// # Promise
//
// When an INSERT has been answered with 200, its rows are in the table, whole,
// and with the fsync settings of the table, on the disk, names included: the
// library syncs files and parts' directories, the child syncs the tables'
// directories before it answers, and at its start everything that a former
// child has left. So what can be counted while the boot ID stays the same, with
// no insert under way, is durable. The library ignores writes that fail; the
// child compares the files of each new part with what was to be written, before
// it answers and every few seconds for merges. Where a sync failed or a part is
// short the child ends.
//
// A child that dies, or is killed, takes no acknowledged row with it; what was
// not acknowledged is there block by block, or not. After [Engine.Fence] no
// statement sent before can still write; after [Engine.FenceStatements] none
// with the given ID. There is never more than one engine on a directory.
//
// # Why a child
//
// The library runs hundreds of megabytes of C++ in the process that loads it.
// In a child of its own it can be killed, which is the one fence that always
// works; its death does not lose what the parent has in hand; its memory is
// counted apart; and it can be locked into a sandbox.
//
// # Start
//
//	parent                                child
//	environment: directory, library  ──▶  enters the sandbox, executes itself again
//	stdin, line 1: configuration     ──▶  locks the directory, opens port and engine
//	                                 ◀──  stdout, line 1: {"url","pid","boot_id",…} or {"error"}
//	stdin stays open                 ──▶  its end is the order to stop
//
// The passwords are in the configuration line only: neither in arguments nor
// in the environment. The writer's is new at each [Start]. The boot ID is new
// with each child; it is the server epoch, since the library's serverUUID() is
// zero and its uptime() too. A child does not outlive its parent: the kernel
// kills it (Linux), and the end of its standard input stops it (everywhere).
// It ignores SIGINT, SIGTERM and SIGHUP, because those reach the parent as
// well, which may have rows to hand over yet.
//
// # Directory
//
//	engine.lock   flock, held while a child lives; its process ID and its parent's
//	engine.xml    written at each start, sized for Options.Memory
//	data/         the engine's own
//
// What the library cannot load of a table's parts at its start it moves aside,
// and serves without ([Status].SetAside, and an error in the log); a part whose
// directory is gone it does not miss, and a flipped digit in a part's count.txt
// it believes. Where a definition does not parse, is of a newer version, or
// more than 100 parts of a table are broken, it refuses, and Start says which
// file it was. Nothing is deleted. Whoever needs to know that rows are there
// counts them, with uniqExact: count alone is answered from count.txt.
//
// # HTTP
//
//	GET  /ping, /replicas_status      Ok.
//	GET  /?query=…                    a statement that only reads
//	POST /                            statement in query=, in the body, or begun in one and ended in the other
//	GET  /running?query_id=PREFIX     {"boot_id","running":[{"query_id",…}]}, writer only
//	POST /fence?query_id=PREFIX       the same; and statements with such an ID may not begin any more
//
// Users come by basic authentication, X-ClickHouse-User and -Key, or user= and
// password=. Of the URL's other parameters these mean what they mean to the
// server: database, default_format, query_id, param_NAME, compress, decompress,
// network_compression_method, client_protocol_version. session_id is refused.
// Everything else is a setting, for this statement only: each statement has a
// connection of its own. async_insert is 0 unless a client asks otherwise; the
// library's default is 1.
//
// Bodies may have Content-Encoding gzip, deflate, zstd or lz4, and ClickHouse's
// compressed frames inside. An INSERT's data goes into the engine as it comes;
// the engine's pace is the client's. Results come as the engine makes them for
// a SELECT in a format that can be cut (Native, TabSeparated, CSV,
// JSONEachRow, RowBinary and their like); in other formats, and for other
// statements, when they are complete. Where client_protocol_version is given,
// Native blocks are encoded again for that revision.
//
// An error before the first byte has the server's status (400 does not parse,
// 403 who are you, 404 unknown table, …, else 500), its code in
// X-ClickHouse-Exception-Code and its text in the body; after it, it is framed
// in the body with __exception__, as the server does. X-ClickHouse-Summary
// tells rows read and written.
//
// # What users cannot reach
//
// The library does for its caller what no server does: INTO OUTFILE, FROM
// INFILE and \i work on files, several statements run in one call, the scalar
// function file() reads any file even with readonly=1, and DESCRIBE of url()
// connects. So:
//
//   - The face refuses OUTFILE, INFILE, client commands and more than one
//     statement, for everybody.
//   - The read-only user's statements must be read-only to the engine's own
//     parser, name nothing that reaches outside, and run with readonly=1 and
//     limits on time, memory, threads and size of the result.
//   - The process is in a Landlock sandbox (Linux 5.13; connections 6.7): its
//     directory, the library and the system's libraries are all it can open,
//     and it cannot connect anywhere by TCP. [Status] says whether it is.
//   - Requests whose Host is not loopback are refused: a name that resolves to
//     127.0.0.1 does not help a page in a browser.
//
// # Limits
//
//	statement             1 MiB, URL and body together
//	URL parameters        1024
//	insert's body         Options.MaxInsert after decompression; one frame 128 MiB
//	pause within a body   1 minute; a result not read, the same
//	statements at a time  Options.Connections; the reader half of them; waiting 1 minute
//	connections           256
//	fences                4096 per child
//
// An insert is atomic per block of the engine, as on a server: a body of one
// Native block below min_insert_block_size_rows and _bytes is one block. A body
// of many blocks that breaks off may leave the first of them. KILL QUERY … SYNC
// does not return in this library: never send it. There is no replication, no
// Keeper, no native TCP port, no users beside the two.
//
// Linux and macOS, amd64 and arm64; the sandbox and the parent-death signal on
// Linux.
package engine

// npmVersion is the version of the npm package that this package is written
// and tested against.
const npmVersion = "26.7.3-stable.1"
