package cert

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"testing"
	"unicode/utf8"
)

var update = flag.Bool("update", false, "write the golden files anew")

// goldenEntries are made of synthetic certificates only.
func goldenEntries(t testing.TB) map[string]*Input {
	full := spec{
		serial: unhex("0210 04a1b2c3d4e5f60718293a4b5c6d7e8f"),
		issuer: name(rdn("2.5.4.6", tagPrintable, "XX"), rdn("2.5.4.10", tagUTF8, "Test CA, Ltd."), rdn("2.5.4.3", tagPrintable, "Test OV CA 1")),
		subject: name(rdn("2.5.4.6", tagPrintable, "XX"), rdn("2.5.4.8", tagUTF8, "Ōita"), rdn("2.5.4.7", tagUTF8, "Beppu"),
			rdn("2.5.4.10", tagUTF8, "Example + Söhne"), rdn("2.5.4.11", tagUTF8, "Unit 1"), rdn("2.5.4.11", tagUTF8, "Unit 2"), cn(tagUTF8, "www.example.com")),
		key:    rsaKey(modulus(256), []byte{1, 0, 1}, []byte{tagNull, 0}),
		sigAlg: rsaSHA256,
		exts: [][]byte{
			ext("2.5.29.15", unhex("030205a0")),
			ext("2.5.29.37", tlv(tagSeq, oid("1.3.6.1.5.5.7.3.1"), oid("1.3.6.1.5.5.7.3.2"))),
			tlv(tagSeq, oid("2.5.29.19"), unhex("0101ff"), tlv(tagOctets, unhex("3000"))),
			ext("2.5.29.14", tlv(tagOctets, unhex("000102030405060708090a0b0c0d0e0f10111213"))),
			ext("2.5.29.35", tlv(tagSeq, str(0x80, "issuer key id"))),
			ext("1.3.6.1.5.5.7.1.1", tlv(tagSeq,
				tlv(tagSeq, oid("1.3.6.1.5.5.7.48.1"), str(gnURI, "http://ocsp.example")),
				tlv(tagSeq, oid("1.3.6.1.5.5.7.48.2"), str(gnURI, "http://ca.example/ca.crt")))),
			san(dns("www.example.com"), dns("*.example.com"), dns("Bad name"), str(gnIP, "\xc0\x00\x02\x01"),
				str(gnEmail, "admin@example.com"), str(gnURI, "https://example.com/x"), str(gnIP, "short")),
			ext("2.5.29.32", tlv(tagSeq, tlv(tagSeq, oid(policyOV)), tlv(tagSeq, oid("1.3.6.1.4.1.99999.1")))),
			ext("2.5.29.31", tlv(tagSeq, tlv(tagSeq, tlv(0xa0, tlv(0xa0, str(gnURI, "http://crl.example/1.crl")))))),
		},
	}
	pre, final := pair(t, full.with(poisonExt), full.with(sctExt))
	simplePre, simple := pair(t, spec{}.with(san(dns("example.com")), poisonExt), spec{}.with(san(dns("example.com")), sctExt))
	ca := spec{
		subject: name(rdn("2.5.4.10", tagUTF8, "Test CA")), issuer: name(rdn("2.5.4.10", tagUTF8, "Test CA")),
		validity: tlv(tagSeq, str(tagUTCTime, "200101000000Z"), str(tagGenTime, "20550101000000Z")),
		exts:     [][]byte{ext("2.5.29.19", unhex("30060101ff020100")), ext("2.5.29.15", unhex("03020106"))},
	}
	odd := spec{
		serial: unhex("0202 ff80"), validity: validity(tagUTCTime, "2505010000+0100", "250230000000Z"),
		subject: name(cn(tagT61, "M\xfcller"), cn(tagBMP, "\x00B"), rdn("1.2.3", tagOctets, "\x00")),
		exts:    [][]byte{ext("2.5.29.15", unhex("03020181")), ext("2.5.29.17", []byte{5, 0}), ext("2.5.29.35", unhex("30030000"))},
	}
	differs := *simplePre
	differs.Precert = full.with(poisonExt).cert()
	unknown := x509Leaf(spec{}.cert())
	unknown[11] = 9
	root := x509Input(ca.cert())
	root.Chain = nil
	return map[string]*Input{
		"ov-precert": pre, "ov-final": final, "dv-precert": simplePre, "dv-final": simple,
		"root": root, "odd": x509Input(odd.cert()), "precert-differs": &differs,
		"unknown-entry": {Leaf: unknown}, "refused": x509Input([]byte("not a certificate")),
		"version1": x509Input(spec{version: []byte{}, extList: []byte{}}.cert()),
	}
}

// jsonable turns a value of the schema into one that reads well: bytes in
// hex, zero values left out.
func jsonable(v reflect.Value) any {
	switch v.Kind() {
	case reflect.String:
		if s := v.String(); utf8.ValidString(s) {
			return s
		}
		return strconv.Quote(v.String())
	case reflect.Array, reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			b := make([]byte, v.Len())
			reflect.Copy(reflect.ValueOf(b), v)
			return hex.EncodeToString(b)
		}
		l := make([]any, v.Len())
		for i := range l {
			l[i] = jsonable(v.Index(i))
		}
		return l
	case reflect.Struct:
		m := map[string]any{}
		for i := range v.NumField() {
			if f := v.Field(i); !f.IsZero() {
				m[v.Type().Field(i).Name] = jsonable(f)
			}
		}
		return m
	}
	return v.Interface()
}

// TestGolden holds entries and their rows against files: the leaf, the
// precertificate if there is one, and the row as JSON. Run with -update after
// a change that is meant, and read the difference.
func TestGolden(t *testing.T) {
	dir := filepath.Join("testdata", "golden")
	seen := map[string]bool{}
	for entry, in := range goldenEntries(t) {
		t.Run(entry, func(t *testing.T) {
			in.LogID, in.Index = 0x0123456789abcdef, 1000
			row := parse(in)
			checkInvariants(t, row)
			m := jsonable(reflect.ValueOf(*row)).(map[string]any)
			m["Flags"] = Flag(row.Flags).String()
			delete(m, "Leaf") // the file beside
			delete(m, "DER")
			js, err := json.MarshalIndent(m, "", "\t")
			if err != nil {
				t.Fatal(err)
			}
			for ext, got := range map[string][]byte{".leaf": in.Leaf, ".precert": in.Precert, ".json": append(js, '\n')} {
				if got == nil {
					continue
				}
				path := filepath.Join(dir, entry+ext)
				seen[path] = true
				if *update {
					if err := os.MkdirAll(dir, 0o755); err != nil {
						t.Fatal(err)
					}
					if err := os.WriteFile(path, got, 0o644); err != nil {
						t.Fatal(err)
					}
					continue
				}
				want, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(got, want) {
					t.Errorf("%s differs; got\n%s", path, got)
				}
			}
		})
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden files: %v", err)
	}
	for _, f := range files {
		if !seen[f] {
			t.Errorf("%s belongs to no entry", f)
		}
	}
}

// TestGoldenPairs finds precertificate and certificate under one TBSID.
func TestGoldenPairs(t *testing.T) {
	e := goldenEntries(t)
	id := func(name string) [16]byte { return parse(e[name]).TBSID }
	if id("ov-precert") != id("ov-final") || id("dv-precert") != id("dv-final") {
		t.Error("a pair has two TBSIDs")
	}
	if id("ov-precert") == id("dv-precert") {
		t.Error("two certificates have one TBSID")
	}
}
