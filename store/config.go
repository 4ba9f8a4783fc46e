package store

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"time"

	"ctappliance/schema"
)

// Config says which ClickHouse to use and how. DSN or Embedded must be set.
type Config struct {
	// DSN is http[s]://user[:password]@host[:port][/database]. The port is
	// 8123, or 8443 for https, if left out. A path names the database.
	DSN string

	// Password takes precedence over the DSN's. PasswordFile names a file that
	// holds it (a trailing newline is cut off), and takes precedence over both.
	Password     string
	PasswordFile string

	// CAFile is a PEM file of the certificates that the server's must chain
	// to; empty uses the system's. ServerName is the name to check it against
	// if that is not the DSN's host.
	CAFile     string
	ServerName string

	// AllowPlaintext permits http:// to a host that is not this machine:
	// passwords and rows are then readable on the way.
	AllowPlaintext bool

	// Database is created if it is not there. Default schema.DefaultDatabase,
	// or what the DSN says.
	Database string

	// WriterID is the identity of this appliance, from its data directory. A
	// database that another one writes to is refused. Empty accepts any.
	WriterID string

	// ReadOnly applies no migrations, checks no settings and refuses inserts:
	// for commands that look.
	ReadOnly bool

	// NoTokens sends no insert_deduplication_token and switches the server's
	// deduplication off. Exactness does not depend on it.
	NoTokens bool

	// KeepDER fills table der: about 1 kB per certificate.
	KeepDER bool

	// RecentBits is the size of the recently-seen filter: it takes 18 << RecentBits
	// bytes and remembers 2^RecentBits / 4 certificates and twice as many names.
	// Default 20; negative: no filter, and nothing is folded before it is sent.
	RecentBits int

	// Compress compresses inserts with LZ4. Worth it where the server is not
	// on this machine.
	Compress bool

	// Timeout bounds one statement, on the server too. Default 5 minutes.
	Timeout time.Duration

	// Dial, if not nil, connects to the server in place of the network: to a
	// Unix socket, through a tunnel, or, in tests, in memory. addr is the DSN's
	// host and port.
	Dial func(ctx context.Context, addr string) (net.Conn, error)

	// Embedded is the engine in a child process of ours; DSN is then not used.
	Embedded Embedded

	Log *slog.Logger // nil discards
}

// Embedded is what the store must know of an engine that runs as a child
// process; *engine.Engine is one.
type Embedded interface {
	// DSN is where the engine listens now. It changes with every start.
	DSN() string
	// BootID names the engine's present life.
	BootID() string
	// FenceStatements makes the engine refuse statements whose query id begins
	// with prefix, and returns when none is in progress.
	FenceStatements(ctx context.Context, prefix string) error
	// Fence returns when the process is dead, and with it every statement.
	Fence(ctx context.Context) error
	// Wait returns when the engine answers.
	Wait(ctx context.Context) error
}

// target is a Config taken apart: what it takes to connect.
type target struct {
	addr     string // host:port
	host     string
	user     string
	password string
	database string
	tls      *tls.Config // nil is plain HTTP
}

const maxPasswordFile = 4096

// target checks c. Its errors name the keys of the configuration file.
func (c *Config) target() (*target, error) {
	dsn := c.DSN
	if c.Embedded != nil {
		dsn = c.Embedded.DSN()
	}
	if dsn == "" {
		return nil, errors.New("store.dsn: not set: give http://user@host:8123/ or https://user@host:8443/")
	}
	u, err := url.Parse(dsn)
	if err != nil {
		// The error of url.Parse quotes its input, and with it the password.
		return nil, errors.New("store.dsn: not a URL: give http://user@host:8123/ or https://user@host:8443/; special characters of a password must be percent-encoded, or put it into store.password-file")
	}
	t := &target{host: u.Hostname(), user: u.User.Username(), database: c.Database}
	t.password, _ = u.User.Password()
	port := u.Port()
	switch u.Scheme {
	case "http":
		if port == "" {
			port = "8123"
		}
	case "https":
		if port == "" {
			port = "8443"
		}
		t.tls = &tls.Config{MinVersion: tls.VersionTLS12, ServerName: c.ServerName}
	case "clickhouse", "tcp", "native":
		return nil, fmt.Errorf("store.dsn: %s:// is ClickHouse's native protocol; inserts go over HTTP: give http://user@host:8123/ or https://user@host:8443/", u.Scheme)
	default:
		return nil, fmt.Errorf("store.dsn: scheme %q: give http://user@host:8123/ or https://user@host:8443/", Safe(u.Scheme))
	}
	if t.host == "" {
		return nil, errors.New("store.dsn: no host: give http://user@host:8123/ or https://user@host:8443/")
	}
	if len(u.RawQuery) > 0 || len(u.Fragment) > 0 {
		return nil, errors.New("store.dsn: parameters after ? are not taken: use the keys of the configuration file (ca-file, database, password-file)")
	}
	t.addr = net.JoinHostPort(t.host, port)
	if path := strings.Trim(u.Path, "/"); path != "" {
		if t.database != "" && t.database != path {
			return nil, fmt.Errorf("store.database: %q, but store.dsn says %q: give it once", Safe(t.database), Safe(path))
		}
		t.database = path
	}
	if t.database == "" {
		t.database = schema.DefaultDatabase
	}
	if err := schema.CheckDatabase(t.database); err != nil {
		return nil, fmt.Errorf("store.database: %w", err)
	}
	if c.Password != "" {
		t.password = c.Password
	}
	if c.PasswordFile != "" {
		if t.password, err = readPassword(c.PasswordFile); err != nil {
			return nil, fmt.Errorf("store.password-file: %w", err)
		}
	}
	if t.user == "" {
		t.user = "default"
	}
	if t.tls == nil {
		if c.CAFile != "" || c.ServerName != "" {
			return nil, errors.New("store.ca-file: store.dsn is http://, which has no TLS: make it https://")
		}
		if !c.AllowPlaintext && !isLoopback(t.host) {
			return nil, fmt.Errorf("store.dsn: http:// to %s would send the password and all rows in the clear: use https://, or set store.allow-plaintext if the network is yours", t.host)
		}
		return t, nil
	}
	if c.CAFile != "" {
		pem, err := os.ReadFile(c.CAFile)
		if err != nil {
			return nil, fmt.Errorf("store.ca-file: %w", err)
		}
		t.tls.RootCAs = x509.NewCertPool()
		if !t.tls.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("store.ca-file: %s holds no certificate in PEM form", c.CAFile)
		}
	}
	return t, nil
}

func readPassword(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b := make([]byte, maxPasswordFile+1)
	n := 0
	for n < len(b) {
		m, err := f.Read(b[n:])
		n += m
		if err != nil {
			break
		}
	}
	if n > maxPasswordFile {
		return "", fmt.Errorf("%s is larger than %d bytes: not a password", name, maxPasswordFile)
	}
	p := strings.TrimRight(string(b[:n]), "\r\n")
	if p == "" {
		return "", fmt.Errorf("%s is empty", name)
	}
	return p, nil
}

// isLoopback reports whether host is this machine. A name is trusted only if
// it is "localhost": others may resolve to anything tomorrow.
func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}
