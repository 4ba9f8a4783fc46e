#include "textflag.h"
#include "wide_amd64.h"

// SHA-256 of sixteen messages, block by block: a word of each in one register
// of AVX-512 (FIPS 180-4 section 6.2.2).
//
// Z0 to Z15 are the schedule, sixteen words of each message. Z16 to Z23 are
// the state, a to h. Z24 to Z31 are scratch. DX points to the constants, CX is
// the offset into the messages.

// Round t with its word w: of three inputs, 0x96 is their sum without carry,
// 0xca is "e ? f : g", 0xe8 what most of a, b and c have.
#define ROUND(t, w, a, b, c, d, e, f, g, h) \
	VPADDD.BCST (4*t)(DX), w, Z24 \
	VPRORD $6, e, Z25 \
	VPRORD $11, e, Z26 \
	VPRORD $25, e, Z27 \
	VMOVDQA32 e, Z28 \
	VPTERNLOGD $0xca, g, f, Z28 \
	VPADDD Z24, h, h \
	VPTERNLOGD $0x96, Z27, Z26, Z25 \
	VPADDD Z28, h, h \
	VPADDD Z25, h, h \
	VPADDD h, d, d \
	VPRORD $2, a, Z29 \
	VPRORD $13, a, Z30 \
	VPRORD $22, a, Z31 \
	VMOVDQA32 a, Z28 \
	VPTERNLOGD $0xe8, c, b, Z28 \
	VPTERNLOGD $0x96, Z31, Z30, Z29 \
	VPADDD Z28, h, h \
	VPADDD Z29, h, h

// A word of the schedule, sixteen on: w + σ0(w1) + w9 + σ1(w14), where w1 is the
// word behind w.
#define NEXT(w, w1, w9, w14) \
	VPRORD $7, w1, Z24 \
	VPRORD $18, w1, Z25 \
	VPSRLD $3, w1, Z26 \
	VPADDD w9, w, w \
	VPRORD $17, w14, Z27 \
	VPRORD $19, w14, Z28 \
	VPSRLD $10, w14, Z29 \
	VPTERNLOGD $0x96, Z26, Z25, Z24 \
	VPTERNLOGD $0x96, Z29, Z28, Z27 \
	VPADDD Z24, w, w \
	VPADDD Z27, w, w

// Eight rounds with words of the message; then the state stands where it did.
#define EIGHT(t, w0, w1, w2, w3, w4, w5, w6, w7) \
	ROUND((t+0), w0, Z16, Z17, Z18, Z19, Z20, Z21, Z22, Z23) \
	ROUND((t+1), w1, Z23, Z16, Z17, Z18, Z19, Z20, Z21, Z22) \
	ROUND((t+2), w2, Z22, Z23, Z16, Z17, Z18, Z19, Z20, Z21) \
	ROUND((t+3), w3, Z21, Z22, Z23, Z16, Z17, Z18, Z19, Z20) \
	ROUND((t+4), w4, Z20, Z21, Z22, Z23, Z16, Z17, Z18, Z19) \
	ROUND((t+5), w5, Z19, Z20, Z21, Z22, Z23, Z16, Z17, Z18) \
	ROUND((t+6), w6, Z18, Z19, Z20, Z21, Z22, Z23, Z16, Z17) \
	ROUND((t+7), w7, Z17, Z18, Z19, Z20, Z21, Z22, Z23, Z16)

