package ctlog

import (
	"math/bits"
	"sync"
)

const (
	defaultPage = 1024
	maxPage     = 65536
)

// pager learns how many entries a get-entries answer holds. Caps differ from
// log to log (32 to 1024) and change; most servers also cut answers at the
// next multiple of their cap, so that only aligned requests get full pages,
// and the budget is requests. Short answers happen for other reasons too, a
// lagging frontend or a cached piece of the tail, hence:
//
//   - a cap is believed when two short answers in a row have the same size;
//     the first one may have been cut at a multiple of the cap;
//   - answers that end at the tree's size prove nothing;
//   - after a run of full pages a page of twice the size is tried once. It
//     costs nothing: a log that gives no more answers with the usual page.
type pager struct {
	mu        sync.Mutex
	page, max uint64
	candidate uint64 // size of the last short answer; 0 = none
	full      uint64 // full pages since the last trial
	trialAt   uint64 // a trial is due at this many
	trialFrom uint64 // where the last trial began
}

const (
	firstTrial = 16
	lastTrial  = 1024
	noTrial    = 1<<64 - 1
)

func newPager(max uint64) *pager {
	p := &pager{max: max}
	p.set(max)
	return p
}

func (p *pager) set(page uint64) {
	p.page, p.candidate, p.full, p.trialAt, p.trialFrom = page, 0, 0, firstTrial, noTrial
}

// plan returns the end of the request that begins at from: the next multiple
// of the page size, or to.
func (p *pager) plan(from, to uint64) uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	page := p.page
	if p.full >= p.trialAt && 2*page <= p.max && from%(2*page) == 0 && to-from >= 2*page {
		p.full, p.trialFrom = 0, from
		page *= 2
	}
	return min(to, from-from%page+page)
}

// answered takes note that asked entries from from on were asked for, and that
// got of them came, 0 < got ≤ asked. tail: the tree ends where the request did.
func (p *pager) answered(from, asked, got uint64, tail bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case got == asked && got > p.page:
		p.set(min(got, p.max)) // the trial succeeded: do not wait long for the next
	case got == asked && got == p.page:
		p.full++
		p.candidate = 0
	case got == asked, tail:
		// Less than a page was asked for, or the log has less than a page.
	case got >= p.page:
		// A trial, or a plan from before the page shrank.
		if from == p.trialFrom {
			p.trialAt = min(4*p.trialAt, lastTrial)
			p.trialFrom = noTrial
		}
	case got == p.candidate:
		p.set(got)
	default:
		p.candidate = got
	}
}

// tooLarge takes note that an answer of asked entries exceeded the body limit
// and returns how many to ask for instead, at least 1.
func (p *pager) tooLarge(asked uint64) uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	half := max(asked/2, 1)
	// A power of two, so that doubling it leads back to an aligned page.
	if page := uint64(1) << (bits.Len64(half) - 1); page < p.page {
		p.set(page)
	}
	return half
}
