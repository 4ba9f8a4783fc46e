package store

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"
)

// attempts remembers the query ids of inserts that were sent and not answered,
// by flush. It knows of this process only.
type attempts struct {
	mu   sync.Mutex
	open map[uint64]map[string]struct{}
}

func (a *attempts) begin(flush uint64, id string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.open == nil {
		a.open = map[uint64]map[string]struct{}{}
	}
	if a.open[flush] == nil {
		a.open[flush] = map[string]struct{}{}
	}
	a.open[flush][id] = struct{}{}
}

// over forgets an insert that the server is done with.
func (a *attempts) over(flush uint64, id string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if delete(a.open[flush], id); len(a.open[flush]) == 0 {
		delete(a.open, flush)
	}
}

// of returns the inserts of flush that the server may still be at work on.
func (a *attempts) of(flush uint64) []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	ids := make([]string, 0, len(a.open[flush]))
	for id := range a.open[flush] {
		ids = append(ids, id)
	}
	return ids
}

// all returns the flushes that have inserts which the server may still be at
// work on.
func (a *attempts) all() []uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	ids := make([]uint64, 0, len(a.open))
	for id := range a.open {
		ids = append(ids, id)
	}
	return ids
}

// # Fences that a statement could carry
//
// Two would close the gap between a request that was sent and a statement that
// is listed, without tokens. Both follow from ClickHouse's documentation and
// source; neither was tried on a server, so neither is here.
//
// A session for each attempt: it is opened by a statement of its own under a
// fresh session_id, and the insert carries that id with session_check=1. The
// fence ends the session (close_session=1). A request that comes later finds
// none and is refused (372), one that runs holds the session, and the fence
// gets 373 until it has ended. To be shown first: that a late opening cannot
// bring the session back (its id must never be sent twice), what a restart and
// max_session_timeout do to it, and that close_session is there in 26.3.
//
// A row that forbids: INSERT … SELECT … FROM input(…) WHERE (SELECT count() FROM
// fences WHERE flush = …) = 0. The fence writes the row, and then kills and
// waits as it does now: a statement is listed before it looks, so it is either
// listed, or looks later and finds the row. To be shown first: that the order
// holds, that such an insert is still one block and one part for a partition,
// that its token means the same, and what it costs.

// fencePoll is how often a server is asked whether the inserts are gone.
const fencePoll = 200 * time.Millisecond

// fencePatience is how long the engine may take to finish what it is asked to
// finish before it is killed.
const fencePatience = time.Minute

// Fence returns when no insert of the flush can still take effect.
//
// The embedded engine answers an insert when its call has returned, and lives
// no longer than we do; so only an insert of this process without an answer can
// be under way. The engine is told to refuse it should it come yet, and says
// when it is not at work on it; where it cannot say so it is killed.
//
// On a server the flush's inserts are killed by query id, and Fence waits until
// it lists none. It may still find a request in its socket, or get it from a
// proxy, after that: the token of the reinsertion, which is the same, stops it
// then. Nothing does where the rows come again under another token (rows that
// were delivered and that a trim writes again, because the server came back
// without them; a search for refused rows), and without tokens
// (Config.NoTokens): it doubles rows, which counting shows and nobody can take
// away. That is a limit; see "Fences that a statement could carry" in this file.
func (s *Store) Fence(ctx context.Context, flushID uint64) error {
	s.forget()
	if e := s.cfg.Embedded; e != nil {
		for _, id := range s.attempts.of(flushID) {
			if err := fenceEmbedded(ctx, e, id); err != nil {
				return fmt.Errorf("fencing flush %d: %w", flushID, err)
			}
			s.attempts.over(flushID, id)
		}
		return nil
	}
	// The id is a number and the writer id is ours, but it is data all the same.
	if err := s.fenceServer(ctx, "ct-"+strconv.FormatUint(flushID, 10)+"-g%-"+likeEscape(s.writer)); err != nil {
		return fmt.Errorf("fencing flush %d: %w", flushID, err)
	}
	for _, id := range s.attempts.of(flushID) {
		s.attempts.over(flushID, id)
	}
	return nil
}

