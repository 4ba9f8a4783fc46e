package ctlog

import (
	"context"
	"errors"
	"fmt"
)

// ErrNoTiles is returned by ProbeTiles if a log serves no tiles that are of
// use. Any other error says that it could not be found out.
var ErrNoTiles = errors.New("log serves no tiles beside its API")

// ProbeTiles finds out whether an RFC 6962 log also serves data tiles and
// issuers, and returns the URL below which it does, for Info.TileURL. It asks
// for one full tile in the middle of the log, and believes in it only if
// get-entries has the same leaves, precertificates and chains there, and an
// issuer can be had. Candidates are URLs to try; without any it is the log's
// own. Two requests where there are no tiles, four where there are, and up to
// three for each further candidate; o.Pacer is that of all of them. Nothing is
// remembered: ask again after days, not minutes.
func ProbeTiles(ctx context.Context, info Info, o Options, candidates ...string) (string, error) {
	if info.Kind != RFC6962 || o.Archive || isArchiveURL(info.URL) {
		return "", fmt.Errorf("%w: it is no RFC 6962 log", ErrNoTiles)
	}
	if len(candidates) == 0 {
		candidates = []string{info.URL}
	}
	var head *Head
	err := error(nil)
	for _, url := range candidates {
		info.TileURL = url
		l, err2 := New(info, o)
		if err2 != nil {
			return "", err2
		}
		h := l.(*hybridLog)
		if head == nil {
			if head, err = h.Head(ctx); err != nil {
				return "", err
			}
			if head.Size < tileWidth {
				return "", fmt.Errorf("log has %d entries: no tile can be full yet", head.Size)
			}
		}
		if err2 = h.probe(ctx, head.Size); err2 == nil {
			return h.tiles.c.(*client).base, nil
		}
		// Of several answers the one that may change counts.
		if err == nil || errors.Is(err, ErrNoTiles) {
			err = err2
		}
	}
	return "", err
}

// probe compares the tile in the middle of a log with get-entries.
func (l *hybridLog) probe(ctx context.Context, size uint64) error {
	from := size / tileWidth / 2 * tileWidth
	tile, err := l.tiles.Entries(ctx, from, from+tileWidth, size)
	_, noAnswer := errors.AsType[*AnswerError](err)
	switch {
	case isGone(err) || noAnswer || errors.Is(err, ErrTooLarge) || isRedirect(err):
		return fmt.Errorf("%w: %w", ErrNoTiles, err)
	case err != nil:
		return err
	}
	page, err := l.rfc6962Log.Entries(ctx, from, from+tileWidth, size)
	if err != nil {
		return err
	}
	if err := differ(tile, page); err != nil {
		return fmt.Errorf("%w: %w", ErrNoTiles, err)
	}
	for _, e := range tile.Entries {
		if len(e.Chain) == 0 {
			continue
		}
		_, err := l.tiles.Issuer(ctx, e.Chain[0])
		if _, noAnswer := errors.AsType[*AnswerError](err); isGone(err) || noAnswer {
			return fmt.Errorf("%w: it has tiles, but not their issuers: %w", ErrNoTiles, err)
		}
		return err
	}
	return nil
}

// isRedirect reports whether a log sent us elsewhere, as web sites do with
// paths that they do not know.
func isRedirect(err error) bool {
	s, ok := errors.AsType[*StatusError](err)
	return ok && s.Code/100 == 3
}
