package store

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"
)

// attempts remembers of which flushes an insert was sent and never answered.
// It knows of this process only.
type attempts struct {
	mu      sync.Mutex
	running map[uint64]int
	lost    map[uint64]bool
}

func (a *attempts) begin(flush uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.running == nil {
		a.running, a.lost = map[uint64]int{}, map[uint64]bool{}
	}
	a.running[flush]++
}

func (a *attempts) end(flush uint64, answered bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.running[flush]--; a.running[flush] == 0 {
		delete(a.running, flush)
	}
	if !answered {
		a.lost[flush] = true
	}
}

// open reports whether the server may still be at work on an insert of flush.
func (a *attempts) open(flush uint64) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.running[flush] > 0 || a.lost[flush]
}

// anyLost reports whether there is an insert that was never answered.
func (a *attempts) anyLost() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.lost) > 0
}

// settled forgets one flush.
func (a *attempts) settled(flush uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.lost, flush)
}

// allSettled forgets all flushes: what ran them is dead.
func (a *attempts) allSettled() {
	a.mu.Lock()
	defer a.mu.Unlock()
	clear(a.lost)
}

// fencePoll is how often a server is asked whether the inserts are gone.
const fencePoll = 200 * time.Millisecond

// Fence returns when no insert of the flush can still take effect.
//
// The embedded engine answers an insert when its call has returned, and lives
// no longer than we do; so only an insert of this process without an answer can
// be under way, and then the engine is killed: that is the strongest fence, and
// it is started again. On a server the flush's inserts are killed by query id,
// and Fence waits until it lists none.
//
// A server of the user's may still find a request in its socket after that. The
// token of the reinsertion, which is the same, and the counting that follows
// are there for it.
func (s *Store) Fence(ctx context.Context, flushID uint64) error {
	s.building.Lock()
	s.recent.Forget()
	s.building.Unlock()
	if e := s.cfg.Embedded; e != nil {
		if !s.attempts.open(flushID) {
			return nil
		}
		s.log.Warn("killing the engine: an insert was not answered", "flush", flushID)
		if err := e.Fence(ctx); err != nil {
			return fmt.Errorf("fencing flush %d: %w", flushID, err)
		}
		s.attempts.allSettled()
		if err := e.Wait(ctx); err != nil {
			return fmt.Errorf("fencing flush %d: waiting for the engine: %w", flushID, err)
		}
		return nil
	}
	// The id is a number and the writer id is ours, but it is data all the same.
	like := Param("like", "ct-"+strconv.FormatUint(flushID, 10)+"-g%-"+likeEscape(s.writer))
	for {
		rows, err := s.Rows(ctx, "SELECT query_id FROM system.processes WHERE query_id LIKE {like:String}", like)
		if err != nil {
			return fmt.Errorf("fencing flush %d: %w", flushID, err)
		}
		if len(rows) == 0 {
			s.attempts.settled(flushID)
			return nil
		}
		s.log.Warn("killing inserts", "flush", flushID, "running", len(rows))
		if _, err := s.Rows(ctx, "KILL QUERY WHERE query_id LIKE "+quote("ct-"+strconv.FormatUint(flushID, 10)+"-g%-"+likeEscape(s.writer))+" SYNC"); err != nil {
			return fmt.Errorf("fencing flush %d: %w", flushID, err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("fencing flush %d: %w", flushID, ctx.Err())
		case <-time.After(fencePoll):
		}
	}
}

// serverEpoch is what Epoch last saw of a server.
type serverEpoch struct {
	uuid  string
	start int64 // seconds since 1970, to ±2
	text  string
}

// Epoch identifies the server's present life: the engine's boot id, or the
// server's UUID and start time.
func (s *Store) Epoch(ctx context.Context) (string, error) {
	if s.cfg.Embedded != nil {
		id := s.cfg.Embedded.BootID()
		if id == "" {
			return "", fmt.Errorf("the embedded engine is not running")
		}
		return id, nil
	}
	rows, err := s.Rows(ctx, "SELECT toString(serverUUID()), toUnixTimestamp(now()) - uptime()")
	if err != nil {
		return "", fmt.Errorf("asking for the server's start time: %w", err)
	}
	if len(rows) != 1 || len(rows[0]) != 2 {
		return "", fmt.Errorf("asking for the server's start time: %d rows", len(rows))
	}
	start, err := strconv.ParseInt(rows[0][1], 10, 64)
	if err != nil {
		return "", fmt.Errorf("asking for the server's start time: %q is no number", safeLine(rows[0][1], 40))
	}
	s.epochMu.Lock()
	defer s.epochMu.Unlock()
	e := &s.epoch
	// Both clocks tick in whole seconds: the difference wobbles.
	if e.text == "" || e.uuid != rows[0][0] || start < e.start-2 || start > e.start+2 {
		*e = serverEpoch{rows[0][0], start, fmt.Sprintf("%s@%d", Safe(rows[0][0]), start)}
	}
	return e.text, nil
}
