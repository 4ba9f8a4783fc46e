//go:build linux

package main

import (
	"context"
	"encoding/base64"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"golang.org/x/sync/errgroup"

	"ctappliance/cmd/ctappliance/config"
	"ctappliance/cmd/ctappliance/report"
	"ctappliance/ingest/ctlog/ctlogtest"
	"ctappliance/store/engine"
)

var (
	crashKills = flag.Int("crash.n", 0, "TestCrash kills `N` times; 0: three times, as part of all tests")
	crashSeed  = flag.Uint64("crash.seed", 0, "`N` from which TestCrash draws whom to kill, and where; 0: any")
)

// How the appliance runs under TestCrash: everything small, so that every step
// comes several times a second.
const (
	crashFlushRows = 300
	crashWorkers   = 2
	crashLead      = 4000 // entries that each log is ahead of what was delivered
	crashPage      = 256  // entries per answer of a demo log

	// maxRefetch bounds what one death may cost a log: the requests that a leg
	// plans ahead (two per worker in the queue, one behind it, one taken out)
	// and a partial tile.
	maxRefetch = (2*crashWorkers + 2 + 1) * crashPage
)

// TestCrash kills the appliance, its engine or both with SIGKILL again and
// again while they copy two logs that never stop growing, most often with an
// insert in flight or records in the WAL that are not synced. What is in the
// ledger afterwards is compared with what the logs' own processes say.
//
//	go test ./cmd/ctappliance -run TestCrash -v -timeout 0 -crash.n=50
func TestCrash(t *testing.T) {
	if testing.Short() {
		t.Skip("kills processes for half a minute")
	}
	library, err := engine.Find("", filepath.Join("..", "..", "bin"))
	if err == nil {
		library, err = filepath.Abs(library)
	}
	if err != nil {
		if *crashKills > 0 || os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skipf("the embedded engine is not here: make engine fetches it (%v)", err)
	}
	seed := *crashSeed
	if seed == 0 {
		seed = rand.Uint64N(1<<32) + 1
	}
	n := *crashKills
	if n == 0 {
		n = 3
	}
	exe := buildProgram(t, t.TempDir())
	t.Logf("%d kills, -crash.seed=%d", n, seed)
	total := &crashTotal{}
	began := time.Now()
	if n < 2*crashRound {
		total.round(t, exe, library, n, seed)
	} else {
		t.Run("round", func(t *testing.T) {
			for i := range (n + crashRound - 1) / crashRound {
				t.Run(fmt.Sprint(i+1), func(t *testing.T) {
					t.Parallel()
					total.round(t, exe, library, min(crashRound, n-i*crashRound), seed+uint64(i)<<32)
				})
			}
		})
	}
	total.report(t, time.Since(began))
}

// crashRound is how many kills a long run does to one data directory; then it
// begins another, as many at a time as there are cores (-parallel). The engine
// keeps every part for eight minutes: with thousands of kills in one directory
// most of the time would go by opening them.
const crashRound = 100

// crashHarness runs logs and appliance, and kills.
type crashHarness struct {
	t            *testing.T
	dir, exe     string
	library      string
	n            int
	rnd          *rand.Rand
	page         *stepPage
	logs         []*crashLog
	app          *proc
	began        time.Time // of the present life
	dataRequests uint64    // of both logs when it began
	out          *os.File
	adjust       func(config map[string]any)                        // nil: the configuration as it is
	chosen       func(logs []map[string]string) []map[string]string // nil: all logs, as they are
	alarms       bool                                               // are part of the story

	measured   bool // this life's way back to work was
	deadEngine int  // process ID of the engine killed last, until it is replaced
	engineDied time.Time

	kills       []crashKill
	lives       int
	firstFetch  time.Duration // longest, from the start of a life
	firstRows   time.Duration // longest, from the start of a life
	engineRows  time.Duration // longest, from an engine's death
	lastResumed string        // how the life before the next kill went, for the log
}

// prepare makes the page of steps and the file of the appliance's output, and
// starts a log of each kind with so many entries. All of it, and an appliance
// that still runs, ends with the test.
func (h *crashHarness) prepare(seed, entries uint64) {
	t := h.t
	t.Helper()
	t.Cleanup(func() {
		if h.app != nil {
			h.app.kill()
		}
		if h.out != nil {
			h.out.Close()
		}
		for _, l := range h.logs {
			l.stop()
		}
	})
	var err error
	if h.page, err = newStepPage(filepath.Join(h.dir, "steps")); err != nil {
		t.Fatal(err)
	}
	if h.out, err = os.Create(filepath.Join(h.dir, "appliance.log")); err != nil {
		t.Fatal(err)
	}
	for i, kind := range []ctlogtest.Kind{ctlogtest.RFC6962, ctlogtest.Static} {
		l, err := startLog(h.exe, filepath.Join(h.dir, "log-"+kind.String()), seed<<1+uint64(i), kind, entries)
		if err != nil {
			t.Fatal(err)
		}
		h.logs = append(h.logs, l)
	}
}

