package store

import (
	"fmt"
	"slices"
	"testing"

	"ctappliance/schema"
)

// Rows of the ledger whose certificate is not in certs are found, and no
// others; the look-up reads the granules of those certificates and no more.
func TestOrphans(t *testing.T) {
	s, _ := openEngine(t, nil)
	rows := rowsOf(3, 0, 400)
	rows[7].TBSID[9], rows[8].TBSID[7] = 0, 0 // trailing zeros are part of an identity
	rows[9].Status = schema.StatusRefused
	f := flushOf(1, rows)
	insert(t, s, f)
	r := schema.Range{Log: 3, From: 0, To: 400}
	if got, err := s.Orphans(t.Context(), r); err != nil || len(got) > 0 {
		t.Fatalf("all certificates are there: %d, %v", got, err)
	}
	lost := flushOf(2, rowsOf(3, 400, 3))
	if err := s.InsertLedger(t.Context(), lost, nil); err != nil {
		t.Fatal(err)
	}
	r.To = 500
	if got, err := s.Orphans(t.Context(), r); err != nil || !slices.Equal(got, []uint64{400, 401, 402}) {
		t.Fatalf("three rows have no certificate: %d, %v", got, err)
	}
	if _, err := s.Orphans(t.Context(), schema.Range{Log: 3, From: 0, To: 1<<16 + 1}); err == nil {
		t.Error("a range of more than 64 Ki entries was taken")
	}
}

// An entry leads to its certificate, by more bits than names have; where two
// agree in all that the ledger has, to both.
func TestCertificateOfEntry(t *testing.T) {
	s, _ := openEngine(t, nil)
	rows := rowsOf(3, 0, 4)
	for i := range rows {
		rows[i].TBSID = [16]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}
	}
	rows[1].TBSID[15]++ // agrees in 15 bytes
	rows[2].TBSID[9]++  // in 9
	rows[3].TBSID[7]++
	insert(t, s, flushOf(1, rows))
	for i, want := range []string{"host0 host1", "host0 host1", "host2", "host3"} {
		if got := one(t, s, fmt.Sprintf("SELECT arrayStringConcat(arraySort(groupArray(splitByChar('.', names[1])[1])), ' ') FROM {db}.certificates_for_entry(log_id = 3, idx = %d)", i)); got != want {
			t.Errorf("entry %d leads to %q, not %q", i, got, want)
		}
	}
	// A certificate that is lost is missed, though another agrees in 9 bytes.
	exec(t, s, "ALTER TABLE {db}.certs DELETE WHERE names[1] = 'host2.example.com' SETTINGS mutations_sync = 2")
	if got, err := s.Orphans(t.Context(), schema.Range{Log: 3, To: 4}); err != nil || !slices.Equal(got, []uint64{2}) {
		t.Errorf("entries without a certificate are %d, %v", got, err)
	}
}
