package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode"

	"ctappliance/schema"
	"ctappliance/store/storetest"
)

// calls are the methods that a Sink has.
var calls = map[string]func(ctx context.Context, s *Store) error{
	"prove": func(ctx context.Context, s *Store) error {
		_, err := s.Prove(ctx, []schema.Range{{Log: 1, To: 10}, {Log: 2, From: 5, To: 10}})
		return err
	},
	"highest": func(ctx context.Context, s *Store) error {
		_, _, err := s.Highest(ctx, schema.Range{Log: 1, To: 10})
		return err
	},
	"indices": func(ctx context.Context, s *Store) error {
		_, err := s.Indices(ctx, schema.Range{Log: 1, To: 10})
		return err
	},
	"epoch":      func(ctx context.Context, s *Store) error { _, err := s.Epoch(ctx); return err },
	"fence":      func(ctx context.Context, s *Store) error { return s.Fence(ctx, 1) },
	"fence all":  func(ctx context.Context, s *Store) error { return s.FenceAll(ctx) },
	"dependents": func(ctx context.Context, s *Store) error { return s.InsertDependents(ctx, flushOf(1, rowsOf(1, 0, 5))) },
	"ledger": func(ctx context.Context, s *Store) error {
		return s.InsertLedger(ctx, flushOf(1, rowsOf(1, 0, 5)), nil)
	},
	"logs": func(ctx context.Context, s *Store) error { return s.PutLogs(ctx, []schema.Log{{Name: "x"}}) },
}

var inserts = map[string]bool{"dependents": true, "ledger": true, "logs": true}

// oneLine fails the test where an error is not one line that may be printed.
func oneLine(t *testing.T, err error) {
	t.Helper()
	text := err.Error()
	if len(text) > 800 || strings.ContainsFunc(text, func(r rune) bool { return unicode.IsControl(r) }) {
		t.Errorf("the error is not a line of at most 800 bytes: %.900q", text)
	}
}

// Whatever is said in the server's place, or by a server that has been taken
// over, is an error within the time allowed, and never a yes.
func TestAnswersThatAreNone(t *testing.T) {
	text := func(s string) storetest.Fault {
		return storetest.Fault{Commit: storetest.CommitNone, Answer: storetest.AnswerText, Text: s}
	}
	none := func(a storetest.Answer) storetest.Fault {
		return storetest.Fault{Commit: storetest.CommitNone, Answer: a}
	}
	for name, f := range map[string]storetest.Fault{
		"refused":                  {Refuse: true},
		"reset":                    none(storetest.AnswerReset),
		"502":                      none(storetest.AnswerBadGate),
		"page of HTML":             none(storetest.AnswerHTML),
		"nothing":                  none(storetest.AnswerEmpty),
		"silence":                  none(storetest.AnswerSilence),
		"exception in band":        none(storetest.AnswerInBand),
		"exception":                none(storetest.AnswerException),
		"large exception":          {Commit: storetest.CommitNone, Answer: storetest.AnswerException, Text: strings.Repeat("\x1b[31m\x00\n\u202e", 100_000)},
		"a byte every ten minutes": {Slow: 10 * time.Minute},
		"garbage":                  none(storetest.AnswerGarbage),
		"gzip bomb":                none(storetest.AnswerGzipBomb),
		"empty body":               text(""),
		"no end of line":           text("a\tb"),
		"other columns":            text("a\tb\tc\n1\t2\t3\n"),
		"ragged":                   text("a\n1\t2\n"),
		"words":                    text("a\tb\nc\td\n"),
		"negative":                 text("a\n-1\n"),
		"NUL":                      text("a\x00\n\x00\n"),
		"beyond":                   text("a\n18446744073709551616\n"),
		"outside the range":        text("a\tb\n1\t11\n"),
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, storetest.Options{}, func(t *testing.T, fake *storetest.Server) {
				s := openFake(t, fake, nil)
				for call, do := range calls {
					if f.Answer == storetest.AnswerText || f.Answer == storetest.AnswerGarbage || f.Answer == storetest.AnswerGzipBomb {
						// The headers name the statement: the server itself said yes to
						// an insert, whatever follows.
						if inserts[call] {
							continue
						}
					}
					struck := 0
					fake.Decide(func(st storetest.Statement) storetest.Fault {
						if inserts[call] && st.Kind != storetest.Insert {
							return storetest.Fault{}
						}
						struck++
						return f
					})
					// Two columns of numbers are an answer to these.
					if name == "outside the range" && call == "epoch" || name == "negative" && strings.HasPrefix(call, "fence") || name == "beyond" && strings.HasPrefix(call, "fence") {
						continue
					}
					if name == "NUL" && strings.HasPrefix(call, "fence") {
						continue
					}
					ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
					start := time.Now()
					err := do(ctx, s)
					if err == nil || ctx.Err() != nil {
						t.Errorf("%s: %v after %v", call, err, time.Since(start))
					} else {
						oneLine(t, err)
					}
					if took := time.Since(start); took > 2*defaultTimeout+time.Minute {
						t.Errorf("%s took %v", call, took)
					}
					cancel()
					if struck == 0 {
						t.Errorf("%s sent nothing", call)
					}
				}
				if n := len(fake.Ledger()); n > 0 && name != "a byte every ten minutes" {
					t.Errorf("%d rows are in the ledger", n)
				}
				// It is well again when the server is.
				fake.Decide(nil)
				time.Sleep(time.Hour)
				f := flushOf(2, rowsOf(1, 100, 20))
				insert(t, s, f)
				complete(t, s, f)
				if n := len(fake.Values("certs", "tbs_id")); n < 20 {
					t.Errorf("%d certificates, want 20", n)
				}
			})
		})
	}
}

