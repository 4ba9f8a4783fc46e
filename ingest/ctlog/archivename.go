package ctlog

import (
	"encoding/hex"
	"strconv"
	"strings"
)

// resource is one thing that an archive may hold. Exactly one field says what.
type resource struct {
	tile   tileKey // not 0: a data or hash tile
	issuer Hash    // not zero: a chain certificate
	meta   string  // not empty: one of metaFiles
}

// tileKey is a tile's place as one number that sorts data tiles by index:
// level (7 for data), number, width.
type tileKey uint64

const (
	dataLevel  = 7
	maxTileNum = 1 << 48
)

func newTileKey(level, n, width uint64) tileKey { return tileKey(level<<58 | n<<9 | width) }

func (k tileKey) level() uint64 { return uint64(k >> 58) }
func (k tileKey) n() uint64     { return uint64(k) >> 9 & (maxTileNum - 1) }
func (k tileKey) width() uint64 { return uint64(k) & 511 }

// metaFiles are the names under which archives keep what is said of the whole
// log. What comes first is preferred as a head.
var metaFiles = []string{"checkpoint", "ct/v1/get-sth", "get-sth.json", "get-sth", "sth.json", "sth", "log.v3.json"}

// maxFolders bounds the folders in front of an archive's own ones.
const maxFolders = 8

// parseResource reads a path below a log's URL, in its one spelling.
func parseResource(path string) (resource, bool) {
	for _, m := range metaFiles {
		if path == m {
			return resource{meta: m}, true
		}
	}
	if name, ok := strings.CutPrefix(path, "issuer/"); ok {
		b, err := hex.DecodeString(name)
		if err != nil || len(b) != 32 || strings.ToLower(name) != name || Hash(b) == (Hash{}) {
			return resource{}, false
		}
		return resource{issuer: Hash(b)}, true
	}
	rest, ok := strings.CutPrefix(path, "tile/")
	if !ok || len(rest) > 64 {
		return resource{}, false
	}
	level, rest, _ := strings.Cut(rest, "/")
	l := uint64(dataLevel)
	if level != "data" {
		if len(level) != 1 || level[0] < '0' || level[0] > '5' {
			return resource{}, false
		}
		l = uint64(level[0] - '0')
	}
	width := uint64(tileWidth)
	if num, w, ok := strings.Cut(rest, ".p/"); ok {
		v, err := strconv.ParseUint(w, 10, 16)
		if err != nil || v == 0 || v >= tileWidth {
			return resource{}, false
		}
		rest, width = num, v
	}
	n := uint64(0)
	for g := range strings.SplitSeq(rest, "/") {
		g = strings.TrimPrefix(g, "x")
		v, err := strconv.ParseUint(g, 10, 16)
		if err != nil || len(g) != 3 || n >= maxTileNum/1000 {
			return resource{}, false
		}
		n = n*1000 + v
	}
	// The spelling is the one that we ask for, or it is none.
	if want := "tile/" + level + "/" + tilePath(n, width); want != path {
		return resource{}, false
	}
	return resource{tile: newTileKey(l, n, width)}, true
}

// archiveName says what a file in a zip is, whatever folders stand in front of
// it. prefix is those folders. Names that lead out of the zip, folders and all
// that is no part of a log are not ok.
func archiveName(name string) (prefix string, r resource, ok bool) {
	if len(name) > 1024 || strings.ContainsAny(name, "\\\x00") || strings.HasPrefix(name, "/") {
		return "", resource{}, false
	}
	for rest, n := name, 0; n <= maxFolders; n++ {
		if r, ok := parseResource(rest); ok {
			return name[:len(name)-len(rest)], r, true
		}
		folder, after, more := strings.Cut(rest, "/")
		if !more || folder == "" || folder == "." || folder == ".." {
			return "", resource{}, false
		}
		rest = after
	}
	return "", resource{}, false
}
