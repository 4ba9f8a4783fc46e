package crashfs_test

import (
	"bytes"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"strings"
	"syscall"
	"testing"

	"ctappliance/internal/crashfs"
	"ctappliance/internal/durable"
)

func rng(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0)) }

func create(t *testing.T, f *crashfs.FS, name string, data []byte) durable.File {
	t.Helper()
	h, err := durable.Create(f, name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.WriteAt(data, 0); err != nil {
		t.Fatal(err)
	}
	return h
}

// TestCoinToss: over many crashes, what was not synced is sometimes there and
// sometimes not, block by block and name by name; what was synced always is.
func TestCoinToss(t *testing.T) {
	f := crashfs.New()
	old, now := bytes.Repeat([]byte("o"), 2048), bytes.Repeat([]byte("n"), 2048)
	h := create(t, f, "synced", old)
	if err := errors.Join(h.Sync(), f.SyncDir(".")); err != nil {
		t.Fatal(err)
	}
	if _, err := h.WriteAt(now, 0); err != nil {
		t.Fatal(err)
	}
	if err := create(t, f, "new", now).Sync(); err != nil {
		t.Fatal(err)
	}
	if err := f.Rename("synced", "moved"); err != nil {
		t.Fatal(err)
	}
	found := map[string]int{}
	for seed := range uint64(200) {
		c := f.Crash(rng(seed))
		names := ""
		for _, name := range []string{"synced", "moved", "new"} {
			b, err := c.ReadFile(name)
			if err != nil {
				continue
			}
			names += name + " "
			if len(b) != 2048 {
				t.Fatalf("%s has %d bytes", name, len(b))
			}
			pattern := ""
			for i := 0; i < len(b); i += 512 {
				if bytes.Count(b[i:i+512], b[i:i+1]) != 512 {
					t.Fatalf("a block of %s is torn", name)
				}
				pattern += string(b[i])
			}
			if name == "new" && pattern != "nnnn" {
				t.Fatalf("synced data of %s are lost: %s", name, pattern)
			}
			if name != "new" {
				found[pattern]++
			}
		}
		found[names]++
	}
	if len(found) != 16+8 {
		t.Errorf("%d outcomes were seen, want 16 of the blocks and 8 of the names: %v", len(found), found)
	}
	if b, err := f.ReadFile("moved"); err != nil || !bytes.Equal(b, now) {
		t.Error("the file system itself was harmed by the crash")
	}
}

// TestSameSeedSameCrash: a failure can be had again.
func TestSameSeedSameCrash(t *testing.T) {
	f := crashfs.New()
	for _, name := range []string{"a", "b", "c", "d"} {
		create(t, f, name, bytes.Repeat([]byte(name), 5000))
	}
	list := func(c *crashfs.FS) (s string) {
		for _, name := range []string{"a", "b", "c", "d"} {
			b, _ := c.ReadFile(name)
			s += string(b) + "|"
		}
		return s
	}
	for seed := range uint64(20) {
		if once, again := list(f.Crash(rng(seed))), list(f.Crash(rng(seed))); once != again {
			t.Fatalf("seed %d crashes in two ways", seed)
		}
	}
}

// TestFailedSync: the sync after one that failed succeeds, and does nothing
// for what was written before.
func TestFailedSync(t *testing.T) {
	lost := 0
	for seed := range uint64(20) {
		f := crashfs.New()
		h := create(t, f, "f", make([]byte, 512))
		if err := errors.Join(h.Sync(), f.SyncDir(".")); err != nil {
			t.Fatal(err)
		}
		h.WriteAt([]byte("x"), 0)
		f.FailNth(f.Ops()+1, crashfs.NotDone, syscall.EIO)
		if err := h.Sync(); !errors.Is(err, syscall.EIO) {
			t.Fatalf("Sync: %v", err)
		}
		if err := h.Sync(); err != nil {
			t.Fatalf("the second Sync: %v", err)
		}
		if b, _ := f.Crash(rng(seed)).ReadFile("f"); b[0] != 'x' {
			lost++
		}
	}
	if lost == 0 || lost == 20 {
		t.Errorf("lost %d times of 20, want a coin's toss", lost)
	}
}

func TestOutcomes(t *testing.T) {
	for _, c := range []struct {
		how  crashfs.Outcome
		want string
	}{
		{crashfs.NotDone, "\x00\x00\x00\x00"},
		{crashfs.DoneFailed, "abcd"},
		{crashfs.HalfDone, "ab\x00\x00"},
	} {
		f := crashfs.New()
		h := create(t, f, "f", make([]byte, 4))
		f.FailNth(f.Ops()+1, c.how, nil)
		if _, err := h.WriteAt([]byte("abcd"), 0); !errors.Is(err, crashfs.ErrInjected) {
			t.Errorf("outcome %d: %v", c.how, err)
		}
		if b, _ := f.ReadFile("f"); string(b) != c.want {
			t.Errorf("outcome %d leaves %q, want %q", c.how, b, c.want)
		}
		f.FailAfter(f.Ops(), nil)
		if err := f.Remove("f"); err == nil {
			t.Error("the disk is gone, and works")
		}
	}
}

func TestCapacity(t *testing.T) {
	f := crashfs.New()
	f.SetCapacity(1000)
	h := create(t, f, "f", make([]byte, 600))
	if n, _ := f.Free("."); n != 400 {
		t.Errorf("Free: %d", n)
	}
	if _, err := h.WriteAt(make([]byte, 600), 401); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("writing too much: %v", err)
	}
	if _, err := h.WriteAt(make([]byte, 600), 0); err != nil {
		t.Errorf("overwriting: %v", err)
	}
	if err := f.Preallocate(h, 1001); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("preallocating too much: %v", err)
	}
	if err := h.Truncate(10); err != nil || f.Used() != 10 {
		t.Errorf("truncating: %v, %d bytes used", err, f.Used())
	}
}

func TestFileRules(t *testing.T) {
	f := crashfs.New()
	if _, err := durable.Open(f, "f"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("opening nothing: %v", err)
	}
	h := create(t, f, "f", []byte("abc"))
	r, err := durable.Open(f, "f")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Write([]byte("x")); !errors.Is(err, syscall.EBADF) {
		t.Errorf("writing to what is open for reading: %v", err)
	}
	if err := f.Remove("f"); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 3)
	if _, err := r.ReadAt(b, 0); err != nil || string(b) != "abc" {
		t.Errorf("a removed file that is open: %q, %v", b, err)
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	if err := h.Sync(); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("syncing a closed file: %v", err)
	}
	w, err := f.OpenFile("g", os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := w.Write([]byte("hi")); err != nil {
			t.Fatal(err)
		}
	}
	if b, _ := f.ReadFile("g"); string(b) != "hihi" {
		t.Errorf("appended %q", b)
	}
	unlock, err := f.Lock("L")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Lock("L"); err == nil {
		t.Error("locked twice")
	}
	unlock()
	if _, err := f.Lock("L"); err != nil {
		t.Errorf("locking again: %v", err)
	}
	if tr := f.Trace(); !strings.HasPrefix(tr, "create f\nwrite f 0+3\nwrite f error\nremove f\n") && !strings.Contains(tr, "remove f\n") {
		t.Errorf("trace:\n%s", tr)
	}
}
