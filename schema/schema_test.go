package schema

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

func TestEveryStatementHasACondition(t *testing.T) {
	conditions := 0
	for _, f := range files() {
		list, err := f.statements("x")
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range list {
			if strings.Contains(s.sql, "{db}") {
				t.Errorf("%s: the database is not filled in: %.60s", f.name, s.sql)
			}
			if regexp.MustCompile(`(?i)\b(DROP|TRUNCATE|DELETE)\b`).MatchString(s.sql) {
				t.Errorf("%s: a migration destroys: %.60s", f.name, s.sql)
			}
			if s.unless != "" {
				conditions++
			}
		}
	}
	if conditions < 10 {
		t.Errorf("%d conditions were understood", conditions)
	}
	if n := len(files()); n != Version {
		t.Errorf("Version is %d, there are %d migrations", Version, n)
	}
}

func TestStatements(t *testing.T) {
	for _, sql := range []string{"CREATE TABLE x;\n", "-- unless table x\nCREATE TABLE x\n", "-- unless tabel x\nCREATE TABLE x;\n", "-- always\nA;\nB;\n"} {
		if _, err := (file{"f.sql", sql}).statements("x"); err == nil {
			t.Errorf("%q was taken", sql)
		}
	}
}

func TestPrint(t *testing.T) {
	script, err := Print("logs_2026")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(script, "CREATE TABLE `logs_2026`.ledger\n") || strings.Contains(script, "{db}") {
		t.Error("the script is not for the database")
	}
	for _, name := range []string{"", "1a", "a-b", "a`b", "a b", strings.Repeat("a", 65)} {
		if _, err := Print(name); err == nil {
			t.Errorf("database %q was taken", name)
		}
	}
}

// TestColumnsFollowTheFile: the lists of columns have the order of the .sql
// file, so that the two can be read side by side.
func TestColumnsFollowTheFile(t *testing.T) {
	sql := files()[0].sql
	for _, b := range Tables() {
		_, ddl, ok := strings.Cut(sql, "CREATE TABLE {db}."+b.Table+"\n")
		if !ok {
			t.Errorf("no table %s", b.Table)
			continue
		}
		ddl, _, _ = strings.Cut(ddl, "ENGINE =")
		var want, got []string
		for _, line := range strings.Split(ddl, "\n") {
			if m := regexp.MustCompile(`^    ([a-z_0-9]+) `).FindStringSubmatch(line); m != nil && !strings.Contains(line, " ALIAS ") {
				if later, ok := map[string]string{"ledger.tbs_id": "tbs10", "certs.ski_of_key": "ski_method"}[b.Table+"."+m[1]]; ok {
					m[1] = later // what a later migration has in its place
				}
				want = append(want, m[1])
			}
		}
		for _, c := range b.Columns {
			got = append(got, c.Name)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("table %s: the list is %v, the file %v", b.Table, got, want)
		}
	}
}

// TestKeyIdentifiers: one that follows from the key is not stored, any other is.
func TestKeyIdentifiers(t *testing.T) {
	c := newCerts()
	id := []byte("01234567890123456789")
	for _, m := range []SKIMethod{SKISHA1, SKIOther, SKISHA256} {
		c.append(&Row{SKI: id, SKIMethod: m}, 0)
	}
	ski, method := data[*Str](c, "ski"), data[*U8](c, "ski_method")
	if want := "\x00\x14" + string(id) + "\x00"; string(ski.Buf) != want {
		t.Errorf("identifiers %q, want %q", ski.Buf, want)
	}
	if !reflect.DeepEqual([]uint8(*method), []uint8{1, 0, 2}) {
		t.Errorf("methods %v", *method)
	}
}

