package store

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/ClickHouse/ch-go/proto"
)

// openPatience is how long a server may take to say its version.
const openPatience = 30 * time.Second

// errNotClickHouse means that a status of 200 did not come from the server
// that the statement was for: a captive portal, a load balancer's page, a
// proxy that gives statements names of its own. What it says is no
// acknowledgement.
var errNotClickHouse = errors.New("the answer does not name the statement")

const (
	queryIDParam  = "query_id"
	queryIDHeader = "X-Clickhouse-Query-Id"
)

// vouched is the transport under the client library. Every statement carries a
// query id, and an answer of success counts only if it names it: the library
// takes any 200 for success.
type vouched struct{ next *http.Transport }

// RoundTrip implements http.RoundTripper.
func (v vouched) RoundTrip(req *http.Request) (*http.Response, error) {
	if isHello(req) {
		return hello(req)
	}
	res, err := v.next.RoundTrip(req)
	if err != nil || res.StatusCode != http.StatusOK {
		return res, err
	}
	want, got := req.URL.Query().Get(queryIDParam), res.Header.Get(queryIDHeader)
	if want == "" || got != want {
		res.Body.Close()
		return nil, fmt.Errorf("%w (sent %q, answered %q)", errNotClickHouse, want, safeLine(got, 100))
	}
	res.Body = &bounded{res.Body, maxAnswer + 1<<20}
	return res, nil
}

// bounded ends an answer that is larger than anything here reads. The library
// reads to their ends the answers of statements that have none.
type bounded struct {
	io.ReadCloser
	left int64
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, ErrTooLarge
	}
	n, err := b.ReadCloser.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}

// CloseIdleConnections lets http.Client close them.
func (v vouched) CloseIdleConnections() { v.next.CloseIdleConnections() }

// helloQuery is what the client library asks on every new connection. It is
// the only answer that it decodes from the Native format, without bounds on
// what the answer makes it allocate.
const helloQuery = "SELECT displayName(), version(), revision(), timezone()"

func isHello(req *http.Request) bool {
	if req.ContentLength != int64(len(helloQuery)) || req.GetBody == nil || req.URL.Query().Has("query") {
		return false
	}
	body, err := req.GetBody()
	if err != nil {
		return false
	}
	text, err := io.ReadAll(body)
	return err == nil && string(text) == helloQuery
}

// hello answers in the server's place. Nothing here depends on what a server
// would say: versions are asked for by Open, times are sent as numbers, and
// answers are read as text.
func hello(req *http.Request) (*http.Response, error) {
	if req.Body != nil {
		req.Body.Close()
	}
	text := func(name, value string) proto.InputColumn {
		c := new(proto.ColStr)
		c.Append(value)
		return proto.InputColumn{Name: name, Data: c}
	}
	revision := proto.ColUInt32{proto.Version}
	b := proto.Block{Columns: 4, Rows: 1}
	var buf proto.Buffer
	var asked int
	fmt.Sscan(req.URL.Query().Get("client_protocol_version"), &asked)
	if err := b.EncodeBlock(&buf, asked, []proto.InputColumn{text("displayName()", ""), text("version()", fmt.Sprintf("%d.%d", MinVersion[0], MinVersion[1])),
		{Name: "revision()", Data: &revision}, text("timezone()", "UTC")}); err != nil {
		return nil, fmt.Errorf("answering the client library: %w", err)
	}
	return &http.Response{Status: "200 OK", StatusCode: http.StatusOK, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{},
		Body: io.NopCloser(bytes.NewReader(buf.Buf)), ContentLength: int64(len(buf.Buf)), Request: req}, nil
}
