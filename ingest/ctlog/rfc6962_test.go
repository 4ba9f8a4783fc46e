package ctlog

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

func TestEntriesCopyTheLog(t *testing.T) {
	for _, aligned := range []bool{false, true} {
		for _, page := range []int{1, 7, 32, 256} {
			t.Run(fmt.Sprintf("cap %d, aligned %v", page, aligned), func(t *testing.T) {
				l := newFakeLog(t, 600, false)
				l.page, l.aligned = page, aligned
				p := &recorder{}
				c := l.open(t, RFC6962, Options{Pacer: p})
				h, err := c.Head(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				var f Frontier
				for next := uint64(0); next < h.Size; {
					end, ok := c.Plan(next, h.Size, h.Size, true)
					if !ok || end <= next || end > h.Size {
						t.Fatalf("planned [%d,%d), %v", next, end, ok)
					}
					b, err := c.Entries(t.Context(), next, end, h.Size)
					if err != nil {
						t.Fatal(err)
					}
					l.check(t, b, int(next), len(b.Entries))
					for _, e := range b.Entries {
						f.Append(LeafHash(e.Leaf), nil)
					}
					next += uint64(len(b.Entries))
				}
				if f.Size() != h.Size || f.Root() != h.Root {
					t.Errorf("size %d, root %x", f.Size(), f.Root())
				}
				if _, n := p.last(); n > 1+(600+page-1)/page+2 {
					t.Errorf("%d requests for 600 entries of %d each", n, page)
				}
				if _, ok := c.Plan(h.Size, h.Size+10, h.Size, true); ok {
					t.Error("planned beyond the tree")
				}
			})
		}
	}
}

// TestPlanLearnsPages plays the pager against a cap, from places that are not aligned.
func TestPlanLearnsPages(t *testing.T) {
	for _, c := range []struct {
		name    string
		limit   uint64
		aligned bool
		from    uint64
	}{
		{"CTFE", 256, true, 100},
		{"CTFE at a bad place", 256, true, 255},
		{"CTFE from 0", 256, true, 0},
		{"32", 32, false, 1111014090},
		{"1000", 1000, false, 12345},
		{"all that is asked", 5000, false, 77},
	} {
		p := newPager(1024)
		const treeSize = 1 << 40
		next, requests := c.from, uint64(0)
		serve := func() uint64 {
			end := p.plan(next, treeSize)
			asked := end - next
			got := min(asked, c.limit)
			if c.aligned && asked >= c.limit {
				got = min(asked, c.limit-next%c.limit)
			}
			p.answered(next, asked, got, false)
			next += got
			requests++
			return asked
		}
		for range 5 {
			serve()
		}
		// From here on each request asks for what it gets, but for the trials.
		start, over := next, 0
		for range 10_000 {
			if asked := serve(); asked > min(c.limit, 1024) {
				over++
			}
		}
		if got, want := next-start, 10_000*min(c.limit, 1024); got < want*99/100 {
			t.Errorf("%s: %d entries in 10,000 requests, want %d", c.name, got, want)
		}
		if over > 20 {
			t.Errorf("%s: asked for more than the cap %d times", c.name, over)
		}
	}
}

func TestPlanForgetsOldCaps(t *testing.T) {
	p := newPager(1024)
	next := uint64(0)
	serve := func(limit uint64) {
		asked := p.plan(next, 1<<40) - next
		got := min(asked, limit)
		p.answered(next, asked, got, false)
		next += got
	}
	for range 100 {
		serve(32)
	}
	if p.page != 32 {
		t.Fatalf("page %d after a cap of 32", p.page)
	}
	for range 400 {
		serve(512)
	}
	if p.page != 512 {
		t.Errorf("page %d, want 512: the cap was raised", p.page)
	}
	for range 10 {
		serve(256)
	}
	if p.page != 256 {
		t.Errorf("page %d, want 256: the cap was lowered", p.page)
	}
}

// TestPlanIsNotFooledByTheTail: answers are short where the log ends, or where
// a frontend lags, and mean nothing.
func TestPlanIsNotFooledByTheTail(t *testing.T) {
	p := newPager(1024)
	for i := range uint64(50) {
		p.answered(1000+i, 2, 1, true) // the head says 2 more, the frontend has 1
	}
	p.answered(5000, 1000, 17, false)
	p.answered(5017, 983, 200, false)
	p.answered(5217, 783, 4, false)
	p.answered(5221, 779, 779, false)
	if p.page != 1024 {
		t.Errorf("page %d, want 1024", p.page)
	}
}

func TestTailAnswers(t *testing.T) {
	l := newFakeLog(t, 20, false)
	p := &recorder{}
	c := l.open(t, RFC6962, Options{Pacer: p})

	// The head is ahead of the frontend that answers.
	_, err := c.Entries(t.Context(), 20, 25, 25)
	s, ok := errors.AsType[*StatusError](err)
	if !errors.Is(err, ErrNotYet) || !ok || s.Code != 400 || !strings.Contains(s.Excerpt, "need tree size") {
		t.Errorf("%v, want ErrNotYet with the status", err)
	}
	if o, _ := p.last(); o.Status != 400 || o.Err != nil {
		t.Errorf("outcome %+v", o)
	}
	for _, body := range []string{`{"entries":[]}`, `{"entries":null}`} {
		l.set("ct/v1/get-entries", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, body) })
		if _, err := c.Entries(t.Context(), 5, 25, 25); !errors.Is(err, ErrNotYet) {
			t.Errorf("%s: %v, want ErrNotYet", body, err)
		}
		if o, _ := p.last(); o.Status != 200 || o.Err != nil {
			t.Errorf("outcome %+v", o)
		}
	}
	l.set("ct/v1/get-entries", func(w http.ResponseWriter, r *http.Request) { http.Error(w, "x", http.StatusServiceUnavailable) })
	if _, err := c.Entries(t.Context(), 5, 25, 25); errors.Is(err, ErrNotYet) {
		t.Errorf("503 is not ErrNotYet: %v", err)
	}
	for _, r := range [][3]uint64{{5, 5, 20}, {6, 5, 20}, {0, 21, 20}, {0, 1 << 63, 1 << 63}} {
		l.seen()
		if _, err := c.Entries(t.Context(), r[0], r[1], r[2]); err == nil || len(l.seen()) != 0 {
			t.Errorf("%v: %v", r, err)
		}
	}
}

