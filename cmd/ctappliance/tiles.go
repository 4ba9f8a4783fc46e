package main

import (
	"context"
	"encoding/hex"
	"log/slog"
	"slices"
	"sync"
	"time"

	"ctappliance/ingest/ctlog"
)

// tileAge is how long it is believed of an RFC 6962 log that it serves tiles
// as well, or does not.
const tileAge = 7 * 24 * time.Hour

// tileEntry says whether a log serves tiles.
type tileEntry struct {
	URL string    `json:"url"` // "" = it does not
	At  time.Time `json:"at"`
}

// tileBook knows which RFC 6962 logs serve tiles as well, by log ID in hex. It
// is written to tiles.json.
type tileBook struct {
	mu   sync.Mutex
	logs map[string]tileEntry
}

func loadTiles(dir string, out *slog.Logger) *tileBook {
	b := &tileBook{logs: loadState[map[string]tileEntry](dir, tilesFile, out)}
	if b.logs == nil {
		b.logs = map[string]tileEntry{}
	}
	return b
}

// with returns choices with the places of tiles where they are known.
func (b *tileBook) with(choices []choice) []choice {
	b.mu.Lock()
	defer b.mu.Unlock()
	choices = slices.Clone(choices)
	for i := range choices {
		if info := &choices[i].Info; info.Kind == ctlog.RFC6962 && info.TileURL == "" {
			info.TileURL = b.logs[hex.EncodeToString(info.ID[:])].URL
		}
	}
	return choices
}

// fresh reports whether a log need not be asked.
func (b *tileBook) fresh(id string, now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	e, ok := b.logs[id]
	return ok && now.Sub(e.At) < tileAge && now.Sub(e.At) > -time.Hour
}

// put notes an answer, and reports whether it is another than before.
func (b *tileBook) put(id, url string, now time.Time) (changed bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	before := b.logs[id].URL
	b.logs[id] = tileEntry{url, now}
	return before != url
}

func (b *tileBook) save(dir string, out *slog.Logger) {
	b.mu.Lock()
	defer b.mu.Unlock()
	saveState(dir, tilesFile, b.logs, out)
}

// probeTiles asks RFC 6962 logs that have entries to copy whether they serve
// tiles, a log at a time, and has those that do read through them.
func (f *fleet) probeTiles(ctx context.Context, p pipeline) {
	if f.probe == nil {
		return
	}
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		if f.probeSome(ctx, p) {
			poke(f.kick)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// probeSome asks each log that is due, and reports whether one has answered
// otherwise than before.
func (f *fleet) probeSome(ctx context.Context, p pipeline) (changed bool) {
	behind := backlogs(p.Status())
	f.mu.Lock()
	var due []ctlog.Info
	for id, ch := range f.followed {
		if name := hex.EncodeToString(id[:]); ch.Info.Kind == ctlog.RFC6962 && behind[name] && !f.tiles.fresh(name, f.now()) {
			due = append(due, ch.Info)
		}
	}
	f.mu.Unlock()
	asked := false
	for _, info := range due {
		url, err := f.probe(ctx, info)
		if ctx.Err() != nil {
			break
		}
		if err != nil {
			f.out.Debug("log not asked for tiles", "log", info.Name, "err", err)
			continue
		}
		asked = true
		if f.tiles.put(hex.EncodeToString(info.ID[:]), url, f.now()) {
			changed = true
			f.out.Info("log serves tiles beside its own API", "log", info.Name, "url", url)
		}
	}
	if asked {
		f.tiles.save(f.dir, f.out)
	}
	return changed
}
