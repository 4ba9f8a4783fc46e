package ctlogtest

import (
	"bytes"
	"compress/gzip"
	"encoding/hex"
	"net/http"
	"strconv"
	"strings"
)

const immutable = "public, max-age=604800, immutable"

// tilePath is a parsed tile/<L>/<N>[.p/<W>].
type tilePath struct {
	data  bool
	level int
	n     uint64
	width uint64 // 1 to 256
	part  bool
}

// parseTile takes the path behind "tile/" apart and accepts its one spelling
// only (c2sp.org/tlog-tiles).
func parseTile(s string) (tilePath, bool) {
	var t tilePath
	level, rest, ok := strings.Cut(s, "/")
	if !ok {
		return t, false
	}
	if level == "data" {
		t.data = true
	} else {
		l, err := strconv.ParseUint(level, 10, 8)
		if err != nil || l > 5 || level != strconv.FormatUint(l, 10) {
			return t, false
		}
		t.level = int(l)
	}
	t.width = 256
	if at := strings.Index(rest, ".p/"); at >= 0 {
		w, err := strconv.ParseUint(rest[at+3:], 10, 16)
		if err != nil || w < 1 || w > 255 || rest[at+3:] != strconv.FormatUint(w, 10) {
			return t, false
		}
		t.width, t.part, rest = w, true, rest[:at]
	}
	groups := strings.Split(rest, "/")
	for i, g := range groups {
		if i < len(groups)-1 {
			if g, ok = strings.CutPrefix(g, "x"); !ok {
				return t, false
			}
		}
		v, err := strconv.ParseUint(g, 10, 16)
		if err != nil || len(g) != 3 || i > 6 || i == 0 && v == 0 && len(groups) > 1 {
			return t, false
		}
		t.n = t.n*1000 + v
	}
	return t, t.n < 1<<48
}

func (l *Log) routeStatic(path string) (operation, bool) {
	path = strings.TrimPrefix(path, "/")
	if path == "checkpoint" {
		return operation{class: ClassHead, run: l.checkpoint}, true
	}
	if name, ok := strings.CutPrefix(path, "issuer/"); ok {
		return operation{class: ClassIssuer, run: func(d drawn) answer { return l.issuer(name, d) }}, true
	}
	s, ok := strings.CutPrefix(path, "tile/")
	if !ok {
		return operation{}, false
	}
	t, ok := parseTile(s)
	if !ok {
		return operation{}, false
	}
	op := operation{class: ClassProof, run: func(d drawn) answer { return l.hashTile(t, d) }}
	if t.data {
		op = operation{class: ClassData, from: t.n * 256, to: t.n*256 + t.width, run: func(d drawn) answer { return l.dataTile(t, d) }}
	}
	return op, true
}

func (l *Log) checkpoint(d drawn) answer {
	h, err := l.faultyHead(d)
	if err != nil {
		return text(http.StatusInternalServerError, err.Error())
	}
	origin := l.o.Origin
	if _, ok := d[WrongOrigin]; ok {
		origin = "other.invalid/" + l.o.Name
	}
	return answer{status: 200, ctype: "text/plain; charset=utf-8", cache: "no-store", body: [][]byte{h.checkpoint(origin, l.key.id)}}
}

// exists reports whether a tile is there to be had: a full one once the tree
// fills it, a partial one if a head was published that ends in it.
func (l *Log) exists(t tilePath, d drawn) bool {
	shift := 8 * t.level
	have := l.Size() >> shift
	if t.n >= 1<<(56-shift) {
		return false
	}
	if !t.part {
		return have >= (t.n+1)*256
	}
	if _, ok := d[PartialGone]; ok {
		return false
	}
	if l.o.DropPartials && have >= (t.n+1)*256 {
		return false
	}
	w := t.n*256 + t.width
	return l.wasPublished(w<<shift, (w+1)<<shift)
}