// TestInclusiveEnd: RFC 6962 counts the end in.
func TestInclusiveEnd(t *testing.T) {
	l := newFakeLog(t, 20, false)
	c := l.open(t, RFC6962, Options{})
	b, err := c.Entries(t.Context(), 3, 4, 20)
	if err != nil {
		t.Fatal(err)
	}
	l.check(t, b, 3, 1)
	if got := l.seen(); len(got) != 1 || got[0] != "ct/v1/get-entries?start=3&end=3" {
		t.Errorf("asked for %v", got)
	}
}

func TestMoreEntriesThanAsked(t *testing.T) {
	l := newFakeLog(t, 20, false)
	c := l.open(t, RFC6962, Options{})
	l.set("ct/v1/get-entries", func(w http.ResponseWriter, r *http.Request) { w.Write(l.entriesJSON(3, 8)) })
	for n := uint64(1); n <= 6; n++ {
		_, err := c.Entries(t.Context(), 3, 3+n, 20)
		if _, ok := errors.AsType[*AnswerError](err); ok != (n < 5) {
			t.Errorf("asked for %d, got 5: %v", n, err)
		}
	}
}

func TestMalformedEntries(t *testing.T) {
	l := newFakeLog(t, 20, false)
	c := l.open(t, RFC6962, Options{})
	for _, body := range []string{
		``, `null`, `[]`, `5`, `{}`, `{"entries":{}}`, `{"entries":5}`, `{"entries":[5]}`, `{"entries":[null]}`, `{"entries":[{}]}`,
		`{"entries":[{"leaf_input":null,"extra_data":""}]}`,
		`{"entries":[{"leaf_input":"AA","extra_data":""}]}`,
		`{"entries":[{"leaf_input":"A===","extra_data":""}]}`,
		`{"entries":[{"leaf_input":"AAAA","extra_data":"!"}]}`,
		`{"entries":[{"leaf_input":"AAAA"`,
		`{"entries":[{"leaf_input":"AAAA","extra_data":""}]`,
		`{"entries":[{"leaf_input":"AAAA","extra_data":""}]}]`,
		`{"entries":[{"leaf_input":"AAAA","extra_data":""}]}{}`,
		`{"entries":[{"leaf_input":"AAAA","extra_data":""},]}`,
		`{"entries":[{"leaf_input":"AAAA","extra_data":""}],"entries":[]}`,
		`{"entries":[{"leaf_input":"AAAA","extra_data":"` + "\n" + `"}]}`,
	} {
		l.set("ct/v1/get-entries", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, body) })
		_, err := c.Entries(t.Context(), 0, 10, 20)
		if _, ok := errors.AsType[*AnswerError](err); !ok {
			t.Errorf("%s: %v, want an *AnswerError", body, err)
		}
	}
}

