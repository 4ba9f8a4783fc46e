#include "textflag.h"

// func least(left *[width]int32) int
//
// One less than nothing is the largest number without sign.
TEXT ·least(SB), NOSPLIT, $0-16
	MOVQ left+0(FP), SI
	VPTERNLOGD $0xff, Z1, Z1, Z1
	VPADDD (SI), Z1, Z0
	VEXTRACTI64X4 $1, Z0, Y1
	VPMINUD Y1, Y0, Y0
	VEXTRACTI128 $1, Y0, X1
	VPMINUD X1, X0, X0
	VPSHUFD $0x4e, X0, X1
	VPMINUD X1, X0, X0
	VPSHUFD $0xb1, X0, X1
	VPMINUD X1, X0, X0
	VMOVD X0, AX
	INCL AX
	MOVQ AX, ret+8(FP)
	VZEROUPPER
	RET

// func advance(at *[width]*byte, left *[width]int32, n int) (ended uint16)
TEXT ·advance(SB), NOSPLIT, $0-26
	MOVQ at+0(FP), DI
	MOVQ left+8(FP), SI
	MOVQ n+16(FP), AX
	VPBROADCASTD AX, Z2
	SHLQ $6, AX
	VPBROADCASTQ AX, Z3
	VMOVDQU32 (SI), Z0
	VPTESTMD Z0, Z0, K1 // had something
	VPSUBD Z2, Z0, K1, Z0
	VPTESTMD Z0, Z0, K2 // has something
	VMOVDQU32 Z0, (SI)
	KSHIFTRW $8, K2, K3
	VMOVDQU64 (DI), Z4
	VMOVDQU64 64(DI), Z5
	VPADDQ Z3, Z4, K2, Z4
	VPADDQ Z3, Z5, K3, Z5
	VMOVDQU64 Z4, (DI)
	VMOVDQU64 Z5, 64(DI)
	KANDNW K1, K2, K1
	KMOVW K1, AX
	MOVW AX, ended+24(FP)
	VZEROUPPER
	RET
