package sha256x2

// interleaved says that blocks2 can be used: SSSE3, SSE4.1 and the SHA
// instructions are there. The operating system keeps SSE registers always.
var interleaved = func() bool {
	maxLeaf, _, _ := cpuid(0)
	if maxLeaf < 7 {
		return false
	}
	const ssse3, sse41, sha = 1 << 9, 1 << 19, 1 << 29
	_, _, ecx := cpuid(1)
	_, ebx, _ := cpuid(7)
	return ecx&ssse3 != 0 && ecx&sse41 != 0 && ebx&sha != 0
}()

// cpuid returns what the processor says of itself, subleaf 0.
func cpuid(leaf uint32) (eax, ebx, ecx uint32)

// blocks2 hashes n > 0 blocks at pa into the state ha, and as many at pb into
// hb.
//
//go:noescape
func blocks2(ha, hb *[8]uint32, pa, pb *byte, n int)
