package chain

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"ctappliance/internal/durable"
)

// Hash is a SHA-256 value.
type Hash = [32]byte

// FileName is the store's name inside the data directory.
const FileName = "chains.bin"

// MaxCertificate is the largest certificate that is stored, in bytes: TLS
// encodings allow no more (RFC 6962 section 3.1).
const MaxCertificate = 1<<24 - 1

// DailyCap is how many new certificates of one log are stored in a day. Real
// logs bring a few dozen in their lives.
const DailyCap = 10_000

// ErrNotFound means that the store does not hold the certificate.
var ErrNotFound = errors.New("chain certificate is not in the store")

const frameHeader = 8

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

type place struct {
	offset int64
	length uint32
}

// Store is an open chain store. Its methods may be called concurrently.
type Store struct {
	path string

	mu     sync.RWMutex
	fsys   durable.FS
	file   durable.File
	end    int64
	index  map[Hash]place
	added  map[Hash]int // by log, since day
	day    time.Time
	failed error // a write or fsync failed: nothing is promised any more
}

// Open opens the store of a data directory, creating it if it is not there.
// setAside names the damaged file, if there was one.
func Open(dir string) (s *Store, setAside string, err error) { return open(durable.OS{}, dir) }

// open writes through fsys, so that tests see what is synced.
func open(fsys durable.FS, dir string) (s *Store, setAside string, err error) {
	path := filepath.Join(dir, FileName)
	b, err := os.ReadFile(path)
	fresh := errors.Is(err, fs.ErrNotExist)
	if err != nil && !fresh {
		return nil, "", fmt.Errorf("reading chain store: %w", err)
	}
	s = &Store{path: path, fsys: fsys, index: map[Hash]place{}, added: map[Hash]int{}}
	s.end = s.scan(b, 0)
	if rest := findFrame(b, s.end+1); rest >= 0 {
		return s.rescue(dir, b, rest)
	}
	if s.file, err = fsys.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return nil, "", fmt.Errorf("opening chain store: %w", err)
	}
	if fresh {
		if err := fsys.SyncDir(dir); err != nil {
			return nil, "", fmt.Errorf("creating chain store: %w", err)
		}
	}
	return s, "", nil
}

// OpenReadOnly opens an existing store to look certificates up, also beside
// the process that writes it. What is torn or damaged is passed over.
func OpenReadOnly(dir string) (*Store, error) {
	path := filepath.Join(dir, FileName)
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading chain store: %w", err)
	}
	s := &Store{path: path, index: map[Hash]place{}, failed: errors.New("chain store is open for reading only")}
	s.end = s.scan(b, 0)
	for next := findFrame(b, s.end+1); next >= 0; next = findFrame(b, s.end+1) {
		s.end = s.scan(b, next)
	}
	if s.file, err = durable.Open(durable.OS{}, path); err != nil {
		return nil, fmt.Errorf("opening chain store: %w", err)
	}
	return s, nil
}

// scan indexes the whole frames from offset on and returns where they end.
func (s *Store) scan(b []byte, offset int64) int64 {
	for {
		n, ok := frameAt(b, offset)
		if !ok {
			return offset
		}
		der := b[offset+frameHeader : offset+frameHeader+int64(n)]
		s.index[sha256.Sum256(der)] = place{offset + frameHeader, n}
		offset += frameHeader + int64(n)
	}
}

// frameAt reports whether a whole frame begins at offset.
func frameAt(b []byte, offset int64) (length uint32, ok bool) {
	if offset+frameHeader > int64(len(b)) {
		return 0, false
	}
	n := binary.BigEndian.Uint32(b[offset:])
	if n == 0 || n > MaxCertificate || offset+frameHeader+int64(n) > int64(len(b)) {
		return 0, false
	}
	der := b[offset+frameHeader : offset+frameHeader+int64(n)]
	return n, crc32.Checksum(der, castagnoli) == binary.BigEndian.Uint32(b[offset+4:])
}

// findFrame looks for a whole frame from offset on; -1 if there is none. A DER
// certificate begins with a SEQUENCE, which spares most of the checksums.
func findFrame(b []byte, offset int64) int64 {
	for ; offset+frameHeader < int64(len(b)); offset++ {
		if b[offset+frameHeader] != 0x30 {
			continue
		}
		if _, ok := frameAt(b, offset); ok {
			return offset
		}
	}
	return -1
}

