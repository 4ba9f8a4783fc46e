package report

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"ctappliance/ingest"
	"ctappliance/ingest/pace"
	"ctappliance/store/engine"
)

var golden = flag.Bool("golden", false, "write golden files anew")

// statusNow is when the golden screens were drawn.
var statusNow = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

// manyLogs are sixty logs as log lists have them, most of them well, some in
// each kind of trouble.
func manyLogs() *Status {
	before := func(d time.Duration) time.Time { return statusNow.Add(-d) }
	st := &Status{Engine: &engine.Status{State: engine.Running, PID: 4243, URL: "http://127.0.0.1:41233", Version: "26.7.1.1", Restarts: 1, LastError: "signal: killed"},
		Oldest: 3.4, Memory: memoryStatus{Appliance: 412 << 20, Engine: 1700 << 20},
		Disk:   Disk{Free: 512 << 30, Size: 1 << 40, Growth: 140_000, Window: 6 * 3600, Lasts: 45.4 * 86400},
		Recent: map[string]recentStatus{},
		Lists: []List{
			{Name: "Google v3", Version: "85.92", At: before(70 * time.Hour), Read: before(5 * time.Hour), Signed: true, Logs: 63, Followed: 58},
			{Name: "Apple", At: before(400 * time.Hour), Read: before(30 * time.Hour), Logs: 44, Followed: 2, Error: "no answer in 30s", ErrorAt: before(time.Hour)},
		}}
	st.Running, st.PID, st.Since = true, 4242, before(74*time.Hour)
	st.WAL = ingest.WALStatus{Bytes: 3 << 30, Budget: 64 << 30, Segments: 48, Undelivered: 12, NextSeq: 991_234}
	st.Delivery = ingest.DeliveryStatus{Rows: 1_234_567_890, Rate: 4512, Last: before(1500 * time.Millisecond), InsertErrors: 2, Reinserted: 900}
	shards := []struct {
		operator, kind string
		names          []string
	}{
		{"Google", "rfc6962", []string{"Google 'Argon2026h1' log", "Google 'Argon2026h2' log", "Google 'Argon2027h1'", "Google 'Xenon2026h1' log", "Google 'Xenon2026h2' log", "Google 'Xenon2027h1'"}},
		{"Cloudflare", "rfc6962", []string{"Cloudflare 'Nimbus2025'", "Cloudflare 'Nimbus2026'", "Cloudflare 'Nimbus2027'"}},
		{"DigiCert", "rfc6962", []string{"DigiCert 'Wyvern2026h1'", "DigiCert 'Wyvern2026h2'", "DigiCert 'Wyvern2027h1'", "DigiCert 'Wyvern2027h2'", "DigiCert 'Sphinx2026h1'", "DigiCert 'Sphinx2026h2'", "DigiCert 'sphinx2027h1'", "DigiCert 'sphinx2027h2'"}},
		{"Sectigo", "rfc6962", []string{"Sectigo 'Mammoth2026h1'", "Sectigo 'Mammoth2026h2'", "Sectigo 'Sabre2026h1'", "Sectigo 'Sabre2026h2'"}},
		{"Sectigo", "static", []string{"Sectigo 'Elephant2026h1'", "Sectigo 'Elephant2026h2'", "Sectigo 'Elephant2027h1'", "Sectigo 'Elephant2027h2'", "Sectigo 'Tiger2026h1'", "Sectigo 'Tiger2026h2'", "Sectigo 'Tiger2027h1'", "Sectigo 'Tiger2027h2'"}},
		{"Let's Encrypt", "rfc6962", []string{"Let's Encrypt 'Oak2025h2'", "Let's Encrypt 'Oak2026h1'", "Let's Encrypt 'Oak2026h2'"}},
		{"Let's Encrypt", "static", []string{"Let's Encrypt 'Sycamore2026h1'", "Let's Encrypt 'Sycamore2026h2'", "Let's Encrypt 'Sycamore2027h1'", "Let's Encrypt 'Sycamore2027h2'", "Let's Encrypt 'Willow2026h1'", "Let's Encrypt 'Willow2026h2'", "Let's Encrypt 'Willow2027h1'", "Let's Encrypt 'Willow2027h2'"}},
		{"TrustAsia", "rfc6962", []string{"TrustAsia 'log2026a'", "TrustAsia 'log2026b'", "TrustAsia 'HETU2027'"}},
		{"TrustAsia", "static", []string{"TrustAsia Luoshu2027"}},
		{"Geomys", "static", []string{"Geomys 'Tuscolo2025h2'", "Geomys 'Tuscolo2026h1'", "Geomys 'Tuscolo2026h2'", "Geomys 'Tuscolo2027h1'", "Geomys 'Tuscolo2027h2'"}},
		{"IPng Networks", "static", []string{"IPng Networks 'Halloumi2025h2'", "IPng Networks 'Halloumi2026h1'", "IPng Networks 'Halloumi2026h2a'", "IPng Networks 'Halloumi2027h1'", "IPng Networks 'Halloumi2027h2'", "IPng Networks 'Gouda2025h2'", "IPng Networks 'Gouda2026h1'", "IPng Networks 'Gouda2026h2'", "IPng Networks 'Gouda2027h1'", "IPng Networks 'Gouda2027h2'"}},
		{"Example Authority", "static", []string{"The log of an authority with a very long name, 2027 first half"}},
	}
	n := uint64(0)
	for _, s := range shards {
		for _, name := range s.names {
			n++
			head := n * n * n * 9001 % 2_000_000_000
			l := ingest.LogStatus{Name: name, Operator: s.operator, Kind: s.kind, ID: fmt.Sprintf("%064x", n), ShortID: n << 48, State: "caught up", Head: head, HeadTime: uint64(before(time.Minute).UnixMilli()), Polled: before(time.Minute),
				Wanted: head, Fetched: head, Verified: head, Delivered: head, Rate: float64(n%7) * 3.1,
				Pace: &pace.Snapshot{Rate: 8, Startup: n%2 == 0, Requests: 1000 * n, Refusals: n % 3}}
			if n%2 == 1 {
				l.Pace.Limit = float64(n) * 1.7
			}
			if n%5 == 0 {
				l.Audit = &ingest.Verdict{At: before(time.Duration(n) * time.Minute), Entries: head, Tiles: int(n)}
			}
			st.Recent[l.ID] = recentStatus{Requests: 40 * n, Refusals: n % 3}
			st.Logs = append(st.Logs, l)
		}
	}
	log := func(part string) *ingest.LogStatus {
		i := slices.IndexFunc(st.Logs, func(l ingest.LogStatus) bool { return strings.Contains(l.Name, part) })
		return &st.Logs[i]
	}
	l := log("Nimbus2025")
	l.State, l.Halted, l.HaltKind, l.Evidence = "halted", "two roots for 1,204,999 entries", ingest.KindSplitView, "/var/lib/ctappliance/evidence/0badcafe-1.json"
	l = log("Oak2025h2")
	l.State, l.Delivered, l.Verified, l.Fetched, l.Rate, l.ETA, l.Lag = "following", 400_000_000, 410_000_000, 420_000_000, 812, 3.1e6, 200*86400
	l.Wanted, l.Head = 2_000_000_000, 2_000_000_000
	l.Risk = "the shard ended on 2026-01-20 and may vanish from 2026-06-15 on; the backlog is done on 2026-07-07"
	l = log("Sabre2026h1")
	l.State, l.LastError, l.ErrorAt, l.ETA, l.Lag = "retrying", "get-sth: Get \"https://sabre2026h1.ct.sectigo.com/ct/v1/get-sth\": dial tcp 91.199.212.137:443: i/o timeout", before(4*time.Minute), -1, 7*60
	l.Wanted += 90_000
	l.Polled = before(20 * time.Minute)
	l = log("HETU2027")
	l.Polled = before(26 * time.Hour)
	l.State, l.LastError, l.ErrorAt, l.ETA, l.Lag = "retrying", "503 Service Unavailable", before(26*time.Hour), -1, 26*3600
	l.Wanted += 5_000_000
	l = log("Gouda2026h1")
	l.State, l.LastError, l.ErrorAt = "retrying", "429 Too Many Requests", before(2*time.Second)
	l = log("Halloumi2026h1")
	l.Heads.BehindSince = before(3 * time.Hour)
	for i, part := range []string{"Elephant2027h1", "Willow2026h1", "sphinx2027h1", "Argon2026h2"} {
		l = log(part)
		l.State, l.Rate, l.Lag, l.ETA = "following", 1234.5/float64(i+1), 90*math.Pow(60, float64(i)), 45*math.Pow(20, float64(i))
		l.Delivered, l.Verified = l.Head/uint64(i+2), l.Head/uint64(i+2)+12
	}
	log("Wyvern2026h1").Pace.Frozen = 42 * time.Second
	log("Wyvern2027h1").LastError, log("Wyvern2027h1").ErrorAt = "tile/data/x001/234: 429 Too Many Requests", before(30*time.Second)
	log("Gouda2025h2").State, log("Gouda2025h2").Lag = "done", 0
	log("Tuscolo2025h2").State = "done"
	l = log("Willow2027h2")
	*l = ingest.LogStatus{Name: l.Name, Operator: l.Operator, Kind: l.Kind, ID: l.ID, ShortID: l.ShortID, State: "waiting", ETA: -1, Lag: -1}
	st.Alarms = []string{"WAL segment 000017-00000000000000991000.wal is damaged at 4096; what it held is fetched again"}
	st.Alarmed = 1
	return st
}

