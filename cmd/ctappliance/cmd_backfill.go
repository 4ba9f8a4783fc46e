package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"ctappliance/cmd/ctappliance/config"
	"ctappliance/cmd/ctappliance/plain"
	"ctappliance/cmd/ctappliance/usage"
	"ctappliance/ingest"
	"ctappliance/ingest/ctlog"
)

func backfillCommand() *cli.Command {
	return &cli.Command{
		Name:  "backfill",
		Usage: "copy a range of one log, then stop",
		Description: "Copies entries [START, END) of one log, verifies them against the log's signed head and stops when\n" +
			"they are in the store. Ctrl-C is safe: the same command goes on where it was. While 'ctappliance run'\n" +
			"works on the data directory, the range is handed to it and this command shows the progress. Ranges of the log that an earlier backfill\n" +
			"left unfinished are finished too.\n\n" +
			"The log's key comes from --log-key, the config file's logs, or a log list (--log-list, or the lists as\n" +
			"'ctappliance logs --refresh' fetched them).\n\n" +
			"A log that has ended and lives on as an archive is read from there: --log-url file:///directory/ (or its\n" +
			"path), with tiles or zips of them, or the https URL of a zip, with --log-key or --log-name.",
		Flags: append([]cli.Flag{
			&cli.StringFlag{Name: "log-url", Usage: "the log: its `URL`, or a name or log ID of the log list"},
			&cli.StringFlag{Name: "log-key", Usage: "the log's public `KEY`: base64 of the DER, or a file (PEM, base64, DER)"},
			&cli.StringFlag{Name: "log-name", Usage: "what to call the log; an archive is looked up in the log list by this `NAME`"},
			&cli.StringFlag{Name: "kind", Usage: "protocol: auto, rfc6962, static, or archive for an https directory of tiles", Value: "auto"},
			&cli.StringFlag{Name: "submission-url", Usage: "submission prefix of a static log, if it is not the log's URL"},
			&cli.Uint64Flag{Name: "start", Usage: "first `INDEX`"},
			&cli.Uint64Flag{Name: "end", Usage: "`INDEX` behind the last entry; 0: the log's size now"},
			resumeHaltedFlag(),
			&cli.IntFlag{Name: "workers", Usage: "requests under way at once, `N` at most (fetch.workers)"},
		}, append(profileFlags(), config.Flags("contact", "data-dir", "store", "engine", "wal", "flush", "parse", "fetch", "log-list", "limits", "allow-private", "memory", "log")...)...),
		Action: profiled(backfill),
	}
}

func backfill(c *cli.Context) error {
	cfg, err := configured(c, false)
	if err != nil {
		return err
	}
	if c.IsSet("workers") {
		n := c.Int("workers")
		if n < 1 || n > 64 {
			return usage.Errorf("workers: %d is not between 1 and 64", n)
		}
		cfg.Fetch.Workers = n
	}
	if err := cfg.oneLog(c); err != nil {
		return err
	}
	if err := errors.Join(cfg.Validate(), cfg.ValidateLogs()); err != nil {
		return usage.Wrap(err)
	}
	start, end := c.Uint64("start"), c.Uint64("end")
	if end != 0 && end <= start {
		return usage.Errorf("end: %d is not behind start %d; [start, end) would be empty", end, start)
	}
	known, err := cfg.knownLogs()
	if err != nil {
		return err
	}
	hosts, quiet := newHosts(cfg), slog.New(slog.DiscardHandler)
	hosts.loadPace(cfg.DataDir, time.Now(), quiet)
	listed, err := cfg.resolveLog(c.Context, 0, known, hosts)
	if err != nil {
		return usage.Wrap(err)
	}
	info := listed.Info
	client, pacer, err := hosts.client(info, accessOf(&cfg.Logs[0]))
	if err != nil {
		return usage.Wrap(err)
	}
	head, err := headOf(c.Context, client)
	if err != nil {
		return err
	}
	if end == 0 {
		end = head.Size
	}
	if end > head.Size || start >= end {
		return usage.Errorf("the log has %d entries, so [%d,%d) is not all there; choose --start and --end within it", head.Size, start, end)
	}
	show := newProgress(c.App.Writer, stderr(c), info.Name, start, end)
	if err := cfg.handOver(c.Context, info, start, end, show); !errors.Is(err, errNotRunning) {
		return err
	}
	if err := cfg.makeDataDir(); err != nil {
		return err
	}
	log := cfg.operatorLog(c)
	if show.bar != nil {
		log = slog.New(slog.DiscardHandler) // lines would tear the bar apart; the summary follows
	}
	tiles := loadTiles(cfg.DataDir, quiet)
	if info.TileURL = tiles.find(c.Context, hosts, info, end-start); info.TileURL != "" {
		if client, pacer, err = hosts.client(info, accessOf(&cfg.Logs[0])); err != nil {
			return usage.Wrap(err)
		}
	}
	follow := ingest.Follow{Log: client, Pace: pacer, Spans: []ingest.Request{{From: start, To: end}}}
	err = cfg.runPipeline(c.Context, []ingest.Follow{follow}, log, func(pc *ingest.Config) func(context.Context, *ingest.Appliance) {
		pc.UntilDone, pc.ResumeHalted = true, c.Bool(resumeHalted)
		return func(ctx context.Context, a *ingest.Appliance) {
			show.watch(ctx, info, a.Status)
			hosts.savePace(cfg.DataDir, time.Now(), log) // the directory is ours while the pipeline lives
			tiles.save(cfg.DataDir, log)
		}
	})
	if err != nil {
		show.stop()
		return err
	}
	if c.Context.Err() != nil {
		show.stop()
		fmt.Fprintln(show.err, "ctappliance: interrupted; the same command goes on where this one was")
		return exitError(1)
	}
	show.finish()
	return nil
}

