package ctlogtest

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

const maxGetEntriesAge = "public, max-age=86400" // what CTFE says, of partial answers too

// page is 256 entries as they stand in a get-entries answer. Entry i is
// json[off[i]:off[i+1]-1], followed by a comma.
type page struct {
	json []byte
	off  [blockSize + 1]int
}

func (l *Log) makePage(n uint64) (page, int64) {
	var p page
	p.json = make([]byte, 0, 1400<<10)
	entries := l.corpus.block(n)
	var scratch []byte
	for i := range entries {
		p.json, scratch = l.appendEntry(p.json, scratch, &entries[i], n*blockSize+uint64(i))
		p.json = append(p.json, ',')
		p.off[i+1] = len(p.json)
	}
	p.json = bytes.Clone(p.json)
	return p, int64(cap(p.json)) + blockSize*8
}

// appendEntry appends one element of "entries". scratch is reused if it is
// large enough.
func (l *Log) appendEntry(b, scratch []byte, e *Entry, index uint64) (out, _ []byte) {
	b = append(b, `{"leaf_input":"`...)
	scratch = e.appendLeaf(scratch[:0], RFC6962, index)
	b = base64.StdEncoding.AppendEncode(b, scratch)
	b = append(b, `","extra_data":"`...)
	scratch = e.appendExtra(scratch[:0], l.corpus.h)
	b = base64.StdEncoding.AppendEncode(b, scratch)
	return append(b, `"}`...), scratch
}

func (l *Log) routeRFC6962(r *http.Request) (operation, bool) {
	if l.o.Mirror && (strings.HasPrefix(r.URL.Path, "/tile/data/") || strings.HasPrefix(r.URL.Path, "/issuer/")) {
		op, ok := l.routeStatic(r.URL.Path)
		return op, ok && !strings.Contains(r.URL.Path, ".p/")
	}
	name, ok := strings.CutPrefix(r.URL.Path, "/ct/v1/")
	if !ok {
		return operation{}, false
	}
	q := r.URL.Query()
	switch name {
	case "get-sth":
		return operation{class: ClassHead, run: l.getSTH}, true
	case "get-entries":
		return l.getEntries(q), true
	case "get-entry-and-proof":
		return operation{class: ClassProof, run: func(d drawn) answer { return l.getEntryAndProof(q, d) }}, true
	case "get-proof-by-hash":
		return operation{class: ClassProof, run: func(d drawn) answer { return l.getProofByHash(q, d) }}, true
	case "get-sth-consistency":
		return operation{class: ClassProof, run: func(d drawn) answer { return l.getConsistency(q, d) }}, true
	case "get-roots":
		return operation{class: ClassProof, run: func(drawn) answer { return l.getRoots() }}, true
	}
	return operation{}, false
}

func asJSON(v any) answer {
	b, err := json.Marshal(v)
	if err != nil {
		return text(http.StatusInternalServerError, err.Error())
	}
	return answer{status: 200, ctype: "application/json", body: [][]byte{b}}
}

// number reads a decimal parameter as CTFE does: no sign, no default.
func number(q url.Values, name string) (uint64, error) {
	v, err := strconv.ParseInt(q.Get(name), 10, 64)
	if err != nil || v < 0 {
		return 0, fmt.Errorf("parameter %s is not a number from 0 up: %q", name, q.Get(name))
	}
	return uint64(v), nil
}

func (l *Log) getSTH(d drawn) answer {
	h, err := l.faultyHead(d)
	if err != nil {
		return text(http.StatusInternalServerError, err.Error())
	}
	return answer{status: 200, ctype: "application/json", body: [][]byte{h.sth()}}
}

// getEntries plans a get-entries request. Like CTFE with align_getentries it
// cuts an answer at a multiple of the page size if as many entries as that
// were asked for, or more.
func (l *Log) getEntries(q url.Values) operation {
	start, err := number(q, "start")
	end, err2 := number(q, "end")
	if err == nil {
		err = err2
	}
	if err == nil && start > end {
		err = fmt.Errorf("start (%d) is beyond end (%d)", start, end)
	}
	if err != nil {
		return operation{class: ClassData, run: func(drawn) answer { return text(http.StatusBadRequest, err.Error()) }}
	}
	size := l.Size()
	if start >= size {
		return operation{class: ClassData, from: start, to: start + 1, run: func(drawn) answer {
			return text(http.StatusBadRequest, fmt.Sprintf("need tree size: %d to get leaves but only got: %d", start+1, size))
		}}
	}
	page := uint64(l.o.PageSize)
	asked := end + 1
	if end-start+1 >= page {
		end = start + page - 1
		if !l.o.Unaligned {
			end = start - start%page + page - 1
		}
	}
	to := min(end+1, size)
	return operation{class: ClassData, from: start, to: to, run: func(d drawn) answer { return l.entries(start, to, asked, size, d) }}
}

