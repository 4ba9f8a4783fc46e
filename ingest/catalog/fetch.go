package catalog

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Bounds of what a source may send. Chrome's list has 40 kB, its signature 512
// bytes.
const (
	maxList      = 4 << 20
	maxSig       = 64 << 10
	maxETag      = 256
	maxRedirects = 3
	askTimeout   = time.Minute // of one request, to the last byte
)

// newClient follows redirects within a host and nowhere else: who answers for
// a list is configured, not found out on the way.
func newClient(t http.RoundTripper) *http.Client {
	return &http.Client{
		Transport: t,
		CheckRedirect: func(req *http.Request, via []*http.Request) error {
			first := via[0].URL
			if req.URL.Host != first.Host || req.URL.Scheme != first.Scheme {
				return fmt.Errorf("it redirects to %s; other hosts are not followed: if the list has moved, configure its new URL", quote(req.URL.Scheme+"://"+req.URL.Host))
			}
			if len(via) > maxRedirects {
				return fmt.Errorf("more than %d redirects", maxRedirects)
			}
			return nil
		},
	}
}

// errNotModified is the answer of a source whose list is still that of the
// ETag.
var errNotModified = errors.New("not modified")

// fetch gets what lies at raw, at most limit bytes of it. If the source still
// has what it gave with etag (which may be empty) the error is errNotModified.
func (c *Catalog) fetch(ctx context.Context, s *source, raw string, limit int64, etag string) (body []byte, newTag string, err error) {
	p, err := s.place(raw, c.o.AllowPrivate)
	if err != nil {
		return nil, "", err
	}
	if p.url == nil {
		body, err = readFile(p.path, limit)
		return body, "", err
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url.String(), nil)
	if err != nil {
		return nil, "", err
	}
	if c.o.UserAgent != "" {
		req.Header.Set("User-Agent", c.o.UserAgent)
	}
	// Set by ourselves, so that the transport does not inflate behind the limit.
	req.Header.Set("Accept-Encoding", "identity")
	if etag != "" {
		req.Header.Set("If-None-Match", etag)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		if ue, ok := errors.AsType[*url.Error](err); ok {
			err = ue.Err // it repeats the URL
		}
		return nil, "", fmt.Errorf("getting %s: %w", p.url.Redacted(), err)
	}
	defer resp.Body.Close()
	body, err = readAnswer(resp, limit, etag != "")
	if err == errNotModified {
		return nil, "", err
	}
	if err != nil {
		return nil, "", fmt.Errorf("getting %s: %w", p.url.Redacted(), err)
	}
	if newTag = resp.Header.Get("ETag"); len(newTag) > maxETag {
		newTag = ""
	}
	return body, newTag, nil
}

// readAnswer returns the body of a 200.
func readAnswer(resp *http.Response, limit int64, conditional bool) ([]byte, error) {
	if resp.StatusCode == http.StatusNotModified && conditional {
		return nil, errNotModified
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the answer has status %d", resp.StatusCode)
	}
	if resp.ContentLength > limit {
		return nil, fmt.Errorf("the answer declares %d bytes; %d is the most", resp.ContentLength, limit)
	}
	r := io.LimitReader(resp.Body, limit+1)
	switch enc := strings.ToLower(strings.TrimSpace(resp.Header.Get("Content-Encoding"))); enc {
	case "", "identity":
	case "gzip", "x-gzip": // not asked for; some stores have nothing else
		zr, err := gzip.NewReader(r)
		if err != nil {
			return nil, fmt.Errorf("the answer is not gzip as its header says: %w", err)
		}
		r = io.LimitReader(zr, limit+1)
	default:
		return nil, fmt.Errorf("the answer has the encoding %s, which was not asked for", quote(enc))
	}
	body, err := io.ReadAll(r)
	if int64(len(body)) > limit {
		return nil, fmt.Errorf("the answer has more than %d bytes", limit)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the answer: %w", err)
	}
	return body, nil
}
