package ingest

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"syscall"
	"time"

	"ctappliance/checkpoint"
	"ctappliance/ingest/pace"
	"ctappliance/schema"
)

// Status is what the appliance says of itself. It is plain data: it travels
// through the control socket as JSON.
type Status struct {
	Running  bool           `json:"running"`
	PID      int            `json:"pid,omitempty"`
	Since    time.Time      `json:"since"`
	Logs     []LogStatus    `json:"logs"`
	WAL      WALStatus      `json:"wal"`
	Delivery DeliveryStatus `json:"delivery"`
	Parser   ParserStatus   `json:"parser"`
	Alarms   []string       `json:"alarms"`  // what must never happen, and did
	Alarmed  uint64         `json:"alarmed"` // how often
}

// LogStatus is one log's line.
type LogStatus struct {
	Name      string         `json:"name"`
	ID        string         `json:"log_id"` // hex
	ShortID   uint64         `json:"short_id"`
	Kind      string         `json:"kind"`
	URL       string         `json:"url"`
	Operator  string         `json:"operator,omitempty"`
	Why       string         `json:"why,omitempty"`        // why it is followed
	ListState string         `json:"list_state,omitempty"` // of the log list: usable, readonly, …
	Final     uint64         `json:"final,omitempty"`      // size at which the log has ended; 0: it goes on
	Ends      time.Time      `json:"ends,omitzero"`        // end of the shard's interval: the log may vanish some weeks later
	Risk      string         `json:"risk,omitempty"`       // why entries may be lost for good, with dates; empty if they will not
	State     string         `json:"state"`                // waiting, following, caught up, done, closed, halted, retrying
	Head      uint64         `json:"head"`
	HeadTime  uint64         `json:"head_time"` // milliseconds since 1970
	Polled    time.Time      `json:"polled"`
	Fetched   uint64         `json:"fetched"`   // entries in the WAL or beyond, of all spans
	Verified  uint64         `json:"verified"`  // entries that hang under a signed root
	Delivered uint64         `json:"delivered"` // entries in the ledger
	Wanted    uint64         `json:"wanted"`    // entries that the spans cover and the log has
	Rate      float64        `json:"rate"`      // entries fetched per second, lately
	ETA       float64        `json:"eta"`       // seconds; -1 if unknown
	Lag       float64        `json:"lag"`       // seconds since the log dated the newest delivered entry; 0 if nothing is behind, -1 if unknown
	Pace      *pace.Snapshot `json:"pace,omitempty"`
	LastError string         `json:"last_error,omitempty"`
	ErrorAt   time.Time      `json:"error_at"`
	Failing   time.Time      `json:"failing,omitzero"` // since when it does not answer; zero if it does
	Halted    string         `json:"halted,omitempty"`
	HaltKind  string         `json:"halt_kind,omitempty"` // one of HaltKinds
	Evidence  string         `json:"evidence,omitempty"`  // path of what was kept when it was halted
	Heads     HeadCounts     `json:"heads"`
	Audit     *Verdict       `json:"audit,omitempty"` // nil before the first round
	Spans     []SpanStatus   `json:"spans"`
}

// SpanStatus is one span of a log.
type SpanStatus struct {
	ID        uint64 `json:"id"`
	Kind      string `json:"kind"`
	From      uint64 `json:"from"`
	To        uint64 `json:"to"` // math.MaxUint64: follows the log
	Cursor    uint64 `json:"cursor"`
	Verified  uint64 `json:"verified"`
	Delivered uint64 `json:"delivered"`
}

// WALStatus is the distance between the two clocks.
type WALStatus struct {
	Bytes       int64  `json:"bytes"`
	Budget      int64  `json:"budget"`
	Segments    int    `json:"segments"`
	NextSeq     uint64 `json:"next_seq"`
	Undelivered uint64 `json:"undelivered"` // records
	Stalled     string `json:"stalled,omitempty"`
	Fsyncs      uint64 `json:"fsyncs"`
	Appended    uint64 `json:"appended"` // bytes written since start
}