// How wide a screen is: as the terminal, which a buffer is not, as COLUMNS
// says, and never too narrow.
func TestDisplay(t *testing.T) {
	for columns, want := range map[string]int{"": fileColumns, "x": fileColumns, "0": fileColumns, "-5": fileColumns, "99999": fileColumns, "40": minColumns, "120": 120, "250": 250} {
		t.Setenv("COLUMNS", columns)
		if d := displayOf(&bytes.Buffer{}); d.width != want || d.colour || d.rows != 0 {
			t.Errorf("COLUMNS=%s: %+v, want %d columns", columns, d, want)
		}
	}
}

// The screen, at the widths that people have. What is drawn fits the width,
// and of a log there is one line; and where there was no room for its last
// error, another one, of whatever length.
func TestStatusScreen(t *testing.T) {
	few := &Status{Oldest: -1, Disk: Disk{Lasts: -1}}
	few.Logs = []ingest.LogStatus{{Name: "Google 'Argon2026h1' log", Kind: "rfc6962", State: "stopped", Head: 3_141_592_653, Wanted: 12_345, Fetched: 12_345, Verified: 12_345, Delivered: 9_999, ETA: -1, Lag: -1}}
	few.WAL = ingest.WALStatus{Bytes: 5 << 20, Segments: 1}
	for _, tt := range []struct {
		name  string
		st    *Status
		width int
	}{
		{"sixty-100", manyLogs(), 100}, {"sixty-132", manyLogs(), 132}, {"sixty-200", manyLogs(), 200}, {"stopped-100", few, 100},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var b bytes.Buffer
			if err := statusScreen(tt.st, statusNow, tt.width).print(&b, display{width: tt.width}, ""); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join("testdata", "status", tt.name+".txt")
			if *golden {
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil || b.String() != string(want) {
				t.Errorf("the screen is not %s (%v); look at it and run go test -run TestStatusScreen -golden\n%s", path, err, b.Bytes())
			}
			lines := strings.Split(b.String(), "\n")
			inLine := slices.ContainsFunc(lines, func(l string) bool { return strings.HasSuffix(l, "last error") })
			below := 0
			lines = slices.DeleteFunc(lines, func(l string) bool {
				is := strings.HasPrefix(l, "  last error ")
				if is {
					below++
				}
				return is
			})
			if want := 4; tt.st != few && !inLine && below != want || (inLine || tt.st == few) && below > 0 {
				t.Errorf("%d errors have a line of their own", below)
			}
			top := slices.IndexFunc(lines, func(l string) bool { return strings.HasPrefix(l, "log ") })
			for i, l := range lines[top : top+len(tt.st.Logs)+1] {
				if len(l) > tt.width || i > 0 && strings.TrimSpace(l) == "" {
					t.Errorf("line %d of the table has %d columns: %q", i, len(l), l)
				}
			}
		})
	}
}

