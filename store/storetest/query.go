package storetest

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"ctappliance/schema"
)

// Exception is an error of the server.
type Exception struct {
	Code int
	Text string
}

func (e *Exception) Error() string { return fmt.Sprintf("Code: %d. DB::Exception: %s", e.Code, e.Text) }

func exception(code int, format string, args ...any) *Exception {
	return &Exception{code, fmt.Sprintf(format, args...)}
}

// result is what a statement answers with, as text.
type result struct {
	columns []string
	rows    [][]string
}

const helloQuery = "SELECT displayName(), version(), revision(), timezone()"

var (
	insertInto   = regexp.MustCompile("^INSERT INTO `(\\w+)`\\.(\\w+) \\(([\\w, ]+)\\) FORMAT Native$")
	insertSelect = regexp.MustCompile("(?s)^INSERT INTO `(\\w+)`\\.meta \\(key, value, updated\\) SELECT '(.*)', '(.*)', fromUnixTimestamp64Milli\\(toInt64\\((\\d+)\\), 'UTC'\\)$")
	metaFinal    = regexp.MustCompile("^SELECT key, value, toString\\(toUnixTimestamp64Milli\\(updated\\)\\) FROM `(\\w+)`\\.meta FINAL$")
	maxUpdated   = regexp.MustCompile("^SELECT max\\(updated\\) FROM `(\\w+)`\\.logs$")
	databases    = regexp.MustCompile(`^SELECT name FROM system\.databases WHERE name = '(\w+)'$`)
	oneTable     = regexp.MustCompile(`^SELECT name FROM system\.tables WHERE database = '(\w+)' AND name = '(\w+)'$`)
	oneColumn    = regexp.MustCompile(`^SELECT name FROM system\.columns WHERE database = '(\w+)' AND table = '(\w+)' AND name = '(\w+)'$`)
	oneIndex     = regexp.MustCompile(`^SELECT name FROM system\.data_skipping_indices WHERE database = '(\w+)' AND table = '(\w+)' AND name = '(\w+)'$`)
	allTables    = regexp.MustCompile(`^SELECT name, engine_full FROM system\.tables WHERE database = '(\w+)'$`)
	allColumns   = regexp.MustCompile(`^SELECT table, name, type FROM system\.columns WHERE database = '(\w+)' AND default_kind IN \('', 'DEFAULT'\)$`)
	prove        = regexp.MustCompile("^SELECT toUInt32\\(0\\) AS i, " + aggregates + " FROM `(\\w+)`\\.ledger WHERE log_id = (\\d+) AND idx >= (\\d+) AND idx < (\\d+)$")
	highest      = regexp.MustCompile("^SELECT count\\(\\) > 0, max\\(idx\\) FROM \\(SELECT idx FROM `(\\w+)`\\.ledger WHERE log_id = (\\d+) AND idx >= (\\d+) AND idx < (\\d+) ORDER BY log_id DESC, idx DESC LIMIT 1\\)$")
	indices      = regexp.MustCompile("^SELECT DISTINCT idx FROM `(\\w+)`\\.ledger WHERE log_id = (\\d+) AND idx >= (\\d+) AND idx < (\\d+) ORDER BY idx$")
	orphans      = regexp.MustCompile("^SELECT DISTINCT idx FROM `(\\w+)`\\.ledger WHERE log_id = (\\d+) AND idx >= (\\d+) AND idx < (\\d+) AND status < 'refused' AND tbs10 NOT IN \\(SELECT tbs10 FROM `\\w+`\\.certs WHERE .*\\) ORDER BY idx LIMIT (\\d+)$")
	total        = regexp.MustCompile("^SELECT count\\(\\) FROM `(\\w+)`\\.ledger WHERE log_id = (\\d+) AND idx >= (\\d+) AND idx < (\\d+)$")
	removal      = regexp.MustCompile("^ALTER TABLE `(\\w+)`\\.ledger DELETE WHERE log_id = (\\d+) AND idx >= (\\d+) AND idx < (\\d+) SETTINGS mutations_sync = 2$")
	processes    = regexp.MustCompile(`^SELECT query_id FROM system\.processes WHERE query_id LIKE '(.*)'$`)
	kill         = regexp.MustCompile(`^KILL QUERY WHERE query_id LIKE '(.*)' SYNC$`)
	parameter    = regexp.MustCompile(`\{(\w+):(\w+)\}`)
)

