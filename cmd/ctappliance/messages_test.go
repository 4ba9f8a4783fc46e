package main

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// reader is what messages write to: it may sleep, or be gone.
type reader struct {
	mu     sync.Mutex
	asleep *sync.Cond
	sleeps bool
	fails  error
	short  int // bytes that are taken before it fails
	heard  bytes.Buffer
}

func (r *reader) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.sleeps {
		r.asleep.Wait()
	}
	if r.fails != nil {
		n, _ := r.heard.Write(p[:min(r.short, len(p))])
		return n, r.fails
	}
	return r.heard.Write(p)
}

func (r *reader) set(sleeps bool, fails error, short int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sleeps, r.fails, r.short = sleeps, fails, short
	r.asleep.Broadcast()
}

func newReader() (*reader, *messages) {
	r := &reader{}
	r.asleep = sync.NewCond(&r.mu)
	m := newMessages(r)
	m.notice = func(n uint64) []byte { return fmt.Appendf(nil, "%d dropped\n", n) }
	return r, m
}

// What is said to a sleeping reader is kept as far as there is room, the newest
// of it, and the reader is told how much is missing.
func TestMessagesToASleeper(t *testing.T) {
	r, m := newReader()
	r.set(true, nil, 0)
	line := func(i int) string { return fmt.Sprintf("%07d%s\n", i, strings.Repeat(".", 1016)) }
	const lines = 3000
	for i := range lines {
		if n, err := m.Write([]byte(line(i))); n != 1024 || err != nil {
			t.Fatalf("line %d: %d, %v", i, n, err)
		}
	}
	m.mu.Lock()
	if m.bytes > messagesMost {
		t.Errorf("%d bytes are kept, %d may be", m.bytes, messagesMost)
	}
	m.mu.Unlock()
	r.set(false, nil, 0)
	m.flush()
	heard := strings.Split(strings.TrimSuffix(r.heard.String(), "\n"), "\n")
	dropped, said, last := 0, 0, -1
	for _, l := range heard {
		var i int
		if n, _ := fmt.Sscanf(l, "%d dropped", &i); n == 1 && strings.HasSuffix(l, "dropped") {
			dropped += i
			continue
		}
		if _, err := fmt.Sscanf(l[:7], "%d", &i); err != nil || l+"\n" != line(i) || i <= last {
			t.Fatalf("after line %d came %.20q", last, l)
		}
		said, last = said+1, i
	}
	if last != lines-1 || said+dropped != lines || said < 1000 || dropped == 0 {
		t.Errorf("%d lines arrived, the last is %d, and %d are said to be dropped, of %d", said, last, dropped, lines)
	}
}

// A reader that is gone costs what is said meanwhile, which is counted.
func TestMessagesToNobody(t *testing.T) {
	r, m := newReader()
	r.set(false, errors.New("no space left on device"), 3)
	for _, line := range []string{"first\n", "second\n"} {
		m.Write([]byte(line))
		m.flush()
	}
	r.set(false, nil, 0)
	m.Write([]byte("third\n"))
	m.flush()
	m.Write([]byte("fourth\n"))
	m.flush()
	if got, want := r.heard.String(), "fir\nse\nthird\n2 dropped\nfourth\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// A process that ends waits for a sleeping reader, but not for ever.
func TestMessagesFlushEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &reader{sleeps: true}
		r.asleep = sync.NewCond(&r.mu)
		m := &messages{to: r}
		m.changed = sync.NewCond(&m.mu)
		m.Write([]byte("nobody hears this\n"))
		began := time.Now()
		m.flush()
		if took := time.Since(began); took != lastWords {
			t.Errorf("flush took %v, want %v", took, lastWords)
		}
	})
}
