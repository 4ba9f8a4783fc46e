package ctlog

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"ctappliance/ingest/ctlog/ctlogtest"
)

var archived = sync.OnceValue(func() map[ctlogtest.Kind]*ctlogtest.Log {
	corpus, err := ctlogtest.NewCorpus(ctlogtest.CorpusOptions{Seed: 7})
	if err != nil {
		panic(err)
	}
	logs := map[ctlogtest.Kind]*ctlogtest.Log{}
	for _, kind := range []ctlogtest.Kind{ctlogtest.RFC6962, ctlogtest.Static} {
		// More than 256 tiles would make the second level whole; a second here is enough.
		if logs[kind], err = ctlogtest.New(ctlogtest.Options{Kind: kind, Corpus: corpus, Size: 4*256 + 37}); err != nil {
			panic(err)
		}
	}
	return logs
})

// archiveInfo is what a user knows of an archive: its URL and the log's key.
func archiveInfo(l *ctlogtest.Log, url string) Info {
	return Info{Key: l.Key(), Name: "archived", URL: url}
}

var archiveOptions = Options{UserAgent: testUA, AllowPrivate: true, AllowFile: true}

func openArchive(t testing.TB, info Info, o Options) Log {
	t.Helper()
	l, err := New(info, o)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func fileURL(dir string) string { return "file://" + filepath.ToSlash(dir) + "/" }

// writeArchive puts a log's archive on disk in one of several shapes and
// returns its URL.
func writeArchive(t testing.TB, l *ctlogtest.Log, shape string, o ctlogtest.ArchiveOptions) string {
	t.Helper()
	dir := t.TempDir()
	files := l.Archive(o)
	put := func(name string, files map[string][]byte) {
		t.Helper()
		if err := ctlogtest.WriteZip(filepath.Join(dir, name), files, o); err != nil {
			t.Fatal(err)
		}
	}
	switch shape {
	case "directory":
		if err := ctlogtest.WriteDir(dir, files); err != nil {
			t.Fatal(err)
		}
	case "compressed tiles", "compressed tiles in a zip":
		for name, data := range files {
			if strings.HasPrefix(name, "tile/data/") {
				files[name] = gz(data)
			}
		}
		if shape == "compressed tiles" {
			if err := ctlogtest.WriteDir(dir, files); err != nil {
				t.Fatal(err)
			}
			break
		}
		put("000.zip", files)
	case "numbered zip":
		put("000.zip", files)
	case "zip with a name":
		put("yeti.zip", files)
		return fileURL(dir) + "yeti.zip"
	case "zips with names", "head beside the zips":
		// Two halves, as somebody may have packed them: the tree in one.
		a, b := map[string][]byte{}, map[string][]byte{}
		for name, data := range files {
			switch {
			case name == "tile/data/000" || name == "tile/data/001":
				a[name] = data
			case shape == "head beside the zips" && !strings.HasPrefix(name, "tile/"):
				if err := ctlogtest.WriteDir(dir, map[string][]byte{name: data}); err != nil {
					t.Fatal(err)
				}
			default:
				b[name] = data
			}
		}
		put("left.zip", a)
		put("right.zip", b)
	default:
		t.Fatal(shape)
	}
	return fileURL(dir)
}

var shapes = []string{"directory", "compressed tiles", "compressed tiles in a zip", "numbered zip", "zip with a name", "zips with names", "head beside the zips"}

// TestArchiveCopies copies whole archives and compares every entry with the
// log's own.
func TestArchiveCopies(t *testing.T) {
	for _, kind := range []ctlogtest.Kind{ctlogtest.RFC6962, ctlogtest.Static} {
		l := archived()[kind]
		for _, shape := range shapes {
			for _, folder := range []string{"", "archive/yeti2018/"} {
				if folder != "" && !strings.Contains(shape, "zip") {
					continue
				}
				t.Run(fmt.Sprint(kind, "/", shape, " ", folder), func(t *testing.T) {
					url := writeArchive(t, l, shape, ctlogtest.ArchiveOptions{Folder: folder})
					copyArchive(t, l, openArchive(t, archiveInfo(l, url), archiveOptions))
				})
			}
		}
	}
}

// copyArchive reads all of an archive through c, as a conductor would.
func copyArchive(t *testing.T, l *ctlogtest.Log, c Log) {
	t.Helper()
	h, err := c.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	size, root, _ := l.Head()
	if h.Size != size || h.Root != root {
		t.Fatalf("head %d %x, want %d %x", h.Size, h.Root, size, root)
	}
	var f Frontier
	issuers := map[Hash]bool{}
	for next := uint64(0); next < h.Size; {
		end, ok := c.Plan(next, h.Size, h.Size, true)
		if !ok {
			t.Fatalf("no plan at %d", next)
		}
		b, err := c.Entries(t.Context(), next, end, h.Size)
		if err != nil {
			t.Fatal(err)
		}
		again, err := DecodeTile(next, b.Tile, b.TileGzip)
		if err != nil || len(again) != len(b.Entries) {
			t.Fatalf("the tile that is kept: %v", err)
		}
		for i, e := range b.Entries {
			want := l.Corpus().Entry(next + uint64(i))
			if !bytes.Equal(e.Leaf, l.Leaf(next+uint64(i))) || !bytes.Equal(e.Precert, want.Submitted) || !bytes.Equal(again[i].Leaf, e.Leaf) {
				t.Fatalf("entry %d is another", next+uint64(i))
			}
			for _, fingerprint := range e.Chain {
				issuers[fingerprint] = true
			}
			f.Append(LeafHash(e.Leaf), nil)
		}
		next = end
	}
	if f.Root() != h.Root {
		t.Error("the entries' root is not the head's")
	}
	for fingerprint := range issuers {
		if der, err := c.Issuer(t.Context(), fingerprint); err != nil || sha256.Sum256(der) != fingerprint {
			t.Errorf("issuer: %v", err)
		}
	}
	for _, size := range []uint64{0, 1, 255, 256, 700, h.Size} {
		g, err := c.Frontier(t.Context(), size, h)
		if err != nil || g.Root() != l.Root(size) {
			t.Errorf("frontier of %d: %v", size, err)
		}
	}
	if c.Info().ID != l.ID() || c.Info().Kind != Static || !strings.HasSuffix(c.Info().URL, "/") {
		t.Errorf("%+v", c.Info())
	}
}

// TestArchiveOverHTTP reads zips by ranges, and a tile directory by plain GETs.
func TestArchiveOverHTTP(t *testing.T) {
	for _, shape := range []string{"directory", "numbered zip", "zip with a name"} {
		t.Run(shape, func(t *testing.T) {
			l := archived()[ctlogtest.RFC6962]
			url := writeArchive(t, l, shape, ctlogtest.ArchiveOptions{})
			dir, name := strings.TrimPrefix(url, "file://"), ""
			switch shape {
			case "numbered zip":
				name = "000.zip"
			case "zip with a name":
				dir, name = filepath.Split(dir)
			}
			ranges := 0
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Range") != "" {
					ranges++
				}
				http.FileServer(http.Dir(dir)).ServeHTTP(w, r)
			}))
			defer srv.Close()
			p := &recorder{}
			o := archiveOptions
			o.AllowFile, o.Pacer, o.Archive = false, p, name == ""
			info := archiveInfo(l, srv.URL+"/"+name)
			info.SubmissionURL = strings.TrimSuffix(info.URL, "/") + "/" // for want of another one
			copyArchive(t, l, openArchive(t, info, o))
			if _, n := p.last(); name != "" && (n != ranges || n > 8) || name == "" && ranges != 0 {
				t.Errorf("%d requests took a slot, %d asked for ranges", n, ranges)
			}
		})
	}
}

