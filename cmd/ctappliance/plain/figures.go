package plain

import (
	"fmt"
	"math"
	"strconv"
)

// Count prints a number for people: exactly below ten thousand, with three
// digits above.
func Count(n uint64) string {
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

// PerSecond prints a rate, with more digits the slower it is.
func PerSecond(rate float64) string {
	switch {
	case !(rate > 0):
		return "0"
	case rate < 0.995:
		return strconv.FormatFloat(rate, 'g', 2, 64)
	case rate < 99.95:
		return strconv.FormatFloat(rate, 'f', 1, 64)
	}
	return Count(uint64(math.Round(min(rate, 1e18))))
}

// Brief prints seconds in at most five columns. Negative ones are unknown.
func Brief(seconds float64) string {
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

// Share prints a part of a whole.
func Share(part, whole uint64) string {
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

// Bytes prints bytes for people.
func Bytes(n int64) string {
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
