package cert

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
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

// TestPlainUTCTime: the short way with dates says what the long one does, or
// nothing.
func TestPlainUTCTime(t *testing.T) {
	read := 0
	check := func(b []byte) {
		got, ok := plainUTCTime(b)
		// Lower-case z ends a date of the same digits that only the long way reads.
		want, f, dated := parseTime(tagUTCTime, append(slices.Clone(b[:12]), 'z'))
		if f &^= TimeOdd; want != got && ok || ok != (dated && f == TimeBad && digits(b) == 12 && inRange(b)) {
			t.Errorf("%q is %d, %v; the long way %d, %v, %v", b, got, ok, want, f, dated)
		}
		if ok {
			read++
		}
	}
	for _, at := range []int{0, 2, 4, 6, 8, 10} { // every pair of bytes at each place
		for i := range 1 << 16 {
			b := []byte("240229101112Z")
			b[at], b[at+1] = byte(i), byte(i>>8)
			check(b)
		}
	}
	if read != 25+12+29+24+60+60 {
		t.Errorf("%d dates are read", read)
	}
}

// inRange is for the digits of TestPlainUTCTime: one pair differs from 24-02-29
// 10:11:12.
func inRange(b []byte) bool {
	n := func(i int) int { return number(b[i : i+2]) }
	leap := n(0)%4 == 0
	days := []int{31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31}
	return n(2) >= 1 && n(2) <= 12 && n(4) >= 1 && n(4) <= days[n(2)-1] && (leap || n(2) != 2 || n(4) < 29) &&
		n(6) < 24 && n(8) < 60 && n(10) < 60
}

// TestIsPoisoned: where the short way says that a precertificate fits its leaf,
// the long one says so too; and the usual precertificate needs the short one
// only.
func TestIsPoisoned(t *testing.T) {
	both := func(leafTBS, precert []byte) (short, long bool) {
		p := newParser()
		p.row = new(schema.Row)
		var c, pre certificate
		var f Flag
		c.tbs.read(leafTBS, &p.flags)
		if !c.tbs.hasSerial() || pre.open(precert, &f) != "" {
			return false, false
		}
		p.fill(&c.tbs)
		short = p.isPoisoned(precert, &pre.tbs.self, &c.tbs)
		pre.tbs.split(precert, &f)
		pre.tbs.scanExtensions()
		return short, pre.tbs.poison && p.equalTBS(&pre.tbs, dropPoison, leafTBS)
	}
	a, b, c := ext("1.2.1", []byte("aaaa")), ext("1.2.2", []byte("bbbb")), ext("1.2.3", []byte("cccc"))
	tbs := spec{exts: [][]byte{a, b}}.tbs()
	content := func(tbs []byte) []byte {
		var e elem
		r := cur{b: tbs}
		if !r.next(&e) {
			t.Fatal("no element")
		}
		return e.content(tbs)
	}
	body := content(tbs)
	// padded has a length of one octet too many around its extensions.
	at := bytes.LastIndexByte(body, 0xa3)
	padded := tlv(tagSeq, body[:at], []byte{0xa3, 0x81}, body[at+1:])
	behind := tlv(tagSeq, body, tlv(0x82, []byte{0}))
	for _, k := range []struct {
		name          string
		leaf, precert []byte
		short, long   bool
	}{
		{"first", tbs, spec{exts: [][]byte{poisonExt, a, b}}.cert(), true, true},
		{"between", tbs, spec{exts: [][]byte{a, poisonExt, b}}.cert(), true, true},
		{"last", tbs, spec{exts: [][]byte{a, b, poisonExt}}.cert(), true, true},
		{"twice", tbs, spec{exts: [][]byte{poisonExt, a, poisonExt, b}}.cert(), false, true},
		{"not at all", tbs, spec{exts: [][]byte{a, b}}.cert(), false, false},
		{"in the leaf too", spec{exts: [][]byte{a, poisonExt, b}}.tbs(), spec{exts: [][]byte{a, poisonExt, poisonExt, b}}.cert(), false, false},
		{"another before it", tbs, spec{exts: [][]byte{c, poisonExt, b}}.cert(), false, false},
		{"another behind it", tbs, spec{exts: [][]byte{a, poisonExt, c}}.cert(), false, false},
		{"another subject", tbs, spec{subject: name(cn(tagUTF8, "other")), exts: [][]byte{a, poisonExt, b}}.cert(), false, false},
		{"another serial", tbs, spec{serial: unhex("020109"), exts: [][]byte{a, poisonExt, b}}.cert(), false, false},
		{"padded leaf", padded, spec{exts: [][]byte{a, poisonExt, b}}.cert(), false, false},
		{"within a value", spec{exts: [][]byte{a, ext("1.2.9", []byte{})}}.tbs(), spec{exts: [][]byte{a, ext("1.2.9", poisonExt)}}.cert(), false, false},
		{"bytes behind the leaf", append(slices.Clone(tbs), 0), spec{exts: [][]byte{a, poisonExt, b}}.cert(), false, false},
		{"element behind the leaf's", behind, spec{exts: [][]byte{a, poisonExt, b}}.cert(), false, false},
	} {
		if short, long := both(k.leaf, k.precert); short != k.short || long != k.long {
			t.Errorf("%s: short %v, long %v, want %v and %v", k.name, short, long, k.short, k.long)
		}
	}
	r := rand.New(rand.NewPCG(5, 6))
	precert := spec{exts: [][]byte{a, poisonExt, b}}.cert()
	shift := bytes.Index(precert, body[:20]) - (len(tbs) - len(body))
	fits := 0
	for range 20_000 {
		l, p := slices.Clone(tbs), slices.Clone(precert)
		at, v := r.IntN(len(l)), byte(r.Uint32())
		if l[at] = v; at+shift > 0 && at+shift < len(p) && r.IntN(4) > 0 {
			p[at+shift] = v
		}
		short, long := both(l, p)
		if short && !long {
			t.Fatalf("%x fits %x by the short way only", p, l)
		}
		if short {
			fits++
		}
	}
	if fits == 0 {
		t.Error("no mutant fits")
	}
}

