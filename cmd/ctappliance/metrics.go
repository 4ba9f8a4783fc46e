package main

import (
	"fmt"
	"runtime"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"ctappliance/ingest"
)

// metric is one metric of the appliance. docs/metrics.md is made from the
// table below. A value's time is that of the scrape; what is not known is left
// out. Labels have few values: logs that are configured, kinds from a table.
type metric struct {
	name, help string
	counter    bool

	// One of these gives the values.
	whole func(*applianceStatus) (float64, bool)
	log   func(*ingest.LogStatus) (float64, bool)   // label log
	kind  func(*ingest.LogStatus, string) float64   // labels log, kind: ingest.HaltKinds
	info  func(*ingest.LogStatus) (id, kind string) // labels log, log_id, kind; always 1
}

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
	{name: "up_since_timestamp_seconds", help: "When the pipeline was opened.", whole: func(s *applianceStatus) (float64, bool) { return at(s.Since) }},
	{name: "alarms_total", help: "What must never happen, and did. Any increase is worth waking somebody.", counter: true,
		whole: func(s *applianceStatus) (float64, bool) { return number64(s.Alarmed) }},

	{name: "log_info", help: "A log that is followed: its log ID and protocol. Always 1.", info: func(l *ingest.LogStatus) (string, string) { return l.ID, l.Kind }},
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

	{name: "audit_entries", help: "Entries that the audits of this life have counted in the ledger.", log: audited(func(v *ingest.Verdict) (float64, bool) { return number64(v.Entries) })},
	{name: "audit_missing_entries", help: "Entries that the last audit of their range found missing. They are fetched again.", log: audited(func(v *ingest.Verdict) (float64, bool) { return number64(v.Missing) })},
	{name: "audit_doubled_rows", help: "Rows beyond the first of an entry that the last audit of their range found.", log: audited(func(v *ingest.Verdict) (float64, bool) { return number64(v.Doubled) })},
	{name: "audit_found_total", help: "Entries that were missing, and rows that were one too many, at any time of this life. Any increase is worth waking somebody.", counter: true, log: audited(func(v *ingest.Verdict) (float64, bool) { return number64(v.Found) })},
	{name: "audit_tiles_total", help: "Tiles fetched again, and compared hash by hash and row by row.", counter: true, log: audited(func(v *ingest.Verdict) (float64, bool) { return number64(v.Tiles) })},
	{name: "audit_proven_timestamp_seconds", help: "When an audit of the log last came to its end.", log: audited(func(v *ingest.Verdict) (float64, bool) { return at(v.At) })},
	{name: "audit_failing", help: "Whether the last audit of the log could not be carried through: the log or the store was away.", log: func(l *ingest.LogStatus) (float64, bool) { return yes(l.Audit != nil && l.Audit.Error != "") }},

	{name: "wal_bytes", help: "Disk space that the write-ahead log takes.", whole: func(s *applianceStatus) (float64, bool) { return number64(s.WAL.Bytes) }},
	{name: "wal_budget_bytes", help: "Disk space that it may take before fetching pauses.", whole: func(s *applianceStatus) (float64, bool) { return float64(s.WAL.Budget), s.WAL.Budget > 0 }},
	{name: "wal_undelivered_records", help: "Records that wait for the store.", whole: func(s *applianceStatus) (float64, bool) { return number64(s.WAL.Undelivered) }},
	{name: "wal_undelivered_seconds", help: "For how long nothing was delivered while records wait; 0 if none wait.", whole: func(s *applianceStatus) (float64, bool) {
		if s.WAL.Undelivered == 0 {
			return 0, true
		}
		return max(0, time.Since(latest(s.Delivery.Last, s.Since)).Seconds()), true
	}},
	{name: "wal_stalled", help: "Whether fetching pauses because there is no room.", whole: func(s *applianceStatus) (float64, bool) { return yes(s.WAL.Stalled != "") }},
	{name: "wal_fsyncs_total", help: "Group commits that reached the disk.", counter: true, whole: func(s *applianceStatus) (float64, bool) { return number64(s.WAL.Fsyncs) }},
	{name: "wal_appended_bytes_total", help: "Bytes written to the write-ahead log.", counter: true, whole: func(s *applianceStatus) (float64, bool) { return number64(s.WAL.Appended) }},

	{name: "delivery_rows_total", help: "Rows of the ledger delivered.", counter: true, whole: func(s *applianceStatus) (float64, bool) { return number64(s.Delivery.Rows) }},
	{name: "delivery_insert_errors_total", help: "Inserts that were not acknowledged. What they left is counted before anything is sent again.", counter: true,
		whole: func(s *applianceStatus) (float64, bool) { return number64(s.Delivery.InsertErrors) }},
	{name: "delivery_reinserted_rows_total", help: "Rows that a doubtful insert had not left in the ledger, inserted again.", counter: true,
		whole: func(s *applianceStatus) (float64, bool) { return number64(s.Delivery.Reinserted) }},
	{name: "delivery_last_timestamp_seconds", help: "When the last flush was delivered.", whole: func(s *applianceStatus) (float64, bool) { return at(s.Delivery.Last) }},
	{name: "delivery_trouble", help: "Whether delivery waits for the store.", whole: func(s *applianceStatus) (float64, bool) { return yes(s.Delivery.Trouble != "") }},

	{name: "engine_up", help: "Whether the embedded engine runs. Missing with a server of your own.", whole: func(s *applianceStatus) (float64, bool) {
		if s.Engine == nil {
			return 0, false
		}
		return yes(s.Engine.PID != 0)
	}},
	{name: "engine_restarts_total", help: "Times that the embedded engine was started again.", counter: true, whole: func(s *applianceStatus) (float64, bool) {
		if s.Engine == nil {
			return 0, false
		}
		return number64(s.Engine.Restarts)
	}},
	{name: "engine_parts_set_aside", help: "Parts that the embedded engine could not read and has put away, of its whole life. The audit finds what is missing with them.", whole: func(s *applianceStatus) (float64, bool) {
		if s.Engine == nil {
			return 0, false
		}
		return number64(s.Engine.SetAside)
	}},
}

const metricPrefix = "ctappliance_"

func (m *metric) labels() []string {
	switch {
	case m.log != nil:
		return []string{"log"}
	case m.kind != nil:
		return []string{"log", "kind"}
	case m.info != nil:
		return []string{"log", "log_id", "kind"}
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
type collector struct{ status func() applianceStatus }

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
	names := labelNames(st.Logs)
	ch <- prometheus.MustNewConstMetric(buildInfo, prometheus.GaugeValue, 1, printable(version), runtime.Version())
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
			case m.info != nil:
				id, kind := m.info(l)
				send(1, names[j], id, kind)
			}
		}
	}
}

// maxLabel bounds a log's name in a label.
const maxLabel = 64

// labelNames returns what the logs are called in labels: printable, short, and
// each for one log only.
func labelNames(logs []ingest.LogStatus) []string {
	names := make([]string, len(logs))
	count := map[string]int{}
	for i, l := range logs {
		name := printable(l.Name)
		names[i] = name[:min(len(name), maxLabel)]
		count[names[i]]++
	}
	for i, l := range logs {
		if count[names[i]] > 1 || names[i] == "" {
			names[i] += fmt.Sprintf("#%016x", l.ShortID)
		}
	}
	return names
}
