package config

import (
	"encoding/pem"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"ctappliance/cmd/ctappliance/plain"
	"ctappliance/ingest/catalog"
)

// FollowsLists reports whether the logs of the lists are followed, beside
// those that logs and log-names name.
func (c *Config) FollowsLists() bool {
	switch c.Lists.Follow {
	case "all":
		return true
	case "none":
		return false
	}
	if len(c.Follow.Include)+len(c.Follow.Exclude) > 0 {
		return true
	}
	return len(c.Logs) == 0 && len(c.LogNames) == 0 && c.LogList == ""
}

// NeedsLists reports whether the lists of lists.sources are read at all.
func (c *Config) NeedsLists() bool {
	return c.FollowsLists() || len(c.LogNames) > 0 && c.LogList == ""
}

// builtIn are the lists that need no address.
var builtIn = []string{"google", "apple"}

// IsRemote reports whether the address of a list, or of what belongs to it, is
// a URL.
func IsRemote(address string) bool { return strings.Contains(address, "://") }

func (c *Config) checkLists(r *report) {
	seen := map[string]int{}
	for i, s := range c.Lists.Sources {
		at := fmt.Sprintf("lists.sources[%d].", i)
		switch j, twice := seen[s.URL]; {
		case s.URL == "":
			r.add(at+"url", "is missing; write google, apple, or the path or https URL of a log list")
		case twice:
			r.add(at+"url", "%s is lists.sources[%d] already; remove one", plain.Quote(s.URL), j)
		case s.URL == "google" || s.URL == "apple":
			if s.Sig != "" || s.Key != "" {
				seen[s.URL] = i
				r.add(at+"url", "what %s's signature needs is built in; remove sig and key, or write the list's URL", s.URL)
				continue
			}
		case !IsRemote(s.URL) && !strings.ContainsAny(s.URL, "/.") && plain.Nearest(s.URL, builtIn) != "":
			r.add(at+"url", "%s is no list that is built in; did you mean %s?", plain.Quote(s.URL), plain.Nearest(s.URL, builtIn))
		default:
			c.checkListPart(r, at+"url", s.URL)
		}
		seen[s.URL] = i
		if (s.Sig == "") != (s.Key == "") {
			r.add(strings.TrimSuffix(at, "."), "sig and key belong together; set both or neither")
			continue
		}
		if s.Sig != "" {
			c.checkListPart(r, at+"sig", s.Sig)
			if _, err := s.PublicKey(); err != nil {
				r.add(at+"key", "%w", err)
			}
		}
	}
	c.Follow.Start.check(r, "follow.start")
	for i, rule := range c.Follow.Include {
		if _, err := catalog.ParseRules([]string{rule}, nil); err != nil {
			r.add(fmt.Sprintf("follow.include[%d]", i), "%s", strings.TrimPrefix(err.Error(), "include: "))
		}
	}
	for i, rule := range c.Follow.Exclude {
		if _, err := catalog.ParseRules(nil, []string{rule}); err != nil {
			r.add(fmt.Sprintf("follow.exclude[%d]", i), "%s", strings.TrimPrefix(err.Error(), "exclude: "))
		}
	}
}

// checkListPart checks a path or URL of a list as far as that can be done
// without asking anybody.
func (c *Config) checkListPart(r *report, key, address string) {
	if !IsRemote(address) {
		r.file(key, address)
		return
	}
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Hostname() == "" || len(address) > 512 || plain.Printable(address) != address:
		r.add(key, "%s is not a URL; write https://host/list.json", plain.Quote(address))
	case u.User != nil:
		r.add(key, "has a user in it; lists are public")
	case u.Scheme != "https" && (u.Scheme != "http" || !c.AllowPrivate):
		r.add(key, "%s is not an https URL; a list of your own over http needs allow-private", plain.Quote(address))
	case isPrivate(u.Hostname()) && !c.AllowPrivate:
		r.add(key, "%s is on a private address; set allow-private if that is meant", plain.Quote(address))
	}
}

// PublicKey reads the PEM file of the key that signs the list.
func (s *ListSource) PublicKey() ([]byte, error) {
	text, _, err := ReadSmallFile(s.Key, 64<<10)
	if err != nil {
		return nil, err
	}
	if block, _ := pem.Decode(text); block == nil {
		return nil, errors.New("holds no PEM public key")
	}
	return text, nil
}

func (c *Config) checkLimits(r *report) {
	hosts := map[string]int{}
	for i, l := range c.Limits {
		at := fmt.Sprintf("limits[%d].", i)
		host := strings.ToLower(l.Host)
		of, name := "host:"+host, l.Host
		if host == "" {
			of, name = "operator:"+strings.ToLower(l.Operator), l.Operator
		}
		switch j, twice := hosts[of]; {
		case host == "" && l.Operator == "":
			r.add(at+"host", "is missing; write the host that the limit is for, or an operator")
		case host != "" && l.Operator != "":
			r.add(at+"operator", "stands beside host; a limit is for one of them, write two")
		case strings.ContainsAny(host, "/@ ?#") || plain.Printable(host) != host || len(host) > 253:
			r.add(at+"host", "%s is not a host name; leave scheme and path out", plain.Quote(l.Host))
		case len(l.Operator) > 200 || plain.Printable(l.Operator) != l.Operator:
			r.add(at+"operator", "%s is not the name of an operator", plain.Quote(l.Operator))
		case twice:
			r.add(at+"host", "%s is limits[%d] already; remove one", plain.Quote(name), j)
		default:
			hosts[of] = i
		}
		own := l.StartQPS != 0 || l.KeepAlive != "" && l.KeepAlive != "auto"
		switch {
		case l.MaxQPS == 0 && l.MaxInFlight == 0 && !own:
			r.add(strings.TrimSuffix(at, "."), "limits nothing; set max-qps or max-in-flight")
		case host == "" && own:
			r.add(strings.TrimSuffix(at, "."), "start-qps and keep-alive are set per host; write one item for each")
		case l.MaxQPS != 0 && l.StartQPS > l.MaxQPS:
			r.add(at+"start-qps", "%v is more than max-qps; lower it", l.StartQPS)
		}
	}
}
