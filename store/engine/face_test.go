package engine_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/ch-go/compress"
	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"

	"ctappliance/store/engine"
)

// TestFormats asks as curl does.
func TestFormats(t *testing.T) {
	e := sharedEngine(t)
	for _, c := range []struct {
		q    url.Values
		sql  string
		want string
	}{
		{nil, "SELECT 1, 'a'", "1\ta\n"},
		{nil, "SELECT 1, 'a' FORMAT CSV", "1,\"a\"\n"},
		{nil, "SELECT 1 AS x FORMAT JSONEachRow;", "{\"x\":1}\n"},
		{url.Values{"default_format": {"CSV"}}, "SELECT 1, 'a'", "1,\"a\"\n"},
		{url.Values{"query": {"SELECT"}}, " 7", "7\n"},
		{url.Values{"query": {"SELECT {x:UInt8} + 1"}, "param_x": {"41"}}, "", "42\n"},
		{nil, "SHOW DATABASES LIKE 'system'", "system\n"},
		{nil, "/* c */ WITH 3 AS x SELECT x -- end", "3\n"},
		{nil, "(SELECT 1) UNION ALL (SELECT 1)", "1\n1\n"},
		{nil, "SELECT 1 AS format FORMAT TSV", "1\n"},
		{nil, "SELECT 'FORMAT CSV', 2", "FORMAT CSV\t2\n"},
	} {
		status, got, code := call(t, e, c.q, c.sql)
		if status != 200 || got != c.want {
			t.Errorf("%v %q: HTTP %d code %d %q, want %q", c.q, c.sql, status, code, got, c.want)
		}
	}
	// A format with a header and a footer, over more than one block.
	_, got, _ := call(t, e, nil, "SELECT number FROM numbers(200000) FORMAT JSONCompact")
	var doc struct {
		Rows int
		Data [][]any
	}
	if err := json.Unmarshal([]byte(got), &doc); err != nil || doc.Rows != 200000 || len(doc.Data) != 200000 {
		t.Errorf("JSON of many blocks: %v, %d rows", err, doc.Rows)
	}
	_, got, _ = call(t, e, nil, "SELECT number FROM numbers(200000) FORMAT CSVWithNames")
	if n := strings.Count(got, "number"); n != 1 || strings.Count(got, "\n") != 200001 {
		t.Errorf("CSVWithNames of many blocks has %d header lines", n)
	}
	if status, got, _ := do(t, e, http.MethodGet, url.Values{"query": {"SELECT 5"}}, nil); status != 200 || got != "5\n" {
		t.Errorf("GET: %d %q", status, got)
	}
	if status, _, code := do(t, e, http.MethodGet, url.Values{"query": {"CREATE DATABASE by_get"}}, nil); code != 164 {
		t.Errorf("GET that writes: HTTP %d code %d", status, code)
	}
}

