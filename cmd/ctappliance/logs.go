package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"ctappliance/cmd/ctappliance/config"
	"ctappliance/cmd/ctappliance/plain"
	"ctappliance/cmd/ctappliance/usage"
	"ctappliance/ingest"
	"ctappliance/ingest/catalog"
	"ctappliance/ingest/ctlog"
)

// choice is a log that the configuration or the lists know, and what becomes
// of it.
type choice struct {
	Info   ctlog.Info
	Lists  []string // that name it
	Follow bool
	Why    string // it is followed, or is not, in a few words
	Start  config.Start
	Own    bool // named by the configuration
	Access access
}

// follows turns the logs that the configuration names, and those that it
// follows of the lists as they were last fetched, into clients with the spans
// to copy.
func (c *settings) follows(ctx context.Context) ([]ingest.Follow, error) {
	out := slog.New(slog.DiscardHandler)
	f := newFleet(c, out)
	f.recall(out)
	var lists *catalog.Catalog
	if c.NeedsLists() {
		var err error
		if lists, err = c.openLists(filepath.Join(c.DataDir, listsDir), out); err != nil {
			return nil, err
		}
	}
	choices, err := f.choose(ctx, c, lists, func(ctlog.Hash) bool { return true })
	if err != nil {
		return nil, err
	}
	if len(choices) == 0 && !c.FollowsLists() {
		return nil, usage.Errorf("there is no log to follow; set logs (url and key), or log-names")
	}
	f.tiles.mark(choices)
	return f.hosts.follows(choices, out)
}

// follows makes the clients of the logs that are to be followed. A log of the
// lists that cannot have one is left out, with a line in the log; one that the
// user named is an error.
func (h *hosts) follows(choices []choice, out *slog.Logger) ([]ingest.Follow, error) {
	var follows []ingest.Follow
	var errs []error
	for i := range choices {
		ch := &choices[i]
		if !ch.Follow {
			continue
		}
		client, pacer, err := h.client(ch.Info, ch.Access)
		if err != nil && ch.Own {
			errs = append(errs, fmt.Errorf("log %s: %w", plain.Quote(ch.Info.Name), err))
			continue
		}
		if err != nil {
			ch.Follow, ch.Why = false, "it cannot be asked: "+err.Error() // nor is it noted as followed
			out.Warn("log of the lists cannot be followed", "log", ch.Info.Name, "err", err)
			continue
		}
		follows = append(follows, ingest.Follow{Log: client, Pace: pacer, Spans: []ingest.Request{ch.Start.Request()}, Why: ch.Why})
	}
	if err := errors.Join(errs...); err != nil {
		return nil, usage.Wrap(err)
	}
	return follows, nil
}

// ownLogs are the logs of logs and log-names, completed from known, which is
// nil where there is no list.
func (c *settings) ownLogs(ctx context.Context, h *hosts, known []catalog.Listed) ([]choice, error) {
	var out []choice
	var errs []error
	seen := map[ctlog.Hash]bool{}
	add := func(l catalog.Listed, start config.Start, why string, may access) {
		if seen[l.ID] {
			return // chosen by name and configured by URL: the first one counts
		}
		seen[l.ID] = true
		out = append(out, choice{Info: l.Info, Lists: l.Lists, Follow: true, Why: why, Start: start, Own: true, Access: may})
	}
	for i := range c.Logs {
		info, err := c.resolveLog(ctx, i, known, h)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		add(info, c.Logs[i].Start, "named under logs", accessOf(&c.Logs[i]))
	}
	for _, name := range c.LogNames {
		if name == "all usable" {
			for _, l := range known {
				if l.Follow() && (l.State == "usable" || l.State == "qualified") {
					add(l, config.Start{}, "named in log-names, as all that are usable", access{})
				}
			}
			continue
		}
		l, err := findListed(known, name)
		if err == nil && !l.Follow() {
			err = fmt.Errorf("%q is %s and no longer answers", l.Name, plain.First(l.State, l.Problem))
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("log-names: %w", err))
			continue
		}
		add(l, config.Start{}, "named in log-names", access{})
	}
	if err := errors.Join(errs...); err != nil {
		return nil, usage.Wrap(err)
	}
	return out, nil
}

