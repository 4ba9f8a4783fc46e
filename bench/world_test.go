//go:build linux

package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"ctappliance/ingest"
	"ctappliance/internal/world"
	"ctappliance/schema"
	"ctappliance/store"
	"ctappliance/store/engine"
)

var (
	worldFor   = flag.Duration("world", 0, "how long TestWorldSoak lasts; 0: it does not run")
	worldCSV   = flag.String("world.csv", "", "`FILE` for its time series, and beside it, as .txt, for what it prints; empty: none")
	worldScale = flag.Float64("world.scale", 0.25, "growth of its logs by growth of the real ones")
)

const sampleEvery = 10 * time.Second

// worldSoak is the program as it is shipped in a world of local logs.
type worldSoak struct {
	t      *testing.T
	w      *world.World
	dir    string
	exe    string
	config string
	port   int
	began  time.Time
	cmd    *exec.Cmd
	ended  chan error
	points []worldPoint
	out    strings.Builder // what is told at the end
}

// worldStatus is what is read of `status --json`.
type worldStatus struct {
	ingest.Status
	Engine struct {
		PID int `json:"pid"`
	} `json:"engine"`
}

// TestWorldSoak runs the program with a contact, a list and nothing else that
// matters, in a world of local logs that stands for the real lists: see
// package world. At the end every surviving log must be in the ledger, once
// and whole, and verified.
//
//	make world T=30m
func TestWorldSoak(t *testing.T) {
	if *worldFor == 0 {
		t.Skip("runs with -world=DURATION: make world T=30m")
	}
	s := &worldSoak{t: t, dir: t.TempDir()}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s.prepare(ctx)
	s.start()
	defer s.stop()
	acted := make(chan error, 1)
	go func() { acted <- s.w.Run(ctx, *worldFor) }()
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	for over := false; !over; {
		select {
		case err := <-acted:
			if err != nil {
				t.Fatal(err)
			}
			over = true
		case <-tick.C:
			s.points = append(s.points, s.sample(ctx))
		case err := <-s.ended:
			t.Fatalf("the appliance ended: %v\n%s", err, s.lastWords())
		}
	}
	if err := s.w.Freeze(); err != nil {
		t.Fatal(err)
	}
	s.finish(ctx)
	s.check(ctx)
	s.report()
}

func (s *worldSoak) prepare(ctx context.Context) {
	t := s.t
	read := func(name string) []byte {
		dir := os.Getenv("CTAPPLIANCE_DATA")
		if dir == "" {
			dir = filepath.Join("..", "..", "shared", "data")
		}
		b, err := os.ReadFile(filepath.Join(dir, "loglists", name))
		if errors.Is(err, fs.ErrNotExist) {
			t.Skipf("the real log lists are not here: %v", err)
		}
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	var err error
	s.w, err = world.New(world.Options{List: read("google-v3-81.14-2026-01-20.json"), Update: read("google-v3-85.92-2026-05-29.json"),
		Seed: 7, Scale: *worldScale, History: min(5*time.Minute, *worldFor/6), Resting: 2000})
	if err != nil {
		t.Fatal(err)
	}
	listURL, sigURL, err := s.w.Listen(ctx)
	if err != nil {
		t.Fatal(err)
	}
	s.exe = filepath.Join(s.dir, "ctappliance")
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-o", s.exe, "../cmd/ctappliance")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building the program: %v\n%s", err, out)
	}
	library, err := engine.Find("", filepath.Join("..", "bin"))
	if err == nil {
		library, err = filepath.Abs(library)
	}
	if err != nil {
		t.Fatal(err)
	}
	key := filepath.Join(s.dir, "list.pem")
	if err := os.WriteFile(key, s.w.ListKey(), 0o600); err != nil {
		t.Fatal(err)
	}
	s.port = freePort(t)
	s.config = filepath.Join(s.dir, "ctappliance.yaml")
	// What a user would have to write is the contact. The rest is because logs
	// and lists are on this machine, where hosts are believed to bear more and
	// have no names that are known, and because half an hour must do for half a
	// year.
	var limits []string
	for _, h := range s.w.Hosts() {
		u, err := url.Parse(h.URL())
		if err != nil {
			t.Fatal(err)
		}
		known := "start-qps: 8"
		if strings.HasSuffix(h.Name, ".digicert.com") {
			known = "start-qps: 0.25, keep-alive: off"
		}
		limits = append(limits, fmt.Sprintf("  - {host: %s, %s}\n", u.Hostname(), known))
	}
	text := fmt.Sprintf(`contact: world-soak@soak.home.arpa
data-dir: %s
allow-private: true
engine: {library: %s}
lists:
  refresh: 1m
  sources:
    - {url: "%s", sig: "%s", key: "%s"}
follow: {start: now+history}
metrics: {listen: "127.0.0.1:%d"}
limits:
%s`, filepath.Join(s.dir, "data"), library, listURL, sigURL, key, s.port, strings.Join(limits, ""))
	if err := os.WriteFile(s.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func freePort(t *testing.T) int {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// start starts the appliance. The kernel ends it when the test ends.
func (s *worldSoak) start() {
	log, err := os.Create(filepath.Join(s.dir, "appliance.log"))
	if err != nil {
		s.t.Fatal(err)
	}
	defer log.Close()
	s.cmd = exec.Command(s.exe, "run", "--config", s.config)
	s.cmd.Stderr = log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	s.ended = make(chan error, 1)
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // the parent in "parent death" is the thread that forked
		err := s.cmd.Start()
		started <- err
		if err == nil {
			s.ended <- s.cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		s.t.Fatal(err)
	}
	s.began = time.Now()
	for until := time.Now().Add(2 * time.Minute); ; {
		if _, err := s.status(s.t.Context()); err == nil {
			return
		} else if time.Now().After(until) {
			s.t.Fatalf("the appliance does not answer: %v\n%s", err, s.lastWords())
		}
		select {
		case err := <-s.ended:
			s.t.Fatalf("the appliance ended: %v\n%s", err, s.lastWords())
		case <-time.After(200 * time.Millisecond):
		}
	}
}

func (s *worldSoak) stop() {
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case err := <-s.ended:
		if err != nil && !s.t.Failed() {
			s.t.Errorf("the appliance ended: %v\n%s", err, s.lastWords())
		}
	case <-time.After(time.Minute):
		_ = s.cmd.Process.Kill()
		s.t.Error("the appliance did not stop within a minute")
	}
}

func (s *worldSoak) lastWords() string {
	b, _ := os.ReadFile(filepath.Join(s.dir, "appliance.log"))
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return strings.Join(lines[max(0, len(lines)-30):], "\n")
}

// run runs a command of the program that looks at the running one.
func (s *worldSoak) run(ctx context.Context, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, s.exe, append(args, "--config", s.config)...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return out, fmt.Errorf("%v: %w: %s", args, err, stderr.Bytes())
	}
	return out, nil
}

