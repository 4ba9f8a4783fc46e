package ctlog

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"ctappliance/ingest/ctlog/ctlogtest"
)

// datedLog is a log of any size whose entries have nothing but dates. Other
// methods than those that IndexAt needs are not there.
type datedLog struct {
	Log
	mmd      time.Duration
	date     func(i uint64) (ms uint64)
	odd      func(i uint64) []byte // a leaf in place of a dated one
	fail     func(n int) error     // of request n
	requests int
}

func (l *datedLog) Info() Info { return Info{MMD: l.mmd} }

func (l *datedLog) Entries(_ context.Context, from, to, treeSize uint64) (*Batch, error) {
	l.requests++
	if l.fail != nil {
		if err := l.fail(l.requests); err != nil {
			return nil, err
		}
	}
	if err := checkRange(from, to, treeSize); err != nil {
		return nil, err
	}
	leaf := binary.BigEndian.AppendUint64([]byte{0, 0}, l.date(from))
	leaf = append(leaf, 0, 0, 0, 0, 0, 0, 0)
	if l.odd != nil {
		if odd := l.odd(from); odd != nil {
			leaf = odd
		}
	}
	return &Batch{From: from, Entries: []Entry{{Leaf: leaf}}}, nil
}

// TestIndexAt searches logs of both protocols whose dates are out of order.
func TestIndexAt(t *testing.T) {
	start := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		kind  ctlogtest.Kind
		step  time.Duration // neighbours are out of order by up to three
		slack time.Duration
		most  int // requests
	}{
		{ctlogtest.RFC6962, 10 * time.Minute, time.Hour, 12},
		{ctlogtest.RFC6962, time.Hour / 3, time.Hour, 12},
		{ctlogtest.Static, 20 * time.Second, time.Minute, 4},
	} {
		corpus, err := ctlogtest.NewCorpus(ctlogtest.CorpusOptions{Seed: 3, Start: start, Step: c.step})
		if err != nil {
			t.Fatal(err)
		}
		l, err := ctlogtest.New(ctlogtest.Options{Kind: c.kind, Corpus: corpus, Size: 1800, Now: func() time.Time { return start.Add(1900 * c.step) }})
		if err != nil {
			t.Fatal(err)
		}
		info := l.Info("http://localhost/")
		p := &recorder{}
		log := openArchive(t, Info{Key: info.Key, Kind: Kind(map[ctlogtest.Kind]Kind{ctlogtest.RFC6962: RFC6962, ctlogtest.Static: Static}[c.kind]), URL: info.URL,
			SubmissionURL: info.SubmissionURL, MMD: info.MMD}, Options{UserAgent: testUA, Transport: ctlogtest.Transport(l.Handler()), Pacer: p})
		head, err := log.Head(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		last := time.UnixMilli(int64(head.Timestamp))
		for name, at := range map[string]time.Time{
			"long before": start.Add(-1000 * time.Hour), "zero": {}, "year 0": time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC), "at the first": start,
			"in the middle": start.Add(900 * c.step), "early": start.Add(100*c.step + 77), "late": start.Add(1799 * c.step),
			"the head's time": last, "after the head": last.Add(time.Millisecond), "far away": start.Add(1 << 60),
		} {
			_, before := p.last()
			index, err := IndexAt(t.Context(), log, head, at)
			if err != nil {
				t.Fatalf("%v, %s: %v", c.kind, name, err)
			}
			_, after := p.last()
			if after-before > c.most {
				t.Errorf("%v, %s: %d requests", c.kind, name, after-before)
			}
			for i := range head.Size {
				date := time.UnixMilli(int64(corpus.Entry(i).Timestamp))
				if i < index && !date.Before(at) {
					t.Errorf("%v, %s: entry %d of %v lies before index %d", c.kind, name, i, date, index)
					break
				}
				if i >= index && date.Before(at.Add(-c.slack-3*c.step)) {
					t.Errorf("%v, %s: entry %d of %v lies behind index %d", c.kind, name, i, date, index)
					break
				}
			}
			switch name {
			case "long before", "zero", "year 0":
				if index != 0 {
					t.Errorf("%v, %s: %d, want 0", c.kind, name, index)
				}
			case "after the head", "far away":
				if index != head.Size {
					t.Errorf("%v, %s: %d, want %d", c.kind, name, index, head.Size)
				}
			}
		}
	}
}

