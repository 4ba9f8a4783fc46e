package main

import (
	"context"
	"encoding/hex"
	"log/slog"
	"sync"
	"time"

	"ctappliance/ingest/ctlog"
)

// tileAge is how long it is believed of an RFC 6962 log that it serves tiles
// as well, or does not; tileRetry how long to leave one alone that did not say.
const (
	tileAge     = 7 * 24 * time.Hour
	tileRetry   = time.Hour
	tileBacklog = 4096             // entries that are wanted and not copied, below which tiles are no help
	tileWait    = 10 * time.Minute // for one log's answers, each of which takes a turn
	tileSoon    = time.Minute      // where somebody waits for the answer
)

// tileEntry says whether a log serves tiles.
type tileEntry struct {
	URL string    `json:"url"` // "" = it does not
	At  time.Time `json:"at"`
}

// tileBook knows which RFC 6962 logs serve tiles as well, by log ID in hex. It
// is written to tiles.json.
type tileBook struct {
	mu    sync.Mutex
	logs  map[string]tileEntry
	tried map[string]time.Time // logs that did not say
}

func loadTiles(dir string, out *slog.Logger) *tileBook {
	b := &tileBook{logs: loadState[map[string]tileEntry](dir, tilesFile, out), tried: map[string]time.Time{}}
	if b.logs == nil {
		b.logs = map[string]tileEntry{}
	}
	return b
}

// mark notes in choices where tiles are, as far as that is known.
func (b *tileBook) mark(choices []choice) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range choices {
		if info := &choices[i].Info; info.Kind == ctlog.RFC6962 {
			info.TileURL = b.logs[hex.EncodeToString(info.ID[:])].URL
		}
	}
}

// fresh reports whether a log need not be asked.
func (b *tileBook) fresh(id string, now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if at, ok := b.tried[id]; ok && now.Sub(at) < tileRetry {
		return true
	}
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

// failed notes that a log did not say.
func (b *tileBook) failed(id string, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tried[id] = now
}

// find returns where a log serves tiles, of which entries are wanted; "" if it
// does not, or if that cannot be found out soon. It asks a log that is not
// known.
func (b *tileBook) find(ctx context.Context, h *hosts, info ctlog.Info, entries uint64) string {
	id := hex.EncodeToString(info.ID[:])
	if now := time.Now(); info.Kind == ctlog.RFC6962 && entries >= tileBacklog && !b.fresh(id, now) {
		ctx, cancel := context.WithTimeout(ctx, tileSoon)
		defer cancel()
		if url, err := h.probeTiles(ctx, info); err == nil {
			b.put(id, url, now)
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if info.Kind != ctlog.RFC6962 {
		return ""
	}
	return b.logs[id].URL
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
	behind := map[string]bool{}
	for _, l := range p.Status().Logs {
		behind[l.ID] = l.Halted == "" && l.Wanted-min(l.Delivered, l.Wanted) >= tileBacklog
	}
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
		id := hex.EncodeToString(info.ID[:])
		info.TileURL = ""
		patience, cancel := context.WithTimeout(ctx, tileWait)
		url, err := f.probe(patience, info)
		cancel()
		if ctx.Err() != nil {
			break
		}
		if err != nil {
			f.tiles.failed(id, f.now())
			f.out.Debug("log did not say whether it serves tiles", "log", info.Name, "err", err, "retry_in", tileRetry)
			continue
		}
		asked = true
		if f.tiles.put(id, url, f.now()) {
			changed = true
			if url != "" {
				f.out.Info("log serves tiles beside its own API, reading through them", "log", info.Name, "url", url)
			} else {
				f.out.Info("log no longer serves tiles", "log", info.Name)
			}
		}
	}
	if asked {
		f.tiles.save(f.dir, f.out)
	}
	return changed
}
