package cert

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"sync"

	"ctappliance/schema"
)

// MaxCertificate is the size in bytes, 1 MiB, beyond which a certificate (or a
// leaf's TBSCertificate) is kept but not parsed.
const MaxCertificate = 1 << 20

// Input is one entry as a log serves it. Nothing in it is changed; the row
// aliases Leaf, Precert and Chain.
type Input struct {
	LogID   uint64        // first 8 bytes of the log ID, big endian
	Index   uint64        // position in the log
	Leaf    []byte        // MerkleTreeLeaf (RFC 6962 section 3.4), version and leaf_type included
	Precert []byte        // the submitted precertificate, DER; nil for an x509_entry
	Chain   []schema.Hash // SHA-256 of the chain certificates, issuer first

	// Issuer returns the SHA-256 of the SubjectPublicKeyInfo of a chain
	// certificate, by the certificate's SHA-256. It is asked for x509 entries,
	// whose leaf does not say it; nil knows none. It may be called by many
	// goroutines.
	Issuer func(fingerprint schema.Hash) (keyHash schema.Hash, ok bool)
}

// Parse fills row from in. It always yields a row, whatever the bytes:
// Row.Status says how much of it, Row.Flags ([Flag]) what was odd, Row.Error
// why something is missing. Whatever row held before is gone.
//
// The lists of a row may be shared with rows of equal content: they must not
// be written to.
func Parse(in *Input, row *schema.Row) {
	b := NewBatch()
	b.Add(in, row)
	b.End()
}

// testHookParse lets a test make Parse, or ParseIssuer (with nil), panic.
var testHookParse func(*Input)

// parser is the state of one row: what is found goes to row, what is odd to
// flags. The rest is memory used again.
type parser struct {
	row     *schema.Row
	flags   Flag
	problem string // why a column could not be filled; the first reason

	strings   *stringArena
	arena     stringArena
	slab      []string
	slabSize  int // strings of a slab, unless one list needs more
	scts      []schema.SCT
	refs      []extRef
	tmp       []byte
	attrs     []attr
	segs      [maxDrops + 7][]byte
	dates     [2 + 2*17]byte
	heads     [16]byte // three headers of at most five octets
	names     map[string]*cachedDN
	near      [1 << nearBits]*cachedDN    // some of names, by nameSlot
	issuer    *cachedDN                   // of the row, nil if it is not in the cache
	poisonAt  int                         // before which extension of the leaf the last poison was
	key       []byte                      // of the row, its octets: what a subject key identifier is made of
	known     [numKinds]map[string]*lists // of extensions, by their values
	sequences map[string][]string         // of extensions, by their numbers
}

var parsers = sync.Pool{New: func() any {
	return newParser()
}}

func newParser() *parser {
	p := &parser{names: map[string]*cachedDN{}, sequences: map[string][]string{}, slabSize: slabSize}
	p.arena.piece = pieceSize
	p.strings = &p.arena
	return p
}

// forget lets go of what belongs to the row. What is left of the memory that
// strings and lists are cut from is for the next one.
func (p *parser) forget() {
	p.row, p.key, p.flags, p.problem = nil, nil, 0, ""
}

// release gives the parser back.
func (p *parser) release() {
	p.forget()
	if cap(p.tmp) > 64<<10 {
		p.tmp = nil
	}
	parsers.Put(p)
}

// odd notes something unusual that cost no column.
func (p *parser) odd(f Flag) { p.flags |= f }

// lost notes that a column could not be filled.
func (p *parser) lost(f Flag, why string) {
	p.flags |= f
	if p.problem == "" {
		p.problem = why
	}
}

// reset makes row an empty row of in.
func reset(in *Input, row *schema.Row) {
	*row = schema.Row{} // in place: a literal with fields would be built elsewhere first
	row.LogID = in.LogID
	row.Index = in.Index
	row.EntryType = schema.UnknownEntry
	row.ParserVersion = Version
	row.Leaf = in.Leaf
	row.Chain = in.Chain
	row.PathLen = -1
}

// refuse makes row one that says why nothing but the envelope could be read,
// and keeps the bytes.
func refuse(in *Input, row *schema.Row, f Flag, why string) {
	reset(in, row)
	var env envelope
	ef, _ := env.read(in.Leaf)
	env.fill(in, row)
	row.TBSID = leafID(in.Leaf)
	row.Fingerprint = sha256.Sum256(row.DER)
	row.Status, row.Flags, row.Error = schema.StatusRefused, uint64(f|ef), why
}

// leafID stands in for the TBSID of an entry whose TBSCertificate is not
// found.
func leafID(leaf []byte) (id [16]byte) {
	h := sha256.Sum256(leaf)
	copy(id[:], h[:])
	return id
}

// envelope is a MerkleTreeLeaf taken apart.
type envelope struct {
	typ       schema.EntryType
	timestamp uint64
	keyHash   schema.Hash // precert_entry only
	cert      []byte      // the certificate, or the TBSCertificate of a precert_entry
}

