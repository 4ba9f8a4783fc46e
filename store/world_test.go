package store

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"

	"ctappliance/schema"
)

// shape says what a made-up history of logs looks like. Bytes and processor
// time per entry follow from it as much as from the code.
type shape struct {
	certs    int
	perCert  float64 // entries of a certificate, over all logs
	renewals float64 // certificates of a set of names
	names    float64 // names of a certificate, about
	spread   int     // entries between the first and the last entry of a certificate, about
}

// allLogs is what all logs together hold, of which 4.2 entries, 2.7 names and
// 4.2 certificates for each set of names were measured; demoLog is what the
// demo's log holds, which is harder on a store.
var (
	allLogs = shape{certs: 100_000, perCert: 4.2, renewals: 4.2, names: 2.7, spread: 30_000}
	demoLog = shape{certs: 72_000, perCert: 1.66, renewals: 1.4, names: 6.2, spread: 2_000}
)

// The words of made-up names: what makes names compress as they do is that
// they are made of words.
var words = []string{"alder", "amber", "bay", "beacon", "blue", "bolt", "bridge", "canyon", "cedar", "cloud", "copper", "dawn", "delta", "eagle", "echo", "elm", "falcon", "field",
	"flint", "forge", "fox", "frost", "grove", "harbor", "hawk", "hill", "iris", "iron", "jade", "kite", "lake", "lark", "linden", "lotus", "maple", "meadow", "mesa", "mint", "moss", "north",
	"nova", "oak", "onyx", "orbit", "otter", "pearl", "pine", "pixel", "quartz", "raven", "reef", "ridge", "river", "sage", "shore", "silver", "slate", "solar", "stone", "summit", "swift",
	"tidal", "topaz", "vale", "velvet", "violet", "willow", "shop", "labs", "media", "tech", "app", "group", "bank", "travel", "clinic", "online", "house", "design", "studio"}

var (
	topLevel = []string{"com", "com", "com", "com", "com", "net", "org", "de", "de", "co.uk", "nl", "fr", "io", "com.br", "ru", "it", "pl", "eu", "info", "com.au", "ca", "jp", "in", "dev", "xyz", "shop", "online", "ch", "us", "cloud"}
	hosts    = []string{"mail", "api", "app", "dev", "staging", "admin", "cpanel", "webmail", "autodiscover", "webdisk", "blog", "shop", "cdn", "static", "vpn", "git", "login", "portal", "test", "m"}
)

// identifier makes a subject key identifier of the kinds that 1,105 certificates
// of live logs had: of 1,000 there are 950 of RFC 7093, 45 that are a SHA-1, 5 that
// are neither.
func identifier(rng *rand.Rand) ([]byte, schema.SKIMethod) {
	id := make([]byte, 20)
	for i := range id {
		id[i] = byte(rng.Uint32())
	}
	switch n := rng.IntN(1000); {
	case n < 950:
		return id, schema.SKISHA256
	case n < 995:
		return id, schema.SKISHA1
	}
	return id, schema.SKIOther
}

