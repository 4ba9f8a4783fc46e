package ingest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"ctappliance/schema"
)

// memSink is a ledger in memory. It fails on demand in both ways: before and
// after the rows are in.
type memSink struct {
	mu         sync.Mutex
	ledger     map[entryKey]int
	rows       map[entryKey]schema.Row
	dependents map[entryKey]bool
	issuers    map[schema.Hash]bool
	logs       map[schema.Hash]schema.Log
	tokens     map[string]bool // of ledger inserts, when dedup
	dedup      bool

	epoch  int                                    // the store's life
	slow   time.Duration                          // what Highest takes
	fail   func(op string, f *schema.Flush) error // before the rows
	failed func(op string, f *schema.Flush) error // after them
	refuse func(r *schema.Row) bool               // ledger rows that are refused for good
	late   func(op string, f *schema.Flush) bool  // the insert fails now and takes effect when it is fenced
	held   map[uint64][]func()                    // by flush: what late has put off
	calls  map[string]int
	stale  bool // what was prepared is out of date, unless it was prepared again
}

// memColumns is what memSink makes of rows ahead: copies of what it looks at,
// since the rows are used again.
type memColumns struct {
	rows      []schema.Row
	again     bool
	discarded bool
}

func (c *memColumns) Add(rows []schema.Row) {
	for i := range rows {
		r := &rows[i]
		c.rows = append(c.rows, schema.Row{LogID: r.LogID, Index: r.Index, Timestamp: r.Timestamp, EntryType: r.EntryType, TBSID: r.TBSID, Fingerprint: r.Fingerprint,
			IssuerKeyHash: r.IssuerKeyHash, Status: r.Status, Flags: r.Flags, Error: r.Error, Leaf: slices.Clone(r.Leaf), DER: slices.Clone(r.DER)})
	}
}

func (c *memColumns) Discard() { c.rows, c.discarded = nil, true }

func (s *memSink) Prepare() schema.Prepared { return &memColumns{} }

func (s *memSink) PrepareAgain() schema.Prepared { return &memColumns{again: true} }

// unpack gives f its rows.
func (s *memSink) unpack(f *schema.Flush) (*schema.Flush, error) {
	if f.Rows != nil {
		return f, nil
	}
	c, ok := f.Prepared.(*memColumns)
	if !ok || s.stale && !c.again {
		return nil, schema.ErrStale
	}
	if c.discarded {
		return nil, errors.New("columns were given back before they went in")
	}
	out := *f
	out.Rows = pointers(c.rows)
	slices.SortFunc(out.Rows, compareEntries)
	return &out, nil
}

func newMemSink() *memSink {
	return &memSink{ledger: map[entryKey]int{}, rows: map[entryKey]schema.Row{}, dependents: map[entryKey]bool{}, issuers: map[schema.Hash]bool{},
		logs: map[schema.Hash]schema.Log{}, tokens: map[string]bool{}, held: map[uint64][]func(){}, calls: map[string]int{}}
}

func (s *memSink) begin(op string, f *schema.Flush) error {
	s.calls[op]++
	if s.fail != nil {
		return s.fail(op, f)
	}
	return nil
}

func (s *memSink) end(op string, f *schema.Flush) error {
	if s.failed != nil {
		return s.failed(op, f)
	}
	return nil
}

func (s *memSink) InsertDependents(_ context.Context, f *schema.Flush) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	f, err := s.unpack(f)
	if err != nil {
		return err
	}
	if err := s.begin("dependents", f); err != nil {
		return err
	}
	for _, r := range f.Rows {
		s.dependents[entryKey{r.LogID, r.Index}] = true
	}
	for _, i := range f.Issuers {
		s.issuers[i.Fingerprint] = true
	}
	return s.end("dependents", f)
}

