package main

import (
	"fmt"
	"runtime"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"ctappliance/cmd/ctappliance/plain"
	"ctappliance/cmd/ctappliance/report"
	"ctappliance/ingest"
)

// metric is one metric of the appliance. docs/metrics.md is made from the
// table below. A value's time is that of the scrape; what is not known is left
// out. Labels have few values: logs that are configured, kinds from a table.
type metric struct {
	name, help string
	counter    bool

	// One of these gives the values.
	whole func(*report.Status) (float64, bool)
	log   func(*ingest.LogStatus) (float64, bool) // label log
	kind  func(*ingest.LogStatus, string) float64 // labels log, kind: ingest.HaltKinds
	state bool                                    // labels log, state: logStates; 1 for the present one
	info  bool                                    // labels log, log_id, kind, operator; always 1
	list  func(*report.List) (float64, bool)      // label list
}

// logStates are the states of a log that have a series each.
var logStates = []string{"waiting", "following", "caught up", "retrying", "halted", "done", "closed"}

// What the value functions below are made with.
func number64[T uint64 | int64 | int](v T) (float64, bool) { return float64(v), true }
func yes(b bool) (float64, bool) {
	if b {
		return 1, true
	}
	return 0, true
}
func at(t time.Time) (float64, bool) { return float64(t.UnixNano()) / 1e9, !t.IsZero() }

// audited gives a value of the audits' verdict, once there is one.
func audited(value func(*ingest.Verdict) (float64, bool)) func(*ingest.LogStatus) (float64, bool) {
	return func(l *ingest.LogStatus) (float64, bool) {
		if l.Audit == nil || l.Audit.At.IsZero() {
			return 0, false
		}
		return value(l.Audit)
	}
}

// paced gives a value of the pacer of a log's host.
func paced(value func(*ingest.LogStatus) (float64, bool)) func(*ingest.LogStatus) (float64, bool) {
	return func(l *ingest.LogStatus) (float64, bool) {
		if l.Pace == nil {
			return 0, false
		}
		return value(l)
	}
}

