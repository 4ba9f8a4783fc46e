//go:build linux

package bench

import (
	"flag"
	"fmt"
	"slices"
	"testing"
	"time"

	"ctappliance/ingest"
	"ctappliance/ingest/ctlog/ctlogtest"
	"ctappliance/store/engine/enginetest"
)

var (
	logsEntries = flag.Uint64("logs", 262_144, "entries of all logs of BenchmarkLogs together, `N`")
	tailTime    = flag.Duration("tail", 20*time.Second, "how long BenchmarkTail looks, after half a minute in which the program finds its pace")
)

// BenchmarkLogs copies the same number of entries from one log, 4, 16 and 64
// that share certificates, with "run".
func BenchmarkLogs(b *testing.B) {
	needProc(b)
	library := enginetest.Library(b)
	exe := build(b)
	for _, n := range []int{1, 4, 16, 64} {
		b.Run(fmt.Sprintf("logs=%d", n), func(b *testing.B) {
			logs := startLogs(b, logSpec{Kinds: []ctlogtest.Kind{ctlogtest.Static}, Entries: *logsEntries / uint64(n), Neighbours: n})
			all := uint64(0)
			for _, l := range logs.Logs {
				all += l.Size
			}
			for b.Loop() {
				// The last rows wait for a flush as long as those of a log that
				// goes on: a second of it is enough here.
				p := start(b, exe, library, logs.pid, "run", "--config", configure(b, logs.Logs, "zero", time.Second))
				p.watch(func(st *ingest.Status) bool { return delivered(st) >= all })
				p.report(b, all)
				b.ReportMetric(median(p.asked()), "status-ms")
				p.merge()
				b.ReportMetric(perEntry(cpuOf(p.engineID), all), "engine-merged-us/entry")
				rows, bytes := sizes(b, p.sql(sizesSQL), all)
				b.ReportMetric(float64(bytes)/float64(all), "merged-B/entry")
				b.ReportMetric(float64(all)/float64(max(rows["certs"], 1)), "entries/certificate")
				p.end(true)
			}
		})
	}
}

func delivered(st *ingest.Status) (n uint64) {
	for _, l := range st.Logs {
		n += l.Delivered
	}
	return n
}

func (p *program) asked() (ms []float64) {
	for _, pt := range p.points {
		ms = append(ms, pt.asked.Seconds()*1e3)
	}
	return ms
}

// The tail is 60 logs, half of them of each kind, that together grow by 900
// entries a second, as all logs of the world do.
const (
	tailLogs = 60
	tailRate = 900
	tailWarm = 30 * time.Second
)

// BenchmarkTail follows the tail from now on, and says what part of a core
// that takes.
func BenchmarkTail(b *testing.B) {
	needProc(b)
	library := enginetest.Library(b)
	exe := build(b)
	logs := startLogs(b, logSpec{Kinds: kinds, Entries: 1024, Neighbours: tailLogs / 2, Rate: tailRate / tailLogs})
	for b.Loop() {
		p := start(b, exe, library, logs.pid, "run", "--config", configure(b, logs.Logs, "now", 5*time.Second))
		p.askEvery = 50
		p.watch(func(*ingest.Status) bool { return time.Since(p.began) >= tailWarm })
		from := p.points[len(p.points)-1]
		logFrom := cpuOf(logs.pid)
		p.watch(func(*ingest.Status) bool { return p.points[len(p.points)-1].at-from.at >= *tailTime })
		to := p.points[len(p.points)-1]
		logTo := cpuOf(logs.pid)
		took := to.at - from.at
		share := func(d time.Duration) float64 { return 100 * d.Seconds() / took.Seconds() }
		b.ReportMetric(0, "ns/op")
		b.ReportMetric(float64(to.delivered-from.delivered)/took.Seconds(), "entries/s")
		b.ReportMetric(share(to.own-from.own), "%-of-a-core")
		b.ReportMetric(share(to.engine-from.engine), "engine-%-of-a-core")
		b.ReportMetric(share(logTo-logFrom), "log-%-of-a-core")
		b.ReportMetric(mb(p.own.rss), "MB-peak")
		b.ReportMetric(mb(p.engine.rss), "engine-MB-peak")
		b.ReportMetric(median(p.asked()), "status-ms")
		lags := map[string][]float64{}
		for _, l := range p.last.Logs {
			lags[l.Kind] = append(lags[l.Kind], l.Lag)
		}
		for kind, s := range lags {
			b.ReportMetric(median(s), kind+"-lag-s")
		}
		p.end(true)
		p.top()
	}
}

// median is the middle value, 0 of none.
func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	v = slices.Sorted(slices.Values(v))
	return v[len(v)/2]
}
