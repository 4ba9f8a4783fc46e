package ctlog

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net/http"
	"time"
)

// Options say how to talk to a log. The zero value but for UserAgent is safe.
type Options struct {
	// UserAgent is sent with every request. It must name a contact: an e-mail
	// address or an https:// URL; New returns ErrNoContact otherwise.
	UserAgent string

	// Pacer gives every request its slot; nil = no pacing.
	Pacer Pacer

	// Transport makes the requests; nil = NewTransport(AllowPrivate, !NoKeepAlive).
	// A transport of one's own must keep the rules of NewTransport.
	Transport http.RoundTripper

	MaxBody int64         // bytes of one answer after decompression; 0 = 64 MiB, at most 1 GiB
	Timeout time.Duration // of one request, its wait for a slot not counted; 0 = 2 minutes

	// PageSize is the most entries that one get-entries asks for; 0 = 1024.
	// How many the log gives is learnt from its answers.
	PageSize int

	// GzipEntries asks for compressed get-entries answers: half the bytes, for
	// more CPU than all our other work on an entry.
	GzipEntries bool

	// AllowPrivate permits loopback and private addresses, for logs of one's
	// own and for tests; AllowHTTP permits plain http beyond loopback.
	AllowPrivate, AllowHTTP bool

	// AllowNoIndex accepts entries of static tiles without the leaf_index
	// extension: archives of RFC 6962 logs, and RFC 6962 logs that serve tiles
	// too. An index that is there must be right all the same.
	AllowNoIndex bool

	// AllowFile permits file: URLs. Set it for logs that the user's own
	// configuration names, never for those of a log list: a list must not be
	// able to make us read local files.
	AllowFile bool

	// Archive says that an https URL is a tile directory that was a log once.
	// file: URLs and .zip are archives without it.
	Archive bool

	// NoKeepAlive opens a connection for every request, which some logs ask of
	// their clients. Logs of one host that share a Transport should agree: a
	// connection that another one left open is used.
	NoKeepAlive bool
}

// New returns a client for a log. It makes no request. info.ID may be zero; it
// is then derived from the key.
func New(info Info, o Options) (Log, error) {
	if err := checkUserAgent(o.UserAgent); err != nil {
		return nil, err
	}
	if info.Problem != "" {
		return nil, fmt.Errorf("log %s cannot be followed: %s", quote(info.Name), info.Problem)
	}
	key, err := parsePublicKey(info.Key)
	if err != nil {
		return nil, fmt.Errorf("log %s: %w", quote(info.Name), err)
	}
	id := Hash(sha256.Sum256(info.Key))
	if info.ID == (Hash{}) {
		info.ID = id
	}
	if info.ID != id {
		return nil, fmt.Errorf("log %s: its ID %x is not the SHA-256 of its key (%x)", quote(info.Name), info.ID, id)
	}
	switch {
	case !isFileURL(info.URL):
		info.URL, err = cleanURL(info.URL, o.AllowHTTP)
	case !o.AllowFile:
		err = fmt.Errorf("log %s at %s: %w", quote(info.Name), quote(info.URL), ErrFileURL)
	}
	if err != nil {
		return nil, err
	}
	if info.TileURL != "" {
		if info.TileURL, err = cleanURL(info.TileURL, o.AllowHTTP); err != nil {
			return nil, err
		}
	}
	switch {
	case o.MaxBody < 0 || o.MaxBody > maxMaxBody:
		return nil, fmt.Errorf("body limit %d is not between 1 and %d bytes", o.MaxBody, maxMaxBody)
	case o.PageSize < 0 || o.PageSize > maxPage:
		return nil, fmt.Errorf("page size %d is not between 1 and %d", o.PageSize, maxPage)
	case o.Timeout < 0:
		return nil, fmt.Errorf("timeout %v is negative", o.Timeout)
	}
	if o.MaxBody == 0 {
		o.MaxBody = defaultMaxBody
	}
	if o.Timeout == 0 {
		o.Timeout = defaultTimeout
	}
	if o.PageSize == 0 {
		o.PageSize = defaultPage
	}
	if o.Pacer == nil {
		o.Pacer = unpaced{}
	}
	if o.Transport == nil {
		o.Transport = NewTransport(o.AllowPrivate, !o.NoKeepAlive)
	}
	c := &client{
		base:    info.URL,
		ua:      o.UserAgent,
		pacer:   o.Pacer,
		timeout: o.Timeout,
		maxBody: o.MaxBody,
		once:    o.NoKeepAlive,
		http: &http.Client{
			Transport:     o.Transport,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
	if o.Archive || isArchiveURL(info.URL) {
		return newArchive(info, key, c, o)
	}
	switch info.Kind {
	case RFC6962:
		l := newRFC6962(info, key, c, o)
		if info.TileURL == "" {
			return l, nil
		}
		tiles := *c
		tiles.base = info.TileURL
		return &hybridLog{rfc6962Log: l, tiles: &staticLog{info: info, key: key, c: &tiles, maxBody: o.MaxBody, noIndex: true}}, nil
	case Static:
		origin, err := checkpointOrigin(info.SubmissionURL)
		if err != nil {
			return nil, fmt.Errorf("log %s: %w", quote(info.Name), err)
		}
		return &staticLog{info: info, key: key, origin: origin, c: c, maxBody: o.MaxBody, noIndex: o.AllowNoIndex}, nil
	}
	return nil, fmt.Errorf("log %s: protocol %d is not known", quote(info.Name), info.Kind)
}

// unpaced is the pacer of those who have none.
type unpaced struct{}

func (unpaced) Acquire(ctx context.Context, _ Class) (Ticket, error) { return unpaced{}, ctx.Err() }
func (unpaced) Done(Outcome)                                         {}

// checkRange refuses ranges that no request can be made of: a mistake of the caller.
func checkRange(from, to, treeSize uint64) error {
	if from >= to || to > treeSize || treeSize > maxTreeSize {
		return fmt.Errorf("range [%d,%d) is empty or beyond the tree of %d entries", from, to, treeSize)
	}
	return nil
}
