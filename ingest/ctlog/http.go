package ctlog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/textproto"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"ctappliance/ingest/inflate"
)

// Limits and defaults of requests.
const (
	defaultMaxBody = 64 << 20
	maxMaxBody     = 1 << 30
	defaultTimeout = 2 * time.Minute

	// Retry-After is honoured within these bounds. The lower one stands for
	// "now" and for a time that has passed, which real servers send.
	minRetryAfter = 250 * time.Millisecond
	maxRetryAfter = time.Hour
)

// client makes the requests of one log: each takes a slot from the pacer, is
// bounded in bytes and time, follows no redirect, and reports its outcome once.
type client struct {
	base    string // ends in "/"
	ua      string
	pacer   Pacer
	http    *http.Client
	timeout time.Duration
	maxBody int64 // of answers that hold entries
	once    bool  // a connection serves one request
}

// request says what to get and how much of it to accept.
type request struct {
	class  Class
	path   string // below base
	limit  int64  // bytes of body, after decompression
	accept string // Accept-Encoding
	raw    bool   // leave a gzip body compressed: decode does it
	url    string // absolute: where a redirect led, in place of base and path
	from   int64  // with n: the first byte wanted
	n      int64  // bytes of the file wanted; 0 = all of it
	reuse  bool   // decode keeps nothing of the body: its memory may be used again
}

// answer is the body of a 200.
type answer struct {
	body []byte
	gzip bool // body is gzip-compressed; only if request.raw

	// Of a byte range only.
	total int64  // bytes of the whole file
	tag   string // ETag or Last-Modified: the version that the range is of
	url   string // where it came from, if that is not where it was asked for
}

const (
	plainOnly   = "identity"
	gzipOrPlain = "gzip, identity"
)

// get makes one request and hands a 200's body to decode, whose error it
// returns. What decode finds to be no answer is reported to the pacer: a
// gateway's error page with status 200 is a failure of the server.
func (c *client) get(ctx context.Context, q request, decode func(*answer) error) error {
	ticket, err := c.pacer.Acquire(ctx, q.class)
	if err != nil {
		return fmt.Errorf("waiting for a request slot: %w", err)
	}
	var out Outcome
	defer func() { ticket.Done(out) }()

	// The wait for the slot is the pacer's; the clock starts here.
	rctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	start := time.Now()
	a, err := c.fetch(rctx, q, &out)
	out.Latency = time.Since(start)
	if err == nil {
		err = decode(a)
		if q.reuse && cap(a.body) <= maxReused {
			bodies.Put(&a.body)
		}
	}
	if out.Err == nil {
		if bad, ok := errors.AsType[*AnswerError](err); ok {
			out.Err = bad
		}
	}
	if err != nil {
		return fmt.Errorf("getting %s: %w", q.path, err)
	}
	return nil
}

// fetch sends the request and reads the body. It fills out but Latency.
func (c *client) fetch(ctx context.Context, q request, out *Outcome) (*answer, error) {
	target, want := c.base+q.path, http.StatusOK
	if q.url != "" {
		target = q.url
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		out.Err = err
		return nil, err
	}
	if q.n > 0 {
		want = http.StatusPartialContent
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", q.from, q.from+q.n-1))
	}
	req.Close = c.once
	req.Header.Set("User-Agent", c.ua)
	// Set by ourselves, so that the transport does not decompress behind our
	// back: limits, and the tile's bytes as received, depend on it.
	req.Header.Set("Accept-Encoding", q.accept)
	resp, err := c.http.Do(req)
	if err != nil {
		// url.Error repeats the whole URL; our caller names the path.
		if ue, ok := errors.AsType[*url.Error](err); ok {
			err = ue.Err
		}
		out.Err = err
		return nil, err
	}
	defer resp.Body.Close()
	out.Status = resp.StatusCode
	out.RetryAfter = parseRetryAfter(resp.Header, time.Now())
	if q.n > 0 && resp.StatusCode == http.StatusOK {
		return nil, answerErrorf("answer", "the server sends the whole file when it is asked for a part (Range); download the archive and read it as file:")
	}
	if resp.StatusCode != want {
		return nil, c.statusError(ctx, q.path, resp, out)
	}

	isGzip := false
	switch enc := strings.ToLower(strings.TrimSpace(strings.Join(resp.Header.Values("Content-Encoding"), ","))); enc {
	case "", "identity":
	case "gzip", "x-gzip":
		isGzip = true
	default:
		return nil, answerErrorf("answer", "content encoding %s was not asked for", quote(enc))
	}
	if resp.ContentLength > q.limit {
		return nil, fmt.Errorf("%w: %d bytes declared, limit %d", ErrTooLarge, resp.ContentLength, q.limit)
	}
	var buf []byte
	if q.reuse {
		if p, _ := bodies.Get().(*[]byte); p != nil {
			buf = *p
		}
	}
	body, err := readBody(buf, resp.Body, resp.ContentLength, q.limit)
	out.Bytes = int64(len(body))
	record(ctx, Answer{Path: q.path, Status: resp.StatusCode, Encoding: resp.Header.Get("Content-Encoding"), Body: body, Cut: err != nil})
	if errors.Is(err, ErrTooLarge) {
		return nil, err
	}
	if err != nil {
		out.Err = fmt.Errorf("reading body: %w", err)
		return nil, out.Err
	}
	if isGzip && !q.raw && q.n == 0 {
		if body, err = gunzip(nil, body, q.limit); err != nil {
			return nil, err
		}
		isGzip = false
	}
	if q.n > 0 {
		return rangeAnswer(q, resp, body, isGzip)
	}
	return &answer{body: body, gzip: isGzip}, nil
}

