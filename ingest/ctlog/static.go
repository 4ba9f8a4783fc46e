package ctlog

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"math/bits"
	"net/http"
	"strconv"

	stdcrypto "crypto"

	"golang.org/x/mod/sumdb/tlog"
)

const (
	tileWidth  = 256 // entries of a full data tile, hashes of a full hash tile
	tileHeight = 8

	maxHashTile = 64 << 10 // bytes of a hash tile; 8192 unless it is wrong
	maxIssuer   = 1 << 20  // bytes of an issuer certificate
)

// staticLog reads a log by c2sp.org/static-ct-api.
type staticLog struct {
	info    Info
	key     stdcrypto.PublicKey
	origin  string
	c       getter
	maxBody int64 // of a data tile
	noIndex bool  // entries need no leaf_index
	rebuild bool  // hash tiles that are not there are computed from what is
}

func (l *staticLog) Info() Info { return l.info }

func (l *staticLog) Head(ctx context.Context) (h *Head, err error) {
	err = l.c.get(ctx, request{class: ClassHead, path: "checkpoint", limit: maxHead, accept: gzipOrPlain}, func(a *answer) (err error) {
		h, err = parseCheckpoint(a.body, l.origin, l.info.ID, l.key)
		return err
	})
	if err != nil {
		return nil, err
	}
	return h, nil
}

func (l *staticLog) Plan(from, to, treeSize uint64, wantPartial bool) (uint64, bool) {
	to = min(to, treeSize, maxTreeSize)
	if from >= to {
		return from, false
	}
	end := from - from%tileWidth + tileWidth
	if end > treeSize && !wantPartial {
		return from, false
	}
	return min(end, to), true
}

func (l *staticLog) Entries(ctx context.Context, from, to, treeSize uint64) (*Batch, error) {
	if err := checkRange(from, to, treeSize); err != nil {
		return nil, err
	}
	n := from / tileWidth
	width := min(tileWidth, treeSize-n*tileWidth)
	b, err := l.dataTile(ctx, n, width)
	if width < tileWidth && isGone(err) {
		// The log may delete a partial tile once the full one is there.
		b, err = l.dataTile(ctx, n, tileWidth)
	}
	if err != nil {
		return nil, notYet(err)
	}
	skip := from - n*tileWidth
	end := min(to-n*tileWidth, width)
	b.From, b.TileSkip, b.Entries = from, int(skip), b.Entries[skip:end:end]
	return b, nil
}

// dataTile fetches the data tile n, of which the first width entries are published.
func (l *staticLog) dataTile(ctx context.Context, n, width uint64) (b *Batch, err error) {
	first := n * tileWidth
	q := request{class: ClassData, path: "tile/data/" + tilePath(n, width), limit: l.maxBody, accept: gzipOrPlain, raw: true}
	err = l.c.get(ctx, q, func(a *answer) error {
		// A file server over a log's bucket sends compressed tiles without
		// saying so. No plain tile begins like gzip: its timestamp would be
		// 72 million years ahead.
		gz := a.gzip || bytes.HasPrefix(a.body, []byte{0x1f, 0x8b})
		m := new(Memory)
		entries, indexed, err := decodeTile(first, a.body, gz, l.maxBody, m)
		if err != nil {
			return err
		}
		if uint64(len(entries)) != width {
			return answerErrorf("data tile", "holds %d entries, want %d", len(entries), width)
		}
		if !indexed && !l.noIndex {
			return answerErrorf("data tile", "an entry has no leaf_index (a setting allows that, for archives)")
		}
		b = &Batch{Entries: entries, Tile: a.body, TileGzip: gz, Memory: m}
		return nil
	})
	return b, err
}