// oneLog makes the log that the flags name the only one of the configuration.
// What they do not say of it is taken from the configuration's logs. A name or
// log ID of the log list is replaced by the URL there.
func (c *settings) oneLog(ctx *cli.Context) error {
	l := config.LogConfig{URL: ctx.String("log-url"), Key: ctx.String("log-key"), Kind: ctx.String("kind"), SubmissionURL: ctx.String("submission-url"), Name: ctx.String("log-name")}
	if path, err := filepath.Abs(l.URL); err == nil && (strings.HasPrefix(l.URL, "/") || strings.HasPrefix(l.URL, "./") || strings.HasPrefix(l.URL, "../")) {
		l.URL = (&url.URL{Scheme: "file", Path: path}).String()
	}
	if l.URL == "" {
		return usage.Errorf("--log-url: is missing; write the log's URL, or its name together with --log-list")
	}
	if l.Key != "" {
		der, err := ctlog.ParseKey(l.Key)
		if err != nil {
			return usage.Errorf("--log-key: %w", err)
		}
		l.Key = base64.StdEncoding.EncodeToString(der)
	}
	for _, known := range c.Logs {
		if withSlash(known.URL) == withSlash(l.URL) || known.Name != "" && known.Name == l.URL {
			l.URL, l.Name, l.Operator = known.URL, plain.First(l.Name, known.Name), known.Operator
			l.Key, l.SubmissionURL = plain.First(l.Key, known.Key), plain.First(l.SubmissionURL, known.SubmissionURL)
			if l.Kind == "auto" {
				l.Kind = known.Kind
			}
		}
	}
	if !strings.Contains(l.URL, "://") {
		known, err := c.knownLogs()
		if err != nil {
			return err
		}
		if known == nil {
			return usage.Errorf("--log-url: %s is not a URL; write https://host/path/, or a name together with --log-list", plain.Quote(l.URL))
		}
		info, err := findListed(known, l.URL)
		if err != nil {
			return usage.Errorf("--log-url: %w", err)
		}
		l.URL = info.URL
	}
	if l.Key == "" && c.LogList == "" { // the lists as they were last fetched may have it
		known, err := c.knownLogs()
		if err != nil {
			return err
		}
		if info, err := findListed(known, l.URL); err == nil {
			l.Key = base64.StdEncoding.EncodeToString(info.Key)
		} else if info, err := findListed(known, l.Name); err == nil && l.Name != "" {
			l.Key = base64.StdEncoding.EncodeToString(info.Key)
		}
	}
	c.Logs, c.LogNames = []config.LogConfig{l}, nil
	c.Typed([]string{"logs", "logs[0]", "log-names"}, map[string]string{"logs[0].url": "--log-url", "logs[0].key": "--log-key", "logs[0].kind": "--kind",
		"logs[0].submission-url": "--submission-url", "logs[0].name": "--log-name"})
	return nil
}

