package schema

import "math"

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
	// Recent, if set, makes Append leave out rows that it says were written, and
	// fold rows of one certificate or name. Several Dependents may share one.
	Recent *Recent

	// KeepDER fills table der.
	KeepDER bool

	certs     *certs
	profiles  *builder[profileRow]
	nameCerts *nameCerts
	names     *names
	problems  *builder[Row]
	der       *builder[Row]
	issuers   *builder[Issuer]

	turn turn // whose rows of this flush can be added to

	profiler *profiler
	inBlock  map[uint64]struct{} // ids in profiles
	nameSet  nameSet
}

// NewDependents returns an empty Dependents.
func NewDependents() *Dependents {
	return &Dependents{
		certs:     newCerts(),
		profiles:  newBuilder("profiles", profileFields()),
		nameCerts: newNameCerts(),
		names:     newNames(),
		problems:  newBuilder("problems", problemFields()),
		der:       newBuilder("der", derFields()),
		issuers:   newBuilder("issuers", issuerFields()),
		profiler:  newProfiler(),
		inBlock:   map[uint64]struct{}{},
	}
}

const dayMillis = 24 * 60 * 60 * 1000

// Append adds everything but the ledger row of one entry.
func (d *Dependents) Append(r *Row) {
	if r.Status != StatusOK {
		d.problems.append(r)
	}
	if status(r) >= uint8(StatusRefused) { // nothing of the certificate is known
		if d.KeepDER && len(r.DER) > 0 {
			d.der.append(r)
		}
		return
	}
	if d.Recent == nil {
		d.add(r)
		d.addNames(r, nil, 0)
		return
	}
	c := d.Recent.cert(r)
	d.Recent.take(&d.turn)
	if !c.known(d.Recent, r) {
		if at, ok := d.turn.row(c.at); ok && (*d.certs.notAfter)[at] == clampTime(r.NotAfter) {
			d.certs.fold(at, r, d.profile(r))
			d.addDER(r)
		} else {
			c.at = d.turn.place(d.certs.rows())
			d.add(r)
		}
	}
	if day := uint32(min(r.Timestamp/dayMillis, math.MaxUint16)) + 1; c.day != day {
		d.addNames(r, c, uint16(day-1))
		c.day = day
	}
}

// add makes a row of certs, and what goes with it.
func (d *Dependents) add(r *Row) {
	d.certs.append(r, d.profile(r))
	d.addDER(r)
}

func (d *Dependents) addDER(r *Row) {
	if d.KeepDER && len(r.DER) > 0 {
		d.der.append(r)
	}
}

// profile adds the row's profile, if it was not written lately, and returns its
// id.
func (d *Dependents) profile(r *Row) uint64 {
	id := d.profiler.id(r)
	written := d.inBlock
	if d.Recent != nil {
		written = d.Recent.profiles
	}
	if _, ok := written[id]; !ok {
		if len(written) == maxProfiles {
			clear(written)
		}
		written[id] = struct{}{}
		d.profiles.append(&profileRow{Row: r, id: id})
	}
	return id
}

// addNames makes the rows of the name tables. c is nil if nothing is known of
// what was written.
func (d *Dependents) addNames(r *Row, c *recentCert, day uint16) {
	list := d.nameSet.of(r)
	if len(list) == 0 {
		return
	}
	if c == nil || c.day == 0 {
		d.nameCerts.append(r, list)
	}
	at, end := nameTime(r), clamp32(r.NotAfter)
	for _, name := range list {
		if c == nil {
			d.names.append(name, at, end)
			continue
		}
		n, ok := d.Recent.name(name)
		if ok && n.notAfter >= end && n.first <= day && day <= n.last {
			continue
		}
		if i, same := d.turn.row(n.at); ok && same {
			d.names.fold(i, at, end)
			n.notAfter, n.first, n.last = max(n.notAfter, end), min(n.first, day), max(n.last, day)
			continue
		}
		if !ok {
			n.first, n.last = day, day
		}
		n.notAfter, n.first, n.last = max(n.notAfter, end), min(n.first, day), max(n.last, day)
		n.at = d.turn.place(d.names.Rows())
		d.names.append(name, at, end)
	}
}

// AppendIssuer adds a chain certificate, if it was not written lately.
func (d *Dependents) AppendIssuer(i *Issuer) {
	if d.Recent.issuer(i.Fingerprint) {
		return
	}
	d.issuers.append(i)
}

// Blocks returns the inserts to make, in the order to make them: what is
// referred to comes first. Blocks without rows are left out.
func (d *Dependents) Blocks() []*Block {
	d.finish()
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

// finish completes the columns: no row can be added to any more.
func (d *Dependents) finish() {
	d.turn = turn{}
	d.certs.finish()
}

// Reset removes all rows and keeps the memory.
func (d *Dependents) Reset() {
	d.turn = turn{}
	d.certs.Reset()
	for _, b := range d.all() {
		b.Reset()
	}
	clear(d.inBlock)
}

// Tables returns an empty block for every table that rows are inserted into:
// the lists of columns.
func Tables() []*Block {
	return append(NewDependents().all(), NewLedger().Block(), NewLogs().Block())
}
