package engine_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ClickHouse/clickhouse-go/v2"

	"ctappliance/store/engine"
	"ctappliance/store/engine/enginetest"
)

// schemaTable makes a table of the product's schema, settings and all, in
// database ct under another name.
func schemaTable(t *testing.T, e *engine.Engine, table, as string) {
	t.Helper()
	b, err := os.ReadFile("../../schema/migrations/0001_tables.sql")
	if err != nil {
		t.Fatal(err)
	}
	_, ddl, found := strings.Cut(string(b), "CREATE TABLE {db}."+table+"\n")
	ddl, _, whole := strings.Cut(ddl, ";\n")
	if !found || !whole {
		t.Fatalf("the schema has no table %s", table)
	}
	mustCall(t, e, "CREATE DATABASE IF NOT EXISTS ct ENGINE = Atomic")
	mustCall(t, e, "CREATE TABLE ct."+as+"\n"+ddl)
}

func mustCall(t *testing.T, e *engine.Engine, sql string) string {
	t.Helper()
	status, body, _ := call(t, e, nil, sql)
	if status != 200 {
		t.Fatalf("%.200s: HTTP %d %s", sql, status, body)
	}
	return strings.TrimSuffix(body, "\n")
}

// ledgerRows inserts n rows from an index on; they make one part.
func ledgerRows(t *testing.T, e *engine.Engine, table string, from, n int) {
	t.Helper()
	mustCall(t, e, fmt.Sprintf(`INSERT INTO ct.%s SETTINGS insert_deduplication_token = 'from%d'
		SELECT 1, number + %d, toDateTime64(1700000000, 3, 'UTC'), 'x509', 'ok', substring(SHA256(toString(number)), 1, 16) FROM numbers(%d)`, table, from, from, n))
}

func partPath(t *testing.T, e *engine.Engine, table, where string) string {
	t.Helper()
	p := mustCall(t, e, fmt.Sprintf("SELECT path FROM system.parts WHERE database = 'ct' AND table = '%s' AND active AND %s FORMAT TSVRaw", table, where))
	if p == "" || strings.Contains(p, "\n") {
		t.Fatalf("%s: parts where %s: %q", table, where, p)
	}
	return strings.TrimSuffix(p, "/")
}

func replaceIn(t *testing.T, file, old, new string) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(b, []byte(old)) {
		t.Fatalf("%s does not contain %q", file, old)
	}
	if err := os.WriteFile(file, bytes.Replace(b, []byte(old), []byte(new), 1), 0o600); err != nil {
		t.Fatal(err)
	}
}

