package ingest

import (
	"encoding/hex"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"ctappliance/ingest/cert"
	"ctappliance/ingest/ctlog"
	"ctappliance/schema"
)

const (
	// sampleEvery is of how many rows one is checked, whatever it is.
	sampleEvery = 1000

	// A check takes some ten times as long as the parser itself, and what is odd
	// a stranger decides: each kind of check may take this part of the time of
	// one core, and so much at once.
	checkShare = 250 // one in
	checkBurst = 10 * time.Millisecond

	// warnEvery is how often a disagreement is worth a line.
	warnEvery = time.Minute

	// unremarkable are flags that say nothing of how a certificate was read.
	unremarkable = uint64(cert.NoIssuer)
)

// oracle has another parser look at some of what ours made: one row in a
// thousand, rows with flags, and issuers when they are first seen. What they
// disagree on is counted and said; it changes nothing. A nil oracle looks at
// nothing.
type oracle struct {
	out   *slog.Logger
	name  func(ctlog.Hash) string // of a log, for the operator
	check func(*schema.Row) ([]string, bool)

	mu      sync.Mutex
	gap     int // rows until the next one of the sample
	sampled allowance
	odd     allowance
	warned  time.Time
	unsaid  int // disagreements since then

	checked, disagreed, skipped atomic.Uint64
}

func newOracle(out *slog.Logger, name func(ctlog.Hash) string) *oracle {
	now := time.Now()
	return &oracle{out: out, name: name, check: cert.Check, gap: rand.IntN(sampleEvery),
		sampled: allowance{since: now}, odd: allowance{since: now}}
}

// allowance is time that may be spent.
type allowance struct {
	since time.Time
	spent time.Duration
}

func (a *allowance) left(now time.Time) bool {
	return a.spent <= checkBurst+now.Sub(a.since)/checkShare
}

// look checks rows of a log, as many as it should.
func (o *oracle) look(log ctlog.Hash, rows []schema.Row) {
	if o == nil {
		return
	}
	o.mu.Lock()
	pick := o.gap
	if o.gap -= len(rows); o.gap < 0 {
		o.gap = rand.IntN(2*sampleEvery - 1)
	}
	o.mu.Unlock()
	for i := range rows {
		switch {
		case i == pick:
			o.one(log, &rows[i], &o.sampled)
		case rows[i].Flags&^unremarkable != 0:
			o.one(log, &rows[i], &o.odd)
		}
	}
}

// one checks a row, at the cost of an allowance.
func (o *oracle) one(log ctlog.Hash, row *schema.Row, from *allowance) {
	o.spend(from, func() ([]string, bool) { return o.check(row) }, func(columns string, unsaid int) {
		o.out.Warn("the parser and its oracle disagree", "log", o.name(log), "index", row.Index, "reason", columns, "unsaid", unsaid)
	})
}

// issuer checks a chain certificate.
func (o *oracle) issuer(fingerprint ctlog.Hash, der []byte) {
	if o == nil {
		return
	}
	o.spend(&o.odd, func() ([]string, bool) { return cert.CheckIssuer(der) }, func(columns string, unsaid int) {
		o.out.Warn("the parser and its oracle disagree about an issuer", "issuer", hex.EncodeToString(fingerprint[:]), "reason", columns, "unsaid", unsaid)
	})
}

func (o *oracle) spend(from *allowance, check func() ([]string, bool), warn func(columns string, unsaid int)) {
	start := time.Now()
	o.mu.Lock()
	left := from.left(start)
	o.mu.Unlock()
	if !left {
		o.skipped.Add(1)
		return
	}
	columns, ok := check()
	now := time.Now()
	o.mu.Lock()
	from.spent += now.Sub(start)
	say, unsaid := false, o.unsaid
	if len(columns) > 0 {
		if say = o.warned.IsZero() || now.Sub(o.warned) >= warnEvery; say {
			o.warned, o.unsaid = now, 0
		} else {
			o.unsaid++
		}
	}
	o.mu.Unlock()
	if ok {
		o.checked.Add(1)
	}
	if len(columns) > 0 {
		o.disagreed.Add(1)
	}
	if say {
		warn(strings.Join(columns, " "), unsaid)
	}
}

// ParserStatus is what another parser, certificate-transparency-go's, says of
// ours: of one row in a thousand, of rows with flags, and of new issuers.
type ParserStatus struct {
	Checked   uint64 `json:"checked"`   // read by both, since start
	Disagreed uint64 `json:"disagreed"` // where a column differed that no flag explains
	Skipped   uint64 `json:"skipped"`   // not checked, because checks had taken their share of the time
}

func (o *oracle) status() ParserStatus {
	return ParserStatus{Checked: o.checked.Load(), Disagreed: o.disagreed.Load(), Skipped: o.skipped.Load()}
}
