package ctlogtest

import (
	"archive/zip"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sort"
)

// ArchiveOptions says what is in an archive of a log and where.
type ArchiveOptions struct {
	Folder string // in front of all names in a zip: "yeti2018/"

	// What is left out.
	NoCheckpoint, NoHashTiles, NoIssuers bool

	// STH adds get-sth.json; FinalHead has log.v3.json say, unsigned, how the
	// log ended.
	STH, FinalHead bool
}

// Archive returns the files of an archive of the log as it is now, by name: a
// checkpoint, log.v3.json, issuers, tiles. An RFC 6962 log becomes static
// tiles whose leaves have no extensions, as photocamera-archiver's
// (filippo.io/sunlight) do.
func (l *Log) Archive(o ArchiveOptions) map[string][]byte {
	out := map[string][]byte{}
	l.mu.RLock()
	h, t := l.head, l.tree
	l.mu.RUnlock()
	if !o.NoCheckpoint {
		out["checkpoint"] = h.checkpoint(l.o.Origin, l.key.id)
	}
	if o.STH {
		out["get-sth.json"] = h.sth()
	}
	meta := map[string]any{"description": l.o.Name, "log_id": l.key.id[:], "key": l.key.spki, "url": "https://" + l.o.Origin + "/"}
	if o.FinalHead {
		meta["final_tree_head"] = map[string]any{"tree_size": h.size, "sha256_root_hash": h.root[:]}
	}
	b, err := json.Marshal(meta)
	if err != nil {
		panic(err) // maps of strings and bytes
	}
	out["log.v3.json"] = b
	if !o.NoIssuers {
		for i, der := range l.corpus.h.certs {
			out["issuer/"+hex.EncodeToString(l.corpus.h.hashes[i][:])] = der
		}
	}
	for n := uint64(0); n*blockSize < h.size; n++ {
		width := min(blockSize, h.size-n*blockSize)
		out["tile/data/"+archiveTile(n, width)] = l.tileLeaves(n, width, nil)
	}
	for level := 0; !o.NoHashTiles && h.size>>(8*level) > 0; level++ {
		have := h.size >> (8 * level)
		for n := uint64(0); n*256 < have; n++ {
			width := min(256, have-n*256)
			var b []byte
			for _, hash := range t.levels[level][n*256 : n*256+width] {
				b = append(b, hash[:]...)
			}
			out[fmt.Sprintf("tile/%d/", level)+archiveTile(n, width)] = b
		}
	}
	return out
}

// archiveTile is a tile's name below its level (c2sp.org/tlog-tiles).
func archiveTile(n, width uint64) string {
	name := fmt.Sprintf("%03d", n%1000)
	for rest := n / 1000; rest > 0; rest /= 1000 {
		name = fmt.Sprintf("x%03d/", rest%1000) + name
	}
	if width < 256 {
		name += fmt.Sprintf(".p/%d", width)
	}
	return name
}

// WriteDir writes files into a directory.
func WriteDir(dir string, files map[string][]byte) error {
	for name, data := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// WriteZip writes files into a zip, hash tiles stored, everything else
// deflated.
func WriteZip(path string, files map[string][]byte, o ArchiveOptions) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	w := zip.NewWriter(f)
	var names []string
	for name := range files {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		method := zip.Deflate
		if len(name) > 6 && name[:5] == "tile/" && name[5] != 'd' || name == "checkpoint" {
			method = zip.Store
		}
		zf, err := w.CreateHeader(&zip.FileHeader{Name: o.Folder + name, Method: method})
		if err != nil {
			return err
		}
		if _, err := zf.Write(files[name]); err != nil {
			return err
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	return f.Close()
}
