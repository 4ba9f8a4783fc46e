package store

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ctappliance/schema"
	"ctappliance/store/engine/enginetest"
)

// TestFormerSchema: a database of each former version, with rows in it, becomes
// one of this version, keeps its rows, and takes more of the same certificates.
func TestFormerSchema(t *testing.T) {
	files, err := filepath.Glob("../schema/migrations/*.sql")
	if err != nil || len(files) != schema.Version {
		t.Fatalf("%d migrations, %v", len(files), err)
	}
	e := enginetest.StartEngine(t)
	admin := open(t, Config{Embedded: e, Database: "admin"})
	// Rows of precertificates, which are put into the former databases.
	rows := rowsOf(1, 0, 50)
	pre := make([]schema.Row, len(rows))
	for i, r := range rows {
		r.EntryType, r.Poison, r.LogID, r.Fingerprint = schema.PrecertEntry, true, 7, schema.Hash{5, byte(i)}
		pre[i] = r
	}
	insert(t, admin, flushOf(1, pre))
	for version := 1; version < schema.Version; version++ {
		t.Run(fmt.Sprint("version ", version), func(t *testing.T) {
			db := fmt.Sprint("former", version)
			for _, file := range files[:version] {
				text, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				for _, sql := range strings.Split(strings.ReplaceAll(string(text), "{db}", db), ";\n") {
					if strings.Contains(sql, "\n-- unless") || strings.Contains(sql, "\n-- always") || strings.HasPrefix(sql, "-- ") {
						exec(t, admin, sql)
					}
				}
			}
			exec(t, admin, "INSERT INTO "+db+".meta SELECT 'schema_version', '"+fmt.Sprint(version)+"', now64(3) UNION ALL SELECT 'created', '2026-01-01', now64(3) UNION ALL SELECT 'writer_id', 'w', now64(3)")
			for _, b := range schema.Tables() {
				columns := columnList(b)
				exec(t, admin, "INSERT INTO "+db+"."+b.Table+" ("+columns+") SELECT "+columns+" FROM {db}."+b.Table)
			}

			s := open(t, Config{Embedded: e, Database: db, WriterID: "w"})
			f := flushOf(2, rows)
			insert(t, s, f)
			complete(t, s, f)
			complete(t, s, flushOf(1, pre))
			if got := one(t, s, "SELECT concat(toString(count()), ' ', toString(countIf(has_final AND has_precert)), ' ', toString(min(sha256) > '00'), toString(min(precert_sha256_prefix) > '05')) FROM {db}.certificates"); got != "50 50 11" {
				t.Errorf("the view shows %s", got)
			}
			for _, table := range []string{"ledger", "certs", "names", "name_certs"} {
				exec(t, s, "OPTIMIZE TABLE {db}."+table+" FINAL")
			}
			complete(t, s, f)
			complete(t, s, flushOf(1, pre))
			// It is what a new one is.
			const of = "SELECT groupBitXor(cityHash64(table, name, type, default_expression, compression_codec)) FROM system.columns WHERE database = '{db}'"
			if got, want := one(t, s, of), one(t, admin, of); got != want {
				t.Error("the columns are others than those of a new database")
			}
			const with = "SELECT groupBitXor(cityHash64(name, replaceAll(engine_full, database, ''))) FROM system.tables WHERE database = '{db}'"
			if got, want := one(t, s, with), one(t, admin, with); got != want {
				t.Error("the tables are others than those of a new database")
			}
			if got := one(t, s, "SELECT value FROM {db}.meta FINAL WHERE key = 'schema_version'"); got != fmt.Sprint(schema.Version) {
				t.Errorf("it says that it has version %s", got)
			}
		})
	}
}
