package ctlog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"
)

// hybridLog is an RFC 6962 log that serves its full data tiles and issuers
// too, without a checkpoint: some logs do, far faster than get-entries, and
// for a tenth of the bytes. Heads, proofs and the tail come by RFC 6962.
//
// Nothing says that it will go on. Where tiles fail, or are not those of the
// log, entries come by get-entries for a while, and tiles are tried again.
type hybridLog struct {
	*rfc6962Log
	tiles *staticLog

	mu         sync.Mutex
	failed     int             // failures in a row
	late       int             // tiles near the head in a row that were not there
	pause      time.Duration   // the last one; 0 = tiles have worked since
	until      time.Time       // no tiles before; zero = tiles are used
	trial      bool            // a request is under way that tries whether tiles are there again
	uncompared int             // tiles until one is compared with get-entries again
	seen       map[Hash]uint64 // an entry with this certificate in its chain
	why        string          // tiles are not used
}

const (
	// tileFailures is how many failures in a row are taken for more than bad luck.
	tileFailures = 3

	firstTilePause = time.Minute
	lastTilePause  = 6 * time.Hour

	// compareEvery is how many tiles are used for one that is compared; the
	// first of all, and the first after a pause, always are.
	compareEvery = 1024

	// nearHead is how far from the head a tile that is not there is only late,
	// and lateTiles how many in a row may be that.
	nearHead  = 16 * tileWidth
	lateTiles = 32

	// maxSeenIssuers bounds what is remembered of where an issuer was seen.
	maxSeenIssuers = 4096
)

// tileTurn says whether a request should ask for a tile.
func (l *hybridLog) tileTurn() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.until.IsZero() {
		return true
	}
	if l.trial || time.Now().Before(l.until) {
		return false
	}
	l.trial = true
	return true
}

// tileWorked and tileFailed take note of what came of a turn.
func (l *hybridLog) tileWorked() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failed, l.late, l.pause, l.until, l.trial, l.why = 0, 0, 0, time.Time{}, false, ""
}

// tileFailed pauses tiles after several failures, each time for longer; at
// once and for long if they are not the log's.
func (l *hybridLog) tileFailed(reason string, wrong bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failed++
	paused := !l.until.IsZero()
	switch {
	case wrong:
		l.pause = lastTilePause
	case paused && !l.trial, !paused && l.failed < tileFailures:
		return // paused since this request left, or not yet worth it
	default:
		l.pause = min(max(2*l.pause, firstTilePause), lastTilePause)
	}
	l.until, l.trial, l.uncompared, l.why = time.Now().Add(l.pause), false, 0, reason
}

// tileLate takes note that a tile near the head was not there.
func (l *hybridLog) tileLate(reason string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.trial = false
	if l.late++; l.late%lateTiles == 0 {
		l.pause = min(max(2*l.pause, firstTilePause), lastTilePause)
		l.until, l.why = time.Now().Add(l.pause), reason
	}
}

// tileDropped gives a turn back of which nothing came: it says nothing of the tiles.
func (l *hybridLog) tileDropped() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.trial = false
}

func (l *hybridLog) fullTile(from, treeSize uint64) bool {
	return from < maxTreeSize && from-from%tileWidth+tileWidth <= treeSize
}

// Plan plans tiles while they are used, else pages. An answer may be shorter
// than planned if that changes in between.
func (l *hybridLog) Plan(from, to, treeSize uint64, wantPartial bool) (uint64, bool) {
	l.mu.Lock()
	paused := !l.until.IsZero() && (l.trial || time.Now().Before(l.until))
	l.mu.Unlock()
	if !paused && l.fullTile(from, treeSize) {
		return l.tiles.Plan(from, to, treeSize, wantPartial)
	}
	return l.rfc6962Log.Plan(from, to, treeSize, wantPartial)
}

func (l *hybridLog) Entries(ctx context.Context, from, to, treeSize uint64) (*Batch, error) {
	if err := checkRange(from, to, treeSize); err != nil {
		return nil, err
	}
	if !l.fullTile(from, treeSize) || !l.tileTurn() {
		return l.rfc6962Log.Entries(ctx, from, to, treeSize)
	}
	b, err := l.tiles.Entries(ctx, from, to, treeSize)
	if err != nil {
		return l.instead(ctx, err, from, to, treeSize)
	}
	if other := l.compare(ctx, b, treeSize); other != nil {
		l.tileFailed("tiles hold other entries than get-entries", true)
		return other, nil
	}
	l.tileWorked()
	l.remember(b)
	return b, nil
}

