package durable_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"ctappliance/internal/crashfs"
	"ctappliance/internal/durable"
)

const lockEnv = "DURABLE_LOCK_FILE"

// TestMain turns the test binary into a process that takes a lock, says so,
// and waits for its standard input to end.
func TestMain(m *testing.M) {
	if path := os.Getenv(lockEnv); path != "" {
		if _, err := durable.Lock(path); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println("locked")
		os.Stdin.Read(make([]byte, 1))
		os.Exit(0) // without unlocking
	}
	os.Exit(m.Run())
}

func TestLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "LOCK")
	unlock, err := durable.Lock(path)
	if err != nil {
		t.Fatal(err)
	}
	_, err = durable.Lock(path)
	var le *durable.LockedError
	if !errors.As(err, &le) || le.PID != os.Getpid() || !strings.Contains(err.Error(), fmt.Sprint("process ", os.Getpid())) {
		t.Errorf("locking twice: %v", err)
	}
	if err := unlock(); err != nil {
		t.Fatal(err)
	}
	if unlock, err = durable.Lock(path); err != nil {
		t.Fatalf("locking again: %v", err)
	}
	unlock()
}

// TestLockOfAnotherProcess: the error names the holder, and a holder that
// dies holds nothing.
func TestLockOfAnotherProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "LOCK")
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), lockEnv+"="+path)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 7)
	if _, err := out.Read(b); err != nil || string(b[:6]) != "locked" {
		t.Fatalf("the child says %q, %v", b, err)
	}
	_, err = durable.OS{}.Lock(path)
	var le *durable.LockedError
	if !errors.As(err, &le) || le.PID != cmd.Process.Pid {
		t.Errorf("Lock: %v, want process %d", err, cmd.Process.Pid)
	}
	cmd.Process.Kill()
	cmd.Wait()
	unlock, err := durable.Lock(path)
	if err != nil {
		t.Fatalf("after the holder was killed: %v", err)
	}
	unlock()
}

// TestWriteFileEveryFault: whatever fails, and whenever the power does, the
// file is the old one or the new one; and it is the new one once WriteFile
// returned nil.
func TestWriteFileEveryFault(t *testing.T) {
	old, now := bytes.Repeat([]byte("old "), 500), bytes.Repeat([]byte("newer "), 500)
	prepare := func() *crashfs.FS {
		f := crashfs.New()
		if err := durable.MkdirAll(f, "a/b", 0o700); err != nil {
			t.Fatal(err)
		}
		if err := durable.WriteFile(f, "a/b/file", old, 0o600); err != nil {
			t.Fatal(err)
		}
		return f
	}
	clean := prepare()
	before := clean.Ops()
	if err := durable.WriteFile(clean, "a/b/file", now, 0o600); err != nil {
		t.Fatal(err)
	}
	olds, news := 0, 0
	for n := before + 1; n <= clean.Ops()+1; n++ { // the last one does not fail
		for _, how := range []crashfs.Outcome{crashfs.NotDone, crashfs.DoneFailed, crashfs.HalfDone} {
			for seed := range uint64(20) {
				f := prepare()
				f.FailNth(n, how, nil)
				err := durable.WriteFile(f, "a/b/file", now, 0o600)
				if (err == nil) != (n > clean.Ops()) {
					t.Fatalf("operation %d, outcome %d: error %v", n, how, err)
				}
				got, rerr := f.Crash(rand.New(rand.NewPCG(seed, 1))).ReadFile("a/b/file")
				switch {
				case rerr != nil:
					t.Fatalf("operation %d, outcome %d, seed %d: %v", n, how, seed, rerr)
				case bytes.Equal(got, now):
					news++
				case bytes.Equal(got, old) && err != nil:
					olds++
				default:
					t.Fatalf("operation %d, outcome %d, seed %d: %d bytes that are neither", n, how, seed, len(got))
				}
			}
		}
	}
	if olds == 0 || news == 0 {
		t.Errorf("%d old and %d new files: the test shows nothing", olds, news)
	}
}

