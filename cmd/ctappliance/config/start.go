package config

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"ctappliance/cmd/ctappliance/plain"
	"ctappliance/ingest"
)

// Start is where copying a log begins.
type Start struct {
	Now     bool      // at the size that the log has when first seen
	Date    time.Time // at the first entry that is dated so or later; zero: not by date
	Index   uint64    // otherwise: the first entry
	History bool      // what lies before comes too, in a span of its own
}

const (
	StartWords = "write zero, now, an index such as 1000000, or a date such as 2026-01-01, with +history behind it for what comes before as well"
	withWhole  = "+history"
	indexWord  = "index:" // before an index that somebody could take for a date
)

// firstLogs is when the first public log began: nothing is dated earlier.
var firstLogs = time.Date(2013, 3, 1, 0, 0, 0, 0, time.UTC)

// UnmarshalText parses zero, now, an index or a date, and +history behind one
// of the latter three.
func (s *Start) UnmarshalText(b []byte) error {
	text := strings.TrimSpace(string(b))
	word, history := strings.CutSuffix(text, withWhole)
	start := Start{History: history}
	switch {
	case word == "zero":
	case word == "now":
		start.Now = true
	case strings.Count(word, "-") >= 2:
		at, err := time.Parse(time.DateOnly, word)
		if err != nil {
			at, err = time.Parse(time.RFC3339, word)
		}
		if err != nil {
			return fmt.Errorf("%s is not a date; write 2026-01-01, or 2026-01-01T12:00:00Z", plain.Quote(text))
		}
		if at.Before(firstLogs) {
			return fmt.Errorf("%s is before the first log; write zero for the whole history", plain.Quote(text))
		}
		start.Date = at.UTC()
	default:
		digits, marked := strings.CutPrefix(word, indexWord)
		n, err := strconv.ParseUint(digits, 10, 63)
		if err != nil {
			return fmt.Errorf("%s is no place to start; %s", plain.Quote(text), StartWords)
		}
		if day, like := likeDate(n); like && !marked {
			return fmt.Errorf("%s may be meant as a date or as an index; write %s or %s%d", plain.Quote(text), day.Format(time.DateOnly), indexWord, n)
		}
		start.Index = n
	}
	if history && start.zero() {
		return errors.New("nothing comes before zero; write zero, or now+history")
	}
	*s = start
	return nil
}

// likeDate says which day somebody means who writes a date as a number.
func likeDate(n uint64) (day time.Time, like bool) {
	const compact = "20060102"
	day, err := time.Parse(compact, strconv.FormatUint(n, 10))
	return day, err == nil && day.Year() > 2000 && day.Year() < 2100
}

// zero reports whether s is the first entry.
func (s Start) zero() bool { return !s.Now && s.Date.IsZero() && s.Index == 0 }

// String returns what UnmarshalText reads.
func (s Start) String() string {
	word := strconv.FormatUint(s.Index, 10)
	switch {
	case s.Now:
		word = "now"
	case !s.Date.IsZero() && s.Date.Equal(s.Date.Truncate(24*time.Hour)):
		word = s.Date.Format(time.DateOnly)
	case !s.Date.IsZero():
		word = s.Date.Format(time.RFC3339Nano)
	case s.Index == 0:
		return "zero"
	default:
		if _, like := likeDate(s.Index); like {
			word = indexWord + word
		}
	}
	if s.History {
		word += withWhole
	}
	return word
}

// check refuses a date that has not come.
func (s Start) check(r *report, key string) {
	if s.Date.After(time.Now()) {
		r.add(key, "%s has not come yet; write now", s)
	}
}

// Request is what the pipeline is asked for.
func (s Start) Request() ingest.Request {
	r := ingest.Request{From: s.Index, To: ingest.Forever, History: s.History}
	switch {
	case s.Now:
		r.Start = ingest.StartNow
	case !s.Date.IsZero():
		r.Start, r.Since = ingest.StartDate, s.Date
	}
	return r
}
