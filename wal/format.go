package wal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"strconv"
	"strings"
)

// The numbers of the format; doc.go explains them.
const (
	magic         = "ctawal\r\n"
	formatVersion = 1

	headerSize   = 96
	headerCopyAt = 512  // the header's second copy, in a sector of its own
	snapshotAt   = 1024 // the snapshot follows both copies
	frameAlign   = 8
	firstAlign   = 512 // the first frame starts in a sector that no snapshot shares

	frameHeaderSize  = 24
	recordHeaderSize = 20

	maxState   = 64 << 10
	maxPayload = 64 << 20
	maxBody    = maxPayload + maxState + recordHeaderSize

	// maxSnapshot bounds the states of all streams together.
	maxSnapshot = 256 << 20

	suffix        = ".wal"
	tmpSuffix     = ".wal.tmp"
	damagedSuffix = ".wal.damaged"
)

// flagDamagedBefore in a header says that the segment before was found
// damaged: recovery reads all of it again.
const flagDamagedBefore = 1

// flagForget in a record says that its stream is no more.
const flagForget = 1

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func align(n, to int64) int64 { return (n + to - 1) &^ (to - 1) }

// segmentName is the name of a segment file: its ordinal, then the seq of its
// first record, so that a listing is in the order of the log.
func segmentName(ordinal, base uint64) string {
	return fmt.Sprintf("%06d-%020d%s", ordinal, base, suffix)
}

// parseName is the inverse of segmentName, for any of the three suffixes.
func parseName(name, suffix string) (ordinal, base uint64, ok bool) {
	stem, found := strings.CutSuffix(name, suffix)
	a, b, dash := strings.Cut(stem, "-")
	if !found || !dash || len(a) < 6 || len(b) != 20 {
		return 0, 0, false
	}
	ordinal, err1 := strconv.ParseUint(a, 10, 64)
	base, err2 := strconv.ParseUint(b, 10, 64)
	if err1 != nil || err2 != nil || segmentName(ordinal, base) != stem+".wal" {
		return 0, 0, false
	}
	return ordinal, base, true
}

// header is what a segment says about itself.
type header struct {
	flags       uint32
	ordinal     uint64
	logID       uint64 // the same in every segment of a log
	base        uint64 // seq of the segment's first record
	prevNext    uint64 // the log before this segment ends here; [prevNext, base) was never acknowledged
	prevOrdinal uint64 // ordinal of the segment before; 0 if this is the first
	salt        uint64
	size        uint64 // of the file
	snapLen     uint32
	snapCRC     uint32
}

func (h *header) encode() []byte {
	b := make([]byte, headerSize)
	copy(b, magic)
	le := binary.LittleEndian
	le.PutUint32(b[8:], formatVersion)
	le.PutUint32(b[12:], h.flags)
	le.PutUint64(b[16:], h.ordinal)
	le.PutUint64(b[24:], h.logID)
	le.PutUint64(b[32:], h.base)
	le.PutUint64(b[40:], h.prevNext)
	le.PutUint64(b[48:], h.prevOrdinal)
	le.PutUint64(b[56:], h.salt)
	le.PutUint64(b[64:], h.size)
	le.PutUint32(b[72:], h.snapLen)
	le.PutUint32(b[76:], h.snapCRC)
	le.PutUint32(b[92:], crc32.Checksum(b[:92], castagnoli))
	return b
}

var errBadHeader = errors.New("the header is not readable")

// errVersion is not damage: the file is fine, the program is too old.
type errVersion uint32

func (v errVersion) Error() string {
	return fmt.Sprintf("segment has format version %d, this program knows %d: use the newer program that wrote it", uint32(v), formatVersion)
}

// decodeHeader reads one copy of the header from the first bytes of b.
func decodeHeader(b []byte) (header, error) {
	if len(b) < headerSize || string(b[:8]) != magic {
		return header{}, errBadHeader
	}
	le := binary.LittleEndian
	if crc32.Checksum(b[:92], castagnoli) != le.Uint32(b[92:]) {
		return header{}, errBadHeader
	}
	if v := le.Uint32(b[8:]); v != formatVersion {
		return header{}, errVersion(v)
	}
	h := header{
		flags:       le.Uint32(b[12:]),
		ordinal:     le.Uint64(b[16:]),
		logID:       le.Uint64(b[24:]),
		base:        le.Uint64(b[32:]),
		prevNext:    le.Uint64(b[40:]),
		prevOrdinal: le.Uint64(b[48:]),
		salt:        le.Uint64(b[56:]),
		size:        le.Uint64(b[64:]),
		snapLen:     le.Uint32(b[72:]),
		snapCRC:     le.Uint32(b[76:]),
	}
	// The CRC vouches for the bytes, not for their meaning.
	if h.flags&^flagDamagedBefore != 0 || h.base == 0 || h.prevNext == 0 || h.prevNext > h.base ||
		h.ordinal == 0 || h.prevOrdinal >= h.ordinal || h.size > math.MaxInt64 ||
		le.Uint64(b[80:]) != 0 || le.Uint32(b[88:]) != 0 ||
		uint64(h.firstFrame()) > h.size {
		return header{}, errBadHeader
	}
	return h, nil
}

// firstFrame is the offset of the first frame.
func (h *header) firstFrame() int64 {
	return align(snapshotAt+int64(h.snapLen), firstAlign)
}

// salted is the CRC-32C of what sum was taken over, followed by the salt.
func salted(sum uint32, salt uint64) uint32 {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], salt)
	return crc32.Update(sum, castagnoli, b[:])
}