// What is counted of a range of the ledger, and the count of several.
var (
	aggregates = regexp.QuoteMeta("count() AS n, uniqExact(idx) AS u, groupBitXor(" + schema.RowHashSQL + ") AS x")
	proveMany  = regexp.MustCompile("^SELECT toUInt32\\(i\\), sum\\(n\\), sum\\(u\\), groupBitXor\\(x\\) FROM \\(SELECT i, " + aggregates + " FROM `(\\w+)`\\.ledger AS l ALL INNER JOIN " +
		"\\(SELECT r\\.1 AS i, r\\.2 AS log, r\\.3 AS lo, r\\.4 AS hi FROM \\(SELECT arrayJoin\\(\\[([\\d(),]+)\\]\\) AS r\\)\\) AS ranges ON l\\.log_id = ranges\\.log" +
		" WHERE idx >= lo AND idx < hi AND \\(log_id, intDiv\\(idx, (\\d+)\\)\\) IN \\(([\\d(),]+)\\) GROUP BY i UNION ALL SELECT arrayJoin\\(range\\((\\d+)\\)\\), 0, 0, 0\\) GROUP BY i$")
	tuple = regexp.MustCompile(`\(([\d,]+)\)`)
)

// kindOf says what a statement does, as far as its text tells.
func kindOf(q string) Kind {
	switch {
	case q == helloQuery:
		return Hello
	case insertInto.MatchString(q):
		return Insert
	case strings.HasPrefix(q, "SELECT toUInt32("):
		return Prove
	case strings.HasPrefix(q, "SELECT count() > 0, max(idx)"):
		return Highest
	case strings.HasPrefix(q, "SELECT DISTINCT idx"):
		return Indices
	case strings.Contains(q, "serverUUID()"):
		return Epoch
	case strings.Contains(q, "system.processes"):
		return Processes
	case strings.HasPrefix(q, "KILL QUERY"):
		return Kill
	}
	return Meta
}

// bind puts the values of parameters into a query.
func bind(q string, params url.Values) string {
	return parameter.ReplaceAllStringFunc(q, func(m string) string {
		p := parameter.FindStringSubmatch(m)
		v := params.Get("param_" + p[1])
		if p[2] == "String" {
			return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(unescape(v)) + "'"
		}
		return v
	})
}

