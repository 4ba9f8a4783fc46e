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
	return prepareInto(s.Prepare(), id, rows)
}

func prepareInto(p schema.Prepared, id uint64, rows []schema.Row) *schema.Flush {
	f := flushOf(id, rows)
	f.Rows, f.Prepared = nil, p
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
				f.Discard()
				f = prepareInto(s.PrepareAgain(), 2, rows)
				insert(t, s, f)
				if n := certificates(fake) - before; n != 20 {
					t.Errorf("%d certificates of 20 were written again", n)
				}
				// It stays good for another attempt, and the same.
				doubt(t, s, fake)
				before = certificates(fake)
				if err := s.InsertDependents(t.Context(), f); err != nil || certificates(fake)-before != 20 {
					t.Errorf("%d certificates of 20 were written once more, %v", certificates(fake)-before, err)
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
		again := prepareInto(s.PrepareAgain(), 5, rows)
		if err := s.InsertDependents(t.Context(), again); err != nil || certificates(fake) != 40 {
			t.Errorf("%d of 40 certificates are there, %v", certificates(fake), err)
		}
		again.Discard()
		// Neither has made what is ahead useless, or else each flush after it would
		// have to be made again.
		if err := s.InsertDependents(t.Context(), ahead); err != nil || certificates(fake) != 60 {
			t.Errorf("%d of 60 certificates are there, %v", certificates(fake), err)
		}
		// One that was acknowledged, or given up, is not ahead any more.
		ahead.Discard()
		f := prepare(s, 3, rowsOf(3, 0, 20))
		insert(t, s, f)
		if s.ahead != 0 {
			t.Errorf("%d flushes are ahead", s.ahead)
		}
		known := flushOf(4, rowsOf(3, 0, 20))
		if err := s.InsertDependents(t.Context(), known); err != nil || certificates(fake) != 80 {
			t.Errorf("%d certificates, want 80: the filter forgot what was acknowledged; %v", certificates(fake), err)
		}
	})
}

// What is made again of rows holds each certificate once, as far as it can, and
// the filter does not learn of it: nobody has written it yet.
func TestPreparedAgain(t *testing.T) {
	bubble(t, storetest.Options{}, func(t *testing.T, fake *storetest.Server) {
		s := openFake(t, fake, nil)
		rows := rowsOf(1, 0, 20)
		other := rowsOf(1, 20, 20)
		for i := range other {
			other[i].TBSID = rows[i].TBSID
			other[i].Fingerprint = rows[i].Fingerprint
		}
		again := prepareInto(s.PrepareAgain(), 1, append(rows, other...))
		elsewhere := rowsOf(2, 0, 20)
		for i := range elsewhere {
			elsewhere[i].TBSID, elsewhere[i].Fingerprint = rows[i].TBSID, rows[i].Fingerprint
		}
		f := prepare(s, 2, elsewhere)
		insert(t, s, f)
		if n := certificates(fake); n != 20 {
			t.Errorf("%d certificates, want 20: the filter knows what was not written", n)
		}
		f.Discard()
		insert(t, s, again)
		if n := certificates(fake); n != 40 {
			t.Errorf("%d certificates, want 40", n)
		}
		again.Rows = flushOf(1, append(rows, other...)).Rows // for their hashes
		complete(t, s, again)
	})
}

// A part of a flush comes of its columns as well.
func TestPreparedParts(t *testing.T) {
	bubble(t, storetest.Options{}, func(t *testing.T, fake *storetest.Server) {
		s := openFake(t, fake, nil)
		rows := rowsOf(1, 0, 20)
		rows[3].Status = schema.StatusOdd
		f := prepare(s, 1, rows)
		if err := s.InsertDependents(t.Context(), f); err != nil {
			t.Fatal(err)
		}
		if err := s.InsertLedger(t.Context(), f, func(log, index uint64) bool { return log == 1 && index < 5 }); err != nil {
			t.Fatal(err)
		}
		complete(t, s, flushOf(1, rows[:5]))
		if n := len(fake.Ledger()); n != 5 {
			t.Errorf("%d rows in the ledger, want 5", n)
		}
	})
}

// Another attempt inserts the same: the chain certificates once.
func TestPreparedTwice(t *testing.T) {
	bubble(t, storetest.Options{}, func(t *testing.T, fake *storetest.Server) {
		s := openFake(t, fake, func(c *Config) { c.RecentBits = -1 })
		f := prepare(s, 1, rowsOf(1, 0, 20))
		f.Issuers = []schema.Issuer{{Fingerprint: schema.Hash{1}}, {Fingerprint: schema.Hash{2}}}
		for range 2 {
			if err := s.InsertDependents(t.Context(), f); err != nil {
				t.Fatal(err)
			}
		}
		parts := fake.Parts("issuers")
		for _, p := range parts {
			if len(p.Rows) != 2 {
				t.Errorf("%d issuers, want 2", len(p.Rows))
			}
		}
		if len(parts) != 2 {
			t.Errorf("issuers went in %d times, want 2", len(parts))
		}
	})
}

// What is neither columns nor rows is not inserted.
func TestPreparedIsMissing(t *testing.T) {
	bubble(t, storetest.Options{}, func(t *testing.T, fake *storetest.Server) {
		s := openFake(t, fake, nil)
		f := prepare(s, 1, rowsOf(1, 0, 20))
		f.Discard()
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
