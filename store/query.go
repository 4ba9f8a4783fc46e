package store

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/ClickHouse/clickhouse-go/v2"
)

const (
	// maxAnswer bounds the text of a query's answer in bytes.
	maxAnswer = 64 << 20
	// maxHeld bounds the memory that its rows take in bytes: an answer of empty
	// lines takes fifty times its size.
	maxHeld = 512 << 20
	// rowCost and valueCost are what a row and a value take besides their text.
	rowCost, valueCost = 64, 32
)

var tab = []byte{'\t'}

// errEmpty means that there was not even a line of names.
var errEmpty = errors.New("an empty answer")

// ErrTooLarge is the error of a query whose answer is larger than 64 MiB.
var ErrTooLarge = errors.New("the answer is larger than 64 MiB: add a LIMIT")

// Arg is the value of a parameter of a query.
type Arg struct{ name, value string }

// Param gives the value of {name:Type} in a query. The server parses it as a
// value of that type; it never becomes part of the SQL.
func Param(name string, value any) Arg { return Arg{name, escapeParam(fmt.Sprint(value))} }

// escapeParam writes a value as the server reads parameters: as a field of the
// TabSeparated format.
func escapeParam(s string) string {
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		switch c := s[i]; c {
		case '\\':
			b = append(b, `\\`...)
		case '\n':
			b = append(b, `\n`...)
		case '\t':
			b = append(b, `\t`...)
		case '\r':
			b = append(b, `\r`...)
		case 0:
			b = append(b, `\0`...)
		default:
			b = append(b, c)
		}
	}
	return string(b)
}

// Rows runs a query and returns its rows, every value as ClickHouse writes it
// as text, byte for byte: not safe to print. See Query.
func (s *Store) Rows(ctx context.Context, query string, args ...Arg) ([][]string, error) {
	_, rows, err := s.query(ctx, clickhouse.Settings{}, 0, query, args)
	return rows, err
}

// rows is Rows for answers of a certain number of columns.
func (s *Store) rows(ctx context.Context, width int, query string, args ...Arg) ([][]string, error) {
	columns, rows, err := s.query(ctx, clickhouse.Settings{}, 0, query, args)
	if err == nil && len(columns) != width {
		return nil, fmt.Errorf("the answer of ClickHouse at %s has %d columns, %d were asked for", s.target.addr, len(columns), width)
	}
	return rows, err
}

// Answer is what a query returned: text that is safe to print.
type Answer struct {
	Columns []string
	Rows    [][]string
	More    bool // there were more than maxRows rows
}

// Query runs a query of a person. Every name and value of the answer has been
// through [Safe]. The statement runs with readonly=1: it cannot write, or reach
// files and URLs. At most maxRows rows are returned; 0 is no limit but the 64
// MiB.
func (s *Store) Query(ctx context.Context, maxRows int, query string, args ...Arg) (*Answer, error) {
	settings := clickhouse.Settings{"readonly": 1}
	columns, rows, err := s.query(ctx, settings, maxRows, query, args)
	if err != nil {
		return nil, err
	}
	a := &Answer{Columns: columns, Rows: rows}
	if maxRows > 0 && len(rows) > maxRows {
		a.Rows, a.More = rows[:maxRows], true
	}
	for _, row := range append([][]string{a.Columns}, a.Rows...) {
		for i, v := range row {
			row[i] = Safe(v)
		}
	}
	return a, nil
}

// query runs a query and reads its answer, of which it takes at most one row
// more than maxRows, if that is not 0.
func (s *Store) query(ctx context.Context, settings clickhouse.Settings, maxRows int, query string, args []Arg) (columns []string, rows [][]string, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	parameters := clickhouse.Parameters{}
	for _, a := range args {
		parameters[a.name] = a.value
	}
	ctx = clickhouse.Context(ctx, clickhouse.WithQueryID(s.queryID()), clickhouse.WithSettings(settings), clickhouse.WithParameters(parameters))
	// Tab-separated text: every type has a form in it, and arbitrary bytes
	// come back as they are.
	r, err := s.conn.QueryFormat(ctx, "TabSeparatedWithNames", query)
	if err != nil {
		return nil, nil, s.show(err)
	}
	defer r.Close()
	lines := bufio.NewReaderSize(io.LimitReader(r, maxAnswer+1), 64<<10)
	size, held := 0, 0
	for {
		line, err := lines.ReadBytes('\n')
		size += len(line)
		held += len(line) + rowCost + valueCost*(1+bytes.Count(line, tab))
		switch {
		case size > maxAnswer || held > maxHeld:
			return nil, nil, ErrTooLarge
		case err == io.EOF && len(line) == 0 && columns != nil:
			return columns, rows, nil
		case err == io.EOF && columns == nil && len(line) == 0:
			return nil, nil, fmt.Errorf("ClickHouse at %s sent %w", s.target.addr, errEmpty)
		case err == io.EOF:
			return nil, nil, fmt.Errorf("the answer of ClickHouse at %s ends in the middle of a line", s.target.addr)
		case err != nil:
			return nil, nil, s.show(err)
		}
		values := bytes.Split(line[:len(line)-1], tab)
		row := make([]string, len(values))
		for i, v := range values {
			row[i] = unescape(v)
		}
		if columns == nil {
			columns = row
			continue
		}
		if len(row) != len(columns) {
			return nil, nil, fmt.Errorf("the answer of ClickHouse at %s has a row of %d values under %d columns", s.target.addr, len(row), len(columns))
		}
		if rows = append(rows, row); maxRows > 0 && len(rows) > maxRows {
			return columns, rows, nil
		}
	}
}

// unescape undoes the escapes of the TabSeparated format.
func unescape(v []byte) string {
	i := bytes.IndexByte(v, '\\')
	if i < 0 {
		return string(v)
	}
	b := append(make([]byte, 0, len(v)), v[:i]...)
	for ; i < len(v); i++ {
		c := v[i]
		if c == '\\' && i+1 < len(v) {
			i++
			switch c = v[i]; c {
			case 'b':
				c = '\b'
			case 'f':
				c = '\f'
			case 'n':
				c = '\n'
			case 'r':
				c = '\r'
			case 't':
				c = '\t'
			case '0':
				c = 0
			}
		}
		b = append(b, c)
	}
	return string(b)
}

func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// quote returns s as a string literal of SQL, for the statements that take no
// parameters.
func quote(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s) + "'"
}

// likeEscape returns s as a LIKE pattern that matches it alone.
func likeEscape(s string) string {
	return strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(s)
}
