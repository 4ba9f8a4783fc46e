package ingest

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"ctappliance/checkpoint"
	"ctappliance/ingest/chain"
	"ctappliance/ingest/ctlog"
	"ctappliance/internal/durable"
	"ctappliance/wal"
)

// Appliance is the pipeline over one data directory. Open recovers it, Run
// runs it, once.
type Appliance struct {
	c      *Config
	unlock func() error

	checkpoint *checkpoint.DB
	wal        *wal.Log
	chains     *chain.Store
	roots      *Roots
	issuers    *issuers
	oracle     *oracle
	ring       *ring
	rowSlices  sync.Pool // *[]schema.Row, zeroed; see recycle
	spans      *spanTable
	followers  atomic.Pointer[[]*follower] // see crew, which replaces it
	auditor    *auditor

	planning chan struct{} // full while ground is looked for and given to new spans; who waits for it heeds its ctx

	fetchMemory *semaphore.Weighted
	lifeStart   uint64            // first WAL seq of this life
	recovered   map[uint64]uint64 // by span: its cursor at lifeStart
	fedFrom     map[uint64]uint64 // by span: where the WAL's undelivered records must go on
	start       *checkpoint.State // as loaded and mended
	strays      []uint64          // flushes of former lives that cannot be cut again and may still take effect

	sets chan *newSet  // for crew
	over chan struct{} // closed when the followers have ended

	hurry    chan struct{} // holds one: every span may have been fetched
	touched  chan struct{} // holds one: a verified mark moved
	finished context.CancelFunc
	done     atomic.Bool
	sounded  atomic.Bool // every span's mark has been held against the ledger in this life

	// For status.
	began        time.Time
	delivered    rate
	deliveredSeq atomic.Uint64
	lastDelivery atomic.Int64 // unix nanoseconds
	insertErrors atomic.Uint64
	reinserted   atomic.Uint64
	mu           sync.Mutex
	trouble      string   // why delivery waits
	alarms       []string // what must never happen, and did
	alarmed      uint64
}

// InUseError means that another process works in the data directory.
type InUseError struct {
	Dir string
	Err error
}

func (e *InUseError) Error() string {
	return fmt.Sprintf("data directory %s is in use: %v; stop that process, or give this one a directory of its own", e.Dir, e.Err)
}
func (e *InUseError) Unwrap() error { return e.Err }

// WALDir returns where the WAL of a data directory lies.
func WALDir(dir string) string { return filepath.Join(dir, "wal") }

// RootsDir returns where the subtree roots of a data directory lie.
func RootsDir(dir string) string { return filepath.Join(dir, "roots") }

func (a *Appliance) evidenceDir() string { return filepath.Join(a.c.Dir, "evidence") }

// Open locks the data directory and recovers the appliance's state from it:
// checkpoint first, then the WAL, which overrules it.
func Open(c Config) (a *Appliance, err error) {
	if err := c.setDefaults(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("creating data directory: %w", err)
	}
	a = &Appliance{c: &c, began: time.Now(), ring: newRing(c.RingMemory),
		fetchMemory: semaphore.NewWeighted(c.FetchMemory),
		spans:       &spanTable{byID: map[uint64]*span{}, next: 1},
		recovered:   map[uint64]uint64{},
		sets:        make(chan *newSet), over: make(chan struct{}),
		hurry: make(chan struct{}, 1), planning: make(chan struct{}, 1), touched: make(chan struct{}, 1)}
	if a.unlock, err = durable.Lock(filepath.Join(c.Dir, "lock")); err != nil {
		var locked *durable.LockedError
		if errors.As(err, &locked) {
			return nil, &InUseError{c.Dir, err}
		}
		return nil, fmt.Errorf("locking data directory: %w", err)
	}
	opened := a // a return with an error leaves nil in a
	defer func() {
		if err != nil {
			err = errors.Join(err, opened.Close())
		}
	}()
	var setAside string
	if a.checkpoint, setAside, err = checkpoint.Open(c.Dir); err != nil {
		return nil, err
	}
	if setAside != "" {
		a.alarm("checkpoint was damaged and is kept as " + setAside + "; positions come from the WAL, what was delivered is counted")
	}
	if a.chains, setAside, err = chain.Open(c.Dir); err != nil {
		return nil, err
	}
	if setAside != "" {
		a.alarm("chain store was damaged and is kept as " + setAside)
	}
	if a.roots, err = OpenRoots(RootsDir(c.Dir)); err != nil {
		return nil, err
	}
	a.auditor = newAuditor(a)
	a.oracle = newOracle(c.Logger, a.logName)
	a.issuers = newIssuers(a.chains, c.Logger)
	a.issuers.check = a.oracle
	c.WAL.Step, c.WAL.Log = c.Step, c.Logger
	if err := os.MkdirAll(WALDir(c.Dir), 0o700); err != nil {
		return nil, fmt.Errorf("creating WAL directory: %w", err)
	}
	if a.wal, err = wal.Open(WALDir(c.Dir), c.WAL); err != nil {
		return nil, fmt.Errorf("opening WAL: %w", err)
	}
	if err = a.recover(); err != nil {
		return nil, err
	}
	var followers []*follower
	for _, f := range c.Logs {
		followers = append(followers, newFollower(a, f))
	}
	a.followers.Store(&followers)
	return a, nil
}

// following returns the followers of the present set of logs.
func (a *Appliance) following() []*follower { return *a.followers.Load() }

// logName returns what a log is called, or its ID where it is not followed.
func (a *Appliance) logName(id ctlog.Hash) string {
	for _, f := range a.following() {
		if f.info.ID == id {
			return f.info.Name
		}
	}
	return hex.EncodeToString(id[:])
}

