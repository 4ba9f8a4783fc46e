package store

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ctappliance/schema"
	"ctappliance/store/engine/enginetest"
)

func TestConfig(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	secret := write("secret", "from file\n")
	empty := write("empty", "\n")
	large := write("large", strings.Repeat("x", 5000))
	notPEM := write("ca", "hello")
	for _, c := range []struct {
		name string
		cfg  Config
		want string // part of the error; "" is none
	}{
		{"nothing", Config{}, "store.dsn: not set"},
		{"http on loopback", Config{DSN: "http://127.0.0.1:8123"}, ""},
		{"http on IPv6 loopback", Config{DSN: "http://[::1]:8123/"}, ""},
		{"plaintext to another host", Config{DSN: "http://u:hunter2@db.example.com"}, "store.allow-plaintext"},
		{"plaintext to a host that looks like this one", Config{DSN: "http://127.0.0.1.example.com"}, "store.allow-plaintext"},
		{"plaintext allowed", Config{DSN: "http://db.example.com", AllowPlaintext: true}, ""},
		{"https", Config{DSN: "https://u:hunter2@db.example.com/ctlogs"}, ""},
		{"native protocol", Config{DSN: "clickhouse://u:hunter2@db:9000"}, "native protocol"},
		{"another scheme", Config{DSN: "ftp://u:hunter2@db"}, "scheme \"ftp\""},
		{"no host", Config{DSN: "http:///x"}, "no host"},
		{"not a URL", Config{DSN: "http://u:hunter2%zz@db:1"}, "not a URL"},
		{"parameters", Config{DSN: "https://db/?password=hunter2"}, "parameters after ?"},
		{"database twice", Config{DSN: "https://db/a", Database: "b"}, "give it once"},
		{"database of another shape", Config{DSN: "https://db/", Database: "a`; DROP"}, "store.database"},
		{"password file", Config{DSN: "https://db/", PasswordFile: secret}, ""},
		{"empty password file", Config{DSN: "https://db/", PasswordFile: empty}, "is empty"},
		{"large password file", Config{DSN: "https://db/", PasswordFile: large}, "not a password"},
		{"no password file", Config{DSN: "https://db/", PasswordFile: filepath.Join(dir, "none")}, "store.password-file"},
		{"CA without TLS", Config{DSN: "http://localhost/", CAFile: notPEM}, "has no TLS"},
		{"CA that is none", Config{DSN: "https://db/", CAFile: notPEM}, "no certificate in PEM"},
	} {
		t.Run(c.name, func(t *testing.T) {
			target, err := c.cfg.target()
			if c.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				if c.cfg.PasswordFile != "" && target.password != "from file" {
					t.Errorf("password is %q", target.password)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v, want an error with %q", err, c.want)
			}
			if strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "\n") {
				t.Errorf("the error tells the password, or is more than a line: %q", err)
			}
		})
	}
}

// answer is a server that answers SELECT version() with a text, as HTTP.
func answer(t *testing.T, handler http.HandlerFunc) string {
	t.Helper()
	srv := httptest.NewServer(handler)
	t.Cleanup(srv.Close)
	return strings.Replace(srv.URL, "http://", "http://someone:hunter2@", 1)
}

func TestOpenSaysWhatIsWrong(t *testing.T) {
	e := enginetest.StartEngine(t)
	u, err := url.Parse(e.DSN())
	if err != nil {
		t.Fatal(err)
	}
	user := u.User.Username()
	u.User = url.UserPassword(user, "hunter2")
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	tlsServer := httptest.NewTLSServer(http.NotFoundHandler())
	defer tlsServer.Close()
	for _, c := range []struct {
		name string
		dsn  string
		want string
	}{
		{"wrong password", u.String(), "does not accept user " + user},
		{"nobody there", "http://someone:hunter2@" + closed.Addr().String(), "is it running"},
		{"not ClickHouse", answer(t, func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(404)
			fmt.Fprint(w, "<html>\x1b[31mnot here</html>\nsecond line")
		}), "is not ClickHouse"},
		{"not ClickHouse, politely", answer(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "<html>hello") }), "is not ClickHouse"},
		{"hangs up", answer(t, func(w http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) }), "ClickHouse at"},
		{"TLS with a certificate of its own", strings.Replace(tlsServer.URL, "https://", "https://someone:hunter2@", 1), "store.ca-file"},
		{"TLS where there is none", strings.Replace(e.URL(), "http://", "https://someone:hunter2@", 1), "does not speak TLS"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := Open(t.Context(), Config{DSN: c.dsn})
			if err == nil {
				s.Close()
				t.Fatal("it opened")
			}
			text := err.Error()
			t.Log(text)
			if !strings.Contains(text, c.want) || strings.Contains(text, "hunter2") || strings.ContainsAny(text, "\n\x1b") || len(text) > 700 {
				t.Errorf("the error is %q, want one line with %q and no password", text, c.want)
			}
		})
	}
}

