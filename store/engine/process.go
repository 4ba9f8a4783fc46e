package engine

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode"
)

// process is one life of the child.
type process struct {
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	tail   *logWriter // of standard error
	ready  readyLine
	exited chan struct{}
	err    error // how it ended; read after exited

	killed atomic.Pointer[string] // why we killed it, nil if we did not
}

// times are those of a child's life; tests shorten them.
type times struct {
	start    time.Duration // until it is ready; a big database takes long to open after a crash
	stop     time.Duration // for a clean end
	health   time.Duration // between two looks whether it answers, and the patience of one
	failures int           // in a row, until it counts as hung
}

var defaultTimes = times{start: 5 * time.Minute, stop: 30 * time.Second, health: 5 * time.Second, failures: 6}

// Why a child was killed, as an operator reads it.
const (
	killFence = "fenced: killed so that nothing it was told before can still be written"
	killHung  = "hung: killed because it did not answer"
	killStop  = "killed because it did not end by itself"
)

// spawn starts one child and waits until it is ready. begun is called as soon
// as there is a process, before it knows what to serve.
func spawn(ctx context.Context, o *Options, secret string, begun func(*process)) (*process, error) {
	ctx, cancel := context.WithTimeout(ctx, o.times.start)
	defer cancel()
	conf, err := json.Marshal(childConfig{
		Parent: os.Getpid(), Port: o.Port, Memory: o.Memory, Connections: o.Connections, MaxInsert: o.MaxInsert,
		Writer: writerName, WriterSecret: secret, Reader: o.ReaderName, ReaderSecret: o.ReaderPassword,
		ReaderSeconds: o.ReaderSeconds, ReaderMemory: o.ReaderMemory, ReaderResult: o.ReaderResult,
	})
	if err != nil {
		return nil, fmt.Errorf("starting engine: %w", err)
	}
	cmd := exec.Command(o.Command[0], o.Command[1:]...)
	cmd.Env = o.environ()
	cmd.Dir = "/"
	cmd.WaitDelay = lastWords
	tail := &logWriter{log: o.Log}
	cmd.Stderr = tail
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("starting engine: %w", err)
	}
	// A pipe of our own: Wait would close exec's under the reader, and with it
	// lose the last words of a child that says why and ends.
	stdout, childOut, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("starting engine: %w", err)
	}
	cmd.Stdout = childOut
	p := &process{cmd: cmd, stdin: stdin, tail: tail, exited: make(chan struct{})}
	started, said := make(chan error, 1), make(chan readyLine, 1)
	go p.live(started)
	err = <-started
	childOut.Close()
	go p.listen(stdout, said)
	if err != nil {
		close(p.exited)
		return nil, fmt.Errorf("starting engine: %w", err)
	}
	begun(p)
	// The write may fail only if the child is dead, which said tells.
	stdin.Write(append(conf, '\n'))
	select {
	case l, ok := <-said:
		if !ok {
			p.stop(time.Second)
			return nil, fmt.Errorf("starting engine: the process ended before it was ready: %s", p.ending())
		}
		if l.Error != "" {
			p.stop(time.Second)
			if l.Silent {
				l.Error += ": " + tail.exception()
			}
			return nil, fmt.Errorf("starting engine: %s", l.Error)
		}
		p.ready = l
		return p, nil
	case <-ctx.Done():
		p.stop(0)
		return nil, fmt.Errorf("starting engine: %w", ctx.Err())
	}
}

// live runs the child from start to end on a thread of its own. The kernel's
// word "parent", in the signal that ends a child with it, means the thread
// that forked: this one must live as long as the child.
func (p *process) live(started chan<- error) {
	runtime.LockOSThread()
	err := p.cmd.Start()
	started <- err
	if err != nil {
		return
	}
	p.err = p.cmd.Wait()
	close(p.exited)
}

// lastWords is how long the child's output is read after its end: something it
// started may hold the pipe open.
const lastWords = time.Second

// listen reads the child's ready line and discards what follows. It closes
// said without a line where there is none.
func (p *process) listen(stdout *os.File, said chan<- readyLine) {
	defer stdout.Close()
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		select {
		case <-p.exited:
			stdout.SetReadDeadline(time.Now().Add(lastWords))
		case <-stop:
		}
	}()
	rd := bufio.NewReaderSize(stdout, 16<<10)
	if b, err := rd.ReadSlice('\n'); err == nil {
		var l readyLine
		if json.Unmarshal(b, &l) != nil || l.Error == "" && !l.plausible() {
			l = readyLine{Error: fmt.Sprintf("the process said %.200q instead of its address", b)}
		}
		said <- l
	}
	close(said)
	io.Copy(io.Discard, rd)
}

