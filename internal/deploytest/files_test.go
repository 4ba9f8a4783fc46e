package deploytest

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Names of settings that stand in deployment files are settings: each is in
// the reference, which a test of cmd/ctappliance keeps equal to the program.
func TestSettingsExist(t *testing.T) {
	reference := read(t, "docs/config.md")
	known := map[string]bool{"CTAPPLIANCE_CONFIG": true, "CTAPPLIANCE_CONFIG_DIR": true} // the latter is the compose file's own
	for _, m := range regexp.MustCompile("`([a-z]+[a-z.-]*)`").FindAllStringSubmatch(reference, -1) {
		known["CTAPPLIANCE_"+strings.ToUpper(strings.NewReplacer(".", "_", "-", "_").Replace(m[1]))] = true
	}
	n := 0
	for _, file := range []string{"docker-compose.yml", "deploy/Dockerfile", "deploy/ctappliance.service", "deploy/clickhouse/start.sh"} {
		for _, name := range regexp.MustCompile(`CTAPPLIANCE_[A-Z_]+`).FindAllString(read(t, file), -1) {
			n++
			if !known[name] {
				t.Errorf("%s: %s is not a setting", file, name)
			}
		}
	}
	if n == 0 {
		t.Error("no setting found in any file")
	}
}

// XML that is not well-formed keeps ClickHouse from starting.
func TestXML(t *testing.T) {
	for _, file := range []string{"deploy/clickhouse/users.xml", "deploy/clickhouse/server.xml"} {
		d := xml.NewDecoder(strings.NewReader(read(t, file)))
		first := ""
		for {
			tok, err := d.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Errorf("%s: %v", file, err)
				break
			}
			if e, ok := tok.(xml.StartElement); ok && first == "" {
				first = e.Name.Local
			}
		}
		if first != "clickhouse" {
			t.Errorf("%s: the root element is %q", file, first)
		}
	}
}

