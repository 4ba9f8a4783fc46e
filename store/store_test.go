package store

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"ctappliance/schema"
	"ctappliance/store/engine"
	"ctappliance/store/engine/enginetest"
)

func TestMain(m *testing.M) { enginetest.Main(m) }

// openEngine starts an engine and opens a store on it.
func openEngine(t testing.TB, change func(*Config)) (*Store, *engine.Engine) {
	t.Helper()
	e := enginetest.StartEngine(t)
	cfg := Config{Embedded: e, RecentBits: 12, Database: "t"}
	if change != nil {
		change(&cfg)
	}
	return open(t, cfg), e
}

func open(t testing.TB, cfg Config) *Store {
	t.Helper()
	s, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// one runs a query that gives one value.
func one(t testing.TB, s *Store, query string, args ...Arg) string {
	t.Helper()
	rows, err := s.Rows(t.Context(), strings.ReplaceAll(query, "{db}", s.Database()), args...)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	if len(rows) != 1 || len(rows[0]) != 1 {
		t.Fatalf("%s: got %q, want one value", query, rows)
	}
	return rows[0][0]
}

func exec(t testing.TB, s *Store, query string) {
	t.Helper()
	if err := s.Exec(t.Context(), strings.ReplaceAll(query, "{db}", s.Database())); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}

func insert(t testing.TB, s *Store, f *schema.Flush) {
	t.Helper()
	if err := s.InsertDependents(t.Context(), f); err != nil {
		t.Fatal(err)
	}
	if err := s.InsertLedger(t.Context(), f, nil); err != nil {
		t.Fatal(err)
	}
}

// rowsOf makes n plain rows of a log, from index from on.
func rowsOf(log, from uint64, n int) []schema.Row {
	rows := make([]schema.Row, n)
	for i := range rows {
		r := &rows[i]
		r.LogID, r.Index = log, from+uint64(i)
		r.Timestamp = 1_790_000_000_000 + r.Index
		binary.BigEndian.PutUint64(r.TBSID[:], r.Index*0x9E3779B97F4A7C15)
		binary.BigEndian.PutUint64(r.TBSID[8:], log)
		r.Fingerprint[0], r.Fingerprint[31] = 1, byte(i)
		r.Serial = []byte{1, byte(i >> 8), byte(i)}
		r.NotBefore, r.NotAfter = 1_780_000_000, 1_787_776_000
		r.DNSNames = []string{fmt.Sprintf("host%d.example.com", r.Index)}
		r.Issuer.Text = "CN=Test"
	}
	return rows
}

func flushOf(id uint64, rows []schema.Row) *schema.Flush {
	f := &schema.Flush{ID: id}
	for i := range rows {
		r := &rows[i]
		f.Rows = append(f.Rows, r)
		if n := len(f.Ranges); n > 0 && f.Ranges[n-1].Log == r.LogID && f.Ranges[n-1].To == r.Index {
			f.Ranges[n-1].To++
			continue
		}
		f.Ranges = append(f.Ranges, schema.Range{Log: r.LogID, From: r.Index, To: r.Index + 1})
	}
	return f
}

// complete fails the test unless the ledger holds exactly the flush's rows.
func complete(t testing.TB, s *Store, f *schema.Flush) {
	t.Helper()
	proofs, err := s.Prove(t.Context(), f.Ranges)
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range proofs {
		want := schema.Proof{Range: f.Ranges[i], Count: f.Ranges[i].Len(), Unique: f.Ranges[i].Len(), XOR: XOR(f.Rows, f.Ranges[i])}
		if p != want {
			t.Errorf("proof is %+v, want %+v", p, want)
		}
	}
}

func TestMigrateTwice(t *testing.T) {
	s, e := openEngine(t, nil)
	writer := s.WriterID()
	if writer == "" {
		t.Error("the database has no writer id")
	}
	var ran []string
	applied, err := schema.Apply(t.Context(), recorder{execer{s}, &ran}, "t", schema.Owner{})
	if err != nil {
		t.Fatal(err)
	}
	if len(applied.Statements) != 0 || applied.Created || len(ran) != 0 {
		t.Errorf("second Apply ran %q", ran)
	}
	if _, err := Open(t.Context(), Config{Embedded: e, Database: "t", WriterID: "another"}); !errors.Is(err, schema.ErrOtherWriter) {
		t.Errorf("opening another's database: %v, want ErrOtherWriter", err)
	}
	open(t, Config{Embedded: e, Database: "t", WriterID: writer})

	// An interruption leaves any number of statements undone.
	for _, gone := range []string{"VIEW {db}.certificates_for_domain", "VIEW {db}.certificates_for_entry", "VIEW {db}.entries", "TABLE {db}.meta", "TABLE {db}.der"} {
		exec(t, s, "DROP "+gone+" SYNC")
	}
	open(t, Config{Embedded: e, Database: "t"})
	if got := one(t, s, "SELECT count() FROM system.tables WHERE database = '{db}' AND name IN ('certificates_for_domain', 'certificates_for_entry', 'entries', 'meta', 'der')"); got != "5" {
		t.Errorf("after an interruption %s of 5 tables came back", got)
	}

	exec(t, s, "INSERT INTO {db}.meta SELECT 'schema_version', '99', now64(3) + 100")
	if _, err := Open(t.Context(), Config{Embedded: e, Database: "t"}); !errors.Is(err, schema.ErrNewer) {
		t.Errorf("opening a newer schema: %v, want ErrNewer", err)
	}
}

type recorder struct {
	execer
	ran *[]string
}

func (r recorder) Exec(ctx context.Context, query string) error {
	*r.ran = append(*r.ran, query)
	return r.execer.Exec(ctx, query)
}

func TestEverythingHasAComment(t *testing.T) {
	s, _ := openEngine(t, nil)
	rows, err := s.Rows(t.Context(), "SELECT table, name FROM system.columns WHERE database = 't' AND comment = '' AND table NOT LIKE 'certificates_for_%' UNION ALL SELECT name, '' FROM system.tables WHERE database = 't' AND comment = ''")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		t.Errorf("%s has no comment", strings.Join(r, "."))
	}
	if got := one(t, s, "SELECT count() FROM system.columns WHERE database = 't'"); len(got) < 3 {
		t.Errorf("only %s columns were looked at", got)
	}
}