// encodeSnapshot writes the states of all streams, in no particular order.
func encodeSnapshot(states map[uint64][]byte) []byte {
	n := 4
	for _, s := range states {
		n += 12 + len(s)
	}
	b := make([]byte, 0, n)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(states)))
	for id, s := range states {
		b = binary.LittleEndian.AppendUint64(b, id)
		b = binary.LittleEndian.AppendUint32(b, uint32(len(s)))
		b = append(b, s...)
	}
	return b
}

var errBadSnapshot = errors.New("the snapshot is not readable")

// decodeSnapshot is the inverse of encodeSnapshot. The states do not alias b.
func decodeSnapshot(b []byte) (map[uint64][]byte, error) {
	if len(b) < 4 {
		return nil, errBadSnapshot
	}
	n := binary.LittleEndian.Uint32(b)
	b = b[4:]
	if uint64(n)*12 > uint64(len(b)) {
		return nil, errBadSnapshot
	}
	states := make(map[uint64][]byte, n)
	for range n {
		if len(b) < 12 {
			return nil, errBadSnapshot
		}
		id, m := binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint32(b[8:])
		b = b[12:]
		if m > maxState || int(m) > len(b) {
			return nil, errBadSnapshot
		}
		if _, twice := states[id]; twice {
			return nil, errBadSnapshot
		}
		states[id] = append([]byte{}, b[:m]...)
		b = b[m:]
	}
	if len(b) != 0 {
		return nil, errBadSnapshot
	}
	return states, nil
}

// frameHeader precedes the records of one group commit.
type frameHeader struct {
	length  uint32 // of the body, without padding
	count   uint32 // of records
	first   uint64 // seq of the first record
	bodyCRC uint32 // of the body, salted
}

// put writes the header to the first frameHeaderSize bytes of b.
func (h *frameHeader) put(b []byte, salt uint64) {
	le := binary.LittleEndian
	le.PutUint32(b[0:], h.length)
	le.PutUint32(b[4:], h.count)
	le.PutUint64(b[8:], h.first)
	le.PutUint32(b[16:], h.bodyCRC)
	le.PutUint32(b[20:], salted(crc32.Checksum(b[:20], castagnoli), salt))
}

// decodeFrameHeader reads a header; ok is false if there is none. room is the
// number of bytes from the header's first to the end of the file.
func decodeFrameHeader(b []byte, salt uint64, room int64) (h frameHeader, ok bool) {
	if len(b) < frameHeaderSize {
		return h, false
	}
	le := binary.LittleEndian
	h = frameHeader{
		length:  le.Uint32(b[0:]),
		count:   le.Uint32(b[4:]),
		first:   le.Uint64(b[8:]),
		bodyCRC: le.Uint32(b[16:]),
	}
	switch {
	case h.length < recordHeaderSize, h.length > maxBody, int64(h.length) > room-frameHeaderSize,
		h.count == 0, uint64(h.count)*recordHeaderSize > uint64(h.length),
		h.first == 0, h.first > math.MaxUint64-uint64(h.count):
		return frameHeader{}, false
	}
	return h, salted(crc32.Checksum(b[:20], castagnoli), salt) == le.Uint32(b[20:])
}

// size is what the frame takes in the file, padding included.
func (h *frameHeader) size() int64 { return frameSize(int64(h.length)) }

func frameSize(body int64) int64 { return align(frameHeaderSize+body, frameAlign) }

// entry is a decoded record; its slices alias the frame's body.
type entry struct {
	stream uint64
	forget bool
	state  []byte
	data   []byte
}

// appendRecord appends the encoding of a record to b.
func appendRecord(b []byte, stream uint64, flags uint32, state, payload []byte) []byte {
	le := binary.LittleEndian
	b = le.AppendUint64(b, stream)
	b = le.AppendUint32(b, flags)
	b = le.AppendUint32(b, uint32(len(state)))
	b = le.AppendUint32(b, uint32(len(payload)))
	b = append(b, state...)
	return append(b, payload...)
}

var errBadBody = errors.New("the records of a frame are not readable")

// decodeBody splits a frame's body into its records, after checking its CRC.
// each is called in order and may stop it with an error.
func decodeBody(b []byte, h frameHeader, salt uint64, each func(seq uint64, e entry) error) error {
	if len(b) != int(h.length) || salted(crc32.Checksum(b, castagnoli), salt) != h.bodyCRC {
		return errBadBody
	}
	// The CRC vouches for the bytes, not for their meaning: all of it is
	// checked before the first record is given out.
	if err := splitBody(b, h.count, func(int, entry) error { return nil }); err != nil {
		return err
	}
	return splitBody(b, h.count, func(i int, e entry) error { return each(h.first+uint64(i), e) })
}

func splitBody(b []byte, count uint32, each func(i int, e entry) error) error {
	le := binary.LittleEndian
	for i := range int(count) {
		if len(b) < recordHeaderSize {
			return errBadBody
		}
		e := entry{stream: le.Uint64(b)}
		flags, s, p := le.Uint32(b[8:]), int64(le.Uint32(b[12:])), int64(le.Uint32(b[16:]))
		b = b[recordHeaderSize:]
		if flags&^flagForget != 0 || s > maxState || p > maxPayload || s+p > int64(len(b)) {
			return errBadBody
		}
		e.forget = flags&flagForget != 0
		e.state = b[:s:s]
		e.data = b[s : s+p : s+p]
		b = b[s+p:]
		if err := each(i, e); err != nil {
			return err
		}
	}
	if len(b) != 0 {
		return errBadBody
	}
	return nil
}
