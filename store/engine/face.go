package engine

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
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

	names *nameSync
	fatal func(error) // ends the process: what it wrote may not be on the disk

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
	var st stats
	if err = f.feed(w, ins, req); err != nil {
		ins.cancel()
	} else {
		// From here the engine commits, whether or not the client still waits.
		st, err = ins.done()
	}
	// An insert that failed may have left blocks too, and whoever counts them
	// takes them for durable.
	f.durable()
	if err != nil {
		f.fail(w, req, 0, err)
		return
	}
	summary(w, st)
	w.Header().Set("Content-Length", "0")
	w.WriteHeader(http.StatusOK)
}

// lookEvery is how often parts are checked that no statement made: those of
// merges. It is far below old_parts_lifetime, which keeps their sources.
const lookEvery = 5 * time.Second

func (f *face) keepLooking(ctx context.Context) {
	t := time.NewTicker(lookEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			f.durable()
		}
	}
}

// durable returns when all parts are whole and their names on the disk.
func (f *face) durable() {
	if err := f.names.sync(); err != nil {
		f.fatal(err)
	}
}

// chunks are the buffers of inserts: a new one for each had the garbage collector
// run for every eighth.
var chunks = sync.Pool{New: func() any { return new([insertChunk]byte) }}

// feed copies an insert's data into the engine. The buffer goes back when it
// returns: the engine has copied what was in it.
func (f *face) feed(w http.ResponseWriter, ins *inserter, req *request) error {
	if err := ins.append([]byte(req.stmt.data)); err != nil {
		return err
	}
	rc := http.NewResponseController(w)
	chunk := chunks.Get().(*[insertChunk]byte)
	defer chunks.Put(chunk)
	buf := chunk[:]
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
	defer l.endWith(ctx, f.log)()
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
		if req.role == roleWriter {
			f.durable() // it may have been INSERT … SELECT, or DDL
		}
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
