package ctlog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestUserAgentNeedsContact(t *testing.T) {
	l := newFakeLog(t, 1, false)
	info := Info{Key: l.spki, URL: "https://log.test.local/"}
	for ua, ok := range map[string]bool{
		"": false, "ctappliance/1.0": false, "Go-http-client/1.1": false,
		"x (+https://)": false, "x (user@localhost)": false, "x @": false,
		"x (ops@example.com)": false, "x (+https://WWW.Example.COM/bot)": false,
		"x (http://corp.net)":         false,
		"x (ops@corp.net)":            true,
		"x (+https://corp.net/ct)":    true,
		"x (+HTTPS://corp.net/ct)":    true,
		"x/1 (mailto:a.b+c@d-e.co)":   true,
		"x (ops@corp.net)\r\nHost: y": false, "x (ops@corp.net) \x00": false, "ü (ops@corp.net)": false,
	} {
		_, err := New(info, Options{UserAgent: ua})
		if (err == nil) != ok {
			t.Errorf("%q: %v", ua, err)
		}
		if err != nil && !strings.ContainsAny(ua, "\r\x00ü") && !errors.Is(err, ErrNoContact) {
			t.Errorf("%q: %v, want ErrNoContact", ua, err)
		}
	}
}

func TestURLs(t *testing.T) {
	l := newFakeLog(t, 1, false)
	for raw, want := range map[string]string{
		"https://log.test.local/2027":   "https://log.test.local/2027/",
		"https://log.test.local/2027//": "https://log.test.local/2027//",
		"https://log.test.local":        "https://log.test.local/",
		"http://127.0.0.1:8080/log":     "http://127.0.0.1:8080/log/",
		"http://[::1]:8080":             "http://[::1]:8080/",
		"http://localhost/":             "http://localhost/",
		"http://log.test.local/":        "",
		"http://10.0.0.1/":              "",
		"ftp://log.test.local/":         "",
		"file:///etc/passwd":            "",
		"log.test.local/2027":           "",
		"https://user:pw@log.test/":     "",
		"https://log.test/?a=b":         "",
		"https://log.test/?":            "",
		"https://log.test/#x":           "",
		"https://:443/":                 "",
		"https://log.test/\x7f":         "",
		"":                              "",
	} {
		c, err := New(Info{Key: l.spki, URL: raw}, Options{UserAgent: testUA})
		if want == "" {
			if err == nil {
				t.Errorf("%s: accepted", raw)
			} else if strings.Contains(err.Error(), "pw") {
				t.Errorf("%s: the error tells the password: %v", raw, err)
			}
			continue
		}
		if err != nil || c.Info().URL != want {
			t.Errorf("%s: %v, want %s", raw, err, want)
		}
	}
	if _, err := New(Info{Key: l.spki, URL: "http://log.test.local/"}, Options{UserAgent: testUA, AllowHTTP: true}); err != nil {
		t.Error(err)
	}
}

func TestPublicAddresses(t *testing.T) {
	for addr, public := range map[string]bool{
		"8.8.8.8": true, "172.64.0.1": true, "2606:4700::1111": true, "::ffff:8.8.8.8": true, "64:ff9b::808:808": true, "2002:808:808::1": true,
		"127.0.0.1": false, "127.9.9.9": false, "::1": false, "0.0.0.0": false, "::": false, "0.1.2.3": false,
		"10.0.0.1": false, "172.16.0.1": false, "192.168.1.1": false, "fd00:ec2::254": false, "fc00::1": false,
		"169.254.169.254": false, "fe80::1": false, "fe80::1%eth0": false, "100.100.100.200": false,
		"224.0.0.1": false, "ff02::1": false, "255.255.255.255": false, "240.0.0.1": false, "192.0.0.192": false,
		"::ffff:127.0.0.1": false, "::ffff:100.64.0.1": false, "::ffff:169.254.169.254": false, "::127.0.0.1": false, "64:ff9b::a9fe:a9fe": false, "64:ff9b:1::808:808": false,
		"2002:7f00:1::1": false, "198.18.0.1": false, "2001:db8::1": false, "fec0::1": false,
	} {
		err := checkAddress(netip.AddrPortFrom(netip.MustParseAddr(addr), 443).String())
		if (err == nil) != public {
			t.Errorf("%s: %v", addr, err)
		}
		if err != nil && !errors.Is(err, ErrPrivateAddress) {
			t.Errorf("%s: %v, want ErrPrivateAddress", addr, err)
		}
	}
}

