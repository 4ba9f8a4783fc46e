package cert

import (
	"encoding/binary"
	"slices"

	"ctappliance/schema"
)

// How much of each list is kept. What is beyond is left out and flagged
// ListMany (SANMany for names).
const (
	maxExtensions = 256
	maxOIDs       = 128 // extended key usages, policies
	maxURLs       = 64  // per list
	maxURL        = 8 << 10
	maxSCTs       = 64
)

// Bits that say which extension has been seen.
const (
	seenSKI = 1 << iota
	seenKeyUsage
	seenSAN
	seenBasic
	seenCRLs
	seenPolicies
	seenAKI
	seenEKU
	seenAIA
	seenSCTs
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
	var e elem
	var last extRef // beyond the first maxExtensions
	c := t.in(&t.exts)
	for c.more() {
		// Read where they belong: see split.
		r := &last
		if n := len(refs); n < maxExtensions {
			refs = slices.Grow(refs, 1)
			r = &refs[:n+1][n]
		}
		oid, value := &r.oid, &r.value
		if !c.next(&e) {
			t.extsBad = true
			p.lost(ExtBad, "extensions: list broken off")
			break
		}
		in := c.in(&e)
		if e.tag != tagSeq || !in.next(oid) || oid.tag != tagOID {
			p.lost(ExtBad, "extensions: not an extension")
			continue
		}
		name := oid.content(t.src)
		t.note(name, e.at, e.end)
		ok := in.next(value)
		if ok && value.tag == tagBool {
			if badBool(value.content(t.src)) {
				p.odd(CritBad)
			}
			ok = in.next(value)
		}
		p.odd(in.flags)
		if in.more() {
			p.odd(ExtBad)
		}
		if len(p.slab)-at < maxExtensions {
			k := knownOID(name)
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
		case r != &last:
			r.at = e.at
			refs = refs[:len(refs)+1]
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

	seen := 0
	for i := range refs {
		r := &refs[i]
		p.extension(r.oid.content(t.src), r.value.content(t.src), &seen)
	}
	if rest == 0 {
		return
	}
	oid, value := &last.oid, &last.value
	for c.at = rest; c.next(&e); {
		in := c.in(&e)
		if e.tag != tagSeq || !in.next(oid) || oid.tag != tagOID {
			continue
		}
		ok := in.next(value)
		if ok && value.tag == tagBool {
			ok = in.next(value)
		}
		if ok && value.tag == tagOctets {
			p.extension(oid.content(t.src), value.content(t.src), &seen)
		}
	}
}

// extRef is an extension that has a value, as places in the certificate.
type extRef struct {
	oid, value elem
	at         uint32 // where it begins
}

// extension reads the value of one extension into its columns.
func (p *parser) extension(oid, v []byte, seen *int) {
	bit := 0
	if len(oid) == 3 && string(oid[:2]) == oidCE {
		switch oid[2] {
		case ceSKI:
			bit = seenSKI
			p.subjectKeyID(v)
		case ceKeyUsage:
			bit = seenKeyUsage
			p.keyUsage(v)
		case ceSAN:
			bit = seenSAN
			p.subjectAltName(v)
		case ceBasic:
			bit = seenBasic
			p.basicConstraints(v)
		case ceCRLs:
			bit = seenCRLs
			p.crlPoints(v)
		case cePolicies:
			bit = seenPolicies
			p.remembered(kindPolicies, v)
		case ceAKI:
			bit = seenAKI
			p.authorityKeyID(v)
		case ceEKU:
			bit = seenEKU
			p.remembered(kindEKU, v)
		}
	} else {
		switch string(oid) {
		case oidAIA:
			bit = seenAIA
			p.remembered(kindAIA, v)
		case oidSCTList:
			bit = seenSCTs
			p.sctList(v)
		}
	}
	if *seen&bit != 0 {
		p.odd(ExtDup)
	}
	*seen |= bit
}

// badBool reports whether b is not the content of a BOOLEAN in DER.
func badBool(b []byte) bool { return len(b) != 1 || b[0] != 0 && b[0] != 0xff }

// open reads v as one element with the tag and returns its content. Bytes
// after it are odd, not wrong.
func (p *parser) open(v []byte, tag byte, why string) ([]byte, bool) {
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

// infoAccess reads authorityInfoAccess: SEQUENCE OF { method, location }.
func (p *parser) infoAccess(v []byte) {
	b, ok := p.open(v, tagSeq, "authorityInfoAccess: not a SEQUENCE")
	if !ok {
		return
	}
	row := p.row
	for _, want := range [...]struct {
		method string
		dst    *[]string
	}{{oidOCSP, &row.OCSP}, {oidCAIssuers, &row.CAIssuers}} {
		at := p.begin(2)
		var e, method, location elem
		c := cur{b: b}
		for c.more() {
			if !c.next(&e) || e.tag != tagSeq {
				p.lost(ExtBad, "authorityInfoAccess: not a list of locations")
				break
			}
			in := c.in(&e)
			if !in.next(&method) || method.tag != tagOID || !in.next(&location) {
				p.lost(ExtBad, "authorityInfoAccess: location without method or name")
				continue
			}
			p.odd(in.flags)
			if string(method.content(b)) == want.method {
				p.addURL(location.tag, location.content(b), at-len(*want.dst))
			}
		}
		p.odd(c.flags)
		*want.dst = p.add(*want.dst, at)
	}
}

// addURL appends the URL in a general name to the list that began at at, in the
// sense of addOID.
func (p *parser) addURL(tag byte, url []byte, at int) {
	if tag != 0x86 {
		p.odd(URLOdd) // a location of another kind: legal, and no URL
		return
	}
	if len(p.slab)-at >= maxURLs || len(url) > maxURL {
		p.odd(ListMany)
		return
	}
	if !visible(url) {
		p.odd(URLOdd)
	}
	p.slab = append(p.slab, p.str(url))
}

// crlPoints reads cRLDistributionPoints (RFC 5280 section 4.2.1.13):
// SEQUENCE OF { [0] { [0] GeneralNames | [1] RDN }, [1] reasons, [2] issuer }.
func (p *parser) crlPoints(v []byte) {
	b, ok := p.open(v, tagSeq, "cRLDistributionPoints: not a SEQUENCE")
	if !ok {
		return
	}
	at := p.begin(2)
	var point, part, form, gn elem
	c := cur{b: b}
	for c.more() {
		if !c.next(&point) || point.tag != tagSeq {
			p.lost(ExtBad, "cRLDistributionPoints: not a list of points")
			break
		}
		parts := c.in(&point)
		for parts.more() {
			if !parts.next(&part) {
				p.lost(ExtBad, "cRLDistributionPoints: point broken off")
				break
			}
			if part.tag != 0xa0 {
				continue
			}
			in := parts.in(&part)
			if !in.next(&form) || form.tag != 0xa0 {
				p.odd(URLOdd) // nameRelativeToCRLIssuer, or nothing
				continue
			}
			names := in.in(&form)
			for names.more() {
				if !names.next(&gn) {
					p.lost(ExtBad, "cRLDistributionPoints: names broken off")
					break
				}
				p.addURL(gn.tag, gn.content(b), at-len(p.row.CRLs))
			}
			p.odd(in.flags | names.flags)
		}
		p.odd(parts.flags)
	}
	p.odd(c.flags)
	p.row.CRLs = p.add(p.row.CRLs, at)
}

// sctList reads an embedded SignedCertificateTimestampList (RFC 6962 sections
// 3.2 and 3.3): an OCTET STRING around list<16> of sct<16>, each
//
//	 0  u8   version, 0
//	 1       log ID [32]
//	33  u64  timestamp
//	41       extensions<16>, signature
func (p *parser) sctList(v []byte) {
	b, ok := p.open(v, tagOctets, "SCT list: not an OCTET STRING")
	if !ok {
		p.odd(SCTBad)
		return
	}
	if len(b) < 2 || int(binary.BigEndian.Uint16(b)) != len(b)-2 {
		p.lost(SCTBad, "SCT list: length does not match")
		return
	}
	b = b[2:]
	if len(b) == 0 {
		p.odd(SCTBad)
	}
	// Bound before allocating: one that is listed takes at least 45 bytes, so
	// scts never moves.
	if n := min(len(b)/45, maxSCTs); cap(p.scts)-len(p.scts) < n {
		p.scts = make([]schema.SCT, 0, max(n, sctSlab))
	}
	scts := p.scts[len(p.scts):]
	for len(b) > 0 {
		if len(b) < 2 {
			p.lost(SCTBad, "SCT list: broken off")
			break
		}
		n := int(binary.BigEndian.Uint16(b))
		if n > len(b)-2 {
			p.lost(SCTBad, "SCT list: SCT longer than the list")
			break
		}
		sct := b[2 : 2+n]
		b = b[2+n:]
		switch {
		case n < 43 || sct[0] != 0:
			p.lost(SCTBad, "SCT list: SCT too short or of unknown version")
		case len(scts) == maxSCTs || len(p.row.SCTs)+len(scts) >= maxSCTs:
			p.odd(ListMany)
		default:
			s := schema.SCT{Timestamp: binary.BigEndian.Uint64(sct[33:])}
			copy(s.LogID[:], sct[1:])
			scts = append(scts, s)
		}
	}
	if p.row.SCTs == nil {
		p.scts = p.scts[:len(p.scts)+len(scts)]
		p.row.SCTs = slices.Clip(scts)
	} else {
		p.row.SCTs = append(p.row.SCTs, scts...)
	}
	if len(p.row.SCTs) == 0 {
		p.row.SCTs = nil
	}
}
