package ingest

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"ctappliance/ingest/ctlog"
	"ctappliance/ingest/pace"
	"ctappliance/schema"
	"ctappliance/wal"
)

// Config says what an Appliance copies, from where, and how hard it tries.
// Zero values of numbers and durations mean the defaults given with them.
type Config struct {
	Dir  string   // data directory; created if missing
	Logs []Follow // what to copy; names and IDs are distinct
	Sink Sink

	WAL wal.Options // Step and Log are set by Open

	FlushRows     int           // rows of one insert; default 50,000
	FlushBytes    int           // bytes of certificates behind them; default 64 MiB
	FlushInterval time.Duration // oldest row's age at which a flush is cut anyway; default 5 s

	ParseWorkers int   // default: number of cores
	FetchWorkers int   // requests of one span under way; default 4
	FetchMemory  int64 // bytes of answers under way, all logs together; default 64 MiB
	RingMemory   int64 // bytes of batches kept for the parsers; default 48 MiB

	PollInterval time.Duration // between polls of a log's head; default 5 s for static logs, 15 s for others
	PartialAge   time.Duration // how long a static log's partial tile may wait to fill; default 5 min
	VerifyAge    time.Duration // how old the verified mark of a moving span may get; default 5 min

	AuditInterval time.Duration // between two rounds of the audit; default 10 min

	// UntilDone makes Run return when every span has an end, has reached it,
	// and is delivered: a backfill. Otherwise Run goes on until its context ends.
	UntilDone bool

	// ResumeHalted lets logs go on that were halted because they did not verify.
	// It is the operator's word, after the evidence was looked at: what a log
	// signed or proved wrongly for a while is then past. A log whose entries
	// themselves are not those that it signed halts again, as it must.
	ResumeHalted bool

	Logger *slog.Logger
	Step   func(string) // crash tests learn from it where the process is; nil = none

	verifyEvery uint64 // entries between proofs on the way; tests want fewer than verifyEvery
}

// Follow is a log and the spans of it that are wanted.
type Follow struct {
	Log   ctlog.Log
	Spans []Request
	// Repairs are ranges that an audit found missing in the ledger.
	Repairs []schema.Range
	Pace    *pace.Pacer // of the log's rate domain, for status; may be nil
	Why     string      // why it is followed, in a few words, for status
}

// Start says where a Request begins.
type Start uint8

// Where a Request begins.
const (
	StartIndex Start = iota // at Request.From
	StartNow                // at the head as first seen
	StartDate               // at the first entry that the log has dated Request.Since or later
)

// Request is a range to copy. Ground that other spans of the log cover already
// is left to them.
type Request struct {
	Start Start
	From  uint64    // of StartIndex
	Since time.Time // of StartDate
	To    uint64    // Forever: follow the log's growth

	// History asks for the entries before the start as well, as a span of its
	// own: the head of the log comes first, and what lies behind it beside that.
	History bool
}

const (
	verifyEvery    = 1 << 20 // entries between proofs on the way
	defaultRows    = 50_000
	defaultBytes   = 64 << 20
	monthCutRows   = 5_000 // a flush this large is cut where the month changes
	trimPollEvery  = 2 * time.Second
	publishEvery   = 10 * time.Second
	backoffMin     = 500 * time.Millisecond
	backoffMax     = 5 * time.Minute
	storeRetryMax  = 30 * time.Second
	diskFullRetry  = 2 * time.Second
	maxProveRanges = 500
)

func (c *Config) setDefaults() error {
	var errs []error
	if c.Dir == "" {
		errs = append(errs, errors.New("no data directory given"))
	}
	if c.Sink == nil {
		errs = append(errs, errors.New("no store given"))
	}
	errs = append(errs, checkLogs(c.Logs))
	def(&c.FlushRows, defaultRows)
	def(&c.FlushBytes, defaultBytes)
	def(&c.FlushInterval, 5*time.Second)
	def(&c.ParseWorkers, 2)
	def(&c.FetchWorkers, 4)
	def(&c.FetchMemory, 64<<20)
	def(&c.RingMemory, 48<<20)
	def(&c.PartialAge, 5*time.Minute)
	def(&c.VerifyAge, 5*time.Minute)
	def(&c.AuditInterval, 10*time.Minute)
	if c.verifyEvery == 0 {
		c.verifyEvery = verifyEvery
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Step == nil {
		c.Step = func(string) {}
	}
	return errors.Join(errs...)
}

// checkLogs says what makes no sense in a set of logs.
func checkLogs(logs []Follow) error {
	var errs []error
	seen := map[ctlog.Hash]string{}
	for _, f := range logs {
		info := f.Log.Info()
		if other, ok := seen[info.ID]; ok {
			errs = append(errs, fmt.Errorf("logs %q and %q have the same log ID", other, info.Name))
		}
		seen[info.ID] = info.Name
		for _, r := range f.Spans {
			if r.Start == StartIndex && r.From >= r.To {
				errs = append(errs, fmt.Errorf("log %q: range [%d,%d) is empty", info.Name, r.From, r.To))
			}
		}
	}
	return errors.Join(errs...)
}

func def[T int | int64 | time.Duration](v *T, d T) {
	if *v <= 0 {
		*v = d
	}
}
