package storetest

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/ClickHouse/ch-go/proto"
)

const maxBody = 256 << 20

// serve answers one request.
func (s *Server) serve(b *boot, w http.ResponseWriter, r *http.Request) {
	params := r.URL.Query()
	q := params.Get("query")
	if q == "" {
		text, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		q = string(text)
	}
	st := Statement{Kind: kindOf(q), QueryID: params.Get("query_id"), Query: q}
	insert := insertInto.FindStringSubmatch(q)
	if insert != nil {
		st.Table = insert[2]
	}
	s.mu.Lock()
	s.statements++
	st.N = s.statements
	decide := s.decide
	s.check(st, params)
	s.mu.Unlock()
	var f Fault
	if decide != nil {
		f = decide(st)
	}
	if f.Refuse {
		panic(http.ErrAbortHandler)
	}
	id := st.QueryID
	if id == "" {
		id = fmt.Sprintf("00000000-0000-0000-0000-%012d", st.N)
	}
	a := &answerer{w: w, r: r, f: f, id: id}
	if user, password, _ := r.BasicAuth(); s.o.User != "" && (user != s.o.User || password != s.o.Password) {
		a.exception(exception(516, "%s: Authentication failed: password is incorrect, or there is no user with such name. (AUTHENTICATION_FAILED)", user))
		return
	}
	run := func() (*result, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.boot != b {
			panic(http.ErrAbortHandler)
		}
		return s.query(bind(q, params))
	}
	switch {
	case insert != nil:
		run = s.readInsert(b, insert, st, f, r, params)
	case st.Kind == Kill:
		if m := kill.FindStringSubmatch(q); m != nil {
			run = func() (*result, error) { return s.killSync(b, m[1]) }
		}
	case st.Kind == Hello:
		run = func() (*result, error) { return nil, nil }
	}
	res, err := s.execute(b, a, st, run)
	if st.Kind == Hello && err == nil && f.Answer == AnswerTruth {
		a.hello(params, s.o.Version)
		return
	}
	a.answer(res, err)
}

// check complains of what no client may do. s.mu is held.
func (s *Server) check(st Statement, params url.Values) {
	if st.Kind != Insert {
		return
	}
	if st.QueryID != "" {
		if s.ids[st.QueryID] {
			s.complain("query id " + st.QueryID + " was sent twice")
		}
		s.ids[strings.Clone(st.QueryID)] = true
	}
	for name, want := range map[string]string{"async_insert": "0", "max_insert_threads": "1", "optimize_on_insert": "0", "max_partitions_per_insert_block": "0"} {
		if params.Get(name) != want {
			s.complain(fmt.Sprintf("insert into %s with %s = %q", st.Table, name, params.Get(name)))
		}
	}
}

// readInsert reads the rows of an insert and returns what commits them.
func (s *Server) readInsert(b *boot, m []string, st Statement, f Fault, r *http.Request, params url.Values) func() (*result, error) {
	body := io.Reader(io.LimitReader(r.Body, maxBody))
	if f.CutAfter > 0 {
		io.CopyN(io.Discard, body, f.CutAfter)
		panic(http.ErrAbortHandler)
	}
	if f.Slow > 0 {
		body = slowReader{body, f.Slow, b}
	}
	data, err := io.ReadAll(body)
	if err != nil {
		panic(http.ErrAbortHandler) // what did not arrive whole is not inserted
	}
	columns, rows, err := decodeBlock(bytes.NewReader(data), params.Get("decompress") == "1")
	if err != nil {
		err = exception(33, "Cannot read all data: %v. (CANNOT_READ_ALL_DATA)", err)
	}
	settings := map[string]string{}
	for k := range params {
		settings[k] = params.Get(k)
	}
	return func() (*result, error) {
		if err != nil {
			return nil, err
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.boot != b || b.ctx.Err() != nil {
			return nil, errDied
		}
		t, err := s.table(m[1], m[2])
		if err != nil {
			return nil, err
		}
		block, err := s.cut(t, columns, rows, st.QueryID, settings)
		if err != nil {
			return nil, err
		}
		n := len(block.parts)
		if f.Commit == CommitHalf {
			n /= 2
		}
		if f.Die == nil {
			s.commit(block, n, nil)
			if n < len(block.parts) {
				return nil, exception(241, "Memory limit exceeded after %d parts of %d. (MEMORY_LIMIT_EXCEEDED)", n, len(block.parts))
			}
			return nil, nil
		}
		switch f.Die.At {
		case DieBetween:
			s.commit(block, n, func() {})
		case DieAfter:
			s.commit(block, n, nil)
		}
		s.restart(f.Die.Restart)
		return nil, errDied
	}
}

var errDied = errors.New("the server died")

// execute lets a statement take effect as its fault says, and waits for it
// where its client does.
func (s *Server) execute(b *boot, a *answerer, st Statement, run func() (*result, error)) (*result, error) {
	f := a.f
	switch f.Commit {
	case CommitNone:
		return nil, nil
	case CommitNow, CommitHalf:
		return run()
	}
	p := &process{id: a.id, hidden: f.Hidden, kill: make(chan struct{}), dead: make(chan struct{})}
	s.mu.Lock()
	b.procs = append(b.procs, p)
	s.mu.Unlock()
	var res *result
	var err error
	s.wg.Add(1)
	go func() {
		defer s.wg.Done()
		defer func() {
			s.mu.Lock()
			b.procs = slices.DeleteFunc(b.procs, func(o *process) bool { return o == p })
			s.mu.Unlock()
			close(p.dead)
		}()
		timer := time.NewTimer(f.After)
		defer timer.Stop()
		select {
		case <-timer.C:
			res, err = run()
		case <-p.kill:
			err = exception(394, "Query was cancelled. (QUERY_WAS_CANCELLED)")
			if f.Stubborn {
				res, err = run()
			}
		case <-b.ctx.Done():
			err = errDied
		}
	}()
	if f.Answer != AnswerTruth {
		return nil, nil
	}
	select {
	case <-p.dead:
		return res, err
	case <-a.r.Context().Done(): // the client has gone; the statement has not
		panic(http.ErrAbortHandler)
	}
}

// slowReader takes its time for every byte.
type slowReader struct {
	r io.Reader
	d time.Duration
	b *boot
}

func (s slowReader) Read(p []byte) (int, error) {
	if !s.b.sleep(s.d) {
		return 0, errDied
	}
	return s.r.Read(p[:min(len(p), 1)])
}

func (b *boot) sleep(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-b.ctx.Done():
		return false
	}
}

