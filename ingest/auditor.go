package ingest

import (
	"context"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"ctappliance/checkpoint"
	"ctappliance/ingest/ctlog"
	"ctappliance/schema"
)

// auditor holds the ledger against the delivered marks, and the log against
// what was kept of it, slowly and for as long as the appliance runs. Every
// round counts what was delivered since the last one and, chosen at random, a
// stretch of what was counted before, and fetches one tile again. What is
// missing becomes repair spans. It owns its marks; its verdicts are read by status.
type auditor struct {
	a       *Appliance
	counted map[uint64]uint64           // by span: everything below was counted once
	bad     map[ctlog.Hash][]SpanStatus // where the last count was wrong; counted in every round until it is right

	mu       sync.Mutex
	verdicts map[ctlog.Hash]*Verdict
}

// Verdict is what the audits of a log since start have found.
type Verdict struct {
	At       time.Time `json:"at"`      // of the last round
	Entries  uint64    `json:"entries"` // counted in the ledger, each at least once
	Missing  uint64    `json:"missing"` // as last counted: what was mended is no longer missing
	Doubled  uint64    `json:"doubled"`
	Found    uint64    `json:"found"`   // missing or doubled at any time
	Orphans  uint64    `json:"orphans"` // entries found without their certificates, at any time; they are fetched again
	Tiles    int       `json:"tiles"`   // fetched again and found equal, hash by hash and row by row
	Problems []string  `json:"problems,omitempty"`
	Error    string    `json:"error,omitempty"` // why the last round could not be carried through
}

const (
	auditRecount = 1 << 16         // entries counted again in a round
	auditAhead   = 16 * auditChunk // entries counted for the first time in a round
	// Certificates looked up in a round: each costs the store a granule.
	auditRowLookups = 2000
	maxVerdicts     = 5 // problems kept in words per log
)

func newAuditor(a *Appliance) *auditor {
	return &auditor{a: a, counted: map[uint64]uint64{}, bad: map[ctlog.Hash][]SpanStatus{}, verdicts: map[ctlog.Hash]*Verdict{}}
}

// run makes rounds until ctx ends. The logs take their turns over the whole
// interval, at most a minute after each other: sixty of them at once keep the
// store busy for seconds.
func (u *auditor) run(ctx context.Context) error {
	for {
		logs := u.a.following()
		turn := max(min(u.a.c.AuditInterval/time.Duration(max(len(logs), 1)), time.Minute), 1)
		for _, f := range logs {
			if !sleep(ctx, turn/2+rand.N(turn)) {
				return nil
			}
			if !slices.Contains(u.a.following(), f) {
				continue // replaced, or left out, meanwhile
			}
			if u.round(ctx, f); ctx.Err() != nil {
				return nil
			}
		}
		rest := turn
		if len(logs) > 0 {
			rest = max(u.a.c.AuditInterval-time.Duration(len(logs))*turn, 1)
		}
		if !sleep(ctx, rest/2+rand.N(rest)) {
			return nil
		}
	}
}

// round audits one log once.
func (u *auditor) round(ctx context.Context, f *follower) {
	var pieces []SpanStatus
	var next []func()
	for _, s := range u.a.spans.ofLog(f.info.ID) {
		if s.kind == "repair" {
			continue
		}
		delivered := s.delivered.Load()
		from := max(u.counted[s.id], s.from)
		if old := from - s.from; old > 0 {
			at := s.from + rand.Uint64N(old)
			pieces = append(pieces, SpanStatus{ID: s.id, Kind: s.kind, From: at, To: s.to, Delivered: min(at+auditRecount, from)})
		}
		to := min(delivered, from+auditAhead)
		if to > from {
			pieces = append(pieces, SpanStatus{ID: s.id, Kind: s.kind, From: from, To: s.to, Delivered: to})
			next = append(next, func() { u.counted[s.id] = to })
		}
	}
	if len(pieces) == 0 {
		return
	}
	audit := &Audit{Dir: u.a.c.Dir, Log: f.info.ID, Spans: pieces, Ledger: u.a.c.Sink, Client: f.log, Samples: 1, Lookups: auditRowLookups}
	if f.isHalted() || f.isAway() {
		audit.Client = nil // what it says is worth nothing, or it says nothing; the ledger is counted all the same
	}
	rctx, recording := ctlog.Record(ctx, maxAnswers)
	found, err := audit.Run(rctx)
	if ctx.Err() != nil {
		return
	}
	if err == nil && len(found.lies) > 0 {
		f.keepAudit(found.lies, recording.Answers())
	}
	var now Findings
	if err == nil {
		for _, done := range next {
			done()
		}
		if found.Missing+found.Doubled > 0 {
			u.bad[f.info.ID] = append(u.bad[f.info.ID], pieces...)
		}
		err = u.recount(ctx, f, audit, &now)
	}
	if ctx.Err() != nil {
		return
	}
	u.judge(f, found, &now, err)
	if err != nil {
		return
	}
	for _, gap := range found.Gaps {
		r := SpanRequest{Log: hex.EncodeToString(f.info.ID[:]), From: gap.From, To: gap.To}
		if err := u.a.Repair(ctx, r); err != nil {
			f.out.Warn("range not repaired", "from", gap.From, "to", gap.To, "err", err)
		}
	}
}

// recount counts again where the ledger was wrong, and forgets what is right
// by now.
func (u *auditor) recount(ctx context.Context, f *follower, audit *Audit, now *Findings) error {
	var ranges []schema.Range
	for _, s := range u.bad[f.info.ID] {
		ranges = append(ranges, schema.Range{From: s.From, To: s.Delivered})
	}
	var still []SpanStatus
	for _, r := range merge(ranges) {
		var piece Findings
		s := SpanStatus{Kind: checkpoint.KindBackfill, From: r.From, To: r.To, Delivered: r.To}
		if err := audit.count(ctx, s, &piece); err != nil {
			return err
		}
		if piece.Missing+piece.Doubled > 0 {
			still = append(still, s)
			now.Missing += piece.Missing
			now.Doubled += piece.Doubled
		}
	}
	u.bad[f.info.ID] = still
	return nil
}

// judge adds a round to the log's verdict, and raises the alarm where it is
// bad.
func (u *auditor) judge(f *follower, found, now *Findings, err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	v := u.verdicts[f.info.ID]
	if v == nil {
		v = &Verdict{}
		u.verdicts[f.info.ID] = v
	}
	v.Error = ""
	if err != nil {
		v.Error = err.Error() // the store or the log is away: no verdict, no alarm
		return
	}
	v.At = time.Now()
	v.Entries = u.entries(f)
	v.Missing, v.Doubled = now.Missing, now.Doubled
	v.Found += found.Missing + found.Doubled
	v.Orphans += found.Orphans
	v.Tiles += found.Tiles
	for _, p := range found.Problems {
		u.a.alarm(fmt.Sprintf("audit of %s: %s", f.info.Name, p))
		if len(v.Problems) < maxVerdicts {
			v.Problems = append(v.Problems, p)
		}
	}
}

func (u *auditor) entries(f *follower) (n uint64) {
	for _, s := range u.a.spans.ofLog(f.info.ID) {
		if to, ok := u.counted[s.id]; ok {
			n += to - s.from
		}
	}
	return n
}

// verdict returns a log's verdict, nil before the first round.
func (u *auditor) verdict(log ctlog.Hash) *Verdict {
	u.mu.Lock()
	defer u.mu.Unlock()
	v := u.verdicts[log]
	if v == nil {
		return nil
	}
	c := *v
	return &c
}

var _ Ledger = Sink(nil)