// TestIndexAtPromise: entries may be taken in late, by up to the slack, in any
// way; none dated t or later lies before the index.
func TestIndexAtPromise(t *testing.T) {
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 1))
	for range 300 {
		size := 1 + r.Uint64N(500)
		mmd := []time.Duration{0, time.Minute, 24 * time.Hour}[r.IntN(3)]
		slack := uint64(time.Hour / time.Millisecond)
		if mmd == time.Minute {
			slack = 60_000
		}
		dates := make([]uint64, size)
		taken := uint64(1_700_000_000_000)
		for i := range dates {
			taken += r.Uint64N(slack / 4)
			dates[i] = taken - r.Uint64N(slack+1)
		}
		l := &datedLog{mmd: mmd, date: func(i uint64) uint64 { return dates[i] }}
		at := uint64(1_700_000_000_000) + r.Uint64N(taken-1_700_000_000_000+1)
		index, err := IndexAt(t.Context(), l, &Head{Size: size, Timestamp: taken}, time.UnixMilli(int64(at)))
		if err != nil {
			t.Fatal(err)
		}
		for i, date := range dates[:index] {
			if date >= at {
				t.Fatalf("seed %d: entry %d of %d lies before index %d for %d", seed, i, date, index, at)
			}
		}
		if index < size && dates[index] < at-slack {
			t.Fatalf("seed %d: index %d is dated %d, for %d", seed, index, dates[index], at)
		}
	}
}

// TestIndexAtCosts: requests, for the largest logs, with failures and entries
// that bear no date.
func TestIndexAtCosts(t *testing.T) {
	const size = 1 << 40
	base := uint64(1_700_000_000_000)
	l := &datedLog{date: func(i uint64) uint64 { return base + i/1000 }}
	head := &Head{Size: size, Timestamp: base + size/1000}
	at := time.UnixMilli(int64(base + size/3000))
	want, err := IndexAt(t.Context(), l, head, at)
	if err != nil || want != (size/3000-3_600_000)*1000 || l.requests > 41 {
		t.Errorf("%d, %v, %d requests", want, err, l.requests)
	}
	away := errors.New("away")
	l.requests = 0
	l.fail = func(n int) error {
		if n%10 == 0 {
			return away
		}
		return nil
	}
	if got, err := IndexAt(t.Context(), l, head, at); got != want || err != nil || l.requests > 45 {
		t.Errorf("%d, %v, %d requests", got, err, l.requests)
	}
	l.requests = 0
	l.fail = func(int) error { return away }
	if _, err := IndexAt(t.Context(), l, head, at); !errors.Is(err, away) || l.requests != 1+dateRetries {
		t.Errorf("%v, %d requests", err, l.requests)
	}
	ctx, cancel := context.WithCancel(t.Context())
	l.requests, l.fail = 0, func(int) error { cancel(); return context.Canceled }
	if _, err := IndexAt(ctx, l, head, at); !errors.Is(err, context.Canceled) || l.requests != 1 {
		t.Errorf("%v, %d requests", err, l.requests)
	}
	// Every tenth entry is of a version that nobody knows, or nothing at all.
	l.requests, l.fail = 0, nil
	l.odd = func(i uint64) []byte {
		switch i % 10 {
		case 0:
			return []byte{1, 0, 9, 9, 9, 9, 9, 9, 9, 9}
		case 5:
			return []byte{}
		}
		return nil
	}
	if got, err := IndexAt(t.Context(), l, head, at); err != nil || got > want || want-got > 2*maxUndated || l.requests > 60 {
		t.Errorf("%d, want about %d: %v, %d requests", got, want, err, l.requests)
	}
	l.requests, l.odd = 0, func(uint64) []byte { return []byte{1} }
	if _, err := IndexAt(t.Context(), l, head, at); err == nil || !strings.Contains(err.Error(), "no date") || l.requests > 1+maxUndated {
		t.Errorf("%v, %d requests", err, l.requests)
	}
	// Dates that mean nothing end the search somewhere in the log.
	l.odd = nil
	for seed := range uint64(50) {
		r := rand.New(rand.NewPCG(seed, 2))
		l.requests, l.date = 0, func(uint64) uint64 { return r.Uint64() }
		if got, err := IndexAt(t.Context(), l, head, at); err != nil || got > size || l.requests > 41 {
			t.Errorf("%d, %v, %d requests", got, err, l.requests)
		}
	}
	for _, h := range []*Head{{}, {Timestamp: base}} {
		l.requests = 0
		if got, err := IndexAt(t.Context(), l, h, at); got != 0 || err != nil || l.requests != 0 {
			t.Errorf("the empty log: %d, %v, %d requests", got, err, l.requests)
		}
	}
}

// TestDatesOf: an entry without a date has its neighbour's.
func TestDatesOf(t *testing.T) {
	leaf := func(ms uint64) Entry {
		return Entry{Leaf: append(binary.BigEndian.AppendUint64([]byte{0, 0}, ms), 0, 0, 0, 0, 0, 0, 0)}
	}
	unknown := leaf(7)
	unknown.Leaf[10] = 9 // a type of entry that is not known; its date is where it always is
	none := Entry{Leaf: []byte{1, 1}}
	for _, c := range []struct {
		in   []Entry
		want string
	}{
		{[]Entry{leaf(5)}, "[5] true"}, {[]Entry{none}, "[0] false"}, {[]Entry{unknown}, "[7] true"},
		{[]Entry{none, none, leaf(3), none, leaf(9)}, "[3 3 3 3 9] true"},
	} {
		if dates, dated := datesOf(c.in); fmt.Sprintf("%v %v", dates, dated) != c.want {
			t.Errorf("%v %v, want %s", dates, dated, c.want)
		}
	}
}
