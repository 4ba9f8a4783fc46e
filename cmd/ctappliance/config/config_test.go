package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/urfave/cli/v2"
)

// testKey is the public key of a log (ECDSA over P-256), made for these tests.
const testKey = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEJpPEV1ClAZc2MVlM+DLFc5eQDkgVVc/eF6pnXUM682DzpErzqFNUqKtPES+ty7/nvbdZBO2CckPhK1Z0niYAbQ=="

// writeFile makes a file in a directory of the test and returns its path.
func writeFile(t testing.TB, name, text string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil { // past the umask
		t.Fatal(err)
	}
	return path
}

// read reads a configuration as a command that talks to no log does.
func read(in Input) (*Config, error) { return Read(in, (*Config).Problems) }

// lines returns the lines of an error without the directory of the test's files.
func lines(err error) []string {
	if err == nil {
		return nil
	}
	return strings.Split(err.Error(), "\n")
}

func TestConfigLayers(t *testing.T) {
	file := writeFile(t, "c.yaml", "store:\n  database: from_file\n  user: from_file\nflush.rows: 5\nflush: {bytes: 1MiB}\n", 0o644)
	tests := []struct {
		name  string
		env   []string
		flags map[string][]string
		want  func(*Config) (got, want any)
	}{
		{"default", nil, nil, func(c *Config) (any, any) { return c.Flush.Interval, Duration(5 * time.Second) }},
		{"file", nil, nil, func(c *Config) (any, any) { return c.Store.Database, "from_file" }},
		{"dotted key in the file", nil, nil, func(c *Config) (any, any) { return c.Flush.Rows, 5 }},
		{"flow mapping in the file", nil, nil, func(c *Config) (any, any) { return c.Flush.Bytes, Size(1 << 20) }},
		{"environment over file", []string{"CTAPPLIANCE_STORE_DATABASE=from_env"}, nil,
			func(c *Config) (any, any) { return c.Store.Database, "from_env" }},
		{"empty variable is not set", []string{"CTAPPLIANCE_STORE_DATABASE="}, nil,
			func(c *Config) (any, any) { return c.Store.Database, "from_file" }},
		{"flag over environment", []string{"CTAPPLIANCE_STORE_DATABASE=from_env"}, map[string][]string{"store.database": {"no", "from_flag"}},
			func(c *Config) (any, any) { return c.Store.Database, "from_flag" }},
		{"state directory", []string{"STATE_DIRECTORY=/var/lib/x:/var/lib/y"}, nil,
			func(c *Config) (any, any) { return c.DataDir, "/var/lib/x" }},
		{"data-dir over state directory", []string{"STATE_DIRECTORY=/var/lib/x", "CTAPPLIANCE_DATA_DIR=/d"}, nil,
			func(c *Config) (any, any) { return c.DataDir, "/d" }},
		{"false over a default of true", []string{"CTAPPLIANCE_STORE_DEDUP_TOKENS=false"}, nil,
			func(c *Config) (any, any) { return c.Store.DedupTokens, false }},
		{"a log as its URL alone", nil, map[string][]string{"logs": {"https://log.example/"}, "log-list": {file}},
			func(c *Config) (any, any) {
				return c.Logs, []LogConfig{{URL: "https://log.example/", Kind: "auto"}}
			}},
		{"logs as YAML in the environment", []string{`CTAPPLIANCE_LOGS=[{url: https://log.example/, key: ` + testKey + `, start: 12}]`}, nil,
			func(c *Config) (any, any) {
				return c.Logs, []LogConfig{{URL: "https://log.example/", Key: testKey, Kind: "auto", Start: Start{Index: 12}}}
			}},
		{"limits", nil, map[string][]string{"limits": {`{"host": "log.example", "max-qps": 2.5}`}},
			func(c *Config) (any, any) {
				return c.Limits, []LimitConfig{{Host: "log.example", MaxQPS: 2.5, KeepAlive: "auto"}}
			}},
		{"lists by commas", []string{"CTAPPLIANCE_LISTS_SOURCES=google, apple"}, nil,
			func(c *Config) (any, any) {
				return c.Lists.Sources, []ListSource{{URL: "google"}, {URL: "apple"}}
			}},
		{"names by commas and by flags", nil, map[string][]string{"log-names": {"a, b", "c"}, "log-list": {file}},
			func(c *Config) (any, any) { return c.LogNames, []string{"a", "b", "c"} }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := read(Input{File: file, Environ: tt.env, Flags: tt.flags})
			if err != nil {
				t.Fatal(err)
			}
			if got, want := tt.want(c); !reflect.DeepEqual(got, want) {
				t.Errorf("got %v, want %v", got, want)
			}
		})
	}
}

