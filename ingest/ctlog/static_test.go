package ctlog

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestTilePath(t *testing.T) {
	for _, c := range []struct {
		n, w uint64
		want string
	}{
		{0, 256, "000"}, {5, 256, "005"}, {999, 256, "999"}, {1000, 256, "x001/000"}, {1234, 256, "x001/234"},
		{1234067, 256, "x001/x234/067"}, {1234067, 5, "x001/x234/067.p/5"}, {273, 112, "273.p/112"},
		{4294967295, 256, "x004/x294/x967/295"},
	} {
		if got := tilePath(c.n, c.w); got != c.want {
			t.Errorf("%d, %d: %s, want %s", c.n, c.w, got, c.want)
		}
	}
}

func TestStaticCopiesTheLog(t *testing.T) {
	for _, size := range []int{1, 255, 256, 257, 700} {
		l := newFakeLog(t, size, true)
		p := &recorder{}
		c := l.open(t, Static, Options{Pacer: p})
		h, err := c.Head(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var f Frontier
		for next := uint64(0); next < h.Size; {
			end, ok := c.Plan(next, h.Size, h.Size, true)
			if !ok {
				t.Fatalf("no plan for %d of %d", next, h.Size)
			}
			b, err := c.Entries(t.Context(), next, end, h.Size)
			if err != nil {
				t.Fatal(err)
			}
			l.check(t, b, int(next), int(end-next))
			// The tile is kept as it came, and can be decoded again.
			if !b.TileGzip || !bytes.Equal(b.Tile, gz(l.dataTile(int(next), int(end)))) || b.Issuers != nil {
				t.Fatal("the tile is not the one that was sent")
			}
			again, err := DecodeTile(next, b.Tile, b.TileGzip)
			if err != nil {
				t.Fatal(err)
			}
			l.check(t, &Batch{From: next, Entries: again[b.TileSkip:]}, int(next), int(end-next))
			for _, e := range b.Entries {
				f.Append(LeafHash(e.Leaf), nil)
			}
			next = end
		}
		if f.Root() != h.Root {
			t.Errorf("size %d: root differs", size)
		}
		if _, n := p.last(); n != 1+(size+255)/256 {
			t.Errorf("size %d: %d requests", size, n)
		}
	}
}

func TestStaticPlan(t *testing.T) {
	c := newFakeLog(t, 1, true).open(t, Static, Options{})
	for _, p := range []struct {
		from, to, size uint64
		partial        bool
		end            uint64
		ok             bool
	}{
		{0, 1000, 1000, false, 256, true},
		{5, 1000, 1000, false, 256, true},
		{256, 300, 1000, false, 300, true}, // the span ends there, the tile is full
		{768, 1000, 1000, false, 768, false},
		{768, 1000, 1000, true, 1000, true},
		{768, 900, 1000, true, 900, true},
		{768, 1000, 1024, false, 1000, true},
		{768, 5000, 1024, false, 1024, true},
		{1000, 1000, 1000, true, 1000, false},
		{1001, 2000, 1000, true, 1001, false},
	} {
		if end, ok := c.Plan(p.from, p.to, p.size, p.partial); end != p.end || ok != p.ok {
			t.Errorf("%+v: got %d, %v", p, end, ok)
		}
	}
}

func TestMidTile(t *testing.T) {
	l := newFakeLog(t, 700, true)
	c := l.open(t, Static, Options{})
	b, err := c.Entries(t.Context(), 300, 310, 700)
	if err != nil {
		t.Fatal(err)
	}
	l.check(t, b, 300, 10)
	if b.TileSkip != 44 {
		t.Errorf("TileSkip %d, want 44", b.TileSkip)
	}
	// to beyond the tile: one answer is one tile.
	b, err = c.Entries(t.Context(), 300, 700, 700)
	if err != nil {
		t.Fatal(err)
	}
	l.check(t, b, 300, 212)
}

// TestPartialTileIsGone: a log may delete a partial tile once it is full.
func TestPartialTileIsGone(t *testing.T) {
	l := newFakeLog(t, 600, true)
	for _, gone := range []int{404, 403, 410} {
		l.set("tile/data/001.p/44", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(gone) })
		l.set("tile/0/001.p/44", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(gone) })
		p := &recorder{}
		c := l.open(t, Static, Options{Pacer: p})
		b, err := c.Entries(t.Context(), 256, 300, 300)
		if err != nil {
			t.Fatal(err)
		}
		l.check(t, b, 256, 44)
		// The tile is the full one; what was not asked for is not in Entries.
		if all, err := DecodeTile(256, b.Tile, b.TileGzip); err != nil || len(all) != 256 {
			t.Errorf("%d entries in the tile, %v", len(all), err)
		}
		if _, n := p.last(); n != 2 {
			t.Errorf("%d requests", n)
		}
		// So for hash tiles. (The fake log serves the widths of its own size only.)
		subtree := mth(l.hashes[:256])
		l.set("tile/1/000.p/1", func(w http.ResponseWriter, r *http.Request) { w.Write(subtree[:]) })
		f, err := c.Frontier(t.Context(), 300, &Head{Size: 300, Root: mth(l.hashes[:300])})
		if err != nil || f.Root() != mth(l.hashes[:300]) {
			t.Errorf("%d: %v", gone, err)
		}
	}
	// A failure that is not "gone" does not lead to another request.
	l.set("tile/data/001.p/44", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(429) })
	l.seen()
	c := l.open(t, Static, Options{})
	if s, ok := errors.AsType[*StatusError](func() error { _, err := c.Entries(t.Context(), 256, 300, 300); return err }()); !ok || s.Code != 429 {
		t.Error("want the 429")
	}
	if got := l.seen(); len(got) != 1 {
		t.Errorf("asked for %v", got)
	}
}

