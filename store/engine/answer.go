package engine

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/ClickHouse/ch-go/compress"
)

// answer writes a result: the status line goes out with the first piece, so
// that a statement that fails before it has its own.
type answer struct {
	w      http.ResponseWriter
	req    *request
	format string
	trans  *transcoder
	comp   *compress.Writer
	begun  bool
	tag    string
}

func (a *answer) begin() {
	if a.begun {
		return
	}
	a.begun = true
	a.tag = rand.Text()[:16]
	h := a.w.Header()
	h.Set("X-ClickHouse-Format", a.format)
	h.Set("X-ClickHouse-Timezone", "UTC")
	h.Set("X-ClickHouse-Exception-Tag", a.tag)
	h.Set("Content-Type", contentType(a.format))
	a.w.WriteHeader(http.StatusOK)
}

func contentType(format string) string {
	f := strings.ToLower(format)
	switch {
	case strings.HasSuffix(f, "eachrow") || f == "ndjson" || f == "jsonlines":
		return "application/x-ndjson; charset=UTF-8"
	case strings.HasPrefix(f, "json"):
		return "application/json; charset=UTF-8"
	case strings.HasPrefix(f, "csv"):
		return "text/csv; charset=UTF-8"
	case strings.HasPrefix(f, "tab") || strings.HasPrefix(f, "tsv"):
		return "text/tab-separated-values; charset=UTF-8"
	case f == "native" || f == "rowbinary" || f == "parquet" || f == "arrow" || f == "arrowstream":
		return "application/octet-stream"
	}
	return "text/plain; charset=UTF-8"
}

func (a *answer) write(p []byte) error {
	if len(p) == 0 {
		return nil
	}
	if a.trans != nil {
		var err error
		if p, err = a.trans.blocks(p); err != nil {
			return err
		}
	}
	a.begin()
	// A client that does not read would hold a connection and a slot.
	http.NewResponseController(a.w).SetWriteDeadline(time.Now().Add(writeTimeout))
	if !a.req.compress {
		_, err := a.w.Write(p)
		return err
	}
	if a.comp == nil {
		m := compress.LZ4
		if strings.EqualFold(a.req.q.Get("network_compression_method"), "ZSTD") {
			m = compress.ZSTD
		}
		a.comp = compress.NewWriter(compress.LevelZero, m)
	}
	for len(p) > 0 {
		n := min(len(p), 1<<20)
		if err := a.comp.Compress(p[:n]); err != nil {
			return err
		}
		if _, err := a.w.Write(a.comp.Data); err != nil {
			return err
		}
		p = p[n:]
	}
	return nil
}

// finish ends an answer, well or badly.
func (f *face) finish(a *answer, err error) {
	if err == nil {
		if !a.begun {
			a.w.Header().Set("X-ClickHouse-Format", a.format)
			a.w.Header().Set("Content-Length", "0")
			a.w.WriteHeader(http.StatusOK)
		}
		return
	}
	if !a.begun {
		f.fail(a.w, a.req, 0, err)
		return
	}
	// The status is out; the protocol's way to say so is a framed message at
	// the end of the body.
	msg := asException(err).Text
	if len(msg) > 16<<10-256 {
		msg = msg[:16<<10-256]
	}
	fmt.Fprintf(a.w, "\r\n__exception__\r\n%s\r\n%s\n%d %s\r\n__exception__\r\n", a.tag, msg, len(msg)+1, a.tag)
}

func asException(err error) *Exception {
	if e, ok := errors.AsType[*Exception](err); ok {
		return e
	}
	return exceptionf(codeUnknown, "UNKNOWN_EXCEPTION", "%v", err)
}

// fail answers with an error; status 0 means that the code decides.
func (f *face) fail(w http.ResponseWriter, req *request, status int, err error) {
	e := asException(err)
	if status == 0 {
		status = statusOf(e.Code)
	}
	h := w.Header()
	h.Set("X-ClickHouse-Exception-Code", strconv.Itoa(e.Code))
	h.Set("Content-Type", "text/plain; charset=UTF-8")
	h.Del("Content-Length")
	h.Del("X-ClickHouse-Summary")
	if status == http.StatusForbidden || status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", `Basic realm="ClickHouse server HTTP API"`)
	}
	w.WriteHeader(status)
	io.WriteString(w, e.Text+"\n")
}

// statusOf is the server's mapping of codes to HTTP.
func statusOf(code int) int {
	switch code {
	case 194: // REQUIRED_PASSWORD
		return http.StatusUnauthorized
	case codeAuthFailed, 192, 193, 511: // unknown user, wrong password, unknown role
		return http.StatusForbidden
	case 6, 26, 27, 36, 38, 41, 53, codeSyntax, 70, 72, 117, 130, 456, 457: // what does not parse
		return http.StatusBadRequest
	case 46, 47, 50, 56, 60, 63, codeUnknownFormat, 78, 81, 115, 336: // what is unknown
		return http.StatusNotFound
	case codeTooBig, 158, 289: // too many bytes, too many rows
		return http.StatusInternalServerError
	case codeHTTPLengthRequired:
		return http.StatusLengthRequired
	case codeUnsupported:
		return http.StatusNotImplemented
	case codeTimeout:
		return http.StatusRequestTimeout
	}
	return http.StatusInternalServerError
}
