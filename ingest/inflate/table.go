package inflate

import "math/bits"

// An entry of a table says what the next bits are:
//
//	 0–7   bits to take, those behind a code included
//	 8–11  bits of the code, of which the rest are those behind it; of a link,
//	       bits that the subtable looks at
//	13     end of the block
//	14     link to a subtable
//	15     special: 13 or 14, or no code at all
//	16–30  a literal, the base of a length or of a distance, or where the subtable begins
//	31     literal
const (
	isLiteral = 1 << 31
	isSpecial = 1 << 15
	isLink    = 1 << 14
	isEnd     = 1 << 13
)

const (
	maxCode  = 15 // bits of a code
	litBits  = 11
	distBits = 8
	lenBits  = 7

	maxLits  = 288
	maxDists = 32

	// What complete codes of so many symbols need at most, with the subtables
	// (zlib's enough.c): 2342 and 402.
	litEnough  = 2400
	distEnough = 416
)

// decoder holds the tables of a block.
type decoder struct {
	lit  [litEnough]uint32
	dist [distEnough]uint32
	lens [maxLits + maxDists]uint8 // of codes, as read
	pre  [1 << lenBits]uint32      // codes of lengths of codes
	syms [maxLits]uint16           // by length of code

	fixed bool // the tables are those of a fixed block
}

// Results of symbols: entries without the code's own bits.
var (
	litResults  [maxLits]uint32
	distResults [maxDists]uint32
	preResults  [19]uint32
)

func init() {
	for i := range 256 {
		litResults[i] = isLiteral | uint32(i)<<16
	}
	litResults[256] = isSpecial | isEnd
	// RFC 1951 section 3.2.5.
	base, extra := uint32(3), uint32(0)
	for i := 257; i < 285; i++ {
		if i >= 265 && (i-265)%4 == 0 {
			extra++
		}
		litResults[i] = base<<16 | extra
		base += 1 << extra
	}
	litResults[285] = 258 << 16
	litResults[286], litResults[287] = isSpecial, isSpecial
	base, extra = 1, 0
	for i := range 30 {
		if i >= 4 && i%2 == 0 {
			extra++
		}
		distResults[i] = base<<16 | extra
		base += 1 << extra
	}
	distResults[30], distResults[31] = isSpecial, isSpecial
	for i := range preResults {
		preResults[i] = uint32(i) << 16
	}
}

// build makes the table of a canonical code out of the lengths of its codes
// (RFC 1951 section 3.2.2). Like compress/flate it takes complete codes, none,
// and a single code of one bit.
func (d *decoder) build(table []uint32, tableBits uint, lens []uint8, results []uint32) bool {
	var count [maxCode + 1]int
	for _, n := range lens {
		count[n]++
	}
	count[0] = 0
	used, space := 0, 0 // codes, and what they take of 1<<maxCode
	var at [maxCode + 1]int
	for n := 1; n <= maxCode; n++ {
		at[n] = used
		used += count[n]
		space += count[n] << (maxCode - n)
	}
	if space != 1<<maxCode {
		if used > 1 || used == 1 && count[1] != 1 {
			return false
		}
		for i := range table[:1<<tableBits] {
			table[i] = isSpecial
		}
	}
	for s, n := range lens {
		if n != 0 {
			d.syms[at[n]] = uint16(s)
			at[n]++
		}
	}
	// Codes come in the order of their lengths. Those that the table has no
	// room for come last, and those that share a subtable side by side.
	code, free := 0, 1<<tableBits
	for i := 0; i < used; {
		n := uint(lens[d.syms[i]])
		if n <= tableBits {
			fill(table[:1<<tableBits], code, n, results[d.syms[i]])
			if i++; i < used {
				code = (code + 1) << (uint(lens[d.syms[i]]) - n)
			}
			continue
		}
		prefix := code >> (n - tableBits)
		last := n // bits of the last code of the subtable: the longest
		end, next := i, code
		for end < used {
			m := uint(lens[d.syms[end]])
			next <<= m - last
			if next>>(m-tableBits) != prefix {
				break
			}
			last = m
			next++
			end++
		}
		width := last - tableBits
		if free+1<<width > len(table) {
			return false // not with a complete code
		}
		sub := table[free : free+1<<width]
		table[int(bits.Reverse16(uint16(prefix))>>(16-tableBits))] =
			isSpecial | isLink | uint32(free)<<16 | uint32(width)<<8 | uint32(tableBits)
		free += 1 << width
		for ; i < end; i++ {
			m := uint(lens[d.syms[i]])
			code <<= m - n
			n = m
			fill(sub, code&(1<<(n-tableBits)-1), n-tableBits, results[d.syms[i]])
			code++
		}
		if i < used {
			code <<= uint(lens[d.syms[i]]) - n
		}
	}
	return true
}

// fill writes to a table the entries of a code of n bits: the low bits of what
// is looked up are the code, first bit lowest, whatever the others are.
func fill(table []uint32, code int, n uint, result uint32) {
	entry := result + uint32(n)<<8 + uint32(n)
	for i := int(bits.Reverse16(uint16(code)) >> (16 - n)); i < len(table); i += 1 << n {
		table[i] = entry
	}
}
