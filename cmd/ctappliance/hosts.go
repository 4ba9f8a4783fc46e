package main

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"sync"

	"ctappliance/cmd/ctappliance/config"
	"ctappliance/ingest/ctlog"
	"ctappliance/ingest/pace"
)

// hint is what is known of the hosts of a domain beforehand: what their
// operators have asked for, or what everybody has met there. It says where to
// begin, never how far to go; limits in the configuration overrule it.
type hint struct {
	domain      string  // the host itself, or all below it
	start       float64 // requests per second to begin with; 0 = the pacer's default
	noKeepAlive bool    // a connection per request
}

// hints is the only place where hosts are treated by name.
var hints = []hint{
	// DigiCert asked monitors to do without persistent connections (ct-policy,
	// May 2026), and was seen to refuse one request per second without saying how
	// long to wait, at times all beyond one in six seconds.
	{domain: "digicert.com", start: 0.25, noKeepAlive: true},
}

// loopbackStart is the rate, in requests per second, at which a log on this
// machine is asked at first: it is its owner's, and needs no slow approach.
const loopbackStart = 1000

func hintFor(hostname string) hint {
	hostname = strings.ToLower(strings.TrimSuffix(hostname, "."))
	if config.IsLoopback(hostname) {
		return hint{start: loopbackStart}
	}
	for _, h := range hints {
		if hostname == h.domain || strings.HasSuffix(hostname, "."+h.domain) {
			return h
		}
	}
	return hint{}
}

// hosts is whom the appliance asks, over its whole life: one pacer for each
// host and one for each operator that has a limit of its own, also across
// reloads, and the clients of logs. A client is made anew only where something
// about it has changed, because the pipeline takes another client for another
// log and starts its requests over.
type hosts struct {
	mu         sync.Mutex
	c          *settings // in force
	byHost     map[string]*pace.Pacer
	byOperator map[string]*pace.Pacer
	shares     map[shareKey]ctlog.Pacer
	clients    map[ctlog.Hash]*madeClient
	transports map[transportKey]*http.Transport
	learnt     map[string]pace.State // by hosts, in former lives and in this
	kinds      map[probed]ctlog.Kind // what logs answered when they were asked for their protocol
}

type probed struct {
	log ctlog.Hash
	url string
}

type shareKey struct {
	host string
	log  ctlog.Hash
}

// transportKey is what connections may be shared by.
type transportKey struct {
	host                    string
	allowPrivate, keepAlive bool
}

// madeClient is a client with what it was made of.
type madeClient struct {
	from   clientParts
	client ctlog.Log
}

type clientParts struct {
	info         ctlog.Info
	agent        string
	maxBody      config.Size
	allowPrivate bool
	keepAlive    bool
	gate         *pace.Pacer // of the operator; nil = none
	access
}

// access is what only the user's own word for a log permits.
type access struct {
	file    bool // file: URLs
	archive bool // an https URL is a tile directory that was a log once
}

func newHosts(c *settings) *hosts {
	return &hosts{c: c, byHost: map[string]*pace.Pacer{}, byOperator: map[string]*pace.Pacer{}, shares: map[shareKey]ctlog.Pacer{},
		clients: map[ctlog.Hash]*madeClient{}, transports: map[transportKey]*http.Transport{}, learnt: map[string]pace.State{}, kinds: map[probed]ctlog.Kind{}}
}

// use puts another configuration in force: its limits hold for requests from
// now on, also of clients that are at work.
func (h *hosts) use(c *settings) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.c = c
	for host, p := range h.byHost {
		l := h.limit(host)
		p.SetLimits(l.MaxQPS, l.MaxInFlight)
	}
	for operator, p := range h.byOperator {
		l := h.operatorLimit(operator)
		p.SetLimits(l.MaxQPS, l.MaxInFlight)
	}
}

// hostOf returns the host of a URL with its port, and without.
func hostOf(rawURL string) (host, hostname string) {
	u, err := url.Parse(rawURL)
	if err != nil || u.Host == "" {
		return rawURL, rawURL
	}
	return strings.ToLower(u.Host), strings.ToLower(u.Hostname())
}

// limit is what the configuration says of a host, with or without its port.
func (h *hosts) limit(host string) config.LimitConfig {
	_, hostname := hostOf("https://" + host)
	for _, l := range h.c.Limits {
		if l.Host != "" && (strings.EqualFold(l.Host, host) || strings.EqualFold(l.Host, hostname)) {
			return l
		}
	}
	return config.LimitConfig{}
}

func (h *hosts) operatorLimit(operator string) config.LimitConfig {
	for _, l := range h.c.Limits {
		if l.Host == "" && operator != "" && strings.EqualFold(l.Operator, operator) {
			return l
		}
	}
	return config.LimitConfig{}
}

