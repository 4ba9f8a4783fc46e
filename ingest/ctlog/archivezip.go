package ctlog

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"sync"

	"github.com/klauspost/compress/gzip"
)

// Bounds of a zip. One of 16 Mi entries has 131,400 files, whose directory is
// 8 MB; in memory it is 4 MB (the standard library's would be 29, which cannot
// be interrupted, and trusts the number of files that a zip says it has as far
// as they would fit into it).
const (
	maxZipFiles     = 1 << 20
	maxZipDirectory = 128 << 20
	maxZipIssuers   = 1 << 16
)

// ranger is a file of which parts are read. readAt fills p or fails.
type ranger interface {
	size(ctx context.Context, class Class) (int64, error)
	readAt(ctx context.Context, class Class, p []byte, off int64) error
	stale() bool // the file is not what it was when it was opened
	close()
}

// zipIndex is what we need of a zip's directory.
type zipIndex struct {
	name    string
	end     int64
	tiles   []zipTile // sorted by key
	issuers map[Hash]zipEntry
	meta    map[string]zipEntry
}

type zipTile struct {
	key tileKey
	zipEntry
}

// zipEntry says where a file in a zip is. Files of 4 GiB and more are not
// listed: nothing of a log is as large.
type zipEntry struct {
	offset       uint64 // of its local header
	packed, size uint32
	crc          uint32
	method       uint8 // stored, deflated or unreadable
}

const (
	stored     = 0
	deflated   = 8
	unreadable = 255
)

// readZip reads the directory of a zip (APPNOTE.TXT sections 4.3 and 4.5).
func readZip(ctx context.Context, class Class, name string, r ranger) (*zipIndex, error) {
	bad := func(format string, args ...any) error {
		return answerErrorf("archive "+quote(name), format, args...)
	}
	end, err := r.size(ctx, class)
	if err != nil {
		return nil, err
	}
	const eocd, locator, eocd64 = 22, 20, 56
	tail := make([]byte, min(end, eocd+locator+1<<16))
	if err := r.readAt(ctx, class, tail, end-int64(len(tail))); err != nil {
		return nil, err
	}
	at := len(tail) - eocd
	for ; at >= 0; at-- {
		if bytes.HasPrefix(tail[at:], []byte("PK\x05\x06")) && at+eocd+int(binary.LittleEndian.Uint16(tail[at+20:])) <= len(tail) {
			break
		}
	}
	if at < 0 {
		return nil, bad("has no zip directory at its end; is it a zip, and complete?")
	}
	d := tail[at:]
	files, size, offset := uint64(binary.LittleEndian.Uint16(d[10:])), uint64(binary.LittleEndian.Uint32(d[12:])), uint64(binary.LittleEndian.Uint32(d[16:]))
	if l := at - locator; l >= 0 && bytes.HasPrefix(tail[l:], []byte("PK\x06\x07")) && (files == 1<<16-1 || size == 1<<32-1 || offset == 1<<32-1) {
		where := binary.LittleEndian.Uint64(tail[l+8:])
		b := make([]byte, eocd64)
		if end < eocd64 || where > uint64(end-eocd64) {
			return nil, bad("its zip64 directory lies outside of it")
		}
		if err := r.readAt(ctx, class, b, int64(where)); err != nil {
			return nil, err
		}
		if !bytes.HasPrefix(b, []byte("PK\x06\x06")) {
			return nil, bad("its zip64 directory is malformed")
		}
		files, size, offset = binary.LittleEndian.Uint64(b[32:]), binary.LittleEndian.Uint64(b[40:]), binary.LittleEndian.Uint64(b[48:])
	}
	switch {
	case files > maxZipFiles || size > maxZipDirectory:
		return nil, bad("%d files in a directory of %d bytes are more than are read (%d, %d)", files, size, maxZipFiles, maxZipDirectory)
	case offset > uint64(end) || size > uint64(end)-offset || size < files*46:
		return nil, bad("its directory does not lie where it should; is it complete?")
	}
	z := &zipIndex{name: name, end: end, issuers: map[Hash]zipEntry{}, meta: map[string]zipEntry{}}
	dir := bufio.NewReaderSize(&rangeReader{ctx: ctx, class: class, r: r, at: int64(offset), end: int64(offset + size)}, 256<<10)
	if err := z.list(dir, files, bad); err != nil {
		return nil, err
	}
	return z, nil
}

