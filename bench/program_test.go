//go:build linux

package bench

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"ctappliance/ingest"
	"ctappliance/ingest/ctlog/ctlogtest"
)

var profileDir = flag.String("profiles", "", "`DIRECTORY` for the processor profiles of the program; empty: they are shown and not kept")

var heapProfiles = flag.Bool("heap", false, "with -profiles: keep a heap profile, too, of when the program was largest")

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

// program is one run of the program, and what was seen of it.
type program struct {
	b       testing.TB
	exe     string
	dir     string // its data
	profile string // file, written at its end
	cmd     *exec.Cmd
	said    bytes.Buffer

	askEvery         int // looks: an answer costs the appliance time that is measured
	logPID, engineID int
	logBefore        time.Duration

	began       time.Time
	took        time.Duration // until done, or its end
	cpu         usage         // then; children: the engine
	log         time.Duration // CPU of the demo log
	own, engine peaks
	points      []point
	last        ingest.Status
	heapAt      int64 // resident set at which the heap profile was taken
}

// point is one look at the program.
type point struct {
	at                 time.Duration
	own, engine        time.Duration // processor time so far
	fetched, delivered uint64        // entries of all logs
	asked              time.Duration // how long the answer to "status" took
}

const lookEvery = 20 * time.Millisecond

// start starts the program on a new data directory.
func start(b testing.TB, exe, library string, logPID int, args ...string) *program {
	p := &program{b: b, exe: exe, dir: b.TempDir(), profile: *profileDir, askEvery: 10, logPID: logPID}
	if p.profile == "" {
		p.profile = b.TempDir()
	}
	p.profile = filepath.Join(p.profile, strings.ReplaceAll(b.Name(), "/", "-")+".pprof")
	p.cmd = exec.Command(exe, append(args, "--data-dir", p.dir, "--engine-library", library, "--log-level", "warn", "--cpu-profile", p.profile)...)
	p.cmd.Stdout, p.cmd.Stderr = &p.said, &p.said
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	p.logBefore = cpuOf(logPID)
	p.began = time.Now()
	if err := p.cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = p.cmd.Process.Kill() })
	return p
}

// watch looks at the program until done says so of its status, or until it has
// ended if done is nil.
func (p *program) watch(done func(*ingest.Status) bool) {
	pid := p.cmd.Process.Pid
	for i := 1; ; i++ {
		u, err := used(pid)
		if err != nil || u.ended {
			p.cpu = u
			if done != nil || err != nil {
				p.b.Fatalf("the program has ended: %v\n%s", err, &p.said)
			}
			break
		}
		p.own.look(pid)
		p.keepHeap()
		if _, err := used(p.engineID); err != nil { // none yet, or it was one that only looked
			if id := childOf(pid); id != 0 {
				p.engineID = id
			}
		}
		p.engine.look(p.engineID)
		if i%p.askEvery == 0 && p.ask() && done != nil && done(&p.last) {
			break
		}
		time.Sleep(lookEvery)
	}
	p.took = time.Since(p.began)
	if done != nil {
		p.cpu.cpu, p.cpu.children = cpuOf(pid), cpuOf(p.engineID)
	}
	p.log = cpuOf(p.logPID) - p.logBefore
}

// keepHeap keeps a heap profile if the program is a good deal larger than when
// the last was kept. What the profile shows is of the last collection before.
func (p *program) keepHeap() {
	if !*heapProfiles || *profileDir == "" || p.own.rss < p.heapAt+8<<20 {
		return
	}
	profile, err := controlBytes(p.dir, "/profile?kind=heap")
	if err == nil {
		err = os.WriteFile(strings.TrimSuffix(p.profile, ".pprof")+".heap.pprof", profile, 0o600)
		p.heapAt = p.own.rss
	}
	if err != nil && len(p.points) > 0 { // it answers
		p.b.Logf("no heap profile: %v", err)
	}
}

// ask asks the program for its status and notes what it says.
func (p *program) ask() bool {
	asked := time.Now()
	st, err := status(p.dir)
	if err != nil || len(st.Logs) == 0 {
		return false // it begins, or ends
	}
	now := time.Now()
	pt := point{at: now.Sub(p.began), asked: now.Sub(asked), own: cpuOf(p.cmd.Process.Pid), engine: cpuOf(p.engineID)}
	for _, l := range st.Logs {
		pt.fetched += l.Fetched
		pt.delivered += l.Delivered
	}
	p.points, p.last = append(p.points, pt), st
	return true
}

// end waits for the end of the program, of which it is told where it does not
// end by itself.
func (p *program) end(stop bool) {
	if stop {
		_ = p.cmd.Process.Signal(syscall.SIGTERM)
	}
	if err := p.cmd.Wait(); err != nil {
		p.b.Fatalf("the program: %v\n%s", err, &p.said)
	}
}

// fastest is the most entries that were fetched in a second.
func (p *program) fastest() (best float64) {
	from := 0
	for _, pt := range p.points {
		for from+1 < len(p.points) && pt.at-p.points[from+1].at >= time.Second {
			from++
		}
		if d := pt.at - p.points[from].at; d >= time.Second {
			best = max(best, float64(pt.fetched-p.points[from].fetched)/d.Seconds())
		}
	}
	return best
}

// fetchedAfter is when so many entries were in the WAL.
func (p *program) fetchedAfter(n uint64) time.Duration {
	for _, pt := range p.points {
		if pt.fetched >= n {
			return pt.at
		}
	}
	return p.took
}