// unescape undoes the escapes of parameters, and of string literals.
func unescape(s string) string {
	return strings.NewReplacer(`\\`, `\`, `\'`, `'`, `\n`, "\n", `\t`, "\t", `\r`, "\r", `\0`, "\x00").Replace(s)
}

// query answers everything but inserts of blocks. s.mu is held.
func (s *Server) query(q string) (*result, error) {
	if ok, err := s.ddl(q); ok {
		return nil, err
	}
	switch {
	case q == "SELECT version()":
		return &result{[]string{"version()"}, [][]string{{s.o.Version}}}, nil
	case strings.HasPrefix(q, "SELECT toString(serverUUID()), toUnixTimestamp(now()) - uptime()"):
		start := s.boot.start.Unix()
		if s.o.Wobble {
			start += int64(s.statements%3) - 1
		}
		return &result{[]string{"u", "s"}, [][]string{{s.uuid, fmt.Sprint(start)}}}, nil
	}
	if m := insertSelect.FindStringSubmatch(q); m != nil {
		t, err := s.table(m[1], "meta")
		if err != nil {
			return nil, err
		}
		s.seq++
		t.parts = append(t.parts, &Part{Table: "meta", Rows: []Row{{unescape(m[2]), unescape(m[3]), m[4]}}, Seq: s.seq, at: time.Now()})
		return nil, nil
	}
	if m := metaFinal.FindStringSubmatch(q); m != nil {
		t, err := s.table(m[1], "meta")
		if err != nil {
			return nil, err
		}
		last := map[string][]string{} // the newest by its time, not by when it came
		for _, p := range t.parts {
			row := []string{p.Rows[0][0], p.Rows[0][1], p.Rows[0][2]}
			if have := last[row[0]]; have == nil || len(have[2]) < len(row[2]) || len(have[2]) == len(row[2]) && have[2] <= row[2] {
				last[row[0]] = row
			}
		}
		r := &result{columns: []string{"key", "value", "updated"}}
		for _, row := range last {
			r.rows = append(r.rows, row)
		}
		return r, nil
	}
	if m := maxUpdated.FindStringSubmatch(q); m != nil {
		t, err := s.table(m[1], "logs")
		if err != nil {
			return nil, err
		}
		top := uint64(0)
		for _, p := range t.parts {
			for _, row := range p.Rows {
				top = max(top, number(row[t.column("updated")]))
			}
		}
		return &result{[]string{"max(updated)"}, [][]string{{fmt.Sprint(top)}}}, nil
	}
	if m := processes.FindStringSubmatch(q); m != nil {
		r := &result{columns: []string{"query_id"}}
		for _, p := range s.running(m[1]) {
			r.rows = append(r.rows, []string{p.id})
		}
		return r, nil
	}
	if r, err := s.describe(q); r != nil || err != nil {
		return r, err
	}
	return s.count(q)
}

// describe answers questions about databases and tables.
func (s *Server) describe(q string) (*result, error) {
	r := &result{columns: []string{"name"}}
	if m := databases.FindStringSubmatch(q); m != nil {
		if s.tables[m[1]] != nil {
			r.rows = [][]string{{m[1]}}
		}
		return r, nil
	}
	if m := oneTable.FindStringSubmatch(q); m != nil {
		if s.tables[m[1]][m[2]] != nil {
			r.rows = [][]string{{m[2]}}
		}
		return r, nil
	}
	if m := oneColumn.FindStringSubmatch(q); m != nil {
		if t := s.tables[m[1]][m[2]]; t != nil && slices.ContainsFunc(t.columns, func(c Column) bool { return c.Name == m[3] }) {
			r.rows = [][]string{{m[3]}}
		}
		return r, nil
	}
	if m := oneIndex.FindStringSubmatch(q); m != nil {
		if t := s.tables[m[1]][m[2]]; t != nil && slices.Contains(t.indices, m[3]) {
			r.rows = [][]string{{m[3]}}
		}
		return r, nil
	}
	if m := allTables.FindStringSubmatch(q); m != nil {
		r.columns = []string{"name", "engine_full"}
		for _, t := range s.tables[m[1]] {
			r.rows = append(r.rows, []string{t.name, t.engine})
		}
		return r, nil
	}
	if m := allColumns.FindStringSubmatch(q); m != nil {
		r.columns = []string{"table", "name", "type"}
		for _, t := range s.tables[m[1]] {
			for _, c := range t.columns {
				if c.Kind == "" || c.Kind == "DEFAULT" {
					r.rows = append(r.rows, []string{t.name, c.Name, c.Full})
				}
			}
		}
		return r, nil
	}
	return nil, nil
}

// count answers what is asked about the ledger, and refuses the rest.
func (s *Server) count(q string) (*result, error) {
	if m := prove.FindStringSubmatch(q); m != nil {
		t, err := s.table(m[1], "ledger")
		if err != nil {
			return nil, err
		}
		n, xor, list := t.scan(m[2:])
		return &result{[]string{"i", "n", "u", "x"}, [][]string{{"0", fmt.Sprint(n), fmt.Sprint(len(list)), fmt.Sprint(xor)}}}, nil
	}
	if m := proveMany.FindStringSubmatch(q); m != nil {
		t, err := s.table(m[1], "ledger")
		if err != nil {
			return nil, err
		}
		return s.proveMany(t, q, m[2:])
	}
	if m := highest.FindStringSubmatch(q); m != nil {
		t, err := s.table(m[1], "ledger")
		if err != nil {
			return nil, err
		}
		row := []string{"0", "0"}
		if _, _, list := t.scan(m[2:]); len(list) > 0 {
			row = []string{"1", fmt.Sprint(list[len(list)-1])}
		}
		return &result{[]string{"a", "b"}, [][]string{row}}, nil
	}
	if m := indices.FindStringSubmatch(q); m != nil {
		t, err := s.table(m[1], "ledger")
		if err != nil {
			return nil, err
		}
		r := &result{columns: []string{"idx"}}
		_, _, list := t.scan(m[2:])
		for _, i := range list {
			r.rows = append(r.rows, []string{fmt.Sprint(i)})
		}
		return r, nil
	}
	if m := total.FindStringSubmatch(q); m != nil {
		t, err := s.table(m[1], "ledger")
		if err != nil {
			return nil, err
		}
		n, _, _ := t.scan(m[2:])
		return &result{[]string{"count()"}, [][]string{{fmt.Sprint(n)}}}, nil
	}
	if m := orphans.FindStringSubmatch(q); m != nil {
		return s.orphans(m)
	}
	return nil, s.unknown(q)
}

// orphans lists ledger rows whose certificate is not in certs.
func (s *Server) orphans(m []string) (*result, error) {
	if s.o.Lean {
		return &result{columns: []string{"idx"}}, nil
	}
	ledger, err := s.table(m[1], "ledger")
	if err != nil {
		return nil, err
	}
	certs, err := s.table(m[1], "certs")
	if err != nil {
		return nil, err
	}
	have := map[string]bool{}
	for _, p := range certs.parts {
		for _, row := range p.Rows {
			have[row[certs.column("tbs_id")][:10]] = true
		}
	}
	const refused = 3 // of the ledger's Enum8
	lacking := map[uint64]bool{}
	for _, p := range ledger.parts {
		for i, e := range p.entries {
			row := p.Rows[i]
			lacking[e.Index] = e.Log == decimal(m[2]) && row[ledger.column("status")][0] < refused && !have[row[ledger.column("tbs10")]]
		}
	}
	r := &result{columns: []string{"idx"}}
	_, _, list := ledger.scan(m[2:])
	for _, i := range list {
		if lacking[i] && uint64(len(r.rows)) < decimal(m[5]) {
			r.rows = append(r.rows, []string{fmt.Sprint(i)})
		}
	}
	return r, nil
}

// remove takes rows out of the ledger: parts are replaced, not changed, since
// snapshots hold them.
func (t *table) remove(log, from, to uint64) {
	for k, p := range t.parts {
		left := *p
		left.Rows, left.entries, left.hashes = nil, nil, nil
		for i, e := range p.entries {
			if e.Log != log || e.Index < from || e.Index >= to {
				left.Rows = append(left.Rows, p.Rows[i])
				left.entries = append(left.entries, e)
				left.hashes = append(left.hashes, p.hashes[i])
			}
		}
		if len(left.entries) != len(p.entries) {
			t.parts[k] = &left
		}
	}
}

// scan reads the ledger: log, from, to in decimal. It returns the number of
// rows, the XOR of their hashes, and the distinct indices, ascending.
func (t *table) scan(args []string) (n int, xor uint64, list []uint64) {
	log, _ := strconv.ParseUint(args[0], 10, 64)
	from, _ := strconv.ParseUint(args[1], 10, 64)
	to, _ := strconv.ParseUint(args[2], 10, 64)
	for _, p := range t.parts {
		for i, e := range p.entries {
			if e.Log == log && e.Index >= from && e.Index < to {
				n++
				xor ^= p.hashes[i]
				list = append(list, e.Index)
			}
		}
	}
	slices.Sort(list)
	return n, xor, slices.Compact(list)
}

// proveMany counts several ranges: args are the ranges, the size of a block, the
// blocks, and how many ranges are answered at least.
func (s *Server) proveMany(t *table, q string, args []string) (*result, error) {
	size, _ := strconv.ParseUint(args[1], 10, 64)
	blocks := map[string]bool{}
	for _, b := range tuple.FindAllStringSubmatch(args[2], -1) {
		blocks[b[1]] = true
	}
	r := &result{columns: []string{"toUInt32(i)", "sum(n)", "sum(u)", "x"}}
	for i, m := range tuple.FindAllStringSubmatch(args[0], -1) {
		v := strings.Split(m[1], ",")
		if len(v) != 4 || v[0] != fmt.Sprint(i) || size == 0 {
			return nil, s.unknown(q)
		}
		n, xor, list := t.scan(v[1:])
		for _, idx := range list {
			if !blocks[fmt.Sprintf("%s,%d", v[1], idx/size)] {
				return nil, s.unknown(q) // the engine would not find it
			}
		}
		r.rows = append(r.rows, []string{v[0], fmt.Sprint(n), fmt.Sprint(len(list)), fmt.Sprint(xor)})
	}
	if args[3] != fmt.Sprint(len(r.rows)) {
		return nil, s.unknown(q)
	}
	return r, nil
}

func (s *Server) unknown(q string) error {
	s.complain("statement is not known to the fake: " + q[:min(len(q), 200)])
	return exception(62, "Syntax error: failed at position 1: %.100s. (SYNTAX_ERROR)", q)
}

// like returns a pattern of LIKE as a regular expression.
func like(pattern string) *regexp.Regexp {
	var b strings.Builder
	b.WriteString("(?s)^")
	p := unescape(pattern)
	for i := 0; i < len(p); i++ {
		switch c := p[i]; {
		case c == '\\' && i+1 < len(p):
			i++
			b.WriteString(regexp.QuoteMeta(p[i : i+1]))
		case c == '%':
			b.WriteString(".*")
		case c == '_':
			b.WriteString(".")
		default:
			b.WriteString(regexp.QuoteMeta(string(c)))
		}
	}
	return regexp.MustCompile(b.String() + "$")
}

// text writes a result as TabSeparatedWithNames.
func (r *result) text() []byte {
	if r == nil {
		return nil
	}
	var b strings.Builder
	for _, row := range append([][]string{r.columns}, r.rows...) {
		for i, v := range row {
			if i > 0 {
				b.WriteByte('\t')
			}
			b.WriteString(strings.NewReplacer("\\", "\\\\", "\t", "\\t", "\n", "\\n").Replace(v))
		}
		b.WriteByte('\n')
	}
	return []byte(b.String())
}

// decimal reads a number that a regular expression has found.
func decimal(s string) uint64 {
	n, _ := strconv.ParseUint(s, 10, 64)
	return n
}
