package cert

import (
	"bytes"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"

	"ctappliance/schema"
)

// TestLimits meets each bound on both sides.
func TestLimits(t *testing.T) {
	repeat := func(n int, f func(i int) []byte) [][]byte {
		var out [][]byte
		for i := range n {
			out = append(out, f(i))
		}
		return out
	}
	oids := func(id string, n int, wrap bool) spec {
		list := repeat(n, func(i int) []byte {
			o := oid(fmt.Sprint("1.2.3.", i))
			if wrap {
				o = tlv(tagSeq, o)
			}
			return o
		})
		return spec{exts: [][]byte{ext(id, tlv(tagSeq, list...))}}
	}
	urls := func(n int) spec {
		return spec{exts: [][]byte{ext("1.3.6.1.5.5.7.1.1", tlv(tagSeq, repeat(n, func(i int) []byte {
			return tlv(tagSeq, oid("1.3.6.1.5.5.7.48.1"), str(gnURI, fmt.Sprint("http://", i)))
		})...))}}
	}
	for _, c := range []struct {
		name  string
		spec  spec
		flags Flag
		got   func(*schema.Row) int
		want  int
	}{
		{"10,000 names", spec{exts: [][]byte{san(repeat(10_000, func(i int) []byte { return dns("a.example") })...)}}, 0, func(r *schema.Row) int { return len(r.DNSNames) }, 10_000},
		{"10,001 names", spec{exts: [][]byte{san(repeat(10_001, func(i int) []byte { return dns("a.example") })...)}}, SANMany, func(r *schema.Row) int { return len(r.DNSNames) }, 10_000},
		{"10,001 names, counted", spec{exts: [][]byte{san(repeat(10_001, func(i int) []byte { return dns("a.example") })...)}}, SANMany, func(r *schema.Row) int { return int(r.SANCount) }, 10_001},
		{"10,001 names of all kinds", spec{exts: [][]byte{san(repeat(10_001, func(i int) []byte {
			return [][]byte{dns("a.example"), str(gnIP, "abcd"), str(gnEmail, "a@b"), str(gnURI, "http://a"), str(0x88, "*")}[i%5]
		})...)}}, SANMany, func(r *schema.Row) int {
			return len(r.DNSNames) + len(r.IPs) + len(r.Emails) + len(r.URIs) + len(r.OtherNames)
		}, 10_000},
		{"10,000 names in two extensions, then more", spec{exts: [][]byte{
			san(repeat(6_000, func(i int) []byte { return dns("a.example") })...),
			san(repeat(6_000, func(i int) []byte { return dns("b.example") })...)}}, SANMany | ExtDup, func(r *schema.Row) int { return len(r.DNSNames) }, 10_000},
		{"128 key usages", oids("2.5.29.37", maxOIDs, false), 0, func(r *schema.Row) int { return len(r.ExtKeyUsage) }, maxOIDs},
		{"129 key usages", oids("2.5.29.37", maxOIDs+1, false), ListMany, func(r *schema.Row) int { return len(r.ExtKeyUsage) }, maxOIDs},
		{"128 policies", oids("2.5.29.32", maxOIDs, true), 0, func(r *schema.Row) int { return len(r.Policies) }, maxOIDs},
		{"129 policies", oids("2.5.29.32", maxOIDs+1, true), ListMany, func(r *schema.Row) int { return len(r.Policies) }, maxOIDs},
		{"key usages in two extensions", spec{exts: append(oids("2.5.29.37", 100, false).exts, oids("2.5.29.37", 100, false).exts...)}, ListMany | ExtDup, func(r *schema.Row) int { return len(r.ExtKeyUsage) }, maxOIDs},
		{"policies in two extensions", spec{exts: append(oids("2.5.29.32", 100, true).exts, oids("2.5.29.32", 100, true).exts...)}, ListMany | ExtDup, func(r *schema.Row) int { return len(r.Policies) }, maxOIDs},
		{"URLs in two extensions", spec{exts: append(urls(60).exts, urls(60).exts...)}, ListMany | ExtDup, func(r *schema.Row) int { return len(r.OCSP) }, maxURLs},
		{"64 URLs", urls(maxURLs), 0, func(r *schema.Row) int { return len(r.OCSP) }, maxURLs},
		{"65 URLs", urls(maxURLs + 1), ListMany, func(r *schema.Row) int { return len(r.OCSP) }, maxURLs},
		{"a URL too long", spec{exts: [][]byte{ext("1.3.6.1.5.5.7.1.1", tlv(tagSeq, tlv(tagSeq, oid("1.3.6.1.5.5.7.48.1"), str(gnURI, strings.Repeat("u", maxURL+1)))))}}, ListMany, func(r *schema.Row) int { return len(r.OCSP) }, 0},
		{"256 extensions", spec{exts: repeat(maxExtensions, func(i int) []byte { return ext(fmt.Sprint("1.2.3.", i)) })}, 0, func(r *schema.Row) int { return len(r.Extensions) }, maxExtensions},
		{"257 extensions", spec{exts: repeat(maxExtensions+1, func(i int) []byte { return ext(fmt.Sprint("1.2.3.", i)) })}, ListMany, func(r *schema.Row) int { return len(r.Extensions) }, maxExtensions},
		{"names behind 300 extensions", spec{exts: append(repeat(300, func(i int) []byte { return ext(fmt.Sprint("1.2.3.", i)) }), san(dns("a.example")))}, ListMany, func(r *schema.Row) int { return len(r.DNSNames) }, 1},
		{"names twice behind 300 extensions", spec{exts: append(repeat(300, func(i int) []byte { return ext(fmt.Sprint("1.2.3.", i)) }), san(dns("a.example")), san(dns("b.example")))}, ListMany | ExtDup, func(r *schema.Row) int { return len(r.DNSNames) }, 2},
		{"65 SCTs", spec{exts: [][]byte{ext("1.3.6.1.4.1.11129.2.4.2", tlv(tagOctets, sctListOf(repeat(65, func(i int) []byte { return sct(byte(i)) })...)))}}, ListMany, func(r *schema.Row) int { return len(r.SCTs) }, maxSCTs},
		{"256 attributes", subject(repeat(maxNameAttrs, func(i int) []byte { return cn(tagUTF8, "x") })...), 0, func(r *schema.Row) int { return len(r.Subject.CommonNames) }, maxNameAttrs},
		{"257 attributes", subject(repeat(maxNameAttrs+1, func(i int) []byte { return cn(tagUTF8, "x") })...), NameMany, func(r *schema.Row) int { return len(r.Subject.CommonNames) }, maxNameAttrs},
		{"a common name of 10 kB", subject(cn(tagUTF8, strings.Repeat("x", 10_000))), 0, func(r *schema.Row) int { return len(r.Subject.CommonNames[0]) }, 10_000},
		{"a common name too long", subject(cn(tagUTF8, strings.Repeat("é", maxNameValue))), NameMany, func(r *schema.Row) int { return len(r.Subject.CommonNames[0]) }, maxNameValue},
		{"cut at a whole character", subject(cn(tagUTF8, "x"+strings.Repeat("é", maxNameValue))), NameMany, func(r *schema.Row) int { return len(r.Subject.CommonNames[0]) }, maxNameValue - 1},
		{"a name of 40 long values", subject(repeat(40, func(i int) []byte { return cn(tagUTF8, strings.Repeat("x", 8192)) })...), NameMany, func(r *schema.Row) int { return len(r.Subject.Text) / 10_000 }, 6},
		{"an OID too long", spec{exts: [][]byte{ext("2.5.29.37", tlv(tagSeq, tlv(tagOID, bytes.Repeat([]byte{1}, maxOID+1))))}}, ExtBad | OIDOdd, func(r *schema.Row) int { return len(r.ExtKeyUsage[0]) }, 1 + 2*maxOID},
	} {
		t.Run(c.name, func(t *testing.T) {
			row := parseX509(c.spec.cert())
			if Flag(row.Flags) != c.flags || row.Status > odd {
				t.Errorf("flags %v (%s), want %v", Flag(row.Flags), row.Error, c.flags)
			}
			if got := c.got(row); got != c.want {
				t.Errorf("got %d, want %d", got, c.want)
			}
			checkInvariants(t, row)
		})
	}
}

