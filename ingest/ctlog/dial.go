package ctlog

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"syscall"
	"time"
)

// NewTransport returns the transport that New uses if it is given none. It
// dials public addresses only, after resolution, unless allowPrivate: a log
// list must not be able to aim us at a metadata service (SSRF). It uses no
// proxy, because a proxy would resolve where we cannot look. keepAlive false
// opens a connection per request, which some logs ask of their clients.
// HTTP/1.1 is used: a client that fetches a few large answers at a time gains
// nothing from multiplexing them, and over TLS HTTP/2 takes twice its processor
// time to receive them, one and a half times with frames of 256 KiB.
func NewTransport(allowPrivate, keepAlive bool) *http.Transport {
	d := &net.Dialer{Timeout: 20 * time.Second, KeepAlive: 30 * time.Second}
	if !allowPrivate {
		d.Control = func(_, address string, _ syscall.RawConn) error { return checkAddress(address) }
	}
	return &http.Transport{
		DialContext:            d.DialContext,
		TLSHandshakeTimeout:    20 * time.Second,
		ResponseHeaderTimeout:  90 * time.Second,
		IdleConnTimeout:        90 * time.Second,
		MaxIdleConns:           64,
		MaxIdleConnsPerHost:    64,
		MaxResponseHeaderBytes: 64 << 10,
		DisableCompression:     true,
		DisableKeepAlives:      !keepAlive,
	}
}

// special are the address blocks, beyond those that netip knows by name, in
// which no public log lives (IANA special-purpose address registries).
var special = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),       // this network
	netip.MustParsePrefix("100.64.0.0/10"),   // carrier-grade NAT; some clouds' metadata
	netip.MustParsePrefix("192.0.0.0/24"),    // protocol assignments
	netip.MustParsePrefix("192.0.2.0/24"),    // documentation
	netip.MustParsePrefix("198.18.0.0/15"),   // benchmarking
	netip.MustParsePrefix("198.51.100.0/24"), // documentation
	netip.MustParsePrefix("203.0.113.0/24"),  // documentation
	netip.MustParsePrefix("240.0.0.0/4"),     // reserved, broadcast
	netip.MustParsePrefix("::/96"),           // IPv4-compatible, unspecified, loopback
	netip.MustParsePrefix("64:ff9b:1::/48"),  // NAT64 of a local network
	netip.MustParsePrefix("100::/64"),        // discard
	netip.MustParsePrefix("2001:db8::/32"),   // documentation
	netip.MustParsePrefix("fec0::/10"),       // site-local
}

// checkAddress refuses an address that is about to be connected to.
func checkAddress(address string) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("connecting to %s: %w", quote(address), err)
	}
	ip := ap.Addr().Unmap().WithZone("")
	if !publicAddr(ip) {
		return fmt.Errorf("connecting to %s: %w; logs live on the public internet (a setting allows private ones)", address, ErrPrivateAddress)
	}
	return nil
}

func publicAddr(ip netip.Addr) bool {
	if !ip.IsValid() || ip.IsLoopback() || ip.IsPrivate() || ip.IsLinkLocalUnicast() ||
		ip.IsMulticast() || ip.IsUnspecified() || !ip.IsGlobalUnicast() {
		return false
	}
	for _, p := range special {
		if p.Contains(ip) {
			return false
		}
	}
	// Addresses that carry an IPv4 address inside are as public as that one.
	if ip.Is6() {
		b := ip.As16()
		switch {
		case b[0] == 0x00 && b[1] == 0x64 && b[2] == 0xff && b[3] == 0x9b: // NAT64
			return publicAddr(netip.AddrFrom4([4]byte(b[12:16])))
		case b[0] == 0x20 && b[1] == 0x02: // 6to4
			return publicAddr(netip.AddrFrom4([4]byte(b[2:6])))
		}
	}
	return true
}

var (
	// emailPattern finds an address with a dotted domain.
	emailPattern = regexp.MustCompile(`[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+`)
	// urlPattern finds an https URL with a dotted host.
	urlPattern = regexp.MustCompile(`(?i)https://[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+`)
)

// checkUserAgent returns ErrNoContact if a log's operator could not reach us.
// Skylight, which serves many static logs, shares one small bucket between all
// clients whose User-Agent has neither, and counts example.com as none.
func checkUserAgent(ua string) error {
	for i := range len(ua) {
		if ua[i] < ' ' || ua[i] > '~' {
			return fmt.Errorf("the User-Agent %s may hold printable ASCII only", quote(ua))
		}
	}
	if strings.Contains(strings.ToLower(ua), "example.com") || (!emailPattern.MatchString(ua) && !urlPattern.MatchString(ua)) {
		return ErrNoContact
	}
	return nil
}

// cleanURL checks a log's base URL and gives it its trailing slash.
func cleanURL(raw string, allowHTTP bool) (string, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return "", fmt.Errorf("log URL %s is not a URL", quote(raw))
	}
	switch {
	case u.Scheme != "https" && u.Scheme != "http", u.Host == "", u.Hostname() == "":
		return "", fmt.Errorf("log URL %s is not an https:// URL", quote(raw))
	case u.User != nil:
		return "", fmt.Errorf("log URL %s must not hold a user name or password", quote(u.Redacted()))
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return "", fmt.Errorf("log URL %s must not hold a query or a fragment", quote(raw))
	case u.Scheme == "http" && !allowHTTP && !isLoopbackName(u.Hostname()):
		return "", fmt.Errorf("log URL %s is plain http; use https:// (a setting allows http)", quote(raw))
	}
	return strings.TrimSuffix(u.String(), "/") + "/", nil
}

func isLoopbackName(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}