// Lists are replaced by the higher layer, and what is said about their items
// names the higher layer.
func TestConfigListsAreReplaced(t *testing.T) {
	file := writeFile(t, "c.yaml", "logs:\n  - url: https://one.example/\n    key: "+testKey+"\n  - url: https://two.example/\n    key: "+testKey+"\n", 0o644)
	c, err := read(Input{File: file, Flags: map[string][]string{"logs": {"{url: ftp://three.example/, key: " + testKey + "}"}}})
	want := `--logs[0].url: "ftp://three.example/" is not an https URL`
	if len(c.Logs) != 1 || err == nil || err.Error() != want {
		t.Errorf("%d logs, error:\n%v\nwant:\n%s", len(c.Logs), err, want)
	}
}

func TestConfigMistakes(t *testing.T) {
	tests := []struct {
		name, yaml string
		env        []string
		flags      map[string][]string
		want       []string // whole lines, FILE for the path of the config file
	}{
		{name: "nothing wrong", yaml: "contact: ops@ct-watch.org\n"},
		{name: "empty file", yaml: ""},
		{name: "comment only", yaml: "# nothing yet\n"},
		{name: "key without a value", yaml: "store:\ncontact:\n"},
		{name: "unknown key, near one", yaml: "\nstroe:\n  dsn: x\n",
			want: []string{"stroe (FILE:2): there is no such key; did you mean store?"}},
		{name: "unknown nested key", yaml: "store:\n  passwrd: x\n",
			want: []string{"store.passwrd (FILE:2): there is no such key; did you mean store.password?"}},
		{name: "unknown key, near none", yaml: "flush:\n  elephants: 3\n",
			want: []string{"flush.elephants (FILE:2): there is no such key; the keys here are rows, bytes, interval"}},
		{name: "all of them at once", yaml: "wal:\n  segment-size: 12 parsecs\n  budget: 1MiB\nflush:\n  rows: many\n  interval: 5\n",
			want: []string{
				`wal.segment-size (FILE:2): "12 parsecs" is not a size; write a number and a unit, such as 64MiB or 32MB`,
				`flush.rows (FILE:5): "many" is not a whole number`,
				`flush.interval (FILE:6): "5" has no unit; write 5s for seconds`,
				`wal.budget (FILE:3): 1MiB is not between 4MiB and 1PiB, or 0 for no limit but the disk`,
				`wal.budget (FILE:3): 1MiB is less than four segments of 64MiB; raise it or lower wal.segment-size`,
			}},
		{name: "same key twice", yaml: "store.dsn: https://a.example/\nstore:\n  dsn: https://b.example/\n",
			want: []string{"store.dsn (FILE:3): is set already (FILE:1); keep one"}},
		{name: "value where settings belong", yaml: "store: https://a.example/\n",
			want: []string{"store (FILE:1): is a single value; write settings as key: value"}},
		{name: "settings where a value belongs", yaml: "contact: {mail: x}\n",
			want: []string{"contact (FILE:1): is settings; write a single value"}},
		{name: "not YAML", yaml: "contact: [a\n", want: []string{"FILE:1: is not YAML: sequence end token ']' not found"}},
		{name: "anchor", yaml: "contact: &a x\n", want: []string{"FILE:1: anchors and aliases (&, *, <<) are not understood here; write the value out"}},
		{name: "second document", yaml: "contact: a@b.org\n---\ncontact: c@d.org\n",
			want: []string{"FILE:3: a second document begins; a config file has one"}},
		{name: "a list as the document", yaml: "- a\n", want: []string{"config (FILE:1): is a list; write settings as key: value"}},
		{name: "too deep", yaml: "a: " + strings.Repeat("[", 40), want: []string{"FILE:1: nests deeper than 32 levels"}},
		{name: "yes is not true", yaml: "allow-private: yes\n", want: []string{`allow-private (FILE:1): "yes" is neither true nor false`}},
		{name: "choices", yaml: "log: {level: loud}\n", want: []string{`log.level (FILE:1): "loud" is none of debug, info, warn, error`}},
		{name: "environment", env: []string{"CTAPPLIANCE_FETCH_WORKERS=1000"},
			want: []string{"CTAPPLIANCE_FETCH_WORKERS: 1000 is not between 1 and 64"}},
		{name: "flag", flags: map[string][]string{"engine.port": {"70000"}},
			want: []string{"--engine-port: 70000 is not between 1 and 65535, or 0 for any free port"}},
		{name: "a flag mends the file", yaml: "flush.rows: many\n", flags: map[string][]string{"flush.rows": {"7"}},
			want: []string{`flush.rows (FILE:1): "many" is not a whole number`}},
		{name: "contact", yaml: "contact: somebody\n", want: []string{`contact (FILE:1): "somebody" is neither an e-mail address (you@your.org) nor an https URL`}},
		{name: "contact, header injection", yaml: `contact: "a@b.org\r\nX: y"` + "\n",
			want: []string{`contact (FILE:1): "a@b.org\r\nX: y" is neither an e-mail address nor an https URL`}},
		{name: "placeholder contact", yaml: "contact: you@mail.example.com\n",
			want: []string{"contact (FILE:1): is a placeholder, and logs treat it as no contact; write an address that reaches you"}},
		{name: "placeholder contact, but only to this machine", yaml: "contact: you@example.com\nallow-private: true\nlogs:\n  - {url: 'http://127.0.0.1:8080/', key: " + testKey + "}\n"},
		{name: "native protocol", yaml: "store.dsn: clickhouse://db:9000\n",
			want: []string{`store.dsn (FILE:1): "clickhouse://" is ClickHouse's native protocol; rows go over HTTP: write https://host:8443/ or http://localhost:8123/`}},
		{name: "plaintext to another host", yaml: "store.dsn: http://db:8123/\n",
			want: []string{`store.dsn (FILE:1): http to "db" would carry password and rows readable over the network; use https, or set store.allow-plaintext`}},
		{name: "plaintext to this host", yaml: "store.dsn: http://[::1]:8123/\n"},
		{name: "database injection", yaml: "store.database: 'a; DROP TABLE b'\n",
			want: []string{`store.database (FILE:1): "a; DROP TABLE b" is not a name of letters, digits and _, at most 64, that begins with no digit`}},
		{name: "logs", yaml: `logs:
  - url: http://log.example/
    key: ` + testKey + `
  - url: https://10.0.0.1/
    key: AAAA
    kind: dynamic
    start: -1
  - urll: https://a.example/
  -
  - url: https://b.example/?x=1
    submission-url: https://user@b.example/
    kind: rfc6962
`, want: []string{
			`logs[1].start (FILE:7): "-1" is no place to start; write zero, now, an index such as 1000000, or a date such as 2026-01-01, with +history behind it for what comes before as well`,
			`logs[2].urll (FILE:8): there is no such key; did you mean url?`,
			`logs[3] (FILE:9): is empty; write settings, or remove the dash`,
			`logs[1].kind (FILE:6): "dynamic" is none of auto, rfc6962, static, archive`,
			`logs[0].url (FILE:2): "http://log.example/" is not https; a log of your own over http needs allow-private`,
			`logs[1].url (FILE:4): "https://10.0.0.1/" is on a private address; set allow-private if that is meant`,
			`logs[1].key (FILE:5): is not a public key (DER SubjectPublicKeyInfo); copy the key of the log list, not the log ID`,
			`logs[2].url (FILE:8): is missing; write the log's URL`,
			`logs[2].key (FILE:8): is missing; write the log's public key in base64, or set log-list to look it up`,
			`logs[4].url (FILE:10): "https://b.example/?x=1" has a query or a fragment; write the log's prefix alone`,
			`logs[4].submission-url (FILE:11): has a user in it; logs are public`,
			`logs[4].submission-url (FILE:11): only static logs have one; remove it or set kind: static`,
			`logs[4].key (FILE:10): is missing; write the log's public key in base64, or set log-list to look it up`,
		}},
		{name: "same log twice", yaml: "logs:\n  - {url: 'https://a.example/x', key: " + testKey + "}\n  - {url: 'https://a.example/x/', key: " + testKey + "}\n",
			want: []string{`logs[1].url (FILE:3): "https://a.example/x/" is logs[0] already; remove one`}},
		{name: "limits", yaml: "limits:\n  - {host: 'https://a.example/', max-qps: 1}\n  - {host: a.example}\n  - {host: A.example, max-in-flight: 0, max-qps: 1e9}\n",
			want: []string{
				`limits[2].max-qps (FILE:4): 1e+09 is not between 0.001 and 100000, or 0 for no limit known`,
				`limits[0].host (FILE:2): "https://a.example/" is not a host name; leave scheme and path out`,
				`limits[1] (FILE:3): limits nothing; set max-qps or max-in-flight`,
				`limits[2].host (FILE:4): "A.example" is limits[1] already; remove one`,
			}},
		{name: "names without a list of one's own", yaml: "log-names: all usable\n"},
		{name: "starts", yaml: "follow.start: 2199-01-01\nlogs:\n" +
			"  - {url: https://a.example/, key: " + testKey + ", start: zero+history}\n" +
			"  - {url: https://b.example/, key: " + testKey + ", start: 2026-13-01}\n" +
			"  - {url: https://c.example/, key: " + testKey + ", start: 1999-01-01}\n" +
			"  - {url: https://d.example/, key: " + testKey + ", start: history}\n" +
			"  - {url: https://e.example/, key: " + testKey + ", start: 2199-01-01T00:00:01Z+history}\n" +
			"  - {url: https://f.example/, key: " + testKey + ", start: 20260101}\n" +
			"  - {url: https://g.example/, key: " + testKey + ", start: index:}\n",
			want: []string{
				`logs[0].start (FILE:3): nothing comes before zero; write zero, or now+history`,
				`logs[1].start (FILE:4): "2026-13-01" is not a date; write 2026-01-01, or 2026-01-01T12:00:00Z`,
				`logs[2].start (FILE:5): "1999-01-01" is before the first log; write zero for the whole history`,
				`logs[3].start (FILE:6): "history" is no place to start; write zero, now, an index such as 1000000, or a date such as 2026-01-01, with +history behind it for what comes before as well`,
				`logs[5].start (FILE:8): "20260101" may be meant as a date or as an index; write 2026-01-01 or index:20260101`,
				`logs[6].start (FILE:9): "index:" is no place to start; write zero, now, an index such as 1000000, or a date such as 2026-01-01, with +history behind it for what comes before as well`,
				`follow.start (FILE:1): 2199-01-01 has not come yet; write now`,
				`logs[4].start (FILE:7): 2199-01-01T00:00:01Z+history has not come yet; write now`,
			}},
		{name: "lists", yaml: `lists:
  follow: some
  refresh: 1s
  sources:
    - gogle
    - google
    - google
    - {url: apple, sig: x, key: y}
    - http://lists.example/a.json
    - https://10.0.0.1/a.json
    - {url: https://lists.example/b.json, sig: https://lists.example/b.sig}
    - {url: https://lists.example/c.json, sig: https://lists.example/c.sig, key: /nonexistent}
    - {url: https://u:p@lists.example/d.json}
    - /nonexistent/list.json
    - {key: x}
`, want: []string{
			`lists.follow (FILE:2): "some" is none of auto, all, none`,
			`lists.refresh (FILE:3): 1s is not between 1m and 168h`,
			`lists.sources[0].url (FILE:5): "gogle" is no list that is built in; did you mean google?`,
			`lists.sources[2].url (FILE:7): "google" is lists.sources[1] already; remove one`,
			`lists.sources[3].url (FILE:8): what apple's signature needs is built in; remove sig and key, or write the list's URL`,
			`lists.sources[4].url (FILE:9): "http://lists.example/a.json" is not an https URL; a list of your own over http needs allow-private`,
			`lists.sources[5].url (FILE:10): "https://10.0.0.1/a.json" is on a private address; set allow-private if that is meant`,
			`lists.sources[6] (FILE:11): sig and key belong together; set both or neither`,
			`lists.sources[7].key (FILE:12): open /nonexistent: no such file or directory`,
			`lists.sources[8].url (FILE:13): has a user in it; lists are public`,
			`lists.sources[9].url (FILE:14): stat /nonexistent/list.json: no such file or directory`,
			`lists.sources[10].url (FILE:15): is missing; write google, apple, or the path or https URL of a log list`,
			`lists.sources[10] (FILE:15): sig and key belong together; set both or neither`,
		}},
		{name: "archives", yaml: "logs:\n  - {url: file:///old/, key: " + testKey + "}\n  - {url: file:///old2/, key: " + testKey + ", kind: static}\n" +
			"  - {url: file://host/x/, key: " + testKey + "}\n  - {url: https://a.example/000.zip, key: " + testKey + ", kind: archive, submission-url: file:///x/}\n",
			want: []string{
				`logs[1].kind (FILE:3): static is not read from files; write archive, or leave it out`,
				`logs[2].url (FILE:4): archive "file://host/x/" is on another host; write file:///path with three slashes`,
				`logs[3].submission-url (FILE:5): is a file; write the https URL under which the log took certificates`,
			}},
		{name: "rules", yaml: "follow:\n  include: [kind=static, 'colour=red', 'operator=\"x']\n  exclude: state=odd\n",
			want: []string{
				`follow.include[1] (FILE:2): rule "colour=red": "colour" is not known; use operator, name, url, id, state, kind, interval, list, test`,
				`follow.include[2] (FILE:2): rule "operator=\"x": a double quote is not closed`,
				`follow.exclude[0] (FILE:3): rule "state=odd": state "odd" is not known; use usable, qualified, readonly, pending, retired or rejected`,
			}},
		{name: "limits of operators", yaml: "limits:\n  - {operator: A, max-qps: 1}\n  - {operator: a, max-in-flight: 2}\n  - {operator: B, keep-alive: off, max-qps: 1}\n" +
			"  - {operator: C, host: c.example, max-qps: 1}\n  - {max-qps: 1}\n  - {host: d.example, start-qps: 2, max-qps: 1}\n  - {host: e.example, keep-alive: 'off'}\n  - {host: f.example, keep-alive: never}\n",
			want: []string{
				`limits[7].keep-alive (FILE:9): "never" is none of auto, on, off`,
				`limits[1].host (FILE:3): "a" is limits[0] already; remove one`,
				`limits[2] (FILE:4): start-qps and keep-alive are set per host; write one item for each`,
				`limits[3].operator (FILE:5): stands beside host; a limit is for one of them, write two`,
				`limits[4].host (FILE:6): is missing; write the host that the limit is for, or an operator`,
				`limits[5].start-qps (FILE:7): 2 is more than max-qps; lower it`,
			}},
		{name: "missing files", yaml: "log-list: /nonexistent/list.json\nengine.library: /nonexistent\nstore.ca-file: /\n",
			want: []string{
				"store.ca-file (FILE:3): / is a directory; name a file",
				"engine.library (FILE:2): stat /nonexistent: no such file or directory",
				"log-list (FILE:1): stat /nonexistent/list.json: no such file or directory",
			}},
		{name: "control characters in a key", yaml: "\"con\\u001b[31mtact\": x\n",
			want: []string{"con?[31mtact (FILE:1): there is no such key; did you mean contact?"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			file := writeFile(t, "c.yaml", tt.yaml, 0o644)
			_, err := read(Input{File: file, Environ: tt.env, Flags: tt.flags})
			got := lines(err)
			for i := range got {
				got[i] = strings.ReplaceAll(got[i], file, "FILE")
			}
			if strings.Join(got, "\n") != strings.Join(tt.want, "\n") {
				t.Errorf("got:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
			}
		})
	}
}

func TestConfigManyMistakes(t *testing.T) {
	file := writeFile(t, "c.yaml", strings.Repeat("- a\n", 1), 0o644)
	var b strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&b, "elephant%d: 1\n", i)
	}
	if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := read(Input{File: file})
	got := lines(err)
	if len(got) != maxConfigErrors+1 || got[maxConfigErrors] != "… and 960 more mistakes" {
		t.Errorf("%d lines, the last %q", len(got), got[len(got)-1])
	}
}

