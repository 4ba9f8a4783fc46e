package ingest

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"ctappliance/checkpoint"
	"ctappliance/ingest/ctlog"
	"ctappliance/schema"
)

// span is a range of one log on its way into the store. Its frontier belongs
// to the one goroutine that runs it (see conductor); the marks may be read by
// anyone.
type span struct {
	id       uint64
	log      ctlog.Hash
	kind     string
	from, to uint64

	// Entries below ground may be in the ledger although the span's mark does not
	// say so; they are counted before they are inserted. Found once per life of
	// ours and of the store, before the span's next flush; both belong to the
	// deliverer.
	ground  uint64
	sounded bool

	walTo uint64      // its end in the WAL, where retake has cut it; 0: to
	sweep atomic.Bool // the ledger's rows of it are removed before any goes in

	cursor    atomic.Uint64 // next index to fetch; everything below is in the WAL
	verified  atomic.Uint64 // [from, verified) hangs under a signed root
	delivered atomic.Uint64 // everything below is in the ledger
	dated     atomic.Uint64 // when the log dated the entry below delivered, milliseconds since 1970; 0 before the first flush
	halted    atomic.Pointer[string]
	entries   rate // for status

	saved atomic.Pointer[savedPosition] // cursor and frontier, for the checkpoint; nil while both are the span's beginning

	answerSize atomic.Int64  // bytes of the last answer: what the next one is expected to need
	limit      atomic.Uint64 // see goal; 0: none
	parked     atomic.Bool   // not run in this life: nobody asked for it
	queued     bool          // a conductor was started for it; guarded by its follower

	frontier *ctlog.Frontier // [0, cursor); nil until the log has proven one for a fresh span
}

// savedPosition is a cursor and the frontier up to it, encoded.
type savedPosition struct {
	cursor   uint64
	frontier []byte
}

func (s *span) done() bool { return s.delivered.Load() >= s.to }

// open says whether there is something left for a conductor: entries to fetch,
// or their proof.
func (s *span) open() bool {
	return !s.parked.Load() && (s.cursor.Load() < s.goal() || s.verified.Load() < s.goal())
}

// goal is where the span ends in this life: at its end, or, for a tail that
// only helps a backfill, where that ends.
func (s *span) goal() uint64 {
	if limit := s.limit.Load(); limit != 0 {
		return limit
	}
	return s.to
}

func (s *span) haltReason() string {
	if p := s.halted.Load(); p != nil {
		return *p
	}
	return ""
}

// save returns the span as the checkpoint keeps it. Cursor and frontier belong
// together and may lag behind the WAL, which overrules them: they are for the
// day when the WAL is lost.
func (s *span) save() checkpoint.Span {
	c := checkpoint.Span{
		ID: s.id, Log: s.log, Kind: s.kind, From: s.from, To: s.to,
		Verified: s.verified.Load(), Cursor: s.cursor.Load(), Delivered: s.delivered.Load(),
		Halted: s.haltReason(), WALTo: s.walTo, Sweep: s.sweep.Load(),
	}
	if p := s.saved.Load(); p != nil {
		c.Cursor, c.Frontier = p.cursor, p.frontier
	}
	return c
}

func restore(c checkpoint.Span) (*span, error) {
	s := &span{id: c.ID, log: c.Log, kind: c.Kind, from: c.From, to: c.To, walTo: c.WALTo}
	s.sweep.Store(c.Sweep)
	if c.From > c.Delivered || c.Delivered > c.To || !slices.Contains(kinds, c.Kind) {
		return nil, fmt.Errorf("span %d of the checkpoint makes no sense: kind %q, [%d,%d), delivered %d", c.ID, c.Kind, c.From, c.To, c.Delivered)
	}
	s.cursor.Store(max(c.Cursor, c.From))
	if len(c.Frontier) > 0 {
		s.frontier = new(ctlog.Frontier)
		if err := s.frontier.UnmarshalBinary(c.Frontier); err != nil || s.frontier.Size() != c.Cursor {
			return nil, fmt.Errorf("span %d of the checkpoint makes no sense: its frontier is not that of its cursor, %d", c.ID, c.Cursor)
		}
		s.saved.Store(&savedPosition{c.Cursor, c.Frontier})
	}
	s.delivered.Store(c.Delivered)
	s.verified.Store(max(c.Verified, c.From))
	if c.Halted != "" {
		s.halted.Store(&c.Halted)
	}
	return s, nil
}

// spanTable is the set of spans. Spans of a log never overlap.
type spanTable struct {
	mu   sync.Mutex
	byID map[uint64]*span
	next uint64
}

func (t *spanTable) get(id uint64) *span {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.byID[id]
}

// all returns the spans in order of log and index.
func (t *spanTable) all() []*span {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := make([]*span, 0, len(t.byID))
	for _, s := range t.byID {
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b *span) int {
		if c := slices.Compare(a.log[:], b.log[:]); c != 0 {
			return c
		}
		return compareRanges(schema.Range{From: a.from}, schema.Range{From: b.from})
	})
	return out
}

// ofLog returns the spans of a log, in order.
func (t *spanTable) ofLog(log ctlog.Hash) []*span {
	return slices.DeleteFunc(t.all(), func(s *span) bool { return s.log != log })
}

// covered returns the ground that spans of the log other than repairs cover.
// A repair's ground is its parent's: it fills a hole there.
func (t *spanTable) covered(log ctlog.Hash) []schema.Range {
	var out []schema.Range
	for _, s := range t.ofLog(log) {
		if s.kind != checkpoint.KindRepair {
			out = append(out, schema.Range{From: s.from, To: s.to})
		}
	}
	return out
}

// tail returns the log's tail, or nil.
func (t *spanTable) tail(log ctlog.Hash) *span {
	for _, s := range t.ofLog(log) {
		if s.to == Forever {
			return s
		}
	}
	return nil
}

// add makes a span with a new ID and enters it. The caller saves it.
func (t *spanTable) add(log ctlog.Hash, kind string, from, to uint64) *span {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := &span{id: t.next, log: log, kind: kind, from: from, to: to}
	t.next++
	s.cursor.Store(from)
	s.delivered.Store(from)
	s.verified.Store(from)
	t.byID[s.id] = s
	return s
}

// rate counts events and tells how many there were per second lately.
type rate struct {
	mu    sync.Mutex
	total uint64
	// ring of the last seconds
	second [rateWindow]uint64
	at     int64 // unix second of the newest slot
	since  int64 // unix second of the first event
}

const rateWindow = 16

func (r *rate) add(n uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now().Unix()
	r.roll(now)
	r.total += n
	r.second[now%rateWindow] += n
}

// count returns the number of events so far.
func (r *rate) count() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.total
}

func (r *rate) roll(now int64) {
	if r.since == 0 {
		r.since = now
	}
	if now-r.at >= rateWindow || now < r.at {
		clear(r.second[:])
		r.at = now
		return
	}
	for r.at < now {
		r.at++
		r.second[r.at%rateWindow] = 0
	}
}

// perSecond is the mean of the last full seconds, at most fifteen.
func (r *rate) perSecond() float64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.since == 0 {
		return 0
	}
	now := time.Now().Unix()
	r.roll(now)
	var sum uint64
	for i, n := range r.second {
		if int64(i) != now%rateWindow {
			sum += n
		}
	}
	return float64(sum) / float64(min(max(now-r.since, 1), rateWindow-1))
}
