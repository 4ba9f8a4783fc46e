package store

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"ctappliance/schema"
)

var (
	tailFlushes = flag.Int("store.flushes", 12, "flushes of BenchmarkTail that are measured, `N`, after two that are not")
	tailEvery   = flag.Duration("store.every", time.Second, "time between two flushes of BenchmarkTail: their background shows at the 5s of flush.interval only")
)

const (
	tailRate     = 900 // entries per second of all logs together
	tailInterval = 5 * time.Second
)

// threads returns the user and system time of a process by the names of its
// threads.
func threads(t testing.TB, pid int) map[string]time.Duration {
	list, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	if err != nil {
		t.Skip(err)
	}
	by := map[string]time.Duration{}
	for _, path := range list {
		b, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		head, rest, _ := strings.Cut(string(b), ") ")
		_, name, _ := strings.Cut(head, "(")
		f := strings.Fields(rest)
		user, _ := strconv.ParseInt(f[11], 10, 64)
		system, _ := strconv.ParseInt(f[12], 10, 64)
		by[name] += time.Duration(user+system) * 10 * time.Millisecond
	}
	return by
}

// BenchmarkTail writes flushes as the tail of sixty logs has them, 4,500 rows
// each, and reports what part of a core that takes where one comes every five
// seconds: during the inserts, and between them.
//
//	go test ./store -run '^$' -bench Tail -benchtime 1x -v -store.every 5s
//
// BENCH_SQL holds statements that are run before, as for BenchmarkInsert.
func BenchmarkTail(b *testing.B) {
	perFlush := int(tailRate * tailInterval.Seconds())
	rows := realistic(shape{certs: perFlush * (*tailFlushes + 2) * 10 / 42, perCert: 4.2, renewals: 4.2, names: 2.7, spread: 30_000})
	for b.Loop() {
		s, e := openEngine(b, func(c *Config) { c.RecentBits = 0 })
		for _, sql := range strings.Split(os.Getenv("BENCH_SQL"), ";") {
			if strings.TrimSpace(sql) != "" {
				exec(b, s, sql)
			}
		}
		var before map[string]time.Duration
		var began, inserts time.Duration
		var start time.Time
		n := 0
		ticker := time.NewTicker(*tailEvery)
		for part := range slices.Chunk(rows, perFlush) {
			part = slices.Clone(part)
			slices.SortFunc(part, func(a, b schema.Row) int {
				if a.LogID != b.LogID {
					return int(int64(a.LogID) - int64(b.LogID))
				}
				return int(int64(a.Index) - int64(b.Index))
			})
			if n == 2 {
				before, began, inserts, start = threads(b, e.PID()), cpu(b, e.PID()), 0, time.Now()
			}
			at := cpu(b, e.PID())
			insert(b, s, flushOf(uint64(n), part))
			inserts += cpu(b, e.PID()) - at
			if n++; n == *tailFlushes+2 {
				<-ticker.C
				break
			}
			<-ticker.C
		}
		took, all := time.Since(start), cpu(b, e.PID())-began
		b.ReportMetric(0, "ns/op")
		b.ReportMetric(float64(inserts.Microseconds())/1000/float64(n-2), "insert-cpu-ms/flush")
		b.ReportMetric(float64(all.Microseconds())/1000/float64(n-2), "cpu-ms/flush")
		b.ReportMetric(100*(all-inserts).Seconds()/took.Seconds(), "background-%-of-a-core")
		b.ReportMetric(100*all.Seconds()/took.Seconds(), "%-of-a-core")
		after := threads(b, e.PID())
		var names []string
		for name := range after {
			names = append(names, name)
		}
		slices.SortFunc(names, func(x, y string) int { return int(after[y] - before[y] - after[x] + before[x]) })
		for _, name := range names {
			if d := after[name] - before[name]; d > 0 {
				b.Logf("%-16s %v", name, d)
			}
		}
	}
}