// TestOddJSON: other ways to write the same answer.
func TestOddJSON(t *testing.T) {
	l := newFakeLog(t, 3, false)
	c := l.open(t, RFC6962, Options{})
	var v map[string][]map[string]string
	if err := json.Unmarshal(l.entriesJSON(0, 3), &v); err != nil {
		t.Fatal(err)
	}
	indented, _ := json.MarshalIndent(v, "", "\t") // members in the other order
	var others []string
	for _, e := range v["entries"] {
		others = append(others, fmt.Sprintf(`{"sct":{"a":[1,"]}"]},"leaf_input":"%s","extra_data":"%s"}`,
			strings.ReplaceAll(e["leaf_input"], "/", `\/`), strings.ReplaceAll(e["extra_data"], "A", `\u0041`)))
	}
	for name, body := range map[string]string{
		"indented": string(indented),
		"escaped":  `{"next":{"entries":5},"entries" : [` + strings.Join(others, " ,\n") + `], "more":null}` + "\n\n",
	} {
		l.set("ct/v1/get-entries", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, body) })
		b, err := c.Entries(t.Context(), 0, 3, 3)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		l.check(t, b, 0, 3)
	}
}

// TestOversizedAnswers: entries so large that a page of them is too much.
func TestOversizedAnswers(t *testing.T) {
	l := newFakeLog(t, 64, false)
	for i := range l.chain {
		l.chain[i][0] = bytes.Repeat([]byte{'c'}, 10_000)
	}
	p := &recorder{}
	c := l.open(t, RFC6962, Options{Pacer: p, MaxBody: 100_000}) // 13.5 kB each: 7 fit
	next := uint64(0)
	for next < 64 {
		end, _ := c.Plan(next, 64, 64, true)
		b, err := c.Entries(t.Context(), next, end, 64)
		if err != nil {
			t.Fatal(err)
		}
		l.check(t, b, int(next), len(b.Entries))
		next += uint64(len(b.Entries))
	}
	// 64, 32, 16, 8 were too many; then 16 requests of 4.
	if _, n := p.last(); n != 4+16 {
		t.Errorf("%d requests, want 20", n)
	}
	// A single entry beyond the limit cannot be had.
	c = l.open(t, RFC6962, Options{Pacer: p, MaxBody: 5000})
	l.seen()
	if _, err := c.Entries(t.Context(), 0, 64, 64); !errors.Is(err, ErrTooLarge) {
		t.Errorf("%v, want ErrTooLarge", err)
	}
	if got := l.seen(); len(got) != 7 || got[6] != "ct/v1/get-entries?start=0&end=0" {
		t.Errorf("asked for %v", got)
	}
}

