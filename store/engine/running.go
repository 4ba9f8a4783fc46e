package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

// runningAnswer is what /running says.
type runningAnswer struct {
	BootID  string    `json:"boot_id"`
	Running []running `json:"running"`
}

// RunningStatements gives the query IDs of the statements in progress whose ID
// begins with prefix. A statement is in progress until the engine's own call
// for it has returned. A request may still be on its way, so an empty list is
// news, not proof: see FenceStatements.
func (e *Engine) RunningStatements(ctx context.Context, prefix string) ([]string, error) {
	return e.ask(ctx, http.MethodGet, "/running", prefix)
}

// FenceStatements makes sure, without killing anything, that no statement
// whose query_id begins with prefix will still write: further ones are refused
// by the present child with code 394, and it returns nil when none is in
// progress. prefix must not be empty; mind that "t1" is a prefix of "t10".
//
// An error proves nothing. One that says that the child is another than before
// comes with the same proof as a kill, if the caller knows which child it sent
// the statements to; Fence is the way out of all others.
func (e *Engine) FenceStatements(ctx context.Context, prefix string) error {
	boot := e.BootID()
	for wait := time.Millisecond; ; wait = min(2*wait, 200*time.Millisecond) {
		ids, err := e.ask(ctx, http.MethodPost, "/fence", prefix)
		if err != nil {
			return err
		}
		if now := e.BootID(); now != boot {
			return fmt.Errorf("fencing statements: it is another child now (%s, was %s)", now, boot)
		}
		if len(ids) == 0 {
			return nil
		}
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return fmt.Errorf("fencing statements: %d still run: %w", len(ids), ctx.Err())
		}
	}
}

func (e *Engine) ask(ctx context.Context, method, path, prefix string) ([]string, error) {
	st := e.Status()
	req, err := http.NewRequestWithContext(ctx, method, st.URL+path+"?query_id="+url.QueryEscape(prefix), nil)
	if err != nil {
		return nil, fmt.Errorf("asking engine for its statements: %w", err)
	}
	req.SetBasicAuth(writerName, e.secret)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("asking engine for its statements: %w", err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return nil, fmt.Errorf("asking engine for its statements: %w", err)
	}
	var a runningAnswer
	if resp.StatusCode != http.StatusOK || json.Unmarshal(b, &a) != nil {
		return nil, fmt.Errorf("asking engine for its statements: %s %.200q", resp.Status, b)
	}
	if a.BootID != st.BootID {
		return nil, fmt.Errorf("asking engine for its statements: it is another child now (%s, was %s)", a.BootID, st.BootID)
	}
	ids := make([]string, len(a.Running))
	for i, r := range a.Running {
		ids[i] = r.QueryID
	}
	return ids, nil
}
