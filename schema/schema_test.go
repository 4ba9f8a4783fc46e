package schema

import (
	"crypto/sha256"
	"fmt"
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
		distinct := map[indexed]bool{}
		for _, x := range got {
			distinct[x] = true
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
	pre := Row{EntryType: PrecertEntry, Poison: true, DNSNames: []string{"a.example.com"}, TBSID: [16]byte{1}}
	final := Row{DNSNames: []string{"a.example.com"}, TBSID: [16]byte{1}, Fingerprint: Hash{1}}
	for range 3 {
		d.Append(&pre)
		d.Append(&final)
	}
	if d.certs.Rows() != 2 || d.nameCerts.Rows() != 1 || d.names.Rows() != 1 {
		t.Errorf("%d certs, %d name_certs, %d names, want 2, 1, 1", d.certs.Rows(), d.nameCerts.Rows(), d.names.Rows())
	}
	final.Timestamp = 3 * dayMillis // names.last_seen moves on
	d.Append(&final)
	if d.names.Rows() != 2 {
		t.Errorf("%d names, want 2", d.names.Rows())
	}
	d.Recent.Forget()
	d.Append(&pre)
	if d.certs.Rows() != 3 {
		t.Errorf("after Forget %d certs, want 3", d.certs.Rows())
	}
}
