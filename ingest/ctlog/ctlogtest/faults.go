package ctlogtest

import (
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"
)

// Class is what a request is for, as pacers see it.
type Class string

// The request classes.
const (
	ClassHead   Class = "head"   // get-sth, checkpoint
	ClassData   Class = "data"   // get-entries, tile/data
	ClassProof  Class = "proof"  // proofs, hash tiles, get-entry-and-proof, get-roots
	ClassIssuer Class = "issuer" // issuer/
)

// Mode is one way to misbehave.
type Mode string

// The modes. What N, Delay and Status mean to each is said beside it.
const (
	// Refusals and broken transport; any class.
	Status        Mode = "status"         // Status (default 503) with RetryAfter; the body is a line of text
	Latency       Mode = "latency"        // waits for Delay first
	Reset         Mode = "reset"          // the connection is reset after N bytes of body
	SlowBody      Mode = "slow-body"      // N bytes (default 1) at a time, Delay (default 1 s) apart
	EndlessBody   Mode = "endless-body"   // a body that does not end, or ends after N bytes
	GzipBomb      Mode = "gzip-bomb"      // a gzip body that unfolds to N bytes (default 10 GiB)
	TruncatedGzip Mode = "truncated-gzip" // a gzip body that ends in the middle
	HTML          Mode = "html"           // an HTML page with status 200, or Status
	Redirect      Mode = "redirect"       // 302, or Status, to Location (default: the same with redirected=1)
	Missing       Mode = "missing"        // 404
	HangUp        Mode = "hang-up"        // the connection is reset before anything was sent
	SlowHeader    Mode = "slow-header"    // the header comes one byte at a time, Delay (default 1 s) apart, and never ends

	// Wrong data; class data unless said.
	ShortAnswer  Mode = "short-answer"  // at most N entries (default 1); a tile cut in the middle of an entry
	EmptyAnswer  Mode = "empty-answer"  // status 200 and no entries
	ExtraEntries Mode = "extra-entries" // N (default 1) more entries than were asked for
	WrongLength  Mode = "wrong-length"  // N bytes (default 1) more at the end of a tile, or fewer if N < 0; data and proof
	CorruptEntry Mode = "corrupt-entry" // the leaves in [From, To) are altered, or the first of the answer; they still decode
	CorruptIndex Mode = "corrupt-index" // the leaf_index extensions of a static log are one too high
	CorruptHash  Mode = "corrupt-hash"  // one hash of a hash tile or proof is altered; class proof
	BadJSON      Mode = "bad-json"      // the answer ends after half of it; any class
	SwapEntries  Mode = "swap-entries"  // the entries in [From, To) change places two by two, or the first two of the answer
	LeafVersion  Mode = "leaf-version"  // the leaves in [From, To), or the first of the answer, are of version 2; RFC 6962 only
	EntryType    Mode = "entry-type"    // they are of a type that nobody has defined
	CorruptChain Mode = "corrupt-chain" // their last chain certificate, or its fingerprint, is altered: nothing that is signed
	TwiceKeys    Mode = "twice-keys"    // a JSON object has members twice, a false value before the true one; any class
	BadBase64    Mode = "bad-base64"    // one character is none of base64; classes head, data and proof

	// Wrong heads; class head.
	RolledBack   Mode = "rolled-back"   // a valid head that is N entries (default 1) smaller
	SplitView    Mode = "split-view"    // a validly signed head with the right size and another root
	BadSignature Mode = "bad-signature" // one bit of the signature is flipped
	WrongKey     Mode = "wrong-key"     // signed by another key, under the right name
	Future       Mode = "future"        // a head that is Delay (default 24 h) ahead of its time, validly signed
	WrongOrigin  Mode = "wrong-origin"  // a checkpoint of another origin
	Backdated    Mode = "backdated"     // a head dated Delay (default 24 h) before its time, validly signed
	OddSize      Mode = "odd-size"      // Text in place of the tree size; validly signed if it is a number that can be

	// Static logs only.
	PartialGone   Mode = "partial-gone"   // partial tiles answer 404; data and proof
	StalePartial  Mode = "stale-partial"  // partial tiles hold N entries or hashes (default 1) fewer than asked for; data and proof
	WrongIssuer   Mode = "wrong-issuer"   // another certificate than the one named; class issuer
	MissingIssuer Mode = "missing-issuer" // 404; class issuer
)

