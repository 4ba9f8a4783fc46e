package cert

import "ctappliance/schema"

// The extensions that are the same, byte for byte, in most certificates of one
// issuer.
const (
	kindEKU = iota
	kindPolicies
	kindAIA
	numKinds
)

const (
	maxRemembered      = 256 // values of a kind
	maxRememberedValue = 256 // bytes of a value
)

// lists are the columns that a value gives.
type lists struct {
	value                                  string
	extKeyUsage, policies, ocsp, caIssuers []string
	validation                             schema.Validation
}

// remembered reads the value of an extension, or takes what the same bytes gave
// before. Only what was read without a doubt is remembered.
func (p *parser) remembered(kind int, v []byte) {
	row := p.row
	fresh := len(v) <= maxRememberedValue // and not the second of its kind
	switch kind {
	case kindEKU:
		fresh = fresh && row.ExtKeyUsage == nil
	case kindPolicies:
		fresh = fresh && row.Policies == nil && row.Validation == schema.ValidationUnknown
	case kindAIA:
		fresh = fresh && row.OCSP == nil && row.CAIssuers == nil
	}
	if !fresh {
		p.read(kind, v)
		return
	}
	// Nearly always it is what this issuer's last certificate had.
	if c := p.issuer; c != nil && c.last[kind] != nil && c.last[kind].value == string(v) {
		c.last[kind].fill(kind, row)
		return
	}
	known := p.known[kind]
	l := known[string(v)]
	if l == nil {
		// What is remembered outlives this row, so it must not share the
		// row's memory. What is odd is read again each time, for its flags.
		flags, problem := p.flags, p.problem
		p.flags, p.problem = 0, ""
		undo := p.private()
		p.read(kind, v)
		undo()
		clean := p.flags == 0 && p.problem == ""
		p.flags |= flags
		if problem != "" {
			p.problem = problem
		}
		if !clean {
			return
		}
		if known == nil {
			known = map[string]*lists{}
			p.known[kind] = known
		}
		if len(known) >= maxRemembered {
			clear(known)
		}
		l = &lists{value: string(v)}
		switch kind {
		case kindEKU:
			l.extKeyUsage = row.ExtKeyUsage
		case kindPolicies:
			l.policies, l.validation = row.Policies, row.Validation
		case kindAIA:
			l.ocsp, l.caIssuers = row.OCSP, row.CAIssuers
		}
		known[l.value] = l
		return
	}
	if c := p.issuer; c != nil {
		c.last[kind] = l
	}
	l.fill(kind, row)
}

// fill writes to row what a value of the kind gave.
func (l *lists) fill(kind int, row *schema.Row) {
	switch kind {
	case kindEKU:
		row.ExtKeyUsage = l.extKeyUsage
	case kindPolicies:
		row.Policies, row.Validation = l.policies, l.validation
	case kindAIA:
		row.OCSP, row.CAIssuers = l.ocsp, l.caIssuers
	}
}

func (p *parser) read(kind int, v []byte) {
	switch kind {
	case kindEKU:
		p.extKeyUsage(v)
	case kindPolicies:
		p.policies(v)
	case kindAIA:
		p.infoAccess(v)
	}
}

const maxSequence = 24 // extensions of a list that is remembered

// issuerSequence is sequence for numbers that are followed by zeros: nearly
// always they are those of this issuer's last certificate.
func (p *parser) issuerSequence(numbers *[maxSequence]uint8, n int) []string {
	c := p.issuer
	if c == nil {
		return p.sequence(numbers[:n])
	}
	// Those of a precertificate's leaf and of the certificate differ by the SCT list.
	s := &c.sequences[n&1]
	if s.numbers != *numbers {
		s.list = p.sequence(numbers[:n])
		s.numbers = *numbers
	}
	return s.list
}

// sequence returns the dotted forms of known identifiers, by their numbers.
// Lists of equal content are one list, up to maxRemembered of them.
func (p *parser) sequence(numbers []uint8) []string {
	if len(numbers) == 0 {
		return nil
	}
	if l, ok := p.sequences[string(numbers)]; ok {
		return l
	}
	if len(p.sequences) >= maxRemembered {
		clear(p.sequences)
	}
	l := appendDottedOIDs(make([]string, 0, len(numbers)), numbers)
	p.sequences[string(numbers)] = l
	return l
}

func appendDottedOIDs(dst []string, numbers []uint8) []string {
	for _, k := range numbers {
		dst = append(dst, oids[k].dotted)
	}
	return dst
}
