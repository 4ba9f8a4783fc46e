//go:build linux

package bench

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"ctappliance/ingest"
	"ctappliance/ingest/ctlog/ctlogtest"
	"ctappliance/store/engine/enginetest"
	"ctappliance/wal"
)

// walBytes is how much undelivered WAL TestRecovery recovers.
var walBytes = int64(16 << 20)

func init() {
	flag.Func("recovery.bytes", "undelivered WAL, `SIZE` such as 1GiB, that TestRecovery recovers; 16MiB", func(s string) error {
		for unit, n := range map[string]int64{"GiB": 1 << 30, "MiB": 1 << 20} {
			if number, ok := strings.CutSuffix(s, unit); ok {
				v, err := strconv.ParseInt(number, 10, 16)
				walBytes = v * n
				return err
			}
		}
		return fmt.Errorf("%q is not a number of MiB or GiB", s)
	})
}

const (
	recoveryWorkers = 4
	recoveryPage    = 256 // entries per answer of a demo log

	// inFlight is what a leg may have asked for and not written: the requests
	// that it plans ahead, one behind them and one taken out.
	inFlight = (2*recoveryWorkers + 2 + 1) * recoveryPage

	firstFetchGoal = 2 * time.Second // with 1 GiB and a warm cache
)

// TestRecovery kills the program with SIGKILL while its store is away and
// prints how the next life begins: when it asks the log for entries again, and
// how much of what it had.
//
//	make recovery
//	go test ./bench -run TestRecovery -v -recovery.bytes=1GiB
func TestRecovery(t *testing.T) {
	if testing.Short() {
		t.Skip("runs processes for a quarter of a minute")
	}
	r := &recovery{t: t, exe: build(t), dir: t.TempDir(), library: enginetest.Library(t)}
	r.startLog()

	// A first life with a store: from now on one that is away is waited for.
	r.configure("")
	r.start()
	r.await("it delivers", func(st *ingest.Status) bool { return st.Logs[0].Delivered >= firstEntries })
	r.stop(syscall.SIGTERM)

	r.configure("http://127.0.0.1:9/") // where nobody listens
	r.start()
	began, written := time.Now(), uint64(0)
	for size := uint64(firstEntries); ; {
		st, err := status(filepath.Join(r.dir, "data"))
		if err == nil && int64(st.WAL.Appended) >= walBytes {
			written = st.WAL.Appended
			break
		}
		if err == nil && st.Logs[0].Fetched+20_000 > size {
			const step = 20_000
			r.ask("grow?n="+fmt.Sprint(step), http.MethodPost)
			size += step
		}
		time.Sleep(20 * time.Millisecond)
		if time.Since(began) > 20*time.Minute {
			t.Fatalf("no %d bytes of WAL within %v", walBytes, time.Since(began))
		}
	}
	r.stop(syscall.SIGKILL)
	built := time.Since(began)
	before := r.stats()
	records, last := r.ranges(firstEntries)
	if before.Size < last+recoveryPage {
		before = r.ask("grow?n=20000", http.MethodPost)
	}

	r.start()
	start := time.Now()
	first := time.Duration(0)
	for first == 0 {
		if s := r.stats(); s.Requests[ctlogtest.ClassData] > before.Requests[ctlogtest.ClassData] {
			first = time.Since(start)
		}
		if time.Since(start) > 2*time.Minute {
			t.Fatalf("no entries were asked for within 2 minutes:\n%s", r.said.String())
		}
		time.Sleep(time.Millisecond)
	}
	r.await("it has what the log has", func(st *ingest.Status) bool { return st.Logs[0].Fetched >= before.Size })
	var p peaks
	p.look(r.child.Process.Pid)
	st, err := status(filepath.Join(r.dir, "data"))
	if err != nil {
		t.Fatal(err)
	}
	refetched := r.stats().Refetched - before.Refetched
	r.stop(syscall.SIGKILL)
	_, end := r.ranges(firstEntries)
	if end < before.Size {
		t.Errorf("the WAL goes to %d, the log to %d", end, before.Size)
	}
	t.Logf("undelivered WAL %.0f MiB in %d segments, %d records, %d entries (made in %v)", float64(written)/(1<<20), st.WAL.Segments, records, last-firstEntries, built.Round(time.Second))
	t.Logf("first fetch %v after the start; appended twice 0; refetched %d (at most %d were in flight); %.0f MB at most", first.Round(time.Millisecond), refetched, inFlight, mb(p.rss))
	if refetched > inFlight {
		t.Errorf("%d entries were fetched again", refetched)
	}
	if walBytes >= 1<<30 && first > firstFetchGoal {
		t.Errorf("the first fetch came after %v, the goal is %v", first, firstFetchGoal)
	}
}

