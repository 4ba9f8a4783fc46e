package ctlogtest

import (
	"context"
	"io"
	"net/http"
	"strconv"
	"sync"
	"syscall"
)

// Transport returns a RoundTripper that calls h without a network, for clients
// inside a testing/synctest bubble, where real sockets would stop the clock.
// Bodies stream: a slow one is slow, and one that the client closes frees the
// handler. What is a reset on a connection is syscall.ECONNRESET here.
func Transport(h http.Handler) http.RoundTripper { return transport{h} }

type transport struct{ h http.Handler }

func (t transport) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancel(r.Context())
	in := r.Clone(ctx)
	in.RequestURI = r.URL.RequestURI()
	in.Proto, in.ProtoMajor, in.ProtoMinor = "HTTP/1.1", 1, 1
	if in.Host == "" {
		in.Host = r.URL.Host
	}
	if in.Body == nil {
		in.Body = http.NoBody
	}
	body, sink := io.Pipe()
	w := &pipeWriter{header: http.Header{}, sink: sink, begun: make(chan struct{})}
	broken := make(chan error, 1)
	go func() {
		defer cancel()
		defer in.Body.Close()
		defer func() {
			err := error(nil)
			if p := recover(); p != nil {
				if p != http.ErrAbortHandler {
					panic(p)
				}
				err = syscall.ECONNRESET
			} else {
				w.WriteHeader(http.StatusOK)
				err = r.Context().Err() // what was not sent for it is not an end
			}
			sink.CloseWithError(err)
			broken <- err
		}()
		t.h.ServeHTTP(w, in)
	}()
	stop := context.AfterFunc(r.Context(), func() { sink.CloseWithError(r.Context().Err()) })
	select {
	case <-w.begun:
	case err := <-broken:
		select {
		case <-w.begun:
		default:
			stop()
			return nil, err
		}
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	n := int64(-1)
	if v, err := strconv.ParseInt(w.sent.Get("Content-Length"), 10, 64); err == nil {
		n = v
	}
	return &http.Response{Status: strconv.Itoa(w.status) + " " + http.StatusText(w.status), StatusCode: w.status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: w.sent, ContentLength: n, Request: r,
		Body: &pipeBody{body, func() { stop(); cancel() }, n}}, nil
}

// pipeBody frees the handler when the client closes it. It ends where the
// header says, as net/http has it: not with what becomes of the connection
// afterwards, and not before.
type pipeBody struct {
	*io.PipeReader
	release func()
	left    int64 // bytes to come, -1 if not declared
}

func (b *pipeBody) Read(p []byte) (int, error) {
	if b.left < 0 {
		return b.PipeReader.Read(p)
	}
	if b.left == 0 {
		return 0, io.EOF
	}
	n, err := b.PipeReader.Read(p[:min(int64(len(p)), b.left)])
	if b.left -= int64(n); err == io.EOF && b.left > 0 {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

func (b *pipeBody) Close() error {
	b.release()
	return b.PipeReader.Close()
}

type pipeWriter struct {
	header, sent http.Header
	status       int
	sink         *io.PipeWriter
	once         sync.Once
	begun        chan struct{}
}

func (w *pipeWriter) Header() http.Header { return w.header }

func (w *pipeWriter) WriteHeader(status int) {
	w.once.Do(func() {
		w.status, w.sent = status, w.header.Clone()
		close(w.begun)
	})
}

func (w *pipeWriter) Write(b []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.sink.Write(b)
}

// Flush has nothing to do: what was written is with the reader.
func (w *pipeWriter) Flush() { w.WriteHeader(http.StatusOK) }