var metrics = []metric{
	{name: "up_since_timestamp_seconds", help: "When the pipeline was opened.", whole: func(s *report.Status) (float64, bool) { return at(s.Since) }},
	{name: "alarms_total", help: "What must never happen, and did. Any increase is worth waking somebody.", counter: true,
		whole: func(s *report.Status) (float64, bool) { return number64(s.Alarmed) }},

	{name: "log_info", help: "A log that is followed: its log ID, protocol and operator. Always 1.", info: true},
	{name: "log_state", help: "Whether the log is in this state. done: all that was asked for is delivered; closed: the log has ended, and all of it is.", state: true},
	{name: "log_up", help: "Whether the last poll of the log's head was answered well.", log: func(l *ingest.LogStatus) (float64, bool) { return yes(l.State != "retrying") }},
	{name: "log_halted", help: "Whether the log is halted because it did not verify. What it sent is kept.", log: func(l *ingest.LogStatus) (float64, bool) { return yes(l.Halted != "") }},
	{name: "log_halt_reason", help: "Which kind of misbehaviour the log is halted for; 0 for all kinds but that.", kind: func(l *ingest.LogStatus, kind string) float64 {
		v, _ := yes(l.Halted != "" && (l.HaltKind == kind || kind == ingest.KindUnknown && !slices.Contains(ingest.HaltKinds, l.HaltKind)))
		return v
	}},
	{name: "log_head_entries", help: "Entries of the largest head that the log has signed.", log: func(l *ingest.LogStatus) (float64, bool) { return float64(l.Head), l.Head > 0 }},
	{name: "log_head_timestamp_seconds", help: "The time that the log has put on that head.", log: func(l *ingest.LogStatus) (float64, bool) { return float64(l.HeadTime) / 1e3, l.HeadTime > 0 }},
	{name: "log_polled_timestamp_seconds", help: "When the log last showed a head that its key has signed.", log: func(l *ingest.LogStatus) (float64, bool) { return at(l.Polled) }},
	{name: "log_wanted_entries", help: "Entries that are to be copied and that the log has.", log: func(l *ingest.LogStatus) (float64, bool) { return number64(l.Wanted) }},
	{name: "log_fetched_entries", help: "Entries on our disk, or beyond.", log: func(l *ingest.LogStatus) (float64, bool) { return number64(l.Fetched) }},
	{name: "log_verified_entries", help: "Entries that are proven to be in a tree that the log has signed.", log: func(l *ingest.LogStatus) (float64, bool) { return number64(l.Verified) }},
	{name: "log_delivered_entries", help: "Entries in the ledger, each exactly once.", log: func(l *ingest.LogStatus) (float64, bool) { return number64(l.Delivered) }},
	{name: "log_behind_entries", help: "Entries that are to be copied, that the log has, and that are not in the ledger yet.", log: func(l *ingest.LogStatus) (float64, bool) { return number64(report.Behind(l)) }},
	{name: "log_lag_seconds", help: "Time since the log dated the newest delivered entry; 0 if nothing is behind. Missing while unknown.", log: func(l *ingest.LogStatus) (float64, bool) { return l.Lag, l.Lag >= 0 }},
	{name: "log_eta_seconds", help: "Time until all that the log has now is fetched, at the present rate. Missing while unknown.", log: func(l *ingest.LogStatus) (float64, bool) { return l.ETA, l.ETA >= 0 }},
	{name: "log_final_entries", help: "Size at which the log has ended. Missing while it goes on.", log: func(l *ingest.LogStatus) (float64, bool) { return float64(l.Final), l.Final > 0 }},
	{name: "log_ends_timestamp_seconds", help: "End of the shard's interval; the log may vanish some weeks later. Missing where it has none.", log: func(l *ingest.LogStatus) (float64, bool) { return at(l.Ends) }},
	{name: "log_at_risk", help: "Whether the log may vanish before it is copied: its entries would be lost for good.", log: func(l *ingest.LogStatus) (float64, bool) { return yes(l.Risk != "") }},
	{name: "log_last_error_timestamp_seconds", help: "When something last went wrong with the log. Missing if nothing did.", log: func(l *ingest.LogStatus) (float64, bool) {
		if l.LastError == "" {
			return 0, false
		}
		return at(l.ErrorAt)
	}},
	{name: "log_heads_rejected_total", help: "Heads that the log's key has not signed.", counter: true, log: func(l *ingest.LogStatus) (float64, bool) { return number64(l.Heads.Rejected) }},
	{name: "log_heads_rolled_back_total", help: "Heads that were smaller than one signed before: frontends out of step, or worse.", counter: true, log: func(l *ingest.LogStatus) (float64, bool) { return number64(l.Heads.RolledBack) }},
	{name: "log_heads_future_total", help: "Heads dated more than ten minutes ahead of our clock.", counter: true, log: func(l *ingest.LogStatus) (float64, bool) { return number64(l.Heads.Future) }},
	{name: "log_heads_backdated_total", help: "Heads that were larger than the one before, and dated earlier.", counter: true, log: func(l *ingest.LogStatus) (float64, bool) { return number64(l.Heads.Backdated) }},
	{name: "log_head_behind_seconds", help: "For how long the log has shown nothing but smaller heads than before; 0 if it does not. An alarm after a day.",
		log: func(l *ingest.LogStatus) (float64, bool) {
			if l.Heads.BehindSince.IsZero() {
				return 0, true
			}
			return max(0, time.Since(l.Heads.BehindSince).Seconds()), true
		}},
	{name: "log_host_requests_total", help: "Requests to the log's host; logs of one host share them.", counter: true, log: paced(func(l *ingest.LogStatus) (float64, bool) { return number64(l.Pace.Requests) })},
	{name: "log_host_refusals_total", help: "Requests that the log's host refused because there were too many.", counter: true, log: paced(func(l *ingest.LogStatus) (float64, bool) { return number64(l.Pace.Refusals) })},
	{name: "log_host_requests_per_second_limit", help: "Requests per second that the log's host is asked at most at present.", log: paced(func(l *ingest.LogStatus) (float64, bool) { return l.Pace.Rate, true })},
	{name: "log_host_found_requests_per_second", help: "Requests per second that the log's host was found to allow. Missing while no limit was met.", log: paced(func(l *ingest.LogStatus) (float64, bool) { return l.Pace.Limit, l.Pace.Limit > 0 })},

	{name: "audit_entries", help: "Entries that the audits of this life have counted in the ledger.", log: audited(func(v *ingest.Verdict) (float64, bool) { return number64(v.Entries) })},
	{name: "audit_missing_entries", help: "Entries that the last audit of their range found missing. They are fetched again.", log: audited(func(v *ingest.Verdict) (float64, bool) { return number64(v.Missing) })},
	{name: "audit_doubled_rows", help: "Rows beyond the first of an entry that the last audit of their range found.", log: audited(func(v *ingest.Verdict) (float64, bool) { return number64(v.Doubled) })},
	{name: "audit_found_total", help: "Entries that were missing, and rows that were one too many, at any time of this life. Any increase is worth waking somebody.", counter: true, log: audited(func(v *ingest.Verdict) (float64, bool) { return number64(v.Found) })},
	{name: "audit_tiles_total", help: "Tiles fetched again, and compared hash by hash and row by row.", counter: true, log: audited(func(v *ingest.Verdict) (float64, bool) { return number64(v.Tiles) })},
	{name: "audit_proven_timestamp_seconds", help: "When an audit of the log last came to its end.", log: audited(func(v *ingest.Verdict) (float64, bool) { return at(v.At) })},
	{name: "audit_failing", help: "Whether the last audit of the log could not be carried through: the log or the store was away.", log: func(l *ingest.LogStatus) (float64, bool) { return yes(l.Audit != nil && l.Audit.Error != "") }},

	{name: "wal_bytes", help: "Disk space that the write-ahead log takes.", whole: func(s *report.Status) (float64, bool) { return number64(s.WAL.Bytes) }},
	{name: "wal_budget_bytes", help: "Disk space that it may take before fetching pauses.", whole: func(s *report.Status) (float64, bool) { return float64(s.WAL.Budget), s.WAL.Budget > 0 }},
	{name: "wal_undelivered_records", help: "Records that wait for the store.", whole: func(s *report.Status) (float64, bool) { return number64(s.WAL.Undelivered) }},
	{name: "wal_undelivered_seconds", help: "For how long nothing was delivered while records wait; 0 if none wait.", whole: func(s *report.Status) (float64, bool) {
		if s.WAL.Undelivered == 0 {
			return 0, true
		}
		return max(0, time.Since(report.Latest(s.Delivery.Last, s.Since)).Seconds()), true
	}},
	{name: "wal_oldest_undelivered_seconds", help: "For how long the oldest record has waited for the store; 0 if none waits. Missing while unknown.", whole: func(s *report.Status) (float64, bool) { return s.Oldest, s.Oldest >= 0 }},
	{name: "wal_stalled", help: "Whether fetching pauses because there is no room.", whole: func(s *report.Status) (float64, bool) { return yes(s.WAL.Stalled != "") }},
	{name: "wal_fsyncs_total", help: "Group commits that reached the disk.", counter: true, whole: func(s *report.Status) (float64, bool) { return number64(s.WAL.Fsyncs) }},
	{name: "wal_appended_bytes_total", help: "Bytes written to the write-ahead log.", counter: true, whole: func(s *report.Status) (float64, bool) { return number64(s.WAL.Appended) }},

	{name: "delivery_rows_total", help: "Rows of the ledger delivered.", counter: true, whole: func(s *report.Status) (float64, bool) { return number64(s.Delivery.Rows) }},
	{name: "delivery_insert_errors_total", help: "Inserts that were not acknowledged. What they left is counted before anything is sent again.", counter: true,
		whole: func(s *report.Status) (float64, bool) { return number64(s.Delivery.InsertErrors) }},
	{name: "delivery_reinserted_rows_total", help: "Rows that a doubtful insert had not left in the ledger, inserted again.", counter: true,
		whole: func(s *report.Status) (float64, bool) { return number64(s.Delivery.Reinserted) }},
	{name: "delivery_last_timestamp_seconds", help: "When the last flush was delivered.", whole: func(s *report.Status) (float64, bool) { return at(s.Delivery.Last) }},
	{name: "delivery_trouble", help: "Whether delivery waits for the store.", whole: func(s *report.Status) (float64, bool) { return yes(s.Delivery.Trouble != "") }},

	{name: "parser_checked_total", help: "Rows and issuers that a second parser, certificate-transparency-go's, has read too: one row in a thousand, those with flags, new issuers.", counter: true,
		whole: func(s *report.Status) (float64, bool) { return number64(s.Parser.Checked) }},
	{name: "parser_disagree_total", help: "Where it read something else, and no flag of the row says why. The log has a line with the log and the index.", counter: true,
		whole: func(s *report.Status) (float64, bool) { return number64(s.Parser.Disagreed) }},
	{name: "parser_skipped_total", help: "Checks left out because checks had taken their share of the time.", counter: true,
		whole: func(s *report.Status) (float64, bool) { return number64(s.Parser.Skipped) }},

	{name: "engine_up", help: "Whether the embedded engine runs. Missing with a server of your own.", whole: func(s *report.Status) (float64, bool) {
		if s.Engine == nil {
			return 0, false
		}
		return yes(s.Engine.PID != 0)
	}},
	{name: "engine_restarts_total", help: "Times that the embedded engine was started again.", counter: true, whole: func(s *report.Status) (float64, bool) {
		if s.Engine == nil {
			return 0, false
		}
		return number64(s.Engine.Restarts)
	}},
	{name: "engine_parts_set_aside", help: "Parts that the embedded engine could not read and has put away, of its whole life. The audit finds what is missing with them.", whole: func(s *report.Status) (float64, bool) {
		if s.Engine == nil {
			return 0, false
		}
		return number64(s.Engine.SetAside)
	}},

	{name: "engine_resident_bytes", help: "Memory that the embedded engine holds. That of the appliance is process_resident_memory_bytes.", whole: func(s *report.Status) (float64, bool) {
		return float64(s.Memory.Engine), s.Memory.Engine > 0
	}},
	{name: "disk_free_bytes", help: "What the appliance may still write to the file system of its data directory.", whole: func(s *report.Status) (float64, bool) { return float64(s.Disk.Free), s.Disk.Size > 0 }},
	{name: "disk_size_bytes", help: "Size of that file system.", whole: func(s *report.Status) (float64, bool) { return float64(s.Disk.Size), s.Disk.Size > 0 }},
	{name: "disk_lasts_seconds", help: "Time until it is full, at its growth of up to six hours. Missing while unknown, and while it does not grow.", whole: func(s *report.Status) (float64, bool) { return s.Disk.Lasts, s.Disk.Lasts >= 0 }},

	{name: "list_logs", help: "Logs that a log list has.", list: func(l *report.List) (float64, bool) { return number64(l.Logs) }},
	{name: "list_followed_logs", help: "Logs of the list that are followed.", list: func(l *report.List) (float64, bool) { return number64(l.Followed) }},
	{name: "list_timestamp_seconds", help: "The time that the list has put on itself. Missing where it has none.", list: func(l *report.List) (float64, bool) { return at(l.At) }},
	{name: "list_read_timestamp_seconds", help: "When the list was last fetched, or found unchanged; 0 if never.", list: func(l *report.List) (float64, bool) { v, _ := at(l.Read); return max(0, v), true }},
	{name: "list_failing", help: "Whether the last attempt to refresh the list failed. The last good one is used.", list: func(l *report.List) (float64, bool) { return yes(l.Error != "") }},
}