// fill sets every field of v to something that is neither zero nor what any
// other field has.
func fill(v reflect.Value, n *int) {
	*n++
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(true)
	case reflect.String:
		v.SetString(fmt.Sprintf("s%d'\\\t\x00\xff", *n))
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(uint64(*n % 200))
	case reflect.Int16, reflect.Int64:
		v.SetInt(int64(*n))
	case reflect.Array:
		for i := range v.Len() {
			v.Index(i).SetUint(uint64(*n+7*i) & 0xff)
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range v.Len() {
			fill(v.Index(i), n)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i), n)
		}
	default:
		panic(v.Kind())
	}
}

// storedAs says for every field of schema.Row which expression gives it back;
// c, p, q and l are certs, profiles, problems and ledger.
var storedAs = map[string]string{
	"LogID":         "l.log_id",
	"Index":         "l.idx",
	"Timestamp":     "toUnixTimestamp64Milli(l.ts)",
	"EntryType":     "CAST(l.entry_type, 'Int8')",
	"IssuerKeyHash": "p.issuer_key_hash",
	"TBSID":         "concat(l.tbs10, substring(c.tbs_id, 11))",
	"Status":        "CAST(l.status, 'Int8')",
	"Flags":         "c.flags",
	"Error":         "q.error",
	"ParserVersion": "c.parser_version",
	"Leaf":          "q.leaf",
	"SANCount":      "length(c.names) + length(c.sans) + c.sans_unlisted",
	"DER":           "q.der",
	"Fingerprint":   "if(l.entry_type = 'precert', q.sha256, c.sha256)",
	"Chain":         "p.chain",

	"Version":               "p.version",
	"Serial":                "c.serial",
	"Issuer.CommonNames":    "p.issuer_cns",
	"Issuer.Organizations":  "p.issuer_orgs",
	"Issuer.Units":          "p.issuer_units",
	"Issuer.Countries":      "p.issuer_countries",
	"Issuer.Localities":     "p.issuer_localities",
	"Issuer.Provinces":      "p.issuer_provinces",
	"Issuer.SerialNumbers":  "p.issuer_serials",
	"Issuer.Emails":         "p.issuer_emails",
	"Issuer.Text":           "p.issuer_text",
	"Issuer.Raw":            "p.issuer_der",
	"Subject.CommonNames":   "attr('CN')",
	"Subject.Organizations": "attr('O')",
	"Subject.Units":         "attr('OU')",
	"Subject.Countries":     "attr('C')",
	"Subject.Localities":    "attr('L')",
	"Subject.Provinces":     "attr('ST')",
	"Subject.SerialNumbers": "attr('serialNumber')",
	"Subject.Emails":        "attr('email')",
	"Subject.Text":          "c.subject_text",
	"Subject.Raw":           "c.subject_der",
	"NotBefore":             "dateDiff('second', toDateTime64(0, 0, 'UTC'), c.not_before)",
	"NotAfter":              "dateDiff('second', toDateTime64(0, 0, 'UTC'), c.not_after)",
	"DNSNames":              "c.names",
	"IPs":                   "arrayMap(x -> x.value, arrayFilter(x -> x.kind = 'ip', c.sans))",
	"Emails":                "arrayMap(x -> x.value, arrayFilter(x -> x.kind = 'email', c.sans))",
	"URIs":                  "arrayMap(x -> x.value, arrayFilter(x -> x.kind = 'uri', c.sans))",
	"OtherNames.Tag":        "arrayMap(x -> x.tag, arrayFilter(x -> x.kind = 'other', c.sans))",
	"OtherNames.Value":      "arrayMap(x -> x.value, arrayFilter(x -> x.kind = 'other', c.sans))",
	"KeyAlg":                "c.key_alg",
	"KeyBits":               "c.key_bits",
	"KeyOID":                "c.key_oid",
	"SPKI":                  "c.spki16",
	"SigAlg":                "p.sig_alg",
	"SigOID":                "p.sig_oid",
	"KeyUsage":              "p.key_usage",
	"ExtKeyUsage":           "p.ext_key_usages",
	"Policies":              "p.policies",
	"Validation":            "CAST(p.validation, 'Int8')",
	"IsCA":                  "toUInt8(p.is_ca)",
	"PathLen":               "p.path_len",
	"AKI":                   "p.aki",
	"SKI":                   "c.ski",
	"SKIMethod":             "c.ski_method",
	"SCTs.LogID":            "arrayMap(x -> x.log_id, c.scts)",
	"SCTs.Timestamp":        "arrayMap(x -> x.ts, c.scts)",
	"OCSP":                  "p.ocsp",
	"CAIssuers":             "p.ca_issuers",
	"CRLs":                  "p.crls",
	"Extensions":            "p.extensions",
	"Poison":                "toUInt8(bitAnd(c.seen, 6) != 0)",
}

