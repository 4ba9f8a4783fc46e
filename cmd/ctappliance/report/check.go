package report

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"ctappliance/cmd/ctappliance/config"
	"ctappliance/cmd/ctappliance/plain"
	"ctappliance/cmd/ctappliance/usage"
	"ctappliance/ingest"
)

// thresholds are what --check warns at. Zero values never warn.
type thresholds struct {
	behind    uint64        // entries of one log
	lag       time.Duration // since a log dated the newest delivered entry
	age       time.Duration // that an entry waits for the store
	wal       float64       // share of its budget
	refused   float64       // share of the requests to a log's host
	diskLasts time.Duration
	diskFree  int64 // bytes
}

// defaultThresholds suit an appliance that is left alone. How far behind a log
// may be is not known here: one that copies history is behind for weeks.
func defaultThresholds() thresholds {
	return thresholds{age: 10 * time.Minute, wal: 0.8, refused: 0.1, diskLasts: 72 * time.Hour}
}

const (
	// fewRequests is below what a share of refusals says little.
	fewRequests = 100
	// shortWindow is below what the growth of the disk wakes nobody.
	shortWindow = time.Hour
	// maxComplaints bounds the line of --check.
	maxComplaints = 12
)

func CheckFlags() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "check", Usage: "one line and an exit status for monitoring"},
		&cli.Uint64Flag{Name: "max-behind", Usage: "with --check: warn when a log is more than `N` entries behind; 0: never"},
		&cli.StringFlag{Name: "max-lag", Usage: "with --check: warn when the newest delivered entry of a log is older than `TIME` while more wait; 0: never", Value: "0"},
		&cli.DurationFlag{Name: "max-age", Usage: "with --check: warn when undelivered entries wait longer than this `TIME`; 0: never", Value: 10 * time.Minute},
		&cli.StringFlag{Name: "max-wal", Usage: "with --check: warn when the WAL takes more than this `SHARE` of its budget; 0: never", Value: "80%"},
		&cli.StringFlag{Name: "min-disk", Usage: "with --check: warn when the disk lasts shorter than this time, or has less than this size free: `3d or 20GiB`; 0: never", Value: "3d"},
		&cli.StringFlag{Name: "max-refused", Usage: "with --check: warn when a log lately refused more than this `SHARE` of the requests; 0: never", Value: "10%"},
	}
}

// ThresholdsOf reads the flags.
func ThresholdsOf(c *cli.Context) (thresholds, error) {
	t := thresholds{behind: c.Uint64("max-behind"), age: c.Duration("max-age")}
	wrong := func(name string, err error) error { return usage.Errorf("--%s: %w", name, err) }
	var err error
	if t.lag, err = parseTime(c.String("max-lag")); err != nil {
		return t, wrong("max-lag", err)
	}
	if t.wal, err = parseShare(c.String("max-wal")); err != nil {
		return t, wrong("max-wal", err)
	}
	if t.refused, err = parseShare(c.String("max-refused")); err != nil {
		return t, wrong("max-refused", err)
	}
	disk := c.String("min-disk")
	var bytes config.Size
	if t.diskLasts, err = parseTime(disk); err != nil {
		if bytes.UnmarshalText([]byte(disk)) != nil {
			return t, wrong("min-disk", fmt.Errorf("%s is neither a time such as 3d nor a size such as 20GiB", plain.Quote(disk)))
		}
		t.diskFree = int64(bytes)
	}
	return t, nil
}

// parseTime reads a time; 0 needs no unit.
func parseTime(s string) (time.Duration, error) {
	if strings.TrimSpace(s) == "0" {
		return 0, nil
	}
	var d config.Duration
	err := d.UnmarshalText([]byte(s))
	return time.Duration(d), err
}

// parseShare reads "80%" and "0.8".
func parseShare(s string) (float64, error) {
	number, percent := strings.CutSuffix(strings.TrimSpace(s), "%")
	v, err := strconv.ParseFloat(number, 64)
	if percent {
		v /= 100
	}
	if err != nil || !(v >= 0 && v <= 1) {
		return 0, fmt.Errorf("%s is not a share between 0%% and 100%%", plain.Quote(s))
	}
	return v, nil
}