func (s *worldSoak) status(ctx context.Context) (st worldStatus, err error) {
	out, err := s.run(ctx, "status", "--json")
	if err == nil {
		err = json.Unmarshal(out, &st)
	}
	if err == nil && !st.Running {
		err = errors.New("it does not run yet")
	}
	return st, err
}

// gauge reads a value without labels from /metrics.
func (s *worldSoak) gauge(name string) float64 {
	client := &http.Client{Timeout: 10 * time.Second}
	response, err := client.Get(fmt.Sprintf("http://127.0.0.1:%d/metrics", s.port))
	if err != nil {
		return 0
	}
	defer response.Body.Close()
	var b bytes.Buffer
	if _, err := b.ReadFrom(response.Body); err != nil {
		return 0
	}
	for line := range strings.Lines(b.String()) {
		if text, ok := strings.CutPrefix(line, name+" "); ok {
			v, _ := strconv.ParseFloat(strings.TrimSpace(text), 64)
			return v
		}
	}
	return 0
}

// finish waits until every surviving log is copied and verified to its end:
// minutes, because partial tiles wait to fill, and because the host with the
// lowest limit allows ten requests a minute for six logs.
func (s *worldSoak) finish(ctx context.Context) {
	began := time.Now()
	for ctx.Err() == nil {
		st, err := s.status(ctx)
		left := s.incomplete(st, nil)
		if err == nil && left == 0 {
			fmt.Fprintf(&s.out, "%v after the logs had stopped growing all of them were copied and verified to their ends\n", time.Since(began).Round(time.Second))
			break
		}
		if time.Since(began) > 25*time.Minute {
			s.incomplete(st, s.t.Errorf)
			break
		}
		s.t.Logf("%v after the end %d logs are not complete", time.Since(began).Round(time.Second), left)
		select {
		case <-time.After(sampleEvery):
		case <-ctx.Done():
		}
		s.points = append(s.points, s.sample(ctx))
	}
}