// text gives a value as the query of its field does.
func text(v reflect.Value) string {
	switch v.Kind() {
	case reflect.String:
		return hex.EncodeToString([]byte(v.String()))
	case reflect.Bool:
		if v.Bool() {
			return "1"
		}
		return "0"
	case reflect.Array, reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			b := make([]byte, v.Len())
			reflect.Copy(reflect.ValueOf(b), v)
			return hex.EncodeToString(b)
		}
		var list []string
		for i := range v.Len() {
			list = append(list, text(v.Index(i)))
		}
		return strings.Join(list, ",")
	}
	return fmt.Sprint(v.Interface())
}

// sqlText is the expression that writes a column of a field's type as text does.
func sqlText(t reflect.Type, expr string, list bool) string {
	isBytes := t.Kind() == reflect.String || (t.Kind() == reflect.Slice || t.Kind() == reflect.Array) && t.Elem().Kind() == reflect.Uint8
	switch {
	case !isBytes && t.Kind() == reflect.Slice:
		return sqlText(t.Elem(), expr, true)
	case list && isBytes:
		return "arrayStringConcat(arrayMap(y -> lower(hex(y)), " + expr + "), ',')"
	case list:
		return "arrayStringConcat(arrayMap(y -> toString(y), " + expr + "), ',')"
	case isBytes:
		return "lower(hex(" + expr + "))"
	}
	return "toString(" + expr + ")"
}

// forEachField calls fn for every field of schema.Row with its path; fields of
// structs in lists come as lists.
func forEachField(v reflect.Value, path string, fn func(path string, t reflect.Type, list bool, v reflect.Value)) {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		name := path + f.Name
		switch {
		case f.Type.Kind() == reflect.Struct:
			forEachField(v.Field(i), name+".", fn)
		case f.Type.Kind() == reflect.Slice && f.Type.Elem().Kind() == reflect.Struct:
			e := f.Type.Elem()
			for j := range e.NumField() {
				list := reflect.MakeSlice(reflect.SliceOf(e.Field(j).Type), 0, 2)
				for k := range v.Field(i).Len() {
					list = reflect.Append(list, v.Field(i).Index(k).Field(j))
				}
				// A list of bytes would print as one byte string.
				if e.Field(j).Type.Kind() == reflect.Uint8 {
					wide := []uint64{}
					for k := range list.Len() {
						wide = append(wide, list.Index(k).Uint())
					}
					list = reflect.ValueOf(wide)
				}
				fn(name+"."+e.Field(j).Name, e.Field(j).Type, true, list)
			}
		default:
			fn(name, f.Type, false, v.Field(i))
		}
	}
}

