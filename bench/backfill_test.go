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
				backfill(b, exe, library, log)
			}
			b.ReportMetric(0, "ns/op") // says nothing beside entries/s
		})
	}
}

func backfill(b *testing.B, exe, library string, log *demoLog) {
	dir := b.TempDir()
	args := []string{"backfill", "--log-url", log.URL, "--log-key", base64.StdEncoding.EncodeToString(log.Key), "--kind", log.Kind,
		"--allow-private", "--data-dir", dir, "--engine-library", library, "--log-level", "warn"}
	if log.Origin != "" {
		args = append(args, "--submission-url", "https://"+log.Origin)
	}
	child := exec.Command(exe, args...)
	var out bytes.Buffer
	child.Stdout, child.Stderr = &out, &out
	logBefore, err := used(log.pid)
	if err != nil {
		b.Fatal(err)
	}
	began := time.Now()
	if err := child.Start(); err != nil {
		b.Fatal(err)
	}
	var own, engine peaks
	var last ingest.Status
	var u usage
	fetchedAll := time.Duration(0)
	rates := rateMeter{}
	for engineID, i := 0, 0; ; time.Sleep(20 * time.Millisecond) {
		if u, err = used(child.Process.Pid); err != nil || u.ended {
			break
		}
		if engineID == 0 {
			engineID = childOf(child.Process.Pid)
		}
		own.look(child.Process.Pid)
		engine.look(engineID)
		// Seldom: an answer costs the appliance time that is measured.
		if i++; i%10 != 0 {
			continue
		}
		if st, err := status(dir); err == nil && len(st.Logs) == 1 && st.Logs[0].Fetched > 0 {
			last = st
			rates.add(time.Since(began), st.Logs[0].Fetched)
			if fetchedAll == 0 && st.Logs[0].Fetched == log.Size {
				fetchedAll = time.Since(began)
			}
		}
	}
	took := time.Since(began)
	if waitErr := child.Wait(); waitErr != nil || err != nil {
		b.Fatalf("backfill: %v %v\n%s", waitErr, err, &out)
	}
	if !strings.Contains(out.String(), fmt.Sprintf("%d rows", log.Size)) {
		b.Fatalf("backfill did not say that it has %d rows:\n%s", log.Size, &out)
	}
	logAfter, err := used(log.pid)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(log.Size)/took.Seconds(), "entries/s")
	b.ReportMetric(perEntry(u.cpu, log.Size), "us/entry")
	b.ReportMetric(perEntry(u.children, log.Size), "engine-us/entry")
	b.ReportMetric(perEntry(logAfter.cpu-logBefore.cpu, log.Size), "log-us/entry")
	b.ReportMetric(mb(own.rss), "MB-peak")
	b.ReportMetric(mb(engine.rss), "engine-MB-peak")
	b.ReportMetric(mb(engine.anon), "engine-anon-MB")
	b.ReportMetric(mb(own.written+engine.written), "MB-written")
	if f := last.Logs; len(f) == 1 && f[0].Fetched > 0 {
		b.ReportMetric(float64(last.WAL.Appended)/float64(f[0].Fetched), "WAL-B/entry")
	}
	b.Logf("%d entries in %.2fs (fetched after %.2fs; fastest second %.0f entries); appliance %.2fs CPU, engine %.2fs, log %.2fs",
		log.Size, took.Seconds(), fetchedAll.Seconds(), rates.best, u.cpu.Seconds(), u.children.Seconds(), (logAfter.cpu - logBefore.cpu).Seconds())
	sizes(b, exe, library, dir, log.Size)
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
