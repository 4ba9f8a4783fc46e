package store

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"

	"github.com/ClickHouse/ch-go/proto"

	"ctappliance/schema"
)

// encoded is a block as the client library encodes columns.
func encoded(b *schema.Block) []byte {
	var buf proto.Buffer
	buf.PutInt(len(b.Columns))
	buf.PutInt(b.Rows())
	var put func(d schema.Data)
	put = func(d schema.Data) {
		switch d := d.(type) {
		case *schema.U8:
			proto.ColUInt8(*d).EncodeColumn(&buf)
		case *schema.U16:
			proto.ColUInt16(*d).EncodeColumn(&buf)
		case *schema.U32:
			proto.ColUInt32(*d).EncodeColumn(&buf)
		case *schema.U64:
			proto.ColUInt64(*d).EncodeColumn(&buf)
		case *schema.I16:
			proto.ColInt16(*d).EncodeColumn(&buf)
		case *schema.I64:
			proto.ColInt64(*d).EncodeColumn(&buf)
		case *schema.B10:
			for _, v := range *d {
				buf.Buf = append(buf.Buf, v[:]...)
			}
		case *schema.B16:
			proto.ColFixedStr16(*d).EncodeColumn(&buf)
		case *schema.B32:
			proto.ColFixedStr32(*d).EncodeColumn(&buf)
		case *schema.Str:
			buf.Buf = append(buf.Buf, d.Buf...)
		case *schema.Array:
			proto.ColUInt64(d.Ends).EncodeColumn(&buf)
			put(d.Elem)
		case *schema.Tuple:
			for _, e := range *d {
				put(e)
			}
		}
	}
	for _, c := range b.Columns {
		buf.PutString(c.Name)
		buf.PutString(c.Type)
		put(c.Data)
	}
	return buf.Buf
}

// TestBody: what is read out of the columns is what the library would encode.
func TestBody(t *testing.T) {
	d := schema.NewDependents()
	rows := realistic(shape{certs: 50, perCert: 3, renewals: 2, names: 3, spread: 10})
	for i := range rows {
		rows[i].Status = schema.Status(i % 5)
		rows[i].PathLen = int16(-i)
		rows[i].NotBefore -= int64(i) << 31 // before 1970 too
		rows[i].IPs = [][]byte{{1, 2, 3, byte(i)}}
		d.Append(&rows[i])
	}
	blocks := append(d.Blocks(), schema.Tables()...) // and without rows
	if len(blocks) < 12 {
		t.Fatalf("%d blocks", len(blocks))
	}
	for _, b := range blocks {
		want := encoded(b)
		for name, read := range map[string]func(io.Reader) io.Reader{
			"whole":         func(r io.Reader) io.Reader { return r },
			"byte by byte":  iotest.OneByteReader,
			"half by half":  iotest.HalfReader,
			"data with EOF": iotest.DataErrReader,
		} {
			body, err := newBody(b)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(read(body)); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s, %s: %d bytes, want %d, or they differ; %v", b.Table, name, len(got), len(want), err)
			}
		}
	}
	short := schema.Tables()[0]
	*short.Columns[1].Data.(*schema.B32) = make(schema.B32, 1)
	if _, err := newBody(short); err == nil {
		t.Error("a block with columns of unlike lengths was taken")
	}
}

// TestBodyIsGivenUp: when an insert is over nothing reads the columns any more,
// though a transport has the body still: they become the next flush's. With
// -race it sees a reader that goes on; without, the rows of another flush.
func TestBodyIsGivenUp(t *testing.T) {
	for range 50 {
		column := make(schema.U64, 1<<16)
		b := &schema.Block{Table: "t", Columns: []schema.Column{{Name: "x", Type: "UInt64", Data: &column}}}
		body, err := newBody(b)
		if err != nil {
			t.Fatal(err)
		}
		begun, ended := make(chan struct{}), make(chan error)
		go func() {
			buf := make([]byte, 100)
			if _, err := io.ReadFull(body, buf); err != nil {
				ended <- err
				return
			}
			close(begun)
			rest, err := io.ReadAll(body)
			if bytes.ContainsRune(rest, 7) {
				err = errors.New("it read another flush")
			}
			ended <- err
		}()
		<-begun
		body.close()
		for i := range column {
			column[i] = 7
		}
		if err := <-ended; err != nil && !errors.Is(err, errBodyClosed) {
			t.Fatal(err)
		}
		if _, err := body.Read(make([]byte, 1)); !errors.Is(err, errBodyClosed) {
			t.Fatalf("a body that was given up can be read: %v", err)
		}
	}
}