// TestExtraData: what a log sends beside the leaf is no reason to refuse the leaf.
func TestExtraData(t *testing.T) {
	l := newFakeLog(t, 3, false)
	unknown := append([]byte{0, 0}, make([]byte, 8)...)
	unknown = append(unknown, 0x12, 0x34, 'w', 'h', 'o')
	chain := func(certs ...string) []byte {
		var b []byte
		for _, c := range certs {
			b = vec24(b, []byte(c))
		}
		return vec24(nil, b)
	}
	many := make([]string, maxChain+1)
	for i := range many {
		many[i] = "c"
	}
	for name, c := range map[string]struct {
		leaf, extra []byte
		kept        bool // as Extra
		certs       int
	}{
		"x509":               {l.leaves[0], chain("a", "b"), false, 2},
		"x509, no chain":     {l.leaves[0], chain(), false, 0},
		"longest chain":      {l.leaves[0], chain(many[1:]...), false, maxChain},
		"precert":            {l.leaves[2], append(vec24(nil, []byte("pre")), chain("a")...), false, 1},
		"precert, nothing":   {l.leaves[2], []byte{}, true, 0},
		"x509 as precert":    {l.leaves[2], chain("a"), true, 0},
		"precert as x509":    {l.leaves[0], append(vec24(nil, []byte("pre")), chain("a")...), true, 0},
		"unknown entry type": {unknown, chain("a"), true, 0},
		"unknown version":    {append([]byte{1}, l.leaves[0][1:]...), chain("a"), true, 0},
		"leaf malformed":     {l.leaves[0][:20], chain("a"), true, 0},
		"chain cut":          {l.leaves[0], chain("a", "b")[:7], true, 0},
		"chain too short":    {l.leaves[0], append(chain("a"), 0), true, 0},
		"inner length":       {l.leaves[0], vec24(nil, []byte{0, 0, 9, 'x'}), true, 0},
		"huge inner length":  {l.leaves[0], []byte{0, 0, 3, 0xff, 0xff, 0xff}, true, 0},
		"huge outer length":  {l.leaves[0], []byte{0xff, 0xff, 0xff}, true, 0},
		"empty certificate":  {l.leaves[0], chain(""), true, 0},
		"chain too long":     {l.leaves[0], chain(many...), true, 0},
	} {
		cc := newChainCache()
		for _, again := range []bool{false, true} { // the second time out of the cache
			e := Entry{Leaf: c.leaf}
			cc.setExtra(&e, c.extra)
			if c.kept != (e.Extra != nil) || len(e.Chain) != c.certs || (c.kept && e.Precert != nil) || (c.kept && !bytes.Equal(e.Extra, c.extra)) {
				t.Errorf("%s (again: %v): %+v", name, again, e)
			}
		}
	}
}

func TestChainCacheIsBounded(t *testing.T) {
	cc := newChainCache()
	for i := range 5 * maxCachedChains {
		raw := vec24(nil, []byte(fmt.Sprint("certificate ", i)))
		c, ok := cc.get(raw)
		if !ok || c.hashes[0] != sha256.Sum256(raw[3:]) {
			t.Fatalf("chain %d is wrong", i)
		}
		if again, _ := cc.get(raw); again != c {
			t.Fatalf("chain %d was not remembered", i)
		}
		clear(raw) // the cache keeps its own bytes
		if c.hashes[0] != sha256.Sum256(c.certs[0]) {
			t.Fatalf("chain %d changed", i)
		}
	}
	if len(cc.chains) > maxCachedChains {
		t.Errorf("%d chains", len(cc.chains))
	}
	// Two chains whose hashes collide are still two.
	a, b := vec24(nil, []byte("a")), vec24(nil, []byte("b"))
	ca, _ := cc.get(a)
	cc.chains[maphash.Bytes(cc.seed, b)] = ca
	if cb, ok := cc.get(b); !ok || cb == ca || cb.hashes[0] != sha256.Sum256([]byte("b")) {
		t.Error("took one chain for another")
	}
	big := vec24(nil, make([]byte, maxChainCached-100))
	for i := range 4 * maxCachedBytes / len(big) {
		big[10] = byte(i)
		big[11] = byte(i >> 8)
		cc.get(big)
	}
	if len(cc.chains) > maxCachedChains || cc.bytes > maxCachedBytes {
		t.Errorf("%d chains, %d bytes", len(cc.chains), cc.bytes)
	}
	if c, ok := cc.get(vec24(nil, make([]byte, 2*maxChainCached))); !ok || len(c.hashes) != 1 {
		t.Error("a long chain was refused")
	}
	if got := len(cc.chains); got > maxCachedChains {
		t.Error(got)
	}
}

