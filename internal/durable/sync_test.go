//go:build unix

package durable_test

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"ctappliance/internal/durable"
)

// TestSyncsReachTheKernel: a pipe cannot be synced, and the kernel says so.
// Whoever gets no error did not ask it.
func TestSyncsReachTheKernel(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Skip(err)
	}
	f, err := durable.OS{}.OpenFile(pipe, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close() // open for both, so that opening it again does not wait
	for what, sync := range map[string]func() error{
		"Sync":     f.Sync,
		"SyncData": f.SyncData,
		"SyncDir":  func() error { return durable.OS{}.SyncDir(pipe) },
	} {
		if err := sync(); !errors.Is(err, syscall.EINVAL) && !errors.Is(err, syscall.ENOTSUP) {
			t.Errorf("%s of a pipe: %v", what, err)
		}
	}
}

// TestPreallocatedSpaceIsReserved: the file takes its space at once, a hole
// would meet a full disk later.
func TestPreallocatedSpaceIsReserved(t *testing.T) {
	name := filepath.Join(t.TempDir(), "f")
	f, err := durable.Create(durable.OS{}, name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	const size = 1 << 20
	if err := (durable.OS{}).Preallocate(f, size); err != nil {
		t.Fatal(err)
	}
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Blocks*512 < size {
		t.Errorf("%d of %d bytes are reserved", st.Blocks*512, size)
	}
}
