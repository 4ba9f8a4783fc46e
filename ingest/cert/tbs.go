package cert

import (
	"bytes"

	"ctappliance/schema"
)

// certificate is a Certificate (RFC 5280 section 4.1) taken apart.
type certificate struct {
	tbs    tbs
	sigAlg elem // outer signatureAlgorithm; unset for a leaf's TBSCertificate
}

// read takes DER bytes apart. It returns why they are no certificate, or "".
func (c *certificate) read(der []byte, f *Flag) string {
	r := cur{b: der}
	var e elem
	ok := r.next(&e)
	if r.flags&BER != 0 || len(der) > 1 && der[1] == 0x80 {
		*f |= BER
	}
	if !ok || e.tag != tagSeq {
		return "certificate: not a SEQUENCE"
	}
	if len(r.b) > 0 {
		*f |= TrailingData
	}
	in := cur{b: e.body}
	var t, sig elem
	if !in.next(&t) || t.tag != tagSeq {
		*f |= r.flags | in.flags
		return "certificate: tbsCertificate is not a SEQUENCE"
	}
	if in.next(&c.sigAlg) && in.next(&sig) {
		if c.sigAlg.tag != tagSeq || sig.tag != tagBits || len(in.b) > 0 {
			*f |= TrailingData
		}
	} else {
		*f |= TrailingData // the signature is no column: its absence is only odd
	}
	*f |= r.flags | in.flags
	return c.tbs.split(t, f)
}

// tbs is a TBSCertificate taken apart; what is absent is an unset element.
type tbs struct {
	full, body []byte
	version    elem // [0]
	serial     elem
	sigAlg     elem
	issuer     elem
	validity   elem
	subject    elem
	spki       elem
	uniqueID   bool
	stray      bool // something stands where nothing should
	validityAt int  // where validity begins in body

	// The extensions. before and after are the rest of body around the [3]
	// element; exts is the content of its SEQUENCE. hasExts is false if there
	// is no [3]; extsBad if it is not one SEQUENCE.
	before, exts, after []byte
	hasExts, extsBad    bool

	// drop[:drops] are the ranges of exts that hold poison or SCT list.
	drop   [maxDrops]dropped
	drops  int
	poison bool
}

// maxDrops is how many ranges are remembered. There are one or two; logs take
// no certificate with poison or SCT list twice. One with more keeps all its
// extensions in the TBSID.
const maxDrops = 4

// dropped is an extension, or several side by side, that the TBSCertificate of the other half of a
// precert and certificate pair does not have: exts[from:to].
type dropped struct {
	from, to int
	kind     uint8
}

const (
	dropPoison uint8 = 1 << iota
	dropSCTs
)

// read takes the bytes of a TBSCertificate apart, as a precert_entry has them.
func (t *tbs) read(der []byte, f *Flag) string {
	r := cur{b: der}
	var e elem
	ok := r.next(&e)
	if r.flags&BER != 0 || len(der) > 1 && der[1] == 0x80 {
		*f |= BER
	}
	if !ok || e.tag != tagSeq {
		return "tbsCertificate: not a SEQUENCE"
	}
	if len(r.b) > 0 {
		*f |= TrailingData
	}
	*f |= r.flags
	return t.split(e, f)
}

