package engine

import (
	"strings"
	"testing"
)

func TestParseStatement(t *testing.T) {
	for _, c := range []struct {
		text       string
		sql        string
		insert     bool
		format     string
		data       string
		streamable bool
	}{
		{"SELECT 1", "SELECT 1", false, "", "", true},
		{"SELECT 1;", "SELECT 1", false, "", "", true},
		{" ; SELECT 1 ; ; ", " ; SELECT 1 ", false, "", "", true},
		{"SELECT ';' -- ;\n", "SELECT ';' -- ;\n", false, "", "", true},
		{"SELECT 1 FORMAT CSV", "SELECT 1 FORMAT CSV", false, "CSV", "", true},
		{"SELECT 1 FORMAT JSON", "SELECT 1 FORMAT JSON", false, "JSON", "", false},
		{"SELECT 1 FORMAT CSV SETTINGS a=1", "SELECT 1 FORMAT CSV SETTINGS a=1", false, "CSV", "", false},
		{"SELECT (SELECT 1 FORMAT CSV)", "SELECT (SELECT 1 FORMAT CSV)", false, "", "", false},
		{"SELECT 'FORMAT JSON'", "SELECT 'FORMAT JSON'", false, "", "", true},
		{"SELECT $a$ FORMAT ' JSON; $a$", "SELECT $a$ FORMAT ' JSON; $a$", false, "", "", true},
		{"SHOW TABLES", "SHOW TABLES", false, "", "", false},
		{"WITH 1 AS x SELECT x", "WITH 1 AS x SELECT x", false, "", "", true},
		{"(SELECT 1)", "(SELECT 1)", false, "", "", true},
		{"insert into t", "insert into t", true, "", "", false},
		{"INSERT INTO t (a, `format`) FORMAT CSV\n1,2", "INSERT INTO t (a, `format`) ", true, "CSV", "1,2", false},
		{"INSERT INTO t FORMAT CSV 1,2\n", "INSERT INTO t ", true, "CSV", "1,2\n", false},
		{"INSERT INTO t FORMAT CSV\r\n\n1", "INSERT INTO t ", true, "CSV", "\n1", false},
		{"INSERT INTO t (values, format) VALUES (1),('SELECT')", "INSERT INTO t (values, format) ", true, "Values", " (1),('SELECT')", false},
		{"INSERT INTO t SETTINGS a=1 FORMAT Native", "INSERT INTO t SETTINGS a=1 ", true, "Native", "", false},
		{"INSERT INTO d.format FORMAT TSV\nx", "INSERT INTO d.format ", true, "TSV", "x", false},
		{"INSERT INTO t SELECT 1;", "INSERT INTO t SELECT 1", false, "", "", false},
		{"INSERT INTO t (a) (SELECT 1)", "INSERT INTO t (a) (SELECT 1)", false, "", "", false},
		{"INSERT INTO t WITH 1 AS x SELECT x", "INSERT INTO t WITH 1 AS x SELECT x", false, "", "", false},
		{"INSERT INTO t /* FORMAT CSV */ VALUES (1)", "INSERT INTO t /* FORMAT CSV */ ", true, "Values", " (1)", false},
	} {
		st, err := parseStatement(c.text)
		if err != nil {
			t.Errorf("%q: %v", c.text, err)
			continue
		}
		if st.sql != c.sql || st.insert != c.insert || st.format != c.format || st.data != c.data || st.streamable != c.streamable {
			t.Errorf("%q:\n got %+v\nwant %+v", c.text, st, c)
		}
	}
	for _, text := range []string{
		"", ";", "-- x", "SELECT 1; SELECT 2", "SELECT 1;;SELECT 2", `\i /etc/passwd`, `; \i /etc/passwd`, "/etc/passwd", "exit", "QUIT;", "SELECT 'a", "SELECT `a", "SELECT /* a",
		"SELECT 1 INTO OUTFILE 'x'", "SELECT 1 into /**/ outfile 'x'", "INSERT INTO t FROM INFILE 'x' FORMAT CSV", "INSERT INTO t SELECT 1; DROP TABLE t",
		"INSERT INTO t SELECT 1 INTO OUTFILE 'x'", "INSERT INTO t FORMAT", "INSERT INTO t FORMAT CSV SETTINGS a=1\n1", "INSERT INTO t VALUES_ 'a",
	} {
		if st, err := parseStatement(text); err == nil {
			t.Errorf("%q was taken: %+v", text, st)
		}
	}
}

