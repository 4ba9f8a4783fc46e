package cert

import (
	"math/bits"
	"slices"
)

// How much of each list is kept. What is beyond is left out and flagged
// ListMany (SANMany for names).
const (
	maxExtensions = 256
	maxOIDs       = 128 // extended key usages, policies
)

// The extensions whose values are read, or that are left out of the TBSID:
// oidInfo.ext.
const (
	extSKI = 1 + iota
	extKeyUsage
	extSAN
	extBasic
	extCRLs
	extPolicies
	extAKI
	extEKU
	extAIA
	extSCTs
	extPoison
)

// extensions reads the extension list. A malformed extension costs its own
// column and no other.
func (p *parser) extensions(t *tbs) {
	row := p.row
	p.refs = p.refs[:0]
	if !t.wrap.read() {
		return
	}
	if t.extsBad {
		p.odd(ExtBad)
		if !t.exts.read() {
			p.lost(ExtBad, "extensions: not a SEQUENCE")
			return
		}
	}
	if t.exts.empty() {
		p.odd(ExtEmpty)
		return
	}
	if p.plainExtensions(t) {
		return
	}
	// What the values say is read after all identifiers are: each list needs
	// its strings side by side. refs are the values of the first maxExtensions,
	// rest is where those begin that are beyond.
	refs, rest := p.refs, uint32(0)
	var known [maxKnownOIDs / 64]uint64 // by number: has been seen
	// Until an identifier is not known, or there are many, the list is kept as
	// numbers: most lists have been there before.
	var numbers [maxSequence]uint8
	count, strange := 0, false
	at := p.begin(16)
	var e, oid, value elem
	c := t.in(&t.exts)
	for c.more() {
		if !c.next(&e) {
			t.extsBad = true
			p.lost(ExtBad, "extensions: list broken off")
			break
		}
		in := c.in(&e)
		if e.tag != tagSeq || !in.next(&oid) || oid.tag != tagOID {
			p.lost(ExtBad, "extensions: not an extension")
			continue
		}
		name := oid.content(t.src)
		k := knownOID(name)
		t.note(oids[k].ext, e.at, e.end)
		ok := in.next(&value)
		if ok && value.tag == tagBool {
			if badBool(value.content(t.src)) {
				p.odd(CritBad)
			}
			ok = in.next(&value)
		}
		p.odd(in.flags)
		if in.more() {
			p.odd(ExtBad)
		}
		if len(p.slab)-at < maxExtensions {
			if !strange && (k == 0 || count == maxSequence) {
				p.slab = appendDottedOIDs(p.slab, numbers[:count])
				strange = true
			}
			switch {
			case k != 0:
				if known[k/64]&(1<<(k%64)) != 0 {
					p.odd(ExtDup)
				}
				known[k/64] |= 1 << (k % 64)
				if strange {
					p.slab = append(p.slab, oids[k].dotted)
				} else {
					numbers[count] = k
					count++
				}
			default:
				s, sane := p.dotted(name)
				if !sane {
					p.odd(OIDOdd)
				}
				if slices.Contains(p.slab[at:], s) {
					p.odd(ExtDup)
				}
				p.slab = append(p.slab, s)
			}
		} else {
			p.odd(ListMany)
		}
		switch {
		case !ok || value.tag != tagOctets:
			p.lost(ExtBad, "extensions: extension without a value")
		case len(refs) < maxExtensions:
			refs = append(refs, extRef{e.at, value.body, value.stop, oids[k].ext})
		case rest == 0:
			rest = e.at
		}
	}
	p.odd(c.flags)
	if strange {
		row.Extensions = p.list(at)
	} else {
		row.Extensions = p.sequence(numbers[:count])
	}
	p.refs = refs

	seen := p.values(t.src, refs, 0)
	if rest == 0 {
		return
	}
	for c.at = rest; c.next(&e); {
		in := c.in(&e)
		if e.tag != tagSeq || !in.next(&oid) || oid.tag != tagOID {
			continue
		}
		ok := in.next(&value)
		if ok && value.tag == tagBool {
			ok = in.next(&value)
		}
		if ok && value.tag == tagOctets {
			ext := oids[knownOID(oid.content(t.src))].ext
			seen = p.values(t.src, []extRef{{e.at, value.body, value.stop, ext}}, seen)
		}
	}
}

