package ctlog

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"strconv"
	"strings"
)

// getter answers requests for what a log publishes, by the paths of
// static-ct-api.
type getter interface {
	get(ctx context.Context, q request, decode func(*answer) error) error
}

// files is an archive: a resource that is not there is fs.ErrNotExist. A body
// that is gzip came packed.
type files interface {
	read(ctx context.Context, class Class, path string, limit int64) (body []byte, gzip bool, err error)
}

// archiveGetter answers from files.
type archiveGetter struct{ f files }

func (g *archiveGetter) get(ctx context.Context, q request, decode func(*answer) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	body, gz, err := g.f.read(ctx, q.class, q.path, q.limit)
	if err == nil {
		a := Answer{Path: q.path, Status: http.StatusOK, Body: body}
		if gz {
			a.Encoding = "gzip"
		}
		record(ctx, a)
	}
	if err == nil && gz && !q.raw {
		body, err = gunzip(nil, body, q.limit)
		gz = false
	}
	if err == nil {
		err = decode(&answer{body: body, gzip: gz})
	}
	if err != nil {
		return fmt.Errorf("reading %s%s: %w", q.path, placeOf(g.f, q.path), err)
	}
	return nil
}

// placeOf says in which file of the archive a resource should be: " in 003.zip".
func placeOf(f files, path string) string {
	switch f := f.(type) {
	case either:
		return placeOf(f.first, path)
	case *zipSet:
		if what, ok := parseResource(path); ok {
			if names := f.candidates(what); len(names) > 0 {
				return " in " + quote(names[0])
			}
		}
	}
	return ""
}

// either is two places where the files of one archive may be.
type either struct{ first, second files }

func (e either) read(ctx context.Context, class Class, path string, limit int64) ([]byte, bool, error) {
	body, gz, err := e.first.read(ctx, class, path, limit)
	if errors.Is(err, fs.ErrNotExist) {
		if body, gz, err2 := e.second.read(ctx, class, path, limit); err2 == nil {
			return body, gz, nil
		}
	}
	return body, gz, err
}

// rangeAnswer checks that an answer with status 206 is the range that was
// asked for (RFC 9110 section 14.4).
func rangeAnswer(q request, resp *http.Response, body []byte, packed bool) (*answer, error) {
	bad := func(format string, args ...any) (*answer, error) {
		return nil, answerErrorf("byte range", format, args...)
	}
	header := resp.Header.Get("Content-Range")
	from, to, total, ok := parseContentRange(header)
	switch {
	case packed:
		return bad("is compressed, which was not asked for")
	case !ok:
		return bad("Content-Range %s is not understood", quote(header))
	case from != q.from || to >= q.from+q.n || to-from+1 != int64(len(body)):
		return bad("is %s with %d bytes, asked for %d bytes from %d", quote(header), len(body), q.n, q.from)
	case int64(len(body)) != min(q.n, total-q.from):
		return bad("has %d bytes, want %d of a file of %d bytes", len(body), min(q.n, total-q.from), total)
	}
	a := &answer{body: body, total: total, tag: resp.Header.Get("ETag")}
	if a.tag == "" {
		a.tag = resp.Header.Get("Last-Modified")
	}
	if r := resp.Request; r != nil && r.Response != nil { // there was a redirect
		a.url = r.URL.String()
	} else {
		a.url = q.url
	}
	return a, nil
}

// parseContentRange reads "bytes 0-99/1234".
func parseContentRange(s string) (from, to, total int64, ok bool) {
	s, ok = strings.CutPrefix(s, "bytes ")
	span, all, ok2 := strings.Cut(s, "/")
	a, b, ok3 := strings.Cut(span, "-")
	var errs [3]error
	from, errs[0] = strconv.ParseInt(a, 10, 64)
	to, errs[1] = strconv.ParseInt(b, 10, 64)
	total, errs[2] = strconv.ParseInt(all, 10, 64)
	ok = ok && ok2 && ok3 && errors.Join(errs[:]...) == nil && 0 <= from && from <= to && to < total
	return from, to, total, ok
}

// maxRedirects bounds how often an archive may send us on. Archives move to
// where there is room for them; logs do not.
const maxRedirects = 4

// followRedirects is the rule for archives: to https only, and the transport
// sees to it that the address is a public one. What is read there is proven by
// the log's root, so that it does not matter who says it.
func followRedirects(allowHTTP bool) func(*http.Request, []*http.Request) error {
	return func(r *http.Request, via []*http.Request) error {
		if len(via) > maxRedirects {
			return fmt.Errorf("more than %d redirects", maxRedirects)
		}
		if r.URL.Scheme != "https" && !(r.URL.Scheme == "http" && via[0].URL.Scheme == "http" && (allowHTTP || isLoopbackName(r.URL.Hostname()))) {
			return fmt.Errorf("redirect to %s, which is not https", quote(r.URL.Redacted()))
		}
		return nil
	}
}
