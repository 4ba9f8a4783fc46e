//go:build linux

package main

import (
	"fmt"
	"os"
	"strings"
	"time"
)

// Whom a kill is for.
const (
	killAppliance = "appliance" // the kernel then kills its engine too
	killEngine    = "engine"    // the appliance lives on and starts another
	killBoth      = "both"      // the engine first
)

// crashKill is a kill that was done, and where it struck: for the appliance
// the step that it died in, for the engine the one that the appliance was in
// when the signal was on its way.
type crashKill struct {
	victim string
	moment
	dangerous bool
}

// crashPlan is a kill to come.
type crashPlan struct {
	victim, step string
	early        bool // do not wait until the life before it is measured
}

// insertSteps are those with an insert in flight: delivery has begun one and
// has no answer yet.
var insertSteps = []string{"dependents", "ledger", "resolve", "reinsert"}

// dangerous says whether a kill of victim at m hits an insert in flight or,
// where the WAL's own process dies, records that are written and not synced.
func (m moment) dangerous(victim string) bool {
	return isOneOf(m.delivery, insertSteps...) || victim != killEngine && m.wal == "wal-written"
}

func (m moment) String() string {
	name := func(step string) string {
		if step == "" {
			return "nothing yet"
		}
		return step
	}
	return fmt.Sprintf("%s, %s", name(m.delivery), name(m.wal))
}

// crashTargets are drawn from with these weights: windows in which something
// is in flight first, then the seams between them.
var crashTargets = []struct {
	step    string
	weight  int
	victims []string
}{
	{"dependents", 20, []string{killAppliance, killEngine, killBoth}},
	{"ledger", 26, []string{killAppliance, killEngine, killBoth}},
	{"wal-written", 20, []string{killAppliance, killAppliance, killBoth}},
	{"intent", 3, []string{killAppliance, killEngine}},
	{"acknowledged", 3, []string{killAppliance, killBoth}},
	{"delivered", 2, []string{killAppliance, killEngine}},
	{"wal-rotate", 3, []string{killAppliance}},
	{"wal-trim", 3, []string{killAppliance}},
	{"trim", 2, []string{killAppliance}},
	{"wal-synced", 1, []string{killAppliance}},
	{"starting", 3, []string{killAppliance}},
}

// firstTargets are the kills of a short run.
var firstTargets = []crashPlan{{victim: killAppliance, step: "ledger"}, {victim: killEngine, step: "dependents"}, {victim: killBoth, step: "wal-written"}}

// choose draws the next kill. After one that left a flush in doubt, the flush's
// resolution is a target too; while too few kills were in a dangerous window,
// only such are drawn.
func (h *crashHarness) choose() crashPlan {
	done := len(h.kills)
	if h.n <= len(firstTargets) {
		return firstTargets[done]
	}
	if done > 0 && h.rnd.IntN(3) == 0 && isOneOf(h.kills[done-1].delivery, "dependents", "ledger", "resolve", "reinsert", "acknowledged") {
		// Dependents in doubt mean that the ledger lacks all of the flush.
		step := "resolve"
		if isOneOf(h.kills[done-1].delivery, "dependents", "reinsert") && h.rnd.IntN(2) == 0 {
			step = "reinsert"
		}
		return crashPlan{victim: pick(h, []string{killAppliance, killEngine, killBoth}), step: step, early: true}
	}
	targets := crashTargets
	if h.dangerousKills()*100 < 88*done {
		targets = targets[:3]
	}
	sum := 0
	for _, x := range targets {
		sum += x.weight
	}
	at := h.rnd.IntN(sum)
	for _, x := range targets {
		if at -= x.weight; at < 0 {
			return crashPlan{victim: pick(h, x.victims), step: x.step, early: x.step == "starting"}
		}
	}
	panic("unreachable")
}

func pick(h *crashHarness, list []string) string { return list[h.rnd.IntN(len(list))] }

func (h *crashHarness) dangerousKills() (n int) {
	for _, k := range h.kills {
		if k.dangerous {
			n++
		}
	}
	return n
}