// TestRemembered: values of extensions are remembered up to a number and a
// length, in memory of their own, and those that are odd are not.
func TestRemembered(t *testing.T) {
	p := newParser()
	read := func(v []byte) *schema.Row {
		p.row, p.flags, p.problem = new(schema.Row), 0, ""
		p.remembered(kindEKU, v)
		return p.row
	}
	for round := range 2 {
		for i := range 4 * maxRemembered {
			want := fmt.Sprint("1.2.3.", i)
			if row := read(tlv(tagSeq, oid(want))); len(row.ExtKeyUsage) != 1 || row.ExtKeyUsage[0] != want || p.flags != 0 {
				t.Fatalf("round %d: %q is read as %q, flags %v", round, want, row.ExtKeyUsage, p.flags)
			}
		}
	}
	if n := len(p.known[kindEKU]); n > maxRemembered {
		t.Errorf("%d values are remembered", n)
	}
	if p.arena.len() != 0 || len(p.slab) != 0 {
		t.Errorf("they hold on to %d bytes and %d strings of a row", p.arena.len(), len(p.slab))
	}
	clear(p.known[kindEKU])
	for range 2 {
		if read(unhex("3000")); p.flags != ExtBad {
			t.Errorf("flags %v for an empty list", p.flags)
		}
		if read(unhex("300102")); p.flags != ExtBad || p.problem == "" {
			t.Errorf("flags %v, %q for a broken list", p.flags, p.problem)
		}
		if row := read(tlv(tagSeq, bytes.Repeat(oid("1.2.3"), maxOIDs/2), bytes.Repeat(oid("1.3.6.1.4.1.311.21.10"), 20))); len(row.ExtKeyUsage) != maxOIDs/2+20 || p.flags != 0 {
			t.Errorf("%d of a long list", len(row.ExtKeyUsage))
		}
	}
	if n := len(p.known[kindEKU]); n != 0 {
		t.Errorf("%d values are remembered that should not", n)
	}
	// What was found before stays, and what comes behind it does not get into
	// what is remembered.
	one, two := tlv(tagSeq, oid("1.2.1")), tlv(tagSeq, oid("1.2.2"))
	for range 2 {
		read(one)
		p.lost(0, "before")
		p.remembered(kindEKU, two)
		if got := p.row.ExtKeyUsage; !slices.Equal(got, []string{"1.2.1", "1.2.2"}) || p.problem != "before" {
			t.Errorf("%q, %q", got, p.problem)
		}
		if got := read(one).ExtKeyUsage; !slices.Equal(got, []string{"1.2.1"}) {
			t.Errorf("%q is remembered", got)
		}
		if got := read(two).ExtKeyUsage; !slices.Equal(got, []string{"1.2.2"}) {
			t.Errorf("%q is remembered", got)
		}
	}
}

// TestSequences: lists of extensions that are made, remembered or beyond what
// is remembered are the list of the certificate.
func TestSequences(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	ids := []string{"1.2.3.4", "1.2.3.5"} // not known, and nearly all that are
	for _, o := range oids[1:] {
		ids = append(ids, o.dotted)
	}
	p := newParser()
	for range 4 * maxRemembered {
		var want []string
		var list []byte
		for range 1 + r.IntN(2*maxSequence) {
			id := ids[r.IntN(len(ids))]
			if len(want) > 0 && r.IntN(20) == 0 {
				id = want[r.IntN(len(want))]
			}
			want = append(want, id)
			list = append(list, ext(id, nil)...)
		}
		for range 2 {
			var c certificate
			p.row, p.flags = new(schema.Row), 0
			if why := c.read(spec{exts: [][]byte{list}}.cert(), &p.flags); why != "" {
				t.Fatal(why)
			}
			p.extensions(&c.tbs)
			twice := slices.Compact(slices.Sorted(slices.Values(want)))
			if got := p.row.Extensions; !slices.Equal(got, want) || cap(got) != len(got) || p.flags.Has(ExtDup) != (len(twice) < len(want)) {
				t.Fatalf("%q, flags %v, want %q", got, p.flags, want)
			}
		}
	}
	if n := len(p.sequences); n == 0 || n > maxRemembered {
		t.Errorf("%d lists are remembered", n)
	}
}

// TestVisible compares eight bytes at a time with one at a time.
func TestVisible(t *testing.T) {
	for n := range 20 {
		for at := range n {
			for c := range 256 {
				b := bytes.Repeat([]byte{'~'}, n)
				if at > 0 {
					b[at-1] = '!'
				}
				b[at] = byte(c)
				if want := c > ' ' && c < 0x7f; visible(b) != want {
					t.Fatalf("byte %#x at %d of %d: %v", c, at, n, !want)
				}
			}
		}
	}
	if !visible(nil) {
		t.Error("nothing is not visible")
	}
}
