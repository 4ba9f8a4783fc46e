package ctlogtest

import (
	"bytes"
	"compress/gzip"
	"context"
	stdx509 "crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	ct "github.com/google/certificate-transparency-go"
	"golang.org/x/mod/sumdb/note"
)

const (
	entriesPath = "/ct/v1/get-entries?start=0&end=9"
	tilePath0   = "/tile/data/000"
)

// faultPair is a log of each kind over the same entries, with clients.
type faultPair struct {
	rfc, static   *Log
	rfcC, staticC *testClient
}

func newFaultPair(t *testing.T) *faultPair {
	t.Helper()
	p := &faultPair{rfc: newTestLog(t, Options{Seed: 1, Size: 300})}
	p.static = newTestLog(t, Options{Seed: 1, Size: 300, Kind: Static, Corpus: p.rfc.Corpus()})
	p.rfcC, p.staticC = serveLog(t, p.rfc), serveLog(t, p.static)
	return p
}

func arm(t *testing.T, l *Log, f ...Fault) {
	t.Helper()
	if err := l.Faults().Set(f...); err != nil {
		t.Fatal(err)
	}
}

// struck wants each mode to have struck at least once since the log was made.
func struck(t *testing.T, l *Log, modes ...Mode) {
	t.Helper()
	for _, m := range modes {
		if l.Faults().Fired()[m] == 0 {
			t.Errorf("%s never struck", m)
		}
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	p := newFaultPair(t)
	l, c := p.rfc, p.rfcC
	for spelling, good := range map[string]func(string) bool{
		RetryNone:    func(s string) bool { return s == "" },
		RetrySeconds: func(s string) bool { return s == "2" },
		RetryDate:    func(s string) bool { _, err := http.ParseTime(s); return err == nil },
		RetryUTC:     func(s string) bool { _, err := http.ParseTime(s); return err != nil && strings.HasSuffix(s, " UTC") },
		RetryJunk:    func(s string) bool { return s == "soon" },
		"1.5":        func(s string) bool { return s == "1.5" },
	} {
		arm(t, l, Fault{Mode: Status, Status: 429, RetryAfter: spelling, RetryIn: 2 * time.Second})
		resp, _, err := c.get(entriesPath)
		if err != nil || resp.StatusCode != 429 || !good(resp.Header.Get("Retry-After")) {
			t.Errorf("%q: %v %v", spelling, resp, err)
		}
	}
	arm(t, l, Fault{Mode: Status, On: ClassHead})
	c.must("/ct/v1/get-sth", 503)
	c.must(entriesPath, 200)
	arm(t, l, Fault{Mode: HTML})
	if b := c.must(entriesPath, 200); !bytes.Contains(b, []byte("<html>")) {
		t.Errorf("%s", b)
	}
	arm(t, l, Fault{Mode: Redirect, Location: "http://127.0.0.1:1/elsewhere"})
	if resp, _, err := c.get(entriesPath); err != nil || resp.StatusCode != 302 || resp.Header.Get("Location") != "http://127.0.0.1:1/elsewhere" {
		t.Errorf("%v %v", resp, err)
	}
	arm(t, l, Fault{Mode: Redirect, Count: 1})
	resp, _, err := c.get(entriesPath)
	if err != nil || resp.StatusCode != 302 {
		t.Fatalf("%v %v", resp, err)
	}
	c.must(resp.Header.Get("Location"), 200)
	arm(t, l, Fault{Mode: Missing})
	c.must(entriesPath, 404)
	if got := l.Stats(); got.Refused != 6 || got.Served != 20 {
		t.Errorf("%d refused, %d served, want 6 and 20", got.Refused, got.Served)
	}
	struck(t, l, Status, HTML, Redirect, Missing)
}

func TestBrokenBodies(t *testing.T) {
	t.Parallel()
	p := newFaultPair(t)
	for _, x := range []struct {
		l    *Log
		c    *testClient
		path string
	}{{p.rfc, p.rfcC, entriesPath}, {p.static, p.staticC, tilePath0}} {
		arm(t, x.l, Fault{Mode: Reset, N: 100})
		if _, b, err := x.c.get(x.path); !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("reset: %d bytes, %v", len(b), err)
		}
		arm(t, x.l, Fault{Mode: TruncatedGzip})
		resp, b, err := x.c.get(x.path)
		if err != nil || resp.Header.Get("Content-Encoding") != "gzip" {
			t.Fatalf("%v %v", resp, err)
		}
		z, err := gzip.NewReader(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(z); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("truncated gzip: %v", err)
		}
		arm(t, x.l, Fault{Mode: GzipBomb, N: 64 << 20})
		_, b, err = x.c.get(x.path)
		if err != nil {
			t.Fatal(err)
		}
		if z, err = gzip.NewReader(bytes.NewReader(b)); err != nil {
			t.Fatal(err)
		}
		if n, err := io.Copy(io.Discard, z); n != 64<<20 || err != nil || len(b) > 100<<10 {
			t.Errorf("bomb of %d bytes unfolds to %d, %v", len(b), n, err)
		}
		arm(t, x.l, Fault{Mode: EndlessBody, N: 3 << 20})
		if _, b, err = x.c.get(x.path); err != nil || len(b) != 3<<20 {
			t.Errorf("endless body: %d bytes, %v", len(b), err)
		}
		arm(t, x.l, Fault{Mode: SlowBody, N: 4096, Delay: time.Microsecond})
		if _, b, err = x.c.get(x.path); err != nil {
			t.Errorf("slow body: %v", err)
		}
		slow := b
		arm(t, x.l, Fault{Mode: Latency, Delay: time.Millisecond})
		if _, b, err = x.c.get(x.path); err != nil || !bytes.Equal(b, slow) {
			t.Errorf("a slow body is not the body: %v", err)
		}
		arm(t, x.l)
		if _, b, err = x.c.get(x.path); err != nil || !bytes.Equal(b, slow) {
			t.Errorf("without faults: %v", err)
		}
		if s := x.l.Stats(); s.Served != 3*s.Distinct || s.Distinct == 0 {
			t.Errorf("%d served, %d distinct: broken answers must not count", s.Served, s.Distinct)
		}
		struck(t, x.l, Reset, TruncatedGzip, GzipBomb, EndlessBody, SlowBody, Latency)
	}
	arm(t, p.rfc, Fault{Mode: BadJSON})
	if b := p.rfcC.must(entriesPath, 200); json.Valid(b) {
		t.Error("half an answer is JSON")
	}
	arm(t, p.rfc, Fault{Mode: EndlessBody, N: 1 << 20})
	_, b, _ := p.rfcC.get(entriesPath)
	d := json.NewDecoder(bytes.NewReader(b))
	for range 3 { // {, "entries", [
		d.Token()
	}
	n := 0
	for ; d.More(); n++ {
		var e ct.LeafEntry
		if d.Decode(&e) != nil {
			break
		}
	}
	if n < 20 {
		t.Errorf("an endless answer holds %d entries before it is cut, want entries on and on", n)
	}
}

