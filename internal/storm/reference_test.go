package storm

import (
	"encoding/binary"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ctappliance/schema"
	"ctappliance/store"
	"ctappliance/store/storetest"
)

// dependents are what must be there besides the ledger: of each table the
// columns that tell what a row is about, without those that follow from the
// order in which entries came.
var dependents = map[string][]string{
	"certs":      {"tbs_id", "seen", "sha256", "pre_sha16", "flags"},
	"names":      {"rname", "wildcard"},
	"name_certs": {"rname", "wildcard", "not_before", "tbs8"},
	"issuers":    {"sha256"},
	"problems":   {"tbs_id", "sha256", "log_id", "idx"},
}

var (
	referenceOnce sync.Mutex
	referenceRows map[string]map[string]int
)

// reference returns the rows that a run without faults leaves.
func reference(t *testing.T) map[string]map[string]int {
	t.Helper()
	referenceOnce.Lock()
	defer referenceOnce.Unlock()
	if referenceRows != nil {
		return referenceRows
	}
	synctest.Test(t, func(t *testing.T) {
		r := newRun(t, variant{tokens: true}, 0)
		r.calm = true
		for _, l := range r.logs {
			if err := l.Grow(endSize - startSize); err != nil {
				t.Fatal(err)
			}
		}
		defer r.srv.Close()
		if !r.life(time.Now().Add(endTime), endSize) {
			t.Fatal("the reference run was killed")
		}
		rows := map[string]map[string]int{}
		for table, columns := range dependents {
			rows[table] = r.srv.Values(table, columns...)
			if len(rows[table]) == 0 && table != "problems" {
				t.Errorf("the logs give no rows of table %s", table)
			}
		}
		var got total
		r.compare(&got, rows)
		if got.lost+got.doubled+got.dependents > 0 {
			t.Errorf("without any fault: %+v", got)
		}
		referenceRows = rows
	})
	return referenceRows
}

// compare counts what is not as it must be.
func (r *run) compare(got *total, want map[string]map[string]int) {
	ledger := r.srv.Ledger()
	for _, l := range r.logs {
		for i := range uint64(endSize) {
			switch n := ledger[storetest.Entry{Log: l.id, Index: i}]; {
			case n == 0:
				got.lost++
			case n > 1:
				got.doubled += n - 1
			}
			delete(ledger, storetest.Entry{Log: l.id, Index: i})
		}
	}
	got.doubled += len(ledger) // what no log has
	for table, columns := range dependents {
		have, want := r.srv.Values(table, columns...), want[table]
		if table == "certs" {
			have, want = folded(have), folded(want)
		}
		for k := range want {
			if have[k] == 0 {
				got.dependents++
			}
		}
	}
	profiles := r.srv.Values("profiles", "id")
	for _, column := range []string{"profile_id", "pre_profile_id"} {
		for id := range r.srv.Values("certs", column) {
			if id != "\x00\x00\x00\x00\x00\x00\x00\x00" && profiles[id] == 0 {
				got.dependents++
			}
		}
	}
}

// folded folds rows of certs as the engine's merges would: how many rows of a
// certificate are folded before they are sent depends on where flushes end.
func folded(rows map[string]int) map[string]int {
	certs := map[string][]string{} // by tbs_id
	for row := range rows {
		v := split(row)
		c := certs[v[0]]
		if c == nil {
			certs[v[0]] = v
			continue
		}
		for i, column := range dependents["certs"] {
			switch column {
			case "seen", "flags":
				or := []byte(c[i])
				for k := range or {
					or[k] |= v[i][k]
				}
				c[i] = string(or)
			case "sha256", "pre_sha16":
				c[i] = max(c[i], v[i])
			}
		}
	}
	out := map[string]int{}
	for _, c := range certs {
		out[strings.Join(c, "|")]++
	}
	return out
}

// counted wants a count of the ledger, which is what audits and trims rest on,
// to tell exactly what is wrong with it.
func (r *run) counted(lost, doubled int) {
	s, err := store.Open(r.t.Context(), store.Config{DSN: r.srv.DSN(), Dial: r.srv.Dial, ReadOnly: true})
	if err != nil {
		r.t.Fatal(err)
	}
	defer s.Close()
	for _, l := range r.logs {
		proofs, err := s.Prove(r.t.Context(), []schema.Range{{Log: l.id, To: 2 * endSize}})
		if err != nil {
			r.t.Fatal(err)
		}
		lost -= endSize - int(proofs[0].Unique)
		doubled -= int(proofs[0].Count - proofs[0].Unique)
	}
	if lost != 0 || doubled != 0 {
		r.t.Errorf("counting the ledger misses %d lost and %d doubled entries", lost, doubled)
	}
}

// split undoes the joining of values by storetest.Server.Values.
func split(joined string) []string {
	b := []byte(joined)
	out := make([]string, binary.LittleEndian.Uint64(b))
	b = b[8:]
	for i := range out {
		n := binary.LittleEndian.Uint64(b)
		out[i], b = string(b[8:8+n]), b[8+n:]
	}
	return out
}
