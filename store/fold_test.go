package store_test

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	ctx509 "github.com/google/certificate-transparency-go/x509"

	"ctappliance/ingest"
	"ctappliance/ingest/ctlog"
	"ctappliance/ingest/ctlog/ctlogtest"
	"ctappliance/ingest/pace"
	"ctappliance/schema"
	"ctappliance/store"
	"ctappliance/store/engine/enginetest"
)

const foldEntries = 3000

// copied is a log that the pipeline has copied into a database of its own.
type copied struct {
	*store.Store
	log uint64
}

// copyLog runs the pipeline on a log over HTTP until all of it is stored.
func copyLog(t *testing.T, kind ctlogtest.Kind, corpus *ctlogtest.Corpus, sink *store.Store) copied {
	t.Helper()
	l, err := ctlogtest.New(ctlogtest.Options{Kind: kind, Size: foldEntries, Corpus: corpus})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(l.Handler())
	defer server.Close()
	info := l.Info(server.URL + "/")
	pacer := pace.New(pace.Options{Start: 1e4})
	client, err := ctlog.New(ctlog.Info{ID: info.ID, Key: info.Key, Name: info.Name, Kind: ctlog.Kind(info.Kind), URL: info.URL, SubmissionURL: info.SubmissionURL},
		ctlog.Options{UserAgent: "ctappliance-test (test@ctappliance.test)", AllowPrivate: true, Pacer: pacer})
	if err != nil {
		t.Fatal(err)
	}
	// Flushes that cut between precertificates and their final certificates.
	a, err := ingest.Open(ingest.Config{Dir: t.TempDir(), Sink: sink, UntilDone: true, FlushRows: 700, PartialAge: time.Millisecond,
		Logs: []ingest.Follow{{Log: client, Pace: pacer, Spans: []ingest.Request{{To: foldEntries}}}}})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	if err := a.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if st := a.Status(); st.Logs[0].Delivered != foldEntries {
		t.Fatalf("the log is not copied: %+v", st.Logs[0])
	}
	return copied{sink, schema.ShortID(info.ID)}
}

// group is a certificate as the log's own oracle pairs its entries: by issuer
// key and TBSCertificate without poison and SCTs, which ct-go takes out.
type group struct {
	pre, final []int // entries
}

// pairEntries groups the corpus with ct-go.
func pairEntries(t *testing.T, corpus *ctlogtest.Corpus) (map[string]*group, []string) {
	t.Helper()
	groups := map[string]*group{}
	keys := make([]string, foldEntries)
	for i := range foldEntries {
		e := corpus.Entry(uint64(i))
		tbs, issuer := e.Body, e.IssuerKeyHash
		if !e.Precert {
			c, err := ctx509.ParseCertificate(e.Body)
			if ctx509.IsFatal(err) {
				t.Fatal(err)
			}
			if tbs = c.RawTBSCertificate; len(c.SCTList.SCTList) > 0 {
				if tbs, err = ctx509.RemoveSCTList(tbs); err != nil {
					t.Fatal(err)
				}
			}
			ca, err := ctx509.ParseCertificate(corpus.Chain(e)[0])
			if ctx509.IsFatal(err) {
				t.Fatal(err)
			}
			issuer = sha256.Sum256(ca.RawSubjectPublicKeyInfo)
		}
		keys[i] = string(issuer[:]) + string(tbs)
		g := groups[keys[i]]
		if g == nil {
			g = &group{}
			groups[keys[i]] = g
		}
		if e.Precert {
			g.pre = append(g.pre, i)
		} else {
			g.final = append(g.final, i)
		}
	}
	return groups, keys
}

