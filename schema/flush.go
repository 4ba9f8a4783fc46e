package schema

import "errors"

// Range is the half-open index range [From, To) of one log. Log is the first 8
// bytes of the log ID.
type Range struct {
	Log  uint64 `json:"log"`
	From uint64 `json:"from"`
	To   uint64 `json:"to"`
}

// Len returns the number of entries in r.
func (r Range) Len() uint64 { return r.To - r.From }

// Flush is one insert per table: the rows of a contiguous range of WAL
// sequence numbers. Its ID never names another set of rows (intents are never
// cut again). Generation grows whenever rows must go in although the server
// may remember the token of an earlier try.
type Flush struct {
	ID         uint64
	Generation uint32
	Ranges     []Range // ascending by (Log, From); adjacent ones merged
	Issuers    []Issuer

	// The rows: as what the store has made of them while the flush was cut, or
	// themselves, ascending by (LogID, Index).
	Prepared Prepared
	Rows     []*Row
}

// Discard gives what was prepared back, if anything was. Doing it again changes
// nothing.
func (f *Flush) Discard() {
	if f.Prepared != nil {
		f.Prepared.Discard()
		f.Prepared = nil
	}
}

// Prepared is what a store makes of a flush's rows ahead of the inserts. One
// goroutine adds to it; when it has done so the one that inserts owns it.
type Prepared interface {
	// Add takes rows in. Their memory may be used again when it returns.
	Add(rows []Row)
	// Discard gives the memory back. Doing it again changes nothing.
	Discard()
}

// ErrStale says that what was prepared for a flush is of no use any more: it
// must be prepared again, or the flush must come with its rows.
var ErrStale = errors.New("what was prepared for the flush is out of date")

// Proof is what the ledger says it holds of a Range.
type Proof struct {
	Range  Range
	Count  uint64 // rows
	Unique uint64 // distinct indices
	XOR    uint64 // XOR of RowHash over the rows
}

// RefusedError is an insert that the server refused for good: the same rows
// will be refused again. Every other error is worth another try.
type RefusedError struct {
	Table string
	Code  int32 // ClickHouse error code
	Err   error
}

func (e *RefusedError) Error() string { return "inserting into " + e.Table + ": " + e.Err.Error() }

// Unwrap returns the server's error.
func (e *RefusedError) Unwrap() error { return e.Err }