// Close releases files and locks. It is safe on a half-open Appliance.
func (a *Appliance) Close() error {
	var errs []error
	if a.wal != nil {
		errs = append(errs, a.wal.Close())
	}
	if a.roots != nil {
		errs = append(errs, a.roots.Close())
	}
	if a.chains != nil {
		errs = append(errs, a.chains.Close())
	}
	if a.checkpoint != nil {
		errs = append(errs, a.checkpoint.Close())
	}
	if a.unlock != nil {
		errs = append(errs, a.unlock())
	}
	return errors.Join(errs...)
}

// Run moves entries until ctx ends, the spans are done (Config.UntilDone), or
// something of ours fails. It starts goroutines and returns when all of them
// have; stopping is a polite crash.
//
//	followers ──> WAL ──> ring ──> parsers ──> cutter ──> deliverer ──> Sink
func (a *Appliance) Run(ctx context.Context) error {
	ctx, a.finished = context.WithCancel(ctx)
	defer a.finished()
	g, ctx := errgroup.WithContext(ctx)
	rows, cuts := make(chan *parsed), make(chan *flush)
	from := a.start.Meta.DeliveredSeq
	d := &deliverer{a: a, meta: a.start.Meta, strays: a.strays, lifeFrom: from}
	c := &cutter{a: a, out: cuts, intents: a.start.Intents, fed: a.fedFrom}
	a.deliveredSeq.Store(from)
	g.Go(func() error { return stopped(ctx, d.run(ctx, cuts)) })
	g.Go(func() error { return stopped(ctx, c.run(ctx, from, rows)) })
	g.Go(func() error { return stopped(ctx, a.parse(ctx, from, rows)) })
	g.Go(func() error { return a.publish(ctx) })
	g.Go(func() error { return a.auditor.run(ctx) })
	g.Go(func() error { return a.assess(ctx) })
	g.Go(func() error { return a.runFollowers(ctx) })
	err := g.Wait()
	if err == nil && a.done.Load() {
		last, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		err = errors.Join(a.c.Sink.PutLogs(last, a.logRows()), a.saveHeads())
	}
	if err == nil {
		err = a.haltError()
	}
	return err
}

// stopped drops the error that only says that ctx has ended.
func stopped(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// haltError is what a backfill ends with when a log did not verify.
func (a *Appliance) haltError() error {
	if !a.c.UntilDone {
		return nil
	}
	var errs []error
	for _, f := range a.following() {
		f.mu.Lock()
		if f.halted != "" {
			errs = append(errs, fmt.Errorf("%s was halted: %s (evidence in %s)", f.info.Name, f.halted, a.evidenceDir()))
		}
		f.mu.Unlock()
	}
	return errors.Join(errs...)
}

// addSpans covers [from, to) of a log with new spans wherever no span does.
func (a *Appliance) addSpans(ctx context.Context, log ctlog.Hash, from, to uint64) ([]*span, error) {
	var added []*span
	select { // what is free now must be free when it is taken
	case a.planning <- struct{}{}:
		defer func() { <-a.planning }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	for _, r := range subtract(from, to, a.spans.covered(log)) {
		kind := checkpoint.KindBackfill
		if r.To == Forever {
			kind = checkpoint.KindTail
		}
		s := a.spans.add(log, kind, r.From, r.To)
		if err := a.checkpoint.Update(func(tx *checkpoint.Tx) error { return tx.PutSpan(s.save()) }); err != nil {
			return nil, err
		}
		added = append(added, s)
	}
	return added, nil
}

// startSpan has a conductor started for a span that was added in mid-life.
func (a *Appliance) startSpan(s *span) {
	for _, f := range a.following() {
		if f.info.ID == s.log {
			f.enqueue(s)
			return
		}
	}
	a.c.Logger.Warn("span waits for its log to be followed again", "span", s.id, "from", s.from, "to", s.to)
}

// fetchedAll says whether every span of a followed log is in the WAL, and
// proven.
func (a *Appliance) fetchedAll() bool {
	for _, f := range a.following() {
		if !f.planned.Load() {
			return false
		}
		for _, s := range a.spans.ofLog(f.info.ID) {
			if s.open() && s.haltReason() == "" {
				return false
			}
		}
	}
	return true
}

// progress is called when a span may have come to its end.
func (a *Appliance) progress() {
	if !a.c.UntilDone || !a.sounded.Load() || !a.fetchedAll() {
		return
	}
	select {
	case a.hurry <- struct{}{}:
	default:
	}
	for _, f := range a.following() {
		for _, s := range a.spans.ofLog(f.info.ID) {
			if s.delivered.Load() < s.cursor.Load() {
				return
			}
		}
	}
	a.done.Store(true)
	a.finished()
}

func (a *Appliance) touch() {
	select {
	case a.touched <- struct{}{}:
	default:
	}
}

// damaged notes a stretch of the WAL that cannot be read.
func (a *Appliance) damaged(e *wal.CorruptError) {
	a.alarm(e.Error() + "; what it held is fetched again")
}

// alarm records what must never happen. Only the newest few are kept in words.
func (a *Appliance) alarm(what string) {
	a.c.Logger.Error("alarm", "what", what)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.alarmed++
	for _, known := range a.alarms {
		if known == what {
			return
		}
	}
	if a.alarms = append(a.alarms, what); len(a.alarms) > 20 {
		a.alarms = a.alarms[1:]
	}
}

func (a *Appliance) setTrouble(what string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.trouble = what
}

// newWriter draws the high bits of a life's flush IDs: the tokens of a
// checkpoint that was lost, or that comes back older than it was, must not be
// used again for other rows.
func newWriter() uint64 { return rand.Uint64N(1<<23) + 1 }