func (h *crashHarness) run(ctx context.Context, seed uint64) crashCount {
	t := h.t
	h.prepare(seed, crashLead)
	if err := h.writeConfig(); err != nil {
		t.Fatal(err)
	}
	stopGrowth := make(chan struct{})
	var feeders errgroup.Group
	for _, l := range h.logs {
		feeders.Go(func() error { return l.feed(ctx, stopGrowth, crashLead, h.delivered) })
	}
	h.start()
	for i := range h.n {
		plan := h.choose()
		h.lastResumed = "not waited for"
		if !plan.early {
			h.resumed()
		}
		k := h.strike(plan)
		h.kills = append(h.kills, k)
		t.Logf("kill %d: %s at %s; before it: %s", i+1, k.victim, k.moment, h.lastResumed)
	}
	h.resumed()
	close(stopGrowth)
	if err := feeders.Wait(); err != nil {
		t.Fatal(err)
	}
	h.finish(ctx)
	c := h.count(ctx)
	h.audit(ctx)
	h.stop()
	h.listen()
	return c
}

// writeConfig writes the appliance's configuration.
func (h *crashHarness) writeConfig() error {
	var logs []map[string]string
	for _, l := range h.logs {
		k := map[string]string{"name": l.Name, "url": l.URL, "key": base64.StdEncoding.EncodeToString(l.Key), "kind": l.Kind}
		if l.Origin != "" {
			k["submission-url"] = "https://" + l.Origin
		}
		logs = append(logs, k)
	}
	if h.chosen != nil {
		logs = h.chosen(logs)
	}
	config := map[string]any{
		"contact": "crash@localhost.invalid", "data-dir": filepath.Join(h.dir, "data"), "allow-private": true, "logs": logs,
		"engine": map[string]any{"library": h.library},
		"http":   map[string]any{"poll-interval": "100ms"},
		"fetch":  map[string]any{"partial-age": "1s", "workers": crashWorkers},
		"flush":  map[string]any{"rows": crashFlushRows, "interval": "100ms"},
		"wal":    map[string]any{"segment-size": "1MiB"},
	}
	if h.adjust != nil {
		h.adjust(config)
	}
	body, err := yaml.Marshal(config)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(h.dir, "config.yaml"), body, 0o600)
}

// start starts a life of the appliance, with something to fetch. Most lives
// send no deduplication tokens: that nothing is doubled must not depend on
// them. In some the WAL's budget is the brake.
func (h *crashHarness) start() {
	for _, l := range h.logs {
		s, err := l.stats(h.t.Context())
		if err == nil && s.Size-s.Distinct < crashPage {
			err = l.grow(h.t.Context(), crashPage)
		}
		if err != nil {
			h.t.Fatal(err)
		}
	}
	h.page.clear()
	cmd := exec.Command(h.exe, "run", "--config", filepath.Join(h.dir, "config.yaml"))
	budget := "64MiB"
	if h.rnd.IntN(4) == 0 {
		budget = "4MiB"
	}
	cmd.Env = append(os.Environ(), config.StepFileEnv+"="+h.page.path,
		fmt.Sprintf("CTAPPLIANCE_STORE_DEDUP_TOKENS=%v", h.rnd.IntN(4) == 0), "CTAPPLIANCE_WAL_BUDGET="+budget)
	cmd.Stderr = h.out
	h.dataRequests = h.requests()
	h.lives++
	h.measured, h.deadEngine = false, 0
	fmt.Fprintf(h.out, "--- life %d\n", h.lives)
	h.began = time.Now()
	var err error
	if h.app, err = startProc(cmd); err != nil {
		h.t.Fatalf("starting the appliance: %v", err)
	}
}

// requests is how often the logs were asked for entries.
func (h *crashHarness) requests() (n uint64) {
	for _, l := range h.logs {
		s, err := l.stats(h.t.Context())
		if err != nil {
			h.t.Fatal(err)
		}
		n += s.Requests[ctlogtest.ClassData]
	}
	return n
}

// await polls until ok, failing the test when that takes too long or the
// appliance ends by itself.
func (h *crashHarness) await(what string, every, patience time.Duration, ok func() bool) {
	h.t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(every) {
		if h.app.dead() {
			h.t.Fatalf("waiting until %s: the appliance ended by itself: %s", what, exitOf(h.app))
		}
		if time.Now().After(deadline) {
			h.t.Fatalf("waiting until %s: not within %v; it is at %s; its status: %s", what, patience, h.page.now(), h.statusText())
		}
	}
}

