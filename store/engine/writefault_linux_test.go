package engine_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"ctappliance/store/engine/enginetest"
)

// TestFailedWrite has a write to one file of a new part fail. The library does
// not mind: it would acknowledge the insert, and replace whole parts by the
// result of the merge. The insert is not acknowledged, the child ends because
// of it, and the next one has the rows that were there before: once.
func TestFailedWrite(t *testing.T) {
	for _, c := range []struct{ what, file, errno string }{
		{"insert", "data.bin", "ENOSPC"}, {"merge", "data.bin", "ENOSPC"}, {"insert", "checksums.txt", "ENOSPC"}, {"insert", "count.txt", "EIO"}, {"merge", "columns.txt", "EIO"},
	} {
		t.Run(c.what+" "+c.file, func(t *testing.T) {
			e := enginetest.StartEngine(t)
			schemaTable(t, e, "ledger", "ledger")
			mustCall(t, e, "SYSTEM STOP MERGES ct.ledger")
			ledgerRows(t, e, "ledger", 0, 1000)
			table := filepath.Dir(partPath(t, e, "ledger", "1"))
			rows, sql, tmp := 1000, "INSERT INTO ct.ledger SELECT 1, 1000 + number, toDateTime64(1700000000, 3, 'UTC'), 'x509', 'ok', '' FROM numbers(1000)", "tmp_insert_202311_2_2_0"
			if c.what == "merge" {
				ledgerRows(t, e, "ledger", 1000, 1000)
				mustCall(t, e, "SYSTEM START MERGES ct.ledger")
				rows, sql, tmp = 2000, "OPTIMIZE TABLE ct.ledger FINAL", "tmp_merge_202311_1_2_1"
			}
			boot := e.BootID()
			traced(t, e.PID(), "-P", filepath.Join(table, tmp, c.file), "-e", "trace=write,pwrite64,writev", "-e", "inject=write,pwrite64,writev:error="+c.errno)
			if status, err := tryInsert(e, sql); err == nil && status == 200 {
				t.Errorf("it was acknowledged")
			}
			nextChild(t, e, boot)
			if st := e.Status(); !strings.Contains(st.LastError, "not be on the disk") || !strings.Contains(st.LastError, c.file) {
				t.Errorf("%q does not say what was wrong with %s", st.LastError, c.file)
			}
			if got := mustCall(t, e, "SELECT count(), uniqExact(idx) FROM ct.ledger"); got != fmt.Sprintf("%d\t%[1]d", rows) {
				t.Errorf("%s rows, want %d", got, rows)
			}
			mustCall(t, e, "SELECT sum(cityHash64(*)) FROM ct.ledger")
		})
	}
}

// TestFailedWriteUnseen has a write fail that no statement waits for: the child
// finds the part by itself.
func TestFailedWriteUnseen(t *testing.T) {
	e := enginetest.StartEngine(t)
	schemaTable(t, e, "ledger", "ledger")
	ledgerRows(t, e, "ledger", 0, 1000)
	table := filepath.Dir(partPath(t, e, "ledger", "1"))
	mustCall(t, e, "SYSTEM STOP MERGES ct.ledger")
	mustCall(t, e, "ALTER TABLE ct.ledger DELETE WHERE idx = 7 SETTINGS mutations_sync = 0")
	boot := e.BootID()
	traced(t, e.PID(), "-P", filepath.Join(table, "tmp_mut_202311_1_1_0_2", "data.bin"), "-e", "trace=write,pwrite64,writev", "-e", "inject=write,pwrite64,writev:error=ENOSPC")
	tryInsert(e, "SYSTEM START MERGES ct.ledger") // which may see it already
	nextChild(t, e, boot)
	if st := e.Status(); !strings.Contains(st.LastError, "data.bin") {
		t.Errorf("%q", st.LastError)
	}
	if got := mustCall(t, e, "SELECT uniqExact(idx) >= 999 FROM ct.ledger"); got != "1" {
		t.Error("rows are gone that were whole before the write")
	}
}
