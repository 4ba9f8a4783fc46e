package report

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"ctappliance/cmd/ctappliance/plain"
	"ctappliance/ingest"
)

// StatusLine is the status in a line.
func StatusLine(st *Status, now time.Time) string {
	var all, waiting uint64
	for i := range st.Logs {
		all += st.Logs[i].Delivered
		waiting += Behind(&st.Logs[i])
	}
	line := fmt.Sprintf("%s; %s entries delivered, %s behind, %s/s", states(st.Logs, now), plain.Count(all), plain.Count(waiting), plain.PerSecond(st.Delivery.Rate))
	if n := len(st.Alarms); n > 0 {
		line += fmt.Sprintf("; ALARMS: %d", n)
	}
	if why := NotReady(st); why != "" {
		line += "; " + why
	}
	return plain.OnScreen(line)
}

// Summarize writes a line to the log every ten minutes until ctx ends: that a
// healthy appliance says little must not mean that it says nothing.
func Summarize(ctx context.Context, status func() Status, log *slog.Logger) {
	tick := time.NewTicker(summaryEvery)
	defer tick.Stop()
	before := status()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		now := status()
		log.Info("so far", summary(&before, &now)...)
		before = now
	}
}

const summaryEvery = 10 * time.Minute

// summary says what has happened between two moments: what was delivered and
// refused, what is behind, and whatever is not well.
func summary(before, now *Status) []any {
	var waiting, requests, refusals uint64
	var lag float64
	count := map[string]int{}
	was := map[string]ingest.LogStatus{}
	for _, l := range before.Logs {
		was[l.ID] = l
	}
	for i := range now.Logs {
		l := &now.Logs[i]
		waiting += Behind(l)
		lag = max(lag, l.Lag)
		count[l.State]++
		if p := l.Pace; p != nil {
			o := was[l.ID].Pace
			if o == nil || o.Requests > p.Requests || o.Refusals > p.Refusals {
				requests, refusals = requests+p.Requests, refusals+p.Refusals
			} else {
				requests, refusals = requests+p.Requests-o.Requests, refusals+p.Refusals-o.Refusals
			}
		}
	}
	delivered := now.Delivery.Rows - min(before.Delivery.Rows, now.Delivery.Rows)
	out := []any{"logs", len(now.Logs), "delivered", delivered, "rate", plain.PerSecond(now.Delivery.Rate), "behind", waiting, "lag", plain.Brief(lag), "refused", plain.Share(refusals, requests),
		"wal", plain.Bytes(now.WAL.Bytes), "disk_free", plain.Bytes(now.Disk.Free)}
	if now.Disk.Lasts >= 0 {
		out = append(out, "disk_lasts", plain.Brief(now.Disk.Lasts))
	}
	for _, state := range []string{"retrying", "halted", "waiting"} {
		if n := count[state]; n > 0 {
			out = append(out, state, n)
		}
	}
	if why := NotReady(now); why != "" {
		out = append(out, "reason", strings.TrimSpace(why))
	}
	return out
}

// NotReady says why entries do not go all the way at present, or "". A log
// that is away or halted is no reason: others go on.
func NotReady(st *Status) string {
	switch {
	case st.Engine != nil && st.Engine.PID == 0:
		return "the engine is not running"
	case st.Delivery.Trouble != "":
		return "delivery waits: " + plain.Printable(st.Delivery.Trouble)
	case st.WAL.Stalled != "":
		return "WAL waits: " + plain.Printable(st.WAL.Stalled)
	}
	return ""
}