func flipBit(t *testing.T, file string, at int) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	b[(at+len(b))%len(b)] ^= 1
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestDamagedParts damages parts while the engine is down, and says what it
// makes of them: it comes up, and the rows of what it cannot load are gone from
// every query. Three parts of 1000 rows each; the one in the middle is damaged.
// That some damage is in no list and in no error is why delivery counts rows,
// and why it counts with uniqExact, which must read the column, and not with
// count alone, which believes count.txt.
func TestDamagedParts(t *testing.T) {
	o := enginetest.Options(t, filepath.Join(t.TempDir(), "engine"))
	e, err := engine.Start(t.Context(), o)
	must(t, err)
	cases := []struct {
		name     string
		damage   func(part, table string)
		count    uint64 // as count() says
		uniq     uint64 // as uniqExact(idx) over a range says
		setAside bool   // told in Status
		code     int32  // of reading all of it
	}{
		{"untouched", func(part, table string) {}, 3000, 3000, false, 0},
		{"directory deleted", func(part, table string) { must(t, os.RemoveAll(part)) }, 2000, 2000, false, 0},
		{"table deleted", func(part, table string) { must(t, os.RemoveAll(table)) }, 0, 0, false, 0},
		{"file deleted", func(part, table string) { must(t, os.Remove(filepath.Join(part, "data.bin"))) }, 2000, 2000, true, 0},
		{"file cut", func(part, table string) { must(t, os.Truncate(filepath.Join(part, "data.bin"), 10)) }, 2000, 2000, true, 0},
		{"all files empty", func(part, table string) {
			files, err := os.ReadDir(part)
			must(t, err)
			for _, f := range files {
				must(t, os.Truncate(filepath.Join(part, f.Name()), 0))
			}
		}, 2000, 2000, true, 0},
		{"bit of the checksums", func(part, table string) { flipBit(t, filepath.Join(part, "checksums.txt"), -5) }, 2000, 2000, true, 0},
		{"bit of the last column", func(part, table string) { flipBit(t, filepath.Join(part, "data.bin"), -20) }, 3000, 3000, false, 40},
		{"row count zero", func(part, table string) { replaceIn(t, filepath.Join(part, "count.txt"), "1000", "0000") }, 2000, 2000, false, 0},
		{"row count too high", func(part, table string) { replaceIn(t, filepath.Join(part, "count.txt"), "1000", "3000") }, 5000, 3000, false, 33},
		{"format of another version", func(part, table string) {
			replaceIn(t, filepath.Join(part, "serialization.json"), `"version":`, `"version":7`)
		}, 2000, 2000, true, 0},
		{"deduplication log torn", func(part, table string) {
			log := filepath.Join(table, "deduplication_logs", "deduplication_log_1.txt")
			st, err := os.Stat(log)
			must(t, err)
			must(t, os.Truncate(log, st.Size()-7))
		}, 3000, 3000, false, 0},
	}
	damage := make([]func(), 0, len(cases))
	for i, c := range cases {
		name := fmt.Sprint("t", i)
		schemaTable(t, e, "ledger", name)
		mustCall(t, e, "SYSTEM STOP MERGES ct."+name)
		for from := 0; from < 3000; from += 1000 {
			ledgerRows(t, e, name, from, 1000)
		}
		part := partPath(t, e, name, "min_block_number = 2")
		damage = append(damage, func() { c.damage(part, filepath.Dir(part)) })
	}
	// A merge whose result is lost before its sources are removed: what a power
	// cut may do, and what old_parts_lifetime is for.
	schemaTable(t, e, "ledger", "merged")
	for from := 0; from < 3000; from += 1000 {
		ledgerRows(t, e, "merged", from, 1000)
	}
	mustCall(t, e, "OPTIMIZE TABLE ct.merged FINAL")
	merged := partPath(t, e, "merged", "level > 0")
	e.Stop()

	want := 1 // the merge's result
	for i, c := range cases {
		damage[i]()
		if c.setAside {
			want++
		}
	}
	must(t, os.Truncate(filepath.Join(merged, "data.bin"), 0))

	if e, err = engine.Start(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	defer e.Stop()
	db := open(t, e.DSN())
	for i, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			table := fmt.Sprint("t", i)
			if n := scan[uint64](t, db, "SELECT count() FROM ct."+table); n != c.count {
				t.Errorf("count() is %d, want %d", n, c.count)
			}
			if n := scan[uint64](t, db, "SELECT uniqExact(idx) FROM ct."+table+" WHERE log_id = 1 AND idx < 3000"); n != c.uniq {
				t.Errorf("uniqExact(idx) is %d, want %d", n, c.uniq)
			}
			if _, body, code := call(t, e, nil, "SELECT sum(cityHash64(*)) FROM ct."+table); code != c.code {
				t.Errorf("reading all of it: code %d, want %d: %s", code, c.code, body)
			}
			_, checked, _ := call(t, e, nil, "CHECK TABLE ct."+table+" SETTINGS check_query_single_value_result = 1")
			if sound := checked == "1\n"; sound != (c.code == 0) {
				t.Errorf("CHECK TABLE says %q", checked)
			}
			aside := scan[uint64](t, db, "SELECT count() FROM system.detached_parts WHERE table = {t:String} AND reason = 'broken-on-start'", clickhouse.Named("t", table))
			if (aside > 0) != c.setAside {
				t.Errorf("%d parts set aside", aside)
			}
			// It takes rows as before, the lost ones under a token of their own.
			if _, body, code := call(t, e, nil, "INSERT INTO ct."+table+" SELECT 1, 9000 + number, toDateTime64(1700000000, 3, 'UTC'), 'x509', 'ok', '' FROM numbers(10)"); code != 0 {
				t.Errorf("inserting: %s", body)
			}
		})
	}
	if n := scan[uint64](t, db, "SELECT uniqExact(idx) FROM ct.merged"); n != 3000 {
		t.Errorf("a merge's result was lost, and with it all but %d of 3000 rows", n)
	}
	st := e.Status()
	if st.SetAside != want || len(st.Broken) != want || !strings.HasPrefix(st.Broken[0], "ct.") || !strings.Contains(strings.Join(st.Broken, ";"), "ct.merged ") {
		t.Errorf("status says %d parts are set aside, want %d: %q", st.SetAside, want, st.Broken)
	}
}