// Frontier reads the frontier from the hash tiles on its right edge and proves
// them by those on the right edge of head: golang.org/x/mod/sumdb/tlog knows
// which tiles a tree of a given size has, partial ones included.
func (l *staticLog) Frontier(ctx context.Context, size uint64, head *Head) (*Frontier, error) {
	if size > head.Size || head.Size > maxTreeSize {
		return nil, fmt.Errorf("frontier of size %d is beyond the head of size %d", size, head.Size)
	}
	if size == 0 {
		return new(Frontier), nil
	}
	var indexes []int64
	for rest, begin := size, uint64(0); rest != 0; {
		level := bits.Len64(rest) - 1
		indexes = append(indexes, tlog.StoredHashIndex(level, int64(begin>>level)))
		begin += 1 << level
		rest -= 1 << level
	}
	t := &tileReader{ctx: ctx, l: l, budget: maxRebuilt}
	hashes, err := tlog.TileHashReader(tlog.Tree{N: int64(head.Size), Hash: tlog.Hash(head.Root)}, t).ReadHashes(indexes)
	if t.err != nil {
		return nil, t.err
	}
	if err != nil {
		return nil, &VerifyError{What: "frontier", Reason: fmt.Sprintf("the log's tiles do not lead to its head of size %d: %v", head.Size, err)}
	}
	roots := make([]Hash, len(hashes))
	for i, h := range hashes {
		roots[i] = Hash(h)
	}
	return NewFrontier(size, roots)
}

// tileReader is tlog's view of the hash tiles, for one Frontier.
type tileReader struct {
	ctx context.Context
	l   *staticLog
	err error // why a tile could not be had, as opposed to proven

	budget int // tiles that may still be read
}

func (t *tileReader) Height() int                     { return tileHeight }
func (t *tileReader) SaveTiles([]tlog.Tile, [][]byte) {}

func (t *tileReader) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	data := make([][]byte, len(tiles))
	for i, tile := range tiles {
		if data[i], t.err = t.l.anyTile(t.ctx, tile, &t.budget); t.err != nil {
			return nil, t.err
		}
	}
	return data, nil
}

// hashTile fetches a hash tile, of which the first tile.W hashes are published.
func (l *staticLog) hashTile(ctx context.Context, tile tlog.Tile) ([]byte, error) {
	get := func(width int) (data []byte, err error) {
		q := request{class: ClassProof, path: fmt.Sprintf("tile/%d/%s", tile.L, tilePath(uint64(tile.N), uint64(width))), limit: maxHashTile, accept: gzipOrPlain}
		err = l.c.get(ctx, q, func(a *answer) error {
			if len(a.body) != width*sha256.Size {
				return &AnswerError{What: "hash tile", Reason: fmt.Sprintf("has %d bytes, want %d", len(a.body), width*sha256.Size)}
			}
			data = a.body[:tile.W*sha256.Size]
			return nil
		})
		return data, err
	}
	data, err := get(tile.W)
	if tile.W < tileWidth && isGone(err) {
		data, err = get(tileWidth)
	}
	return data, notYet(err)
}

func (l *staticLog) Issuer(ctx context.Context, fingerprint Hash) (der []byte, err error) {
	q := request{class: ClassIssuer, path: fmt.Sprintf("issuer/%x", fingerprint), limit: maxIssuer, accept: gzipOrPlain}
	err = l.c.get(ctx, q, func(a *answer) error {
		if sum := sha256.Sum256(a.body); sum != fingerprint {
			return &AnswerError{What: "issuer", Reason: fmt.Sprintf("the certificate's SHA-256 is %x", sum), Excerpt: excerpt(a.body)}
		}
		der = a.body
		return nil
	})
	return der, err
}

// isGone reports whether a tile is not there. Object stores that may not list
// their keys say 403 for 404.
func isGone(err error) bool {
	if errors.Is(err, fs.ErrNotExist) {
		return true
	}
	s, ok := errors.AsType[*StatusError](err)
	return ok && (s.Code == http.StatusNotFound || s.Code == http.StatusForbidden || s.Code == http.StatusGone)
}

// notYet marks a 404 of a tile that a signed head covers as ErrNotYet.
func notYet(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %w", ErrNotYet, err)
	}
	if s, ok := errors.AsType[*StatusError](err); ok && s.Code == http.StatusNotFound {
		return fmt.Errorf("%w: %w", ErrNotYet, err)
	}
	return err
}

// tilePath returns a tile's path below its level: "x001/x234/067", and
// "x001/x234/067.p/5" for a partial one (c2sp.org/tlog-tiles).
func tilePath(n, width uint64) string {
	p := fmt.Sprintf("%03d", n%1000)
	for n /= 1000; n > 0; n /= 1000 {
		p = fmt.Sprintf("x%03d/%s", n%1000, p)
	}
	if width < tileWidth {
		p += ".p/" + strconv.FormatUint(width, 10)
	}
	return p
}
