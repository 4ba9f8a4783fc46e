package cert

import "unicode/utf8"

// Classes of bytes in names.
const (
	inPrintable = 1 << iota // PrintableString, with the "*", "&" and "@"-free set that CAs use
	inNumeric               // NumericString
	escape                  // RFC 4514 section 2.4 wants, or allows us, an escape
	simple                  // wants none, unless for its place
)

var byteClass = func() (t [256]uint8) {
	for c := range 256 {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z':
			t[c] |= inPrintable
		case '0' <= c && c <= '9':
			t[c] |= inPrintable | inNumeric
		case c == ' ':
			t[c] |= inPrintable | inNumeric
		}
		if c < ' ' || c == 0x7f {
			t[c] |= escape
		}
	}
	// "*" and "&" are not in X.680's PrintableString; CAs and every parser
	// take them for it.
	for _, c := range []byte("'()+,-./:=?*&") {
		t[c] |= inPrintable
	}
	for _, c := range []byte(`"+,;<>\`) {
		t[c] |= escape
	}
	for c := range t {
		if t[c]&escape == 0 {
			t[c] |= simple
		}
	}
	return t
}()

// text returns the characters of a string type as UTF-8, in v itself where
// they are that already, else in p.tmp. odd says that the bytes do not fit
// their type, or that the type is none of those that RFC 5280 wants: T61, BMP
// and Universal are history, Visible was never meant. isText is false for a type that is no string: v is
// returned as it is.
//
// Bytes that do not fit are taken as UTF-8 where they are valid UTF-8, else as
// Latin-1: no byte is lost, and every result is valid UTF-8.
func (p *parser) text(tag byte, v []byte) (_ []byte, isText, odd bool) {
	switch tag {
	case tagPrintable:
		for _, c := range v {
			if byteClass[c]&inPrintable == 0 {
				return p.guess(v), true, true
			}
		}
		return v, true, false
	case tagUTF8:
		if utf8.Valid(v) {
			return v, true, false
		}
		return p.latin1(v), true, true
	case tagIA5, tagVisible:
		for _, c := range v {
			if c >= 0x80 {
				return p.guess(v), true, true
			}
		}
		return v, true, tag == tagVisible
	case tagNumeric:
		for _, c := range v {
			if byteClass[c]&inNumeric == 0 {
				return p.guess(v), true, true
			}
		}
		return v, true, false
	case tagT61:
		return p.latin1(v), true, true
	case tagBMP:
		return p.wide(v, 2), true, true
	case tagUniversal:
		return p.wide(v, 4), true, true
	}
	return v, false, true
}

// guess returns v if it is UTF-8, else v read as Latin-1.
func (p *parser) guess(v []byte) []byte {
	if utf8.Valid(v) {
		return v
	}
	return p.latin1(v)
}

// enough is where transcoding stops: a value is cut at maxNameValue, and what
// is longer shows that there was something to cut.
const enough = maxNameValue + utf8.UTFMax

// latin1 returns v read as ISO 8859-1, at least enough of it.
func (p *parser) latin1(v []byte) []byte {
	p.tmp = p.tmp[:0]
	for _, c := range v {
		if len(p.tmp) > enough {
			break
		}
		p.tmp = utf8.AppendRune(p.tmp, rune(c))
	}
	return p.tmp
}

// wide returns v read as UTF-16BE (width 2) or UTF-32BE (width 4), at least
// enough of it; what is no character becomes U+FFFD, and so do octets left
// over.
func (p *parser) wide(v []byte, width int) []byte {
	p.tmp = p.tmp[:0]
	for len(v) >= width {
		if len(p.tmp) > enough {
			return p.tmp
		}
		r := rune(v[0])<<8 | rune(v[1])
		if width == 4 {
			r = r<<16 | rune(v[2])<<8 | rune(v[3])
		}
		v = v[width:]
		if width == 2 && r&^0x3ff == 0xd800 && len(v) >= 2 {
			if lo := rune(v[0])<<8 | rune(v[1]); lo&^0x3ff == 0xdc00 {
				r = 0x10000 + (r&0x3ff)<<10 + lo&0x3ff
				v = v[2:]
			}
		}
		p.tmp = utf8.AppendRune(p.tmp, r) // writes U+FFFD for what is no character
	}
	if len(v) > 0 {
		p.tmp = utf8.AppendRune(p.tmp, utf8.RuneError)
	}
	return p.tmp
}
