package config

import (
	"net"
	"net/netip"
	"strconv"

	"ctappliance/cmd/ctappliance/plain"
)

// NoListener is the word that turns the listener off.
const NoListener = "none"

const minToken = 16

func (m *MetricsConfig) check(r *report) {
	if t := m.Token.Reveal(); t != "" && len(t) < minToken {
		r.add("metrics.token", "is shorter than %d characters; 'openssl rand -hex 16' makes a good one", minToken)
	}
	if m.Listen == "" || m.Listen == NoListener {
		return
	}
	host, port, err := net.SplitHostPort(m.Listen)
	if err != nil {
		r.add("metrics.listen", "%s is not an address and a port, such as 127.0.0.1:9123; write %s to serve nothing", plain.Quote(m.Listen), NoListener)
		return
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil {
		r.add("metrics.listen", "%s is not a port between 0 (any) and 65535", plain.Quote(port))
	} else if _, err := netip.ParseAddr(host); err != nil && host != "" && !IsLoopback(host) {
		r.add("metrics.listen", "%s is not an IP address; write that of the interface, such as 127.0.0.1:%d", plain.Quote(host), n)
	}
	if !IsLoopback(host) && m.Token == "" {
		r.add("metrics.listen", "%s is open to other machines; set metrics.token, or listen on 127.0.0.1", plain.Quote(m.Listen))
	}
}
