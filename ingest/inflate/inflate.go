package inflate

import (
	"encoding/binary"
	"slices"
)

// slack is what the fast loop may write beyond what it has looked for: two
// literals, and a match of 258 bytes, 32 at a time.
const slack = 320

// reader is the input: n bits of it, lowest first, are in bits; the bytes from
// at on are to come. There may be more bits of src[at] and what follows in
// bits above the n: they are the right ones, and come once more.
type reader struct {
	src  []byte
	at   int
	bits uint64
	n    uint
}

// fill takes bytes until there are 56 bits, or no bytes.
func (r *reader) fill() {
	r.bits &= 1<<r.n - 1
	for r.n < 56 && r.at < len(r.src) {
		r.bits |= uint64(r.src[r.at]) << r.n
		r.at++
		r.n += 8
	}
}

// take takes k ≤ 16 bits. ok is false if there are not as many.
func (r *reader) take(k uint) (v uint32, ok bool) {
	if r.n < k {
		if r.fill(); r.n < k {
			return 0, false
		}
	}
	v = uint32(r.bits & (1<<k - 1))
	r.bits >>= k
	r.n -= k
	return v, true
}

// rest returns the input behind the byte of which the last bit was taken.
func (r *reader) rest() []byte { return r.src[r.at-int(r.n/8):] }

// inflate appends to dst what src holds (RFC 1951), and returns what follows
// it. dst does not grow beyond limit bytes.
func (d *decoder) inflate(dst, src []byte, limit int64) (out, rest []byte, err error) {
	r := &reader{src: src}
	base := len(dst) // where distances end
	for final := uint32(0); final == 0; {
		head, ok := r.take(3)
		if !ok {
			return nil, nil, ErrCut
		}
		final = head & 1
		switch head >> 1 {
		case 0:
			dst, err = stored(dst, r)
		case 1:
			d.fixedTables()
			dst, err = d.block(dst, base, r, limit)
		case 2:
			if err = d.dynamicTables(r); err == nil {
				dst, err = d.block(dst, base, r, limit)
			}
		default:
			err = ErrDamaged
		}
		if err == nil && int64(len(dst)) > limit {
			err = ErrLimit
		}
		if err != nil {
			return nil, nil, err
		}
	}
	return dst, r.rest(), nil
}

// stored copies a block that is not compressed (RFC 1951 section 3.2.4).
func stored(dst []byte, r *reader) ([]byte, error) {
	rest := r.rest()
	if len(rest) < 4 {
		return nil, ErrCut
	}
	n := int(binary.LittleEndian.Uint16(rest))
	if binary.LittleEndian.Uint16(rest[2:]) != ^uint16(n) {
		return nil, ErrDamaged
	}
	rest = rest[4:]
	if len(rest) < n {
		return nil, ErrCut
	}
	*r = reader{src: rest[n:]}
	return append(dst, rest[:n]...), nil
}

// fixedTables makes the tables of RFC 1951 section 3.2.6.
func (d *decoder) fixedTables() {
	if d.fixed {
		return
	}
	lens := d.lens[:]
	for i := range maxLits {
		switch {
		case i < 144, i >= 280:
			lens[i] = 8
		case i < 256:
			lens[i] = 9
		default:
			lens[i] = 7
		}
	}
	for i := range maxDists {
		lens[maxLits+i] = 5
	}
	d.build(d.lit[:], litBits, lens[:maxLits], litResults[:])
	d.build(d.dist[:], distBits, lens[maxLits:], distResults[:])
	d.fixed = true
}

// preOrder is the order in which the lengths of codes of lengths come.
var preOrder = [19]uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}

