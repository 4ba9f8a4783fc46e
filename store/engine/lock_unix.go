//go:build unix

package engine

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// An engine whose parent was killed dies too, but not at once: the kernel gives
// its memory back, and lets the sync that it is in come to its end, which takes
// seconds on a slow disk. An engine whose parent lives is in use.
const (
	lockWait   = 3 * time.Second // for a parent that is about to end
	orphanWait = time.Minute
)

// lockDir takes the directory for this process, for as long as the returned
// file is open. Two engines on one directory would destroy it.
func lockDir(dir string) (*os.File, error) {
	path := filepath.Join(dir, "engine.lock")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("locking engine directory: %w", err)
	}
	pid, parent := 0, 0
	began := time.Now()
	for {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EWOULDBLOCK) {
			break
		}
		pid, parent = holder(f)
		orphan := parent > 0 && errors.Is(unix.Kill(parent, 0), unix.ESRCH)
		if waited := time.Since(began); waited > orphanWait || waited > lockWait && !orphan {
			f.Close()
			return nil, fmt.Errorf("engine directory %s is in use by another engine (process %d); stop that one first", dir, pid)
		}
		time.Sleep(20 * time.Millisecond)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("locking engine directory: %w", err)
	}
	f.Truncate(0)
	fmt.Fprintf(f, "%d %d\n", os.Getpid(), os.Getppid())
	return f, nil
}

// holder reads whose lock it is, and whose child that is; 0 where the file does
// not say.
func holder(f *os.File) (pid, parent int) {
	b := make([]byte, 64)
	n, _ := f.ReadAt(b, 0)
	fmt.Sscan(string(b[:n]), &pid, &parent)
	return pid, parent
}
