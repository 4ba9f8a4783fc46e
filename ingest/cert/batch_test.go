package cert

import (
	"bytes"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"sync"
	"testing"

	"ctappliance/ingest/ctlog/ctlogtest"
	"ctappliance/schema"
)

// batchOf parses entries together, each through the same Input, as the pipeline
// does.
func batchOf(entries []*Input) []schema.Row {
	rows := make([]schema.Row, len(entries))
	b := NewBatch()
	for i := range entries {
		in := *entries[i]
		b.Add(&in, &rows[i])
		in = Input{}
	}
	b.End()
	return rows
}

// checkBatch holds rows of batches against rows of Parse, and their hashes
// against the standard library's.
func checkBatch(t *testing.T, entries []*Input, size int) {
	t.Helper()
	for from := 0; from < len(entries); from += size {
		part := entries[from:min(from+size, len(entries))]
		for i, row := range batchOf(part) {
			var want schema.Row
			Parse(part[i], &want)
			if !reflect.DeepEqual(row, want) {
				t.Fatalf("entry %d in a batch of %d:\ngot  %+v\nwant %+v", from+i, size, row, want)
			}
			if row.DER != nil && row.Fingerprint != sha256.Sum256(row.DER) {
				t.Fatalf("entry %d in a batch of %d: the fingerprint is another's", from+i, size)
			}
		}
	}
}

// keyIDs are the subject key identifiers of madeEntries.
var keyIDs = func() []keyID {
	sha1, sha256, ofSPKI := sha1.Sum(p256Key[26:]), sha256.Sum256(p256Key[26:]), sha256.Sum256(p256Key)
	sha384, sha512 := sha512.Sum384(p256Key[26:]), sha512.Sum512(p256Key[26:])
	tampered := slices.Clone(sha256[:20])
	tampered[19] ^= 1
	return []keyID{
		{nil, schema.SKIOther},
		{sha1[:], schema.SKISHA1},
		{sha256[:20], schema.SKISHA256},
		{[]byte("not the hash of it.."), schema.SKIOther}, // as long
		{sha256[:], schema.SKIOther},                      // all of it
		{sha256[:19], schema.SKIOther},
		{sha256[12:], schema.SKIOther}, // its other end
		{tampered, schema.SKIOther},
		{ofSPKI[:20], schema.SKIOther},
		{sha384[:20], schema.SKIOther},
		{sha512[:20], schema.SKIOther},
	}
}()

type keyID struct {
	id     []byte
	method schema.SKIMethod
}

// madeEntries are entries of all kinds, of which no two are alike.
func madeEntries(n int) (out []*Input) {
	root := spec{subject: name(cn(tagUTF8, "root")), issuer: name(cn(tagUTF8, "root"))}
	for i := range n {
		s := spec{subject: name(cn(tagUTF8, string(rune('a'+i%26)))), exts: [][]byte{
			san(bytes.Repeat(dns("a.example"), i%40)), ext("1.2.3", []byte{byte(i >> 8), byte(i)})}}
		if id := keyIDs[i%len(keyIDs)].id; id != nil {
			s.exts = append(s.exts, ext("2.5.29.14", tlv(tagOctets, id)))
		}
		in := x509Input(s.cert())
		switch i % 7 {
		case 1: // poisoned
			in = asEntry(s.with(poisonExt).cert())
		case 2: // is in its own chain, which is known by its hash alone
			root.exts = s.exts
			in = x509Input(root.cert())
			in.Chain = []schema.Hash{sha256.Sum256(root.cert())}
		case 3: // is refused
			in.Leaf = in.Leaf[:20+i%20]
		case 4: // no submitted precertificate
			in = asEntry(s.with(poisonExt).cert())
			in.Precert = nil
		}
		in.Index = uint64(i)
		out = append(out, in)
	}
	return out
}