func TestWrongEntries(t *testing.T) {
	t.Parallel()
	p := newFaultPair(t)
	count := func(f ...Fault) (int, ct.GetEntriesResponse) {
		arm(t, p.rfc, f...)
		var a ct.GetEntriesResponse
		p.rfcC.json(entriesPath, &a)
		return len(a.Entries), a
	}
	for _, tc := range []struct {
		f    Fault
		want int
	}{
		{Fault{Mode: ShortAnswer}, 1}, {Fault{Mode: ShortAnswer, N: 4}, 4}, {Fault{Mode: EmptyAnswer}, 0},
		{Fault{Mode: ExtraEntries}, 11}, {Fault{Mode: ExtraEntries, N: 500}, 510}, {Fault{Mode: ExtraEntries, N: 512 + 522}, 10 + 512 + 522},
	} {
		if got, _ := count(tc.f); got != tc.want {
			t.Errorf("%s %d: %d entries, want %d", tc.f.Mode, tc.f.N, got, tc.want)
		}
	}
	_, a := count(Fault{Mode: CorruptEntry, From: 3, To: 5})
	for i := range a.Entries {
		e := a.Entries[i]
		same := bytes.Equal(e.LeafInput, p.rfc.Leaf(uint64(i)))
		if same == (i == 3 || i == 4) {
			t.Errorf("corrupted [3,5): entry %d is the true one: %v", i, same)
		}
		if _, err := ct.RawLogEntryFromLeaf(int64(i), &e); err != nil {
			t.Errorf("a corrupted entry does not decode: %v", err)
		}
	}
	if _, a = count(Fault{Mode: CorruptEntry}); bytes.Equal(a.Entries[0].LeafInput, p.rfc.Leaf(0)) {
		t.Error("the first entry is the true one")
	}

	tile := func(f ...Fault) []byte {
		arm(t, p.static, f...)
		return p.staticC.must(tilePath0, 200)
	}
	good := tile()
	for _, f := range []Fault{{Mode: CorruptEntry}, {Mode: CorruptEntry, From: 100, To: 101}, {Mode: CorruptIndex}} {
		if b := tile(f); len(b) != len(good) || bytes.Equal(b, good) {
			t.Errorf("%s: %d bytes, the true tile has %d", f.Mode, len(b), len(good))
		}
	}
	if b := tile(Fault{Mode: ShortAnswer, N: 3}); len(b) == 0 || !bytes.HasPrefix(good, b) || len(b) > len(good)/20 {
		t.Errorf("short tile of %d bytes", len(b))
	}
	if b := tile(Fault{Mode: EmptyAnswer}); len(b) != 0 {
		t.Errorf("empty tile of %d bytes", len(b))
	}
	if b := tile(Fault{Mode: ExtraEntries, N: 2}); !bytes.HasPrefix(b, good) || len(b) < len(good)+1000 {
		t.Errorf("tile with more of %d bytes", len(b))
	}
	if b := tile(Fault{Mode: WrongLength, N: -7}); len(b) != len(good)-7 {
		t.Errorf("cut tile of %d bytes", len(b))
	}
	if b := tile(Fault{Mode: WrongLength, N: 5}); len(b) != len(good)+5 {
		t.Errorf("long tile of %d bytes", len(b))
	}
	arm(t, p.static, Fault{Mode: WrongLength, N: -32})
	if b := p.staticC.must("/tile/0/000", 200); len(b) != 8192-32 {
		t.Errorf("cut hash tile of %d bytes", len(b))
	}
	arm(t, p.static, Fault{Mode: CorruptHash})
	h := p.static.LeafHash(255)
	if b := p.staticC.must("/tile/0/000", 200); len(b) != 8192 || bytes.Equal(b[8192-32:], h[:]) {
		t.Error("the hash tile is the true one")
	}
	arm(t, p.static, Fault{Mode: PartialGone})
	p.staticC.must("/tile/0/001.p/44", 404)
	p.staticC.must("/tile/data/001.p/44", 404)
	p.staticC.must("/tile/0/000", 200)
	arm(t, p.static)
	p.staticC.must("/tile/data/001.p/44", 200)
	name := "/issuer/" + hexOf(p.static.Corpus().h.hashes[3])
	true_ := p.staticC.must(name, 200)
	arm(t, p.static, Fault{Mode: WrongIssuer})
	other := p.staticC.must(name, 200)
	if _, err := stdx509.ParseCertificate(other); err != nil || bytes.Equal(true_, other) {
		t.Errorf("wrong issuer: %v", err)
	}
	arm(t, p.static, Fault{Mode: MissingIssuer})
	p.staticC.must(name, 404)
	struck(t, p.rfc, ShortAnswer, EmptyAnswer, ExtraEntries, CorruptEntry)
	struck(t, p.static, ShortAnswer, EmptyAnswer, ExtraEntries, CorruptEntry, CorruptIndex, CorruptHash, WrongLength, PartialGone, WrongIssuer, MissingIssuer)
}