// split finds the fields of a TBSCertificate by their order and tags. It goes
// as far as it can.
func (t *tbs) split(e elem, f *Flag) string {
	t.full, t.body = e.full, e.body
	c := cur{b: e.body}
	var x elem
	more := c.next(&x)
	if more && x.tag == 0xa0 {
		t.version = x
		more = c.next(&x)
	}
	// The fields that must be there, in their order.
	for _, field := range [...]struct {
		tag byte
		dst *elem
	}{
		{tagInt, &t.serial}, {tagSeq, &t.sigAlg}, {tagSeq, &t.issuer},
		{tagSeq, &t.validity}, {tagSeq, &t.subject}, {tagSeq, &t.spki},
	} {
		if !more || x.tag != field.tag {
			break
		}
		*field.dst = x
		if field.dst == &t.validity {
			t.validityAt = len(e.body) - len(c.b) - len(x.full)
		}
		more = c.next(&x)
	}
	for more {
		switch x.tag {
		case 0x81, 0xa1, 0x82, 0xa2:
			t.uniqueID = true
		case 0xa3:
			if t.hasExts {
				t.stray = true
				break
			}
			t.hasExts = true
			at := len(e.body) - len(c.b)
			t.before, t.after = e.body[:at-len(x.full)], e.body[at:]
			in := cur{b: x.body}
			var list elem
			if !in.next(&list) || list.tag != tagSeq || len(in.b) > 0 {
				t.extsBad = true
			}
			if list.tag == tagSeq {
				t.exts = list.body
			}
			*f |= in.flags
		default:
			t.stray = true
		}
		more = c.next(&x)
	}
	if len(c.b) > 0 {
		t.stray = true
	}
	*f |= c.flags
	return ""
}

// hasSerial reports whether the walk got anywhere.
func (t *tbs) hasSerial() bool { return t.serial.full != nil }

// scanExtensions finds poison and SCT list without reading anything else.
func (t *tbs) scanExtensions() {
	c := cur{b: t.exts}
	for len(c.b) > 0 {
		from := len(t.exts) - len(c.b)
		var e elem
		if !c.next(&e) {
			t.extsBad = true
			return
		}
		in := cur{b: e.body}
		var oid elem
		if in.next(&oid) {
			t.note(oid.body, from, len(t.exts)-len(c.b))
		}
	}
}

// note remembers an extension that is dropped from the TBSID.
func (t *tbs) note(oid []byte, from, to int) {
	var kind uint8
	switch string(oid) {
	case oidPoison:
		t.poison = true
		kind = dropPoison
	case oidSCTList:
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
		return append(segs, t.full)
	}
	before := t.body
	if t.hasExts {
		before = t.before
	}
	n := len(t.exts) // what stays of the list
	for _, d := range t.drop[:t.drops] {
		if d.kind&kinds != 0 {
			n -= d.to - d.from
		}
	}
	seq := headerLen(n) + n
	total := len(before)
	if t.hasExts {
		total += headerLen(seq) + seq + len(t.after)
	}
	if dates != nil {
		total += len(dates) - len(t.validity.full)
	}
	h := appendHeader(p.heads[:0], tagSeq, total)
	segs = append(segs, h)
	if dates != nil {
		segs = append(segs, before[:t.validityAt], dates)
		before = before[t.validityAt+len(t.validity.full):]
	}
	segs = append(segs, before)
	if !t.hasExts {
		return segs
	}
	split := len(h)
	h = appendHeader(h, 0xa3, seq)
	h = appendHeader(h, tagSeq, n)
	segs = append(segs, h[split:])
	at := 0
	for _, d := range t.drop[:t.drops] {
		if d.kind&kinds != 0 {
			segs = append(segs, t.exts[at:d.from])
			at = d.to
		}
	}
	return append(segs, t.exts[at:], t.after)
}

// logDates returns the validity as logs write it: when they make the leaf's
// TBSCertificate they encode its dates anew, and a GeneralizedTime of 1950 to
// 2049 becomes a UTCTime. It returns nil where nothing changes.
func (p *parser) logDates(t *tbs) []byte {
	if p.flags&TimeGT == 0 {
		return nil
	}
	out := append(p.dates[:0], tagSeq, 0)
	c := cur{b: t.validity.body}
	for range 2 {
		var e elem
		if !c.next(&e) {
			return nil
		}
		b := e.body
		switch {
		case e.tag == tagGenTime && len(b) == 15 && digits(b) == 14 && b[14] == 'Z' &&
			number(b[:4]) >= 1950 && number(b[:4]) < 2050:
			out = append(out, tagUTCTime, 13)
			out = append(out, b[2:]...)
		case len(e.full) <= 17:
			out = append(out, e.full...)
		default:
			return nil
		}
	}
	if len(c.b) > 0 {
		return nil
	}
	out[1] = byte(len(out) - 2)
	return out
}

