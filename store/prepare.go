package store

import (
	"context"
	"sync"

	"ctappliance/schema"
)

// keepSets is how many sets of columns are kept for further flushes: one that
// is on its way, one that is cut, one of a part of a flush in doubt.
const keepSets = 3

// columns are the blocks of one flush, with memory that is used again.
type columns struct {
	dependents *schema.Dependents
	ledger     *schema.Ledger
}

// sets hands out columns.
type sets struct {
	mu   sync.Mutex
	free []*columns
}

func (s *Store) takeColumns() *columns {
	s.sets.mu.Lock()
	defer s.sets.mu.Unlock()
	if n := len(s.sets.free); n > 0 {
		c := s.sets.free[n-1]
		s.sets.free = s.sets.free[:n-1]
		return c
	}
	c := &columns{schema.NewDependents(), schema.NewLedger()}
	c.dependents.KeepDER = s.cfg.KeepDER
	return c
}

func (s *Store) putColumns(c *columns) {
	c.dependents.Reset()
	c.ledger.Reset()
	s.sets.mu.Lock()
	defer s.sets.mu.Unlock()
	if len(s.sets.free) < keepSets {
		s.sets.free = append(s.sets.free, c)
	}
}

// prepared is a flush whose rows are columns already. While it was filled the
// filter has left out rows that it knew of, and learnt those that it has not:
//
//   - what was left out was acknowledged, or is in an earlier flush, which is
//     written whole before this one. Where the filter was emptied since, neither
//     is certain, and the flush is stale;
//   - what was learnt is not written yet. Rows that are inserted out of turn,
//     which those of flushes in doubt are, must not be left out for it: they have
//     nothing to do with the filter. See [Store.PrepareAgain] and [Store.fill].
type prepared struct {
	s     *Store
	life  uint64   // of the filter, in which it was begun
	apart bool     // it has nothing to do with the filter, and is never stale
	cols  *columns // nil: given back
	open  bool     // rows were added, and are not acknowledged
	named bool     // the issuers are in the columns
}

// Prepare begins a flush that is still to be cut.
func (s *Store) Prepare() schema.Prepared {
	s.filter.Lock()
	defer s.filter.Unlock()
	p := &prepared{s: s, life: s.filterLife, cols: s.takeColumns()}
	p.cols.dependents.Recent = s.recent
	return p
}

// PrepareAgain begins anew a flush that comes out of turn. It leaves nothing out
// that is not in it already, and teaches the filter nothing, so that the flush
// that is being cut meanwhile stays good.
func (s *Store) PrepareAgain() schema.Prepared {
	p := &prepared{s: s, apart: true, cols: s.takeColumns()}
	p.cols.dependents.Recent = s.within()
	return p
}

// withinBits is the size of a filter for one flush: a megabyte, and room for
// most certificates of any.
const withinBits = 16

// within returns a filter that knows nothing.
func (s *Store) within() *schema.Recent {
	if s.recent == nil {
		return nil
	}
	return schema.NewRecent(min(withinBits, s.cfg.RecentBits))
}

// Add takes rows in. Their memory may be used again when it returns.
func (p *prepared) Add(rows []schema.Row) {
	p.s.filter.Lock()
	if p.apart || p.life == p.s.filterLife {
		if !p.open && !p.apart {
			p.open = true
			p.s.ahead++
		}
		for i := range rows {
			p.cols.dependents.Append(&rows[i])
		}
	}
	p.s.filter.Unlock()
	for i := range rows {
		p.cols.ledger.Append(&rows[i])
	}
}

// Discard gives the memory back.
func (p *prepared) Discard() {
	p.s.filter.Lock()
	p.close()
	p.s.filter.Unlock()
	if p.cols != nil {
		p.s.putColumns(p.cols)
		p.cols = nil
	}
}

// close notes that no row that p has taught the filter is still to be written
// by it. It wants the lock of the filter.
func (p *prepared) close() {
	if p.open {
		p.open = false
		p.s.ahead--
	}
}

// forget empties the filter: what it remembers is in doubt.
func (s *Store) forget() {
	s.filter.Lock()
	defer s.filter.Unlock()
	s.forgetLocked()
}

func (s *Store) forgetLocked() {
	s.recent.Forget()
	s.filterLife++
}

// fill returns the columns of f's dependents: those that were prepared, or new
// ones of its rows. done gives them back, and tells whether they were
// acknowledged.
func (s *Store) fill(ctx context.Context, f *schema.Flush) (d *schema.Dependents, done func(ok bool), err error) {
	if err := s.checkLife(ctx, f); err != nil {
		return nil, nil, err
	}
	s.filter.Lock()
	defer s.filter.Unlock()
	if p, ok := f.Prepared.(*prepared); ok && p.s == s && p.cols != nil && (p.apart || p.life == s.filterLife) {
		if !p.named {
			appendIssuers(p.cols.dependents, f)
			p.named = true
		}
		return p.cols.dependents, func(ok bool) {
			if ok {
				s.filter.Lock()
				p.close()
				s.filter.Unlock()
			}
		}, nil
	}
	if f.Rows == nil && len(f.Ranges) > 0 {
		return nil, nil, schema.ErrStale
	}
	cols := s.takeColumns()
	if cols.dependents.Recent = s.recent; s.ahead > 0 {
		cols.dependents.Recent = s.within()
	}
	appendIssuers(cols.dependents, f)
	for _, r := range f.Rows {
		cols.dependents.Append(r)
	}
	return cols.dependents, func(bool) { s.putColumns(cols) }, nil
}

func appendIssuers(d *schema.Dependents, f *schema.Flush) {
	for i := range f.Issuers {
		d.AppendIssuer(&f.Issuers[i])
	}
}
