package ctlogtest

import (
	"archive/tar"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sort"
)

var errShort = errors.New("ends inside a structure")

// reader takes TLS structures apart. It sees captured files only.
type reader struct {
	b   []byte
	err error
}

func (r *reader) take(n int) []byte {
	if r.err != nil || n > len(r.b) {
		r.err = errShort
		return nil
	}
	v := r.b[:n:n]
	r.b = r.b[n:]
	return v
}

func (r *reader) uint(n int) uint64 {
	var v uint64
	for _, c := range r.take(n) {
		v = v<<8 | uint64(c)
	}
	return v
}

func (r *reader) opaque(n int) []byte { return r.take(int(r.uint(n))) }

// timestamped reads a TimestampedEntry without its extensions' content, which
// a log of ours replaces by its own.
func (r *reader) timestamped() Entry {
	e := Entry{Timestamp: r.uint(8)}
	switch t := r.uint(2); t {
	case 0:
	case 1:
		e.Precert = true
		copy(e.IssuerKeyHash[:], r.take(32))
	default:
		if r.err == nil {
			r.err = fmt.Errorf("entry type %d", t)
		}
	}
	e.Body = r.opaque(3)
	r.opaque(2)
	return e
}

// readCaptured reads the captured entries below dir: those of a static log,
// then those of two RFC 6962 logs. Full tiles are read only: the partial one that
// lies beside them is an older state of the last. The static ones name their issuers by hash;
// an issuer that is not among the captured certificates is left out of the
// chain, so that every chain can be served.
func readCaptured(dir string, h *hierarchy) ([]Entry, error) {
	known, err := tarCertificates(filepath.Join(dir, "certs", "live-certificates.tar.gz"))
	if err != nil {
		return nil, err
	}
	var out []Entry
	tiles, err := filepath.Glob(filepath.Join(dir, "static", "navigli2025h2", "tile", "data", "[0-9][0-9][0-9]"))
	if err != nil {
		return nil, err
	}
	sort.Strings(tiles)
	if len(tiles) == 0 {
		return nil, fmt.Errorf("no tiles in %s: is it the data directory?", dir)
	}
	for _, name := range tiles {
		b, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		r := reader{b: b}
		for len(r.b) > 0 && r.err == nil {
			e := r.timestamped()
			if e.Precert {
				e.Submitted = r.opaque(3)
			}
			for fp := r.opaque(2); len(fp) >= 32; fp = fp[32:] {
				if der, ok := known[[32]byte(fp[:32])]; ok {
					e.chain = append(e.chain, h.add(der))
				}
			}
			out = append(out, e)
		}
		if r.err != nil {
			return nil, fmt.Errorf("%s: %w", name, r.err)
		}
	}
	answers, err := filepath.Glob(filepath.Join(dir, "rfc6962", "get-entries-*.json"))
	if err != nil {
		return nil, err
	}
	for _, name := range answers {
		entries, err := readGetEntries(name, h)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		out = append(out, entries...)
	}
	return out, nil
}

func readGetEntries(name string, h *hierarchy) ([]Entry, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	var answer struct {
		Entries []struct {
			Leaf  []byte `json:"leaf_input"`
			Extra []byte `json:"extra_data"`
		}
	}
	if err := json.Unmarshal(b, &answer); err != nil {
		return nil, err
	}
	var out []Entry
	for i, a := range answer.Entries {
		r := reader{b: a.Leaf}
		r.take(2)
		e := r.timestamped()
		if r.err == nil {
			r.b = a.Extra
			if e.Precert {
				e.Submitted = r.opaque(3)
			}
			chain := reader{b: r.opaque(3)}
			for len(chain.b) > 0 && chain.err == nil {
				if der := chain.opaque(3); chain.err == nil {
					e.chain = append(e.chain, h.add(der))
				}
			}
			r.err = errors.Join(r.err, chain.err)
		}
		if r.err != nil {
			return nil, fmt.Errorf("entry %d: %w", i, r.err)
		}
		out = append(out, e)
	}
	return out, nil
}

// tarCertificates reads a .tar.gz with one DER certificate per file.
func tarCertificates(name string) (map[[32]byte][]byte, error) {
	all, err := TarDER(name)
	if err != nil {
		return nil, err
	}
	out := make(map[[32]byte][]byte, len(all))
	for _, der := range all {
		out[sha256.Sum256(der)] = der
	}
	return out, nil
}

// TarDER returns the regular files of a .tar.gz in their order: the form in
// which certificate collections such as CorpusOptions.Odd come.
func TarDER(name string) ([][]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	var out [][]byte
	for t := tar.NewReader(z); ; {
		hdr, err := t.Next()
		if err == io.EOF {
			return out, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if hdr.Typeflag != tar.TypeReg {
			continue
		}
		b, err := io.ReadAll(io.LimitReader(t, 1<<24))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		out = append(out, b)
	}
}
