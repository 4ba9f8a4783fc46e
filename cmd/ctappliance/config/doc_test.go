package config

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write golden files and docs/config.md anew")

// Every key has what help and reference need, its default and range can be
// read and lie within each other, and no two keys share a name anywhere.
func TestConfigKeys(t *testing.T) {
	names := map[string]string{}
	var check func(keys []configKey)
	check = func(keys []configKey) {
		for _, k := range keys {
			if !strings.HasSuffix(k.Doc, ".") || strings.Contains(k.Doc, "|") {
				t.Errorf("%s: the doc is not a sentence for a table: %q", k.Key, k.Doc)
			}
			for _, text := range []string{k.Default, k.Min, k.Max} {
				if text == "" {
					continue
				}
				v := reflect.New(k.typ).Elem()
				if err := setText(v, text); err != nil {
					t.Errorf("%s: %v", k.Key, err)
				} else if got := formatValue(v); got != text {
					t.Errorf("%s: %q is printed as %q", k.Key, text, got)
				}
			}
			if (k.Min == "") != (k.Max == "") || k.Zero != "" && k.Min == "" {
				t.Errorf("%s: half a range", k.Key)
			}
			if kind := k.typ.Kind(); k.Min == "" && (kind == reflect.Int || kind == reflect.Int64 || kind == reflect.Float64) {
				t.Errorf("%s: a number without a range", k.Key)
			}
			check(k.items)
		}
	}
	check(configKeys())
	for _, k := range configKeys() {
		for _, n := range []string{k.Key, k.Env(), "--" + k.Flag()} {
			if other, twice := names[n]; twice {
				t.Errorf("%s is %s and %s", n, other, k.Key)
			}
			names[n] = k.Key
		}
	}
	if err := Default().Validate(); err != nil {
		t.Errorf("the defaults do not validate: %v", err)
	}
}

// docs/config.md is what the struct says, word for word.
func TestConfigReference(t *testing.T) {
	path := filepath.Join("..", "..", "..", "docs", "config.md")
	want := configReference()
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s is not what the struct says; run go test ./cmd/ctappliance/config -run TestConfigReference -update", path)
	}
}

// configReference writes docs/config.md.
func configReference() string {
	var b strings.Builder
	b.WriteString(`# Configuration

<!-- Written by go test ./cmd/ctappliance/config -run TestConfigReference -update. Change cmd/ctappliance/config/config.go instead. -->

Every setting has one name, which is spelt in three ways:

| where | store.dsn is spelt |
|---|---|
| YAML file | ` + "`store: {dsn: …}` or `store.dsn: …`" + ` |
| environment | ` + "`CTAPPLIANCE_STORE_DSN`" + ` (empty counts as not set) |
| flag | ` + "`--store-dsn`" + ` |

A value is taken from the first of: flag, environment, systemd credential (secrets only), file, default. Lists are replaced, never merged.
The file is the one that ` + "`--config`" + ` or ` + "`CTAPPLIANCE_CONFIG`" + ` names, else ` + "`ctappliance.yaml`" + ` in systemd's ` + "`$CONFIGURATION_DIRECTORY`" + ` if it is there. Unknown keys are errors, and so are anchors, tags and a second document.
` + "`ctappliance check`" + ` says everything that is wrong; ` + "`ctappliance check --print-config`" + ` prints what is in force and where it was set.

**Secrets** are never flags. Each comes from a file (` + "`store.password-file`, `CTAPPLIANCE_STORE_PASSWORD_FILE`, `--store-password-file`" + `), from the environment, from systemd (` + "`LoadCredential=store.password:/path`" + `),
or from the config file if other users cannot read that (` + "`chmod 640`" + `). A URL in store.dsn with a password inside is a secret too. They are not shown wherever the configuration is printed.

**Without a restart**: keys marked ↻ can be changed while ` + "`run`" + ` runs. Change the file (or what ` + "`-file`" + ` keys name) and run ` + "`ctappliance reload`" + `, ` + "`systemctl reload ctappliance`" + ` or send SIGHUP.
If anything is wrong with the new configuration, or a key without the mark is changed, one line says so and the old one stays in force. What flags and environment set stays as it is.

**Sizes** are a number and a unit: B, kB, MB, GB, TB (powers of 1000), KiB, MiB, GiB, TiB (powers of 1024); without a unit: bytes. **Durations**: 300ms, 5s, 1h30m, 7d.

## Keys

`)
	table := func(keys []configKey) {
		b.WriteString("| key | value | default | meaning |\n|---|---|---|---|\n")
		for _, k := range keys {
			value := strings.ReplaceAll(k.Type(), "|", `\|`)
			if k.Min != "" {
				value += fmt.Sprintf(", %s to %s", k.Min, k.Max)
			}
			if k.Zero != "" {
				value += "; 0: " + k.Zero
			}
			name := "`" + k.Key + "`"
			if k.Secret != "" {
				name += "<br>`" + k.Key + "-file`"
			}
			if k.Live {
				name += " ↻"
			}
			def := ""
			if k.Default != "" {
				def = "`" + k.Default + "`"
			}
			fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", name, value, def, k.Doc)
		}
	}
	table(configKeys())
	for _, k := range configKeys() {
		if k.items != nil {
			fmt.Fprintf(&b, "\n### Each of %s\n\n", k.Key)
			table(k.items)
		}
	}
	b.WriteString(ruleReference)
	b.WriteString("\n## Example\n\n```yaml\n" + exampleConfig + "```\n")
	return b.String()
}

