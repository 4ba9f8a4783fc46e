package ctlog

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestHybrid(t *testing.T) {
	l := newFakeLog(t, 600, false) // no leaf_index, as an RFC 6962 log
	srv := httptest.NewServer(l)
	t.Cleanup(srv.Close)
	c, err := New(Info{Key: l.spki, Kind: RFC6962, URL: srv.URL, TileURL: srv.URL}, Options{UserAgent: testUA, AllowPrivate: true})
	if err != nil {
		t.Fatal(err)
	}
	// The second tile is not there yet.
	l.set("tile/data/001", http.NotFound)
	h, err := c.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var f Frontier
	for next := uint64(0); next < h.Size; {
		end, ok := c.Plan(next, h.Size, h.Size, false)
		if !ok || end > next-next%256+256 && next < 512 {
			t.Fatalf("planned [%d,%d)", next, end)
		}
		b, err := c.Entries(t.Context(), next, end, h.Size)
		if err != nil {
			t.Fatal(err)
		}
		l.check(t, b, int(next), int(end-next))
		if (b.Tile != nil) != (next == 0) {
			t.Errorf("at %d: tile %v", next, b.Tile != nil)
		}
		for _, e := range b.Entries {
			f.Append(LeafHash(e.Leaf), nil)
			if _, err := c.Issuer(t.Context(), e.Chain[0]); err != nil {
				t.Fatal(err)
			}
		}
		next = end
	}
	if f.Root() != h.Root {
		t.Error("root differs")
	}
	if g, err := c.Frontier(t.Context(), h.Size, h); err != nil || !g.Equal(&f) {
		t.Errorf("frontier: %v", err)
	}
	for _, r := range l.seen() {
		if strings.HasPrefix(r, "tile/") && !strings.HasPrefix(r, "tile/data/00") || strings.Contains(r, ".p/") {
			t.Errorf("asked for %s", r)
		}
	}
	if _, err := New(Info{Key: l.spki, URL: "https://a.b/", TileURL: "ftp://x/"}, Options{UserAgent: testUA}); err == nil {
		t.Error("accepted an odd TileURL")
	}
}
