//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"ctappliance/store/engine"
)

var (
	soakFor  = flag.Duration("soak", 0, "how long TestSoak lets things happen; 0: it does not run")
	soakSeed = flag.Uint64("soak.seed", 0, "`N` from which TestSoak draws what happens; 0: any")
	soakOnly = flag.String("soak.only", "", "let only that happen whose name holds `TEXT`")
	soakCSV  = flag.String("soak.csv", "", "`FILE` for the time series of TestSoak")
)

// How the appliance runs under TestSoak.
const (
	soakStart  = 20_000 // entries that each log has to begin with
	soakGrowth = 300    // entries per second and log; now and then ten times that
	soakSample = 10 * time.Second
	soakQuiet  = 10 * time.Second // at most, between two disturbances
)

// TestSoak runs the program as it is shipped for as long as it is told to,
// over two logs that grow all the time, while one thing after the other
// happens to it: deaths, hung processes, logs that fail, limit and lie for a
// while, full disks, damage, old copies. Nobody mends anything. At the end the
// ledger is compared with the logs, and the time series is printed.
//
//	make soak T=30m
func TestSoak(t *testing.T) {
	if *soakFor == 0 {
		t.Skip("runs with -soak=DURATION: make soak T=30m")
	}
	library, err := engine.Find("", filepath.Join("..", "..", "bin"))
	if err == nil {
		library, err = filepath.Abs(library)
	}
	if err != nil {
		t.Fatal(err)
	}
	seed := *soakSeed
	if seed == 0 {
		seed = rand.Uint64N(1<<32) + 1
	}
	dir, err := os.MkdirTemp("", "ctappliance-soak-")
	if err != nil {
		t.Fatal(err)
	}
	h := &crashHarness{t: t, dir: dir, n: 1 << 30, rnd: rand.New(rand.NewPCG(seed, 0)), exe: buildProgram(t, dir), library: library, alarms: true}
	h.adjust = func(config map[string]any) {
		config["flush"] = map[string]any{"interval": "1s"}
		config["wal"] = map[string]any{"segment-size": "1MiB", "reserve": "16MiB"}
		config["http"] = map[string]any{"poll-interval": "500ms"}
		config["audit-interval"] = "30s"
	}
	s := &soak{crashHarness: h, done: map[string][]time.Duration{}}
	t.Cleanup(func() {
		s.space.restore()
		if !t.Failed() {
			os.RemoveAll(dir)
			return
		}
		t.Logf("everything is left in %s; what happened follows from -soak.seed=%d", dir, seed)
		t.Logf("the appliance's last words:\n%s", tail(filepath.Join(dir, "appliance.log"), 15))
	})
	t.Logf("%v, -soak.seed=%d, in %s", *soakFor, seed, dir)
	s.run(t.Context(), seed)
}

// soak is a crash harness that does more than kill.
type soak struct {
	*crashHarness
	began   time.Time
	space   ballast
	samples []soakPoint
	done    map[string][]time.Duration // by deed: how long each took to be overcome
}

// soakPoint is one line of the time series.
type soakPoint struct {
	at                         time.Duration
	heads, verified, delivered uint64 // of both logs together
	refusals, requests         uint64
	rss, engineRSS, wal        int64 // bytes
	threads, alarmed           int
	trouble                    string
}

func (s *soak) run(ctx context.Context, seed uint64) {
	t, h := s.t, s.crashHarness
	h.prepare(seed, soakStart)
	if err := h.writeConfig(); err != nil {
		t.Fatal(err)
	}
	s.space.prepare(t, filepath.Join(h.dir, "data"))
	stop := make(chan struct{})
	var beside errgroup.Group
	for _, l := range h.logs {
		beside.Go(func() error { return s.grow(ctx, l, stop) })
	}
	s.began = time.Now()
	beside.Go(func() error { s.watch(ctx, stop); return nil })
	h.start()
	h.resumed()
	for time.Since(s.began) < *soakFor {
		time.Sleep(time.Duration(h.rnd.Int64N(int64(soakQuiet))))
		s.disturb(ctx)
	}
	h.resumed()
	close(stop)
	if err := beside.Wait(); err != nil {
		t.Fatal(err)
	}
	h.finish(ctx)
	c := h.count(ctx)
	h.audit(ctx)
	h.stop()
	h.listen()
	s.report(c)
}

