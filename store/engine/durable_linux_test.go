package engine_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/ClickHouse/clickhouse-go/v2"

	"ctappliance/store/engine"
	"ctappliance/store/engine/enginetest"
)

// strace finds the program. A test without it is skipped, and failed with
// CI=true if CI installs it.
func strace(t *testing.T) (path string) {
	t.Helper()
	path, err := exec.LookPath("strace")
	if err != nil {
		run, _ := os.ReadFile("../../.ci/run")
		if os.Getenv("CI") == "true" && bytes.Contains(run, []byte("strace")) {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	return path
}

// traced has strace look at the child from now on; the function it returns ends
// that and gives what was seen.
func traced(t *testing.T, pid int, args ...string) (end func() []syscallSeen) {
	t.Helper()
	path := strace(t)
	out := filepath.Join(t.TempDir(), "strace")
	cmd := exec.Command(path, append([]string{"-f", "-y", "-s", "512", "-o", out, "-p", fmt.Sprint(pid)}, args...)...)
	words, err := cmd.StderrPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	said := bufio.NewReader(words)
	if l, err := said.ReadString('\n'); !strings.Contains(l, "attached") {
		if strings.Contains(l, "not permitted") {
			t.Skip(l)
		}
		t.Fatalf("strace says %q, %v", l, err)
	}
	go io.Copy(io.Discard, said)
	return func() []syscallSeen {
		cmd.Process.Signal(os.Interrupt)
		cmd.Wait()
		b, err := os.ReadFile(out)
		must(t, err)
		return parseTrace(string(b))
	}
}

// syscallSeen is one call: its arguments as strace prints them, and the lines
// of its beginning and its end, which tell what came before what.
type syscallSeen struct {
	name, args string
	begin, end int
}

var traceLine = regexp.MustCompile(`^(\d+) +(?:(\w+)\((.*?)|<\.\.\. (\w+) resumed>(.*))( <unfinished \.\.\.>| = -?\w.*| <detached \.\.\.>)$`)

func parseTrace(trace string) (calls []syscallSeen) {
	open := map[string]int{} // by thread
	for i, l := range strings.Split(trace, "\n") {
		m := traceLine.FindStringSubmatch(l)
		if m == nil {
			continue
		}
		if m[2] != "" {
			open[m[1]] = len(calls)
			calls = append(calls, syscallSeen{name: m[2], args: m[3], begin: i, end: 1 << 30})
		}
		k, ok := open[m[1]]
		if !ok {
			continue // it had begun before we looked
		}
		calls[k].args += m[5]
		if strings.HasPrefix(m[6], " = ") && !strings.HasPrefix(m[6], " = -1") {
			calls[k].end = i
		}
	}
	return calls
}

// first is the first call that begins after a line and whose name and
// arguments match; it fails the test where there is none.
func first(t *testing.T, calls []syscallSeen, after int, what, pattern string) syscallSeen {
	t.Helper()
	re := regexp.MustCompile(pattern)
	for _, c := range calls {
		if c.begin > after && re.MatchString(c.name+"("+c.args) {
			return c
		}
	}
	t.Fatalf("%s: no call like %s after line %d", what, pattern, after)
	return syscallSeen{}
}

// synced expects that a sync of path begins after one line and ends before
// another.
func synced(t *testing.T, calls []syscallSeen, path string, after, before int, what string) {
	t.Helper()
	for _, c := range calls {
		if (c.name == "fsync" || c.name == "fdatasync") && strings.Contains(c.args, "<"+path+">") && c.begin > after && c.end < before {
			return
		}
	}
	t.Errorf("%s: %s is not synced between lines %d and %d", what, path, after, before)
}

// wholePart expects that the part which a rename gave its name to was on the
// disk by line before: its files, their names, and its own name.
func wholePart(t *testing.T, calls []syscallSeen, table, tmp string, before int) (part string) {
	t.Helper()
	rename := first(t, calls, 0, table, `^rename\w*\(.*`+regexp.QuoteMeta(table)+`/`+tmp+`[^"]*".*"`+regexp.QuoteMeta(table)+`/`)
	if rename.end >= before {
		t.Errorf("%s: renamed at line %d, after line %d", tmp, rename.end, before)
	}
	names := regexp.MustCompile(`"([^"]*)/"`).FindAllStringSubmatch(rename.args, 2)
	if len(names) != 2 {
		t.Fatalf("rename(%s", rename.args)
	}
	from, to := names[0][1], names[1][1]
	files, last := 0, 0
	opened := regexp.MustCompile(`"(` + regexp.QuoteMeta(from) + `/[^"]*)", .*O_CREAT`)
	for _, c := range calls {
		m := opened.FindStringSubmatch(c.args)
		if c.name != "openat" || m == nil {
			continue
		}
		files++
		last = max(last, c.end)
		synced(t, calls, m[1], c.end, rename.begin, "file of a part")
	}
	if files < 8 {
		t.Errorf("%s has %d files; the trace was not understood", from, files)
	}
	dir := 0
	for _, c := range calls {
		if strings.HasSuffix(c.name, "sync") && c.begin > last && c.end < before && (strings.Contains(c.args, "<"+from+">") || strings.Contains(c.args, "<"+to+">")) {
			dir++
		}
	}
	if dir == 0 {
		t.Errorf("%s: the names of its files are not synced between lines %d and %d", to, last, before)
	}
	t.Logf("%s: %d files", filepath.Base(to), files)
	return to
}

// TestDurableBeforeAnswer reads in the child's system calls that an insert is
// answered when it is on the disk: every file of the part, the part's
// directory, and the part's name in the table's directory. Likewise a merge,
// before its sources go.
func TestDurableBeforeAnswer(t *testing.T) {
	e := enginetest.StartEngine(t)
	inserts := map[string]string{
		"ledger": "INSERT INTO ct.ledger SELECT 1, number, toDateTime64(1700000000, 3, 'UTC'), 'x509', 'ok', toFixedString('x', 16) FROM numbers(100)",
		"certs":  "INSERT INTO ct.certs (tbs_id, not_after, names) SELECT toFixedString(toString(number), 16), '2026-01-01 00:00:00', ['a.example'] FROM numbers(100)",
		"names":  "INSERT INTO ct.names SELECT toString(number), 0, now(), now(), now() FROM numbers(100)",
		// By the other way into the engine, with the data in the body, as the
		// product inserts.
		"profiles": "INSERT INTO ct.profiles (id, issuer_text) FORMAT CSV\n1,a\n2,b\n",
	}
	dirs := map[string]string{}
	for table := range inserts {
		schemaTable(t, e, table, table)
		mustCall(t, e, "SYSTEM STOP MERGES ct."+table)
		dirs[table] = strings.TrimSuffix(mustCall(t, e, "SELECT data_paths[1] FROM system.tables WHERE database = 'ct' AND name = '"+table+"'"), "/")
		if !strings.HasPrefix(dirs[table], "/") {
			t.Fatalf("%s is at %q", table, dirs[table])
		}
	}
	end := traced(t, e.PID(), "-e", "trace=openat,open,creat,fsync,fdatasync,rename,renameat,renameat2,unlink,unlinkat,rmdir,write,sendto,sendmsg,writev")
	for table, sql := range inserts {
		if status, body, _ := call(t, e, url.Values{"query_id": {"durable-" + table}}, sql); status != 200 {
			t.Fatalf("%s: %s", table, body)
		}
	}
	// The source of the merge, and the merge.
	mustCall(t, e, strings.Replace(inserts["ledger"], "number,", "number + 100,", 1))
	mustCall(t, e, "SYSTEM START MERGES ct.ledger")
	if status, body, _ := call(t, e, url.Values{"query_id": {"durable-merge"}}, "OPTIMIZE TABLE ct.ledger FINAL"); status != 200 {
		t.Fatal(body)
	}
	// Rows taken out, as the store does it.
	if status, body, _ := call(t, e, url.Values{"query_id": {"durable-removal"}}, "ALTER TABLE ct.ledger DELETE WHERE log_id = 1 AND idx >= 50 SETTINGS mutations_sync = 2"); status != 200 {
		t.Fatal(body)
	}
	calls := end()
	answer := func(id string) int {
		return first(t, calls, 0, id, `^(write|send\w*)\(\d+<socket.*HTTP/1.1 200 OK.*Query-Id: durable-`+id).begin
	}
	for table, dir := range dirs {
		t.Run(table, func(t *testing.T) {
			answered := answer(table)
			part := wholePart(t, calls, dir, "tmp_insert_", answered)
			rename := first(t, calls, 0, table, `^rename\w*\(.*"`+regexp.QuoteMeta(part)+`/"`)
			synced(t, calls, dir, rename.end, answered, "the part's name")
		})
	}
	merged := wholePart(t, calls, dirs["ledger"], "tmp_merge_", answer("merge"))
	rename := first(t, calls, 0, "merge", `^rename\w*\(.*"`+regexp.QuoteMeta(merged)+`/"`)
	synced(t, calls, dirs["ledger"], rename.end, answer("merge"), "the merged part's name")
	mutated := wholePart(t, calls, dirs["ledger"], "tmp_mut_", answer("removal"))
	rename = first(t, calls, rename.end, "removal", `^rename\w*\(.*"`+regexp.QuoteMeta(mutated)+`/"`)
	synced(t, calls, dirs["ledger"], rename.end, answer("removal"), "the mutated part's name")
	rename = first(t, calls, 0, "merge", `^rename\w*\(.*"`+regexp.QuoteMeta(merged)+`/"`)
	for _, c := range calls {
		for _, source := range []string{"/202311_1_1_0", "/202311_2_2_0"} {
			if (strings.HasPrefix(c.name, "unlink") || c.name == "rmdir" || strings.HasPrefix(c.name, "rename") && c.begin > rename.begin) && strings.Contains(c.args, dirs["ledger"]+source) {
				t.Errorf("the source of a merge is gone: %s(%s", c.name, c.args)
			}
		}
	}
	db := open(t, e.DSN())
	if n := scan[uint64](t, db, "SELECT count() FROM system.parts WHERE database = 'ct' AND table = 'ledger' AND NOT active AND level = 0"); n != 2 {
		t.Errorf("%d sources of the merge are kept, want 2", n)
	}
	for table := range inserts {
		full := scan[string](t, db, "SELECT engine_full FROM system.tables WHERE database = 'ct' AND name = {t:String}", clickhouse.Named("t", table))
		if !strings.Contains(full, "old_parts_lifetime = 480") {
			t.Errorf("%s: %s", table, full)
		}
	}
}

// TestSyncAtStart: what a former child has written is brought to the disk before
// the next one says that it is ready. A count then counts what is durable.
func TestSyncAtStart(t *testing.T) {
	out := filepath.Join(t.TempDir(), "strace")
	cmd, stdin, said := startChild(t, filepath.Join(t.TempDir(), "engine"), childConfig, strace(t), "-f", "-y", "-s", "64", "-o", out, "-e", "trace=syncfs,write")
	if said["url"] == nil {
		t.Fatalf("the child said %v", said)
	}
	stdin.Close()
	cmd.Wait()
	b, err := os.ReadFile(out)
	must(t, err)
	calls := parseTrace(string(b))
	ready := first(t, calls, 0, "ready line", `^write\(1<.*boot_id|^write\(1<.*url`)
	if s := first(t, calls, 0, "sync", `^syncfs\(`); s.end >= ready.begin {
		t.Errorf("ready at line %d, synced at line %d", ready.begin, s.end)
	}
}

// TestSyncFails has the sync of a directory fail: the insert is not answered
// well, and the boot ID is another one, so that nobody takes what that child
// wrote for durable.
func TestSyncFails(t *testing.T) {
	e := enginetest.StartEngine(t)
	schemaTable(t, e, "ledger", "ledger")
	ledgerRows(t, e, "ledger", 0, 10)
	boot := e.BootID()
	// The library syncs with fdatasync, we with fsync.
	traced(t, e.PID(), "-e", "trace=fsync", "-e", "inject=fsync:error=EIO")
	status, err := tryInsert(e, "INSERT INTO ct.ledger SELECT 1, 10, toDateTime64(1700000000, 3, 'UTC'), 'x509', 'ok', ''")
	if err == nil && status == 200 {
		t.Error("an insert was acknowledged whose name did not reach the disk")
	}
	nextChild(t, e, boot)
	if n := mustCall(t, e, "SELECT count() >= 10 FROM ct.ledger"); n != "1" {
		t.Error("rows of before are gone")
	}
}

func tryInsert(e *engine.Engine, sql string) (status int, err error) {
	req, err := http.NewRequest(http.MethodPost, e.URL()+"/", strings.NewReader(sql))
	if err != nil {
		return 0, err
	}
	req.SetBasicAuth(e.Credentials())
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	return resp.StatusCode, nil
}