// instead decides what a failure to get a tile means.
func (l *hybridLog) instead(ctx context.Context, err error, from, to, treeSize uint64) (*Batch, error) {
	status, isStatus := errors.AsType[*StatusError](err)
	_, noAnswer := errors.AsType[*AnswerError](err)
	switch {
	case ctx.Err() != nil, isStatus && status.Code == http.StatusTooManyRequests:
		l.tileDropped()
		return nil, err
	case isGone(err) && treeSize-from <= nearHead:
		l.tileLate(err.Error())
	case isGone(err), noAnswer, errors.Is(err, ErrTooLarge):
		l.tileFailed(err.Error(), false)
	default:
		// A server in trouble: the caller has the patience, unless it lasts.
		l.tileFailed(err.Error(), false)
		return nil, err
	}
	return l.rfc6962Log.Entries(ctx, from, to, treeSize)
}

// compare compares a tile with what get-entries has in its place, now and
// then. It returns what get-entries has if that is something else.
func (l *hybridLog) compare(ctx context.Context, b *Batch, treeSize uint64) *Batch {
	l.mu.Lock()
	due := l.uncompared <= 0
	l.uncompared--
	if due {
		l.uncompared = compareEvery - 1
	}
	l.mu.Unlock()
	if !due {
		return nil
	}
	other, err := l.rfc6962Log.Entries(ctx, b.From, b.From+uint64(len(b.Entries)), treeSize)
	if err != nil {
		l.mu.Lock()
		l.uncompared = min(l.uncompared, compareEvery/64) // soon, but not at every tile
		l.mu.Unlock()
		return nil
	}
	if differ(b, other) == nil {
		return nil
	}
	return other
}

// differ says in what the entries of two answers for the same place differ:
// those that both have.
func differ(tile, page *Batch) error {
	for i := range min(len(tile.Entries), len(page.Entries)) {
		a, b := &tile.Entries[i], &page.Entries[i]
		index := tile.From + uint64(i)
		switch {
		case !bytes.Equal(a.Leaf, b.Leaf):
			return fmt.Errorf("entry %d has another leaf than get-entries says", index)
		case b.Extra != nil: // taken apart by neither
		case !bytes.Equal(a.Precert, b.Precert):
			return fmt.Errorf("entry %d has another precertificate than get-entries says", index)
		case !slices.Equal(a.Chain, b.Chain):
			return fmt.Errorf("entry %d has another chain than get-entries says", index)
		}
	}
	return nil
}

// remember notes where the issuers of a tile can be had by get-entries.
func (l *hybridLog) remember(b *Batch) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.seen == nil {
		l.seen = map[Hash]uint64{}
	}
	var last []Hash
	for i, e := range b.Entries {
		if len(e.Chain) == 0 || len(last) > 0 && &last[0] == &e.Chain[0] {
			continue // chains of a tile are shared
		}
		last = e.Chain
		for _, fingerprint := range e.Chain {
			if _, ok := l.seen[fingerprint]; !ok && len(l.seen) < maxSeenIssuers {
				l.seen[fingerprint] = b.From + uint64(i)
			}
		}
	}
}

// Issuer fetches an issuer, or an entry below it where issuers are not served.
func (l *hybridLog) Issuer(ctx context.Context, fingerprint Hash) ([]byte, error) {
	der, err := l.tiles.Issuer(ctx, fingerprint)
	if err == nil || ctx.Err() != nil {
		return der, err
	}
	if s, ok := errors.AsType[*StatusError](err); ok && s.Code == http.StatusTooManyRequests {
		return nil, err
	}
	l.mu.Lock()
	index, ok := l.seen[fingerprint]
	l.mu.Unlock()
	if !ok {
		return nil, err
	}
	b, err2 := l.rfc6962Log.Entries(ctx, index, index+1, maxTreeSize)
	if err2 != nil {
		return nil, err
	}
	if der, ok := b.Issuers[fingerprint]; ok {
		return der, nil
	}
	return nil, err
}

// TilesPaused says why a log that serves tiles too is read without them at
// present, and until when; empty if it is not.
func TilesPaused(l Log) (reason string, until time.Time) {
	h, ok := l.(*hybridLog)
	if !ok {
		return "", time.Time{}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.why, h.until
}