func TestRFC6962Frontier(t *testing.T) {
	l := newFakeLog(t, 70, false)
	p := &recorder{}
	c := l.open(t, RFC6962, Options{Pacer: p})
	var want Frontier
	for size := uint64(0); size <= 70; size++ {
		for _, headSize := range []int{int(size), int(size) + 1, 64, 70} {
			if headSize < int(size) || headSize > 70 {
				continue
			}
			_, before := p.last()
			f, err := c.Frontier(t.Context(), size, &Head{Size: uint64(headSize), Root: mth(l.hashes[:headSize])})
			if err != nil {
				t.Fatalf("size %d, head %d: %v", size, headSize, err)
			}
			if !f.Equal(&want) {
				t.Fatalf("size %d, head %d: not the frontier", size, headSize)
			}
			requests := 2
			if size == 0 {
				requests = 0
			} else if int(size) == headSize {
				requests = 1
			}
			if _, n := p.last(); n-before != requests {
				t.Errorf("size %d, head %d: %d requests, want %d", size, headSize, n-before, requests)
			}
			if size > 0 && p.classes[len(p.classes)-1] != ClassProof {
				t.Error("a proof is not of its class")
			}
		}
		if size < 70 {
			want.Append(l.hashes[size], nil)
		}
	}
	l.seen()
	if _, err := c.Frontier(t.Context(), 71, &Head{Size: 70}); err == nil || len(l.seen()) != 0 {
		t.Errorf("a frontier beyond the head: %v", err)
	}
}

// TestRFC6962FrontierIsProven: a log that lies in any of its answers.
func TestRFC6962FrontierIsProven(t *testing.T) {
	l := newFakeLog(t, 70, false)
	c := l.open(t, RFC6962, Options{})
	answer := func(v any) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) { json.NewEncoder(w).Encode(v) }
	}
	audit := func(size int, f func(leaf *[]byte, p *[][]byte)) http.HandlerFunc {
		leaf, p := bytes.Clone(l.leaves[size-1]), slices32(path(size-1, l.hashes[:size]))
		f(&leaf, &p)
		return answer(map[string]any{"leaf_input": leaf, "audit_path": p})
	}
	for _, size := range []int{44, 64} {
		for _, headSize := range []int{size, 70} {
			head := &Head{Size: uint64(headSize), Root: mth(l.hashes[:headSize])}
			for name, c2 := range map[string]struct {
				proof, consistency http.HandlerFunc
				answer             bool // an *AnswerError: not even of the right form
			}{
				"other leaf":       {proof: audit(size, func(leaf *[]byte, _ *[][]byte) { (*leaf)[20] ^= 1 })},
				"other first node": {proof: audit(size, func(_ *[]byte, p *[][]byte) { (*p)[0] = make([]byte, 32) })},
				"other last node":  {proof: audit(size, func(_ *[]byte, p *[][]byte) { (*p)[len(*p)-1] = make([]byte, 32) })},
				"node less":        {proof: audit(size, func(_ *[]byte, p *[][]byte) { *p = (*p)[1:] }), answer: true},
				"node more":        {proof: audit(size, func(_ *[]byte, p *[][]byte) { *p = append(*p, make([]byte, 32)) }), answer: true},
				"short node":       {proof: audit(size, func(_ *[]byte, p *[][]byte) { (*p)[0] = (*p)[0][:31] }), answer: true},
				"no leaf":          {proof: answer(map[string]any{"audit_path": slices32(path(size-1, l.hashes[:size]))}), answer: true},
				"no proof":         {consistency: answer(map[string]any{"consistency": [][]byte{}})},
				"another proof":    {consistency: answer(map[string]any{"consistency": slices32(consistency(33, l.hashes, true))})},
				"short hash":       {consistency: answer(map[string]any{"consistency": [][]byte{make([]byte, 31)}}), answer: true},
			} {
				if c2.consistency != nil && size == headSize {
					continue
				}
				l.set("ct/v1/get-entry-and-proof", c2.proof)
				l.set("ct/v1/get-sth-consistency", c2.consistency)
				f, err := c.Frontier(t.Context(), uint64(size), head)
				_, isAnswer := errors.AsType[*AnswerError](err)
				_, isVerify := errors.AsType[*VerifyError](err)
				if f != nil || isAnswer != c2.answer || isVerify == c2.answer {
					t.Errorf("%d of %d, %s: %v", size, headSize, name, err)
				}
			}
		}
	}
	// Honest answers do not lead to another head.
	l.override = map[string]http.HandlerFunc{}
	for _, size := range []uint64{64, 70} {
		if _, err := c.Frontier(t.Context(), size, &Head{Size: 70, Root: Hash{1}}); err == nil {
			t.Errorf("size %d: proven from a root that is not the log's", size)
		}
	}
}

