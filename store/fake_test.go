package store

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ctappliance/schema"
	"ctappliance/store/storetest"
)

// Tests of this file run against the fake server in a bubble: minutes of
// waiting cost no time, and there is no socket.

// bubble runs f in a bubble with a fake server of its own.
func bubble(t *testing.T, o storetest.Options, f func(t *testing.T, fake *storetest.Server)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		fake := storetest.New(o)
		t.Cleanup(func() {
			fake.Close()
			for _, c := range fake.Complaints() {
				t.Error("the server complains: " + c)
			}
		})
		f(t, fake)
	})
}

func fakeConfig(fake *storetest.Server) Config {
	return Config{DSN: fake.DSN(), Dial: fake.Dial, Database: "t", RecentBits: 12, WriterID: "w"}
}

func openFake(t *testing.T, fake *storetest.Server, change func(*Config)) *Store {
	t.Helper()
	cfg := fakeConfig(fake)
	if change != nil {
		change(&cfg)
	}
	return open(t, cfg)
}

// The fake and the engine take the same for the same: a round trip through
// every statement of a Sink.
func TestFake(t *testing.T) {
	for _, compress := range []bool{false, true} {
		bubble(t, storetest.Options{Wobble: true}, func(t *testing.T, fake *storetest.Server) {
			s := openFake(t, fake, func(c *Config) { c.Compress = compress })
			f := flushOf(1, append(rowsOf(1, 0, 100), rowsOf(2, 50, 30)...))
			f.Rows[100].Timestamp += 90 * 24 * 3600 * 1000 // another month
			f.Rows[3].Status = schema.StatusOdd
			f.Issuers = []schema.Issuer{{Fingerprint: schema.Hash{1}}}
			insert(t, s, f)
			complete(t, s, f)
			insert(t, s, f) // the tokens keep it out
			complete(t, s, f)
			if n := fake.Swallowed(); n != 2 {
				t.Errorf("%d parts were kept out by their tokens, want 2", n)
			}
			for table, want := range map[string]int{"certs": 130, "issuers": 1, "problems": 1, "names": 100, "name_certs": 100, "profiles": 1} {
				key := map[string]string{"certs": "tbs_id", "issuers": "sha256", "problems": "idx", "names": "rname", "name_certs": "tbs8", "profiles": "id"}[table]
				if got := len(fake.Values(table, key)); got != want {
					t.Errorf("%s has %d distinct %s, want %d", table, got, key, want)
				}
			}
			if top, ok, err := s.Highest(t.Context(), schema.Range{Log: 1, To: 1 << 40}); err != nil || !ok || top != 99 {
				t.Errorf("highest is %d, %v, %v", top, ok, err)
			}
			if list, err := s.Indices(t.Context(), schema.Range{Log: 2, From: 60, To: 70}); err != nil || len(list) != 10 || list[9] != 69 {
				t.Errorf("indices are %v, %v", list, err)
			}
			if err := s.PutLogs(t.Context(), []schema.Log{{ID: schema.Hash{1}}}); err != nil {
				t.Error(err)
			}
			if err := errors.Join(s.Fence(t.Context(), 1), s.FenceAll(t.Context())); err != nil {
				t.Error(err)
			}
			epoch, err := s.Epoch(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for range 6 { // the start time wobbles
				if again, err := s.Epoch(t.Context()); err != nil || again != epoch {
					t.Errorf("epoch is %s, was %s: %v", again, epoch, err)
				}
			}
			time.Sleep(time.Minute) // starts within the wobble are one
			fake.Restart(storetest.Restart{})
			time.Sleep(time.Minute)
			if after, err := s.Epoch(t.Context()); err != nil || after == epoch {
				t.Errorf("epoch after a restart is %s, was %s: %v", after, epoch, err)
			}
			complete(t, s, f)
			// A second life finds everything made.
			before := fake.Statements()
			if again := openFake(t, fake, nil); again.WriterID() != "w" {
				t.Errorf("writer is %q", again.WriterID())
			}
			if n := fake.Statements() - before; n > 40 {
				t.Errorf("opening again took %d statements", n)
			}
		})
	}
}

// What is committed late is seen by a fence, killed by it, and waited for.
func TestFenceOnServer(t *testing.T) {
	for _, stubborn := range []bool{false, true} {
		t.Run(fmt.Sprint("stubborn ", stubborn), func(t *testing.T) {
			bubble(t, storetest.Options{}, func(t *testing.T, fake *storetest.Server) {
				s := openFake(t, fake, func(c *Config) { c.NoTokens = true })
				fake.Decide(func(st storetest.Statement) storetest.Fault {
					if st.Table == "ledger" {
						return storetest.Fault{Commit: storetest.CommitLate, After: 30 * time.Second, Stubborn: stubborn, Answer: storetest.AnswerReset}
					}
					return storetest.Fault{}
				})
				f := flushOf(7, rowsOf(1, 0, 10))
				if err := s.InsertLedger(t.Context(), f, nil); err == nil || strings.Contains(err.Error(), "\n") {
					t.Fatalf("a reset connection gave %v", err)
				}
				if err := s.Fence(t.Context(), 8); err != nil { // another flush
					t.Fatal(err)
				}
				start := time.Now()
				if err := s.Fence(t.Context(), 7); err != nil {
					t.Fatal(err)
				}
				if took := time.Since(start); took > 10*time.Second {
					t.Errorf("the fence waited %v: it did not kill", took)
				}
				want := 0
				if stubborn {
					want = 10
				}
				if n := len(fake.Ledger()); n != want {
					t.Errorf("%d rows after the fence, want %d", n, want)
				}
				time.Sleep(time.Hour)
				if n := len(fake.Ledger()); n != want {
					t.Errorf("%d rows an hour after the fence, want %d", n, want)
				}
			})
		})
	}
}