// evil is what somebody writes who wants to command a terminal, a monitoring
// system or a reader's eyes.
const evil = "e\x1b[2J\x1b]0;t\x07\r\n\x00\x7f\u0085\u009b31m\u202e\u2066\ufeff\xff\xfe|`$(x)\" 'critical=1;OK: "

// hostileStatus is made of nothing but such words.
func hostileStatus() *Status {
	st := manyLogs()
	w := evil + strings.Repeat("A\x9b", 300)
	st.WAL.Stalled, st.Delivery.Trouble, st.Alarms = w, w, []string{w, w}
	st.Engine.Version, st.Engine.URL, st.Engine.LastError, st.Engine.SetAside, st.Engine.Broken = w, w, w, 1, []string{w}
	st.Lists = []List{{Name: w, From: w, Version: w, Error: w}}
	for i := range st.Logs {
		l := &st.Logs[i]
		l.Name, l.Operator, l.Kind, l.State, l.Why, l.ListState, l.LastError, l.Evidence, l.URL = w, w, w, w, w, w, w, w, w
		if i%2 == 0 {
			l.Halted = w
		} else {
			l.Risk = w
		}
		if i%3 == 0 {
			l.Halted, l.Heads.BehindSince = "", statusNow.Add(-2*time.Hour)
		}
		if i%7 == 0 {
			l.Halted, l.State = "", "retrying"
		}
		l.ErrorAt = statusNow
		l.Audit = &ingest.Verdict{At: statusNow, Error: w, Problems: []string{w}}
	}
	return st
}

