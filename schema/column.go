package schema

import "encoding/binary"

// Data is the values of one column: one of the types of this file, by
// pointer. Blocks are encoded by package store; the types are laid out so that
// this is copying.
type Data interface {
	Rows() int
	// Reset removes all values and keeps the memory.
	Reset()
}

// Fixed-size values. A type's name is its size in bits, or bytes for hashes.
type (
	U8  []uint8
	U16 []uint16
	U32 []uint32
	U64 []uint64
	I16 []int16
	I64 []int64
	B10 [][10]byte
	B16 [][16]byte
	B32 [][32]byte
)

// Str holds strings as the Native format has them: each a uvarint length and
// its bytes.
type Str struct {
	N   int
	Buf []byte
}

// Array holds lists of Elem. Ends[i] is the number of elements in the first
// i+1 lists.
type Array struct {
	Ends []uint64
	Elem Data
}

// Tuple holds tuples, one Data per position.
type Tuple []Data

func (d *U8) Rows() int  { return len(*d) }
func (d *U16) Rows() int { return len(*d) }
func (d *U32) Rows() int { return len(*d) }
func (d *U64) Rows() int { return len(*d) }
func (d *I16) Rows() int { return len(*d) }
func (d *I64) Rows() int { return len(*d) }
func (d *B10) Rows() int { return len(*d) }
func (d *B16) Rows() int { return len(*d) }
func (d *B32) Rows() int { return len(*d) }
func (d *Str) Rows() int { return d.N }

// Rows returns the number of lists.
func (d *Array) Rows() int { return len(d.Ends) }

// Rows returns the number of tuples.
func (d *Tuple) Rows() int { return (*d)[0].Rows() }

func (d *U8) Reset()  { *d = (*d)[:0] }
func (d *U16) Reset() { *d = (*d)[:0] }
func (d *U32) Reset() { *d = (*d)[:0] }
func (d *U64) Reset() { *d = (*d)[:0] }
func (d *I16) Reset() { *d = (*d)[:0] }
func (d *I64) Reset() { *d = (*d)[:0] }
func (d *B10) Reset() { *d = (*d)[:0] }
func (d *B16) Reset() { *d = (*d)[:0] }
func (d *B32) Reset() { *d = (*d)[:0] }
func (d *Str) Reset() { d.N, d.Buf = 0, d.Buf[:0] }

// Reset removes all lists.
func (d *Array) Reset() { d.Ends = d.Ends[:0]; d.Elem.Reset() }

// Reset removes all tuples.
func (d *Tuple) Reset() {
	for _, e := range *d {
		e.Reset()
	}
}

// Append adds one value.
func (d *Str) Append(s string) {
	d.N++
	d.Buf = append(binary.AppendUvarint(d.Buf, uint64(len(s))), s...)
}

// AppendBytes adds one value.
func (d *Str) AppendBytes(b []byte) {
	d.N++
	d.Buf = append(binary.AppendUvarint(d.Buf, uint64(len(b))), b...)
}

// end closes the list that the elements appended last belong to.
func (d *Array) end() { d.Ends = append(d.Ends, uint64(d.Elem.Rows())) }

// Column is one column of a [Block]. Type is the type of the values as sent,
// which is the column's type without SimpleAggregateFunction.
type Column struct {
	Name string
	Type string
	Data Data
}

// Block is the rows of one insert into one table. A block is owned by one
// goroutine at a time.
type Block struct {
	Table   string
	Columns []Column
}

// Rows returns the number of rows.
func (b *Block) Rows() int { return b.Columns[0].Data.Rows() }

// Reset removes all rows and keeps the memory.
func (b *Block) Reset() {
	for _, c := range b.Columns {
		c.Data.Reset()
	}
}

// Bytes returns about how many bytes of memory the rows take, encoded.
func (b *Block) Bytes() int {
	n := 0
	for _, c := range b.Columns {
		n += size(c.Data)
	}
	return n
}

