package ingest

import (
	"context"
	"fmt"
	"math"
	"time"
)

// A shard is taken down some weeks after the last certificate in it has
// expired: 19 days after in the shortest case known. What is not fetched by
// then is lost for good.
const (
	vanishAfter  = 14 * 24 * time.Hour
	assessEvery  = time.Minute
	assessWindow = 60 // samples; nothing is said before there are so many, for a rate over minutes is that of a moment
)

// sample is how far a log and its copy were at some time.
type sample struct {
	at            time.Time
	head, fetched uint64
}

// assess looks after the followed logs until ctx ends.
func (a *Appliance) assess(ctx context.Context) error {
	for sleep(ctx, assessEvery) {
		for _, f := range a.following() {
			f.assess(time.Now())
		}
	}
	return nil
}

// assess says whether the log may be gone before it is fetched, and when.
func (f *follower) assess(now time.Time) {
	wanted, fetched := f.extent()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.head == nil {
		return
	}
	if len(f.past) == assessWindow {
		f.past = append(f.past[:0], f.past[1:]...)
	}
	f.past = append(f.past, sample{now, f.head.Size, fetched})
	risk := ""
	if len(f.past) == assessWindow && f.halted == "" && !f.info.End.IsZero() {
		risk = riskOf(f.past[0], f.past[len(f.past)-1], wanted, f.info.End)
	}
	switch {
	case risk != "" && f.risk == "":
		f.out.Error("log may vanish before it is copied", "reason", risk)
	case risk == "" && f.risk != "":
		f.out.Info("log will be copied in time")
	}
	f.risk = risk
}

// extent returns how many entries of the log are wanted, as far as it has
// them, and how many are fetched.
func (f *follower) extent() (wanted, fetched uint64) {
	f.mu.Lock()
	var size uint64
	if f.head != nil {
		size = f.head.Size
	}
	f.mu.Unlock()
	for _, s := range f.a.spans.ofLog(f.info.ID) {
		if s.kind != "repair" {
			wanted += max(min(s.to, size), s.from) - s.from
			fetched += s.cursor.Load() - s.from
		}
	}
	return wanted, fetched
}

// riskOf extrapolates from two samples: a shard grows until its interval ends,
// and may be deleted from vanishAfter after that on.
func riskOf(from, to sample, wanted uint64, ends time.Time) string {
	left := float64(wanted) - float64(to.fetched)
	seconds := to.at.Sub(from.at).Seconds()
	if left <= 0 || seconds <= 0 {
		return ""
	}
	rate := (float64(to.fetched) - float64(from.fetched)) / seconds
	growth := max(0, (float64(to.head)-float64(from.head))/seconds)
	if left <= growth*3600 {
		return "" // the tail of a log that is followed, and an hour behind at most
	}
	deadline := ends.Add(vanishAfter)
	left += max(0, growth-rate) * max(0, ends.Sub(to.at).Seconds()) // at its end
	needs := math.Inf(1)
	if rate > growth {
		needs = left / (rate - growth)
	} else if rate > 0 {
		needs = max(0, ends.Sub(to.at).Seconds()) + left/rate
	}
	if needs <= deadline.Sub(to.at).Seconds() {
		return ""
	}
	until := "never at the present rate"
	if needs < 100*365*24*3600 {
		until = "on " + day(to.at.Add(time.Duration(needs)*time.Second)) + " at the present rate"
	}
	return fmt.Sprintf("%d entries are still to be fetched, done %s; the shard ends on %s and may be deleted from %s on", wanted-to.fetched, until, day(ends), day(deadline))
}

func day(t time.Time) string { return t.UTC().Format(time.DateOnly) }

// lag is how many seconds ago the log dated the newest entry that was
// delivered; 0 if nothing is behind, -1 if unknown.
func lag(s *span, size uint64, now time.Time) float64 {
	if s.delivered.Load() >= min(s.to, size) {
		return 0
	}
	at := s.dated.Load()
	if at == 0 {
		return -1
	}
	return max(0, now.Sub(time.UnixMilli(int64(min(at, 1<<52)))).Seconds())
}
