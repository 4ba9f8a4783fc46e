package store

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"ctappliance/schema"
	"ctappliance/store/storetest"
)

// What every insert asks of the server, whatever the server's own defaults
// are: it is written when it is answered, and one block stays one.
func TestInsertSettings(t *testing.T) {
	have := insertSettings()
	for name, want := range map[string]any{"async_insert": 0, "max_insert_threads": 1, "optimize_on_insert": 0, "max_partitions_per_insert_block": 0} {
		if got, ok := have[name]; !ok || got != want {
			t.Errorf("%s is %v", name, got)
		}
	}
	for _, name := range []string{"max_insert_block_size", "min_insert_block_size_rows", "min_insert_block_size_bytes"} {
		if got, ok := have[name].(int); !ok || got < 1<<32 {
			t.Errorf("%s is %v: a flush may be cut", name, have[name])
		}
	}
}

func TestKeepIsHeeded(t *testing.T) {
	bubble(t, storetest.Options{}, func(t *testing.T, fake *storetest.Server) {
		s := openFake(t, fake, nil)
		f := flushOf(1, rowsOf(1, 0, 10))
		for _, part := range []uint64{0, 1} {
			if err := s.InsertLedger(t.Context(), f, func(_, index uint64) bool { return index%2 == part }); err != nil {
				t.Fatal(err)
			}
			f.Generation++
		}
		complete(t, s, f)
	})
}

// Whatever casts doubt on what the filter remembers empties it: rows are then
// written again, which changes nothing, and never left out.
func TestRecentForgets(t *testing.T) {
	for name, doubt := range map[string]func(t *testing.T, s *Store, f *schema.Flush, fake *storetest.Server){
		"nothing": nil,
		"fence": func(t *testing.T, s *Store, f *schema.Flush, fake *storetest.Server) {
			if err := s.Fence(t.Context(), f.ID); err != nil {
				t.Fatal(err)
			}
		},
		"generation": func(t *testing.T, s *Store, f *schema.Flush, fake *storetest.Server) { f.Generation++ },
		"epoch":      func(t *testing.T, s *Store, f *schema.Flush, fake *storetest.Server) { fake.SetUUID("another") },
		"a failure": func(t *testing.T, s *Store, f *schema.Flush, fake *storetest.Server) {
			fake.Decide(func(st storetest.Statement) storetest.Fault {
				if st.Kind == storetest.Insert {
					return storetest.Fault{Commit: storetest.CommitNone, Answer: storetest.AnswerException}
				}
				return storetest.Fault{}
			})
			other := flushOf(2, rowsOf(1, 500, 1)) // another one, with a row of its own
			if err := s.InsertDependents(t.Context(), other); err == nil {
				t.Fatal("no error")
			}
			fake.Decide(nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, storetest.Options{}, func(t *testing.T, fake *storetest.Server) {
				s := openFake(t, fake, nil)
				f := flushOf(1, rowsOf(1, 0, 20))
				insert(t, s, f)
				want := 20
				if doubt != nil {
					doubt(t, s, f, fake)
					want = 40
				}
				if err := s.InsertDependents(t.Context(), f); err != nil {
					t.Fatal(err)
				}
				n := 0
				for _, p := range fake.Parts("certs") {
					n += len(p.Rows)
				}
				if n != want {
					t.Errorf("%d rows of 20 certificates, want %d", n, want)
				}
			})
		})
	}
}

