package config

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/mail"
	"net/netip"
	"net/url"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"ctappliance/cmd/ctappliance/plain"
	"ctappliance/ingest/ctlog"
)

// KeyError is something wrong with the value of a key.
type KeyError struct {
	key string
	err error
}

// Validate reports everything that is wrong whatever the command: one line
// each, beginning with the key as the user typed it. It looks at files that
// are named, and talks to nobody.
func (c *Config) Validate() error { return c.join(c.Problems()) }

// ValidateLogs reports what is missing to talk to logs: some logs, and a
// contact (unless every log is on this machine). Commands that do call it in
// addition to Validate.
func (c *Config) ValidateLogs() error { return c.join(c.LogProblems()) }

func (c *Config) join(problems []KeyError) error {
	var errs []error
	for _, p := range problems {
		errs = append(errs, plain.LineError{Err: fmt.Errorf("%s: %w", c.Label(p.key), p.err)})
	}
	return errors.Join(errs...)
}

// report collects problems.
type report []KeyError

func (r *report) add(key, format string, args ...any) {
	*r = append(*r, KeyError{key, fmt.Errorf(format, args...)})
}

func (c *Config) Problems() []KeyError {
	var r report
	r.ranges("", configKeys(), reflect.ValueOf(c).Elem())
	if c.Contact != "" {
		if err := checkContact(c.Contact); err != nil && !(errors.Is(err, errExampleContact) && c.onlyLoopback()) {
			r.add("contact", "%w", err)
		}
	}
	if c.DataDir == "" {
		r.add("data-dir", "is empty; name a directory")
	}
	c.Store.check(&r)
	if l := c.Engine.Library; l != "" && c.Store.DSN == "" {
		r.file("engine.library", l)
	}
	if w := c.WAL; w.Budget != 0 && w.Budget < 4*w.SegmentSize {
		r.add("wal.budget", "%s is less than four segments of %s; raise it or lower wal.segment-size", w.Budget, w.SegmentSize)
	}
	if c.LogList != "" {
		r.file("log-list", c.LogList)
	}
	c.checkLists(&r)
	c.checkLogs(&r)
	c.checkLimits(&r)
	c.Metrics.check(&r)
	return r
}

func (c *Config) LogProblems() []KeyError {
	var r report
	switch {
	case len(c.Logs) > 0 || len(c.LogNames) > 0 || c.FollowsLists():
	case c.LogList != "":
		r.add("log-names", "no log is chosen; write the names, or 'all usable'")
	default:
		r.add("logs", "no log is chosen, and lists.follow is none; list one under logs, or set log-names")
	}
	if c.Contact == "" && !c.onlyLoopback() {
		r.add("contact", "is not set; write your e-mail address or an https URL, which logs see with every request")
	}
	return r
}

// ranges checks what the tags of the keys say: least, greatest, choices.
func (r *report) ranges(prefix string, keys []configKey, v reflect.Value) {
	for _, k := range keys {
		f := v.FieldByIndex(k.index)
		name := prefix + k.Key
		switch {
		case k.items != nil:
			for i := range f.Len() {
				r.ranges(fmt.Sprintf("%s[%d].", name, i), k.items, f.Index(i))
			}
		case len(k.Choices) > 0:
			if !slices.Contains(k.Choices, f.String()) {
				r.add(name, "%s is none of %s", plain.Quote(f.String()), strings.Join(k.Choices, ", "))
			}
		case k.Min != "":
			lo, hi := reflect.New(k.typ).Elem(), reflect.New(k.typ).Elem()
			if err := errors.Join(setText(lo, k.Min), setText(hi, k.Max)); err != nil {
				panic("config: range of " + k.Key + ": " + err.Error()) // a test reads them all
			}
			n := number(f)
			if n >= number(lo) && n <= number(hi) || n == 0 && k.Zero != "" {
				continue
			}
			or := ""
			if k.Zero != "" {
				or = ", or 0 for " + k.Zero
			}
			r.add(name, "%s is not between %s and %s%s", formatValue(f), k.Min, k.Max, or)
		}
	}
}

func number(v reflect.Value) float64 {
	if v.CanInt() {
		return float64(v.Int())
	}
	return v.Float()
}

