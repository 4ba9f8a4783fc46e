package main

import (
	"bytes"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"
)

// messages is standard error for a process that must not wait for who reads
// it: a pipe that is full because its reader sleeps, a terminal that was
// stopped, a reader that is gone. Writing never blocks and never fails. One
// goroutine owns the file behind it. What waits for it is bounded; where that
// is not enough the oldest is dropped, and a line says how much, so that what
// a process says last is never what is missing.
type messages struct {
	to     io.Writer
	notice func(dropped uint64) []byte // the line that says so

	mu      sync.Mutex
	changed *sync.Cond
	queue   [][]byte
	bytes   int    // in queue
	writing bool   // something that has left the queue is on its way
	dropped uint64 // since the last notice
}

const (
	messagesMost = 1 << 20     // bytes waiting; some thousand lines
	lastWords    = time.Second // how long a process that ends waits for its reader
)

func newMessages(to io.Writer) *messages {
	m := &messages{to: to, notice: func(uint64) []byte { return nil }}
	m.changed = sync.NewCond(&m.mu)
	go m.run()
	return m
}

// Write queues p and returns at once.
func (m *messages) Write(p []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.queue = append(m.queue, bytes.Clone(p))
	m.bytes += len(p)
	for m.bytes > messagesMost && len(m.queue) > 1 {
		m.pop()
		m.dropped++
	}
	m.changed.Broadcast()
	return len(p), nil
}

func (m *messages) pop() []byte {
	p := m.queue[0]
	m.queue[0] = nil
	m.queue, m.bytes = m.queue[1:], m.bytes-len(p)
	return p
}

// run writes what is queued. It goes on for the life of the process, which may
// have to end while a write does not return.
func (m *messages) run() {
	works, torn := true, false // the last write succeeded; it ended within a line
	for {
		m.mu.Lock()
		for len(m.queue) == 0 && (m.dropped == 0 || !works) {
			m.changed.Wait()
		}
		var p []byte
		lost := uint64(1) // chunks, if this write fails
		if m.dropped > 0 && works {
			p, lost, m.dropped = m.notice(m.dropped), m.dropped, 0
		} else {
			p = m.pop()
		}
		m.writing = true
		m.mu.Unlock()
		if torn {
			p = append([]byte{'\n'}, p...)
		}
		n, err := m.to.Write(p)
		m.mu.Lock()
		if works = err == nil; !works {
			m.dropped += lost
			torn = torn && n == 0 || n > 0
		} else {
			torn = false
		}
		m.writing = false
		m.changed.Broadcast()
		m.mu.Unlock()
	}
}

// flush returns when everything is written, or nobody has read it for
// lastWords.
func (m *messages) flush() {
	m.mu.Lock()
	defer m.mu.Unlock()
	expired := false
	t := time.AfterFunc(lastWords, func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		expired = true
		m.changed.Broadcast()
	})
	defer t.Stop()
	for !expired && (len(m.queue) > 0 || m.writing) {
		m.changed.Wait()
	}
}

// stderrKey is where the commands find standard error.
const stderrKey = "stderr"

// stderr is where a command writes what is no result.
func stderr(c *cli.Context) io.Writer {
	if w, ok := c.App.Metadata[stderrKey].(io.Writer); ok {
		return w
	}
	return os.Stderr
}

// operatorLog is the log of a command that works for long. From here on a
// reader that is gone is no reason to end: without the handler a write to a
// broken standard error or output would end the process.
func (c *settings) operatorLog(ctx *cli.Context) *slog.Logger {
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	w := stderr(ctx)
	if m, ok := w.(*messages); ok {
		m.mu.Lock()
		m.notice = func(dropped uint64) []byte {
			var line bytes.Buffer
			c.logger(&line).Warn("messages dropped, nobody read them", "lines", dropped)
			return line.Bytes()
		}
		m.mu.Unlock()
	}
	return c.logger(w)
}