// headOf asks once more where the first answer is not one.
func headOf(ctx context.Context, l ctlog.Log) (*ctlog.Head, error) {
	head, err := l.Head(ctx)
	if err != nil && ctx.Err() == nil {
		head, err = l.Head(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("%w; check --log-url and --log-key, and that the log is reachable from here", err)
	}
	return head, nil
}

// handOver gives the range to a running appliance and watches it there.
func (c *settings) handOver(ctx context.Context, info ctlog.Info, start, end uint64, show *progress) error {
	body, err := json.Marshal(ingest.SpanRequest{Log: hex.EncodeToString(info.ID[:]), From: start, To: end})
	if err != nil {
		return err
	}
	if err := control(ctx, c.DataDir, "POST", "/backfill", bytes.NewReader(body), &struct{}{}); err != nil {
		return err
	}
	watching, stop := context.WithCancel(ctx)
	defer stop()
	var failed error
	show.watch(watching, info, func() ingest.Status {
		var st ingest.Status
		if err := control(ctx, c.DataDir, "GET", "/status", nil, &st); err != nil {
			if failed == nil {
				failed = err
			}
			stop()
			return show.last
		}
		if halted := haltOf(&st, info); halted != "" {
			failed = fmt.Errorf("%s was halted: %s", plain.Printable(info.Name), plain.Printable(halted))
			stop()
		}
		if delivered, _, verified := within(&st, info, start, end); delivered >= end-start && verified >= end-start {
			stop()
		}
		return st
	})
	switch {
	case ctx.Err() != nil:
		show.stop()
		fmt.Fprintln(show.err, "ctappliance: the running appliance goes on with it")
		return exitError(1)
	case errors.Is(failed, errNotRunning):
		show.stop()
		return errors.New("the running appliance has ended; it goes on with the range when 'ctappliance run' is started again")
	case failed != nil:
		show.stop()
		return failed
	}
	show.finish()
	return nil
}

func haltOf(st *ingest.Status, info ctlog.Info) string {
	for i := range st.Logs {
		if st.Logs[i].ID == hex.EncodeToString(info.ID[:]) {
			return st.Logs[i].Halted
		}
	}
	return ""
}

// progress shows how far a range has come: a bar on a terminal, a line now and
// then elsewhere.
type progress struct {
	out, err   io.Writer
	name       string
	start, end uint64
	bar        *progressbar.ProgressBar
	began      time.Time
	first      uint64 // delivered when first looked at
	last       ingest.Status
	shown      bool // the bar
}

func newProgress(out, err io.Writer, name string, start, end uint64) *progress {
	p := &progress{out: out, err: err, name: name, start: start, end: end, began: time.Now()}
	if term.IsTerminal(int(os.Stderr.Fd())) {
		p.bar = progressbar.NewOptions64(int64(min(end-start, math.MaxInt64)), progressbar.OptionSetWriter(err),
			progressbar.OptionSetDescription(plain.Printable(name)), progressbar.OptionShowCount(), progressbar.OptionShowIts(),
			progressbar.OptionSetItsString("entries"), progressbar.OptionSetPredictTime(true), progressbar.OptionFullWidth(),
			progressbar.OptionThrottle(200*time.Millisecond))
	}
	return p
}

// within counts what a log's spans have of [start, end).
func within(st *ingest.Status, info ctlog.Info, start, end uint64) (delivered, fetched, verified uint64) {
	for i := range st.Logs {
		if st.Logs[i].ID != hex.EncodeToString(info.ID[:]) {
			continue
		}
		for _, s := range st.Logs[i].Spans {
			if s.Kind == "repair" {
				continue
			}
			from := max(s.From, start)
			count := func(mark uint64) uint64 { return max(min(mark, end), from) - from }
			delivered += count(s.Delivered)
			fetched += count(s.Cursor)
			verified += count(s.Verified)
		}
	}
	return delivered, fetched, verified
}

// watch shows status until ctx ends.
func (p *progress) watch(ctx context.Context, info ctlog.Info, status func() ingest.Status) {
	every := 10 * time.Second
	if p.bar != nil {
		every = 250 * time.Millisecond
	}
	p.last = status()
	p.first, _, _ = within(&p.last, info, p.start, p.end)
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	next := time.Now().Add(every)
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
		p.last = status()
		delivered, fetched, _ := within(&p.last, info, p.start, p.end)
		if p.bar != nil {
			p.shown = true
			_ = p.bar.Set64(int64(delivered))
			continue
		}
		if time.Now().Before(next) {
			continue
		}
		next = time.Now().Add(every)
		rate := float64(delivered-p.first) / time.Since(p.began).Seconds()
		eta := "unknown"
		if rate > 0 {
			eta = time.Duration(float64(p.end-p.start-delivered) / rate * float64(time.Second)).Round(time.Second).String()
		}
		fmt.Fprintf(p.err, "%s: %d of %d delivered (%.1f %%), %d fetched, %.0f entries/s, ETA %s%s\n", plain.Printable(p.name), delivered, p.end-p.start,
			100*float64(delivered)/float64(p.end-p.start), fetched, rate, eta, trouble(&p.last))
	}
}

func trouble(st *ingest.Status) string {
	if st.Delivery.Trouble != "" {
		return "; waiting: " + plain.Printable(st.Delivery.Trouble)
	}
	for _, l := range st.Logs {
		if l.LastError != "" && time.Since(l.ErrorAt) < 30*time.Second {
			return "; last error: " + plain.Printable(l.LastError)
		}
	}
	return ""
}

// stop leaves the bar as it is and begins a line.
func (p *progress) stop() {
	if p.shown {
		_ = p.bar.Exit()
		fmt.Fprintln(p.err)
	}
}

// finish prints what was done.
func (p *progress) finish() {
	if p.bar != nil {
		_ = p.bar.Finish()
		fmt.Fprintln(p.err)
	}
	if p.first >= p.end-p.start {
		fmt.Fprintf(p.out, "%s: entries [%d,%d) were delivered and verified before: %d rows\n", plain.Printable(p.name), p.start, p.end, p.end-p.start)
		return
	}
	fmt.Fprintf(p.out, "%s: entries [%d,%d) delivered and verified: %d rows in %v\n", plain.Printable(p.name), p.start, p.end, p.end-p.start, time.Since(p.began).Round(100*time.Millisecond))
}
