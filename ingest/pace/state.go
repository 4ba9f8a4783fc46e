package pace

import (
	"math"
	"time"
)

// State is what a pacer has learnt, for the next life.
type State struct {
	Rate  float64   `json:"rate"`  // requests per second
	Limit float64   `json:"limit"` // found limit in requests per second; 0 = none met
	At    time.Time `json:"at"`
}

const (
	stateAge    = 24 * time.Hour // an older one is a hint
	stateMargin = 0.9            // of a known limit, at a restart
)

// State returns what the pacer has learnt so far.
func (p *Pacer) State() State {
	p.mu.Lock()
	defer p.mu.Unlock()
	return State{Rate: p.law.rate, Limit: p.law.limit(), At: time.Now()}
}

// limit is the best guess at the limit; 0 if none has been met.
func (l *law) limit() float64 {
	switch {
	case !l.met:
		return 0
	case l.lo > 0:
		return l.lo
	}
	return l.rate
}

// recall takes up what a former life has learnt.
func (l *law) recall(s State, now time.Time) {
	sane := func(f float64) bool { return !math.IsNaN(f) && f >= minRate && f <= maxRate }
	age := now.Sub(s.At)
	switch {
	case age < 0 || s.At.IsZero():
	case sane(s.Limit) && age <= stateAge:
		l.startup, l.met = false, true
		l.lo = s.Limit * stateMargin
		l.hi = s.Limit * (1 + probeGain)
		l.credit = 1
		l.set(now, l.lo)
	case sane(s.Limit):
		l.set(now, s.Limit/2)
	case sane(s.Rate):
		l.set(now, max(s.Rate/2, min(s.Rate, l.rate)))
	}
}

// Snapshot is what status says of a rate domain.
type Snapshot struct {
	Rate         float64       `json:"rate"`      // requests per second allowed now
	Startup      bool          `json:"startup"`   // no limit met yet
	Frozen       time.Duration `json:"frozen"`    // until the next launch, after a refusal
	InFlight     int           `json:"in_flight"` // requests on their way
	Requests     uint64        `json:"requests"`
	Refusals     uint64        `json:"refusals"`
	Limit        float64       `json:"limit"`            // found limit in requests per second; 0 = none met
	Refused      time.Time     `json:"refused,omitzero"` // when the last request was refused
	RefusedShare float64       `json:"refused_share"`    // of the last thousand or so requests
	Regime       string        `json:"regime"`           // start-up, waiting, failing, searching, probing or steady
}

// Snapshot returns the pacer's present state.
func (p *Pacer) Snapshot() Snapshot {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.law
	now := time.Now()
	s := Snapshot{Rate: l.rate * l.ease, Startup: l.startup, Frozen: max(0, l.frozen.Sub(now)), InFlight: l.inFlight,
		Requests: l.requests, Refusals: l.refusals, Limit: l.limit(), Refused: l.refusedAt, RefusedShare: l.share}
	switch {
	case l.frozen.After(now) || l.alone && !l.opened:
		s.Regime = "waiting"
	case l.ease < 1:
		s.Regime = "failing"
	case l.startup:
		s.Regime = "start-up"
	case l.downs > 0:
		s.Regime = "searching"
	case l.gain > 0:
		s.Regime = "probing"
	default:
		s.Regime = "steady"
	}
	return s
}
