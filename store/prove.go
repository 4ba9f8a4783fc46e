package store

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"ctappliance/schema"
)

const (
	// proveRanges is how many ranges are counted by one query.
	proveRanges = 64
	// proveLen is the longest range that is counted at once: uniqExact holds
	// every index in memory.
	proveLen = 1 << 22
	// proveCompared is how often a query of several ranges compares a row with a
	// range, of which it does 50 million in a second; a query takes 5 ms besides.
	proveCompared = 1_000_000
	// proveBlock is the size of the blocks of indices by which a query of several
	// ranges finds its rows: that of a granule of the ledger.
	proveBlock = 8192
	// maxProve bounds a range; the longest logs have some 10¹⁰ entries.
	maxProve = 1 << 40
	// maxIndices bounds the answer of Indices, in entries.
	maxIndices = 1 << 22
)

// Prove counts each range in the ledger; the answer has the same order.
func (s *Store) Prove(ctx context.Context, ranges []schema.Range) ([]schema.Proof, error) {
	proofs := make([]schema.Proof, len(ranges))
	var pieces []piece
	for i, r := range ranges {
		if r.From > r.To {
			return nil, fmt.Errorf("proving ledger: range [%d,%d) of log %016x is upside down", r.From, r.To, r.Log)
		}
		if r.Len() > maxProve {
			return nil, fmt.Errorf("proving ledger: range [%d,%d) of log %016x is longer than any log", r.From, r.To, r.Log)
		}
		proofs[i].Range = r
		for from := r.From; from < r.To; {
			to := min(r.To, from+min(proveLen, r.To-from))
			pieces = append(pieces, piece{i, schema.Range{Log: r.Log, From: from, To: to}})
			from = to
		}
	}
	for len(pieces) > 0 {
		n := together(pieces)
		rows, err := s.rows(ctx, 4, countSQL(s.table("ledger"), pieces[:n]))
		if err != nil {
			return nil, fmt.Errorf("proving ledger: %w", err)
		}
		answered := make([]bool, n)
		for _, row := range rows {
			v, err := numbers(row, 4)
			if err != nil || v[0] >= uint64(n) || answered[v[0]] {
				return nil, fmt.Errorf("proving ledger: answer %q is not what was asked for", safeLine(strings.Join(row, " "), 100))
			}
			answered[v[0]] = true
			p := &proofs[pieces[v[0]].of]
			p.Count += v[1]
			p.Unique += v[2]
			p.XOR ^= v[3]
		}
		if len(rows) != n {
			return nil, fmt.Errorf("proving ledger: %d ranges were asked for, %d answered", n, len(rows))
		}
		pieces = pieces[n:]
	}
	return proofs, nil
}

// piece is a range to be counted, or a part of one.
type piece struct {
	of int // in the list of ranges
	schema.Range
}

// together returns how many of the pieces, from the first on, are counted by one
// query. It compares every row of the blocks that they lie in with all ranges of
// the row's log: many long ones of a log are counted sooner one by one.
func together(pieces []piece) int {
	type log struct{ ranges, rows, last uint64 } // last: the block, plus one
	logs := map[uint64]log{}
	compared := uint64(0)
	for n, p := range pieces[:min(len(pieces), proveRanges)] {
		l := logs[p.Log]
		compared -= l.ranges * l.rows
		first, last := p.From/proveBlock, (p.To-1)/proveBlock
		l.ranges++
		l.rows += (last - first + 1) * proveBlock
		if l.last == first+1 {
			l.rows -= proveBlock // counted with the range before
		}
		l.last = last + 1
		compared += l.ranges * l.rows
		if n > 0 && compared > proveCompared {
			return n
		}
		logs[p.Log] = l
	}
	return min(len(pieces), proveRanges)
}

// countSQL returns the statement that counts the pieces, which are not empty. It
// has a row for each of them: its number, rows, different indices and the XOR
// of the rows' hashes.
//
// Several are counted in one pass: the ranges are a table that the ledger is
// joined with. What the pass reads is told by the blocks of indices that they
// lie in, as a set, which costs a tenth of as many conditions, or subqueries.
// Those without rows are in no join; they are added with zeros, so that a range
// which has no answer is not taken for one that has no rows.
func countSQL(table string, pieces []piece) string {
	const aggregates = "count() AS n, uniqExact(idx) AS u, groupBitXor(" + schema.RowHashSQL + ") AS x"
	if len(pieces) == 1 {
		p := pieces[0]
		return fmt.Sprintf("SELECT toUInt32(0) AS i, %s FROM %s WHERE log_id = %d AND idx >= %d AND idx < %d", aggregates, table, p.Log, p.From, p.To)
	}
	var ranges, blocks strings.Builder
	for i, p := range pieces {
		if i > 0 {
			ranges.WriteByte(',')
			blocks.WriteByte(',')
		}
		fmt.Fprintf(&ranges, "(%d,%d,%d,%d)", i, p.Log, p.From, p.To)
		for block := p.From / proveBlock; block <= (p.To-1)/proveBlock; block++ {
			if block > p.From/proveBlock {
				blocks.WriteByte(',')
			}
			fmt.Fprintf(&blocks, "(%d,%d)", p.Log, block)
		}
	}
	return fmt.Sprintf("SELECT toUInt32(i), sum(n), sum(u), groupBitXor(x) FROM ("+
		"SELECT i, %s FROM %s AS l ALL INNER JOIN (SELECT r.1 AS i, r.2 AS log, r.3 AS lo, r.4 AS hi FROM (SELECT arrayJoin([%s]) AS r)) AS ranges ON l.log_id = ranges.log"+
		" WHERE idx >= lo AND idx < hi AND (log_id, intDiv(idx, %d)) IN (%s) GROUP BY i"+
		" UNION ALL SELECT arrayJoin(range(%d)), 0, 0, 0) GROUP BY i",
		aggregates, table, &ranges, proveBlock, &blocks, len(pieces))
}

