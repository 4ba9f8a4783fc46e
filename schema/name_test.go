package schema

import (
	"strings"
	"testing"
)

func TestReverseName(t *testing.T) {
	long := strings.Repeat("a.", 126) + "b"   // 253 bytes
	label := strings.Repeat("a", maxDNSLabel) // 63 bytes
	for _, c := range []struct {
		dns      string
		rname    string
		wildcard bool
		ok       bool
	}{
		{"www.example.com", "com.example.www.", false, true},
		{"*.www.example.com", "com.example.www.", true, true},
		{"WWW.Example.COM", "com.example.www.", false, true},
		{"example.com.", "com.example.", false, true},
		{"*.example.com.", "com.example.", true, true},
		{"com", "com.", false, true},
		{"*.com", "com.", true, true},
		{"xn--bcher-kva.example", "example.xn--bcher-kva.", false, true},
		{"_dmarc.example.com", "com.example._dmarc.", false, true},
		{"f*.example.com", "com.example.f*.", false, true},
		{"a.*.example.com", "com.example.*.a.", false, true},
		{"192.0.2.1", "1.2.0.192.", false, true},
		{"user@example.com", "com.user@example.", false, true},
		{long, "b." + strings.Repeat("a.", 126), false, true},
		{long + ".", "b." + strings.Repeat("a.", 126), false, true},
		{"*." + long, "b." + strings.Repeat("a.", 126), true, true},
		{label + ".a", "a." + label + ".", false, true},
		{"", "", false, false},
		{".", "", false, false},
		{"..", "", false, false},
		{"*", "", false, false},
		{"*.", "", false, false},
		{"*..", "", false, false},
		{".com", "", false, false},
		{"a..b", "", false, false},
		{"a.b..", "", false, false},
		{long + "c", "", false, false},
		{label + "a.a", "", false, false},
		{"a b.com", "", false, false},
		{"a\x00.com", "", false, false},
		{"a\x7f.com", "", false, false},
		{"bücher.example", "", false, false},
		{"caf\xe9.example", "", false, false},
	} {
		rname, wildcard, ok := ReverseName(c.dns)
		if rname != c.rname || wildcard != c.wildcard || ok != c.ok {
			t.Errorf("ReverseName(%q) = %q, %v, %v; want %q, %v, %v", c.dns, rname, wildcard, ok, c.rname, c.wildcard, c.ok)
		}
		b, w, ok := AppendReverseName([]byte("before:"), c.dns)
		if string(b) != "before:"+c.rname || w != c.wildcard && ok || ok != c.ok {
			t.Errorf("AppendReverseName(%q) = %q, %v, %v", c.dns, b, w, ok)
		}
	}
}

// TestReverseNameRange holds a domain and all below it to be one range.
func TestReverseNameRange(t *testing.T) {
	for _, c := range []struct {
		dns string
		in  bool
	}{
		{"example.com", true}, {"a.example.com", true}, {"z.y.example.com", true}, {"*.example.com", true},
		{"-.example.com", true}, {"~.example.com", true},
		{"example-a.com", false}, {"examplea.com", false}, {"example.net", false}, {"com", false}, {"example/.com", false},
	} {
		r, _, ok := ReverseName(c.dns)
		if in := r >= "com.example." && r < "com.example/"; !ok || in != c.in {
			t.Errorf("%s: %q is in the range of example.com: %v", c.dns, r, in)
		}
	}
}

func FuzzReverseName(f *testing.F) {
	for _, s := range []string{"www.example.com", "*.a.b.", "a..b", "", "A_b.C"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, dns string) {
		r, wildcard, ok := ReverseName(dns)
		if !ok {
			if r != "" || wildcard {
				t.Errorf("%q: not ok, yet %q, %v", dns, r, wildcard)
			}
			return
		}
		// Turned around again it is the name, but for case and trailing dot.
		labels := strings.Split(strings.TrimSuffix(r, "."), ".")
		var back strings.Builder
		if wildcard {
			back.WriteString("*.")
		}
		for i := len(labels) - 1; i >= 0; i-- {
			back.WriteString(labels[i])
			if i > 0 {
				back.WriteByte('.')
			}
		}
		if !strings.EqualFold(back.String(), strings.TrimSuffix(dns, ".")) {
			t.Errorf("%q gives %q, which is %q", dns, r, back.String())
		}
		if len(r) > maxDNSName+1 {
			t.Errorf("%q gives %d bytes", dns, len(r))
		}
	})
}

func BenchmarkAppendReverseName(b *testing.B) {
	b.ReportAllocs()
	buf := make([]byte, 0, 256)
	for range b.N {
		buf, _, _ = AppendReverseName(buf[:0], "*.www.example.com")
	}
}