const ruleReference = `
## Which logs of the lists are followed

` + "`ctappliance logs`" + ` shows what is followed and why, ` + "`logs --all`" + ` also what is not. Never followed, whatever rules say: retired and rejected logs, entries that contradict themselves or stand for no log (placeholders).
Pending and test logs only where an include rule asks for them. A read-only log is followed to its final tree head and closed.
A log that vanishes from all lists is followed until its backlog is copied. A log is known by its key: one that is renamed or moves goes on where it was.

### Rules

A rule is one or more terms between commas or spaces, all of which must hold. Double quotes keep together what has commas or spaces; ` + "`|`" + ` separates alternatives; ` + "`*`" + ` stands for anything; names are compared without case, quotes, dots, dashes and spaces.

| term | is met by |
|---|---|
| ` + "`operator=google\\|apple`" + ` | a part of the operator's name |
| ` + "`name=argon2026h1`, or the word alone" + ` | a part of the log's name |
| ` + "`url=ct.your-domain.org`" + ` | a host, or a host and the beginning of a path, of the log's URLs |
| ` + "`id=a1b2c3d4`" + ` | the log ID, hex (eight digits or more of it) or base64 |
| ` + "`state=readonly`" + ` | usable, qualified, readonly, pending |
| ` + "`kind=static`" + ` | rfc6962, static |
| ` + "`interval=2026-07..2027-01`" + ` | logs for certificates that expire in that time; a year, a month, a day, or two of them |
| ` + "`list=google`" + ` | the name of a list: google, apple, the host of its URL, or its file's name without the ending |
| ` + "`test=true`" + ` | logs for trying out |
`

// exampleConfig is printed in the reference and read by TestConfigExample.
const exampleConfig = `contact: ct@your-domain.org
data-dir: /var/lib/ctappliance

store:
  dsn: https://clickhouse.your-domain.org:8443/
  user: ctappliance
  password-file: /etc/ctappliance/store.password

# The logs of Google's and Apple's lists, but for some, and one more.
lists:
  follow: all
follow:
  exclude:
    - operator=TrustAsia state=readonly
    - name=xenon
  start: now+history

logs:
  - name: Our own log
    url: https://ct.your-domain.org/2027h1/
    key: ` + testKey + `
    start: 2026-01-01

limits:
  - operator: Sectigo
    max-qps: 50
  - host: ct.your-domain.org
    max-qps: 20

wal:
  budget: 20GiB
`

