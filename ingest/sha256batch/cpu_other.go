//go:build !amd64

package sha256batch

// None of the functions below can be used.
const (
	hasPairs = false
	hasWide  = false
)

func blocks2(ha, hb *[8]uint32, pa, pb *byte, n int) {
	panic("sha256batch: not made for this processor")
}

func blocks16(h *[8][width]uint32, p *[width]*byte, n int) {
	panic("sha256batch: not made for this processor")
}

func hashes16(dst *[width]Hash, h *[8][width]uint32) {
	panic("sha256batch: not made for this processor")
}
