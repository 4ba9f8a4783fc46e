package ctlogtest

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// fromHere reports whether a request comes from this machine and was meant for
// it: a web page elsewhere cannot use a visitor's browser to get in (DNS
// rebinding), because the Host it sends is its own.
func fromHere(r *http.Request) bool {
	if r.RemoteAddr != "" { // empty: a handler called without a network
		host, _, err := net.SplitHostPort(r.RemoteAddr)
		if err != nil || !net.ParseIP(host).IsLoopback() {
			return false
		}
	}
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback() || r.RemoteAddr == ""
}

// control serves what is below /demo/: see the package documentation.
func (l *Log) control(w http.ResponseWriter, r *http.Request, path string) {
	if !fromHere(r) {
		http.Error(w, "only from this machine, by a loopback address", http.StatusForbidden)
		return
	}
	post := path == "grow" || path == "faults" || path == "limit" || path == "reset"
	if post && r.Method != http.MethodPost && !(r.Method == http.MethodGet && path == "faults") {
		w.Header().Set("Allow", "POST")
		http.Error(w, "want POST", http.StatusMethodNotAllowed)
		return
	}
	q := r.URL.Query()
	switch path {
	case "stats":
		reply(w, l.Stats())
	case "served":
		from, to, err := l.window(q)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		reply(w, l.summary(from, to, q.Get("counts") != ""))
	case "index-set":
		from, to, err := l.window(q)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		reply(w, map[string]any{"from": from, "to": to, "size": l.Size(), "digest": fmt.Sprintf("%x", l.IndexSet(from, to))})
	case "leaves":
		from, to, err := l.window(q)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/octet-stream")
		t := l.snapshot()
		for _, h := range t.levels[0][from:to] {
			if _, err := w.Write(h[:]); err != nil {
				return
			}
		}
	case "grow":
		n, err := strconv.ParseUint(q.Get("n"), 10, 64)
		if err != nil || n > 10_000_000 {
			http.Error(w, "want n between 0 and 10000000", http.StatusBadRequest)
			return
		}
		if err := l.Grow(n); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		reply(w, l.Stats())
	case "faults":
		if r.Method == http.MethodPost {
			var faults []Fault
			if err := decode(r, &faults); err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
			if err := l.faults.Set(faults...); err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
		}
		reply(w, l.faults.Armed())
	case "limit":
		var limit *RateLimit
		err := decode(r, &limit)
		if err == nil {
			err = l.faults.SetLimit(limit)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		reply(w, limit)
	case "reset":
		l.ResetStats()
		reply(w, l.Stats())
	default:
		http.NotFound(w, r)
	}
}

func reply(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.Encode(v)
}

func decode(r *http.Request, v any) error { return strictly(io.LimitReader(r.Body, 1<<20), v) }

// strictly decodes JSON and refuses what it does not know, so that a misspelt
// fault is not a fault that never strikes.
func strictly(r io.Reader, v any) error {
	d := json.NewDecoder(r)
	d.DisallowUnknownFields()
	return d.Decode(v)
}

// interval is a duration in JSON: "1.5s", or nanoseconds.
type interval time.Duration

func (i *interval) UnmarshalJSON(b []byte) error {
	var s string
	if json.Unmarshal(b, &s) != nil {
		return json.Unmarshal(b, (*int64)(i))
	}
	d, err := time.ParseDuration(s)
	*i = interval(d)
	return err
}

// UnmarshalJSON reads durations in both spellings.
func (f *Fault) UnmarshalJSON(b []byte) error {
	type plain Fault
	v := struct {
		*plain
		RetryIn interval `json:"retry_in"`
		Delay   interval `json:"delay"`
	}{plain: (*plain)(f)}
	err := strictly(bytes.NewReader(b), &v)
	f.RetryIn, f.Delay = time.Duration(v.RetryIn), time.Duration(v.Delay)
	return err
}

// UnmarshalJSON reads durations in both spellings.
func (l *RateLimit) UnmarshalJSON(b []byte) error {
	type plain RateLimit
	v := struct {
		*plain
		Penalty interval `json:"penalty"`
	}{plain: (*plain)(l)}
	err := strictly(bytes.NewReader(b), &v)
	l.Penalty = time.Duration(v.Penalty)
	return err
}

// window reads from and to; they default to the whole log and are cut to it.
func (l *Log) window(q url.Values) (from, to uint64, err error) {
	size := l.Size()
	to = size
	if s := q.Get("from"); s != "" {
		if from, err = strconv.ParseUint(s, 10, 64); err != nil {
			return 0, 0, fmt.Errorf("from: not an index: %q", s)
		}
	}
	if s := q.Get("to"); s != "" {
		if to, err = strconv.ParseUint(s, 10, 64); err != nil {
			return 0, 0, fmt.Errorf("to: not an index: %q", s)
		}
	}
	to = min(to, size)
	return min(from, to), to, nil
}

// servedSummary is the answer of /demo/served.
type servedSummary struct {
	From   uint64      `json:"from"`
	To     uint64      `json:"to"`
	Never  uint64      `json:"never"`            // entries not served yet
	Once   uint64      `json:"once"`             // entries served exactly once
	More   uint64      `json:"more"`             // entries served more often
	Most   uint8       `json:"most"`             // highest count, 255 for that or more
	Gaps   [][2]uint64 `json:"gaps"`             // the first 100 ranges never served
	Again  [][2]uint64 `json:"again"`            // the first 100 ranges served more than once
	Counts []int       `json:"counts,omitempty"` // per entry, if asked with counts=1
}

func (l *Log) summary(from, to uint64, counts bool) servedSummary {
	s := servedSummary{From: from, To: to, Gaps: [][2]uint64{}, Again: [][2]uint64{}}
	note := func(ranges [][2]uint64, i uint64) [][2]uint64 {
		if n := len(ranges); n > 0 && ranges[n-1][1] == i {
			ranges[n-1][1]++
		} else if n < 100 {
			ranges = append(ranges, [2]uint64{i, i + 1})
		}
		return ranges
	}
	for k, c := range l.Served(from, to) {
		i := from + uint64(k)
		switch {
		case c == 0:
			s.Never++
			s.Gaps = note(s.Gaps, i)
		case c == 1:
			s.Once++
		default:
			s.More++
			s.Again = note(s.Again, i)
		}
		s.Most = max(s.Most, c)
		if counts {
			s.Counts = append(s.Counts, int(c))
		}
	}
	return s
}

// IndexSet returns a digest of what the log holds in [from, to): SHA-256 over
// each index, as 8 bytes big-endian, followed by its leaf hash. Whoever has
// stored index and leaf hash can compute the same.
func (l *Log) IndexSet(from, to uint64) [32]byte {
	t := l.snapshot()
	h := sha256.New()
	var b [40]byte
	for i := from; i < min(to, t.size()); i++ {
		binary.BigEndian.PutUint64(b[:], i)
		copy(b[8:], t.levels[0][i][:])
		h.Write(b[:])
	}
	return [32]byte(h.Sum(nil))
}
