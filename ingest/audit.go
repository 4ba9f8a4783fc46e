package ingest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"slices"

	"ctappliance/ingest/cert"
	"ctappliance/ingest/chain"
	"ctappliance/ingest/ctlog"
	"ctappliance/schema"
)

// Ledger is what an audit asks the store.
type Ledger interface {
	Prove(ctx context.Context, ranges []schema.Range) ([]schema.Proof, error)
	Indices(ctx context.Context, r schema.Range) ([]uint64, error)
	Orphans(ctx context.Context, r schema.Range) ([]uint64, error)
}

// Audit holds the ledger of one log against the marks, the kept subtree roots
// and the log itself. It changes nothing and works beside a running appliance.
type Audit struct {
	Dir     string // data directory
	Log     ctlog.Hash
	Spans   []SpanStatus // with the marks to be held against
	Ledger  Ledger
	Client  ctlog.Log // nil: the log is not asked
	Samples int       // tiles to fetch again
	Lookups uint64    // entries, in one stretch, whose certificates are looked up

	// Progress is told what is being done; nil = nobody.
	Progress func(what string)
}

// Findings is what an audit found. It is good when Problems is empty.
type Findings struct {
	Entries   uint64         `json:"entries"` // that must be in the ledger
	Rows      uint64         `json:"rows"`    // that are
	Missing   uint64         `json:"missing"`
	Doubled   uint64         `json:"doubled"`   // rows beyond the first of an entry
	LookedUp  uint64         `json:"looked_up"` // rows whose certificates were looked up
	Orphans   uint64         `json:"orphans"`   // of them, those whose certificates are not there
	Gaps      []schema.Range `json:"gaps"`      // the first few
	Roots     uint64         `json:"roots"`     // subtree roots kept
	RootsLost uint64         `json:"roots_lost"`
	Proven    uint64         `json:"proven"` // the kept roots hang under the log's signed head up to here
	Tiles     int            `json:"tiles"`  // fetched again, hashed, and compared row by row
	Skipped   int            `json:"skipped_tiles"`
	Problems  []string       `json:"problems"`

	lies []string // of the problems those that are between the log and itself
}

const (
	auditChunk = 4 << 20 // entries counted in one query
	maxGaps    = 1000
)

// Run performs the audit. An error means that it could not be carried through;
// what is wrong with the data is among the findings.
func (a *Audit) Run(ctx context.Context) (*Findings, error) {
	f := &Findings{}
	spans := slices.DeleteFunc(slices.Clone(a.Spans), func(s SpanStatus) bool { return s.Kind == "repair" || s.Delivered <= s.From })
	for _, s := range a.Spans {
		if s.Kind == "repair" && s.Delivered < s.To {
			f.problem("[%d,%d) was lost by the WAL and is not fetched again yet", s.Delivered, s.To)
		}
	}
	for _, s := range spans {
		if err := a.count(ctx, s, f); err != nil {
			return nil, err
		}
	}
	if err := a.lookUp(ctx, spans, f); err != nil {
		return nil, err
	}
	roots := &Roots{dir: RootsDir(a.Dir), files: map[ctlog.Hash]rootFile{}, dirty: map[ctlog.Hash]bool{}, readOnly: true}
	defer roots.Close()
	for _, s := range spans {
		if err := a.foldRoots(ctx, s, roots, f); err != nil {
			return nil, err
		}
	}
	if a.Client != nil && a.Samples > 0 {
		if err := a.sample(ctx, spans, roots, f); err != nil {
			return nil, err
		}
	}
	return f, nil
}

func (f *Findings) problem(format string, args ...any) {
	f.Problems = append(f.Problems, fmt.Sprintf(format, args...))
}

// lie is a problem that the log has with what it said before.
func (f *Findings) lie(format string, args ...any) {
	f.problem(format, args...)
	f.lies = append(f.lies, f.Problems[len(f.Problems)-1])
}

func (a *Audit) say(format string, args ...any) {
	if a.Progress != nil {
		a.Progress(fmt.Sprintf(format, args...))
	}
}