// Whatever logs and servers say, every byte on the screen, in the line of
// --check and in JSON is printable ASCII.
func TestStatusPrintsNothingStrange(t *testing.T) {
	strange := func(b []byte) int {
		return bytes.IndexFunc(b, func(r rune) bool { return r != '\n' && (r < ' ' || r > '~') })
	}
	for name, draw := range map[string]func(*Status, *bytes.Buffer) error{
		"screen 100": func(st *Status, b *bytes.Buffer) error {
			return statusScreen(st, statusNow, 100).print(b, display{width: 100}, "")
		},
		"screen 200": func(st *Status, b *bytes.Buffer) error {
			return statusScreen(st, statusNow, 200).print(b, display{width: 200}, "")
		},
		"a line that forgot to look": func(_ *Status, b *bytes.Buffer) error {
			s := &screen{}
			s.add(red, "%s", evil)
			return s.print(b, display{width: 100}, "")
		},
		"check": func(st *Status, b *bytes.Buffer) error {
			_, line := Check(st, defaultThresholds(), statusNow)
			b.WriteString(line)
			return nil
		},
		"JSON": func(st *Status, b *bytes.Buffer) error { return PrintJSON(b, st) },
	} {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			if err := draw(hostileStatus(), &b); err != nil {
				t.Fatal(err)
			}
			if i := strange(b.Bytes()); i >= 0 || b.Len() == 0 {
				t.Errorf("byte %d: %q", i, b.Bytes()[max(0, i-20):min(b.Len(), i+20)])
			}
			switch name {
			case "check":
				if strings.Count(b.String(), "|") != 1 || strings.Contains(b.String(), "\n") || b.Len() > 8000 {
					t.Errorf("%d bytes: %s", b.Len(), b.Bytes())
				}
			case "JSON":
				var back Status
				if err := json.Unmarshal(b.Bytes(), &back); err != nil {
					t.Error(err)
				}
				if want := strings.ToValidUTF8(evil, "\ufffd"); !strings.HasPrefix(back.Logs[0].Name, want[:20]) {
					t.Errorf("%q", back.Logs[0].Name)
				}
			}
		})
	}
}

// Logs can be told apart by their short names, whatever they are called.
func TestShortNames(t *testing.T) {
	logs := append(manyLogs().Logs, hostileStatus().Logs...)
	for i := range logs {
		logs[i].ShortID = uint64(i+1) << 48
	}
	for _, width := range []int{12, 16, 20, 28, 40} {
		seen := map[string]int{}
		for i, n := range shortNames(logs, width) {
			if len(n) > width || n == "" {
				t.Errorf("%d columns: %q", width, n)
			}
			if other, known := seen[n]; known {
				t.Errorf("%d columns: %q is %q and %q", width, n, logs[i].Name, logs[other].Name)
			}
			seen[n] = i
		}
	}
	for name, want := range map[string]string{"Google 'Argon2026h1' log": "Google Argon2026h1", "Log": "Log", " Sectigo 'Tiger2027h2' ": "Sectigo Tiger2027h2",
		"IPng Networks 'Halloumi2026h2a'": "IPng Net..loumi2026h2a", "": "log"} {
		if got := shortNames([]ingest.LogStatus{{Name: name}}, 22)[0]; got != want {
			t.Errorf("%q becomes %q, want %q", name, got, want)
		}
	}
}
