package enginetest

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"ctappliance/store/engine"
)

// childEnv tells a test binary that it is to be the engine.
const childEnv = "CTAPPLIANCE_TEST_ENGINE_CHILD"

// Main runs the tests, or the engine where this process is a child.
func Main(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		if err := engine.Main(context.Background(), engine.ChildOptions{}); err != nil {
			os.Exit(1)
		}
		os.Exit(0)
	}
	mainRan = true
	code := m.Run()
	for _, end := range shared {
		end()
	}
	os.Exit(code)
}

var mainRan bool

// Library finds the engine's library; without it the test is skipped, or
// failed where CI=true.
func Library(t testing.TB) string {
	t.Helper()
	path, err := engine.Find("", os.Getenv("CTAPPLIANCE_TEST_ENGINE_DIR"))
	if err == nil {
		return path
	}
	if os.Getenv("CI") == "true" {
		t.Fatal(err)
	}
	t.Skip(err)
	return ""
}

// Options are those of a small engine in dir whose child is this test binary.
func Options(t testing.TB, dir string) engine.Options {
	t.Helper()
	if !mainRan {
		t.Fatal("enginetest: the package's TestMain must call enginetest.Main")
	}
	o := BareOptions(Library(t), dir)
	o.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
	return o
}

// BareOptions are Options where there is no test yet: in a TestMain.
func BareOptions(library, dir string) engine.Options {
	return engine.Options{Library: library, Dir: dir, Command: []string{os.Args[0]}, Env: []string{childEnv + "=1"}}
}

// StartEngine starts an engine in a directory of its own; it stops with the
// test.
func StartEngine(t testing.TB) *engine.Engine {
	t.Helper()
	return StartIn(t, filepath.Join(t.TempDir(), "engine"))
}

// StartIn is StartEngine in a given directory.
func StartIn(t testing.TB, dir string) *engine.Engine {
	t.Helper()
	e, err := engine.Start(t.Context(), Options(t, dir))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Stop)
	return e
}

// Start starts an engine and gives the writer's DSN for clickhouse-go.
func Start(t testing.TB) (dsn string) {
	t.Helper()
	return StartEngine(t).DSN()
}

// StartShared starts an engine that outlives the test t: it ends with the test
// process, and its directory goes with Main.
func StartShared(t testing.TB) *engine.Engine {
	t.Helper()
	dir, err := os.MkdirTemp("", "enginetest")
	if err != nil {
		t.Fatal(err)
	}
	o := Options(t, dir)
	o.Log = nil // t's output ends before the engine does
	e, err := engine.Start(context.Background(), o)
	if err != nil {
		os.RemoveAll(dir)
		t.Fatal(err)
	}
	shared = append(shared, func() { e.Stop(); os.RemoveAll(dir) })
	return e
}

// shared holds what Main ends after the tests. Tests of a package that start
// shared engines in parallel guard the call themselves.
var shared []func()
