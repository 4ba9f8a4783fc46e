package store

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"ctappliance/schema"
)

// pair makes the rows of a precertificate and its final certificate.
func pair() (pre, final schema.Row) {
	pre = rowsOf(1, 10, 1)[0]
	pre.EntryType, pre.Poison = schema.PrecertEntry, true
	pre.Fingerprint = schema.Hash{1, 2, 3}
	pre.DNSNames = []string{"a.example.com", "*.example.com", "A.Example.com", "example.com", "not a name", "a.example.com"}
	pre.Subject = schema.Name{CommonNames: []string{"a.example.com"}, Text: "CN=a.example.com"}
	pre.Subject.Raw = append([]byte{0x30, 24, 0x31, 22, 0x30, 20, 6, 3, 0x55, 4, 3, 12, 13}, "a.example.com"...)
	pre.Issuer = schema.Name{CommonNames: []string{"R10"}, Organizations: []string{"Let's Encrypt"}, Text: "CN=R10,O=Let's Encrypt"}
	pre.IssuerKeyHash = schema.Hash{9: 1, 0: 7}
	pre.KeyAlg, pre.KeyBits, pre.KeyOID = schema.KeyEC, 256, "1.2.840.10045.3.1.7"
	pre.SigAlg, pre.SigOID = schema.SigSHA256RSA, "1.2.840.113549.1.1.11"
	pre.KeyUsage = 1<<0 | 1<<2
	pre.ExtKeyUsage = []string{"1.3.6.1.5.5.7.3.1", "1.2.3.4"}
	pre.Validation = schema.ValidationDV
	pre.Extensions = []string{"2.5.29.15", "1.3.6.1.4.1.11129.2.4.3"}
	pre.Flags = 1
	pre.SANCount = uint32(len(pre.DNSNames)) + 2
	pre.IPs = [][]byte{{192, 0, 2, 1}, {0x20, 0x01, 0x0d, 0xb8, 15: 1}}

	final = pre
	final.LogID, final.Index = 2, 77
	final.EntryType, final.Poison = schema.X509Entry, false
	final.Fingerprint = schema.Hash{0xab, 0xcd, 31: 0}
	final.Extensions = []string{"2.5.29.15", "1.3.6.1.4.1.11129.2.4.2"}
	final.SCTs = []schema.SCT{{LogID: schema.Hash{5}, Timestamp: 1_790_000_000_123}, {LogID: schema.Hash{4}, Timestamp: 1 << 63}}
	final.Flags = 2
	return pre, final
}

func TestPrecertAndFinalAreOne(t *testing.T) {
	pre, final := pair()
	want := map[string]string{
		"id":                          hex.EncodeToString(pre.TBSID[:]),
		"sha256":                      "abcd" + strings.Repeat("00", 30),
		"precert_sha256_prefix":       "010203" + strings.Repeat("00", 13),
		"has_final":                   "true",
		"has_precert":                 "true",
		"common_name":                 "a.example.com",
		"subject":                     "CN=a.example.com",
		"names":                       "['a.example.com','*.example.com','A.Example.com','example.com','not a name','a.example.com']",
		"ips":                         "['192.0.2.1','2001:db8::1']",
		"san_count":                   "8",
		"issuer_cn":                   "R10",
		"issuer_org":                  "Let's Encrypt",
		"key_type":                    "EC P-256",
		"signature":                   "SHA256-RSA",
		"validation":                  "DV",
		"key_usages":                  "['digitalSignature','keyEncipherment']",
		"ext_key_usages":              "['serverAuth','1.2.3.4']",
		"extensions":                  "['2.5.29.15','1.3.6.1.4.1.11129.2.4.2']",
		"flags":                       "3",
		"serial_number":               "010000",
		"toUnixTimestamp(not_before)": "1780000000",
		"length(scts)":                "2",
		"toString(scts[1].2)":         "2026-09-21 14:13:20.123",
	}
	for _, order := range [][]schema.Row{{pre, final}, {final, pre}, {final, pre, final}, {pre, final, pre}} {
		for _, merged := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d rows, first type %d, merged %v", len(order), order[0].EntryType, merged), func(t *testing.T) {
				s, _ := openEngine(t, func(c *Config) { c.RecentBits = -1 })
				for i, r := range order {
					if err := s.InsertDependents(t.Context(), flushOf(uint64(i+1), []schema.Row{r})); err != nil {
						t.Fatal(err)
					}
				}
				if merged {
					exec(t, s, "OPTIMIZE TABLE {db}.certs FINAL")
					if n := one(t, s, "SELECT count() FROM {db}.certs"); n != "1" {
						t.Errorf("after the merge there are %s rows", n)
					}
				}
				if n := one(t, s, "SELECT count() FROM {db}.certificates"); n != "1" {
					t.Errorf("the view shows %s rows, want 1", n)
				}
				for column, v := range want {
					if got := one(t, s, "SELECT "+column+" FROM {db}.certificates"); got != v {
						t.Errorf("%s is %s, want %s", column, got, v)
					}
				}
				if got := one(t, s, "SELECT arrayStringConcat(groupArray(concat(rname, toString(wildcard))), ' ') FROM (SELECT DISTINCT rname, wildcard FROM {db}.name_certs ORDER BY rname, wildcard)"); got != "com.example.false com.example.true com.example.a.false" {
					t.Errorf("names are %s", got)
				}
			})
		}
	}
}