func TestRFC6962HasNoIssuers(t *testing.T) {
	l := newFakeLog(t, 1, false)
	if _, err := l.open(t, RFC6962, Options{}).Issuer(t.Context(), Hash{}); !errors.Is(err, ErrNoIssuers) {
		t.Error(err)
	}
}

// TestCapturedRFC6962 reads the answers of a real Trillian and CTFE.
func TestCapturedRFC6962(t *testing.T) {
	dir := "captured-local/rfc6962/"
	files := map[string][]byte{}
	for name, file := range map[string]string{
		"/ct/v1/get-sth":                                     "get-sth.json",
		"/ct/v1/get-entries?start=0&end=9":                   "get-entries-0-9.json",
		"/ct/v1/get-entries?start=54300&end=54360":           "get-entries-54300-tail.json",
		"/ct/v1/get-sth-consistency?first=1000&second=54361": "get-sth-consistency-1000-54361.json",
	} {
		files[name] = dataFile(t, dir+file)
	}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, ok := files[r.URL.RequestURI()]
		if !ok {
			http.Error(w, "not captured: "+r.URL.RequestURI(), http.StatusNotFound)
		}
		w.Write(b)
	}))
	defer srv.Close()
	c, err := New(Info{Key: dataFile(t, dir+"pub.der"), URL: srv.URL}, Options{UserAgent: testUA, AllowPrivate: true})
	if err != nil {
		t.Fatal(err)
	}
	h, err := c.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	issuers := map[Hash]bool{}
	var roots struct {
		Certificates [][]byte `json:"certificates"`
	}
	if err := json.Unmarshal(dataFile(t, dir+"get-roots.json"), &roots); err != nil {
		t.Fatal(err)
	}
	accepted := map[Hash]bool{}
	for _, der := range roots.Certificates {
		accepted[sha256.Sum256(der)] = true
	}
	for _, r := range [][2]uint64{{0, 10}, {54300, h.Size}} {
		b, err := c.Entries(t.Context(), r[0], r[1], h.Size)
		if err != nil {
			t.Fatal(err)
		}
		if uint64(len(b.Entries)) != r[1]-r[0] {
			t.Fatalf("%d entries of %v", len(b.Entries), r)
		}
		for i, e := range b.Entries {
			leaf, err := ParseLeaf(e.Leaf)
			if err != nil || e.Extra != nil || (leaf.EntryType == PrecertEntry) != (e.Precert != nil) || len(e.Chain) == 0 {
				t.Fatalf("entry %d: %v, %+v", b.From+uint64(i), err, leaf)
			}
			if last := e.Chain[len(e.Chain)-1]; !accepted[last] {
				t.Errorf("entry %d: its chain ends in %x, which get-roots does not list", b.From+uint64(i), last)
			}
			for _, h := range e.Chain {
				if sha256.Sum256(b.Issuers[h]) != h {
					t.Fatalf("issuer %x is missing or wrong", h)
				}
				issuers[h] = true
			}
		}
	}
	t.Logf("%d distinct chain certificates", len(issuers))
	// The captured consistency proof ends at the signed root whatever the old
	// root is; that the second half holds is what we can check of it.
	nodes, err := c.(*rfc6962Log).consistency(t.Context(), 1000, h.Size)
	if err != nil || len(nodes) == 0 {
		t.Fatal(err)
	}
}