func TestPrivateAddressIsRefused(t *testing.T) {
	l := newFakeLog(t, 1, false)
	p := &recorder{}
	c := l.open(t, RFC6962, Options{Transport: NewTransport(false, true), Pacer: p})
	if _, err := c.Head(t.Context()); !errors.Is(err, ErrPrivateAddress) {
		t.Errorf("%v, want ErrPrivateAddress", err)
	}
	if len(l.seen()) != 0 {
		t.Error("the log was asked")
	}
	if o, n := p.last(); n != 1 || o.Err == nil || o.Status != 0 {
		t.Errorf("outcome %+v (%d)", o, n)
	}
}

func TestRequestHeaders(t *testing.T) {
	l := newFakeLog(t, 300, true)
	gzips := Options{GzipEntries: true}
	for _, c := range []struct {
		name string
		do   func() error
		want string
	}{
		{"get-sth", func() error { _, err := l.open(t, RFC6962, Options{}).Head(t.Context()); return err }, "identity"},
		{"get-entries", func() error { _, err := l.open(t, RFC6962, Options{}).Entries(t.Context(), 0, 1, 1); return err }, "identity"},
		{"get-entries gzip", func() error { _, err := l.open(t, RFC6962, gzips).Entries(t.Context(), 0, 1, 1); return err }, "gzip, identity"},
		{"tile", func() error { _, err := l.open(t, Static, Options{}).Entries(t.Context(), 0, 256, 300); return err }, "gzip, identity"},
	} {
		l.seen()
		if err := c.do(); err != nil {
			t.Fatal(err)
		}
		l.mu.Lock()
		h := l.headers[0]
		l.mu.Unlock()
		if got := h.Values("Accept-Encoding"); len(got) != 1 || got[0] != c.want {
			t.Errorf("%s: Accept-Encoding %q, want %q", c.name, got, c.want)
		}
		if got := h.Get("User-Agent"); got != testUA {
			t.Errorf("%s: User-Agent %q", c.name, got)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 22, 20, 3, 0, 0, time.UTC)
	for _, c := range []struct {
		value, date string
		want        time.Duration
	}{
		{"", "", 0},
		{"7", "", 7 * time.Second},
		{" 7 ", "", 7 * time.Second},
		{"0", "", minRetryAfter},
		{"86400", "", maxRetryAfter},
		{"99999999999999999999", "", maxRetryAfter},
		{"-3", "", 0},
		{"1.5", "", 0},
		{"soon", "", 0},
		{"Sun, 22 Nov 2026 20:03:18 GMT", "", 18 * time.Second},
		{"Sunday, 22-Nov-26 20:03:18 GMT", "", 18 * time.Second},
		{"Sun Nov 22 20:03:18 2026", "", 18 * time.Second},
		{"Sun, 22 Nov 2026 20:03:18 UTC", "", 18 * time.Second}, // http.ParseTime refuses it
		{"Sun, 22 Nov 2026 20:03:00 UTC", "", minRetryAfter},
		{"Sun, 22 Nov 2020 20:03:00 GMT", "", minRetryAfter},
		{"Sun, 22 Nov 2099 20:03:00 GMT", "", maxRetryAfter},
		// Our clock is two hours behind theirs.
		{"Sun, 22 Nov 2026 22:03:18 GMT", "Sun, 22 Nov 2026 22:03:00 GMT", 18 * time.Second},
	} {
		h := http.Header{}
		if c.value != "" {
			h.Set("Retry-After", c.value)
		}
		if c.date != "" {
			h.Set("Date", c.date)
		}
		if got := parseRetryAfter(h, now); got != c.want {
			t.Errorf("%q: %v, want %v", c.value, got, c.want)
		}
	}
}

func TestStatuses(t *testing.T) {
	l := newFakeLog(t, 10, false)
	p := &recorder{}
	c := l.open(t, RFC6962, Options{Pacer: p})
	l.set("ct/v1/get-sth", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", "12")
		w.WriteHeader(http.StatusTooManyRequests)
		fmt.Fprint(w, "slow down \x1b[31m\u202e"+strings.Repeat("é\x00", 5000))
	})
	_, err := c.Head(t.Context())
	s, ok := errors.AsType[*StatusError](err)
	if !ok || s.Code != 429 || s.RetryAfter != 12*time.Second {
		t.Fatalf("%v (%+v)", err, s)
	}
	if len(s.Excerpt) > maxExcerpt || !strings.HasPrefix(s.Excerpt, `"slow down \x1b[31m\u202e`) || !strings.HasSuffix(s.Excerpt, `"`) {
		t.Errorf("excerpt %s has %d bytes", s.Excerpt, len(s.Excerpt))
	}
	for _, r := range err.Error() {
		if r < ' ' || r > '~' {
			t.Fatalf("the error holds %U", r)
		}
	}
	o, n := p.last()
	if n != 1 || o.Status != 429 || o.RetryAfter != 12*time.Second || o.Err != nil || o.Latency <= 0 {
		t.Errorf("outcome %+v (%d)", o, n)
	}

	// A redirect is an answer, not a way.
	followed := false
	l.set("elsewhere", func(http.ResponseWriter, *http.Request) { followed = true })
	l.set("ct/v1/get-sth", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(http.StatusFound)
	})
	_, err = c.Head(t.Context())
	if s, ok := errors.AsType[*StatusError](err); !ok || s.Code != 302 || !strings.Contains(err.Error(), `"/elsewhere"; redirects are not followed`) {
		t.Errorf("redirect: %v", err)
	}
	if followed {
		t.Error("the redirect was followed")
	}
	for _, code := range []int{204, 206, 404, 500, 503} {
		l.set("ct/v1/get-sth", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(code) })
		_, err = c.Head(t.Context())
		if s, ok := errors.AsType[*StatusError](err); !ok || s.Code != code {
			t.Errorf("%d: %v", code, err)
		}
	}
}

