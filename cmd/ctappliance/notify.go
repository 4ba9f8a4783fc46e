package main

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"ctappliance/cmd/ctappliance/report"
)

// notifier tells the service manager how we are: sd_notify(3). Where none
// listens (NOTIFY_SOCKET is not set) it says nothing.
type notifier struct {
	ask      func(context.Context) (*report.Status, error) // the way that status goes: through the control socket
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
	n.ask = func(ctx context.Context) (*report.Status, error) {
		var st report.Status
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
			message := daemon.SdNotifyWatchdog + "\nSTATUS=" + report.StatusLine(st, time.Now())
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
func (n *notifier) look(ctx context.Context, patience time.Duration) (*report.Status, error) {
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
