//go:build linux

package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// crashLogs is how many logs the appliance follows under TestCrash.
const crashLogs = 2

// crashTotal is what the rounds of a run have done and seen together.
type crashTotal struct {
	mu sync.Mutex
	crashCount
	kills                             []crashKill
	rounds, lives, engines            int
	firstFetch, firstRows, engineRows time.Duration // longest
}

// round kills n times in a data directory of its own.
func (x *crashTotal) round(t *testing.T, exe, library string, n int, seed uint64) {
	dir, err := os.MkdirTemp("", "ctappliance-crash-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if !t.Failed() {
			os.RemoveAll(dir)
			return
		}
		t.Logf("everything is left in %s: data/, log-*/, appliance.log; the choices follow from -crash.seed=%d", dir, seed)
		t.Logf("the appliance's last words:\n%s", tail(filepath.Join(dir, "appliance.log"), 15))
	})
	h := &crashHarness{t: t, dir: dir, n: n, rnd: rand.New(rand.NewPCG(seed, 0)), exe: exe, library: library}
	c := h.run(t.Context(), seed)
	engines := 0
	if text, err := os.ReadFile(filepath.Join(dir, "appliance.log")); err == nil {
		engines = strings.Count(string(text), `msg="engine runs"`)
	}
	t.Logf("%d kills, %d entries: lost %d, doubled %d, not of the logs %d, without their other rows %d", n, c.entries, c.lost, c.doubled, c.foreign, c.orphans)
	x.mu.Lock()
	defer x.mu.Unlock()
	x.add(c)
	x.kills = append(x.kills, h.kills...)
	x.rounds, x.lives, x.engines = x.rounds+1, x.lives+h.lives, x.engines+engines
	x.firstFetch, x.firstRows, x.engineRows = max(x.firstFetch, h.firstFetch), max(x.firstRows, h.firstRows), max(x.engineRows, h.engineRows)
}

// report prints what was done and seen, and judges it.
func (x *crashTotal) report(t *testing.T, took time.Duration) {
	if x.rounds == 0 {
		return
	}
	c := x.crashCount
	victims := []string{killAppliance, killEngine, killBoth}
	var b strings.Builder
	row := func(name string, hit func(crashKill) bool) {
		by, sum := map[string]int{}, 0
		for _, k := range x.kills {
			if hit(k) {
				by[k.victim]++
				sum++
			}
		}
		if sum > 0 {
			fmt.Fprintf(&b, "  %-38s", name)
			for _, v := range append(victims, "all") {
				n := by[v]
				if v == "all" {
					n = sum
				}
				fmt.Fprintf(&b, " %10d", n)
			}
			b.WriteByte('\n')
		}
	}
	fmt.Fprintf(&b, "\n  %-38s %10s %10s %10s %10s\n", "killed with SIGKILL", killAppliance, killEngine, killBoth, "all")
	row("kills", func(crashKill) bool { return true })
	for _, s := range steps {
		if strings.HasPrefix(s, "wal-") {
			continue
		}
		name := "delivery at " + s
		switch {
		case s == "":
			name = "delivery not begun"
		case slices.Contains(insertSteps, s):
			name += " *"
		}
		row(name, func(k crashKill) bool { return k.delivery == s })
	}
	for _, s := range steps {
		if s != "" && !strings.HasPrefix(s, "wal-") {
			continue
		}
		name := "WAL at " + s
		switch s {
		case "":
			name = "WAL not written to yet"
		case "wal-written":
			name += " (tail unsynced) *"
		}
		row(name, func(k crashKill) bool { return k.wal == s && k.victim != killEngine })
	}
	row("in a dangerous window (*)", func(k crashKill) bool { return k.dangerous })
	n, dangerous := len(x.kills), 0
	for _, k := range x.kills {
		if k.dangerous {
			dangerous++
		}
	}
	deaths := x.lives - x.rounds
	fmt.Fprintf(&b, "\n  in a dangerous window: %d of %d kills, %d %%\n", dangerous, n, dangerous*100/n)
	fmt.Fprintf(&b, "  entries %d, rows in the ledger %d: lost %d, doubled %d, not of the logs %d, without their other rows %d\n", c.entries, c.rows, c.lost, c.doubled, c.foreign, c.orphans)
	fmt.Fprintf(&b, "  refetched, counted by the logs: %d entries, %d per death of the appliance (at most %d were asked for at once)\n", c.refetched, c.refetched/uint64(max(deaths, 1)), crashLogs*maxRefetch)
	fmt.Fprintf(&b, "  longest way back: first fetch %v, first delivery %v after a start; delivery %v after the engine alone was killed\n",
		x.firstFetch.Round(time.Millisecond), x.firstRows.Round(time.Millisecond), x.engineRows.Round(time.Millisecond))
	fmt.Fprintf(&b, "  %d lives of the appliance, %d of the engine, in %d data directories; %v\n", x.lives, x.engines, x.rounds, took.Round(time.Second))
	t.Log(b.String())
	if n >= 20 && dangerous*100 < 80*n {
		t.Errorf("%d of %d kills were in a dangerous window: fewer than 80 %% show little", dangerous, n)
	}
	if most := uint64(x.lives) * uint64(crashLogs*maxRefetch); c.refetched > most {
		t.Errorf("%d entries were refetched, more than the %d that can have been in flight: it does not go on where it was", c.refetched, most)
	}
}