func TestConfigLogsRequired(t *testing.T) {
	const noContact = "contact: is not set; write your e-mail address or an https URL, which logs see with every request"
	tests := []struct {
		name  string
		c     func(*Config)
		lists bool // the logs of the lists are followed
		want  []string
	}{
		{"nothing", func(c *Config) {}, true, []string{noContact}},
		{"a contact is enough", func(c *Config) { c.Contact = "a@b.org" }, true, nil},
		{"nothing, and no lists", func(c *Config) { c.Contact, c.Lists.Follow = "a@b.org", "none" }, false,
			[]string{"logs: no log is chosen, and lists.follow is none; list one under logs, or set log-names"}},
		{"list without names", func(c *Config) { c.Contact, c.LogList = "a@b.org", "x" }, false,
			[]string{"log-names: no log is chosen; write the names, or 'all usable'"}},
		{"loopback needs no contact", func(c *Config) { c.Logs = []LogConfig{{URL: "http://localhost:1/"}, {URL: "http://[::1]:2/"}} }, false, nil},
		{"but the lists do", func(c *Config) { c.Logs, c.Lists.Follow = []LogConfig{{URL: "http://localhost:1/"}}, "all" }, true, []string{noContact}},
		{"one log elsewhere", func(c *Config) {
			c.Logs = []LogConfig{{URL: "http://localhost:1/"}, {URL: "https://localhost.ct-watch.org/"}}
		}, false, []string{noContact}},
		{"names", func(c *Config) { c.Contact, c.LogNames = "https://ct-watch.org/bot", []string{"x"} }, false, nil},
		{"names and rules", func(c *Config) {
			c.Contact, c.LogNames, c.Follow.Exclude = "https://ct-watch.org/bot", []string{"x"}, []string{"kind=static"}
		}, true, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := Default()
			tt.c(c)
			if got := lines(c.ValidateLogs()); strings.Join(got, "\n") != strings.Join(tt.want, "\n") {
				t.Errorf("got:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
			}
			if c.FollowsLists() != tt.lists {
				t.Errorf("follows the lists: %v", c.FollowsLists())
			}
		})
	}
}