// disturb lets one thing happen and waits until it is overcome: everything
// that the logs had when it was over is delivered.
func (s *soak) disturb(ctx context.Context) {
	deeds := slices.DeleteFunc(s.deeds(), func(d deed) bool { return !strings.Contains(d.name, *soakOnly) })
	if len(deeds) == 0 {
		s.t.Fatalf("nothing that can happen is called %q", *soakOnly)
	}
	d := deeds[s.rnd.IntN(len(deeds))]
	s.t.Logf("%8v %s", time.Since(s.began).Round(time.Second), d.name)
	d.do(ctx)
	over := time.Now()
	size := map[string]uint64{}
	for _, l := range s.logs {
		st, err := l.stats(ctx)
		if err != nil {
			s.t.Fatal(err)
		}
		size[l.Name] = st.Size
	}
	s.await("it has overcome: "+d.name, 20*time.Millisecond, 5*time.Minute, func() bool {
		st, ok := s.status()
		ok = ok && len(st.Logs) == len(s.logs)
		for _, l := range st.Logs {
			if l.Halted != "" {
				s.t.Fatalf("%s was halted: %s", l.Name, l.Halted)
			}
			ok = ok && l.Delivered >= size[l.Name]
		}
		return ok
	})
	s.deadEngine, s.measured = 0, true
	s.done[d.name] = append(s.done[d.name], time.Since(over))
}

// grow lets a log grow at a pace that changes.
func (s *soak) grow(ctx context.Context, l *crashLog, stop <-chan struct{}) error {
	const every = 250 * time.Millisecond
	tick := time.NewTicker(every)
	defer tick.Stop()
	for n := 0; ; n++ {
		add := uint64(soakGrowth * every / time.Second)
		if n%480 < 40 { // ten seconds of two minutes
			add *= 10
		}
		// A log that is stopped for a while does not answer; it grows later.
		if err := l.grow(ctx, add); err != nil && ctx.Err() != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-stop:
			return nil
		}
	}
}

// watch takes samples until stop is closed.
func (s *soak) watch(ctx context.Context, stop <-chan struct{}) {
	tick := time.NewTicker(soakSample)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			s.samples = append(s.samples, s.sample())
		case <-stop:
			return
		case <-ctx.Done():
			return
		}
	}
}

func (s *soak) sample() soakPoint {
	p := soakPoint{at: time.Since(s.began).Round(time.Second)}
	st, ok := s.status()
	if !ok {
		p.trouble = "not answering"
		return p
	}
	for _, l := range st.Logs {
		p.heads += l.Head
		p.verified += l.Verified
		p.delivered += l.Delivered
		if l.Pace != nil {
			p.refusals += l.Pace.Refusals
			p.requests += l.Pace.Requests
		}
	}
	p.wal, p.alarmed, p.trouble = st.WAL.Bytes, int(st.Alarmed), st.Delivery.Trouble
	p.rss, p.threads = memoryOf(st.PID)
	if st.Engine != nil {
		p.engineRSS, _ = memoryOf(st.Engine.PID)
	}
	return p
}

// memoryOf returns what a process holds, in bytes, and its threads.
func memoryOf(pid int) (rss int64, threads int) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, 0
	}
	for line := range bytes.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(string(line)), ":")
		n, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		switch name {
		case "VmRSS":
			rss = n << 10
		case "Threads":
			threads = int(n)
		}
	}
	return rss, threads
}

// report prints what was done and seen.
func (s *soak) report(c crashCount) {
	var b strings.Builder
	names := make([]string, 0, len(s.done))
	for name := range s.done {
		names = append(names, name)
	}
	slices.Sort(names)
	fmt.Fprintf(&b, "\n  %-52s %6s %12s\n", "what happened", "times", "longest back")
	times := 0
	for _, name := range names {
		times += len(s.done[name])
		fmt.Fprintf(&b, "  %-52s %6d %12v\n", name, len(s.done[name]), slices.Max(s.done[name]).Round(10*time.Millisecond))
	}
	fmt.Fprintf(&b, "\n  entries %d, rows in the ledger %d: lost %d, doubled %d, not of the logs %d, without their other rows %d\n", c.entries, c.rows, c.lost, c.doubled, c.foreign, c.orphans)
	fmt.Fprintf(&b, "  %d disturbances in %v, %d lives of the appliance\n\n", times, time.Since(s.began).Round(time.Second), s.lives)
	header := []string{"seconds", "head", "lag", "unverified", "refusals", "requests", "rss_mb", "engine_rss_mb", "threads", "wal_mb", "alarms", "trouble"}
	table := [][]string{header}
	for _, p := range s.samples {
		row := []string{fmt.Sprint(int(p.at.Seconds()))}
		for _, n := range []uint64{p.heads, p.heads - min(p.delivered, p.heads), p.heads - min(p.verified, p.heads), p.refusals, p.requests,
			uint64(p.rss >> 20), uint64(p.engineRSS >> 20), uint64(p.threads), uint64(p.wal >> 20), uint64(p.alarmed)} {
			row = append(row, fmt.Sprint(n))
		}
		table = append(table, append(row, p.trouble))
	}
	s.t.Log(b.String())
	if *soakCSV == "" {
		return
	}
	f, err := os.Create(*soakCSV)
	if err != nil {
		s.t.Error(err)
		return
	}
	defer f.Close()
	if err := csv.NewWriter(f).WriteAll(table); err != nil {
		s.t.Error(err)
	}
}
