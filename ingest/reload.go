package ingest

import (
	"context"
	"errors"
	"slices"

	"golang.org/x/sync/errgroup"

	"ctappliance/ingest/ctlog"
)

// errNotRunning means that there is no Run to tell the new set to.
var errNotRunning = errors.New("the appliance does not run")

// SetLogs replaces the set of followed logs while Run runs. A log that stays
// keeps its place and its spans, also where its name, URL or client are new;
// one that is left out stops, and keeps its place for the day when it comes
// back; a new one begins as its Follow says. It returns when the new set is in
// force, and an error, with nothing changed, where the set makes no sense.
func (a *Appliance) SetLogs(ctx context.Context, logs []Follow) error {
	if a.c.UntilDone {
		return errors.New("a backfill has the logs that it was begun with")
	}
	if err := checkLogs(logs); err != nil {
		return err
	}
	r := &newSet{logs: logs, done: make(chan struct{})}
	select {
	case a.sets <- r:
	case <-a.over:
		return errNotRunning
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-r.done:
		return nil
	case <-a.over:
		return errNotRunning
	case <-ctx.Done():
		return ctx.Err()
	}
}

// newSet is a set of logs on its way to crew.run.
type newSet struct {
	logs []Follow
	done chan struct{}
}

// crew runs the followers. Its goroutine alone changes the set; everybody else
// reads Appliance.following.
type crew struct {
	a    *Appliance
	g    *errgroup.Group
	ctx  context.Context
	last map[ctlog.Hash]*follower // of every log of this life, also those that are left out now
}

// run runs the followers until ctx ends or one of them fails, which is our own
// failure, never a log's.
func (a *Appliance) runFollowers(ctx context.Context) error {
	defer close(a.over)
	g, ctx := errgroup.WithContext(ctx)
	c := &crew{a: a, g: g, ctx: ctx, last: map[ctlog.Hash]*follower{}}
	for _, f := range a.following() {
		c.start(f)
	}
	g.Go(func() error {
		for {
			select {
			case r := <-a.sets:
				c.apply(r.logs)
				close(r.done)
			case <-ctx.Done():
				return nil
			}
		}
	})
	return g.Wait()
}

// start runs f, after whoever followed the log before has gone: a span has one
// owner, and a batch that was being appended is in the WAL by then, with the
// cursor behind it.
func (c *crew) start(f *follower) {
	before := c.last[f.info.ID]
	c.last[f.info.ID] = f
	ctx, stop := context.WithCancel(c.ctx)
	f.stop, f.ended = stop, make(chan struct{})
	c.g.Go(func() error {
		defer close(f.ended)
		defer stop()
		if before != nil {
			<-before.ended
			f.inherit(before)
		}
		return stopped(ctx, f.run(ctx))
	})
}

// apply makes logs the set that is followed.
func (c *crew) apply(logs []Follow) {
	var set []*follower
	kept := map[*follower]bool{}
	current := map[ctlog.Hash]*follower{}
	for _, f := range c.a.following() {
		current[f.info.ID] = f
	}
	var fresh []*follower
	for _, want := range logs {
		old := current[want.Log.Info().ID]
		if old != nil && old.fits(want) {
			old.mu.Lock()
			old.why = want.Why
			old.mu.Unlock()
			set, kept[old] = append(set, old), true
			continue
		}
		f := newFollower(c.a, want)
		fresh = append(fresh, f)
		set = append(set, f)
		if old != nil {
			f.out.Info("log changed, going on where it was", "url", f.info.URL)
		} else {
			f.out.Info("log followed", "url", f.info.URL, "reason", f.why)
		}
	}
	for id, f := range current {
		if kept[f] {
			continue
		}
		f.stop()
		if !slices.ContainsFunc(set, func(n *follower) bool { return n.info.ID == id }) {
			f.out.Info("log no longer followed, its place is kept")
		}
	}
	c.a.followers.Store(&set)
	for _, f := range fresh {
		c.start(f)
	}
}

// fits says whether f is what want asks for: the same client, which is as much
// as the same place and the same settings, and the same ranges.
func (f *follower) fits(want Follow) bool {
	return f.log == want.Log && f.pace == want.Pace && slices.Equal(f.want, want.Spans) && len(want.Repairs) == 0
}

// inherit takes over what before has learnt of the log. It has ended.
func (f *follower) inherit(before *follower) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.head, f.matched, f.savedSize = before.head, before.matched, before.savedSize
	f.halted, f.haltKind, f.evidence, f.owed = before.halted, before.haltKind, before.evidence, before.owed
	f.heads, f.lastErr, f.errAt, f.polled = before.heads, before.lastErr, before.errAt, before.polled
	f.past, f.risk = before.past, before.risk
	f.odd.Store(before.odd.Load() && f.info.FinalSize != 0)
	for _, s := range f.a.spans.ofLog(f.info.ID) {
		s.queued = false
		s.limit.Store(0)
	}
}
