package wal

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
)

// Trim deletes the segments all of whose records have a seq below before, but
// never the newest one. A segment with known damage is not deleted but renamed
// to end in ".wal.damaged": it stays as evidence until an operator removes it.
//
// Each removal is durable before the next, so that a crash leaves no hole. A
// reader that is in a deleted segment reads it to its end.
//
// An error that Is ErrFailed ends the log; after any other, Trim may be tried
// again.
func (l *Log) Trim(before uint64) error {
	l.trimMu.Lock()
	defer l.trimMu.Unlock()
	for {
		l.mu.Lock()
		if err := l.errLocked(); err != nil {
			l.mu.Unlock()
			return err
		}
		if len(l.segs) < 2 || l.segs[0].next > before {
			l.mu.Unlock()
			return nil
		}
		s := l.segs[0]
		// Out of the list before out of the directory: a reader that finds
		// it in the list finds its file, or else finds it gone from the list.
		l.segs = l.segs[1:]
		keep := s.damaged || s.bad
		l.mu.Unlock()

		if err := l.drop(s, keep); err != nil {
			l.mu.Lock()
			l.segs = append([]*segment{s}, l.segs...)
			l.mu.Unlock()
			return err
		}
		l.o.Step("wal-trim")
		if err := l.o.FS.SyncDir(l.dir); err != nil {
			return l.fail("syncing the directory after a trim", err)
		}
		select {
		case l.room <- struct{}{}:
		default: // the committer knows already
		}
	}
}

// drop takes away the file of a segment, or sets it aside as evidence.
func (l *Log) drop(s *segment, keep bool) error {
	path := filepath.Join(l.dir, s.name)
	evidence := s.name[:len(s.name)-len(suffix)] + damagedSuffix
	var err error
	if keep {
		err = l.o.FS.Rename(path, filepath.Join(l.dir, evidence))
	} else {
		err = l.o.FS.Remove(path)
	}
	// That it is gone already is what an earlier Trim left us, which got an
	// error although the deed was done.
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("trimming log: %w", err)
	}
	if !keep {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.evidence = append(l.evidence, SegmentInfo{
		Name: evidence, BaseSeq: s.base, NextSeq: s.next, Bytes: s.size, Damaged: true, Trimmed: true,
	})
	l.damage = deleteDamage(l.damage, s.name)
	return nil
}

// deleteDamage returns the damages of other segments.
func deleteDamage(damage []Damage, segment string) []Damage {
	var rest []Damage
	for _, d := range damage {
		if d.Segment != segment {
			rest = append(rest, d)
		}
	}
	return rest
}