func TestSubjectForms(t *testing.T) {
	const name = "www.example.com"
	der := func(tag byte) []byte {
		n := byte(len(name))
		return append([]byte{0x30, n + 11, 0x31, n + 9, 0x30, n + 7, 6, 3, 0x55, 4, 3, tag, n}, name...)
	}
	row := func(change func(*Row)) *Row {
		r := &Row{DNSNames: []string{name}, Subject: Name{CommonNames: []string{name}, Text: "CN=" + name, Raw: der(19)}}
		change(r)
		return r
	}
	long := strings.Repeat("a", 65)
	for what, c := range map[string]struct {
		r    *Row
		want subjectForm
	}{
		"printable":      {row(func(r *Row) {}), subjectPrintable},
		"utf8":           {row(func(r *Row) { r.Subject.Raw = der(12) }), subjectUTF8},
		"IA5":            {row(func(r *Row) { r.Subject.Raw = der(22) }), subjectStored},
		"organization":   {row(func(r *Row) { r.Subject.Organizations = []string{"x"} }), subjectStored},
		"second CN":      {row(func(r *Row) { r.Subject.CommonNames = []string{name, name} }), subjectStored},
		"another name":   {row(func(r *Row) { r.DNSNames[0] = "a" }), subjectStored},
		"no names":       {row(func(r *Row) { r.DNSNames = nil }), subjectStored},
		"another text":   {row(func(r *Row) { r.Subject.Text = "cn=" + name }), subjectStored},
		"trailing bytes": {row(func(r *Row) { r.Subject.Raw = append(der(19), 0) }), subjectStored},
		"long name": {row(func(r *Row) {
			r.DNSNames[0], r.Subject.CommonNames, r.Subject.Text = long, []string{long}, "CN="+long
		}), subjectStored},
		"needs escapes": {row(func(r *Row) { r.DNSNames[0], r.Subject.CommonNames[0], r.Subject.Text = "a,b", "a,b", "CN=a,b" }), subjectStored},
		"empty":         {&Row{Subject: Name{Raw: []byte{0x30, 0}}}, subjectEmpty},
		"nothing":       {&Row{}, subjectStored},
	} {
		if got := formOf(c.r); got != c.want {
			t.Errorf("%s: form %d, want %d", what, got, c.want)
		}
	}
}

func TestProfileID(t *testing.T) {
	p := newProfiler()
	base := &Row{OCSP: []string{"a", "b"}, Policies: []string{"1.2"}}
	id := p.id(base)
	if want := ShortID(sha256.Sum256(appendProfile(nil, base))); id != want || p.id(base) != id || newProfiler().id(base) != id {
		t.Errorf("id %x, want %x, the same in every process", id, want)
	}
	for what, r := range map[string]*Row{
		"joined":      {OCSP: []string{"ab"}, Policies: []string{"1.2"}},
		"moved":       {CAIssuers: []string{"a", "b"}, Policies: []string{"1.2"}},
		"a chain":     {OCSP: []string{"a", "b"}, Policies: []string{"1.2"}, Chain: []Hash{{}}},
		"path length": {OCSP: []string{"a", "b"}, Policies: []string{"1.2"}, PathLen: -1},
	} {
		if p.id(r) == id {
			t.Errorf("%s: another profile has the same id", what)
		}
	}
	for i := range maxProfiles + 10 {
		p.id(&Row{SigOID: fmt.Sprint(i)})
	}
	if len(p.ids) > maxProfiles {
		t.Errorf("%d profiles are remembered", len(p.ids))
	}
}

func TestNamesAreDistinct(t *testing.T) {
	var s nameSet
	for _, n := range []int{1, fewNames, fewNames + 1, 3000, 2, MaxIndexedNames + 5} {
		r := &Row{Subject: Name{CommonNames: []string{"H0.example.com", "cn.example.com", "Not A Name"}}}
		for i := range n {
			r.DNSNames = append(r.DNSNames, fmt.Sprintf("h%d.example.com", i), fmt.Sprintf("H%d.EXAMPLE.com.", i))
		}
		r.DNSNames = append(r.DNSNames, "*.h0.example.com", "*.h0.example.com")
		got := s.of(r)
		want := min(n+2, MaxIndexedNames)
		distinct := map[string]bool{}
		for _, x := range got {
			distinct[string(x)] = true
		}
		if len(got) != want || len(distinct) != want {
			t.Errorf("%d names: %d listed, %d distinct, want %d", n, len(got), len(distinct), want)
		}
	}
}

func TestDependents(t *testing.T) {
	count := func(d *Dependents) string {
		var b strings.Builder
		for _, block := range d.Blocks() {
			fmt.Fprintf(&b, "%s %d ", block.Table, block.Rows())
			for _, c := range block.Columns {
				if c.Data.Rows() != block.Rows() {
					t.Errorf("%s.%s has %d rows of %d", block.Table, c.Name, c.Data.Rows(), block.Rows())
				}
			}
		}
		return strings.TrimSpace(b.String())
	}
	for _, c := range []struct {
		status Status
		want   string
	}{
		{StatusOK, "profiles 1 certs 1 names 1 name_certs 1"},
		{StatusOdd, "profiles 1 problems 1 certs 1 names 1 name_certs 1"},
		{StatusPartial, "profiles 1 problems 1 certs 1 names 1 name_certs 1"},
		{StatusRefused, "problems 1"},
		{StatusOversize, "problems 1"},
		{99, "problems 1"},
	} {
		d := NewDependents()
		r := &Row{Status: c.status, DNSNames: []string{"a.example.com"}, DER: []byte{1}}
		d.Append(r)
		if got := count(d); got != c.want {
			t.Errorf("status %d gave %q, want %q", c.status, got, c.want)
		}
		d.Reset()
		if got := count(d); got != "" {
			t.Errorf("after Reset there is %q", got)
		}
		d.Append(r)
		if got := count(d); got != c.want {
			t.Errorf("after Reset status %d gave %q, want %q", c.status, got, c.want)
		}
	}
}