// TestInsertFormats inserts as curl does: statement in URL or body, data
// inline or behind it, encoded or not.
func TestInsertFormats(t *testing.T) {
	e := sharedEngine(t)
	db := open(t, e.DSN())
	ct := database(t, db)
	mustExec(t, db, "CREATE TABLE "+ct+".t (a UInt32, b String) ENGINE = MergeTree ORDER BY a")
	gz := func(s string) string {
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		io.WriteString(w, s)
		w.Close()
		return b.String()
	}
	zs := func(s string) string {
		w, _ := zstd.NewWriter(nil)
		return string(w.EncodeAll([]byte(s), nil))
	}
	l4 := func(s string) string {
		var b bytes.Buffer
		w := lz4.NewWriter(&b)
		io.WriteString(w, s)
		w.Close()
		return b.String()
	}
	into := "INSERT INTO " + ct + ".t"
	for _, c := range []struct {
		name string
		q    url.Values
		body string
		hdr  []string
		want string
	}{
		{"values", nil, into + " VALUES (1,'x'),(2,'y')", nil, "1x2y"},
		{"values in url", url.Values{"query": {into + " VALUES (1,'x')"}}, "", nil, "1x"},
		{"values behind", url.Values{"query": {into + " (a, b) VALUES"}}, "(3,'z')", nil, "3z"},
		{"csv", nil, into + " FORMAT CSV\n4,\"q\"\n5,w", nil, "4q5w"},
		{"csv behind", url.Values{"query": {into + " FORMAT CSV"}}, "6,INSERT\n", nil, "6INSERT"},
		{"json", url.Values{"query": {into + " SETTINGS input_format_skip_unknown_fields=1 FORMAT JSONEachRow"}}, `{"a":7,"b":"k","c":1}`, nil, "7k"},
		{"default format", url.Values{"query": {into}, "default_format": {"TSV"}}, "8\tl\n", nil, "8l"},
		{"gzip", url.Values{"query": {into + " FORMAT CSV"}}, gz("9,g\n"), []string{"Content-Encoding", "gzip"}, "9g"},
		{"zstd", url.Values{"query": {into + " FORMAT CSV"}}, zs("10,g\n"), []string{"Content-Encoding", "zstd"}, "10g"},
		{"lz4", url.Values{"query": {into + " FORMAT CSV"}}, l4("11,g\n"), []string{"Content-Encoding", "lz4"}, "11g"},
		{"frames", url.Values{"query": {into + " FORMAT CSV"}, "decompress": {"1"}}, frame(t, "12,g\n") + frame(t, "13,h\n"), nil, "12g13h"},
		{"select", nil, into + " SELECT number + 14, 's' FROM numbers(2)", nil, "14s15s"},
		{"param", url.Values{"param_a": {"16"}}, into + " SELECT {a:UInt32}, 'p'", nil, "16p"},
	} {
		t.Run(c.name, func(t *testing.T) {
			mustExec(t, db, "TRUNCATE TABLE "+ct+".t")
			if status, got, _ := call(t, e, c.q, c.body, c.hdr...); status != 200 {
				t.Fatalf("HTTP %d %s", status, got)
			}
			if _, got, _ := call(t, e, nil, "SELECT arrayStringConcat(groupArray(concat(toString(a), b))) FROM (SELECT * FROM "+ct+".t ORDER BY a)"); got != c.want+"\n" {
				t.Errorf("stored %q, want %q", got, c.want)
			}
		})
	}
	for _, c := range []struct {
		name string
		q    url.Values
		body string
		code int32
	}{
		{"bad value", nil, into + " FORMAT CSV\nx,1\n", 27},
		{"from infile", nil, into + " FROM INFILE '/etc/passwd' FORMAT LineAsString", 48},
		{"unknown format", nil, into + " FORMAT Nope\n1", 73},
		{"format that is SQL", url.Values{"query": {into}, "default_format": {"CSV SETTINGS x=1"}}, "1,x", 73},
		{"frame cut short", url.Values{"query": {into + " FORMAT CSV"}, "decompress": {"1"}}, frame(t, "1,a\n") + frame(t, "2,b\n")[:27], 210},
		{"frame damaged", url.Values{"query": {into + " FORMAT CSV"}, "decompress": {"1"}}, strings.Replace(frame(t, "1,abcdefghijkl\n"), "abc", "abd", 1), 210},
		{"frame too big", url.Values{"query": {into + " FORMAT CSV"}, "decompress": {"1"}}, strings.Repeat("\xff", 64), 210},
	} {
		t.Run(c.name, func(t *testing.T) {
			mustExec(t, db, "TRUNCATE TABLE "+ct+".t")
			if status, got, code := call(t, e, c.q, c.body); code != c.code || status == 200 {
				t.Errorf("HTTP %d code %d, want %d: %s", status, code, c.code, got)
			}
			if n := scan[uint64](t, db, "SELECT count() FROM "+ct+".t"); n != 0 {
				t.Errorf("%d rows of a refused insert were stored", n)
			}
		})
	}
}

// frame is s in ClickHouse's compressed form, stored.
func frame(t *testing.T, s string) string {
	t.Helper()
	w := compress.NewWriter(compress.LevelZero, compress.None)
	if err := w.Compress([]byte(s)); err != nil {
		t.Fatal(err)
	}
	return string(w.Data)
}

// TestBodyCutShort ends the connection in mid-body: nothing is stored.
func TestBodyCutShort(t *testing.T) {
	e := sharedEngine(t)
	db := open(t, e.DSN())
	ct := database(t, db)
	mustExec(t, db, "CREATE TABLE "+ct+".t (a UInt32) ENGINE = MergeTree ORDER BY a")
	u, _ := url.Parse(e.URL())
	for _, length := range []string{"Content-Length: 1000000", "Transfer-Encoding: chunked"} {
		c, err := net.Dial("tcp", u.Host)
		if err != nil {
			t.Fatal(err)
		}
		name, pass := e.Credentials()
		req, _ := http.NewRequest("POST", "http://x/", nil)
		req.SetBasicAuth(name, pass)
		body := strings.Repeat("1\n", 1000)
		if strings.HasPrefix(length, "T") {
			body = fmt.Sprintf("%x\r\n%s\r\n", len(body), body)
		}
		fmt.Fprintf(c, "POST /?query_id=cut&query=%s HTTP/1.1\r\nHost: localhost\r\nAuthorization: %s\r\n%s\r\n\r\n%s", url.QueryEscape("INSERT INTO "+ct+".t FORMAT TSV"), req.Header.Get("Authorization"), length, body)
		until(t, func() bool { return len(runningIDs(t, e, "cut")) == 1 })
		c.Close()
		until(t, func() bool { return len(runningIDs(t, e, "cut")) == 0 })
		if n := scan[uint64](t, db, "SELECT count() FROM "+ct+".t"); n != 0 {
			t.Errorf("%s: %d rows of a body cut short were stored", length, n)
		}
	}
}