// The wording that a user meets on the first day.
func ExampleConfig_Validate() {
	c := Default()
	c.Contact = "you@example.com"
	c.Store.DSN = "http://clickhouse.internal:8123/"
	c.Flush.Rows = 0
	c.Logs = []LogConfig{{URL: "https://ct.googleapis.com/logs/us1/argon2027h1/", Kind: "auto"}}
	fmt.Println(c.Validate())
	// Output:
	// flush.rows: 0 is not between 1 and 1000000
	// contact: is a placeholder, and logs treat it as no contact; write an address that reaches you
	// store.dsn: http to "clickhouse.internal" would carry password and rows readable over the network; use https, or set store.allow-plaintext
	// logs[0].key: is missing; write the log's public key in base64, or set log-list to look it up
}

// runCLI parses args as a command of the real program does.
func runCLI(t *testing.T, args ...string) (c *Config, err error) {
	t.Helper()
	return runWithFlags(t, Flags(), args...)
}

func runWithFlags(t *testing.T, flags []cli.Flag, args ...string) (c *Config, err error) {
	t.Helper()
	app := &cli.App{
		Name: "ctappliance", Writer: &strings.Builder{}, ErrWriter: &strings.Builder{}, ExitErrHandler: func(*cli.Context, error) {},
		Commands: []*cli.Command{{Name: "run", Flags: flags, Action: func(cctx *cli.Context) error {
			var e error
			c, e = Load(cctx, false)
			return e
		}}},
	}
	err = app.Run(append([]string{"ctappliance", "run"}, args...))
	return c, err
}