// TestArchiveNeedsPermission: only the configuration may name local files.
func TestArchiveNeedsPermission(t *testing.T) {
	l := archived()[ctlogtest.Static]
	url := writeArchive(t, l, "directory", ctlogtest.ArchiveOptions{})
	for _, url := range []string{url, "FILE" + url[4:], "file:" + url[7:]} {
		for _, kind := range []Kind{RFC6962, Static} {
			info := archiveInfo(l, url)
			info.Kind, info.SubmissionURL = kind, "https://a.example.net/"
			o := archiveOptions
			o.AllowFile = false
			if _, err := New(info, o); !errors.Is(err, ErrFileURL) {
				t.Errorf("%s: %v", url, err)
			}
		}
		openArchive(t, archiveInfo(l, url), archiveOptions)
	}
	info := archiveInfo(l, "https://log.example.net/")
	info.TileURL = url
	if _, err := New(info, archiveOptions); err == nil {
		t.Error("tiles from a local file")
	}
	if list, err := ParseList(fmt.Appendf(nil, `{"operators":[{"name":"x","logs":[{"key":%q,"url":%q}]}]}`, "AAAA", url)); err != nil || list.Logs[0].Problem == "" {
		t.Errorf("a log list may name a file: %v", err)
	}
}

// TestArchiveURLs: what cannot be read says so at once, in one line.
func TestArchiveURLs(t *testing.T) {
	l := archived()[ctlogtest.Static]
	dir := t.TempDir()
	file := filepath.Join(dir, "notes.txt")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for url, want := range map[string]string{
		"file:relative/path":           "absolute path",
		"file://otherhost/dir/":        "three slashes",
		fileURL(dir) + "?x":            "query",
		fileURL(dir) + "gone/":         "no such file",
		fileURL(dir):                   "neither a folder tile nor zip files",
		fileURL(dir) + "notes.txt":     "neither a directory nor a .zip",
		"file:///dev/null":             "neither a directory nor a .zip",
		"file:///a%00b/":               "not a path",
		"ftp://host/000.zip":           "not an https:// URL",
		"http://host.example/000.zip":  "plain http",
		"https://u:p@h.example/00.zip": "user name",
	} {
		_, err := New(archiveInfo(l, url), archiveOptions)
		if file, err2 := IsFileURL(url); file != strings.HasPrefix(url, "file:") || err2 != nil && err2.Error() != err.Error() {
			t.Errorf("%s: a file %v, %v", url, file, err2)
		}
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want %q", url, err, want)
		}
	}
}

