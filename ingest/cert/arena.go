package cert

import "strings"

// stringArena builds strings in pieces of memory: of one row a few hundred
// bytes, so a piece serves many rows, and lives as long as the last of them. What
// it hands out is never written to again: a strings.Builder only appends, and
// a piece that is full is left to the strings that point into it.
//
// The part since the last mark is kept in one piece, so that it can be handed
// out as one string.
type stringArena struct {
	b     strings.Builder
	piece int // bytes of a piece, unless one string needs more
}

const (
	pieceSize = 8 << 10 // of the rows' strings
	ownPiece  = 512     // of what lives longer than a row
)

// room makes sure that n more bytes fit into the piece, else begins another.
func (a *stringArena) room(n int) {
	if a.b.Cap()-a.b.Len() >= n {
		return
	}
	a.b.Reset()
	a.b.Grow(max(n, a.piece))
}

// mark begins a string that is likely to need about n bytes, and returns its
// place. Should it need more, the builder moves it as a whole.
func (a *stringArena) mark(n int) int {
	a.room(n)
	return a.b.Len()
}

func (a *stringArena) len() int           { return a.b.Len() }
func (a *stringArena) since(at int) int   { return a.b.Len() - at }
func (a *stringArena) from(at int) string { return a.b.String()[at:] }
func (a *stringArena) byte(c byte)        { a.b.WriteByte(c) }
func (a *stringArena) string(s string)    { a.b.WriteString(s) }
func (a *stringArena) bytes(b []byte)     { a.b.Write(b) }

// copy returns b as a string that begins and ends in this arena. It must not
// be called between mark and from.
func (a *stringArena) copy(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	at := a.mark(len(b))
	a.b.Write(b)
	return a.from(at)
}

// outside returns b as a string in memory of its own, for use between mark
// and from.
func (a *stringArena) outside(b []byte) string { return string(b) }

// escaped writes the value of an attribute with the escapes of RFC 4514
// section 2.4, and control characters as pairs of hex digits. It reports
// whether there was anything to escape.
func (a *stringArena) escaped(v []byte) bool {
	clean := len(v) == 0 || v[0] != ' ' && v[0] != '#' && v[len(v)-1] != ' '
	for i := 0; clean && i < len(v); i++ {
		clean = byteClass[v[i]]&escape == 0
	}
	if clean {
		a.b.Write(v)
		return false
	}
	for i, c := range v {
		switch {
		case c < ' ' || c == 0x7f:
			const hex = "0123456789abcdef"
			a.b.WriteByte('\\')
			a.b.WriteByte(hex[c>>4])
			a.b.WriteByte(hex[c&15])
			continue
		case byteClass[c]&escape != 0,
			i == 0 && (c == ' ' || c == '#'),
			i == len(v)-1 && c == ' ':
			a.b.WriteByte('\\')
		}
		a.b.WriteByte(c)
	}
	return true
}

// begin starts a list of strings, about n of them, and returns its place.
func (p *parser) begin(n int) int {
	if cap(p.slab)-len(p.slab) < n {
		p.slab = make([]string, 0, max(n, p.slabSize))
	}
	return len(p.slab)
}

// The lists of an ordinary row need some twenty strings together, those of a
// final certificate two SCTs.
const (
	slabSize = 512
	ownSlab  = 32 // of what lives longer than a row
	sctSlab  = 64
)

// private gives the parser memory that no row shares, for what lives longer
// than rows do. The function that it returns undoes it.
func (p *parser) private() (undo func()) {
	strings, slab, size := p.strings, p.slab, p.slabSize
	p.strings, p.slab, p.slabSize = &stringArena{piece: ownPiece}, nil, ownSlab
	return func() { p.strings, p.slab, p.slabSize = strings, slab, size }
}

// list ends the list that began at at. Its capacity is cut, so that appending
// to it never touches its neighbour.
func (p *parser) list(at int) []string {
	if at == len(p.slab) {
		return nil
	}
	return p.slab[at:len(p.slab):len(p.slab)]
}

// add ends the list that began at at and returns it behind have, which is
// not nil only if an extension came twice.
func (p *parser) add(have []string, at int) []string {
	if have == nil {
		return p.list(at)
	}
	return append(have, p.list(at)...)
}

// str returns b as a string of this row's memory.
func (p *parser) str(b []byte) string { return p.strings.copy(b) }