// values reads the values of extensions of src into their columns. seen are the
// extensions that were there before, one bit for each; it returns it with
// those that refs has.
func (p *parser) values(src []byte, refs []extRef, seen uint) uint {
	for i := range refs {
		r := &refs[i]
		v := src[r.body:r.stop:r.stop]
		switch r.ext {
		case extSKI:
			p.subjectKeyID(v)
		case extKeyUsage:
			p.keyUsage(v)
		case extSAN:
			p.subjectAltName(v)
		case extBasic:
			p.basicConstraints(v)
		case extCRLs:
			p.crlPoints(v)
		case extPolicies:
			p.remembered(kindPolicies, v)
		case extAKI:
			p.authorityKeyID(v)
		case extEKU:
			p.remembered(kindEKU, v)
		case extAIA:
			p.remembered(kindAIA, v)
		case extSCTs:
			p.sctList(v)
		default:
			continue
		}
		if seen&(1<<r.ext) != 0 {
			p.odd(ExtDup)
		}
		seen |= 1 << r.ext
	}
	return seen
}

// badBool reports whether b is not the content of a BOOLEAN in DER.
func badBool(b []byte) bool { return len(b) != 1 || b[0] != 0 && b[0] != 0xff }

// open reads v as one element with the tag and returns its content. Bytes
// after it are odd, not wrong.
func (p *parser) open(v []byte, tag byte, why string) ([]byte, bool) {
	if found, body, stop := head(v, 0); found == tag && !testGeneral && stop == len(v) {
		return v[body:stop:stop], true
	}
	var e elem
	c := cur{b: v}
	if !c.next(&e) || e.tag != tag {
		p.lost(ExtBad, why)
		return nil, false
	}
	p.odd(c.flags)
	if c.more() {
		p.odd(ExtBad)
	}
	return e.content(v), true
}

func (p *parser) subjectKeyID(v []byte) {
	if b, ok := p.open(v, tagOctets, "subjectKeyIdentifier: not an OCTET STRING"); ok {
		p.row.SKI = b
	}
}

// authorityKeyID reads the key identifier [0]; the issuer's name and serial
// beside it have no column.
func (p *parser) authorityKeyID(v []byte) {
	// Nearly always there is nothing beside it.
	if n := len(v); !testGeneral && n >= 4 && n < 0x80 && v[0] == tagSeq && int(v[1]) == n-2 && v[2] == 0x80 && int(v[3]) == n-4 {
		p.row.AKI = v[4:n:n]
		return
	}
	b, ok := p.open(v, tagSeq, "authorityKeyIdentifier: not a SEQUENCE")
	if !ok {
		return
	}
	var e elem
	c := cur{b: b}
	for c.more() {
		if !c.next(&e) {
			p.lost(ExtBad, "authorityKeyIdentifier: broken off")
			break
		}
		if e.tag == 0x80 {
			p.row.AKI = e.content(b)
		}
	}
	p.odd(c.flags)
}

// keyUsage reads a BIT STRING (RFC 5280 section 4.2.1.3). Padding bits count
// for nothing, whatever they are.
func (p *parser) keyUsage(v []byte) {
	// One octet that says something, and its padding zero.
	if !testGeneral && len(v) == 4 && v[0] == tagBits && v[1] == 2 && v[2] <= 7 && v[3]&(1<<v[2]-1) == 0 {
		p.row.KeyUsage = uint16(bits.Reverse8(v[3]))
		return
	}
	b, ok := p.open(v, tagBits, "keyUsage: not a BIT STRING")
	if !ok {
		return
	}
	if len(b) == 0 || b[0] > 7 || len(b) == 1 && b[0] != 0 {
		p.lost(KUBad, "keyUsage: not a BIT STRING")
		return
	}
	unused, octets := b[0], b[1:]
	var usage uint16
	for i, o := range octets {
		if i == len(octets)-1 {
			if o&(1<<unused-1) != 0 {
				p.odd(KUBad)
			}
			o &^= 1<<unused - 1
		}
		for bit := range 8 {
			if o&(0x80>>bit) == 0 {
				continue
			}
			if n := 8*i + bit; n < 16 {
				usage |= 1 << n
			}
			if 8*i+bit > 8 {
				p.odd(KUBad) // bits beyond decipherOnly mean nothing
			}
		}
	}
	p.row.KeyUsage = usage
}

