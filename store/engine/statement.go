package engine

import "strings"

// statement is what the HTTP face must know about a statement before it hands
// it to the engine.
type statement struct {
	sql string // what the engine gets

	insert bool   // data follows: sql ends before FORMAT or VALUES
	format string // named by the statement, empty where it names none
	data   string // of an insert: the part of the data that came with the text

	streamable bool // the result may be fetched piece by piece, see streamFormats
	hasFormat  bool // a FORMAT clause was seen, whether understood or not
}

// streamFormats are the formats whose pieces, one after the other, are the
// whole: those without header, footer or separator between pieces. Of all
// others the engine gives each piece as a document of its own.
var streamFormats = map[string]bool{
	"native": true, "tabseparated": true, "tsv": true, "tabseparatedraw": true, "tsvraw": true, "raw": true,
	"csv": true, "jsoneachrow": true, "jsonlines": true, "ndjson": true, "jsoncompacteachrow": true,
	"jsonstringseachrow": true, "rowbinary": true, "lineasstring": true, "values": false, "rawblob": true, "null": true,
}

// clientCommands are words that the library's line reader takes for commands
// to itself. Nothing that arrives over HTTP is one.
var clientCommands = map[string]bool{"EXIT": true, "QUIT": true, "LOGOUT": true, "Q": true, "HELP": true}

// parseStatement finds out what text is. text is the whole statement, except
// that the data of an INSERT may go on after it.
//
// It refuses what the library would do on the caller's behalf rather than the
// engine's: its client half reads and writes files for INTO OUTFILE, FROM
// INFILE and \i, and runs several statements in one call, and none of that is
// stopped by readonly.
func parseStatement(text string) (statement, error) {
	l := &lexer{s: text}
	first, ok := l.next()
	for ok && first.kind == tokSemi {
		first, ok = l.next()
	}
	if !ok {
		return statement{}, exceptionf(codeSyntax, "SYNTAX_ERROR", "Empty query")
	}
	if first.kind != tokWord && first.text != "(" {
		return statement{}, exceptionf(codeSyntax, "SYNTAX_ERROR", "Syntax error: a statement starts with a word, not with %.40q", text[first.start:])
	}
	if first.is("INSERT") {
		return parseInsert(text, l)
	}
	st := statement{sql: text}
	prev, depth := first, 0
	var last token
	n, end := 1, -1
	for {
		t, ok := l.next()
		if !ok {
			break
		}
		if t.kind != tokSemi {
			n++
		}
		if end >= 0 && t.kind != tokSemi {
			return statement{}, exceptionf(codeSyntax, "SYNTAX_ERROR", "Syntax error (Multi-statements are not allowed): failed at position %d: %.40q", t.start+1, text[t.start:])
		}
		switch {
		case t.kind == tokBad:
			return statement{}, exceptionf(codeSyntax, "SYNTAX_ERROR", "Syntax error: a quote or comment that starts at position %d does not end", t.start+1)
		case t.kind == tokSemi:
			if end < 0 {
				end = t.start
			}
			continue
		case t.kind == tokOpen:
			depth++
		case t.kind == tokClose:
			depth--
		case prev.is("INTO") && t.is("OUTFILE"), prev.is("FROM") && t.is("INFILE"):
			return statement{}, exceptionf(codeUnsupported, "NOT_IMPLEMENTED", "%s %s is not available over HTTP", prev.text, t.text)
		case t.is("FORMAT"):
			st.hasFormat, st.format = true, ""
		case prev.is("FORMAT") && depth == 0 && (t.kind == tokWord || t.kind == tokQuoted):
			st.format = t.text
			last = t
		}
		prev = t
	}
	if n == 1 && clientCommands[strings.ToUpper(first.text)] {
		return statement{}, exceptionf(codeSyntax, "SYNTAX_ERROR", "Syntax error: %q is not a statement", first.text)
	}
	if end >= 0 {
		st.sql = text[:end]
	}
	// A FORMAT clause that is not the last thing said is left to the engine,
	// and its result fetched whole, since we cannot tell what it will be.
	known := !st.hasFormat || st.format != "" && strings.TrimSpace(st.sql[min(last.end, len(st.sql)):]) == ""
	selects := first.is("SELECT") || first.is("WITH") || first.is("FROM") || first.text == "("
	st.streamable = selects && known && (st.format == "" || streamFormats[strings.ToLower(st.format)])
	return st, nil
}

