package ctlog

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ctappliance/ingest/ctlog/ctlogtest"
)

// bytesFile is a ranger in memory that counts what is read.
type bytesFile struct {
	b     []byte
	total int64 // if larger than b: what lies between is zeros
	read  atomic.Int64
}

func (f *bytesFile) size(context.Context, Class) (int64, error) {
	return max(f.total, int64(len(f.b))), nil
}
func (f *bytesFile) stale() bool { return false }
func (f *bytesFile) close()      {}

func (f *bytesFile) readAt(_ context.Context, _ Class, p []byte, off int64) error {
	f.read.Add(int64(len(p)))
	if off < 0 || off+int64(len(p)) > max(f.total, int64(len(f.b))) {
		return fmt.Errorf("read of [%d,+%d)", off, len(p))
	}
	gap := max(f.total, int64(len(f.b))) - int64(len(f.b)) // the bytes are at the end
	clear(p)
	if off+int64(len(p)) > gap {
		at := max(gap-off, 0)
		copy(p[at:], f.b[off+at-gap:])
	}
	return nil
}

type zipped struct {
	name   string
	data   []byte
	method uint16
	alter  func(*zip.FileHeader)
}

// makeZip writes a zip with the standard library.
func makeZip(t testing.TB, files ...zipped) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := zip.NewWriter(&buf)
	w.RegisterCompressor(zip.Deflate, func(out io.Writer) (io.WriteCloser, error) { return flate.NewWriter(out, 6) })
	for _, f := range files {
		h := &zip.FileHeader{Name: f.name, Method: f.method}
		if f.alter != nil {
			f.alter(h)
		}
		zf, err := w.CreateHeader(h)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := zf.Write(f.data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// TestArchiveName: a file is what its name says, whatever stands in front of
// it; only one spelling of a tile is one.
func TestArchiveName(t *testing.T) {
	tile := func(level, n, width uint64) resource { return resource{tile: newTileKey(level, n, width)} }
	hash := strings.Repeat("0a", 32)
	for _, c := range []struct {
		name, prefix string
		want         resource
	}{
		{"tile/data/000", "", tile(dataLevel, 0, 256)},
		{"tile/0/000", "", tile(0, 0, 256)},
		{"log/tile/data/x001/x234/067", "log/", tile(dataLevel, 1234067, 256)},
		{"a/b/tile/5/003.p/17", "a/b/", tile(5, 3, 17)},
		{"checkpoint", "", resource{meta: "checkpoint"}},
		{"x/log.v3.json", "x/", resource{meta: "log.v3.json"}},
		{"x/ct/v1/get-sth", "x/", resource{meta: "ct/v1/get-sth"}},
		{"issuer/" + hash, "", resource{issuer: Hash(bytes.Repeat([]byte{10}, 32))}},
		{"x/issuer/" + hash, "x/", resource{issuer: Hash(bytes.Repeat([]byte{10}, 32))}},
	} {
		if prefix, r, ok := archiveName(c.name); !ok || prefix != c.prefix || r != c.want {
			t.Errorf("%s: %q, %+v, %v", c.name, prefix, r, ok)
		}
	}
	for _, name := range []string{"", "/tile/data/000", "../tile/data/000", "a/../tile/data/000", "./checkpoint", "a//checkpoint", `a\checkpoint`, "checkpoint/",
		"tile/data/0", "tile/data/0000", "tile/data/x000/001", "tile/data/001.p/0", "tile/data/001.p/256", "tile/data/001.p/01", "tile/6/000", "tile/00/000",
		"tile/names/000", "tile/data/x1/000", "tile/data/001/002", "tile/data/-01", "tile/data/x999/x999/x999/x999/x999/x999/999", "issuer/" + strings.ToUpper(hash),
		"issuer/" + hash[2:], "issuer/" + strings.Repeat("0", 64), strings.Repeat("a/", maxFolders+1) + "checkpoint", "README.txt", strings.Repeat("a", 2000) + "/checkpoint"} {
		if prefix, r, ok := archiveName(name); ok {
			t.Errorf("%q is taken for %q, %+v", name, prefix, r)
		}
	}
}

// TestZipAgreesWithLibrary reads zips by both readers.
func TestZipAgreesWithLibrary(t *testing.T) {
	big := bytes.Repeat([]byte("entries "), 20_000)
	for _, comment := range []string{"", "a comment with PK\x05\x06 in it and some more behind it, so that it might be taken for the end"} {
		var files []zipped
		for n := range uint64(300) {
			files = append(files, zipped{"log/tile/data/" + tilePath(n, 256), append(big[:len(big)-int(n)], byte(n)), zip.Deflate, nil},
				zipped{"log/tile/0/" + tilePath(n, 256), bytes.Repeat([]byte{byte(n)}, 8192), zip.Store, nil})
		}
		files = append(files, zipped{"checkpoint", []byte("head"), zip.Store, nil}, zipped{"log/empty", nil, zip.Deflate, nil})
		raw := makeZip(t, files...)
		if comment != "" {
			raw = append(bytes.Clone(raw[:len(raw)-2]), byte(len(comment)), 0)
			raw = append(raw, comment...)
		}
		checkZip(t, raw, 601)
		if _, err := readZip(t.Context(), ClassData, "x", &bytesFile{b: raw}); err != nil {
			t.Error(err)
		}
	}
}

// checkZip compares what both readers find in a zip that the library reads.
func checkZip(t *testing.T, raw []byte, atLeast int) {
	t.Helper()
	lib, err := zip.NewReader(bytes.NewReader(raw), int64(len(raw)))
	if err != nil {
		return
	}
	f := &bytesFile{b: raw}
	z, err := readZip(t.Context(), ClassData, "x", f)
	if err != nil {
		if atLeast > 0 {
			t.Fatal(err)
		}
		return
	}
	seen := map[resource]bool{}
	found := 0
	for _, file := range lib.File {
		_, what, ok := archiveName(file.Name)
		if !ok || seen[what] {
			continue
		}
		seen[what] = true
		e, ok := z.find(what)
		if !ok {
			if atLeast > 0 {
				t.Errorf("%s was not found", file.Name)
			}
			continue
		}
		rc, err := file.Open()
		if err != nil {
			continue
		}
		want, libErr := io.ReadAll(io.LimitReader(rc, 1<<22))
		got, gz, err := z.read(t.Context(), ClassData, f, e, 1<<22)
		if err == nil && gz {
			got, err = gunzip(nil, got, 1<<22)
		}
		if err == nil && libErr == nil && !bytes.Equal(got, want) && !bytes.HasPrefix(want, []byte{0x1f, 0x8b}) && atLeast > 0 {
			t.Errorf("%s differs", file.Name)
		}
		if err != nil && libErr == nil && atLeast > 0 {
			t.Errorf("%s: %v", file.Name, err)
		}
		found++
	}
	if found < atLeast {
		t.Errorf("%d files, want %d", found, atLeast)
	}
}

// TestZip64 reads a zip beyond 4 GiB and 65,535 files, most of which is a hole.
func TestZip64(t *testing.T) {
	const n = 70_000
	var files []zipped
	for i := range uint64(n) {
		files = append(files, zipped{"tile/data/" + tilePath(i, 256), []byte{byte(i)}, zip.Store, nil})
	}
	raw := makeZip(t, files...)
	f := &bytesFile{b: raw}
	z, err := readZip(t.Context(), ClassData, "x", f)
	if err != nil || len(z.tiles) != n {
		t.Fatalf("%v", err)
	}
	if first, last, ok := z.dataTiles(); !ok || first != 0 || last != n-1 {
		t.Errorf("data tiles %d to %d", first, last)
	}
	// The offset of one file moved beyond 4 GiB: into the extra field.
	var size, packed, offset uint64 = 5, 1<<32 - 1, 1<<32 - 1
	extra := []byte{9, 9, 1, 0, 7, 1, 0, 16, 0}
	extra = binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(extra, 77), 5<<32)
	if !zip64(extra, &size, &packed, &offset) || size != 5 || packed != 77 || offset != 5<<32 {
		t.Errorf("%d %d %d", size, packed, offset)
	}
	if zip64(extra[:len(extra)-1], &size, new(uint64), new(uint64)) || zip64([]byte{1, 0, 4, 0, 1, 2, 3, 4}, &size, func() *uint64 { v := uint64(1<<32 - 1); return &v }()) {
		t.Error("an extra field that is cut short was read")
	}
}

// TestZipBounds: zips that claim much, or lie, cost little and say what is wrong.
func TestZipBounds(t *testing.T) {
	good := func() []byte {
		return makeZip(t, zipped{"tile/data/000", bytes.Repeat([]byte{0}, 100<<20), zip.Deflate, nil}, zipped{"tile/0/000", []byte("plain"), zip.Store, nil},
			zipped{"checkpoint", []byte("x"), zip.Store, nil})
	}()
	eocd := len(good) - 22
	dir := int(binary.LittleEndian.Uint32(good[eocd+16:]))
	set16 := func(at int, v uint16) func([]byte) {
		return func(b []byte) { binary.LittleEndian.PutUint16(b[at:], v) }
	}
	set32 := func(at int, v uint32) func([]byte) {
		return func(b []byte) { binary.LittleEndian.PutUint32(b[at:], v) }
	}
	zip64End := func(files, size, offset uint64) func([]byte) []byte {
		return func(b []byte) []byte {
			b = bytes.Clone(b[:eocd])
			at := uint64(len(b))
			e := make([]byte, 56)
			copy(e, "PK\x06\x06")
			binary.LittleEndian.PutUint64(e[32:], files)
			binary.LittleEndian.PutUint64(e[40:], size)
			binary.LittleEndian.PutUint64(e[48:], offset)
			b = append(b, e...)
			l := make([]byte, 20)
			copy(l, "PK\x06\x07")
			binary.LittleEndian.PutUint64(l[8:], at)
			b = append(b, l...)
			end := bytes.Clone(good[eocd:])
			copy(end[8:], bytes.Repeat([]byte{255}, 12))
			return append(b, end...)
		}
	}
	for _, c := range []struct {
		name  string
		alter func([]byte)
		whole func([]byte) []byte
		want  string
	}{
		{name: "not a zip", whole: func([]byte) []byte { return []byte("<html>") }, want: "no zip directory"},
		{name: "empty", whole: func([]byte) []byte { return nil }, want: "no zip directory"},
		{name: "cut short", whole: func(b []byte) []byte { return b[:len(b)-30] }, want: "no zip directory"},
		{name: "beginning missing", whole: func(b []byte) []byte { return b[1000:] }, want: "directory"},
		{name: "more files than there are", alter: set16(eocd+10, 4), want: "directory"},
		{name: "many files", whole: zip64End(1<<40, 100, uint64(dir)), want: "more than are read"},
		{name: "large directory", whole: zip64End(3, maxZipDirectory+1, uint64(dir)), want: "more than are read"},
		{name: "directory elsewhere", whole: zip64End(3, 200, 1<<63), want: "does not lie"},
		{name: "zip64 elsewhere", whole: func(b []byte) []byte {
			b = zip64End(3, 200, uint64(dir))(b)
			binary.LittleEndian.PutUint64(b[len(b)-22-20+8:], 1<<63)
			return b
		}, want: "outside"},
		{name: "directory is none", alter: func(b []byte) { b[dir] = 'Q' }, want: "malformed"},
		{name: "long name", alter: set16(dir+28, 60000), want: "cut short"},
		{name: "two logs", whole: func([]byte) []byte {
			return makeZip(t, zipped{"a/tile/data/000", nil, zip.Store, nil}, zipped{"b/tile/data/001", nil, zip.Store, nil})
		}, want: "two logs"},
		{name: "bomb", want: "too large"},
		{name: "bomb that says it is small", alter: set32(dir+24, 100), want: "100"},
		{name: "encrypted", alter: set16(dir+8, 1), want: "encrypted"},
		{name: "other method", alter: set16(dir+10, 12), want: "encrypted"},
		{name: "packed size of a whole zip", alter: set32(dir+20, 1<<31), want: "too large"},
		{name: "offset beyond the end", alter: func(b []byte) { set32(dir+42, 1<<31)(b); set32(dir+24, 100)(b) }, want: "outside"},
		{name: "offset of something else", alter: func(b []byte) { set32(dir+42, 1)(b); set32(dir+24, 100)(b) }, want: "not where"},
		{name: "beyond the end", alter: func(b []byte) {
			binary.LittleEndian.PutUint32(b[dir+20:], uint32(len(b)))
			binary.LittleEndian.PutUint32(b[dir+24:], 100)
		}, want: "beyond its end"},
		{name: "symbolic link", alter: func(b []byte) { b[dir+5] = 3; binary.LittleEndian.PutUint32(b[dir+38:], 0xA1FF0000) }, want: "not in the archive"},
	} {
		t.Run(c.name, func(t *testing.T) {
			raw := bytes.Clone(good)
			if c.alter != nil {
				c.alter(raw)
			}
			if c.whole != nil {
				raw = c.whole(raw)
			}
			f := &bytesFile{b: raw}
			err := func() error {
				z, err := readZip(t.Context(), ClassData, "a\x1b.zip", f)
				if err != nil {
					return err
				}
				e, ok := z.find(resource{tile: newTileKey(dataLevel, 0, 256)})
				if !ok {
					return errors.New("not in the archive")
				}
				b, gz, err := z.read(t.Context(), ClassData, f, e, 1<<20)
				if err == nil && gz {
					_, err = gunzip(nil, b, 1<<20)
				}
				return err
			}()
			if err == nil || !strings.Contains(err.Error(), c.want) && !(c.name == "bomb that says it is small" && (errors.Is(err, ErrTooLarge))) {
				t.Errorf("%v, want %q", err, c.want)
			}
			if err != nil && strings.ContainsAny(err.Error(), "\x1b\n") {
				t.Errorf("%q", err)
			}
			if n := f.read.Load(); n > 2<<20 {
				t.Errorf("%d bytes were read", n)
			}
		})
	}
	damaged := bytes.Clone(good)
	at := bytes.Index(damaged, []byte("plain"))
	damaged[at] ^= 1
	f := &bytesFile{b: damaged}
	z, err := readZip(t.Context(), ClassData, "x", f)
	if err != nil {
		t.Fatal(err)
	}
	e, _ := z.find(resource{tile: newTileKey(0, 0, 256)})
	if _, _, err := z.read(t.Context(), ClassData, f, e, 1<<20); err == nil || !strings.Contains(err.Error(), "checksum") {
		t.Errorf("damaged: %v", err)
	}
}

// TestZipSet: zips of a set are opened where their number says, few at a time,
// and closed again.
func TestZipSet(t *testing.T) {
	var mu sync.Mutex
	opened, closed := []string{}, 0
	s := &zipSet{first: "000.zip", width: 2, part: map[string][2]uint64{}}
	s.numbered = func(n uint64) (string, bool) { return fmt.Sprintf("%03d.zip", n), true }
	s.open = func(_ context.Context, _ Class, name string) (ranger, error) {
		n, _ := zipNumber(name)
		if n >= 8 {
			return nil, os.ErrNotExist
		}
		mu.Lock()
		defer mu.Unlock()
		opened = append(opened, name)
		f := &countedFile{mu: &mu, closed: &closed}
		f.b = makeZip(t, zipped{"tile/data/" + tilePath(2*n, 256), []byte{byte(2 * n)}, zip.Store, nil},
			zipped{"tile/data/" + tilePath(2*n+1, 256), []byte{byte(2*n + 1)}, zip.Store, nil},
			zipped{"tile/3/000", []byte("all"), zip.Store, nil}, zipped{"checkpoint", []byte("head"), zip.Store, nil})
		return f, nil
	}
	read := func(path string) (string, error) {
		b, _, err := s.read(t.Context(), ClassData, path, 100)
		return string(b), err
	}
	var wg sync.WaitGroup
	for n := range uint64(16) {
		for range 3 { // workers
			wg.Go(func() {
				if b, err := read("tile/data/" + tilePath(n, 256)); err != nil || b != string(rune(n)) {
					t.Errorf("tile %d: %q, %v", n, b, err)
				}
			})
		}
		wg.Wait()
		if b, err := read("checkpoint"); err != nil || b != "head" {
			t.Errorf("%q, %v", b, err)
		}
		if b, err := read("tile/3/000"); err != nil || b != "all" {
			t.Errorf("%q, %v", b, err)
		}
	}
	if len(opened) != 8 || closed != 8-openZips {
		t.Errorf("opened %v, closed %d", opened, closed)
	}
	if _, err := read("tile/data/" + tilePath(16, 256)); !isGone(err) || !strings.Contains(err.Error(), "008.zip") {
		t.Errorf("%v", err)
	}
	if _, err := read("tile/names/000"); !isGone(err) {
		t.Errorf("%v", err)
	}
}

// TestZipCandidates: what is of a part of the log is looked for in the zip of
// that part, the rest where one is open already.
func TestZipCandidates(t *testing.T) {
	all := func(n uint64) (string, bool) { return fmt.Sprintf("%03d.zip", n), true }
	s := &zipSet{first: "000.zip", width: zipWidth, numbered: all, zips: []*openZip{{name: "004.zip"}, {name: "007.zip"}}}
	for path, want := range map[string]string{
		"tile/data/x065/535":  "000.zip", // entries below 2^24
		"tile/data/x065/536":  "001.zip",
		"tile/0/x065/536":     "001.zip",
		"tile/1/255":          "000.zip",
		"tile/1/256":          "001.zip",
		"tile/2/001":          "001.zip",
		"tile/3/000":          "007.zip 004.zip 000.zip",
		"tile/4/000.p/1":      "007.zip 004.zip 000.zip",
		"tile/0/x131/072.p/9": "002.zip 007.zip 004.zip 000.zip", // the right edge is in all of them
		"checkpoint":          "007.zip 004.zip 000.zip",
	} {
		what, ok := parseResource(path)
		if got := strings.Join(s.candidates(what), " "); !ok || got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
	// Names that say nothing: all are looked into, but for what was seen not to be there.
	s = &zipSet{first: "a.zip", width: zipWidth, numbered: func(uint64) (string, bool) { return "", false }, others: []string{"a.zip", "b.zip", "c.zip"},
		part: map[string][2]uint64{"a.zip": {0, 9}, "b.zip": {10, 19}}}
	if got := fmt.Sprint(s.candidates(resource{tile: newTileKey(dataLevel, 12, 256)})); got != "[b.zip c.zip]" {
		t.Error(got)
	}
}

type countedFile struct {
	bytesFile
	mu     *sync.Mutex
	closed *int
}

func (f *countedFile) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	*f.closed++
}

// TestArchiveReplaced: a zip that is downloaded again while it is read.
func TestArchiveReplaced(t *testing.T) {
	l := archived()[ctlogtest.Static]
	url := writeArchive(t, l, "numbered zip", ctlogtest.ArchiveOptions{})
	path := filepath.Join(strings.TrimPrefix(url, "file://"), "000.zip")
	c := openArchive(t, archiveInfo(l, url), archiveOptions)
	if _, err := c.Entries(t.Context(), 0, 256, l.Size()); err != nil {
		t.Fatal(err)
	}
	moved := l.Archive(ctlogtest.ArchiveOptions{})
	moved["README.txt"] = make([]byte, 5000) // everything behind it lies elsewhere
	for _, files := range []map[string][]byte{{"tile/data/000": []byte("x")}, moved} {
		if err := ctlogtest.WriteZip(path, files, ctlogtest.ArchiveOptions{}); err != nil {
			t.Fatal(err)
		}
		now := time.Now().Add(time.Duration(len(files)) * time.Second)
		if err := os.Chtimes(path, now, now); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Entries(t.Context(), 0, 256, l.Size()); (err == nil) != (len(files) > 1) {
			t.Errorf("%d files: %v", len(files), err)
		}
	}
}

// FuzzZip: no zip costs more than it is long, and what is found in one that
// the standard library reads too is what that finds.
func FuzzZip(f *testing.F) {
	f.Add(makeZip(f, zipped{"tile/data/000", []byte("abc"), zip.Deflate, nil}, zipped{"log/checkpoint", []byte("x"), zip.Store, nil}))
	f.Add(makeZip(f, zipped{"a/tile/0/000.p/3", bytes.Repeat([]byte{0}, 5000), zip.Deflate, nil}))
	f.Add([]byte("PK\x05\x06"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		checkZip(t, raw, 0)
		r := &bytesFile{b: raw}
		z, err := readZip(t.Context(), ClassData, "x", r)
		if err != nil {
			return
		}
		for _, tile := range z.tiles {
			if b, _, err := z.read(t.Context(), ClassData, r, tile.zipEntry, 1<<16); err == nil && int64(len(b)) > 1<<16+1<<11 {
				t.Errorf("%d bytes", len(b))
			}
		}
	})
}

// FuzzArchiveName: what is taken for a part of a log has one spelling, and
// nothing in front of it that leads elsewhere.
func FuzzArchiveName(f *testing.F) {
	for _, s := range []string{"tile/data/x001/234.p/5", "a/issuer/" + strings.Repeat("ab", 32), "checkpoint", "../checkpoint"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		prefix, r, ok := archiveName(name)
		if !ok {
			return
		}
		again, same := parseResource(name[len(prefix):])
		if !strings.HasPrefix(name, prefix) || !same || again != r {
			t.Errorf("%q: %q, %+v", name, prefix, r)
		}
		if !filepath.IsLocal(name) {
			t.Errorf("%q leads out", name)
		}
		if k := r.tile; k != 0 {
			level := fmt.Sprint(k.level())
			if k.level() == dataLevel {
				level = "data"
			}
			if want := "tile/" + level + "/" + tilePath(k.n(), k.width()); want != name[len(prefix):] {
				t.Errorf("%q is %s", name, want)
			}
		}
	})
}

// FuzzArchiveWords: what an archive's server and its log.v3.json say.
func FuzzArchiveWords(f *testing.F) {
	f.Add("bytes 0-9/100", []byte(`{"final_tree_head":{"tree_size":3,"sha256_root_hash":"AAAA"}}`))
	f.Add("bytes 5-4/3", []byte(`{"state":{"readonly":{"final_tree_head":{}}}}`))
	f.Fuzz(func(t *testing.T, header string, meta []byte) {
		from, to, total, ok := parseContentRange(header)
		if ok && (from < 0 || from > to || to >= total) {
			t.Errorf("%q: %d to %d of %d", header, from, to, total)
		}
		if h, err := parseFinalHead(meta); err == nil && h != nil && len(h.Root) != 32 {
			t.Errorf("%q: root %x", meta, h.Root)
		}
	})
}
