package engine

import (
	"bufio"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"io"
	"net/http"
	"strings"

	chproto "github.com/ClickHouse/ch-go/proto"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// decodeBody undoes Content-Encoding, then ClickHouse's own block compression
// where the client says that it used it.
func decodeBody(r *http.Request, blocks bool) (io.Reader, error) {
	body := io.Reader(r.Body)
	switch enc := strings.ToLower(r.Header.Get("Content-Encoding")); enc {
	case "", "identity":
	case "gzip", "x-gzip":
		z, err := gzip.NewReader(body)
		if err != nil {
			return nil, bodyError(err)
		}
		body = z
	case "deflate":
		z, err := zlib.NewReader(body)
		if err != nil {
			return nil, bodyError(err)
		}
		body = z
	case "zstd":
		z, err := zstd.NewReader(body, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(32<<20))
		if err != nil {
			return nil, bodyError(err)
		}
		body = z
	case "lz4":
		body = lz4.NewReader(body)
	default:
		return nil, exceptionf(codeUnknownCompression, "UNKNOWN_COMPRESSION_METHOD", "Content-Encoding %.40q is not one of gzip, deflate, lz4, zstd", enc)
	}
	if blocks {
		c := chproto.NewReader(bufio.NewReaderSize(body, 64<<10))
		c.EnableCompression()
		body = c
	}
	return body, nil
}

// limitBody gives an error, not an end, where the body is too long.
func limitBody(r io.Reader, limit int64) io.Reader { return &limitedBody{r, limit} }

type limitedBody struct {
	r    io.Reader
	left int64
}

var errBodyTooLong = errors.New("body too long")

func (l *limitedBody) Read(p []byte) (int, error) {
	if l.left <= 0 {
		var one [1]byte
		n, err := l.r.Read(one[:])
		if n > 0 {
			return 0, errBodyTooLong
		}
		return 0, err
	}
	if int64(len(p)) > l.left {
		p = p[:l.left]
	}
	n, err := l.r.Read(p)
	l.left -= int64(n)
	return n, err
}

// bodyError puts a failure to read the body into the engine's form.
func bodyError(err error) error {
	if errors.Is(err, errBodyTooLong) {
		return exceptionf(codeTooBig, "TOO_MANY_BYTES", "The body of the INSERT is longer than allowed; send it in parts")
	}
	return exceptionf(codeNetwork, "NETWORK_ERROR", "The body could not be read, nothing of its unfinished part is kept: %v", err)
}
