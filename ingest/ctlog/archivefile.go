package ctlog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// maxZips bounds the zips of one archive; its makers stop at a thousand.
const maxZips = 10_000

// isArchiveURL reports whether a URL is an archive's by its looks: a file, or
// a zip.
func isArchiveURL(raw string) bool {
	return isFileURL(raw) || isZipName(strings.TrimRight(raw, "/"))
}

// IsFileURL reports whether a URL is a file:, and what is wrong with it if it
// is one that New would not read.
func IsFileURL(raw string) (bool, error) {
	if !isFileURL(raw) {
		return false, nil
	}
	_, err := filePath(raw)
	return true, err
}

func isFileURL(raw string) bool { return len(raw) >= 5 && strings.EqualFold(raw[:5], "file:") }

func isZipName(name string) bool {
	return len(name) > 4 && strings.EqualFold(name[len(name)-4:], ".zip")
}

// filePath returns the path that a file: URL names.
func filePath(raw string) (string, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return "", fmt.Errorf("archive %s is not a URL", quote(raw))
	}
	switch {
	case u.Host != "" && u.Host != "localhost":
		return "", fmt.Errorf("archive %s is on another host; write file:///path with three slashes", quote(raw))
	case u.Opaque != "" || !strings.HasPrefix(u.Path, "/"):
		return "", fmt.Errorf("archive %s is not an absolute path; write file:///path", quote(raw))
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || u.User != nil:
		return "", fmt.Errorf("archive %s must not hold a query, a fragment or a user; write ? and # as %%3F and %%23", quote(raw))
	case strings.ContainsRune(u.Path, 0):
		return "", fmt.Errorf("archive %s is not a path", quote(raw))
	}
	return filepath.Clean(filepath.FromSlash(u.Path)), nil
}

// openFiles opens an archive on disk: a tile directory, a directory of zips,
// or one zip. Nothing outside of the directory is read, wherever symbolic
// links and names point.
func openFiles(path string) (files, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("archive %s: %w", quote(path), pathReason(err))
	}
	dir, only := path, ""
	if !st.IsDir() {
		if !isZipName(path) || !st.Mode().IsRegular() {
			return nil, fmt.Errorf("archive %s is neither a directory nor a .zip file", quote(path))
		}
		dir, only = filepath.Split(path)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("archive %s: %w", quote(path), pathReason(err))
	}
	d := &dirFiles{root}
	if st, err := root.Stat("tile"); only == "" && err == nil && st.IsDir() {
		return d, nil
	}
	names, err := d.zips()
	if err != nil {
		return nil, fmt.Errorf("archive %s: %w", quote(path), err)
	}
	if _, numbered := zipNumber(only); only != "" && !numbered {
		names = []string{only}
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("archive %s holds neither a folder tile nor zip files; name the directory that does", quote(path))
	}
	return either{localZips(root, names, only), d}, nil
}

// localZips is the set of the zips called names. A zip with a number for a
// name stands for all of them.
func localZips(root *os.Root, names []string, first string) *zipSet {
	byNumber := map[uint64]string{}
	s := &zipSet{first: first, width: zipWidth, part: map[string][2]uint64{}}
	for _, name := range names {
		if n, ok := zipNumber(name); ok {
			byNumber[n] = name
			if s.first == "" {
				s.first = name
			}
		} else {
			s.others = append(s.others, name)
		}
	}
	if s.first == "" {
		s.first = names[0]
	}
	s.numbered = func(n uint64) (string, bool) {
		name, ok := byNumber[n]
		if !ok && len(s.others) == 0 {
			name = fmt.Sprintf("%03d.zip", n) // to be missed by name
		}
		return name, name != ""
	}
	s.open = func(_ context.Context, _ Class, name string) (ranger, error) {
		f, err := openRegular(root, name)
		if err != nil {
			return nil, err
		}
		return newLocalFile(f)
	}
	return s
}

// dirFiles is a tile directory.
type dirFiles struct{ root *os.Root }

// zips lists the zip files, sorted.
func (d *dirFiles) zips() ([]string, error) {
	f, err := d.root.Open(".")
	if err != nil {
		return nil, pathReason(err)
	}
	defer f.Close()
	var names []string
	for {
		part, err := f.Readdirnames(1000)
		for _, name := range part {
			if isZipName(name) {
				names = append(names, name)
			}
		}
		if len(names) > maxZips {
			return nil, fmt.Errorf("holds more than %d zip files", maxZips)
		}
		if err == io.EOF {
			slices.Sort(names)
			return names, nil
		}
		if err != nil {
			return nil, pathReason(err)
		}
	}
}

func (d *dirFiles) read(_ context.Context, _ Class, path string, limit int64) ([]byte, bool, error) {
	if _, ok := parseResource(path); !ok {
		return nil, false, notInArchive("the archive")
	}
	f, err := openRegular(d.root, filepath.FromSlash(path))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false, notInArchive("the archive's directory")
	}
	if err != nil {
		return nil, false, err
	}
	defer f.Close()
	body, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, false, pathReason(err)
	}
	if int64(len(body)) > limit {
		return nil, false, fmt.Errorf("%w: more than %d bytes", ErrTooLarge, limit)
	}
	return body, bytes.HasPrefix(body, []byte{0x1f, 0x8b}), nil
}

// openRegular opens a file of root that is one: what looks like a pipe would
// keep us waiting.
func openRegular(root *os.Root, name string) (*os.File, error) {
	st, err := root.Stat(name)
	if err != nil {
		return nil, pathReason(err)
	}
	if !st.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a file", quote(name))
	}
	f, err := root.Open(name)
	if err != nil {
		return nil, pathReason(err)
	}
	return f, nil
}

// pathReason is what the operating system says, without the path that our
// caller names. A folder that is a file has nothing in it either.
func pathReason(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	return err
}
