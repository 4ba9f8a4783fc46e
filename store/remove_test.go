package store

import (
	"strings"
	"testing"

	"ctappliance/schema"
	"ctappliance/store/storetest"
)

// Remove takes out the rows of its range, of its log and no others, and rows
// that come again are taken.
func TestRemove(t *testing.T) {
	s, _ := openEngine(t, nil)
	for log := uint64(1); log <= 2; log++ {
		insert(t, s, flushOf(log, rowsOf(log, 0, 300)))
	}
	for _, c := range []struct {
		from, to uint64
		want     uint64
		left     string
	}{
		{100, 200, 100, "200"},
		{100, 200, 0, "200"}, // again
		{250, 1<<64 - 1, 50, "150"},
	} {
		n, err := s.Remove(t.Context(), schema.Range{Log: 1, From: c.from, To: c.to})
		if err != nil || n != c.want {
			t.Errorf("[%d,%d): %d rows, %v; there were %d", c.from, c.to, n, err, c.want)
		}
		if got := one(t, s, "SELECT count() FROM {db}.ledger WHERE log_id = 1"); got != c.left {
			t.Errorf("[%d,%d): %s rows are left, not %s", c.from, c.to, got, c.left)
		}
	}
	if got := one(t, s, "SELECT count() FROM {db}.ledger WHERE log_id = 2"); got != "300" {
		t.Errorf("another log has %s rows of 300 left", got)
	}
	again := flushOf(9, rowsOf(1, 100, 100))
	insert(t, s, again)
	complete(t, s, again)
	exec(t, s, "DROP TABLE {db}.ledger")
	if _, err := s.Remove(t.Context(), schema.Range{Log: 1, To: 10}); err == nil {
		t.Error("removed from a table that is not there")
	}
}

// A removal that did not remove is an error, whatever the server said.
func TestRemoveIncomplete(t *testing.T) {
	bubble(t, storetest.Options{}, func(t *testing.T, fake *storetest.Server) {
		s := openFake(t, fake, nil)
		insert(t, s, flushOf(1, rowsOf(1, 0, 30)))
		lost := true
		fake.Decide(func(st storetest.Statement) storetest.Fault {
			if lost && strings.HasPrefix(st.Query, "ALTER TABLE") {
				return storetest.Fault{Commit: storetest.CommitNone, Answer: storetest.AnswerText}
			}
			return storetest.Fault{}
		})
		r := schema.Range{Log: 1, From: 10, To: 30}
		if n, err := s.Remove(t.Context(), r); err == nil {
			t.Errorf("%d rows were said to be removed, none was", n)
		}
		lost = false
		if n, err := s.Remove(t.Context(), r); err != nil || n != 20 {
			t.Errorf("%d rows removed of 20: %v", n, err)
		}
		if _, ok, err := s.Highest(t.Context(), r); ok || err != nil {
			t.Error("rows are left", err)
		}
	})
}