// TestOversize keeps what is larger than the parser accepts.
func TestOversize(t *testing.T) {
	pad := func(n int) spec { return spec{exts: [][]byte{ext("1.2.3.4", make([]byte, n))}} }
	n := MaxCertificate - len(pad(MaxCertificate).cert()) + MaxCertificate
	if got := len(pad(n).cert()); got != MaxCertificate {
		t.Fatalf("certificate of %d bytes", got)
	}
	if row := parseX509(pad(n).cert()); row.Status != schema.StatusOK {
		t.Errorf("1 MiB: status %d, %s", row.Status, row.Error)
	}
	big := pad(n + 1)
	small := pad(1)
	for name, in := range map[string]*Input{
		"certificate":    x509Input(big.cert()),
		"leaf TBS":       {Leaf: precertLeaf(testIssuer, pad(n+1000).tbs()), Precert: small.cert()},
		"precertificate": {Leaf: precertLeaf(testIssuer, small.tbs()), Precert: big.cert()},
	} {
		row := parse(in)
		if row.Status != schema.StatusOversize || Flag(row.Flags) != Oversize || row.Serial != nil || row.Error == "" {
			t.Errorf("%s: status %d, flags %v", name, row.Status, Flag(row.Flags))
		}
		if len(row.DER) == 0 || !bytes.Equal(row.Leaf, in.Leaf) || row.TBSID != leafID(in.Leaf) {
			t.Errorf("%s: the bytes are not kept", name)
		}
		checkInvariants(t, row)
	}
}

