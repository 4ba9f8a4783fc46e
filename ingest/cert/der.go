package cert

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

// elem is one element: full is its identifier, length and content, body its
// content (without the end-of-contents octets of an indefinite length). tag is
// the identifier octet, the first one if there are several.
type elem struct {
	tag        byte
	full, body []byte
}

// is reports whether the element has the tag and was read at all.
func (e *elem) is(tag byte) bool { return e.full != nil && e.tag == tag }

// cur reads elements off the front of b. It accepts more than DER and says so:
// flags collects NonMinLen and BER. Elements alias b with their capacity cut.
type cur struct {
	b     []byte
	flags Flag
}

// next reads one element. It returns false, and reads nothing, if what is left
// is not one.
func (c *cur) next(e *elem) bool {
	b := c.b
	if len(b) < 2 {
		return false
	}
	h, n := 2, int(b[1])
	if b[0]&0x1f == 0x1f {
		return c.nextSlow(e)
	}
	switch {
	case n < 0x80:
	case n == 0x81 && len(b) > 2 && b[2] >= 0x80:
		h, n = 3, int(b[2])
	case n == 0x82 && len(b) > 3 && b[2] != 0:
		h, n = 4, int(b[2])<<8|int(b[3])
	default:
		return c.nextSlow(e)
	}
	if n > len(b)-h {
		return false
	}
	e.tag, e.full, e.body = b[0], b[:h+n:h+n], b[h:h+n:h+n]
	c.b = b[h+n:]
	return true
}

// nextSlow reads what the fast path leaves: identifiers of several octets,
// long, padded and indefinite lengths.
func (c *cur) nextSlow(e *elem) bool {
	h, n, q, ok := header(c.b)
	if !ok {
		return false
	}
	b := c.b
	if n < 0 {
		content, total, ok := indefinite(b[h:], 1)
		if !ok {
			return false
		}
		e.tag, e.full, e.body = b[0], b[:h+total:h+total], b[h:h+content:h+content]
		c.b = b[h+total:]
	} else {
		e.tag, e.full, e.body = b[0], b[:h+n:h+n], b[h:h+n:h+n]
		c.b = b[h+n:]
	}
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
