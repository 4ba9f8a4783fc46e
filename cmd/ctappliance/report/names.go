package report

import (
	"fmt"
	"strings"
	"time"

	"ctappliance/cmd/ctappliance/plain"
	"ctappliance/ingest"
)

// ago is how long before now t was, in seconds, by a clock that may have been
// set since.
func ago(now, t time.Time) float64 { return max(0, now.Sub(t).Seconds()) }

func Latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// shortNames returns what the logs are called on a screen: printable, without
// what all logs are called, and at most width long where one can still tell
// them apart: what tells shards apart stands at the end.
func shortNames(logs []ingest.LogStatus, width int) []string {
	names := make([]string, len(logs))
	times := map[string]int{}
	for i, l := range logs {
		n := plain.Printable(strings.TrimSpace(l.Name))
		if len(n) > 4 && strings.EqualFold(n[len(n)-4:], " log") {
			n = n[:len(n)-4]
		}
		n = strings.ReplaceAll(n, "'", "")
		if n == "" {
			n = "log"
		}
		if len(n) > width {
			front := max(0, width-2) * 2 / 5
			n = n[:front] + ".." + n[len(n)-(width-2-front):]
		}
		names[i] = n
		times[n]++
	}
	for i, l := range logs {
		if times[names[i]] > 1 {
			number := fmt.Sprintf("~%04x", uint16(l.ShortID>>48))
			names[i] = names[i][:min(len(names[i]), max(0, width-len(number)))] + number
		}
	}
	return names
}
