package cert

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"

	"ctappliance/schema"
)

// TestIssuerPanic makes the parser panic over a chain certificate.
func TestIssuerPanic(t *testing.T) {
	testHookParse = func(*Input) { panic("a defect") }
	defer func() { testHookParse = nil }()
	der := spec{}.cert()
	out := ParseIssuer(der)
	if out.Error != "parser panic" || !bytes.Equal(out.DER, der) || out.Fingerprint != sha256.Sum256(der) {
		t.Errorf("%+v", out)
	}
}

// TestPanicCostsTheParser: memory of a parser that panicked half way is not
// used again.
func TestPanicCostsTheParser(t *testing.T) {
	old := parsers.New
	defer func() { parsers.New, testHookParse = old, nil }()
	for parsers.Get() != nil { // empties the pool: New is nil after the first round
		parsers.New = nil
	}
	made := 0
	parsers.New = func() any { made++; return old() }
	testHookParse = func(*Input) { panic("a defect") }
	for range 3 {
		parse(x509Input(spec{}.cert()))
	}
	if made != 3 {
		t.Errorf("3 panics used %d parsers", made)
	}
}

// TestIssuerLimits: a chain certificate has the limit of other certificates.
func TestIssuerLimits(t *testing.T) {
	pad := func(n int) []byte { return spec{exts: [][]byte{ext("1.2.3.4", make([]byte, n))}}.cert() }
	big := pad(MaxCertificate)
	if out := ParseIssuer(big); out.Error != "certificate larger than 1 MiB" || !bytes.Equal(out.DER, big) || out.Subject.Raw != nil {
		t.Errorf("%d bytes: %q", len(big), out.Error)
	}
	if out := ParseIssuer(pad(1000)); out.Error != "" {
		t.Error(out.Error)
	}
}

