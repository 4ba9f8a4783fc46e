package main

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"ctappliance/cmd/ctappliance/config"
	"ctappliance/ingest/ctlog"
	"ctappliance/ingest/ctlog/ctlogtest"
)

// A real question to a log: one that serves tiles is found, one that does not
// is not, neither is asked where little is wanted, and an answer is believed.
func TestTilesAreAsked(t *testing.T) {
	for _, mirror := range []bool{true, false} {
		l, err := ctlogtest.New(ctlogtest.Options{Kind: ctlogtest.RFC6962, Size: 600, Mirror: mirror})
		if err != nil {
			t.Fatal(err)
		}
		requests := 0
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			requests++ // one at a time
			l.Handler().ServeHTTP(w, r)
		}))
		defer server.Close()
		c := &settings{Config: *config.Default()}
		c.AllowPrivate = true
		h := newHosts(c)
		info := ctlog.Info{ID: l.ID(), Key: l.Key(), Name: "log", URL: server.URL + "/"}
		book := loadTiles(t.TempDir(), c.logger(t.Output()))
		want := ""
		if mirror {
			want = info.URL
		}
		if got := book.find(t.Context(), h, info, 100); got != "" || requests != 0 {
			t.Errorf("100 entries: %q after %d requests", got, requests)
		}
		if got := book.find(t.Context(), h, info, tileBacklog); got != want || requests == 0 || requests > 5 {
			t.Errorf("mirror %v: %q after %d requests", mirror, got, requests)
		}
		before := requests
		if got := book.find(t.Context(), h, info, tileBacklog); got != want || requests != before {
			t.Errorf("mirror %v: %q after %d more requests", mirror, got, requests-before)
		}
		dir := t.TempDir()
		book.save(dir, c.logger(t.Output()))
		again := loadTiles(dir, c.logger(t.Output()))
		if got := again.find(t.Context(), h, info, tileBacklog); got != want || requests != before {
			t.Errorf("mirror %v: %q in another life, after %d more requests", mirror, got, requests-before)
		}
		info.Kind = ctlog.Static
		if got := again.find(t.Context(), h, info, tileBacklog); got != "" {
			t.Errorf("a static log's tiles at %q", got)
		}
	}
}
