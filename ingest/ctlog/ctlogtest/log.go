package ctlogtest

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sort"
	"sync"
	"time"
)

// Options says what log to make. The zero value is a small RFC 6962 log.
type Options struct {
	// Name tells logs of one seed apart: the key follows from both and from
	// the kind. Empty is the kind's name.
	Name string
	Seed uint64
	Kind Kind

	// Corpus is what the log holds; logs may share one. Nil makes one of
	// CorpusOptions{Seed: Seed}.
	Corpus *Corpus

	// Size is the number of entries at the start.
	Size uint64

	// GrowBy entries are added every GrowEvery while Run runs; zero does not
	// grow. MaxSize, if set, ends the growth.
	GrowBy    uint64
	GrowEvery time.Duration
	MaxSize   uint64

	// PageSize is the cap of get-entries, 1 to 4096; zero is 256. Unless
	// Unaligned, answers are cut at its multiples as CTFE cuts them.
	PageSize  int
	Unaligned bool

	// Origin is the first line of a static log's checkpoints; empty is
	// "ctlogtest.invalid/" and the name.
	Origin string

	// PlainTiles sends data tiles as they are; else they are gzipped whatever
	// the client accepts, as Sunlight does.
	PlainTiles bool

	// Mirror has an RFC 6962 log answer /tile/data/<N> for full tiles and
	// /issuer/ besides, as those of TrustAsia do. There is no checkpoint, and
	// the tiles' leaves have no extensions.
	Mirror bool

	// DropPartials removes partial tiles once the full tile exists.
	DropPartials bool

	// CacheBytes bounds the encoded pages and tiles kept in memory; zero is
	// 128 MiB.
	CacheBytes int64

	// Now is the clock of heads and rate limits; nil is time.Now.
	Now func() time.Time
}

// Log is one CT log. All methods may be called concurrently.
type Log struct {
	o      Options
	corpus *Corpus
	key    *logKey
	wrong  *logKey // the key of the fault WrongKey
	faults *Faults
	count  counters
	pages  *cache[page]   // RFC 6962: encoded entries by block
	tiles  *cache[[]byte] // static: full data tiles by number

	grow sync.Mutex // held by the one who grows

	mu        sync.RWMutex
	tree      tree
	head      head
	published []uint64 // sizes of all heads ever signed, ascending
}

// New makes a log and signs its first head. It takes about 30 µs of CPU for
// each entry of Size, spread over all processors.
func New(o Options) (*Log, error) {
	if o.Kind != RFC6962 && o.Kind != Static {
		return nil, fmt.Errorf("log options: unknown kind %d", o.Kind)
	}
	if o.Name == "" {
		o.Name = o.Kind.String()
	}
	if o.PageSize == 0 {
		o.PageSize = blockSize
	}
	if o.PageSize < 1 || o.PageSize > 4096 {
		return nil, fmt.Errorf("log options: page size %d is not between 1 and 4096", o.PageSize)
	}
	if o.GrowBy > 0 && o.GrowEvery <= 0 {
		return nil, errors.New("log options: growth needs an interval")
	}
	if o.MaxSize > 0 && o.MaxSize < o.Size {
		return nil, fmt.Errorf("log options: a start size of %d is beyond the maximum of %d", o.Size, o.MaxSize)
	}
	if o.Origin == "" {
		o.Origin = "ctlogtest.invalid/" + o.Name
	}
	if o.CacheBytes == 0 {
		o.CacheBytes = 128 << 20
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Corpus == nil {
		c, err := NewCorpus(CorpusOptions{Seed: o.Seed})
		if err != nil {
			return nil, err
		}
		o.Corpus = c
	}
	l := &Log{o: o, corpus: o.Corpus}
	var err error
	if l.key, err = newLogKey(o.Seed, o.Kind.String()+" "+o.Name); err != nil {
		return nil, fmt.Errorf("making the log's key: %w", err)
	}
	if l.wrong, err = newLogKey(o.Seed, "wrong"); err != nil {
		return nil, fmt.Errorf("making another key: %w", err)
	}
	l.faults = newFaults(o.Seed, o.Now)
	l.count.init()
	l.pages = newCache(o.CacheBytes, l.makePage)
	l.tiles = newCache(o.CacheBytes, l.makeTile)
	if err := l.Grow(o.Size); err != nil {
		return nil, err
	}
	return l, nil
}

// Info is what a client must know of a log, in the words of the log list.
type Info struct {
	ID            [32]byte
	Key           []byte // DER SubjectPublicKeyInfo
	Name          string
	Operator      string
	Kind          Kind
	URL           string // RFC 6962 base, or the monitoring prefix
	SubmissionURL string // static only
	MMD           time.Duration
	State         string
	Start, End    time.Time // temporal interval
}

// Info describes the log as mounted at base, an absolute URL.
func (l *Log) Info(base string) Info {
	if base == "" || base[len(base)-1] != '/' {
		base += "/"
	}
	i := Info{ID: l.key.id, Key: l.key.spki, Name: l.o.Name, Operator: operator, Kind: l.o.Kind, URL: base, MMD: 24 * time.Hour, State: "usable"}
	if l.o.Kind == Static {
		i.MMD = time.Minute
		i.SubmissionURL = "https://" + l.o.Origin + "/"
	}
	i.Start = time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)
	i.End = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	return i
}