// tbsID returns the first 16 bytes of SHA-256(keyHash, TBSCertificate without
// poison and SCT list, its dates as logs write them): the same for a
// precertificate and the certificate that it became.
func (p *parser) tbsID(keyHash schema.Hash, t *tbs) (id [16]byte) {
	p.sum.Reset()
	p.tmp = append(p.tmp[:0], keyHash[:]...)
	p.sum.Write(p.tmp)
	for _, s := range p.segments(t, dropPoison|dropSCTs, p.logDates(t)) {
		p.sum.Write(s)
	}
	p.tmp = p.sum.Sum(p.tmp[:0])
	copy(id[:], p.tmp)
	return id
}

// equalTBS reports whether t without the extensions of the kinds is want.
func (p *parser) equalTBS(t *tbs, kinds uint8, want []byte) bool {
	for _, s := range p.segments(t, kinds, nil) {
		if len(s) > len(want) || !bytes.Equal(s, want[:len(s)]) {
			return false
		}
		want = want[len(s):]
	}
	return len(want) == 0
}

// fill writes the columns of a TBSCertificate.
func (p *parser) fill(t *tbs) {
	row := p.row
	p.version(t)
	p.serial(t)
	if t.uniqueID {
		p.odd(UniqueID)
	}
	if t.stray {
		p.odd(TrailingData)
	}

	if t.sigAlg.full == nil {
		p.lost(0, "tbsCertificate: no signature algorithm")
	} else {
		row.SigOID, row.SigAlg = p.signature(&t.sigAlg)
	}
	if t.issuer.full == nil {
		p.lost(0, "tbsCertificate: no issuer")
	} else {
		p.cachedName(&t.issuer, &row.Issuer)
	}
	if t.validity.full == nil {
		p.lost(0, "tbsCertificate: no validity")
	} else {
		p.validity(&t.validity)
	}
	if t.subject.full == nil {
		p.lost(0, "tbsCertificate: no subject")
	} else {
		p.name(&t.subject, &row.Subject)
	}
	var key []byte
	if t.spki.full == nil {
		p.lost(KeyOdd, "tbsCertificate: no public key")
	} else {
		row.SPKI = p.sha256(t.spki.full)
		key = p.publicKey(&t.spki)
	}
	p.extensions(t)
	row.SKIOfKey = isKeyID(row.SKI, key)
}

func (p *parser) version(t *tbs) {
	p.row.Version = 1
	if t.version.full != nil {
		var v elem
		c := cur{b: t.version.body}
		if c.next(&v) && v.tag == tagInt && len(v.body) == 1 && v.body[0] < 0x7f {
			p.row.Version = v.body[0] + 1
		} else {
			p.row.Version = 0
		}
		if len(c.b) > 0 {
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
	b := t.serial.body
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

func (p *parser) validity(e *elem) {
	var before, after elem
	c := cur{b: e.body}
	if !c.next(&before) || !c.next(&after) {
		p.lost(TimeBad, "validity: not two dates")
	}
	if len(c.b) > 0 {
		p.odd(TrailingData)
	}
	p.odd(c.flags)
	if before.full != nil {
		p.row.NotBefore = p.date(&before, "validity: notBefore unreadable")
	}
	if after.full != nil {
		p.row.NotAfter = p.date(&after, "validity: notAfter unreadable")
	}
}

// date reads one date; why is the error if it is none.
func (p *parser) date(e *elem, why string) int64 {
	t, f, ok := parseTime(e.tag, e.body)
	p.odd(f)
	if !ok {
		p.lost(TimeBad, why)
	}
	return t
}
