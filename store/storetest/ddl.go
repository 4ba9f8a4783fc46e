package storetest

import (
	"regexp"
	"strings"
)

// table is a table, or a view, and what is in it.
type table struct {
	name      string
	view      bool
	engine    string // engine_full of system.tables
	columns   []Column
	indices   []string
	partition string // column of PARTITION BY
	monthly   bool   // by month, else by year
	parts     []*Part
	tokens    []token // oldest first
}

var (
	createTable = regexp.MustCompile("(?s)^CREATE TABLE (?:IF NOT EXISTS )?`(\\w+)`\\.(\\w+)\\s*\\((.*)\\)\\s*(ENGINE = .*)$")
	createView  = regexp.MustCompile("(?s)^CREATE (?:OR REPLACE )?VIEW `(\\w+)`\\.(\\w+)\\b")
	createDB    = regexp.MustCompile("^CREATE DATABASE (?:IF NOT EXISTS )?`(\\w+)`")
	addColumn   = regexp.MustCompile("(?s)^ALTER TABLE `(\\w+)`\\.(\\w+)\\s+ADD COLUMN (?:IF NOT EXISTS )?(.*)$")
	modify      = regexp.MustCompile("(?s)^ALTER TABLE `(\\w+)`\\.(\\w+)\\s+MODIFY (?:SETTING (\\w+ = [\\w.]+)$|COLUMN \\w+ CODEC\\()")
	zeroDefault = regexp.MustCompile("(?s)^ALTER TABLE `(\\w+)`\\.(\\w+)\\s+MODIFY COLUMN (\\w+) DEFAULT (?:toFixedString\\('', \\d+\\)|false),\\s+COMMENT COLUMN \\w+ '")
	partitionBy = regexp.MustCompile(`\bPARTITION BY to(YYYYMM|Year)\((\w+)\)`)
	simple      = regexp.MustCompile(`^SimpleAggregateFunction\(\w+, (.*)\)$`)
	comment     = regexp.MustCompile(`(?s)\s+COMMENT '(?:[^'\\]|''|\\.)*'`)
)

// parseTable reads a CREATE TABLE. What it does not understand it leaves out,
// and what reads the tables back then misses it.
func parseTable(name, body, engine string) *table {
	t := &table{name: name}
	for _, item := range splitArgs(body) {
		word, rest, _ := strings.Cut(item, " ")
		switch word {
		case "INDEX":
			index, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
			t.indices = append(t.indices, index)
		case "PROJECTION", "CONSTRAINT", "PRIMARY", "":
		default:
			t.columns = append(t.columns, parseColumn(word, strings.TrimSpace(rest)))
		}
	}
	t.engine = strings.Join(strings.Fields(strings.TrimPrefix(comment.ReplaceAllString(engine, ""), "ENGINE = ")), " ")
	if m := partitionBy.FindStringSubmatch(t.engine); m != nil {
		t.monthly, t.partition = m[1] == "YYYYMM", m[2]
	}
	return t
}

// parseColumn reads what follows a column's name: type, default, comment,
// codec.
func parseColumn(name, def string) Column {
	c := Column{Name: name}
	depth, quoted, end := 0, false, len(def)
	for i := 0; i < len(def); i++ {
		switch ch := def[i]; {
		case ch == '\'':
			quoted = !quoted
		case quoted:
		case ch == '(':
			depth++
		case ch == ')':
			depth--
		case (ch == ' ' || ch == '\n') && depth == 0:
			end = i
		}
		if end != len(def) {
			break
		}
	}
	c.Full = def[:end]
	switch kind, _, _ := strings.Cut(strings.TrimSpace(def[end:]), " "); kind {
	case "DEFAULT", "ALIAS", "MATERIALIZED", "EPHEMERAL":
		c.Kind = kind
	}
	c.Type = c.Full
	if m := simple.FindStringSubmatch(c.Full); m != nil {
		c.Type = m[1]
	}
	return c
}

// ddl runs a statement that creates something; ok is false where it is none.
func (s *Server) ddl(q string) (ok bool, err error) {
	if m := createDB.FindStringSubmatch(q); m != nil {
		if s.tables[m[1]] == nil {
			s.tables[m[1]] = map[string]*table{}
		}
		return true, nil
	}
	if m := createTable.FindStringSubmatch(q); m != nil {
		db := s.tables[m[1]]
		switch {
		case db == nil:
			return true, exception(81, "Database %s does not exist. (UNKNOWN_DATABASE)", m[1])
		case db[m[2]] != nil:
			return true, exception(57, "Table %s already exists. (TABLE_ALREADY_EXISTS)", m[2])
		}
		db[m[2]] = parseTable(m[2], m[3], m[4])
		return true, nil
	}
	if m := createView.FindStringSubmatch(q); m != nil {
		db := s.tables[m[1]]
		if db == nil {
			return true, exception(81, "Database %s does not exist. (UNKNOWN_DATABASE)", m[1])
		}
		db[m[2]] = &table{name: m[2], view: true, engine: "View"}
		return true, nil
	}
	if m := addColumn.FindStringSubmatch(q); m != nil {
		t, err := s.table(m[1], m[2])
		if err != nil {
			return true, err
		}
		name, def, _ := strings.Cut(strings.TrimSpace(m[3]), " ")
		t.columns = append(t.columns, parseColumn(name, strings.TrimSpace(def)))
		return true, nil
	}
	if m := modify.FindStringSubmatch(q); m != nil { // codecs are not kept
		t, err := s.table(m[1], m[2])
		if err == nil && m[3] != "" {
			t.engine += ", " + m[3]
		}
		return true, err
	}
	if m := zeroDefault.FindStringSubmatch(q); m != nil {
		t, err := s.table(m[1], m[2])
		if err != nil {
			return true, err
		}
		for i := range t.columns {
			if t.columns[i].Name == m[3] {
				t.columns[i].Kind, t.columns[i].zero = "DEFAULT", true
			}
		}
		return true, nil
	}
	if m := removal.FindStringSubmatch(q); m != nil {
		t, err := s.table(m[1], "ledger")
		if err != nil {
			return true, err
		}
		t.remove(decimal(m[2]), decimal(m[3]), decimal(m[4]))
		return true, nil
	}
	return false, nil
}

// table finds a table of a database.
func (s *Server) table(db, name string) (*table, error) {
	if s.tables[db] == nil {
		return nil, exception(81, "Database %s does not exist. (UNKNOWN_DATABASE)", db)
	}
	if t := s.tables[db][name]; t != nil {
		return t, nil
	}
	return nil, exception(60, "Table %s.%s does not exist. (UNKNOWN_TABLE)", db, name)
}

// column returns the position of a column in the rows of an insert.
func (t *table) column(name string) int {
	at := 0
	for _, c := range t.columns {
		if c.Kind == "ALIAS" || c.Kind == "MATERIALIZED" {
			continue
		}
		if c.Name == name {
			return at
		}
		at++
	}
	return -1
}
