package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
	"unsafe"

	"github.com/ClickHouse/ch-go/compress"

	"ctappliance/schema"
)

// body is one block of the Native format, revision 0, which is what the body of
// an insert over HTTP consists of. It is read out of the columns, which have
// their values in memory as the format has them: a flush is not copied to be
// sent. The columns must stay as they are until close has returned.
type body struct {
	mu     sync.Mutex
	parts  [][]byte // what is still to be read
	closed bool
}

// errBodyClosed ends a request whose statement was given up.
var errBodyClosed = errors.New("the insert was given up")

func newBody(b *schema.Block) (*body, error) {
	rows := b.Rows()
	var e encoder
	e.number(len(b.Columns))
	e.number(rows)
	for i := range b.Columns {
		c := &b.Columns[i]
		if n := c.Data.Rows(); n != rows {
			return nil, fmt.Errorf("column %s has %d rows, others %d", c.Name, n, rows)
		}
		e.text(c.Name)
		e.text(c.Type)
		e.data(c.Data)
	}
	e.cut()
	return &body{parts: e.parts}, nil
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (n int, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return 0, errBodyClosed
	}
	for n < len(p) && len(b.parts) > 0 {
		k := copy(p[n:], b.parts[0])
		n += k
		if b.parts[0] = b.parts[0][k:]; len(b.parts[0]) == 0 {
			b.parts = b.parts[1:]
		}
	}
	if n == 0 && len(p) > 0 {
		return 0, io.EOF
	}
	return n, nil
}

// close ends all reading: a transport may still have the body when an insert
// has failed, and what it would read by then are the rows of another flush.
func (b *body) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed, b.parts = true, nil
}

// encoder collects the parts of a body: the memory of columns, and what stands
// between them.
type encoder struct {
	parts   [][]byte
	between []byte // since the last part
}

func (e *encoder) number(n int) { e.between = binary.AppendUvarint(e.between, uint64(n)) }

func (e *encoder) text(s string) {
	e.number(len(s))
	e.between = append(e.between, s...)
}

// cut makes a part of what stands between columns.
func (e *encoder) cut() {
	if len(e.between) > 0 {
		e.parts = append(e.parts, e.between)
		e.between = nil
	}
}

func (e *encoder) data(d schema.Data) {
	switch d := d.(type) {
	case *schema.U8:
		values(e, *d)
	case *schema.U16:
		values(e, *d)
	case *schema.U32:
		values(e, *d)
	case *schema.U64:
		values(e, *d)
	case *schema.I16:
		values(e, *d)
	case *schema.I64:
		values(e, *d)
	case *schema.B10:
		values(e, *d)
	case *schema.B16:
		values(e, *d)
	case *schema.B32:
		values(e, *d)
	case *schema.Str:
		values(e, d.Buf)
	case *schema.Array:
		values(e, d.Ends)
		e.data(d.Elem)
	case *schema.Tuple:
		for _, elem := range *d {
			e.data(elem)
		}
	default:
		panic(fmt.Sprintf("store: column data of unknown type %T", d)) // schema has a type that is missing here
	}
}

// values adds the memory of values, which is little endian in the format.
func values[T uint8 | uint16 | uint32 | uint64 | int16 | int64 | [10]byte | [16]byte | [32]byte](e *encoder, list []T) {
	if len(list) == 0 {
		return
	}
	e.cut()
	size := unsafe.Sizeof(list[0])
	part := unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(list))), len(list)*int(size))
	if bigEndian && size > 1 && size <= 8 {
		turned := make([]byte, len(part))
		for i := range part {
			at := i - i%int(size)
			turned[i] = part[at+int(size)-1-(i-at)]
		}
		part = turned
	}
	e.parts = append(e.parts, part)
}

// bigEndian is whether this machine has its numbers the other way round.
var bigEndian = binary.NativeEndian.Uint16([]byte{0, 1}) == 1

// compressBody returns what is left of a body as LZ4 frames of ClickHouse's own
// format.
func compressBody(b *body) ([]byte, error) {
	w := compress.NewWriter(compress.LevelZero, compress.LZ4)
	var out []byte
	frame := make([]byte, 1<<20)
	for {
		n, err := io.ReadFull(b, frame)
		if err == io.EOF {
			return out, nil
		}
		if err != nil && err != io.ErrUnexpectedEOF {
			return nil, err
		}
		if err := w.Compress(frame[:n]); err != nil {
			return nil, err
		}
		out = append(out, w.Data...)
	}
}
