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
	p := &parser{sum: sha256.New(), names: map[string]cachedDN{}, row: new(schema.Row)}
	p.strings = &p.arena
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
