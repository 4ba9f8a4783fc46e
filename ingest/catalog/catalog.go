package catalog

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"ctappliance/ingest/ctlog"
	"ctappliance/internal/durable"
)

// DefaultRefresh is how old a list becomes before it is asked for again.
// Chrome's list changes about once a day in form, a few times a month in fact.
const DefaultRefresh = 12 * time.Hour

// Options say where lists come from and where they are kept.
type Options struct {
	// Dir keeps the last good list of each source; created when the first one
	// is written. Empty = they are kept in memory only.
	Dir string

	Sources []Source // names are distinct

	UserAgent string            // sent with requests; empty = Go's own
	Transport http.RoundTripper // nil = ctlog.NewTransport(AllowPrivate, false)

	// Refresh is the mean time between two questions to a source; 0 =
	// DefaultRefresh, at least a minute.
	Refresh time.Duration

	AllowPrivate bool         // permits private addresses and plain http
	Logger       *slog.Logger // nil = none
}

// Catalog is the set of known logs. Methods may be called concurrently.
type Catalog struct {
	o       Options
	http    *http.Client
	logger  *slog.Logger
	sources []*source

	// changed holds a token when the set differs from what Run's caller was
	// told last.
	changed chan struct{}

	mu   sync.Mutex
	logs []Listed // of the newest union; never modified, replaced
}

// source is what the catalog knows of one source.
type source struct {
	Source
	file string     // of the cache; empty = none
	busy sync.Mutex // held by the one that asks the source

	// Guarded by Catalog.mu.
	good    *goodList // nil before the first
	checked time.Time // last attempt
	err     error     // of the last attempt
	errs    int       // attempts that have failed since the last success
}

// goodList is a list that was accepted. It is not modified.
type goodList struct {
	list     *ctlog.List
	data     []byte
	sig      []byte
	etag     string
	fetched  time.Time // when the source last said that this is its list
	verified bool      // signature
}

// SourceStatus says how a source is doing.
type SourceStatus struct {
	Name      string    `json:"name"`
	URL       string    `json:"url"`
	Version   string    `json:"version"`   // of the last good list
	Timestamp time.Time `json:"timestamp"` // of the last good list, by its own word; zero if it has none
	Fetched   time.Time `json:"fetched"`   // when the source last confirmed that list; zero = never
	Checked   time.Time `json:"checked"`   // last attempt of this process; zero = none yet
	Signed    bool      `json:"signed"`    // the signature was verified
	Logs      int       `json:"logs"`      // in the list, whatever their state
	Failures  int       `json:"failures"`  // attempts in a row
	Err       string    `json:"err,omitempty"`
}

// Open reads the cached lists and verifies them again. It asks no network: a
// catalog that has none is empty until [Catalog.Refresh]. An error says what is
// wrong with the options; a damaged cache is set aside and reported to the
// logger.
func Open(o Options) (*Catalog, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Refresh == 0 {
		o.Refresh = DefaultRefresh
	}
	var errs []error
	if o.Refresh < time.Minute {
		errs = append(errs, fmt.Errorf("log lists: a refresh every %v is too often; a minute is the least", o.Refresh))
	}
	if o.Transport == nil {
		o.Transport = ctlog.NewTransport(o.AllowPrivate, false)
	}
	c := &Catalog{o: o, logger: o.Logger, http: newClient(o.Transport), changed: make(chan struct{}, 1)}
	seen := map[string]bool{}
	for _, s := range o.Sources {
		if err := s.check(o.AllowPrivate); err != nil {
			errs = append(errs, err)
			continue
		}
		if seen[s.Name] {
			errs = append(errs, fmt.Errorf("log list %s: two sources have this name", s.Name))
			continue
		}
		seen[s.Name] = true
		src := &source{Source: s}
		if o.Dir != "" {
			src.file = filepath.Join(o.Dir, s.Name+cacheSuffix)
		}
		c.sources = append(c.sources, src)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	for _, s := range c.sources {
		s.good = c.readCache(s)
	}
	c.logs = c.union(time.Now())
	return c, nil
}

// readCache returns the cached list of a source, nil if there is none to use.
func (c *Catalog) readCache(s *source) *goodList {
	if s.file == "" {
		return nil
	}
	g, err := loadCache(s)
	if err == nil {
		return g
	}
	if _, damaged := errors.AsType[*cacheError](err); !damaged {
		c.logger.Warn("cached log list cannot be read", "list", s.Name, "err", err)
		return nil
	}
	aside := durable.Aside(s.file)
	if moveErr := (durable.OS{}).Rename(s.file, aside); moveErr != nil {
		err, aside = errors.Join(err, moveErr), ""
	}
	c.logger.Warn("cached log list is damaged, set aside", "list", s.Name, "err", err, "kept", aside)
	return nil
}

// Logs returns the known logs by operator, then name, with one entry per log
// ID. Their slices are shared and not to be modified.
func (c *Catalog) Logs() []Listed {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.logs)
}

// Sources returns the state of each source, in the order of Options.
func (c *Catalog) Sources() []SourceStatus {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make([]SourceStatus, len(c.sources))
	for i, s := range c.sources {
		st := SourceStatus{Name: s.Name, URL: s.URL, Checked: s.checked, Failures: s.errs}
		if s.err != nil {
			st.Err = s.err.Error()
		}
		if g := s.good; g != nil {
			st.Version, st.Timestamp, st.Fetched = g.list.Version, g.list.Timestamp, g.fetched
			st.Signed, st.Logs = g.verified, len(g.list.Logs)
		}
		out[i] = st
	}
	return out
}

// Refresh asks every source once, side by side, and takes over what is good.
// The error joins those of the sources that failed, each with its name; the
// last good lists stay in use.
func (c *Catalog) Refresh(ctx context.Context) error {
	errs := make([]error, len(c.sources))
	var wg sync.WaitGroup
	for i, s := range c.sources {
		wg.Go(func() { errs[i] = c.refresh(ctx, s) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// adopt puts a source's new list in the place of the old one, and tells the
// log and Run about what that changed.
func (c *Catalog) adopt(s *source, g *goodList) {
	c.mu.Lock()
	defer c.mu.Unlock()
	first := s.good == nil
	s.good = g
	before := c.logs
	c.logs = c.union(time.Now())
	if len(before) == 0 || first {
		// Not an event for each log: the list is what is new.
		c.logger.Info("log list loaded", "list", s.Name, "version", g.list.Version, "timestamp", g.list.Timestamp, "logs", len(g.list.Logs), "signed", g.verified)
	} else {
		logChanges(c.logger, Diff(before, c.logs))
	}
	if !slices.EqualFunc(before, c.logs, Listed.equal) {
		select {
		case c.changed <- struct{}{}:
		default:
		}
	}
}

// sortListed orders logs as Logs promises.
func sortListed(logs []Listed) {
	slices.SortFunc(logs, func(a, b Listed) int {
		return cmp.Or(
			cmp.Compare(a.Operator, b.Operator),
			cmp.Compare(a.Name, b.Name),
			slices.Compare(a.ID[:], b.ID[:]),
		)
	})
}
