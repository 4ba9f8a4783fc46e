//go:build unix

package engine

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// An engine whose parent is dead is waited for, however long it takes to die;
// one whose parent lives keeps its directory.
func TestLockOfOrphan(t *testing.T) {
	t.Parallel()
	gone := exec.Command(os.Args[0], "-test.run=^$")
	if err := gone.Run(); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		parent int
		free   bool
	}{{"parent dead", gone.Process.Pid, true}, {"parent alive", os.Getpid(), false}} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			held, err := lockDir(dir)
			if err != nil {
				t.Fatal(err)
			}
			defer held.Close()
			if err := os.WriteFile(filepath.Join(dir, "engine.lock"), fmt.Appendf(nil, "%d %d\n", 4711, tt.parent), 0o600); err != nil {
				t.Fatal(err)
			}
			// Longer than what is granted to a parent that lives.
			release := time.AfterFunc(lockWait+time.Second, func() { held.Close() })
			defer release.Stop()
			f, err := lockDir(dir)
			if tt.free {
				if err != nil {
					t.Fatal(err)
				}
				f.Close()
				return
			}
			if err == nil || !strings.Contains(err.Error(), "in use by another engine (process 4711)") {
				t.Errorf("%v", err)
			}
		})
	}
}