func TestLookupsUseTheIndex(t *testing.T) {
	s, _ := openEngine(t, nil)
	const n = 50_000
	rows := rowsOf(1, 0, n)
	for i := range rows {
		r := &rows[i]
		for j := range 8 {
			r.Fingerprint[j+2] = byte(r.Index*2654435761>>(8*j%32)) ^ byte(j*i>>8)
			r.SPKI[j] = r.Fingerprint[j+2] ^ 0x55
		}
		r.Serial = r.Fingerprint[:12]
	}
	insert(t, s, flushOf(1, rows))
	exec(t, s, "OPTIMIZE TABLE {db}.certs FINAL")
	r := &rows[n/2]
	all := one(t, s, "SELECT sum(marks) - count() FROM system.parts WHERE database = '{db}' AND table = 'certs' AND active")
	for name, where := range map[string]string{
		"tbs_id":  fmt.Sprintf("{db}.certificates WHERE tbs_id = unhex('%x')", r.TBSID),
		"entry":   "{db}.certificates_for_entry(log_id = 1, idx = 25000)",
		"tbs8 in": "{db}.certificates WHERE tbs8 IN (SELECT tbs8 FROM {db}.entries WHERE log_id = 1 AND idx = 25000)",
		"sha256":  fmt.Sprintf("{db}.certificates WHERE sha256 = '%x'", r.Fingerprint),
		"serial":  fmt.Sprintf("{db}.certificates WHERE serial_number = '%x'", r.Serial),
		"spki":    fmt.Sprintf("{db}.certificates WHERE spki_sha256_prefix = '%x'", r.SPKI[:16]),
		"domain":  "{db}.certificates_for_domain(domain = 'HOST25000.example.com.')",
	} {
		t.Run(name, func(t *testing.T) {
			if got := one(t, s, "SELECT arrayStringConcat(groupArray(names[1])) FROM "+where); got != r.DNSNames[0] {
				t.Errorf("found %q, want %s", got, r.DNSNames[0])
			}
			plan, err := s.Rows(t.Context(), "EXPLAIN indexes = 1 SELECT id, names FROM "+strings.ReplaceAll(where, "{db}", "t"))
			if err != nil {
				t.Fatal(err)
			}
			// The last "Granules: a/b" of the read from certs says what is read.
			in, read := false, ""
			for _, row := range plan {
				line := strings.TrimLeft(row[0], " │├└─")
				if strings.HasPrefix(line, "ReadFromMergeTree") {
					in = strings.Contains(line, ".certs)")
				}
				if g, ok := strings.CutPrefix(line, "Parts: "); ok && in && strings.Contains(g, "| Granules: ") {
					_, read, _ = strings.Cut(g, "Granules: ")
				}
			}
			var granules int
			if _, err := fmt.Sscan(read, &granules); err != nil || granules > 12 { // a few for false positives of the bloom filter
				t.Errorf("reads %q of %s granules of certs", read, all)
				for _, row := range plan {
					t.Log(row[0][:min(len(row[0]), 150)])
				}
			}
		})
	}
}