// DeliveryStatus is the store's side.
type DeliveryStatus struct {
	Rows         uint64    `json:"rows"` // since start
	Rate         float64   `json:"rate"` // rows per second, lately
	Last         time.Time `json:"last"`
	InsertErrors uint64    `json:"insert_errors"`
	Reinserted   uint64    `json:"reinserted"` // rows that a doubtful flush had not left in the ledger
	Trouble      string    `json:"trouble,omitempty"`
}

// Status returns the present state.
func (a *Appliance) Status() Status {
	st := Status{Running: true, PID: os.Getpid(), Since: a.began}
	for _, f := range a.following() {
		st.Logs = append(st.Logs, f.status())
	}
	next, m := a.wal.Next(), a.wal.Metrics()
	st.WAL = WALStatus{Bytes: a.wal.Size(), Budget: a.c.WAL.Budget, Segments: len(a.wal.Segments()), NextSeq: next,
		Undelivered: next - min(a.deliveredSeq.Load(), next), Stalled: a.wal.Stalled(), Fsyncs: m.Fsyncs, Appended: m.Bytes}
	st.Parser = a.oracle.status()
	a.mu.Lock()
	defer a.mu.Unlock()
	st.Delivery = DeliveryStatus{Rows: a.delivered.count(), Rate: a.delivered.perSecond(), InsertErrors: a.insertErrors.Load(),
		Reinserted: a.reinserted.Load(), Trouble: a.trouble}
	if at := a.lastDelivery.Load(); at != 0 {
		st.Delivery.Last = time.Unix(0, at)
	}
	st.Alarms, st.Alarmed = slices.Clone(a.alarms), a.alarmed
	return st
}

func (f *follower) status() LogStatus {
	st := LogStatus{Name: f.info.Name, ID: hex.EncodeToString(f.info.ID[:]), ShortID: schema.ShortID(f.info.ID), Kind: f.info.Kind.String(), URL: f.info.URL,
		Operator: f.info.Operator, ListState: f.info.State, Final: f.info.FinalSize, Ends: f.info.End, ETA: -1}
	f.mu.Lock()
	st.Why, st.Risk, st.Failing = f.why, f.risk, f.failing.since
	if f.head != nil {
		st.Head, st.HeadTime = f.head.Size, f.head.Timestamp
	}
	st.Polled, st.LastError, st.ErrorAt, st.Halted = f.polled, f.lastErr, f.errAt, f.halted
	st.HaltKind, st.Evidence, st.Heads = f.haltKind, f.evidence, f.heads.counts
	failing := f.failing.n > 0
	f.mu.Unlock()
	if f.pace != nil {
		snap := f.pace.Snapshot()
		st.Pace = &snap
	}
	st.Audit = f.a.auditor.verdict(f.info.ID)
	open, coming := false, uint64(0)
	now := time.Now()
	for _, s := range f.a.spans.ofLog(f.info.ID) {
		ss := SpanStatus{ID: s.id, Kind: s.kind, From: s.from, To: s.to, Cursor: s.cursor.Load(), Verified: s.verified.Load(), Delivered: s.delivered.Load()}
		st.Spans = append(st.Spans, ss)
		st.Rate += s.entries.perSecond()
		st.Halted = max(st.Halted, s.haltReason())
		if s.kind == "repair" {
			// Its ground is counted with the span that it mends, and is not there yet.
			coming += ss.To - ss.Delivered
			open = open || ss.Delivered < ss.To
			continue
		}
		st.Fetched += ss.Cursor - ss.From
		st.Verified += ss.Verified - ss.From
		st.Delivered += ss.Delivered - ss.From
		st.Wanted += max(min(ss.To, st.Head), ss.From) - ss.From
		open = open || s.goal() == Forever || ss.Delivered < s.goal()
		if late := lag(s, st.Head, now); s.to == Forever || s.kind != checkpoint.KindTail && len(st.Spans) == 1 {
			st.Lag = late
		}
	}
	st.Delivered -= min(coming, st.Delivered)
	if st.State = stateOf(&st, failing, open); f.closed() {
		st.State = "closed"
	}
	for _, s := range st.Spans {
		if st.State == "caught up" && s.From > st.Head && st.Head > 0 {
			st.State = "waiting"
			st.LastError, st.ErrorAt = fmt.Sprintf("waits for entry %d: it has %d", s.From, st.Head), st.Polled
		}
	}
	if left := float64(st.Wanted) - float64(st.Fetched); left <= 0 {
		st.ETA = 0
	} else if st.Rate > 0 {
		st.ETA = math.Round(left / st.Rate)
	}
	return st
}

