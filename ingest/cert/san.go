package cert

import (
	"bytes"
	"encoding/binary"

	"ctappliance/schema"
)

// maxSANs is how many subject alternative names are listed, all kinds
// together. Row.SANCount counts the others too.
const maxSANs = 10_000

// The identifier octets of GeneralName (RFC 5280 section 4.2.1.6).
const (
	gnEmail = 0x81
	gnDNS   = 0x82
	gnURI   = 0x86
	gnIP    = 0x87
)

// badClass is the Tag of a schema.OtherName whose class or form is not that
// of a general name.
const badClass = 255

// subjectAltName reads a SEQUENCE OF GeneralName. If the extension comes
// twice, the lists are the union.
func (p *parser) subjectAltName(v []byte) {
	b, ok := p.open(v, tagSeq, "subjectAltName: not a SEQUENCE")
	if !ok {
		return
	}
	row := p.row
	var e elem
	c := cur{b: b}
	n, end := hostNames(b)
	if row.SANCount != 0 || testGeneral {
		n, end = 0, 0
	}
	// No fewer than there are, as names go.
	at := p.begin(min(n+(len(b)-end)/4, maxSANs))
	if n > 0 {
		// Names of hosts come first, and mostly alone: their strings are parts
		// of one.
		names := p.slab[at : at+n]
		s := p.str(b[:end])
		from, to := 0, 0
		for i := range names {
			from, to = hostName(b, to)
			if !plainDNSName(b[from:to]) {
				p.odd(SANOdd)
			}
			names[i] = s[from:to]
		}
		p.slab = p.slab[:at+n]
		row.SANCount = uint32(n)
		c.at = uint32(end)
	}
	for c.more() {
		if !c.next(&e) {
			p.lost(ExtBad, "subjectAltName: broken off")
			break
		}
		if row.SANCount++; row.SANCount > maxSANs {
			p.odd(SANMany)
			continue
		}
		value := e.content(b)
		switch e.tag {
		case gnDNS:
			if !plainDNSName(value) {
				p.odd(SANOdd)
			}
			p.slab = append(p.slab, p.str(value))
		case gnIP:
			if len(value) == 4 || len(value) == 16 {
				row.IPs = append(row.IPs, value)
				continue
			}
			p.otherName(SANBad, gnIP&0x1f, value)
		case gnEmail:
			p.oddText(value)
			row.Emails = append(row.Emails, p.str(value))
		case gnURI:
			p.oddText(value)
			row.URIs = append(row.URIs, p.str(value))
		case 0xa0, 0xa3, 0xa4, 0xa5, 0x88:
			// otherName, x400Address, directoryName, ediPartyName, registeredID.
			p.otherName(0, e.tag&0x1f, value)
		default:
			p.otherName(SANBad, badClass, value)
		}
	}
	p.odd(c.flags)
	row.DNSNames = p.add(row.DNSNames, at)
}

// hostNames returns how many dNSNames b begins with, of fewer than 256 octets
// each, and where they end. It returns zeros if they are more than are listed.
func hostNames(b []byte) (n, end int) {
	for end+3 <= len(b) && b[end] == gnDNS {
		_, stop := hostName(b, end)
		if stop == 0 {
			break
		}
		end = stop
		n++
	}
	if n > maxSANs {
		return 0, 0
	}
	return n, end
}

// hostName returns where the content of the general name at at is, or zeros if
// it has 256 octets or more. It has three at least, its header in them.
func hostName(b []byte, at int) (from, to int) {
	n := int(b[at+1])
	from = at + 2
	if n >= 0x80 {
		if n != 0x81 || b[at+2] < 0x80 {
			return 0, 0
		}
		n = int(b[at+2])
		from++
	}
	if from+n > len(b) {
		return 0, 0
	}
	return from, from + n
}

func (p *parser) otherName(f Flag, tag uint8, v []byte) {
	p.odd(f)
	p.row.OtherNames = append(p.row.OtherNames, schema.OtherName{Tag: tag, Value: v})
}

// oddText flags an IA5String that is empty or has control, space or non-ASCII
// bytes.
func (p *parser) oddText(b []byte) {
	if len(b) == 0 {
		p.odd(SANOdd)
	}
	if !visible(b) {
		p.odd(SANOdd)
	}
}

