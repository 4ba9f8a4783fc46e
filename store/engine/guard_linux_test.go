package engine_test

import (
	"bytes"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"ctappliance/store/engine/enginetest"
)

// TestSandboxIsThere: where the kernel has Landlock, the engine is behind it.
func TestSandboxIsThere(t *testing.T) {
	if _, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION); errno != 0 {
		t.Skip("the kernel has no Landlock: ", errno)
	}
	if s := sharedEngine(t).Status().Sandbox; !strings.HasPrefix(s, "landlock") {
		t.Errorf("sandbox: %q", s)
	}
}

// TestEnvironment: what stands in the parent's environment is not the child's
// to know.
func TestEnvironment(t *testing.T) {
	t.Setenv("CTAPPLIANCE_TEST_SECRET", "hunter2")
	e := enginetest.StartEngine(t)
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", e.PID()))
	if err != nil || len(b) == 0 {
		t.Fatalf("%d bytes, %v", len(b), err)
	}
	if bytes.Contains(b, []byte("hunter2")) {
		t.Error("the parent's environment is in the child's")
	}
}

// TestRunningIsTheWriters: a reader neither sees nor fences what others run.
func TestRunningIsTheWriters(t *testing.T) {
	e := sharedEngine(t)
	name, pass := e.ReaderCredentials()
	q := url.Values{"query_id": {"x-"}, "user": {name}, "password": {pass}}.Encode()
	for _, c := range []struct{ method, path string }{{"GET", "/running"}, {"POST", "/fence"}} {
		req, err := http.NewRequest(c.method, e.URL()+c.path+"?"+q, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode == http.StatusOK {
			t.Errorf("%s %s as reader: HTTP %d", c.method, c.path, resp.StatusCode)
		}
	}
}

// TestOrphanOfDeafEngine: an engine dies with its parent, also where somebody
// else still holds its standard input open.
func TestOrphanOfDeafEngine(t *testing.T) {
	cmd, stdin, said := startChild(t, filepath.Join(t.TempDir(), "engine"), childConfig, "sh", "-c", `exec 3<&0; "$@" <&3 3<&- & wait`, "sh")
	defer stdin.Close()
	pid, _ := said["pid"].(float64)
	if pid == 0 || int(pid) == cmd.Process.Pid {
		t.Fatalf("the child said %v", said)
	}
	cmd.Process.Kill()
	cmd.Wait()
	until(t, func() bool { return dead(int(pid)) })
}
