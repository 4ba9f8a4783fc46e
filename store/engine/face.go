package engine

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/ClickHouse/ch-go/compress"
)

// limits of the HTTP face.
const (
	maxStatement  = 1 << 20   // bytes of SQL, URL and body together
	maxParams     = 1024      // URL parameters
	insertChunk   = 256 << 10 // bytes handed to the engine at a time
	maxQueryIDLen = 256
	writeTimeout  = time.Minute // for one piece of a result
)

// face answers ClickHouse's HTTP protocol.
type face struct {
	pool *pool
	log  *slog.Logger

	users map[string]user // by name

	maxInsert   int64         // bytes of an insert's body after decompression
	readTimeout time.Duration // longest pause between two reads of a body
	reader      readerLimits
}

type user struct {
	role role
	key  [sha256.Size]byte // SHA-256 of the password
}

func (f *face) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rc := http.NewResponseController(w)
	rc.SetWriteDeadline(time.Time{}) // of the request before on this connection
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if !loopbackHost(r.Host) {
		// A page in a browser can make its own name resolve to 127.0.0.1;
		// what it cannot do is make the browser send another Host.
		http.Error(w, "This server answers to 127.0.0.1, [::1] and localhost only", http.StatusMisdirectedRequest)
		return
	}
	switch r.URL.Path {
	case "/ping", "/replicas_status":
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			f.fail(w, nil, http.StatusMethodNotAllowed, exceptionf(codeUnsupported, "NOT_IMPLEMENTED", "%s takes GET", r.URL.Path))
			return
		}
		io.WriteString(w, "Ok.\n")
	case "/running", "/fence":
		f.serveRunning(w, r)
	case "/":
		f.serveQuery(w, r)
	default:
		http.Error(w, "There is no handle "+strconv.QuoteToASCII(r.URL.Path)+"\nUse / or /ping for health checks.", http.StatusNotFound)
	}
}

// loopbackHost tells whether the Host header names this machine by a name that
// no DNS answer can change.
func loopbackHost(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.Trim(host, "[]")
	return host == "127.0.0.1" || host == "::1" || strings.EqualFold(host, "localhost")
}

// authenticate finds the user: basic auth, X-ClickHouse-User and -Key, or the
// URL parameters user and password, in ClickHouse's order of preference.
func (f *face) authenticate(r *http.Request, q url.Values) (string, role, error) {
	name, pass, ok := r.BasicAuth()
	if h := r.Header.Get("X-ClickHouse-User"); h != "" {
		name, pass, ok = h, r.Header.Get("X-ClickHouse-Key"), true
	}
	if !ok {
		name, pass = q.Get("user"), q.Get("password")
	}
	if name == "" {
		name = "default"
	}
	u, known := f.users[name]
	got := sha256.Sum256([]byte(pass))
	// Compared whether the name is known or not, so that both take the same time.
	if eq := subtle.ConstantTimeCompare(got[:], u.key[:]); eq != 1 || !known {
		return "", 0, exceptionf(codeAuthFailed, "AUTHENTICATION_FAILED", "%.64s: Authentication failed: password is incorrect, or there is no user with such name", strconv.QuoteToASCII(name))
	}
	return name, u.role, nil
}

