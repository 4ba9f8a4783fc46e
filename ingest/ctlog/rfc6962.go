package ctlog

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"net/http"
	"net/url"

	stdcrypto "crypto"

	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
)

// maxProof bounds the answer of get-sth-consistency: 2·56 hashes at most.
const maxProof = 64 << 10

// rfc6962Log reads a log by RFC 6962 section 4.
type rfc6962Log struct {
	info   Info
	key    stdcrypto.PublicKey
	c      *client
	pager  *pager
	chains *chainCache
	accept string // Accept-Encoding of get-entries
}

func newRFC6962(info Info, key stdcrypto.PublicKey, c *client, o Options) *rfc6962Log {
	l := &rfc6962Log{info: info, key: key, c: c, pager: newPager(uint64(o.PageSize)), chains: newChainCache(), accept: plainOnly}
	if o.GzipEntries {
		l.accept = gzipOrPlain
	}
	return l
}

func (l *rfc6962Log) Info() Info { return l.info }

func (l *rfc6962Log) Head(ctx context.Context) (h *Head, err error) {
	err = l.c.get(ctx, request{class: ClassHead, path: "ct/v1/get-sth", limit: maxHead, accept: plainOnly}, func(a *answer) (err error) {
		h, err = parseSTH(a.body, l.key)
		return err
	})
	if err != nil {
		return nil, err
	}
	return h, nil
}

func (l *rfc6962Log) Plan(from, to, treeSize uint64, _ bool) (uint64, bool) {
	to = min(to, treeSize, maxTreeSize)
	if from >= to {
		return from, false
	}
	return l.pager.plan(from, to), true
}

func (l *rfc6962Log) Entries(ctx context.Context, from, to, treeSize uint64) (*Batch, error) {
	if err := checkRange(from, to, treeSize); err != nil {
		return nil, err
	}
	for asked := min(to-from, l.pager.max); ; {
		b, err := l.getEntries(ctx, from, asked)
		switch {
		case err == nil:
			l.pager.answered(from, asked, uint64(len(b.Entries)), from+asked == treeSize)
			return b, nil
		case errors.Is(err, ErrTooLarge) && asked > 1:
			asked = l.pager.tooLarge(asked)
		default:
			return nil, err
		}
	}
}

// getEntries asks for n entries once. This is the one place that knows that
// RFC 6962's end is the last index wanted, not the one after it.
func (l *rfc6962Log) getEntries(ctx context.Context, from, n uint64) (b *Batch, err error) {
	path := fmt.Sprintf("ct/v1/get-entries?start=%d&end=%d", from, from+n-1)
	err = l.c.get(ctx, request{class: ClassData, path: path, limit: l.c.maxBody, accept: l.accept, reuse: true}, func(a *answer) error {
		m := new(Memory)
		entries, issuers, err := decodeEntries(a.body, int(n), l.chains, m)
		if err != nil {
			return err
		}
		if len(entries) == 0 {
			// A cache that holds an old piece of the tail does this.
			return fmt.Errorf("%w: no entries in the answer", ErrNotYet)
		}
		b = &Batch{From: from, Entries: entries, Issuers: issuers, Memory: m}
		return nil
	})
	if s, ok := errors.AsType[*StatusError](err); ok && s.Code == http.StatusBadRequest {
		// A signed head covers the range, so the request is good: this
		// frontend has not caught up ("need tree size: …").
		err = fmt.Errorf("%w: %w", ErrNotYet, err)
	}
	if err != nil {
		return nil, err
	}
	return b, nil
}

