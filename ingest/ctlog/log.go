package ctlog

import (
	"context"
	"time"
)

// Hash is a SHA-256 value.
type Hash = [32]byte

// Kind is the read protocol that a log speaks.
type Kind uint8

// The two read protocols.
const (
	RFC6962 Kind = iota // RFC 6962 section 4: get-sth, get-entries
	Static              // c2sp.org/static-ct-api: checkpoint, tiles
)

// String returns "rfc6962" or "static".
func (k Kind) String() string {
	if k == Static {
		return "static"
	}
	return "rfc6962"
}

// Info identifies a log and says where it is. ID is the identity: names and
// URLs may change while a log lives (ct-protocols: "Names and URLs are not
// part of it").
type Info struct {
	ID            Hash   // SHA-256 of Key
	Key           []byte // DER SubjectPublicKeyInfo
	Name          string // description of the log list, or what the user called it
	Operator      string
	Kind          Kind
	URL           string // RFC 6962 base, or the monitoring prefix; ends in "/"
	SubmissionURL string // static only: the submission prefix, from which the checkpoint's origin follows
	MMD           time.Duration
	State         string    // log list state: "usable", "qualified", "readonly", …; empty if not from a list
	Start, End    time.Time // temporal interval of the shard; zero if none

	// What else log lists say. StateSince is when State began. A read-only log
	// has ended at FinalSize, with FinalRoot; 0 if that was not said.
	StateSince time.Time
	FinalSize  uint64
	FinalRoot  Hash
	Test       bool // log_type "test": for trying out, no public certificates

	// TileURL is where an RFC 6962 log serves full data tiles and issuers
	// beside its own API, as some do without publishing a checkpoint; ends in
	// "/". Empty for all others: log lists do not have it.
	TileURL string

	// Problem says in one line why a listed log cannot be followed: its log_id
	// is not the hash of its key, its URL is a placeholder. Empty if it can.
	Problem string
}

// Head is a signed tree head whose signature has been verified.
type Head struct {
	Size      uint64
	Root      Hash
	Timestamp uint64 // milliseconds since 1970
	Raw       []byte // get-sth body or checkpoint, byte for byte: kept as evidence
}

// Entry is one leaf with what the log serves beside it. Slices alias the
// answer that they came in.
type Entry struct {
	Leaf    []byte // MerkleTreeLeaf as it hashes into the tree (RFC 6962 section 3.4), always with its version and leaf_type bytes
	Precert []byte // the submitted precertificate, DER; nil for an x509_entry. Unauthenticated
	Chain   []Hash // SHA-256 of each chain certificate, issuer first. Unauthenticated

	// Extra is the extra_data of an RFC 6962 entry that could not be taken
	// apart (unknown entry type, wrong lengths), byte for byte; nil otherwise.
	Extra []byte
}

// Batch is consecutive entries of one log as one answer gave them.
type Batch struct {
	From    uint64  // index of Entries[0]
	Entries []Entry // never empty

	// Tile is set if the batch came as a static-ct data tile: the bytes as
	// they were received, gzip-compressed if TileGzip. Entries are those of the
	// tile from TileSkip on; there may be more in the tile than in Entries.
	Tile     []byte
	TileGzip bool
	TileSkip int

	// Issuers holds the DER of chain certificates that came inside the answer
	// (RFC 6962 repeats them in every entry), by SHA-256. A static log serves
	// them apart: see Log.Issuer.
	Issuers map[Hash][]byte

	// Memory is what Leaf, Precert and Extra of the entries lie in.
	Memory *Memory
}

// Log is the read side of a CT log, whichever protocol it speaks. Methods
// make as few requests as they can, each through the Pacer, and never retry:
// the caller owns patience. All methods may be called concurrently.
type Log interface {
	Info() Info

	// Head fetches the newest signed head and verifies its signature.
	Head(ctx context.Context) (*Head, error)

	// Plan returns the range of one request that begins at from: aligned to
	// the log's page size as learnt so far, within [from, to) and treeSize.
	// A partial static tile is planned only if wantPartial.
	Plan(from, to, treeSize uint64, wantPartial bool) (end uint64, ok bool)

	// Entries fetches one batch that begins at from and ends at or before to,
	// to ≤ treeSize. It may be shorter than asked (it often is), never empty:
	// an empty answer is ErrNotYet.
	Entries(ctx context.Context, from, to, treeSize uint64) (*Batch, error)

	// Frontier returns the compact range of [0, size) proven from head (I5):
	// from hash tiles, or get-entry-and-proof and get-sth-consistency.
	// size ≤ head.Size.
	Frontier(ctx context.Context, size uint64, head *Head) (*Frontier, error)

	// Issuer fetches a chain certificate by SHA-256 and checks the hash. Logs
	// that send chains with entries return ErrNoIssuers.
	Issuer(ctx context.Context, fingerprint Hash) ([]byte, error)
}

// Class tells the pacer what a request is for: polls of the head must not
// starve behind a backlog of data requests.
type Class uint8

// The request classes.
const (
	ClassHead   Class = iota // get-sth, checkpoint
	ClassData                // get-entries, tile/data
	ClassProof               // proofs, hash tiles
	ClassIssuer              // issuer/
)

// Pacer decides when a request may leave. One pacer serves one rate domain.
type Pacer interface {
	// Acquire waits for a slot. The request must be reported to the ticket,
	// once, when it is over.
	Acquire(ctx context.Context, class Class) (Ticket, error)
}

// Ticket is a slot taken from a Pacer.
type Ticket interface{ Done(Outcome) }

// Outcome is what a pacer learns from one request.
type Outcome struct {
	Status     int           // HTTP status; 0 if there was no answer
	RetryAfter time.Duration // 0 if the answer had none
	Latency    time.Duration // request sent to body read
	Bytes      int64         // body bytes received
	Err        error         // transport error or a body that is not an answer (HTML with status 200)
}
