package ingest

import (
	"bytes"
	"encoding/hex"
	"math"
	"reflect"
	"runtime"
	"testing"

	"ctappliance/checkpoint"
	"ctappliance/ingest/ctlog"
	"ctappliance/ingest/ctlog/ctlogtest"
)

// batches returns batches of both protocols, as they came.
func batches(t testing.TB) map[string]*ctlog.Batch {
	out := map[string]*ctlog.Batch{
		"odd": {From: 7, Entries: []ctlog.Entry{
			{Leaf: []byte{}, Chain: []ctlog.Hash{}},
			{Leaf: []byte{1}, Precert: []byte{}, Chain: []ctlog.Hash{{1}, {2}}},
			{Leaf: bytes.Repeat([]byte{9}, 70000), Precert: []byte{4}, Chain: []ctlog.Hash{}}}},
	}
	for _, kind := range []ctlogtest.Kind{ctlogtest.RFC6962, ctlogtest.Static} {
		for _, plain := range []bool{false, true} {
			l, err := ctlogtest.New(ctlogtest.Options{Kind: kind, Size: 40, PlainTiles: plain})
			if err != nil {
				t.Fatal(err)
			}
			info := l.Info("https://log.ctappliance.test/")
			client, err := ctlog.New(ctlog.Info{Key: info.Key, Kind: ctlog.Kind(kind), URL: info.URL, SubmissionURL: info.SubmissionURL},
				ctlog.Options{UserAgent: "ctappliance-test (test@ctappliance.test)", Transport: ctlogtest.Transport(l.Handler())})
			if err != nil {
				t.Fatal(err)
			}
			b, err := client.Entries(t.Context(), 3, 30, 40)
			if err != nil {
				t.Fatal(err)
			}
			name := kind.String()
			if plain {
				name += " plain"
			}
			out[name] = b
		}
	}
	return out
}

var someRoots = []subtree{{5, ctlog.Hash{1}}, {math.MaxUint64, ctlog.Hash{2}}}
var someInline = [][]byte{{0x30, 1, 2}, {}, bytes.Repeat([]byte{7}, 3000)}

func TestRecordRoundTrip(t *testing.T) {
	log := ctlog.Hash{0xab, 31: 0xcd}
	for name, b := range batches(t) {
		payload, err := new(encodeBuffers).encodeRecord(log, b, someRoots, someInline)
		if err != nil {
			t.Fatal(err)
		}
		r, err := decodeRecord(payload)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if r.log != log || r.from != b.From || !reflect.DeepEqual(r.roots, someRoots) || len(r.inline) != 3 || !bytes.Equal(r.inline[2], someInline[2]) {
			t.Errorf("%s: header, roots or inline certificates differ", name)
		}
		if len(r.entries) != len(b.Entries) {
			t.Fatalf("%s: %d entries, want %d", name, len(r.entries), len(b.Entries))
		}
		for i := range b.Entries {
			w, g := b.Entries[i], r.entries[i]
			if !bytes.Equal(w.Leaf, g.Leaf) || !bytes.Equal(w.Precert, g.Precert) || (w.Precert == nil) != (g.Precert == nil) || !reflect.DeepEqual(append([]ctlog.Hash{}, w.Chain...), append([]ctlog.Hash{}, g.Chain...)) {
				t.Errorf("%s: entry %d differs", name, i)
			}
		}
		gotLog, from, to, err := RecordRange(payload)
		if err != nil || gotLog != log || from != b.From || to != r.end() {
			t.Errorf("%s: range [%d,%d), %v", name, from, to, err)
		}
		for n := range recordHeader {
			if _, err := decodeRecord(payload[:n]); err == nil {
				t.Errorf("%s: %d bytes of it are a record", name, n)
			}
		}
		if _, err := decodeRecord(payload[:len(payload)-1]); err == nil {
			t.Errorf("%s: a record that lacks its last byte", name)
		}
	}
}