func TestConfigFlags(t *testing.T) {
	secret := writeFile(t, "pw", "hunter2\n", 0o600)
	file := writeFile(t, "c.yaml", "flush.rows: 9\nstore.dedup-tokens: false\nallow-private: true\n", 0o644)
	c, err := runCLI(t, "--config", file, "--wal-budget", "1GiB", "--allow-private=false", "--store-password-file", secret,
		"--limits", `{host: a.example, max-qps: 1}`, "--limits", `{host: b.example, max-in-flight: 2}`)
	if err != nil {
		t.Fatal(err)
	}
	if c.WAL.Budget != 1<<30 || c.AllowPrivate || c.Store.DedupTokens || c.Flush.Rows != 9 || c.Store.Password.Reveal() != "hunter2" || len(c.Limits) != 2 {
		t.Errorf("got %+v", c)
	}
	// Set by nobody, a boolean flag must not stand in the way of the file.
	if c, err = runCLI(t, "--config", file); err != nil || !c.AllowPrivate {
		t.Errorf("allow-private of the file was lost: %v, %v", c.AllowPrivate, err)
	}
	for _, args := range [][]string{{"--store-password", "hunter2"}, {"--store-dsn", "https://u:hunter2@db.example/"}, {"--engine-readonly-password=hunter2"}} {
		_, err := runCLI(t, args...)
		if err == nil || !strings.Contains(err.Error(), "every user of this machine can read a command line") || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%v: %v", args, err)
		}
	}
	if _, err := runCLI(t, "--store-password-file", secret, "--store-dsn", "https://db.example/", "--store-dsn-file", secret); err == nil {
		t.Error("--store-dsn and --store-dsn-file were both taken")
	}
}