// answerer tells a client what came of its statement, or something else.
type answerer struct {
	w  http.ResponseWriter
	r  *http.Request
	f  Fault
	id string
}

func (a *answerer) header() {
	h := a.w.Header()
	h.Set("X-ClickHouse-Query-Id", a.id)
	h.Set("X-ClickHouse-Server-Display-Name", "fake")
	h.Set("X-ClickHouse-Summary", `{"read_rows":"0","written_rows":"0"}`)
}

func (a *answerer) exception(err error) {
	var e *Exception
	if !errors.As(err, &e) {
		panic(http.ErrAbortHandler)
	}
	a.header()
	a.w.Header().Set("X-ClickHouse-Exception-Code", fmt.Sprint(e.Code))
	a.w.WriteHeader(http.StatusInternalServerError)
	io.WriteString(a.w, e.Error()+"\n")
}

func (a *answerer) answer(res *result, err error) {
	f := a.f
	code, text := f.Code, f.Text
	if code == 0 {
		code = 241
	}
	if text == "" {
		text = "Memory limit exceeded. (MEMORY_LIMIT_EXCEEDED)"
	}
	switch f.Answer {
	case AnswerTruth:
		if err != nil {
			a.exception(err)
			return
		}
		a.header()
		a.send(bytes.NewReader(res.text()))
	case AnswerReset:
		panic(http.ErrAbortHandler)
	case AnswerException:
		a.exception(&Exception{code, text})
	case AnswerInBand:
		a.header()
		const tag = "0123456789abcdef"
		a.w.Header().Set("X-ClickHouse-Exception-Tag", tag)
		text := fmt.Sprintf("Code: %d. DB::Exception: %s", code, text)
		fmt.Fprintf(a.w, "\r\n__exception__\r\n%s\r\n%s\n%d %s\r\n__exception__\r\n", tag, text, len(text)+1, tag)
	case AnswerBadGate:
		a.w.Header().Set("Content-Type", "text/html")
		a.w.WriteHeader(http.StatusBadGateway)
		io.WriteString(a.w, "<html><h1>502 Bad Gateway</h1></html>\n")
	case AnswerHTML:
		a.w.Header().Set("Content-Type", "text/html")
		io.WriteString(a.w, "<html><h1>Please sign in</h1></html>\n")
	case AnswerEmpty:
		a.w.WriteHeader(http.StatusOK)
	case AnswerGarbage:
		a.header()
		a.send(io.LimitReader(zeros{0xfe}, 4096))
	case AnswerHuge:
		a.header()
		a.send(io.LimitReader(zeros{'\n'}, f.Bytes))
	case AnswerGzipBomb:
		a.header()
		a.w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(a.w)
		io.CopyN(z, zeros{}, 64<<20)
		z.Close()
	case AnswerSilence:
		<-a.r.Context().Done()
		panic(http.ErrAbortHandler)
	case AnswerText:
		a.header()
		a.send(strings.NewReader(f.Text))
	}
}

// send writes a body, slowly if it is to be.
func (a *answerer) send(body io.Reader) {
	if a.f.Slow == 0 {
		io.Copy(a.w, body)
		return
	}
	var b [1]byte
	for {
		if _, err := body.Read(b[:]); err != nil {
			return
		}
		select {
		case <-time.After(a.f.Slow):
		case <-a.r.Context().Done():
			panic(http.ErrAbortHandler)
		}
		if _, err := a.w.Write(b[:]); err != nil {
			return
		}
		http.NewResponseController(a.w).Flush()
	}
}

// zeros is an endless stream of one byte.
type zeros struct{ b byte }

func (z zeros) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = z.b
	}
	return len(p), nil
}

// hello answers what the client library asks first, in Native of the revision
// that it wants.
func (a *answerer) hello(params url.Values, version string) {
	a.header()
	revision := 0
	fmt.Sscan(params.Get("client_protocol_version"), &revision)
	one := func(v string) *proto.ColStr { c := new(proto.ColStr); c.Append(v); return c }
	rev := proto.ColUInt32{54480}
	b := proto.Block{Columns: 4, Rows: 1}
	var buf proto.Buffer
	if err := b.EncodeBlock(&buf, revision, []proto.InputColumn{{Name: "displayName()", Data: one("fake")}, {Name: "version()", Data: one(version)},
		{Name: "revision()", Data: &rev}, {Name: "timezone()", Data: one("UTC")}}); err != nil {
		panic(http.ErrAbortHandler)
	}
	a.w.Write(buf.Buf)
}