func (p *parser) basicConstraints(v []byte) {
	if string(v) == "\x30\x00" && !testGeneral {
		p.row.IsCA, p.row.PathLen = false, -1
		return
	}
	b, ok := p.open(v, tagSeq, "basicConstraints: not a SEQUENCE")
	if !ok {
		return
	}
	row := p.row
	row.IsCA, row.PathLen = false, -1
	var e elem
	c := cur{b: b}
	more := c.next(&e)
	if more && e.tag == tagBool {
		v := e.content(b)
		if badBool(v) {
			p.odd(BCBad)
		}
		row.IsCA = len(v) > 0 && v[0] != 0
		more = c.next(&e)
	}
	if more && e.tag == tagInt {
		switch n := e.content(b); {
		case len(n) == 0 || n[0] >= 0x80:
			p.odd(BCBad)
		case len(n) > 2:
			p.odd(BCBad)
			row.PathLen = 0x7fff
		case len(n) == 2:
			row.PathLen = int16(n[0])<<8 | int16(n[1])
		default:
			row.PathLen = int16(n[0])
		}
		more = c.next(&e)
	}
	if more || c.more() {
		p.odd(ExtBad)
	}
	p.odd(c.flags)
}

func (p *parser) extKeyUsage(v []byte) {
	b, ok := p.open(v, tagSeq, "extKeyUsage: not a SEQUENCE")
	if !ok {
		return
	}
	if len(b) == 0 {
		p.odd(ExtBad)
	}
	at := p.begin(4)
	var e elem
	c := cur{b: b}
	for c.more() {
		if !c.next(&e) || e.tag != tagOID {
			p.lost(ExtBad, "extKeyUsage: not a list of OIDs")
			break
		}
		p.addOID(e.content(b), at-len(p.row.ExtKeyUsage))
	}
	p.odd(c.flags)
	p.row.ExtKeyUsage = p.add(p.row.ExtKeyUsage, at)
}

// addOID appends an OID to the list that began at at, or would have, had what
// an earlier extension gave stood before it.
func (p *parser) addOID(oid []byte, at int) {
	if len(p.slab)-at >= maxOIDs {
		p.odd(ListMany)
		return
	}
	s, ok := p.dotted(oid)
	if !ok {
		p.odd(ExtBad | OIDOdd)
	}
	p.slab = append(p.slab, s)
}

// policies reads certificatePolicies; of several CA/Browser Forum levels the
// strictest counts.
func (p *parser) policies(v []byte) {
	b, ok := p.open(v, tagSeq, "certificatePolicies: not a SEQUENCE")
	if !ok {
		return
	}
	if len(b) == 0 {
		p.odd(ExtBad)
	}
	row := p.row
	at := p.begin(4)
	var e, oid elem
	c := cur{b: b}
	for c.more() {
		if !c.next(&e) || e.tag != tagSeq {
			p.lost(ExtBad, "certificatePolicies: not a list of policies")
			break
		}
		in := c.in(&e)
		if !in.next(&oid) || oid.tag != tagOID {
			p.lost(ExtBad, "certificatePolicies: policy without OID")
			continue
		}
		p.odd(in.flags)
		name := oid.content(b)
		p.addOID(name, at-len(row.Policies))
		row.Validation = max(row.Validation, oids[knownOID(name)].level)
	}
	p.odd(c.flags)
	row.Policies = p.add(row.Policies, at)
}
