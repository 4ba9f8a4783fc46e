#include "textflag.h"

// The constants of the rounds of SHA-256 (FIPS 180-4 section 4.2.2).
DATA ·constants256+0(SB)/8, $0x71374491428a2f98
DATA ·constants256+8(SB)/8, $0xe9b5dba5b5c0fbcf
DATA ·constants256+16(SB)/8, $0x59f111f13956c25b
DATA ·constants256+24(SB)/8, $0xab1c5ed5923f82a4
DATA ·constants256+32(SB)/8, $0x12835b01d807aa98
DATA ·constants256+40(SB)/8, $0x550c7dc3243185be
DATA ·constants256+48(SB)/8, $0x80deb1fe72be5d74
DATA ·constants256+56(SB)/8, $0xc19bf1749bdc06a7
DATA ·constants256+64(SB)/8, $0xefbe4786e49b69c1
DATA ·constants256+72(SB)/8, $0x240ca1cc0fc19dc6
DATA ·constants256+80(SB)/8, $0x4a7484aa2de92c6f
DATA ·constants256+88(SB)/8, $0x76f988da5cb0a9dc
DATA ·constants256+96(SB)/8, $0xa831c66d983e5152
DATA ·constants256+104(SB)/8, $0xbf597fc7b00327c8
DATA ·constants256+112(SB)/8, $0xd5a79147c6e00bf3
DATA ·constants256+120(SB)/8, $0x1429296706ca6351
DATA ·constants256+128(SB)/8, $0x2e1b213827b70a85
DATA ·constants256+136(SB)/8, $0x53380d134d2c6dfc
DATA ·constants256+144(SB)/8, $0x766a0abb650a7354
DATA ·constants256+152(SB)/8, $0x92722c8581c2c92e
DATA ·constants256+160(SB)/8, $0xa81a664ba2bfe8a1
DATA ·constants256+168(SB)/8, $0xc76c51a3c24b8b70
DATA ·constants256+176(SB)/8, $0xd6990624d192e819
DATA ·constants256+184(SB)/8, $0x106aa070f40e3585
DATA ·constants256+192(SB)/8, $0x1e376c0819a4c116
DATA ·constants256+200(SB)/8, $0x34b0bcb52748774c
DATA ·constants256+208(SB)/8, $0x4ed8aa4a391c0cb3
DATA ·constants256+216(SB)/8, $0x682e6ff35b9cca4f
DATA ·constants256+224(SB)/8, $0x78a5636f748f82ee
DATA ·constants256+232(SB)/8, $0x8cc7020884c87814
DATA ·constants256+240(SB)/8, $0xa4506ceb90befffa
DATA ·constants256+248(SB)/8, $0xc67178f2bef9a3f7
GLOBL ·constants256(SB), RODATA|NOPTR, $256

// Those of SHA-1 (section 4.2.1), each for twenty rounds.
DATA ·constants1+0(SB)/8, $0x6ed9eba15a827999
DATA ·constants1+8(SB)/8, $0xca62c1d68f1bbcdc
GLOBL ·constants1(SB), RODATA|NOPTR, $16

// The initial hash value of SHA-1 (section 5.3.1).
DATA ·initial1+0(SB)/8, $0xefcdab8967452301
DATA ·initial1+8(SB)/8, $0x1032547698badcfe
DATA ·initial1+16(SB)/4, $0xc3d2e1f0
GLOBL ·initial1(SB), RODATA|NOPTR, $20

// Words are big endian: what PSHUFB turns them with.
DATA ·turn+0(SB)/8, $0x0405060700010203
DATA ·turn+8(SB)/8, $0x0c0d0e0f08090a0b
GLOBL ·turn(SB), RODATA|NOPTR, $16