// The example of the reference has no mistakes but the files that are not on
// this machine.
func TestConfigExample(t *testing.T) {
	file := writeFile(t, "ctappliance.yaml", exampleConfig, 0o640)
	c, err := Read(Input{File: file}, func(c *Config) []KeyError { return append(c.Problems(), c.LogProblems()...) })
	want := []string{
		"store.password-file (FILE:7): open /etc/ctappliance/store.password: no such file or directory",
	}
	if got := strings.ReplaceAll(fmt.Sprint(err), file, "FILE"); got != strings.Join(want, "\n") {
		t.Errorf("got:\n%s", got)
	}
	if len(c.Logs) != 1 || c.Logs[0].Start.String() != "2026-01-01" || c.Limits[1].MaxQPS != 20 || !c.FollowsLists() || c.Follow.Start != (Start{Now: true, History: true}) {
		t.Errorf("got %+v", c)
	}
}

// The file that users are told to copy is in order as it stands.
func TestConfigShipped(t *testing.T) {
	c, err := read(Input{File: filepath.Join("..", "..", "..", "deploy", "ctappliance.yaml")})
	if err != nil {
		t.Fatal(err)
	}
	if c.WAL.Budget != 8<<30 {
		t.Errorf("wal.budget is %s", c.WAL.Budget)
	}
}

// What Print writes reads back as the same configuration, and shows no secret.
func TestConfigPrint(t *testing.T) {
	list := writeFile(t, "list.json", "{}", 0o644)
	file := writeFile(t, "c.yaml", `contact: ops@ct-watch.org
log-list: `+list+`
log-names: [all usable, "Ein 'Log'", "yes", "a: b"]
logs:
  - {url: https://a.example/, key: `+testKey+`, start: 2026-01-01T10:00:00+02:00+history, name: "line\u0085sep"}
  - {url: https://b.example/, kind: static}
limits:
  - {host: a.example, max-qps: 0.5}
lists.sources: [google, {url: https://lists.example/a.json}]
follow.include: [operator=Google name=argon]
http.poll-interval: 1h30m
`, 0o644)
	env := []string{"CTAPPLIANCE_STORE_PASSWORD=hunter2", "CTAPPLIANCE_STORE_DATABASE=other"}
	c, err := read(Input{File: file, Environ: env})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := c.Print(&out); err != nil {
		t.Fatal(err)
	}
	text := out.String()
	if strings.Contains(text, "hunter2") {
		t.Error("the password is shown")
	}
	for _, want := range []string{
		"\n  # password: (set, not shown)  # CTAPPLIANCE_STORE_PASSWORD\n",
		"\n  database: other  # CTAPPLIANCE_STORE_DATABASE\n",
		"\n  poll-interval: 1h30m  # http.poll-interval (" + file + ":11)\n",
		"\ncontact: \"ops@ct-watch.org\"  # contact (" + file + ":1)\n",
		"\n  segment-size: 64MiB\n",
	} {
		if !strings.Contains("\n"+text, want) {
			t.Errorf("does not contain %q:\n%s", want, text)
		}
	}
	again, err := read(Input{File: writeFile(t, "again.yaml", text, 0o644), Environ: env[:1]})
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	c.origins, again.origins = nil, nil
	if !reflect.DeepEqual(c, again) {
		t.Errorf("read back:\n%+v\nwas:\n%+v", again, c)
	}
}

