package cert

import (
	"bytes"
	"encoding/binary"

	"ctappliance/schema"
)

// certificate is a Certificate (RFC 5280 section 4.1) taken apart.
type certificate struct {
	tbs    tbs
	sigAlg elem   // outer signatureAlgorithm; unset for a leaf's TBSCertificate
	outer  []byte // its bytes
}

// read takes DER bytes apart. It returns why they are no certificate, or "".
func (c *certificate) read(der []byte, f *Flag) string {
	if why := c.open(der, f); why != "" {
		return why
	}
	c.tbs.split(der, f)
	return ""
}

// open is read without what is in the TBSCertificate, of which it finds where it
// is.
func (c *certificate) open(der []byte, f *Flag) string {
	t := &c.tbs.self
	if c.openPlain(der) {
		return ""
	}
	*c = certificate{}
	r := cur{b: der}
	var e elem
	ok := r.next(&e)
	if r.flags&BER != 0 || len(der) > 1 && der[1] == 0x80 {
		*f |= BER
	}
	if !ok || e.tag != tagSeq {
		return "certificate: not a SEQUENCE"
	}
	if r.more() {
		*f |= TrailingData
	}
	in := r.in(&e)
	var sig elem
	if !in.next(t) || t.tag != tagSeq {
		*f |= r.flags | in.flags
		return "certificate: tbsCertificate is not a SEQUENCE"
	}
	if in.next(&c.sigAlg) && in.next(&sig) {
		if c.sigAlg.tag != tagSeq || sig.tag != tagBits || in.more() {
			*f |= TrailingData
		}
	} else {
		*f |= TrailingData // the signature is no column: its absence is only odd
	}
	c.outer = c.sigAlg.full(der)
	*f |= r.flags | in.flags
	return ""
}

// tbs is a TBSCertificate taken apart; what is absent is an unset element.
type tbs struct {
	src      []byte // what the elements are places in
	self     elem
	version  elem // [0]
	serial   elem
	sigAlg   elem
	issuer   elem
	validity elem
	subject  elem
	spki     elem
	uniqueID bool
	stray    bool // something stands where nothing should

	// The extensions: the [3] element and the SEQUENCE in it. extsBad says
	// that [3] is not one SEQUENCE of elements.
	wrap, exts elem
	extsBad    bool

	// drop[:drops] are the ranges of src that hold poison or SCT list.
	drop   [maxDrops]dropped
	drops  int
	poison bool
}

// maxDrops is how many ranges are remembered. There are one or two; logs take
// no certificate with poison or SCT list twice. One with more keeps all its
// extensions in the TBSID.
const maxDrops = 4

// dropped is an extension, or several side by side, that the TBSCertificate of the other half of a
// precert and certificate pair does not have: src[from:to].
type dropped struct {
	from, to uint32
	kind     uint8
}

const (
	dropPoison uint8 = 1 << iota
	dropSCTs
)

// read takes the bytes of a TBSCertificate apart, as a precert_entry has them.
func (t *tbs) read(der []byte, f *Flag) string {
	if tag, body, stop := head(der, 0); tag == tagSeq && stop == len(der) && !testGeneral {
		t.self.set(tagSeq, 0, body, stop)
		t.split(der, f)
		return ""
	}
	r := cur{b: der}
	ok := r.next(&t.self)
	if r.flags&BER != 0 || len(der) > 1 && der[1] == 0x80 {
		*f |= BER
	}
	if !ok || t.self.tag != tagSeq {
		return "tbsCertificate: not a SEQUENCE"
	}
	if r.more() {
		*f |= TrailingData
	}
	*f |= r.flags
	t.split(der, f)
	return ""
}

