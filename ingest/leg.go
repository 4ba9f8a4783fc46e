package ingest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"ctappliance/ingest/ctlog"
)

// task is one planned request's range and where its batches go, in order. The
// worker that fetches it closes out.
type task struct {
	from, to uint64
	weight   int64 // bytes booked of the fetch memory
	out      chan fetched
}

// fetched is one batch with its leaf hashes.
type fetched struct {
	batch  *ctlog.Batch
	hashes []ctlog.Hash
	size   int // bytes of the entries in memory
}

// entryOverhead is what an entry takes in memory beside its bytes: its slices,
// its hash, and its share of the answer.
const entryOverhead = 256

// tooLargeTries is after how many answers in a row that exceed the limit an
// alarm is raised.
const tooLargeTries = 5

// leg fetches [cursor, target) of a tree of treeSize entries and appends it to
// the WAL. It may end early where only a partial tile is left that may not be
// fetched yet. Requests run in parallel, their answers are put back in order.
func (c *conductor) leg(ctx context.Context, target, treeSize uint64) error {
	workers := c.f.a.c.FetchWorkers
	g, ctx := errgroup.WithContext(ctx)
	tasks := make(chan *task)
	ordered := make(chan *task, 2*workers)

	g.Go(func() error {
		defer close(tasks)
		defer close(ordered)
		return c.plan(ctx, target, treeSize, tasks, ordered)
	})
	for range workers {
		g.Go(func() error {
			for t := range tasks {
				if err := c.fetch(ctx, t, treeSize); err != nil {
					return err
				}
			}
			return nil
		})
	}
	g.Go(func() error {
		for t := range ordered {
			if err := c.appendTask(ctx, t); err != nil {
				return err
			}
		}
		return nil
	})
	err := g.Wait()
	// What was planned and never came to its turn still holds memory.
	for t := range ordered {
		c.f.a.fetchMemory.Release(t.weight)
	}
	return err
}

// appendTask appends a task's answers and gives its memory back.
func (c *conductor) appendTask(ctx context.Context, t *task) error {
	defer c.f.a.fetchMemory.Release(t.weight)
	for f := range t.out {
		if err := c.append(ctx, f); err != nil {
			return err
		}
	}
	if c.s.cursor.Load() < t.to {
		// Its worker gave up, and closed out before the leg learnt of it. What
		// the next task brought does not follow on what is there.
		<-ctx.Done()
	}
	return ctx.Err()
}

// legTasks is how many requests for entries a leg makes at least before it ends
// for the sake of a proof, which takes one or two itself: where a log gives one
// answer in minutes, most of them must be entries.
const legTasks = 20

// plan cuts the leg into aligned requests. Memory is booked here, in order, so
// that the task whose turn it is never waits for one behind it. A leg of a log
// that gives little ends early, so that it is proven before hours have passed.
func (c *conductor) plan(ctx context.Context, target, treeSize uint64, tasks, ordered chan<- *task) error {
	planned := 0
	for from := c.s.cursor.Load(); from < target; planned++ {
		if planned >= legTasks && time.Since(c.proved) >= c.f.a.c.VerifyAge {
			return nil
		}
		to, ok := c.f.log.Plan(from, target, treeSize, c.wantPartial(treeSize))
		if !ok {
			return nil
		}
		t := &task{from: from, to: to, out: make(chan fetched, 2)}
		weight := min(max(c.s.answerSize.Load(), 64<<10), c.f.a.c.FetchMemory)
		if err := c.f.a.fetchMemory.Acquire(ctx, weight); err != nil {
			return err
		}
		t.weight = weight
		select {
		case ordered <- t:
		case <-ctx.Done():
			c.f.a.fetchMemory.Release(weight)
			return ctx.Err()
		}
		select {
		case tasks <- t:
		case <-ctx.Done():
			close(t.out)
			return ctx.Err()
		}
		from = to
	}
	return nil
}