// read takes a MerkleTreeLeaf apart (RFC 6962 section 3.4):
//
//	 0  u8   version, 0
//	 1  u8   leaf_type, 0
//	 2  u64  timestamp
//	10  u16  entry_type
//	12  x509_entry: certificate<24>; precert_entry: issuer_key_hash[32], TBSCertificate<24>
//	 …  extensions<16>
//
// An error is a reason to refuse the entry; flags alone are not.
func (e *envelope) read(leaf []byte) (Flag, string) {
	e.typ = schema.UnknownEntry
	if len(leaf) < 12 {
		return LeafBad, "leaf: shorter than its header"
	}
	if leaf[0] != 0 || leaf[1] != 0 {
		return UnknownLeaf, "leaf: unknown version or leaf type"
	}
	e.timestamp = binary.BigEndian.Uint64(leaf[2:])
	rest := leaf[12:]
	switch uint16(leaf[10])<<8 | uint16(leaf[11]) {
	case 0:
		e.typ = schema.X509Entry
	case 1:
		if len(rest) < 32 {
			return LeafBad, "leaf: precert entry without issuer key hash"
		}
		e.typ = schema.PrecertEntry
		rest = rest[copy(e.keyHash[:], rest):]
	default:
		return UnknownLeaf, "leaf: unknown entry type"
	}
	if len(rest) < 3 {
		return LeafBad, "leaf: no certificate"
	}
	n := int(rest[0])<<16 | int(rest[1])<<8 | int(rest[2])
	if n > len(rest)-3 {
		return LeafBad, "leaf: certificate longer than the leaf"
	}
	e.cert = rest[3 : 3+n : 3+n]
	ext := rest[3+n:]
	if len(ext) < 2 || int(ext[0])<<8|int(ext[1]) != len(ext)-2 {
		return LeafBad, ""
	}
	return 0, ""
}

// fill writes to row what is known of the entry before its certificate is
// read.
func (e *envelope) fill(in *Input, row *schema.Row) {
	row.EntryType = e.typ
	row.Timestamp = e.timestamp
	row.IssuerKeyHash = e.keyHash
	switch {
	case e.typ == schema.PrecertEntry && len(in.Precert) > 0:
		row.DER = in.Precert
	case e.typ == schema.X509Entry && e.cert != nil:
		row.DER = e.cert
	default:
		row.DER = in.Leaf
	}
}

// parse fills row, but for its hashes, for which it waits in b.
func (p *parser) parse(b *Batch, in *Input, row *schema.Row) {
	var env envelope
	f, why := env.read(in.Leaf)
	if why != "" {
		refuse(in, row, 0, why)
		return
	}
	if len(env.cert) > MaxCertificate || len(in.Precert) > MaxCertificate {
		refuse(in, row, Oversize, "certificate larger than 1 MiB")
		row.Status = schema.StatusOversize
		return
	}
	reset(in, row)
	env.fill(in, row)
	p.row = row
	p.odd(f)

	var c certificate
	if env.typ == schema.X509Entry {
		why = c.read(row.DER, &p.flags)
	} else {
		why = c.tbs.read(env.cert, &p.flags)
	}
	if why == "" && !c.tbs.hasSerial() {
		why = "certificate: no serial number"
	}
	if why != "" {
		refuse(in, row, p.flags, why)
		return
	}
	p.fill(&c.tbs)

	if env.typ == schema.X509Entry {
		p.issuerKey(in, &c.tbs)
		row.Poison = c.tbs.poison
		if row.Poison {
			p.odd(PoisonOdd)
		}
	} else {
		p.precert(in, env.cert, &c)
	}
	if c.sigAlg.read() && !bytes.Equal(c.outer, c.tbs.sigAlg.full(c.tbs.src)) {
		p.odd(SigMismatch)
	}
	row.Flags = uint64(p.flags)
	switch {
	case p.problem != "":
		row.Status, row.Error = schema.StatusPartial, p.problem
	case p.flags != 0:
		row.Status = schema.StatusOdd
	}
	b.add(p, in, &c.tbs)
}

// issuerKey finds the key hash of the issuer of an x509_entry, which its leaf
// does not carry. That of a certificate in its own chain is known to hash alone.
func (p *parser) issuerKey(in *Input, t *tbs) {
	row := p.row
	switch {
	case len(in.Chain) == 0:
		// A root needs no chain. One that claims another key than its own as
		// its authority is not self-signed, whatever its names say.
		self := t.issuer.read() && bytes.Equal(t.issuer.full(t.src), t.subject.full(t.src)) &&
			(len(row.AKI) == 0 || len(row.SKI) == 0 || bytes.Equal(row.AKI, row.SKI))
		if self && t.spki.read() {
			row.IssuerKeyHash = sha256.Sum256(t.spki.full(t.src))
			return
		}
	case in.Issuer != nil:
		if h, ok := in.Issuer(in.Chain[0]); ok {
			row.IssuerKeyHash = h
			return
		}
	}
	p.odd(NoIssuer)
}

// precert reads the submitted precertificate beside the leaf's TBSCertificate.
// Only the leaf is authenticated, so the columns come from there; here it is
// checked that both say the same. leafTBS are the bytes of the leaf.
func (p *parser) precert(in *Input, leafTBS []byte, c *certificate) {
	row := p.row
	if len(in.Precert) == 0 {
		p.odd(PrecertBad)
		row.DER = nil
		return
	}
	var pre certificate
	var f Flag // the leaf's flags say enough
	if why := pre.open(in.Precert, &f); why != "" {
		p.odd(PrecertBad)
		return
	}
	p.odd(f & TrailingData)
	c.sigAlg, c.outer = pre.sigAlg, pre.outer
	if p.isPoisoned(in.Precert, &pre.tbs.self, &c.tbs) {
		row.Poison = true
		return
	}
	pre.tbs.split(in.Precert, &f)
	pre.tbs.scanExtensions()
	row.Poison = pre.tbs.poison
	if !row.Poison {
		p.odd(PoisonOdd)
	}
	if !p.equalTBS(&pre.tbs, dropPoison, leafTBS) {
		p.odd(TBSDiffers)
	}
}