// serveRunning tells which statements run whose query_id begins with the given
// one. A statement leaves the list when the engine's call has returned. With
// POST /fence no further ones begin: a request may still be on its way, in
// some buffer, when its sender has long given up.
func (f *face) serveRunning(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	_, ro, err := f.authenticate(r, q)
	if err == nil && ro != roleWriter {
		err = exceptionf(codeReadonly, "READONLY", "%s is for the writer", r.URL.Path)
	}
	list := []running{}
	switch {
	case err != nil:
	case r.URL.Path == "/fence" && r.Method != http.MethodPost:
		err = exceptionf(codeUnsupported, "NOT_IMPLEMENTED", "/fence takes POST")
	case r.URL.Path == "/fence":
		list, err = f.pool.fence(q.Get("query_id"))
	default:
		list = f.pool.list(q.Get("query_id"))
	}
	if err != nil {
		f.fail(w, nil, 0, err)
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	json.NewEncoder(w).Encode(runningAnswer{f.pool.boot, list})
}

// request is one call of /, taken apart.
type request struct {
	q        url.Values
	queryID  string
	user     string
	role     role
	format   string // default_format or X-ClickHouse-Format
	revision uint64 // client_protocol_version
	compress bool   // answer in ClickHouse's compressed blocks
	params   []param
	settings []setting
	stmt     statement
	body     io.Reader // what is left of the body: an insert's data
}

// notSettings are URL parameters that belong to HTTP, not to the engine.
var notSettings = map[string]bool{
	"query": true, "database": true, "default_format": true, "query_id": true, "user": true, "password": true,
	"quota_key": true, "stacktrace": true, "compress": true, "decompress": true, "buffer_size": true,
	"wait_end_of_query": true, "client_protocol_version": true, "role": true, "session_timeout": true, "session_check": true, "close_session": true,
}

func (f *face) serveQuery(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodPost && r.Method != http.MethodHead {
		f.fail(w, nil, http.StatusMethodNotAllowed, exceptionf(codeUnsupported, "NOT_IMPLEMENTED", "Use GET or POST"))
		return
	}
	if r.Method != http.MethodPost && r.URL.RawQuery == "" {
		io.WriteString(w, "Ok.\n")
		return
	}
	req, err := f.parse(w, r)
	if req != nil && req.queryID != "" {
		w.Header().Set("X-ClickHouse-Query-Id", req.queryID)
	}
	if err != nil {
		f.fail(w, req, 0, err)
		return
	}
	if r.Method != http.MethodPost {
		// A link or an image in a page makes a browser GET; as with the server,
		// GET cannot change anything.
		req.settings = append(req.settings, setting{"readonly", "2"})
	}
	ctx := r.Context()
	l, err := f.pool.acquire(ctx, req.role, running{QueryID: req.queryID, User: req.user, Kind: kindOf(req.stmt)}, req.q.Get("database"), req.settings)
	if err != nil {
		f.fail(w, req, 0, err)
		return
	}
	defer l.release()
	if req.role == roleReader {
		// The engine's own parser has the last word on what only reads.
		class, n, err := l.c.analyse(req.stmt.sql)
		if err == nil && n > 0 && (class != classReadOnly || n != 1) {
			err = exceptionf(codeReadonly, "READONLY", "%s: Cannot execute query in readonly mode", req.user)
		}
		if err != nil {
			f.fail(w, req, 0, err)
			return
		}
	}
	if req.stmt.insert {
		f.insert(w, r, req, l)
		return
	}
	f.query(ctx, w, req, l)
}

func kindOf(s statement) string {
	if s.insert {
		return "insert"
	}
	return "query"
}

// parse reads URL, headers and as much of the body as is SQL.
func (f *face) parse(w http.ResponseWriter, r *http.Request) (*request, error) {
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, exceptionf(codeBadArguments, "BAD_ARGUMENTS", "The query string does not parse: %v", err)
	}
	if len(q) > maxParams {
		return nil, exceptionf(codeBadArguments, "BAD_ARGUMENTS", "More than %d URL parameters", maxParams)
	}
	req := &request{q: q, queryID: q.Get("query_id")}
	if req.queryID == "" {
		req.queryID = rand.Text()
	}
	if len(req.queryID) > maxQueryIDLen || strings.ContainsFunc(req.queryID, func(c rune) bool { return c < 0x20 || c > 0x7e }) {
		req.queryID = ""
		return req, exceptionf(codeBadArguments, "BAD_ARGUMENTS", "query_id is longer than %d bytes or not printable ASCII", maxQueryIDLen)
	}
	if req.user, req.role, err = f.authenticate(r, q); err != nil {
		return req, err
	}
	if q.Get("session_id") != "" {
		return req, exceptionf(codeUnsupported, "NOT_IMPLEMENTED", "Sessions are not supported by the embedded engine; each statement stands alone")
	}
	req.format = q.Get("default_format")
	if h := r.Header.Get("X-ClickHouse-Format"); h != "" && req.format == "" {
		req.format = h
	}
	if v := q.Get("client_protocol_version"); v != "" {
		if req.revision, err = strconv.ParseUint(v, 10, 32); err != nil {
			return req, exceptionf(codeBadArguments, "BAD_ARGUMENTS", "client_protocol_version %.20q is not a number", v)
		}
	}
	req.compress = q.Get("compress") == "1"
	for name, vals := range q {
		v := vals[len(vals)-1]
		switch {
		case strings.HasPrefix(name, "param_"):
			req.params = append(req.params, param{name[len("param_"):], v})
		case !notSettings[name]:
			req.settings = append(req.settings, setting{name, v})
		}
	}
	if err := req.readBody(http.NewResponseController(w), r, f.maxInsert, f.readTimeout); err != nil {
		return req, err
	}
	if req.role == roleReader {
		if err := f.reader.apply(req); err != nil {
			return req, err
		}
	}
	return req, nil
}

// readBody decodes the body and parses the statement out of URL and body.
func (req *request) readBody(rc *http.ResponseController, r *http.Request, maxInsert int64, readTimeout time.Duration) error {
	body := io.Reader(http.NoBody)
	if r.Method == http.MethodPost {
		var err error
		limit := maxFrame
		if req.role == roleReader {
			limit = maxStatement
		}
		if body, err = decodeBody(r, req.q.Get("decompress") == "1", limit); err != nil {
			return err
		}
	}
	text := req.q.Get("query")
	if len(text) > maxStatement {
		return tooLong()
	}
	if text != "" {
		st, err := parseStatement(text)
		if err != nil {
			return err
		}
		if st.insert {
			req.stmt, req.body = st, limitBody(body, maxInsert)
			return nil
		}
		text += "\n"
	}
	rc.SetReadDeadline(time.Now().Add(readTimeout))
	head, err := io.ReadAll(io.LimitReader(body, maxStatement+1-int64(len(text))))
	if err != nil {
		return bodyError(err)
	}
	rc.SetReadDeadline(time.Time{})
	text += string(head)
	st, err := parseStatement(text)
	if err != nil && len(text) > maxStatement && strings.EqualFold(firstWord(text), "INSERT") {
		return tooLong()
	}
	if err != nil {
		return err
	}
	if !st.insert && len(text) > maxStatement {
		return tooLong()
	}
	req.stmt, req.body = st, limitBody(body, maxInsert)
	return nil
}

