package store

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"ctappliance/schema"
)

// MinVersion is the oldest ClickHouse that is accepted, as major and minor.
var MinVersion = [2]int{26, 3}

const (
	defaultTimeout    = 5 * time.Minute
	defaultRecentBits = 20
	maxConns          = 8
)

// Store is a ClickHouse with the schema in it. All methods may be called
// concurrently.
type Store struct {
	cfg     Config
	target  *target
	conn    clickhouse.Conn
	log     *slog.Logger
	version string
	writer  string // the database's writer id

	tries    atomic.Uint64 // makes query ids unique
	life     string        // the same, between processes
	attempts attempts

	// What was written lately, and need not be again. The lock is held while rows
	// become columns, not while they are sent.
	filter     sync.Mutex
	recent     *schema.Recent
	recentLife string // the epoch in which recent's rows were acknowledged
	filterLife uint64 // how often recent was emptied
	ahead      int    // prepared flushes whose rows recent holds and nobody has acknowledged
	sets       sets

	ledgers sync.Pool // *schema.Ledger

	logsMu     sync.Mutex
	logs       *schema.Logs
	logVersion uint64 // logs.updated of the newest row

	epochMu sync.Mutex
	epoch   serverEpoch
}

// Open connects, checks the version, applies migrations and reads the tables'
// settings and columns back. Its errors are one line each.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	t, err := cfg.target()
	if err != nil {
		return nil, err
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = defaultTimeout
	}
	if cfg.RecentBits == 0 {
		cfg.RecentBits = defaultRecentBits
	}
	if cfg.RecentBits > 30 {
		return nil, fmt.Errorf("store.recent_bits: %d: more than 30 is 18 GiB of memory", cfg.RecentBits)
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	s := &Store{cfg: cfg, target: t, log: cfg.Log, life: rand.Text(), logs: schema.NewLogs()}
	if cfg.RecentBits > 0 && !cfg.ReadOnly {
		s.recent = schema.NewRecent(cfg.RecentBits)
	}
	s.ledgers.New = func() any { return schema.NewLedger() }
	s.conn, err = clickhouse.Open(s.options())
	if err != nil {
		return nil, fmt.Errorf("opening store: %w", s.show(err))
	}
	if err := s.prepare(ctx); err != nil {
		s.conn.Close()
		return nil, fmt.Errorf("opening store: %w", err)
	}
	return s, nil
}

func (s *Store) options() *clickhouse.Options {
	o := &clickhouse.Options{
		Protocol:     clickhouse.HTTP,
		Addr:         []string{s.target.addr},
		Auth:         clickhouse.Auth{Username: s.target.user, Password: s.target.password},
		TLS:          s.target.tls,
		DialTimeout:  10 * time.Second,
		ReadTimeout:  s.cfg.Timeout,
		MaxOpenConns: maxConns,
		MaxIdleConns: maxConns,
		ClientInfo: clickhouse.ClientInfo{Products: []struct{ Name, Version string }{
			{Name: "ctappliance", Version: "1"},
		}},
		TransportFunc: func(t *http.Transport) (http.RoundTripper, error) { return vouched{t}, nil },
	}
	if s.cfg.Dial != nil {
		o.DialContext = s.cfg.Dial
	} else if s.cfg.Embedded != nil {
		// The engine's port changes whenever it is started again.
		o.DialContext = func(ctx context.Context, _ string) (net.Conn, error) {
			u, err := url.Parse(s.cfg.Embedded.DSN())
			if err != nil {
				return nil, err
			}
			d := net.Dialer{Timeout: 10 * time.Second}
			return d.DialContext(ctx, "tcp", u.Host)
		}
	}
	return o
}

func (s *Store) prepare(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	soon, cancel := context.WithTimeout(ctx, min(openPatience, s.cfg.Timeout))
	defer cancel()
	rows, err := s.Rows(soon, "SELECT version()")
	if err != nil {
		return err
	}
	if len(rows) != 1 || len(rows[0]) != 1 {
		return fmt.Errorf("what answers at %s is not ClickHouse: store.dsn must be its HTTP port (8123 or 8443)", s.target.addr)
	}
	s.version = rows[0][0]
	if err := checkVersion(s.version); err != nil {
		return err
	}
	if s.cfg.ReadOnly {
		return nil
	}
	applied, err := schema.Apply(ctx, execer{s}, s.target.database, schema.Owner{ID: s.cfg.WriterID, Now: time.Now()})
	if err != nil {
		return fmt.Errorf("applying migrations: %w", err)
	}
	s.writer = applied.WriterID
	if len(applied.Statements) > 0 {
		s.log.Info("schema applied", "database", s.target.database, "statements", len(applied.Statements), "version", schema.Version)
	}
	if err := s.checkTables(ctx); err != nil {
		return err
	}
	rows, err = s.rows(ctx, 1, fmt.Sprintf("SELECT max(updated) FROM %s", s.table("logs")))
	if err != nil {
		return err
	}
	if len(rows) != 1 {
		return fmt.Errorf("reading table logs: %d rows, not one", len(rows))
	}
	v, err := numbers(rows[0], 1)
	if err != nil {
		return fmt.Errorf("reading table logs: answer %q is not a number", safeLine(rows[0][0], 40))
	}
	s.logVersion = v[0]
	return nil
}

// checkVersion compares the first two numbers of a version such as 26.7.2.1.
func checkVersion(version string) error {
	var major, minor int
	if n, _ := fmt.Sscanf(version, "%d.%d", &major, &minor); n != 2 {
		return fmt.Errorf("%w: version %q is not understood; %d.%d or newer is needed", ErrVersion, safeLine(version, 40), MinVersion[0], MinVersion[1])
	}
	if major < MinVersion[0] || major == MinVersion[0] && minor < MinVersion[1] {
		return fmt.Errorf("%w: ClickHouse %s; %d.%d or newer is needed: update it, or use the embedded engine", ErrVersion, safeLine(version, 40), MinVersion[0], MinVersion[1])
	}
	return nil
}

// Close closes the connections. Statements that run are not waited for.
func (s *Store) Close() error { return s.conn.Close() }

// Version returns the server's version.
func (s *Store) Version() string { return Safe(s.version) }

// Database returns the name of the database.
func (s *Store) Database() string { return s.target.database }

// WriterID returns the writer id that the database carries.
func (s *Store) WriterID() string { return s.writer }

// queryID names a statement that is not part of a flush. Fences look for ids
// that begin with "ct-", and leave these alone.
func (s *Store) queryID() string {
	return fmt.Sprintf("ctq-%d-%s", s.tries.Add(1), s.life)
}

// table returns the quoted name of a table of ours. The database's name was
// checked to be a plain identifier.
func (s *Store) table(name string) string {
	return "`" + s.target.database + "`." + name
}

// Exec runs a statement that returns no rows.
func (s *Store) Exec(ctx context.Context, query string) error {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	ctx = clickhouse.Context(ctx, clickhouse.WithQueryID(s.queryID()), clickhouse.WithSettings(clickhouse.Settings{"async_insert": 0}))
	return s.show(s.conn.Exec(ctx, query))
}

// execer is a Store as the migrations see it.
type execer struct{ *Store }

func (e execer) Rows(ctx context.Context, query string) ([][]string, error) {
	return e.Store.Rows(ctx, query)
}

// columnList returns the names of a block's columns for an INSERT.
func columnList(b *schema.Block) string {
	names := make([]string, len(b.Columns))
	for i, c := range b.Columns {
		names[i] = c.Name
	}
	return strings.Join(names, ", ")
}
