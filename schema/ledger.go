package schema

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

// Block returns what was appended since Reset.
func (l *Ledger) Block() *Block { return &l.b.Block }

// Reset makes the Ledger empty.
func (l *Ledger) Reset() { l.b.Reset() }
