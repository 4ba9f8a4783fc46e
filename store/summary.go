package store

import (
	"context"
	"fmt"
	"strings"

	"ctappliance/schema"
)

// Summary is what the database holds.
type Summary struct {
	Version  string // of ClickHouse
	Tables   []TableSummary
	Logs     []LogSummary
	Statuses []StatusSummary // of the ledger's rows
}

// TableSummary is one table. Rows of tables other than the ledger count what
// merges have not folded yet.
type TableSummary struct {
	Name  string
	Rows  uint64
	Bytes uint64 // on disk, compressed, with indexes
	Parts uint64 // active
}

// LogSummary is one log's part of the ledger.
type LogSummary struct {
	Log     uint64
	Name    string // safe to print; empty if table logs does not know it
	Entries uint64
	Lowest  uint64 // lowest and highest index
	Highest uint64
}

// StatusSummary is how many entries have a parse status.
type StatusSummary struct {
	Status  string
	Entries uint64
}

// Summary counts. It reads small columns of the whole ledger: half a second of
// the engine's processor time per 10^7 entries. No command asks for it.
func (s *Store) Summary(ctx context.Context) (*Summary, error) {
	sum := &Summary{Version: s.Version()}
	rows, err := s.rows(ctx, 4, "SELECT table, sum(rows), sum(bytes_on_disk), count() FROM system.parts WHERE database = {db:String} AND active GROUP BY table ORDER BY sum(bytes_on_disk) DESC, table",
		Param("db", s.target.database))
	if err != nil {
		return nil, fmt.Errorf("counting parts: %w", err)
	}
	for _, r := range rows {
		v, err := numbers(r[1:], 3)
		if err != nil {
			return nil, fmt.Errorf("counting parts: answer %q", safeLine(strings.Join(r, " "), 100))
		}
		sum.Tables = append(sum.Tables, TableSummary{Safe(r[0]), v[0], v[1], v[2]})
	}
	rows, err = s.rows(ctx, 5, fmt.Sprintf("SELECT l.log_id, g.name, l.n, l.lo, l.hi FROM (SELECT log_id, count() AS n, min(idx) AS lo, max(idx) AS hi FROM %s GROUP BY log_id) AS l LEFT ANY JOIN (SELECT id, name FROM %s FINAL) AS g ON g.id = l.log_id ORDER BY l.n DESC, l.log_id",
		s.table("ledger"), s.table("logs")))
	if err != nil {
		return nil, fmt.Errorf("counting entries per log: %w", err)
	}
	for _, r := range rows {
		v, err := numbers([]string{r[0], r[2], r[3], r[4]}, 4)
		if err != nil {
			return nil, fmt.Errorf("counting entries per log: answer %q", safeLine(strings.Join(r, " "), 100))
		}
		sum.Logs = append(sum.Logs, LogSummary{v[0], Safe(r[1]), v[1], v[2], v[3]})
	}
	rows, err = s.rows(ctx, 2, "SELECT status, count() FROM "+s.table("ledger")+" GROUP BY status ORDER BY status")
	if err != nil {
		return nil, fmt.Errorf("counting entries per status: %w", err)
	}
	for _, r := range rows {
		v, err := numbers(r[1:], 1)
		if err != nil {
			return nil, fmt.Errorf("counting entries per status: answer %q", safeLine(strings.Join(r, " "), 100))
		}
		sum.Statuses = append(sum.Statuses, StatusSummary{Safe(r[0]), v[0]})
	}
	return sum, nil
}

// XOR sums RowHash up over the rows of a flush that lie in r: what Proof.XOR
// must be if the ledger holds exactly these.
func XOR(rows []*schema.Row, r schema.Range) (x uint64) {
	for _, row := range rows {
		if row.LogID == r.Log && row.Index >= r.From && row.Index < r.To {
			x ^= schema.RowHash(row.TBSID, row.Index)
		}
	}
	return x
}