// maxExtra bounds ExtraEntries: ten million entries of get-entries are 54 GB.
// A tile holds 10,000 more at most, because it is made in memory.
const (
	maxExtra     = 10_000_000
	maxTileExtra = 10_000
)

// Retry-After spellings of [Fault] and [RateLimit].
const (
	RetryNone    = ""        // no header
	RetrySeconds = "seconds" // "2"
	RetryDate    = "date"    // "Mon, 04 May 2026 00:00:02 GMT"
	RetryUTC     = "utc"     // the same with "UTC", as Skylight writes it; http.ParseTime refuses it
	RetryJunk    = "junk"    // "soon"
)

// Fault is one misbehaviour. It strikes a request that it fits; of several of
// one mode the first strikes. In JSON a duration is a string such as "1.5s", or
// a number of nanoseconds.
type Fault struct {
	Mode Mode `json:"mode"`

	// Which requests it fits. On is a class, empty is every class that the
	// mode can strike. To > 0 limits it to data requests that touch entries
	// [From, To). When, if set, must hold as well.
	On   Class                    `json:"on,omitempty"`
	From uint64                   `json:"from,omitempty"`
	To   uint64                   `json:"to,omitempty"`
	When func(*http.Request) bool `json:"-"`

	// Of the requests that fit, the first After are spared, then each is
	// struck with probability Rate (0 means always) until Count (0 means
	// without end) have been.
	After int     `json:"after,omitempty"`
	Rate  float64 `json:"rate,omitempty"`
	Count int     `json:"count,omitempty"`

	Status     int           `json:"status,omitempty"`
	RetryAfter string        `json:"retry_after,omitempty"`
	RetryIn    time.Duration `json:"retry_in,omitempty"` // default 1 s
	Location   string        `json:"location,omitempty"`
	Text       string        `json:"text,omitempty"`
	Delay      time.Duration `json:"delay,omitempty"`
	N          int64         `json:"n,omitempty"`
}

// classes lists what each mode can strike.
var classes = map[Mode][]Class{
	Status: nil, Latency: nil, Reset: nil, SlowBody: nil, EndlessBody: nil, GzipBomb: nil, TruncatedGzip: nil, HTML: nil, Redirect: nil, Missing: nil, BadJSON: nil,
	HangUp: nil, SlowHeader: nil, TwiceKeys: {ClassHead, ClassData, ClassProof}, BadBase64: {ClassHead, ClassData, ClassProof},
	SwapEntries: {ClassData}, LeafVersion: {ClassData}, EntryType: {ClassData}, CorruptChain: {ClassData},
	Backdated: {ClassHead}, OddSize: {ClassHead}, StalePartial: {ClassData, ClassProof},
	ShortAnswer: {ClassData}, EmptyAnswer: {ClassData}, ExtraEntries: {ClassData}, WrongLength: {ClassData, ClassProof},
	CorruptEntry: {ClassData}, CorruptIndex: {ClassData}, CorruptHash: {ClassProof},
	RolledBack: {ClassHead}, SplitView: {ClassHead}, BadSignature: {ClassHead}, WrongKey: {ClassHead}, Future: {ClassHead}, WrongOrigin: {ClassHead},
	PartialGone: {ClassData, ClassProof}, WrongIssuer: {ClassIssuer}, MissingIssuer: {ClassIssuer},
}

// Faults is what a log does wrong. It may be changed while the log serves.
type Faults struct {
	now func() time.Time

	mu    sync.Mutex
	rand  rng
	armed []*armedFault
	limit *limiter
	fired map[Mode]int
}

type armedFault struct {
	Fault
	seen, struck int
}

func newFaults(seed uint64, now func() time.Time) *Faults {
	return &Faults{now: now, rand: newRNG(seed, 'f', 0), fired: map[Mode]int{}}
}

