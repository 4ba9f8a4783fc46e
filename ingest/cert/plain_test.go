package cert

import (
	"maps"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"ctappliance/schema"
)

// TestShortWays: the short ways say what the general ones say, of certificates
// as they are, of odd ones, and of mutants of both.
func TestShortWays(t *testing.T) {
	testNoHashes = true
	defer func() { testNoHashes, testGeneral = false, false }()
	// Two parsers, because each remembers what it read.
	short, general := NewBatch(), NewBatch()
	short.p, general.p = newParser(), newParser()
	var got, want schema.Row
	check := func(in *Input) {
		testGeneral = false
		short.Add(in, &got)
		testGeneral = true
		general.Add(in, &want)
		testGeneral = false
		if Flag(want.Flags).Has(Panic) || !reflect.DeepEqual(got, want) {
			t.Fatalf("%+v, by the general way\n%+v\n%x\n%x", got, want, in.Leaf, in.Precert)
		}
	}
	var entries []Input
	golden := goldenEntries(t)
	for _, name := range slices.Sorted(maps.Keys(golden)) {
		entries = append(entries, *golden[name])
	}
	for _, w := range weirdCerts {
		entries = append(entries, *x509Input(w.der), Input{Leaf: precertLeaf(testIssuer, w.der), Precert: w.der})
	}
	basic, ski := ext("2.5.29.19", tlv(tagSeq)), ext("2.5.29.14", tlv(tagOctets, []byte("key")))
	for _, s := range []spec{
		{exts: [][]byte{ski, basic}},
		{exts: [][]byte{ext("2.5.29.18", tlv(tagSeq)), ski, ext("2.5.29.18", tlv(tagSeq))}},
		{extList: tlv(0xa3, tlv(tagSeq, ski, basic), []byte{tagNull, 0})},
		{extList: tlv(0xa3, tlv(tagSeq, ski, basic, []byte{tagNull, 0}))},
		{exts: [][]byte{ski}, after: []byte{tagNull, 0}},
		{subject: name(rdn("2.5.4.3", tagUTF8, "a"), rdn("2.5.4.3", tagUTF8, "b"))},
		{subject: name(rdn("2.5.4.3", tagUTF8, "a,b"))},
		{subject: name(rdn("2.5.4.3", tagUTF8, "a\xff"))},
		{subject: name(rdn("2.5.4.3", tagPrintable, "a_b"))},
		{subject: name(rdn("2.5.4.3", tagUTF8, ""))},
		{subject: name(rdn("2.5.4.3", tagUTF8, " a"), rdn("2.5.4.3", tagUTF8, "a "))},
		{subject: name(rdn("2.5.4.99", tagUTF8, "of no name"))},
	} {
		for cut := range 3 { // octets of the last extension that are missing
			c := s
			if n := len(s.exts); n > 0 {
				last := s.exts[n-1]
				c.exts = append(slices.Clone(s.exts[:n-1]), last[:len(last)-cut])
			}
			entries = append(entries, *x509Input(c.cert()))
		}
	}
	r := rand.New(rand.NewPCG(5, 6))
	some := func(entries []Input, n int) {
		for i := range entries {
			check(&entries[i])
		}
		for range n {
			in := entries[r.IntN(len(entries))]
			if len(in.Leaf) < 50 || len(in.Leaf) > 6000 {
				continue
			}
			if r.IntN(3) == 0 && in.Precert != nil {
				in.Precert = mutant(r, in.Precert)
			} else { // what is within the envelope, its length as it was or put right
				at := 15
				if in.Leaf[11] == 1 {
					at = 47
				}
				in.Leaf = slices.Concat(in.Leaf[:at], mutant(r, in.Leaf[at:]))
				if n := len(in.Leaf) - at - 2; n >= 0 && r.IntN(8) != 0 {
					in.Leaf[at-3], in.Leaf[at-2], in.Leaf[at-1] = byte(n>>16), byte(n>>8), byte(n)
				}
			}
			check(&in)
		}
	}
	some(entries, mutants()/4)
	t.Run("corpora", func(t *testing.T) {
		entries := tileEntries(t, filepath.Join(dataDir(t), "static", "navigli2025h2", "tile", "data"))
		for _, c := range append(liveCerts(t), oddCerts(t)...) {
			entries = append(entries, *asEntry(c.der))
		}
		some(entries, mutants())
	})
}

