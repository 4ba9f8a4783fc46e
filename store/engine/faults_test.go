//go:build unix

package engine_test

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"ctappliance/store/engine"
	"ctappliance/store/engine/enginetest"
)

// TestHungChild stops the child's process: it neither answers nor ends. It is
// found out, killed and replaced, and while it hangs no fence of statements
// says that it holds.
func TestHungChild(t *testing.T) {
	o := enginetest.Options(t, filepath.Join(t.TempDir(), "engine"))
	o.SetHealth(300*time.Millisecond, 3)
	e, err := engine.Start(t.Context(), o)
	must(t, err)
	t.Cleanup(e.Stop)
	schemaTable(t, e, "ledger", "ledger")
	ledgerRows(t, e, "ledger", 0, 100)
	boot := e.BootID()
	stopThreads(t, e.PID())
	if err := e.FenceStatements(t.Context(), "x-"); err == nil && e.BootID() == boot {
		t.Error("a child that hangs was fenced without killing it")
	}
	nextChild(t, e, boot)
	if st := e.Status(); !strings.Contains(st.LastError, "did not answer") || st.Restarts < 1 {
		t.Errorf("%+v", st)
	}
	if n := mustCall(t, e, "SELECT count() FROM ct.ledger"); n != "100" {
		t.Errorf("%s rows", n)
	}
	// And so is one that hangs when it is to be fenced or stopped: by a kill.
	stopThreads(t, e.PID())
	must(t, e.Fence(t.Context()))
}

// stopThreads stops a process and waits until every thread of it stands still,
// or it is gone: SIGSTOP is taken by one thread, and until that one has run on
// a busy machine the others still answer.
func stopThreads(t *testing.T, pid int) {
	t.Helper()
	must(t, syscall.Kill(pid, syscall.SIGSTOP))
	until(t, func() bool {
		stats, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
		must(t, err)
		for _, file := range stats {
			b, err := os.ReadFile(file)
			if err != nil {
				continue // the thread has ended
			}
			// proc(5): the state is the field after the name in parentheses.
			if _, rest, ok := strings.Cut(string(b), ") "); ok && !strings.HasPrefix(rest, "T") && !strings.HasPrefix(rest, "Z") {
				return false
			}
		}
		return true
	})
}

// nextChild waits until another child than the one with the given boot ID runs.
func nextChild(t *testing.T, e *engine.Engine, boot string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	until(t, func() bool {
		if err := e.Wait(ctx); err != nil {
			t.Fatal(err)
		}
		if ctx.Err() != nil {
			t.Fatalf("no other child: %+v", e.Status())
		}
		return e.BootID() != boot
	})
}

// TestMemoryCap inserts what the cap does not hold: the answer says so, no row
// of it is stored, and the child lives on.
func TestMemoryCap(t *testing.T) {
	o := enginetest.Options(t, filepath.Join(t.TempDir(), "engine"))
	o.Memory = 400_000_000
	e, err := engine.Start(t.Context(), o)
	must(t, err)
	t.Cleanup(e.Stop)
	before := e.Status()
	mustCall(t, e, "CREATE TABLE t (s String) ENGINE = MergeTree ORDER BY tuple()")
	oneBlock := url.Values{"min_insert_block_size_rows": {"1000000000"}, "min_insert_block_size_bytes": {"100000000000"}, "max_insert_block_size": {"1000000000"}}
	for name, insert := range map[string]func() (int, string, int32){
		"body": func() (int, string, int32) {
			row := strings.Repeat("x", 99_999) + "\n"
			body := io.MultiReader(strings.NewReader("INSERT INTO t FORMAT TSV\n"), io.LimitReader(&repeated{s: row}, 600_000_000))
			return do(t, e, "POST", oneBlock, body)
		},
		"select": func() (int, string, int32) {
			return call(t, e, oneBlock, "INSERT INTO t SELECT repeat('x', 100000) FROM numbers(6000)")
		},
		"query": func() (int, string, int32) {
			return call(t, e, nil, "SELECT length(groupArray(number)) FROM numbers(200000000)")
		},
	} {
		t.Run(name, func(t *testing.T) {
			status, body, code := insert()
			if status != 500 || code != 241 {
				t.Errorf("HTTP %d code %d %.300s, want 500 and 241", status, code, body)
			}
			if n := mustCall(t, e, "SELECT count() FROM t"); n != "0" {
				t.Errorf("%s rows of a refused insert", n)
			}
		})
	}
	mustCall(t, e, "INSERT INTO t VALUES ('small')")
	if st := e.Status(); st.BootID != before.BootID || st.Restarts != 0 {
		t.Errorf("the child did not live on: %+v", st)
	}
}

// repeated reads s again and again.
type repeated struct {
	s  string
	at int
}

func (r *repeated) Read(p []byte) (int, error) {
	n := copy(p, r.s[r.at:])
	r.at = (r.at + n) % len(r.s)
	return n, nil
}
