package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"time"

	"ctappliance/ingest"
	"ctappliance/ingest/ctlog"
	"ctappliance/ingest/pace"
)

// follows turns the configured logs into clients with the spans to copy.
func (c *Config) follows(ctx context.Context) ([]ingest.Follow, error) {
	list, err := c.loadList()
	if err != nil {
		return nil, err
	}
	p := &pacers{c: c, byHost: map[string]*pace.Pacer{}}
	var out []ingest.Follow
	var errs []error
	seen := map[ctlog.Hash]bool{}
	add := func(info ctlog.Info, start Start) {
		if seen[info.ID] {
			return // chosen by name and configured by URL: the first one counts
		}
		seen[info.ID] = true
		client, pacer, err := p.client(info)
		if err != nil {
			errs = append(errs, fmt.Errorf("log %s: %w", quote(info.Name), err))
			return
		}
		out = append(out, ingest.Follow{Log: client, Pace: pacer, Spans: []ingest.Request{start.request()}})
	}
	for i := range c.Logs {
		info, err := c.resolveLog(ctx, i, list)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		add(info, c.Logs[i].Start)
	}
	for _, name := range c.LogNames {
		if list == nil {
			errs = append(errs, errors.New("log-names: there is no log list to choose from; set log-list to a v3 JSON file"))
			break
		}
		if name == "all usable" {
			for _, info := range list.Logs {
				if info.Follow() && (info.State == "usable" || info.State == "qualified") {
					add(info, Start{})
				}
			}
			continue
		}
		info, err := ctlog.Find(list.Logs, name)
		if err == nil && !info.Follow() {
			err = fmt.Errorf("%q is %s and no longer answers", info.Name, info.State)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("log-names: %w", err))
			continue
		}
		add(info, Start{})
	}
	if err := errors.Join(errs...); err != nil {
		return nil, &usageError{err}
	}
	if len(out) == 0 {
		return nil, usagef("there is no log to follow; set logs (url and key), or log-list and log-names")
	}
	return out, nil
}

func (c *Config) loadList() (*ctlog.List, error) {
	if c.LogList == "" {
		return nil, nil
	}
	list, err := ctlog.LoadList(c.LogList)
	if err != nil {
		return nil, &usageError{fmt.Errorf("log-list: %w", err)}
	}
	return list, nil
}

// resolveLog completes what the user said of logs[i] from the log list, and
// asks the log itself for its protocol where neither knows.
func (c *Config) resolveLog(ctx context.Context, i int, list *ctlog.List) (ctlog.Info, error) {
	l := &c.Logs[i]
	wrong := func(key, format string, args ...any) error {
		return fmt.Errorf("%s: %w", c.label(fmt.Sprintf("logs[%d].%s", i, key)), fmt.Errorf(format, args...))
	}
	info := ctlog.Info{Name: l.Name, Operator: l.Operator, URL: withSlash(l.URL), SubmissionURL: l.SubmissionURL}
	known := false
	if list != nil {
		if found, err := ctlog.Find(list.Logs, l.URL); err == nil {
			known = true
			info = found
			info.URL = withSlash(l.URL)
			if found.SubmissionURL != "" && found.SubmissionURL == info.URL {
				info.URL = found.URL // the user named the submission prefix
			}
			info.Name, info.Operator = first(l.Name, found.Name), first(l.Operator, found.Operator)
			info.SubmissionURL = first(l.SubmissionURL, found.SubmissionURL)
		}
	}
	if l.Key != "" {
		der, err := ctlog.ParseKey(l.Key)
		if err != nil {
			return info, wrong("key", "%w", err)
		}
		if known && sha256.Sum256(der) != info.ID {
			return info, wrong("key", "is not the key that the log list has for %s; leave it out, or copy it again", quote(info.Name))
		}
		info.Key, info.ID = der, sha256.Sum256(der)
	}
	if len(info.Key) == 0 {
		if list == nil {
			return info, wrong("key", "is missing; write the log's public key, or set log-list to look it up")
		}
		_, err := ctlog.Find(list.Logs, l.URL)
		return info, wrong("key", "is missing, and the log list does not know the log: %w; write its public key", err)
	}
	info.Name = first(info.Name, strings.TrimSuffix(strings.TrimPrefix(strings.TrimPrefix(info.URL, "https://"), "http://"), "/"))
	switch {
	case l.Kind == "rfc6962":
		info.Kind = ctlog.RFC6962
	case l.Kind == "static":
		info.Kind = ctlog.Static
	case !known:
		kind, err := c.probeKind(ctx, info)
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
// which protocol it speaks.
func (c *Config) probeKind(ctx context.Context, info ctlog.Info) (ctlog.Kind, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	p := &pacers{c: c, byHost: map[string]*pace.Pacer{}}
	var errs []string
	for _, kind := range []ctlog.Kind{ctlog.RFC6962, ctlog.Static} {
		info.Kind = kind
		info.SubmissionURL = first(info.SubmissionURL, info.URL)
		client, _, err := p.client(info)
		if err != nil {
			return 0, err
		}
		if _, err = client.Head(ctx); err == nil {
			return kind, nil
		}
		errs = append(errs, fmt.Sprintf("as %v: %v", kind, err))
	}
	return 0, fmt.Errorf("no log with this key answers at %s (%s); check the URL and the key", info.URL, strings.Join(errs, "; "))
}

func withSlash(u string) string {
	if u == "" || strings.HasSuffix(u, "/") {
		return u
	}
	return u + "/"
}

func first(words ...string) string {
	for _, w := range words {
		if w != "" {
			return w
		}
	}
	return ""
}
