package ingest

import (
	"bytes"
	"crypto/sha256"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ctappliance/ingest/cert"
	"ctappliance/ingest/chain"
	"ctappliance/ingest/ctlog"
	"ctappliance/schema"
)

// testOracle is one that takes a while for each check, and disagrees about
// rows of version 9.
func testOracle(out *bytes.Buffer, takes time.Duration) (*oracle, *[]uint64) {
	o := newOracle(slog.New(slog.NewTextHandler(out, nil)), func(ctlog.Hash) string { return "a log" })
	var seen []uint64
	o.check = func(row *schema.Row) ([]string, bool) {
		seen = append(seen, row.Index)
		time.Sleep(takes)
		if row.Version == 9 {
			return []string{"Version", "Serial"}, true
		}
		return nil, true
	}
	return o, &seen
}

func rowsFrom(from, n uint64) []schema.Row {
	rows := make([]schema.Row, n)
	for i := range rows {
		rows[i] = schema.Row{Index: from + uint64(i), Version: 3}
	}
	return rows
}

// TestOracleSamples: one row in a thousand is checked, at no fixed distance,
// and every row with a flag.
func TestOracleSamples(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		o, seen := testOracle(&out, 0)
		const n = 1 << 20
		for from := uint64(0); from < n; from += 256 {
			o.look(ctlog.Hash{}, rowsFrom(from, 256))
		}
		if k := len(*seen); k < n/1000*3/4 || k > n/1000*4/3 {
			t.Errorf("%d of %d rows were checked", k, n)
		}
		places := map[uint64]bool{}
		for _, i := range *seen {
			places[i%256] = true
		}
		if len(places) < 200 {
			t.Errorf("the sample knows %d places of a record only", len(places))
		}
		*seen = nil
		rows := rowsFrom(n, 256)
		rows[7].Flags, rows[9].Flags = uint64(cert.SANOdd), uint64(cert.NoIssuer)
		o.gap = 1000
		o.look(ctlog.Hash{}, rows)
		if len(*seen) != 1 || (*seen)[0] != n+7 {
			t.Errorf("of rows with flags %v were checked", *seen)
		}
		if st := o.status(); st.Disagreed != 0 || st.Skipped != 0 || out.Len() != 0 {
			t.Errorf("%+v\n%s", st, &out)
		}
	})
}

// TestOracleFlood: rows that are odd on purpose take a small part of a core,
// and leave the sample what is its own.
func TestOracleFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		o, seen := testOracle(&out, 10*time.Millisecond)
		flood := rowsFrom(0, 256)
		for i := range flood {
			flood[i].Flags = uint64(cert.SANOdd)
		}
		began := time.Now()
		o.gap = 1 << 40 // no sample
		for time.Since(began) < time.Hour {
			o.look(ctlog.Hash{}, flood)
			time.Sleep(time.Second)
		}
		// 10 ms at once, then 14.4 seconds of the hour.
		if k := len(*seen); k < 1430 || k > 1460 {
			t.Errorf("%d checks of 10 ms in an hour", k)
		}
		if o.skipped.Load() == 0 {
			t.Error("nothing was skipped")
		}
		o.gap = 3
		before := len(*seen)
		o.look(ctlog.Hash{}, flood)
		if !slices.Contains((*seen)[before:], 3) {
			t.Error("the flood took the sample's time")
		}
	})
}

// TestOracleWarns once a minute, with the log, the index, and the columns.
func TestOracleWarns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		o, _ := testOracle(&out, 0)
		rows := rowsFrom(40, 4)
		for i := range rows {
			rows[i].Flags, rows[i].Version = 1, 9
		}
		o.gap = 1 << 40
		o.look(ctlog.Hash{}, rows)
		time.Sleep(59 * time.Second)
		o.look(ctlog.Hash{}, rows)
		if n := strings.Count(out.String(), "\n"); n != 1 || !strings.Contains(out.String(), `log="a log" index=40 reason="Version Serial" unsaid=0`) {
			t.Errorf("%d lines: %s", n, &out)
		}
		out.Reset()
		time.Sleep(time.Second)
		o.look(ctlog.Hash{}, rows)
		if !strings.Contains(out.String(), "index=40") || !strings.Contains(out.String(), "unsaid=7") {
			t.Errorf("after a minute: %s", &out)
		}
		if st := o.status(); st.Disagreed != 12 || st.Checked != 12 {
			t.Errorf("%+v", st)
		}
	})
}

// TestOracleIsAsked: rows and issuers of a record are checked, with the true
// oracle, and it agrees; without one nothing happens.
func TestOracleIsAsked(t *testing.T) {
	b := batches(t)["rfc6962"]
	store, _, err := chain.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	if _, err := store.Add(ctlog.Hash{}, b.Issuers); err != nil {
		t.Fatal(err)
	}
	a := &Appliance{issuers: newIssuers(store, slog.New(slog.DiscardHandler))}
	var p parsed
	rec := &record{from: b.From, entries: b.Entries}
	for _, der := range b.Issuers {
		rec.inline = [][]byte{der}
	}
	a.parseRecord(rec, &p)

	a.oracle = newOracle(slog.New(slog.DiscardHandler), func(ctlog.Hash) string { return "" })
	a.issuers = newIssuers(store, slog.New(slog.DiscardHandler))
	a.issuers.check = a.oracle
	a.oracle.gap = 2
	a.parseRecord(rec, &p)
	used := map[schema.Hash]bool{}
	for _, i := range p.issuers {
		used[i.Fingerprint] = true
	}
	used[sha256.Sum256(rec.inline[0])] = true
	// One row, those with flags, and each issuer once.
	want := uint64(1 + len(used))
	for i, r := range p.rows {
		if i != 2 && cert.Flag(r.Flags)&^cert.NoIssuer != 0 {
			want++
		}
	}
	if st := a.oracle.status(); st.Checked != want || st.Disagreed != 0 || len(used) < 2 {
		t.Errorf("%+v with %d issuers, want %d", st, len(used), want)
	}
}