// count holds the ledger against a span's delivered mark (I4).
func (a *Audit) count(ctx context.Context, s SpanStatus, f *Findings) error {
	a.say("counting [%d,%d)", s.From, s.Delivered)
	f.Entries += s.Delivered - s.From
	for from := s.From; from < s.Delivered; from += auditChunk {
		r := schema.Range{Log: schema.ShortID(a.Log), From: from, To: min(from+auditChunk, s.Delivered)}
		proofs, err := a.Ledger.Prove(ctx, []schema.Range{r})
		if err != nil {
			return fmt.Errorf("counting the ledger: %w", err)
		}
		p := proofs[0]
		f.Rows += p.Count
		if doubled := p.Count - p.Unique; doubled > 0 {
			f.Doubled += doubled
			f.problem("%d rows too many in [%d,%d)", doubled, r.From, r.To)
		}
		if p.Unique == r.Len() {
			continue
		}
		f.Missing += r.Len() - p.Unique
		have, err := a.Ledger.Indices(ctx, r)
		if err != nil {
			return fmt.Errorf("counting the ledger: %w", err)
		}
		at := r.From
		for _, i := range append(have, r.To) {
			if i > at {
				if len(f.Gaps) < maxGaps {
					f.problem("[%d,%d) is missing", at, i)
					f.Gaps = append(f.Gaps, schema.Range{Log: r.Log, From: at, To: i})
				}
			}
			at = i + 1
		}
	}
	return nil
}

// auditLookups is how many certificates are looked up by one query.
const auditLookups = 1 << 16

// lookUp looks for the certificates of a random stretch of entries, or of all
// if there are no more than asked for.
func (a *Audit) lookUp(ctx context.Context, spans []SpanStatus, f *Findings) error {
	var total uint64
	for _, s := range spans {
		total += s.Delivered - s.From
	}
	left := min(a.Lookups, total)
	skip := rand.Uint64N(total - left + 1)
	for _, s := range spans {
		n := s.Delivered - s.From
		if skip >= n {
			skip -= n
			continue
		}
		for from := s.From + skip; from < s.Delivered && left > 0; {
			to := min(from+min(left, auditLookups), s.Delivered)
			a.say("looking up the certificates of [%d,%d)", from, to)
			missing, err := a.Ledger.Orphans(ctx, schema.Range{Log: schema.ShortID(a.Log), From: from, To: to})
			if err != nil {
				return fmt.Errorf("looking up certificates: %w", err)
			}
			f.LookedUp += to - from
			f.Orphans += uint64(len(missing))
			var gaps []schema.Range
			for _, i := range missing {
				gaps = append(gaps, schema.Range{Log: schema.ShortID(a.Log), From: i, To: i + 1})
			}
			for _, g := range merge(gaps) {
				if len(f.Gaps) < maxGaps {
					f.problem("[%d,%d) is in the ledger, and its certificates are not in the store", g.From, g.To)
					f.Gaps = append(f.Gaps, g)
				}
			}
			left -= to - from
			from = to
		}
		skip = 0
	}
	return nil
}

// foldRoots checks that every complete subtree of the span has its root kept,
// and, for a span from zero, that together they give the tree that the log has
// signed.
func (a *Audit) foldRoots(ctx context.Context, s SpanStatus, roots *Roots, f *Findings) error {
	a.say("folding subtree roots")
	first, end := (s.From+255)/256, s.Delivered/256
	tree := new(rootFolder)
	whole := s.From == 0
	var lost uint64
	for n := first; n < end; n++ {
		root, ok, err := roots.Get(a.Log, n)
		if err != nil {
			return err
		}
		if !ok {
			lost++
			whole = false
			continue
		}
		f.Roots++
		tree.add(root)
	}
	if f.RootsLost += lost; lost > 0 {
		f.problem("%d roots of 256-entry subtrees in [%d,%d) are not kept", lost, s.From, s.Delivered)
	}
	size := min(end, s.Verified/256) * 256
	if !whole || a.Client == nil || size == 0 || size != end*256 {
		return nil
	}
	head, err := a.Client.Head(ctx)
	if err != nil {
		return fmt.Errorf("asking the log for its head: %w", err)
	}
	proven, err := a.frontier(ctx, size, head)
	var lie *ctlog.VerifyError
	if errors.As(err, &lie) {
		f.lie("the log does not prove its first %d entries: %v", size, err)
		return nil
	}
	if err != nil {
		return fmt.Errorf("asking the log for a proof: %w", err)
	}
	if tree.root() != proven.Root() {
		f.lie("the kept subtree roots up to %d do not give the tree that the log has signed", size)
		return nil
	}
	f.Proven = max(f.Proven, size)
	return nil
}