// Sixteen rounds with words that are made.
#define SIXTEEN(t) \
	NEXT(Z0, Z1, Z9, Z14) \
	ROUND((t+0), Z0, Z16, Z17, Z18, Z19, Z20, Z21, Z22, Z23) \
	NEXT(Z1, Z2, Z10, Z15) \
	ROUND((t+1), Z1, Z23, Z16, Z17, Z18, Z19, Z20, Z21, Z22) \
	NEXT(Z2, Z3, Z11, Z0) \
	ROUND((t+2), Z2, Z22, Z23, Z16, Z17, Z18, Z19, Z20, Z21) \
	NEXT(Z3, Z4, Z12, Z1) \
	ROUND((t+3), Z3, Z21, Z22, Z23, Z16, Z17, Z18, Z19, Z20) \
	NEXT(Z4, Z5, Z13, Z2) \
	ROUND((t+4), Z4, Z20, Z21, Z22, Z23, Z16, Z17, Z18, Z19) \
	NEXT(Z5, Z6, Z14, Z3) \
	ROUND((t+5), Z5, Z19, Z20, Z21, Z22, Z23, Z16, Z17, Z18) \
	NEXT(Z6, Z7, Z15, Z4) \
	ROUND((t+6), Z6, Z18, Z19, Z20, Z21, Z22, Z23, Z16, Z17) \
	NEXT(Z7, Z8, Z0, Z5) \
	ROUND((t+7), Z7, Z17, Z18, Z19, Z20, Z21, Z22, Z23, Z16) \
	NEXT(Z8, Z9, Z1, Z6) \
	ROUND((t+8), Z8, Z16, Z17, Z18, Z19, Z20, Z21, Z22, Z23) \
	NEXT(Z9, Z10, Z2, Z7) \
	ROUND((t+9), Z9, Z23, Z16, Z17, Z18, Z19, Z20, Z21, Z22) \
	NEXT(Z10, Z11, Z3, Z8) \
	ROUND((t+10), Z10, Z22, Z23, Z16, Z17, Z18, Z19, Z20, Z21) \
	NEXT(Z11, Z12, Z4, Z9) \
	ROUND((t+11), Z11, Z21, Z22, Z23, Z16, Z17, Z18, Z19, Z20) \
	NEXT(Z12, Z13, Z5, Z10) \
	ROUND((t+12), Z12, Z20, Z21, Z22, Z23, Z16, Z17, Z18, Z19) \
	NEXT(Z13, Z14, Z6, Z11) \
	ROUND((t+13), Z13, Z19, Z20, Z21, Z22, Z23, Z16, Z17, Z18) \
	NEXT(Z14, Z15, Z7, Z12) \
	ROUND((t+14), Z14, Z18, Z19, Z20, Z21, Z22, Z23, Z16, Z17) \
	NEXT(Z15, Z0, Z8, Z13) \
	ROUND((t+15), Z15, Z17, Z18, Z19, Z20, Z21, Z22, Z23, Z16)

// func blocks256x16(h *[8][width]uint32, p *[width]*byte, n int, begin uint16)
TEXT ·blocks256x16(SB), NOSPLIT, $0-26
	MOVQ h+0(FP), DI
	MOVQ p+8(FP), SI
	MOVQ n+16(FP), BX
	LEAQ ·constants256(SB), DX
	XORL CX, CX
	KMOVW begin+24(FP), K1
	LEAQ ·initial256(SB), AX
	VMOVDQU32 (64*0)(DI), Z16
	VMOVDQU32 (64*1)(DI), Z17
	VMOVDQU32 (64*2)(DI), Z18
	VMOVDQU32 (64*3)(DI), Z19
	VMOVDQU32 (64*4)(DI), Z20
	VMOVDQU32 (64*5)(DI), Z21
	VMOVDQU32 (64*6)(DI), Z22
	VMOVDQU32 (64*7)(DI), Z23
	VPBROADCASTD (4*0)(AX), K1, Z16
	VPBROADCASTD (4*1)(AX), K1, Z17
	VPBROADCASTD (4*2)(AX), K1, Z18
	VPBROADCASTD (4*3)(AX), K1, Z19
	VPBROADCASTD (4*4)(AX), K1, Z20
	VPBROADCASTD (4*5)(AX), K1, Z21
	VPBROADCASTD (4*6)(AX), K1, Z22
	VPBROADCASTD (4*7)(AX), K1, Z23
	VMOVDQU32 Z16, (64*0)(DI)
	VMOVDQU32 Z17, (64*1)(DI)
	VMOVDQU32 Z18, (64*2)(DI)
	VMOVDQU32 Z19, (64*3)(DI)
	VMOVDQU32 Z20, (64*4)(DI)
	VMOVDQU32 Z21, (64*5)(DI)
	VMOVDQU32 Z22, (64*6)(DI)
	VMOVDQU32 Z23, (64*7)(DI)