// TestDepth nests indefinite lengths, the only recursion there is.
func TestDepth(t *testing.T) {
	nest := func(n int) []byte {
		return slices.Concat(bytes.Repeat([]byte{0x30, 0x80}, n), bytes.Repeat([]byte{0, 0}, n))
	}
	var e elem
	c := cur{b: nest(maxDepth)}
	if !c.next(&e) || c.more() || c.flags != BER {
		t.Errorf("%d levels are refused", maxDepth)
	}
	c = cur{b: nest(maxDepth + 1)}
	if c.next(&e) {
		t.Errorf("%d levels are accepted", maxDepth+1)
	}
	// A primitive element has no end to look for.
	c = cur{b: []byte{tagOctets, 0x80, 0, 0}}
	if c.next(&e) {
		t.Error("a primitive element of indefinite length is accepted")
	}
	// Nesting as deep as a certificate is large costs no stack.
	row := parseX509(slices.Concat(bytes.Repeat([]byte{0x30, 0x80}, 500_000), []byte{0, 0}))
	if row.Status != refused || !Flag(row.Flags).Has(BER) {
		t.Errorf("status %d, flags %v", row.Status, Flag(row.Flags))
	}
}

// TestAllocations bounds the memory that a certificate takes by its size,
// whatever is in it.
func TestAllocations(t *testing.T) {
	many := bytes.Repeat(dns(""), 250_000)
	for name, der := range map[string][]byte{
		"poison and others":   spec{exts: [][]byte{bytes.Repeat(slices.Concat(poisonExt, ext("1.2")), 25_000)}}.cert(),
		"250,000 empty names": spec{exts: [][]byte{san(many)}}.cert(),
		"BMP name":            subject(cn(tagBMP, strings.Repeat("\x30\x42", 250_000))).cert(),
		"control characters":  subject(cn(tagUTF8, strings.Repeat("\x00", 500_000))).cert(),
		"many attributes":     subject(bytes.Repeat(cn(tagUTF8, ""), 40_000)).cert(),
		"many extensions":     spec{exts: [][]byte{bytes.Repeat(ext("2.5.29.37", unhex("30020600")), 50_000)}}.cert(),
		"many poisons":        spec{exts: [][]byte{bytes.Repeat(poisonExt, 40_000)}}.cert(),
	} {
		in := x509Input(der)
		var row schema.Row
		Parse(in, &row) // fills the pool
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		Parse(in, &row)
		runtime.ReadMemStats(&after)
		checkInvariants(t, &row)
		if row.Status > odd {
			t.Errorf("%s: %s", name, row.Error)
		}
		if took := after.TotalAlloc - before.TotalAlloc; took > uint64(10*len(der)) {
			t.Errorf("%s: a certificate of %d bytes took %d", name, len(der), took)
		}
	}
}