// An answer is bounded in bytes and in the memory that it takes.
func TestHugeAnswers(t *testing.T) {
	bubble(t, storetest.Options{}, func(t *testing.T, fake *storetest.Server) {
		s := openFake(t, fake, nil)
		fake.Decide(func(storetest.Statement) storetest.Fault {
			return storetest.Fault{Commit: storetest.CommitNone, Answer: storetest.AnswerHuge, Bytes: 10 << 30}
		})
		if _, err := s.Indices(t.Context(), schema.Range{Log: 1, To: 10}); !errors.Is(err, ErrTooLarge) {
			t.Errorf("10 GiB of empty lines gave %v", err)
		}
		if err := s.Exec(t.Context(), "SELECT 1"); err != nil {
			oneLine(t, err) // its answer is not looked at
		}
	})
}

// What a server says of a statement it did not like.
func TestOpenOnServersThatWillNotDo(t *testing.T) {
	for _, c := range []struct {
		name string
		opts storetest.Options
		do   func(fake *storetest.Server)
		is   error
		want string
	}{
		{"too old", storetest.Options{Version: "25.8.3.1"}, nil, ErrVersion, "26.3 or newer"},
		{"no version", storetest.Options{Version: "\x1b[31mnone"}, nil, ErrVersion, "not understood"},
		{"password changed", storetest.Options{User: "appliance", Password: "other"}, nil, nil, "does not accept user appliance"},
		{"table without fsync", storetest.Options{}, func(fake *storetest.Server) {
			fake.Change("t", "names", "fsync_after_insert = 1", "fsync_after_insert = 0")
		}, ErrSettings, "names has fsync_after_insert = 0"},
		{"parts that do not stay", storetest.Options{}, func(fake *storetest.Server) {
			fake.Change("t", "ledger", "old_parts_lifetime = 480", "old_parts_lifetime = 0")
		}, ErrSettings, "ledger has old_parts_lifetime = 0"},
		{"short window", storetest.Options{}, func(fake *storetest.Server) { fake.Change("t", "ledger", "_window = 10000", "_window = 100") }, ErrSettings, "= 100"},
		{"column of another type", storetest.Options{}, func(fake *storetest.Server) { fake.Retype("t", "ledger", "idx", "UInt32") }, ErrSchema, "idx of ledger is UInt32, should be UInt64"},
		{"column missing", storetest.Options{}, func(fake *storetest.Server) { fake.Drop("t", "certs", "serial") }, ErrSchema, "no column serial"},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, c.opts, func(t *testing.T, fake *storetest.Server) {
				if c.do != nil {
					openFake(t, fake, nil)
					c.do(fake)
				}
				s, err := Open(t.Context(), fakeConfig(fake))
				if err == nil {
					s.Close()
					t.Fatal("it opened")
				}
				oneLine(t, err)
				if c.is != nil && !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.want) {
					t.Errorf("got %q, want %q (%v)", err, c.want, c.is)
				}
			})
		})
	}
}