// plausible tells whether a child that says it is ready also says where.
func (l readyLine) plausible() bool {
	u, err := url.Parse(l.URL)
	return err == nil && u.Scheme == "http" && u.Host != "" && l.BootID != ""
}

// stop closes the child's standard input, which tells it to end, waits, and
// kills it if that was not enough. It returns when the child is dead.
func (p *process) stop(grace time.Duration) {
	p.stdin.Close()
	t := time.NewTimer(grace)
	defer t.Stop()
	select {
	case <-p.exited:
	case <-t.C:
		p.kill(killStop)
		<-p.exited
	}
}

// kill ends the child and remembers why, if nobody has before.
func (p *process) kill(why string) {
	p.killed.CompareAndSwap(nil, &why)
	p.cmd.Process.Kill()
}

// fenced tells whether the child was killed by a fence.
func (p *process) fenced() bool {
	why := p.killed.Load()
	return why != nil && *why == killFence
}

// ending says how the child ended; call it after exited.
func (p *process) ending() string {
	if why := p.killed.Load(); why != nil {
		return *why
	}
	if p.err == nil {
		return "it ended by itself"
	}
	return fmt.Sprintf("%v; its last words: %s", p.err, p.tail.last())
}

// watch asks the child whether it lives, until it has ended or ctx is done;
// one that stays silent is killed.
func (p *process) watch(ctx context.Context, tm times, log *slog.Logger) {
	client := &http.Client{Timeout: tm.health, Transport: &http.Transport{DisableKeepAlives: true}}
	tick := time.NewTicker(tm.health)
	defer tick.Stop()
	for failed := 0; ; {
		select {
		case <-ctx.Done():
			return
		case <-p.exited:
			return
		case <-tick.C:
		}
		if err := ping(ctx, client, p.ready.URL); err == nil {
			failed = 0
			continue
		} else if failed++; failed < tm.failures {
			log.Warn("engine does not answer", "pid", p.ready.PID, "err", err, "failures", failed)
			continue
		}
		log.Error("engine hangs; killing it", "pid", p.ready.PID)
		p.kill(killHung)
		return
	}
}

func ping(ctx context.Context, client *http.Client, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/ping", nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return errors.New(resp.Status)
	}
	return nil
}

// logWriter passes the child's standard error on, line by line, and keeps the
// last few. A line is cut at maxLogLine; the rest of it is dropped.
type logWriter struct {
	log *slog.Logger

	mu   sync.Mutex // what the child has started may go on writing
	buf  []byte
	kept []string
}

const (
	maxLogLine  = 2048
	maxLogLines = 16 // that are kept
)

func (w *logWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := len(p)
	for len(p) > 0 {
		i := bytes.IndexByte(p, '\n')
		part := p
		if i >= 0 {
			part = p[:i]
		}
		w.buf = append(w.buf, part[:min(len(part), maxLogLine-len(w.buf))]...)
		if i < 0 {
			break
		}
		if s := strings.TrimSpace(string(w.buf)); s != "" {
			w.kept = append(w.kept[max(0, len(w.kept)-maxLogLines+1):], s)
			w.log.Info("engine says", "line", s)
		}
		w.buf, p = w.buf[:0], p[i+1:]
	}
	return n, nil
}

// last is the last whole line; call it after the child has exited.
func (w *logWriter) last() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.kept) == 0 {
		return "nothing"
	}
	return oneLine(w.kept[len(w.kept)-1:])
}

// exception is the last exception that the library has printed, as one line of
// at most maxReason bytes with beginning and end: the one has the code, the
// other says in which file. Call it after the child has exited.
func (w *logWriter) exception() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	first := len(w.kept) - 1
	for i, l := range w.kept {
		if strings.HasPrefix(l, "Code: ") {
			first = i
		}
	}
	if first < 0 {
		return "it did not say why"
	}
	return oneLine(w.kept[first:])
}

func oneLine(lines []string) string {
	s := strings.Map(func(c rune) rune {
		if !unicode.IsPrint(c) {
			return ' '
		}
		return c
	}, strings.Join(lines, " "))
	if len(s) > maxReason {
		s = strings.ToValidUTF8(s[:maxReason/3], "") + " … " + strings.ToValidUTF8(s[len(s)-maxReason*2/3:], "")
	}
	return s
}

const maxReason = 900