func TestCA(t *testing.T) {
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(503) }))
	defer srv.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Open(t.Context(), Config{DSN: srv.URL, CAFile: ca})
	if err == nil || !strings.Contains(err.Error(), "503") {
		t.Errorf("with the CA it got %v, want the server's 503", err)
	}
	_, err = Open(t.Context(), Config{DSN: srv.URL, CAFile: ca, ServerName: "other.test"})
	if err == nil || !strings.Contains(err.Error(), "not other.test (store.ca-file)") {
		t.Errorf("with another name it got %v", err)
	}
}

func TestVersion(t *testing.T) {
	for version, ok := range map[string]bool{
		"26.3": true, "26.3.1.5": true, "26.7.2.1": true, "27.1": true, "26.12.1-lts": true,
		"26.2.9.9": false, "25.8.1.1": false, "1": false, "": false, "x.y": false, "26": false,
	} {
		if err := checkVersion(version); (err == nil) != ok || err != nil && !errors.Is(err, ErrVersion) {
			t.Errorf("version %q: %v", version, err)
		}
	}
}

// TestOldServer talks to a real engine through a proxy that pretends to be old.
func TestOldServer(t *testing.T) {
	e := enginetest.StartEngine(t)
	p := newProxy(t, e)
	p.version = "25.8.3.1"
	_, err := Open(t.Context(), Config{DSN: p.dsn()})
	if !errors.Is(err, ErrVersion) || !strings.Contains(err.Error(), "26.3 or newer") {
		t.Errorf("got %v, want ErrVersion", err)
	}
}

func TestSettingsDiffer(t *testing.T) {
	s, e := openEngine(t, nil)
	for _, c := range []struct{ change, want string }{
		{"ALTER TABLE {db}.certs MODIFY SETTING fsync_after_insert = 0", "certs has fsync_after_insert = 0"},
		{"ALTER TABLE {db}.certs RESET SETTING fsync_after_insert", "certs has fsync_after_insert = not set"},
		{"ALTER TABLE {db}.ledger MODIFY SETTING non_replicated_deduplication_window = 100", "ledger has non_replicated_deduplication_window = 100"},
	} {
		exec(t, s, c.change)
		_, err := Open(t.Context(), Config{Embedded: e, Database: "t"})
		if !errors.Is(err, ErrSettings) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("after %s: %v, want %q", c.change, err, c.want)
		}
		exec(t, s, "ALTER TABLE {db}.certs MODIFY SETTING fsync_after_insert = 1")
	}
	exec(t, s, "ALTER TABLE {db}.ledger MODIFY SETTING non_replicated_deduplication_window = 10000")
	exec(t, s, "ALTER TABLE {db}.problems DROP COLUMN leaf")
	if _, err := Open(t.Context(), Config{Embedded: e, Database: "t"}); !errors.Is(err, ErrSchema) || !strings.Contains(err.Error(), "no column leaf") {
		t.Errorf("without a column: %v, want ErrSchema", err)
	}
}

func TestReadOnly(t *testing.T) {
	s, e := openEngine(t, nil)
	insert(t, s, flushOf(1, rowsOf(1, 0, 3)))
	ro := open(t, Config{Embedded: e, Database: "t", ReadOnly: true})
	f := flushOf(2, rowsOf(1, 3, 3))
	for _, err := range []error{ro.InsertDependents(t.Context(), f), ro.InsertLedger(t.Context(), f, nil), ro.PutLogs(t.Context(), []schema.Log{{}})} {
		if !errors.Is(err, ErrReadOnly) {
			t.Errorf("an insert gave %v, want ErrReadOnly", err)
		}
	}
	if n := one(t, ro, "SELECT count() FROM {db}.ledger"); n != "3" {
		t.Errorf("%s rows, want 3", n)
	}
}