func TestStaticNotYet(t *testing.T) {
	l := newFakeLog(t, 10, true)
	c := l.open(t, Static, Options{})
	for _, size := range []uint64{11, 256, 600} { // the head is ahead of what is served
		_, err := c.Entries(t.Context(), 0, size, size)
		if s, ok := errors.AsType[*StatusError](err); !errors.Is(err, ErrNotYet) || !ok || s.Code != 404 {
			t.Errorf("size %d: %v, want ErrNotYet", size, err)
		}
		_, err = c.Frontier(t.Context(), 10, &Head{Size: size})
		if !errors.Is(err, ErrNotYet) {
			t.Errorf("size %d: %v, want ErrNotYet", size, err)
		}
	}
}

func TestWrongTiles(t *testing.T) {
	l := newFakeLog(t, 600, true)
	unindexed := newFakeLog(t, 256, false)
	c := l.open(t, Static, Options{})
	lax := l.open(t, Static, Options{AllowNoIndex: true})
	tile := l.dataTile(0, 256)
	one := l.dataTile(0, 1)
	edit := func(f func(b []byte)) []byte { b := bytes.Clone(tile); f(b); return b }
	index := bytes.Index(tile, []byte{0, 8, 0, 0, 5, 0, 0, 0, 0, 0}) // of entry 0
	for name, v := range map[string]struct {
		tile  []byte
		laxOK bool
	}{
		"empty":               {nil, false},
		"an entry less":       {l.dataTile(0, 255), false},
		"an entry more":       {append(bytes.Clone(tile), l.dataTile(256, 257)...), false},
		"another tile":        {l.dataTile(256, 512), false},
		"cut":                 {tile[:len(tile)-1], false},
		"a byte more":         {append(bytes.Clone(tile), 0), false},
		"no leaf_index":       {unindexed.dataTile(0, 256), true},
		"wrong leaf_index":    {edit(func(b []byte) { b[index+9] = 1 }), false},
		"huge certificate":    {edit(func(b []byte) { b[10], b[11], b[12] = 0xff, 0xff, 0xff }), false},
		"unknown entry type":  {edit(func(b []byte) { b[9] = 7 }), false},
		"extensions cut":      {edit(func(b []byte) { b[index+1] = 7 }), false},
		"leaf_index of 4":     {edit(func(b []byte) { b[index+4] = 4 }), false},
		"extension 0 twice":   {append(append(bytes.Clone(one[:index]), 0, 16, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0), tile[index+10:]...), false},
		"ragged fingerprints": {edit(func(b []byte) { b[index+11] = 63 }), false},
	} {
		l.set("tile/data/000", func(w http.ResponseWriter, r *http.Request) { w.Write(v.tile) })
		_, err := c.Entries(t.Context(), 0, 256, 600)
		if _, ok := errors.AsType[*AnswerError](err); !ok {
			t.Errorf("%s: %v, want an *AnswerError", name, err)
		}
		if _, err := lax.Entries(t.Context(), 0, 256, 600); (err == nil) != v.laxOK {
			t.Errorf("%s, without leaf_index: %v", name, err)
		}
	}
	// An extension we do not know, before or after, does not matter.
	extra := append(append(bytes.Clone(one[:index]), 0, 12, 9, 0, 1, 'x', 0, 0, 5, 0, 0, 0, 0, 0), tile[index+10:]...)
	l.set("tile/data/000", func(w http.ResponseWriter, r *http.Request) { w.Write(extra) })
	b, err := c.Entries(t.Context(), 0, 256, 600)
	if err != nil {
		t.Fatal(err)
	}
	if b.TileGzip || !bytes.Equal(b.Tile, extra) {
		t.Error("a plain tile is not kept as it came")
	}
	// A compressed tile that does not say so.
	l.set("tile/data/000", func(w http.ResponseWriter, r *http.Request) { w.Write(gz(tile)) })
	if b, err = c.Entries(t.Context(), 0, 256, 600); err != nil || !b.TileGzip {
		t.Fatal(err)
	}
	l.check(t, b, 0, 256)
}

