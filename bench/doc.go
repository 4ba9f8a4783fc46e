// Package bench measures the whole: a demo log, the appliance and its engine,
// each a process of its own, on this machine. It holds benchmarks,
// [TestRecovery], which measures the way back after a kill, and
// [TestWorldSoak], which runs the program among the logs of the real lists; the
// packages' own benchmarks say what a part costs.
//
//	make bench
//	go test ./bench -run '^$' -bench Backfill -benchtime 1x -v
//
// # What runs
//
//	BenchmarkBackfill   the program: 'ctappliance backfill' of one log into the
//	                    embedded engine, from its start to its end, over HTTP
//	                    and over HTTPS as real logs are read
//	BenchmarkDoubt      the same while the answer to every flush's first insert
//	                    into the ledger is lost between the program and the
//	                    engine: what it holds when each flush is in doubt
//	BenchmarkLogs       'ctappliance run' of 1, 4, 16 and 64 logs with the same
//	                    number of entries in all. They share certificates: with
//	                    many logs there are 4.2 entries for a certificate
//	BenchmarkLedger     a long backfill: what entries cost, and how long
//	                    "status" takes, when so many are in the ledger already
//	BenchmarkTail       'ctappliance run' of 60 logs that grow by 900 entries a
//	                    second together: what part of a core that takes
//	BenchmarkPipeline   the pipeline of a backfill within the benchmark's
//	                    process; rows go nowhere (sink=none) or into the engine
//
// The logs' process makes its entries before the clock starts, and encodes its
// answers before as far as its caches go. For HTTPS it has a certificate (P-256)
// of a CA that is made for the run; the program finds that CA by SSL_CERT_FILE,
// as it would a user's. TLS 1.3, AES-128-GCM, HTTP/1.1: what the client and most
// logs agree upon.
//
// # What is reported
//
//	entries/s        from start to end, with the start of the engine, the
//	                 migrations, the last flush and the proof in it
//	us/entry         processor time, user and system, of the appliance alone
//	engine-us/entry  that of the engine, the merges that ran meanwhile included
//	further-entr…    the same without what a backfill of 256 entries takes:
//	                 what starting, migrating, proving and ending take
//	log-us/entry     that of the demo log beside it
//	%-of-a-core      the same as a share of time
//	MB-peak          the appliance's largest resident set
//	engine-MB-peak   the engine's; engine-anon-MB is without mapped files
//	WAL-B/entry      bytes written to segments, headers and padding included
//	written-B/entry  what the appliance had the kernel write to disk;
//	                 engine-written-B/entry the engine
//	B/entry          active parts on disk after the run, by table in the log
//	status-ms        an answer of the control socket to "status"
//	…-lag-s          how old the newest entry in the ledger is, by the kind of
//	                 log, in the middle of its logs; static logs' tiles of 256
//	                 entries fill within 17 s there
//
//	merged-B/entry   the same after every table was merged to the end, and
//	engine-merged-us/entry  the engine's processor time with that
//
// Processor time comes from /proc, to 10 ms. Resident sets are sampled every 20
// ms from the kernel's high-water mark. Wall times on a busy machine say
// little; processor time says more, but is not the same either: two busy cores
// that share a cache take a quarter longer for the same.
//
// Each run of the program writes a processor profile, whose top ten are logged.
//
// # The soak
//
//	make world T=30m
//
// The logs are in the test's own process (package world): as many as the real
// lists have, with a quarter of their growth. The program gets a contact, the
// list's address and key, and what being on one machine takes. Every ten
// seconds `status --json`, /metrics and /proc give a line of
// world-soak-DATE.csv; [worldColumns] says what its columns are. What is
// printed at the end is beside it, in world-soak-DATE.txt.
//
// # Settings
//
//	-entries N       entries of the log of Backfill and Pipeline; 400,000
//	-logs N          entries of all logs of Logs together; 262,144
//	-ledger N        entries of the log of Ledger; 1,000,000. Ten millions take a
//	                 quarter of an hour and 15 GB of memory
//	-tail TIME       how long Tail looks; 20s
//	-profiles DIR    where profiles are kept
//	-heap            heap profiles too, each of when a run was largest; this
//	                 costs time
//
//	GOMEMLIMIT, CTAPPLIANCE_…  reach the program
//	BENCH_FLUSH_BYTES  size of a flush of BenchmarkPipeline; default 80,000,000
//	CTAPPLIANCE_DATA folder of captured entries of real logs, which then come
//	                 first; default ../shared/data beside the folder with go.mod
//
// It needs Linux and the engine's library.
package bench
