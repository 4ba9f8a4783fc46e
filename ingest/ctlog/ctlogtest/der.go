package ctlogtest

// DER tags that the generator writes (X.690).
const (
	tagBoolean     = 0x01
	tagInteger     = 0x02
	tagBitString   = 0x03
	tagOctetString = 0x04
	tagNull        = 0x05
	tagOID         = 0x06
	tagEnumerated  = 0x0a
	tagUTF8        = 0x0c
	tagPrintable   = 0x13
	tagIA5         = 0x16
	tagUTCTime     = 0x17
	tagGenTime     = 0x18
	tagSequence    = 0x30
	tagSet         = 0x31
)

// der appends DER to b. Nested values are opened and closed: open writes the
// tag and one length byte, close puts the real length there and moves the
// content up if it takes more than one byte.
type der struct{ b []byte }

func (d *der) open(tag byte) int {
	d.b = append(d.b, tag, 0)
	return len(d.b)
}

func (d *der) close(at int) {
	n := len(d.b) - at
	switch {
	case n < 0x80:
		d.b[at-1] = byte(n)
	case n < 0x100:
		d.b = append(d.b, 0)
		copy(d.b[at+1:], d.b[at:])
		d.b[at-1], d.b[at] = 0x81, byte(n)
	case n < 0x10000:
		d.b = append(d.b, 0, 0)
		copy(d.b[at+2:], d.b[at:])
		d.b[at-1], d.b[at], d.b[at+1] = 0x82, byte(n>>8), byte(n)
	default:
		d.b = append(d.b, 0, 0, 0)
		copy(d.b[at+3:], d.b[at:])
		d.b[at-1], d.b[at], d.b[at+1], d.b[at+2] = 0x83, byte(n>>16), byte(n>>8), byte(n)
	}
}

func (d *der) raw(b []byte)    { d.b = append(d.b, b...) }
func (d *der) bytes(b ...byte) { d.b = append(d.b, b...) }

// tlv appends one primitive value.
func (d *der) tlv(tag byte, content []byte) {
	at := d.open(tag)
	d.b = append(d.b, content...)
	d.close(at)
}

func (d *der) str(tag byte, s string) {
	at := d.open(tag)
	d.b = append(d.b, s...)
	d.close(at)
}

// uint appends an INTEGER whose value is the unsigned big-endian b.
func (d *der) uint(b []byte) {
	for len(b) > 1 && b[0] == 0 {
		b = b[1:]
	}
	at := d.open(tagInteger)
	if len(b) == 0 || b[0]&0x80 != 0 {
		d.b = append(d.b, 0)
	}
	d.b = append(d.b, b...)
	d.close(at)
}

// oid appends an OBJECT IDENTIFIER of these arcs.
func (d *der) oid(arcs ...uint64) {
	at := d.open(tagOID)
	d.b = append(d.b, byte(arcs[0]*40+arcs[1]))
	for _, a := range arcs[2:] {
		n := 1
		for v := a >> 7; v > 0; v >>= 7 {
			n++
		}
		for i := n - 1; i >= 0; i-- {
			c := byte(a>>(7*i)) & 0x7f
			if i > 0 {
				c |= 0x80
			}
			d.b = append(d.b, c)
		}
	}
	d.close(at)
}

// derOf returns what f writes.
func derOf(f func(*der)) []byte {
	var d der
	f(&d)
	return d.b
}