// dynamicTables reads the codes of a block (RFC 1951 section 3.2.7).
func (d *decoder) dynamicTables(r *reader) error {
	d.fixed = false
	head, ok := r.take(14)
	if !ok {
		return ErrCut
	}
	lits, dists, pres := int(head&31)+257, int(head>>5&31)+1, int(head>>10)+4
	if lits > 286 || dists > 30 {
		return ErrDamaged
	}
	var pre [19]uint8
	for _, s := range preOrder[:pres] {
		n, ok := r.take(3)
		if !ok {
			return ErrCut
		}
		pre[s] = uint8(n)
	}
	if !d.build(d.pre[:], lenBits, pre[:], preResults[:]) {
		return ErrDamaged
	}
	lens := d.lens[:lits+dists]
	for i := 0; i < len(lens); {
		r.fill()
		e := d.pre[r.bits&(1<<lenBits-1)]
		k := uint(e & 0xff)
		if e&isSpecial != 0 {
			return ErrDamaged
		}
		if k > r.n {
			return ErrCut
		}
		r.bits >>= k
		r.n -= k
		s := e >> 16
		if s < 16 {
			lens[i] = uint8(s)
			i++
			continue
		}
		var value uint8
		var more uint32
		times := 3
		switch s {
		case 16:
			if i == 0 {
				return ErrDamaged
			}
			value = lens[i-1]
			more, ok = r.take(2)
		case 17:
			more, ok = r.take(3)
		default:
			times = 11
			more, ok = r.take(7)
		}
		if !ok {
			return ErrCut
		}
		times += int(more)
		if times > len(lens)-i {
			return ErrDamaged
		}
		for range times {
			lens[i] = value
			i++
		}
	}
	if !d.build(d.lit[:], litBits, lens[:lits], litResults[:]) ||
		!d.build(d.dist[:], distBits, lens[lits:], distResults[:]) {
		return ErrDamaged
	}
	return nil
}

// block decodes to the end of a block, with the tables. Distances must end at
// base or behind it. What a block has beyond the limit is left alone sooner or later.
func (d *decoder) block(dst []byte, base int, r *reader, limit int64) ([]byte, error) {
	for {
		var end bool
		var err error
		if cap(dst)-len(dst) > slack && len(r.src)-r.at > fastInput {
			if dst, end, err = d.fast(dst, base, r); end || err != nil {
				return dst, err
			}
		}
		if int64(len(dst)) > limit {
			return nil, ErrLimit
		}
		// Either buffer is near its end. The output's can be moved: its size
		// was a stranger's word.
		if cap(dst)-len(dst) <= slack {
			dst = slices.Grow(dst, int(min(int64(len(dst)), limit-int64(len(dst))))+4*slack)
		}
		if len(r.src)-r.at > fastInput {
			continue
		}
		if dst, end, err = d.slow(dst, base, r); end || err != nil {
			return dst, err
		}
	}
}

// fastInput is what the fast loop reads in one turn: three words, of which it
// takes less.
const fastInput = 24

