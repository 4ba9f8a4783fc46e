//go:build linux

package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"ctappliance/ingest/ctlog/ctlogtest"
	"ctappliance/store/engine/enginetest"
)

// logEnv tells a test binary that it is to be the demo log; its value is a
// logSpec.
const logEnv = "CTAPPLIANCE_BENCH_LOG"

func TestMain(m *testing.M) {
	if spec := os.Getenv(logEnv); spec != "" {
		if err := serveLogs(spec); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	enginetest.Main(m)
}

// logSpec says what logs a demo process serves.
type logSpec struct {
	Kinds      []ctlogtest.Kind
	Entries    uint64   // of each log at its start
	Neighbours int      // logs of each kind that share certificates; 0: one log that has its own
	Captured   bool     // captured entries of real logs come first, if they are there
	Rate       uint64   // entries by which each log grows in a second, dated as they come
	TLS        *keyPair // with which the logs answer over HTTPS too; nil: HTTP only
}

// The entries of a log that does not grow lie a minute apart, or closer, over a
// hundred days: flushes are cut where the month changes, as they are among real
// logs, and not where a benchmark is long.
func (s logSpec) options(now time.Time) ctlogtest.ServeOptions {
	o := ctlogtest.ServeOptions{Out: os.Stdout, Stdin: os.Stdin, Kinds: s.Kinds, Neighbours: s.Neighbours, Warm: true, Dir: os.Getenv("TMPDIR"),
		Corpus: ctlogtest.CorpusOptions{Seed: 1, Step: min(time.Minute, 100*24*time.Hour/time.Duration(s.Entries)), CacheBytes: 512 << 20},
		Log:    ctlogtest.Options{Size: s.Entries, CacheBytes: 4 << 30}}
	if s.Captured {
		o.Corpus.DataDir = captured()
	}
	if s.Rate > 0 {
		o.Log.GrowBy, o.Log.GrowEvery = s.Rate, time.Second
		o.Corpus.Step = time.Second / time.Duration(s.Rate)
		o.Corpus.Start = now.Add(-time.Duration(s.Entries) * o.Corpus.Step)
	}
	return o
}

func serveLogs(spec string) error {
	var s logSpec
	if err := json.Unmarshal([]byte(spec), &s); err != nil {
		return err
	}
	o := s.options(time.Now())
	var err error
	if o.TLS, err = s.TLS.config(); err != nil {
		return err
	}
	return ctlogtest.Serve(context.Background(), o)
}

// captured is the folder of captured entries, empty if there is none.
func captured() string {
	dir := os.Getenv("CTAPPLIANCE_DATA")
	if dir == "" {
		dir = filepath.Join("..", "..", "shared", "data")
	}
	if _, err := os.Stat(filepath.Join(dir, "static")); err != nil {
		return ""
	}
	return dir
}

// demoLogs are logs in a process of their own.
type demoLogs struct {
	Logs []ctlogtest.ReadyLog
	pid  int
}

// startLogs starts logs and returns when they are warm. They end with the
// benchmark.
func startLogs(b testing.TB, spec logSpec) *demoLogs {
	b.Helper()
	text, err := json.Marshal(struct { // a list of bytes would become base64
		logSpec
		Kinds []int
	}{spec, kindNumbers(spec.Kinds)})
	if err != nil {
		b.Fatal(err)
	}
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), logEnv+"="+string(text), "TMPDIR="+b.TempDir())
	child.Stderr = os.Stderr
	stdin, err := child.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	stdout, err := child.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := child.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		stdin.Close()
		_ = child.Wait()
	})
	line, err := bufio.NewReaderSize(stdout, 1<<20).ReadBytes('\n')
	if err != nil {
		b.Fatalf("the demo log ended before it was ready: %v", err)
	}
	var ready ctlogtest.Ready
	if err := json.Unmarshal(line, &ready); err != nil || len(ready.Logs) != len(spec.Kinds)*max(spec.Neighbours, 1) {
		b.Fatalf("the demo log said %q: %v", line, err)
	}
	return &demoLogs{ready.Logs, child.Process.Pid}
}

func kindNumbers(kinds []ctlogtest.Kind) (n []int) {
	for _, k := range kinds {
		n = append(n, int(k))
	}
	return n
}