// TestFenceStatements: after the fence nothing with that query_id starts, not
// even a request that was on its way.
func TestFenceStatements(t *testing.T) {
	e := sharedEngine(t)
	ctx := t.Context()
	// Prefixes of this run alone: a fence stays for as long as the engine.
	one, two := "one-"+rand.Text()+"-", "two-"+rand.Text()+"-"
	if err := e.FenceStatements(ctx, one); err != nil {
		t.Fatal(err)
	}
	if status, body, code := call(t, e, url.Values{"query_id": {one + "t1"}}, "SELECT 1"); code != 394 || status == 200 {
		t.Errorf("a fenced statement ran: HTTP %d code %d %s", status, code, body)
	}
	if status, _, _ := call(t, e, url.Values{"query_id": {strings.TrimSuffix(one, "-") + "0-t1"}}, "SELECT 1"); status != 200 {
		t.Errorf("another statement: HTTP %d", status)
	}
	if err := e.FenceStatements(ctx, ""); err == nil {
		t.Error("everything was fenced")
	}
	// One that runs is waited for.
	pr, pw := io.Pipe()
	done := make(chan int, 1)
	go func() {
		req, _ := http.NewRequest("POST", e.URL()+"/?query_id="+two+"t1&query="+url.QueryEscape("INSERT INTO FUNCTION null('a UInt8') FORMAT TSV"), pr)
		req.SetBasicAuth(e.Credentials())
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			done <- 0
			return
		}
		resp.Body.Close()
		done <- resp.StatusCode
	}()
	until(t, func() bool {
		if len(done) > 0 {
			t.Fatal("the insert has ended before it began to run: HTTP ", <-done)
		}
		return len(runningIDs(t, e, two)) == 1
	})
	short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	if err := e.FenceStatements(short, two); err == nil {
		t.Error("the fence did not wait for a running insert")
	}
	io.WriteString(pw, "1\n")
	pw.Close()
	if got := <-done; got != 200 {
		t.Errorf("the running insert: HTTP %d", got)
	}
	if err := e.FenceStatements(ctx, two); err != nil {
		t.Error(err)
	}
}

// until polls for what another process does.
func until(t *testing.T, ok func() bool) {
	t.Helper()
	for !ok() {
		select {
		case <-t.Context().Done():
			t.Fatal("it did not happen")
		case <-time.After(2 * time.Millisecond):
		}
	}
}