// report gives the metrics of a run of so many entries.
func (p *program) report(b *testing.B, entries uint64) {
	n := float64(entries)
	b.ReportMetric(0, "ns/op") // says nothing beside entries/s
	b.ReportMetric(n/p.took.Seconds(), "entries/s")
	b.ReportMetric(perEntry(p.cpu.cpu, entries), "us/entry")
	b.ReportMetric(perEntry(p.cpu.children, entries), "engine-us/entry")
	b.ReportMetric(perEntry(p.log, entries), "log-us/entry")
	b.ReportMetric(mb(p.own.rss), "MB-peak")
	b.ReportMetric(mb(p.engine.rss), "engine-MB-peak")
	b.ReportMetric(mb(p.engine.anon), "engine-anon-MB")
	b.ReportMetric(float64(p.own.written)/n, "written-B/entry")
	b.ReportMetric(float64(p.engine.written)/n, "engine-written-B/entry")
}

// top logs the top ten of the run's processor profile.
func (p *program) top() {
	out, err := exec.Command("go", "tool", "pprof", "-top", "-nodecount=10", p.exe, p.profile).Output()
	if err != nil {
		p.b.Fatalf("reading the profile: %v", err)
	}
	_, list, _ := strings.Cut(string(out), "Showing nodes")
	_, list, _ = strings.Cut(list, "flat  flat%")
	p.b.Logf("top ten of the profile:\n      flat  flat%%%s", strings.TrimRight(list, "\n"))
}

// control asks the program over its control socket.
func control(dir, what string, into any) error {
	answer, err := controlBytes(dir, what)
	if err != nil {
		return err
	}
	return json.Unmarshal(answer, into)
}

func controlBytes(dir, what string) ([]byte, error) {
	client := http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", filepath.Join(dir, "ctl.sock"))
		}}}
	response, err := client.Get("http://appliance" + what)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %q", response.Status, answer)
	}
	return answer, err
}

func status(dir string) (st ingest.Status, err error) { return st, control(dir, "/status", &st) }

// sql runs a statement in the store of the running program, with its rights.
func (p *program) sql(statement string) string {
	var access struct {
		DSN string `json:"dsn"`
	}
	if err := control(p.dir, "/store", &access); err != nil {
		p.b.Fatal(err)
	}
	response, err := http.Post(access.DSN, "text/plain", strings.NewReader(statement))
	if err != nil {
		p.b.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		p.b.Fatalf("%s: %s %s %v", statement, response.Status, body, err)
	}
	return string(body)
}

var tables = []string{"ledger", "certs", "profiles", "name_certs", "names", "issuers", "problems"}

// merge merges every table of the running program to the end.
func (p *program) merge() {
	for _, t := range tables {
		p.sql("OPTIMIZE TABLE ct." + t + " FINAL")
	}
}

// sizesSQL asks for what the tables have on disk.
const sizesSQL = "SELECT table, sum(rows), sum(bytes_on_disk), count() FROM system.parts WHERE database = 'ct' AND active GROUP BY table ORDER BY 3 DESC"

// sizes logs the answer to sizesSQL and returns the rows of the tables, and the
// bytes of all.
func sizes(b testing.TB, answer string, entries uint64) (rows map[string]uint64, total uint64) {
	rows = map[string]uint64{}
	var list strings.Builder
	for i, line := range strings.Split(strings.TrimSpace(answer), "\n") {
		var table string
		var n, size, parts uint64
		if _, err := fmt.Sscan(line, &table, &n, &size, &parts); err != nil {
			if i == 0 {
				continue // a header
			}
			b.Fatalf("the engine said %q: %v", line, err)
		}
		rows[table] = n
		total += size
		fmt.Fprintf(&list, "\n%-12s %9d rows in %2d parts %11d bytes %7.2f B/entry", table, n, parts, size, float64(size)/float64(entries))
	}
	b.Logf("on disk:%s", list.String())
	return rows, total
}

// logArgs are the flags of a backfill that name a log.
func logArgs(l *ctlogtest.ReadyLog) []string {
	args := []string{"--log-url", l.URL, "--log-key", base64.StdEncoding.EncodeToString(l.Key), "--kind", l.Kind, "--allow-private"}
	if l.Origin != "" {
		args = append(args, "--submission-url", "https://"+l.Origin)
	}
	return args
}

// configure writes a configuration for "run" that follows logs from start on
// and has rows wait for a flush no longer than interval.
func configure(b testing.TB, logs []ctlogtest.ReadyLog, start string, interval time.Duration) string {
	var list []map[string]any
	for _, l := range logs {
		item := map[string]any{"name": l.Name, "url": l.URL, "kind": l.Kind, "key": base64.StdEncoding.EncodeToString(l.Key), "start": start}
		if l.Origin != "" {
			item["submission-url"] = "https://" + l.Origin
		}
		list = append(list, item)
	}
	// JSON is YAML.
	body, err := json.Marshal(map[string]any{"allow-private": true, "contact": "bench@localhost.invalid", "metrics": map[string]any{"listen": "none"},
		"flush": map[string]any{"interval": interval.String()}, "logs": list})
	if err != nil {
		b.Fatal(err)
	}
	path := filepath.Join(b.TempDir(), "config.yaml")
	if err := os.WriteFile(path, body, 0o600); err != nil {
		b.Fatal(err)
	}
	return path
}