func (l *Log) hashTile(t tilePath, d drawn) answer {
	if !l.exists(t, d) {
		return text(http.StatusNotFound, "404 page not found")
	}
	tree := l.snapshot()
	if f, ok := d[StalePartial]; ok && t.part {
		t.width -= min(uint64(f.n(1)), t.width-1)
	}
	hashes := tree.levels[t.level][t.n*256 : t.n*256+t.width]
	b := make([]byte, 0, 8192)
	for _, h := range hashes {
		b = append(b, h[:]...)
	}
	if _, ok := d[CorruptHash]; ok {
		b[len(b)-1] ^= 1
	}
	return answer{status: 200, ctype: "application/octet-stream", cache: immutable, body: [][]byte{wrongLength(b, d)}}
}

func wrongLength(b []byte, d drawn) []byte {
	f, ok := d[WrongLength]
	if !ok {
		return b
	}
	if n := f.n(1); n < 0 {
		return b[:max(int64(len(b))+n, 0)]
	} else {
		return append(b[:len(b):len(b)], make([]byte, n)...)
	}
}

// makeTile encodes full data tile n as it is sent.
func (l *Log) makeTile(n uint64) ([]byte, int64) {
	b := l.tileLeaves(n, blockSize, nil)
	if !l.o.PlainTiles {
		b = gzipped(b, gzip.DefaultCompression)
	}
	return b, int64(cap(b))
}

func (l *Log) tileLeaves(n, width uint64, d drawn) []byte {
	entries := l.corpus.block(n)
	var b []byte
	altered := d.altersEntries()
	_, shifted := d[CorruptIndex]
	for i := range width {
		e, index := entries[i], n*blockSize+i
		if altered {
			e = l.entryUnder(d, index, n*blockSize)
		}
		if shifted {
			index++
		}
		b = e.appendTileLeaf(b, l.corpus.h, l.o.Kind, index)
	}
	return b
}

func (l *Log) dataTile(t tilePath, d drawn) answer {
	if !l.exists(t, d) {
		return text(http.StatusNotFound, "404 page not found")
	}
	a := answer{status: 200, ctype: "application/octet-stream", cache: immutable, gzip: !l.o.PlainTiles, from: t.n * 256, to: t.n*256 + t.width}
	special := false
	for _, m := range []Mode{CorruptIndex, ShortAnswer, EmptyAnswer, ExtraEntries, WrongLength} {
		_, ok := d[m]
		special = special || ok
	}
	special = special || d.altersEntries()
	if !t.part && !special {
		a.body = [][]byte{l.tiles.get(t.n)}
		return a
	}
	if f, ok := d[StalePartial]; ok && t.part {
		t.width -= min(uint64(f.n(1)), t.width-1)
		a.to = a.from + t.width
	}
	b := l.tileLeaves(t.n, t.width, d)
	if f, ok := d[ShortAnswer]; ok {
		// Cut after n entries and in the middle of the next.
		n := min(uint64(max(f.n(1), 1)), t.width-1)
		whole := len(l.tileLeaves(t.n, n, d))
		b, a.to = b[:(whole+len(l.tileLeaves(t.n, n+1, d)))/2], a.from+n
	}
	if f, ok := d[ExtraEntries]; ok {
		for i := range uint64(min(max(f.n(1), 1), maxTileExtra)) {
			index := a.to + i
			e := l.corpus.Entry(index)
			b = e.appendTileLeaf(b, l.corpus.h, l.o.Kind, index)
		}
	}
	if _, ok := d[EmptyAnswer]; ok {
		b, a.to = nil, a.from
	}
	b = wrongLength(b, d)
	if a.gzip {
		b = gzipped(b, gzip.BestSpeed)
	}
	a.body = [][]byte{b}
	return a
}

func (l *Log) issuer(name string, d drawn) answer {
	sum, err := hex.DecodeString(name)
	if err != nil || len(sum) != 32 || strings.ToLower(name) != name {
		return text(http.StatusNotFound, "404 page not found")
	}
	i, ok := l.corpus.h.byHash[[32]byte(sum)]
	if !ok {
		return text(http.StatusNotFound, "404 page not found")
	}
	cert := l.corpus.h.certs[i]
	if _, ok := d[WrongIssuer]; ok {
		cert = l.corpus.h.certs[(i+1)%len(l.corpus.h.certs)]
	}
	return answer{status: 200, ctype: "application/pkix-cert", cache: immutable, body: [][]byte{bytes.Clone(cert)}}
}