// Open gives up soon on a server that says nothing, and works through the
// faults of a bad day when tried again.
func TestOpenUnderFaults(t *testing.T) {
	bubble(t, storetest.Options{}, func(t *testing.T, fake *storetest.Server) {
		start := time.Now()
		fake.Decide(func(storetest.Statement) storetest.Fault { return storetest.Fault{Answer: storetest.AnswerSilence} })
		if _, err := Open(t.Context(), fakeConfig(fake)); err == nil || time.Since(start) > time.Minute {
			t.Errorf("a silent server gave %v after %v", err, time.Since(start))
		}
		answers := []storetest.Fault{{Refuse: true}, {Answer: storetest.AnswerReset}, {Answer: storetest.AnswerHTML}, {Answer: storetest.AnswerException}, {Commit: storetest.CommitNone, Answer: storetest.AnswerException}}
		// The k-th statement fails, in each way, whether it took effect or not.
		for k := 1; ; k++ {
			struck := 0
			for i := range answers {
				n := 0
				fake.Decide(func(storetest.Statement) storetest.Fault {
					if n++; n == k {
						struck++
						return answers[i]
					}
					return storetest.Fault{}
				})
				s, err := Open(t.Context(), fakeConfig(fake))
				if err == nil {
					s.Close()
					continue
				}
				oneLine(t, err)
			}
			if struck == 0 {
				if k < 20 {
					t.Errorf("opening took %d statements only", k)
				}
				break
			}
			if k%8 == 0 { // the first statement of every migration, again
				fake.Drop("t", []string{"ledger", "certs", "meta", "names"}[k/8%4], "")
			}
		}
		fake.Decide(nil)
		s := openFake(t, fake, nil)
		f := flushOf(1, rowsOf(1, 0, 50))
		insert(t, s, f)
		complete(t, s, f)
	})
}

// A fence that may not kill says what to grant; one that may not look says so.
func TestFenceRefused(t *testing.T) {
	bubble(t, storetest.Options{}, func(t *testing.T, fake *storetest.Server) {
		s := openFake(t, fake, nil)
		fake.Decide(func(st storetest.Statement) storetest.Fault {
			if st.Table == "ledger" {
				return storetest.Fault{Commit: storetest.CommitLate, After: time.Hour, Answer: storetest.AnswerReset}
			}
			if st.Kind == storetest.Kill {
				return storetest.Fault{Commit: storetest.CommitNone, Answer: storetest.AnswerException, Code: 497, Text: "appliance: Not enough privileges. (ACCESS_DENIED)"}
			}
			return storetest.Fault{}
		})
		if err := s.InsertLedger(t.Context(), flushOf(3, rowsOf(1, 0, 3)), nil); err == nil {
			t.Fatal("a reset was taken for a yes")
		}
		for _, fence := range []func() error{func() error { return s.Fence(t.Context(), 3) }, func() error { return s.FenceAll(t.Context()) }} {
			err := fence()
			if err == nil {
				t.Fatal("an insert that runs was fenced")
			}
			if oneLine(t, err); !strings.Contains(err.Error(), "GRANT KILL QUERY") {
				t.Errorf("got %q", err)
			}
		}
		time.Sleep(2 * time.Hour) // the insert has ended
		if err := s.Fence(t.Context(), 3); err != nil {
			t.Error(err)
		}
	})
}

// Two servers that answer in turn are refused; one that takes another's place
// is a new life.
func TestBalancer(t *testing.T) {
	bubble(t, storetest.Options{}, func(t *testing.T, fake *storetest.Server) {
		s := openFake(t, fake, nil)
		first, err := s.Epoch(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		fake.SetUUID("b")
		if second, err := s.Epoch(t.Context()); err != nil || second == first {
			t.Fatalf("another server gave %q, %v", second, err)
		}
		fake.SetUUID("a")
		if _, err := s.Epoch(t.Context()); err != nil {
			t.Errorf("a third: %v", err)
		}
		fake.SetUUID("b")
		for range 3 { // also where one answers several times
			if _, err := s.Epoch(t.Context()); !errors.Is(err, ErrBalanced) {
				t.Errorf("two in turn gave %v", err)
			} else {
				oneLine(t, err)
			}
		}
		if err := s.InsertDependents(t.Context(), flushOf(1, rowsOf(1, 0, 3))); !errors.Is(err, ErrBalanced) {
			t.Errorf("an insert behind a balancer gave %v", err)
		}
		time.Sleep(balancedFor) // there is one now
		if _, err := s.Epoch(t.Context()); err != nil {
			t.Error(err)
		}
		for i := range 3 * maxServers {
			fake.SetUUID(fmt.Sprint("server ", i))
			if _, err = s.Epoch(t.Context()); err != nil {
				break
			}
		}
		if !errors.Is(err, ErrBalanced) {
			t.Errorf("a crowd of servers gave %v", err)
		}
		fake.SetUUID(strings.Repeat("x", 1000))
		if _, err := s.Epoch(t.Context()); err == nil {
			t.Error("a UUID of 1000 bytes was taken")
		}
	})
}
