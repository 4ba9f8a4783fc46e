//go:build !amd64

package sha256x2

// interleaved says that blocks2 can be used.
const interleaved = false

func blocks2(ha, hb *[8]uint32, pa, pb *byte, n int) { panic("sha256x2: not made for this processor") }