// fetch fetches a task's range, however many answers that takes.
func (c *conductor) fetch(ctx context.Context, t *task, treeSize uint64) error {
	defer close(t.out)
	w := *c // trouble is this worker's own
	w.failing = trouble{}
	large := 0
	for from := t.from; from < t.to; {
		b, err := c.f.log.Entries(ctx, from, t.to, treeSize)
		if err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if errors.Is(err, ctlog.ErrTooLarge) {
				// No log takes entries of that size: a server in front of it has
				// gone mad, and may recover. If it never does, somebody must look.
				if large++; large == tooLargeTries {
					c.f.a.alarm(fmt.Sprintf("%s: what it answers for entry %d is too large, %d times in a row: %v", c.f.info.Name, from, large, err))
				}
			}
			if err := w.retry(ctx, "fetch failed", err); err != nil {
				return err
			}
			continue
		}
		if b.From != from || len(b.Entries) == 0 || from+uint64(len(b.Entries)) > t.to {
			return fmt.Errorf("log client returned [%d,%d) for [%d,%d)", b.From, b.From+uint64(len(b.Entries)), from, t.to)
		}
		w.recovered()
		large = 0
		f := fetched{batch: b, hashes: ctlog.LeafHashes(b.Entries)}
		for i := range b.Entries {
			e := &b.Entries[i]
			if e.Precert == nil {
				// What the log sent in its place and nobody could take apart is kept
				// where a precertificate would be: the parser says what is wrong.
				e.Precert = e.Extra
			}
			f.size += entryOverhead + len(e.Leaf) + len(e.Precert) + 32*len(e.Chain)
		}
		c.s.answerSize.Store(int64(f.size))
		from += uint64(len(b.Entries))
		select {
		case t.out <- f:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// append extends the frontier by a batch and writes both to the WAL. Only when
// they are on disk does the cursor move (I2).
func (c *conductor) append(ctx context.Context, f fetched) error {
	a, s := c.f.a, c.s
	inline, err := a.issuers.collect(ctx, c.f, f.batch)
	if err != nil {
		return err
	}
	if f.batch.From != s.frontier.Size() {
		return fmt.Errorf("batch at %d does not follow on the cursor at %d", f.batch.From, s.frontier.Size())
	}
	next := s.frontier.Clone()
	var roots []subtree
	next.AppendAll(f.hashes, func(level uint, index uint64, h ctlog.Hash) {
		if level == 8 {
			roots = append(roots, subtree{index, h})
		}
	})
	state, err := (&position{log: s.log, kind: s.kind, from: s.from, to: s.to, frontier: next}).marshal()
	if err != nil {
		return err
	}
	memory := encodeMemory.Get().(*encodeBuffers)
	payload, err := memory.encodeRecord(s.log, f.batch, roots, inline)
	if err != nil {
		return err
	}
	if len(payload) > maxRecord {
		return c.appendHalves(ctx, f)
	}
	seq, err := a.wal.Append(ctx, s.id, state, payload)
	if err != nil {
		return fmt.Errorf("appending to WAL: %w", err)
	}
	memory.release()
	s.frontier = next
	s.saved.Store(&savedPosition{next.Size(), state[positionHeader:]})
	s.cursor.Store(next.Size())
	s.entries.add(uint64(len(f.hashes)))
	a.ring.put(ctx, seq, s.id, &record{log: s.log, from: f.batch.From, entries: f.batch.Entries, roots: roots, inline: inline, memory: f.batch.Memory}, f.size)
	return nil
}

// appendHalves is for an answer that does not fit into one record of the WAL:
// the log decides how large its answers are, and must not end us by that.
func (c *conductor) appendHalves(ctx context.Context, f fetched) error {
	n := len(f.batch.Entries)
	if n == 1 {
		c.f.halt(&VerifyError{Log: c.f.info.Name, Kind: KindTooLarge, Reason: fmt.Sprintf("entry %d is too large to keep", f.batch.From)})
		return errHalted
	}
	for _, r := range [][2]int{{0, n / 2}, {n / 2, n}} {
		half := fetched{hashes: f.hashes[r[0]:r[1]], size: f.size / 2,
			batch: &ctlog.Batch{From: f.batch.From + uint64(r[0]), Entries: f.batch.Entries[r[0]:r[1]], Issuers: f.batch.Issuers}}
		if err := c.append(ctx, half); err != nil {
			return err
		}
	}
	return nil
}
