package world

import (
	"fmt"
	"strconv"
	"sync"
	"time"

	"ctappliance/ingest/ctlog/ctlogtest"
)

// Log stands for one entry of the lists.
type Log struct {
	Name     string // description in the first list that has it
	Operator string
	Role     Role
	Rate     float64 // entries per second, scaled
	ID       [32]byte
	Static   bool

	o     ctlogtest.Options // of the log and, but for the corpus, of its false twin
	began time.Time         // timestamp of entry 0
	host  *Host
	path  string

	mu     sync.Mutex
	log    *ctlogtest.Log
	signed time.Time
	end    time.Time // no entry is newer; zero: there is none
	gone   bool
	honest uint64 // size of the true tree when the log began to lie
	count  Counts
	before []uint8 // what had been served when it moved
}

// current is the log as it answers now.
func (l *Log) current() *ctlogtest.Log {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.log
}

// Size is the size of the newest head.
func (l *Log) Size() uint64 { return l.current().Size() }

// Head returns size and root of the newest head.
func (l *Log) Head() (uint64, [32]byte) {
	size, root, _ := l.current().Head()
	return size, root
}

// LeafHash returns the hash of entry i.
func (l *Log) LeafHash(i uint64) [32]byte { return l.current().LeafHash(i) }

// Honest is how many entries of a lying log are as they were at first.
func (l *Log) Honest() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.honest
}

// Stats is what the log has served.
func (l *Log) Stats() ctlogtest.Stats { return l.current().Stats() }

// Served returns how often each entry was served; 255 stands for that or more.
func (l *Log) Served() []uint8 { return l.current().Served(0, l.Size()) }

// Host is where the log answers now.
func (l *Log) Host() *Host {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.host
}

// URL is where the log answers now.
func (l *Log) URL() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.host.base + l.path
}

// Count returns what the log was asked so far, at any address.
func (l *Log) Count() Counts {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.count
}

func (l *Log) note(c Counts) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.count.add(c)
}

func (l *Log) isGone() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.gone
}

// due is how many entries the log has at a time: those that are not newer.
func (l *Log) due(now time.Time) uint64 {
	if l.Rate == 0 {
		return l.o.Size
	}
	if !l.end.IsZero() && now.After(l.end) {
		now = l.end
	}
	n := now.Sub(l.began).Seconds() * l.Rate
	return uint64(max(0, n-4)) // neighbours are out of order by three steps at most
}

// advance makes the log as large as it is at a time. One that has nothing new
// signs its tree again, a static log every second, another one every hour.
func (l *Log) advance(now time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	again := time.Hour
	if l.Static {
		again = time.Second
	}
	size, want := l.log.Size(), l.due(now)
	if want <= size && now.Sub(l.signed) < again {
		return nil
	}
	if err := l.log.Grow(max(want, size) - size); err != nil {
		return fmt.Errorf("growing %s: %w", l.Name, err)
	}
	l.signed = now
	return nil
}

// Survives says whether the log is to be copied to its end.
func (l *Log) Survives() bool {
	return l.Role != Lying && l.Role != Gone && l.Role != Retired
}

// stop ends the growth.
func (l *Log) stop(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.end.IsZero() {
		l.end = now
	}
}

// vanish has the log answer no more.
func (l *Log) vanish(now time.Time) {
	l.stop(now)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.gone = true
}

// Again returns how many of the entries that the log had when it moved it has
// served since, and how many they were.
func (l *Log) Again() (n, of int) {
	now := l.Served()
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, times := range l.before {
		if now[i] > times {
			n++
		}
	}
	return n, len(l.before)
}

// lie replaces the tree by another one that is a little larger.
func (l *Log) lie(o ctlogtest.CorpusOptions) error {
	o.Seed += 1 << 32
	corpus, err := ctlogtest.NewCorpus(o)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.honest = l.log.Size()
	twin := l.o
	twin.Corpus, twin.Size = corpus, l.honest+3
	if l.log, err = ctlogtest.New(twin); err != nil {
		return fmt.Errorf("making another tree of %s: %w", l.Name, err)
	}
	if l.log.ID() != l.ID {
		return fmt.Errorf("the other tree of %s is under another key", l.Name)
	}
	return nil
}

func seconds(d time.Duration) string {
	return strconv.FormatInt(int64((d+time.Second-1)/time.Second), 10)
}

// Due is how many entries the log has now, whether it has signed them or not.
func (l *Log) Due() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return max(l.due(time.Now()), l.log.Size())
}
