// What the kernels of sixteen lanes have in common: blocks of sixteen messages to
// Z0 to Z15, a word of each message in one register. SI points to the sixteen
// pointers, CX is the offset into the messages. Z24 to Z31 are scratch.

// Sixteen bytes, at off, of the messages r, r+4, r+8 and r+12.
#define GATHER(off, r, x, z) \
	MOVQ (8*(r+0))(SI), R8 \
	MOVQ (8*(r+4))(SI), R9 \
	MOVQ (8*(r+8))(SI), R10 \
	MOVQ (8*(r+12))(SI), R11 \
	VMOVDQU32 off(R8)(CX*1), x \
	VINSERTI32X4 $1, off(R9)(CX*1), z, z \
	VINSERTI32X4 $2, off(R10)(CX*1), z, z \
	VINSERTI32X4 $3, off(R11)(CX*1), z, z

// Sixteen bytes, at off, of all messages, and so four words: a matrix of four
// by four words is turned in each quarter of the registers.
#define WORDS(off, w0, w1, w2, w3) \
	GATHER(off, 0, X24, Z24) \
	GATHER(off, 1, X25, Z25) \
	GATHER(off, 2, X26, Z26) \
	GATHER(off, 3, X27, Z27) \
	VPUNPCKLDQ Z25, Z24, Z28 \
	VPUNPCKHDQ Z25, Z24, Z29 \
	VPUNPCKLDQ Z27, Z26, Z30 \
	VPUNPCKHDQ Z27, Z26, Z31 \
	VPUNPCKLQDQ Z30, Z28, w0 \
	VPUNPCKHQDQ Z30, Z28, w1 \
	VPUNPCKLQDQ Z31, Z29, w2 \
	VPUNPCKHQDQ Z31, Z29, w3 \
	VBROADCASTI32X4 ·turn(SB), Z24 \
	VPSHUFB Z24, w0, w0 \
	VPSHUFB Z24, w1, w1 \
	VPSHUFB Z24, w2, w2 \
	VPSHUFB Z24, w3, w3