func TestLexer(t *testing.T) {
	for text, want := range map[string]string{
		"a.b":                     "a . b",
		"'a''b' \"c\\\"d\"":       "a'b c\"d",
		"`f\\x69le`(x)":           "file ( x )",
		"1.5e3 x2":                "1.5e3 x2",
		"a--b\nc":                 "a c",
		"a/*b*/c":                 "a c",
		"$$x$$ $y$z$y$ $1":        "$$x$$ $y$z$y$ $ 1",
		"'a\\n\\0\\q'":            "a\n\x00q",
		"ünï":                     "ünï",
		"{x:Identifier}":          "{ x : Identifier }",
		"# comment\nx #! more\ny": "x y",
	} {
		l := &lexer{s: text}
		var got []string
		for {
			tok, ok := l.next()
			if !ok {
				break
			}
			got = append(got, tok.text)
		}
		if g := strings.Join(got, " "); g != want {
			t.Errorf("%q: %q, want %q", text, g, want)
		}
	}
}

func FuzzParseStatement(f *testing.F) {
	for _, s := range []string{"SELECT 1 FORMAT CSV;", "INSERT INTO t (a) FORMAT CSV\n1", "INSERT INTO t VALUES (1)", "SELECT `a\\x", "$a$b$a$", "/*", "--", "INSERT INTO t (SELECT 'x')", "\\i x", "# a\n;;"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		st, err := parseStatement(s)
		if err != nil {
			return
		}
		// What goes to the engine is what the client said, cut but not changed.
		if !strings.HasPrefix(strings.TrimSpace(s), strings.TrimSpace(st.sql)) || !strings.HasSuffix(s, st.data) {
			t.Errorf("%q became %q and %q", s, st.sql, st.data)
		}
		l := &lexer{s: st.sql}
		for end := 0; ; {
			tok, ok := l.next()
			if !ok {
				break
			}
			if tok.start < end || tok.end <= tok.start || tok.end > len(st.sql) {
				t.Fatalf("%q: token %+v after %d", st.sql, tok, end)
			}
			end = tok.end
		}
	})
}

func TestParseException(t *testing.T) {
	for msg, want := range map[string]int{
		"Code: 60. DB::Exception: Unknown table":               60,
		"Streaming failed: Code: 241. DB::Exception: too much": 241,
		"something else":          codeUnknown,
		"Code: 0. nothing":        codeUnknown,
		"Code: 99999999999. what": codeUnknown,
		"":                        codeUnknown,
	} {
		if got := parseException(msg); got.Code != want || !strings.HasPrefix(got.Text, "Code: ") {
			t.Errorf("%q: %d %q", msg, got.Code, got.Text)
		}
	}
}

func TestMemory(t *testing.T) {
	for _, c := range []struct{ configured, machine, want int64 }{
		{0, 0, 1_400_000_000}, {0, 64 << 30, 1_400_000_000}, {0, 4_000_000_000, 1_333_333_333}, {0, 500_000_000, 400_000_000}, {800_000_000, 1 << 30, 800_000_000},
	} {
		if got, err := memoryFor(c.configured, c.machine); err != nil || got != c.want {
			t.Errorf("memoryFor(%d, %d) = %d, %v; want %d", c.configured, c.machine, got, err, c.want)
		}
	}
	if _, err := memoryFor(1, 0); err == nil {
		t.Error("one byte was enough")
	}
	// The measured figures for the measured memory, and less for less.
	for memory, wants := range map[int64][]string{
		1_400_000_000: {"<max_server_memory_usage>1400000000<", "<merges_mutations_memory_usage_soft_limit>500000000<", "<mark_cache_size>67108864<", "<old_parts_lifetime>480<", "<memory_worker_period_ms>500<", "<background_processing_pool_thread_sleep_seconds_if_nothing_to_do>5<"},
		700_000_000:   {"<max_server_memory_usage>700000000<", "<mark_cache_size>33554432<", "<old_parts_lifetime>480<"},
	} {
		x := configXML(memory)
		for _, want := range wants {
			if !strings.Contains(x, want) {
				t.Errorf("configuration for %d lacks %s", memory, want)
			}
		}
	}
}