// Times of the hunt for a step.
const (
	roamMost   = 700 * time.Millisecond // of undisturbed work before it; a third of that in a long run, which meets everything anyway
	huntFor    = 4 * time.Second        // without pauses, for steps that last microseconds; then any dangerous window will do
	lingerMost = 3 * time.Millisecond   // in a step that takes longer than that
)

// strike carries a plan out and returns what it hit. The next life, or the next
// engine, is on its way when it returns.
func (h *crashHarness) strike(plan crashPlan) crashKill {
	if h.n > len(firstTargets) && !plan.early {
		most := roamMost
		if h.n >= crashRound {
			most /= 3
		}
		time.Sleep(time.Duration(h.rnd.Int64N(int64(most))))
	}
	engine, pid := (*os.Process)(nil), 0
	if plan.victim != killAppliance {
		h.await("it has an engine", 20*time.Millisecond, crashPatience, func() bool {
			if pid = childOf(h.app.pid()); pid == 0 || pid == h.deadEngine {
				return false
			}
			// A handle on the process: the number may be another's by and by.
			var err error
			engine, err = os.FindProcess(pid)
			return err == nil && parentOf(pid) == h.app.pid()
		})
		defer engine.Release()
	}
	linger := time.Duration(0)
	if isOneOf(plan.step, insertSteps...) && h.rnd.IntN(3) > 0 {
		linger = time.Duration(h.rnd.Int64N(int64(lingerMost)))
	}
	h.hunt(plan)
	for end := time.Now().Add(linger); time.Now().Before(end); {
	}
	before := h.page.now()
	if plan.victim != killAppliance {
		if engine.Kill() != nil { // it was fenced meanwhile
			return h.strike(plan)
		}
	}
	if plan.victim == killEngine {
		k := crashKill{plan.victim, h.page.now(), false}
		k.dangerous = k.moment.dangerous(plan.victim) && before.dangerous(plan.victim)
		// What delivery writes next is about its next attempt.
		h.page.clearDelivery()
		h.deadEngine, h.engineDied = pid, time.Now()
		return k
	}
	h.app.kill()
	k := crashKill{plan.victim, h.page.now(), false}
	k.dangerous = k.moment.dangerous(plan.victim)
	h.restart()
	return k
}

// hunt returns when the appliance is at the plan's step.
func (h *crashHarness) hunt(plan crashPlan) {
	if plan.step == "starting" {
		time.Sleep(time.Duration(h.rnd.IntN(1500)) * time.Millisecond)
		return
	}
	began := time.Now()
	for {
		m := h.page.now()
		waited := time.Since(began)
		switch {
		case strings.HasPrefix(plan.step, "wal-") && m.wal == plan.step, m.delivery == plan.step:
			return
		case waited > huntFor && m.dangerous(plan.victim):
			return
		case waited > crashPatience:
			h.t.Fatalf("the appliance shows no step for %v; it is at %s; its status: %s", waited, m, h.statusText())
		case h.app.dead():
			h.t.Fatalf("the appliance ended by itself: %s", exitOf(h.app))
		}
		if waited > huntFor {
			time.Sleep(50 * time.Microsecond)
		}
	}
}

// awaitEngine waits until the appliance, which nobody touched, has another
// engine and delivers to it.
func (h *crashHarness) awaitEngine() {
	rows, seen := uint64(0), false
	h.await("it delivers to the next engine", 5*time.Millisecond, crashPatience, func() bool {
		st, ok := h.status()
		if !ok || st.Engine == nil || st.Engine.PID == 0 || st.Engine.PID == h.deadEngine {
			return false
		}
		if !seen {
			rows, seen = st.Delivery.Rows, true
		}
		return st.Delivery.Rows > rows
	})
	took := time.Since(h.engineDied)
	h.engineRows = max(h.engineRows, took)
	h.deadEngine, h.measured = 0, true
	h.lastResumed = fmt.Sprintf("delivered to the next engine after %v", took.Round(time.Millisecond))
}
