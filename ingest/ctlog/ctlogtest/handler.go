package ctlogtest

import (
	"encoding/base64"
	"net/http"
	"strings"
	"time"
)

// answer is what a log has to say before faults of transport strike it.
type answer struct {
	status   int
	ctype    string
	cache    string
	gzip     bool
	body     [][]byte // sent one after the other
	from, to uint64   // entries that it holds
}

func text(status int, s string) answer {
	return answer{status: status, ctype: "text/plain; charset=utf-8", body: [][]byte{[]byte(s + "\n")}}
}

// operation is a request that was understood: its class, the entries that it
// touches and how to answer it.
type operation struct {
	class    Class
	from, to uint64
	run      func(drawn) answer
}

func b64(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

// Handler serves the log's read API at the root, /log_list.json and, to
// clients on this machine, the oracle and controls under /demo/. Mount it
// elsewhere with http.StripPrefix.
func (l *Log) Handler() http.Handler { return http.HandlerFunc(l.serve) }

func (l *Log) serve(w http.ResponseWriter, r *http.Request) {
	path := r.URL.Path
	if rest, ok := strings.CutPrefix(path, "/demo/"); ok {
		l.control(w, r, rest)
		return
	}
	if path == "/log_list.json" {
		w.Header().Set("Content-Type", "application/json")
		w.Write(LogList(l.Info(base(r))))
		return
	}
	var op operation
	ok := false
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		if l.o.Kind == Static {
			op, ok = l.routeStatic(path)
		} else {
			op, ok = l.routeRFC6962(r)
		}
	}
	if !ok {
		http.NotFound(w, r)
		return
	}
	l.count.begin(op.class)
	status, n, a := 0, int64(0), answer{}
	defer func() { l.count.end(op.class, status, n, a.from, a.to) }() // also if a fault ends the handler
	if retry, ok := l.faults.admit(r, op.class); !ok {
		a = text(http.StatusTooManyRequests, "too many requests")
		if retry != "" {
			w.Header().Set("Retry-After", retry)
		}
		status, n = l.send(w, r, a, nil)
		return
	}
	d := l.faults.draw(r, op.class, op.from, op.to)
	if f, ok := d[Latency]; ok && !pause(r.Context(), f.delay(0)) {
		return
	}
	if f, ok := d[SlowHeader]; ok {
		sendSlowHeader(w, r.Context(), f.delay(time.Second))
		reset(w)
		return
	}
	if _, ok := d[HangUp]; ok {
		hangUp(w)
		return
	}
	if instead, ok := l.instead(w, r, d); ok {
		a = instead
	} else {
		a = l.tamper(op.run(d), d)
	}
	if r.Method == http.MethodHead {
		a.to = a.from
	}
	status, n = l.send(w, r, a, d)
}

// base returns the URL at which the handler is mounted, as the client sees it.
func base(r *http.Request) string {
	prefix, _, _ := strings.Cut(r.RequestURI, "?")
	scheme := "http://"
	if r.TLS != nil {
		scheme = "https://"
	}
	return scheme + r.Host + strings.TrimSuffix(prefix, r.URL.Path) + "/"
}