// split finds the fields of a TBSCertificate, self of src, by their order and
// tags. It goes as far as it can.
//
// Elements are read where they belong: copying one that was just written costs
// more than reading it, because its parts are still on their way to memory.
func (t *tbs) split(src []byte, f *Flag) {
	t.src = src
	if t.splitPlain() {
		return
	}
	*t = tbs{src: src, self: t.self}
	c := cur{b: src[:t.self.stop], at: t.self.body}
	x := &t.version
	more := c.next(x)
	if more && x.tag == 0xa0 {
		x = &t.serial
		more = c.next(x)
	} else {
		t.serial, t.version = t.version, elem{}
		x = &t.serial
	}
	// The fields that must be there, in their order.
	fields := [...]*elem{&t.sigAlg, &t.issuer, &t.validity, &t.subject, &t.spki, &t.wrap}
	for i, next := range fields {
		if !more || x.tag != fieldTags[i] {
			break
		}
		x = next
		more = c.next(x)
	}
	// What x is of is another field's, or what comes behind them.
	rest := *x
	*x = elem{}
	x = &rest
	for more {
		switch x.tag {
		case 0x81, 0xa1, 0x82, 0xa2:
			t.uniqueID = true
		case 0xa3:
			if t.wrap.read() {
				t.stray = true
				break
			}
			t.wrap = *x
			in := c.in(x)
			var list elem
			if !in.next(&list) || list.tag != tagSeq || in.more() {
				t.extsBad = true
			}
			if list.tag == tagSeq {
				t.exts = list
			}
			*f |= in.flags
		default:
			t.stray = true
		}
		more = c.next(x)
	}
	if c.more() {
		t.stray = true
	}
	*f |= c.flags
}

// fieldTags are those of serial number to public key.
var fieldTags = [...]byte{tagInt, tagSeq, tagSeq, tagSeq, tagSeq, tagSeq}

// hasSerial reports whether the walk got anywhere.
func (t *tbs) hasSerial() bool { return t.serial.read() }

// scanExtensions finds poison and SCT list without reading anything else.
func (t *tbs) scanExtensions() {
	c := t.in(&t.exts)
	for c.more() {
		var e, oid elem
		if !c.next(&e) {
			t.extsBad = true
			return
		}
		in := c.in(&e)
		if in.next(&oid) {
			t.note(oids[knownOID(oid.content(t.src))].ext, e.at, e.end)
		}
	}
}

// in returns a cursor over the content of one of t's elements.
func (t *tbs) in(e *elem) cur { return cur{b: t.src[:e.stop], at: e.body} }

// note remembers an extension that is dropped from the TBSID.
func (t *tbs) note(ext uint8, from, to uint32) {
	var kind uint8
	switch ext {
	case extPoison:
		t.poison = true
		kind = dropPoison
	case extSCTs:
		kind = dropSCTs
	default:
		return
	}
	if n := t.drops; n > 0 && n <= maxDrops && t.drop[n-1].kind == kind && t.drop[n-1].to == from {
		t.drop[n-1].to = to
		return
	}
	if t.drops < maxDrops {
		t.drop[t.drops] = dropped{from, to, kind}
	}
	t.drops++
}

// segments returns the TBSCertificate without the extensions of the kinds, in
// pieces. The lengths around the extensions are DER whatever they were; all
// else is as it was, but that dates stands for the validity if it is not nil.
// If nothing is left of the list it stays, empty: that is how logs encode it.
//
// Where the extensions are not one list of elements, or too much would have to
// go (maxDrops), the bytes are returned as they are.
func (p *parser) segments(t *tbs, kinds uint8, dates []byte) [][]byte {
	segs := p.segs[:0]
	if t.extsBad || t.drops > maxDrops {
		return append(segs, t.self.full(t.src))
	}
	at, end := t.self.body, t.self.stop // of what stands before the extensions
	if t.wrap.read() {
		end = t.wrap.at
	}
	n := int(t.exts.stop - t.exts.body) // what stays of the list
	for _, d := range t.drop[:t.drops] {
		if d.kind&kinds != 0 {
			n -= int(d.to - d.from)
		}
	}
	seq := headerLen(n) + n
	total := int(end - at)
	if t.wrap.read() {
		total += headerLen(seq) + seq + int(t.self.stop-t.wrap.end)
	}
	if dates != nil {
		total += len(dates) - int(t.validity.end-t.validity.at)
	}
	h := appendHeader(p.heads[:0], tagSeq, total)
	segs = append(segs, h)
	if dates != nil {
		segs = append(segs, t.src[at:t.validity.at], dates)
		at = t.validity.end
	}
	segs = append(segs, t.src[at:end])
	if !t.wrap.read() {
		return segs
	}
	split := len(h)
	h = appendHeader(h, 0xa3, seq)
	h = appendHeader(h, tagSeq, n)
	segs = append(segs, h[split:])
	at = t.exts.body
	for _, d := range t.drop[:t.drops] {
		if d.kind&kinds != 0 {
			segs = append(segs, t.src[at:d.from])
			at = d.to
		}
	}
	return append(segs, t.src[at:t.exts.stop], t.src[t.wrap.end:t.self.stop])
}

