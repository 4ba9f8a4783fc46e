package catalog

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

// retryFirst is the wait after a source's first failure in a row; it doubles
// from there. List and signature of a new version appear moments apart: a
// mismatch is over soon.
const retryFirst = time.Minute

// remindEvery is how often a source that keeps failing, or a list that is old,
// is mentioned again.
const remindEvery = 24 * time.Hour

// oldList is the age at which browsers stop relying on a list. Whoever stands
// between its publisher and us can keep us at it, but not hide that from us.
const oldList = 70 * 24 * time.Hour

// Run keeps the lists fresh until ctx ends, and then returns nil. Each source
// is asked at random intervals of half to one and a half of Options.Refresh,
// soon if its list is missing or old, and sooner, backing off, after a
// failure. changed, if not nil, is called from Run's goroutine after the set of
// logs, or anything about one of them, has changed, be it through Run or
// through [Catalog.Refresh]; changes that come while it works are one call.
func (c *Catalog) Run(ctx context.Context, changed func()) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	for _, s := range c.sources {
		wg.Go(func() { c.keep(ctx, s) })
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-c.changed:
			if changed != nil {
				changed()
			}
		}
	}
}

// keep keeps one source's list fresh.
func (c *Catalog) keep(ctx context.Context, s *source) {
	var warned, warnedOld time.Time
	failing := false
	for wait := c.firstWait(s, time.Now()); sleep(ctx, wait); {
		err := c.refresh(ctx, s)
		if ctx.Err() != nil {
			return
		}
		c.mu.Lock()
		failures, last := s.errs, s.good
		c.mu.Unlock()
		if err == nil {
			if failing {
				c.logger.Info("log list refreshed again", "list", s.Name)
			}
			failing = false
			if at := last.list.Timestamp; !at.IsZero() && time.Since(at) > oldList && time.Since(warnedOld) >= remindEvery {
				c.logger.Warn("log list is old, its publisher's newer ones do not arrive", "list", s.Name, "version", last.list.Version, "timestamp", at)
				warnedOld = time.Now()
			}
			wait = c.interval()
			continue
		}
		wait = c.retryWait(failures)
		if !failing || time.Since(warned) >= remindEvery {
			attrs := []any{"list", s.Name, "err", err, "retry_in", wait.Round(time.Second)}
			if last != nil {
				attrs = append(attrs, "last_good", last.fetched)
			}
			c.logger.Warn("log list refresh failed", attrs...)
			warned = time.Now()
		}
		failing = true
	}
}

// interval draws the time until a source is asked again: appliances that were
// started together do not ask together for long.
func (c *Catalog) interval() time.Duration {
	return c.o.Refresh/2 + rand.N(c.o.Refresh)
}

// retryWait draws the wait after so many failures in a row, one at least.
func (c *Catalog) retryWait(failures int) time.Duration {
	d := min(retryFirst, c.o.Refresh/8)
	for range failures - 1 {
		if d *= 2; d >= c.o.Refresh {
			d = c.o.Refresh
			break
		}
	}
	return d/2 + rand.N(d/2)
}

// firstWait is the time from the start of Run until the first question.
func (c *Catalog) firstWait(s *source, now time.Time) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.errs > 0 {
		return c.retryWait(s.errs)
	}
	if s.good == nil {
		return 0
	}
	// A list of the future was fetched while the clock was wrong, or is read
	// while it is.
	if age := now.Sub(s.good.fetched); age >= 0 {
		if wait := c.interval() - age; wait > 0 {
			return wait
		}
	}
	return rand.N(min(retryFirst, c.o.Refresh/8))
}

// sleep waits for d and reports whether ctx lives on.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