block:
	WORDS(0, Z0, Z1, Z2, Z3)
	WORDS(16, Z4, Z5, Z6, Z7)
	WORDS(32, Z8, Z9, Z10, Z11)
	WORDS(48, Z12, Z13, Z14, Z15)
	EIGHT(0, Z0, Z1, Z2, Z3, Z4, Z5, Z6, Z7)
	EIGHT(8, Z8, Z9, Z10, Z11, Z12, Z13, Z14, Z15)
	SIXTEEN(16)
	SIXTEEN(32)
	SIXTEEN(48)
	VPADDD (64*0)(DI), Z16, Z16
	VPADDD (64*1)(DI), Z17, Z17
	VPADDD (64*2)(DI), Z18, Z18
	VPADDD (64*3)(DI), Z19, Z19
	VPADDD (64*4)(DI), Z20, Z20
	VPADDD (64*5)(DI), Z21, Z21
	VPADDD (64*6)(DI), Z22, Z22
	VPADDD (64*7)(DI), Z23, Z23
	VMOVDQU32 Z16, (64*0)(DI)
	VMOVDQU32 Z17, (64*1)(DI)
	VMOVDQU32 Z18, (64*2)(DI)
	VMOVDQU32 Z19, (64*3)(DI)
	VMOVDQU32 Z20, (64*4)(DI)
	VMOVDQU32 Z21, (64*5)(DI)
	VMOVDQU32 Z22, (64*6)(DI)
	VMOVDQU32 Z23, (64*7)(DI)
	ADDQ $64, CX
	DECQ BX
	JNZ  block
	VZEROUPPER
	RET

// Four words of the states, of all messages, turned into four registers: the
// words of message 4q+r stand in quarter q of register r.
#define TURN(w0, w1, w2, w3) \
	VPUNPCKLDQ w1, w0, Z24 \
	VPUNPCKHDQ w1, w0, Z25 \
	VPUNPCKLDQ w3, w2, Z26 \
	VPUNPCKHDQ w3, w2, Z27 \
	VPUNPCKLQDQ Z26, Z24, w0 \
	VPUNPCKHQDQ Z26, Z24, w1 \
	VPUNPCKLQDQ Z27, Z25, w2 \
	VPUNPCKHQDQ Z27, Z25, w3 \
	VPSHUFB Z31, w0, w0 \
	VPSHUFB Z31, w1, w1 \
	VPSHUFB Z31, w2, w2 \
	VPSHUFB Z31, w3, w3

// Half of the hash of messages r, r+4, r+8 and r+12.
#define HALF(r, off, x, z) \
	VMOVDQU32 x, (32*r+off)(SI) \
	VEXTRACTI32X4 $1, z, (32*(r+4)+off)(SI) \
	VEXTRACTI32X4 $2, z, (32*(r+8)+off)(SI) \
	VEXTRACTI32X4 $3, z, (32*(r+12)+off)(SI)

// func hashes16(dst *[width]Hash, h *[8][width]uint32)
TEXT ·hashes16(SB), NOSPLIT, $0-16
	MOVQ dst+0(FP), SI
	MOVQ h+8(FP), DI
	VBROADCASTI32X4 ·turn(SB), Z31
	VMOVDQU32 (64*0)(DI), Z16
	VMOVDQU32 (64*1)(DI), Z17
	VMOVDQU32 (64*2)(DI), Z18
	VMOVDQU32 (64*3)(DI), Z19
	VMOVDQU32 (64*4)(DI), Z20
	VMOVDQU32 (64*5)(DI), Z21
	VMOVDQU32 (64*6)(DI), Z22
	VMOVDQU32 (64*7)(DI), Z23
	TURN(Z16, Z17, Z18, Z19)
	TURN(Z20, Z21, Z22, Z23)
	HALF(0, 0, X16, Z16)
	HALF(0, 16, X20, Z20)
	HALF(1, 0, X17, Z17)
	HALF(1, 16, X21, Z21)
	HALF(2, 0, X18, Z18)
	HALF(2, 16, X22, Z22)
	HALF(3, 0, X19, Z19)
	HALF(3, 16, X23, Z23)
	VZEROUPPER
	RET
