package inflate

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"slices"
	"sync"
)

var (
	// ErrLimit: the plain bytes are more than the caller's limit.
	ErrLimit = errors.New("more plain bytes than the limit")
	// ErrHeader: the bytes do not begin like gzip, or go on as something else.
	ErrHeader = errors.New("not a gzip header")
	// ErrCut: the bytes end too early.
	ErrCut = errors.New("cut short")
	// ErrDamaged: the bytes cannot be what a compressor wrote.
	ErrDamaged = errors.New("damaged")
	// ErrChecksum: checksum or length of the plain bytes are not those of the trailer.
	ErrChecksum = errors.New("checksum or length does not match")
)

// decoders holds idle tables; nothing in them is a caller's.
var decoders = sync.Pool{New: func() any { return new(decoder) }}

// Gunzip appends to dst the plain bytes of src, one gzip member or several, at
// most limit bytes of them. What lies in dst beyond its length is written over.
// The result is nil with an error, which is one of the above.
func Gunzip(dst, src []byte, limit int64) ([]byte, error) {
	d := decoders.Get().(*decoder)
	defer decoders.Put(d)
	start := len(dst)
	// A gzip file ends with its plain size modulo 2³²: worth one allocation
	// of the right size if it is not absurd.
	if n := len(src); n >= 4 {
		hint := min(int64(binary.LittleEndian.Uint32(src[n-4:])), limit, 16*int64(n))
		dst = slices.Grow(dst, int(hint)+slack+1) // room for what ends the last block
	}
	for {
		rest, err := header(src)
		if err != nil {
			return nil, err
		}
		from := len(dst)
		if dst, rest, err = d.inflate(dst, rest, int64(start)+limit); err != nil {
			return nil, err
		}
		if len(rest) < 8 {
			return nil, ErrCut
		}
		plain := dst[from:]
		if binary.LittleEndian.Uint32(rest) != crc32.ChecksumIEEE(plain) ||
			binary.LittleEndian.Uint32(rest[4:]) != uint32(len(plain)) {
			return nil, ErrChecksum
		}
		if src = rest[8:]; len(src) == 0 {
			return dst, nil
		}
	}
}

// header takes a member's header off src (RFC 1952 section 2.3).
func header(src []byte) (rest []byte, err error) {
	const (
		flagHeaderCRC = 1 << (iota + 1)
		flagExtra
		flagName
		flagComment
	)
	if len(src) < 10 {
		if len(src) > 0 && (src[0] != 0x1f || len(src) > 1 && src[1] != 0x8b) {
			return nil, ErrHeader
		}
		return nil, ErrCut
	}
	if src[0] != 0x1f || src[1] != 0x8b || src[2] != 8 {
		return nil, ErrHeader
	}
	flags := src[3]
	rest = src[10:]
	if flags&flagExtra != 0 {
		if len(rest) < 2 {
			return nil, ErrCut
		}
		n := 2 + int(binary.LittleEndian.Uint16(rest))
		if len(rest) < n {
			return nil, ErrCut
		}
		rest = rest[n:]
	}
	for _, f := range [...]byte{flagName, flagComment} {
		if flags&f == 0 {
			continue
		}
		n := slices.Index(rest, 0)
		if n < 0 {
			return nil, ErrCut
		}
		rest = rest[n+1:]
	}
	if flags&flagHeaderCRC != 0 {
		if len(rest) < 2 {
			return nil, ErrCut
		}
		if binary.LittleEndian.Uint16(rest) != uint16(crc32.ChecksumIEEE(src[:len(src)-len(rest)])) {
			return nil, ErrHeader
		}
		rest = rest[2:]
	}
	return rest, nil
}