// list reads the headers of the directory.
func (z *zipIndex) list(dir *bufio.Reader, files uint64, bad func(string, ...any) error) error {
	var fixed [46]byte
	var rest []byte
	prefix, tiles, metaAt := "", false, map[string]string{}
	for range files {
		if _, err := io.ReadFull(dir, fixed[:]); err != nil {
			return readError(err, bad)
		}
		if !bytes.HasPrefix(fixed[:], []byte("PK\x01\x02")) {
			return bad("its directory is malformed")
		}
		u16 := func(at int) int { return int(binary.LittleEndian.Uint16(fixed[at:])) }
		u32 := func(at int) uint64 { return uint64(binary.LittleEndian.Uint32(fixed[at:])) }
		name, extra := u16(28), u16(30)
		rest = slices.Grow(rest[:0], name+extra+u16(32))[:name+extra+u16(32)]
		if _, err := io.ReadFull(dir, rest); err != nil {
			return readError(err, bad)
		}
		folder, what, ok := archiveName(string(rest[:name]))
		if !ok || u16(4)>>8 == 3 && u32(38)>>28 == 0xA { // a symbolic link
			continue
		}
		size, packed, offset := u32(24), u32(20), u32(42)
		if !zip64(rest[name:name+extra], &size, &packed, &offset) {
			return bad("the directory entry of %s is malformed", quote(string(rest[:name])))
		}
		e := zipEntry{offset: offset, size: uint32(size), packed: uint32(packed), crc: uint32(u32(16)), method: unreadable}
		if m := u16(10); u16(8)&1 == 0 && (m == stored || m == deflated) {
			e.method = uint8(m)
		}
		if size >= 1<<32 || packed >= 1<<32 {
			continue
		}
		switch {
		case what.tile != 0:
			if tiles && folder != prefix {
				return bad("holds the tiles of two logs, below %s and %s; unpack it", quote(prefix), quote(folder))
			}
			prefix, tiles = folder, true
			z.tiles = append(z.tiles, zipTile{what.tile, e})
		case what.meta != "":
			// The one beside the tiles counts, else the first.
			if _, known := z.meta[what.meta]; !known || tiles && folder == prefix && metaAt[what.meta] != prefix {
				z.meta[what.meta], metaAt[what.meta] = e, folder
			}
		case len(z.issuers) < maxZipIssuers:
			z.issuers[what.issuer] = e
		}
	}
	z.tiles = slices.Clip(z.tiles)
	slices.SortStableFunc(z.tiles, func(a, b zipTile) int { return cmp.Compare(a.key, b.key) })
	return nil
}

func readError(err error, bad func(string, ...any) error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return bad("its directory is cut short")
	}
	return err
}

// zip64 replaces what did not fit into 32 bits by what the extra field says.
func zip64(extra []byte, fields ...*uint64) bool {
	for len(extra) >= 4 {
		id, n := binary.LittleEndian.Uint16(extra), int(binary.LittleEndian.Uint16(extra[2:]))
		if extra = extra[4:]; n > len(extra) {
			return false
		}
		if id != 1 {
			extra = extra[n:]
			continue
		}
		b := extra[:n]
		for _, f := range fields {
			if *f != 1<<32-1 {
				continue
			}
			if len(b) < 8 {
				return false
			}
			*f, b = binary.LittleEndian.Uint64(b), b[8:]
		}
		return true
	}
	return true
}

// find returns where a resource is.
func (z *zipIndex) find(what resource) (zipEntry, bool) {
	switch {
	case what.tile != 0:
		i, ok := slices.BinarySearchFunc(z.tiles, what.tile, func(t zipTile, k tileKey) int { return cmp.Compare(t.key, k) })
		if !ok {
			return zipEntry{}, false
		}
		return z.tiles[i].zipEntry, true
	case what.meta != "":
		e, ok := z.meta[what.meta]
		return e, ok
	}
	e, ok := z.issuers[what.issuer]
	return e, ok
}