func TestWeirdBytes(t *testing.T) {
	s, _ := openEngine(t, nil)
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	weird := []string{"", "\x00", "\xff\xfe", string(all), "'; DROP TABLE t.certs; --", strings.Repeat("x", 1<<20), "\u202egnp.exe", "\\N", "{x:String}"}
	r := rowsOf(1, 0, 1)[0]
	r.TBSID = [16]byte{0: 1} // zeros at the end of both halves
	r.DNSNames = weird
	for i := range 60_000 {
		r.DNSNames = append(r.DNSNames, fmt.Sprintf("n%d.example.com", i))
	}
	r.Subject = schema.Name{CommonNames: weird, Text: string(all), Raw: all}
	r.Issuer = schema.Name{CommonNames: weird, Text: string(all), Raw: all}
	r.URIs, r.Emails, r.OCSP, r.Policies = weird, weird, weird, weird
	r.IPs = [][]byte{nil, {1}, all, {1, 2, 3, 4}}
	r.OtherNames = []schema.OtherName{{Tag: 255, Value: all}, {Tag: 0}}
	r.Serial, r.AKI, r.SKI = all, all, all
	r.Status, r.Error, r.DER = schema.StatusOdd, string(all), bytes.Repeat(all, 4096)
	r.EntryType = 200 // no value of the enum
	r.KeyAlg, r.SigAlg, r.Validation = 250, 254, 77
	f := flushOf(1, []schema.Row{r})
	insert(t, s, f)
	complete(t, s, f)

	rows, err := s.Rows(t.Context(), "SELECT issuer_text, issuer_der FROM t.profiles")
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) != 1 || rows[0][0] != string(all) || rows[0][1] != string(all) {
		t.Error("256 bytes did not come back as they were")
	}
	for i, w := range weird {
		if got := one(t, s, fmt.Sprintf("SELECT names[%d] FROM {db}.certs", i+1)); got != w {
			t.Errorf("name %.50q came back as %.50q", w, got)
		}
	}
	if got := one(t, s, "SELECT count() FROM {db}.name_certs"); got != fmt.Sprint(schema.MaxIndexedNames) {
		t.Errorf("%s names are indexed, want %d", got, schema.MaxIndexedNames)
	}
	if got := one(t, s, "SELECT length(names) FROM {db}.certificates_for_domain(domain = 'n17.example.com')"); got != "60009" {
		t.Errorf("the view shows %s names, want 60009", got)
	}
	if got := one(t, s, "SELECT length(der) FROM {db}.problems WHERE sha256 = unhex({h:String})", Param("h", hex.EncodeToString(r.Fingerprint[:]))); got != fmt.Sprint(len(r.DER)) {
		t.Errorf("der has %s bytes, want %d", got, len(r.DER))
	}
	// The flat view must show the row whatever is in it.
	a, err := s.Query(t.Context(), 0, "SELECT * EXCEPT (names) FROM t.certificates")
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range a.Rows[0] {
		if Safe(v) == "" && v != "" || strings.ContainsAny(v, "\x00\x1b\n\u202e\x7f") {
			t.Errorf("%s is not safe to print: %.100q", a.Columns[i], v)
		}
	}
}

func TestKeepDER(t *testing.T) {
	s, _ := openEngine(t, func(c *Config) { c.KeepDER = true })
	rows := rowsOf(1, 0, 3)
	for i := range rows {
		rows[i].DER = []byte{0x30, byte(i)}
	}
	f := flushOf(1, rows)
	insert(t, s, f)
	if got := one(t, s, "SELECT arrayStringConcat(groupArray(hex(der)), ',') FROM (SELECT der FROM {db}.der ORDER BY der)"); got != "3000,3001,3002" {
		t.Errorf("der holds %s", got)
	}
	if got := one(t, s, "SELECT count() FROM {db}.problems"); got != "0" {
		t.Errorf("problems holds %s rows of certificates that are ok", got)
	}
}

func TestRecentlySeen(t *testing.T) {
	s, e := openEngine(t, func(c *Config) { c.RecentBits = 20 })
	count := func(table string) string { return one(t, s, "SELECT count() FROM {db}."+table) }
	rows := rowsOf(1, 0, 100)
	insert(t, s, flushOf(1, rows))
	for i := range rows {
		rows[i].LogID = 2 // the same certificates from another log
	}
	f := flushOf(2, rows)
	insert(t, s, f)
	if count("certs") != "100" || count("name_certs") != "100" || count("names") != "100" || count("profiles") != "1" {
		t.Errorf("rows were written again: %s certs, %s name_certs, %s names", count("certs"), count("name_certs"), count("names"))
	}
	complete(t, s, f)

	// Whatever casts doubt on what was written makes it written again.
	if err := s.Fence(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	insert(t, s, f)
	if count("certs") != "200" {
		t.Errorf("after a fence there are %s rows, want 200", count("certs"))
	}
	if err := e.Fence(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := e.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	insert(t, s, f)
	if count("certs") != "300" {
		t.Errorf("after a crash of the engine there are %s rows, want 300", count("certs"))
	}
	exec(t, s, "OPTIMIZE TABLE {db}.certs FINAL")
	if count("certs") != "100" {
		t.Errorf("after the merge there are %s rows, want 100", count("certs"))
	}
}
