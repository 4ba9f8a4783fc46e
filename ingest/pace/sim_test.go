package pace

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"time"

	"ctappliance/ingest/ctlog"
)

// client is a policy: it says when its next request leaves.
type client interface {
	// due returns when the next request wants to leave, not before now; no
	// value if only an answer can allow one.
	due(now float64) (at float64, any bool)
	// launch is told that a request leaves; what it returns comes back.
	launch(now float64) any
	done(now float64, launched any, o ctlog.Outcome)
}

// event is an arrival at the server, a place in service that becomes free, or
// an answer at the client.
type event struct {
	at     float64
	kind   int
	ticket any
	back   float64
	out    ctlog.Outcome
}

const (
	arrival = iota
	served
	answered
)

type events []event

func (e events) Len() int           { return len(e) }
func (e events) Less(i, j int) bool { return e[i].at < e[j].at }
func (e events) Swap(i, j int)      { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)        { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	old := *e
	x := old[len(old)-1]
	*e = old[:len(old)-1]
	return x
}

// result is what a simulation has measured after its warming up.
type result struct {
	used    float64 // share of the limit
	refused float64 // share of the requests
	row     int     // refusals in a row, at most, from the very beginning
	flight  int     // requests in flight, at most
	first   int     // refusals before the measuring
	total   int
}

func (r result) String() string {
	return fmt.Sprintf("%6.2f %% %6.3f %%", 100*r.used, 100*r.refused)
}

// simulate runs a client against a model in fake time, without goroutines.
// The first third of the time is not measured.
func simulate(m *model, c client, seed uint64, trace func(t float64)) result {
	w := newWorld(m, seed)
	measured := m.minutes * 60
	if measured == 0 {
		measured = 3600
	}
	warm := measured / 3
	var q events
	now, granted := 0.0, 0.0
	warming := true
	var r result
	nextTrace, flight := 0.0, 0
	for {
		at, any := c.due(now)
		if any && len(q) > 0 && q[0].at <= at {
			any = false
		}
		if !any && len(q) == 0 {
			panic("the client waits for nothing")
		}
		next := at
		if !any {
			next = q[0].at
		}
		if trace != nil && next >= nextTrace {
			trace(next)
			nextTrace = next + 1
		}
		if warming && next >= warm {
			warming = false
			r.first, w.served, w.refused, w.failed = w.refused, 0, 0, 0
		}
		if next >= warm+measured {
			break
		}
		now = next
		if any {
			there, back := w.way()
			flight++
			r.flight = max(r.flight, flight)
			heap.Push(&q, event{at: now + there, kind: arrival, ticket: c.launch(now), back: back})
			continue
		}
		e := heap.Pop(&q).(event)
		switch e.kind {
		case arrival:
			out, queue := w.arrive(now)
			if m.most > 0 && out.Status == 200 {
				w.serving++
				heap.Push(&q, event{at: now + queue + e.back, kind: served})
			}
			heap.Push(&q, event{at: now + queue + e.back*1.000001, kind: answered, ticket: e.ticket, out: out})
		case served:
			w.serving--
		case answered:
			flight--
			c.done(now, e.ticket, e.out)
		}
	}
	const grain = 1000
	for i := range grain {
		granted += m.limit(warm+(float64(i)+0.5)/grain*measured) * measured / grain
	}
	r.total = w.served + w.refused
	r.used = float64(w.served) / granted
	r.refused = float64(w.refused) / float64(max(1, r.total))
	r.row = w.worst
	return r
}

// ours is the pacer's own law behind a number of fetchers that always have
// something to ask. TestShellAgrees shows that the turnstile with its
// goroutines comes to the same.
type ours struct {
	law  *law
	free int
	zero time.Time
}

func newOurs(o Options, fetchers int, seed uint64) *ours {
	zero := time.Unix(1e9, 0)
	return &ours{law: newLaw(o, rand.New(rand.NewPCG(seed, 5)), zero), free: fetchers, zero: zero}
}

func (c *ours) time(now float64) time.Time { return c.zero.Add(seconds(now)) }

func (c *ours) due(now float64) (float64, bool) {
	if c.free == 0 {
		return 0, false
	}
	wait := c.law.wait(c.time(now))
	if wait < 0 {
		return 0, false
	}
	if wait > 0 {
		wait++ // the rounding to nanoseconds
	}
	return now + wait.Seconds(), true
}

func (c *ours) launch(now float64) any {
	c.free--
	return c.law.launch(c.time(now))
}

func (c *ours) done(now float64, launched any, o ctlog.Outcome) {
	c.law.done(c.time(now), launched.(tag), o)
	if c.free++; c.free == 1 {
		c.law.arrive(c.time(now))
	}
}