func TestPageWithStatus200(t *testing.T) {
	l := newFakeLog(t, 300, true)
	page := func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "<!DOCTYPE html>\n<h1>502 Bad Gateway</h1>")
	}
	for _, path := range []string{"ct/v1/get-sth", "ct/v1/get-entries", "ct/v1/get-entry-and-proof", "ct/v1/get-sth-consistency", "checkpoint", "tile/data/000", "tile/1/000.p/1"} {
		l.set(path, page)
	}
	p := &recorder{}
	rfc, static := l.open(t, RFC6962, Options{Pacer: p}), l.open(t, Static, Options{Pacer: p})
	head := &Head{Size: 300, Root: mth(l.hashes)}
	for i, do := range []func() error{
		func() error { _, err := rfc.Head(t.Context()); return err },
		func() error { _, err := rfc.Entries(t.Context(), 0, 5, 300); return err },
		func() error { _, err := rfc.Frontier(t.Context(), 300, head); return err },
		func() error { _, err := static.Head(t.Context()); return err },
		func() error { _, err := static.Entries(t.Context(), 0, 256, 300); return err },
		func() error { _, err := static.Frontier(t.Context(), 256, head); return err },
	} {
		err := do()
		a, ok := errors.AsType[*AnswerError](err)
		if !ok {
			t.Errorf("%d: %v, want an *AnswerError", i, err)
			continue
		}
		o, _ := p.last()
		if o.Err != error(a) || o.Status != 200 {
			t.Errorf("%d: the pacer heard %+v", i, o)
		}
	}
}

