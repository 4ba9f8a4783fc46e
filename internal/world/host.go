package world

import (
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Host is a rate domain: one or several logs behind one limit.
type Host struct {
	Name  string // of the real list
	Limit *Limit // nil: none

	latency [2]time.Duration
	base    string // URL without a path

	mu     sync.Mutex
	mounts map[string]*Log // by path, which begins and ends in "/"
	full   time.Time       // when the bucket is full again
	count  Counts
}

// Counts is what a host or a log was asked.
type Counts struct {
	Requests uint64 // all
	Heads    uint64 // of them polls of the head
	Refused  uint64 // of them answered with 429
	Lost     uint64 // of them not answered, or by an address that nobody has any more
}

func (c *Counts) add(o Counts) {
	c.Requests += o.Requests
	c.Heads += o.Heads
	c.Refused += o.Refused
	c.Lost += o.Lost
}

// Count returns what the host was asked so far.
func (h *Host) Count() Counts {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.count
}

// URL is where the host answers, without a path.
func (h *Host) URL() string { return h.base }

func isHead(path string) bool {
	return strings.HasSuffix(path, "/ct/v1/get-sth") || strings.HasSuffix(path, "/checkpoint")
}

func isData(path string) bool {
	return strings.HasSuffix(path, "/ct/v1/get-entries") || strings.Contains(path, "/tile/data/")
}

// find returns the log below whose address a path lies.
func (h *Host) find(path string) (*Log, string) {
	for at, l := range h.mounts {
		if strings.HasPrefix(path, at) {
			return l, at
		}
	}
	return nil, ""
}

// admit takes a request from the bucket, or says how long to wait. h.mu is
// held.
func (h *Host) admit(now time.Time) (wait time.Duration, ok bool) {
	gap := time.Duration(float64(time.Second) / h.Limit.Rate)
	full := h.full
	if full.Before(now) {
		full = now
	}
	full = full.Add(gap)
	if over := full.Sub(now) - time.Duration(h.Limit.Burst)*gap; over > 0 {
		return over, false
	}
	h.full = full
	return 0, true
}

// ServeHTTP implements http.Handler.
func (h *Host) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	now, one := time.Now(), Counts{Requests: 1}
	if isHead(r.URL.Path) {
		one.Heads = 1
	}
	h.mu.Lock()
	l, at := h.find(r.URL.Path)
	refused, wait := false, time.Duration(0)
	if h.Limit != nil && !(h.Limit.SpareHeads && one.Heads > 0) {
		var ok bool
		if wait, ok = h.admit(now); !ok {
			refused, one.Refused = true, 1
		}
	}
	if l == nil || l.isGone() {
		one.Lost = 1
	}
	h.count.add(one)
	h.mu.Unlock()
	if l != nil {
		l.note(one)
	}
	switch {
	case l != nil && l.isGone():
		panic(http.ErrAbortHandler) // the connection ends without a word
	case refused:
		h.refuse(w, now, wait)
		return
	case l == nil:
		http.NotFound(w, r)
		return
	}
	if isData(r.URL.Path) && h.latency[1] > 0 {
		select {
		case <-time.After(h.latency[0] + rand.N(h.latency[1]-h.latency[0])):
		case <-r.Context().Done():
			panic(http.ErrAbortHandler)
		}
	}
	if one.Heads > 0 {
		if err := l.advance(now); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
	}
	http.StripPrefix(strings.TrimSuffix(at, "/"), l.current().Handler()).ServeHTTP(w, r)
}

func (h *Host) refuse(w http.ResponseWriter, now time.Time, wait time.Duration) {
	switch h.Limit.RetryAfter {
	case "seconds":
		w.Header().Set("Retry-After", seconds(wait))
	case "utc":
		w.Header().Set("Retry-After", now.Add(wait+time.Second).UTC().Format(time.RFC1123))
	}
	w.WriteHeader(http.StatusTooManyRequests)
	if !h.Limit.EmptyBody {
		w.Write([]byte("Too many requests\n"))
	}
}