func TestEveryFieldComesBack(t *testing.T) {
	for _, typ := range []schema.EntryType{schema.X509Entry, schema.PrecertEntry} {
		t.Run(fmt.Sprint("entry type ", typ), func(t *testing.T) {
			s, _ := openEngine(t, nil)
			var r schema.Row
			n := 0
			fill(reflect.ValueOf(&r).Elem(), &n)
			r.EntryType, r.Status, r.Validation = typ, schema.StatusPartial, schema.ValidationEV
			r.SKIMethod = schema.SKIOther // a key identifier that is the key's hash is not stored
			r.IPs = [][]byte{{1, 2, 3, 4}, []byte("0123456789abcdef")}
			r.Flags = 1<<63 | 1
			r.PathLen = -1
			r.NotBefore, r.NotAfter = -2_000_000_000, 253402300799 // 1906, the end of 9999
			insert(t, s, flushOf(1, []schema.Row{r}))

			seen := map[string]bool{}
			forEachField(reflect.ValueOf(r), "", func(path string, typ reflect.Type, list bool, v reflect.Value) {
				seen[path] = true
				expr, ok := storedAs[path]
				if !ok {
					t.Errorf("schema.Row.%s is stored nowhere: give it a column, and an expression in this test", path)
					return
				}
				if a, ok := strings.CutPrefix(expr, "attr("); ok {
					expr = "arrayMap(x -> x.value, arrayFilter(x -> x.attr = " + strings.TrimSuffix(a, ")") + ", c.subject))"
				}
				want := text(v)
				if path == "SPKI" {
					want = want[:32]
				}
				got := one(t, s, "SELECT "+sqlText(typ, expr, list)+" FROM t.ledger AS l CROSS JOIN t.certs AS c CROSS JOIN t.profiles AS p CROSS JOIN t.problems AS q")
				if got != want {
					t.Errorf("%s is %s, want %s", path, got, want)
				}
			})
			for path := range storedAs {
				if !seen[path] {
					t.Errorf("schema.Row has no field %s", path)
				}
			}
		})
	}
}

func TestEveryIssuerFieldComesBack(t *testing.T) {
	s, _ := openEngine(t, nil)
	var i schema.Issuer
	n := 0
	fill(reflect.ValueOf(&i).Elem(), &n)
	if err := s.InsertDependents(t.Context(), &schema.Flush{ID: 1, Issuers: []schema.Issuer{i}}); err != nil {
		t.Fatal(err)
	}
	stored := map[string]string{
		"Fingerprint": "sha256", "SPKI": "spki_sha256",
		"NotBefore": "toUnixTimestamp(not_before)", "NotAfter": "toUnixTimestamp(not_after)",
		"SKI": "ski", "IsCA": "toUInt8(is_ca)", "DER": "der", "Error": "error",
		"SelfSigned": "toUInt8(self_signed)", "PrecertSigns": "toUInt8(precert_signs)",
		"Subject.Text": "name", "Subject.Raw": "name_der", "IssuerName.Text": "issuer_name", "IssuerName.Raw": "issuer_der",
	}
	for field, column := range map[string]string{"CommonNames": "cns", "Organizations": "orgs", "Units": "units", "Countries": "countries",
		"Localities": "localities", "Provinces": "provinces", "SerialNumbers": "serials", "Emails": "emails"} {
		stored["Subject."+field], stored["IssuerName."+field] = column, "issuer_"+column
	}
	forEachField(reflect.ValueOf(i), "", func(path string, typ reflect.Type, list bool, v reflect.Value) {
		expr, ok := stored[path]
		if !ok {
			t.Errorf("schema.Issuer.%s is stored nowhere", path)
			return
		}
		if got, want := one(t, s, "SELECT "+sqlText(typ, expr, list)+" FROM t.issuers"), text(v); got != want {
			t.Errorf("%s is %s, want %s", path, got, want)
		}
	})
}
