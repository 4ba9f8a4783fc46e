package catalog

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"ctappliance/ingest/ctlog"
)

// refresh asks one source and takes over its list if it is good.
func (c *Catalog) refresh(ctx context.Context, s *source) error {
	s.busy.Lock()
	defer s.busy.Unlock()
	c.mu.Lock()
	old := s.good
	c.mu.Unlock()
	g, err := c.ask(ctx, s, old)
	if err == nil {
		c.adopt(s, g)
		if err = saveCache(s, g); err != nil {
			err = fmt.Errorf("the new list is in use, but not kept for the next start: %w", err)
		}
	}
	if err != nil {
		err = fmt.Errorf("log list %s: %w", s.Name, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	s.checked, s.err = time.Now(), err
	if s.errs++; err == nil {
		s.errs = 0
	}
	return err
}

// ask returns the source's list, verified and found better than old, or as
// good.
func (c *Catalog) ask(ctx context.Context, s *source, old *goodList) (*goodList, error) {
	etag := ""
	if old != nil {
		etag = old.etag
	}
	data, newTag, err := c.fetch(ctx, s, s.URL, maxList, etag)
	if err != nil && err != errNotModified {
		return nil, err
	}
	now := time.Now()
	if old != nil && (err == errNotModified || bytes.Equal(data, old.data)) {
		same := *old
		same.fetched = now
		if err == nil {
			same.etag = newTag
		}
		return &same, nil
	}
	if start := bytes.TrimSpace(data[:min(len(data), 512)]); len(start) == 0 || start[0] != '{' {
		return nil, fmt.Errorf("what came is no log list but %s", quote(string(start[:min(len(start), 60)])))
	}
	g := &goodList{data: data, etag: newTag, fetched: now}
	if len(s.Key) != 0 {
		if g.sig, _, err = c.fetch(ctx, s, s.SigURL, maxSig, ""); err != nil {
			return nil, fmt.Errorf("its signature: %w", err)
		}
		if err := ctlog.VerifyList(g.data, g.sig, s.Key); err != nil {
			return nil, err
		}
		g.verified = true
	}
	if g.list, err = ctlog.ParseList(g.data); err != nil {
		return nil, err
	}
	if err := plausible(g.list); err != nil {
		return nil, err
	}
	if old == nil {
		return g, nil
	}
	if err := supersedes(g, old, now); err != nil {
		return nil, s.unless(err)
	}
	return g, nil
}

// unless says how to overrule a refusal.
func (s *source) unless(err error) error {
	if s.file == "" {
		return fmt.Errorf("%w; the last good one stays in use until a restart", err)
	}
	return fmt.Errorf("%w; the last good one stays in use (to accept the new one, stop, remove %s, start)", err, s.file)
}

// maxLogs is more than a hundred times what lists have.
const maxLogs = 5000

// plausible refuses lists that parse but cannot be meant.
func plausible(list *ctlog.List) error {
	switch n := len(list.Logs); {
	case n == 0:
		return errors.New("the list names no logs")
	case n > maxLogs:
		return fmt.Errorf("the list names %d logs; more than %d are not plausible", n, maxLogs)
	}
	return nil
}

// supersedes refuses a list that is older than the one in hand, or has lost
// too much of it.
func supersedes(g, old *goodList, now time.Time) error {
	if older(g, old, now) {
		return fmt.Errorf("the list that came (%s) is older than the last good one (%s)", g.describe(), old.describe())
	}
	// A list of a few logs, somebody's own, may well lose most of them.
	const few = 10
	was, is := len(old.list.Logs), len(g.list.Logs)
	if was >= few && 2*is < was {
		return fmt.Errorf("the list that came (%s) names %d logs, the last good one (%s) named %d: not plausible", g.describe(), is, old.describe(), was)
	}
	was, is = followable(old.list), followable(g.list)
	if was >= few && 2*is < was {
		return fmt.Errorf("of the logs of the list that came (%s) %d can be followed, of the last good one's (%s) %d: not plausible", g.describe(), is, old.describe(), was)
	}
	return nil
}

// followable counts the logs that a default selection would follow.
func followable(list *ctlog.List) int {
	n := 0
	for i := range list.Logs {
		if list.Logs[i].Follow() {
			n++
		}
	}
	return n
}

// older reports whether g comes before old, by the first thing that tells.
func older(g, old *goodList, now time.Time) bool {
	if g.dubious(now) || old.dubious(now) {
		return false
	}
	a, b := g.list, old.list
	if !a.Timestamp.IsZero() && !b.Timestamp.IsZero() && !a.Timestamp.Equal(b.Timestamp) {
		return a.Timestamp.Before(b.Timestamp)
	}
	if a.Serial != 0 && b.Serial != 0 && a.Serial != b.Serial {
		return a.Serial < b.Serial
	}
	order, ok := compareVersions(a.Version, b.Version)
	return ok && order < 0
}

// dubious reports whether nobody vouches for a list's date and it cannot be
// right. Our own clock may be what is wrong: nothing but the protection
// against old unsigned lists depends on it.
func (g *goodList) dubious(now time.Time) bool {
	return !g.verified && g.list.Timestamp.After(now.Add(futureDated))
}

// describe names a generation of a list.
func (g *goodList) describe() string {
	switch l := g.list; {
	case !l.Timestamp.IsZero():
		return fmt.Sprintf("version %s of %s", quote(l.Version), l.Timestamp.Format(time.RFC3339))
	case l.Serial != 0:
		return fmt.Sprintf("version %s, asset %d", quote(l.Version), l.Serial)
	default:
		return fmt.Sprintf("version %s", quote(l.Version))
	}
}

// compareVersions orders versions of the form 85.92; ok is false if one of
// them is of another.
func compareVersions(a, b string) (order int, ok bool) {
	as, bs := strings.Split(a, "."), strings.Split(b, ".")
	for i := range max(len(as), len(bs)) {
		var n [2]uint64
		for j, parts := range [][]string{as, bs} {
			if i >= len(parts) {
				continue // 85 is 85.0
			}
			v, err := strconv.ParseUint(parts[i], 10, 64)
			if err != nil {
				return 0, false
			}
			n[j] = v
		}
		order = cmp.Or(order, cmp.Compare(n[0], n[1]))
	}
	return order, true
}
