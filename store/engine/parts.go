package engine

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// The library ignores a write(2) that fails. On a full or failing disk it
// acknowledges an insert whose files are short or empty, counts its rows from
// memory, and notices at the next start; a merge's empty result replaces parts
// that were whole, and these are removed after old_parts_lifetime. But what it
// meant to write it notes in the part's checksums.txt, with the size of each
// file. So the child compares every part that is new, before an insert is
// answered and every few seconds, and ends where they differ: the next child
// then finds the part broken, puts it aside, and takes the sources of a merge
// into use again.

// partName is the directory of a part that counts: PARTITION_MIN_MAX_LEVEL and
// perhaps a mutation's number; what is in the making has a prefix.
var partName = regexp.MustCompile(`^[0-9A-Za-z-]+_\d+_\d+_\d+(_\d+)?$`)

func isPart(name string) bool {
	return partName.MatchString(name) && !strings.HasPrefix(name, "tmp")
}

// maxChecksums bounds what is read of one checksums.txt.
const maxChecksums = 16 << 20

// errOtherFormat is given for a checksums.txt of another version.
var errOtherFormat = errors.New("checksums.txt is of a version that is not known here")

// checkPart compares a part's files with what the library meant to write. It
// gives fs.ErrNotExist where the part is gone.
func checkPart(dir string) error {
	b, err := os.ReadFile(filepath.Join(dir, "checksums.txt"))
	if err != nil {
		return err
	}
	want, err := parseChecksums(b)
	if errors.Is(err, errOtherFormat) {
		return err
	}
	if err != nil {
		return fmt.Errorf("part %s: checksums.txt of %d bytes: %w", dir, len(b), err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		st, err := e.Info()
		if err != nil {
			return err
		}
		// A few small files are in no list; none of them is ever empty.
		if size, listed := want[e.Name()]; st.Mode().IsRegular() && (listed && st.Size() != size || !listed && st.Size() == 0) {
			return fmt.Errorf("part %s: %s has %d bytes, not the %d that were to be written", dir, e.Name(), st.Size(), size)
		}
		delete(want, e.Name())
	}
	for name := range want {
		if _, err := os.Lstat(dir); err != nil {
			return err
		}
		return fmt.Errorf("part %s: %s is missing", dir, name)
	}
	return nil
}

// parseChecksums gives the size in bytes of each file that a checksums.txt
// lists.
func parseChecksums(b []byte) (map[string]int64, error) {
	head, body, _ := bytes.Cut(b, []byte("\n"))
	version, ok := bytes.CutPrefix(head, []byte("checksums format version: "))
	if !ok {
		return nil, errors.New("it does not begin as one")
	}
	if string(version) != "4" {
		return nil, fmt.Errorf("%w: %.20q", errOtherFormat, version)
	}
	plain, err := io.ReadAll(io.LimitReader(&frameReader{r: bufio.NewReader(bytes.NewReader(body)), limit: maxChecksums}, maxChecksums))
	if err != nil {
		return nil, err
	}
	r := bytes.NewReader(plain)
	n, err := binary.ReadUvarint(r)
	if err != nil || n > uint64(len(plain)) {
		return nil, errors.New("it has no list")
	}
	sizes := make(map[string]int64, n)
	for range n {
		name, err := readString(r)
		if err != nil {
			return nil, noEOF(err)
		}
		size, err := binary.ReadUvarint(r)
		if err != nil {
			return nil, noEOF(err)
		}
		var rest [17]byte // hash, and whether the content is compressed
		if _, err := io.ReadFull(r, rest[:]); err != nil {
			return nil, noEOF(err)
		}
		if rest[16] != 0 { // size and hash of the content
			if _, err := binary.ReadUvarint(r); err != nil {
				return nil, noEOF(err)
			}
			if _, err := io.ReadFull(r, rest[:16]); err != nil {
				return nil, noEOF(err)
			}
		}
		if !strings.HasSuffix(name, ".proj") { // a projection is a directory
			sizes[name] = int64(size)
		}
	}
	return sizes, nil
}

func readString(r *bytes.Reader) (string, error) {
	n, err := binary.ReadUvarint(r)
	if err != nil {
		return "", err
	}
	if n > uint64(r.Len()) {
		return "", io.ErrUnexpectedEOF
	}
	b := make([]byte, n)
	_, err = io.ReadFull(r, b)
	return string(b), err
}

// newParts checks those parts of a table that are not in known, and gives all
// that there are.
func newParts(table string, entries []fs.DirEntry, known map[string]bool) (map[string]bool, error) {
	now := make(map[string]bool, len(entries))
	for _, e := range entries {
		name := e.Name()
		if !known[name] {
			if !e.IsDir() || !isPart(name) {
				continue
			}
			err := checkPart(filepath.Join(table, name))
			if errors.Is(err, fs.ErrNotExist) {
				if _, err := os.Lstat(filepath.Join(table, name)); errors.Is(err, fs.ErrNotExist) {
					continue // merged and removed meanwhile
				}
			}
			if err != nil && !errors.Is(err, errOtherFormat) {
				return nil, err
			}
		}
		now[name] = true
	}
	return now, nil
}