const metricPrefix = "ctappliance_"

func (m *metric) labels() []string {
	switch {
	case m.log != nil:
		return []string{"log"}
	case m.kind != nil:
		return []string{"log", "kind"}
	case m.state:
		return []string{"log", "state"}
	case m.info:
		return []string{"log", "log_id", "kind", "operator"}
	case m.list != nil:
		return []string{"list"}
	}
	return nil
}

func (m *metric) valueType() prometheus.ValueType {
	if m.counter {
		return prometheus.CounterValue
	}
	return prometheus.GaugeValue
}

func (m *metric) desc() *prometheus.Desc {
	return prometheus.NewDesc(metricPrefix+m.name, m.help, m.labels(), nil)
}

var buildInfo = prometheus.NewDesc(metricPrefix+"build_info", "The build that runs. Always 1.", []string{"version", "go"}, nil)

// collector makes metrics of one snapshot of the status per scrape.
type collector struct{ status func() report.Status }

// Describe lists all metrics.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	ch <- buildInfo
	for i := range metrics {
		ch <- metrics[i].desc()
	}
}

// Collect takes a snapshot and sends its values.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	st := c.status()
	names, lists := labelNames(st.Logs), listNames(st.Lists)
	ch <- prometheus.MustNewConstMetric(buildInfo, prometheus.GaugeValue, 1, plain.Printable(version), runtime.Version())
	for i := range metrics {
		m := &metrics[i]
		desc := m.desc()
		send := func(v float64, labels ...string) {
			ch <- prometheus.MustNewConstMetric(desc, m.valueType(), v, labels...)
		}
		if m.whole != nil {
			if v, ok := m.whole(&st); ok {
				send(v)
			}
			continue
		}
		if m.list != nil {
			for j := range st.Lists {
				if v, ok := m.list(&st.Lists[j]); ok {
					send(v, lists[j])
				}
			}
			continue
		}
		for j := range st.Logs {
			l := &st.Logs[j]
			switch {
			case m.log != nil:
				if v, ok := m.log(l); ok {
					send(v, names[j])
				}
			case m.kind != nil:
				for _, kind := range ingest.HaltKinds {
					send(m.kind(l, kind), names[j], kind)
				}
			case m.state:
				for _, state := range logStates {
					v, _ := yes(l.State == state)
					send(v, names[j], state)
				}
			case m.info:
				send(1, names[j], plain.Printable(l.ID), plain.Printable(l.Kind), label(l.Operator))
			}
		}
	}
}

// maxLabel bounds what strangers chose in a label.
const maxLabel = 64

func label(s string) string {
	s = plain.Printable(s)
	return s[:min(len(s), maxLabel)]
}

// labelNames returns what the logs are called in labels: printable, short, and
// each for one log only.
func labelNames(logs []ingest.LogStatus) []string {
	names := make([]string, len(logs))
	count := map[string]int{}
	for i, l := range logs {
		names[i] = label(l.Name)
		count[names[i]]++
	}
	for i, l := range logs {
		if count[names[i]] > 1 || names[i] == "" {
			names[i] += fmt.Sprintf("#%016x", l.ShortID)
		}
	}
	return names
}

// listNames does the same for log lists.
func listNames(lists []report.List) []string {
	names := make([]string, len(lists))
	for i, l := range lists {
		names[i] = label(plain.First(l.Name, l.From))
		if slices.Contains(names[:i], names[i]) {
			names[i] += fmt.Sprintf("#%d", i+1)
		}
	}
	return names
}
