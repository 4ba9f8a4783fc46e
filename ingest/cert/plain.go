package cert

import "encoding/binary"

// The short ways through what nearly all certificates look like. Each does what
// the general function of its name does, or returns false, and then that one
// does it all: nothing here finds anything odd. The shortest stand at the
// beginning of the general functions.

// testGeneral has tests see what the general functions make of everything.
var testGeneral bool

// openPlain is open for what nearly all are: three elements of the right kinds
// and nothing behind them. Where it returns false, what it wrote means nothing.
func (c *certificate) openPlain(der []byte) bool {
	tag, body, stop := head(der, 0)
	if tag != tagSeq || stop != len(der) || testGeneral {
		return false
	}
	at := body
	if tag, body, stop = head(der, at); tag != tagSeq {
		return false
	}
	c.tbs.self.set(tagSeq, at, body, stop)
	at = stop
	if tag, body, stop = head(der, at); tag != tagSeq {
		return false
	}
	c.sigAlg.set(tagSeq, at, body, stop)
	c.outer = der[at:stop:stop]
	tag, _, stop = head(der, stop)
	return tag == tagBits && stop == len(der)
}

// splitPlain is split for what nearly all are: a version, extensions, nothing
// behind them, and nothing that would be flagged. Where it returns false, what
// it wrote means nothing.
func (t *tbs) splitPlain() bool {
	src := t.src[:t.self.stop]
	at := int(t.self.body)
	if len(src)-at < 8 || testGeneral {
		return false
	}
	// [0] { INTEGER of one octet }, and the header of the serial number.
	x := binary.LittleEndian.Uint64(src[at:])
	n := int(x >> 48 & 0xff)
	if x&0xff00_ffff_ffff != 0x0200_0102_03a0 || n >= 0x80 {
		return false
	}
	t.version.set(0xa0, at, at+2, at+5)
	at += 5
	stop := at + 2 + n
	t.serial.set(tagInt, at, at+2, stop)
	var tag byte
	var body int
	for _, e := range [...]*elem{&t.sigAlg, &t.issuer, &t.validity, &t.subject, &t.spki} {
		at = stop
		if len(src)-at < 2 {
			return false
		}
		if x := binary.LittleEndian.Uint16(src[at:]); x&0x80ff == tagSeq {
			body, stop = at+2, at+2+int(x>>8) // within src, or there is no next
		} else if tag, body, stop = head(src, at); tag != tagSeq {
			return false
		}
		e.set(tagSeq, at, body, stop)
	}
	at = stop
	if tag, body, stop = head(src, at); tag != 0xa3 || stop != len(src) {
		return false
	}
	t.wrap.set(0xa3, at, body, stop)
	at = body
	if tag, body, stop = head(src, at); tag != tagSeq || stop != len(src) {
		return false
	}
	t.exts.set(tagSeq, at, body, stop)
	return true
}

// plainExtensions finds the values of a list in which nothing is odd and every
// identifier known, as nearly all lists are. Where it returns false, it did
// nothing that lasts.
func (p *parser) plainExtensions(t *tbs) bool {
	src := t.src[:t.exts.stop]
	refs := p.refs[:0]
	var known [maxKnownOIDs / 64]uint64
	var numbers [maxSequence]uint8
	plain := false
	for at := int(t.exts.body); !testGeneral; {
		if at == len(src) {
			plain = true
			break
		}
		n := len(refs)
		if n == maxSequence || len(src)-at < 11 {
			break
		}
		// The shortest, and most: an id-ce extension of fewer than 128 octets.
		// Of x the octets are SEQUENCE, its length, OID, 3, 55 1d, the last of
		// the OID, and what comes next.
		if x := binary.LittleEndian.Uint64(src[at:]); x&0xffff_ffff_00ff == 0x1d55_0306_0030 && x&0x8000 == 0 {
			k := oidsCE[byte(x>>48)]
			value := at + 9
			if x>>56 == tagBool {
				if binary.LittleEndian.Uint32(src[at+7:]) != 0x04ff0101 {
					break
				}
				value += 3
			} else if x>>56 != tagOctets {
				break
			}
			stop := at + 2 + int(byte(x>>8))
			if stop > len(src) || value > stop || value+int(src[value-1]) != stop || k == 0 || known[k/64]&(1<<(k%64)) != 0 {
				break
			}
			known[k/64] |= 1 << (k % 64)
			refs = append(refs, extRef{uint32(at), uint32(value), uint32(stop), oids[k].ext})
			numbers[n] = k
			at = stop
			continue
		}
		tag, body, stop := head(src, at)
		if tag != tagSeq || len(src)-body < 8 {
			break
		}
		// The identifier: of most, id-ce and an octet.
		x := binary.LittleEndian.Uint64(src[body:])
		var k uint8
		value := body + 5
		if uint32(x) == 0x1d550306 {
			k = oidsCE[byte(x>>32)]
		} else if x == sctListBegins && len(src)-body >= 12 && binary.LittleEndian.Uint32(src[body+8:]) == sctListEnds {
			value = body + 12
			k = numberSCTs
		} else if x == aiaBegins && len(src)-body >= 10 && binary.LittleEndian.Uint16(src[body+8:]) == aiaEnds {
			value = body + 10
			k = numberAIA
		} else if l := int(x >> 8 & 0xff); byte(x) == tagOID && l < 0x80 && body+2+l <= stop {
			value = body + 2 + l
			k = knownOID(src[body+2 : value])
		}
		if k == 0 || len(src)-value < 4 || known[k/64]&(1<<(k%64)) != 0 {
			break
		}
		known[k/64] |= 1 << (k % 64)
		// Critical, or not a word about it.
		if binary.LittleEndian.Uint32(src[value:])&0xffffff == 0xff0101 {
			value += 3
		}
		tag, from, to := head(src, value)
		if tag != tagOctets || to != stop {
			break
		}
		ext := oids[k].ext
		if ext >= extSCTs {
			t.note(ext, uint32(at), uint32(stop))
		}
		refs = append(refs, extRef{uint32(at), uint32(from), uint32(to), ext})
		numbers[n] = k
		at = stop
	}
	if !plain {
		t.poison, t.drops = false, 0
		return false
	}
	p.row.Extensions = p.issuerSequence(&numbers, len(refs))
	p.refs = refs
	p.values(t.src, refs, 0)
	return true
}

// extRef is an extension that has a value: where it begins, its value, and
// which it is.
type extRef struct {
	at, body, stop uint32
	ext            uint8
}