// Add arms faults behind those that are armed.
func (f *Faults) Add(faults ...Fault) error {
	for _, x := range faults {
		want, ok := classes[x.Mode]
		switch {
		case !ok:
			return fmt.Errorf("unknown fault mode %q", x.Mode)
		case x.On != "" && !slices.Contains([]Class{ClassHead, ClassData, ClassProof, ClassIssuer}, x.On):
			return fmt.Errorf("fault %s: unknown request class %q", x.Mode, x.On)
		case x.On != "" && want != nil && !slices.Contains(want, x.On):
			return fmt.Errorf("fault %s: strikes %v, not %q", x.Mode, want, x.On)
		case x.Rate < 0 || x.Rate > 1:
			return fmt.Errorf("fault %s: a rate of %v is not between 0 and 1", x.Mode, x.Rate)
		case x.N < 0 && x.Mode != WrongLength || x.Delay < 0 || x.After < 0 || x.Count < 0:
			return fmt.Errorf("fault %s: n, delay, after and count must not be negative", x.Mode)
		case x.Mode == WrongLength && max(x.N, -x.N) > 64<<20, x.Mode == ExtraEntries && x.N > maxExtra:
			return fmt.Errorf("fault %s: n is %d, at most 64 MiB or %d entries can be sent", x.Mode, x.N, maxExtra)
		case x.Status != 0 && (x.Status < 200 || x.Status > 599):
			return fmt.Errorf("fault %s: status %d is not between 200 and 599", x.Mode, x.Status)
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, x := range faults {
		f.armed = append(f.armed, &armedFault{Fault: x})
	}
	return nil
}

// Set replaces all faults; without arguments the log behaves again. The rate
// limit stays.
func (f *Faults) Set(faults ...Fault) error {
	f.mu.Lock()
	old := f.armed
	f.armed = nil
	f.mu.Unlock()
	if err := f.Add(faults...); err != nil {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.armed = old
		return err
	}
	return nil
}

// SetLimit sets the rate limit; nil takes it away.
func (f *Faults) SetLimit(r *RateLimit) error {
	if r != nil && !(r.Rate > 0) {
		return fmt.Errorf("rate limit: %v requests per second is not a rate", r.Rate)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.limit = nil
	if r != nil {
		f.limit = &limiter{RateLimit: *r}
	}
	return nil
}

// Fired returns how often each mode has struck.
func (f *Faults) Fired() map[Mode]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := make(map[Mode]int, len(f.fired))
	for m, n := range f.fired {
		out[m] = n
	}
	return out
}

// drawn is the faults that strike one request.
type drawn map[Mode]Fault

// draw decides what strikes a request that touches entries [from, to).
func (f *Faults) draw(r *http.Request, class Class, from, to uint64) drawn {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out drawn
	for _, a := range f.armed {
		can := classes[a.Mode]
		switch {
		case a.On != "" && a.On != class, a.On == "" && can != nil && !slices.Contains(can, class):
			continue
		case a.To > 0 && (class != ClassData || to <= a.From || from >= a.To):
			continue
		case a.Count > 0 && a.struck >= a.Count:
			continue
		case a.When != nil && !a.When(r):
			continue
		}
		if _, taken := out[a.Mode]; taken {
			continue
		}
		if a.seen++; a.seen <= a.After || a.Rate > 0 && !f.rand.chance(a.Rate) {
			continue
		}
		a.struck++
		f.fired[a.Mode]++
		if out == nil {
			out = drawn{}
		}
		out[a.Mode] = a.Fault
	}
	return out
}

// retryAfter spells a Retry-After value; empty is no header.
func retryAfter(spelling string, now time.Time, in time.Duration) string {
	at := now.Add(in).UTC()
	switch spelling {
	case RetrySeconds:
		return fmt.Sprint(int64((in + time.Second - 1) / time.Second))
	case RetryDate:
		return at.Format(http.TimeFormat)
	case RetryUTC:
		return at.Format(time.RFC1123)
	case RetryJunk:
		return "soon"
	}
	return spelling
}

func (f Fault) n(def int64) int64 {
	if f.N == 0 {
		return def
	}
	return f.N
}

func (f Fault) delay(def time.Duration) time.Duration {
	if f.Delay == 0 {
		return def
	}
	return f.Delay
}

func (f Fault) status(def int) int {
	if f.Status == 0 {
		return def
	}
	return f.Status
}

// ArmedFault is a fault and what became of it.
type ArmedFault struct {
	Fault  Fault `json:"fault"`
	Seen   int   `json:"seen"`   // requests that it fitted
	Struck int   `json:"struck"` // requests that it struck
}

// Armed returns the armed faults.
func (f *Faults) Armed() []ArmedFault {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := []ArmedFault{}
	for _, a := range f.armed {
		out = append(out, ArmedFault{a.Fault, a.seen, a.struck})
	}
	return out
}