// logDates returns the validity as logs write it: when they make the leaf's
// TBSCertificate they encode its dates anew, and a GeneralizedTime of 1950 to
// 2049 becomes a UTCTime. It returns nil where nothing changes.
func (p *parser) logDates(t *tbs) []byte {
	if p.flags&TimeGT == 0 {
		return nil
	}
	out := append(p.dates[:0], tagSeq, 0)
	c := t.in(&t.validity)
	for range 2 {
		var e elem
		if !c.next(&e) {
			return nil
		}
		b := e.content(t.src)
		switch {
		case e.tag == tagGenTime && len(b) == 15 && digits(b) == 14 && b[14] == 'Z' &&
			number(b[:4]) >= 1950 && number(b[:4]) < 2050:
			out = append(out, tagUTCTime, 13)
			out = append(out, b[2:]...)
		case e.end-e.at <= 17:
			out = append(out, e.full(t.src)...)
		default:
			return nil
		}
	}
	if c.more() {
		return nil
	}
	out[1] = byte(len(out) - 2)
	return out
}

// named appends to b what Row.TBSID is the first 16 bytes of the SHA-256 of:
// keyHash, then the TBSCertificate without poison and SCT list, its dates as logs
// write them; the same for a precertificate and the certificate that it became.
func (p *parser) named(b []byte, keyHash schema.Hash, t *tbs) []byte {
	b = append(b, keyHash[:]...)
	segs := p.segments(t, dropPoison|dropSCTs, p.logDates(t))
	for _, s := range segs {
		b = append(b, s...)
	}
	clear(segs)
	return b
}

// poisonExtension is the poison as RFC 6962 section 3.1 and DER want it:
// critical, an ASN.1 NULL.
const (
	poisonExtension = "\x30\x13\x06\x0a" + oidPoison + "\x01\x01\xff\x04\x02\x05\x00"
	poisonBegins    = 0x0401_062b_0a06_1330 // its first eight octets
)

// isPoisoned reports whether the element e of der is the leaf's TBSCertificate,
// in DER, with [poisonExtension] put between two of its extensions, or
// before or behind them. It looks at bytes only: what was found well-formed in
// the leaf is so in what equals it. False says nothing; [parser.equalTBS] does.
func (p *parser) isPoisoned(der []byte, e *elem, leaf *tbs) bool {
	n := int(leaf.wrap.at - leaf.self.body)
	tbs := der[:e.stop]
	at := int(e.body)
	if p.flags&(NonMinLen|BER) != 0 || leaf.extsBad || leaf.poison || leaf.drops >= maxDrops ||
		!leaf.exts.read() || leaf.wrap.end != leaf.self.stop || int(leaf.self.end) != len(leaf.src) ||
		len(tbs)-at < n || !bytes.Equal(tbs[at:at+n], leaf.src[leaf.self.body:leaf.wrap.at]) {
		return false
	}
	tag, body, stop := head(tbs, at+n)
	if tag != 0xa3 || stop != len(tbs) {
		return false
	}
	tag, body, stop = head(tbs, body)
	if tag != tagSeq || stop != len(tbs) {
		return false
	}
	exts, want := tbs[body:], leaf.exts.content(leaf.src)
	if len(exts) != len(want)+len(poisonExtension) {
		return false
	}
	// Up to the poison both are the same, and so are the places where
	// extensions begin, which are known of the leaf. It mostly is where it was
	// the last time; if not, the first poison counts.
	if i := p.poisonAt; i <= len(p.refs) {
		if at := p.extAt(i, leaf); beginsWithPoison(exts[at:]) && samePoisoned(exts, want, at) {
			return true
		}
	}
	for i := 0; i <= len(p.refs); i++ {
		if at := p.extAt(i, leaf); beginsWithPoison(exts[at:]) {
			p.poisonAt = i
			return samePoisoned(exts, want, at)
		}
	}
	return false
}

// extAt returns where in the list of extensions the one of p.refs[i] begins, or
// where the list ends.
func (p *parser) extAt(i int, t *tbs) int {
	if i == len(p.refs) {
		return int(t.exts.stop - t.exts.body)
	}
	return int(p.refs[i].at - t.exts.body)
}

// beginsWithPoison reports whether b, of no fewer octets than
// [poisonExtension], begins with it.
func beginsWithPoison(b []byte) bool {
	return binary.LittleEndian.Uint64(b) == poisonBegins && string(b[:len(poisonExtension)]) == poisonExtension
}

