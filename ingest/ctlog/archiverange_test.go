package ctlog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"ctappliance/ingest/ctlog/ctlogtest"
)

// TestRemoteArchiveMisbehaves: servers that do not serve ranges, serve others,
// change the file, send us on.
func TestRemoteArchiveMisbehaves(t *testing.T) {
	l := archived()[ctlogtest.RFC6962]
	dir := strings.TrimPrefix(writeArchive(t, l, "numbered zip", ctlogtest.ArchiveOptions{}), "file://")
	plain := http.FileServer(http.Dir(dir))
	var redirects atomic.Int32
	other := httptest.NewServer(plain)
	defer other.Close()
	for _, c := range []struct {
		name string
		h    http.HandlerFunc
		want string
	}{
		{"no ranges", func(w http.ResponseWriter, r *http.Request) {
			r.Header.Del("Range")
			plain.ServeHTTP(w, r)
		}, "download the archive"},
		{"another range", func(w http.ResponseWriter, r *http.Request) {
			r.Header.Set("Range", "bytes=5-9")
			plain.ServeHTTP(w, r)
		}, "asked for|too large"},
		{"no Content-Range", func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusPartialContent)
			w.Write([]byte("x"))
		}, "not understood"},
		{"less than the range", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Range", "bytes 0-0/10000000000000")
			w.WriteHeader(http.StatusPartialContent)
			w.Write([]byte("x"))
		}, "asked for"},
		{"an endless range", func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusPartialContent)
			for range 100 {
				if _, err := w.Write(make([]byte, 1<<20)); err != nil {
					return
				}
			}
		}, "too large"},
		{"another file each time", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("ETag", fmt.Sprintf(`"%d"`, time.Now().UnixNano()))
			plain.ServeHTTP(w, r)
		}, "not the file that it was"},
		{"gone", http.NotFound, "404"},
		{"redirect", func(w http.ResponseWriter, r *http.Request) {
			redirects.Add(1)
			http.Redirect(w, r, other.URL+r.URL.Path, http.StatusFound)
		}, ""},
		{"endless redirects", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, r.URL.Path, http.StatusFound)
		}, "redirects"},
		{"redirect to a file", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "file:///etc/passwd", http.StatusFound)
		}, "not https"},
		{"redirect to plain http elsewhere", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://archive.example.net/", http.StatusFound)
		}, "not https"},
	} {
		t.Run(c.name, func(t *testing.T) {
			srv := httptest.NewServer(c.h)
			defer srv.Close()
			log := openArchive(t, archiveInfo(l, srv.URL+"/000.zip"), Options{UserAgent: testUA, AllowPrivate: true})
			if c.want == "" {
				copyArchive(t, l, log)
				if n := redirects.Load(); n != 1 {
					t.Errorf("%d redirects: where the first one led is not remembered", n)
				}
				return
			}
			h, err := log.Head(t.Context())
			if err == nil {
				t.Fatalf("%+v", h)
			}
			for want := range strings.SplitSeq(c.want, "|") {
				if strings.Contains(err.Error(), want) {
					return
				}
			}
			t.Errorf("%v, want %q", err, c.want)
		})
	}
}

// TestRemoteArchiveCancelled: whoever stops waiting is let go, and does not
// take the others with him.
func TestRemoteArchiveCancelled(t *testing.T) {
	begun, release := make(chan struct{}, 100), make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		begun <- struct{}{}
		select {
		case <-release:
		case <-r.Context().Done():
			return
		}
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(make([]byte, 3*blockBytes)))
	}))
	defer srv.Close()
	log := openArchive(t, archiveInfo(archived()[ctlogtest.RFC6962], srv.URL+"/a.zip"), Options{UserAgent: testUA, AllowPrivate: true})
	g := log.(*archiveLog).c.(*archiveGetter).f.(*zipSet)
	r, err := g.open(t.Context(), ClassData, "a.zip")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	first := make(chan error, 1)
	go func() { first <- r.readAt(ctx, ClassData, make([]byte, 10), 5) }()
	<-begun
	second := make(chan error, 1)
	go func() { second <- r.readAt(t.Context(), ClassData, make([]byte, 10), 7) }()
	cancel()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	close(release)
	if err := <-second; err != nil {
		t.Errorf("%v", err)
	}
}

// TestNoKeepAlive: a connection per request, also on a shared transport.
func TestNoKeepAlive(t *testing.T) {
	for _, off := range []bool{false, true} {
		for _, shared := range []bool{false, true} {
			l := newFakeLog(t, 5, true)
			connections := 0
			srv := httptest.NewUnstartedServer(l)
			srv.Config.ConnState = func(_ net.Conn, s http.ConnState) {
				if s == http.StateNew {
					connections++
				}
			}
			srv.Start()
			o := Options{UserAgent: testUA, AllowPrivate: true, NoKeepAlive: off}
			if shared {
				o.Transport = NewTransport(true, true)
			}
			c, err := New(Info{Key: l.spki, Kind: RFC6962, URL: srv.URL}, o)
			if err != nil {
				t.Fatal(err)
			}
			for range 3 {
				if _, err := c.Head(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			srv.Close()
			if want := map[bool]int{false: 1, true: 3}[off]; connections != want {
				t.Errorf("NoKeepAlive %v, shared %v: %d connections, want %d", off, shared, connections, want)
			}
		}
	}
}