func TestBodyLimit(t *testing.T) {
	l := newFakeLog(t, 256, true)
	const limit = 1 << 20
	p := &recorder{}
	rfc := l.open(t, RFC6962, Options{MaxBody: limit, Pacer: p})
	static := l.open(t, Static, Options{MaxBody: limit, Pacer: p})
	bomb := gz(make([]byte, 48<<20))
	sent := make(chan int64, 100)
	for name, h := range map[string]http.HandlerFunc{
		"endless": func(w http.ResponseWriter, r *http.Request) {
			var n int64
			for b := make([]byte, 1<<16); n < 1<<30; n += int64(len(b)) {
				if _, err := w.Write(b); err != nil {
					break
				}
			}
			sent <- n
		},
		"declared": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "9000000000000000000")
			w.WriteHeader(200)
		},
		"gzip bomb": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			w.Write(bomb)
		},
	} {
		for _, path := range []string{"ct/v1/get-sth", "ct/v1/get-entries", "ct/v1/get-entry-and-proof", "checkpoint", "tile/data/000", "tile/1/000.p/1", "issuer/" + strings.Repeat("00", 32)} {
			l.set(path, h)
		}
		head := &Head{Size: 256, Root: mth(l.hashes)}
		for i, do := range []func() error{
			func() error { _, err := rfc.Head(t.Context()); return err },
			func() error { _, err := rfc.Entries(t.Context(), 0, 1, 256); return err },
			func() error { _, err := rfc.Frontier(t.Context(), 256, head); return err },
			func() error { _, err := static.Head(t.Context()); return err },
			func() error { _, err := static.Entries(t.Context(), 0, 256, 256); return err },
			func() error { _, err := static.Frontier(t.Context(), 256, head); return err },
			func() error { _, err := static.Issuer(t.Context(), Hash{}); return err },
		} {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			err := do()
			runtime.ReadMemStats(&after)
			if !errors.Is(err, ErrTooLarge) {
				t.Errorf("%s, %d: %v, want ErrTooLarge", name, i, err)
			}
			// Everything allocated meanwhile, the server's side included.
			if n := after.TotalAlloc - before.TotalAlloc; n > 16<<20 {
				t.Errorf("%s, %d: allocated %d bytes", name, i, n)
			}
			if o, _ := p.last(); o.Bytes > limit+1 || o.Status != 200 || o.Err != nil {
				t.Errorf("%s, %d: outcome %+v", name, i, o)
			}
		}
	}
	close(sent)
	for n := range sent {
		if n > 100<<20 {
			t.Errorf("%d bytes of an endless answer were taken", n)
		}
	}
}

func TestDamagedBodies(t *testing.T) {
	l := newFakeLog(t, 256, true)
	p := &recorder{}
	c := l.open(t, Static, Options{Pacer: p})
	tile := gz(l.dataTile(0, 256))
	flipped := bytes.Clone(tile)
	flipped[len(flipped)/2] ^= 0x10
	for name, h := range map[string]http.HandlerFunc{
		"gzip cut":     func(w http.ResponseWriter, r *http.Request) { gzipped(w, tile[:len(tile)-9]) },
		"gzip damaged": func(w http.ResponseWriter, r *http.Request) { gzipped(w, flipped) },
		"gzip and more": func(w http.ResponseWriter, r *http.Request) {
			gzipped(w, append(tile[:len(tile):len(tile)], "junk"...))
		},
		"not gzip":       func(w http.ResponseWriter, r *http.Request) { gzipped(w, l.dataTile(0, 256)) },
		"other encoding": func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Content-Encoding", "br"); w.Write(tile) },
		"gzip twice said": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", "gzip, gzip")
			w.Write(tile)
		},
	} {
		l.set("tile/data/000", h)
		_, err := c.Entries(t.Context(), 0, 256, 256)
		if _, ok := errors.AsType[*AnswerError](err); !ok {
			t.Errorf("%s: %v, want an *AnswerError", name, err)
		}
	}
	// Fewer bytes than declared is a broken connection.
	l.set("tile/data/000", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(len(tile)))
		w.Write(tile[:100])
	})
	if _, err := c.Entries(t.Context(), 0, 256, 256); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%v, want ErrUnexpectedEOF", err)
	}
	if o, _ := p.last(); o.Err == nil || o.Bytes != 100 {
		t.Errorf("outcome %+v", o)
	}
}

func gzipped(w http.ResponseWriter, b []byte) {
	w.Header().Set("Content-Encoding", "gzip")
	w.Write(b)
}

// slowTransport answers at once, with a body that trickles a byte a second for ever.
type slowTransport struct{}

type slowBody struct{ ctx context.Context }

func (b slowBody) Read(p []byte) (int, error) {
	select {
	case <-b.ctx.Done():
		return 0, b.ctx.Err()
	case <-time.After(time.Second):
		p[0] = ' '
		return 1, nil
	}
}

func (slowBody) Close() error { return nil }

func (slowTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: 200, Header: http.Header{}, Body: slowBody{r.Context()}, ContentLength: -1, Request: r}, nil
}

// slowPacer takes an hour to give a slot.
type slowPacer struct{ recorder }

