package ctlog

import (
	"bytes"
	"context"
	"sync"
)

// Answer is what a log answered to one request, as it came: evidence.
type Answer struct {
	Path     string `json:"path"` // below the log's URL
	Status   int    `json:"status"`
	Encoding string `json:"encoding,omitempty"` // Content-Encoding; Body is still encoded
	Body     []byte `json:"body"`
	Cut      bool   `json:"cut,omitempty"` // Body is only the answer's beginning
}

// Recording holds the answers to the requests of one context. It is safe for
// concurrent use.
type Recording struct {
	mu      sync.Mutex
	left    int
	answers []Answer
}

type recordingKey struct{}

// maxRecorded bounds the answers of one Recording; a frontier of the largest
// tree takes a dozen tiles, or two proofs.
const maxRecorded = 256

// Record returns a context whose requests have their answers kept, at most
// limit bytes of bodies together.
func Record(ctx context.Context, limit int) (context.Context, *Recording) {
	r := &Recording{left: limit}
	return context.WithValue(ctx, recordingKey{}, r), r
}

// Answers returns what was answered so far, in order of arrival.
func (r *Recording) Answers() []Answer {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]Answer(nil), r.answers...)
}

// record keeps an answer if the context asks for it. The body is copied.
func record(ctx context.Context, a Answer) {
	r, ok := ctx.Value(recordingKey{}).(*Recording)
	if !ok {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.answers) == maxRecorded {
		return
	}
	if len(a.Body) > r.left {
		a.Body, a.Cut = a.Body[:r.left], true
	}
	a.Body = bytes.Clone(a.Body)
	r.left -= len(a.Body)
	r.answers = append(r.answers, a)
}
