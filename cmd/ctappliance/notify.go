package main

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"ctappliance/cmd/ctappliance/plain"
	"ctappliance/ingest"
)

// notifier tells the service manager how we are: sd_notify(3). Where none
// listens (NOTIFY_SOCKET is not set) it says nothing.
type notifier struct {
	ask      func(context.Context) (*applianceStatus, error) // the way that status goes: through the control socket
	send     func(message string) error
	watchdog time.Duration // without a sign of life for so long the manager kills us; 0: it does not look
	log      *slog.Logger
	ready    atomic.Bool // the manager has been told
}

// idleNotice is how often the manager hears from us where it has no watchdog.
const idleNotice = 30 * time.Second

// newNotifier reads the environment that the service manager made. It serves
// the appliance of a data directory.
func newNotifier(dir string, log *slog.Logger) *notifier {
	n := &notifier{send: notify, log: log}
	n.ask = func(ctx context.Context) (*applianceStatus, error) {
		var st applianceStatus
		err := control(ctx, dir, "GET", "/status", nil, &st)
		return &st, err
	}
	var err error
	if n.watchdog, err = daemon.SdWatchdogEnabled(false); err != nil {
		log.Warn("the service manager's watchdog is not understood, it hears nothing", "err", err)
	}
	return n
}

// notify sends to the service manager, if there is one.
func notify(message string) error {
	_, err := daemon.SdNotify(false, message)
	return err
}

// run says READY when the control socket answers for the first time, a line of
// status now and then, and STOPPING when ctx ends. The watchdog hears from us
// only while the status can be had through the control socket: it passes every
// lock of the pipeline, so one that hangs is killed, which loses nothing.
func (n *notifier) run(ctx context.Context) {
	every := idleNotice
	if n.watchdog > 0 {
		every = n.watchdog / 2
	}
	wait := 100 * time.Millisecond // until the socket is there
	failing := false
	for {
		st, err := n.look(ctx, every)
		if ctx.Err() != nil {
			break
		}
		if err == nil {
			message := daemon.SdNotifyWatchdog + "\nSTATUS=" + statusLine(st, time.Now())
			if !n.ready.Load() {
				message = daemon.SdNotifyReady + "\n" + message
			}
			err, wait = n.send(message), every
			n.ready.Store(true)
			if err != nil && !failing {
				n.log.Warn("the service manager does not hear us", "err", err)
			}
			failing = err != nil
		}
		select {
		case <-time.After(wait):
			continue
		case <-ctx.Done():
		}
		break
	}
	_ = n.send(daemon.SdNotifyStopping)
}

// look asks for the status, for a while.
func (n *notifier) look(ctx context.Context, patience time.Duration) (*applianceStatus, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return n.ask(ctx)
}

// reload tells the service manager that a configuration is being put in force;
// the returned function, that this is over, well or not. While we are starting
// it hears nothing of it: the end of a reload would tell it that we are ready.
func (n *notifier) reload() (done func()) {
	if !n.ready.Load() {
		return func() {}
	}
	_ = n.send(daemon.SdNotifyReloading + "\n" + daemon.SdNotifyMonotonicUsec())
	return func() { _ = n.send(daemon.SdNotifyReady) }
}

// statusLine is the status in a line.
func statusLine(st *applianceStatus, now time.Time) string {
	var all, waiting uint64
	for i := range st.Logs {
		all += st.Logs[i].Delivered
		waiting += behind(&st.Logs[i])
	}
	line := fmt.Sprintf("%s; %s entries delivered, %s behind, %s/s", states(st.Logs, now), plain.Count(all), plain.Count(waiting), plain.PerSecond(st.Delivery.Rate))
	if n := len(st.Alarms); n > 0 {
		line += fmt.Sprintf("; ALARMS: %d", n)
	}
	if why := notReady(st); why != "" {
		line += "; " + why
	}
	return plain.OnScreen(line)
}

// summarize writes a line to the log every ten minutes until ctx ends: that a
// healthy appliance says little must not mean that it says nothing.
func summarize(ctx context.Context, status func() applianceStatus, log *slog.Logger) {
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
func summary(before, now *applianceStatus) []any {
	var waiting, requests, refusals uint64
	var lag float64
	count := map[string]int{}
	was := map[string]ingest.LogStatus{}
	for _, l := range before.Logs {
		was[l.ID] = l
	}
	for i := range now.Logs {
		l := &now.Logs[i]
		waiting += behind(l)
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
	if why := notReady(now); why != "" {
		out = append(out, "reason", strings.TrimSpace(why))
	}
	return out
}