// TestShortWaysSuffice: what real logs hold needs the general ways for nothing.
func TestShortWaysSuffice(t *testing.T) {
	entries := tileEntries(t, filepath.Join(dataDir(t), "static", "navigli2025h2", "tile", "data"))
	p := newParser()
	missed := map[string]int{}
	miss := func(way string, ok bool) {
		if !ok {
			missed[way]++
		}
	}
	for i := range entries {
		row := parse(&entries[i])
		var pre certificate
		miss("openPlain", pre.openPlain(row.DER))
		x := &pre.tbs
		x.src = row.DER
		miss("splitPlain", x.splitPlain())
		p.row = new(schema.Row)
		miss("plainExtensions", p.plainExtensions(x))
		full := x.subject.full(x.src)
		miss("plainName", p.plainName(full, len(full)-len(x.subject.content(x.src)), &p.row.Subject))
		for _, name := range row.DNSNames {
			miss("plainHost", plainHost([]byte(strings.TrimPrefix(name, "*."))))
		}
		miss("plainKeys", slices.ContainsFunc(plainKeys[:], func(k plainKey) bool { return k.is(x.spki.full(x.src)) }))
	}
	if len(entries) == 0 || len(missed) != 0 {
		t.Errorf("of %d entries: %v", len(entries), missed)
	}
}

// TestPlainHost: every byte at every place of names of all lengths is as
// the table has it.
func TestPlainHost(t *testing.T) {
	plain := 0
	for n := range 70 {
		name := []byte(strings.Repeat("a", n))
		for at := range n {
			for c := range 256 {
				name[at] = byte(c)
				class := hostByte[byte(c)]
				want := n >= 8 && class != notHost && c != '_' && (c < 'A' || c > 'Z') && (c != '.' || at > 0 && at < n-1)
				if got := plainHost(name); got != want {
					t.Fatalf("%q: %v", name, got)
				}
				if want {
					plain++
				}
			}
			name[at] = '.'
			if at+1 < n { // two dots, side by side
				name[at+1] = '.'
				if plainHost(name) {
					t.Fatalf("%q is plain", name)
				}
				name[at+1] = 'a'
			}
			name[at] = 'a'
		}
		if plainHost([]byte(strings.Repeat("0", n))) {
			t.Errorf("%d zeros are plain", n)
		}
	}
	if plain == 0 {
		t.Error("nothing is plain")
	}
}

// TestLongNames: labels of more than 63 octets are none, wherever they are.
func TestLongNames(t *testing.T) {
	for _, n := range []int{62, 63, 64, 65} {
		for before := range 80 {
			for after := range 5 {
				name := strings.Repeat("a", n) + "." + strings.Repeat("b.", 10*after) + "com"
				if before > 0 {
					name = strings.Repeat("a", before%63+1) + "." + name
				}
				if len(name) > 253 {
					continue
				}
				if got := plainDNSName([]byte(name)); got != (n <= 63) {
					t.Fatalf("%q: %v", name, got)
				}
			}
		}
	}
}

// TestHead: what head reads is what next reads; and it reads what is in DER, but
// at the end.
func TestHead(t *testing.T) {
	for tag := range 256 {
		for _, n := range []int{0, 1, 2, 3, 0x7f, 0x80, 0xff, 0x100, 0xffff, 0x10000} {
			der := slices.Concat([]byte("..."), tlv(byte(tag), make([]byte, n)), []byte("..."))
			short := n < 0x10000 && tag&0x1f != 0x1f
			for cut := range min(len(der), 12) {
				b := der[:len(der)-cut]
				got, body, stop := head(b, 3)
				c := cur{b: b, at: 3}
				var e elem
				ok := c.next(&e)
				if stop != 0 && (!ok || c.flags != 0 || got != e.tag || body != int(e.body) || stop != int(e.stop)) {
					t.Fatalf("% x: %x [%d, %d), next %v %+v", b[:min(len(b), 12)], got, body, stop, ok, e)
				}
				if short && len(b) >= 7 && ok && stop == 0 {
					t.Fatalf("% x: not read", b[:min(len(b), 12)])
				}
			}
		}
	}
	// Lengths that are not minimal, not definite, or too long for what is there.
	for _, b := range []string{"\x30\x81\x7f", "\x30\x82\x00\xff", "\x30\x80\x00\x00", "\x30\x83\x00\x01\x00", "\x30\x84"} {
		if _, _, stop := head([]byte(b+strings.Repeat("\x00", 300)), 0); stop != 0 {
			t.Errorf("%x is read", b)
		}
	}
	if _, _, stop := head(make([]byte, 8), -1); stop != 0 {
		t.Error("something is read before the beginning")
	}
}

