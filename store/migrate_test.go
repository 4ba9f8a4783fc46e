package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"ctappliance/schema"
	"ctappliance/store/engine/enginetest"
)

// former makes a database of a former version, and puts the rows of a flush into
// it as that version did. admin has the same rows, as this version keeps them.
func former(t *testing.T, admin *Store, db string, version int, f *schema.Flush) {
	t.Helper()
	files, err := filepath.Glob("../schema/migrations/*.sql")
	if err != nil || len(files) != schema.Version {
		t.Fatalf("%d migrations, %v", len(files), err)
	}
	for _, file := range files[:version] {
		if strings.HasSuffix(file, "_views.sql") {
			continue // of today
		}
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
	if version >= 2 {
		exec(t, admin, "CREATE VIEW "+db+".entries AS SELECT log_id, idx, tbs_id, lower(hex(tbs_id)) AS id FROM "+db+".ledger")
	}
	exec(t, admin, "INSERT INTO "+db+".meta SELECT 'schema_version', '"+fmt.Sprint(version)+"', now64(3) UNION ALL SELECT 'created', '2026-01-01', now64(3) UNION ALL SELECT 'writer_id', 'w', now64(3)")
	for _, b := range schema.Tables() {
		if b.Table != "ledger" && b.Table != "certs" {
			columns := columnList(b)
			exec(t, admin, "INSERT INTO "+db+"."+b.Table+" ("+columns+") SELECT "+columns+" FROM {db}."+b.Table)
		}
	}
	formerCerts(t, admin, db)
	formerLedger(t, admin, db, f)
}

// formerCerts inserts the rows of admin's certs as versions up to 5 did, which
// knew a key identifier that is a SHA-1 and stored all others.
func formerCerts(t *testing.T, admin *Store, db string) {
	t.Helper()
	for _, b := range schema.Tables() {
		if b.Table == "certs" {
			columns := columnList(b)
			of := strings.Replace(columns, " ski,", " if(ski_method = 2, unhex('"+skiOfKey+"'), ski),", 1)
			of = strings.Replace(of, " ski_method,", " ski_method = 1,", 1)
			exec(t, admin, "INSERT INTO "+db+".certs ("+strings.Replace(columns, " ski_method,", " ski_of_key,", 1)+") SELECT "+of+" FROM {db}.certs")
		}
	}
}

// skiOfKey is the key identifier of the certificates that have one of method 2.
const skiOfKey = "0102030405060708090a0b0c0d0e0f1011121314"

// formerLedger inserts into the ledger as versions up to 4 did.
func formerLedger(t *testing.T, s *Store, db string, f *schema.Flush) {
	t.Helper()
	var values []string
	for _, r := range f.Rows {
		values = append(values, fmt.Sprintf("(%d, %d, fromUnixTimestamp64Milli(toInt64(%d), 'UTC'), %d, %d, unhex('%x'))", r.LogID, r.Index, r.Timestamp, r.EntryType, r.Status, r.TBSID))
	}
	exec(t, s, "INSERT INTO "+db+".ledger (log_id, idx, ts, entry_type, status, tbs_id) VALUES "+strings.Join(values, ", "))
}

// precerts makes 50 rows of certificates, and those of their precertificates,
// which former databases get.
func precerts() (rows, pre []schema.Row) {
	rows = rowsOf(1, 0, 50)
	for i := range rows {
		rows[i].TBSID[8], rows[i].TBSID[9] = 0xa0, 0xb0
	}
	for i := range rows {
		if i%4 > 0 {
			rows[i].SKI, rows[i].SKIMethod = []byte("another identifier.."), schema.SKIMethod(i%4-1)
		}
	}
	rows[7].TBSID[9], rows[8].TBSID[7], rows[9].TBSID[0] = 0, 0, 0 // zeros are part of an identity
	pre = make([]schema.Row, len(rows))
	for i, r := range rows {
		r.EntryType, r.Poison, r.LogID, r.Fingerprint = schema.PrecertEntry, true, 7, schema.Hash{5, byte(i)}
		pre[i] = r
	}
	return rows, pre
}

// What is shown of entries, and of certificates.
var (
	ofEntries = []string{"*) FROM {db}.entries", "log_id, idx, ts, entry_type, status, tbs10, tbs8) FROM {db}.ledger"}
	ofCerts   = []string{noKeyID + ") FROM {db}.certificates", noKeyID + ") FROM {db}.certificates_for_domain(domain = 'com')", noKeyID + ") FROM {db}.certificates_for_entry(log_id = 7, idx = 7)"}
)

// The key identifiers of precerts, as former rows have them, and with those of
// this version beside them.
const (
	keysOfFormer = ",=13 ,SHA-1=12 another,=13 full,=12"
	keysOfBoth   = ",=13 ,SHA-1=12 another,=13 full,SHA-256=12"
)

// noKeyID is all columns but those that former rows may tell in another way.
const noKeyID = "* EXCEPT (subject_key_id, subject_key_id_method)"

// keyIDs counts the certificates by what is shown of their key identifiers. Where
// former rows have it in full, and those of this version know how it follows from
// the key, either may be shown, or both.
func keyIDs(t *testing.T, s *Store) string {
	t.Helper()
	return one(t, s, "SELECT arrayStringConcat(arraySort(groupArray(concat(a, '=', toString(n)))), ' ') FROM (SELECT concat(if(subject_key_id = '"+skiOfKey+"', 'full', substring(unhex(subject_key_id), 1, 7)), ',', subject_key_id_method) AS a, count() AS n FROM {db}.certificates GROUP BY a)")
}

// same compares what two databases show.
func same(t *testing.T, s, of *Store, what []string) {
	t.Helper()
	for _, query := range what {
		query = "SELECT groupBitXor(cityHash64(" + strings.Replace(query, ")", "))", 1)
		got, want := one(t, s, query), one(t, of, query)
		if got != want || want == "0" {
			t.Errorf("%s: %s, in a new database %s", query, got, want)
		}
	}
}

// TestFormerSchema: a database of each former version, with rows in it, becomes
// one of this version, keeps its rows, and takes more of the same certificates.
func TestFormerSchema(t *testing.T) {
	e := enginetest.StartEngine(t)
	admin := open(t, Config{Embedded: e, Database: "admin"})
	rows, pre := precerts()
	insert(t, admin, flushOf(1, pre))
	for version := 1; version < schema.Version; version++ {
		t.Run(fmt.Sprint("version ", version), func(t *testing.T) {
			db := fmt.Sprint("former", version)
			former(t, admin, db, version, flushOf(1, pre))

			s := open(t, Config{Embedded: e, Database: db, WriterID: "w"})
			complete(t, s, flushOf(1, pre))
			same(t, s, admin, slices.Concat(ofEntries, ofCerts))
			if got := keyIDs(t, s); got != keysOfFormer {
				t.Errorf("key identifiers of former rows: %s", got)
			}
			f := flushOf(2, rows)
			insert(t, s, f)
			complete(t, s, f)
			complete(t, s, flushOf(1, pre))
			if got := one(t, s, "SELECT concat(toString(count()), ' ', toString(countIf(has_final AND has_precert)), ' ', toString(min(sha256) > '00'), toString(min(precert_sha256_prefix) > '05')) FROM {db}.certificates"); got != "50 50 11" {
				t.Errorf("the view shows %s", got)
			}
			if got := keyIDs(t, s); got != keysOfBoth {
				t.Errorf("key identifiers: %s", got)
			}
			// Merges store what was computed.
			for _, table := range []string{"ledger", "certs", "names", "name_certs"} {
				exec(t, s, "OPTIMIZE TABLE {db}."+table+" FINAL")
			}
			if got := keyIDs(t, s); got != keysOfBoth {
				t.Errorf("key identifiers, merged: %s", got)
			}
			complete(t, s, f)
			complete(t, s, flushOf(1, pre))
			for _, log := range []uint64{1, 7} {
				if lost, err := s.Orphans(t.Context(), schema.Range{Log: log, To: 50}); err != nil || len(lost) > 0 {
					t.Errorf("log %d: %d entries without a certificate, %v", log, len(lost), err)
				}
			}
			// Former rows can be removed, and come again.
			if n, err := s.Remove(t.Context(), schema.Range{Log: 7, From: 5, To: 1 << 40}); n != 45 || err != nil {
				t.Errorf("%d rows removed, want 45: %v", n, err)
			}
			if _, err := s.Remove(t.Context(), schema.Range{Log: 1, To: 1 << 40}); err != nil {
				t.Error(err)
			}
			insert(t, s, flushOf(3, pre[5:]))
			complete(t, s, flushOf(1, pre))
			same(t, s, admin, ofEntries)
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

var errKilled = errors.New("killed")

// mortal runs a number of statements and dies.
type mortal struct {
	execer
	left *int
}

func (m mortal) Exec(ctx context.Context, query string) error {
	if *m.left == 0 {
		return errKilled
	}
	*m.left--
	return m.execer.Exec(ctx, query)
}

// TestKilledMigration: a migration from the version before that ends after any
// statement leaves a database in which all rows are proven, once it has been
// done; also those that the former release, taken up again, wrote into what it
// found.
func TestKilledMigration(t *testing.T) {
	e := enginetest.StartEngine(t)
	admin := open(t, Config{Embedded: e, Database: "admin"})
	_, pre := precerts()
	insert(t, admin, flushOf(1, pre))
	early, late := flushOf(1, pre[:25]), flushOf(2, pre[25:])
	for after := 0; ; after++ {
		db := fmt.Sprint("killed", after)
		former(t, admin, db, 4, early)
		left := after
		_, err := schema.Apply(t.Context(), mortal{execer{admin}, &left}, db, schema.Owner{ID: "w", Now: time.Now()})
		if err == nil {
			if after < 8 {
				t.Errorf("it took %d statements only", after)
			}
			return
		}
		if !errors.Is(err, errKilled) {
			t.Fatal(err)
		}
		formerLedger(t, admin, db, late)
		formerCerts(t, admin, db)
		s := open(t, Config{Embedded: e, Database: db, WriterID: "w"})
		complete(t, s, flushOf(3, pre))
		same(t, s, admin, slices.Concat(ofEntries, ofCerts))
		exec(t, s, "OPTIMIZE TABLE {db}.ledger FINAL")
		exec(t, s, "OPTIMIZE TABLE {db}.certs FINAL")
		if got := keyIDs(t, s); got != keysOfFormer {
			t.Errorf("key identifiers: %s", got)
		}
		complete(t, s, flushOf(3, pre))
		if t.Failed() {
			t.Fatalf("killed after %d statements", after)
		}
	}
}
