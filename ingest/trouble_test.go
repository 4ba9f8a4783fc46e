package ingest

import (
	"testing"
	"testing/synctest"
	"time"
)

// What fails for less than a minute is not logged; what fails for longer is,
// once, and so is its end.
func TestTrouble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var x trouble
		for range 5 {
			if x.failed() {
				t.Error("logged at once")
			}
			time.Sleep(10 * time.Second)
		}
		if x.over() != 0 || x.n != 0 || !x.since.IsZero() {
			t.Error("what was never logged has an end")
		}
		lines := 0
		for range 100 {
			if x.failed() {
				lines++
			}
			time.Sleep(10 * time.Second)
		}
		if lines != 1 {
			t.Errorf("logged %d times", lines)
		}
		if x.n != 100 || x.over() != 1000*time.Second {
			t.Errorf("%+v", x)
		}
	})
}
