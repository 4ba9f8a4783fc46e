package storetest

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"

	"ctappliance/schema"
)

// Part is the rows of one insert in one partition.
type Part struct {
	Table     string
	Partition string
	Rows      []Row
	Seq       uint64 // in order of commits, from 1
	QueryID   string // of the insert

	at      time.Time
	entries []Entry  // of the ledger
	hashes  []uint64 // of the ledger's rows
}

// Entry names a row of the ledger.
type Entry struct{ Log, Index uint64 }

type token struct {
	id string
	at time.Time
}

// dedupWindow is how many tokens a table remembers.
const dedupWindow = 10_000

// writeback is how long the system keeps to itself what nobody syncs.
const writeback = 30 * time.Second

// Snapshot is the state of a server at some time.
type Snapshot struct {
	seq    uint64
	parts  map[*table][]*Part
	tokens map[*table][]token
}

// Seq is the number of the last part that had been committed.
func (s *Snapshot) Seq() uint64 { return s.seq }

// Snapshot returns the present state, as a copy of the server's disk would
// hold it.
func (s *Server) Snapshot() *Snapshot {
	s.mu.Lock()
	defer s.mu.Unlock()
	snap := &Snapshot{seq: s.seq, parts: map[*table][]*Part{}, tokens: map[*table][]token{}}
	for _, db := range s.tables {
		for _, t := range db {
			snap.parts[t], snap.tokens[t] = slices.Clone(t.parts), slices.Clone(t.tokens)
		}
	}
	return snap
}

// lose takes from the tables what a restart costs. s.mu is held.
func (s *Server) lose(r Restart) {
	now := time.Now()
	for _, db := range s.tables {
		for _, t := range db {
			if r.To != nil {
				t.parts, t.tokens = slices.Clone(r.To.parts[t]), slices.Clone(r.To.tokens[t])
			}
			if r.Power {
				t.tokens = slices.DeleteFunc(t.tokens, func(k token) bool { return now.Sub(k.at) < writeback })
			}
			t.parts = slices.DeleteFunc(t.parts, func(p *Part) bool {
				return r.Power && s.o.NoSync && now.Sub(p.at) < writeback || r.Lose != nil && r.Lose(*p)
			})
		}
	}
}

// block is a decoded insert, cut into parts.
type block struct {
	table  *table
	parts  []*Part
	tokens []string // of each part; "" is none
}

// cut makes the parts of an insert. s.mu is held.
func (s *Server) cut(t *table, columns []Column, rows []Row, queryID string, settings map[string]string) (*block, error) {
	order, taken := make([]int, 0, len(t.columns)), 0
	for _, c := range t.columns {
		if c.Kind == "ALIAS" || c.Kind == "MATERIALIZED" {
			continue
		}
		i := slices.IndexFunc(columns, func(have Column) bool { return have.Name == c.Name })
		if i < 0 && c.zero {
			order = append(order, -1)
			continue
		}
		if i < 0 {
			return nil, exception(10, "The insert into %s lacks column %s. (NOT_FOUND_COLUMN_IN_BLOCK)", t.name, c.Name)
		}
		if columns[i].Type != c.Type {
			return nil, exception(53, "Column %s of %s is %s, not %s. (TYPE_MISMATCH)", c.Name, t.name, c.Type, columns[i].Type)
		}
		order = append(order, i)
		taken++
	}
	if taken != len(columns) {
		return nil, exception(16, "The insert into %s has %d columns, the table %d. (NO_SUCH_COLUMN_IN_TABLE)", t.name, len(columns), len(order))
	}
	b := &block{table: t}
	by := map[string]*Part{}
	key := t.column(t.partition)
	for _, r := range rows {
		row := make(Row, len(order))
		for i, at := range order {
			if at >= 0 { // else its rows are never looked at
				row[i] = r[at]
			}
		}
		id := ""
		if key >= 0 {
			id = t.partitionOf(row[key])
		}
		p := by[id]
		if p == nil {
			p = &Part{Table: t.name, Partition: id, QueryID: queryID}
			by[id] = p
			b.parts = append(b.parts, p)
		}
		p.Rows = append(p.Rows, row)
		if t.name == "ledger" {
			e := Entry{number(row[t.column("log_id")]), number(row[t.column("idx")])}
			p.entries = append(p.entries, e)
			var id [16]byte
			copy(id[:], row[t.column("tbs10")])
			p.hashes = append(p.hashes, schema.RowHash(id, e.Index))
		}
	}
	b.tokens = make([]string, len(b.parts))
	if settings["insert_deduplicate"] != "0" && settings["deduplicate_insert"] != "disable" && strings.Contains(t.engine, "non_replicated_deduplication_window") {
		for i, p := range b.parts {
			id := settings["insert_deduplication_token"]
			if id == "" {
				id = fmt.Sprintf("%x", sha256.Sum256(fmt.Append(nil, p.Rows)))
			}
			b.tokens[i] = p.Partition + "_" + id
		}
	}
	return b, nil
}