// The engine's version stands in the script that fetches it and in the message
// of package engine where it is missing.
func TestEngineVersion(t *testing.T) {
	script := regexp.MustCompile(`(?m)^version=(\S+)$`).FindStringSubmatch(read(t, "deploy/fetch-engine.sh"))
	if script == nil {
		t.Fatal("fetch-engine.sh names no version")
	}
	var found []string
	files, err := filepath.Glob(filepath.Join(root, "store/engine/*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`npmVersion\s*=\s*"([^"]+)"`).FindAllStringSubmatch(string(text), -1) {
			found = append(found, m[1])
		}
	}
	if !slices.Equal(found, []string{script[1]}) {
		t.Errorf("fetch-engine.sh fetches %s, package engine speaks of %v", script[1], found)
	}
}

// Shell scripts parse, and those that are run by name may be.
func TestScripts(t *testing.T) {
	for _, s := range []struct {
		file, shell string
		executable  bool
	}{
		{"deploy/fetch-engine.sh", "sh", true},
		{"deploy/clickhouse/start.sh", "sh", false},
		{".ci/run", "bash", true},
		{".ci/vulncheck", "bash", true},
		{".ci/skips", "bash", true},
	} {
		path := filepath.Join(root, s.file)
		if out, err := exec.Command(s.shell, "-n", path).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", s.file, err, out)
		}
		if st, err := os.Stat(path); err != nil {
			t.Error(err)
		} else if s.executable && st.Mode()&0o111 == 0 {
			t.Errorf("%s may not be executed", s.file)
		}
	}
}

// start.sh refuses what would start a server that anybody may enter.
func TestStartRefuses(t *testing.T) {
	script := strings.ReplaceAll(read(t, "deploy/clickhouse/start.sh"), "/run/secrets/clickhouse_password", "$SECRET")
	script = strings.ReplaceAll(script, "exec clickhouse-server", "exec echo server ${#CLICKHOUSE_PASSWORD}")
	dir := t.TempDir()
	for _, tt := range []struct{ name, text, want string }{
		{"missing", "", "cannot be read by user"},
		{"empty", "\n", "fewer than 16 characters"},
		{"short", "hunter2\n", "fewer than 16 characters"},
		{"good", "0123456789abcdef0123\n", "server 20 --config-file=/etc/clickhouse-server/config.xml"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(dir, tt.name)
			if tt.text != "" {
				if err := os.WriteFile(path, []byte(tt.text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			cmd := exec.Command("sh", "-c", script)
			cmd.Env = append(os.Environ(), "SECRET="+path)
			out, err := cmd.CombinedOutput()
			if !strings.Contains(string(out), tt.want) || (err == nil) != (tt.name == "good") {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// .ci/skips lets pass what may be skipped, and nothing else.
func TestSkips(t *testing.T) {
	for _, tt := range []struct {
		name, log string
		ok        bool
	}{
		{"none", "=== RUN   TestA\n--- PASS: TestA (0.00s)\nPASS\nok  \tx\t0.01s\n", true},
		{"another reason", "=== RUN   TestA\n    a_test.go:1: CTAPPLIANCE_TEST_CLICKHOUSE is not set\n--- SKIP: TestA (0.00s)\nPASS\n", true},
		{"no engine", "=== RUN   TestA\n    a_test.go:1: the ClickHouse library libchdb.so was not found\n--- SKIP: TestA (0.00s)\nPASS\n", false},
		{"no data, in parallel", "=== RUN   TestA\n=== RUN   TestA/b\n=== PAUSE TestA/b\n=== CONT  TestA/b\n" +
			"    a_test.go:1: ../shared/data is absent\n--- PASS: TestA (0.00s)\n    --- SKIP: TestA/b (0.00s)\nPASS\n", false},
		{"reason below the verdict", "--- SKIP: TestA (0.00s)\n    a_test.go:1: ../shared/data is absent\nPASS\n", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "log")
			if err := os.WriteFile(path, []byte(tt.log), 0o600); err != nil {
				t.Fatal(err)
			}
			out, err := exec.Command("bash", filepath.Join(root, ".ci/skips"), path).CombinedOutput()
			if (err == nil) != tt.ok {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// The unit keeps what hardens it.
func TestUnit(t *testing.T) {
	unit := "\n" + read(t, "deploy/ctappliance.service")
	for _, line := range []string{
		"DynamicUser=yes", "StateDirectory=ctappliance", "ProtectSystem=strict", "ProtectHome=yes", "PrivateTmp=yes", "NoNewPrivileges=yes",
		"RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX", "SystemCallFilter=@system-service", "CapabilityBoundingSet=", "LimitCORE=0",
		"Restart=on-failure", "RestartPreventExitStatus=2", "StartLimitBurst=5", "StartLimitIntervalSec=10min",
		"Type=notify", "NotifyAccess=main", "WatchdogSec=2min", "ExecReload=/usr/local/bin/ctappliance reload",
	} {
		if !strings.Contains(unit, "\n"+line+"\n") {
			t.Errorf("the unit does not say %s", line)
		}
	}
	if strings.Contains(unit, "\nMemoryDenyWriteExecute=yes") {
		t.Error("the unit denies the embedded engine what its compiler needs")
	}
}

// systemd itself finds nothing wrong with the unit, and little that it leaves
// open.
func TestUnitBySystemd(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("there is no systemd-analyze")
	}
	dir := t.TempDir()
	unit := filepath.Join(dir, "ctappliance.service")
	// verify wants the programs to be there.
	text := strings.ReplaceAll(read(t, "deploy/ctappliance.service"), "/usr/local/bin/ctappliance", "/bin/sh")
	if err := os.WriteFile(unit, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"verify", unit}, {"security", "--offline=true", "--threshold=15", unit}} {
		out, err := exec.Command(analyze, args...).CombinedOutput()
		// What it says of the machine's own units is none of ours.
		if ours := strings.Contains(string(out), "ctappliance.service:"); err != nil || args[0] == "verify" && ours {
			t.Errorf("systemd-analyze %s: %v\n%s", args[0], err, out)
		}
	}
}
