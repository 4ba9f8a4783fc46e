//go:build !amd64

package shabatch

// None of the functions below can be used.
const (
	hasPairs = false
	hasWide  = false
)

const notHere = "shabatch: not made for this processor"

func blocks256x2(ha, hb *[8]uint32, pa, pb *byte, n int)                     { panic(notHere) }
func blocks256x16(h *[8][width]uint32, p *[width]*byte, n int, begin uint16) { panic(notHere) }
func blocks1x16(h *[8][width]uint32, p *[width]*byte, n int, begin uint16)   { panic(notHere) }
func hashes16(dst *[width]Hash, h *[8][width]uint32)                         { panic(notHere) }
func least(left *[width]int32) int                                           { panic(notHere) }
func advance(at *[width]*byte, left *[width]int32, n int) (ended uint16)     { panic(notHere) }
