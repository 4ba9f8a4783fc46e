package cert

import (
	"encoding/binary"
	"math/bits"
)

// The ASN.1 identifier octets that a certificate is made of.
const (
	tagBool      = 0x01
	tagInt       = 0x02
	tagBits      = 0x03
	tagOctets    = 0x04
	tagNull      = 0x05
	tagOID       = 0x06
	tagUTF8      = 0x0c
	tagNumeric   = 0x12
	tagPrintable = 0x13
	tagT61       = 0x14
	tagIA5       = 0x16
	tagUTCTime   = 0x17
	tagGenTime   = 0x18
	tagVisible   = 0x1a
	tagUniversal = 0x1c
	tagBMP       = 0x1e
	tagSeq       = 0x30
	tagSet       = 0x31
)

// maxDepth bounds how deep indefinite lengths may nest. Definite lengths need
// no such bound: the walk descends along the known structure only.
const maxDepth = 32

// elem is one element, as places in the bytes that its cursor reads: the whole
// is [at, end), its content [body, stop), which leaves out identifier, length
// and the end-of-contents octets of an indefinite length. tag is the
// identifier octet, the first one if there are several. The zero elem is none.
//
// Places and not slices, because elements are written through pointers all the
// time: without pointers in them the garbage collector need not be told.
type elem struct {
	at, body, stop, end uint32
	tag                 byte
}

// read reports whether the element was read at all.
func (e *elem) read() bool { return e.end != 0 }

// is reports whether the element has the tag and was read at all.
func (e *elem) is(tag byte) bool { return e.end != 0 && e.tag == tag }

// empty reports whether the element has no content.
func (e *elem) empty() bool { return e.body == e.stop }

// full returns the whole element of src, its capacity cut.
func (e *elem) full(src []byte) []byte { return src[e.at:e.end:e.end] }

// content returns the content of the element of src, its capacity cut.
func (e *elem) content(src []byte) []byte { return src[e.body:e.stop:e.stop] }

// cur reads elements out of b, less than 4 GiB, from at on. It accepts more
// than DER and says so: flags collects NonMinLen and BER.
type cur struct {
	b     []byte
	at    uint32
	flags Flag
}

// more reports whether something is left to read.
func (c *cur) more() bool { return int(c.at) < len(c.b) }

// in returns a cursor over the content of an element that c has read. Its
// elements are places in the same bytes.
func (c *cur) in(e *elem) cur { return cur{b: c.b[:e.stop], at: e.body} }

// set makes e the element of b that [head] found at at.
func (e *elem) set(tag byte, at, body, stop int) {
	e.at, e.body, e.stop, e.end, e.tag = uint32(at), uint32(body), uint32(stop), uint32(stop), tag
}

// head reads the header of the element that begins at at, in the forms that
// nearly all have: one identifier octet, a length in DER below 64 KiB. The
// content is b[body:stop]. It returns zeros for any other form, for what is not
// within b, and for headers in its last three bytes: what those are, next says.
//
// It is next in registers, for walks along what is nearly always there.
func head(b []byte, at int) (tag byte, body, stop int) {
	if at < 0 || len(b)-at < 4 {
		return 0, 0, 0
	}
	x := binary.LittleEndian.Uint32(b[at:])
	tag = byte(x)
	n := int(x >> 8 & 0xff)
	body = at + 2
	if n >= 0x80 {
		switch n {
		case 0x81:
			n = int(x >> 16 & 0xff)
			body = at + 3
			if n < 0x80 {
				return 0, 0, 0
			}
		case 0x82:
			n = int(bits.ReverseBytes16(uint16(x >> 16)))
			body = at + 4
			if n < 0x100 {
				return 0, 0, 0
			}
		default:
			return 0, 0, 0
		}
	}
	stop = body + n
	if stop > len(b) || tag&0x1f == 0x1f {
		return 0, 0, 0
	}
	return tag, body, stop
}

