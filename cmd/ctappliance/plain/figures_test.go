package plain

import (
	"math"
	"testing"
)

func TestFigures(t *testing.T) {
	for n, want := range map[uint64]string{0: "0", 9999: "9999", 10_000: "10.0 k", 12_345: "12.3 k", 999_499: "999 k", 999_500: "1.00 M", 45_600_000: "45.6 M", 1_234_567_890: "1.23 G", math.MaxUint64: "18.4 E"} {
		if got := Count(n); got != want {
			t.Errorf("Count(%d) is %q, want %q", n, got, want)
		}
	}
	for s, want := range map[float64]string{0: "0s", 99.4: "99s", 99.5: "2m", 3600: "60m", 5969: "99m", 6000: "1.7h", 36000: "10h", 86400 * 3.5: "3.5d", 86400 * 400: "400d", 86400 * 365.25 * 4: "4.0y", 1e15: ">999y", -1: "?", math.Inf(1): ">999y", math.NaN(): "?"} {
		if got := Brief(s); got != want || len(got) > 5 {
			t.Errorf("Brief(%v) is %q, want %q", s, got, want)
		}
	}
	for r, want := range map[float64]string{0: "0", -1: "0", 0.1666: "0.17", 0.9999: "1.0", 12.34: "12.3", 99.96: "100", 12345: "12.3 k", math.NaN(): "0"} {
		if got := PerSecond(r); got != want {
			t.Errorf("PerSecond(%v) is %q, want %q", r, got, want)
		}
	}
	for _, tt := range []struct {
		part, whole uint64
		want        string
	}{{0, 0, "-"}, {0, 5, "0%"}, {1, 10_000, "<0.1%"}, {1, 100, "1.0%"}, {1, 3, "33%"}, {5, 5, "100%"}} {
		if got := Share(tt.part, tt.whole); got != tt.want {
			t.Errorf("Share(%d, %d) is %q, want %q", tt.part, tt.whole, got, tt.want)
		}
	}
}