// A life that knows nothing of its predecessor's inserts ends them.
func TestFenceAllOnServer(t *testing.T) {
	bubble(t, storetest.Options{}, func(t *testing.T, fake *storetest.Server) {
		former := openFake(t, fake, nil)
		fake.Decide(func(st storetest.Statement) storetest.Fault {
			if st.Table == "ledger" {
				return storetest.Fault{Commit: storetest.CommitLate, After: 30 * time.Minute, Answer: storetest.AnswerReset}
			}
			return storetest.Fault{}
		})
		if err := former.InsertLedger(t.Context(), flushOf(7, rowsOf(1, 0, 10)), nil); err == nil {
			t.Fatal("a reset was taken for a yes")
		}
		s := openFake(t, fake, nil)
		began := time.Now()
		if err := s.FenceAll(t.Context()); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took > time.Minute {
			t.Errorf("the fence waited %v: it did not kill", took)
		}
		time.Sleep(time.Hour)
		if n := len(fake.Ledger()); n != 0 {
			t.Errorf("%d rows came after the fence", n)
		}
	})
}

// Restarting is another life; the seconds by which two clocks differ are not.
func TestEpochOfAServer(t *testing.T) {
	bubble(t, storetest.Options{}, func(t *testing.T, fake *storetest.Server) {
		s := openFake(t, fake, nil)
		first, err := s.Epoch(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(1500 * time.Millisecond)
		if again, err := s.Epoch(t.Context()); err != nil || again != first {
			t.Errorf("%q, then %q, %v", first, again, err)
		}
		time.Sleep(time.Minute)
		fake.Restart(storetest.Restart{})
		time.Sleep(time.Minute)
		if again, err := s.Epoch(t.Context()); err != nil || again == first {
			t.Errorf("a restart gave %q again, %v", again, err)
		}
	})
}

// The client library's own question never reaches the server: its answer would
// be decoded without bounds.
func TestHelloIsAnsweredHere(t *testing.T) {
	bubble(t, storetest.Options{}, func(t *testing.T, fake *storetest.Server) {
		asked := 0
		fake.Decide(func(st storetest.Statement) storetest.Fault {
			if strings.Contains(st.Query, "displayName") {
				asked++
			}
			return storetest.Fault{}
		})
		openFake(t, fake, nil)
		if asked > 0 {
			t.Errorf("it was asked %d times", asked)
		}
	})
}

func TestQuoting(t *testing.T) {
	for s, want := range map[string]string{`it's`: `'it\'s'`, `\`: `'\\'`, `\' OR 1 --`: `'\\\' OR 1 --'`, ``: `''`} {
		if got := quote(s); got != want {
			t.Errorf("quote(%s) = %s, want %s", s, got, want)
		}
	}
	for s, want := range map[string]string{`a_b%`: `a\_b\%`, `\`: `\\`, `plain`: `plain`} {
		if got := likeEscape(s); got != want {
			t.Errorf("likeEscape(%s) = %s, want %s", s, got, want)
		}
	}
}

// A count is an answer for every range, and one for each.
func TestProofWithoutAnswers(t *testing.T) {
	for name, rows := range map[string]string{
		"one of two":     "0\t1\t1\t1\n",
		"twice the same": "0\t1\t1\t1\n0\t1\t1\t1\n",
		"a third":        "0\t1\t1\t1\n1\t1\t1\t1\n1\t1\t1\t1\n",
		"another":        "0\t1\t1\t1\n2\t1\t1\t1\n",
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, storetest.Options{}, func(t *testing.T, fake *storetest.Server) {
				s := openFake(t, fake, nil)
				fake.Decide(func(storetest.Statement) storetest.Fault {
					return storetest.Fault{Commit: storetest.CommitNone, Answer: storetest.AnswerText, Text: "i\tcount\tunique\txor\n" + rows}
				})
				if proofs, err := s.Prove(t.Context(), []schema.Range{{Log: 1, To: 10}, {Log: 2, To: 10}}); err == nil {
					t.Errorf("%+v", proofs)
				}
			})
		})
	}
}

// What may pass, or lies with the table, costs no row its content.
func TestRefusedCodes(t *testing.T) {
	s := &Store{target: &target{addr: "x:1"}}
	for code, want := range map[int32]bool{53: true, 321: true, 117: true, 16: false, 32: false, 33: false, 60: false, 164: false, 241: false, 243: false, 252: false, 999: false} {
		err := s.insertError("certs", fmt.Errorf("insert: %w", &clickhouse.Exception{Code: code, Message: "x"}))
		var refused *schema.RefusedError
		if errors.As(err, &refused) != want {
			t.Errorf("code %d: refused %v", code, !want)
		}
	}
}

func TestErrorsHideThePassword(t *testing.T) {
	s := &Store{target: &target{addr: "x:1", password: "hunter2"}}
	for _, err := range []error{errors.New("bad header: hunter2"), &clickhouse.Exception{Code: 1, Message: "password hunter2 is no good"}} {
		if text := s.show(err).Error(); strings.Contains(text, "hunter2") {
			t.Error(text)
		}
	}
}

// A server that says it has killed an insert, and has not, is asked until the
// insert is gone.
func TestFenceAsksAgain(t *testing.T) {
	bubble(t, storetest.Options{}, func(t *testing.T, fake *storetest.Server) {
		s := openFake(t, fake, nil)
		fake.Decide(func(st storetest.Statement) storetest.Fault {
			switch {
			case st.Kind == storetest.Kill:
				return storetest.Fault{Commit: storetest.CommitNone}
			case st.Table == "ledger":
				return storetest.Fault{Commit: storetest.CommitLate, After: time.Minute, Answer: storetest.AnswerReset}
			}
			return storetest.Fault{}
		})
		if err := s.InsertLedger(t.Context(), flushOf(7, rowsOf(1, 0, 10)), nil); err == nil {
			t.Fatal("a reset was taken for a yes")
		}
		if err := s.Fence(t.Context(), 7); err != nil {
			t.Fatal(err)
		}
		if n := len(fake.Ledger()); n != 10 {
			t.Errorf("%d of 10 rows were there when the fence returned", n)
		}
	})
}

// The answer of a statement that has none is read to its end, by the library;
// so it must have one.
func TestAnswersEnd(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(queryIDHeader, r.URL.Query().Get(queryIDParam))
		for zeros := make([]byte, 1<<20); ; {
			if _, err := w.Write(zeros); err != nil {
				return
			}
		}
	}))
	defer server.Close()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+"/?"+queryIDParam+"=q", nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := new(http.Transport)
	defer transport.CloseIdleConnections()
	res, err := vouched{transport}.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	n, err := io.Copy(io.Discard, io.LimitReader(res.Body, 4*maxAnswer))
	if !errors.Is(err, ErrTooLarge) || n < maxAnswer || n > maxAnswer+2<<20 {
		t.Errorf("read %d bytes, %v", n, err)
	}
}

// Nothing at all, not even a line of names, is no answer without rows.
func TestEmptyAnswer(t *testing.T) {
	bubble(t, storetest.Options{}, func(t *testing.T, fake *storetest.Server) {
		s := openFake(t, fake, nil)
		fake.Decide(func(storetest.Statement) storetest.Fault {
			return storetest.Fault{Commit: storetest.CommitNone, Answer: storetest.AnswerText}
		})
		if a, err := s.Query(t.Context(), 10, "SELECT 1"); err == nil {
			t.Errorf("%+v", a)
		}
	})
}

// What a person asks changes nothing, and is an error where it would.
func TestQueryWritesNothing(t *testing.T) {
	s, _ := openEngine(t, nil)
	for _, q := range []string{"DROP TABLE t.meta", "TRUNCATE TABLE t.meta", "CREATE TABLE t.new (a Int8) ENGINE = Memory", "ALTER TABLE t.meta DELETE WHERE 1"} {
		if _, err := s.Query(t.Context(), 0, q); err == nil {
			t.Errorf("%s was run", q)
		}
	}
	if n := one(t, s, "SELECT count() FROM {db}.meta"); n == "0" {
		t.Error("table meta is empty")
	}
	if n := one(t, s, "EXISTS TABLE {db}.new"); n != "0" {
		t.Error("a table was made")
	}
}
