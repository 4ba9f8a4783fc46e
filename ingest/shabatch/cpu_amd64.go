package shabatch

import "golang.org/x/sys/cpu"

// hasPairs says that blocks256x2 can be used: SSSE3, SSE4.1 and the SHA
// instructions are there. The operating system keeps SSE registers always.
var hasPairs = func() bool {
	maxLeaf, _ := cpuid(0)
	if maxLeaf < 7 {
		return false
	}
	const sha = 1 << 29
	_, ebx := cpuid(7)
	return cpu.X86.HasSSSE3 && cpu.X86.HasSSE41 && ebx&sha != 0
}()

// hasWide says that sixteen lanes can be used: AVX-512 with its instructions for
// bytes, and an operating system that keeps the registers.
var hasWide = cpu.X86.HasAVX512F && cpu.X86.HasAVX512BW

// cpuid returns what the processor says of itself, subleaf 0. It is asked for
// the SHA instructions alone, which the package cpu does not look for.
func cpuid(leaf uint32) (eax, ebx uint32)

// blocks256x2 hashes n > 0 blocks at pa into the state ha, and as many at pb
// into hb.
//
//go:noescape
func blocks256x2(ha, hb *[8]uint32, pa, pb *byte, n int)

// blocks256x16 hashes n > 0 blocks at each of p into the states, of which word
// w of message i stands in h[w][i]. Messages whose bit is set in begin have the
// initial state, whatever stands there.
//
//go:noescape
func blocks256x16(h *[8][width]uint32, p *[width]*byte, n int, begin uint16)

// blocks1x16 is blocks256x16 for SHA-1, whose states are the first five words.
//
//go:noescape
func blocks1x16(h *[8][width]uint32, p *[width]*byte, n int, begin uint16)

// hashes16 writes the states as hashes.
//
//go:noescape
func hashes16(dst *[width]Hash, h *[8][width]uint32)

// least returns the smallest number that is not zero. One must be there.
//
//go:noescape
func least(left *[width]int32) int

// advance takes n, which none is smaller than, from all that are not zero, and
// has those that are not zero then point n blocks on. The others have ended:
// bit i is lane i.
//
// It writes pointers without the collector's knowledge: they stay within the
// message, which the caller holds.
//
//go:noescape
func advance(at *[width]*byte, left *[width]int32, n int) (ended uint16)
