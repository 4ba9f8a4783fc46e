package ctlog

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strconv"
	"sync"
)

// openZips is how many zips of a set have their directory in memory: a span
// reads one after the other, and several workers stand on both sides of the
// border of two.
const openZips = 3

// zipWidth is the number of data tiles in a zip: 16 Mi entries, one tile of
// level 2 (photocamera-archiver, filippo.io/sunlight).
const zipWidth = 256 * 256

var numberedZip = regexp.MustCompile(`^([0-9]{1,9})\.(?i:zip)$`)

// zipNumber reads the name of a zip that is part of a set: "000.zip".
func zipNumber(name string) (uint64, bool) {
	m := numberedZip.FindStringSubmatch(name)
	if m == nil {
		return 0, false
	}
	n, err := strconv.ParseUint(m[1], 10, 64)
	return n, err == nil
}

// zipSet is one log in one zip or more. Zips whose names are numbers hold the
// part of the log that their number says, and each of them everything that is
// not of a part: head, issuers, the tiles on the tree's right edge. In zips
// with other names everything is looked for.
type zipSet struct {
	open     func(ctx context.Context, class Class, name string) (ranger, error)
	numbered func(n uint64) (name string, ok bool)
	first    string   // where to look first for what is in all of them
	others   []string // zips whose names are no numbers
	width    uint64   // data tiles of a numbered zip

	mu   sync.Mutex
	zips []*openZip // most recently used last
	part map[string][2]uint64
}

// openZip is a zip whose directory has been read, or is being.
type openZip struct {
	name  string
	done  chan struct{}
	index *zipIndex
	r     ranger
	err   error
	users int
	gone  bool // the last user closes it
}

func (s *zipSet) read(ctx context.Context, class Class, path string, limit int64) ([]byte, bool, error) {
	what, ok := parseResource(path)
	if !ok {
		return nil, false, notInArchive("the archive")
	}
	where, opened := "the archive", false
	var missing, broken error
	for _, name := range s.candidates(what) {
		z, err := s.acquire(ctx, class, name)
		if isGone(err) {
			where = "the archive, which has no " + name
			missing = cmp.Or(missing, err)
			continue
		}
		if _, noZip := errors.AsType[*AnswerError](err); noZip {
			broken = cmp.Or(broken, err) // half of a download; another one may do
			continue
		}
		if err != nil {
			return nil, false, err
		}
		opened = true
		e, ok := z.index.find(what)
		if !ok {
			s.release(z)
			where = name
			continue
		}
		body, gz, err := z.index.read(ctx, class, z.r, e, limit)
		s.release(z)
		return body, gz, err
	}
	if broken != nil {
		return nil, false, broken
	}
	if !opened && missing != nil && what.meta != "" {
		// Not an archive that lacks something, but none at all.
		return nil, false, answerErrorf("archive", "%s is not there: %v", quote(s.first), missing)
	}
	return nil, false, notInArchive(where)
}

// notInArchive says in which file of the archive something should have been.
func notInArchive(where string) error {
	return fmt.Errorf("it is not in %s: %w", where, fs.ErrNotExist)
}

// candidates are the zips that may hold a resource, best first.
func (s *zipSet) candidates(what resource) (names []string) {
	add := func(name string, ok bool) {
		if ok && name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	k := what.tile
	part := -1
	switch {
	case k == 0:
	case k.level() == 0 || k.level() == dataLevel:
		part = int(k.n() / s.width)
	case k.level() == 1:
		part = int(k.n() * 256 / s.width)
	case k.level() == 2:
		part = int(k.n() * 256 * 256 / s.width)
	}
	if part >= 0 {
		add(s.numbered(uint64(part)))
	}
	if part < 0 || k.width() < tileWidth {
		s.mu.Lock()
		for _, z := range slices.Backward(s.zips) {
			add(z.name, true)
		}
		s.mu.Unlock()
		add(s.first, true)
	}
	for _, name := range s.others {
		s.mu.Lock()
		p, known := s.part[name]
		s.mu.Unlock()
		// A zip that was looked into need not be opened again for nothing.
		add(name, !known || k.level() != dataLevel || p[0] <= k.n() && k.n() <= p[1])
	}
	return names
}

// acquire returns an open zip; release gives it back.
func (s *zipSet) acquire(ctx context.Context, class Class, name string) (*openZip, error) {
	for {
		s.mu.Lock()
		i := slices.IndexFunc(s.zips, func(z *openZip) bool { return z.name == name })
		var z *openZip
		mine := i < 0
		if mine {
			z = &openZip{name: name, done: make(chan struct{})}
		} else {
			z = s.zips[i]
			s.zips = slices.Delete(s.zips, i, i+1)
		}
		z.users++
		s.zips = append(s.zips, z)
		for len(s.zips) > openZips {
			s.dropLocked(s.zips[0])
		}
		s.mu.Unlock()
		if mine {
			s.load(ctx, class, z)
		}
		select {
		case <-z.done:
		case <-ctx.Done():
			s.release(z)
			return nil, ctx.Err()
		}
		if z.err == nil && !z.r.stale() {
			return z, nil
		}
		err := z.err
		s.mu.Lock()
		s.dropLocked(z)
		s.mu.Unlock()
		s.release(z)
		if mine && err != nil {
			return nil, err
		}
		// It changed, or the one who opened it had no luck of its own.
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
}

func (s *zipSet) load(ctx context.Context, class Class, z *openZip) {
	defer close(z.done)
	if z.r, z.err = s.open(ctx, class, z.name); z.err != nil {
		return
	}
	if z.index, z.err = readZip(ctx, class, z.name, z.r); z.err != nil {
		return
	}
	if first, last, ok := z.index.dataTiles(); ok {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.part[z.name] = [2]uint64{first, last}
	}
}

func (s *zipSet) release(z *openZip) {
	s.mu.Lock()
	defer s.mu.Unlock()
	z.users--
	z.closeIfUnused()
}

func (s *zipSet) dropLocked(z *openZip) {
	s.zips = slices.DeleteFunc(s.zips, func(o *openZip) bool { return o == z })
	z.gone = true
	z.closeIfUnused()
}

func (z *openZip) closeIfUnused() {
	if z.gone && z.users == 0 && z.r != nil {
		z.r.close()
		z.r = nil
	}
}
