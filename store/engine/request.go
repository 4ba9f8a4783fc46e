package engine

import (
	"crypto/rand"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

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
