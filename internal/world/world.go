package world

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"ctappliance/ingest/ctlog/ctlogtest"
)

// Options say what world to make.
type Options struct {
	List   []byte // log list v3, as it is served at first
	Update []byte // and later; nil: it stays as it is

	Seed    uint64
	Scale   float64       // growth here by growth in the world
	History time.Duration // of growth that a log has behind it when the world begins
	Resting uint64        // entries of logs that no longer grow; default 1000

	// Plain is the share of entries that are one of a few certificates: they
	// cost nothing to make.
	Plain float64

	// CacheBytes bounds what each log keeps of what it has made; default 4 MiB.
	CacheBytes int64
}

// World is all logs, their hosts and their list. All methods may be called
// concurrently.
type World struct {
	o     Options
	logs  []*Log
	hosts map[string]*Host // by the name under which they are asked
	real  map[string]*Host // by the name in the lists
	key   *ecdsa.PrivateKey

	byReal map[string]*Log   // by the log ID of the real log, base64
	names  map[string]string // descriptions in the newest list, likewise

	mu      sync.Mutex
	list    []byte
	sig     []byte
	fetched int            // of the list
	strays  map[string]int // requests to hosts that are none of ours
}

// plainCount is how many certificates stand for Options.Plain.
const plainCount = 24

// New makes the world as of now, and publishes the first list. Its logs are
// asked through [World.Transport], or, after [World.Listen], on the loopback
// interface.
func New(o Options) (*World, error) {
	if o.Resting == 0 {
		o.Resting = 1000
	}
	if o.CacheBytes == 0 {
		o.CacheBytes = 4 << 20
	}
	if o.Scale <= 0 || o.Plain < 0 || o.Plain > 1 {
		return nil, fmt.Errorf("world: a scale of %v and a plain share of %v make none", o.Scale, o.Plain)
	}
	w := &World{o: o, hosts: map[string]*Host{}, real: map[string]*Host{}, byReal: map[string]*Log{}, names: map[string]string{}, strays: map[string]int{}}
	var err error
	if w.key, err = newListKey(); err != nil {
		return nil, err
	}
	authorities, err := ctlogtest.NewCorpus(ctlogtest.CorpusOptions{Seed: o.Seed})
	if err != nil {
		return nil, err
	}
	var plain [][]byte
	for i := uint64(0); len(plain) < plainCount; i++ {
		if e := authorities.Entry(i); !e.Precert {
			plain = append(plain, e.Body)
		}
	}
	_, before, err := parse(o.List)
	if err != nil {
		return nil, err
	}
	after := before
	if o.Update != nil {
		if _, after, err = parse(o.Update); err != nil {
			return nil, err
		}
	}
	later := map[string]bool{}
	for _, e := range after {
		later[e.identity()] = true
	}
	for _, e := range append(slices.Clone(before), after...) {
		if w.byReal[e.identity()] != nil || isDecoy(e) {
			continue
		}
		l, err := w.newLog(e, later[e.identity()], authorities, plain)
		if err != nil {
			return nil, err
		}
		w.byReal[e.identity()] = l
		w.logs = append(w.logs, l)
	}
	if len(w.Of(Moved)) > 0 {
		w.host(movedHost)
	}
	return w, w.Renew()
}

// Renew publishes the first list again, as of now and with the hosts' present
// addresses.
func (w *World) Renew() error {
	list, err := w.rewrite(w.o.List, true, time.Now())
	if err != nil {
		return err
	}
	return w.publish(list)
}

func isDecoy(e listed) bool { return strings.Contains(e.address(), ".example.com/") }

func (w *World) newLog(e listed, stays bool, authorities *ctlogtest.Corpus, plain [][]byte) (*Log, error) {
	name := e.text("description")
	perSecond, page := rate(name)
	l := &Log{Name: name, Operator: e.operator, Role: roles[name], Rate: perSecond * w.o.Scale, Static: e.tiled}
	switch state := e.state(); {
	case l.Role != Steady:
	case state == "retired" || state == "rejected" || state == "pending":
		l.Role = Retired
	case state == "readonly":
		l.Role = Closed
	case !stays:
		l.Role = Dropped
	case l.Rate == 0:
		l.Role = Idle
	}
	now := time.Now()
	corpus := ctlogtest.CorpusOptions{Seed: w.o.Seed + uint64(len(w.logs)+1)<<16, Authorities: authorities, CacheBytes: w.o.CacheBytes, Odd: plain, OddShare: w.o.Plain}
	size := uint64(0)
	switch l.Role {
	case Retired, Closed, Dropped:
		l.Rate, size = 0, w.o.Resting
	case Idle:
		size = []uint64{0, 1, 7, 300}[len(w.logs)%4]
	}
	if l.Rate == 0 {
		corpus.Step = time.Minute
		l.began = now.Add(-time.Duration(size+4) * time.Minute)
	} else {
		corpus.Step = time.Duration(float64(time.Second) / l.Rate)
		l.began = now.Add(-w.o.History)
	}
	if l.Role == Appearing {
		l.began = now // it is new
	}
	corpus.Start = l.began
	c, err := ctlogtest.NewCorpus(corpus)
	if err != nil {
		return nil, err
	}
	l.o = ctlogtest.Options{Name: name, Seed: w.o.Seed, Corpus: c, Size: size, PageSize: page, CacheBytes: w.o.CacheBytes}
	if l.Rate > 0 {
		l.o.Size = l.due(now)
	}
	if e.tiled {
		host, path, err := address(e.text("submission_url"))
		if err != nil {
			return nil, err
		}
		l.o.Kind, l.o.Origin = ctlogtest.Static, strings.TrimSuffix(host+path, "/")
	}
	if l.log, err = ctlogtest.New(l.o); err != nil {
		return nil, fmt.Errorf("making %s: %w", name, err)
	}
	l.ID, l.signed = l.log.ID(), now
	host, path, err := address(e.address())
	if err != nil {
		return nil, err
	}
	l.host, l.path = w.host("https://"+host), path
	l.host.mounts[path] = l
	return l, nil
}

