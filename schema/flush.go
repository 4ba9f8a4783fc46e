package schema

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
	Rows       []*Row  // ascending by (LogID, Index)
	Issuers    []Issuer
}

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
