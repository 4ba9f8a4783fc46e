package store

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"ctappliance/schema"
)

// cpu returns the user and system time of a process.
func cpu(t testing.TB, pid int) time.Duration {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Skip(err)
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	f := strings.Fields(rest)
	user, _ := strconv.ParseInt(f[11], 10, 64)
	system, _ := strconv.ParseInt(f[12], 10, 64)
	return time.Duration(user+system) * 10 * time.Millisecond
}

// realistic makes n certificates the shape of what logs hold, each seen perCert
// times: as precertificate and final certificate, in several logs.
func realistic(n, perCert int) []schema.Row {
	rng := rand.New(rand.NewPCG(1, 1))
	bytesOf := func(n int) []byte {
		b := make([]byte, (n+7)/8*8)
		for i := 0; i < len(b); i += 8 {
			binary.LittleEndian.PutUint64(b[i:], rng.Uint64())
		}
		return b[:n]
	}
	rows := make([]schema.Row, 0, n*perCert)
	for i := range n {
		var r schema.Row
		copy(r.TBSID[:], bytesOf(16))
		copy(r.SPKI[:], bytesOf(32))
		issuer := rng.IntN(40)
		r.IssuerKeyHash = schema.Hash{0: byte(issuer), 9: 7}
		r.Issuer = schema.Name{CommonNames: []string{fmt.Sprint("R", issuer)}, Organizations: []string{"Test CA"}, Countries: []string{"US"}, Text: fmt.Sprintf("CN=R%d,O=Test CA,C=US", issuer), Raw: make([]byte, 60)}
		r.Serial = bytesOf(18)
		r.NotBefore = 1_780_000_000 + rng.Int64N(10_000_000)
		r.NotAfter = r.NotBefore + 7_775_999
		host := fmt.Sprintf("%s%d.com", strconv.FormatUint(rng.Uint64N(1e9), 36), rng.IntN(100))
		r.DNSNames = []string{host, "www." + host}
		if rng.IntN(3) == 0 {
			r.DNSNames = append(r.DNSNames, "mail."+host, "*.dev."+host)
		}
		r.SANCount = uint32(len(r.DNSNames))
		r.Subject = schema.Name{CommonNames: r.DNSNames[:1], Text: "CN=" + host}
		r.Subject.Raw = append([]byte{0x30, byte(len(host) + 11), 0x31, byte(len(host) + 9), 0x30, byte(len(host) + 7), 6, 3, 0x55, 4, 3, 19, byte(len(host))}, host...)
		r.KeyAlg, r.KeyBits, r.KeyOID = schema.KeyEC, 256, "1.2.840.10045.3.1.7"
		r.SigAlg, r.SigOID = schema.SigSHA256RSA, "1.2.840.113549.1.1.11"
		r.Version, r.KeyUsage, r.PathLen, r.Validation, r.SKIOfKey = 3, 5, -1, schema.ValidationDV, true
		r.ExtKeyUsage = []string{"1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"}
		r.Policies = []string{"2.23.140.1.2.1"}
		r.AKI = make([]byte, 20)
		r.CAIssuers = []string{fmt.Sprintf("http://r%d.i.example.org/", issuer)}
		r.CRLs = []string{fmt.Sprintf("http://r%d.c.example.org/%d.crl", issuer, rng.IntN(100))}
		pre, final := schema.Hash(bytesOf(32)), schema.Hash(bytesOf(32))
		logs := [2]uint64{uint64(rng.IntN(30)), 30 + uint64(rng.IntN(30))}
		sct := []schema.SCT{
			{LogID: schema.Hash{0: byte(logs[0]), 8: 99, 31: byte(3 * logs[0])}, Timestamp: uint64(r.NotBefore)*1000 + 3_600_000 + rng.Uint64N(2000)},
			{LogID: schema.Hash{0: byte(logs[1]), 8: 98, 31: byte(3 * logs[1])}, Timestamp: uint64(r.NotBefore)*1000 + 3_600_000 + rng.Uint64N(2000)},
		}
		for k := range perCert {
			e := r
			e.LogID = logs[k%2]
			e.Timestamp = uint64(r.NotBefore)*1000 + 3_600_000 + rng.Uint64N(3000)
			if e.EntryType = schema.PrecertEntry; k >= 2 {
				e.EntryType = schema.X509Entry
			}
			if e.Fingerprint = pre; k >= 2 {
				e.Fingerprint, e.SCTs = final, sct
			}
			e.Poison = k < 2
			e.Extensions = []string{"2.5.29.15", "2.5.29.37", "2.5.29.19", "2.5.29.14", "2.5.29.35", "1.3.6.1.5.5.7.1.1", "2.5.29.17", "2.5.29.32", fmt.Sprint("1.3.6.1.4.1.11129.2.4.", e.EntryType)}
			rows = append(rows, e)
			_ = i
		}
	}
	next := map[uint64]uint64{}
	for i := range rows {
		rows[i].Index = next[rows[i].LogID]
		next[rows[i].LogID]++
	}
	return rows
}

// BenchmarkInsert writes 100,000 entries of 25,000 certificates in flushes of
// 20,000 and reports what that costs on each side and on disk. Run it with
// -benchtime 1x.
func BenchmarkInsert(b *testing.B) {
	s, e := openEngine(b, func(c *Config) { c.RecentBits = 20 })
	rows := realistic(25_000, 4)
	for b.Loop() {
		engine, self := cpu(b, e.PID()), cpu(b, os.Getpid())
		start := time.Now()
		for id := 0; id*20_000 < len(rows); id++ {
			insert(b, s, flushOf(uint64(id), rows[id*20_000:(id+1)*20_000]))
		}
		took := time.Since(start)
		n := float64(len(rows))
		b.ReportMetric(n/took.Seconds(), "rows/s")
		b.ReportMetric(float64((cpu(b, e.PID())-engine).Microseconds())/n, "engine-us/row")
		b.ReportMetric(float64((cpu(b, os.Getpid())-self).Microseconds())/n, "own-us/row")
		for _, table := range []string{"ledger", "certs", "profiles", "name_certs", "names"} {
			exec(b, s, "OPTIMIZE TABLE {db}."+table+" FINAL")
		}
		sum, err := s.Summary(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		var bytes uint64
		for _, t := range sum.Tables {
			bytes += t.Bytes
			b.Logf("%-12s %8d rows %10d bytes %6.1f B/row", t.Name, t.Rows, t.Bytes, float64(t.Bytes)/float64(t.Rows))
		}
		b.ReportMetric(float64(bytes)/n, "B/entry")
		cols, err := s.Rows(b.Context(), "SELECT name, data_compressed_bytes FROM system.columns WHERE database = 't' AND table = 'certs' AND data_compressed_bytes > 20000 ORDER BY 2 DESC")
		if err != nil {
			b.Fatal(err)
		}
		b.Log(cols)
	}
}
