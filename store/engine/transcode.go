package engine

import (
	"bytes"
	"errors"
	"io"

	"github.com/ClickHouse/clickhouse-go/v2/lib/column"
	"github.com/ClickHouse/clickhouse-go/v2/lib/proto"

	chproto "github.com/ClickHouse/ch-go/proto"
)

// transcoder turns Native blocks of revision 0, which is what the library
// writes, into blocks of the revision a client asked for.
type transcoder struct {
	revision uint64
	ctx      column.ServerContext
	buf      chproto.Buffer
}

// blocks encodes every block of piece again. The returned bytes are valid
// until the next call.
func (t *transcoder) blocks(piece []byte) ([]byte, error) {
	t.buf.Reset()
	rd := bytes.NewReader(piece)
	r := chproto.NewReader(rd)
	for {
		var b proto.Block
		b.ServerContext = &t.ctx
		if err := b.Decode(r, 0); err != nil {
			if errors.Is(err, io.EOF) && len(b.Columns) == 0 {
				return t.buf.Buf, nil
			}
			return nil, exceptionf(codeUnsupported, "NOT_IMPLEMENTED", "Cannot encode the result for this client: %v", err)
		}
		if err := t.encode(&b); err != nil {
			return nil, exceptionf(codeUnsupported, "NOT_IMPLEMENTED", "Cannot encode the result for this client: %v", err)
		}
	}
}

// encode writes one block. It differs from Block.Encode in one thing: of a
// block without rows only names and types are written, as the server does and
// as Block.Decode expects; state prefixes would put the reader out of step.
func (t *transcoder) encode(b *proto.Block) error {
	if b.Rows() > 0 {
		return b.Encode(&t.buf, t.revision)
	}
	if err := b.EncodeHeader(&t.buf, t.revision); err != nil {
		return err
	}
	for _, c := range b.Columns {
		t.buf.PutString(c.Name())
		t.buf.PutString(string(c.Type()))
		if t.revision >= proto.DBMS_MIN_REVISION_WITH_CUSTOM_SERIALIZATION {
			t.buf.PutBool(false)
		}
	}
	return nil
}
