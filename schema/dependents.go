package schema

// problemFields are the columns of table problems.
func problemFields() []field[Row] {
	return []field[Row]{
		b16("tbs_id", func(r *Row) [16]byte { return r.TBSID }),
		b32("sha256", func(r *Row) *Hash { return &r.Fingerprint }),
		u64("log_id", func(r *Row) uint64 { return r.LogID }),
		u64("idx", func(r *Row) uint64 { return r.Index }),
		i64("ts", typeMillis, millis),
		u8("entry_type", typeEntryType, entryType),
		u8("status", typeStatus, status),
		u64("flags", func(r *Row) uint64 { return r.Flags }),
		str("error", func(r *Row) string { return r.Error }),
		u16("parser_version", func(r *Row) uint16 { return r.ParserVersion }),
		b32("issuer_key_hash", func(r *Row) *Hash { return &r.IssuerKeyHash }),
		hashes("chain", func(r *Row) []Hash { return r.Chain }),
		raw("leaf", func(r *Row) []byte { return r.Leaf }),
		raw("der", func(r *Row) []byte { return r.DER }),
	}
}

// derFields are the columns of table der.
func derFields() []field[Row] {
	return []field[Row]{
		b16("tbs_id", func(r *Row) [16]byte { return r.TBSID }),
		b32("sha256", func(r *Row) *Hash { return &r.Fingerprint }),
		u8("entry_type", typeEntryType, entryType),
		raw("der", func(r *Row) []byte { return r.DER }),
	}
}

// Dependents builds the inserts into all tables that follow from log entries
// but the ledger. It is made for one flush after another: fill, insert, Reset.
type Dependents struct {
	// Recent, if set, makes Append leave out rows that it says were written.
	Recent *Recent

	// KeepDER fills table der.
	KeepDER bool

	certs     *builder[certRow]
	profiles  *builder[profileRow]
	nameCerts *builder[nameRow]
	names     *builder[nameRow]
	problems  *builder[Row]
	der       *builder[Row]
	issuers   *builder[Issuer]

	profiler *profiler
	inBlock  map[uint64]struct{} // ids in profiles
	nameSet  nameSet
	cert     certRow // the rows that are being appended: not to allocate them
	name     nameRow
}

// NewDependents returns an empty Dependents.
func NewDependents() *Dependents {
	return &Dependents{
		certs:     newBuilder("certs", certFields()),
		profiles:  newBuilder("profiles", profileFields()),
		nameCerts: newBuilder("name_certs", nameCertFields()),
		names:     newBuilder("names", nameFields()),
		problems:  newBuilder("problems", problemFields()),
		der:       newBuilder("der", derFields()),
		issuers:   newBuilder("issuers", issuerFields()),
		profiler:  newProfiler(),
		inBlock:   map[uint64]struct{}{},
	}
}

// The kinds of keys in Recent. Those of certificates go on for each value of
// certs.seen, at most 16.
const (
	recentNames = iota
	recentDER
	recentCert
)

const dayMillis = 24 * 60 * 60 * 1000

// Append adds everything but the ledger row of one entry.
func (d *Dependents) Append(r *Row) {
	if r.Status != StatusOK {
		d.problems.append(r)
	}
	if d.KeepDER && len(r.DER) > 0 && !d.Recent.add(recentDER, &r.TBSID, uint64(r.EntryType), r.Fingerprint[:]) {
		d.der.append(r)
	}
	if status(r) >= uint8(StatusRefused) {
		return // nothing of the certificate is known
	}
	if !d.Recent.add(recentCert+seen(r), &r.TBSID, r.Flags, r.Fingerprint[:]) {
		c := &d.cert
		*c = certRow{Row: r, profile: d.profiler.id(r), form: formOf(r)}
		d.certs.append(c)
		if _, ok := d.inBlock[c.profile]; !ok {
			d.inBlock[c.profile] = struct{}{}
			d.profiles.append(&profileRow{Row: r, id: c.profile})
		}
	}
	if len(r.DNSNames)+len(r.Subject.CommonNames) == 0 || d.Recent.add(recentNames, &r.TBSID, r.Timestamp/dayMillis, nil) {
		return
	}
	for _, n := range d.nameSet.of(r) {
		d.name = nameRow{Row: r, rname: n.rname, wildcard: n.wildcard}
		d.nameCerts.append(&d.name)
		d.names.append(&d.name)
	}
}

// AppendIssuer adds a chain certificate.
func (d *Dependents) AppendIssuer(i *Issuer) { d.issuers.append(i) }

// Blocks returns the inserts to make, in the order to make them: what is
// referred to comes first. Blocks without rows are left out.
func (d *Dependents) Blocks() []*Block {
	var blocks []*Block
	for _, b := range d.all() {
		if b.Rows() > 0 {
			blocks = append(blocks, b)
		}
	}
	return blocks
}

func (d *Dependents) all() []*Block {
	return []*Block{&d.issuers.Block, &d.profiles.Block, &d.problems.Block, &d.der.Block,
		&d.certs.Block, &d.names.Block, &d.nameCerts.Block}
}

// Reset removes all rows and keeps the memory.
func (d *Dependents) Reset() {
	for _, b := range d.all() {
		b.Reset()
	}
	clear(d.inBlock)
	d.cert, d.name = certRow{}, nameRow{} // do not keep a flush's memory
}

// Tables returns an empty block for every table that rows are inserted into:
// the lists of columns.
func Tables() []*Block {
	return append(NewDependents().all(), NewLedger().Block(), NewLogs().Block())
}
