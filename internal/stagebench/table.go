package stagebench

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
)

// Table collects the rows of one benchmark.
type Table struct {
	b    *testing.B
	rows []row
}

type row struct {
	name, of      string // of: the row that does the same, and is ours
	us            float64
	allocs, bytes float64
}

// New returns the table of b, which is printed when b ends.
func New(b *testing.B) *Table {
	t := &Table{b: b}
	b.Cleanup(t.print)
	return t
}

// Ours measures f, a stage of ours, as a sub-benchmark. A call handles entries
// entries, and is told how many came before it.
func (t *Table) Ours(name string, entries int, f func(i int) error) { t.run(name, "", entries, f) }

// Instead measures what else does what of does, a row that is there already.
func (t *Table) Instead(name, of string, entries int, f func(i int) error) {
	t.run(name, of, entries, f)
}

func (t *Table) run(name, of string, entries int, f func(i int) error) {
	t.b.Helper()
	r := row{name: name, of: of}
	done := t.b.Run(name, func(b *testing.B) {
		// Whoever ran before leaves no garbage to collect.
		runtime.GC()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		start := cpuTime()
		b.ResetTimer()
		for i := range b.N {
			if err := f(i); err != nil {
				b.Fatal(err)
			}
		}
		b.StopTimer()
		took := cpuTime() - start
		runtime.ReadMemStats(&after)
		n := float64(b.N) * float64(entries)
		r.us = float64(took) / 1e3 / n
		r.allocs = float64(after.Mallocs-before.Mallocs) / n
		r.bytes = float64(after.TotalAlloc-before.TotalAlloc) / n
		b.ReportMetric(r.us, "cpu-us/entry")
		b.ReportMetric(r.allocs, "allocs/entry")
		b.ReportMetric(r.bytes, "B/entry")
		if x := t.faster(r); x > 0 {
			b.ReportMetric(x, "x-faster")
		}
	})
	if done && r.us > 0 {
		t.rows = append(t.rows, r)
	}
}

// faster returns how many times the row of ours is faster than r, or 0 where
// r is ours, or ours did not run.
func (t *Table) faster(r row) float64 {
	for _, ours := range t.rows {
		if ours.name == r.of && ours.us > 0 {
			return r.us / ours.us
		}
	}
	return 0
}

func (t *Table) print() {
	if len(t.rows) == 0 {
		return
	}
	var s strings.Builder
	fmt.Fprintf(&s, "\n| %s | µs/entry | ours is faster by | allocations | bytes |\n|---|---|---|---|---|\n", t.b.Name())
	for _, r := range t.rows {
		faster := ""
		if x := t.faster(r); x > 0 {
			faster = fmt.Sprintf("%.1f", x)
		}
		fmt.Fprintf(&s, "| %s | %.2f | %s | %.2f | %.0f |\n", r.name, r.us, faster, r.allocs, r.bytes)
	}
	s.WriteByte('\n')
	os.Stdout.WriteString(s.String())
}