// FenceAll returns when no insert that any flush of this writer has ever sent
// can still take effect: for the start of a life, which does not know what a
// lost checkpoint knew.
func (s *Store) FenceAll(ctx context.Context) error {
	for _, id := range s.attempts.all() {
		if err := s.Fence(ctx, id); err != nil {
			return err
		}
	}
	if s.cfg.Embedded != nil {
		return nil // the engine of a former life has died with it
	}
	if err := s.fenceServer(ctx, "ct-%-"+likeEscape(s.writer)); err != nil {
		return fmt.Errorf("fencing inserts of former lives: %w", err)
	}
	return nil
}

// fenceServer kills the statements whose query id is like the pattern, and
// returns when the server lists none.
func (s *Store) fenceServer(ctx context.Context, pattern string) error {
	for {
		rows, err := s.rows(ctx, 1, "SELECT query_id FROM system.processes WHERE query_id LIKE {like:String}", Param("like", pattern))
		if err != nil {
			return err
		}
		if len(rows) == 0 {
			return nil
		}
		s.log.Warn("killing inserts", "like", pattern, "running", len(rows))
		// Where none is left to kill the answer is empty.
		if _, err := s.Rows(ctx, "KILL QUERY WHERE query_id LIKE "+quote(pattern)+" SYNC"); err != nil && !errors.Is(err, errEmpty) {
			if code(err) == codeAccessDenied {
				return fmt.Errorf("%w: GRANT KILL QUERY ON *.* to the user, or wait until its insert has ended", err)
			}
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(fencePoll):
		}
	}
}

func fenceEmbedded(ctx context.Context, e Embedded, id string) error {
	patient, cancel := context.WithTimeout(ctx, fencePatience)
	defer cancel()
	if e.FenceStatements(patient, id) == nil {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := e.Fence(ctx); err != nil {
		return err
	}
	return e.Wait(ctx)
}

// serverEpoch is what Epoch last saw of a server.
type serverEpoch struct {
	uuid  string
	start int64 // seconds since 1970, to ±2
	text  string

	left    map[string]time.Time // servers that answered before, and until when
	flipped time.Time            // when one of them answered again
}

// balancedFor is how long a server that has been left may not come back: two
// that answer in turn are behind a balancer. A change of servers for a reason
// lasts longer.
const balancedFor = 10 * time.Minute

// maxUUID is the longest UUID that is taken from a server, in bytes, and
// maxServers how many of them are too many.
const maxUUID, maxServers = 64, 8

// ErrBalanced says that several servers answer under one address. Rows are
// then counted on another server than the one that took them.
var ErrBalanced = errors.New("several servers answer in turn: store.dsn must name one of them, not a load balancer")

// at notes that a server answered, and says whether it does so in turn with
// others.
func (e *serverEpoch) at(uuid string, now time.Time) error {
	if e.uuid != "" && e.uuid != uuid {
		if e.left == nil {
			e.left = map[string]time.Time{}
		}
		e.left[e.uuid] = now
		if left, ok := e.left[uuid]; ok && now.Sub(left) < balancedFor || len(e.left) > maxServers {
			e.flipped = now
		}
		for id, left := range e.left {
			if now.Sub(left) >= balancedFor || len(e.left) > maxServers {
				delete(e.left, id)
			}
		}
	}
	if !e.flipped.IsZero() && now.Sub(e.flipped) < balancedFor {
		return ErrBalanced
	}
	return nil
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
	rows, err := s.rows(ctx, 2, "SELECT toString(serverUUID()), toUnixTimestamp(now()) - uptime()")
	if err != nil {
		return "", fmt.Errorf("asking for the server's start time: %w", err)
	}
	if len(rows) != 1 || len(rows[0][0]) > maxUUID {
		return "", fmt.Errorf("asking for the server's start time: the answer is not what was asked for")
	}
	start, err := strconv.ParseInt(rows[0][1], 10, 64)
	if err != nil {
		return "", fmt.Errorf("asking for the server's start time: %q is no number", safeLine(rows[0][1], 40))
	}
	s.epochMu.Lock()
	defer s.epochMu.Unlock()
	e := &s.epoch
	balanced := e.at(rows[0][0], time.Now())
	// Both clocks tick in whole seconds: the difference wobbles.
	if e.text == "" || e.uuid != rows[0][0] || start < e.start-2 || start > e.start+2 {
		e.uuid, e.start, e.text = rows[0][0], start, fmt.Sprintf("%s@%d", safeLine(rows[0][0], 40), start)
	}
	if balanced != nil {
		return "", fmt.Errorf("asking for the server's start time: %w", balanced)
	}
	return e.text, nil
}