// Highest returns the highest index of r, which may be of any length, that
// the ledger holds; ok is false where it holds none.
func (s *Store) Highest(ctx context.Context, r schema.Range) (index uint64, ok bool, err error) {
	// In the order of the key, from behind: it reads the end of each part, however
	// many rows the range has.
	rows, err := s.rows(ctx, 2, "SELECT count() > 0, max(idx) FROM (SELECT idx FROM "+s.table("ledger")+" WHERE log_id = {l:UInt64} AND idx >= {f:UInt64} AND idx < {t:UInt64} ORDER BY log_id DESC, idx DESC LIMIT 1)",
		Param("l", r.Log), Param("f", r.From), Param("t", r.To))
	if err != nil {
		return 0, false, fmt.Errorf("looking into ledger: %w", err)
	}
	if len(rows) != 1 {
		return 0, false, fmt.Errorf("looking into ledger: %d rows, not one", len(rows))
	}
	v, err := numbers(rows[0], 2)
	if err != nil || v[0] > 1 || v[0] == 1 && (v[1] < r.From || v[1] >= r.To) {
		return 0, false, fmt.Errorf("looking into ledger: answer %q is not what was asked for", safeLine(strings.Join(rows[0], " "), 100))
	}
	return v[1], v[0] == 1, nil
}

// Indices returns the indices in r that the ledger holds, ascending, without
// repeats. r may span at most 4 Mi entries.
func (s *Store) Indices(ctx context.Context, r schema.Range) ([]uint64, error) {
	if r.From > r.To || r.Len() > maxIndices {
		return nil, fmt.Errorf("listing ledger: range [%d,%d) of log %016x is not one of at most %d entries", r.From, r.To, r.Log, maxIndices)
	}
	rows, err := s.rows(ctx, 1, "SELECT DISTINCT idx FROM "+s.table("ledger")+" WHERE log_id = {l:UInt64} AND idx >= {f:UInt64} AND idx < {t:UInt64} ORDER BY idx",
		Param("l", r.Log), Param("f", r.From), Param("t", r.To))
	if err != nil {
		return nil, fmt.Errorf("listing ledger: %w", err)
	}
	return ascending(rows, r, "listing ledger")
}

// ascending reads an answer of indices in r.
func ascending(rows [][]string, r schema.Range, doing string) ([]uint64, error) {
	list := make([]uint64, len(rows))
	for i, row := range rows {
		v, err := numbers(row, 1)
		if err != nil || v[0] < r.From || v[0] >= r.To || i > 0 && v[0] <= list[i-1] {
			return nil, fmt.Errorf("%s: answer %q is not what was asked for", doing, safeLine(strings.Join(row, " "), 100))
		}
		list[i] = v[0]
	}
	return list, nil
}

// maxOrphans bounds the answer of Orphans, in entries.
const maxOrphans = 1000

// Orphans returns the indices in r, ascending, of ledger rows whose certificate
// is not in certs, the first 1000 of them. r may span at most 64 Ki entries:
// every one of them is a look-up.
func (s *Store) Orphans(ctx context.Context, r schema.Range) ([]uint64, error) {
	if r.From > r.To || r.Len() > 1<<16 {
		return nil, fmt.Errorf("looking for certificates: range [%d,%d) of log %016x is not one of at most %d entries", r.From, r.To, r.Log, 1<<16)
	}
	where := "log_id = {l:UInt64} AND idx >= {f:UInt64} AND idx < {t:UInt64} AND status < 'refused'"
	// tbs8 is what certs is sorted by.
	rows, err := s.Rows(ctx, fmt.Sprintf("SELECT DISTINCT idx FROM %[1]s WHERE %[3]s AND tbs10 NOT IN (SELECT tbs10 FROM %[2]s WHERE tbs8 IN (SELECT tbs8 FROM %[1]s WHERE %[3]s)) ORDER BY idx LIMIT %[4]d",
		s.table("ledger"), s.table("certs"), where, maxOrphans), Param("l", r.Log), Param("f", r.From), Param("t", r.To))
	if err != nil {
		return nil, fmt.Errorf("looking for certificates: %w", err)
	}
	return ascending(rows, r, "looking for certificates")
}

// Missing returns the parts of r that are not among have, which is ascending.
func Missing(r schema.Range, have []uint64) []schema.Range {
	var gaps []schema.Range
	next := r.From
	for _, idx := range have {
		if idx < next {
			continue
		}
		if idx >= r.To {
			break
		}
		if idx > next {
			gaps = append(gaps, schema.Range{Log: r.Log, From: next, To: idx})
		}
		next = idx + 1
	}
	if next < r.To {
		gaps = append(gaps, schema.Range{Log: r.Log, From: next, To: r.To})
	}
	return gaps
}

func numbers(row []string, n int) ([]uint64, error) {
	if len(row) != n {
		return nil, fmt.Errorf("%d values, not %d", len(row), n)
	}
	v := make([]uint64, n)
	for i, s := range row {
		var err error
		if v[i], err = strconv.ParseUint(s, 10, 64); err != nil {
			return nil, err
		}
	}
	return v, nil
}