// TestManyChains has more chains in a tile than decodeTile remembers, and
// fingerprints that end in zeros, which is what it overwrites them with.
func TestManyChains(t *testing.T) {
	l := newFakeLog(t, 256, true)
	var raw []byte
	chains := make([][]Hash, 256)
	for i := range chains {
		h := sha256.Sum256([]byte{byte(i % 13)})
		chains[i] = []Hash{{byte(i % 3)}, h}
		if i%5 == 0 {
			h[30], h[31] = 0, 0
			chains[i][1] = h
		}
		if i%7 == 0 {
			chains[i] = nil
		}
		raw = append(raw, l.leaves[i][2:]...)
		if l.precert[i] != nil {
			raw = vec24(raw, l.precert[i])
		}
		raw = binary.BigEndian.AppendUint16(raw, uint16(32*len(chains[i])))
		for _, h := range chains[i] {
			raw = append(raw, h[:]...)
		}
	}
	before := bytes.Clone(raw)
	entries, err := DecodeTile(0, raw, false)
	if err != nil {
		t.Fatal(err)
	}
	for i, e := range entries {
		if !slices.Equal(e.Chain, chains[i]) || !bytes.Equal(e.Leaf, l.leaves[i]) || !bytes.Equal(e.Precert, l.precert[i]) {
			t.Fatalf("entry %d is wrong", i)
		}
	}
	if !bytes.Equal(raw, before) {
		t.Error("DecodeTile changed the tile")
	}
}

func TestStaticFrontier(t *testing.T) {
	for _, headSize := range []int{1, 200, 256, 257, 700, 1024} {
		l := newFakeLog(t, headSize, true)
		p := &recorder{}
		c := l.open(t, Static, Options{Pacer: p})
		head := &Head{Size: uint64(headSize), Root: mth(l.hashes)}
		for _, size := range []int{0, 1, 2, 3, 127, 255, 256, 257, 511, 512, 600, 699, 700, 768, 1023, 1024} {
			if size > headSize {
				continue
			}
			f, err := c.Frontier(t.Context(), uint64(size), head)
			if err != nil {
				t.Fatalf("size %d, head %d: %v", size, headSize, err)
			}
			if f.Size() != uint64(size) || f.Root() != mth(l.hashes[:size]) {
				t.Fatalf("size %d, head %d: wrong frontier", size, headSize)
			}
			// It goes on from there.
			for _, h := range l.hashes[size:] {
				f.Append(h, nil)
			}
			if f.Root() != head.Root {
				t.Fatalf("size %d, head %d: does not lead to the head", size, headSize)
			}
		}
		for _, class := range p.classes {
			if class != ClassProof {
				t.Errorf("class %d", class)
			}
		}
		l.seen()
		if _, err := c.Frontier(t.Context(), uint64(headSize)+1, head); err == nil || len(l.seen()) != 0 {
			t.Errorf("a frontier beyond the head: %v", err)
		}
	}
}