// statusError reads as much of a refusal as an error message needs.
func (c *client) statusError(ctx context.Context, path string, resp *http.Response, out *Outcome) error {
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 4*maxExcerpt))
	out.Bytes = int64(len(body))
	record(ctx, Answer{Path: path, Status: resp.StatusCode, Encoding: resp.Header.Get("Content-Encoding"), Body: body, Cut: len(body) == 4*maxExcerpt})
	if strings.EqualFold(resp.Header.Get("Content-Encoding"), "gzip") {
		body, _ = gunzip(nil, body, 4*maxExcerpt)
	}
	e := &StatusError{Code: resp.StatusCode, RetryAfter: out.RetryAfter, Excerpt: excerpt(body)}
	if resp.StatusCode/100 == 3 {
		e.Location = quote(resp.Header.Get("Location"))
	}
	return e
}

// bodies holds buffers of answers that have been decoded. A page of entries
// has a megabyte or more of base64, dead as soon as it is decoded.
var bodies sync.Pool

// maxReused is the capacity above which a buffer is left to the collector.
const maxReused = 8 << 20

// readBody reads at most limit bytes, into buf if it has the room. The length
// that the header declares is a stranger's word: it decides how much is
// allocated at once only up to a point.
func readBody(b []byte, r io.Reader, declared, limit int64) ([]byte, error) {
	const trust = 4 << 20
	if want := max(512, min(declared, limit, trust)+bytes.MinRead); want > int64(cap(b)) {
		b = make([]byte, 0, want)
	}
	buf := bytes.NewBuffer(b[:0])
	_, err := buf.ReadFrom(io.LimitReader(r, limit+1))
	if int64(buf.Len()) > limit {
		return nil, fmt.Errorf("%w: more than %d bytes", ErrTooLarge, limit)
	}
	return buf.Bytes(), err
}

// gunzip appends the decompressed body to dst, at most limit bytes of it.
func gunzip(dst, body []byte, limit int64) ([]byte, error) {
	plain, err := inflate.Gunzip(dst, body, limit)
	switch {
	case errors.Is(err, inflate.ErrLimit):
		return nil, fmt.Errorf("%w: more than %d bytes decompressed", ErrTooLarge, limit)
	case errors.Is(err, inflate.ErrHeader):
		return nil, answerErrorf("answer", "not gzip as its header says: %v", err)
	case err != nil:
		return nil, answerErrorf("answer", "gzip data is damaged: %v", err)
	}
	return plain, nil
}

// parseRetryAfter reads Retry-After as seconds, as an HTTP date, or as the date
// ending in "UTC" that Go servers write with time.RFC1123 and http.ParseTime
// refuses. Dates count from the answer's own Date, if it has one, so that a
// wrong clock does not matter. 0 means that there is none.
func parseRetryAfter(h http.Header, now time.Time) time.Duration {
	v := textproto.TrimString(h.Get("Retry-After"))
	if v == "" {
		return 0
	}
	if strings.Trim(v, "0123456789") == "" {
		s, err := strconv.ParseInt(v, 10, 64)
		if err != nil || s > int64(maxRetryAfter/time.Second) {
			return maxRetryAfter
		}
		return max(minRetryAfter, time.Duration(s)*time.Second)
	}
	at, err := http.ParseTime(v)
	if err != nil {
		if at, err = time.Parse(time.RFC1123, v); err != nil {
			return 0
		}
	}
	if date, err := http.ParseTime(h.Get("Date")); err == nil {
		now = date
	}
	return min(max(at.Sub(now), minRetryAfter), maxRetryAfter)
}