// dataTiles returns the numbers of the first and the last data tile.
func (z *zipIndex) dataTiles() (first, last uint64, ok bool) {
	i, _ := slices.BinarySearchFunc(z.tiles, newTileKey(dataLevel, 0, 0), func(t zipTile, k tileKey) int { return cmp.Compare(t.key, k) })
	if i == len(z.tiles) {
		return 0, 0, false
	}
	return z.tiles[i].key.n(), z.tiles[len(z.tiles)-1].key.n(), true
}

// read returns a file of the zip of at most limit bytes, unpacked. What is
// deflated comes as gzip: the same bytes in another envelope, so that nothing
// has to be unpacked in order to be kept.
func (z *zipIndex) read(ctx context.Context, class Class, r ranger, e zipEntry, limit int64) (body []byte, isGzip bool, err error) {
	bad := func(format string, args ...any) error {
		return answerErrorf("archive "+quote(z.name), format, args...)
	}
	switch {
	case e.method == unreadable:
		return nil, false, bad("the file is encrypted, or compressed by a method other than deflate")
	case int64(e.size) > limit || int64(e.packed) > limit+1<<10:
		return nil, false, fmt.Errorf("%w: %d bytes in %s, limit %d", ErrTooLarge, max(e.size, e.packed), quote(z.name), limit)
	case e.method == stored && e.size != e.packed:
		return nil, false, bad("a stored file has two sizes")
	}
	const local = 30
	if uint64(z.end) < local || e.offset > uint64(z.end-local) {
		return nil, false, bad("the file lies outside of it")
	}
	var head [local]byte
	if err := r.readAt(ctx, class, head[:], int64(e.offset)); err != nil {
		return nil, false, err
	}
	if !bytes.HasPrefix(head[:], []byte("PK\x03\x04")) {
		return nil, false, bad("the file is not where the directory says")
	}
	at := int64(e.offset) + local + int64(binary.LittleEndian.Uint16(head[26:])) + int64(binary.LittleEndian.Uint16(head[28:]))
	if at > z.end-int64(e.packed) {
		return nil, false, bad("the file reaches beyond its end")
	}
	if e.method == stored {
		body = make([]byte, e.packed)
		if err := r.readAt(ctx, class, body, at); err != nil {
			return nil, false, err
		}
		if crc32.ChecksumIEEE(body) != e.crc {
			return nil, false, bad("the file's checksum does not match: it is damaged")
		}
		return body, false, nil
	}
	// RFC 1952: ten bytes before the deflated data, checksum and size behind.
	body = make([]byte, 10, 10+int(e.packed)+8)
	copy(body, []byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255})
	body = body[:10+e.packed]
	if err := r.readAt(ctx, class, body[10:], at); err != nil {
		return nil, false, err
	}
	body = binary.LittleEndian.AppendUint32(body, e.crc)
	body = binary.LittleEndian.AppendUint32(body, e.size)
	if gzipInside(body) {
		// A tile that its log keeps compressed, packed once more.
		if body, err = gunzip(nil, body, limit); err != nil {
			return nil, false, err
		}
		return body, false, nil
	}
	return body, true, nil
}

// gunzips holds idle decompressors, about 40 kB each, for what is looked at from
// its beginning only; nothing in them is a caller's.
var gunzips sync.Pool

// gzipInside reports whether what body unfolds to begins like gzip.
func gzipInside(body []byte) bool {
	zr, _ := gunzips.Get().(*gzip.Reader)
	if zr == nil {
		zr = new(gzip.Reader)
	}
	defer gunzips.Put(zr)
	var first [2]byte
	if zr.Reset(bytes.NewReader(body)) != nil {
		return false
	}
	_, err := io.ReadFull(zr, first[:])
	return err == nil && first == [2]byte{0x1f, 0x8b}
}

// rangeReader reads [at, end) of a ranger in order.
type rangeReader struct {
	ctx     context.Context
	class   Class
	r       ranger
	at, end int64
}

func (r *rangeReader) Read(p []byte) (int, error) {
	p = p[:min(int64(len(p)), r.end-r.at)]
	if len(p) == 0 {
		return 0, io.EOF
	}
	if err := r.r.readAt(r.ctx, r.class, p, r.at); err != nil {
		return 0, err
	}
	r.at += int64(len(p))
	return len(p), nil
}