func TestStaticFrontierIsProven(t *testing.T) {
	l := newFakeLog(t, 700, true)
	c := l.open(t, Static, Options{})
	head := &Head{Size: 700, Root: mth(l.hashes)}
	hashTile := func(n, w int) []byte {
		var b []byte
		for _, h := range l.hashes[n*256 : n*256+w] {
			b = append(b, h[:]...)
		}
		return b
	}
	full := hashTile(0, 256)
	for name, v := range map[string]struct {
		tile   []byte
		answer bool
	}{
		"another tile": {hashTile(1, 256), false},
		"a bit":        {append(append([]byte{}, full[0]^1), full[1:]...), false},
		"last bit":     {append(bytes.Clone(full[:len(full)-1]), full[len(full)-1]^1), false},
		"a hash less":  {full[32:], true},
		"a byte more":  {append(bytes.Clone(full), 0), true},
		"empty":        {nil, true},
	} {
		l.set("tile/0/000", func(w http.ResponseWriter, r *http.Request) { w.Write(v.tile) })
		f, err := c.Frontier(t.Context(), 100, head)
		_, isAnswer := errors.AsType[*AnswerError](err)
		_, isVerify := errors.AsType[*VerifyError](err)
		if f != nil || isAnswer != v.answer || isVerify == v.answer {
			t.Errorf("%s: %v", name, err)
		}
	}
	l.override = map[string]http.HandlerFunc{}
	for _, size := range []uint64{100, 256, 700} {
		_, err := c.Frontier(t.Context(), size, &Head{Size: 700, Root: Hash{1}})
		if _, ok := errors.AsType[*VerifyError](err); !ok {
			t.Errorf("size %d: %v, want a *VerifyError", size, err)
		}
	}
}

func TestIssuer(t *testing.T) {
	l := newFakeLog(t, 1, true)
	p := &recorder{}
	c := l.open(t, Static, Options{Pacer: p})
	want := []byte("intermediate 1")
	h := Hash(sha256.Sum256(want))
	if got, err := c.Issuer(t.Context(), h); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%q, %v", got, err)
	}
	if p.classes[0] != ClassIssuer {
		t.Errorf("class %d", p.classes[0])
	}
	l.set(fmt.Sprintf("issuer/%x", h), func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "another certificate") })
	_, err := c.Issuer(t.Context(), h)
	if _, ok := errors.AsType[*AnswerError](err); !ok {
		t.Errorf("%v, want an *AnswerError", err)
	}
	if _, err := c.Issuer(t.Context(), Hash{9}); err == nil {
		t.Error("no error for a certificate that is not there")
	}
}

func TestStaticHead(t *testing.T) {
	l := newFakeLog(t, 5, true)
	p := &recorder{}
	c := l.open(t, Static, Options{Pacer: p})
	h, err := c.Head(t.Context())
	if err != nil || h.Size != 5 || h.Root != mth(l.hashes) {
		t.Fatalf("%+v, %v", h, err)
	}
	if o, n := p.last(); n != 1 || p.classes[0] != ClassHead || o.Status != 200 || o.Bytes != int64(len(h.Raw)) {
		t.Errorf("outcome %+v", o)
	}
	l.set("checkpoint", func(w http.ResponseWriter, r *http.Request) {
		w.Write(bytes.Replace(l.checkpoint(5), []byte("\n5\n"), []byte("\n4\n"), 1))
	})
	_, err = c.Head(t.Context())
	if v, ok := errors.AsType[*VerifyError](err); !ok || len(v.Raw) == 0 {
		t.Errorf("%v, want a *VerifyError with evidence", err)
	}
	if o, _ := p.last(); o.Err != nil {
		t.Errorf("a lie is no failure to answer: %+v", o)
	}
}

