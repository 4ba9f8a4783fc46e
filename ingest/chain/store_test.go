package chain

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

// der is something that begins like a certificate.
func der(i int) []byte {
	return append([]byte{0x30, 0x82}, bytes.Repeat([]byte{byte(i), byte(i >> 8), 0x30}, 5+i%7)...)
}

func certs(from, to int) map[Hash][]byte {
	out := map[Hash][]byte{}
	for i := from; i < to; i++ {
		out[sha256.Sum256(der(i))] = der(i)
	}
	return out
}

func openStore(t *testing.T, dir string) (*Store, string) {
	t.Helper()
	s, aside, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s, aside
}

func add(t *testing.T, s *Store, certs map[Hash][]byte) {
	t.Helper()
	if left, err := s.Add(Hash{1}, certs); err != nil || len(left) > 0 {
		t.Fatal(err, len(left))
	}
}

// holds says how many of certs the store has, and fails if one is not what its
// hash says.
func holds(t *testing.T, s *Store, certs map[Hash][]byte) (n int) {
	t.Helper()
	for h, want := range certs {
		got, err := s.Get(h)
		switch {
		case err == nil && bytes.Equal(got, want):
			n++
		case !errors.Is(err, ErrNotFound) || s.Has(h):
			t.Errorf("%x: %d bytes, %v", h[:4], len(got), err)
		}
	}
	return n
}

func TestStoreRemembers(t *testing.T) {
	dir := fast(t)
	s, _ := openStore(t, dir)
	add(t, s, certs(0, 5))
	add(t, s, certs(3, 9)) // again, and new ones
	if s.Len() != 9 || holds(t, s, certs(0, 9)) != 9 {
		t.Errorf("%d certificates", s.Len())
	}
	s.Close()
	size := fileSize(t, dir)
	s, aside := openStore(t, dir)
	if aside != "" || holds(t, s, certs(0, 9)) != 9 {
		t.Errorf("reopened: aside %q", aside)
	}
	add(t, s, certs(0, 9))
	if got := fileSize(t, dir); got != size {
		t.Errorf("known certificates made the file grow from %d to %d", size, got)
	}
	if _, err := s.Get(Hash{1}); !errors.Is(err, ErrNotFound) {
		t.Errorf("unknown: %v", err)
	}
}

func fileSize(t *testing.T, dir string) int64 {
	t.Helper()
	info, err := os.Stat(filepath.Join(dir, FileName))
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// A file that ends anywhere gives all frames before its end, takes new ones,
// and gives both after that.
func TestCutAtEveryByte(t *testing.T) {
	dir := fast(t)
	path := filepath.Join(dir, FileName)
	s, _ := openStore(t, dir)
	var ends []int64
	for i := range 6 {
		add(t, s, certs(i, i+1))
		ends = append(ends, fileSize(t, dir))
	}
	s.Close()
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for n := range len(whole) {
		if err := os.WriteFile(path, whole[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		want := 0
		for want < len(ends) && ends[want] <= int64(n) {
			want++
		}
		s, aside := openStore(t, dir)
		if got := holds(t, s, certs(0, 6)); got != want || aside != "" {
			t.Errorf("cut at %d: %d certificates, want %d, aside %q", n, got, want, aside)
		}
		add(t, s, certs(10, 11))
		s.Close()
		s, aside = openStore(t, dir)
		if got := holds(t, s, certs(0, 6)) + holds(t, s, certs(10, 11)); got != want+1 || aside != "" {
			t.Errorf("cut at %d and added to: %d certificates, want %d, aside %q", n, got, want+1, aside)
		}
		s.Close()
	}
}

// A flipped byte costs the one certificate that it lies in. In the middle it
// is noticed and the file kept.
func TestFlipEveryByte(t *testing.T) {
	dir := fast(t)
	path := filepath.Join(dir, FileName)
	s, _ := openStore(t, dir)
	add(t, s, certs(0, 5))
	before := fileSize(t, dir)
	add(t, s, certs(5, 6))
	s.Close()
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for at := range whole {
		b := bytes.Clone(whole)
		b[at] ^= 0xff
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		ro, err := OpenReadOnly(dir)
		if err != nil {
			t.Fatal(err)
		}
		if got := holds(t, ro, certs(0, 6)); got != 5 {
			t.Errorf("byte %d: a reader found %d certificates", at, got)
		}
		ro.Close()
		s, aside := openStore(t, dir)
		if got := holds(t, s, certs(0, 6)); got != 5 {
			t.Errorf("byte %d: %d certificates", at, got)
		}
		if middle := int64(at) < before; middle != (aside != "") {
			t.Errorf("byte %d: aside %q", at, aside)
		}
		if aside != "" {
			if kept, err := os.ReadFile(aside); err != nil || !bytes.Equal(kept, b) {
				t.Errorf("byte %d: the damaged file was not kept: %v", at, err)
			}
			os.Remove(aside)
		}
		add(t, s, certs(0, 6))
		s.Close()
		s, aside = openStore(t, dir)
		if aside != "" || holds(t, s, certs(0, 6)) != 6 {
			t.Errorf("byte %d: not mended, aside %q", at, aside)
		}
		s.Close()
	}
}

// A log cannot fill the disk with chains: what is beyond its share comes back,
// other logs are not touched by that, and tomorrow is another day.
func TestDailyCap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _, err := Open(fast(t))
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		left, err := s.Add(Hash{1}, certs(0, DailyCap+10))
		if err != nil || len(left) != 10 || s.Len() != DailyCap {
			t.Fatalf("%d left, %d stored, %v", len(left), s.Len(), err)
		}
		if left, err := s.Add(Hash{1}, certs(0, DailyCap)); err != nil || len(left) > 10 {
			t.Errorf("known ones: %d left, %v", len(left), err)
		}
		if left, err := s.Add(Hash{2}, certs(20_000, 20_010)); err != nil || len(left) != 0 {
			t.Errorf("another log: %d left, %v", len(left), err)
		}
		time.Sleep(24 * time.Hour)
		if left, err := s.Add(Hash{1}, certs(0, DailyCap+10)); err != nil || len(left) != 0 {
			t.Errorf("a day later: %d left, %v", len(left), err)
		}
	})
}

