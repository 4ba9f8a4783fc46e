package store

import (
	"fmt"
	"io"
	"sync/atomic"

	"github.com/ClickHouse/ch-go/compress"
	"github.com/ClickHouse/ch-go/proto"

	"ctappliance/schema"
)

// appendBlock appends b as one block of the Native format, revision 0, which
// is what the body of an insert over HTTP consists of.
func appendBlock(buf *proto.Buffer, b *schema.Block) error {
	rows := b.Rows()
	buf.PutInt(len(b.Columns))
	buf.PutInt(rows)
	for i := range b.Columns {
		c := &b.Columns[i]
		if n := c.Data.Rows(); n != rows {
			return fmt.Errorf("column %s has %d rows, others %d", c.Name, n, rows)
		}
		buf.PutString(c.Name)
		buf.PutString(c.Type)
		appendData(buf, c.Data)
	}
	return nil
}

func appendData(buf *proto.Buffer, d schema.Data) {
	switch d := d.(type) {
	case *schema.U8:
		buf.Buf = append(buf.Buf, *d...)
	case *schema.U16:
		proto.ColUInt16(*d).EncodeColumn(buf)
	case *schema.U32:
		proto.ColUInt32(*d).EncodeColumn(buf)
	case *schema.U64:
		proto.ColUInt64(*d).EncodeColumn(buf)
	case *schema.I16:
		proto.ColInt16(*d).EncodeColumn(buf)
	case *schema.I64:
		proto.ColInt64(*d).EncodeColumn(buf)
	case *schema.B16:
		proto.ColFixedStr16(*d).EncodeColumn(buf)
	case *schema.B32:
		proto.ColFixedStr32(*d).EncodeColumn(buf)
	case *schema.Str:
		buf.Buf = append(buf.Buf, d.Buf...)
	case *schema.Array:
		proto.ColUInt64(d.Ends).EncodeColumn(buf)
		appendData(buf, d.Elem)
	case *schema.Tuple:
		for _, e := range *d {
			appendData(buf, e)
		}
	default:
		panic(fmt.Sprintf("store: column data of unknown type %T", d)) // schema has a type that is missing here
	}
}

// compressBlock returns data as LZ4 frames of ClickHouse's own format.
func compressBlock(data []byte) ([]byte, error) {
	const frame = 1 << 20
	w := compress.NewWriter(compress.LevelZero, compress.LZ4)
	out := make([]byte, 0, len(data)/2)
	for len(data) > 0 {
		n := min(len(data), frame)
		if err := w.Compress(data[:n]); err != nil {
			return nil, err
		}
		out = append(out, w.Data...)
		data = data[n:]
	}
	return out, nil
}

// body is a request body that knows whether it was read to its end: only then
// is the transport done with the buffer.
type body struct {
	data []byte
	done atomic.Bool
}

func (b *body) Read(p []byte) (int, error) {
	if len(b.data) == 0 {
		b.done.Store(true)
		return 0, io.EOF
	}
	n := copy(p, b.data)
	b.data = b.data[n:]
	return n, nil
}
