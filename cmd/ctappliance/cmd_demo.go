package main

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/urfave/cli/v2"

	"ctappliance/cmd/ctappliance/config"
	"ctappliance/cmd/ctappliance/report"
	"ctappliance/cmd/ctappliance/usage"
	"ctappliance/ingest/ctlog/ctlogtest"
	"ctappliance/store"
)

func demoCommand() *cli.Command {
	return &cli.Command{
		Name:  "demo",
		Usage: "watch the appliance at work: a log on this machine, a crash, and every entry exactly once",
		Description: "Starts a Certificate Transparency log on loopback that speaks both protocols, and an appliance with\n" +
			"the embedded ClickHouse that copies it; kills the appliance with SIGKILL half-way, starts it again, and\n" +
			"counts. The data stays in --dir to be looked at.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "dir", Usage: "`DIRECTORY` of the demo's data", Value: "demo-data"},
			&cli.Uint64Flag{Name: "entries", Usage: "generated entries per log, `N`", Value: 100_000},
			&cli.StringFlag{Name: "captured", Usage: "`DIRECTORY` with captured entries of real logs; default: ../shared/data if it is there", EnvVars: []string{"CTAPPLIANCE_DATA"}},
			&cli.StringFlag{Name: "library", Usage: "path of libchdb.so (engine.library)"},
			&cli.BoolFlag{Name: "fresh", Usage: "throw away what an earlier demo left in the directory"},
			&cli.BoolFlag{Name: "no-kill", Usage: "leave out the crash"},
		},
		Action: func(c *cli.Context) error {
			if err := usage.NoArguments(c); err != nil {
				return err
			}
			d := &demo{out: c.App.Writer, err: stderr(c), dir: c.String("dir"), entries: c.Uint64("entries"), captured: c.String("captured"), library: c.String("library"), kill: !c.Bool("no-kill")}
			if d.entries < 1 || d.entries > 2_000_000 {
				return usage.Errorf("entries: %d is not between 1 and 2000000", d.entries)
			}
			return d.run(c.Context, c.Bool("fresh"))
		},
		Subcommands: []*cli.Command{demoLogCommand()},
	}
}

// demoMark is the file that says that a directory is a demo's, and may be
// thrown away.
const demoMark = "this-is-a-demo"

type demo struct {
	out, err io.Writer
	dir      string
	entries  uint64
	captured string
	library  string
	kill     bool

	exe    string
	ready  ctlogtest.Ready
	config string
	target uint64 // entries of each log when it is fully grown
}

func (d *demo) run(ctx context.Context, fresh bool) (err error) {
	if d.exe, err = os.Executable(); err != nil {
		return fmt.Errorf("finding our own program: %w", err)
	}
	if err := d.prepare(fresh); err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	began := time.Now()
	fmt.Fprintf(d.out, "== a log that speaks both protocols, on this machine\n")
	endLog, err := d.startLog(ctx)
	if err != nil {
		return err
	}
	defer endLog()
	for _, l := range d.ready.Logs {
		fmt.Fprintf(d.out, "   %-8s %s  %d entries and growing to %d\n", l.Kind, l.URL, l.Size, d.target)
	}
	if err := d.writeConfig(); err != nil {
		return err
	}
	fmt.Fprintf(d.out, "\n== the appliance: %s run --config %s\n", filepath.Base(d.exe), d.config)
	if err := d.ingest(ctx); err != nil {
		return err
	}
	return d.show(ctx, time.Since(began))
}

func (d *demo) prepare(fresh bool) error {
	mark := filepath.Join(d.dir, demoMark)
	_, marked := os.Stat(mark)
	if list, err := os.ReadDir(d.dir); err == nil && len(list) > 0 {
		if marked != nil {
			return fmt.Errorf("%s holds something that is no demo's; choose another directory with --dir", d.dir)
		}
		if fresh {
			if err := os.RemoveAll(d.dir); err != nil {
				return fmt.Errorf("throwing the old demo away: %w", err)
			}
		} else {
			fmt.Fprintf(d.out, "%s is there from an earlier demo: the appliance goes on where it was (--fresh starts anew)\n", d.dir)
		}
	}
	if err := os.MkdirAll(d.dir, 0o755); err != nil {
		return fmt.Errorf("creating the demo's directory: %w", err)
	}
	if err := os.WriteFile(mark, []byte("The data of 'ctappliance demo'. It may be deleted.\n"), 0o644); err != nil {
		return fmt.Errorf("creating the demo's directory: %w", err)
	}
	d.config = filepath.Join(d.dir, "config.yaml")
	if d.captured == "" {
		if _, err := os.Stat("../shared/data/static"); err == nil {
			d.captured = "../shared/data"
		} else {
			fmt.Fprintln(d.out, "no captured entries of real logs here (../shared/data): generated ones alone")
		}
	}
	return nil
}