func hexOf(h [32]byte) string {
	const digits = "0123456789abcdef"
	var b strings.Builder
	for _, c := range h {
		b.WriteByte(digits[c>>4])
		b.WriteByte(digits[c&15])
	}
	return b.String()
}

func TestWrongHeads(t *testing.T) {
	t.Parallel()
	p := newFaultPair(t)
	for mode, want := range map[Mode]struct {
		valid bool
		size  uint64
		root  bool
	}{
		RolledBack: {true, 290, false}, SplitView: {true, 300, false}, BadSignature: {false, 300, true},
		WrongKey: {false, 300, true}, Future: {true, 300, true},
	} {
		f := Fault{Mode: mode}
		if mode == RolledBack {
			f.N = 10
		}
		arm(t, p.rfc, f)
		sth, err := getSTH(t, p.rfc, p.rfcC)
		if (err == nil) != want.valid || sth.TreeSize != want.size || (sth.SHA256RootHash == ct.SHA256Hash(p.rfc.Root(300))) != want.root {
			t.Errorf("%s: %+v, %v", mode, sth, err)
		}
		if mode == RolledBack && sth.SHA256RootHash != ct.SHA256Hash(p.rfc.Root(290)) {
			t.Error("a rolled back head has a root that the log never had")
		}
		if _, _, at := p.rfc.Head(); mode == Future && sth.Timestamp != at+86_400_000 {
			t.Errorf("a head of the future at %d, the true one at %d", sth.Timestamp, at)
		}
		arm(t, p.static, f)
		b := p.staticC.must("/checkpoint", 200)
		n, err := note.Open(b, note.VerifierList(&noteVerifier{name: p.static.Origin(), l: p.static}))
		if (err == nil) != want.valid {
			t.Errorf("checkpoint %s: %v", mode, err)
		} else if root := p.static.Root(300); err == nil && strings.Contains(n.Text, base64.StdEncoding.EncodeToString(root[:])) != want.root {
			t.Errorf("checkpoint %s: %s", mode, n.Text)
		}
		struck(t, p.rfc, mode)
		struck(t, p.static, mode)
	}
	arm(t, p.static, Fault{Mode: WrongOrigin})
	if b := p.staticC.must("/checkpoint", 200); bytes.HasPrefix(b, []byte(p.static.Origin())) {
		t.Error("the origin is the true one")
	}
	arm(t, p.rfc, Fault{Mode: CorruptHash})
	var a, b ct.GetSTHConsistencyResponse
	p.rfcC.json("/ct/v1/get-sth-consistency?first=5&second=300", &a)
	arm(t, p.rfc)
	p.rfcC.json("/ct/v1/get-sth-consistency?first=5&second=300", &b)
	if bytes.Equal(a.Consistency[0], b.Consistency[0]) {
		t.Error("the proof is the true one")
	}
}

// A client that gives up frees the handler that was to make it wait.
func TestWaitsEndWithTheClient(t *testing.T) {
	t.Parallel()
	p := newFaultPair(t)
	for _, f := range []Fault{{Mode: Latency, Delay: time.Hour}, {Mode: SlowBody, Delay: time.Hour}, {Mode: EndlessBody}} {
		arm(t, p.rfc, f)
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		req, err := http.NewRequestWithContext(ctx, "GET", p.rfcC.base+entriesPath, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := p.rfcC.http.Do(req)
		if err == nil {
			_, err = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
		cancel()
		if err == nil {
			t.Errorf("%s: the answer came whole", f.Mode)
		}
	}
	// The test server's Close waits for its handlers: a stuck one hangs here.
}