// A command fails only by the keys that it makes use of.
func TestConfigKeysThatDoNotMatter(t *testing.T) {
	file := writeFile(t, "c.yaml", "store.password-file: /nonexistent\nlogs:\n  - {url: x, start: y}\ndata-dir: /d\n", 0o644)
	c, err := runWithFlags(t, Flags("data-dir"), "--config", file)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Warnings) != 4 || !strings.Contains(strings.Join(c.Warnings, "\n"), "store.password-file") || c.DataDir != "/d" {
		t.Errorf("data-dir %s, warnings %q", c.DataDir, c.Warnings)
	}
	if _, err := runWithFlags(t, Flags("data-dir", "store"), "--config", file); err == nil || len(lines(err)) != 1 {
		t.Errorf("the store's password does not matter: %v", err)
	}
	bad := writeFile(t, "c.yaml", "dta-dir: /d\n", 0o644)
	if _, err := runWithFlags(t, Flags("data-dir"), "--config", bad); err == nil {
		t.Error("an unknown key was passed over")
	}
}

func TestConfigFlagNamesFilter(t *testing.T) {
	var got []string
	for _, f := range Flags("data-dir", "wal") {
		got = append(got, f.Names()[0])
	}
	if want := "config data-dir wal-segment-size wal-budget wal-reserve"; strings.Join(got, " ") != want {
		t.Errorf("got %v, want %s", got, want)
	}
}

