package world

import (
	"strings"
	"time"
)

// Role is what becomes of a log.
type Role string

// The roles. A log without one grows at its rate to the end.
const (
	Steady    Role = ""          // goes on
	Idle      Role = "idle"      // has a few entries and gets no more
	Closed    Role = "closed"    // read-only in the first list already
	Retired   Role = "retired"   // listed, and not to be asked
	Decoy     Role = "decoy"     // a placeholder: not made, keeps its URL
	Retiring  Role = "retiring"  // read-only, with a final tree head, in the update
	Appearing Role = "appearing" // in the update only
	Lying     Role = "lying"     // rewrites its tree
	Gone      Role = "gone"      // stops answering
	Moved     Role = "moved"     // another name and URL in the update
	Dropped   Role = "dropped"   // not in the update: takes nothing more, and answers
)

// roles are the fates that do not follow from the lists, by description.
var roles = map[string]Role{
	"Google 'Xenon2026h1' log":       Retiring,
	"IPng Networks 'Gouda2026h1'":    Retiring,
	"Google 'Argon2027h1'":           Appearing,
	"IPng Networks 'Halloumi2027h1'": Appearing,
	"Geomys 'Tuscolo2026h1'":         Lying,
	"IPng Networks 'Halloumi2026h1'": Gone,
	"TrustAsia 'log2026b'":           Moved,
}

// movedName and movedHost are what the moved log is called in the update.
const (
	movedName = "TrustAsia 'log2026b' (new home)"
	movedHost = "https://log2026b.ct-new.trustasia.com"
	movedPath = "/shard/log2026b/"
)

// families are how fast the busiest shard of a family grows, in millions of
// entries a day, and how many entries its get-entries gives, as far as both
// are known (2026), and guessed from their neighbours where not.
var families = []struct {
	part   string // of the description
	perDay float64
	page   int
}{
	{"Argon", 10, 32},
	{"Xenon", 10, 32},
	{"Nimbus", 12, 1024},
	{"Wyvern", 4, 256},
	{"phinx", 11.5, 256},
	{"Elephant", 8, 256},
	{"Tiger", 8, 256},
	{"Sabre", 1, 256},
	{"Mammoth", 1, 256},
	{"Oak", 4, 256},
	{"Sycamore", 6, 256},
	{"Willow", 6, 256},
	{"og2026", 10, 256},
	{"og2025", 10, 256},
	{"HETU", 0.5, 256},
	{"Luoshu", 0.5, 256},
	{"Tuscolo", 6, 256},
	{"Halloumi", 20, 256},
	{"Gouda", 35, 256},
}

// rate returns a log's growth in entries per second of the real world, and its
// page size. Certificates of 90 days fill the shard of the coming half-year.
func rate(description string) (perSecond float64, page int) {
	share := 0.001
	for _, s := range []struct {
		part  string
		share float64
	}{{"2026h2", 1}, {"2026h1", 0.2}, {"2026", 1}, {"2027h1", 0.05}, {"2027h2", 0}, {"2027", 1. / 20}, {"2025", 0}} {
		if strings.Contains(description, s.part) {
			share = s.share
			break
		}
	}
	for _, f := range families {
		if strings.Contains(description, f.part) {
			return share * f.perDay * 1e6 / 86400, f.page
		}
	}
	return share * 1e6 / 86400, 256
}

// Limit is what a host allows, and keeps to itself: a token bucket.
type Limit struct {
	Rate  float64 // requests per second
	Burst int

	// RetryAfter is how a refusal says when to come again: "" (not at all),
	// "seconds", or "utc", a date as Skylight writes it.
	RetryAfter string
	SpareHeads bool // polls of the head are free
	EmptyBody  bool // the refusal says nothing
}

// hosts are the hosts with a limit or slow answers, by their real name.
var hosts = map[string]struct {
	limit   *Limit
	latency [2]time.Duration // of data requests: at least, at most
}{
	"ct.cloudflare.com":               {limit: &Limit{Rate: 4, Burst: 10}},
	"wyvern.ct.digicert.com":          {limit: &Limit{Rate: 0.16, Burst: 1}, latency: [2]time.Duration{500 * time.Millisecond, 2 * time.Second}},
	"sphinx.ct.digicert.com":          {limit: &Limit{Rate: 1, Burst: 4}},
	"mon.sycamore.ct.letsencrypt.org": {limit: &Limit{Rate: 3, Burst: 8, RetryAfter: "seconds"}},
	"mon.willow.ct.letsencrypt.org":   {limit: &Limit{Rate: 1, Burst: 1, RetryAfter: "seconds"}},
	"ct2026-a.trustasia.com":          {limit: &Limit{Rate: 1, Burst: 1, EmptyBody: true}, latency: [2]time.Duration{3 * time.Second, 14 * time.Second}},
	"gouda2026h2.mon.ct.ipng.ch":      {limit: &Limit{Rate: 2, Burst: 5, RetryAfter: "utc", SpareHeads: true}},
	"halloumi2026h2a.mon.ct.ipng.ch":  {limit: &Limit{Rate: 0.5, Burst: 2, RetryAfter: "seconds", SpareHeads: true}},
}