// next reads one element. It returns false, and reads nothing, if what is left
// is not one.
func (c *cur) next(e *elem) bool {
	b, at := c.b, int(c.at)
	if len(b)-at < 2 {
		return false
	}
	tag, n := b[at], int(b[at+1])
	h := at + 2
	if tag&0x1f == 0x1f {
		return c.nextSlow(e)
	}
	if n >= 0x80 {
		switch {
		case n == 0x81 && h < len(b) && b[h] >= 0x80:
			n = int(b[h])
			h++
		case n == 0x82 && h+1 < len(b) && b[h] != 0:
			n = int(b[h])<<8 | int(b[h+1])
			h += 2
		default:
			return c.nextSlow(e)
		}
	}
	n += h
	if n > len(b) {
		return false
	}
	e.at, e.body, e.stop, e.end, e.tag = uint32(at), uint32(h), uint32(n), uint32(n), tag
	c.at = uint32(n)
	return true
}

// nextSlow reads what the fast path leaves: identifiers of several octets,
// long, padded and indefinite lengths.
func (c *cur) nextSlow(e *elem) bool {
	b := c.b[c.at:]
	h, n, q, ok := header(b)
	if !ok {
		return false
	}
	total := n
	if n < 0 {
		if n, total, ok = indefinite(b[h:], 1); !ok {
			return false
		}
	}
	e.at, e.body, e.tag = c.at, c.at+uint32(h), b[0]
	e.stop, e.end = e.body+uint32(n), e.body+uint32(total)
	c.at = e.end
	c.flags |= q
	return true
}

// header reads an identifier and a length: h octets, n octets of content to
// follow, all of them within b. n is -1 for an indefinite length.
func header(b []byte) (h, n int, q Flag, ok bool) {
	if len(b) < 2 {
		return 0, 0, 0, false
	}
	h = 1
	if b[0]&0x1f == 0x1f {
		for {
			if h >= len(b) || h > 5 {
				return 0, 0, 0, false
			}
			h++
			if b[h-1] < 0x80 {
				break
			}
		}
	}
	if h >= len(b) {
		return 0, 0, 0, false
	}
	l := b[h]
	h++
	switch {
	case l < 0x80:
		n = int(l)
	case l == 0x80:
		if b[0]&0x20 == 0 {
			return 0, 0, 0, false // only a constructed element may be indefinite
		}
		return h, -1, BER, true
	default:
		k := int(l & 0x7f)
		if k > len(b)-h {
			return 0, 0, 0, false
		}
		for i := range k {
			if n >= 1<<23 {
				return 0, 0, 0, false
			}
			n = n<<8 | int(b[h+i])
		}
		if b[h] == 0 || n < 0x80 {
			q = NonMinLen
		}
		h += k
	}
	if n > len(b)-h {
		return 0, 0, 0, false
	}
	return h, n, q, true
}

// indefinite finds the end-of-contents octets that close b: content octets
// before them, total with them.
func indefinite(b []byte, depth int) (content, total int, ok bool) {
	if depth > maxDepth {
		return 0, 0, false
	}
	off := 0
	for {
		if len(b)-off < 2 {
			return 0, 0, false
		}
		if b[off] == 0 && b[off+1] == 0 {
			return off, off + 2, true
		}
		h, n, _, ok := header(b[off:])
		if !ok {
			return 0, 0, false
		}
		if n < 0 {
			if _, n, ok = indefinite(b[off+h:], depth+1); !ok {
				return 0, 0, false
			}
		}
		off += h + n
	}
}

// headerLen returns the octets that DER needs for an identifier octet and the
// length n.
func headerLen(n int) int {
	switch {
	case n < 0x80:
		return 2
	case n < 0x100:
		return 3
	case n < 0x10000:
		return 4
	}
	return 5
}

// appendHeader appends an identifier octet and the length n < 2²⁴ in DER.
func appendHeader(dst []byte, tag byte, n int) []byte {
	switch headerLen(n) {
	case 2:
		return append(dst, tag, byte(n))
	case 3:
		return append(dst, tag, 0x81, byte(n))
	case 4:
		return append(dst, tag, 0x82, byte(n>>8), byte(n))
	}
	return append(dst, tag, 0x83, byte(n>>16), byte(n>>8), byte(n))
}