func TestConfigSecrets(t *testing.T) {
	pw := writeFile(t, "pw", "from-file\n", 0o444)
	empty := writeFile(t, "empty", "\n", 0o600)
	creds := t.TempDir()
	if err := os.WriteFile(filepath.Join(creds, "store.password"), []byte("from-systemd"), 0o400); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, yaml string
		mode       os.FileMode
		env        []string
		want       string // the password
		err        string // FILE for the config file
	}{
		{name: "environment", env: []string{"CTAPPLIANCE_STORE_PASSWORD=from-env"}, want: "from-env"},
		{name: "file of the environment", env: []string{"CTAPPLIANCE_STORE_PASSWORD_FILE=" + pw}, want: "from-file"},
		{name: "both", env: []string{"CTAPPLIANCE_STORE_PASSWORD=x", "CTAPPLIANCE_STORE_PASSWORD_FILE=" + pw},
			err: "CTAPPLIANCE_STORE_PASSWORD: is set, and so is CTAPPLIANCE_STORE_PASSWORD_FILE; keep one"},
		{name: "credential", env: []string{"CREDENTIALS_DIRECTORY=" + creds}, want: "from-systemd"},
		{name: "credential over the file", yaml: "store.password: in-yaml\n", mode: 0o600, env: []string{"CREDENTIALS_DIRECTORY=" + creds}, want: "from-systemd"},
		{name: "environment over the credential", env: []string{"CREDENTIALS_DIRECTORY=" + creds, "CTAPPLIANCE_STORE_PASSWORD=from-env"}, want: "from-env"},
		{name: "named in the config file", yaml: "store:\n  password-file: " + pw + "\n", mode: 0o644, want: "from-file"},
		{name: "in a private config file", yaml: "store.password: in-yaml\n", mode: 0o640, want: "in-yaml"},
		{name: "in a public config file", yaml: "store.password: in-yaml\n", mode: 0o644,
			err: "store.password (FILE:1): a secret in a file that every user may access (mode 0644); chmod 640 FILE, or name a file of its own with store.password-file"},
		{name: "URL with a password in a public file", yaml: "store.dsn: https://u:p@db.example/\n", mode: 0o644,
			err: "store.dsn (FILE:1): a secret in a file that every user may access (mode 0644); chmod 640 FILE, or name a file of its own with store.dsn-file"},
		{name: "value and file", yaml: "store:\n  password: a\n  password-file: " + pw + "\n", mode: 0o600,
			want: "a", err: "store.password-file (FILE:3): is set already (FILE:2); keep one"},
		{name: "empty file", env: []string{"CTAPPLIANCE_STORE_PASSWORD_FILE=" + empty},
			err: "CTAPPLIANCE_STORE_PASSWORD_FILE: " + empty + " is empty; write the secret into it"},
		{name: "no file", env: []string{"CTAPPLIANCE_STORE_PASSWORD_FILE=/nonexistent"},
			err: "CTAPPLIANCE_STORE_PASSWORD_FILE: open /nonexistent: no such file or directory"},
		{name: "two passwords", env: []string{"CTAPPLIANCE_STORE_PASSWORD=a", "CTAPPLIANCE_STORE_DSN=https://u:b@db.example/"}, want: "a",
			err: "CTAPPLIANCE_STORE_DSN: has a password in it, and store.password is set too; keep one"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			in := Input{Environ: tt.env}
			if tt.yaml != "" {
				in.File = writeFile(t, "c.yaml", tt.yaml, tt.mode)
			}
			c, err := read(in)
			got := ""
			if err != nil {
				got = strings.ReplaceAll(err.Error(), in.File, "FILE")
				if in.File == "" {
					got = err.Error()
				}
			}
			if got != tt.err {
				t.Errorf("error:\n%s\nwant:\n%s", got, tt.err)
			}
			if c.Store.Password.Reveal() != tt.want {
				t.Errorf("password %q, want %q", c.Store.Password.Reveal(), tt.want)
			}
		})
	}
}

