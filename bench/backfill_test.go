//go:build linux

package bench

import (
	"flag"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"ctappliance/ingest/ctlog/ctlogtest"
	"ctappliance/store/engine/enginetest"
)

var (
	kinds = []ctlogtest.Kind{ctlogtest.Static, ctlogtest.RFC6962}

	entries       = flag.Uint64("entries", 400_000, "entries of the log of BenchmarkBackfill and BenchmarkPipeline, `N`")
	ledgerEntries = flag.Uint64("ledger", 1_000_000, "entries of the log of BenchmarkLedger, `N`: a million takes a minute, ten millions a quarter of an hour and 15 GB")
)

// BenchmarkBackfill copies one log with the program itself, over HTTP and, as
// real logs are read, over HTTPS. Both are asked of one process.
func BenchmarkBackfill(b *testing.B) {
	needProc(b)
	library := enginetest.Library(b)
	exe := build(b)
	for _, kind := range kinds {
		b.Run(kind.String(), func(b *testing.B) {
			ca, certificate := authority(b)
			logs := startLogs(b, logSpec{Kinds: []ctlogtest.Kind{kind}, Entries: *entries, Captured: true, TLS: certificate})
			b.Run("HTTP", func(b *testing.B) {
				for b.Loop() {
					measureBackfill(b, exe, library, logs.pid, &logs.Logs[0])
				}
			})
			b.Run("HTTPS", func(b *testing.B) {
				b.Setenv("SSL_CERT_FILE", ca)
				log := logs.Logs[0]
				log.URL = log.SecureURL
				for b.Loop() {
					measureBackfill(b, exe, library, logs.pid, &log)
				}
			})
		})
	}
}

func measureBackfill(b *testing.B, exe, library string, logPID int, log *ctlogtest.ReadyLog) {
	few, all := backfill(b, exe, library, logPID, log, 256), backfill(b, exe, library, logPID, log, log.Size)
	b.Logf("256 entries: %v", few)
	b.Logf("%v", all)
	all.top()
	all.report(b, log.Size)
	more := log.Size - 256
	b.ReportMetric(float64(more)/(all.took-few.took).Seconds(), "further-entries/s")
	b.ReportMetric(perEntry(all.cpu.cpu-few.cpu.cpu, more), "us/further-entry")
	b.ReportMetric(perEntry(all.cpu.children-few.cpu.children, more), "engine-us/further-entry")
	b.ReportMetric(float64(all.last.WAL.Appended)/float64(max(all.last.Logs[0].Fetched, 1)), "WAL-B/entry")
	out, err := exec.Command(exe, "engine", "--data-dir", all.dir, "--engine-library", library, "--log-level", "warn", sizesSQL).Output()
	if err != nil {
		b.Fatalf("asking the engine: %v", err)
	}
	_, bytes := sizes(b, string(out), log.Size)
	b.ReportMetric(float64(bytes)/float64(log.Size), "B/entry")
}

func (p *program) String() string {
	last := uint64(0)
	if n := len(p.points); n > 0 {
		last = p.points[n-1].fetched
	}
	return fmt.Sprintf("%.2f s, fetched after %.2f s, fastest second %.0f entries; CPU: appliance %.2f s, engine %.2f s, log %.2f s",
		p.took.Seconds(), p.fetchedAfter(last).Seconds(), p.fastest(), p.cpu.cpu.Seconds(), p.cpu.children.Seconds(), p.log.Seconds())
}

// backfill copies the first entries of a log into a new data directory.
func backfill(b *testing.B, exe, library string, logPID int, log *ctlogtest.ReadyLog, entries uint64) *program {
	p := start(b, exe, library, logPID, append([]string{"backfill", "--end", fmt.Sprint(entries)}, logArgs(log)...)...)
	p.watch(nil)
	p.end(false)
	if !strings.Contains(p.said.String(), fmt.Sprintf("%d rows", entries)) {
		b.Fatalf("backfill did not say that it has %d rows:\n%s", entries, &p.said)
	}
	return p
}

// BenchmarkLedger copies one log and says what entries cost when so many are
// there already, and how long "status" takes then.
func BenchmarkLedger(b *testing.B) {
	needProc(b)
	library := enginetest.Library(b)
	exe := build(b)
	logs := startLogs(b, logSpec{Kinds: []ctlogtest.Kind{ctlogtest.Static}, Entries: *ledgerEntries})
	size := logs.Logs[0].Size
	p := backfill(b, exe, library, logs.pid, &logs.Logs[0], size)
	b.Logf("%v", p)
	for at := uint64(100_000); at <= size; at *= 10 {
		b.Run(fmt.Sprintf("entries=%d", at), func(b *testing.B) {
			for b.Loop() {
			}
			from, to := at-at/4, at+at/4
			if to > size {
				from, to = at-at/2, size
			}
			p.window(b, from, to)
		})
	}
}

// window reports what entries cost from one number of them in the ledger to
// another, or, since flushes deliver many at once, from the flush before to the
// one after.
func (p *program) window(b *testing.B, from, to uint64) {
	first, last := 0, len(p.points)-1
	for i, pt := range p.points {
		if i > 0 && pt.delivered == p.points[i-1].delivered {
			continue // no flush has ended
		}
		if pt.delivered <= from {
			first = i
		}
		if pt.delivered >= to {
			last = i
			break
		}
	}
	if last < 0 || p.points[last].delivered <= p.points[first].delivered {
		b.Fatalf("nothing was seen between %d and %d entries", from, to)
	}
	var asked []float64
	for _, pt := range p.points[first : last+1] {
		asked = append(asked, pt.asked.Seconds()*1e3)
	}
	began, ended := p.points[first], p.points[last]
	n := ended.delivered - began.delivered
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(n)/(ended.at-began.at).Seconds(), "entries/s")
	b.ReportMetric(perEntry(ended.own-began.own, n), "us/entry")
	b.ReportMetric(perEntry(ended.engine-began.engine, n), "engine-us/entry")
	b.ReportMetric(median(asked), "status-ms")
}