// visible reports whether all bytes are printable ASCII and no space.
func visible(b []byte) bool {
	// Eight at a time: a byte is none if it has the high bit, is below '!', which
	// the subtraction borrows for, or is DEL, which the addition carries for.
	const ones, high = 0x0101010101010101, 0x8080808080808080
	var bad uint64
	for ; len(b) >= 8; b = b[8:] {
		x := binary.LittleEndian.Uint64(b)
		bad |= x | (((x | high) - '!'*ones) ^ high) | (x&^high + ones)
	}
	for _, c := range b {
		if c <= ' ' || c >= 0x7f {
			return false
		}
	}
	return bad&high == 0
}

// plainDNSName reports whether b looks like a host name as certificates should
// carry it: at most 253 bytes; labels of 1 to 63 letters, digits, hyphens and
// underscores; the first may be "*"; no trailing dot; not an IPv4 address.
func plainDNSName(b []byte) bool {
	if len(b) > 2 && b[0] == '*' && b[1] == '.' {
		b = b[2:]
	}
	if len(b) == 0 || len(b) > 253 {
		return false
	}
	// Nearly all names are plain, short, and no numbers: one pass without a
	// branch says so.
	if len(b) <= 63 {
		if !testGeneral && plainHost(b) {
			return true
		}
		var seen, twice uint8
		before := uint8(isDot)
		for _, c := range b {
			class := hostByte[c]
			seen |= class
			twice |= class & before
			before = class
		}
		if seen&(isName|notHost) == isName && (twice|before)&isDot == 0 {
			return true
		}
	} else if !testGeneral && plainHost(b) && shortLabels(b) {
		return true
	}
	label, labels := 0, 1
	numeric := true // no byte but digits and dots so far
	for _, c := range b {
		if c == '.' {
			if label == 0 {
				return false
			}
			label = 0
			labels++
			continue
		}
		if hostByte[c] == notHost {
			return false
		}
		numeric = numeric && c <= '9' && c >= '0'
		if label++; label > 63 {
			return false
		}
	}
	return label > 0 && !(numeric && labels == 4)
}

// shortLabels reports whether there is a dot in every 64 bytes of b.
func shortLabels(b []byte) bool {
	for len(b) > 63 {
		i := bytes.LastIndexByte(b[:64], '.')
		if i < 0 {
			return false
		}
		b = b[i+1:]
	}
	return true
}

// plainHost reports whether b is made of lower-case letters, digits, hyphens
// and dots, a letter at least, has no empty label, and at least eight bytes.
// False says nothing.
func plainHost(b []byte) bool {
	if len(b) < 8 || b[len(b)-1] == '.' {
		return false
	}
	// Eight at a time, as in visible. The high bit of each byte says whether it
	// is in a range: it was carried from its lower end on, and not from behind
	// its upper end on.
	const ones, high = 0x0101010101010101, 0x8080808080808080
	var bad, letters uint64
	before := uint64(0x80) // whether the byte before was a dot, or there was none
	for at := 0; ; {
		x := binary.LittleEndian.Uint64(b[at:])
		y := x &^ high
		letter := (y + (0x80-'a')*ones) &^ (y + (0x80-'z'-1)*ones)
		other := (y + (0x80-'-')*ones) &^ (y + (0x80-'9'-1)*ones) // "-./" and digits
		dot := ^((y ^ '.'*ones) + 0x7f*ones) & high
		bad |= x | ^(letter | other) | ^((y ^ '/'*ones) + 0x7f*ones) | dot&(dot<<8|before)
		letters |= letter
		before = dot >> 56
		if at += 8; at > len(b)-8 {
			if at == len(b) {
				break
			}
			at, before = len(b)-8, 0 // the last eight, some of them once more
		}
	}
	return bad&high == 0 && letters&high != 0
}

// hostByte says what a byte is in a host name.
var hostByte = func() (t [256]uint8) {
	for c := range 256 {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', c == '-', c == '_':
			t[c] = isName
		case '0' <= c && c <= '9':
			t[c] = isDigit
		case c == '.':
			t[c] = isDot
		default:
			t[c] = notHost
		}
	}
	return t
}()

const (
	isName = 1 << iota // letters, hyphen, underscore
	isDot
	isDigit
	notHost
)