// TestFold copies one corpus over both protocols: the entries of a
// precertificate and of its final certificate become one certificate, the
// columns are what ct-go reads, and both protocols give the same tables.
func TestFold(t *testing.T) {
	corpus, err := ctlogtest.NewCorpus(ctlogtest.CorpusOptions{Seed: 5, Step: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	e := enginetest.StartEngine(t)
	var copies []copied
	for i, kind := range []ctlogtest.Kind{ctlogtest.RFC6962, ctlogtest.Static} {
		s, err := store.Open(t.Context(), store.Config{Embedded: e, Database: [...]string{"rfc", "static"}[i]})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		copies = append(copies, copyLog(t, kind, corpus, s))
	}
	groups, keys := pairEntries(t, corpus)
	both := 0
	for _, g := range groups {
		if len(g.pre) > 0 && len(g.final) > 0 {
			both++
		}
	}
	t.Logf("%d entries, %d certificates, %d of them with precertificate and final certificate", foldEntries, len(groups), both)
	if both < foldEntries/5 {
		t.Fatalf("only %d pairs: the corpus is not what it should be", both)
	}
	for i, c := range copies {
		t.Run([...]string{"RFC 6962", "static"}[i], func(t *testing.T) {
			ids := checkPairs(t, c, corpus, groups, keys)
			checkSample(t, c, corpus, ids, groups, keys)
		})
	}
	// Neither the log nor the protocol is to be seen in what a certificate is.
	for _, table := range []string{"certs", "profiles", "name_certs", "names", "issuers"} {
		columns := "*"
		if table == "names" {
			columns = "rname, wildcard, max_not_after" // the others are to about a day, as the filter of recently seen rows has it
		}
		var content [2]string
		for i, c := range copies {
			rows, err := c.Rows(t.Context(), fmt.Sprintf("SELECT count(), hex(SHA256(arrayStringConcat(arraySort(groupArray(toString(tuple(*))))))) FROM (SELECT %s FROM %s.%s FINAL)", columns, c.Database(), table))
			if err != nil {
				t.Fatal(err)
			}
			content[i] = strings.Join(rows[0], " rows, digest ")
		}
		if content[0] != content[1] || strings.HasPrefix(content[0], "0 ") {
			t.Errorf("%s: by RFC 6962 %s; by static tiles %s", table, content[0], content[1])
		}
	}
}

// checkPairs compares the ledger's tbs10 and the view with the groups; it
// returns the id of each entry's certificate.
func checkPairs(t *testing.T, c copied, corpus *ctlogtest.Corpus, groups map[string]*group, keys []string) []string {
	rows, err := c.Rows(t.Context(), "SELECT idx, id_prefix, entry_type, status, toUnixTimestamp64Milli(ts) FROM "+c.Database()+".entries WHERE log_id = {l:UInt64} ORDER BY idx", store.Param("l", c.log))
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) != foldEntries {
		t.Fatalf("the ledger has %d entries, want %d", len(rows), foldEntries)
	}
	ids := make([]string, foldEntries)
	idOf, keyOf := map[string]string{}, map[string]string{}
	for i, r := range rows {
		e := corpus.Entry(uint64(i))
		kind, status := "x509", "ok"
		if e.Precert {
			kind = "precert"
			submitted, err := ctx509.ParseCertificate(e.Submitted)
			if ctx509.IsFatal(err) {
				t.Fatal(err)
			}
			if leaf, err := ctx509.ParseTBSCertificate(e.Body); ctx509.IsFatal(err) {
				t.Fatal(err)
			} else if string(leaf.RawIssuer) != string(submitted.RawIssuer) {
				status = "odd" // by a Precertificate Signing Certificate
			}
		}
		if r[0] != fmt.Sprint(i) || r[2] != kind || r[3] != status || r[4] != fmt.Sprint(e.Timestamp) {
			t.Errorf("entry %d of type %s at %d is %q in the ledger", i, kind, e.Timestamp, r)
		}
		ids[i] = r[1]
		if id := idOf[keys[i]]; id != "" && id != r[1] {
			t.Errorf("entries of one certificate have ids %s and %s (entry %d)", id, r[1], i)
		}
		if key := keyOf[r[1]]; key != "" && key != keys[i] {
			t.Errorf("entries of two certificates have id %s (entry %d)", r[1], i)
		}
		idOf[keys[i]], keyOf[r[1]] = r[1], keys[i]
	}

	rows, err = c.Rows(t.Context(), "SELECT id, has_precert, has_final, sha256, precert_sha256_prefix FROM "+c.Database()+".certificates")
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) != len(groups) {
		t.Errorf("the view shows %d certificates, want %d", len(rows), len(groups))
	}
	whole := map[string]string{}
	for _, r := range rows {
		whole[r[0][:20]] = r[0]
		g := groups[keyOf[r[0][:20]]]
		if g == nil {
			t.Errorf("the view shows %s, which no entry has", r[0])
			continue
		}
		final, pre := []string{strings.Repeat("0", 64)}, []string{strings.Repeat("0", 32)}
		for k, i := range g.final {
			if k == 0 {
				final = nil
			}
			sum := sha256.Sum256(corpus.Entry(uint64(i)).Body)
			final = append(final, hex.EncodeToString(sum[:]))
		}
		for k, i := range g.pre {
			if k == 0 {
				pre = nil
			}
			sum := sha256.Sum256(corpus.Entry(uint64(i)).Submitted)
			pre = append(pre, hex.EncodeToString(sum[:16]))
		}
		if r[1] != fmt.Sprint(len(g.pre) > 0) || r[2] != fmt.Sprint(len(g.final) > 0) || !slices.Contains(final, r[3]) || !slices.Contains(pre, r[4]) {
			t.Errorf("certificate %s of precertificates %v and finals %v is shown as %q", r[0], g.pre, g.final, r[1:])
		}
	}
	for i := range ids {
		ids[i] = whole[ids[i]]
	}
	return ids
}