// commit puts the first n parts of a block into its table, each with its
// token. Where died is not nil it is called between the two of the last one,
// and ends it there. s.mu is held.
func (s *Server) commit(b *block, n int, died func()) {
	for i, p := range b.parts[:n] {
		id := b.tokens[i]
		if id != "" && slices.ContainsFunc(b.table.tokens, func(k token) bool { return k.id == id }) {
			s.swallowed++
			continue
		}
		p.at = time.Now()
		publish := func() {
			if id != "" {
				b.table.tokens = append(b.table.tokens, token{id, p.at})
				b.table.tokens = b.table.tokens[max(0, len(b.table.tokens)-dedupWindow):]
			}
		}
		put := func() {
			s.seq++
			p.Seq = s.seq
			if s.o.Lean {
				b.table.forget()
				if p.entries != nil {
					p.Rows = nil
				}
			}
			b.table.parts = append(b.table.parts, p)
		}
		steps := []func(){put, publish}
		if s.o.PublishFirst {
			slices.Reverse(steps)
		}
		steps[0]()
		if died != nil && i == n-1 {
			died()
			return
		}
		steps[1]()
	}
}

// forget is what Options.Lean makes of the parts before a new one.
func (t *table) forget() {
	t.parts = slices.DeleteFunc(t.parts, func(p *Part) bool { return p.entries == nil })
}

// partitionOf returns the partition of a DateTime64 of 3 or 0 digits.
func (t *table) partitionOf(raw string) string {
	v := int64(number(raw))
	if strings.HasPrefix(t.columns[t.column(t.partition)].Type, "DateTime64(3") {
		v /= 1000
	}
	at := time.Unix(v, 0).UTC()
	if t.monthly {
		return at.Format("200601")
	}
	return at.Format("2006")
}

func number(raw string) uint64 {
	var b [8]byte
	copy(b[:], raw)
	return binary.LittleEndian.Uint64(b[:])
}

// Ledger counts the rows of every entry, in all databases.
func (s *Server) Ledger() map[Entry]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := map[Entry]int{}
	for _, db := range s.tables {
		if t := db["ledger"]; t != nil {
			for _, p := range t.parts {
				for _, e := range p.entries {
					out[e]++
				}
			}
		}
	}
	return out
}

// Values counts the distinct values of the given columns of a table, joined
// by zero bytes and their lengths.
func (s *Server) Values(name string, columns ...string) map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := map[string]int{}
	for _, db := range s.tables {
		t := db[name]
		if t == nil {
			continue
		}
		var at []int
		for _, c := range columns {
			i := t.column(c)
			if i < 0 {
				panic("storetest: table " + name + " has no column " + c)
			}
			at = append(at, i)
		}
		for _, p := range t.parts {
			for _, r := range p.Rows {
				if len(at) == 1 {
					out[r[at[0]]]++
					continue
				}
				v := make([]string, len(at))
				for i, c := range at {
					v[i] = r[c]
				}
				out[join(v)]++
			}
		}
	}
	return out
}

// Parts returns the parts of a table, oldest first.
func (s *Server) Parts(name string) []Part {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Part
	for _, db := range s.tables {
		if t := db[name]; t != nil {
			for _, p := range t.parts {
				out = append(out, *p)
			}
		}
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Seq < out[j].Seq })
	return out
}