// file checks that a regular file can be opened.
func (r *report) file(key, path string) {
	st, err := os.Stat(path)
	if err == nil && !st.Mode().IsRegular() {
		r.add(key, "%s is not a regular file", plain.QuotePath(path))
		return
	}
	var f *os.File
	if err == nil {
		f, err = os.Open(path)
	}
	if err != nil {
		r.add(key, "%w", err)
		return
	}
	f.Close()
}

var errExampleContact = errors.New("is a placeholder, and logs treat it as no contact; write an address that reaches you")

// checkContact accepts what log operators accept: an e-mail address or an
// https URL, not of a domain that is reserved for examples. It goes into a
// header, so it is plain ASCII.
func checkContact(s string) error {
	if len(s) > 200 || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`()<>"\;,`, r) }) {
		return fmt.Errorf("%s is neither an e-mail address nor an https URL", plain.Quote(s))
	}
	var host string
	if u, err := url.Parse(s); err == nil && u.Scheme == "https" && u.User == nil {
		host = u.Hostname()
	} else if a, err := mail.ParseAddress(s); err == nil && a.Address == s {
		host = s[strings.LastIndexByte(s, '@')+1:]
	} else {
		return fmt.Errorf("%s is neither an e-mail address (you@your.org) nor an https URL", plain.Quote(s))
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if !strings.Contains(host, ".") {
		return fmt.Errorf("%s has no domain that others could reach", plain.Quote(s))
	}
	// RFC 2606, RFC 6761: names that nobody can own.
	for _, reserved := range []string{"example.com", "example.org", "example.net", "example", "test", "invalid", "localhost"} {
		if host == reserved || strings.HasSuffix(host, "."+reserved) {
			return errExampleContact
		}
	}
	return nil
}

