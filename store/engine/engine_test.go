package engine_test

import (
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"ctappliance/store/engine"
	"ctappliance/store/engine/enginetest"
)

// shared is one engine for the tests that do not harm it.
var shared struct {
	sync.Mutex
	e *engine.Engine
}

// sharedEngine starts the engine of the tests that only use it. It outlives
// the test that asked first, and ends with the process, which is its parent.
func sharedEngine(t *testing.T) *engine.Engine {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	if shared.e == nil {
		shared.e = enginetest.StartShared(t)
	}
	return shared.e
}

func open(t *testing.T, dsn string, change ...func(*clickhouse.Options)) driver.Conn {
	t.Helper()
	opt, err := clickhouse.ParseDSN(dsn)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range change {
		f(opt)
	}
	db, err := clickhouse.Open(opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// database makes a database of its own for a test.
func database(t *testing.T, db driver.Conn) string {
	t.Helper()
	name := "t_" + strings.ToLower(rand.Text()[:10])
	mustExec(t, db, "CREATE DATABASE "+name)
	return name
}

func mustExec(t *testing.T, db driver.Conn, sql string, args ...any) {
	t.Helper()
	if err := db.Exec(t.Context(), sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func scan[T any](t *testing.T, db driver.Conn, sql string, args ...any) T {
	t.Helper()
	var v T
	if err := db.QueryRow(t.Context(), sql, args...).Scan(&v); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return v
}

const allTypes = `(
	log_id UInt64 CODEC(DoubleDelta, LZ4),
	ts DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
	entry_type Enum8('x509' = 0, 'precert' = 1) CODEC(T64('bit')),
	tbs_id FixedString(16) CODEC(NONE),
	wildcard Bool,
	not_before DateTime('UTC'),
	serial SimpleAggregateFunction(any, String),
	key_bits SimpleAggregateFunction(any, UInt16),
	fp SimpleAggregateFunction(max, FixedString(32)),
	names SimpleAggregateFunction(any, Array(String)) CODEC(ZSTD(3)),
	lc LowCardinality(String) DEFAULT 'x',
	opt Nullable(Int32)
)`

type row struct {
	log      uint64
	ts       time.Time
	kind     string
	tbs      string
	wild     bool
	before   time.Time
	serial   string
	bits     uint16
	fp       string
	names    []string
	lc       string
	optional *int32
}

func sample(i int) row {
	r := row{
		log: uint64(i) * 7919, ts: time.UnixMilli(1_700_000_000_000 + int64(i)).UTC(), kind: []string{"x509", "precert"}[i%2],
		tbs: fmt.Sprintf("%016d", i), wild: i%3 == 0, before: time.Unix(1_600_000_000+int64(i), 0).UTC(), serial: fmt.Sprintf("\x00\xff%d", i),
		bits: uint16(i), fp: fmt.Sprintf("%032d", i), names: []string{fmt.Sprintf("a%d.example", i), "b'\\\n.example"}, lc: fmt.Sprint(i % 10),
	}
	if i%4 == 0 {
		r.names = []string{}
	}
	if i%5 == 0 {
		n := int32(-i)
		r.optional = &n
	}
	return r
}

// TestTypes inserts rows of every type the schema uses and reads them back,
// with each way clickhouse-go compresses.
func TestTypes(t *testing.T) {
	e := sharedEngine(t)
	for _, method := range []clickhouse.CompressionMethod{clickhouse.CompressionNone, clickhouse.CompressionLZ4, clickhouse.CompressionZSTD, clickhouse.CompressionGZIP, clickhouse.CompressionDeflate} {
		t.Run(method.String(), func(t *testing.T) {
			db := open(t, e.DSN(), func(o *clickhouse.Options) { o.Compression = &clickhouse.Compression{Method: method, Level: 1} })
			ct := database(t, db)
			mustExec(t, db, "CREATE TABLE "+ct+".t "+allTypes+" ENGINE = AggregatingMergeTree ORDER BY (log_id, ts, entry_type, tbs_id, wildcard, not_before, lc, opt) SETTINGS allow_nullable_key=1")
			b, err := db.PrepareBatch(t.Context(), "INSERT INTO "+ct+".t")
			if err != nil {
				t.Fatal(err)
			}
			const n = 3000
			for i := range n {
				r := sample(i)
				if err := b.Append(r.log, r.ts, r.kind, r.tbs, r.wild, r.before, r.serial, r.bits, r.fp, r.names, r.lc, r.optional); err != nil {
					t.Fatal(err)
				}
			}
			if err := b.Send(); err != nil {
				t.Fatal(err)
			}
			rows, err := db.Query(t.Context(), "SELECT * FROM "+ct+".t ORDER BY log_id")
			if err != nil {
				t.Fatal(err)
			}
			defer rows.Close()
			i := 0
			for ; rows.Next(); i++ {
				var r row
				if err := rows.Scan(&r.log, &r.ts, &r.kind, &r.tbs, &r.wild, &r.before, &r.serial, &r.bits, &r.fp, &r.names, &r.lc, &r.optional); err != nil {
					t.Fatal(err)
				}
				if want := sample(i); !reflect.DeepEqual(r, want) {
					t.Fatalf("row %d:\n got %+v\nwant %+v", i, r, want)
				}
			}
			if err := rows.Err(); err != nil {
				t.Fatal(err)
			}
			if i != n {
				t.Fatalf("%d rows, want %d", i, n)
			}
			// A result without rows keeps its columns and the reader in step.
			rows, err = db.Query(t.Context(), "SELECT lc, names FROM "+ct+".t WHERE log_id = 1")
			if err != nil {
				t.Fatal(err)
			}
			if rows.Next() || rows.Err() != nil {
				t.Fatalf("rows where there are none, or %v", rows.Err())
			}
			rows.Close()
		})
	}
}

func TestParameters(t *testing.T) {
	db := open(t, sharedEngine(t).DSN())
	for _, s := range []string{"", "x", "O'Hara", `back\slash`, "new\nline\ttab", "nul\x00byte", "{a:String}", "ünï", "'; DROP TABLE x; --"} {
		if got := scan[string](t, db, "SELECT {s:String}", clickhouse.Named("s", s)); got != s {
			t.Errorf("parameter %q came back as %q", s, got)
		}
	}
	if got := scan[uint64](t, db, "SELECT sum(number) FROM numbers({n:UInt64})", clickhouse.Named("n", "1000")); got != 499500 {
		t.Errorf("got %d", got)
	}
}

func TestErrors(t *testing.T) {
	e := sharedEngine(t)
	db := open(t, e.DSN())
	for _, c := range []struct {
		sql    string
		code   int32
		status int
	}{
		{"SELECT * FROM nope", 60, 404},
		{"SELECT nope", 47, 404},
		{"SELEC 1", 62, 400},
		{"SELECT 1; SELECT 2", 62, 400},
		{"SELECT throwIf(1)", 395, 500},
		{"CREATE DATABASE default", 82, 500},
		{"SELECT 'unfinished", 62, 400},
		{"SELECT 1 INTO OUTFILE '/tmp/x'", 48, 501},
		{`\i /etc/passwd`, 62, 400},
		{"exit", 62, 400},
		{"", 62, 400},
		{"SELECT 1 SETTINGS nope=1", 115, 404},
	} {
		code, _, exc := call(t, e, nil, c.sql)
		if exc != c.code || code != c.status {
			t.Errorf("%q: HTTP %d code %d, want %d %d", c.sql, code, exc, c.status, c.code)
		}
		if c.sql == "" {
			continue
		}
		err := db.Exec(t.Context(), c.sql)
		if got := codeOf(err); got != c.code {
			t.Errorf("%q: clickhouse-go has code %d, want %d (%v)", c.sql, got, c.code, err)
		}
	}
	// An error after the first rows have gone out.
	rows, err := db.Query(t.Context(), "SELECT number, throwIf(number = 900000, 'late') FROM numbers(1000000) SETTINGS max_block_size = 1000")
	n := 0
	if err == nil {
		for rows.Next() {
			n++
		}
		err = rows.Err()
	}
	if codeOf(err) != 395 || n == 0 {
		t.Errorf("late error: code %d after %d rows: %v", codeOf(err), n, err)
	}
}

func codeOf(err error) int32 {
	for ; err != nil; err = unwrap(err) {
		if e, ok := err.(*clickhouse.Exception); ok {
			return e.Code
		}
	}
	return 0
}

func unwrap(err error) error {
	if u, ok := err.(interface{ Unwrap() error }); ok {
		return u.Unwrap()
	}
	return nil
}

// call POSTs sql as the writer, or as the user in q.
func call(t *testing.T, e *engine.Engine, q url.Values, body string, hdr ...string) (status int, answer string, exception int32) {
	t.Helper()
	return do(t, e, http.MethodPost, q, strings.NewReader(body), hdr...)
}

func do(t *testing.T, e *engine.Engine, method string, q url.Values, body io.Reader, hdr ...string) (status int, answer string, exception int32) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, e.URL()+"/?"+q.Encode(), body)
	if err != nil {
		t.Fatal(err)
	}
	if !q.Has("user") {
		req.SetBasicAuth(e.Credentials())
	}
	for i := 0; i < len(hdr); i += 2 {
		req.Header.Set(hdr[i], hdr[i+1])
		if hdr[i] == "Host" {
			req.Host = hdr[i+1]
		}
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Sscan(resp.Header.Get("X-ClickHouse-Exception-Code"), &exception)
	return resp.StatusCode, string(b), exception
}

// TestConcurrent has eight clients insert and select at once.
func TestConcurrent(t *testing.T) {
	e := sharedEngine(t)
	db := open(t, e.DSN(), func(o *clickhouse.Options) { o.MaxOpenConns = 8 })
	ct := database(t, db)
	mustExec(t, db, "CREATE TABLE "+ct+".t (w UInt8, i UInt64) ENGINE = MergeTree ORDER BY (w, i)")
	var wg sync.WaitGroup
	const clients, inserts, rows = 8, 5, 2000
	for w := range clients {
		wg.Go(func() {
			for k := range inserts {
				b, err := db.PrepareBatch(t.Context(), "INSERT INTO "+ct+".t")
				if err != nil {
					t.Error(err)
					return
				}
				for i := range rows {
					b.Append(uint8(w), uint64(k*rows+i))
				}
				if err := b.Send(); err != nil {
					t.Error(err)
					return
				}
				var n uint64
				if err := db.QueryRow(t.Context(), "SELECT uniqExact(i) FROM "+ct+".t WHERE w = {w:UInt8}", clickhouse.Named("w", fmt.Sprint(w))).Scan(&n); err != nil || n != uint64((k+1)*rows) {
					t.Errorf("client %d sees %d rows after insert %d: %v", w, n, k, err)
				}
			}
		})
	}
	wg.Wait()
	if n := scan[uint64](t, db, "SELECT count() FROM "+ct+".t"); n != clients*inserts*rows {
		t.Errorf("%d rows", n)
	}
}

// TestBigInsert inserts 100,000 rows of the ledger's shape at a time, and
// reads the engine's own word that they made one part.
func TestBigInsert(t *testing.T) {
	e := sharedEngine(t)
	db := open(t, e.DSN(), func(o *clickhouse.Options) {
		o.Compression = &clickhouse.Compression{Method: clickhouse.CompressionLZ4}
	})
	ct := database(t, db)
	mustExec(t, db, "CREATE TABLE "+ct+`.ledger (log_id UInt64, idx UInt64, ts DateTime64(3,'UTC'), kind Enum8('x509'=0,'precert'=1), tbs_id FixedString(16))
		ENGINE = MergeTree PARTITION BY toYYYYMM(ts) ORDER BY (log_id, idx)
		SETTINGS non_replicated_deduplication_window = 100, fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1`)
	insert := func(token string, from, n int) time.Duration {
		ctx := clickhouse.Context(t.Context(), clickhouse.WithSettings(clickhouse.Settings{
			"insert_deduplication_token": token, "max_insert_threads": 1, "optimize_on_insert": 0, "min_insert_block_size_rows": 2_000_000, "min_insert_block_size_bytes": 1 << 30,
		}), clickhouse.WithQueryID("ct-"+token+"-t1"))
		b, err := db.PrepareBatch(ctx, "INSERT INTO "+ct+".ledger")
		if err != nil {
			t.Fatal(err)
		}
		id := make([]byte, 16)
		for i := range n {
			rand.Read(id)
			if err := b.Append(uint64(1), uint64(from+i), time.UnixMilli(1_700_000_000_000), "precert", string(id)); err != nil {
				t.Fatal(err)
			}
		}
		began := time.Now()
		if err := b.Send(); err != nil {
			t.Fatal(err)
		}
		return time.Since(began)
	}
	const n = 100_000
	for k := range 3 {
		took := insert(fmt.Sprint("f", k), k*n, n)
		t.Logf("%d rows in %v: %.0f rows/s", n, took, n/took.Seconds())
	}
	if got := scan[uint64](t, db, "SELECT uniqExact(idx) FROM "+ct+".ledger"); got != 3*n {
		t.Fatalf("%d rows, want %d", got, 3*n)
	}
	// The token of an earlier insert: nothing is added, though the rows differ.
	insert("f1", 10*n, 1000)
	if got := scan[uint64](t, db, "SELECT count() FROM "+ct+".ledger"); got != 3*n {
		t.Errorf("a repeated token added rows: %d", got)
	}
	insert("f9", 10*n, 1000)
	if got := scan[uint64](t, db, "SELECT count() FROM "+ct+".ledger"); got != 3*n+1000 {
		t.Errorf("a new token: %d rows", got)
	}
	if got := scan[uint64](t, db, "SELECT max(rows) FROM system.parts WHERE database = {d:String} AND level = 0", clickhouse.Named("d", ct)); got != n {
		t.Errorf("an insert of %d rows made parts of at most %d", n, got)
	}
}

// TestSettingsRead reads back what durability rests on.
func TestSettingsRead(t *testing.T) {
	db := open(t, sharedEngine(t).DSN())
	ct := database(t, db)
	mustExec(t, db, "CREATE TABLE "+ct+".t (a UInt8) ENGINE = MergeTree ORDER BY a SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1, old_parts_lifetime = 480")
	ddl := scan[string](t, db, "SELECT engine_full FROM system.tables WHERE database = {d:String} AND name = 't'", clickhouse.Named("d", ct))
	for _, want := range []string{"fsync_after_insert = 1", "fsync_part_directory = 1", "min_rows_to_fsync_after_merge = 1", "old_parts_lifetime = 480"} {
		if !strings.Contains(ddl, want) {
			t.Errorf("engine_full %q does not say %q", ddl, want)
		}
	}
	for name, want := range map[string]string{"old_parts_lifetime": "480", "merge_max_block_size": "4096"} {
		if got := scan[string](t, db, "SELECT value FROM system.merge_tree_settings WHERE name = {n:String}", clickhouse.Named("n", name)); got != want {
			t.Errorf("merge tree setting %s = %s, want %s", name, got, want)
		}
	}
	for name, want := range map[string]string{"background_pool_size": "2", "mark_cache_size": "67108864", "uncompressed_cache_size": "0"} {
		if got := scan[string](t, db, "SELECT value FROM system.server_settings WHERE name = {n:String}", clickhouse.Named("n", name)); got != want {
			t.Errorf("server setting %s = %s, want %s", name, got, want)
		}
	}
	if got := scan[string](t, db, "SELECT value FROM system.settings WHERE name = 'async_insert'"); got != "0" {
		t.Errorf("async_insert = %s", got)
	}
}

// TestSettingsDoNotStick: what one statement sets, the next does not have.
func TestSettingsDoNotStick(t *testing.T) {
	e := sharedEngine(t)
	if _, got, _ := call(t, e, url.Values{"max_threads": {"1"}, "database": {"system"}}, "SELECT getSetting('max_threads'), currentDatabase()"); got != "1\tsystem\n" {
		t.Errorf("got %q", got)
	}
	call(t, e, nil, "SET max_block_size = 77")
	call(t, e, nil, "USE system")
	if _, got, _ := call(t, e, nil, "SELECT getSetting('max_block_size') = 77, currentDatabase()"); got != "0\tdefault\n" {
		t.Errorf("got %q", got)
	}
	if _, _, code := call(t, e, url.Values{"max_threads=1, readonly": {"0"}}, "SELECT 1"); code != 115 {
		t.Errorf("a setting's name that is SQL: code %d", code)
	}
	if _, got, _ := call(t, e, url.Values{"log_queries_cut_to_length": {"1, max_threads=3"}}, "SELECT 1"); got == "1\n" {
		t.Error("a setting's value that is SQL was taken")
	}
}

// TestOddNames: names and values that are SQL stay names and values.
func TestOddNames(t *testing.T) {
	e := sharedEngine(t)
	db := open(t, e.DSN())
	for _, name := range []string{"plain", "it's", "back`tick", "a`; DROP DATABASE system; --", "ünï", "two words"} {
		mustExec(t, db, "CREATE DATABASE IF NOT EXISTS `"+strings.ReplaceAll(name, "`", "``")+"`")
		if _, got, code := call(t, e, url.Values{"database": {name}}, "SELECT currentDatabase() FORMAT TSVRaw"); got != name+"\n" {
			t.Errorf("database %q: %q, code %d", name, got, code)
		}
	}
	for _, value := range []string{"", "it's", `sla\sh`, "new\nline", "nul\x00", "', readonly = '0", "ünï"} {
		if _, got, code := call(t, e, url.Values{"format_custom_field_delimiter": {value}}, "SELECT getSetting('format_custom_field_delimiter') FORMAT TSVRaw"); got != value+"\n" {
			t.Errorf("setting %q: %q, code %d", value, got, code)
		}
	}
}

// TestBounds: the statement and the parameters are bounded.
func TestBounds(t *testing.T) {
	e := sharedEngine(t)
	if _, _, code := call(t, e, nil, "SELECT '"+strings.Repeat("x", 2<<20)+"'"); code != 62 {
		t.Errorf("a statement of 2 MiB: code %d", code)
	}
	q := url.Values{}
	for i := range 2000 {
		q.Set(fmt.Sprint("param_", i), "1")
	}
	if _, _, code := call(t, e, q, "SELECT 1"); code != 36 {
		t.Errorf("2000 parameters: code %d", code)
	}
	if _, _, code := call(t, e, url.Values{"session_id": {"x"}}, "SELECT 1"); code != 48 {
		t.Errorf("a session: code %d", code)
	}
	if _, _, code := call(t, e, url.Values{"query_id": {"a\nb"}}, "SELECT 1"); code != 36 {
		t.Errorf("a query_id with a line end: code %d", code)
	}
	if _, _, code := call(t, e, nil, "SELECT 1", "Content-Encoding", "br"); code != 89 {
		t.Errorf("an unknown encoding: code %d", code)
	}
}