// incomplete counts the surviving logs that are not copied or not verified to
// their end; report is told of each.
func (s *worldSoak) incomplete(st worldStatus, report func(string, ...any)) (n int) {
	have := byID(st)
	for _, l := range s.w.Logs() {
		if !l.Survives() {
			continue
		}
		got, listed := have[fmt.Sprintf("%x", l.ID)]
		size := l.Size()
		switch {
		case !listed && (l.Role == world.Closed || l.Role == world.Dropped):
			continue // not followed any more; the ledger tells
		case listed && got.Delivered >= size && got.Verified >= size:
			continue
		}
		n++
		if report != nil {
			report("%s (%s) has %d entries, %d verified, %d delivered: %s %s", l.Name, l.Role, size, got.Verified, got.Delivered, got.State, got.LastError)
		}
	}
	return n
}

func byID(st worldStatus) map[string]ingest.LogStatus {
	out := map[string]ingest.LogStatus{}
	for _, l := range st.Logs {
		out[l.ID] = l
	}
	return out
}

// check holds the ledger against the logs, and looks at what became of those
// that had a fate.
func (s *worldSoak) check(ctx context.Context) {
	t := s.t
	st, err := s.status(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var access struct{ DSN string }
	if err := s.ask(ctx, "/store", &access); err != nil {
		t.Fatal(err)
	}
	ledger, err := store.Open(ctx, store.Config{DSN: access.DSN, ReadOnly: true, Timeout: 5 * time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	defer ledger.Close()
	answer, err := ledger.Query(ctx, 0, "SELECT toString(log_id), count(), uniqExact(idx), max(idx) FROM ct.ledger GROUP BY log_id")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string][3]uint64{}
	for _, row := range answer.Rows {
		var n [3]uint64
		for i := range n {
			if n[i], err = strconv.ParseUint(row[i+1], 10, 64); err != nil {
				t.Fatal(err)
			}
		}
		rows[row[0]] = n
	}
	have, whole, entries := byID(st), 0, uint64(0)
	for _, l := range s.w.Logs() {
		id := strconv.FormatUint(schema.ShortID(l.ID), 10)
		n, size := rows[id], l.Size()
		delete(rows, id)
		got := have[fmt.Sprintf("%x", l.ID)]
		wrong := func(format string, args ...any) {
			t.Errorf("%s (%s), %s: %s", l.Name, l.Role, got.State, fmt.Sprintf(format, args...))
		}
		if n[0] != n[1] {
			wrong("%d rows of %d entries", n[0], n[1])
		}
		if l.Survives() {
			if n[1] != size || size > 0 && n[2] != size-1 {
				wrong("%d of %d entries are in the ledger, up to %d", n[1], size, n[2])
			} else {
				whole++
				entries += size
			}
		}
		switch l.Role {
		case world.Retired:
			if c := l.Count(); c.Requests > 0 {
				wrong("it was asked %d times", c.Requests)
			}
		case world.Retiring:
			if got.State != "closed" || got.Final != size {
				wrong("it has ended at %d and is followed to %d", size, got.Final)
			}
		case world.Lying:
			if got.State != "halted" || got.Evidence == "" || got.Verified > l.Honest() {
				wrong("it has rewritten its tree of %d: evidence %q, %d verified", l.Honest(), got.Evidence, got.Verified)
			}
		case world.Gone:
			if got.State != "retrying" || got.LastError == "" {
				wrong("it does not answer: %q", got.LastError)
			}
		case world.Moved:
			if again, of := l.Again(); again > of/2 || got.URL != l.URL() {
				wrong("%d of %d entries came a second time after it had moved; it is followed at %s", again, of, got.URL)
			}
		}
	}
	if len(rows) > 0 {
		t.Errorf("the ledger has rows of %d logs that are none of the world's", len(rows))
	}
	for _, alarm := range st.Alarms {
		// An audit may see that the liar serves other entries before its head does.
		if !slices.ContainsFunc(s.w.Of(world.Lying), func(l *world.Log) bool { return strings.Contains(alarm, l.Name) }) {
			t.Errorf("alarm: %s", alarm)
		}
	}
	fmt.Fprintf(&s.out, "%d logs survive and are whole: %d entries, each in the ledger once, all verified\n\n", whole, entries)
	for _, args := range [][]string{{"status"}, {"status", "--check"}} {
		out, err := s.run(ctx, args...)
		fmt.Fprintf(&s.out, "$ ctappliance %s\n%s", strings.Join(args, " "), bytes.ReplaceAll(out, []byte(s.dir), []byte("DIR")))
		if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
			fmt.Fprintf(&s.out, "(exit status %d)\n", exit.ExitCode())
		}
		fmt.Fprintln(&s.out)
	}
}

// ask asks the running appliance on its control socket.
func (s *worldSoak) ask(ctx context.Context, what string, into any) error {
	socket := filepath.Join(s.dir, "data", "ctl.sock")
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}, DisableKeepAlives: true}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://appliance"+what, nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	return json.NewDecoder(response.Body).Decode(into)
}