// host returns the host at a URL of the lists.
func (w *World) host(base string) *Host {
	name := strings.TrimPrefix(base, "https://")
	h := w.real[name]
	if h == nil {
		h = &Host{Name: name, Limit: hosts[name].limit, latency: hosts[name].latency, base: base, mounts: map[string]*Log{}}
		w.real[name], w.hosts[name] = h, h
	}
	return h
}

// Logs returns all logs, in the order of the lists.
func (w *World) Logs() []*Log { return w.logs }

// Hosts returns all hosts, by name.
func (w *World) Hosts() []*Host {
	var out []*Host
	for _, h := range w.real {
		out = append(out, h)
	}
	slices.SortFunc(out, func(a, b *Host) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// Count returns what all hosts were asked so far.
func (w *World) Count() Counts {
	var sum Counts
	for _, h := range w.real {
		sum.add(h.Count())
	}
	return sum
}

// Of returns the logs with a role.
func (w *World) Of(r Role) []*Log {
	var out []*Log
	for _, l := range w.logs {
		if l.Role == r {
			out = append(out, l)
		}
	}
	return out
}

// Update publishes the second list: see the package documentation.
func (w *World) Update() error {
	if w.o.Update == nil {
		return errors.New("world: there is no update of the list")
	}
	now := time.Now()
	for _, l := range w.logs {
		switch l.Role {
		case Retiring, Dropped:
			l.stop(now)
		case Moved:
			w.move(l)
		}
	}
	for _, l := range w.Of(Retiring) {
		if err := l.advance(now); err != nil { // the final head is of all that it took
			return err
		}
	}
	list, err := w.rewrite(w.o.Update, false, now)
	if err != nil {
		return err
	}
	return w.publish(list)
}

// move gives a log another address, where nobody has been before.
func (w *World) move(l *Log) {
	to, served := w.real[strings.TrimPrefix(movedHost, "https://")], l.Served()
	l.mu.Lock()
	l.before = served
	from, path := l.host, l.path
	l.host, l.path = to, movedPath
	l.mu.Unlock()
	from.mu.Lock()
	delete(from.mounts, path)
	from.mu.Unlock()
	to.mu.Lock()
	to.mounts[movedPath] = l
	to.mu.Unlock()
}

// Run lets the acts happen, spread over a time, and returns after it, or when
// ctx ends.
func (w *World) Run(ctx context.Context, over time.Duration) error {
	began := time.Now()
	for _, act := range []struct {
		part float64
		do   func() error
	}{
		{1. / 6, func() error { w.each(Gone, func(l *Log) { l.vanish(time.Now()) }); return nil }},
		{1. / 4, w.lie},
		{2. / 5, func() error { w.each(Retiring, func(l *Log) { l.stop(time.Now()) }); return nil }},
		{1. / 2, w.Update},
		{1, func() error { return nil }},
	} {
		select {
		case <-time.After(time.Until(began.Add(time.Duration(act.part * float64(over))))):
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := act.do(); err != nil {
			return err
		}
	}
	return nil
}

func (w *World) each(r Role, do func(*Log)) {
	for _, l := range w.Of(r) {
		do(l)
	}
}

func (w *World) lie() error {
	for _, l := range w.Of(Lying) {
		if err := l.lie(ctlogtest.CorpusOptions{Seed: w.o.Seed, Start: l.began, Step: time.Duration(float64(time.Second) / l.Rate)}); err != nil {
			return err
		}
	}
	return nil
}

// Freeze ends the growth of all logs: what they have is what there is.
func (w *World) Freeze() error {
	now := time.Now()
	for _, l := range w.logs {
		l.stop(now)
		if l.Role != Lying {
			if err := l.advance(now); err != nil {
				return err
			}
		}
	}
	return nil
}

// Strays returns the requests, by URL, that went to hosts that are none of
// the world's.
func (w *World) Strays() map[string]int {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := map[string]int{}
	for k, n := range w.strays {
		out[k] = n
	}
	return out
}

// Fetched is how often the list was asked for.
func (w *World) Fetched() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.fetched
}

// serveList serves the list and its signature.
func (w *World) serveList(rw http.ResponseWriter, r *http.Request) {
	list, sig := w.List()
	switch {
	case strings.HasSuffix(r.URL.Path, "/log_list.json"):
		w.mu.Lock()
		w.fetched++
		w.mu.Unlock()
		rw.Header().Set("Content-Type", "application/json")
		rw.Write(list)
	case strings.HasSuffix(r.URL.Path, "/log_list.sig"):
		rw.Write(sig)
	default:
		http.NotFound(rw, r)
	}
}