// No way of printing that anybody is likely to use shows a secret.
func TestSecretsStayHidden(t *testing.T) {
	c := Default()
	c.Store.Password = "hunter2"
	c.Store.DSN = "https://user:hunter2@db.example/?password=hunter2&x=1"
	var logged bytes.Buffer
	slog.New(slog.NewJSONHandler(&logged, nil)).Info("x", "config", c, "store", c.Store, "password", c.Store.Password, "dsn", c.Store.DSN)
	asJSON, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"%v": fmt.Sprintf("%v", *c), "%+v": fmt.Sprintf("%+v", *c), "%#v": fmt.Sprintf("%#v", *c), "Sprint": fmt.Sprint(c.Store.Password, c.Store.DSN),
		"%q": fmt.Sprintf("%q", c.Store.DSN), "json": string(asJSON), "slog": logged.String(),
	} {
		if strings.Contains(text, "hunter2") {
			t.Errorf("%s shows the secret: %s", name, text)
		}
	}
	if got, want := c.Store.DSN.String(), "https://user:REDACTED@db.example/?password=REDACTED&x=1"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	for _, d := range []DSN{"::hunter2@", "https://u:hunter2@%zz/", "mailto:hunter2@x"} {
		if strings.Contains(d.String(), "hunter2") {
			t.Errorf("%s shows the secret", d)
		}
	}
}

func TestSize(t *testing.T) {
	tests := []struct {
		text string
		want Size // -1: an error
	}{
		{"0", 0}, {"1", 1}, {"64MiB", 64 << 20}, {"32MB", 32e6}, {"32 mb", 32e6}, {"1.5GiB", 3 << 29}, {"1_000kB", 1e6}, {" 8B ", 8},
		{"9223372036854775807", 1<<63 - 1}, {"", -1}, {"MiB", -1}, {"-1", -1}, {"1.0000001kB", -1}, {"8192PiB", -1}, {"99999999999999999999", -1},
		{"1e3", -1}, {"1.2.3MiB", -1}, {"12 apples", -1}, {"0x10", -1},
	}
	for _, tt := range tests {
		var got Size
		if err := got.UnmarshalText([]byte(tt.text)); (err != nil) != (tt.want == -1) || err == nil && got != tt.want {
			t.Errorf("%q: got %d, %v, want %d", tt.text, got, err, tt.want)
		}
	}
	for text, s := range map[string]Size{"0": 0, "1": 1, "1kB": 1000, "1KiB": 1024, "1536MiB": 3 << 29, "1001": 1001} {
		if s.String() != text {
			t.Errorf("%d is printed as %s, want %s", int64(s), s, text)
		}
	}
}

// FuzzConfigYAML: no text makes the loader panic or say something that is not
// clean lines, and what it accepts can be printed and read again.
func FuzzConfigYAML(f *testing.F) {
	f.Add([]byte(exampleConfig))
	f.Add([]byte("store: {dsn: x}\nstore.dsn: y\n"))
	f.Add([]byte("logs:\n- https://a.example/\n- {url: x, key: [1, 2]}\n-\n"))
	f.Add([]byte("a: &x {b: *x}\n<<: *x\n!!str c: |\n  d\n"))
	f.Add([]byte("? - - -\n: [{{}: }]\n---\n...\n%YAML 1.2\n"))
	f.Add([]byte("\"\\u001b[31m\": \x00\xff\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		path := filepath.Join(t.TempDir(), "c.yaml")
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := read(Input{File: path})
		if err != nil {
			for _, r := range err.Error() {
				if r < ' ' && r != '\n' || r == 0x7f || r == 0xfffd {
					t.Fatalf("a control character in %q", err)
				}
			}
			if n := strings.Count(err.Error(), "\n"); n > maxConfigErrors {
				t.Fatalf("%d lines of mistakes", n)
			}
			return
		}
		if c.Store.Password != "" || c.Engine.ReadonlyPassword != "" || c.Store.DSN.hasPassword() {
			return // printed without them, by design
		}
		var out bytes.Buffer
		if err := c.Print(&out); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, out.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		again, err := read(Input{File: path})
		if err != nil {
			t.Fatalf("%v in\n%s", err, out.Bytes())
		}
		c.origins, again.origins = nil, nil
		if !reflect.DeepEqual(c, again) {
			t.Fatalf("read back:\n%+v\nwas:\n%+v", again, c)
		}
	})
}