// pacer returns the pacer of a host. h.mu is held.
func (h *hosts) pacer(host string) *pace.Pacer {
	if known := h.byHost[host]; known != nil {
		return known
	}
	l := h.limit(host)
	_, hostname := hostOf("https://" + host)
	o := pace.Options{Start: hintFor(hostname).start, Max: l.MaxQPS, MaxInFlight: l.MaxInFlight}
	if l.StartQPS > 0 {
		o.Start = l.StartQPS
	}
	if state, ok := h.learnt[host]; ok {
		o.State = &state
	}
	p := pace.New(o)
	h.byHost[host] = p
	return p
}

// gate returns the turnstile of an operator that has a limit of its own, nil
// where there is none. h.mu is held.
func (h *hosts) gate(operator string) *pace.Pacer {
	l := h.operatorLimit(operator)
	if l.MaxQPS == 0 && l.MaxInFlight == 0 {
		return nil
	}
	key := strings.ToLower(operator)
	if known := h.byOperator[key]; known != nil {
		return known
	}
	p := pace.New(pace.Options{Start: gateStart(l), Max: l.MaxQPS, MaxInFlight: l.MaxInFlight})
	h.byOperator[key] = p
	return p
}

// gateStart lets an operator's turnstile begin where it may stay: it bounds,
// and has nothing to find out.
func gateStart(l config.LimitConfig) float64 {
	if l.MaxQPS > 0 {
		return l.MaxQPS
	}
	return 1e5
}

func (h *hosts) transport(host string, keepAlive bool) *http.Transport {
	key := transportKey{host, h.c.AllowPrivate, keepAlive}
	t := h.transports[key]
	if t == nil {
		t = ctlog.NewTransport(key.allowPrivate, keepAlive)
		h.transports[key] = t
	}
	return t
}

// client returns the client of a log and the pacer of its host.
func (h *hosts) client(info ctlog.Info, may access) (ctlog.Log, *pace.Pacer, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	parts, options, pacer := h.parts(info, may)
	if made := h.clients[info.ID]; made != nil && reflect.DeepEqual(made.from, parts) {
		return made.client, pacer, nil
	}
	l, err := ctlog.New(info, options)
	if err != nil {
		return nil, nil, err
	}
	h.clients[info.ID] = &madeClient{parts, l}
	return l, pacer, nil
}

// probeTiles asks an RFC 6962 log whether it serves tiles as well, and returns
// where; "" if it does not.
func (h *hosts) probeTiles(ctx context.Context, info ctlog.Info) (string, error) {
	h.mu.Lock()
	_, options, _ := h.parts(info, access{})
	h.mu.Unlock()
	url, err := ctlog.ProbeTiles(ctx, info, options)
	if errors.Is(err, ctlog.ErrNoTiles) {
		return "", nil
	}
	return url, err
}

// parts are what the client of a log is made of. h.mu is held.
func (h *hosts) parts(info ctlog.Info, may access) (clientParts, ctlog.Options, *pace.Pacer) {
	host, hostname := hostOf(info.URL)
	pacer := h.pacer(host)
	keepAlive := !hintFor(hostname).noKeepAlive
	if l := h.limit(host); l.KeepAlive == "on" || l.KeepAlive == "off" {
		keepAlive = l.KeepAlive == "on"
	}
	parts := clientParts{info, h.c.userAgent(), h.c.Fetch.MaxBody, h.c.AllowPrivate, keepAlive, h.gate(info.Operator), may}
	key := shareKey{host, info.ID}
	share := h.shares[key]
	if share == nil {
		share = pacer.Share()
		h.shares[key] = share
	}
	turnstile := share
	if parts.gate != nil {
		turnstile = gated{share, parts.gate}
	}
	return parts, ctlog.Options{UserAgent: parts.agent, Pacer: turnstile, MaxBody: int64(parts.maxBody),
		Transport: h.transport(host, keepAlive), NoKeepAlive: !keepAlive, AllowFile: may.file, Archive: may.archive, AllowPrivate: parts.allowPrivate, AllowHTTP: parts.allowPrivate}, pacer
}

// gated is the turnstile of a host with that of its operator behind it. The
// host's comes first: who waits for one slow host must not hold what all of
// the operator's hosts share.
type gated struct {
	host     ctlog.Pacer
	operator *pace.Pacer
}

func (g gated) Acquire(ctx context.Context, class ctlog.Class) (ctlog.Ticket, error) {
	t, err := g.host.Acquire(ctx, class)
	if err != nil {
		return nil, err
	}
	o, err := g.operator.Acquire(ctx, class)
	if err != nil {
		t.Done(ctlog.Outcome{Err: context.Canceled}) // it never left, whatever ended ctx
		return nil, err
	}
	return gatedTicket{t, o}, nil
}

type gatedTicket struct{ host, operator ctlog.Ticket }

func (t gatedTicket) Done(o ctlog.Outcome) {
	t.host.Done(o)
	t.operator.Done(ctlog.Outcome{Status: http.StatusOK, Latency: o.Latency}) // what a host refuses is no matter of the operator's bound
}