func (s *memSink) InsertLedger(_ context.Context, f *schema.Flush, keep func(log, index uint64) bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	f, err := s.unpack(f)
	if err != nil {
		return err
	}
	if err := s.begin("ledger", f); err != nil {
		return err
	}
	var rows []schema.Row
	for _, r := range f.Rows {
		if keep == nil || keep(r.LogID, r.Index) {
			if !s.dependents[entryKey{r.LogID, r.Index}] {
				return errors.New("a ledger row came before its dependents")
			}
			rows = append(rows, *r)
			if s.refuse != nil && s.refuse(r) {
				return &schema.RefusedError{Table: "ledger", Code: 321, Err: errors.New("out of range")}
			}
		}
	}
	token := token(f)
	take := func() {
		if s.dedup && s.tokens[token] {
			return // swallowed
		}
		s.tokens[token] = true
		for _, r := range rows {
			k := entryKey{r.LogID, r.Index}
			s.ledger[k]++
			s.rows[k] = r
		}
	}
	if s.late != nil && s.late("ledger", f) {
		s.held[f.ID] = append(s.held[f.ID], take)
		return errors.New("connection lost")
	}
	take()
	return s.end("ledger", f)
}

// settle lets everything take effect that was put off and never fenced.
func (s *memSink) settle() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, held := range s.held {
		for _, take := range held {
			take()
		}
		delete(s.held, id)
	}
}

// count returns the number of entries in the ledger.
func (s *memSink) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.ledger)
}

// mend ends all faults.
func (s *memSink) mend() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail, s.failed, s.late = nil, nil, nil
}

func token(f *schema.Flush) string { return fmt.Sprintf("%d:g%d", f.ID, f.Generation) }

func (s *memSink) Fence(_ context.Context, id uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.begin("fence", nil); err != nil {
		return err
	}
	for _, take := range s.held[id] {
		take()
	}
	delete(s.held, id)
	return nil
}

func (s *memSink) Prove(_ context.Context, ranges []schema.Range) ([]schema.Proof, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.begin("prove", nil); err != nil {
		return nil, err
	}
	out := make([]schema.Proof, len(ranges))
	for i, r := range ranges {
		out[i].Range = r
		for k, n := range s.ledger {
			if k.log == r.Log && k.index >= r.From && k.index < r.To {
				out[i].Count += uint64(n)
				out[i].Unique++
				if n%2 == 1 {
					out[i].XOR ^= schema.RowHash(s.rows[k].TBSID, k.index)
				}
			}
		}
	}
	return out, nil
}

func (s *memSink) FenceAll(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.begin("fence all", nil); err != nil {
		return err
	}
	for id, held := range s.held {
		for _, take := range held {
			take()
		}
		delete(s.held, id)
	}
	return nil
}

func (s *memSink) Epoch(context.Context) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.begin("epoch", nil); err != nil {
		return "", err
	}
	return fmt.Sprint(s.epoch), nil
}

func (s *memSink) Highest(_ context.Context, r schema.Range) (top uint64, ok bool, err error) {
	time.Sleep(s.slow)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.begin("highest", nil); err != nil {
		return 0, false, err
	}
	for k := range s.ledger {
		if k.log == r.Log && k.index >= r.From && k.index < r.To {
			top, ok = max(top, k.index), true
		}
	}
	return top, ok, nil
}

func (s *memSink) Indices(_ context.Context, r schema.Range) ([]uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []uint64
	for k := range s.ledger {
		if k.log == r.Log && k.index >= r.From && k.index < r.To {
			out = append(out, k.index)
		}
	}
	slices.Sort(out)
	return out, nil
}

func (s *memSink) Orphans(_ context.Context, r schema.Range) ([]uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []uint64
	for k := range s.ledger {
		if k.log == r.Log && k.index >= r.From && k.index < r.To && !s.dependents[k] {
			out = append(out, k.index)
		}
	}
	slices.Sort(out)
	return out[:min(len(out), 1000)], nil
}

func (s *memSink) PutLogs(_ context.Context, logs []schema.Log) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range logs {
		s.logs[l.ID] = l
	}
	return nil
}

// check says how the ledger differs from exactly [from, to) of a log.
func (s *memSink) check(log, from, to uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var lost, doubled, foreign int
	for i := from; i < to; i++ {
		switch s.ledger[entryKey{log, i}] {
		case 0:
			lost++
		case 1:
		default:
			doubled++
		}
	}
	for k := range s.ledger {
		if k.log == log && (k.index < from || k.index >= to) {
			foreign++
		}
	}
	if lost+doubled+foreign > 0 {
		return fmt.Errorf("of [%d,%d): %d lost, %d doubled, %d outside", from, to, lost, doubled, foreign)
	}
	return nil
}
