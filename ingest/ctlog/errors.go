package ctlog

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// Facts that are one bit each. Test them with errors.Is.
var (
	// ErrNotYet says that the log does not serve the range at present although
	// a signed head covers it: a frontend lags, a cache is old, a tile is not
	// there yet. Ask again later; it is never the end of the log.
	ErrNotYet = errors.New("log does not serve this yet")

	// ErrTooLarge says that an answer exceeded its limit, declared or
	// inflated. For entries it is returned only if a single entry did.
	ErrTooLarge = errors.New("answer is too large")

	// ErrNoIssuers is returned by Log.Issuer of logs that send chains with the entries.
	ErrNoIssuers = errors.New("this log sends chain certificates with its entries")

	// ErrNoContact is returned by New for a User-Agent without a contact.
	ErrNoContact = errors.New(`the User-Agent names no contact; logs throttle anonymous clients: set an e-mail address or an https:// URL where you can be reached ("example.com" counts as none)`)

	// ErrPrivateAddress says that a log's host resolved to an address that no
	// public log has: loopback, private, link-local, metadata.
	ErrPrivateAddress = errors.New("address is not public")
)

// StatusError is an answer whose HTTP status was not 200.
type StatusError struct {
	Code       int
	RetryAfter time.Duration // 0 if the answer had none
	Location   string        // of a redirect, quoted; redirects are never followed
	Excerpt    string        // the body's beginning, ≤ 200 bytes, quoted to printable ASCII
}

func (e *StatusError) Error() string {
	msg := "log answered with status " + strconv.Itoa(e.Code)
	if e.Location != "" {
		msg += " and points to " + e.Location + "; redirects are not followed: if the log has moved, configure its new URL"
	}
	if e.Excerpt != "" {
		msg += ": " + e.Excerpt
	}
	return msg
}

// AnswerError is an answer with status 200 that is not what was asked for: an
// HTML page, malformed JSON, a tile of the wrong length, more entries than
// asked. It says nothing about the tree; the same request may succeed later.
type AnswerError struct {
	What    string // what was asked for: "tile", "get-sth", …
	Reason  string
	Excerpt string // the body's beginning, ≤ 200 bytes, quoted; may be empty
}

func (e *AnswerError) Error() string {
	msg := e.What + ": " + e.Reason
	if e.Excerpt != "" {
		msg += ": " + e.Excerpt
	}
	return msg
}

// VerifyError is a well-formed answer that does not prove what it should: a
// head whose signature does not match the log's key, tiles or proofs that do
// not lead to a signed root.
type VerifyError struct {
	What   string
	Reason string
	Raw    []byte // the head as received, if it was one: evidence
}

func (e *VerifyError) Error() string { return e.What + ": " + e.Reason }

// answerErrorf returns an *AnswerError without an excerpt.
func answerErrorf(what, format string, args ...any) error {
	return &AnswerError{What: what, Reason: fmt.Sprintf(format, args...)}
}

// maxExcerpt bounds what an error repeats of a stranger's bytes.
const maxExcerpt = 200

// excerpt quotes the beginning of b so that it can go to a terminal or a log.
func excerpt(b []byte) string {
	b = bytes.TrimSpace(b[:min(len(b), 4*maxExcerpt)])
	if len(b) == 0 {
		return ""
	}
	return quote(string(b))
}

// quote is QuoteToASCII with a result of at most maxExcerpt bytes.
func quote(s string) string {
	cut := len(s) > maxExcerpt-2
	if cut {
		s = s[:maxExcerpt-2]
	}
	q := strconv.QuoteToASCII(s)
	if len(q) <= maxExcerpt {
		return q
	}
	// Escapes made it longer. Cut what is quoted, never the quotation.
	for len(q) > maxExcerpt {
		s = s[:len(s)-max(1, (len(q)-maxExcerpt)/10)]
		q = strconv.QuoteToASCII(s)
	}
	return q
}