const crashPatience = 2 * time.Minute

// resumed waits until this life has fetched and delivered, or, if its engine
// was killed, delivers again.
func (h *crashHarness) resumed() {
	if h.deadEngine != 0 {
		h.awaitEngine()
		return
	}
	if h.measured {
		return
	}
	var fetch, rows time.Duration
	h.await("it fetches and delivers", time.Millisecond, crashPatience, func() bool {
		if fetch == 0 && h.requests() > h.dataRequests {
			fetch = time.Since(h.began)
		}
		if rows == 0 && h.page.now().delivery == "delivered" {
			rows = time.Since(h.began)
		}
		return fetch != 0 && rows != 0
	})
	h.measured = true
	h.firstFetch, h.firstRows = max(h.firstFetch, fetch), max(h.firstRows, rows)
	h.lastResumed = fmt.Sprintf("fetched after %v, delivered after %v", fetch.Round(time.Millisecond), rows.Round(time.Millisecond))
}

// status asks the appliance; ok is false while it starts.
func (h *crashHarness) status() (st report.Status, ok bool) {
	err := control(h.t.Context(), filepath.Join(h.dir, "data"), "GET", "/status", nil, &st)
	return st, err == nil
}

// delivered is how many entries of a log the appliance has delivered.
func (h *crashHarness) delivered(log string) (uint64, bool) {
	st, ok := h.status()
	for _, l := range st.Logs {
		if ok && l.Name == log {
			return l.Delivered, true
		}
	}
	return 0, false
}

func (h *crashHarness) statusText() string {
	st, ok := h.status()
	if !ok {
		return "none"
	}
	text := fmt.Sprintf("trouble %q, alarms %q, WAL %+v", st.Delivery.Trouble, st.Alarms, st.WAL)
	for _, l := range st.Logs {
		text += fmt.Sprintf("; %s %s %d/%d/%d of %d %s", l.Name, l.State, l.Fetched, l.Verified, l.Delivered, l.Head, l.LastError)
	}
	return text
}

// finish waits until everything that the logs have is delivered and verified.
func (h *crashHarness) finish(ctx context.Context) {
	size := map[string]uint64{}
	for _, l := range h.logs {
		s, err := l.stats(ctx)
		if err != nil {
			h.t.Fatal(err)
		}
		size[l.Name] = s.Size
	}
	h.await("everything is delivered and verified", 50*time.Millisecond, 5*time.Minute, func() bool {
		st, ok := h.status()
		done := ok && len(st.Logs) == len(h.logs)
		for _, l := range st.Logs {
			done = done && l.Head >= size[l.Name] && l.Delivered >= size[l.Name] && l.Verified >= size[l.Name]
			for _, s := range l.Spans { // the log's figures leave out what is fetched again
				done = done && (s.Kind != "repair" || s.Delivered >= s.To)
			}
			if l.Halted != "" {
				h.t.Fatalf("%s was halted: %s", l.Name, l.Halted)
			}
		}
		return done
	})
	if st, ok := h.status(); ok && st.Alarmed > 0 && !h.alarms {
		h.t.Errorf("alarms: %q", st.Alarms)
	}
}

// stop ends the appliance politely.
func (h *crashHarness) stop() {
	_ = h.app.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-h.app.ended:
	case <-time.After(time.Minute):
		h.t.Fatal("the appliance does not stop when told")
	}
	if h.app.err != nil {
		h.t.Errorf("stopped politely, the appliance ended with %s", exitOf(h.app))
	}
	h.app = nil
}

// listen fails the test if the appliance ever said what it must not say.
func (h *crashHarness) listen() {
	t := h.t
	text, err := os.ReadFile(filepath.Join(h.dir, "appliance.log"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.SplitSeq(string(text), "\n") {
		if strings.Contains(line, "msg=alarm") && !h.alarms || strings.Contains(line, "panic:") || strings.Contains(line, "fatal error:") {
			t.Errorf("the appliance said: %s", line)
		}
	}
}

// audit runs the program's own verification beside the running appliance.
func (h *crashHarness) audit(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, h.exe, "verify", "--config", filepath.Join(h.dir, "config.yaml"))
	if out, err := cmd.CombinedOutput(); err != nil {
		h.t.Errorf("ctappliance verify: %v\n%s", err, out)
	}
}

// restart waits for a dead appliance and starts the next life.
func (h *crashHarness) restart() {
	<-h.app.ended
	var exit *exec.ExitError
	if !errors.As(h.app.err, &exit) || exit.ExitCode() >= 0 {
		h.t.Fatalf("the appliance ended by itself: %s", exitOf(h.app))
	}
	h.start()
}

// isOneOf is slices.Contains with the list last.
func isOneOf(step string, list ...string) bool { return slices.Contains(list, step) }
