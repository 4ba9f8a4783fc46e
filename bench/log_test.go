package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"ctappliance/ingest/ctlog/ctlogtest"
	"ctappliance/store/engine/enginetest"
)

// logEnv tells a test binary that it is to be the demo log; its value is the
// kind and the number of generated entries.
const logEnv = "CTAPPLIANCE_BENCH_LOG"

func TestMain(m *testing.M) {
	if spec := os.Getenv(logEnv); spec != "" {
		if err := serveLog(spec); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	enginetest.Main(m)
}

func serveLog(spec string) error {
	var kind ctlogtest.Kind
	var entries uint64
	if _, err := fmt.Sscan(spec, &kind, &entries); err != nil {
		return err
	}
	o := ctlogtest.ServeOptions{Out: os.Stdout, Stdin: os.Stdin, Kinds: []ctlogtest.Kind{kind}, Warm: true, Dir: os.Getenv("TMPDIR"),
		Corpus: ctlogtest.CorpusOptions{Seed: 1, DataDir: captured(), Step: time.Minute, CacheBytes: 1 << 30},
		Log:    ctlogtest.Options{Size: entries, CacheBytes: 4 << 30}}
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

// entries is how many entries a log has.
func entries(b testing.TB) uint64 {
	b.Helper()
	s := os.Getenv("BENCH_ENTRIES")
	if s == "" {
		return 120_000
	}
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil || n < 1000 {
		b.Fatalf("BENCH_ENTRIES=%s is not a number from 1000 on", s)
	}
	return n
}

// demoLog is a log in a process of its own.
type demoLog struct {
	ctlogtest.ReadyLog
	pid int
}

// startLog starts a log and returns when it is warm. It ends with the
// benchmark.
func startLog(b testing.TB, kind ctlogtest.Kind) *demoLog {
	b.Helper()
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), fmt.Sprintf("%s=%d %d", logEnv, kind, entries(b)), "TMPDIR="+b.TempDir())
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
	if err := json.Unmarshal(line, &ready); err != nil || len(ready.Logs) != 1 {
		b.Fatalf("the demo log said %q: %v", line, err)
	}
	return &demoLog{ready.Logs[0], child.Process.Pid}
}
