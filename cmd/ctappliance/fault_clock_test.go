//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var clockFaults = []fault{
	{name: "clock jumps", run: clockJumps},
}

// jumpingClock is added to the standard library's time.Now for these tests:
// seconds to add to the wall clock, by the seconds since the process began. The
// monotonic clock goes on as it does when somebody sets a machine's time.
const jumpingClock = `

var testClockAt, testClockAdd []int64

func init() {
	text, _ := syscall.Getenv("CTAPPLIANCE_TEST_CLOCK")
	var n, sign int64 = 0, 1
	for i := range len(text) {
		switch c := text[i]; c {
		case '-':
			sign = -1
		case ':':
			testClockAt = append(testClockAt, n*int64(Second))
			n, sign = 0, 1
		case ' ':
			testClockAdd = append(testClockAdd, sign*n)
			n, sign = 0, 1
		default:
			n = n*10 + int64(c-'0')
		}
	}
}

func testClock(mono int64) (add int64) {
	for i, at := range testClockAt {
		if mono-startNano >= at {
			add = testClockAdd[i]
		}
	}
	return add
}
`

// buildWithClock builds the program with a clock that can be set from outside.
func buildWithClock(t *testing.T, dir string) string {
	t.Helper()
	root, err := exec.CommandContext(t.Context(), "go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	source := filepath.Join(strings.TrimSpace(string(root)), "src", "time", "time.go")
	body, err := os.ReadFile(source)
	if err != nil {
		t.Fatal(err)
	}
	const now = "func Now() Time {\n\tsec, nsec, mono := runtimeNow()\n"
	const imports = "import (\n"
	text := string(body)
	if strings.Count(text, now) != 1 || strings.Count(text, imports) != 1 {
		t.Skip("this Go's time.Now looks different: the clock cannot be made to jump")
	}
	text = strings.Replace(text, now, now+"\tsec += testClock(mono)\n", 1)
	text = strings.Replace(text, imports, imports+"\t\"syscall\"\n", 1) + jumpingClock
	patched := filepath.Join(dir, "time.go")
	if err := os.WriteFile(patched, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{source: patched}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "overlay.json"), overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	exe := filepath.Join(dir, "ctappliance-clock")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-buildvcs=false", "-overlay", filepath.Join(dir, "overlay.json"), "-o", exe, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building the program with another clock: %v\n%s", err, out)
	}
	return exe
}

// clockJumps sets the appliance's clock forwards and backwards while it works,
// and lets a life begin before the last one did. The logs' clocks are right.
func clockJumps(l *lab) {
	l.exe = buildWithClock(l.t, l.dir)
	const day, year = 86_400, 365 * 86_400
	lives := []string{
		fmt.Sprintf("2:%d 4:%d 6:%d 8:%d 10:%d 12:0 ", day, -day, 3600, year, -year),
		fmt.Sprintf("0:%d ", -day), // before the checkpoint was written
		fmt.Sprintf("0:%d 1:%d ", year, -2*year),
		"0:0 ",
	}
	before := l.requests()
	var longest time.Duration
	for i, clock := range lives {
		l.env = append(l.env, "CTAPPLIANCE_TEST_CLOCK="+clock)
		l.run()
		end := l.began.Add(3 * time.Second)
		if i == 0 {
			end = l.began.Add(14 * time.Second)
		}
		for n := 0; n == 0 || time.Now().Before(end); n++ {
			l.grow(300)
			longest = max(longest, l.goesOn())
		}
		if i < len(lives)-1 {
			l.app.kill()
		}
	}
	// Each growth costs some requests; a clock that makes it spin, thousands.
	asked := l.requests() - before
	if asked > 20_000 {
		l.t.Errorf("the logs were asked %d times", asked)
	}
	l.settle()
	l.back = longest
	l.injected = fmt.Sprintf("wall clock set 8 times by up to two years, %d lives begun with a wrong one", len(lives)-2)
	l.said = fmt.Sprintf("nothing; logs asked for entries %d times", asked)
}