var databaseName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,63}$`)

func (s *StoreConfig) check(r *report) {
	if !databaseName.MatchString(s.Database) {
		r.add("store.database", "%s is not a name of letters, digits and _, at most 64, that begins with no digit", plain.Quote(s.Database))
	}
	if s.User == "" {
		r.add("store.user", "is empty; write the ClickHouse user")
	}
	if s.CAFile != "" {
		text, _, err := ReadSmallFile(s.CAFile, 4<<20)
		if err != nil {
			r.add("store.ca-file", "%w", err)
		} else if !x509.NewCertPool().AppendCertsFromPEM(text) {
			r.add("store.ca-file", "%s holds no PEM certificate", plain.QuotePath(s.CAFile))
		}
	}
	if s.DSN == "" {
		return
	}
	u, err := url.Parse(s.DSN.Reveal())
	if err != nil {
		// url's error repeats the URL, and there may be a password in it.
		r.add("store.dsn", "is not a URL; write https://host:8443/ or http://localhost:8123/")
		return
	}
	switch u.Scheme {
	case "https":
	case "http":
		if !IsLoopback(u.Hostname()) && !s.AllowPlaintext {
			r.add("store.dsn", "http to %s would carry password and rows readable over the network; use https, or set store.allow-plaintext", plain.Quote(u.Hostname()))
		}
	case "clickhouse", "tcp", "native":
		r.add("store.dsn", "%s is ClickHouse's native protocol; rows go over HTTP: write https://host:8443/ or http://localhost:8123/", plain.Quote(u.Scheme+"://"))
	default:
		r.add("store.dsn", "is not an http or https URL; write https://host:8443/ or http://localhost:8123/")
	}
	if u.Hostname() == "" && (u.Scheme == "http" || u.Scheme == "https") {
		r.add("store.dsn", "has no host; write https://host:8443/")
	}
	if _, ok := u.User.Password(); ok && s.Password != "" {
		r.add("store.dsn", "has a password in it, and store.password is set too; keep one")
	}
}

func (c *Config) checkLogs(r *report) {
	urls := map[string]int{}
	for i, l := range c.Logs {
		at := fmt.Sprintf("logs[%d].", i)
		if l.URL == "" {
			r.add(at+"url", "is missing; write the log's URL")
		} else if err := checkLogURL(l.URL, c.AllowPrivate); err != nil {
			r.add(at+"url", "%w", err)
		} else if j, twice := urls[strings.TrimSuffix(l.URL, "/")]; twice {
			r.add(at+"url", "%s is logs[%d] already; remove one", plain.Quote(l.URL), j)
		} else {
			urls[strings.TrimSuffix(l.URL, "/")] = i
		}
		if l.SubmissionURL != "" {
			if err := checkLogURL(l.SubmissionURL, c.AllowPrivate); err != nil {
				r.add(at+"submission-url", "%w", err)
			}
			if file, _ := ctlog.IsFileURL(l.SubmissionURL); file {
				r.add(at+"submission-url", "is a file; write the https URL under which the log took certificates")
			}
			if l.Kind == "rfc6962" {
				r.add(at+"submission-url", "only static logs have one; remove it or set kind: static")
			}
		}
		if file, _ := ctlog.IsFileURL(l.URL); file && (l.Kind == "rfc6962" || l.Kind == "static") {
			r.add(at+"kind", "%s is not read from files; write archive, or leave it out", l.Kind)
		}
		if l.Key == "" {
			if c.LogList == "" && !c.NeedsLists() {
				r.add(at+"key", "is missing; write the log's public key in base64, or set log-list to look it up")
			}
		} else if _, err := l.PublicKeyDER(); err != nil {
			r.add(at+"key", "%w", err)
		}
		l.Start.check(r, at+"start")
		for key, text := range map[string]string{"name": l.Name, "operator": l.Operator} {
			if len(text) > 200 || plain.Printable(text) != text && strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }) {
				r.add(at+key, "is longer than 200 bytes or holds control characters")
			}
		}
	}
}

// PublicKeyDER returns the log's key as DER SubjectPublicKeyInfo. RFC 6962
// section 2.1.4 allows ECDSA over P-256 and RSA of at least 2048 bits.
func (l *LogConfig) PublicKeyDER() ([]byte, error) {
	der, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(l.Key), ""))
	if block, _ := pem.Decode([]byte(l.Key)); block != nil {
		der, err = block.Bytes, nil
	}
	if err != nil {
		return nil, errors.New("is not base64; copy the key of the log list, or PEM")
	}
	key, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return nil, errors.New("is not a public key (DER SubjectPublicKeyInfo); copy the key of the log list, not the log ID")
	}
	switch key := key.(type) {
	case *ecdsa.PublicKey:
		if key.Curve == elliptic.P256() {
			return der, nil
		}
	case *rsa.PublicKey:
		if key.N.BitLen() >= 2048 {
			return der, nil
		}
	}
	return nil, errors.New("is not a key that logs may have: ECDSA over P-256, or RSA of 2048 bits and more")
}

// checkLogURL checks the URL of a log as far as its text goes; addresses
// behind names are looked at when they are dialled.
func checkLogURL(text string, allowPrivate bool) error {
	if file, err := ctlog.IsFileURL(text); file {
		return err // of an archive; what is not there is found when it is opened
	}
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" || len(text) > 512 || plain.Printable(text) != text {
		return fmt.Errorf("%s is not a URL; write https://host/path/", plain.Quote(text))
	}
	switch {
	case u.User != nil:
		return errors.New("has a user in it; logs are public")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return fmt.Errorf("%s has a query or a fragment; write the log's prefix alone", plain.Quote(text))
	case u.Scheme == "http" && !allowPrivate:
		return fmt.Errorf("%s is not https; a log of your own over http needs allow-private", plain.Quote(text))
	case u.Scheme != "https" && u.Scheme != "http":
		return fmt.Errorf("%s is not an https URL", plain.Quote(text))
	case isPrivate(u.Hostname()) && !allowPrivate:
		return fmt.Errorf("%s is on a private address; set allow-private if that is meant", plain.Quote(text))
	}
	return nil
}

// onlyLoopback reports whether every chosen log is on this machine.
func (c *Config) onlyLoopback() bool {
	for _, l := range c.Logs {
		u, err := url.Parse(l.URL)
		if err != nil || u.Scheme != "file" && !IsLoopback(u.Hostname()) {
			return false
		}
	}
	return len(c.Logs) > 0 && !c.NeedsLists() && len(c.LogNames) == 0
}

func IsLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// isPrivate reports whether a host is one that the public Internet does not
// have, as far as its text says.
func isPrivate(host string) bool {
	if IsLoopback(host) || strings.HasSuffix(strings.ToLower(host), ".localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return false
	}
	ip = ip.Unmap()
	return ip.IsPrivate() || ip.IsLoopback() || ip.IsLinkLocalUnicast() || ip.IsUnspecified() || ip.IsMulticast()
}