// TestBatch: a row is the same, whatever it is parsed together with.
func TestBatch(t *testing.T) {
	entries := madeEntries(3*maxWaiting + 5)
	for _, size := range []int{1, 2, 3, 16, 17, maxWaiting - 1, maxWaiting, maxWaiting + 1, 2*maxWaiting + 1, len(entries)} {
		checkBatch(t, entries, size)
	}
	own := batchOf(entries)[2]
	if Flag(own.Flags).Has(NoIssuer) || own.IssuerKeyHash != own.SPKI || own.SPKI != sha256.Sum256(p256Key) {
		t.Errorf("a certificate in its own chain: %v, issued by %x", Flag(own.Flags), own.IssuerKeyHash)
	}
	for i, row := range batchOf(entries) {
		want := keyIDs[i%len(keyIDs)].method
		if row.Status >= schema.StatusRefused {
			want = schema.SKIOther
		}
		if row.SKIMethod != want {
			t.Errorf("entry %d: method %d of the key identifier %x, want %d", i, row.SKIMethod, row.SKI, want)
		}
	}
	// The demo's entries, and mutants of them.
	corpus, err := ctlogtest.NewCorpus(ctlogtest.CorpusOptions{Seed: 3})
	if err != nil {
		t.Fatal(err)
	}
	log, err := ctlogtest.New(ctlogtest.Options{Corpus: corpus, Size: 500})
	if err != nil {
		t.Fatal(err)
	}
	entries = nil
	r := rand.New(rand.NewPCG(1, 2))
	for i := range uint64(500) {
		in := Input{Index: i, Leaf: log.Leaf(i), Precert: corpus.Entry(i).Submitted}
		mutated := in
		mutated.Leaf = slices.Concat(in.Leaf[:12], mutant(r, in.Leaf[12:]))
		entries = append(entries, &in, &mutated)
	}
	checkBatch(t, entries, 256)
	checkBatch(t, entries, len(entries))
}

// TestBatchCorpora is TestBatch with all certificates and entries that there
// are.
func TestBatchCorpora(t *testing.T) {
	dir := dataDir(t)
	for _, certs := range [][]corpusCert{liveCerts(t), oddCerts(t)} {
		var entries []*Input
		for _, c := range certs {
			entries = append(entries, asEntry(c.der))
		}
		checkBatch(t, entries, 256)
	}
	all := tileEntries(t, filepath.Join(dir, "static", "navigli2025h2", "tile", "data"))
	answers, err := filepath.Glob(filepath.Join(dir, "rfc6962", "get-entries-*.json"))
	if err != nil || len(answers) == 0 {
		t.Fatalf("no get-entries answers: %v", err)
	}
	for _, path := range answers {
		all = append(all, getEntries(t, path)...)
	}
	var entries []*Input
	for i := range all {
		entries = append(entries, &all[i])
	}
	checkBatch(t, entries, 256)
}

// TestBatchGathers has more to gather than a batch keeps room for: rows that
// wait keep theirs, and what one large certificate took is not kept.
func TestBatchGathers(t *testing.T) {
	var entries []*Input
	for i, n := range []int{10, 100_000, 20, 100_000, 99_000, 30, MaxCertificate - 2000, 40, 50, 200_000, 60, MaxCertificate - 1000, 70} {
		s := spec{exts: [][]byte{ext("1.2.3", bytes.Repeat([]byte{byte(i)}, n)), sctExt}}
		entries = append(entries, x509Input(s.cert()))
	}
	for size := range len(entries) {
		checkBatch(t, entries, size+1)
	}
	b := NewBatch()
	rows := make([]schema.Row, len(entries))
	for i, in := range entries {
		b.Add(in, &rows[i])
		if n := cap(b.gathered); n > MaxCertificate+1000 {
			t.Errorf("entry %d: room for %d bytes", i, n)
		}
	}
	b.End()
	if n := cap(b.gathered); n > maxGathered {
		t.Errorf("a batch keeps room for %d bytes", n)
	}
}