// firstEntries are in the store before it goes away.
const firstEntries = 1000

// recovery is a log, a program and where it works.
type recovery struct {
	t                 *testing.T
	exe, dir, library string
	log               ctlogtest.ReadyLog
	child             *exec.Cmd
	said              bytes.Buffer
}

func (r *recovery) startLog() {
	t := r.t
	log := exec.Command(r.exe, "demo", "log", "--no-growth", "--entries", fmt.Sprint(firstEntries), "--list-dir", r.dir)
	log.Stderr = os.Stderr
	stdin, err := log.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := log.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := log.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close() // its end
		_ = log.Wait()
	})
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	if err != nil {
		t.Fatal(err)
	}
	var ready ctlogtest.Ready
	if err := json.Unmarshal(line, &ready); err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(ready.Logs, func(l ctlogtest.ReadyLog) bool { return l.Kind == ctlogtest.RFC6962.String() })
	r.log = ready.Logs[i]
}

// ask calls one of the log's controls that answer with its statistics.
func (r *recovery) ask(what, method string) (s ctlogtest.Stats) {
	request, err := http.NewRequest(method, r.log.Control+what, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		r.t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil {
		err = json.Unmarshal(body, &s)
	}
	if err != nil {
		r.t.Fatalf("the log's %s: %v: %s", what, err, body)
	}
	return s
}

func (r *recovery) stats() ctlogtest.Stats { return r.ask("stats", http.MethodGet) }

// configure writes the configuration; without a DSN the engine is the store.
func (r *recovery) configure(dsn string) {
	// JSON is YAML.
	body, err := json.Marshal(map[string]any{
		"data-dir": filepath.Join(r.dir, "data"), "allow-private": true, "contact": "recovery@localhost.invalid",
		"engine": map[string]any{"library": r.library}, "store": map[string]any{"dsn": dsn},
		"wal":   map[string]any{"budget": fmt.Sprint(4*walBytes + 1<<30)},
		"fetch": map[string]any{"workers": recoveryWorkers}, "http": map[string]any{"poll-interval": "100ms"},
		"logs": []any{map[string]any{"name": "log", "url": r.log.URL, "kind": r.log.Kind, "key": base64.StdEncoding.EncodeToString(r.log.Key)}},
	})
	if err == nil {
		err = os.WriteFile(filepath.Join(r.dir, "config.yaml"), body, 0o600)
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *recovery) start() {
	r.child = exec.Command(r.exe, "run", "--config", filepath.Join(r.dir, "config.yaml"))
	r.said.Reset()
	r.child.Stderr = &r.said
	if err := r.child.Start(); err != nil {
		r.t.Fatal(err)
	}
	child := r.child
	r.t.Cleanup(func() { _ = child.Process.Kill() })
}

// stop ends the program; SIGKILL is how it must end then.
func (r *recovery) stop(sig syscall.Signal) {
	_ = r.child.Process.Signal(sig)
	err := r.child.Wait()
	if killed := sig == syscall.SIGKILL; killed != (err != nil) {
		r.t.Fatalf("after %v it ended with %v:\n%s", sig, err, r.said.String())
	}
}

func (r *recovery) await(what string, ok func(*ingest.Status) bool) {
	for began := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		if st, err := status(filepath.Join(r.dir, "data")); err == nil && len(st.Logs) == 1 && ok(&st) {
			return
		}
		if time.Since(began) > 2*time.Minute {
			r.t.Fatalf("waiting until %s: not within 2 minutes:\n%s", what, r.said.String())
		}
	}
}

// ranges reads the WAL and fails the test where a record does not begin where
// the one before it ended: an entry is there twice, or missing. It returns how
// many records there are and where the last ends.
func (r *recovery) ranges(from uint64) (records int, end uint64) {
	end = from
	err := wal.Each(ingest.WALDir(filepath.Join(r.dir, "data")), func(rec wal.Record) error {
		_, a, b, err := ingest.RecordRange(rec.Payload)
		if err != nil || b <= from {
			return err
		}
		if a != end {
			r.t.Errorf("record %d begins at entry %d, the one before it ended at %d", rec.Seq, a, end)
		}
		records, end = records+1, b
		return nil
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return records, end
}
