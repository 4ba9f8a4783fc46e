package main

import (
	"compress/gzip"
	"errors"
	"io"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"

	"ctappliance/cmd/ctappliance/config"
)

// whole fails the test unless r is a profile: a gzip stream with its end.
func whole(t *testing.T, r io.Reader) {
	t.Helper()
	zr, err := gzip.NewReader(r)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := io.Copy(io.Discard, zr); err != nil || n == 0 {
		t.Fatalf("%d bytes of profile: %v", n, err)
	}
}

// Both profiles are whole when the action is over, even if it failed, and the
// error is the action's.
func TestProfiles(t *testing.T) {
	dir, failed := t.TempDir(), errors.New("failed")
	cpu, heap := filepath.Join(dir, "cpu"), filepath.Join(dir, "heap")
	app := &cli.App{Flags: profileFlags(), Writer: io.Discard, ErrWriter: io.Discard, ExitErrHandler: func(*cli.Context, error) {},
		Action: profiled(func(*cli.Context) error { return failed })}
	if err := app.Run([]string{"x", "--cpu-profile", cpu, "--heap-profile", heap}); !errors.Is(err, failed) {
		t.Fatal(err)
	}
	for _, path := range []string{cpu, heap} {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		whole(t, f)
	}
}

// The control socket gives profiles, one of the processor at a time, and
// nothing else of package pprof.
func TestServeProfile(t *testing.T) {
	get := func(query string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		serveProfile(w, httptest.NewRequest("GET", "/profile?"+query, nil))
		return w
	}
	for _, query := range []string{"kind=cpu&seconds=0", "kind=heap", "kind=goroutine"} {
		w := get(query)
		if w.Code != 200 {
			t.Fatalf("%s: %d %s", query, w.Code, w.Body)
		}
		whole(t, w.Body)
	}
	for _, query := range []string{"", "kind=threadcreate", "kind=cpu", "kind=cpu&seconds=-1", "kind=cpu&seconds=601"} {
		if w := get(query); w.Code != 400 {
			t.Errorf("%s: %d %s", query, w.Code, w.Body)
		}
	}
	app := &cli.App{Flags: profileFlags(), Writer: io.Discard, ErrWriter: io.Discard, Action: profiled(func(*cli.Context) error {
		if w := get("kind=cpu&seconds=0"); w.Code != 409 || !strings.Contains(w.Body.String(), "being taken already") {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		return nil
	})}
	if err := app.Run([]string{"x", "--cpu-profile", filepath.Join(t.TempDir(), "cpu")}); err != nil {
		t.Fatal(err)
	}
}

// The environment's GOMEMLIMIT comes before memory.limit, and that before what
// follows from flush.bytes.
func TestMemoryLimit(t *testing.T) {
	before := debug.SetMemoryLimit(-1)
	t.Cleanup(func() { debug.SetMemoryLimit(before) })
	for _, tt := range []struct {
		name, env string
		limit     config.Size
		want      int64
	}{
		{"what is needed", "", 0, 193<<20 + 3*112e6/2},
		{"configured", "", 300 << 20, 300 << 20},
		{"environment", "1GiB", 300 << 20, 12345}, // as the runtime has set it
	} {
		t.Run(tt.name, func(t *testing.T) {
			debug.SetMemoryLimit(12345)
			t.Setenv("GOMEMLIMIT", tt.env)
			c := &settings{Config: *config.Default()}
			c.Memory.Limit = tt.limit
			c.limitMemory()
			if got := debug.SetMemoryLimit(-1); got != tt.want {
				t.Errorf("%d, not %d", got, tt.want)
			}
		})
	}
}