// knownLogs are the logs of log-list, else those of the lists as they were
// last fetched; nobody is asked for them. nil: no list is there.
func (c *settings) knownLogs() ([]catalog.Listed, error) {
	list, err := c.loadList()
	if err != nil || list != nil {
		return asListed(list), err
	}
	lists, err := c.openLists(filepath.Join(c.DataDir, listsDir), slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	if logs := lists.Logs(); len(logs) > 0 {
		return logs, nil
	}
	return nil, nil
}

// asListed are the logs of a list file.
func asListed(list *ctlog.List) []catalog.Listed {
	if list == nil {
		return nil
	}
	out := make([]catalog.Listed, len(list.Logs))
	for i, info := range list.Logs {
		out[i] = catalog.Listed{Info: info, Lists: []string{"log-list"}}
	}
	return out
}

// findListed finds a log by name, URL or log ID.
func findListed(known []catalog.Listed, what string) (catalog.Listed, error) {
	if known == nil {
		return catalog.Listed{}, fmt.Errorf("there is no log list to choose %s from; set log-list to a v3 JSON file, or fetch lists with 'ctappliance logs --refresh'", plain.Quote(what))
	}
	infos := make([]ctlog.Info, len(known))
	for i := range known {
		infos[i] = known[i].Info
	}
	info, err := ctlog.Find(infos, what)
	if err != nil {
		return catalog.Listed{}, err
	}
	i := slices.IndexFunc(known, func(l catalog.Listed) bool { return l.ID == info.ID && l.URL == info.URL })
	return known[i], nil
}

func (c *settings) loadList() (*ctlog.List, error) {
	if c.LogList == "" {
		return nil, nil
	}
	list, err := ctlog.LoadList(c.LogList)
	if err != nil {
		return nil, usage.Wrap(fmt.Errorf("log-list: %w", err))
	}
	return list, nil
}

// resolveLog completes what the user said of logs[i] from a list, and asks the
// log itself for its protocol where neither knows.
func (c *settings) resolveLog(ctx context.Context, i int, known []catalog.Listed, h *hosts) (catalog.Listed, error) {
	l := &c.Logs[i]
	wrong := func(key, format string, args ...any) error {
		return fmt.Errorf("%s: %w", c.Label(fmt.Sprintf("logs[%d].%s", i, key)), fmt.Errorf(format, args...))
	}
	var der []byte
	if l.Key != "" {
		var err error
		if der, err = ctlog.ParseKey(l.Key); err != nil {
			return catalog.Listed{}, wrong("key", "%w", err)
		}
	}
	info, listed := catalog.Listed{}, false
	may := accessOf(l)
	if found, err := findListed(known, l.URL); err == nil && !may.archive {
		if der != nil && sha256.Sum256(der) != found.ID {
			return info, wrong("key", "is not the key that the log list has for %s; leave it out, or copy it again", plain.Quote(found.Name))
		}
		info, listed = found, true
	} else if id := sha256.Sum256(der); der != nil {
		// A list may know the log by its key, at another place.
		if j := slices.IndexFunc(known, func(k catalog.Listed) bool { return k.ID == id && k.Problem == "" }); j >= 0 {
			info = known[j]
			info.TileURL = ""
			if !may.archive { // whose checkpoint has the origin that the log had
				info.SubmissionURL = ""
			}
		}
	} else if found, err := findListed(known, l.Name); err == nil && l.Name != "" && may.archive {
		info = found
		info.TileURL = ""
	}
	switch at := withSlash(l.URL); {
	case listed && info.SubmissionURL != "" && info.SubmissionURL == at: // the user named the submission prefix
	default:
		info.URL = at
	}
	info.Name, info.Operator = plain.First(l.Name, info.Name), plain.First(l.Operator, info.Operator)
	info.SubmissionURL = plain.First(l.SubmissionURL, info.SubmissionURL)
	if der != nil {
		info.Key, info.ID = der, sha256.Sum256(der)
	}
	if len(info.Key) == 0 {
		if known == nil {
			return info, wrong("key", "is missing; write the log's public key, or set log-list to look it up")
		}
		_, err := findListed(known, plain.First(l.Name, l.URL))
		return info, wrong("key", "is missing, and the log list does not know the log: %w; write its public key", err)
	}
	info.Name = plain.First(info.Name, strings.TrimSuffix(strings.TrimPrefix(strings.TrimPrefix(info.URL, "https://"), "http://"), "/"))
	switch {
	case may.archive:
		info.Kind, info.Problem = ctlog.Static, "" // a placeholder's URL, if anything, and it is not asked
		return info, nil
	case l.Kind == "rfc6962":
		info.Kind = ctlog.RFC6962
	case l.Kind == "static":
		info.Kind = ctlog.Static
	case !listed:
		kind, err := h.probeKind(ctx, info.Info)
		if err != nil {
			return info, wrong("url", "%w", err)
		}
		info.Kind = kind
	}
	if info.Kind == ctlog.Static && info.SubmissionURL == "" {
		info.SubmissionURL = info.URL
	}
	return info, nil
}

// probeKind asks a log for both kinds of head. The one that verifies says
// which protocol it speaks; that is asked once in a life.
func (h *hosts) probeKind(ctx context.Context, info ctlog.Info) (ctlog.Kind, error) {
	key := probed{info.ID, info.URL}
	h.mu.Lock()
	kind, ok := h.kinds[key]
	h.mu.Unlock()
	if ok {
		return kind, nil
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	var errs []string
	for _, kind := range []ctlog.Kind{ctlog.RFC6962, ctlog.Static} {
		info.Kind = kind
		info.SubmissionURL = plain.First(info.SubmissionURL, info.URL)
		client, _, err := h.client(info, access{})
		if err != nil {
			return 0, err
		}
		if _, err = client.Head(ctx); err == nil {
			h.mu.Lock()
			h.kinds[key] = kind
			h.mu.Unlock()
			return kind, nil
		}
		errs = append(errs, fmt.Sprintf("as %v: %v", kind, err))
	}
	return 0, fmt.Errorf("no log with this key answers at %s (%s); check the URL and the key", info.URL, strings.Join(errs, "; "))
}

// access is what the user's word for a log permits.
func accessOf(l *config.LogConfig) access {
	file, _ := ctlog.IsFileURL(l.URL)
	zip := strings.HasSuffix(strings.ToLower(strings.TrimRight(l.URL, "/")), ".zip")
	return access{file: file, archive: l.Kind == "archive" || l.Kind == "auto" && (file || zip)}
}

func withSlash(u string) string {
	if u == "" || strings.HasSuffix(u, "/") {
		return u
	}
	return u + "/"
}
