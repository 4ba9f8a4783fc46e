package archtest

// Patterns in these tables: "wal" is that package, "store/..." is store and
// everything below it, "ingest/*" is everything below ingest but not ingest.

// imports lists for every package which packages of this module it may
// import. The first pattern that matches a package counts.
var imports = []struct {
	pkg string
	may []string
}{
	{"schema", nil},
	{"internal/durable", nil},
	{"internal/crashfs", []string{"internal/durable"}},
	{"internal/archtest", nil},
	{"internal/deploytest", nil},
	{"internal/mutation", nil},
	{"internal/stagebench", nil},
	{"wal", []string{"internal/durable"}},
	{"checkpoint", []string{"internal/durable"}},
	{"ingest", []string{"ingest/*", "wal", "checkpoint", "schema", "internal/durable"}},
	{"ingest/catalog", []string{"ingest/ctlog", "internal/durable"}},
	{"ingest/*", []string{"ingest/*", "schema", "internal/durable"}},
	{"store", []string{"store/*", "schema", "internal/durable"}},
	{"store/*", []string{"store/*", "schema", "internal/durable"}},
	{"bench", nil}, // tests alone: see testImports
	{"bench/table", nil},
	{"internal/storm", nil},
	{"internal/world", nil},
	{"cmd/ctappliance", []string{"cmd/ctappliance/*", "ingest/...", "store/...", "wal", "checkpoint", "schema", "internal/durable"}},
	{"cmd/ctappliance/config", []string{"cmd/ctappliance/plain", "ingest", "ingest/catalog", "ingest/ctlog"}},
	{"cmd/ctappliance/plain", nil},
	{"cmd/ctappliance/report", []string{"cmd/ctappliance/config", "cmd/ctappliance/plain", "cmd/ctappliance/usage", "ingest", "ingest/pace", "store/engine"}},
	{"cmd/ctappliance/usage", []string{"cmd/ctappliance/plain"}},
}

// testSupport lists packages made for tests. Any test may import them; the
// program only as said in supportInProgram.
var testSupport = []string{"internal/crashfs", "internal/archtest", "internal/deploytest", "internal/stagebench", "internal/world", "ingest/ctlog/ctlogtest", "store/engine/enginetest", "store/storetest"}

// supportInProgram are the exceptions: the demo runs a log of its own.
var supportInProgram = map[string][]string{
	"cmd/ctappliance": {"ingest/ctlog/ctlogtest"},
}

// testImports lists what tests of a package may import of this module beyond
// what the package itself may: where rooms are tried together.
var testImports = map[string][]string{
	"wal":             {},
	"ingest":          {"internal/durable"},
	"store":           {"ingest/..."},
	"bench":           {"ingest/...", "store/...", "wal", "schema"},
	"internal/storm":  {"ingest/...", "store/...", "wal", "checkpoint", "schema"},
	"internal/world":  {"ingest/...", "store/...", "wal", "schema"},
	"cmd/ctappliance": {"internal/durable"},
}

// homes lists the modules of others, by the beginning of their import path,
// and the packages that may import them. A module that is not here may not be
// used.
var homes = []struct {
	path  string
	pkgs  []string // in the program and in tests
	tests []string // in tests only
}{
	{"github.com/ClickHouse/clickhouse-go/v2", []string{"store/..."}, nil},
	{"github.com/ClickHouse/ch-go", []string{"store/..."}, nil},
	{"github.com/pierrec/lz4/v4", []string{"store/engine"}, nil},
	{"github.com/ebitengine/purego", []string{"store/engine"}, nil},
	{"go.etcd.io/bbolt", []string{"checkpoint"}, nil},
	{"github.com/google/certificate-transparency-go", []string{"ingest/..."}, []string{"cmd/ctappliance", "store"}},
	{"github.com/transparency-dev/merkle", []string{"ingest/ctlog/..."}, []string{"ingest"}},
	{"golang.org/x/mod/sumdb", []string{"ingest/ctlog/..."}, nil},
	{"golang.org/x/net/publicsuffix", []string{"ingest/cert"}, nil},
	{"github.com/segmentio/asm", []string{"ingest/..."}, nil},
	{"github.com/klauspost/compress/gzip", []string{"ingest/..."}, nil},
	{"github.com/klauspost/compress/s2", []string{"ingest"}, nil},
	{"github.com/klauspost/compress/zstd", []string{"store/engine", "ingest"}, nil},
	{"golang.org/x/sync", []string{"ingest/...", "store/...", "cmd/ctappliance"}, []string{"wal"}},
	{"golang.org/x/sys/unix", []string{"internal/durable", "store/engine", "cmd/ctappliance/..."}, []string{"wal", "ingest/..."}},
	{"golang.org/x/sys/cpu", []string{"ingest/shabatch"}, nil},
	{"golang.org/x/term", []string{"cmd/ctappliance/..."}, nil},
	{"github.com/urfave/cli/v2", []string{"cmd/ctappliance/..."}, nil},
	{"github.com/goccy/go-yaml", []string{"cmd/ctappliance/..."}, []string{"internal/deploytest"}},
	{"github.com/schollz/progressbar/v3", []string{"cmd/ctappliance"}, nil},
	{"github.com/prometheus/client_golang", []string{"cmd/ctappliance"}, nil},
	{"github.com/coreos/go-systemd/v22/daemon", []string{"cmd/ctappliance"}, nil},
	{"github.com/rogpeppe/go-internal", nil, []string{"cmd/ctappliance"}},
	{"github.com/compose-spec/compose-go/v2", nil, []string{"internal/deploytest"}},
}

// standardOnly are the packages that import the standard library and nothing
// else.
var standardOnly = []string{"schema"}

// badNames say nothing about what a package is for.
var badNames = []string{"util", "utils", "common", "helper", "helpers", "misc", "base", "lib", "types"}

// maxLines is the length of a file, tests not counted, that can still be read
// as a whole.
const maxLines = 600