// fast decodes while there are fastInput bytes to read and slack to write.
func (d *decoder) fast(dst []byte, base int, r *reader) (_ []byte, end bool, err error) {
	src, at, bits, n := r.src, r.at, r.bits, r.n
	o := len(dst)
	out := dst[:cap(dst)]
	lastIn, lastOut := len(src)-fastInput, len(out)-slack
	lit, dist := (*[1 << litBits]uint32)(d.lit[:]), (*[1 << distBits]uint32)(d.dist[:])
	// Of n the low six bits count: what else an entry has comes off it too.
	for at < lastIn && o < lastOut {
		bits |= binary.LittleEndian.Uint64(src[at:]) << (n & 63)
		at += int((63 - n&63) >> 3)
		n |= 56
		e := lit[bits&(1<<litBits-1)]
		if e&isLiteral != 0 {
			bits >>= e & 63
			n -= uint(e)
			out[o] = byte(e >> 16)
			o++
			e = lit[bits&(1<<litBits-1)]
			if e&isLiteral != 0 {
				bits >>= e & 63
				n -= uint(e)
				out[o] = byte(e >> 16)
				o++
				e = lit[bits&(1<<litBits-1)]
				if e&isLiteral != 0 {
					bits >>= e & 63
					n -= uint(e)
					out[o] = byte(e >> 16)
					o++
					continue
				}
			}
		}
		// 34 bits or more are left: enough for a length, not for its distance.
		was := bits
		bits >>= e & 63
		n -= uint(e)
		if e&isSpecial != 0 {
			if e&isLink != 0 {
				e = d.lit[e>>16+uint32(bits)&(1<<(e>>8&15)-1)]
				was = bits
				bits >>= e & 63
				n -= uint(e)
				if e&isLiteral != 0 {
					out[o] = byte(e >> 16)
					o++
					continue
				}
			}
			if e&isSpecial != 0 {
				if e&isEnd == 0 {
					return nil, false, ErrDamaged
				}
				end = true
				break
			}
		}
		length := int(e>>16) + int(was&(1<<(e&63)-1)>>(e>>8&15))

		bits |= binary.LittleEndian.Uint64(src[at:]) << (n & 63)
		at += int((63 - n&63) >> 3)
		n |= 56
		was = bits
		e = dist[bits&(1<<distBits-1)]
		bits >>= e & 63
		n -= uint(e)
		if e&isSpecial != 0 {
			if e&isLink != 0 {
				e = d.dist[e>>16+uint32(bits)&(1<<(e>>8&15)-1)]
				was = bits
				bits >>= e & 63
				n -= uint(e)
			}
			if e&isSpecial != 0 {
				return nil, false, ErrDamaged
			}
		}
		distance := int(e>>16) + int(was&(1<<(e&63)-1)>>(e>>8&15))
		if distance > o-base {
			return nil, false, ErrDamaged
		}
		from, to := o-distance, o+length
		switch {
		case distance >= 32:
			for {
				src, dst := out[from:from+32], out[o:o+32]
				a, b := binary.LittleEndian.Uint64(src), binary.LittleEndian.Uint64(src[8:])
				c, d := binary.LittleEndian.Uint64(src[16:]), binary.LittleEndian.Uint64(src[24:])
				binary.LittleEndian.PutUint64(dst, a)
				binary.LittleEndian.PutUint64(dst[8:], b)
				binary.LittleEndian.PutUint64(dst[16:], c)
				binary.LittleEndian.PutUint64(dst[24:], d)
				from += 32
				if o += 32; o >= to {
					break
				}
			}
		case distance >= 8:
			for {
				binary.LittleEndian.PutUint64(out[o:], binary.LittleEndian.Uint64(out[from:]))
				from += 8
				if o += 8; o >= to {
					break
				}
			}
		default:
			for ; o < to; o++ {
				out[o] = out[from]
				from++
			}
		}
		o = to
	}
	r.at, r.bits, r.n = at, bits, n&63
	return out[:o], end, nil
}

// slow decodes while there is room for a match, looking before each step. It
// ends where the fast loop can take over.
func (d *decoder) slow(dst []byte, base int, r *reader) (_ []byte, end bool, err error) {
	for cap(dst)-len(dst) > slack {
		e, extra, err := r.symbol(d.lit[:], litBits)
		switch {
		case err != nil:
			return nil, false, err
		case e&isLiteral != 0:
			dst = append(dst, byte(e>>16))
			continue
		case e&isEnd != 0:
			return dst, true, nil
		}
		length := int(e>>16) + extra
		if e, extra, err = r.symbol(d.dist[:], distBits); err != nil {
			return nil, false, err
		}
		distance := int(e>>16) + extra
		if distance > len(dst)-base {
			return nil, false, ErrDamaged
		}
		for range length {
			dst = append(dst, dst[len(dst)-distance])
		}
	}
	return dst, false, nil
}

// symbol takes one code and the bits behind it. It returns the code's entry,
// which may be the end of the block, but neither a link nor no code.
func (r *reader) symbol(table []uint32, tableBits uint) (e uint32, extra int, err error) {
	r.fill()
	e = table[r.bits&(1<<tableBits-1)]
	if e&isLiteral == 0 && e&isLink != 0 {
		if r.n < tableBits {
			return 0, 0, ErrCut
		}
		r.bits >>= tableBits
		r.n -= tableBits
		e = table[e>>16+uint32(r.bits)&(1<<(e>>8&15)-1)]
	}
	if e&isLiteral == 0 && e&isSpecial != 0 && e&isEnd == 0 {
		return 0, 0, ErrDamaged
	}
	k := uint(e & 63)
	if k > r.n {
		return 0, 0, ErrCut
	}
	extra = int(r.bits & (1<<k - 1) >> (e >> 8 & 15))
	r.bits >>= k
	r.n -= k
	return e, extra, nil
}
