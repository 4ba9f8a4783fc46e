#include "textflag.h"

// SHA-256 of two messages, block by block, with the SHA instructions (Intel
// SDM volume 2, SHA256RNDS2, SHA256MSG1, SHA256MSG2; FIPS 180-4 section 6.2.2).
//
// Registers, by lane:
//
//	          A          B
//	state     X1  X2     X7  X8      a b e f, and c d g h, from high to low
//	schedule  X3 to X6   X9 to X12   sixteen words, four to a register
//	scratch   X13        X14
//
// X0 is the operand that SHA256RNDS2 does not name: words of the schedule plus
// their constants. X15 turns the bytes of words round. AX points to the
// constants. The state before the block is in the frame.

// Four rounds with the words in X0: two with its low half, two with its high
// half.
#define ROUNDS4(abef, cdgh) \
	SHA256RNDS2 X0, abef, cdgh \
	PSHUFD $0x0e, X0, X0 \
	SHA256RNDS2 X0, cdgh, abef

// Four words of the message, and their rounds.
#define LOAD4(p, g, w, abef, cdgh) \
	MOVOU (16*g)(p), w \
	PSHUFB X15, w \
	MOVO w, X0 \
	PADDD (16*g)(AX), X0 \
	ROUNDS4(abef, cdgh)

// Rounds with four words w that the schedule has.
#define HAVE4(g, w, abef, cdgh) \
	MOVO w, X0 \
	PADDD (16*g)(AX), X0 \
	ROUNDS4(abef, cdgh)

// The first half of sixteen words on: w[t-16] + σ0(w[t-15]), out of old, which
// has t-16 to t-13, and new, which has t-12 to t-9.
#define BEGIN4(old, new) \
	SHA256MSG1 new, old

// The second half: + w[t-7] + σ1(w[t-2]), out of before, which has t-8 to t-5,
// and last, which has t-4 to t-1.
#define END4(begun, before, last, scratch) \
	MOVO last, scratch \
	PALIGNR $4, before, scratch \
	PADDD scratch, begun \
	SHA256MSG2 last, begun

// Four rounds in the middle of both lanes: the words of now are used, those of
// next are finished, and those of before are begun anew.
#define MIDDLE(g, nowA, nextA, beforeA, nowB, nextB, beforeB) \
	HAVE4(g, nowA, X1, X2) \
	END4(nextA, beforeA, nowA, X13) \
	BEGIN4(beforeA, nowA) \
	HAVE4(g, nowB, X7, X8) \
	END4(nextB, beforeB, nowB, X14) \
	BEGIN4(beforeB, nowB)

// The same, near the end: no words are begun.
#define LATE(g, nowA, nextA, beforeA, nowB, nextB, beforeB) \
	HAVE4(g, nowA, X1, X2) \
	END4(nextA, beforeA, nowA, X13) \
	HAVE4(g, nowB, X7, X8) \
	END4(nextB, beforeB, nowB, X14)

// A state in memory, a to h, to registers.
#define GETSTATE(p, abef, cdgh, scratch) \
	MOVOU (p), abef \
	MOVOU 16(p), cdgh \
	PSHUFD $0xb1, abef, abef \
	PSHUFD $0x1b, cdgh, cdgh \
	MOVO abef, scratch \
	PALIGNR $8, cdgh, abef \
	PBLENDW $0xf0, scratch, cdgh

// And back.
#define PUTSTATE(p, abef, cdgh, scratch) \
	PSHUFD $0x1b, abef, abef \
	PSHUFD $0xb1, cdgh, cdgh \
	MOVO abef, scratch \
	PBLENDW $0xf0, cdgh, abef \
	PALIGNR $8, scratch, cdgh \
	MOVOU abef, (p) \
	MOVOU cdgh, 16(p)

// func blocks256x2(ha, hb *[8]uint32, pa, pb *byte, n int)
TEXT ·blocks256x2(SB), NOSPLIT, $64-40
	MOVQ ha+0(FP), R8
	MOVQ hb+8(FP), R9
	MOVQ pa+16(FP), SI
	MOVQ pb+24(FP), DI
	MOVQ n+32(FP), CX
	LEAQ ·constants256(SB), AX
	MOVOU ·turn(SB), X15
	GETSTATE(R8, X1, X2, X13)
	GETSTATE(R9, X7, X8, X14)

block:
	MOVOU X1, 0(SP)
	MOVOU X2, 16(SP)
	MOVOU X7, 32(SP)
	MOVOU X8, 48(SP)

	// Rounds 0 to 15, with the words of the message.
	LOAD4(SI, 0, X3, X1, X2)
	LOAD4(DI, 0, X9, X7, X8)
	LOAD4(SI, 1, X4, X1, X2)
	BEGIN4(X3, X4)
	LOAD4(DI, 1, X10, X7, X8)
	BEGIN4(X9, X10)
	LOAD4(SI, 2, X5, X1, X2)
	BEGIN4(X4, X5)
	LOAD4(DI, 2, X11, X7, X8)
	BEGIN4(X10, X11)
	LOAD4(SI, 3, X6, X1, X2)
	END4(X3, X5, X6, X13)
	BEGIN4(X5, X6)
	LOAD4(DI, 3, X12, X7, X8)
	END4(X9, X11, X12, X14)
	BEGIN4(X11, X12)

	// Rounds 16 to 63, with words that are made.
	MIDDLE(4, X3, X4, X6, X9, X10, X12)
	MIDDLE(5, X4, X5, X3, X10, X11, X9)
	MIDDLE(6, X5, X6, X4, X11, X12, X10)
	MIDDLE(7, X6, X3, X5, X12, X9, X11)
	MIDDLE(8, X3, X4, X6, X9, X10, X12)
	MIDDLE(9, X4, X5, X3, X10, X11, X9)
	MIDDLE(10, X5, X6, X4, X11, X12, X10)
	MIDDLE(11, X6, X3, X5, X12, X9, X11)
	MIDDLE(12, X3, X4, X6, X9, X10, X12)
	LATE(13, X4, X5, X3, X10, X11, X9)
	LATE(14, X5, X6, X4, X11, X12, X10)
	HAVE4(15, X6, X1, X2)
	HAVE4(15, X12, X7, X8)

	// The frame need not be aligned for PADDD.
	MOVOU 0(SP), X3
	MOVOU 16(SP), X4
	MOVOU 32(SP), X9
	MOVOU 48(SP), X10
	PADDD X3, X1
	PADDD X4, X2
	PADDD X9, X7
	PADDD X10, X8

	ADDQ $64, SI
	ADDQ $64, DI
	DECQ CX
	JNZ  block

	PUTSTATE(R8, X1, X2, X13)
	PUTSTATE(R9, X7, X8, X14)
	RET