func TestRecent(t *testing.T) {
	d := NewDependents()
	d.Recent = NewRecent(16)
	pre := Row{EntryType: PrecertEntry, Poison: true, DNSNames: []string{"a.example.com"}, TBSID: [16]byte{1}, Fingerprint: Hash{2}, NotAfter: 5}
	final := Row{DNSNames: []string{"a.example.com"}, TBSID: [16]byte{1}, Fingerprint: Hash{1}, NotAfter: 5}
	later := func(r Row, change func(*Row)) *Row { change(&r); return &r }
	// want are the rows of a flush: certs, profiles, name_certs, names.
	flush := func(what, want string, rows ...*Row) {
		t.Helper()
		for _, r := range rows {
			d.Append(r)
		}
		d.Blocks()
		if got := fmt.Sprint(d.certs.Rows(), d.profiles.Rows(), d.nameCerts.Rows(), d.names.Rows()); got != want {
			t.Errorf("%s: %s certs, profiles, name_certs, names, want %s", what, got, want)
		}
		d.Reset()
	}
	flush("both, thrice", "1 1 1 1", &pre, &final, &pre, &final, &pre, &final)
	flush("again", "0 0 0 0", &final, &pre)
	flush("another fingerprint", "1 0 0 0", later(pre, func(r *Row) { r.Fingerprint = Hash{3} }))
	flush("other flags", "1 0 0 0", later(final, func(r *Row) { r.Flags = 1 }))
	flush("poison in a final", "1 0 0 0", later(final, func(r *Row) { r.Poison = true }))
	flush("another version of the parser", "1 0 0 0", later(final, func(r *Row) { r.ParserVersion = 1 }))
	flush("as at first", "1 0 0 0", &final, &pre)
	flush("another day", "0 0 0 1", later(pre, func(r *Row) { r.Timestamp = 3 * dayMillis }))
	flush("a day between", "0 0 0 0", later(pre, func(r *Row) { r.Timestamp = 2 * dayMillis }))
	flush("renewed", "1 0 1 1", later(pre, func(r *Row) { r.TBSID[0], r.NotAfter = 2, 6 }))
	flush("with an earlier end", "1 0 1 0", later(pre, func(r *Row) { r.TBSID[0], r.NotAfter = 3, 4 }))
	flush("as wildcard", "1 0 1 1", later(pre, func(r *Row) { r.TBSID[0], r.DNSNames = 4, []string{"*.a.example.com"} }))
	flush("two of a name", "2 0 2 1", later(pre, func(r *Row) { r.TBSID[0], r.NotAfter = 5, 7 }), later(pre, func(r *Row) { r.TBSID[0], r.NotAfter = 6, 8 }))
	flush("its end is known", "1 0 1 0", later(pre, func(r *Row) { r.TBSID[0], r.NotAfter = 7, 8 }))
	d.Recent.Forget()
	flush("after Forget", "1 1 1 1", &pre)
	d.Append(&final)
	d.Reset() // not inserted: what is remembered of it cannot be added to
	flush("after Reset", "1 0 0 0", later(final, func(r *Row) { r.Flags = 8 }))
	for range 254 { // to the turn of the same number
		flush("known", "0 0 0 0", later(final, func(r *Row) { r.Flags = 8 }))
	}
	flush("in the next lap", "2 0 1 0", later(final, func(r *Row) { r.TBSID[0] = 9 }), later(pre, func(r *Row) { r.Flags = 16 }))
}

// TestRecentIssuers: a chain certificate is sent once, as long as it is
// remembered, and not more of them are than there is room for.
func TestRecentIssuers(t *testing.T) {
	d := NewDependents()
	sent := func(n int) bool {
		d.AppendIssuer(&Issuer{Fingerprint: Hash{byte(n >> 16), byte(n >> 8), byte(n)}})
		blocks := d.Blocks()
		d.Reset()
		return len(blocks) == 1 && blocks[0].Table == "issuers"
	}
	if first, again := sent(1), sent(1); !first || !again {
		t.Error("without a filter an issuer was not sent each time")
	}
	d.Recent = NewRecent(10)
	for i, want := range []bool{true, false, false} {
		if sent(1) != want {
			t.Errorf("with a filter an issuer was sent at time %d: %v", i, !want)
		}
	}
	d.Recent.Forget()
	if !sent(1) {
		t.Error("an issuer was not sent after Forget")
	}
	for n := range 2 * maxIssuers {
		if sent(n); len(d.Recent.issuers) > maxIssuers {
			t.Fatalf("%d issuers are remembered", len(d.Recent.issuers))
		}
	}
}

