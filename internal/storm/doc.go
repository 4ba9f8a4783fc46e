// Package storm tries exactness as a whole: the appliance and the store, as
// they are, against logs in memory of both protocols (package ctlogtest) and a
// ClickHouse in memory that fails in every way (package storetest). There is
// nothing here but tests.
//
// One run is one schedule of faults, drawn from a seed: connections refused,
// reset and stalled, answers that are not the server's, commits that nobody
// heard of, commits that come 30 s late, half commits, servers that die
// between a part and its token, that come back without their newest parts, or
// with an older state; and an appliance that is killed at any step. Logs grow
// meanwhile. Everything runs in testing/synctest bubbles, where waiting costs
// no time.
//
// In the end the faults stop. The appliance must then be done by itself within
// hours of the bubble's clock, and every entry must be in the ledger once, and
// every dependent row there. A server may come back with an older state, but
// not with one that is older than the last proof of a trim: what was proven
// within one life of a server that syncs is there for good. That is what
// trimming rests on.
//
//	go test ./internal/storm -v -storm.runs=200 -storm.seed=1
//
// prints, for each variant, what was tried and what was lost or doubled. A
// failure names its seed (-storm.seed=N -storm.runs=1 -run
// 'TestStorm/<variant>'). The seed draws the faults, not the order in which
// goroutines run: what is rare may need many runs to be seen again.
package storm
