package engine

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"
)

// fakeLibrary is an engine in which a statement can be killed from the moment
// it is known, and not before, as in the real one. The statement becomes known
// when the first KILL has been sent, which is the worst moment there is.
type fakeLibrary struct {
	mu     sync.Mutex
	kills  int
	killed chan struct{} // one value for each KILL
}

func (f *fakeLibrary) library() *library {
	const result, cancelled = 1, 2
	return &library{
		query: func(_ uintptr, sql unsafe.Pointer, n uintptr, _ unsafe.Pointer, _ uintptr, _, _, _, _ unsafe.Pointer, _ uintptr) uintptr {
			if strings.HasPrefix(unsafe.String((*byte)(sql), n), "KILL QUERY") {
				f.mu.Lock()
				defer f.mu.Unlock()
				f.kills++
				f.killed <- struct{}{}
				return result
			}
			<-f.killed // nobody is known yet: lost
			select {
			case <-f.killed:
				return cancelled
			case <-time.After(20 * time.Second): // for ever, to whoever waits
				return result
			}
		},
		resultError: func(h uintptr) string {
			if h == cancelled {
				return "Code: 394. DB::Exception: Query was cancelled. (QUERY_WAS_CANCELLED)"
			}
			return ""
		},
		destroyResult: func(uintptr) {},
	}
}

// A statement whose client goes away before the engine knows of it ends all
// the same.
func TestKillBeforeStatement(t *testing.T) {
	f := &fakeLibrary{killed: make(chan struct{}, 100)}
	lib := f.library()
	var handle uintptr
	c := &conn{lib, unsafe.Pointer(&handle)}
	l := &lease{p: &pool{lib: lib, control: c}, c: c, info: &running{ID: "x-1"}}
	ctx, cancel := context.WithCancel(t.Context())
	stop := l.endWith(ctx, slog.New(slog.DiscardHandler))
	cancel()
	_, err := l.c.run("SELECT 1", "Null", nil)
	stop()
	if asException(err).Code != codeQueryCancelled {
		t.Errorf("the statement ended with %v", err)
	}
	n := f.kills
	if n < 2 {
		t.Errorf("it was killed %d times", n)
	}
	// Nothing is said of it after stop.
	l.endWith(t.Context(), slog.New(slog.DiscardHandler))()
	if f.kills != n {
		t.Error("a statement that ended by itself was killed")
	}
}
