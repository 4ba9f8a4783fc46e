package engine

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"

	"github.com/ClickHouse/ch-go/compress"
)

func frames(t testing.TB, m compress.Method, parts ...string) []byte {
	t.Helper()
	var out []byte
	w := compress.NewWriter(compress.LevelZero, m)
	for _, p := range parts {
		if err := w.Compress([]byte(p)); err != nil {
			t.Fatal(err)
		}
		out = append(out, w.Data...)
	}
	return out
}

func readFrames(b []byte, limit int) ([]byte, error) {
	return io.ReadAll(&frameReader{r: bufio.NewReader(bytes.NewReader(b)), limit: limit})
}

func TestFrames(t *testing.T) {
	parts := []string{"hello ", strings.Repeat("world", 1000), "", "end"}
	want := strings.Join(parts, "")
	for _, m := range []compress.Method{compress.None, compress.LZ4, compress.ZSTD} {
		whole := frames(t, m, parts...)
		got, err := readFrames(whole, 1<<20)
		if err != nil || string(got) != want {
			t.Errorf("%v: %q %v", m, got, err)
		}
		// Cut anywhere: an error, except between frames.
		ends := map[int]bool{0: true}
		n := 0
		for _, p := range parts {
			n += len(frames(t, m, p))
			ends[n] = true
		}
		for i := range whole {
			_, err := readFrames(whole[:i], 1<<20)
			if (err == nil) != ends[i] {
				t.Errorf("%v cut at %d of %d: %v", m, i, len(whole), err)
			}
			if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("%v cut at %d: %v is not an unexpected end", m, i, err)
			}
		}
		if _, err := readFrames(whole, 1000); err == nil {
			t.Errorf("%v: a frame above the limit was read", m)
		}
		// Any byte wrong: an error, never other data.
		one := frames(t, m, "some data that is long enough")
		for i := range one {
			bad := bytes.Clone(one)
			bad[i] ^= 1
			if got, err := readFrames(bad, 1<<20); err == nil {
				t.Errorf("%v: byte %d wrong gave %q", m, i, got)
			}
		}
	}
}

func FuzzFrames(f *testing.F) {
	for _, m := range []compress.Method{compress.None, compress.LZ4, compress.ZSTD} {
		f.Add(frames(f, m, "hello", strings.Repeat("x", 300)))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := readFrames(b, 1<<16)
		if err == nil && len(b) > 0 && len(b) < frameHeader {
			t.Errorf("%d bytes gave %q", len(b), got)
		}
	})
}

func TestLimitBody(t *testing.T) {
	for n, want := range map[int]error{9: nil, 10: nil, 11: errBodyTooLong} {
		got, err := io.ReadAll(limitBody(strings.NewReader(strings.Repeat("x", n)), 10))
		if !errors.Is(err, want) || len(got) != min(n, 10) {
			t.Errorf("%d bytes: %d, %v", n, len(got), err)
		}
	}
}

func TestLogWriter(t *testing.T) {
	var out bytes.Buffer
	w := &logWriter{log: slog.New(slog.NewTextHandler(&out, nil))}
	for _, s := range []string{"one\ntw", "o\n", strings.Repeat("x", 10_000), strings.Repeat("y", 10_000), "\n\n", "last"} {
		if n, err := w.Write([]byte(s)); n != len(s) || err != nil {
			t.Fatal(n, err)
		}
	}
	if got := strings.Count(out.String(), "\n"); got != 3 {
		t.Errorf("%d lines: %.300s", got, out.String())
	}
	if len(w.kept[len(w.kept)-1]) != maxLogLine || cap(w.buf) > 2*maxLogLine {
		t.Errorf("a line of %d bytes, a buffer of %d", len(w.kept[len(w.kept)-1]), cap(w.buf))
	}
}

func TestLimitListener(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &limitListener{Listener: inner, slots: make(chan struct{}, 1)}
	accepted := make(chan net.Conn)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				close(accepted)
				return
			}
			accepted <- c
		}
	}()
	dial := func() {
		t.Helper()
		c, err := net.Dial("tcp", inner.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
	}
	dial()
	dial()
	first := <-accepted
	select {
	case <-accepted:
		t.Fatal("two connections with one slot")
	default:
	}
	first.Close()
	first.Close() // gives one slot back, not two
	second := <-accepted
	if len(l.slots) != 1 {
		t.Errorf("%d slots taken", len(l.slots))
	}
	second.Close()
	inner.Close()
}
