package cert

import (
	"crypto/sha256"
	"fmt"
	"sync"

	"ctappliance/ingest/shabatch"
	"ctappliance/schema"
)

// Batch parses the entries of a record. What it hashes of them is hashed
// together, which takes half the time. It belongs to one goroutine.
type Batch struct {
	p        *parser // nil until an entry comes
	waiting  []waiting
	messages [][]byte // for SHA-256: parts of entries, and of gathered
	keys     [][]byte // for SHA-1: those whose SHA-256 is not the key identifier
	gathered []byte   // TBSCertificates that lie nowhere in one piece

	hashes [4 * maxWaiting]schema.Hash
	ids    [maxWaiting]shabatch.Hash1
}

const (
	maxWaiting  = 128       // rows whose hashes are to come
	maxGathered = 256 << 10 // bytes that a batch keeps, unless one certificate needs more
)

// waiting is a row, and the places of its messages; -1 where it has none.
type waiting struct {
	row                   *schema.Row
	tbs, whole, spki, key int16 // of messages
	sha1                  int16 // of keys
}

var batches = sync.Pool{New: func() any {
	return &Batch{
		waiting:  make([]waiting, 0, maxWaiting),
		messages: make([][]byte, 0, 4*maxWaiting),
		keys:     make([][]byte, 0, maxWaiting),
	}
}}

// NewBatch returns an empty batch. Whoever takes it ends it with End.
func NewBatch() *Batch { return batches.Get().(*Batch) }

// Add fills row from in, as [Parse] does, but for what is hashed: TBSID,
// Fingerprint, SPKI and what follows from them is there when End has returned.
// Until then the row stays where it is, and the bytes that in refers to stay as
// they are; in itself may be used for the next entry.
func (b *Batch) Add(in *Input, row *schema.Row) {
	if b.p == nil {
		b.p = parsers.Get().(*parser)
	}
	defer func() {
		if r := recover(); r != nil {
			// A defect of ours, not of the certificate; the entry becomes a
			// row all the same and the parser's memory is not used again. The
			// batch learns of a row when the parser is through with it.
			b.p = nil
			refuse(in, row, Panic, fmt.Sprintf("parser panic: %.100v", r))
		}
	}()
	if testHookParse != nil {
		testHookParse(in)
	}
	b.p.parse(b, in, row)
	b.p.forget()
}

// End fills what is left of the rows. The batch must not be used again.
func (b *Batch) End() {
	b.hash()
	if b.p != nil {
		b.p.release()
		b.p = nil
	}
	if cap(b.gathered) > maxGathered {
		b.gathered = nil
	}
	batches.Put(b)
}

// testNoHashes has benchmarks see what a row costs without its hashes.
var testNoHashes bool

// add has a row whose other columns are there wait for its hashes. The row's
// issuer must be known before, because the TBSID has it; the one that is not is
// put right in [waiting.fill].
func (b *Batch) add(p *parser, in *Input, t *tbs) {
	if testNoHashes {
		return
	}
	row := p.row
	if need := len(row.IssuerKeyHash) + len(t.src) + 2*len(p.heads); need > cap(b.gathered)-len(b.gathered) || len(b.waiting) == maxWaiting {
		b.hash()
		if cap(b.gathered) < need {
			b.gathered = make([]byte, 0, max(need, maxGathered))
		}
	}
	at := len(b.gathered)
	gathered := p.named(b.gathered, row.IssuerKeyHash, t)
	w := waiting{row: row, whole: -1, spki: -1, key: -1, sha1: -1}
	message := func(m []byte) int16 {
		b.messages = append(b.messages, m)
		return int16(len(b.messages) - 1)
	}
	b.gathered = gathered
	w.tbs = message(gathered[at:])
	if row.EntryType == schema.X509Entry || len(in.Precert) > 0 {
		w.whole = message(row.DER)
	}
	if t.spki.read() {
		w.spki = message(t.spki.full(t.src))
	}
	if len(row.SKI) == skiSize && len(p.key) > 0 {
		w.key = message(p.key)
	}
	b.waiting = append(b.waiting, w)
}

// testHookHash lets a test make hash panic.
var testHookHash func()

// hash fills the rows that wait, and forgets them.
func (b *Batch) hash() {
	defer func() {
		if r := recover(); r != nil {
			// A defect of ours; nobody knows whose row it was.
			for i := range b.waiting {
				row := b.waiting[i].row
				refuse(inputOf(row), row, Panic, fmt.Sprintf("parser panic: %.100v", r))
			}
		}
		// They refer to the entries' memory, which is not ours.
		clear(b.waiting)
		clear(b.messages)
		clear(b.keys)
		b.waiting, b.messages, b.keys, b.gathered = b.waiting[:0], b.messages[:0], b.keys[:0], b.gathered[:0]
	}()
	if testHookHash != nil {
		testHookHash()
	}
	shabatch.SHA256(b.hashes[:len(b.messages)], nil, b.messages)
	// Of twenty key identifiers that a key's SHA-256 or SHA-1 is, nineteen are
	// the SHA-256: the SHA-1 is asked for the others only.
	for i := range b.waiting {
		if w := &b.waiting[i]; w.key >= 0 && [skiSize]byte(w.row.SKI) != [skiSize]byte(b.hashes[w.key][:]) {
			w.sha1 = int16(len(b.keys))
			b.keys = append(b.keys, b.messages[w.key])
		}
	}
	shabatch.SHA1(b.ids[:len(b.keys)], b.keys)
	for i := range b.waiting {
		b.waiting[i].fill(b)
	}
}

// skiSize is the size of the subject key identifiers that are made of the key's
// octets: those of a SHA-1, or as many of a SHA-256.
const skiSize = 20

// fill writes the hashes to the row, and what follows from them.
func (w *waiting) fill(b *Batch) {
	row := w.row
	copy(row.TBSID[:], b.hashes[w.tbs][:])
	if w.whole >= 0 {
		row.Fingerprint = b.hashes[w.whole]
	}
	if w.spki >= 0 {
		row.SPKI = b.hashes[w.spki]
	}
	switch {
	case w.key < 0:
	case w.sha1 < 0:
		row.SKIMethod = schema.SKISHA256
	case shabatch.Hash1(row.SKI) == b.ids[w.sha1]:
		row.SKIMethod = schema.SKISHA1
	}
	if row.EntryType == schema.X509Entry && w.spki >= 0 && len(row.Chain) > 0 && row.Chain[0] == row.Fingerprint {
		// Its own issuer, by its own chain.
		row.IssuerKeyHash = row.SPKI
		m := b.messages[w.tbs] // in gathered: it is ours to change
		copy(m, row.IssuerKeyHash[:])
		h := sha256.Sum256(m)
		copy(row.TBSID[:], h[:])
		row.Flags &^= uint64(NoIssuer)
		if row.Flags == 0 && row.Status == schema.StatusOdd {
			row.Status = schema.StatusOK
		}
	}
}

// inputOf returns what a row was made of, but for how to find its issuer.
func inputOf(row *schema.Row) *Input {
	in := &Input{LogID: row.LogID, Index: row.Index, Leaf: row.Leaf, Chain: row.Chain}
	if row.EntryType == schema.PrecertEntry {
		in.Precert = row.DER
	}
	return in
}
