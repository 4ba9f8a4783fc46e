//go:build linux

package main

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"ctappliance/cmd/ctappliance/report"
)

// lieFaults are logs that serve what they have not signed.
var lieFaults = []fault{
	{"a log lies once, and is resumed", true, func(l *lab) { liesOnce(l, false) }},
	{"resumed, and killed in the middle", false, func(l *lab) { liesOnce(l, true) }},
}

// arm sets the faults of a log.
func (l *lab) arm(control, body string) {
	l.t.Helper()
	answer, err := http.Post(control+"faults", "application/json", strings.NewReader(body))
	l.must(err)
	text, _ := io.ReadAll(answer.Body)
	answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		l.t.Fatalf("arming %s: %s", body, text)
	}
}

// liesOnce has each log serve an entry that is not what it signed, as a cache
// gone wrong would. The logs are halted, and when they are resumed every entry
// is what they signed: what the wrong ones left is gone.
func liesOnce(l *lab, kill bool) {
	l.run()
	l.back = l.goesOn()
	for _, log := range l.logs {
		l.arm(log.Control, fmt.Sprintf(`[{"mode":"corrupt-entry","from":%d,"to":%d}]`, labEntries+2500, labEntries+2501))
	}
	l.grow(5000)
	var st report.Status
	l.await("every log is halted", 50*time.Millisecond, crashPatience, func() bool {
		var ok bool
		st, ok = l.status()
		for _, log := range st.Logs {
			ok = ok && log.State == "halted"
		}
		return ok
	})
	l.await("what they served is delivered", 50*time.Millisecond, crashPatience, func() bool {
		st, _ = l.status()
		return st.WAL.Undelivered == 0
	})
	l.said = st.Logs[0].Halted
	l.stop()
	for _, log := range l.logs {
		l.arm(log.Control, `[]`)
	}
	l.injected = fmt.Sprintf("one wrong entry of each of %d logs, served and delivered", len(l.logs))
	began := time.Now()
	l.begin(l.command("run", "--resume-halted"))
	if kill {
		l.await("it has begun again", time.Millisecond, crashPatience, func() bool {
			st, ok := l.status()
			return ok && st.Delivery.Rows > 0
		})
		l.app.kill()
		l.run() // the word was given
	}
	l.finish(l.t.Context())
	l.back = time.Since(began)
	l.counted = l.count(l.t.Context())
	l.stop()
	// The wrong entry lies in one tile of some thirty of each log.
	cmd := l.command("verify", "--tiles", "1000")
	cmd.Stderr = nil
	if out, err := cmd.CombinedOutput(); err != nil {
		l.t.Errorf("verify: %v\n%s", err, out)
	} else {
		l.said += fmt.Sprintf("; verify: %q", lastLine(out))
	}
}

func lastLine(b []byte) string {
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return lines[len(lines)-1]
}
