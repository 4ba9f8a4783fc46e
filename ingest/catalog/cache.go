package catalog

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"ctappliance/ingest/ctlog"
	"ctappliance/internal/durable"
)

const (
	cacheSuffix = ".list"
	cacheFormat = 1
	maxHeader   = 16 << 10
)

// cacheHeader is the first line of a cache file. The list follows, then the
// signature, then a line with the SHA-256 of all that stands before it, in hex.
type cacheHeader struct {
	Format  int       `json:"format"`
	URL     string    `json:"url"` // where the list came from
	ETag    string    `json:"etag,omitempty"`
	Fetched time.Time `json:"fetched"`
	List    int       `json:"list_bytes"`
	Sig     int       `json:"signature_bytes"`
}

// sumLine is the length of the last line.
const sumLine = 2*sha256.Size + 1

// saveCache makes a list what the next Open finds.
func saveCache(s *source, g *goodList) error {
	if s.file == "" {
		return nil
	}
	header, err := json.Marshal(cacheHeader{cacheFormat, s.URL, g.etag, g.fetched.UTC(), len(g.data), len(g.sig)})
	if err != nil {
		return fmt.Errorf("caching the list: %w", err)
	}
	data := bytes.Join([][]byte{header, {'\n'}, g.data, g.sig}, nil)
	sum := sha256.Sum256(data)
	data = append(hex.AppendEncode(data, sum[:]), '\n')
	if err := durable.MkdirAll(durable.OS{}, filepath.Dir(s.file), 0o700); err != nil {
		return err
	}
	return durable.WriteFile(durable.OS{}, s.file, data, 0o600)
}

// loadCache reads back what saveCache wrote and verifies it as if it came from
// the network; nil without an error if there is none, or if it is that of
// another URL and nothing but TLS vouched for it. The error is a *cacheError
// if the file is not what was written.
func loadCache(s *source) (*goodList, error) {
	data, err := readFile(s.file, maxHeader+maxList+maxSig+sumLine)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the cached list: %w", err)
	}
	g, from, err := decodeCache(data)
	if err == nil && len(s.Key) == 0 && from != s.URL {
		return nil, nil
	}
	if err == nil && len(s.Key) != 0 {
		err = ctlog.VerifyList(g.data, g.sig, s.Key)
		g.verified = err == nil
	}
	if err == nil {
		g.list, err = ctlog.ParseList(g.data)
	}
	if err != nil {
		return nil, &cacheError{s.file, err}
	}
	return g, nil
}

// cacheError is a cache file that does not hold what we once wrote.
type cacheError struct {
	file string
	err  error
}

func (e *cacheError) Error() string { return fmt.Sprintf("%s: %v", e.file, e.err) }
func (e *cacheError) Unwrap() error { return e.err }

// decodeCache takes a cache file apart. The list is not parsed yet.
func decodeCache(data []byte) (g *goodList, from string, err error) {
	if len(data) < sumLine {
		return nil, "", errors.New("the file is cut short")
	}
	body, line := data[:len(data)-sumLine], data[len(data)-sumLine:]
	sum := sha256.Sum256(body)
	if string(line) != hex.EncodeToString(sum[:])+"\n" {
		return nil, "", errors.New("the checksum does not match")
	}
	first, rest, _ := bytes.Cut(body, []byte{'\n'})
	var h cacheHeader
	if err := json.Unmarshal(first, &h); err != nil {
		return nil, "", fmt.Errorf("the header is not readable: %w", err)
	}
	if h.Format != cacheFormat {
		return nil, "", fmt.Errorf("format %d is not known", h.Format)
	}
	if h.List < 0 || h.Sig < 0 || h.List > len(rest) || h.Sig != len(rest)-h.List {
		return nil, "", errors.New("the header's lengths are not those of the file")
	}
	g = &goodList{data: rest[:h.List:h.List], etag: h.ETag, fetched: h.Fetched}
	if h.Sig > 0 {
		g.sig = rest[h.List:]
	}
	return g, h.URL, nil
}

// readFile reads a regular file of at most limit bytes. Anything else that has
// a name could make us wait for ever.
func readFile(path string, limit int64) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("%s has more than %d bytes", path, limit)
	}
	return data, nil
}