// realistic makes the entries of a shape in the order in which a backfill of
// sixty logs comes by them.
func realistic(s shape) []schema.Row {
	rng, ids := rand.New(rand.NewPCG(1, 1)), rand.New(rand.NewPCG(2, 2))
	bytesOf := func(n int) []byte {
		b := make([]byte, (n+7)/8*8)
		for i := 0; i < len(b); i += 8 {
			binary.LittleEndian.PutUint64(b[i:], rng.Uint64())
		}
		return b[:n]
	}
	sites := make([][]string, int(float64(s.certs)/s.renewals))
	for i := range sites {
		host := words[rng.IntN(len(words))] + words[rng.IntN(len(words))]
		if rng.IntN(5) < 3 {
			host += strconv.Itoa(rng.IntN(10000))
		}
		host += "." + topLevel[rng.IntN(len(topLevel))]
		sites[i] = []string{host}
		if rng.IntN(10) < 7 {
			sites[i] = append(sites[i], "www."+host)
		}
		for n := rng.ExpFloat64() * (s.names - 1.7); n > 0.5; n-- {
			name := hosts[rng.IntN(len(hosts))] + "." + host
			if rng.IntN(4) == 0 {
				name = "*." + name
			}
			if !slices.Contains(sites[i], name) {
				sites[i] = append(sites[i], name)
			}
		}
	}
	type at struct {
		row schema.Row
		pos float64
	}
	var all []at
	for i := range s.certs {
		var r schema.Row
		copy(r.TBSID[:], bytesOf(16))
		copy(r.SPKI[:], bytesOf(32))
		issuer := int(min(39, rng.ExpFloat64()*8))
		r.IssuerKeyHash = schema.Hash{0: byte(issuer), 9: 7}
		r.Issuer = schema.Name{CommonNames: []string{fmt.Sprint("R", issuer)}, Organizations: []string{"Test CA"}, Countries: []string{"US"}, Text: fmt.Sprintf("CN=R%d,O=Test CA,C=US", issuer), Raw: make([]byte, 60)}
		r.Serial = bytesOf(18)
		r.Serial[0] = 4
		r.NotBefore = 1_783_000_000 + int64(i)/10 - rng.Int64N(600)
		r.NotAfter = r.NotBefore + 7_775_999
		r.DNSNames = sites[rng.IntN(len(sites))]
		host := r.DNSNames[0]
		r.SANCount = uint32(len(r.DNSNames))
		r.Subject = schema.Name{CommonNames: r.DNSNames[:1], Text: "CN=" + host}
		r.Subject.Raw = append([]byte{0x30, byte(len(host) + 11), 0x31, byte(len(host) + 9), 0x30, byte(len(host) + 7), 6, 3, 0x55, 4, 3, 12, byte(len(host))}, host...)
		r.KeyAlg, r.KeyBits, r.KeyOID = schema.KeyEC, 256, "1.2.840.10045.3.1.7"
		if rng.IntN(3) == 0 {
			r.KeyAlg, r.KeyBits, r.KeyOID = schema.KeyRSA, 2048, "1.2.840.113549.1.1.1"
		}
		r.SigAlg, r.SigOID = schema.SigSHA256RSA, "1.2.840.113549.1.1.11"
		r.Version, r.KeyUsage, r.PathLen, r.Validation = 3, 5, -1, schema.ValidationDV
		r.SKI, r.SKIMethod = identifier(ids)
		r.ExtKeyUsage = []string{"1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"}
		r.Policies = []string{"2.23.140.1.2.1"}
		r.AKI = make([]byte, 20)
		r.CAIssuers = []string{fmt.Sprintf("http://r%d.i.example.org/", issuer)}
		if issuer < 12 {
			r.CRLs = []string{fmt.Sprintf("http://r%d.c.example.org/%d.crl", issuer, rng.IntN(128))}
		}
		pre, final := schema.Hash(bytesOf(32)), schema.Hash(bytesOf(32))
		logs := [2]uint64{uint64(rng.IntN(30)), 30 + uint64(rng.IntN(30))}
		issued := (1_783_000_000+3_600)*1000 + uint64(i)*100 + rng.Uint64N(500)
		scts := []schema.SCT{
			{LogID: schema.Hash{0: byte(logs[0]), 8: 99, 31: byte(3 * logs[0])}, Timestamp: issued + rng.Uint64N(500)},
			{LogID: schema.Hash{0: byte(logs[1]), 8: 98, 31: byte(3 * logs[1])}, Timestamp: issued + rng.Uint64N(500)},
		}
		n := int(s.perCert)
		if rng.Float64() < s.perCert-math.Floor(s.perCert) {
			n++
		}
		begins := float64(i) * s.perCert
		for k := range n {
			e := r
			e.LogID = logs[k%2]
			// The two precertificates of a certificate come first, at the time
			// that its SCTs tell.
			isFinal := k >= 2 || n < 2 && rng.IntN(2) == 0 || n == 2 && k == 1
			if e.EntryType, e.Poison, e.Fingerprint = schema.PrecertEntry, true, pre; isFinal {
				e.EntryType, e.Poison, e.Fingerprint, e.SCTs = schema.X509Entry, false, final, scts
			}
			e.Timestamp = scts[k%2].Timestamp
			if isFinal {
				e.Timestamp += 1000 + rng.Uint64N(60_000)
			}
			e.Extensions = []string{"2.5.29.15", "2.5.29.37", "2.5.29.19", "2.5.29.14", "2.5.29.35", "1.3.6.1.5.5.7.1.1", "2.5.29.17", "2.5.29.32", fmt.Sprint("1.3.6.1.4.1.11129.2.4.", e.EntryType)}
			all = append(all, at{e, begins + rng.Float64()*float64(s.spread)})
		}
	}
	slices.SortFunc(all, func(a, b at) int {
		if a.pos < b.pos {
			return -1
		}
		return 1
	})
	rows := make([]schema.Row, len(all))
	next := map[uint64]uint64{}
	for i := range all {
		rows[i] = all[i].row
		rows[i].Index = next[rows[i].LogID]
		next[rows[i].LogID]++
	}
	return rows
}
