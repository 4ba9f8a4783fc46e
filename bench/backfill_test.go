package bench

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ctappliance/ingest"
	"ctappliance/ingest/ctlog/ctlogtest"
	"ctappliance/store/engine/enginetest"
)

var kinds = []ctlogtest.Kind{ctlogtest.Static, ctlogtest.RFC6962}

// build builds the program as it is in the work tree.
func build(b testing.TB) string {
	b.Helper()
	exe := filepath.Join(b.TempDir(), "ctappliance")
	cmd := exec.Command("go", "build", "-trimpath", "-o", exe, "../cmd/ctappliance")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("building the program: %v\n%s", err, out)
	}
	return exe
}

// BenchmarkBackfill copies one log with the program itself.
func BenchmarkBackfill(b *testing.B) {
	needProc(b)
	library := enginetest.Library(b)
	exe := build(b)
	for _, kind := range kinds {
		b.Run(kind.String(), func(b *testing.B) {
			log := startLog(b, kind)
			for b.Loop() {
				few := backfill(b, exe, library, log, 256)
				all := backfill(b, exe, library, log, log.Size)
				b.Logf("256 entries: %v", few)
				b.Logf("%v", all)
				all.report(b, few)
				sizes(b, exe, library, all.dir, log.Size)
			}
			b.ReportMetric(0, "ns/op") // says nothing beside entries/s
		})
	}
}

// run is what one run of the program took.
type run struct {
	dir         string // its data
	entries     uint64
	took        time.Duration
	fetched     time.Duration // until everything was in the WAL
	fastest     float64       // entries fetched in the fastest second
	cpu         usage         // children: the engine
	log         time.Duration // CPU of the demo log
	own, engine peaks
	wal         float64 // bytes per entry
}

func (r *run) String() string {
	return fmt.Sprintf("%d entries in %.2f s, fetched after %.2f s, fastest second %.0f entries; CPU: appliance %.2f s, engine %.2f s, log %.2f s",
		r.entries, r.took.Seconds(), r.fetched.Seconds(), r.fastest, r.cpu.cpu.Seconds(), r.cpu.children.Seconds(), r.log.Seconds())
}

// report gives the metrics of a run; few is one of so few entries that what it
// took is what starting and ending take.
func (r *run) report(b *testing.B, few *run) {
	more := r.entries - few.entries
	b.ReportMetric(float64(r.entries)/r.took.Seconds(), "entries/s")
	b.ReportMetric(perEntry(r.cpu.cpu, r.entries), "us/entry")
	b.ReportMetric(perEntry(r.cpu.children, r.entries), "engine-us/entry")
	b.ReportMetric(perEntry(r.cpu.cpu-few.cpu.cpu, more), "us/further-entry")
	b.ReportMetric(perEntry(r.cpu.children-few.cpu.children, more), "engine-us/further-entry")
	b.ReportMetric(perEntry(r.log, r.entries), "log-us/entry")
	b.ReportMetric(mb(r.own.rss), "MB-peak")
	b.ReportMetric(mb(r.engine.rss), "engine-MB-peak")
	b.ReportMetric(mb(r.engine.anon), "engine-anon-MB")
	b.ReportMetric(mb(r.own.written+r.engine.written), "MB-written")
	b.ReportMetric(r.wal, "WAL-B/entry")
}

// backfill copies the first entries of a log into a new data directory.
func backfill(b *testing.B, exe, library string, log *demoLog, entries uint64) *run {
	r := &run{dir: b.TempDir(), entries: entries}
	args := []string{"backfill", "--log-url", log.URL, "--log-key", base64.StdEncoding.EncodeToString(log.Key), "--kind", log.Kind, "--end", fmt.Sprint(entries),
		"--allow-private", "--data-dir", r.dir, "--engine-library", library, "--log-level", "warn"}
	if log.Origin != "" {
		args = append(args, "--submission-url", "https://"+log.Origin)
	}
	child := exec.Command(exe, args...)
	var out bytes.Buffer
	child.Stdout, child.Stderr = &out, &out
	before, err := used(log.pid)
	if err != nil {
		b.Fatal(err)
	}
	began := time.Now()
	if err := child.Start(); err != nil {
		b.Fatal(err)
	}
	rates := rateMeter{}
	for engineID, i := 0, 0; ; time.Sleep(20 * time.Millisecond) {
		if r.cpu, err = used(child.Process.Pid); err != nil || r.cpu.ended {
			break
		}
		if engineID == 0 {
			engineID = childOf(child.Process.Pid)
		}
		r.own.look(child.Process.Pid)
		r.engine.look(engineID)
		// Seldom: an answer costs the appliance time that is measured.
		if i++; i%10 != 0 {
			continue
		}
		if st, err := status(r.dir); err == nil && len(st.Logs) == 1 && st.Logs[0].Fetched > 0 {
			n := st.Logs[0].Fetched
			r.wal = float64(st.WAL.Appended) / float64(n)
			rates.add(time.Since(began), n)
			if r.fetched == 0 && n == entries {
				r.fetched = time.Since(began)
			}
		}
	}
	r.took, r.fastest = time.Since(began), rates.best
	if waitErr := child.Wait(); waitErr != nil || err != nil {
		b.Fatalf("backfill: %v %v\n%s", waitErr, err, &out)
	}
	if !strings.Contains(out.String(), fmt.Sprintf("%d rows", entries)) {
		b.Fatalf("backfill did not say that it has %d rows:\n%s", entries, &out)
	}
	after, err := used(log.pid)
	if err != nil {
		b.Fatal(err)
	}
	r.log = after.cpu - before.cpu
	return r
}

// status asks the appliance over its control socket.
func status(dir string) (st ingest.Status, err error) {
	client := http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", filepath.Join(dir, "ctl.sock"))
		}}}
	answer, err := client.Get("http://appliance/status")
	if err != nil {
		return st, err
	}
	defer answer.Body.Close()
	return st, json.NewDecoder(answer.Body).Decode(&st)
}

// rateMeter finds the fastest second.
type rateMeter struct {
	at   []time.Duration
	n    []uint64
	best float64
}

func (r *rateMeter) add(at time.Duration, n uint64) {
	r.at, r.n = append(r.at, at), append(r.n, n)
	for len(r.at) > 1 && at-r.at[1] >= time.Second {
		r.at, r.n = r.at[1:], r.n[1:]
	}
	if d := at - r.at[0]; d >= time.Second {
		r.best = max(r.best, float64(n-r.n[0])/d.Seconds())
	}
}

// sizes reports what the engine has on disk.
func sizes(b *testing.B, exe, library, dir string, n uint64) {
	out, err := exec.Command(exe, "engine", "--data-dir", dir, "--engine-library", library, "--log-level", "warn",
		"SELECT table, sum(rows), sum(bytes_on_disk), count() FROM system.parts WHERE database = 'ct' AND active GROUP BY table ORDER BY 3 DESC").Output()
	if err != nil {
		b.Fatalf("asking the engine: %v", err)
	}
	var total uint64
	for i, line := range strings.Split(strings.TrimSpace(string(out)), "\n") {
		var table string
		var rows, size, parts uint64
		if _, err := fmt.Sscan(line, &table, &rows, &size, &parts); err != nil {
			if i == 0 {
				continue // the header
			}
			b.Fatalf("the engine said %q: %v", line, err)
		}
		total += size
		b.Logf("%-12s %8d rows in %2d parts %10d bytes %7.2f B/entry", table, rows, parts, size, float64(size)/float64(n))
	}
	b.ReportMetric(float64(total)/float64(n), "B/entry")
}
