package cert

import (
	"encoding/binary"
	"unicode/utf8"

	"ctappliance/schema"
)

// Limits of one distinguished name. What is beyond is left out and flagged
// NameMany; Raw has it all.
const (
	maxNameAttrs = 256
	maxNameValue = 16 << 10 // bytes of one value, as UTF-8
	maxNameText  = 64 << 10 // bytes of Name.Text
)

// dnType says where an attribute goes: which list of schema.Name, and its name
// in the text form. The names are those of RFC 4514 section 3 and, beyond
// them, the descriptors that LDAP and OpenSSL use.
type dnType struct {
	field uint8
	name  string
}

// The lists of schema.Name.
const (
	fieldNone = iota
	fieldCN
	fieldO
	fieldOU
	fieldC
	fieldL
	fieldST
	fieldSerial
	fieldEmail
	numFields
)

var dnTypeTable = map[string]dnType{
	"2.5.4.3":                    {fieldCN, "CN"},
	"2.5.4.4":                    {fieldNone, "SN"},
	"2.5.4.5":                    {fieldSerial, "serialNumber"},
	"2.5.4.6":                    {fieldC, "C"},
	"2.5.4.7":                    {fieldL, "L"},
	"2.5.4.8":                    {fieldST, "ST"},
	"2.5.4.9":                    {fieldNone, "STREET"},
	"2.5.4.10":                   {fieldO, "O"},
	"2.5.4.11":                   {fieldOU, "OU"},
	"2.5.4.12":                   {fieldNone, "title"},
	"2.5.4.15":                   {fieldNone, "businessCategory"},
	"2.5.4.17":                   {fieldNone, "postalCode"},
	"2.5.4.42":                   {fieldNone, "givenName"},
	"2.5.4.97":                   {fieldNone, "organizationIdentifier"},
	"0.9.2342.19200300.100.1.1":  {fieldNone, "UID"},
	"0.9.2342.19200300.100.1.25": {fieldNone, "DC"},
	"1.2.840.113549.1.9.1":       {fieldEmail, "emailAddress"},
	"1.3.6.1.4.1.311.60.2.1.1":   {fieldNone, "jurisdictionL"},
	"1.3.6.1.4.1.311.60.2.1.2":   {fieldNone, "jurisdictionST"},
	"1.3.6.1.4.1.311.60.2.1.3":   {fieldNone, "jurisdictionC"},
}

// attr is one AttributeTypeAndValue on its way into a schema.Name.
type attr struct {
	oid   elem   // of the type
	typ   dnType // zero for an unknown type
	value elem
	first bool // begins an RDN
	text  string
}

// name reads an RDNSequence (RFC 5280 section 4.1.2.4) given as its element.
// It takes every attribute of every RDN; a part that is no attribute is left
// out and flagged.
func (p *parser) name(src []byte, e *elem, dst *schema.Name) {
	p.flags |= p.decodeName(src, e, dst)
}

// cachedName is name for issuers, whose names repeat endlessly: short ones come
// from a cache by their bytes.
func (p *parser) cachedName(src []byte, e *elem, dst *schema.Name) {
	full := e.full(src)
	if len(full) > maxCachedName {
		p.name(src, e, dst)
		return
	}
	// One look at where it was the last time, before any search.
	near := &p.near[nameSlot(full)]
	c := *near
	if c == nil || c.raw != string(full) {
		c = p.names[string(full)]
		if c == nil {
			if len(p.names) >= maxCachedNames {
				clear(p.names)
			}
			// The cached name outlives this row, so it must not share the
			// row's memory.
			undo := p.private()
			c = &cachedDN{raw: string(full)}
			c.flags = p.decodeName(src, e, &c.name)
			c.name.Raw = nil
			p.names[c.raw] = c
			undo()
		}
		*near = c
	}
	p.issuer = c
	*dst = c.name
	dst.Raw = full
	p.flags |= c.flags
}

// nameSlot returns where in parser.near a name is looked for: by its length,
// its last octets and those in its middle.
func nameSlot(b []byte) uint {
	if len(b) < 8 {
		return 0
	}
	x := binary.LittleEndian.Uint64(b[len(b)-8:]) + uint64(len(b))<<56
	y := binary.LittleEndian.Uint64(b[(len(b)-8)/2:])
	return uint((x*0x9e3779b97f4a7c15 + y*0xc2b2ae3d27d4eb4f) >> (64 - nearBits))
}