// TestArchiveHeads: what is signed by the log's key is a head; what is not
// must be what the log list says.
func TestArchiveHeads(t *testing.T) {
	l := archived()[ctlogtest.RFC6962]
	size, root, _ := l.Head()
	other, err := ctlogtest.New(ctlogtest.Options{Name: "other", Corpus: l.Corpus(), Size: size})
	if err != nil {
		t.Fatal(err)
	}
	otherFiles := other.Archive(ctlogtest.ArchiveOptions{STH: true})
	listed := func(size uint64, root Hash) func(*Info) {
		return func(i *Info) { i.FinalSize, i.FinalRoot, i.StateSince = size, root, time.UnixMilli(1_700_000_000_000) }
	}
	wrong := root
	wrong[5] ^= 1
	for _, c := range []struct {
		name  string
		files ctlogtest.ArchiveOptions
		alter func(map[string][]byte)
		info  func(*Info)
		want  string // of the error; empty: a head
		lie   bool   // a *VerifyError
	}{
		{name: "checkpoint"},
		{name: "checkpoint, origin known", info: func(i *Info) { i.SubmissionURL = "https://" + l.Origin() + "/" }},
		{name: "checkpoint of another origin", info: func(i *Info) { i.SubmissionURL = "https://else.example.net/" }, want: "origin"},
		{name: "get-sth", files: ctlogtest.ArchiveOptions{NoCheckpoint: true, STH: true}},
		{name: "get-sth as checkpoint", alter: func(f map[string][]byte) {
			f["checkpoint"] = l.Archive(ctlogtest.ArchiveOptions{STH: true})["get-sth.json"]
		}},
		{name: "get-sth of another log", files: ctlogtest.ArchiveOptions{NoCheckpoint: true}, want: "signature", lie: true,
			alter: func(f map[string][]byte) { f["get-sth.json"] = otherFiles["get-sth.json"] }},
		{name: "checkpoint of another log", alter: func(f map[string][]byte) { f["checkpoint"] = otherFiles["checkpoint"] }, want: "checkpoint", lie: true},
		{name: "checkpoint of another log, list known", alter: func(f map[string][]byte) { f["checkpoint"] = otherFiles["checkpoint"] },
			info: listed(size, root), want: "checkpoint", lie: true},
		{name: "unsigned", files: ctlogtest.ArchiveOptions{NoCheckpoint: true, FinalHead: true}, want: "unsigned"},
		{name: "unsigned, in the list too", files: ctlogtest.ArchiveOptions{NoCheckpoint: true, FinalHead: true}, info: listed(size, root)},
		{name: "unsigned, in the words of a list", files: ctlogtest.ArchiveOptions{NoCheckpoint: true}, info: listed(size, root),
			alter: func(f map[string][]byte) {
				f["log.v3.json"] = fmt.Appendf(nil, `{"state":{"readonly":{"final_tree_head":{"tree_size":%d,"sha256_root_hash":"AAAA"}}}}`, size)
			}, want: "32"},
		{name: "unsigned, other root than the list", files: ctlogtest.ArchiveOptions{NoCheckpoint: true, FinalHead: true}, info: listed(size, wrong), want: "the log list says", lie: true},
		{name: "unsigned, other size than the list", files: ctlogtest.ArchiveOptions{NoCheckpoint: true, FinalHead: true}, info: listed(size-1, root), want: "the log list says", lie: true},
		{name: "nothing, but the list", files: ctlogtest.ArchiveOptions{NoCheckpoint: true}, info: listed(size, root)},
		{name: "nothing", files: ctlogtest.ArchiveOptions{NoCheckpoint: true}, want: "nothing here can be proven"},
		{name: "nothing at all", files: ctlogtest.ArchiveOptions{NoCheckpoint: true}, alter: func(f map[string][]byte) { delete(f, "log.v3.json") }, want: "nothing here can be proven"},
		{name: "a page", alter: func(f map[string][]byte) { f["checkpoint"] = []byte("<html>gone</html>") }, want: "a page"},
		{name: "too large", alter: func(f map[string][]byte) { f["checkpoint"] = make([]byte, maxHead+1) }, want: "too large"},
	} {
		t.Run(c.name, func(t *testing.T) {
			files := l.Archive(c.files)
			if c.alter != nil {
				c.alter(files)
			}
			dir := t.TempDir()
			if err := ctlogtest.WriteDir(dir, files); err != nil {
				t.Fatal(err)
			}
			info := archiveInfo(l, fileURL(dir))
			if c.info != nil {
				c.info(&info)
			}
			h, err := openArchive(t, info, archiveOptions).Head(t.Context())
			if c.want == "" {
				if err != nil || h.Size != size || h.Root != root || len(h.Raw) == 0 {
					t.Fatalf("%+v, %v", h, err)
				}
				if info.FinalSize == 0 {
					if again, err := ParseHead(info, h.Raw); err != nil || again.Root != root {
						t.Errorf("the head that is kept: %v", err)
					}
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
				t.Fatalf("%+v, %v, want %q", h, err, c.want)
			}
			if _, lie := errors.AsType[*VerifyError](err); lie != c.lie {
				t.Errorf("%v: evidence %v, want %v", err, lie, c.lie)
			}
		})
	}
}

// TestArchiveMissing: what is not there is named, and waited for.
func TestArchiveMissing(t *testing.T) {
	l := archived()[ctlogtest.Static]
	for _, shape := range []string{"directory", "numbered zip", "zip with a name"} {
		files := l.Archive(ctlogtest.ArchiveOptions{})
		delete(files, "tile/data/002")
		dir := t.TempDir()
		url := fileURL(dir)
		var err error
		switch shape {
		case "directory":
			err = ctlogtest.WriteDir(dir, files)
		case "numbered zip":
			err = ctlogtest.WriteZip(filepath.Join(dir, "000.zip"), files, ctlogtest.ArchiveOptions{})
		default:
			err = ctlogtest.WriteZip(filepath.Join(dir, "a.zip"), files, ctlogtest.ArchiveOptions{})
			url += "a.zip"
		}
		if err != nil {
			t.Fatal(err)
		}
		c := openArchive(t, archiveInfo(l, url), archiveOptions)
		size := l.Size()
		if _, err := c.Entries(t.Context(), 512, 768, size); !errors.Is(err, ErrNotYet) || !strings.Contains(err.Error(), "tile/data/002") {
			t.Errorf("%s: %v", shape, err)
		}
		if _, err := c.Entries(t.Context(), 256, 512, size); err != nil {
			t.Errorf("%s: %v", shape, err)
		}
		// A part of the set that was not downloaded.
		if _, err := c.Entries(t.Context(), 256*zipWidth, 256*zipWidth+256, 256*zipWidth*2); shape == "numbered zip" &&
			(!errors.Is(err, ErrNotYet) || !strings.Contains(err.Error(), "001.zip")) {
			t.Errorf("%s: %v", shape, err)
		}
		if _, err := c.Issuer(t.Context(), Hash{1}); !isGone(err) {
			t.Errorf("%s: issuer: %v", shape, err)
		}
	}
}

// TestArchiveDamaged: what is damaged is named with the zip that it is in.
func TestArchiveDamaged(t *testing.T) {
	l := archived()[ctlogtest.Static]
	url := writeArchive(t, l, "numbered zip", ctlogtest.ArchiveOptions{})
	name := filepath.Join(strings.TrimPrefix(url, "file://"), "000.zip")
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(b, []byte("tile/data/002"))
	b[at+20_000] ^= 1
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
	// Half of a download beside it, which is no reason to do without the other one.
	if err := os.WriteFile(filepath.Join(filepath.Dir(name), "001.zip"), b[:len(b)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	c := openArchive(t, archiveInfo(l, url), archiveOptions)
	if _, err := c.Entries(t.Context(), 256*zipWidth, 256*zipWidth+256, 256*zipWidth*2); err == nil || !strings.Contains(err.Error(), "complete?") || !strings.Contains(err.Error(), "001.zip") {
		t.Errorf("%v", err)
	}
	_, err = c.Entries(t.Context(), 512, 768, l.Size())
	if _, ok := errors.AsType[*AnswerError](err); !ok || !strings.Contains(err.Error(), "tile/data/002") || !strings.Contains(err.Error(), "000.zip") {
		t.Errorf("%v", err)
	}
}

// TestArchiveHalfDownloaded: a zip that is none yet does not hide the others.
func TestArchiveHalfDownloaded(t *testing.T) {
	l := archived()[ctlogtest.Static]
	url := writeArchive(t, l, "zips with names", ctlogtest.ArchiveOptions{})
	dir := strings.TrimPrefix(url, "file://")
	b, err := os.ReadFile(filepath.Join(dir, "left.zip"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "a.zip"), b[:len(b)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	copyArchive(t, l, openArchive(t, archiveInfo(l, url), archiveOptions))
	if err := os.Remove(filepath.Join(dir, "left.zip")); err != nil {
		t.Fatal(err)
	}
	c := openArchive(t, archiveInfo(l, url), archiveOptions)
	if _, err := c.Entries(t.Context(), 0, 256, l.Size()); err == nil || !strings.Contains(err.Error(), "a.zip") {
		t.Errorf("%v", err)
	}
}

// TestArchiveWithoutHashTiles: frontiers follow from the entries, and are
// proven like others.
func TestArchiveWithoutHashTiles(t *testing.T) {
	l := archived()[ctlogtest.RFC6962]
	url := writeArchive(t, l, "directory", ctlogtest.ArchiveOptions{NoHashTiles: true})
	copyArchive(t, l, openArchive(t, archiveInfo(l, url), archiveOptions))

	path := filepath.Join(strings.TrimPrefix(url, "file://"), "tile", "data", "001")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[9+2+3] ^= 1 // in the first certificate
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	c := openArchive(t, archiveInfo(l, url), archiveOptions)
	h, err := c.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Frontier(t.Context(), 300, h); err == nil {
		t.Error("a frontier of other entries was proven")
	} else if _, ok := errors.AsType[*VerifyError](err); !ok {
		t.Errorf("%v is no evidence", err)
	}
}

// TestArchiveBudget: a frontier does not read the whole log.
func TestArchiveBudget(t *testing.T) {
	l := archived()[ctlogtest.RFC6962]
	url := writeArchive(t, l, "directory", ctlogtest.ArchiveOptions{NoHashTiles: true})
	s := openArchive(t, archiveInfo(l, url), archiveOptions).(*archiveLog).staticLog
	tiles := []tlog.Tile{{H: tileHeight, L: 1, N: 0, W: 4}}
	for budget, want := range map[int]error{9: nil, 8: ErrNotYet, 0: ErrNotYet} {
		if _, err := (&tileReader{ctx: t.Context(), l: s, budget: budget}).ReadTiles(tiles); !errors.Is(err, want) {
			t.Errorf("%d tiles: %v, want %v", budget, err, want)
		}
	}
}

// TestArchiveStaysInside: neither links nor names lead out of an archive.
func TestArchiveStaysInside(t *testing.T) {
	l := archived()[ctlogtest.Static]
	files := l.Archive(ctlogtest.ArchiveOptions{})
	outside, dir := t.TempDir(), t.TempDir()
	if err := ctlogtest.WriteDir(outside, files); err != nil {
		t.Fatal(err)
	}
	if err := ctlogtest.WriteDir(dir, files); err != nil {
		t.Fatal(err)
	}
	tile := filepath.Join(dir, "tile", "data", "001")
	if err := errors.Join(os.Remove(tile), os.Symlink(filepath.Join(outside, "tile", "data", "001"), tile)); err != nil {
		t.Fatal(err)
	}
	c := openArchive(t, archiveInfo(l, fileURL(dir)), archiveOptions)
	if _, err := c.Entries(t.Context(), 256, 512, l.Size()); err == nil || !strings.Contains(err.Error(), "escapes") {
		t.Errorf("a link out of the archive: %v", err)
	}
	if _, err := c.Entries(t.Context(), 0, 256, l.Size()); err != nil {
		t.Error(err)
	}
	// A pipe or a directory in place of a file does not keep us waiting.
	tile = filepath.Join(dir, "tile", "data", "000")
	if err := errors.Join(os.Remove(tile), os.Mkdir(tile, 0o700)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Entries(t.Context(), 0, 256, l.Size()); err == nil || !strings.Contains(err.Error(), "not a file") {
		t.Errorf("a directory: %v", err)
	}
	zips := t.TempDir()
	if err := os.Symlink(filepath.Join(outside, "a.zip"), filepath.Join(zips, "a.zip")); err != nil {
		t.Fatal(err)
	}
	if err := ctlogtest.WriteZip(filepath.Join(outside, "a.zip"), files, ctlogtest.ArchiveOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := openArchive(t, archiveInfo(l, fileURL(zips)), archiveOptions).Head(t.Context()); err == nil || !strings.Contains(err.Error(), "escapes") {
		t.Errorf("a zip that is a link: %v", err)
	}
}

// TestRealArchives reads what real servers have written: tiles of Geomys' test
// log without a head, and a capture of a Sunlight log with one.
func TestRealArchives(t *testing.T) {
	t.Run("navigli", func(t *testing.T) {
		dir := filepath.Join(dataDir(t), "static", "navigli2025h2")
		var hashes []Hash
		for n, width := range []uint64{256, 256, 256, 10} {
			entries, err := DecodeTile(uint64(n)*256, dataFile(t, "static/navigli2025h2/tile/data/"+tilePath(uint64(n), width)), false)
			if err != nil || len(entries) != int(width) {
				t.Fatal(err)
			}
			for _, e := range entries {
				hashes = append(hashes, LeafHash(e.Leaf))
			}
		}
		size := len(hashes)
		info := archiveInfo(archived()[ctlogtest.Static], fileURL(dir))
		info.FinalSize, info.FinalRoot = uint64(size), mth(hashes)
		c := openArchive(t, info, archiveOptions)
		h, err := c.Head(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range []int{1, 256, 300, size} {
			if f, err := c.Frontier(t.Context(), uint64(n), h); err != nil || f.Root() != mth(hashes[:n]) {
				t.Errorf("frontier of %d: %v", n, err)
			}
		}
		b, err := c.Entries(t.Context(), 768, uint64(size), h.Size)
		if err != nil || len(b.Entries) != 10 {
			t.Errorf("%v", err)
		}
	})
	t.Run("sunlight", func(t *testing.T) {
		dir := filepath.Join(dataDir(t), "captured-local", "static")
		var meta struct{ Key []byte }
		if err := json.Unmarshal(dataFile(t, "captured-local/static/log.v3.json"), &meta); err != nil {
			t.Fatal(err)
		}
		c := openArchive(t, Info{Key: meta.Key, URL: fileURL(dir)}, archiveOptions)
		h, err := c.Head(t.Context())
		if err != nil || h.Size != 61890 {
			t.Fatalf("%+v, %v", h, err)
		}
		for _, n := range []uint64{256, 61696, h.Size} {
			if _, err := c.Frontier(t.Context(), n, h); err != nil {
				t.Errorf("frontier of %d: %v", n, err)
			}
		}
		for _, from := range []uint64{0, 61696} {
			b, err := c.Entries(t.Context(), from, min(from+256, h.Size), h.Size)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range b.Entries {
				for _, fingerprint := range e.Chain {
					if _, err := c.Issuer(t.Context(), fingerprint); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
		if _, err := c.Entries(t.Context(), 256*5, 256*6, h.Size); !errors.Is(err, ErrNotYet) {
			t.Errorf("a tile that was not captured: %v", err)
		}
	})
}
