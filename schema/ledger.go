package schema

import "fmt"

// The types of columns that several tables have.
const (
	typeEntryType = "Enum8('x509' = 0, 'precert' = 1, 'unknown' = 2)"
	typeStatus    = "Enum8('ok' = 0, 'odd' = 1, 'partial' = 2, 'refused' = 3, 'oversize' = 4)"
	typeMillis    = "DateTime64(3, 'UTC')"
	typeSeconds   = "DateTime64(0, 'UTC')"
	typeShortTime = "DateTime('UTC')"
)

// An Enum8 takes any byte on insert and fails when it is read, so a value that
// has no name must never leave this package.

func entryType(r *Row) uint8 { return uint8(min(r.EntryType, UnknownEntry)) }
func status(r *Row) uint8    { return uint8(min(r.Status, StatusOversize)) }
func millis(r *Row) int64    { return int64(r.Timestamp) }

func ledgerFields() []field[Row] {
	return []field[Row]{
		u64("log_id", func(r *Row) uint64 { return r.LogID }),
		u64("idx", func(r *Row) uint64 { return r.Index }),
		i64("ts", typeMillis, millis),
		u8("entry_type", typeEntryType, entryType),
		u8("status", typeStatus, status),
		b10("tbs10", func(r *Row) [10]byte { return [10]byte(r.TBSID[:10]) }),
	}
}

// Ledger builds the insert into table ledger.
type Ledger struct{ b *builder[Row] }

// NewLedger returns an empty Ledger.
func NewLedger() *Ledger { return &Ledger{newBuilder("ledger", ledgerFields())} }

// Append adds the row of one entry.
func (l *Ledger) Append(r *Row) { l.b.append(r) }

// AppendOf adds those rows of another Ledger for whose entries keep is true.
func (l *Ledger) AppendOf(from *Ledger, keep func(log, index uint64) bool) {
	to, of := l.b.Columns, from.b.Columns
	logs, indices := *of[0].Data.(*U64), *of[1].Data.(*U64)
	for i := range logs {
		if !keep(logs[i], indices[i]) {
			continue
		}
		for c := range to {
			appendValue(to[c].Data, of[c].Data, i)
		}
	}
}

// appendValue adds value i of a column of the ledger to another of its type.
func appendValue(to, from Data, i int) {
	switch to := to.(type) {
	case *U8:
		*to = append(*to, (*from.(*U8))[i])
	case *U64:
		*to = append(*to, (*from.(*U64))[i])
	case *I64:
		*to = append(*to, (*from.(*I64))[i])
	case *B10:
		*to = append(*to, (*from.(*B10))[i])
	default:
		panic(fmt.Sprintf("schema: a column of the ledger is a %T", to))
	}
}

// Block returns what was appended since Reset.
func (l *Ledger) Block() *Block { return &l.b.Block }

// Reset makes the Ledger empty.
func (l *Ledger) Reset() { l.b.Reset() }