const (
	maxCachedName  = 1 << 10
	maxCachedNames = 512
	nearBits       = 8
)

// cachedDN is what is known of an issuer: its name, and what the last of its
// certificates had in common with those before.
type cachedDN struct {
	raw   string
	name  schema.Name
	flags Flag

	last      [numKinds]*lists
	sequences [2]struct { // of an even number of extensions, and of an odd one
		numbers [maxSequence]uint8
		list    []string
	}
}

// plainName is decodeName for a name in which nothing is odd or to be escaped,
// every RDN is one attribute of X.520 and fewer than 128 octets, and none comes twice,
// as most subjects are. It returns false, and did nothing that is seen, if
// it is another.
func (p *parser) plainName(full []byte, body int, dst *schema.Name) bool {
	var attrs [plainAttrs]struct {
		from, to uint16
		oid      uint8
	}
	n, fields := 0, uint(0)
	for at := body; at < len(full); n++ {
		if n == plainAttrs || len(full)-at < 12 {
			return false
		}
		// SET { SEQUENCE { OID 2.5.4 and one octet, value } }
		x := binary.LittleEndian.Uint64(full[at:])
		size := int(x >> 8 & 0xff)
		from, to := at+11, at+2+size
		if size >= 0x80 || size < 10 || x != 0x0455_0306_0030_0031+uint64(size)*0x0100_0100-0x0200_0000 {
			return false
		}
		oid := oidsAT[full[at+8]]
		dn := &oids[oid].dn
		if to > len(full) || int(full[at+10]) != to-from || dn.name == "" || fields&(1<<dn.field) != 0 ||
			!plainText(full[at+9], full[from:to]) {
			return false
		}
		if dn.field != fieldNone {
			fields |= 1 << dn.field
		}
		attrs[n].from, attrs[n].to, attrs[n].oid = uint16(from), uint16(to), oid
		at = to
	}
	start := p.strings.mark(len(full))
	for i := n - 1; i >= 0; i-- {
		a := &attrs[i]
		if i < n-1 {
			p.strings.byte(',')
		}
		dn := &oids[a.oid].dn
		p.strings.string(dn.name)
		p.strings.byte('=')
		at := p.strings.len()
		p.strings.bytes(full[a.from:a.to])
		var list *[]string
		switch dn.field {
		case fieldCN:
			list = &dst.CommonNames
		case fieldO:
			list = &dst.Organizations
		case fieldOU:
			list = &dst.Units
		case fieldC:
			list = &dst.Countries
		case fieldL:
			list = &dst.Localities
		case fieldST:
			list = &dst.Provinces
		case fieldSerial:
			list = &dst.SerialNumbers
		default: // fieldNone: none of id-at is an e-mail address
			continue
		}
		value := p.strings.from(at)
		at = p.begin(1)
		p.slab = append(p.slab, value)
		*list = p.list(at)
	}
	dst.Text = p.strings.from(start)
	return true
}

// plainAttrs is how many attributes a plain name has at most.
const plainAttrs = 8

// plainText reports whether v is a PrintableString or UTF8String that is what it
// says, and nothing in it is to be escaped.
func plainText(tag byte, v []byte) bool {
	var need uint8
	switch tag {
	case tagUTF8:
		need = simple
	case tagPrintable:
		need = simple | inPrintable
	default:
		return false
	}
	if plainHost(v) || len(v) > 2 && v[0] == '*' && v[1] == '.' && plainHost(v[2:]) {
		return true
	}
	if len(v) == 0 || v[0] == ' ' || v[0] == '#' || v[len(v)-1] == ' ' {
		return false
	}
	all := uint8(0xff)
	high := byte(0)
	for _, c := range v {
		all &= byteClass[c]
		high |= c
	}
	return all&need == need && (high < 0x80 || utf8.Valid(v))
}