// Frontier asks for the inclusion proof of the last leaf of the tree of size
// entries. All nodes of that proof lie left of the leaf, so they are the
// frontier's own: the root that follows is then proven to be a prefix of head.
func (l *rfc6962Log) Frontier(ctx context.Context, size uint64, head *Head) (*Frontier, error) {
	if size > head.Size {
		return nil, fmt.Errorf("frontier of size %d is beyond the head of size %d", size, head.Size)
	}
	if size == 0 {
		return new(Frontier), nil
	}
	f, err := l.lastLeafFrontier(ctx, size)
	if err != nil {
		return nil, err
	}
	fail := func(err error) (*Frontier, error) {
		return nil, &VerifyError{What: "frontier", Reason: fmt.Sprintf("the log's proofs do not connect size %d with its head of size %d: %v", size, head.Size, err)}
	}
	root := f.Root()
	if size == head.Size {
		if root != head.Root {
			return fail(fmt.Errorf("root is %x, signed is %x", root, head.Root))
		}
		return f, nil
	}
	nodes, err := l.consistency(ctx, size, head.Size)
	if err != nil {
		return nil, err
	}
	if err := proof.VerifyConsistency(rfc6962.DefaultHasher, size, head.Size, nodes, root[:], head.Root[:]); err != nil {
		if roots, ok := errors.AsType[proof.RootMismatchError](err); ok { // its own words are 64 decimal numbers
			err = fmt.Errorf("they lead to root %x, signed is %x", roots.CalculatedRoot, roots.ExpectedRoot)
		}
		return fail(err)
	}
	return f, nil
}

// lastLeafFrontier returns the unproven frontier that get-entry-and-proof tells.
func (l *rfc6962Log) lastLeafFrontier(ctx context.Context, size uint64) (f *Frontier, err error) {
	const what = "get-entry-and-proof"
	path := "ct/v1/get-entry-and-proof?" + url.Values{
		"leaf_index": {fmt.Sprint(size - 1)}, "tree_size": {fmt.Sprint(size)}}.Encode()
	err = l.c.get(ctx, request{class: ClassProof, path: path, limit: l.c.maxBody, accept: plainOnly}, func(a *answer) error {
		var v struct {
			Leaf []byte   `json:"leaf_input"`
			Path [][]byte `json:"audit_path"`
		}
		if err := decodeJSON(what, a.body, &v); err != nil {
			return err
		}
		if v.Leaf == nil {
			return answerErrorf(what, "leaf_input is missing")
		}
		// Below the smallest perfect subtree, then one node per other subtree.
		inner := bits.TrailingZeros64(size)
		if want := inner + bits.OnesCount64(size) - 1; len(v.Path) != want {
			return answerErrorf(what, "audit_path has %d hashes, want %d", len(v.Path), want)
		}
		node := LeafHash(v.Leaf)
		roots := make([]Hash, 0, bits.OnesCount64(size))
		for i, h := range v.Path {
			if len(h) != len(node) {
				return answerErrorf(what, "hash in audit_path has %d bytes", len(h))
			}
			if i < inner {
				node = NodeHash(Hash(h), node)
			}
		}
		for i := len(v.Path) - 1; i >= inner; i-- {
			roots = append(roots, Hash(v.Path[i]))
		}
		f, err = NewFrontier(size, append(roots, node))
		return err
	})
	return f, err
}

func (l *rfc6962Log) consistency(ctx context.Context, first, second uint64) (nodes [][]byte, err error) {
	const what = "get-sth-consistency"
	path := fmt.Sprintf("ct/v1/get-sth-consistency?first=%d&second=%d", first, second)
	err = l.c.get(ctx, request{class: ClassProof, path: path, limit: maxProof, accept: plainOnly}, func(a *answer) error {
		var v struct {
			Nodes [][]byte `json:"consistency"`
		}
		if err := decodeJSON(what, a.body, &v); err != nil {
			return err
		}
		for _, h := range v.Nodes {
			if len(h) != len(Hash{}) {
				return answerErrorf(what, "hash has %d bytes", len(h))
			}
		}
		nodes = v.Nodes
		return nil
	})
	return nodes, err
}

func (l *rfc6962Log) Issuer(context.Context, Hash) ([]byte, error) { return nil, ErrNoIssuers }
