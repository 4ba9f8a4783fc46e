package engine_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"ctappliance/store/engine"
	"ctappliance/store/engine/enginetest"
)

// orphanEnv makes this test binary a parent that is going to be killed.
const orphanEnv = "CTAPPLIANCE_TEST_ENGINE_ORPHAN"

func TestMain(m *testing.M) {
	if dir := os.Getenv(orphanEnv); dir != "" {
		e, err := engine.Start(context.Background(), enginetest.BareOptions(os.Getenv("CHDB_LIB_PATH"), dir))
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println(e.PID())
		// Whoever kills us has the other end; if it ends before it does that,
		// nobody is left behind.
		io.Copy(io.Discard, os.Stdin)
		e.Stop()
		os.Exit(0)
	}
	enginetest.Main(m)
}

// TestKillDuringInsert kills the engine again and again while clients insert:
// it opens again, what was acknowledged is there, and what was not is there
// whole or not at all.
func TestKillDuringInsert(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "engine")
	e := enginetest.StartIn(t, dir)
	create := open(t, e.DSN())
	exec1 := func(sql string) { mustExec(t, create, sql) }
	exec1("CREATE DATABASE ct")
	exec1("CREATE TABLE ct.t (b UInt32, i UInt64, s String) ENGINE = MergeTree ORDER BY (b, i) SETTINGS fsync_after_insert = 1, fsync_part_directory = 1")
	const rows, clients, rounds = 20_000, 3, 5
	var mu sync.Mutex
	acked := map[uint32]bool{}
	tried, doubtful := uint32(0), 0
	boots := map[string]bool{e.BootID(): true}
	for round := range rounds {
		if err := e.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		db := open(t, e.DSN())
		var wg sync.WaitGroup
		progress := make(chan struct{}, 100)
		for range clients {
			wg.Go(func() {
				for {
					b, err := db.PrepareBatch(t.Context(), "INSERT INTO ct.t")
					if err != nil {
						return
					}
					mu.Lock()
					tried++
					id := tried
					acked[id] = false
					mu.Unlock()
					for i := range rows {
						b.Append(id, uint64(i), "some text to make the part bigger")
					}
					if err := b.Send(); err != nil {
						return
					}
					mu.Lock()
					acked[id] = true
					mu.Unlock()
					select {
					case progress <- struct{}{}:
					default:
					}
				}
			})
		}
		ended := make(chan struct{})
		go func() { wg.Wait(); close(ended) }()
		for range 2 + round { // a few acknowledged, then in the middle of the next
			select {
			case <-progress:
			case <-ended:
				t.Fatalf("all clients gave up before the kill: %+v", e.Status())
			}
		}
		if err := e.Fence(t.Context()); err != nil {
			t.Fatal(err)
		}
		<-ended
		if err := e.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		if boots[e.BootID()] {
			t.Fatal("the boot ID did not change with the child")
		}
		boots[e.BootID()] = true
	}
	db := open(t, e.DSN())
	got, err := db.Query(t.Context(), "SELECT b, count(), uniqExact(i) FROM ct.t GROUP BY b")
	if err != nil {
		t.Fatal(err)
	}
	stored := map[uint32]uint64{}
	for got.Next() {
		var b uint32
		var n, u uint64
		if err := got.Scan(&b, &n, &u); err != nil {
			t.Fatal(err)
		}
		if n != rows || u != rows {
			t.Errorf("insert %d has %d rows (%d distinct) of %d", b, n, u, rows)
		}
		stored[b] = n
	}
	if err := got.Err(); err != nil {
		t.Fatal(err)
	}
	for b, ok := range acked {
		if ok && stored[b] != rows {
			t.Errorf("insert %d was acknowledged and has %d rows", b, stored[b])
		}
		if !ok {
			doubtful++
		}
	}
	if st := e.Status(); st.Restarts != rounds || st.LastError == "" {
		t.Errorf("status after %d kills: %+v", rounds, st)
	}
	t.Logf("%d inserts, %d not acknowledged, %d stored", tried, doubtful, len(stored))
}

