package store

import (
	"slices"
	"testing"

	"ctappliance/schema"
)

// Rows of the ledger whose certificate is not in certs are found, and no
// others; the look-up reads the granules of those certificates and no more.
func TestOrphans(t *testing.T) {
	s, _ := openEngine(t, nil)
	rows := rowsOf(3, 0, 400)
	rows[7].TBSID[15], rows[8].TBSID[7] = 0, 0 // trailing zeros are part of an identity
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
