package ctlogtest

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// pause waits, and reports false if ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// instead returns the answer of a fault that keeps the log from being asked.
func (l *Log) instead(w http.ResponseWriter, r *http.Request, d drawn) (answer, bool) {
	if f, ok := d[Status]; ok {
		in := f.RetryIn
		if in == 0 {
			in = time.Second
		}
		if v := retryAfter(f.RetryAfter, l.o.Now(), in); v != "" {
			w.Header().Set("Retry-After", v)
		}
		code := f.status(http.StatusServiceUnavailable)
		return text(code, "demanded: "+http.StatusText(code)), true
	}
	if f, ok := d[Redirect]; ok {
		to := f.Location
		if to == "" {
			q := r.URL.Query()
			q.Set("redirected", "1")
			path, _, _ := strings.Cut(r.RequestURI, "?")
			to = path + "?" + q.Encode()
		}
		w.Header().Set("Location", to)
		return text(f.status(http.StatusFound), "moved"), true
	}
	if f, ok := d[HTML]; ok {
		page := "<!DOCTYPE html>\n<html><head><title>Just a moment...</title></head><body><h1>Checking your browser</h1></body></html>\n"
		return answer{status: f.status(200), ctype: "text/html; charset=utf-8", body: [][]byte{[]byte(page)}}, true
	}
	_, missing := d[Missing]
	_, noIssuer := d[MissingIssuer]
	if missing || noIssuer {
		return text(http.StatusNotFound, "404 page not found"), true
	}
	return answer{}, false
}

// send writes an answer with the faults of transport that were drawn. It
// returns the status, 0 if the body did not go out whole and sound, and the
// body's bytes.
func (l *Log) send(w http.ResponseWriter, r *http.Request, a answer, d drawn) (status int, n int64) {
	h := w.Header()
	h.Set("Content-Type", a.ctype)
	if a.cache != "" {
		h.Set("Cache-Control", a.cache)
	}
	if f, ok := d[GzipBomb]; ok {
		h.Set("Content-Encoding", "gzip")
		w.WriteHeader(a.status)
		return broken(sendBomb(w, r.Context(), f.n(10<<30)))
	}
	if f, ok := d[EndlessBody]; ok {
		w.WriteHeader(a.status)
		return broken(sendEndless(w, r.Context(), a, f.n(1<<62)))
	}
	size := 0
	for _, p := range a.body {
		size += len(p)
	}
	spoilt := false
	if _, ok := d[TruncatedGzip]; ok {
		whole := bytes.Join(a.body, nil)
		if !a.gzip {
			whole = gzipped(whole, gzip.BestSpeed)
		}
		a.gzip, spoilt = true, true
		a.body, size = [][]byte{whole[:len(whole)/2]}, len(whole)/2
	}
	if _, ok := d[BadJSON]; ok {
		whole := bytes.Join(a.body, nil)
		a.body, size, spoilt = [][]byte{whole[:len(whole)/2]}, len(whole)/2, true
	}
	if spoilt {
		defer func() { status = 0 }()
	}
	if a.gzip {
		h.Set("Content-Encoding", "gzip")
	}
	h.Set("Content-Length", strconv.Itoa(size))
	w.WriteHeader(a.status)
	if r.Method == http.MethodHead {
		return a.status, 0
	}
	if f, ok := d[Reset]; ok {
		n, _ := w.Write(bytes.Join(a.body, nil)[:min(f.n(0), int64(size))])
		reset(w)
		return 0, int64(n)
	}
	if f, ok := d[SlowBody]; ok {
		n, err := sendSlowly(w, r.Context(), bytes.Join(a.body, nil), int(f.n(1)), f.delay(time.Second))
		if err != nil {
			return 0, n
		}
		return a.status, n
	}
	sent := int64(0)
	for _, p := range a.body {
		n, err := w.Write(p)
		sent += int64(n)
		if err != nil {
			return 0, sent
		}
	}
	return a.status, sent
}

func broken(n int64) (int, int64) { return 0, n }

// hangUp resets the connection before anything was sent.
func hangUp(w http.ResponseWriter) {
	if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
		if t, ok := conn.(*net.TCPConn); ok {
			t.SetLinger(0)
		}
		conn.Close()
		return
	}
	panic(http.ErrAbortHandler)
}

// reset ends the connection so that the client sees a reset, not an end.
func reset(w http.ResponseWriter) {
	c := http.NewResponseController(w)
	c.Flush()
	if conn, _, err := c.Hijack(); err == nil {
		if t, ok := conn.(*net.TCPConn); ok {
			t.SetLinger(0)
		}
		conn.Close()
		return
	}
	panic(http.ErrAbortHandler) // HTTP/2, or no connection at all
}

func sendSlowly(w http.ResponseWriter, ctx context.Context, b []byte, n int, every time.Duration) (int64, error) {
	c := http.NewResponseController(w)
	sent := int64(0)
	for len(b) > 0 {
		k, err := w.Write(b[:min(n, len(b))])
		sent += int64(k)
		if err != nil {
			return sent, err
		}
		b = b[k:]
		c.Flush()
		if len(b) > 0 && !pause(ctx, every) {
			return sent, ctx.Err()
		}
	}
	return sent, nil
}

// sendEndless begins as the true answer does and then goes on with its last
// part, so that a reader who parses as he reads has no reason to stop.
func sendEndless(w io.Writer, ctx context.Context, a answer, limit int64) int64 {
	sent := int64(0)
	put := func(b []byte) bool {
		n, err := w.Write(b[:min(int64(len(b)), limit-sent)])
		sent += int64(n)
		return err == nil && sent < limit && ctx.Err() == nil
	}
	again := bytes.Repeat([]byte{'0'}, 64<<10)
	for i, p := range a.body {
		if i == len(a.body)-1 && len(a.body) > 1 {
			break // what would close the answer
		}
		if !put(p) {
			return sent
		}
		if i > 0 {
			again = append(append([]byte(nil), p...), ',')
		}
	}
	if len(a.body) > 1 && !put([]byte{','}) {
		return sent
	}
	for put(again) {
	}
	return sent
}

// bombPart is a gzip member that unfolds to 16 MiB of zeros; a body of many
// members is one gzip stream (RFC 1952 section 2.2).
var bombPart = sync.OnceValue(func() []byte { return gzipped(make([]byte, 16<<20), gzip.BestCompression) })

func sendBomb(w io.Writer, ctx context.Context, unfolded int64) int64 {
	sent := int64(0)
	for left := unfolded; left > 0 && ctx.Err() == nil; left -= 16 << 20 {
		n, err := w.Write(bombPart())
		sent += int64(n)
		if err != nil {
			break
		}
	}
	return sent
}

func gzipped(b []byte, level int) []byte {
	var out bytes.Buffer
	z, err := gzip.NewWriterLevel(&out, level)
	if err != nil {
		panic(fmt.Sprintf("ctlogtest: gzip level %d", level)) // a constant of this package
	}
	z.Write(b)
	z.Close()
	return out.Bytes()
}