func (p *parser) decodeName(src []byte, e *elem, dst *schema.Name) (f Flag) {
	dst.Raw = e.full(src)
	if e.stop == e.end && !testGeneral && p.plainName(dst.Raw, int(e.body-e.at), dst) {
		return 0
	}
	p.attrs = p.attrs[:0]
	var set, av, typ elem
	rdns := cur{b: src[:e.stop], at: e.body}
scan:
	for rdns.more() {
		if !rdns.next(&set) {
			f |= NameOdd
			break
		}
		if set.tag != tagSet || set.empty() {
			f |= NameOdd
			if set.tag != tagSet {
				continue
			}
		}
		first := true
		avs := rdns.in(&set)
		for avs.more() {
			if !avs.next(&av) {
				f |= NameOdd
				break
			}
			c := avs.in(&av)
			if av.tag != tagSeq || !c.next(&typ) || typ.tag != tagOID {
				f |= NameOdd
				continue
			}
			if len(p.attrs) == maxNameAttrs {
				f |= NameMany
				break scan
			}
			a := attr{oid: typ, typ: oids[knownOID(typ.content(src))].dn, first: first}
			if !c.next(&a.value) || c.more() {
				f |= NameOdd
			}
			if !a.value.read() {
				continue
			}
			p.attrs = append(p.attrs, a)
			first = false
			f |= c.flags
		}
		f |= avs.flags
	}
	f |= rdns.flags

	// RFC 4514 section 2.1: the text begins with the last RDN. Values that
	// need no escape are substrings of the text.
	textStart := p.strings.mark(len(e.full(src)))
	written := 0
	for end := len(p.attrs); end > 0; {
		start := end - 1
		for start > 0 && !p.attrs[start].first {
			start--
		}
		for i := start; i < end; i++ {
			a := &p.attrs[i]
			sep := byte('+')
			if i == start {
				sep = ','
			}
			v, isText, odd := p.text(a.value.tag, a.value.content(src))
			if odd {
				f |= NameOdd
			}
			if len(v) > maxNameValue {
				v = cut(v, maxNameValue, isText)
				f |= NameMany
			}
			if p.strings.since(textStart) > maxNameText {
				f |= NameMany
				a.text = p.strings.outside(v)
				continue
			}
			if written > 0 {
				p.strings.byte(sep)
			}
			written++
			if a.typ.name == "" || !isText {
				if a.typ.field != fieldNone {
					a.text = p.strings.outside(v)
				}
				f |= p.writeHexAttr(src, a)
				continue
			}
			p.strings.string(a.typ.name)
			p.strings.byte('=')
			at := p.strings.len()
			if p.strings.escaped(v) {
				a.text = p.strings.outside(v)
			} else {
				a.text = p.strings.from(at)
			}
		}
		end = start
	}
	dst.Text = p.strings.from(textStart)
	p.distribute(dst)
	clear(p.attrs) // their texts are the row's
	return f
}

// cut returns at most n bytes of v, whole characters if it is text.
func cut(v []byte, n int, isText bool) []byte {
	for isText && n > 0 && !utf8.RuneStart(v[n]) {
		n--
	}
	return v[:n]
}

// writeHexAttr writes an attribute that has no short name, or whose value is
// no string, the way RFC 4514 section 2.4 has it: "1.2.3=#0403…".
func (p *parser) writeHexAttr(src []byte, a *attr) (f Flag) {
	if a.typ.name != "" {
		p.strings.string(a.typ.name)
	} else {
		var ok bool
		if p.tmp, ok = appendDotted(p.tmp[:0], a.oid.content(src)); !ok {
			f |= NameOdd | OIDOdd
		}
		p.strings.bytes(p.tmp)
	}
	p.strings.string("=#")
	full := a.value.full(src)
	if len(full) > maxNameValue {
		full = full[:maxNameValue]
		f |= NameMany
	}
	p.tmp = appendHex(p.tmp[:0], full)
	p.strings.bytes(p.tmp)
	return f
}

// distribute puts the attributes into their lists, each in order of
// appearance.
func (p *parser) distribute(dst *schema.Name) {
	var count [numFields]int
	for i := range p.attrs {
		count[p.attrs[i].typ.field]++
	}
	lists := [numFields]*[]string{
		nil, &dst.CommonNames, &dst.Organizations, &dst.Units, &dst.Countries,
		&dst.Localities, &dst.Provinces, &dst.SerialNumbers, &dst.Emails,
	}
	for field := fieldCN; field < numFields; field++ {
		if count[field] == 0 {
			continue
		}
		at := p.begin(count[field])
		for i := range p.attrs {
			if int(p.attrs[i].typ.field) == field {
				p.slab = append(p.slab, p.attrs[i].text)
			}
		}
		*lists[field] = p.list(at)
	}
}