// samePoisoned reports whether exts, a poison put in at at aside, are want.
func samePoisoned(exts, want []byte, at int) bool {
	return bytes.Equal(exts[:at], want[:at]) && bytes.Equal(exts[at+len(poisonExtension):], want[at:])
}

// equalTBS reports whether t without the extensions of the kinds is want.
func (p *parser) equalTBS(t *tbs, kinds uint8, want []byte) bool {
	segs := p.segments(t, kinds, nil)
	defer clear(segs)
	for _, s := range segs {
		if len(s) > len(want) || !bytes.Equal(s, want[:len(s)]) {
			return false
		}
		want = want[len(s):]
	}
	return len(want) == 0
}

// fill writes the columns of a TBSCertificate, but its hashes.
func (p *parser) fill(t *tbs) {
	row := p.row
	p.issuer = nil
	p.version(t)
	p.serial(t)
	if t.uniqueID {
		p.odd(UniqueID)
	}
	if t.stray {
		p.odd(TrailingData)
	}

	if !t.sigAlg.read() {
		p.lost(0, "tbsCertificate: no signature algorithm")
	} else {
		row.SigOID, row.SigAlg = p.signature(t)
	}
	if !t.issuer.read() {
		p.lost(0, "tbsCertificate: no issuer")
	} else {
		p.cachedName(t.src, &t.issuer, &row.Issuer)
	}
	if !t.validity.read() {
		p.lost(0, "tbsCertificate: no validity")
	} else {
		p.validity(t)
	}
	if !t.subject.read() {
		p.lost(0, "tbsCertificate: no subject")
	} else {
		p.name(t.src, &t.subject, &row.Subject)
	}
	p.key = nil
	if !t.spki.read() {
		p.lost(KeyOdd, "tbsCertificate: no public key")
	} else {
		p.key = p.publicKey(t)
	}
	p.extensions(t)
}

func (p *parser) version(t *tbs) {
	if v := t.version.content(t.src); string(v) == "\x02\x01\x02" && !testGeneral {
		p.row.Version = 3
		return
	}
	p.row.Version = 1
	if t.version.read() {
		var v elem
		c := t.in(&t.version)
		if c.next(&v) && v.tag == tagInt && v.stop-v.body == 1 && t.src[v.body] < 0x7f {
			p.row.Version = t.src[v.body] + 1
		} else {
			p.row.Version = 0
		}
		if c.more() {
			p.odd(TrailingData)
		}
		p.odd(c.flags)
	}
	if p.row.Version != 3 {
		p.odd(VersionOdd)
	}
}

// serial keeps the content octets: serial numbers are names, not quantities.
func (p *parser) serial(t *tbs) {
	b := t.serial.content(t.src)
	p.row.Serial = b
	switch {
	case len(b) == 0:
		p.odd(SerialPad | SerialZero)
		return
	case len(b) > 20:
		p.odd(SerialLong)
	}
	if b[0] >= 0x80 {
		p.odd(SerialNeg)
	}
	if len(b) > 1 && (b[0] == 0 && b[1] < 0x80 || b[0] == 0xff && b[1] >= 0x80) {
		p.odd(SerialPad)
	}
	for _, c := range b {
		if c != 0 {
			return
		}
	}
	p.odd(SerialZero)
}

func (p *parser) validity(t *tbs) {
	if v := t.validity.content(t.src); len(v) == 30 && !testGeneral &&
		v[0] == tagUTCTime && v[1] == 13 && v[15] == tagUTCTime && v[16] == 13 && v[14] == 'Z' && v[29] == 'Z' {
		before, ok := plainUTCTime(v[2:15])
		if after, alsoOK := plainUTCTime(v[17:30]); ok && alsoOK {
			p.row.NotBefore, p.row.NotAfter = before, after
			return
		}
	}
	var before, after elem
	c := t.in(&t.validity)
	if !c.next(&before) || !c.next(&after) {
		p.lost(TimeBad, "validity: not two dates")
	}
	if c.more() {
		p.odd(TrailingData)
	}
	p.odd(c.flags)
	if before.read() {
		p.row.NotBefore = p.date(before.tag, before.content(t.src), "validity: notBefore unreadable")
	}
	if after.read() {
		p.row.NotAfter = p.date(after.tag, after.content(t.src), "validity: notAfter unreadable")
	}
}

// date reads one date; why is the error if it is none.
func (p *parser) date(tag byte, b []byte, why string) int64 {
	t, f, ok := parseTime(tag, b)
	p.odd(f)
	if !ok {
		p.lost(TimeBad, why)
	}
	return t
}
