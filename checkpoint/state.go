package checkpoint

// State is a checkpoint's whole content.
type State struct {
	Meta    Meta
	Spans   map[uint64]Span
	Intents []Intent // ascending by ID
	Heads   map[[32]byte]Head
}

// Meta is what there is one of.
type Meta struct {
	Writer       uint64 `json:"writer"`        // random, drawn for each life of the process; high bits of its flush IDs; never 0
	NextFlush    uint64 `json:"next_flush"`    // low bits of the next flush ID
	DeliveredSeq uint64 `json:"delivered_seq"` // every WAL record below it is in the store
	Epoch        string `json:"epoch"`         // the store's life in which the newest records went in
	EpochSeq     uint64 `json:"epoch_seq"`     // records from here to DeliveredSeq were acknowledged in Epoch
}

// Kinds of span.
const (
	KindTail     = "tail"     // [From, ∞): follows the log's growth
	KindBackfill = "backfill" // [From, To): a stretch of history
	KindRepair   = "repair"   // [From, To): fetched again because the WAL or the ledger lost it
)

// Span is a range of one log with its own position.
type Span struct {
	ID        uint64   `json:"id"` // also its stream in the WAL
	Log       [32]byte `json:"log"`
	Kind      string   `json:"kind"`
	From      uint64   `json:"from"`
	To        uint64   `json:"to"` // math.MaxUint64 for a tail
	Cursor    uint64   `json:"cursor"`
	Frontier  []byte   `json:"frontier"` // compact range [0, Cursor), encoded by the caller
	Delivered uint64   `json:"delivered"`
	Verified  uint64   `json:"verified"` // [From, Verified) hangs under a signed root

	// Halted is why the span no longer moves; empty while it does.
	Halted string `json:"halted,omitempty"`

	// WALTo is the span's end in the write-ahead log where the span was cut at To
	// later, because another fetches the rest again; 0 where it was not.
	WALTo uint64 `json:"wal_to,omitempty"`
	// Sweep says that the ledger's rows of the span are to be removed before any
	// of it is inserted.
	Sweep bool `json:"sweep,omitempty"`
}

// Intent is a flush that may have been attempted. Its cut never changes.
type Intent struct {
	ID         uint64  `json:"id"`
	First      uint64  `json:"first"` // WAL seqs [First, Next)
	Next       uint64  `json:"next"`
	Generation uint32  `json:"generation"`
	Ranges     []Range `json:"ranges"`

	// Fence marks a flush that will not be cut again, but may have been
	// attempted: it is to be fenced before the ledger is counted.
	Fence bool `json:"fence,omitempty"`
}

// Range is a stretch of one span inside an intent.
type Range struct {
	Span uint64 `json:"span"`
	From uint64 `json:"from"`
	To   uint64 `json:"to"`
}

// Head is the newest head of a log that the recomputed tree has matched, with
// what the log was called then.
type Head struct {
	Name      string   `json:"name"`
	Kind      string   `json:"kind"`
	URL       string   `json:"url"`
	Size      uint64   `json:"size"`
	Root      [32]byte `json:"root"`
	Timestamp uint64   `json:"timestamp"` // milliseconds since 1970
	Raw       []byte   `json:"raw"`       // as the log sent it
}
