package ctlogtest

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

// Which requests a fault strikes.
func TestFaultSelection(t *testing.T) {
	t.Parallel()
	f := newFaults(1, time.Now)
	r, _ := http.NewRequest("GET", "http://x/", nil)
	strikes := func(fault Fault, class Class, from, to uint64, times int) (n int) {
		if err := f.Set(fault); err != nil {
			t.Fatal(err)
		}
		for range times {
			if _, ok := f.draw(r, class, from, to)[fault.Mode]; ok {
				n++
			}
		}
		return n
	}
	for name, tc := range map[string]struct {
		got      int
		min, max int
	}{
		"always":        {strikes(Fault{Mode: Status}, ClassData, 0, 1, 50), 50, 50},
		"count":         {strikes(Fault{Mode: Status, Count: 3}, ClassData, 0, 1, 50), 3, 3},
		"after":         {strikes(Fault{Mode: Status, After: 48}, ClassData, 0, 1, 50), 2, 2},
		"rate":          {strikes(Fault{Mode: Status, Rate: 0.3}, ClassData, 0, 1, 1000), 240, 360},
		"class":         {strikes(Fault{Mode: Status, On: ClassHead}, ClassData, 0, 1, 50), 0, 0},
		"mode's class":  {strikes(Fault{Mode: SplitView}, ClassData, 0, 1, 50), 0, 0},
		"below range":   {strikes(Fault{Mode: Status, From: 10, To: 20}, ClassData, 0, 10, 50), 0, 0},
		"above range":   {strikes(Fault{Mode: Status, From: 10, To: 20}, ClassData, 20, 30, 50), 0, 0},
		"touches range": {strikes(Fault{Mode: Status, From: 10, To: 20}, ClassData, 19, 30, 50), 50, 50},
		"predicate":     {strikes(Fault{Mode: Status, When: func(*http.Request) bool { return false }}, ClassData, 0, 1, 50), 0, 0},
	} {
		if tc.got < tc.min || tc.got > tc.max {
			t.Errorf("%s: struck %d times, want %d to %d", name, tc.got, tc.min, tc.max)
		}
	}
	for _, bad := range []Fault{{}, {Mode: "nonsense"}, {Mode: Status, On: "x"}, {Mode: SplitView, On: ClassData}, {Mode: Status, Rate: 2}, {Mode: Status, Status: 99}, {Mode: Reset, N: -1}, {Mode: WrongLength, N: 1 << 40}, {Mode: ExtraEntries, N: 1 << 40}, {Mode: Latency, Delay: -1}} {
		if err := f.Set(bad); err == nil {
			t.Errorf("%+v was accepted", bad)
		}
	}
	if armed := f.Armed(); len(armed) != 1 || armed[0].Fault.Mode != Status {
		t.Errorf("a refused set changed the armed faults: %+v", armed)
	}
	if err := f.SetLimit(&RateLimit{}); err == nil {
		t.Error("a rate limit of nothing was accepted")
	}
}

// The hidden limit lets through its burst, then its rate, and says so in the
// spelling that was asked for.
func TestRateLimit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFaults(1, time.Now)
		r, _ := http.NewRequest("GET", "http://x/", nil)
		if err := f.SetLimit(&RateLimit{Rate: 10, Burst: 5, RetryAfter: RetrySeconds}); err != nil {
			t.Fatal(err)
		}
		n := 0
		for range 600 { // a minute at 10 per 1 s
			time.Sleep(10 * time.Millisecond)
			if h, ok := f.admit(r, ClassData); ok {
				n++
			} else if h != "1" {
				t.Fatalf("Retry-After %q", h)
			}
		}
		if n < 64 || n > 66 {
			t.Errorf("%d of 600 requests in 6 s passed a limit of 10/s with burst 5, want 65", n)
		}
		if _, ok := f.admit(r, ClassHead); !ok {
			t.Error("a head was limited")
		}

		f.SetLimit(&RateLimit{Rate: 10, Burst: 1, Penalty: 5 * time.Second, RetryAfter: RetrySeconds, RetryExact: true, Anonymous: true})
		f.admit(r, ClassData)
		if h, ok := f.admit(r, ClassData); ok || h != "5" {
			t.Errorf("refused with %q, want a penalty of 5 s", h)
		}
		time.Sleep(4 * time.Second)
		if _, ok := f.admit(r, ClassData); ok {
			t.Error("passed during the penalty")
		}
		time.Sleep(5 * time.Second)
		if _, ok := f.admit(r, ClassData); !ok {
			t.Error("refused after the penalty")
		}
		for ua, free := range map[string]bool{"x (+https://a.org)": true, "a@b.org": true, "x": false, "a@example.com": false} {
			r.Header.Set("User-Agent", ua)
			f.SetLimit(&RateLimit{Rate: 0.001, Burst: 1, Anonymous: true})
			f.admit(r, ClassData)
			if _, ok := f.admit(r, ClassData); ok != free {
				t.Errorf("User-Agent %q: passed %v, want %v", ua, ok, free)
			}
		}
	})
}
