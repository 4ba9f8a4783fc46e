package ctlogtest

import (
	"net/http"
	"strings"
	"time"
)

// RateLimit is a limit that the log keeps to itself: clients find it by being
// refused with 429.
type RateLimit struct {
	Rate  float64 `json:"rate"`  // requests per second, > 0
	Burst int     `json:"burst"` // requests that may come at once; 0 means 1

	RetryAfter string `json:"retry_after,omitempty"` // spelling, see RetrySeconds
	// RetryExact makes Retry-After the time until the next request passes;
	// else it names this second, as Skylight's does.
	RetryExact bool `json:"retry_exact,omitempty"`

	// Penalty refuses everything for that long after each refusal.
	Penalty time.Duration `json:"penalty,omitempty"`

	Heads     bool `json:"heads,omitempty"`     // heads count too; Skylight spares the checkpoint
	Anonymous bool `json:"anonymous,omitempty"` // spares clients with a contact in their User-Agent, as Skylight does
}

// limiter is a token bucket, kept as the time at which it will be full (GCRA).
type limiter struct {
	RateLimit
	full  time.Time
	until time.Time // end of the penalty
}

// admit takes one request, or returns how long the next must wait.
func (l *limiter) admit(now time.Time) (wait time.Duration, ok bool) {
	if now.Before(l.until) {
		l.until = now.Add(l.Penalty)
		return l.Penalty, false
	}
	gap := time.Duration(float64(time.Second) / l.Rate)
	full := l.full
	if full.Before(now) {
		full = now
	}
	full = full.Add(gap)
	if over := full.Sub(now) - time.Duration(max(l.Burst, 1))*gap; over > 0 {
		if l.Penalty > 0 {
			l.until = now.Add(l.Penalty)
			over = max(over, l.Penalty)
		}
		return over, false
	}
	l.full = full
	return 0, true
}

// admit asks the rate limit, if there is one. If the request is refused,
// header is its Retry-After.
func (f *Faults) admit(r *http.Request, class Class) (header string, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	l := f.limit
	if l == nil || class == ClassHead && !l.Heads || l.Anonymous && hasContact(r.UserAgent()) {
		return "", true
	}
	now := f.now()
	wait, ok := l.admit(now)
	if ok {
		return "", true
	}
	if !l.RetryExact {
		wait = 0
		if l.RetryAfter == RetrySeconds {
			wait = time.Second
		}
	}
	return retryAfter(l.RetryAfter, now, wait), false
}

// hasContact is Skylight's test of a User-Agent.
func hasContact(ua string) bool {
	return !strings.Contains(ua, "example.com") &&
		(strings.Contains(ua, "@") || strings.Contains(ua, "https://") || strings.Contains(ua, "github.com/"))
}