// TestMkdirAllIsDurable: all the directories are there after a crash.
func TestMkdirAllIsDurable(t *testing.T) {
	for seed := range uint64(20) {
		f := crashfs.New()
		if err := durable.MkdirAll(f, "a/b/c", 0o700); err != nil {
			t.Fatal(err)
		}
		if info, err := f.Crash(rand.New(rand.NewPCG(seed, 2))).Stat("a/b/c"); err != nil || !info.IsDir() {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
	f := crashfs.New()
	if err := f.WriteFile("file", nil); err != nil {
		t.Fatal(err)
	}
	if err := durable.MkdirAll(f, "file", 0o700); err == nil {
		t.Error("a file passes for a directory")
	}
}

// TestMkdirOfADeadProcess: a directory that another process created, which died
// before it could sync, is durable when MkdirAll returns.
func TestMkdirOfADeadProcess(t *testing.T) {
	for seed := range uint64(20) {
		f := crashfs.New()
		if err := durable.MkdirAll(f, "a", 0o700); err != nil {
			t.Fatal(err)
		}
		if err := f.MkdirAll("a/b", 0o700); err != nil {
			t.Fatal(err)
		}
		if err := durable.MkdirAll(f, "a/b", 0o700); err != nil {
			t.Fatal(err)
		}
		if info, err := f.Crash(rand.New(rand.NewPCG(seed, 3))).Stat("a/b"); err != nil || !info.IsDir() {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
}

// TestOS: the real files do what the interface says.
func TestOS(t *testing.T) {
	dir := t.TempDir()
	var fsys durable.FS = durable.OS{}
	path := filepath.Join(dir, "x", "y")
	if err := durable.MkdirAll(fsys, path, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := durable.MkdirAll(fsys, path, 0o700); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(path, "f")
	f, err := durable.Create(fsys, name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := durable.Create(fsys, name); !errors.Is(err, fs.ErrExist) {
		t.Errorf("creating twice: %v", err)
	}
	if err := fsys.Preallocate(f, 1<<20); err != nil {
		t.Fatal(err)
	}
	if info, err := f.Stat(); err != nil || info.Size() != 1<<20 {
		t.Errorf("preallocated: %v, %v", info, err)
	}
	if _, err := f.WriteAt([]byte("hello"), 4096); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.SyncData(), f.Sync(), f.Close()); err != nil {
		t.Fatal(err)
	}
	if err := fsys.Rename(name, name+"2"); err != nil {
		t.Fatal(err)
	}
	if err := fsys.SyncDir(path); err != nil {
		t.Fatal(err)
	}
	g, err := durable.Open(fsys, name+"2")
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	b := make([]byte, 7)
	if _, err := g.ReadAt(b, 4095); err != nil || string(b) != "\x00hello\x00" {
		t.Errorf("read %q, %v", b, err)
	}
	list, err := fsys.ReadDir(path)
	if err != nil || len(list) != 1 || list[0].Name() != "f2" {
		t.Errorf("ReadDir: %v, %v", list, err)
	}
	if n, err := fsys.Free(path); err != nil || n <= 0 {
		t.Errorf("Free: %d, %v", n, err)
	}
	if _, err := fsys.Free(name); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Free of nothing: %v", err)
	}
	if err := fsys.Remove(name + "2"); err != nil {
		t.Error(err)
	}
	if _, err := fsys.Stat(name + "2"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Stat of nothing: %v", err)
	}
	if err := durable.WriteFile(fsys, name, []byte("data"), 0o600); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(name); err != nil || string(b) != "data" {
		t.Errorf("WriteFile left %q, %v", b, err)
	}
	if err := durable.WriteFile(fsys, filepath.Join(dir, "nowhere", "f"), nil, 0o600); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("WriteFile into nothing: %v", err)
	}
}

// TestDiskFullIsFull: the errors of a full disk are known as such.
func TestDiskFullIsFull(t *testing.T) {
	f := crashfs.New()
	f.SetCapacity(1000)
	err := durable.WriteFile(f, "f", make([]byte, 2000), 0o600)
	if !durable.IsFull(err) {
		t.Errorf("WriteFile: %v", err)
	}
	if f.Used() != 0 {
		t.Errorf("the failure leaves %d bytes behind", f.Used())
	}
	if !durable.IsFull(&fs.PathError{Op: "write", Path: "f", Err: syscall.EDQUOT}) {
		t.Error("an exhausted quota is no full disk")
	}
	if durable.IsFull(fs.ErrNotExist) || durable.IsFull(nil) {
		t.Error("everything passes for a full disk")
	}
}