func firstWord(s string) string {
	t, _ := (&lexer{s: s}).next()
	return t.text
}

func tooLong() error {
	return exceptionf(codeSyntax, "SYNTAX_ERROR", "The statement is longer than %d bytes; put data into the body of an INSERT", maxStatement)
}

// insert runs an INSERT: the body goes into the engine as it comes.
func (f *face) insert(w http.ResponseWriter, r *http.Request, req *request, l *lease) {
	format := req.stmt.format
	if format == "" {
		if format = req.format; format == "" {
			format = "Values"
		}
	}
	if !settingName.MatchString(format) {
		f.fail(w, req, 0, exceptionf(codeUnknownFormat, "UNKNOWN_FORMAT", "Unknown format %.100q", format))
		return
	}
	ins, err := l.c.insert(req.stmt.sql, format, req.params)
	if err != nil {
		f.fail(w, req, 0, err)
		return
	}
	defer ins.free()
	err = f.feed(w, ins, req)
	if err != nil {
		ins.cancel()
		f.fail(w, req, 0, err)
		return
	}
	// From here the engine commits, whether or not the client still waits.
	st, err := ins.done()
	if err != nil {
		f.fail(w, req, 0, err)
		return
	}
	summary(w, st)
	w.Header().Set("Content-Length", "0")
	w.WriteHeader(http.StatusOK)
}

// feed copies an insert's data into the engine.
func (f *face) feed(w http.ResponseWriter, ins *inserter, req *request) error {
	if err := ins.append([]byte(req.stmt.data)); err != nil {
		return err
	}
	rc := http.NewResponseController(w)
	buf := make([]byte, insertChunk)
	n := 0
	for {
		// A client that stalls would hold a connection and a statement slot.
		rc.SetReadDeadline(time.Now().Add(f.readTimeout))
		m, err := req.body.Read(buf[n:])
		n += m
		// Only a bare io.EOF is the end; a body cut short says something else.
		if n == len(buf) || err == io.EOF {
			if err := ins.append(buf[:n]); err != nil {
				return err
			}
			n = 0
		}
		if err == io.EOF {
			rc.SetReadDeadline(time.Time{})
			return nil
		}
		if err != nil {
			return bodyError(err)
		}
	}
}

// summary writes the header that says what a statement did.
func summary(w http.ResponseWriter, st stats) {
	w.Header().Set("X-ClickHouse-Summary", fmt.Sprintf(
		`{"read_rows":"%d","read_bytes":"%d","written_rows":"%d","written_bytes":"%d","total_rows_to_read":"0","result_rows":"0","result_bytes":"0","elapsed_ns":"%d"}`,
		st.rowsRead, st.bytesRead, st.rowsWritten, st.bytesWritten, st.elapsedNS))
}

// query runs a statement that may have a result.
func (f *face) query(ctx context.Context, w http.ResponseWriter, req *request, l *lease) {
	// When the client goes away the statement is of no use to anybody.
	stop := context.AfterFunc(ctx, func() {
		if err := l.kill(); err != nil {
			f.log.Warn("stopping an abandoned statement", "err", err)
		}
	})
	defer stop()
	format := req.format
	if format == "" {
		format = "TabSeparated"
	}
	if !settingName.MatchString(format) {
		f.fail(w, req, 0, exceptionf(codeUnknownFormat, "UNKNOWN_FORMAT", "Unknown format %.100q", format))
		return
	}
	out := &answer{w: w, req: req, format: format}
	if req.stmt.format != "" {
		out.format = req.stmt.format
	}
	if req.revision > 0 && !req.stmt.hasFormat && strings.EqualFold(format, "Native") {
		out.trans = &transcoder{revision: req.revision}
	}
	if !req.stmt.streamable || !streamFormats[strings.ToLower(out.format)] {
		res, err := l.c.run(req.stmt.sql, format, req.params)
		defer res.free()
		if err == nil {
			summary(w, res.stats())
			err = out.write(res.bytes())
		}
		f.finish(out, err)
		return
	}
	rs, err := l.c.stream(req.stmt.sql, format, req.params)
	if err != nil {
		f.fail(w, req, 0, err)
		return
	}
	defer rs.free()
	f.finish(out, f.copyRows(ctx, out, rs))
}

func (f *face) copyRows(ctx context.Context, out *answer, rs *rows) error {
	for {
		piece, err := rs.next()
		b := piece.bytes()
		if err == nil && len(b) > 0 {
			err = out.write(b)
			piece.free()
			if err == nil {
				err = ctx.Err()
			}
			if err != nil {
				rs.cancel()
				return err
			}
			continue
		}
		piece.free()
		return err
	}
}

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
