package engine

import "strings"

// tokenKind says what a token is, as far as this package cares.
type tokenKind uint8

const (
	tokWord   tokenKind = iota // bare word: keyword, identifier
	tokQuoted                  // `identifier` or "identifier"; text is decoded
	tokString                  // 'literal', $tag$literal$tag$
	tokNumber
	tokOpen  // ( [ {
	tokClose // ) ] }
	tokSemi  // ;
	tokOther // any other byte
	tokBad   // an unfinished string, identifier or comment: the rest of the text
)

// token is one lexical element; text[start:end] is where it stands.
type token struct {
	kind       tokenKind
	text       string // of words and quoted identifiers, else as it stands
	start, end int
}

// is tells whether a token is the bare word w; w is upper case.
func (t token) is(w string) bool {
	return t.kind == tokWord && len(t.text) == len(w) && strings.EqualFold(t.text, w)
}

// lexer splits a statement into tokens as the engine's own lexer does, so far
// as finding keywords needs it: comments and literals must not be mistaken for
// SQL, nor SQL for them. It never fails; what it cannot finish is tokBad.
type lexer struct {
	s string
	i int
}

func isWordStart(c byte) bool {
	return c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= 0x80
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// next gives the next token; ok is false at the end.
func (l *lexer) next() (t token, ok bool) {
	for l.i < len(l.s) {
		start := l.i
		c := l.s[l.i]
		switch {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v' || c == 0:
			l.i++
			continue
		case strings.HasPrefix(l.s[l.i:], "--"), strings.HasPrefix(l.s[l.i:], "#!"), strings.HasPrefix(l.s[l.i:], "# "):
			if n := strings.IndexByte(l.s[l.i:], '\n'); n >= 0 {
				l.i += n + 1
			} else {
				l.i = len(l.s)
			}
			continue
		case strings.HasPrefix(l.s[l.i:], "/*"):
			n := strings.Index(l.s[l.i+2:], "*/")
			if n < 0 {
				return l.rest(start), true
			}
			l.i += n + 4
			continue
		case c == '\'' || c == '`' || c == '"':
			text, end, ok := quoted(l.s, l.i)
			if !ok {
				return l.rest(start), true
			}
			l.i = end
			kind := tokQuoted
			if c == '\'' {
				kind = tokString
			}
			return token{kind, text, start, end}, true
		case c == '$':
			if end, ok := heredoc(l.s, l.i); ok {
				l.i = end
				return token{tokString, l.s[start:end], start, end}, true
			}
			l.i++
			return token{tokOther, "$", start, l.i}, true
		case isWordStart(c):
			for l.i < len(l.s) && (isWordStart(l.s[l.i]) || isDigit(l.s[l.i]) || l.s[l.i] == '$') {
				l.i++
			}
			return token{tokWord, l.s[start:l.i], start, l.i}, true
		case isDigit(c):
			for l.i < len(l.s) && (isWordStart(l.s[l.i]) || isDigit(l.s[l.i]) || l.s[l.i] == '.') {
				l.i++
			}
			return token{tokNumber, l.s[start:l.i], start, l.i}, true
		}
		l.i++
		kind := tokOther
		switch c {
		case '(', '[', '{':
			kind = tokOpen
		case ')', ']', '}':
			kind = tokClose
		case ';':
			kind = tokSemi
		}
		return token{kind, l.s[start:l.i], start, l.i}, true
	}
	return token{}, false
}

func (l *lexer) rest(start int) token {
	l.i = len(l.s)
	return token{tokBad, l.s[start:], start, len(l.s)}
}

// quoted decodes what stands in quotes at s[i]: a doubled quote is one, a
// backslash escapes.
func quoted(s string, i int) (text string, end int, ok bool) {
	q := s[i]
	var b strings.Builder
	for i++; i < len(s); i++ {
		switch c := s[i]; {
		case c == q && i+1 < len(s) && s[i+1] == q:
			b.WriteByte(q)
			i++
		case c == q:
			return b.String(), i + 1, true
		case c == '\\' && i+1 < len(s):
			i++
			if s[i] == 'x' && i+2 < len(s) {
				if v, ok := unhex(s[i+1], s[i+2]); ok {
					b.WriteByte(v)
					i += 2
					continue
				}
			}
			if n := strings.IndexByte("0abefnrtv", s[i]); n >= 0 {
				b.WriteByte("\x00\a\b\x1b\f\n\r\t\v"[n])
				continue
			}
			b.WriteByte(s[i])
		default:
			b.WriteByte(c)
		}
	}
	return "", len(s), false
}

func unhex(a, b byte) (byte, bool) {
	h := func(c byte) int {
		switch {
		case isDigit(c):
			return int(c - '0')
		case c >= 'a' && c <= 'f':
			return int(c-'a') + 10
		case c >= 'A' && c <= 'F':
			return int(c-'A') + 10
		}
		return -1
	}
	x, y := h(a), h(b)
	return byte(x<<4 | y), x >= 0 && y >= 0
}

// heredoc finds the end of $tag$…$tag$ at s[i].
func heredoc(s string, i int) (end int, ok bool) {
	n := strings.IndexByte(s[i+1:], '$')
	if n < 0 {
		return 0, false
	}
	tag := s[i : i+n+2]
	for _, c := range []byte(tag[1 : len(tag)-1]) {
		if !isWordStart(c) && !isDigit(c) {
			return 0, false
		}
	}
	m := strings.Index(s[i+len(tag):], tag)
	if m < 0 {
		return 0, false
	}
	return i + len(tag) + m + len(tag), true
}
