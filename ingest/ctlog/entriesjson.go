package ctlog

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"

	fastbase64 "github.com/segmentio/asm/base64"
)

// decodeEntries decodes a get-entries answer (RFC 6962 section 4.6) of at most
// asked entries. The result does not refer to body; its entries lie in m.
//
// All known logs write the answer in one shape, and that shape is read by a
// scanner that looks for quotes and by a vectorised base64 decoder. What does
// not fit, wrong or merely unusual, goes to encoding/json, which accepts all
// JSON that means the same, and which finds the words for what is wrong.
func decodeEntries(body []byte, asked int, chains *chainCache, m *Memory) ([]Entry, map[Hash][]byte, error) {
	if texts, ok := scanEntries(body, asked); ok {
		if entries, issuers, ok := decodeTexts(texts, chains, m); ok {
			return entries, issuers, nil
		}
	}
	pairs, err := decodePairs(body, asked)
	if err != nil {
		return nil, nil, err
	}
	b := newBuilder(len(pairs), chains, m)
	for i := range pairs {
		b.add(pairs[i].leaf, pairs[i].extra)
	}
	return b.entries, b.issuers, nil
}

// pair is one element of a get-entries answer: base64 text or what it decodes to.
type pair struct{ leaf, extra []byte }

// builder makes entries. It copies what it keeps of extra_data, a third of
// it, so that entries do not hold on to the chains repeated in each.
type builder struct {
	entries []Entry
	issuers map[Hash][]byte
	chains  *chainCache
	last    *chain // whose certificates are in issuers
	arena   arena
}

func newBuilder(n int, chains *chainCache, m *Memory) *builder {
	return &builder{entries: make([]Entry, 0, n), issuers: map[Hash][]byte{}, chains: chains, arena: arena{m: m}}
}

// add appends an entry that keeps leaf, and copies of parts of extra.
func (b *builder) add(leaf, extra []byte) {
	e := Entry{Leaf: leaf}
	c := b.chains.setExtra(&e, extra)
	if e.Precert != nil {
		e.Precert = b.arena.copy(e.Precert)
	}
	if e.Extra != nil {
		e.Extra = b.arena.copy(e.Extra)
	}
	if c != nil && c != b.last {
		for i, h := range c.hashes {
			b.issuers[h] = c.certs[i]
		}
		b.last = c
	}
	b.entries = append(b.entries, e)
}

// arena hands out slices of larger allocations, whatever is in them.
type arena struct {
	m    *Memory
	free []byte
}

const arenaChunk = 256 << 10

func (a *arena) alloc(n int) []byte {
	if n > len(a.free) {
		if n > arenaChunk/4 {
			return make([]byte, n)
		}
		a.free = a.m.chunk()
	}
	b := a.free[:n:n]
	a.free = a.free[n:]
	return b
}

func (a *arena) copy(b []byte) []byte {
	c := a.alloc(len(b))
	copy(c, b)
	return c
}

// decodeTexts decodes the base64 of scanned entries.
func decodeTexts(texts []pair, chains *chainCache, m *Memory) ([]Entry, map[Hash][]byte, bool) {
	b := newBuilder(len(texts), chains, m)
	var scratch []byte
	for _, t := range texts {
		n, ok := plainLen(t.extra)
		if !ok {
			return nil, nil, false
		}
		if n > len(scratch) {
			scratch = make([]byte, 2*n)
		}
		extra := scratch[:n]
		if !decodeText(extra, t.extra) {
			return nil, nil, false
		}
		if n, ok = plainLen(t.leaf); !ok {
			return nil, nil, false
		}
		leaf := b.arena.alloc(n)
		if !decodeText(leaf, t.leaf) {
			return nil, nil, false
		}
		b.add(leaf, extra)
	}
	return b.entries, b.issuers, true
}

// plainLen returns how many bytes padded base64 decodes to.
func plainLen(text []byte) (int, bool) {
	n := len(text)
	if n%4 != 0 {
		return 0, false
	}
	pad := 0
	for pad < 2 && pad < n && text[n-1-pad] == '=' {
		pad++
	}
	return n/4*3 - pad, true
}

// decodeText decodes padded base64 into dst, whose length plainLen gave. The
// vectorised decoder gets whole quanta only, so that it has room for what it
// writes; the last one is the standard library's.
func decodeText(dst, text []byte) bool {
	if len(text) == 0 {
		return true
	}
	head := len(text) - 4
	n := head / 4 * 3
	if head > 0 {
		if got, err := fastbase64.StdEncoding.Decode(dst[:n:n], text[:head]); err != nil || got != n {
			return false
		}
	}
	// Into a buffer of its own: it wants room for three bytes also before padding.
	var last [3]byte
	got, err := base64.StdEncoding.Decode(last[:], text[head:])
	if err != nil || got != len(dst)-n {
		return false
	}
	copy(dst[n:], last[:got])
	return true
}

