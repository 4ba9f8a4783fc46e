package cert

import "encoding/binary"

// How many URLs of a list are kept, and how long ones; see maxExtensions.
const (
	maxURLs = 64
	maxURL  = 8 << 10
)

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
	// One point, one URL, in fewer than 128 octets: five headers.
	if n := len(v) - 2; !testGeneral && n > 8 && n < 0x80 && v[8] == 0x86 && int(v[9]) == n-8 &&
		binary.LittleEndian.Uint64(v) == 0x00a0_00a0_0030_0030+uint64(n)*0x0100_0100_0100_0100-0x0600_0400_0200_0000 {
		at := p.begin(1)
		p.addURL(0x86, v[10:], at-len(p.row.CRLs))
		p.row.CRLs = p.add(p.row.CRLs, at)
		return
	}
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
