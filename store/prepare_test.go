package store

import (
	"errors"
	"testing"

	"ctappliance/schema"
	"ctappliance/store/storetest"
)

// prepare hands rows over as the cutter does: in pieces, whose memory is used
// again at once.
func prepare(s *Store, id uint64, rows []schema.Row) *schema.Flush {
	f := flushOf(id, rows)
	f.Rows, f.Prepared = nil, s.Prepare()
	buf := make([]schema.Row, 7)
	for len(rows) > 0 {
		n := copy(buf, rows)
		f.Prepared.Add(buf[:n])
		clear(buf)
		rows = rows[n:]
	}
	return f
}

// certificates counts the rows of table certs: how often each was written.
func certificates(fake *storetest.Server) (n int) {
	for _, p := range fake.Parts("certs") {
		n += len(p.Rows)
	}
	return n
}

// What was made of rows ahead gives the same tables as the rows.
func TestPrepared(t *testing.T) {
	bubble(t, storetest.Options{}, func(t *testing.T, fake *storetest.Server) {
		s := openFake(t, fake, nil)
		rows := append(rowsOf(1, 0, 100), rowsOf(2, 50, 30)...)
		rows[5].Status = schema.StatusOdd
		for id := uint64(1); id <= 3; id++ { // columns are used again
			f := prepare(s, id, rows)
			insert(t, s, f)
			f.Rows = flushOf(id, rows).Rows // for its hashes
			complete(t, s, f)
			f.Prepared.Discard()
			f.Prepared.Discard()
			for i := range rows {
				rows[i].Index += 1000
				rows[i].TBSID[0]++
			}
		}
		if n := certificates(fake); n != 3*130 {
			t.Errorf("%d certificates, want %d", n, 3*130)
		}
		if n := len(s.sets.free); n != 1 {
			t.Errorf("%d sets of columns, want 1", n)
		}
	})
}

// What was prepared relies on the filter as it was then. Where the filter was
// emptied since, the rows are wanted; with them nothing is missing.
func TestPreparedIsStale(t *testing.T) {
	for name, doubt := range map[string]func(t *testing.T, s *Store, fake *storetest.Server){
		"nothing": nil,
		"a fence": func(t *testing.T, s *Store, fake *storetest.Server) {
			if err := s.Fence(t.Context(), 99); err != nil {
				t.Fatal(err)
			}
		},
		"another epoch": func(t *testing.T, s *Store, fake *storetest.Server) { fake.SetUUID("another") },
		"a failure": func(t *testing.T, s *Store, fake *storetest.Server) {
			fake.Decide(func(st storetest.Statement) storetest.Fault {
				if st.Kind == storetest.Insert {
					return storetest.Fault{Commit: storetest.CommitNone, Answer: storetest.AnswerException}
				}
				return storetest.Fault{}
			})
			if err := s.InsertDependents(t.Context(), flushOf(9, rowsOf(9, 500, 1))); err == nil {
				t.Fatal("no error")
			}
			fake.Decide(nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, storetest.Options{}, func(t *testing.T, fake *storetest.Server) {
				s := openFake(t, fake, nil)
				rows := rowsOf(1, 0, 20)
				insert(t, s, prepare(s, 1, rows))
				f := prepare(s, 2, rows) // the filter leaves them out
				if doubt == nil {
					if err := s.InsertDependents(t.Context(), f); err != nil || certificates(fake) != 20 {
						t.Errorf("%d certificates of 20 were written, %v", certificates(fake), err)
					}
					return
				}
				doubt(t, s, fake)
				before := certificates(fake)
				if err := s.InsertDependents(t.Context(), f); !errors.Is(err, schema.ErrStale) {
					t.Fatalf("inserted what is out of date: %v", err)
				}
				f = flushOf(2, rows)
				insert(t, s, f)
				if n := certificates(fake) - before; n != 20 {
					t.Errorf("%d certificates of 20 were written again", n)
				}
			})
		})
	}
}

// Rows that go in out of turn are written, though a prepared flush has them: it
// has not been inserted, and may never be.
func TestPreparedIsNotWritten(t *testing.T) {
	bubble(t, storetest.Options{}, func(t *testing.T, fake *storetest.Server) {
		s := openFake(t, fake, nil)
		rows := rowsOf(1, 0, 20)
		ahead := prepare(s, 2, rows)
		insert(t, s, flushOf(1, rows))
		if n := certificates(fake); n != 20 {
			t.Errorf("%d of 20 certificates are there", n)
		}
		if err := s.InsertDependents(t.Context(), ahead); !errors.Is(err, schema.ErrStale) {
			t.Errorf("the filter was emptied, and what was prepared counts: %v", err)
		}
		// One that was acknowledged, or given up, is not ahead any more.
		ahead.Prepared.Discard()
		f := prepare(s, 3, rowsOf(3, 0, 20))
		insert(t, s, f)
		if s.ahead != 0 {
			t.Errorf("%d flushes are ahead", s.ahead)
		}
		again := flushOf(4, rowsOf(3, 0, 20))
		if err := s.InsertDependents(t.Context(), again); err != nil || certificates(fake) != 40 {
			t.Errorf("%d certificates, want 40: the filter forgot what was acknowledged; %v", certificates(fake), err)
		}
	})
}

// A part of a flush cannot come of its columns.
func TestPreparedHasNoParts(t *testing.T) {
	bubble(t, storetest.Options{}, func(t *testing.T, fake *storetest.Server) {
		s := openFake(t, fake, nil)
		f := prepare(s, 1, rowsOf(1, 0, 20))
		if err := s.InsertLedger(t.Context(), f, func(r *schema.Row) bool { return r.Index < 5 }); !errors.Is(err, schema.ErrStale) {
			t.Errorf("a part was inserted of columns: %v", err)
		}
		f.Prepared = nil
		for name, insert := range map[string]func() error{
			"dependents": func() error { return s.InsertDependents(t.Context(), f) },
			"ledger":     func() error { return s.InsertLedger(t.Context(), f, nil) },
		} {
			if err := insert(); !errors.Is(err, schema.ErrStale) {
				t.Errorf("%s of a flush without its rows: %v", name, err)
			}
		}
		if n := len(fake.Ledger()); n != 0 {
			t.Errorf("%d rows in the ledger", n)
		}
	})
}
