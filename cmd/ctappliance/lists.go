package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"ctappliance/cmd/ctappliance/plain"
	"ctappliance/cmd/ctappliance/report"
	"ctappliance/cmd/ctappliance/usage"
	"ctappliance/ingest/catalog"
)

// listsDir is where the data directory keeps the last good lists.
const listsDir = "lists"

// sources are the lists of the configuration.
func (c *settings) sources() ([]catalog.Source, error) {
	if len(c.Lists.Sources) == 0 {
		return []catalog.Source{catalog.Google(), catalog.Apple()}, nil
	}
	var out []catalog.Source
	names := map[string]bool{}
	for i, l := range c.Lists.Sources {
		s, err := catalog.ParseSource(l.URL)
		if err == nil && l.Key != "" {
			s.SigURL = l.Sig
			s.Key, err = l.PublicKey()
		}
		if err != nil {
			return nil, usage.Wrap(fmt.Errorf("%s: %w", c.Label(fmt.Sprintf("lists.sources[%d]", i)), err))
		}
		for n, name := 2, s.Name; names[s.Name]; n++ { // two lists of one host
			s.Name = fmt.Sprintf("%.60s-%d", name, n)
		}
		names[s.Name] = true
		out = append(out, s)
	}
	return out, nil
}

// openLists reads the lists that dir keeps; it asks nobody.
func (c *settings) openLists(dir string, out *slog.Logger) (*catalog.Catalog, error) {
	sources, err := c.sources()
	if err != nil {
		return nil, err
	}
	return catalog.Open(catalog.Options{Dir: dir, Sources: sources, UserAgent: c.userAgent(), Refresh: time.Duration(c.Lists.Refresh),
		AllowPrivate: c.AllowPrivate, Logger: out})
}

// fetchWait is how long a start or a reload waits for lists that were never
// read.
const fetchWait = 30 * time.Second

// fetchLists asks for the lists where none was ever read. The error is about
// those that could not be had: the others may do.
func fetchLists(ctx context.Context, lists *catalog.Catalog) error {
	if len(lists.Logs()) > 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, fetchWait)
	defer cancel()
	return lists.Refresh(ctx)
}

// errNoList says what to do where there is no list at all.
func errNoList(err error) error {
	if err == nil {
		err = errors.New("the lists name no logs")
	}
	return fmt.Errorf("no log list could be had: %s; see that this machine reaches the Internet, or fetch https://www.gstatic.com/ct/log_list/v3/log_list.json elsewhere and set lists.sources to its path", plain.OneLine(err))
}

// listStatuses are the lists for status and metrics; followed are the lists of
// each log that is followed.
func listStatuses(lists *catalog.Catalog, followed [][]string) []report.List {
	if lists == nil {
		return nil
	}
	count := map[string]int{}
	for _, names := range followed {
		for _, name := range names {
			count[name]++
		}
	}
	var out []report.List
	for _, s := range lists.Sources() {
		st := report.List{Name: s.Name, From: s.URL, Version: s.Version, At: s.Timestamp, Read: s.Fetched, Signed: s.Signed, Logs: s.Logs, Followed: count[s.Name], Error: s.Err}
		if s.Err != "" {
			st.ErrorAt = s.Checked
		}
		out = append(out, st)
	}
	return out
}