func TestQueryIsReadOnlyAndSafe(t *testing.T) {
	s, _ := openEngine(t, nil)
	a, err := s.Query(t.Context(), 2, "SELECT number AS `a\x1b[31m`, {x:String} AS v, unhex('00ff0a5c') AS raw FROM numbers(5)", Param("x", "it's \\N\t\x00\n\u202e"))
	if err != nil {
		t.Fatal(err)
	}
	if len(a.Rows) != 2 || !a.More || a.Columns[0] != `a\x1b[31m` || a.Rows[1][1] != `it's \\N\t\x00\n\u202e` || a.Rows[1][2] != `\x00\xff\n\\` {
		t.Errorf("answer is %q %q", a.Columns, a.Rows)
	}
	for _, q := range []string{"INSERT INTO t.meta SELECT 'a', 'b', now()", "DROP TABLE t.meta", "SELECT * FROM file('/etc/passwd', 'LineAsString')", "SELECT * FROM url('http://127.0.0.1:1/', 'LineAsString')"} {
		if _, err := s.Query(t.Context(), 0, q); err == nil {
			t.Errorf("%s was run", q)
		}
	}
	if _, err := s.Query(t.Context(), 0, "SELECT repeat('x', 1000000) FROM numbers(100)"); !errors.Is(err, ErrTooLarge) {
		t.Errorf("an answer of 100 MB gave %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := s.Query(ctx, 0, "SELECT sum(cityHash64(number)) FROM numbers(1000000000000)"); err == nil || !strings.Contains(err.Error(), "in time") {
		t.Errorf("a query without end gave %v", err)
	}
}

func TestLogsAndSummary(t *testing.T) {
	s, e := openEngine(t, nil)
	l := schema.Log{ID: schema.Hash{7: 1}, Name: "Log\x1b", Operator: "Op", URL: "https://x/", Kind: "static", HeadSize: 100, HeadTime: 1_790_000_000_000, VerifiedTo: 40}
	for _, to := range []uint64{40, 50, 60} {
		l.VerifiedTo = to
		if err := s.PutLogs(t.Context(), []schema.Log{l}); err != nil {
			t.Fatal(err)
		}
	}
	// A restart goes on from the version that is there, whatever the clock says.
	exec(t, s, "INSERT INTO {db}.logs SELECT * REPLACE (toUInt64(9000000000000) AS updated, toUInt64(70) AS verified_to) FROM {db}.logs FINAL")
	s = open(t, Config{Embedded: e, Database: "t"})
	l.VerifiedTo = 80
	if err := s.PutLogs(t.Context(), []schema.Log{l}); err != nil {
		t.Fatal(err)
	}
	if got := one(t, s, "SELECT concat(toString(verified_to), ' ', toString(behind), ' ', operator) FROM {db}.log_status"); got != "80 20 Op" {
		t.Errorf("log_status says %s", got)
	}
	rows := rowsOf(1, 5, 10)
	rows[2].Status = schema.StatusOdd
	insert(t, s, flushOf(1, rows))
	if got := one(t, s, "SELECT concat(log, ' ', id_prefix) FROM {db}.entries WHERE log_id = 1 AND idx = 7"); got != fmt.Sprintf("Log\x1b %x", rows[2].TBSID[:10]) {
		t.Errorf("entries says %q", got)
	}
	sum, err := s.Summary(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(sum.Logs) != 1 || sum.Logs[0] != (LogSummary{1, `Log\x1b`, 10, 5, 14}) {
		t.Errorf("logs are %+v", sum.Logs)
	}
	if fmt.Sprint(sum.Statuses) != "[{ok 9} {odd 1}]" {
		t.Errorf("statuses are %v", sum.Statuses)
	}
	var ledger TableSummary
	for _, table := range sum.Tables {
		if table.Name == "ledger" {
			ledger = table
		}
	}
	if ledger.Rows != 10 || ledger.Bytes == 0 || ledger.Parts != 1 {
		t.Errorf("ledger is %+v", ledger)
	}
}

func TestCompressedInsert(t *testing.T) {
	s, _ := openEngine(t, func(c *Config) { c.Compress = true })
	f := flushOf(1, rowsOf(1, 0, 20_000)) // more than a frame
	insert(t, s, f)
	complete(t, s, f)
	if n := one(t, s, "SELECT uniqExact(names) FROM {db}.certs"); n != "20000" {
		t.Errorf("%s certificates, want 20000", n)
	}
}
