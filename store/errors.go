package store

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/ClickHouse/clickhouse-go/v2"

	"ctappliance/schema"
)

// Errors of Open.
var (
	// ErrAuth says that the server does not accept the user or the password.
	ErrAuth = errors.New("user or password refused")
	// ErrVersion says that the server is too old.
	ErrVersion = errors.New("server too old")
	// ErrSettings says that a table lacks a setting that exactness or
	// durability needs.
	ErrSettings = errors.New("table settings differ")
	// ErrSchema says that a table is not what this release expects.
	ErrSchema = errors.New("table differs from the schema")
	// ErrReadOnly is the error of an insert into a store opened ReadOnly.
	ErrReadOnly = errors.New("the store was opened read-only")
)

// shownError is an error whose text is made for people, with the cause kept
// for errors.Is and errors.As.
type shownError struct {
	text string
	err  error
}

func (e *shownError) Error() string { return e.text }
func (e *shownError) Unwrap() error { return e.err }

// Codes of ClickHouse's ErrorCodes.cpp.
const (
	codeUnknownUser      = 192
	codeWrongPassword    = 193
	codeRequiredPassword = 194
	codeAuthFailed       = 516
	codeAccessDenied     = 497
	codeReadonly         = 164
)

// refusedCodes are the errors that lie in the rows: the same rows will be
// refused again. Everything else (network, memory, disk, too many parts, read
// only, a table that is missing or differs) may pass or be mended, and must
// not cost a row. That goes for truncated input too (32, 33): it is the
// network's work.
var refusedCodes = map[int32]string{
	6:   "CANNOT_PARSE_TEXT",
	26:  "CANNOT_PARSE_QUOTED_STRING",
	27:  "CANNOT_PARSE_INPUT_ASSERTION_FAILED",
	38:  "CANNOT_PARSE_DATE",
	41:  "CANNOT_PARSE_DATETIME",
	53:  "TYPE_MISMATCH",
	69:  "ARGUMENT_OUT_OF_BOUND",
	70:  "CANNOT_CONVERT_TYPE",
	72:  "CANNOT_PARSE_NUMBER",
	117: "INCORRECT_DATA",
	128: "TOO_LARGE_ARRAY_SIZE",
	131: "TOO_LARGE_STRING_SIZE",
	190: "SIZES_OF_ARRAYS_DONT_MATCH",
	321: "VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE",
	349: "CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN",
	407: "DECIMAL_OVERFLOW",
	469: "VIOLATED_CONSTRAINT",
	691: "UNKNOWN_ELEMENT_OF_ENUM",
}

// code returns the server's error code, 0 if err is not from the server.
func code(err error) int32 {
	var e *clickhouse.Exception
	if errors.As(err, &e) {
		return e.Code
	}
	return 0
}

// insertError puts an insert's error into this package's words.
func (s *Store) insertError(table string, err error) error {
	if c := code(err); refusedCodes[c] != "" {
		return &schema.RefusedError{Table: table, Code: c, Err: s.show(err)}
	}
	return fmt.Errorf("inserting into %s: %w", table, s.show(err))
}

// show returns err as one line that is safe to print and holds no password.
func (s *Store) show(err error) error {
	if err == nil {
		return nil
	}
	text := s.target.explain(err)
	if p := s.target.password; p != "" {
		text = strings.ReplaceAll(text, p, "xxxxx")
	}
	return &shownError{text, err}
}

const maxErrorText = 500

func (t *target) explain(err error) string {
	var (
		ex       *clickhouse.Exception
		op       *net.OpError
		dns      *net.DNSError
		unknown  x509.UnknownAuthorityError
		hostname x509.HostnameError
		record   tls.RecordHeaderError
		alert    tls.AlertError
		verify   *tls.CertificateVerificationError
	)
	switch {
	case errors.As(err, &ex):
		switch ex.Code {
		case codeUnknownUser, codeWrongPassword, codeRequiredPassword, codeAuthFailed:
			return fmt.Sprintf("ClickHouse at %s does not accept user %s: wrong user name or password (store.user, store.password)", t.addr, Safe(t.user))
		case codeAccessDenied:
			return fmt.Sprintf("user %s may not do this on ClickHouse at %s: %s", Safe(t.user), t.addr, safeLine(ex.Message, maxErrorText))
		}
		return fmt.Sprintf("ClickHouse error %d: %s", ex.Code, safeLine(ex.Message, maxErrorText))
	case errors.As(err, &verify):
		err = verify.Err
		fallthrough
	case errors.As(err, &unknown), errors.As(err, &hostname):
		return fmt.Sprintf("the certificate of ClickHouse at %s is not to be trusted: %s (store.ca-file)", t.addr, safeLine(err.Error(), maxErrorText))
	case errors.As(err, &record):
		return fmt.Sprintf("ClickHouse at %s does not speak TLS on this port: use http://, or the port of https", t.addr)
	case errors.As(err, &alert):
		return fmt.Sprintf("ClickHouse at %s ended the TLS handshake: %s", t.addr, alert.Error())
	case errors.Is(err, errNotClickHouse):
		return fmt.Sprintf("what answers at %s is not ClickHouse, or a proxy before it that gives statements names of its own: store.dsn must be the server's HTTP port (8123 or 8443)", t.addr)
	case errors.As(err, &dns):
		return fmt.Sprintf("there is no host %s: %s (store.dsn)", Safe(t.host), safeLine(dns.Err, maxErrorText))
	case errors.Is(err, context.Canceled):
		return "interrupted"
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Sprintf("ClickHouse at %s did not answer in time", t.addr)
	case errors.As(err, &op) && op.Op == "dial":
		return fmt.Sprintf("cannot reach ClickHouse at %s: %v: is it running, and is store.dsn right?", t.addr, op.Err)
	}
	var status *clickhouse.HTTPError
	if errors.As(err, &status) {
		return fmt.Sprintf("what answers at %s says HTTP %d and is not ClickHouse: store.dsn must be its HTTP port (8123 or 8443): %s", t.addr, status.StatusCode, safeLine(status.Err.Error(), maxErrorText))
	}
	// The text around a transport error repeats the URL with every parameter.
	var request *url.Error
	if errors.As(err, &request) {
		err = request.Err
	}
	if errors.Is(err, http.ErrSchemeMismatch) {
		return fmt.Sprintf("ClickHouse at %s does not speak TLS on this port: use http://, or the port of https", t.addr)
	}
	return fmt.Sprintf("ClickHouse at %s: %s", t.addr, safeLine(err.Error(), maxErrorText))
}