// TestRefusedDatabase: what the library will not open, in one line that says
// which file it is. Nothing is deleted: mended, the database is whole.
func TestRefusedDatabase(t *testing.T) {
	o := enginetest.Options(t, filepath.Join(t.TempDir(), "engine"))
	e, err := engine.Start(t.Context(), o)
	must(t, err)
	schemaTable(t, e, "ledger", "ledger")
	ledgerRows(t, e, "ledger", 0, 1000)
	table := filepath.Dir(partPath(t, e, "ledger", "1"))
	schemaTable(t, e, "ledger", "many")
	mustCall(t, e, "SYSTEM STOP MERGES ct.many")
	for i := range 101 {
		ledgerRows(t, e, "many", i*10, 10)
	}
	many := filepath.Dir(partPath(t, e, "many", "min_block_number = 1"))
	e.Stop()
	found, err := filepath.Glob(filepath.Join(o.Dir, "data", "store", "*", "*", "ledger.sql"))
	must(t, err)
	if len(found) != 1 {
		t.Fatalf("the table is defined in %q", found)
	}
	ddl := found[0]
	for _, c := range []struct {
		name   string
		file   string
		change func(file string)
		want   string
	}{
		{"definition cut", ddl, func(f string) { must(t, os.Truncate(f, 100)) }, "ledger.sql"},
		{"definition empty", ddl, func(f string) { must(t, os.Truncate(f, 0)) }, "ledger.sql"},
		{"setting of a newer version", ddl, func(f string) { replaceIn(t, f, "SETTINGS ", "SETTINGS setting_of_2030 = 1, ") }, "setting_of_2030"},
		{"codec of a newer version", ddl, func(f string) { replaceIn(t, f, "ZSTD(1)", "Qubit(1)") }, "Qubit"},
		{"database's definition", filepath.Join(o.Dir, "data", "metadata", "ct.sql"), func(f string) { replaceIn(t, f, "ATTACH", "ATTOCH") }, "ct.sql"},
		{"a mutation nobody made", filepath.Join(table, "mutation_7.txt"), func(f string) { must(t, os.WriteFile(f, []byte("junk"), 0o600)) }, "ledger"},
	} {
		t.Run(c.name, func(t *testing.T) {
			before, err := os.ReadFile(c.file)
			c.change(c.file)
			t.Cleanup(func() {
				if err != nil {
					must(t, os.Remove(c.file))
				} else {
					must(t, os.WriteFile(c.file, before, 0o600))
				}
			})
			refused(t, o, c.want)
		})
	}
	t.Run("too many broken parts", func(t *testing.T) {
		parts, err := filepath.Glob(filepath.Join(many, "2*", "data.bin"))
		must(t, err)
		if len(parts) != 101 {
			t.Fatalf("%d parts", len(parts))
		}
		was := make([][]byte, len(parts))
		for i, p := range parts {
			was[i], err = os.ReadFile(p)
			must(t, err)
			must(t, os.Truncate(p, 1))
		}
		refused(t, o, "Suspiciously many")
		for i, p := range parts {
			must(t, os.WriteFile(p, was[i], 0o600))
		}
	})
	if e, err = engine.Start(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	defer e.Stop()
	if got := mustCall(t, e, "SELECT (SELECT count() FROM ct.ledger), (SELECT count() FROM ct.many)"); got != "1000\t1010" {
		t.Errorf("%q rows after mending", got)
	}
}

// refused expects that the engine does not start, and says what and where.
func refused(t *testing.T, o engine.Options, want string) {
	t.Helper()
	e, err := engine.Start(t.Context(), o)
	if err == nil {
		e.Stop()
		t.Fatal("it started")
	}
	for _, want := range []string{want, "opening the database in " + o.Dir, "Code: "} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not say %q", err, want)
		}
	}
	if strings.ContainsAny(err.Error(), "\n\r\t") || len(err.Error()) > 1500 {
		t.Errorf("%d bytes, not one line: %q", len(err.Error()), err)
	}
}