// TestBatchPanic: the parser's failure costs the row that it failed at, and the
// parser.
func TestBatchPanic(t *testing.T) {
	entries := madeEntries(2*maxWaiting + 20)
	want := batchOf(entries)
	old := parsers.New
	defer func() { parsers.New, testHookParse = old, nil }()
	for parsers.Get() != nil { // empties the pool: New is nil after the first round
		parsers.New = nil
	}
	made := 0
	parsers.New = func() any { made++; return old() }
	fails := func(index uint64) bool {
		return index == 0 || index == 7 || index == 8 || index == maxWaiting || index == uint64(len(entries)-1)
	}
	testHookParse = func(in *Input) {
		if fails(in.Index) {
			panic("a defect")
		}
	}
	for i, row := range batchOf(entries) {
		if !fails(entries[i].Index) {
			if !reflect.DeepEqual(row, want[i]) {
				t.Errorf("entry %d: got %+v, want %+v", i, row, want[i])
			}
			continue
		}
		if row.Status != refused || !Flag(row.Flags).Has(Panic) || row.Error != "parser panic: a defect" || !bytes.Equal(row.Leaf, entries[i].Leaf) {
			t.Errorf("entry %d: %d %v %q", i, row.Status, Flag(row.Flags), row.Error)
		}
	}
	if !raceEnabled && made != 5 { // the last one failed at the last entry; under the race detector a pool forgets
		t.Errorf("five panics and what was between them used %d parsers", made)
	}
}

// TestBatchHashPanic: where hashing fails no row has wrong hashes.
func TestBatchHashPanic(t *testing.T) {
	defer func() { testHookHash = nil }()
	entries := madeEntries(maxWaiting + maxWaiting/2)
	want := batchOf(entries)
	calls := 0
	testHookHash = func() {
		if calls++; calls == 2 {
			panic("a defect")
		}
	}
	whole := 0
	for i, row := range batchOf(entries) {
		if row.Status != refused {
			whole++
			if !reflect.DeepEqual(row, want[i]) {
				t.Errorf("entry %d: got %+v, want %+v", i, row, want[i])
			}
			continue
		}
		if want[i].Status != refused && (row.Error != "parser panic: a defect" || !Flag(row.Flags).Has(Panic) || row.Fingerprint != sha256.Sum256(row.DER) ||
			row.Index != entries[i].Index || row.LogID != entries[i].LogID || row.TBSID == want[i].TBSID) {
			t.Errorf("entry %d: %+v", i, row)
		}
	}
	if whole != maxWaiting {
		t.Errorf("%d rows are whole, want the %d that were hashed before", whole, maxWaiting)
	}
	testHookHash = nil
	if !reflect.DeepEqual(batchOf(entries), want) {
		t.Error("a batch after it has other rows")
	}
}

// TestBatchForgets: a batch that has ended refers to no entry, because entries'
// memory is given to others.
func TestBatchForgets(t *testing.T) {
	b := NewBatch()
	rows := make([]schema.Row, 50)
	for i, in := range madeEntries(len(rows)) {
		b.Add(in, &rows[i])
	}
	b.End()
	for _, list := range [][][]byte{b.messages[:cap(b.messages)], b.keys[:cap(b.keys)]} {
		for _, m := range list {
			if m != nil {
				t.Fatalf("%d bytes of an entry are held", len(m))
			}
		}
	}
	for _, w := range b.waiting[:cap(b.waiting)] {
		if w.row != nil {
			t.Fatal("a row is held")
		}
	}
	if b.p != nil {
		t.Error("the parser was not given back")
	}
}

// TestBatchesTogether has goroutines parse the same entries.
func TestBatchesTogether(t *testing.T) {
	entries := madeEntries(300)
	want := batchOf(entries)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 5 {
				if !reflect.DeepEqual(batchOf(entries), want) {
					t.Error("other rows")
				}
			}
		})
	}
	wg.Wait()
}

// TestBatchAllocations: what a batch takes is what its rows' strings take.
func TestBatchAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("pools forget under the race detector")
	}
	corpus, err := ctlogtest.NewCorpus(ctlogtest.CorpusOptions{Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	const n = 256
	log, err := ctlogtest.New(ctlogtest.Options{Corpus: corpus, Size: n})
	if err != nil {
		t.Fatal(err)
	}
	entries := make([]Input, n)
	for i := range entries {
		entries[i] = Input{Leaf: log.Leaf(uint64(i)), Precert: corpus.Entry(uint64(i)).Submitted}
	}
	rows := make([]schema.Row, n)
	batch := func() {
		b := NewBatch()
		for i := range entries {
			b.Add(&entries[i], &rows[i])
		}
		b.End()
	}
	batch()
	runtime.GC()
	if got := testing.AllocsPerRun(20, batch); got > n/8 {
		t.Errorf("%v allocations in a batch of %d", got, n)
	}
}