// The layout is a promise to WALs that are on disks.
func TestRecordLayout(t *testing.T) {
	b := &ctlog.Batch{From: 0x0102, Entries: []ctlog.Entry{{Leaf: []byte("leaf"), Chain: []ctlog.Hash{{9}}}}}
	got, err := new(encodeBuffers).encodeRecord(ctlog.Hash{0xaa}, b, []subtree{{3, ctlog.Hash{0xbb}}}, [][]byte{{0x30}})
	if err != nil {
		t.Fatal(err)
	}
	zeros := func(n int) string { return hex.EncodeToString(make([]byte, n)) }
	want := "0100aa" + zeros(31) + "0000000000000102" + "00000001" + "0000" + "0001" + "00000001" + // header
		"0000000000000003bb" + zeros(31) + "0000000130" // root, inline certificate
	if head := hex.EncodeToString(got[:len(want)/2]); head != want {
		t.Errorf("got  %s\nwant %s", head, want)
	}
	f := new(ctlog.Frontier)
	f.Append(ctlog.Hash{5}, nil)
	pos, err := (&position{log: ctlog.Hash{0xaa}, kind: checkpoint.KindRepair, from: 1, to: 2, frontier: f}).marshal()
	if err != nil {
		t.Fatal(err)
	}
	if got, want := hex.EncodeToString(pos), "0102aa"+zeros(31)+"00000000000000010000000000000002"+"000000000000000105"+zeros(31); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestPositionRoundTrip(t *testing.T) {
	f := new(ctlog.Frontier)
	for i := range uint64(300) {
		for _, kind := range kinds {
			p := &position{log: ctlog.Hash{byte(i)}, kind: kind, from: i / 2, to: Forever, frontier: f}
			b, err := p.marshal()
			if err != nil {
				t.Fatal(err)
			}
			got, err := unmarshalPosition(b)
			if err != nil || got.kind != kind || got.from != p.from || got.to != p.to || got.log != p.log || !got.frontier.Equal(f) {
				t.Fatalf("%d: %+v, %v", i, got, err)
			}
			if len(b) > positionHeader+8+64*32 {
				t.Errorf("%d bytes", len(b))
			}
			for _, bad := range [][]byte{nil, b[:len(b)-1], b[:positionHeader], append([]byte{9}, b[1:]...), append([]byte{1, 9}, b[2:]...)} {
				if _, err := unmarshalPosition(bad); err == nil {
					t.Errorf("%x is a position", bad)
				}
			}
		}
		f.Append(ctlog.Hash{byte(i)}, nil)
	}
	b, _ := (&position{kind: checkpoint.KindTail, from: 400, to: 500, frontier: f}).marshal()
	if _, err := unmarshalPosition(b); err == nil {
		t.Error("a cursor before the span's beginning")
	}
	if _, err := (&position{kind: "new", frontier: f}).marshal(); err == nil {
		t.Error("a kind that nobody knows")
	}
}

func FuzzRecord(f *testing.F) {
	for _, b := range batches(f) {
		payload, err := new(encodeBuffers).encodeRecord(ctlog.Hash{1}, b, someRoots, someInline)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(payload)
		f.Add(payload[:recordHeader])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		r, err := decodeRecord(b)
		runtime.ReadMemStats(&after)
		// s2 and gzip may unfold to maxRecordBody; entries take 100 bytes each,
		// and an entry is not smaller than ten.
		if got := after.TotalAlloc - before.TotalAlloc; got > 16*maxRecordBody {
			t.Errorf("%d bytes allocated for %d", got, len(b))
		}
		if err != nil {
			return
		}
		_, from, to, err := RecordRange(b)
		if err != nil || from != r.from || to-from != uint64(len(r.entries)) {
			t.Errorf("range [%d,%d) of %d entries, %v", from, to, len(r.entries), err)
		}
	})
}

func FuzzPosition(f *testing.F) {
	frontier := new(ctlog.Frontier)
	for range 11 {
		frontier.Append(ctlog.Hash{1}, nil)
	}
	b, err := (&position{kind: checkpoint.KindTail, to: Forever, frontier: frontier}).marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := unmarshalPosition(b)
		if err != nil {
			return
		}
		again, err := p.marshal()
		if err != nil || !bytes.Equal(again, b) {
			t.Errorf("%x became %x, %v", b, again, err)
		}
	})
}
