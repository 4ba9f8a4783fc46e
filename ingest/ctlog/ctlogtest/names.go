package ctlogtest

import "strconv"

var (
	nameWords = []string{
		"alder", "amber", "anchor", "apex", "arbor", "atlas", "aurora", "bay", "beacon", "birch", "blue", "bolt", "bridge", "bright",
		"brook", "canyon", "cedar", "cinder", "citrus", "clear", "cloud", "cobalt", "comet", "copper", "coral", "crane", "crest",
		"cypress", "dawn", "delta", "dune", "eagle", "echo", "elm", "ember", "falcon", "fern", "field", "finch", "fjord", "flint",
		"forge", "fox", "frost", "garnet", "glade", "grove", "gulf", "harbor", "hawk", "hazel", "heron", "hill", "hollow", "indigo",
		"iris", "iron", "ivory", "jade", "juniper", "kite", "lake", "lark", "laurel", "linden", "lotus", "lumen", "maple", "marble",
		"meadow", "mesa", "mint", "mirror", "moss", "nimbus", "north", "nova", "oak", "onyx", "opal", "orbit", "orchid", "otter",
		"pearl", "pine", "pixel", "prairie", "quartz", "raven", "reef", "ridge", "river", "sage", "shore", "sierra", "silver", "slate",
		"solar", "spruce", "stone", "summit", "swift", "thistle", "tidal", "timber", "topaz", "vale", "velvet", "violet", "willow",
	}
	nameKinds = []string{"", "", "", "shop", "labs", "media", "tech", "hq", "app", "works", "group", "bank", "travel", "clinic", "-online"}
	nameTLDs  = []string{
		"com", "com", "com", "com", "com", "com", "net", "org", "de", "de", "co.uk", "nl", "fr", "io", "com.br", "ru", "it", "pl", "eu",
		"info", "com.au", "ca", "jp", "co.jp", "in", "dev", "app", "xyz", "shop", "online", "ch", "se", "cz", "us", "me", "cloud", "github.io",
	}
	nameHosts = []string{
		"www", "www", "www", "www", "mail", "api", "app", "dev", "staging", "admin", "cpanel", "webmail", "autodiscover", "webdisk",
		"blog", "shop", "cdn", "static", "vpn", "git", "login", "portal", "test", "m", "img", "db", "grafana", "status", "docs", "mx",
	}
	idnLabels  = []string{"xn--bcher-kva", "xn--mnchen-3ya", "xn--caf-dma", "xn--80ak6aa92e", "xn--fiqs8s", "xn--p1ai"}
	orgSuffix  = []string{" GmbH", ", Inc.", " Ltd", " S.A.", " AG", " LLC", " Oy", " & Söhne KG"}
	orgPlaces  = [][3]string{{"US", "California", "San Jose"}, {"DE", "Bayern", "München"}, {"GB", "England", "Leeds"}, {"FR", "Île-de-France", "Paris"}, {"NL", "Utrecht", "Utrecht"}, {"JP", "Tokyo", "Chiyoda-ku"}, {"BR", "São Paulo", "São Paulo"}, {"ID", "Jawa Barat", "Bandung"}}
	multiTLDs  = []string{"com", "net", "org", "de", "fr", "nl", "it", "co.uk", "eu", "ch"}
	hexDigits  = "0123456789abcdef"
	cloudParts = []string{"elb", "edge", "svc", "cluster", "node", "tenant"}
)

// site is who a certificate is for: the same number always has the same
// names, so that renewals share them.
type site struct {
	domain string
	names  []string // never empty
	ips    [][]byte
	org    string
	place  [3]string
}

// customers says how many names certificates have, and how many certificates
// the same names.
type customers struct {
	sites   float64 // that renew
	renewed float64 // share of the certificates that are theirs
	// names are the shares of sites with at most 1, 2, 3, 10 and 50 names; the
	// others have up to a hundred.
	names [5]float64
}

var (
	// manyNames is hard on who keeps names: 6 of them in a certificate.
	manyNames = customers{60_000, 0.6, [5]float64{0.32, 0.62, 0.72, 0.90, 0.98}}
	// usualNames is what was measured over all logs of the world: 2.7 names in
	// a certificate, and some four certificates with the same names.
	usualNames = customers{12_000, 0.9, [5]float64{0.42, 0.82, 0.91, 0.985, 0.999}}
)

// newSite makes a site. The number of its names is skewed as in real logs.
func newSite(seed, n uint64, of *customers) site {
	r := newRNG(seed, 's', n)
	word := func() string { return nameWords[r.intn(len(nameWords))] }
	base := word() + word() + nameKinds[r.intn(len(nameKinds))]
	if r.chance(0.4) {
		base += strconv.Itoa(r.intn(10000))
	}
	if r.chance(0.01) {
		base = idnLabels[r.intn(len(idnLabels))]
	}
	s := site{domain: base + "." + nameTLDs[r.intn(len(nameTLDs))]}
	s.org = word() + orgSuffix[r.intn(len(orgSuffix))]
	s.place = orgPlaces[r.intn(len(orgPlaces))]

	var want int
	switch p := r.float(); {
	case p < of.names[0]:
		want = 1
	case p < of.names[1]:
		want = 2
	case p < of.names[2]:
		want = 3
	case p < of.names[3]:
		want = 4 + r.intn(7)
	case p < of.names[4]:
		want = 11 + r.intn(40)
	default:
		want = 51 + r.intn(50)
	}
	host := func() string { return nameHosts[r.intn(len(nameHosts))] }
	switch p := r.float(); {
	case want > 10 && p < 0.5: // a hosting platform: unrelated domains together
		for len(s.names) < want {
			s.names = append(s.names, word()+word()+strconv.Itoa(r.intn(1000))+"."+nameTLDs[r.intn(len(nameTLDs))])
		}
	case p < 0.16: // wildcard and apex
		s.names = append(s.names, "*."+s.domain, s.domain)
	case p < 0.26: // machine-made name
		id := make([]byte, 12)
		for i := range id {
			id[i] = hexDigits[r.intn(16)]
		}
		s.names = append(s.names, string(id)+"."+cloudParts[r.intn(len(cloudParts))]+"."+s.domain)
	case want == 1:
		s.names = append(s.names, host()+"."+s.domain)
	default:
		s.names = append(s.names, s.domain, "www."+s.domain)
	}
	for i := 0; len(s.names) < want; i++ {
		switch {
		case r.chance(0.3):
			s.names = append(s.names, base+"."+multiTLDs[r.intn(len(multiTLDs))])
		case r.chance(0.2):
			s.names = append(s.names, "*."+host()+"."+s.domain)
		default:
			s.names = append(s.names, host()+strconv.Itoa(i)+"."+s.domain)
		}
	}
	if r.chance(0.004) {
		s.ips = append(s.ips, []byte{203, 0, 113, byte(r.intn(256))})
		if r.chance(0.3) {
			ip := []byte{0x20, 0x01, 0x0d, 0xb8, 15: 1}
			ip[14] = byte(r.intn(256))
			s.ips = append(s.ips, ip)
		}
	}
	return s
}