// frontier asks for a proof, and again where what comes is none: a cache may
// have answered.
func (a *Audit) frontier(ctx context.Context, size uint64, head *ctlog.Head) (*ctlog.Frontier, error) {
	for try := 1; ; try++ {
		proven, err := a.Client.Frontier(ctx, size, head)
		var lie *ctlog.VerifyError
		if !errors.As(err, &lie) || try == proofTries || !sleep(ctx, backoff(try)) {
			return proven, err
		}
	}
}

// rootFolder folds subtree roots of one level into the root over them.
type rootFolder struct {
	stack []ctlog.Hash
	n     uint64
}

func (t *rootFolder) add(h ctlog.Hash) {
	t.stack = append(t.stack, h)
	for m := t.n; m&1 == 1; m >>= 1 {
		top := len(t.stack)
		t.stack = append(t.stack[:top-2], ctlog.NodeHash(t.stack[top-2], t.stack[top-1]))
	}
	t.n++
}

func (t *rootFolder) root() ctlog.Hash {
	h := t.stack[len(t.stack)-1]
	for i := len(t.stack) - 2; i >= 0; i-- {
		h = ctlog.NodeHash(t.stack[i], h)
	}
	return h
}

// sample fetches random tiles again: their root must be the kept one, and the
// rows that they give must be the ledger's, by count and by hash.
func (a *Audit) sample(ctx context.Context, spans []SpanStatus, roots *Roots, f *Findings) error {
	chains, err := chain.OpenReadOnly(a.Dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if chains != nil {
		defer chains.Close()
	}
	head, err := a.Client.Head(ctx)
	if err != nil {
		return fmt.Errorf("asking the log for its head: %w", err)
	}
	var tiles uint64
	for _, s := range spans {
		tiles += tilesOf(s)
	}
	for range min(a.Samples, int(min(tiles, 1<<30))) {
		pick := rand.Uint64N(tiles)
		for _, s := range spans {
			if n := tilesOf(s); pick >= n {
				pick -= n
				continue
			}
			if err := a.sampleTile(ctx, (s.From+255)/256+pick, head, roots, chains, f); err != nil {
				return err
			}
			break
		}
	}
	return nil
}

// tilesOf is the number of whole tiles of a span that are delivered.
func tilesOf(s SpanStatus) uint64 {
	return max(s.Delivered/256, (s.From+255)/256) - (s.From+255)/256
}

func (a *Audit) sampleTile(ctx context.Context, n uint64, head *ctlog.Head, roots *Roots, chains *chain.Store, f *Findings) error {
	r := schema.Range{Log: schema.ShortID(a.Log), From: n * 256, To: n*256 + 256}
	a.say("fetching [%d,%d) again", r.From, r.To)
	want, ok, err := roots.Get(a.Log, n)
	if err != nil {
		return err
	}
	if !ok {
		f.Skipped++
		return nil
	}
	var tree rootFolder
	var xor uint64
	for from := r.From; from < r.To; {
		b, err := a.Client.Entries(ctx, from, r.To, head.Size)
		if err != nil {
			return fmt.Errorf("fetching [%d,%d) again: %w", from, r.To, err)
		}
		for i := range b.Entries {
			e := &b.Entries[i]
			tree.add(ctlog.LeafHash(e.Leaf))
			var row schema.Row
			cert.Parse(&cert.Input{LogID: r.Log, Index: from + uint64(i), Leaf: e.Leaf, Precert: e.Precert, Chain: e.Chain,
				Issuer: func(h schema.Hash) (schema.Hash, bool) {
					if der, ok := b.Issuers[h]; ok {
						parsed := cert.ParseIssuer(der)
						return parsed.SPKI, parsed.Error == ""
					}
					if chains == nil {
						return schema.Hash{}, false
					}
					der, err := chains.Get(h)
					if err != nil {
						return schema.Hash{}, false
					}
					parsed := cert.ParseIssuer(der)
					return parsed.SPKI, parsed.Error == ""
				}}, &row)
			xor ^= schema.RowHash(row.TBSID, row.Index)
		}
		from += uint64(len(b.Entries))
	}
	f.Tiles++
	if got := tree.root(); got != want {
		f.lie("the log now serves other entries in [%d,%d) than it did: root %x, kept %x", r.From, r.To, got[:8], want[:8])
		return nil
	}
	proofs, err := a.Ledger.Prove(ctx, []schema.Range{r})
	if err != nil {
		return fmt.Errorf("comparing rows: %w", err)
	}
	if p := proofs[0]; p.Count == 256 && p.XOR != xor {
		f.problem("the ledger's rows in [%d,%d) are not those of the log's entries", r.From, r.To)
	}
	return nil
}
