package storetest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/ClickHouse/ch-go/proto"
)

// Column is a column of a table.
type Column struct {
	Name string
	Type string // without SimpleAggregateFunction
	Full string // as in the DDL
	Kind string // "", DEFAULT, ALIAS, MATERIALIZED
	zero bool   // its default is zero: an insert may lack it
}

// Row is the values of one row, each as the bytes of its encoding: numbers
// little-endian, strings as they are, arrays as a count of 8 bytes and the
// values, where strings have their length before them.
type Row []string

const (
	maxBlockRows = 1 << 22
	maxString    = 64 << 20
)

// decodeBlock reads the one block that a body consists of.
func decodeBlock(body io.Reader, compressed bool) (columns []Column, rows []Row, err error) {
	r := proto.NewReader(body)
	if compressed {
		r.EnableCompression()
	}
	nc, err := r.Int()
	if err != nil {
		return nil, nil, fmt.Errorf("number of columns: %w", err)
	}
	nr, err := r.Int()
	if err != nil || nc < 1 || nc > 1000 || nr < 0 || nr > maxBlockRows {
		return nil, nil, fmt.Errorf("a block of %d columns and %d rows: %w", nc, nr, errors.Join(err))
	}
	rows = make([]Row, nr)
	for i := range rows {
		rows[i] = make(Row, nc)
	}
	for c := range nc {
		var col Column
		if col.Name, err = r.Str(); err == nil {
			col.Type, err = r.Str()
		}
		if err != nil {
			return nil, nil, fmt.Errorf("head of column %d: %w", c, err)
		}
		values, err := decodeColumn(r, col.Type, nr)
		if err != nil {
			return nil, nil, fmt.Errorf("column %s: %w", col.Name, err)
		}
		for i := range rows {
			rows[i][c] = values[i]
		}
		columns = append(columns, col)
	}
	if _, err := r.ReadByte(); !errors.Is(err, io.EOF) {
		return nil, nil, errors.New("something follows the block")
	}
	return columns, rows, nil
}

// width returns the size of a fixed-size type in bytes, 0 for others.
func width(typ string) int {
	name, args, _ := strings.Cut(typ, "(")
	switch name {
	case "UInt8", "Int8", "Bool", "Enum8":
		return 1
	case "UInt16", "Int16", "Date", "Enum16":
		return 2
	case "UInt32", "Int32", "DateTime":
		return 4
	case "UInt64", "Int64", "DateTime64":
		return 8
	case "FixedString":
		n, _ := strconv.Atoi(strings.TrimSuffix(args, ")"))
		return n
	}
	return 0
}

// decodeColumn reads n values of a type.
func decodeColumn(r *proto.Reader, typ string, n int) ([]string, error) {
	out := make([]string, n)
	if w := width(typ); w > 0 {
		buf := make([]byte, n*w)
		if err := r.ReadFull(buf); err != nil {
			return nil, err
		}
		for i := range out {
			out[i] = string(buf[i*w : (i+1)*w])
		}
		return out, nil
	}
	name, args, _ := strings.Cut(typ, "(")
	args = strings.TrimSuffix(args, ")")
	switch name {
	case "String":
		for i := range out {
			size, err := r.Int()
			if err != nil || size < 0 || size > maxString {
				return nil, fmt.Errorf("a string of %d bytes: %w", size, errors.Join(err))
			}
			buf := make([]byte, size)
			if err := r.ReadFull(buf); err != nil {
				return nil, err
			}
			out[i] = string(buf)
		}
		return out, nil
	case "Array":
		ends := make([]uint64, n)
		for i := range ends {
			end, err := r.UInt64()
			if err != nil {
				return nil, err
			}
			if i > 0 && end < ends[i-1] || end > maxBlockRows {
				return nil, fmt.Errorf("list %d ends at %d", i, end)
			}
			ends[i] = end
		}
		if n == 0 {
			return out, nil
		}
		elems, err := decodeColumn(r, args, int(ends[n-1]))
		if err != nil {
			return nil, err
		}
		from := uint64(0)
		for i, end := range ends {
			out[i] = join(elems[from:end])
			from = end
		}
		return out, nil
	case "Tuple":
		parts := make([][]string, 0, 4)
		for _, elem := range splitArgs(args) {
			if f, rest, ok := strings.Cut(elem, " "); ok && !strings.ContainsAny(f, "('") {
				elem = rest // a named element
			}
			values, err := decodeColumn(r, elem, n)
			if err != nil {
				return nil, err
			}
			parts = append(parts, values)
		}
		for i := range out {
			var v []string
			for _, p := range parts {
				v = append(v, p[i])
			}
			out[i] = join(v)
		}
		return out, nil
	}
	return nil, fmt.Errorf("type %s is not known", typ)
}

func join(values []string) string {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(values)))
	for _, v := range values {
		b = append(binary.LittleEndian.AppendUint64(b, uint64(len(v))), v...)
	}
	return string(b)
}

// splitArgs splits at the commas outside parentheses and quotes.
func splitArgs(s string) []string {
	var out []string
	depth, from, quoted := 0, 0, false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case quoted:
			switch c {
			case '\\':
				i++
			case '\'':
				quoted = false
			}
		case c == '\'':
			quoted = true
		case c == '(' || c == '[':
			depth++
		case c == ')' || c == ']':
			depth--
		case c == ',' && depth == 0:
			out = append(out, strings.TrimSpace(s[from:i]))
			from = i + 1
		}
	}
	return append(out, strings.TrimSpace(s[from:]))
}