func TestOddSizes(t *testing.T) {
	s, _ := openStore(t, fast(t))
	huge := make([]byte, MaxCertificate+1)
	left, err := s.Add(Hash{1}, map[Hash][]byte{sha256.Sum256(nil): {}, sha256.Sum256(huge): huge})
	if err != nil || len(left) != 2 || s.Len() != 0 {
		t.Errorf("%d left, %d stored, %v", len(left), s.Len(), err)
	}
}

// After a failed write nothing is promised any more (I7).
func TestFailureIsFinal(t *testing.T) {
	s, _ := openStore(t, fast(t))
	add(t, s, certs(0, 1))
	s.file.Close()
	for range 2 {
		if _, err := s.Add(Hash{1}, certs(1, 2)); err == nil {
			t.Error("added to a closed file")
		}
	}
	if s.Has(sha256.Sum256(der(1))) {
		t.Error("it has what it could not write")
	}
	ro, err := OpenReadOnly(filepath.Dir(s.path))
	if err != nil {
		t.Fatal(err)
	}
	defer ro.Close()
	if _, err := ro.Add(Hash{1}, certs(1, 2)); err == nil {
		t.Error("added to a store that is open for reading")
	}
}

func FuzzOpen(f *testing.F) {
	dir := fast(f)
	s, _, err := Open(dir)
	if err != nil {
		f.Fatal(err)
	}
	if _, err := s.Add(Hash{1}, certs(0, 3)); err != nil {
		f.Fatal(err)
	}
	s.Close()
	b, err := os.ReadFile(filepath.Join(dir, FileName))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add(b[:len(b)-3])
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0x30})
	f.Fuzz(func(t *testing.T, b []byte) {
		dir := fast(t)
		if err := os.WriteFile(filepath.Join(dir, FileName), b, 0o600); err != nil {
			t.Fatal(err)
		}
		s, _, err := Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		for h := range s.index {
			if got, err := s.Get(h); err != nil || sha256.Sum256(got) != h {
				t.Errorf("%x: %v", h, err)
			}
		}
		if _, err := s.Add(Hash{1}, certs(100, 102)); err != nil {
			t.Fatal(err)
		}
		again, _, err := Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer again.Close()
		if holds(t, again, certs(100, 102)) != 2 || again.Len() < s.Len() {
			t.Error(fmt.Errorf("%d certificates of %d", again.Len(), s.Len()))
		}
	})
}

// fast is TempDir in memory, where there is such a place: these tests sync
// thousands of times.
func fast(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "chain-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// Whatever the clock shows, the evidence of earlier damage is not replaced.
func TestSetAsideKeepsOlderEvidence(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, FileName)
	names := map[string]bool{}
	for i := range 3 {
		s, _, err := Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Add(Hash{1}, certs(10*i, 10*i+10)); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		b[20] ^= 1
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		s, aside, err := Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if kept, err := os.ReadFile(aside); err != nil || !bytes.Equal(kept, b) {
			t.Fatalf("set aside as %s: %v, not what was damaged", aside, err)
		}
		names[aside] = true
	}
	if len(names) != 3 {
		t.Errorf("three damaged files are kept under %d names", len(names))
	}
}