// TestOrphan kills the parent: the child goes too, and its lock with it.
func TestOrphan(t *testing.T) {
	lib := enginetest.Library(t)
	dir := filepath.Join(t.TempDir(), "engine")
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), orphanEnv+"="+dir, "CHDB_LIB_PATH="+lib)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cmd.StdinPipe(); err != nil { // its end ends the parent, should we end first
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	var pid int
	if _, err := fmt.Fscan(out, &pid); err != nil {
		rest, _ := io.ReadAll(out)
		t.Fatalf("the parent did not start its engine: %v %s", err, rest)
	}
	if err := syscall.Kill(pid, 0); err != nil {
		t.Fatalf("the child is not there: %v", err)
	}
	cmd.Process.Kill()
	cmd.Wait()
	until(t, func() bool { return dead(pid) })
	// Its directory is free at once.
	enginetest.StartIn(t, dir)
}

// dead tells whether a process has ended; one that nobody has waited for yet
// counts.
func dead(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return syscall.Kill(pid, 0) != nil
	}
	_, after, _ := strings.Cut(string(b), ") ")
	return strings.HasPrefix(after, "Z") || strings.HasPrefix(after, "X")
}

// startChild runs a child by hand, as the supervisor does, but without the
// signal that ends it with its parent. Its command comes after prefix.
func startChild(t *testing.T, dir, config string, prefix ...string) (cmd *exec.Cmd, stdin io.WriteCloser, said map[string]any) {
	t.Helper()
	o := enginetest.Options(t, dir)
	args := append(prefix, o.Command...)
	cmd = exec.Command(args[0], args[1:]...)
	cmd.Env = append(o.Env, "CTAPPLIANCE_ENGINE_DIR="+dir, "CTAPPLIANCE_ENGINE_LIBRARY="+o.Library)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill() })
	io.WriteString(stdin, config+"\n")
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(line, &said); err != nil {
		t.Fatal(err)
	}
	return cmd, stdin, said
}

const childConfig = `{"memory":1400000000,"connections":2,"max_insert":1000,"writer":"w","writer_secret":"s","reader":"r","reader_secret":"t"}`

// TestEndOfInput: the end of standard input alone ends the child, cleanly, and
// the signals of a terminal or a service manager do not.
func TestEndOfInput(t *testing.T) {
	cmd, stdin, said := startChild(t, filepath.Join(t.TempDir(), "engine"), childConfig)
	addr, _ := said["url"].(string)
	if addr == "" {
		t.Fatalf("the child said %v", said)
	}
	for _, sig := range []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		cmd.Process.Signal(sig)
	}
	resp, err := http.Post(addr+"/?user=w&password=s", "", strings.NewReader("SELECT 'alive'"))
	if err != nil {
		t.Fatal(err)
	}
	b, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	if string(b) != "alive\n" {
		t.Errorf("after the signals: %q", b)
	}
	// The body's limit, small in this child.
	resp, err = http.Post(addr+"/?user=w&password=s&query=INSERT+INTO+FUNCTION+null('a+UInt8')+FORMAT+TSV", "", strings.NewReader(strings.Repeat("1\n", 1000)))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if code := resp.Header.Get("X-ClickHouse-Exception-Code"); code != "307" {
		t.Errorf("a body of twice the limit: code %s", code)
	}
	stdin.Close()
	if err := cmd.Wait(); err != nil {
		t.Errorf("the child ended with %v", err)
	}
}

// TestStartRefused: what is wrong, in one line.
func TestStartRefused(t *testing.T) {
	first := filepath.Join(t.TempDir(), "engine")
	e := enginetest.StartIn(t, first)
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer lis.Close()
	notLib := filepath.Join(t.TempDir(), "libchdb.so")
	if err := os.WriteFile(notLib, []byte("not a library"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		change func(*engine.Options)
		want   string
	}{
		{"directory in use", func(o *engine.Options) { o.Dir = first }, fmt.Sprintf("in use by another engine (process %d)", e.PID())},
		{"port busy", func(o *engine.Options) { o.Port = lis.Addr().(*net.TCPAddr).Port }, "opening the engine's port"},
		{"library missing", func(o *engine.Options) { o.Library = "/nonexistent/libchdb.so" }, "npm install"},
		{"not a library", func(o *engine.Options) { o.Library = notLib }, "loading engine library"},
		{"no directory", func(o *engine.Options) { o.Dir = filepath.Join(notLib, "x") }, "making engine directory"},
		{"memory too small", func(o *engine.Options) { o.Memory = 1000 }, "at least"},
		{"no such command", func(o *engine.Options) { o.Command = []string{"/nonexistent"} }, "no such file"},
		{"command that ends", func(o *engine.Options) { o.Command = []string{"/bin/sh", "-c", "echo oh no >&2; exit 3"} }, "oh no"},
		{"command that babbles", func(o *engine.Options) { o.Command = []string{"/bin/sh", "-c", "echo hello; sleep 100"} }, "hello"},
		{"reader named as the writer", func(o *engine.Options) { o.ReaderName = "ctappliance" }, "cannot be called"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := enginetest.Options(t, filepath.Join(t.TempDir(), "engine"))
			c.change(&o)
			e, err := engine.Start(t.Context(), o)
			if err == nil {
				e.Stop()
				t.Fatal("it started")
			}
			if !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("error %q does not say %q in one line", err, c.want)
			}
		})
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	o := enginetest.Options(t, filepath.Join(t.TempDir(), "engine"))
	o.Command = []string{"/bin/sleep", "100"}
	if _, err := engine.Start(ctx, o); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a child that says nothing: %v", err)
	}
}