// rescue sets a damaged file aside and writes what is whole into a new one.
func (s *Store) rescue(dir string, b []byte, next int64) (*Store, string, error) {
	var whole []byte
	keep := func(from, to int64) { whole = append(whole, b[from:to]...) }
	keep(0, s.end)
	for next >= 0 {
		end := (&Store{index: map[Hash]place{}}).scan(b, next)
		keep(next, end)
		next = findFrame(b, end+1)
	}
	setAside := durable.Aside(s.path)
	if err := os.Link(s.path, setAside); err != nil {
		return nil, "", fmt.Errorf("setting damaged chain store aside: %w", err)
	}
	if err := durable.WriteFile(s.fsys, s.path, whole, 0o600); err != nil {
		return nil, "", fmt.Errorf("rewriting damaged chain store: %w", err)
	}
	fresh, _, err := open(s.fsys, dir)
	return fresh, setAside, err
}

// Has reports whether the certificate is stored.
func (s *Store) Has(h Hash) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	_, ok := s.index[h]
	return ok
}

// Len returns the number of certificates.
func (s *Store) Len() int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return len(s.index)
}

// Get returns a certificate's DER, checked against its hash.
func (s *Store) Get(h Hash) ([]byte, error) {
	s.mu.RLock()
	p, ok := s.index[h]
	s.mu.RUnlock()
	if !ok {
		return nil, ErrNotFound
	}
	der := make([]byte, p.length)
	if _, err := s.file.ReadAt(der, p.offset); err != nil {
		return nil, fmt.Errorf("reading chain store: %w", err)
	}
	if sha256.Sum256(der) != h {
		return nil, fmt.Errorf("reading chain store: the certificate at offset %d is not %x", p.offset, h)
	}
	return der, nil
}

// Add stores those of certs that are not there yet and returns when they are
// on disk. The keys must be the SHA-256 of the values. Certificates beyond
// the log's daily cap, and such that are too large or empty, come back in
// left. After an error of the disk every further Add fails: the process must
// end.
func (s *Store) Add(log Hash, certs map[Hash][]byte) (left [][]byte, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed != nil {
		return nil, s.failed
	}
	// A day is 24 hours by a clock that nobody sets.
	if s.day.IsZero() || time.Since(s.day) >= 24*time.Hour {
		s.day = time.Now()
		clear(s.added)
	}
	var frames []byte
	places := map[Hash]place{}
	// A fixed order makes the file a function of what was added.
	hashes := make([]Hash, 0, len(certs))
	for h := range certs {
		if _, ok := s.index[h]; !ok {
			hashes = append(hashes, h)
		}
	}
	slices.SortFunc(hashes, func(a, b Hash) int { return slices.Compare(a[:], b[:]) })
	for _, h := range hashes {
		der := certs[h]
		if len(der) == 0 || len(der) > MaxCertificate || s.added[log] >= DailyCap {
			left = append(left, der)
			continue
		}
		s.added[log]++
		places[h] = place{s.end + int64(len(frames)) + frameHeader, uint32(len(der))}
		frames = binary.BigEndian.AppendUint32(frames, uint32(len(der)))
		frames = binary.BigEndian.AppendUint32(frames, crc32.Checksum(der, castagnoli))
		frames = append(frames, der...)
	}
	if len(frames) == 0 {
		return left, nil
	}
	_, err = s.file.WriteAt(frames, s.end)
	if errors.Is(err, syscall.ENOSPC) {
		// The WAL has space of its own: let the record carry them. What was
		// written lies behind the end and will be overwritten.
		for h := range places {
			left = append(left, certs[h])
		}
		return left, nil
	}
	if err == nil {
		err = s.file.Sync()
	}
	if err != nil {
		s.failed = fmt.Errorf("writing chain store: %w", err)
		return nil, s.failed
	}
	s.end += int64(len(frames))
	for h, p := range places {
		s.index[h] = p
	}
	return left, nil
}

// Close closes the file.
func (s *Store) Close() error { return s.file.Close() }