func runningIDs(t *testing.T, e *engine.Engine, prefix string) []string {
	t.Helper()
	list, err := e.RunningStatements(t.Context(), prefix)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// TestCancel: the statement of a client that goes away is stopped.
func TestCancel(t *testing.T) {
	e := sharedEngine(t)
	db := open(t, e.DSN())
	for i, sql := range []string{
		"SELECT sum(cityHash64(number)) FROM numbers(1000000000000)",
		"SELECT sum(cityHash64(number)) FROM numbers(1000000000000) FORMAT JSON",
		"SELECT cityHash64(number) FROM numbers(1000000000000)",
	} {
		id := fmt.Sprintf("long-%d", i)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			req, _ := http.NewRequestWithContext(ctx, "POST", e.URL()+"/?query_id="+id, strings.NewReader(sql))
			req.SetBasicAuth(e.Credentials())
			resp, err := http.DefaultClient.Do(req)
			if err == nil {
				_, err = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
			}
			done <- err
		}()
		until(t, func() bool { return len(runningIDs(t, e, id)) == 1 })
		cancel()
		if err := <-done; err == nil {
			t.Errorf("%s: no error after cancelling", sql)
		}
		until(t, func() bool { return len(runningIDs(t, e, id)) == 0 })
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := db.Exec(ctx, "SELECT sum(cityHash64(number)) FROM numbers(1000000000000)"); err == nil {
		t.Error("no error after the deadline")
	}
	if got := scan[uint8](t, db, "SELECT 1"); got != 1 {
		t.Error(got)
	}
}

func TestAuth(t *testing.T) {
	e := sharedEngine(t)
	wname, wpass := e.Credentials()
	rname, rpass := e.ReaderCredentials()
	for _, c := range []struct {
		user, pass string
		ok         bool
	}{
		{wname, wpass, true}, {rname, rpass, true}, {wname, rpass, false}, {rname, wpass, false},
		{wname, "", false}, {"", "", false}, {"default", "", false}, {"nobody", wpass, false},
	} {
		q := url.Values{"user": {c.user}, "password": {c.pass}}
		status, body, code := call(t, e, q, "SELECT 1")
		if c.ok && (status != 200 || body != "1\n") || !c.ok && (status != 403 || code != 516) {
			t.Errorf("%q: HTTP %d code %d %q", c.user, status, code, body)
		}
		if !c.ok && strings.Contains(body, wpass) {
			t.Error("the secret is in the answer")
		}
		status, _, _ = call(t, e, url.Values{"user": {"x"}}, "SELECT 1", "X-ClickHouse-User", c.user, "X-ClickHouse-Key", c.pass)
		if c.user != "" && (status == 200) != c.ok {
			t.Errorf("headers %q: HTTP %d", c.user, status)
		}
	}
	if _, err := clickhouse.ParseDSN(e.DSN()); err != nil {
		t.Error(err)
	}
	// The secret is in no place where other users of the machine can look.
	for _, f := range []string{"cmdline", "environ"} {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", e.PID(), f))
		if err == nil && (bytes.Contains(b, []byte(wpass)) || bytes.Contains(b, []byte(rpass))) {
			t.Errorf("the secret is in /proc/PID/%s", f)
		}
	}
}

func TestHostHeader(t *testing.T) {
	e := sharedEngine(t)
	for host, want := range map[string]int{"localhost": 200, "127.0.0.1:1234": 200, "[::1]:80": 200, "LOCALHOST:9": 200, "evil.example": 421, "127.0.0.1.evil.example": 421, "localhost.evil.example:80": 421} {
		if status, _, _ := call(t, e, nil, "SELECT 1", "Host", host); status != want {
			t.Errorf("Host %s: HTTP %d, want %d", host, status, want)
		}
	}
	for path, want := range map[string]int{"/ping": 200, "/replicas_status": 200, "/": 200, "/running": 403, "/etc/passwd": 404} {
		resp, err := http.Get(e.URL() + path)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("GET %s: HTTP %d, want %d", path, resp.StatusCode, want)
		}
	}
}

