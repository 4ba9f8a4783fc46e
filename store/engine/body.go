package engine

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/ClickHouse/ch-go/compress"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// decodeBody undoes Content-Encoding, then ClickHouse's own block compression
// where the client says that it used it. Nothing is read ahead of need except
// by the decoders' own windows; the zstd window is capped at 32 MiB.
func decodeBody(r *http.Request, blocks bool, frameLimit int) (io.Reader, error) {
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
		body = z.IOReadCloser()
	case "lz4":
		body = lz4.NewReader(body)
	default:
		return nil, exceptionf(codeUnknownCompression, "UNKNOWN_COMPRESSION_METHOD", "Content-Encoding %.40q is not one of gzip, deflate, lz4, zstd", enc)
	}
	if blocks {
		body = &frameReader{r: bufio.NewReaderSize(body, 64<<10), limit: frameLimit}
	}
	return body, nil
}

// The header of a compressed frame: a 16-byte checksum of what follows, the
// method, then two little-endian sizes. The first counts itself, the second
// and the method; the second is the size of the data once decompressed.
const (
	frameSum    = 16
	frameHeader = frameSum + 1 + 4 + 4
	maxFrame    = 128 << 20
)

// frameReader reads ClickHouse's compressed frames. It tells a body that ends
// between two frames, which is the end, from one that ends inside a frame,
// which is an error: half an insert must not look like a whole one.
type frameReader struct {
	r     *bufio.Reader
	limit int // bytes of one frame, compressed or not
	frame bytes.Buffer
	data  []byte // decompressed, not yet read
}

func (f *frameReader) Read(p []byte) (int, error) {
	for len(f.data) == 0 {
		if err := f.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, f.data)
	f.data = f.data[n:]
	return n, nil
}

func (f *frameReader) next() error {
	head, err := f.r.Peek(frameHeader)
	if len(head) == 0 && err == io.EOF {
		return io.EOF
	}
	if err != nil {
		return fmt.Errorf("compressed frame cut short: %w", noEOF(err))
	}
	size := int64(binary.LittleEndian.Uint32(head[frameSum+1:]))
	data := int64(binary.LittleEndian.Uint32(head[frameSum+5:]))
	if size < frameHeader-frameSum || size > int64(f.limit) || data > int64(f.limit) {
		return fmt.Errorf("compressed frame of %d bytes that expands to %d: the limit is %d", size, data, f.limit)
	}
	// The buffer grows with what arrives, not with what the header claims.
	f.frame.Reset()
	if _, err := io.CopyN(&f.frame, f.r, frameSum+size); err != nil {
		return fmt.Errorf("compressed frame cut short: %w", noEOF(err))
	}
	if data == 0 {
		return nil
	}
	f.data = make([]byte, data)
	if _, err := io.ReadFull(compress.NewReader(bytes.NewReader(f.frame.Bytes())), f.data); err != nil {
		f.data = nil
		return fmt.Errorf("decompressing frame: %w", noEOF(err))
	}
	return nil
}

// noEOF turns an end into an unexpected one.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
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
	return exceptionf(codeNetwork, "NETWORK_ERROR", "The body could not be read to its end: %v", err)
}