// TestStopAndRestart: a stop is clean, the data is there after it, a fixed
// port stays, and the secret does not.
func TestStopAndRestart(t *testing.T) {
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := lis.Addr().(*net.TCPAddr).Port
	lis.Close()
	o := enginetest.Options(t, filepath.Join(t.TempDir(), "engine"))
	o.Port = port
	e, err := engine.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	st := e.Status()
	t.Logf("start took %v, %d MB resident, version %s, sandbox %s", st.StartTook, st.RSSAtStart>>20, st.Version, st.Sandbox)
	if st.RSSAtStart < 50<<20 || st.State != engine.Running || st.PID == 0 || st.Version == "" {
		t.Errorf("status %+v", st)
	}
	db := open(t, e.DSN())
	mustExec(t, db, "CREATE TABLE t (a UInt8) ENGINE = MergeTree ORDER BY a")
	mustExec(t, db, "INSERT INTO t VALUES (1),(2)")
	if err := e.Fence(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := e.Status(); got.State == engine.Running {
		t.Error("running right after the fence")
	}
	if err := e.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := e.Status(); got.URL != st.URL || got.BootID == st.BootID || got.Restarts != 1 {
		t.Errorf("after the fence: %+v", got)
	}
	if n := scan[uint64](t, open(t, e.DSN()), "SELECT count() FROM t"); n != 2 {
		t.Errorf("%d rows after the fence", n)
	}
	old := e.DSN()
	e.Stop()
	e.Stop()
	if err := e.Wait(t.Context()); !errors.Is(err, engine.ErrStopped) {
		t.Errorf("Wait after Stop: %v", err)
	}
	if got := e.Status(); got.State != engine.Stopped || got.PID != 0 {
		t.Errorf("after Stop: %+v", got)
	}
	if e, err = engine.Start(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	defer e.Stop()
	if n := scan[uint64](t, open(t, e.DSN()), "SELECT count() FROM t"); n != 2 {
		t.Errorf("%d rows after the stop", n)
	}
	opt, err := clickhouse.ParseDSN(old)
	if err != nil {
		t.Fatal(err)
	}
	c, err := clickhouse.Open(opt)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Ping(t.Context()); codeOf(err) != 516 {
		t.Errorf("the old secret: %v", err)
	}
}

func TestFind(t *testing.T) {
	data := t.TempDir()
	file := func(p string) string {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(p), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		return p
	}
	t.Setenv("CHDB_LIB_PATH", "")
	inData := file(filepath.Join(data, "libchdb.so"))
	inEnv := file(filepath.Join(t.TempDir(), "libchdb.so"))
	configured := file(filepath.Join(t.TempDir(), "other.so"))
	check := func(conf, dir, want string) {
		t.Helper()
		if got, err := engine.Find(conf, dir); err != nil || got != want {
			t.Errorf("Find(%q, %q) = %q, %v; want %q", conf, dir, got, err, want)
		}
	}
	check("", data, inData)
	t.Setenv("CHDB_LIB_PATH", inEnv)
	check("", data, inEnv)
	check(configured, data, configured)
	check(filepath.Dir(inData), "", inData)
	// What is configured and missing is not replaced by something else.
	_, err := engine.Find("/nonexistent/libchdb.so", data)
	e, ok := errors.AsType[*engine.NotFoundError](err)
	if !ok {
		t.Fatalf("got %v", err)
	}
	for _, want := range []string{"/nonexistent/libchdb.so", "make engine", "npm", "26.7.3-stable.1", "CHDB_LIB_PATH", "store.dsn"} {
		if !strings.Contains(e.Error(), want) {
			t.Errorf("%q does not say %q", e, want)
		}
	}
}
