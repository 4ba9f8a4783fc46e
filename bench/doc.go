// Package bench measures the whole: a demo log, the appliance and its engine,
// each a process of its own, on this machine. It holds benchmarks,
// [TestRecovery], which measures the way back after a kill, and
// [TestWorldSoak], which runs the program among the logs of the real lists; the
// packages' own benchmarks say what a part costs.
//
//	go test ./bench -run '^$' -bench . -benchtime 1x
//
// # What runs
//
//	BenchmarkBackfill   the program: 'ctappliance backfill' of one log into the
//	                    embedded engine, from its start to its end
//	BenchmarkPipeline   the same pipeline within the benchmark's process, for
//	                    -cpuprofile and -memprofile; rows go nowhere (sink=none)
//	                    or into the engine
//
// The log's process makes its entries before the clock starts, and encodes its
// answers before as far as its caches go.
//
// # What is reported
//
//	entries/s        from start to end, with the start of the engine, the
//	                 pacer's start-up and the last flush in it
//	us/entry         processor time, user and system, of the appliance alone
//	engine-us/entry  that of the engine, the merges that ran meanwhile included
//	…/further-entry  the same without what a backfill of 256 entries takes:
//	                 what starting, migrating, proving and ending take
//	log-us/entry     that of the demo log beside it
//	MB-peak          the appliance's largest resident set
//	engine-MB-peak   the engine's; engine-anon-MB is without mapped files
//	WAL-B/entry      bytes written to segments, headers and padding included
//	MB-written       what both processes had the kernel write to disk
//	B/entry          active parts on disk after the run, by table in the log
//
//	merged-B/entry   the same after every table was merged to the end, and
//	engine-merged-us/entry  the engine's processor time with that
//
// Processor time comes from /proc, to 10 ms. Resident sets are sampled every 20
// ms from the kernel's high-water mark. Wall times on a busy machine say
// little; processor time says more.
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
//	BENCH_ENTRIES    entries per log; default 120,000
//	BENCH_FLUSH_BYTES  size of a flush of BenchmarkPipeline; default 48,000,000
//	CTAPPLIANCE_DATA folder of captured entries of real logs, which then come
//	                 first; default ../shared/data beside the folder with go.mod
//
// It needs Linux and the engine's library.
package bench