// TestReader: the read-only user reads tables, and nothing else.
func TestReader(t *testing.T) {
	e := sharedEngine(t)
	db := open(t, e.DSN())
	ct := database(t, db)
	mustExec(t, db, "CREATE TABLE "+ct+".t (a UInt32) ENGINE = MergeTree ORDER BY a")
	mustExec(t, db, "INSERT INTO "+ct+".t VALUES (1),(2)")
	name0, pass := e.ReaderCredentials()
	q := url.Values{"user": {name0}, "password": {pass}}
	out := filepath.Join(t.TempDir(), "out")
	for _, sql := range []string{
		"SELECT sum(a) FROM " + ct + ".t", "SHOW TABLES FROM " + ct, "DESCRIBE TABLE " + ct + ".t", "EXPLAIN SELECT * FROM " + ct + ".t",
		"WITH 1 AS x SELECT x", "SHOW CREATE TABLE " + ct + ".t", "EXISTS TABLE " + ct + ".t",
	} {
		if status, body, _ := call(t, e, q, sql); status != 200 || body == "" {
			t.Errorf("%s: HTTP %d %s", sql, status, body)
		}
	}
	for _, sql := range []string{
		"INSERT INTO " + ct + ".t VALUES (3)", "INSERT INTO " + ct + ".t SELECT 3", "CREATE TABLE " + ct + ".u (a Int8) ENGINE = Memory", "DROP TABLE " + ct + ".t",
		"ALTER TABLE " + ct + ".t DELETE WHERE 1", "OPTIMIZE TABLE " + ct + ".t", "TRUNCATE TABLE " + ct + ".t", "SYSTEM STOP MERGES", "KILL QUERY WHERE 1", "SET readonly = 0",
		"SELECT * FROM url('http://127.0.0.1:1/', 'LineAsString')", "DESCRIBE TABLE url('http://127.0.0.1:1/', 'CSV')", "EXPLAIN SELECT * FROM url('http://127.0.0.1:1/')",
		"SELECT * FROM file('/etc/passwd', 'LineAsString')", "SELECT file('/etc/passwd')", "SELECT `file`('/etc/passwd')", `SELECT "fi\x6ce"('/etc/passwd')`,
		"SELECT * APPLY(file) FROM (SELECT '/etc/passwd')", "SELECT arrayMap(file, ['/etc/passwd'])", "SELECT /**/file\n('/etc/passwd')",
		"SELECT 1 INTO OUTFILE '" + out + "'", "INSERT INTO FUNCTION file('" + out + "', 'TSV', 'a Int8') SELECT 1", `\i /etc/passwd`, ` ;\i /etc/passwd`,
		"SELECT * FROM remote('127.0.0.1', system.one)", "SELECT hasColumnInTable('127.0.0.1', 'system', 'one', 'dummy')", "SELECT * FROM executable('id', TSV, 'a String')",
		"SELECT 1 SETTINGS readonly = 0", "SELECT 1; DROP TABLE " + ct + ".t", "BACKUP TABLE " + ct + ".t TO File('x')", "CREATE TEMPORARY TABLE x (a Int8)", "USE system",
		"SELECT 1 PARALLEL WITH SELECT 2",
	} {
		status, body, code := call(t, e, q, sql)
		if status == 200 || code == 0 || strings.Contains(body, "root:") {
			t.Errorf("%s: HTTP %d %.200s", sql, status, body)
		}
	}
	if _, err := os.Stat(out); err == nil {
		t.Error("a file was written")
	}
	if n := scan[uint64](t, db, "SELECT count() FROM "+ct+".t"); n != 2 {
		t.Errorf("the table has %d rows", n)
	}
	for name, want := range map[string]int32{"max_execution_time": 0, "readonly": 164, "allow_ddl": 164, "format_schema": 164, "output_format_json_quote_64bit_integers": 0, "max_memory_usage": 0} {
		q := url.Values{name: {"1000000000"}}
		if strings.HasPrefix(name, "output") {
			q.Set(name, "1")
		}
		for k, v := range map[string]string{"user": name0, "password": pass} {
			q.Set(k, v)
		}
		if _, body, code := call(t, e, q, "SELECT 1"); code != want {
			t.Errorf("setting %s: code %d, want %d: %s", name, code, want, body)
		}
	}
	q.Set("max_execution_time", "86400")
	if _, got, _ := call(t, e, q, "SELECT getSetting('max_execution_time'), getSetting('readonly')"); got != "30\t1\n" {
		t.Errorf("a reader's time limit and readonly are %q", got)
	}
	// Through clickhouse-go, with the deadline it turns into a setting.
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	var n uint64
	if err := open(t, e.ReaderDSN()).QueryRow(ctx, "SELECT count() FROM "+ct+".t").Scan(&n); err != nil || n != 2 {
		t.Errorf("clickhouse-go as reader: %d, %v", n, err)
	}
}

// TestSandbox: what even the writer's SQL cannot reach.
func TestSandbox(t *testing.T) {
	e := sharedEngine(t)
	if s := e.Status().Sandbox; !strings.HasPrefix(s, "landlock") {
		t.Skipf("no sandbox on this system: %s", s)
	}
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer lis.Close()
	reached := make(chan struct{}, 1)
	go func() {
		if c, err := lis.Accept(); err == nil {
			c.Close()
			reached <- struct{}{}
		}
	}()
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("tell nobody"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, sql := range []string{
		"SELECT file('" + secret + "')", "SELECT file('/etc/passwd')", "SELECT * FROM file('" + secret + "', 'LineAsString')",
		fmt.Sprintf("SELECT file('/proc/%d/environ')", os.Getpid()),
		"SELECT * FROM url('http://" + lis.Addr().String() + "/', 'LineAsString', 'a String') SETTINGS http_max_tries = 1",
		"INSERT INTO FUNCTION file('" + secret + "', 'TSV', 'a String') SELECT 'x' SETTINGS engine_file_truncate_on_insert = 1",
	} {
		if status, body, _ := call(t, e, nil, sql); status == 200 || strings.Contains(body, "nobody") {
			t.Errorf("%s: HTTP %d %.200s", sql, status, body)
		}
	}
	select {
	case <-reached:
		t.Error("the engine connected")
	default:
	}
	if b, err := os.ReadFile(secret); err != nil || string(b) != "tell nobody" {
		t.Errorf("the file changed: %q %v", b, err)
	}
}