// startLog starts the demo log in a process of its own and waits until it
// answers. It ends when its standard input does, and so with us.
func (d *demo) startLog(ctx context.Context) (end func(), err error) {
	args := []string{"demo", "log", "--entries", fmt.Sprint(d.entries), "--list-dir", d.dir}
	if d.captured != "" {
		args = append(args, "--captured", d.captured)
	}
	child := exec.CommandContext(ctx, d.exe, args...)
	child.Stderr = os.Stderr
	stdin, err := child.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := child.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := child.Start(); err != nil {
		return nil, fmt.Errorf("starting the demo log: %w", err)
	}
	end = func() {
		stdin.Close()
		_ = child.Wait()
	}
	line, err := bufio.NewReaderSize(stdout, 1<<20).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &d.ready)
	}
	if err != nil {
		end()
		return nil, fmt.Errorf("starting the demo log: %w", err)
	}
	for _, l := range d.ready.Logs {
		d.target = max(d.target, l.Size)
	}
	d.target = demoSize(d.target, d.entries)
	return end, nil
}

func (d *demo) writeConfig() error {
	abs, err := filepath.Abs(filepath.Join(d.dir, "data"))
	if err != nil {
		return err
	}
	type logKeys struct {
		Name          string `yaml:"name"`
		URL           string `yaml:"url"`
		Key           string `yaml:"key"`
		Kind          string `yaml:"kind"`
		SubmissionURL string `yaml:"submission-url,omitempty"`
	}
	doc := map[string]any{"contact": "demo@localhost.invalid", "data-dir": abs, "allow-private": true, "http": map[string]string{"poll-interval": "1s"},
		"flush": map[string]string{"interval": "1s"}, "fetch": map[string]string{"partial-age": "2s"}}
	if d.library != "" {
		doc["engine"] = map[string]string{"library": d.library}
	}
	var logs []logKeys
	for _, l := range d.ready.Logs {
		k := logKeys{Name: l.Name, URL: l.URL, Key: base64.StdEncoding.EncodeToString(l.Key), Kind: l.Kind}
		if l.Origin != "" {
			k.SubmissionURL = "https://" + l.Origin
		}
		logs = append(logs, k)
	}
	doc["logs"] = logs
	body, err := yaml.Marshal(doc)
	if err != nil {
		return err
	}
	return os.WriteFile(d.config, append([]byte("# Written by 'ctappliance demo'; the ports are those of its last run.\n"), body...), 0o600)
}

// ingest runs the appliance until both logs are in the store and verified, and
// kills it once on the way.
func (d *demo) ingest(ctx context.Context) error {
	killed := !d.kill
	for life := 1; ; life++ {
		child := exec.CommandContext(ctx, d.exe, "run", "--config", d.config, "--log-level", "warn")
		child.Stderr = os.Stderr
		child.Cancel = func() error { return child.Process.Signal(syscall.SIGTERM) }
		if err := child.Start(); err != nil {
			return fmt.Errorf("starting the appliance: %w", err)
		}
		ended := make(chan error, 1)
		go func() { ended <- child.Wait() }()
		done, err := d.watch(ctx, ended, func(delivered uint64) bool {
			if killed || delivered < d.target/2 {
				return false
			}
			killed = true
			fmt.Fprintf(d.out, "\n   kill -9 %d  with %d entries delivered\n", child.Process.Pid, delivered)
			return child.Process.Kill() == nil
		})
		if done || err != nil {
			_ = child.Process.Signal(syscall.SIGTERM)
			if done {
				err = <-ended
			}
			return err
		}
		if life >= 20 {
			return errors.New("the appliance has ended 20 times; see its messages above")
		}
		fmt.Fprintf(d.out, "   it has ended; started again, it goes on where it was\n")
	}
}

// watch shows progress until everything is delivered (done) or the appliance
// has ended.
func (d *demo) watch(ctx context.Context, ended <-chan error, look func(delivered uint64) (killed bool)) (done bool, err error) {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	shown := time.Time{}
	for {
		select {
		case err := <-ended:
			var exit *exec.ExitError
			if errors.As(err, &exit) && exit.ExitCode() >= 0 {
				return false, fmt.Errorf("the appliance ended with status %d", exit.ExitCode())
			}
			return false, nil // killed, by us or by you
		case <-ctx.Done():
			return false, ctx.Err()
		case <-tick.C:
		}
		var st report.Status
		if err := control(ctx, filepath.Join(d.dir, "data"), "GET", "/status", nil, &st); err != nil {
			continue // starting
		}
		var delivered, verified, whole uint64
		for _, l := range st.Logs {
			delivered += l.Delivered
			verified += l.Verified
			if l.Head >= d.target && l.Delivered >= d.target && l.Verified >= d.target {
				whole++
			}
			if l.Halted != "" {
				return false, fmt.Errorf("%s is halted: %s", l.Name, l.Halted)
			}
		}
		if time.Since(shown) > time.Second {
			shown = time.Now()
			fmt.Fprintf(d.out, "   delivered %7d   verified %7d   of %d   %6.0f rows/s\n", delivered, verified, d.target*uint64(len(st.Logs)), st.Delivery.Rate)
		}
		if whole == uint64(len(d.ready.Logs)) && len(st.Logs) > 0 {
			fmt.Fprintf(d.out, "   delivered %7d   verified %7d   of %d\n\n", delivered, verified, d.target*uint64(len(st.Logs)))
			return true, report.Print(d.out, &st)
		}
		if look(delivered) {
			continue
		}
	}
}

