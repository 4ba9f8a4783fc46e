package main

import (
	"os/exec"
	"strings"
	"testing"
)

// What benchmarks print becomes a table for each, with the units that matter
// first and what those of the whole program have logged behind them.
func TestMarkdown(t *testing.T) {
	var r results
	for line := range strings.Lines(`goos: linux
pkg: ctappliance/ingest/cert
BenchmarkParse
BenchmarkParse/tile
    bench_test.go:9: said of a part
BenchmarkParse/tile-2         	     100	      4000 ns/op	         2.500 cpu-us/entry	 12.0 x-faster
BenchmarkParse/page-16        	     100	      5000 ns/op	         3.500 cpu-us/entry
| BenchmarkParse | not a result |
PASS
pkg: ctappliance/bench
BenchmarkBackfill
BenchmarkBackfill/static
    program_test.go:7: on disk:
        certs 12
        names 13
BenchmarkBackfill/static-2    	       1	       311.1 B/entry	     12458 entries/s
BenchmarkTail
BenchmarkTail-2               	       1	         1.50 engine-%-of-a-core	 0 ns/op
Benchmark is a word
`) {
		r.read(line)
	}
	const want = `
# What was measured

Parse, ctappliance/ingest/cert:

| | cpu-us/entry | x-faster |
|---|---|---|
| tile | 2.500 | 12.0 |
| page | 3.500 |  |

Backfill, ctappliance/bench:

| | static |
|---|---|
| entries/s | 12458 |
| B/entry | 311.1 |

Tail, ctappliance/bench:

| |  |
|---|---|
| engine-%-of-a-core | 1.50 |
| ns/op | 0 |

BenchmarkBackfill/static
on disk:
certs 12
names 13
`
	if got := r.markdown(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// A command that fails is told, after all that it has printed was read.
func TestRun(t *testing.T) {
	if _, err := exec.LookPath("sh"); err != nil {
		t.Skip(err)
	}
	var r results
	if err := run([]string{"sh", "-c", "echo 'BenchmarkX 1 2 ns/op'; exit 3"}, &r); err == nil {
		t.Error("exit status 3 is no error")
	}
	if len(r.groups) != 1 {
		t.Errorf("%d benchmarks", len(r.groups))
	}
}