func (p *slowPacer) Acquire(ctx context.Context, c Class) (Ticket, error) {
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(time.Hour):
		return p.recorder.Acquire(ctx, c)
	}
}

func TestSlowBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newFakeLog(t, 1, false)
		p := &slowPacer{}
		c, err := New(Info{Key: l.spki, URL: "https://log.test.local/"}, Options{UserAgent: testUA, Pacer: p, Transport: slowTransport{}, Timeout: 10 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		_, err = c.Head(t.Context())
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v, want DeadlineExceeded", err)
		}
		// The hour before the request is not counted against it.
		if took := time.Since(start); took < time.Hour+9*time.Second || took > time.Hour+11*time.Second {
			t.Errorf("took %v", took)
		}
		if o, n := p.last(); n != 1 || !errors.Is(o.Err, context.DeadlineExceeded) || o.Status != 200 || o.Latency < 9*time.Second || o.Latency > 11*time.Second {
			t.Errorf("outcome %+v (%d)", o, n)
		}

		// The caller's context ends it too: in the body, and in the queue, where
		// there is nothing to report.
		for _, after := range []time.Duration{time.Hour + 3*time.Second, time.Minute} {
			_, before := p.last()
			ctx, cancel := context.WithTimeout(t.Context(), after)
			start = time.Now()
			if _, err = c.Head(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%v, want DeadlineExceeded", err)
			}
			cancel()
			if took := time.Since(start); took > after+time.Second {
				t.Errorf("took %v", took)
			}
			want := 1
			if after < time.Hour {
				want = 0
			}
			if _, n := p.last(); n != before+want {
				t.Errorf("%d outcomes after %v, want %d", n-before, after, want)
			}
		}
	})
}

func TestDeclaredLengthIsNotTrusted(t *testing.T) {
	b, err := readBody(nil, strings.NewReader("short"), 60<<20, 64<<20)
	if err != nil || string(b) != "short" || cap(b) > 8<<20 {
		t.Errorf("%d bytes of capacity for %q, %v", cap(b), b, err)
	}
}

// TestGzipHintIsNotTrusted: the plain size that a gzip body names is a
// stranger's word, and costs no memory.
func TestGzipHintIsNotTrusted(t *testing.T) {
	body := gz([]byte("hello"))
	copy(body[len(body)-4:], []byte{0, 0, 0, 0x3f}) // a gigabyte
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if got, err := gunzip(nil, body, 1<<30); err == nil {
		t.Errorf("%d bytes of a body whose size is wrong", len(got))
	}
	runtime.ReadMemStats(&after)
	if took := after.TotalAlloc - before.TotalAlloc; took > 8<<20 {
		t.Errorf("a body of %d bytes took %d", len(body), took)
	}
}

// TestLogIDIsItsKey: an ID that is not the hash of the key names another log.
func TestLogIDIsItsKey(t *testing.T) {
	l := newFakeLog(t, 1, false)
	info := Info{Key: l.spki, URL: "https://log.test.local/"}
	c, err := New(info, Options{UserAgent: testUA})
	if err != nil {
		t.Fatal(err)
	}
	info.ID = c.Info().ID
	if _, err := New(info, Options{UserAgent: testUA}); err != nil {
		t.Error(err)
	}
	info.ID[7] ^= 1
	if _, err := New(info, Options{UserAgent: testUA}); err == nil || !strings.Contains(err.Error(), "is not the SHA-256 of its key") {
		t.Errorf("another log's ID: %v", err)
	}
}

// TestPageIsCalledOne: what a gateway sends with status 200 is called a page,
// whatever was asked for, so that nobody looks for a fault of the log.
func TestPageIsCalledOne(t *testing.T) {
	page := []byte(" \r\n<!DOCTYPE html><title>Just a moment</title>")
	var v struct{}
	_, _, tile := decodeTile(0, page, false, 1<<20, nil)
	_, checkpoint := parseCheckpoint(page, "log.test", Hash{}, nil)
	_, entries := decodePairs(page, 10)
	for what, err := range map[string]error{"JSON": decodeJSON("get-sth", page, &v), "tile": tile, "checkpoint": checkpoint, "entries": entries} {
		if bad, ok := errors.AsType[*AnswerError](err); !ok || !strings.Contains(bad.Reason, "a page instead of") || bad.Excerpt == "" {
			t.Errorf("%s: %v", what, err)
		}
	}
}