// TestCapturedStatic reads the answers of a real Sunlight and Skylight, served
// as a plain file server would.
func TestCapturedStatic(t *testing.T) {
	dir := filepath.Join(dataDir(t), "captured-local", "static")
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/tile/data/") {
			w.Header().Set("Content-Encoding", "gzip")
		}
		http.ServeFile(w, r, filepath.Join(dir, filepath.FromSlash(r.URL.Path)))
	}))
	defer srv.Close()
	der, _ := base64.StdEncoding.DecodeString(staticKey)
	c, err := New(Info{Key: der, Kind: Static, URL: srv.URL, SubmissionURL: "https://localhost/static2027h1/"}, Options{UserAgent: testUA, AllowPrivate: true})
	if err != nil {
		t.Fatal(err)
	}
	head, err := c.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	const last = 61890 - 61890%256
	if head.Size != 61890 {
		t.Fatalf("size %d", head.Size)
	}
	// From the frontier at the last tile, its 194 entries lead to the signed
	// root; from that at 0, the first tile's to the proven frontier at 256.
	for _, r := range [][2]uint64{{0, 256}, {last, head.Size}} {
		f, err := c.Frontier(t.Context(), r[0], head)
		if err != nil {
			t.Fatal(err)
		}
		b, err := c.Entries(t.Context(), r[0], r[1], head.Size)
		if err != nil {
			t.Fatal(err)
		}
		if !b.TileGzip || b.TileSkip != 0 || uint64(len(b.Entries)) != r[1]-r[0] {
			t.Fatalf("%d entries, gzip %v", len(b.Entries), b.TileGzip)
		}
		for _, e := range b.Entries {
			f.Append(LeafHash(e.Leaf), nil)
		}
		want, err := c.Frontier(t.Context(), r[1], head)
		if err != nil {
			t.Fatal(err)
		}
		if !f.Equal(want) {
			t.Errorf("entries %v do not lead to the proven frontier", r)
		}
		if r[1] == head.Size && f.Root() != head.Root {
			t.Error("the signed root is not met")
		}
		for _, e := range b.Entries {
			for _, h := range e.Chain {
				if _, err := c.Issuer(t.Context(), h); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}

// TestNavigli hashes real entries against the log's own hash tiles.
func TestNavigli(t *testing.T) {
	dir := filepath.Join(dataDir(t), "static", "navigli2025h2", "tile")
	total := 0
	for n := range uint64(4) {
		for _, width := range []uint64{256, 10} {
			if width < 256 && n != 3 {
				continue
			}
			raw, err := os.ReadFile(filepath.Join(dir, "data", tilePath(n, width)))
			if err != nil {
				t.Fatal(err)
			}
			hashes, err := os.ReadFile(filepath.Join(dir, "0", tilePath(n, width)))
			if err != nil {
				t.Fatal(err)
			}
			entries, err := DecodeTile(n*256, raw, false)
			if err != nil || uint64(len(entries)) != width {
				t.Fatalf("%d entries, %v", len(entries), err)
			}
			for i, e := range entries {
				if LeafHash(e.Leaf) != Hash(hashes[32*i:]) {
					t.Fatalf("tile %d, entry %d: leaf hash differs", n, i)
				}
				leaf, err := ParseLeaf(e.Leaf)
				if err != nil || leaf.EntryType != PrecertEntry || e.Precert == nil || len(e.Chain) == 0 {
					t.Fatalf("tile %d, entry %d: %v", n, i, err)
				}
				if index, ok, err := LeafIndex(leaf.Extensions); !ok || err != nil || index != n*256+uint64(i) {
					t.Fatalf("tile %d, entry %d: leaf_index %d, %v", n, i, index, err)
				}
			}
			total += len(entries)
			if _, err := DecodeTile(n*256+1, raw, false); err == nil {
				t.Error("decoded a tile as that of another place")
			}
			for _, cut := range []int{1, len(raw) / 2, len(raw) - 1} {
				if _, err := DecodeTile(n*256, raw[:cut], false); err == nil {
					t.Errorf("decoded a tile cut at %d", cut)
				}
			}
		}
	}
	if total != 1034 {
		t.Errorf("%d entries, want 1034", total)
	}
}

func TestDecodeTileLimits(t *testing.T) {
	l := newFakeLog(t, 257, true)
	if _, err := DecodeTile(0, l.dataTile(0, 257), false); err == nil {
		t.Error("decoded a tile of 257 entries")
	}
	if entries, err := DecodeTile(1, l.dataTile(1, 257), false); err != nil || len(entries) != 256 {
		t.Errorf("%d entries, %v", len(entries), err)
	}
	if entries, err := DecodeTile(0, nil, false); err != nil || len(entries) != 0 {
		t.Errorf("%d entries of nothing, %v", len(entries), err)
	}
	ragged := append(bytes.Clone(l.leaves[0][2:]), 0, 33)
	if _, err := DecodeTile(0, append(ragged, make([]byte, 33)...), false); err == nil {
		t.Error("decoded a chain of 33 bytes")
	}
	one := l.dataTile(0, 1)
	for _, zipped := range []bool{false, true} {
		raw := one
		if zipped {
			raw = gz(one)
		}
		if _, _, err := decodeTile(0, raw, zipped, int64(len(one)), nil); err != nil {
			t.Error(err)
		}
		if _, _, err := decodeTile(0, raw, zipped, int64(len(one))-1, nil); !errors.Is(err, ErrTooLarge) {
			t.Errorf("%v, want ErrTooLarge", err)
		}
	}
}
