package engine

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Codes of ClickHouse that this package gives itself, where the statement
// never reached the engine.
const (
	codeUnknownFormat      = 73
	codeReadonly           = 164
	codeTimeout            = 159
	codeTooManyQueries     = 202
	codeAuthFailed         = 516
	codeSyntax             = 62
	codeCannotDecompress   = 271
	codeHTTPLengthRequired = 381
	codeQueryCancelled     = 394
	codeUnsupported        = 48
	codeBadArguments       = 36
	codeTooBig             = 307
	codeUnknown            = 1002
	codeQueryIDInUse       = 216
	codeNetwork            = 210
	codeUnknownCompression = 89
)

// Exception is an error of the engine: ClickHouse's numeric code and its text.
type Exception struct {
	Code int    // ClickHouse error code, for example 60 for an unknown table
	Text string // "Code: 60. DB::Exception: …", one message, no stack trace
}

func (e *Exception) Error() string { return e.Text }

// exceptionf makes an exception in the engine's form out of an error of ours,
// so that clients see one kind of error only.
func exceptionf(code int, name, format string, args ...any) *Exception {
	return &Exception{code, fmt.Sprintf("Code: %d. DB::Exception: %s. (%s)", code, fmt.Sprintf(format, args...), name)}
}

var exceptionCode = regexp.MustCompile(`(?:^|\b)Code: (\d{1,6})\.`)

// parseException makes an Exception of the engine's message. The engine
// sometimes puts words before "Code:"; the code is what clients act on.
func parseException(msg string) *Exception {
	msg = strings.TrimSpace(msg)
	if i := strings.Index(msg, "Stack trace"); i > 0 {
		msg = strings.TrimRight(msg[:i], " ,\n")
	}
	m := exceptionCode.FindStringSubmatchIndex(msg)
	if m == nil {
		return exceptionf(codeUnknown, "UNKNOWN_EXCEPTION", "%s", msg)
	}
	code, err := strconv.Atoi(msg[m[2]:m[3]])
	if err != nil || code == 0 {
		code = codeUnknown
	}
	return &Exception{code, msg[m[0]:]}
}