func size(d Data) int {
	switch d := d.(type) {
	case *U8:
		return len(*d)
	case *U16, *I16:
		return 2 * d.Rows()
	case *U32:
		return 4 * len(*d)
	case *B10:
		return 10 * len(*d)
	case *B16:
		return 16 * len(*d)
	case *B32:
		return 32 * len(*d)
	case *Str:
		return len(d.Buf)
	case *Array:
		return 8*len(d.Ends) + size(d.Elem)
	case *Tuple:
		n := 0
		for _, e := range *d {
			n += size(e)
		}
		return n
	}
	return 8 * d.Rows()
}

// A field is a column and how it is filled from a T. Lists of fields are made
// by functions: every builder has storage of its own.
type field[T any] struct {
	Column
	add func(*T)
}

// builder fills a block from values of type T.
type builder[T any] struct {
	Block
	add []func(*T)
}

func newBuilder[T any](table string, fields []field[T]) *builder[T] {
	b := &builder[T]{Block: Block{Table: table}}
	for _, f := range fields {
		b.Columns = append(b.Columns, f.Column)
		b.add = append(b.add, f.add)
	}
	return b
}

func (b *builder[T]) append(v *T) {
	for _, add := range b.add {
		add(v)
	}
}

func u8[T any](name, typ string, get func(*T) uint8) field[T] {
	d := new(U8)
	return field[T]{Column{name, typ, d}, func(v *T) { *d = append(*d, get(v)) }}
}

func u16[T any](name string, get func(*T) uint16) field[T] {
	d := new(U16)
	return field[T]{Column{name, "UInt16", d}, func(v *T) { *d = append(*d, get(v)) }}
}

func u64[T any](name string, get func(*T) uint64) field[T] {
	d := new(U64)
	return field[T]{Column{name, "UInt64", d}, func(v *T) { *d = append(*d, get(v)) }}
}

func i16[T any](name string, get func(*T) int16) field[T] {
	d := new(I16)
	return field[T]{Column{name, "Int16", d}, func(v *T) { *d = append(*d, get(v)) }}
}

func i64[T any](name, typ string, get func(*T) int64) field[T] {
	d := new(I64)
	return field[T]{Column{name, typ, d}, func(v *T) { *d = append(*d, get(v)) }}
}

func flag[T any](name string, get func(*T) bool) field[T] {
	d := new(U8)
	return field[T]{Column{name, "Bool", d}, func(v *T) { *d = append(*d, bit(get(v), 1)) }}
}

func b10[T any](name string, get func(*T) [10]byte) field[T] {
	d := new(B10)
	return field[T]{Column{name, "FixedString(10)", d}, func(v *T) { *d = append(*d, get(v)) }}
}

func b16[T any](name string, get func(*T) [16]byte) field[T] {
	d := new(B16)
	return field[T]{Column{name, "FixedString(16)", d}, func(v *T) { *d = append(*d, get(v)) }}
}

func b32[T any](name string, get func(*T) *Hash) field[T] {
	d := new(B32)
	return field[T]{Column{name, "FixedString(32)", d}, func(v *T) { *d = append(*d, *get(v)) }}
}

func str[T any](name string, get func(*T) string) field[T] {
	d := new(Str)
	return field[T]{Column{name, "String", d}, func(v *T) { d.Append(get(v)) }}
}

func raw[T any](name string, get func(*T) []byte) field[T] {
	d := new(Str)
	return field[T]{Column{name, "String", d}, func(v *T) { d.AppendBytes(get(v)) }}
}

func strs[T any](name string, get func(*T) []string) field[T] {
	e := new(Str)
	d := &Array{Elem: e}
	return field[T]{Column{name, "Array(String)", d}, func(v *T) {
		for _, s := range get(v) {
			e.Append(s)
		}
		d.end()
	}}
}

func hashes[T any](name string, get func(*T) []Hash) field[T] {
	e := new(B32)
	d := &Array{Elem: e}
	return field[T]{Column{name, "Array(FixedString(32))", d}, func(v *T) {
		*e = append(*e, get(v)...)
		d.end()
	}}
}

// bit returns value if set, else 0.
func bit(set bool, value uint8) uint8 {
	if set {
		return value
	}
	return 0
}