func stateOf(st *LogStatus, failing, open bool) string {
	switch {
	case st.Halted != "":
		return "halted"
	case failing:
		return "retrying"
	case st.Head == 0 && st.Polled.IsZero(), len(st.Spans) == 0: // its start is still looked for
		return "waiting"
	case !open:
		return "done"
	case st.Delivered >= st.Wanted:
		return "caught up"
	}
	return "following"
}

// publish keeps table logs up to date: after a proof, and now and then.
func (a *Appliance) publish(ctx context.Context) error {
	for sleep(ctx, publishEvery/10) {
		if err := a.c.Sink.PutLogs(ctx, a.logRows()); err != nil && ctx.Err() == nil {
			a.c.Logger.Debug("log rows not written", "err", err)
		}
		if err := a.saveHeads(); err != nil {
			return err
		}
		pause, cancel := context.WithTimeout(ctx, publishEvery)
		<-pause.Done()
		cancel()
		select {
		case <-a.touched:
		case <-time.After(10 * publishEvery):
		case <-ctx.Done():
		}
	}
	return nil
}

// saveHeads writes the matched heads to the checkpoint: a restart holds new
// heads against them, and status has names while nothing runs.
func (a *Appliance) saveHeads() error {
	heads := map[[32]byte]checkpoint.Head{}
	for _, f := range a.following() {
		f.mu.Lock()
		if h := f.matched; h != nil && h.Size > f.savedSize {
			heads[f.info.ID] = checkpoint.Head{Name: f.info.Name, Kind: f.info.Kind.String(), URL: f.info.URL, Size: h.Size, Root: h.Root, Timestamp: h.Timestamp, Raw: h.Raw}
			f.savedSize = h.Size
		}
		f.mu.Unlock()
	}
	if len(heads) == 0 {
		return nil
	}
	err := a.checkpoint.Update(func(tx *checkpoint.Tx) error {
		var errs []error
		for log, h := range heads {
			errs = append(errs, tx.PutHead(log, h))
		}
		return errors.Join(errs...)
	})
	if errors.Is(err, syscall.ENOSPC) {
		return nil // the deliverer waits for space and says so
	}
	return err
}

// logRows returns the rows of table logs. What is verified is that of the span
// which reaches furthest.
func (a *Appliance) logRows() []schema.Log {
	var rows []schema.Log
	for _, f := range a.following() {
		row := schema.Log{ID: f.info.ID, Name: f.info.Name, Operator: f.info.Operator, URL: f.info.URL, Kind: f.info.Kind.String()}
		f.mu.Lock()
		if f.head == nil && f.halted == "" {
			f.mu.Unlock()
			continue // nothing to say that the last life has not said
		}
		if f.head != nil {
			row.HeadSize, row.HeadTime, row.HeadRoot = f.head.Size, f.head.Timestamp, f.head.Root
		}
		row.StoppedReason = f.halted
		f.mu.Unlock()
		for _, s := range a.spans.ofLog(f.info.ID) {
			if v := s.verified.Load(); s.kind != "repair" && v > row.VerifiedTo {
				row.VerifiedFrom, row.VerifiedTo = s.from, v
			}
		}
		rows = append(rows, row)
	}
	return rows
}