// entries answers with [from, to).
func (l *Log) entries(from, to, asked, size uint64, d drawn) answer {
	a := answer{status: 200, ctype: "application/json", cache: maxGetEntriesAge}
	if _, ok := d[EmptyAnswer]; ok {
		a.body = [][]byte{[]byte(`{"entries":[]}`)}
		return a
	}
	if f, ok := d[ShortAnswer]; ok {
		to = min(to, from+uint64(max(f.n(1), 1)))
	}
	a.from, a.to = from, to
	again := uint64(0)
	if f, ok := d[ExtraEntries]; ok {
		extra := uint64(max(f.n(1), 1))
		to = asked + min(extra, 2*blockSize) // entries to come, if the log is not that long
		again = extra - (to - asked)
	}
	a.body = append(a.body, []byte(`{"entries":[`))
	altered := d.altersEntries()
	for i := from; i < to; {
		n := i / blockSize
		stop := min(to, (n+1)*blockSize)
		if altered {
			stop = i + 1
		}
		if altered {
			e := l.entryUnder(d, i, from)
			one, _ := l.appendEntry(nil, nil, &e, i)
			a.body = append(a.body, one)
		} else {
			p := l.pages.get(n)
			a.body = append(a.body, p.json[p.off[i%blockSize]:p.off[(stop-1)%blockSize+1]-1])
		}
		if i = stop; i < to {
			a.body = append(a.body, []byte{','})
		}
	}
	for whole := a.body[1:]; again > 0; again -= min(again, to-from) {
		// A multiple of what is there, so that no memory is needed for it.
		a.body = append(append(a.body, []byte{','}), whole...)
	}
	a.body = append(a.body, []byte(`]}`))
	return a
}

type proofs [][]byte

func (l *Log) proof(hashes [][32]byte, d drawn) proofs {
	out := proofs{} // never null
	for _, h := range hashes {
		out = append(out, append([]byte(nil), h[:]...))
	}
	if _, ok := d[CorruptHash]; ok && len(out) > 0 {
		out[0][0] ^= 1
	}
	return out
}

func (l *Log) getEntryAndProof(q url.Values, d drawn) answer {
	i, err := number(q, "leaf_index")
	n, err2 := number(q, "tree_size")
	t := l.snapshot()
	if err != nil || err2 != nil || i >= n || n > t.size() {
		return text(http.StatusBadRequest, fmt.Sprintf("want leaf_index < tree_size ≤ %d", t.size()))
	}
	e := l.corpus.Entry(i)
	return asJSON(map[string]any{"leaf_input": e.appendLeaf(nil, RFC6962, i), "extra_data": e.appendExtra(nil, l.corpus.h), "audit_path": l.proof(t.inclusion(i, n), d)})
}

func (l *Log) getProofByHash(q url.Values, d drawn) answer {
	h, err := base64.StdEncoding.DecodeString(q.Get("hash"))
	n, err2 := number(q, "tree_size")
	t := l.snapshot()
	if err != nil || err2 != nil || len(h) != 32 || n == 0 || n > t.size() {
		return text(http.StatusBadRequest, fmt.Sprintf("want hash (32 bytes, base64) and tree_size between 1 and %d", t.size()))
	}
	for i, leaf := range t.levels[0][:n] {
		if leaf == [32]byte(h) {
			return asJSON(map[string]any{"leaf_index": i, "audit_path": l.proof(t.inclusion(uint64(i), n), d)})
		}
	}
	return text(http.StatusNotFound, "hash not found")
}

func (l *Log) getConsistency(q url.Values, d drawn) answer {
	m, err := number(q, "first")
	n, err2 := number(q, "second")
	t := l.snapshot()
	if err != nil || err2 != nil || m > n || n > t.size() {
		return text(http.StatusBadRequest, fmt.Sprintf("want first ≤ second ≤ %d", t.size()))
	}
	var p [][32]byte
	if m > 0 && m < n {
		p = t.consistency(m, n)
	}
	return asJSON(map[string]any{"consistency": l.proof(p, d)})
}

func (l *Log) getRoots() answer {
	var roots [][]byte
	for _, i := range l.corpus.h.roots {
		roots = append(roots, l.corpus.h.certs[i])
	}
	return asJSON(map[string]any{"certificates": roots})
}
