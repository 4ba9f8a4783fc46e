package store

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"ctappliance/schema"
	"ctappliance/store/engine/enginetest"
)

// TestFoldedIsUnfolded: rows that are folded before they are sent, and rows
// that are left out since they were sent, give what the tables' own functions
// give from every entry's rows.
func TestFoldedIsUnfolded(t *testing.T) {
	e := enginetest.StartEngine(t)
	whole := open(t, Config{Embedded: e, RecentBits: -1, Database: "whole"})
	folded := open(t, Config{Embedded: e, RecentBits: 8, Database: "folded"}) // a filter so small that it forgets all the time
	rng := rand.New(rand.NewPCG(3, 4))
	const day = 24 * 3600 * 1000
	var rows []schema.Row
	for id := range 150 {
		base := rowsOf(1, uint64(id), 1)[0]
		for n := range 1 + rng.IntN(6) {
			name := fmt.Sprintf("h%d.example.com", rng.IntN(40))
			base.DNSNames = []string{name, "*." + name}
			if n > 0 {
				base.DNSNames = rows[len(rows)-1].DNSNames // of the same certificate
			}
			r := base
			r.LogID, r.Index = uint64(rng.IntN(3)), uint64(len(rows))
			r.NotAfter = r.NotBefore + int64(1000+id)
			r.Timestamp = 1_780_000_000_000 + uint64(rng.IntN(5)*day+rng.IntN(day))
			r.EntryType, r.Poison = schema.EntryType(rng.IntN(3)), rng.IntN(5) == 0
			if rng.IntN(3) > 0 {
				r.Poison = r.EntryType == schema.PrecertEntry
			}
			r.Fingerprint = schema.Hash{byte(id), 0x7f + byte(rng.IntN(3)), 20: byte(rng.IntN(2))}
			r.Flags = 1 << rng.IntN(3)
			r.ParserVersion = uint16(rng.IntN(3))
			r.SKIMethod = schema.SKIMethod(rng.IntN(3)) // of more than one version of the parser
			// The rest follows from the bytes of the certificate.
			of := rand.New(rand.NewPCG(uint64(r.Fingerprint[1]), uint64(r.Fingerprint[20])))
			r.Extensions = []string{fmt.Sprint("2.5.29.", of.IntN(3))}
			for range of.IntN(3) {
				r.SCTs = append(r.SCTs, schema.SCT{LogID: schema.Hash{31: 0x7f + byte(of.IntN(3))}, Timestamp: 1<<63 - 1 + uint64(of.IntN(3))})
			}
			rows = append(rows, r)
		}
	}
	// Entries of a certificate come near each other, in any order.
	for i := range rows {
		j := min(len(rows)-1, i+rng.IntN(30))
		rows[i], rows[j] = rows[j], rows[i]
	}
	id := uint64(0)
	for i := 0; i < len(rows); {
		n := min(1+rng.IntN(60), len(rows)-i)
		id++
		if err := folded.InsertDependents(t.Context(), flushOf(id, rows[i:i+n])); err != nil {
			t.Fatal(err)
		}
		i += n
	}
	if err := whole.InsertDependents(t.Context(), flushOf(1, rows)); err != nil {
		t.Fatal(err)
	}
	sent := one(t, folded, "SELECT count() FROM {db}.certs")
	if n := one(t, whole, "SELECT count() FROM {db}.certs"); n != fmt.Sprint(len(rows)) || sent >= n && len(sent) >= len(n) {
		t.Errorf("of %d entries %s rows of certs were sent folded, %s else", len(rows), sent, n)
	}
	tables := map[string]string{
		"certs":        "* FROM {db}.certs FINAL",
		"certificates": "* FROM {db}.certificates",
		"profiles":     "* FROM {db}.profiles FINAL",
		"name_certs":   "* FROM {db}.name_certs FINAL",
		"names":        "rname, wildcard, toDate(first_seen), toDate(last_seen), max_not_after FROM {db}.names FINAL",
	}
	for _, merged := range []bool{false, true} {
		for table, q := range tables {
			var content [2][]string
			for i, s := range []*Store{whole, folded} {
				if merged && !strings.Contains(q, "certificates") {
					exec(t, s, "OPTIMIZE TABLE {db}."+table+" FINAL")
				}
				list, err := s.Rows(t.Context(), "SELECT "+strings.ReplaceAll(q, "{db}", s.Database()))
				if err != nil {
					t.Fatal(err)
				}
				for _, r := range list {
					content[i] = append(content[i], strings.Join(r, "\t"))
				}
				slices.Sort(content[i])
			}
			if len(content[0]) == 0 || !slices.Equal(content[0], content[1]) {
				t.Errorf("%s, merged %v: %d rows, folded %d, or their content differs", table, merged, len(content[0]), len(content[1]))
				for i := range min(len(content[0]), len(content[1])) {
					if content[0][i] != content[1][i] {
						t.Logf("\n%q\n%q", content[0][i], content[1][i])
						break
					}
				}
			}
		}
	}
}