// TestRecentKeepsWhatIsAskedFor: of three certificates with one pair of places
// the one goes that was asked for longest ago.
func TestRecentKeepsWhatIsAskedFor(t *testing.T) {
	d := NewDependents()
	d.Recent = NewRecent(10)
	sent := func(id byte) bool {
		d.Append(&Row{TBSID: [16]byte{15: id}})
		n := len(d.Blocks())
		d.Reset()
		return n > 0
	}
	for _, c := range []struct {
		id   byte
		want bool
	}{{1, true}, {2, true}, {1, false}, {3, true}, {1, false}, {3, false}, {2, true}, {3, false}, {1, true}} {
		if got := sent(c.id); got != c.want {
			t.Errorf("certificate %d was sent: %v", c.id, got)
		}
	}
}

// TestTurns: flushes that are filled at the same time share a filter. Rows are
// added to rows of the own flush alone, however many turns there were.
func TestTurns(t *testing.T) {
	type sum struct {
		flags  uint64
		sha256 Hash
	}
	recent, rng := NewRecent(8), rand.New(rand.NewPCG(1, 2))
	var fills [3]*Dependents
	var want [3]map[byte]sum
	for k := range fills {
		fills[k] = NewDependents()
		fills[k].Recent = recent
		want[k] = map[byte]sum{}
	}
	folded := 0
	for n := range 30_000 {
		k := rng.IntN(len(fills))
		d := fills[k]
		r := &Row{TBSID: [16]byte{byte(rng.IntN(9))}, Flags: 1 << rng.IntN(60), Fingerprint: Hash{byte(rng.IntN(256)), byte(n), byte(n >> 8)}}
		d.Append(r)
		w := want[k][r.TBSID[0]]
		w.flags |= r.Flags
		if string(r.Fingerprint[:]) > string(w.sha256[:]) {
			w.sha256 = r.Fingerprint
		}
		want[k][r.TBSID[0]] = w
		if k == 0 && rng.IntN(200) > 0 || rng.IntN(10) > 0 {
			continue // the first is filled for many turns of the others
		}
		d.Blocks()
		got := map[byte]sum{}
		for i, id := range *d.certs.Columns[0].Data.(*B16) {
			g := got[id[0]]
			g.flags |= (*d.certs.flags)[i]
			if h := (*d.certs.sha256)[i]; string(h[:]) > string(g.sha256[:]) {
				g.sha256 = h
			}
			got[id[0]] = g
		}
		if !reflect.DeepEqual(got, want[k]) {
			t.Fatalf("after %d rows the rows of a flush add up to\n%x, want\n%x", n, got, want[k])
		}
		if d.certs.Rows() == len(got) {
			folded++
		}
		d.Reset()
		clear(want[k])
	}
	if recent.turn.lap < 5 || folded < 500 {
		t.Errorf("%d laps, %d flushes without two rows of a certificate", recent.turn.lap, folded)
	}
}

// TestNamesFold: rows of a name become one in a flush, with the earliest and
// latest timestamp and the latest end.
func TestNamesFold(t *testing.T) {
	d := NewDependents()
	d.Recent = NewRecent(16)
	for i, at := range []uint64{50_000, 10_000, 90_000} {
		d.Append(&Row{TBSID: [16]byte{byte(i)}, DNSNames: []string{"x.example.com", "a.example.com"}, Timestamp: at * dayMillis / 10, NotAfter: int64(7 - 3*i)})
	}
	if n := d.names; n.Rows() != 2 || (*n.first)[1] != 1000*86400 || (*n.last)[1] != 9000*86400 || (*n.end)[1] != 7 {
		t.Errorf("%d rows, the second from %d to %d, ends %d", n.Rows(), *n.first, *n.last, *n.end)
	}
}

// Views show what the tables are in the end: they are made last.
func TestViewsAreMadeLast(t *testing.T) {
	list := files()
	for i, f := range list {
		if got, want := strings.HasSuffix(f.name, "_views.sql"), i == len(list)-1; got != want {
			t.Errorf("%s is number %d of %d", f.name, i+1, len(list))
		}
	}
	if len(list) != Version {
		t.Errorf("%d migrations, version %d", len(list), Version)
	}
}
