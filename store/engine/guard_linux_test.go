package engine_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"ctappliance/store/engine/enginetest"
)

// TestSandboxIsThere: where the kernel has Landlock, the engine is behind it.
func TestSandboxIsThere(t *testing.T) {
	if _, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION); errno != 0 {
		t.Skip("the kernel has no Landlock: ", errno)
	}
	if s := sharedEngine(t).Status().Sandbox; !strings.HasPrefix(s, "landlock") {
		t.Errorf("sandbox: %q", s)
	}
}

// TestEnvironment: what stands in the parent's environment is not the child's
// to know.
func TestEnvironment(t *testing.T) {
	t.Setenv("CTAPPLIANCE_TEST_SECRET", "hunter2")
	e := enginetest.StartEngine(t)
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", e.PID()))
	if err != nil || len(b) == 0 {
		t.Fatalf("%d bytes, %v", len(b), err)
	}
	if bytes.Contains(b, []byte("hunter2")) {
		t.Error("the parent's environment is in the child's")
	}
}

// TestRunningIsTheWriters: a reader neither sees nor fences what others run.
func TestRunningIsTheWriters(t *testing.T) {
	e := sharedEngine(t)
	name, pass := e.ReaderCredentials()
	q := url.Values{"query_id": {"x-"}, "user": {name}, "password": {pass}}.Encode()
	for _, c := range []struct{ method, path string }{{"GET", "/running"}, {"POST", "/fence"}} {
		req, err := http.NewRequest(c.method, e.URL()+c.path+"?"+q, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode == http.StatusOK {
			t.Errorf("%s %s as reader: HTTP %d", c.method, c.path, resp.StatusCode)
		}
	}
}

// TestOrphanOfDeafEngine: an engine dies with its parent, also where somebody
// else still holds its standard input open.
func TestOrphanOfDeafEngine(t *testing.T) {
	cmd, stdin, said := startChild(t, filepath.Join(t.TempDir(), "engine"), childConfig, "sh", "-c", `exec 3<&0; "$@" <&3 3<&- & wait`, "sh")
	defer stdin.Close()
	pid, _ := said["pid"].(float64)
	if pid == 0 || int(pid) == cmd.Process.Pid {
		t.Fatalf("the child said %v", said)
	}
	cmd.Process.Kill()
	cmd.Process.Wait() // cmd's own would close the input
	until(t, func() bool { return dead(int(pid)) })
}

// TestNamesOfAFailedInsert: an insert that fails half-way leaves blocks, which
// are counted by whoever resolves it. Their names are on the disk before it is
// told that it failed.
func TestNamesOfAFailedInsert(t *testing.T) {
	e := enginetest.StartEngine(t)
	mustCall(t, e, "CREATE DATABASE IF NOT EXISTS ct ENGINE = Atomic")
	mustCall(t, e, "CREATE TABLE ct.t (a UInt64) ENGINE = MergeTree ORDER BY a SETTINGS fsync_after_insert = 1, fsync_part_directory = 1")
	mustCall(t, e, "SYSTEM STOP MERGES ct.t")
	dir := strings.TrimSuffix(mustCall(t, e, "SELECT data_paths[1] FROM system.tables WHERE database = 'ct' AND name = 't'"), "/")
	end := traced(t, e.PID(), "-e", "trace=fsync,fdatasync,rename,renameat,renameat2,write,sendto,sendmsg,writev")
	q := url.Values{"query_id": {"half-way"}, "max_insert_block_size": {"2"}, "min_insert_block_size_rows": {"2"}, "min_insert_block_size_bytes": {"0"},
		"input_format_parallel_parsing": {"0"}, "max_insert_threads": {"1"}}
	status, body, _ := call(t, e, q, "INSERT INTO ct.t FORMAT CSV\n1\n2\n3\n4\n5\n6\nno number\n")
	calls := end()
	if status == http.StatusOK {
		t.Fatalf("HTTP %d %s", status, body)
	}
	if n := mustCall(t, e, "SELECT count() FROM ct.t"); n == "0" {
		t.Skip("the insert left nothing: nothing is to be synced")
	}
	rename := first(t, calls, 0, "part", `^rename\w*\(.*`+regexp.QuoteMeta(dir)+`/tmp_insert_`)
	answer := first(t, calls, rename.end, "answer", `^(write|send\w*)\(\d+<socket.*HTTP/1.1 [45]\d\d `)
	synced(t, calls, dir, rename.end, answer.begin, "the part's name")
}

// TestSettingsAreNames: the name of a setting becomes part of a statement, and
// nothing but a name may.
func TestSettingsAreNames(t *testing.T) {
	e := sharedEngine(t)
	for _, name := range []string{"max_threads=1, log_comment", "max_threads = 1 --", "a b", "a'"} {
		if status, body, code := call(t, e, url.Values{name: {"1"}}, "SELECT 1"); status == http.StatusOK || code != 115 {
			t.Errorf("%q: HTTP %d code %d %s", name, status, code, body)
		}
	}
}

// TestLongBodyCutShort: an insert whose body breaks off when much of it is with
// the engine already stores nothing.
func TestLongBodyCutShort(t *testing.T) {
	e := sharedEngine(t)
	db := open(t, e.DSN())
	ct := database(t, db)
	mustExec(t, db, "CREATE TABLE "+ct+".t (a UInt64) ENGINE = MergeTree ORDER BY a")
	r, w := io.Pipe()
	go func() {
		io.WriteString(w, strings.Repeat("1\n", 400_000))
		w.CloseWithError(io.ErrUnexpectedEOF)
	}()
	req, err := http.NewRequest(http.MethodPost, e.URL()+"/?query_id=cut-short&query="+url.QueryEscape("INSERT INTO "+ct+".t FORMAT TSV"), r)
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth(e.Credentials())
	if resp, err := http.DefaultClient.Do(req); err == nil {
		resp.Body.Close()
		t.Errorf("HTTP %d", resp.StatusCode)
	}
	until(t, func() bool { return len(runningIDs(t, e, "cut-short")) == 0 })
	if n := scan[uint64](t, db, "SELECT count() FROM "+ct+".t"); n != 0 {
		t.Errorf("%d rows of a body cut short were stored", n)
	}
}