// parseInsert reads an INSERT up to where its data begins; l stands after the
// word INSERT.
func parseInsert(text string, l *lexer) (statement, error) {
	st := statement{}
	var prev token
	depth := 0
	for {
		t, ok := l.next()
		if !ok {
			st.sql, st.insert = strings.TrimSpace(text), true
			return st, nil
		}
		switch {
		case t.kind == tokBad:
			return st, exceptionf(codeSyntax, "SYNTAX_ERROR", "Syntax error: a quote or comment that starts at position %d does not end", t.start+1)
		case t.kind == tokOpen:
			depth++
		case t.kind == tokClose:
			depth--
		case prev.is("FROM") && t.is("INFILE"):
			return st, exceptionf(codeUnsupported, "NOT_IMPLEMENTED", "FROM INFILE is not available over HTTP")
		case t.is("SELECT") && (depth == 0 || prev.text == "("), t.is("WITH") && depth == 0 && !prev.is("SETTINGS"):
			return parseInsertSelect(text)
		case depth > 0:
		case t.is("VALUES"):
			st.sql, st.insert, st.format, st.hasFormat = text[:t.start], true, "Values", true
			st.data = text[t.end:]
			return st, nil
		case t.is("FORMAT") && prev.text != ".":
			f, ok := l.next()
			if !ok || f.kind != tokWord && f.kind != tokQuoted {
				return st, exceptionf(codeSyntax, "SYNTAX_ERROR", "Syntax error: FORMAT needs a name after it")
			}
			st.sql, st.insert, st.format, st.hasFormat = text[:t.start], true, f.text, true
			if strings.EqualFold(f.text, "Values") || !strings.EqualFold(f.text, "Native") {
				if s, ok := (&lexer{s: text, i: f.end}).next(); ok && s.is("SETTINGS") {
					return st, exceptionf(codeSyntax, "SYNTAX_ERROR", "SETTINGS must stand before FORMAT in an INSERT")
				}
			}
			st.data = trimDataStart(text[f.end:])
			return st, nil
		case t.kind == tokSemi:
			st.sql, st.insert = text[:t.start], true
			st.data = trimDataStart(text[t.end:])
			return st, nil
		}
		prev = t
	}
}

// parseInsertSelect handles INSERT … SELECT: an ordinary statement without a
// result.
func parseInsertSelect(text string) (statement, error) {
	l := &lexer{s: text}
	var prev token
	end := -1
	for {
		t, ok := l.next()
		if !ok {
			break
		}
		if t.kind == tokBad {
			return statement{}, exceptionf(codeSyntax, "SYNTAX_ERROR", "Syntax error: a quote or comment that starts at position %d does not end", t.start+1)
		}
		if end >= 0 && t.kind != tokSemi {
			return statement{}, exceptionf(codeSyntax, "SYNTAX_ERROR", "Syntax error (Multi-statements are not allowed): failed at position %d", t.start+1)
		}
		if t.kind == tokSemi && end < 0 {
			end = t.start
		}
		if prev.is("INTO") && t.is("OUTFILE") || prev.is("FROM") && t.is("INFILE") {
			return statement{}, exceptionf(codeUnsupported, "NOT_IMPLEMENTED", "%s %s is not available over HTTP", prev.text, t.text)
		}
		prev = t
	}
	if end >= 0 {
		text = text[:end]
	}
	return statement{sql: text}, nil
}

// trimDataStart drops what separates FORMAT x from its data: blanks, then one
// line end. Everything after that is data.
func trimDataStart(s string) string {
	s = strings.TrimLeft(s, " \t\f")
	s = strings.TrimPrefix(s, "\r")
	return strings.TrimPrefix(s, "\n")
}