// checkSample compares the columns of 200 entries' certificates with what ct-go
// reads, and searches some by name.
func checkSample(t *testing.T, c copied, corpus *ctlogtest.Corpus, ids []string, groups map[string]*group, keys []string) {
	all, err := c.Rows(t.Context(), `SELECT id, serial_number, issuer_cn, issuer_org, issuer_country, common_name, arrayStringConcat(names, ' '), arrayStringConcat(ips, ' '),
		toUnixTimestamp(not_before), toUnixTimestamp(not_after), signature, is_ca, arrayStringConcat(ocsp, ' '), arrayStringConcat(ca_issuers, ' '), arrayStringConcat(crls, ' '), arrayStringConcat(policies, ' '), authority_key_id,
		arrayStringConcat(arrayMap(s -> concat(s.1, ':', toString(toUnixTimestamp64Milli(s.2))), scts), ' ') FROM `+c.Database()+".certificates")
	if err != nil {
		t.Fatal(err)
	}
	shown := map[string][]string{}
	for _, r := range all {
		shown[r[0]] = r[1:]
	}
	searched := 0
	rng := rand.New(rand.NewPCG(1, 2))
	for _, i := range rng.Perm(foldEntries)[:200] {
		e := corpus.Entry(uint64(i))
		var ct *ctx509.Certificate
		var err error
		if e.Precert {
			ct, err = ctx509.ParseTBSCertificate(e.Body)
		} else {
			ct, err = ctx509.ParseCertificate(e.Body)
		}
		if ctx509.IsFatal(err) {
			t.Fatal(err)
		}
		first := func(l []string) string {
			if len(l) == 0 {
				return ""
			}
			return l[0]
		}
		serial := hex.EncodeToString(ct.SerialNumber.Bytes())
		if b := ct.SerialNumber.Bytes(); len(b) > 0 && b[0] >= 0x80 {
			serial = "00" + serial // the INTEGER's octet of sign
		}
		var ips, policies []string
		for _, ip := range ct.IPAddresses {
			ips = append(ips, ip.String())
		}
		for _, p := range ct.PolicyIdentifiers {
			policies = append(policies, p.String())
		}
		want := []string{serial, ct.Issuer.CommonName, first(ct.Issuer.Organization), first(ct.Issuer.Country), ct.Subject.CommonName, strings.Join(ct.DNSNames, " "), strings.Join(ips, " "),
			fmt.Sprint(ct.NotBefore.Unix()), fmt.Sprint(ct.NotAfter.Unix()), strings.Replace(ct.SignatureAlgorithm.String(), "ECDSA-SHA", "SHA", 1), fmt.Sprint(ct.IsCA),
			strings.Join(ct.OCSPServer, " "), strings.Join(ct.IssuingCertificateURL, " "), strings.Join(ct.CRLDistributionPoints, " "), strings.Join(policies, " "), hex.EncodeToString(ct.AuthorityKeyId), scts(t, corpus, groups[keys[i]])}
		if strings.HasPrefix(ct.SignatureAlgorithm.String(), "ECDSA-") {
			want[9] += "-ECDSA"
		}
		if !slices.Equal(shown[ids[i]], want) {
			t.Errorf("entry %d (%s):\n got %q\nwant %q", i, ids[i], shown[ids[i]], want)
		}
		if len(ct.DNSNames) == 0 || searched == 12 {
			continue
		}
		searched++
		// By its last name, in capitals, and by the domain above.
		name := strings.TrimPrefix(ct.DNSNames[len(ct.DNSNames)-1], "*.")
		_, above, _ := strings.Cut(name, ".")
		for _, domain := range []string{strings.ToUpper(name), above + "."} {
			found, err := c.Rows(t.Context(), "SELECT id FROM "+c.Database()+".certificates_for_domain(domain = {d:String}) WHERE id = {id:String}", store.Param("d", domain), store.Param("id", ids[i]))
			if err != nil {
				t.Fatal(err)
			}
			if len(found) != 1 {
				t.Errorf("entry %d: a search for %s finds it %d times", i, domain, len(found))
			}
		}
		found, err := c.Rows(t.Context(), "SELECT count() FROM "+c.Database()+".certificates_for_domain(domain = {d:String}) WHERE id = {id:String}", store.Param("d", "x"+name), store.Param("id", ids[i]))
		if err != nil {
			t.Fatal(err)
		}
		if found[0][0] != "0" {
			t.Errorf("entry %d: a search for x%s, another domain, finds it", i, name)
		}
	}
}

// scts gives the embedded SCTs of a certificate, as far as it was logged.
func scts(t *testing.T, corpus *ctlogtest.Corpus, g *group) string {
	t.Helper()
	if len(g.final) == 0 {
		return ""
	}
	ct, err := ctx509.ParseCertificate(corpus.Entry(uint64(g.final[0])).Body)
	if ctx509.IsFatal(err) {
		t.Fatal(err)
	}
	var list []string
	for _, s := range ct.SCTList.SCTList {
		list = append(list, fmt.Sprintf("%x:%d", s.Val[1:33], binary.BigEndian.Uint64(s.Val[33:41])))
	}
	return strings.Join(list, " ")
}
