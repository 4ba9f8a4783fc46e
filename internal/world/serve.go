package world

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"syscall"
	"time"

	"ctappliance/ingest/ctlog/ctlogtest"
)

// listHost is where the list is in memory, as in the world.
const (
	listHost = "www.gstatic.com"
	listPath = "/ct/log_list/v3/log_list.json"
	sigPath  = "/ct/log_list/v3/log_list.sig"
)

// Transport returns a RoundTripper to all hosts of the world, without a
// network: for testing/synctest bubbles. A host that is none of the world's
// does not answer.
func (w *World) Transport() http.RoundTripper { return transport{w} }

type transport struct{ w *World }

func (t transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Host == listHost {
		return ctlogtest.Transport(http.HandlerFunc(t.w.serveList)).RoundTrip(r)
	}
	h := t.w.hosts[r.URL.Host]
	if h == nil {
		t.w.mu.Lock()
		defer t.w.mu.Unlock()
		t.w.strays[r.URL.String()]++
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	}
	return ctlogtest.Transport(h).RoundTrip(r)
}

// Listen has the hosts answer on the loopback interface until ctx ends, each
// at an address of its own, and publishes the first list anew, with these
// addresses. It is called once.
func (w *World) Listen(ctx context.Context) (listURL, sigURL string, err error) {
	n := 0
	listen := func(h http.Handler) (string, error) {
		n++
		var lc net.ListenConfig
		l, err := lc.Listen(ctx, "tcp4", fmt.Sprintf("127.83.%d.%d:0", n/200, 1+n%200))
		if err != nil {
			return "", fmt.Errorf("listening for the world: %w", err)
		}
		server := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute}
		go server.Serve(l)
		context.AfterFunc(ctx, func() { server.Close() })
		return "http://" + l.Addr().String(), nil
	}
	for _, h := range w.Hosts() {
		if h.base, err = listen(h); err != nil {
			return "", "", err
		}
	}
	base, err := listen(http.HandlerFunc(w.serveList))
	if err != nil {
		return "", "", err
	}
	return base + listPath, base + sigPath, w.Renew()
}

// ListURL and SigURL are where the list is in memory.
const (
	ListURL = "https://" + listHost + listPath
	SigURL  = "https://" + listHost + sigPath
)