// TestHugeLengths: lengths and identifiers of more octets than any input has,
// some of which are small numbers again when an int has overflown.
func TestHugeLengths(t *testing.T) {
	for _, b := range [][]byte{
		slices.Concat([]byte{0x30, 0x88, 0x80, 0, 0, 0, 0, 0, 0, 0}, make([]byte, 20)),
		slices.Concat([]byte{0x30, 0x89, 1, 0, 0, 0, 0, 0, 0, 0, 4}, make([]byte, 20)),
		slices.Concat([]byte{0x30, 0x88, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, make([]byte, 20)),
		slices.Concat([]byte{0x30, 0x84, 0xff, 0xff, 0xff, 0xff}, make([]byte, 20)),
		slices.Concat([]byte{0x3f}, bytes.Repeat([]byte{0x81}, 10), []byte{1, 0}),
	} {
		if h, n, _, ok := header(b); ok {
			t.Errorf("%x is read as %d octets of content behind %d", b, n, h)
		}
	}
}

// TestNameCacheIsBounded: issuers' names are remembered up to a number and a
// length, in memory of their own.
func TestNameCacheIsBounded(t *testing.T) {
	p := newParser()
	p.row = new(schema.Row)
	nameOf := func(text string) ([]byte, *elem) {
		var e elem
		c := cur{b: name(cn(tagUTF8, text))}
		if !c.next(&e) {
			t.Fatal("no element")
		}
		return c.b, &e
	}
	for i := range 4 * maxCachedNames {
		var got schema.Name
		text := fmt.Sprint("issuer ", i)
		src, e := nameOf(text)
		p.cachedName(src, e, &got)
		if len(got.CommonNames) != 1 || got.CommonNames[0] != text {
			t.Fatalf("%+v", got)
		}
	}
	if n := len(p.names); n > maxCachedNames {
		t.Errorf("%d names are remembered", n)
	}
	if n := p.arena.len(); n != 0 {
		t.Errorf("remembered names hold on to %d bytes of a row", n)
	}
	before := len(p.names)
	var got schema.Name
	src, e := nameOf(strings.Repeat("x", maxCachedName))
	p.cachedName(src, e, &got)
	if len(p.names) != before || len(got.CommonNames) != 1 || len(got.CommonNames[0]) != maxCachedName {
		t.Errorf("a long name: %d remembered, then %d; %+v", before, len(p.names), got)
	}
}

// TestTranscodingStops: a value is cut at maxNameValue, so no more than that
// is transcoded of a megabyte.
func TestTranscodingStops(t *testing.T) {
	var p parser
	long := bytes.Repeat([]byte{0x30, 0x42}, 1<<19)
	for what, got := range map[string]int{
		"Latin-1": len(p.latin1(long)),
		"UTF-16":  len(p.wide(long, 2)),
		"UTF-32":  len(p.wide(long, 4)),
	} {
		if got <= maxNameValue || got > enough+8 {
			t.Errorf("%s: %d bytes of %d", what, got, len(long))
		}
	}
}

// TestRoomForNames: room is made for the names that are listed, not for those
// that are counted.
func TestRoomForNames(t *testing.T) {
	in := x509Input(spec{exts: [][]byte{san(bytes.Repeat(dns(""), 250_000))}}.cert())
	var row schema.Row
	Parse(in, &row) // fills the pool
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	Parse(in, &row)
	runtime.ReadMemStats(&after)
	if took := after.TotalAlloc - before.TotalAlloc; len(row.DNSNames) != maxSANs || took > 1<<20 {
		t.Errorf("%d names took %d bytes", len(row.DNSNames), took)
	}
}

// TestSmallSCTs: lists of the smallest SCTs there are find room, and rows that
// share it stay apart.
func TestSmallSCTs(t *testing.T) {
	var rows []*schema.Row
	for n := 1; n <= maxSCTs; n++ {
		list := make([]byte, 2, 2+45*n)
		list[0], list[1] = byte(45*n>>8), byte(45*n)
		for i := range n {
			list = append(list, 0, 43, 0)
			list = append(list, bytes.Repeat([]byte{byte(n), byte(i)}, 21)...)
		}
		rows = append(rows, parseX509(spec{exts: [][]byte{ext("1.3.6.1.4.1.11129.2.4.2", tlv(tagOctets, list))}}.cert()))
	}
	for i, row := range rows {
		if len(row.SCTs) != i+1 || cap(row.SCTs) != i+1 {
			t.Fatalf("%d of %d SCTs, %s", len(row.SCTs), i+1, row.Error)
		}
		for j, s := range row.SCTs {
			if s.LogID[0] != byte(i+1) || s.LogID[1] != byte(j) {
				t.Fatalf("SCT %d of %d is of log %x", j, i+1, s.LogID)
			}
		}
	}
}

// TestSteadyMemory: an ordinary entry takes no memory of its own, but every so
// many take a piece together.
func TestSteadyMemory(t *testing.T) {
	if raceEnabled {
		t.Skip("sync.Pool forgets at random under the race detector")
	}
	in := goldenEntries(t)["dv-precert"]
	var row schema.Row
	if n := testing.AllocsPerRun(1000, func() { Parse(in, &row) }); n != 0 {
		t.Errorf("%v allocations per entry", n)
	}
}

// TestIssuersOwnMemory: what is kept of a chain certificate does not hold on to
// the memory of rows.
func TestIssuersOwnMemory(t *testing.T) {
	old := parsers.New
	defer func() { parsers.New = old }()
	for parsers.Get() != nil {
		parsers.New = nil
	}
	p := newParser()
	parsers.New = func() any { return p }
	if out := ParseIssuer(spec{subject: name(cn(tagUTF8, "an issuer"))}.cert()); out.Subject.Text != "CN=an issuer" {
		t.Fatalf("%+v", out.Subject)
	}
	if p.arena.len() != 0 || len(p.slab) != 0 {
		t.Errorf("it shares %d bytes and %d strings", p.arena.len(), len(p.slab))
	}
	if p.strings != &p.arena || p.slabSize != slabSize {
		t.Error("rows go on with the issuer's memory")
	}
}

// TestKnownOIDs: every known identifier is found, and no number stands for two.
func TestKnownOIDs(t *testing.T) {
	if len(oids) > maxKnownOIDs {
		t.Fatalf("%d identifiers do not fit a byte", len(oids))
	}
	for i := 1; i < len(oids); i++ {
		o := &oids[i]
		if k := knownOID([]byte(o.octets)); int(k) != i {
			t.Errorf("%s is number %d, found as %d", o.dotted, i, k)
		}
		if got, ok := appendDotted(nil, []byte(o.octets)); !ok || string(got) != o.dotted {
			t.Errorf("%s is written %s", o.dotted, got)
		}
	}
	for _, b := range []string{"", "\x00", "\x55", "\x55\x1d", "\x55\x1d\x11\x00", oidAIA + "\x01"} {
		if k := knownOID([]byte(b)); k != 0 {
			t.Errorf("%x is found as %s", b, oids[k].dotted)
		}
	}
}