// ID returns the log ID.
func (l *Log) ID() [32]byte { return l.key.id }

// Key returns the log's public key as DER SubjectPublicKeyInfo.
func (l *Log) Key() []byte { return l.key.spki }

// Origin returns the first line of the log's checkpoints.
func (l *Log) Origin() string { return l.o.Origin }

// Corpus returns what the log's entries come from.
func (l *Log) Corpus() *Corpus { return l.corpus }

// Faults returns what the log does wrong on demand.
func (l *Log) Faults() *Faults { return l.faults }

// Size returns the size of the newest head.
func (l *Log) Size() uint64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.head.size
}

// Head returns size, root and timestamp of the newest head.
func (l *Log) Head() (size uint64, root [32]byte, timestamp uint64) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.head.size, l.head.root, l.head.timestamp
}

// Root returns the root of the first n entries, n ≤ Size.
func (l *Log) Root(n uint64) [32]byte {
	t := l.snapshot()
	return t.root(n)
}

// LeafHash returns the hash of entry i, i < Size.
func (l *Log) LeafHash(i uint64) [32]byte {
	t := l.snapshot()
	return t.levels[0][i]
}

// Leaf returns entry i as it hashes into the tree.
func (l *Log) Leaf(i uint64) []byte {
	e := l.corpus.Entry(i)
	return e.appendLeaf(nil, l.o.Kind, i)
}

func (l *Log) snapshot() tree {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.tree
}

// Grow adds n entries and signs a head. n = 0 signs the same tree anew.
func (l *Log) Grow(n uint64) error {
	l.grow.Lock()
	defer l.grow.Unlock()
	t := l.snapshot() // only this goroutine appends
	_, _, before := l.Head()
	from := t.size()
	for at := from; at < from+n; {
		// A stretch at a time, so that memory stays flat at any size.
		to := min(from+n, at-at%blockSize+64*blockSize)
		for _, h := range l.hashes(at, to) {
			t.append(h)
		}
		at = to
	}
	h := head{size: t.size(), root: t.root(t.size()), timestamp: max(before, uint64(l.o.Now().UnixMilli()))}
	// A head is not older than its entries, whose time is generated and may
	// run ahead; neighbours are out of order by three steps at most.
	for i := h.size - min(h.size, 4); i < h.size; i++ {
		h.timestamp = max(h.timestamp, l.corpus.Entry(i).Timestamp)
	}
	if err := l.key.sign(&h); err != nil {
		return fmt.Errorf("signing a head: %w", err)
	}
	l.count.grow(h.size)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tree, l.head = t, h
	if len(l.published) == 0 || l.published[len(l.published)-1] != h.size {
		l.published = append(l.published, h.size)
	}
	return nil
}

// hashes computes the leaf hashes of [from, to) with all processors.
func (l *Log) hashes(from, to uint64) [][32]byte {
	out := make([][32]byte, to-from)
	next := make(chan uint64)
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			var scratch []byte
			for b := range next {
				entries := l.corpus.block(b)
				for i := max(from, b*blockSize); i < min(to, (b+1)*blockSize); i++ {
					out[i-from], scratch = entries[i%blockSize].leafHash(scratch, l.o.Kind, i)
				}
			}
		})
	}
	for b := from / blockSize; b*blockSize < to; b++ {
		next <- b
	}
	close(next)
	wg.Wait()
	return out
}

// Warm encodes what the log serves most (full tiles, or pages), as far as
// CacheBytes goes, so that a measurement does not measure this package.
func (l *Log) Warm() {
	blocks := make(chan uint64)
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for n := range blocks {
				if l.o.Kind == Static {
					l.tiles.get(n)
				} else {
					l.pages.get(n)
				}
			}
		})
	}
	for n := range l.Size() / blockSize {
		if l.pages.full() || l.tiles.full() {
			break
		}
		blocks <- n
	}
	close(blocks)
	wg.Wait()
}

// Run grows the log as its options say until ctx ends.
func (l *Log) Run(ctx context.Context) error {
	if l.o.GrowBy == 0 {
		<-ctx.Done()
		return nil
	}
	tick := time.NewTicker(l.o.GrowEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		n := l.o.GrowBy
		if l.o.MaxSize > 0 {
			n = min(n, l.o.MaxSize-min(l.o.MaxSize, l.Size()))
		}
		if err := l.Grow(n); err != nil {
			return err
		}
	}
}

// wasPublished reports whether a head with a size in [from, to) was signed.
func (l *Log) wasPublished(from, to uint64) bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	i := sort.Search(len(l.published), func(i int) bool { return l.published[i] >= from })
	return i < len(l.published) && l.published[i] < to
}
