package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"ctappliance/ingest"
)

// count prints a number for people: exactly below ten thousand, with three
// digits above.
func count(n uint64) string {
	if n < 10_000 {
		return strconv.FormatUint(n, 10)
	}
	v := float64(n)
	for _, unit := range []string{"k", "M", "G", "T", "P"} {
		if v /= 1000; v < 999.5 {
			return threeDigits(v) + " " + unit
		}
	}
	return threeDigits(v/1000) + " E"
}

// threeDigits prints a number from 1 to 1000.
func threeDigits(v float64) string {
	switch {
	case v < 9.995:
		return strconv.FormatFloat(v, 'f', 2, 64)
	case v < 99.95:
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return strconv.FormatFloat(v, 'f', 0, 64)
}

// perSecond prints a rate, with more digits the slower it is.
func perSecond(rate float64) string {
	switch {
	case !(rate > 0):
		return "0"
	case rate < 0.995:
		return strconv.FormatFloat(rate, 'g', 2, 64)
	case rate < 99.95:
		return strconv.FormatFloat(rate, 'f', 1, 64)
	}
	return count(uint64(math.Round(min(rate, 1e18))))
}

// brief prints seconds in at most five columns. Negative ones are unknown.
func brief(seconds float64) string {
	const minute, hour, day, year = 60, 3600, 86400, 365.25 * 86400
	one := func(v float64, unit string) string {
		if v < 9.95 {
			return strconv.FormatFloat(v, 'f', 1, 64) + unit
		}
		return strconv.FormatFloat(v, 'f', 0, 64) + unit
	}
	switch {
	case math.IsNaN(seconds) || seconds < 0:
		return "?"
	case seconds < 99.5:
		return strconv.FormatFloat(seconds, 'f', 0, 64) + "s"
	case seconds < 99.5*minute:
		return strconv.FormatFloat(seconds/minute, 'f', 0, 64) + "m"
	case seconds < 48*hour:
		return one(seconds/hour, "h")
	case seconds < 999*day:
		return one(seconds/day, "d")
	case seconds < 999*year:
		return one(seconds/year, "y")
	}
	return ">999y"
}

// share prints a part of a whole.
func share(part, whole uint64) string {
	if whole == 0 {
		return "-"
	}
	switch p := 100 * float64(part) / float64(whole); {
	case part == 0:
		return "0%"
	case p < 0.05:
		return "<0.1%"
	case p < 9.95:
		return strconv.FormatFloat(p, 'f', 1, 64) + "%"
	default:
		return strconv.FormatFloat(p, 'f', 0, 64) + "%"
	}
}

// size prints bytes for people.
func size(n int64) string {
	switch {
	case n >= 1<<40:
		return fmt.Sprintf("%.1f TiB", float64(n)/(1<<40))
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
}

// ago is how long before now t was, in seconds, by a clock that may have been
// set since.
func ago(now, t time.Time) float64 { return max(0, now.Sub(t).Seconds()) }

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func printableAll(words []string) []string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = printable(w)
	}
	return out
}

// onScreen keeps of a line what a terminal shows and does not act on, whoever
// chose it: printable ASCII.
func onScreen(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s)
}

// cut shortens s to width columns, with dots at its end.
func cut(s string, width int) string {
	if len(s) <= width {
		return s
	}
	return s[:max(0, width-2)] + ".."
}

// shortNames returns what the logs are called on a screen: printable, without
// what all logs are called, and at most width long where one can still tell
// them apart: what tells shards apart stands at the end.
func shortNames(logs []ingest.LogStatus, width int) []string {
	names := make([]string, len(logs))
	times := map[string]int{}
	for i, l := range logs {
		n := printable(strings.TrimSpace(l.Name))
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