// TestNear: what is looked for where something else was the last time is not
// taken for it.
func TestNear(t *testing.T) {
	p := newParser()
	parse := func(s spec) (row schema.Row) {
		b := NewBatch()
		b.p, p = p, nil
		b.Add(x509Input(s.cert()), &row)
		p, b.p = b.p, nil
		b.End()
		return row
	}
	// Names that differ in their first attribute only are looked for in one place.
	long := strings.Repeat("x", 60)
	of := func(c string) []byte {
		return name(rdn("2.5.4.6", tagPrintable, c), rdn("2.5.4.10", tagUTF8, long), rdn("2.5.4.3", tagUTF8, long))
	}
	usages := func(ids ...string) []byte {
		var all []byte
		for _, id := range ids {
			all = append(all, oid(id)...)
		}
		return ext("2.5.29.37", tlv(tagSeq, all))
	}
	if nameSlot(of("DE")) != nameSlot(of("FR")) {
		t.Fatal("the names are looked for in different places")
	}
	basic, ski := ext("2.5.29.19", tlv(tagSeq)), ext("2.5.29.14", tlv(tagOctets, []byte("key")))
	for range 2 {
		for _, c := range []string{"DE", "FR"} {
			for _, want := range []struct {
				usages     []string
				exts       [][]byte
				extensions []string
			}{
				{[]string{"1.3.6.1.5.5.7.3.1"}, [][]byte{basic}, []string{"2.5.29.37", "2.5.29.19"}},
				{[]string{"1.3.6.1.5.5.7.3.2"}, [][]byte{ski}, []string{"2.5.29.37", "2.5.29.14"}},
			} {
				row := parse(spec{issuer: of(c), exts: append([][]byte{usages(want.usages...)}, want.exts...)})
				if !slices.Equal(row.Issuer.Countries, []string{c}) || !slices.Equal(row.ExtKeyUsage, want.usages) ||
					!slices.Equal(row.Extensions, want.extensions) || row.Status != schema.StatusOK {
					t.Errorf("of %s, %v, %v: %v, %v, %v; status %d", c, want.usages, want.extensions,
						row.Issuer.Countries, row.ExtKeyUsage, row.Extensions, row.Status)
				}
			}
		}
	}
}

// TestPlainKeys: of the usual sizes, keys are what the general way reads; with
// a modulus that begins with a zero bit too.
func TestPlainKeys(t *testing.T) {
	defer func() { testGeneral = false }()
	for _, n := range []int{2048, 3072, 4096} {
		for _, first := range []byte{0x7f, 0x80, 0xff} {
			m := modulus(n / 8)
			m[1] = first
			var got [2]*schema.Row
			for i := range got {
				testGeneral = i == 1
				got[i] = parseX509(spec{key: rsaKey(m, []byte{1, 0, 1}, tlv(tagNull))}.cert())
			}
			if !reflect.DeepEqual(got[0], got[1]) || first >= 0x80 && (int(got[0].KeyBits) != n || got[0].Flags != 0) {
				t.Errorf("%d bits, first %x: %d bits [%v], by the general way %d [%v]", n, first,
					got[0].KeyBits, Flag(got[0].Flags), got[1].KeyBits, Flag(got[1].Flags))
			}
		}
	}
}

// TestPoisonElsewhere: a precertificate is found to fit its leaf wherever its
// poison is, and wherever the last one was; and what stands there instead does
// not pass for one.
func TestPoisonElsewhere(t *testing.T) {
	a, b := ext("1.2.1", []byte("aaaa")), ext("1.2.2", []byte("bbbb"))
	poison := []byte(poisonExtension)
	other := slices.Clone(poison)
	other[13]++ // as long, and another identifier
	leaf := spec{exts: [][]byte{a, b}}.tbs()
	p := newParser()
	fits := func(exts ...[]byte) bool {
		var row schema.Row
		batch := NewBatch()
		batch.p, p = p, nil
		batch.Add(&Input{Leaf: precertLeaf(testIssuer, leaf), Precert: spec{exts: exts}.cert()}, &row)
		p, batch.p = batch.p, nil
		batch.End()
		return row.Poison && Flag(row.Flags)&(TBSDiffers|PrecertBad) == 0
	}
	for range 2 {
		for _, exts := range [][][]byte{{poison, a, b}, {a, poison, b}, {a, b, poison}} {
			if !fits(exts...) {
				t.Errorf("%x does not fit", exts)
			}
			for i := range exts {
				if slices.Equal(exts[i], poison) {
					changed := slices.Clone(exts)
					changed[i] = other
					if fits(changed...) {
						t.Errorf("%x fits", changed)
					}
				}
			}
		}
	}
}