func TestConfigWarnings(t *testing.T) {
	c, err := read(Input{Environ: []string{"CTAPPLIANCE_STORE_DNS=x", "CTAPPLIANCE_TEST_CLICKHOUSE=x", "CTAPPLIANCE_PORT_80_TCP=x",
		"CTAPPLIANCE_ZZZZZZZZZZZZZZZZZZZZ=x", "OTHER=x"}})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"CTAPPLIANCE_STORE_DNS: is not a setting and has no effect; did you mean CTAPPLIANCE_STORE_DSN?",
		"CTAPPLIANCE_ZZZZZZZZZZZZZZZZZZZZ: is not a setting and has no effect",
	}
	if !reflect.DeepEqual(c.Warnings, want) {
		t.Errorf("got %q", c.Warnings)
	}
}

// The directory that systemd hands over is looked into, and need not hold a
// file; a file that was named must be there.
func TestConfigFilePlace(t *testing.T) {
	file := writeFile(t, "ctappliance.yaml", "flush.rows: 3\n", 0o644)
	c, err := read(Input{Environ: []string{"CONFIGURATION_DIRECTORY=" + filepath.Dir(file)}})
	if err != nil || c.Flush.Rows != 3 {
		t.Errorf("rows %d, %v", c.Flush.Rows, err)
	}
	if _, err := read(Input{Environ: []string{"CONFIGURATION_DIRECTORY=" + t.TempDir()}}); err != nil {
		t.Error(err)
	}
	_, err = read(Input{Environ: []string{"CTAPPLIANCE_CONFIG=/nonexistent"}})
	if err == nil || err.Error() != "CTAPPLIANCE_CONFIG: open /nonexistent: no such file or directory" {
		t.Errorf("got %v", err)
	}
	if !errors.Is(err, os.ErrNotExist) {
		t.Error("the cause is lost")
	}
}