// Check judges for monitoring: 0 ok, 1 warning, 2 critical. What follows
// the bar is for machines that draw curves.
func Check(st *Status, t thresholds, now time.Time) (level int, line string) {
	var critical, warning []string
	bad := func(format string, args ...any) { critical = append(critical, fmt.Sprintf(format, args...)) }
	warn := func(format string, args ...any) { warning = append(warning, fmt.Sprintf(format, args...)) }
	if !st.Running {
		bad("the appliance is not running")
	}
	critical = append(critical, plain.PrintableAll(st.Alarms)...)
	var delivered, waiting uint64
	var lag float64
	for i := range st.Logs {
		l := &st.Logs[i]
		delivered += l.Delivered
		waiting += Behind(l)
		lag = max(lag, l.Lag)
		t.checkLog(l, st.Recent[l.ID], now, bad, warn)
	}
	if all, _ := verdict(st.Logs); all.Missing > 0 || all.Doubled > 0 {
		bad("the audit counts %d entries missing, %d doubled", all.Missing, all.Doubled)
	}
	if st.Delivery.Trouble != "" {
		warn("delivery waits: %s", plain.Printable(st.Delivery.Trouble))
	}
	if st.WAL.Stalled != "" {
		warn("WAL waits: %s", plain.Printable(st.WAL.Stalled))
	}
	if st.Running && st.Engine != nil && st.Engine.PID == 0 {
		warn("the engine is %s", st.Engine.State)
	}
	if st.WAL.Budget > 0 && t.wal > 0 && float64(st.WAL.Bytes) > t.wal*float64(st.WAL.Budget) {
		warn("the WAL takes %s of its budget", plain.Share(uint64(max(0, st.WAL.Bytes)), uint64(st.WAL.Budget)))
	}
	if st.Running && st.WAL.Undelivered > 0 && t.age > 0 {
		since := ago(now, Latest(st.Delivery.Last, st.Since))
		if since > t.age.Seconds() {
			warn("nothing delivered for %s", plain.Brief(since))
		} else if st.Oldest > t.age.Seconds() {
			warn("the oldest undelivered entry waits for %s", plain.Brief(st.Oldest))
		}
	}
	switch d := &st.Disk; {
	case t.diskFree > 0 && d.Size > 0 && d.Free < t.diskFree:
		warn("%s of disk free", plain.Bytes(d.Free))
	case t.diskLasts > 0 && d.Lasts >= 0 && d.Window >= shortWindow.Seconds() && d.Lasts < t.diskLasts.Seconds():
		warn("the disk is full in %s at its present growth", plain.Brief(d.Lasts))
	}
	figures := fmt.Sprintf("%d logs, %d entries delivered, %d behind", len(st.Logs), delivered, waiting)
	perf := fmt.Sprintf(" | logs=%d delivered=%dc behind=%d lag=%.0fs wal=%dB", len(st.Logs), delivered, waiting, lag, st.WAL.Bytes)
	if st.WAL.Budget > 0 {
		perf += fmt.Sprintf(";;;0;%d", st.WAL.Budget)
	}
	if st.Disk.Size > 0 {
		perf += fmt.Sprintf(" disk_free=%dB;;;0;%d", st.Disk.Free, st.Disk.Size)
	}
	switch {
	case len(critical) > 0:
		level, line = 2, "CRITICAL: "+complaints(append(critical, warning...))+" ("+figures+")"
	case len(warning) > 0:
		level, line = 1, "WARNING: "+complaints(warning)+" ("+figures+")"
	default:
		line = "OK: " + figures
	}
	return level, strings.ReplaceAll(plain.OnScreen(line), "|", "/") + perf
}

// checkLog judges one log: of what is wrong with it, the worst.
func (t *thresholds) checkLog(l *ingest.LogStatus, r recentStatus, now time.Time, bad, warn func(string, ...any)) {
	if l.Halted != "" {
		bad("%s is halted: %s", plain.Printable(l.Name), plain.Printable(l.Halted))
		return
	}
	if l.Risk != "" {
		warn("%s may lose entries for good: %s", plain.Printable(l.Name), plain.Printable(l.Risk))
	}
	switch since := l.Heads.BehindSince; {
	case away(l, now):
		warn("%s does not answer: %s", plain.Printable(l.Name), plain.Printable(l.LastError))
	case !since.IsZero() && now.Sub(since) > time.Hour:
		warn("%s shows smaller heads than it signed before, for %s", plain.Printable(l.Name), plain.Brief(ago(now, since)))
	case t.behind > 0 && Behind(l) > t.behind:
		warn("%s is %d entries behind", plain.Printable(l.Name), Behind(l))
	case t.lag > 0 && Behind(l) > 0 && l.Lag > t.lag.Seconds():
		warn("%s lags by %s", plain.Printable(l.Name), plain.Brief(l.Lag))
	case t.refused > 0 && r.Requests >= fewRequests && float64(r.Refusals) > t.refused*float64(r.Requests):
		warn("%s refuses %s of the requests", plain.Printable(l.Name), plain.Share(r.Refusals, r.Requests))
	}
}

func complaints(all []string) string {
	if more := len(all) - maxComplaints; more > 0 {
		all = append(slices.Clone(all[:maxComplaints]), fmt.Sprintf("and %d more", more))
	}
	return strings.Join(all, "; ")
}
