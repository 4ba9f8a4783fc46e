package engine

import (
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

// Inserts that end while names are being synced share one further pass, and
// none of them takes the one that had begun before.
func TestSyncPassesAreShared(t *testing.T) {
	root := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		var passes atomic.Int32
		goOn := make(chan struct{})
		n := &nameSync{root: root}
		n.begun = func() {
			if passes.Add(1) == 1 {
				<-goOn
			}
		}
		var ended atomic.Int32
		ask := func() {
			if err := n.sync(); err != nil {
				t.Error(err)
			}
			ended.Add(1)
		}
		go ask()
		synctest.Wait() // in the first pass
		late := filepath.Join(root, "database", "table")
		if err := os.MkdirAll(late, 0o700); err != nil {
			t.Fatal(err)
		}
		const together = 8
		for range together {
			go ask()
		}
		synctest.Wait()
		if got := ended.Load(); got != 0 {
			t.Errorf("%d were told that their names are synced before a pass had begun for them", got)
		}
		close(goOn)
		synctest.Wait()
		if p, e := passes.Load(), ended.Load(); p != 2 || e != 1+together {
			t.Errorf("%d passes for %d callers, want 2 for %d", p, e, 1+together)
		}
		if _, ok := n.known[late]; !ok {
			t.Error("a directory that was there before the call was not synced")
		}
	})
}