func TestRealEntries(t *testing.T) {
	for _, name := range []string{"get-entries-Google--Argon2026h2-from-1111014090.json", "get-entries-Cloudflare--Nimbus2026-from-4354630040.json"} {
		body := dataFile(t, "rfc6962/"+name)
		if texts, ok := scanEntries(body, 1000); !ok || len(texts) != 20 {
			t.Errorf("%s: %d entries the fast way, %v", name, len(texts), ok)
		}
		pairs, err := decodePairs(body, 1000)
		if err != nil || len(pairs) != 20 {
			t.Fatalf("%s: %d entries, %v", name, len(pairs), err)
		}
		entries, _, err := decodeEntries(body, 1000, newChainCache(), nil)
		if err != nil || len(entries) != 20 {
			t.Fatalf("%s: %d entries, %v", name, len(entries), err)
		}
		var v struct {
			Entries []struct{ Leaf_input, Extra_data string }
		}
		if err := json.Unmarshal(body, &v); err != nil {
			t.Fatal(err)
		}
		cc := newChainCache()
		for i, p := range pairs {
			e := Entry{Leaf: p.leaf}
			if !bytes.Equal(entries[i].Leaf, p.leaf) {
				t.Errorf("%s: entry %d differs between both ways", name, i)
			}
			if c := cc.setExtra(&e, p.extra); c == nil || len(e.Chain) == 0 || e.Extra != nil {
				t.Errorf("%s: entry %d has no chain", name, i)
			}
			if base64.StdEncoding.EncodeToString(p.leaf) != v.Entries[i].Leaf_input || base64.StdEncoding.EncodeToString(p.extra) != v.Entries[i].Extra_data {
				t.Errorf("%s: entry %d is not as sent", name, i)
			}
		}
	}
}

// TestBatchesOwnTheirBytes: the memory of an answer is used for the next one;
// batches must not notice, nor requests that run at the same time.
func TestBatchesOwnTheirBytes(t *testing.T) {
	l := newFakeLog(t, 512, false)
	for i := range l.leaves { // some extra_data stays undecoded
		if i%7 == 0 {
			l.chain[i] = [][]byte{{}, []byte(fmt.Sprint("kept ", i))}
		}
	}
	for _, kind := range []Kind{RFC6962, Static} {
		c := l.open(t, kind, Options{AllowNoIndex: true})
		var wg sync.WaitGroup
		for g := range 8 {
			wg.Go(func() {
				var batches []*Batch
				for n := range 8 {
					from := uint64((g*8+n)*97) % 500
					b, err := c.Entries(t.Context(), from, min(from+uint64(5+n), 512), 512)
					if err != nil {
						t.Error(err)
						return
					}
					batches = append(batches, b)
				}
				for _, b := range batches {
					for i, e := range b.Entries {
						j := int(b.From) + i
						if !bytes.Equal(e.Leaf, l.leaves[j]) {
							t.Errorf("%v, entry %d: leaf changed", kind, j)
						}
						if kind == RFC6962 && j%7 == 0 {
							if !bytes.Equal(e.Extra, l.extra(j)) {
								t.Errorf("entry %d: extra_data changed", j)
							}
						} else if !bytes.Equal(e.Precert, l.precert[j]) {
							t.Errorf("%v, entry %d: precertificate changed", kind, j)
						}
					}
				}
			})
		}
		wg.Wait()
	}
}