// show queries the store and says how to go on.
func (d *demo) show(ctx context.Context, took time.Duration) error {
	cfg := &settings{Config: *config.Default()}
	cfg.DataDir, cfg.Engine.Library = filepath.Join(d.dir, "data"), d.library
	cfg.Log.Level = "warn"
	e, err := cfg.startEngine(ctx, cfg.logger(d.err))
	if err != nil {
		return err
	}
	defer e.Stop()
	st, err := store.Open(ctx, store.Config{DSN: e.DSN(), Database: cfg.Store.Database, ReadOnly: true})
	if err != nil {
		return err
	}
	defer st.Close()
	for _, q := range demoQueries {
		fmt.Fprintf(d.out, "\n== %s\n   %s\n\n", q.what, q.sql)
		answer, err := st.Query(ctx, 20, q.sql)
		if err != nil {
			return err
		}
		printTable(d.out, answer.Columns, answer.Rows)
	}
	fmt.Fprintln(d.out)
	for _, l := range d.ready.Logs {
		if err := d.compare(ctx, st, l); err != nil {
			return err
		}
	}
	fmt.Fprintf(d.out, `
%v in all. The data is in %s:
   %[3]s status --data-dir %[4]s
   %[3]s engine --data-dir %[4]s "SELECT * FROM ct.certificates LIMIT 3 FORMAT Vertical"
   %[3]s engine --data-dir %[4]s          (serves ClickHouse's HTTP interface for curl and Grafana)
`, took.Round(time.Second), d.dir, os.Args[0], cfg.DataDir)
	return nil
}

var demoQueries = []struct{ what, sql string }{
	{"every entry exactly once: rows, distinct indices and the span they cover, per log", "SELECT log, count() AS rows, uniqExact(idx) AS distinct, max(idx) + 1 AS entries FROM ct.entries GROUP BY log ORDER BY log"},
	{"who issues", "SELECT issuer_org, count() AS certificates, countIf(validation = 'DV') AS dv FROM ct.certificates GROUP BY issuer_org ORDER BY certificates DESC LIMIT 5"},
	{"the newest certificates with a wildcard", "SELECT common_name, names, not_before, key_type FROM ct.certificates WHERE arrayExists(n -> startsWith(n, '*.'), names) ORDER BY not_before DESC LIMIT 5"},
}

// compare holds the ledger against what the log's own process says that it
// has.
func (d *demo) compare(ctx context.Context, st *store.Store, l ctlogtest.ReadyLog) error {
	var stats ctlogtest.Stats
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(l.Control, "/")+"/stats", nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return fmt.Errorf("asking the demo log: %w", err)
	}
	defer response.Body.Close()
	if err := json.NewDecoder(response.Body).Decode(&stats); err != nil {
		return fmt.Errorf("asking the demo log: %w", err)
	}
	answer, err := st.Query(ctx, 1, "SELECT count(), uniqExact(idx), min(idx), max(idx) + 1 FROM ct.entries WHERE log = {log:String}", store.Param("log", l.Name))
	if err != nil {
		return err
	}
	size := fmt.Sprint(stats.Size)
	row := answer.Rows[0]
	if row[0] != size || row[1] != size || row[2] != "0" || row[3] != size {
		return fmt.Errorf("%s has %s entries, the ledger has %s rows, %s distinct, in [%s,%s)", l.Name, size, row[0], row[1], row[2], row[3])
	}
	fmt.Fprintf(d.out, "%s: the log says %s entries, the ledger has %s rows with %s distinct indices in [0,%s): 0 lost, 0 doubled; %d entries were fetched twice (what was in flight at the kill)\n",
		l.Name, size, row[0], row[1], row[3], stats.Refetched)
	return nil
}

// printTable prints rows in columns, long values cut.
func printTable(out io.Writer, columns []string, rows [][]string) {
	width := make([]int, len(columns))
	cut := func(s string) string {
		if len(s) > 60 {
			return s[:57] + "..."
		}
		return s
	}
	for i, c := range columns {
		width[i] = len(c)
		for _, r := range rows {
			width[i] = max(width[i], len(cut(r[i])))
		}
	}
	line := func(cells []string) {
		fmt.Fprint(out, "  ")
		for i, c := range cells {
			fmt.Fprintf(out, " %-*s ", width[i], cut(c))
		}
		fmt.Fprintln(out)
	}
	line(columns)
	for _, r := range rows {
		line(r)
	}
}
