package ctlogtest

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"time"
)

// altersEntries reports whether a drawn fault changes entries.
func (d drawn) altersEntries() bool {
	for _, m := range []Mode{CorruptEntry, SwapEntries, LeafVersion, EntryType, CorruptChain} {
		if _, ok := d[m]; ok {
			return true
		}
	}
	return false
}

// entryUnder returns what stands at index i in an answer that begins at from.
// The index of a static log's leaf is that of its place, whatever stands there.
func (l *Log) entryUnder(d drawn, i, from uint64) Entry {
	at := i
	if f, ok := d[SwapEntries]; ok {
		at = f.swapped(i, from)
	}
	e := l.corpus.Entry(at)
	if f, ok := d[CorruptEntry]; ok && f.strikes(i, from) {
		e = alter(e)
	}
	if f, ok := d[LeafVersion]; ok && f.strikes(i, from) {
		e.version = 1 // v2: v1 is 0
	}
	if f, ok := d[EntryType]; ok && f.strikes(i, from) {
		e.entryType = 0x8001
	}
	if f, ok := d[CorruptChain]; ok && f.strikes(i, from) {
		e.wrongChain = true
	}
	return e
}

// swapped returns the place whose entry stands at i.
func (f Fault) swapped(i, from uint64) uint64 {
	first, end := f.From, f.To
	if f.To == 0 {
		first, end = from, from+2
	}
	if i < first || i >= end {
		return i
	}
	if (i-first)%2 == 1 {
		return i - 1
	}
	if i+1 < end {
		return i + 1
	}
	return i
}

// strikes reports whether entry i is one that a CorruptEntry fault alters in
// an answer that begins at from.
func (f Fault) strikes(i, from uint64) bool {
	if f.To == 0 {
		return i == from
	}
	return f.From <= i && i < f.To
}

// alter changes an entry so that it still decodes but hashes to something
// else: the last byte of a certificate is in its signature, that of a TBS in
// its last extension.
func alter(e Entry) Entry {
	e.Body = append([]byte(nil), e.Body...)
	if n := len(e.Body); n > 0 {
		e.Body[n-1] ^= 1
	}
	return e
}

// tamper changes an answer's text.
func (l *Log) tamper(a answer, d drawn) answer {
	if f, ok := d[OddSize]; ok {
		size, _, _ := l.Head()
		old, odd := fmt.Sprint(size), f.Text
		a.body = [][]byte{replaceOne(bytes.Join(a.body, nil), `"tree_size":`+old+",", `"tree_size":`+odd+",", "\n"+old+"\n", "\n"+odd+"\n")}
	}
	if _, ok := d[TwiceKeys]; ok {
		a.body = [][]byte{replaceOne(bytes.Join(a.body, nil), `{"tree_size":`, `{"tree_size":1,"sha256_root_hash":"AAAA","tree_size":`,
			`{"leaf_input":`, `{"leaf_input":"AAAA","leaf_input":`, `{"consistency":`, `{"consistency":["AAAA"],"consistency":`)}
	}
	if _, ok := d[BadBase64]; ok {
		whole := bytes.Clone(bytes.Join(a.body, nil))
		for _, before := range []string{`"leaf_input":"`, `"sha256_root_hash":"`, `"consistency":["`, `"audit_path":["`, fmt.Sprintf("\n%d\n", l.Size())} {
			if at := bytes.Index(whole, []byte(before)); at >= 0 {
				whole[at+len(before)+3] = '!'
				break
			}
		}
		a.body = [][]byte{whole}
	}
	return a
}

// replaceOne replaces the first of the pairs that is there, once.
func replaceOne(b []byte, pairs ...string) []byte {
	for i := 0; i < len(pairs); i += 2 {
		if bytes.Contains(b, []byte(pairs[i])) {
			return bytes.Replace(b, []byte(pairs[i]), []byte(pairs[i+1]), 1)
		}
	}
	return b
}

// sendSlowHeader sends a header that does not end. Without a connection of its
// own it sends nothing for as long.
func sendSlowHeader(w http.ResponseWriter, ctx context.Context, every time.Duration) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err == nil {
		defer conn.Close()
		for _, c := range []byte("HTTP/1.1 200 OK\r\n") {
			if _, err := conn.Write([]byte{c}); err != nil || !pause(ctx, every) {
				return
			}
		}
	}
	for i := 0; pause(ctx, every); i++ {
		if conn == nil {
			continue
		}
		if _, err := fmt.Fprintf(conn, "X-%d: 1\r\n", i); err != nil {
			return
		}
	}
}