// scanEntries finds the base64 texts in an answer of the usual shape:
//
//	{"entries":[{"leaf_input":"…","extra_data":"…"}, …]}
//
// with any white space, and members of an entry in either order. ok is false
// for everything else. Texts are not checked, but for the quotes around them.
func scanEntries(body []byte, asked int) (texts []pair, ok bool) {
	s := scanner{b: body}
	if !s.token("{") || !s.token(`"entries"`) || !s.token(":") || !s.token("[") {
		return nil, false
	}
	if !s.token("]") {
		for {
			if len(texts) == asked {
				return nil, false
			}
			var p pair
			switch {
			case !s.token("{"):
				return nil, false
			case s.token(`"leaf_input"`):
				ok = s.text(&p.leaf) && s.token(",") && s.token(`"extra_data"`) && s.text(&p.extra)
			case s.token(`"extra_data"`):
				ok = s.text(&p.extra) && s.token(",") && s.token(`"leaf_input"`) && s.text(&p.leaf)
			}
			if !ok || !s.token("}") {
				return nil, false
			}
			ok = false
			texts = append(texts, p)
			if s.token("]") {
				break
			}
			if !s.token(",") {
				return nil, false
			}
		}
	}
	return texts, s.token("}") && s.end()
}

type scanner struct{ b []byte }

// space skips white space as JSON has it.
func (s *scanner) space() {
	for len(s.b) > 0 && (s.b[0] == ' ' || s.b[0] == '\n' || s.b[0] == '\r' || s.b[0] == '\t') {
		s.b = s.b[1:]
	}
}

// token skips white space and t, if t is there.
func (s *scanner) token(t string) bool {
	s.space()
	if len(s.b) < len(t) || string(s.b[:len(t)]) != t {
		return false
	}
	s.b = s.b[len(t):]
	return true
}

// text reads a colon and a string. An escaped quote would end it: the
// backslash before it is then no base64, and the answer goes the slow way.
func (s *scanner) text(v *[]byte) bool {
	if !s.token(":") || !s.token(`"`) {
		return false
	}
	n := bytes.IndexByte(s.b, '"')
	if n < 0 {
		return false
	}
	*v, s.b = s.b[:n], s.b[n+1:]
	return true
}

func (s *scanner) end() bool {
	s.space()
	return len(s.b) == 0
}

// decodePairs accepts all JSON that means the same as a get-entries
// answer: other members, any order, any spacing and escapes.
func decodePairs(body []byte, asked int) ([]pair, error) {
	const what = "get-entries"
	fail := func(reason string, err error) ([]pair, error) {
		if err != nil {
			reason += ": " + quote(err.Error())
		}
		return nil, &AnswerError{What: what, Reason: reason, Excerpt: excerpt(body)}
	}
	if looksLikeHTML(body) {
		return fail("a page instead of JSON", nil)
	}
	d := json.NewDecoder(bytes.NewReader(body))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return fail("not a JSON object", err)
	}
	var pairs []pair
	found := false
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return fail("malformed JSON", err)
		}
		if name != "entries" {
			var skip json.RawMessage
			if err := d.Decode(&skip); err != nil {
				return fail("malformed JSON", err)
			}
			continue
		}
		if found {
			return fail("entries comes twice", nil)
		}
		found = true
		t, err := d.Token()
		if err != nil {
			return fail("malformed JSON", err)
		}
		if t == nil { // null: an empty list, as some encoders write it
			continue
		}
		if t != json.Delim('[') {
			return fail("entries is not a list", nil)
		}
		for d.More() {
			var v struct {
				Leaf  *[]byte `json:"leaf_input"`
				Extra []byte  `json:"extra_data"`
			}
			if err := d.Decode(&v); err != nil {
				return fail("malformed entry", err)
			}
			if v.Leaf == nil {
				return fail("entry without leaf_input", nil)
			}
			if len(pairs) == asked {
				return fail(fmt.Sprintf("more than the %d entries asked for", asked), nil)
			}
			pairs = append(pairs, pair{*v.Leaf, v.Extra})
		}
		if _, err := d.Token(); err != nil {
			return fail("malformed JSON", err)
		}
	}
	if _, err := d.Token(); err != nil {
		return fail("malformed JSON", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return fail("bytes after the JSON value", nil)
	}
	if !found {
		return fail("no entries in it", nil)
	}
	return pairs, nil
}
