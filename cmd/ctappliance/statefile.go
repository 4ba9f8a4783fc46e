package main

import (
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strings"
	"time"

	"ctappliance/cmd/ctappliance/config"
	"ctappliance/ingest/pace"
	"ctappliance/internal/durable"
)

// The files of the data directory that hold what was learnt and may be lost:
// nothing of what is delivered depends on them. One that cannot be read is
// ignored, with a line in the log, and written anew.
const (
	paceFile     = "pace.json"     // what pacers have found out about hosts
	followedFile = "followed.json" // logs of the lists that were followed
	tilesFile    = "tiles.json"    // which RFC 6962 logs serve tiles as well
)

const maxStateFile = 16 << 20

// loadState reads a file of the data directory into a T, which is zero where
// there is none, or none that can be read.
func loadState[T any](dir, name string, out *slog.Logger) T {
	var v, none T
	text, _, err := config.ReadSmallFile(filepath.Join(dir, name), maxStateFile)
	if errors.Is(err, fs.ErrNotExist) {
		return none
	}
	if err == nil {
		err = json.Unmarshal(text, &v)
	}
	if err != nil {
		out.Warn("file ignored, it is written anew", "file", name, "err", err)
		return none
	}
	return v
}

// saveState writes a file of the data directory. Where that fails the next
// life has less to begin with, and the log a line.
func saveState(dir, name string, v any, out *slog.Logger) {
	text, err := json.MarshalIndent(v, "", " ")
	if err == nil {
		err = durable.WriteFile(durable.OS{}, filepath.Join(dir, name), append(text, '\n'), 0o600)
	}
	if err != nil {
		out.Warn("file not written", "file", name, "err", err)
	}
}

// tempSuffix is what durable.WriteFile has behind the name of a file that is
// not whole yet.
const tempSuffix = ".tmp"

// sweepState removes what a kill in the middle of saveState has left. The
// caller holds the data directory's lock: nobody writes there.
func sweepState(dir string, out *slog.Logger) {
	for _, name := range []string{paceFile, followedFile, tilesFile} {
		if err := os.Remove(filepath.Join(dir, name+tempSuffix)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			out.Warn("file not removed, nothing needs it", "file", name+tempSuffix, "err", err)
		}
	}
}

// paceState is the content of pace.json.
type paceState struct {
	Hosts map[string]pace.State `json:"hosts"`
}

// forgetPace is how old knowledge of a host may be: operators change limits.
const forgetPace = 30 * 24 * time.Hour

// loadPace reads what former lives have learnt of hosts, without what cannot
// be true or is too old to be.
func (h *hosts) loadPace(dir string, now time.Time, out *slog.Logger) {
	h.mu.Lock()
	defer h.mu.Unlock()
	absurd := 0
	for host, s := range loadState[paceState](dir, paceFile, out).Hosts {
		switch age := now.Sub(s.At); {
		case !(s.Rate > 0 && s.Rate <= 1e6) || s.Limit < 0 || math.IsInf(s.Limit, 0) || age < -time.Hour:
			absurd++
		case age <= forgetPace:
			h.learnt[host] = s
		}
	}
	if absurd > 0 {
		out.Warn("pacing of some hosts ignored, it cannot be true; it is found out anew", "file", paceFile, "hosts", absurd)
	}
}

// savePace writes what is known of hosts, also of those that are not asked at
// present.
func (h *hosts) savePace(dir string, now time.Time, out *slog.Logger) {
	h.mu.Lock()
	for host, p := range h.byHost {
		if !strings.Contains(host, "://") { // an archive's file has no host
			h.learnt[host] = p.State()
		}
	}
	state := paceState{Hosts: map[string]pace.State{}}
	for host, s := range h.learnt {
		if now.Sub(s.At) <= forgetPace {
			state.Hosts[host] = s
		}
	}
	h.mu.Unlock()
	saveState(dir, paceFile, state, out)
}
