package chain

import (
	"crypto/sha256"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"ctappliance/internal/durable"
)

// watched is the real file system; it keeps the order of what is done, and
// lets operations fail.
type watched struct {
	durable.OS
	ops  []string
	fail map[string]error
}

func (w *watched) note(op string) error {
	w.ops = append(w.ops, op)
	return w.fail[op]
}

func (w *watched) OpenFile(name string, flag int, perm fs.FileMode) (durable.File, error) {
	f, err := w.OS.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return &watchedFile{f, w}, nil
}

func (w *watched) SyncDir(name string) error {
	return errors.Join(w.note("syncdir"), w.OS.SyncDir(name))
}

func (w *watched) Rename(from, to string) error {
	return errors.Join(w.note("rename"), w.OS.Rename(from, to))
}

type watchedFile struct {
	durable.File
	w *watched
}

func (f *watchedFile) WriteAt(b []byte, off int64) (int, error) {
	n, err := f.File.WriteAt(b, off)
	return n, errors.Join(f.w.note("write"), err)
}

func (f *watchedFile) Sync() error { return errors.Join(f.w.note("sync"), f.File.Sync()) }

// Certificates are on disk when Add returns, and so is the file's name.
func TestSyncs(t *testing.T) {
	dir := fast(t)
	w := &watched{}
	s, _, err := open(w, dir)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	add(t, s, certs(0, 3))
	add(t, s, certs(0, 3)) // nothing to do
	if want := []string{"syncdir", "write", "sync"}; !slices.Equal(w.ops, want) {
		t.Errorf("operations %v, want %v", w.ops, want)
	}
	s.Close()
	b, err := os.ReadFile(filepath.Join(dir, FileName))
	if err != nil {
		t.Fatal(err)
	}
	b[frameHeader+3] ^= 1 // of the first of three: the file is rewritten
	if err := os.WriteFile(filepath.Join(dir, FileName), b, 0o600); err != nil {
		t.Fatal(err)
	}
	w = &watched{}
	s, aside, err := open(w, dir)
	if err != nil || aside == "" {
		t.Fatal(aside, err)
	}
	defer s.Close()
	if want := []string{"sync", "rename", "syncdir"}; !slices.Equal(w.ops, want) {
		t.Errorf("rewriting: operations %v, want %v", w.ops, want)
	}
}

// A failed sync is final, although the next one would succeed; what it was for
// is not there. A full disk is not final: the certificates come back.
func TestSyncFails(t *testing.T) {
	w := &watched{fail: map[string]error{}}
	s, _, err := open(w, fast(t))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	w.fail["write"] = syscall.ENOSPC
	left, err := s.Add(Hash{1}, certs(0, 3))
	if err != nil || len(left) != 3 || s.Len() != 0 {
		t.Errorf("on a full disk: %d left, %d stored, %v", len(left), s.Len(), err)
	}
	delete(w.fail, "write")
	add(t, s, certs(0, 3))
	w.fail["sync"] = syscall.EIO
	if _, err := s.Add(Hash{1}, certs(3, 4)); !errors.Is(err, syscall.EIO) {
		t.Errorf("Add without a sync: %v", err)
	}
	delete(w.fail, "sync")
	if _, err := s.Add(Hash{1}, certs(4, 5)); !errors.Is(err, syscall.EIO) {
		t.Errorf("Add after that: %v", err)
	}
	if s.Has(sha256.Sum256(der(3))) || s.Len() != 3 {
		t.Errorf("%d certificates, of which 3 were synced", s.Len())
	}
}

// A certificate that is not what its name says is not handed out, also where
// the file changed behind our back.
func TestGetChecks(t *testing.T) {
	dir := fast(t)
	s, _ := openStore(t, dir)
	add(t, s, certs(0, 1))
	if _, err := s.file.WriteAt([]byte{9}, frameHeader+3); err != nil {
		t.Fatal(err)
	}
	if der, err := s.Get(sha256.Sum256(der(0))); err == nil {
		t.Errorf("%x", der)
	}
}
