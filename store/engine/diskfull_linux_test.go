package engine_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ctappliance/store/engine"
	"ctappliance/store/engine/enginetest"
)

// small mounts a file system of the given size in bytes; it needs root.
func small(t *testing.T, size int) (dir string) {
	t.Helper()
	dir = t.TempDir()
	err := unix.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", size))
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
		t.Skip(err)
	}
	must(t, err)
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			unix.Unmount(dir, unix.MNT_DETACH)
			t.Errorf("unmounting: %v", err)
		}
	})
	return dir
}

// fill writes a file until the disk is full.
func fill(t *testing.T, file string) {
	t.Helper()
	f, err := os.Create(file)
	must(t, err)
	defer f.Close()
	for _, n := range []int{1 << 20, 4096, 1} {
		for err == nil {
			_, err = f.Write(make([]byte, n))
		}
		if !errors.Is(err, unix.ENOSPC) {
			t.Fatal(err)
		}
		err = nil
	}
}

// TestDiskFull fills the disk under a running engine and under one that starts:
// inserts are refused by an answer, a start in one line, and both go on when
// there is space.
func TestDiskFull(t *testing.T) {
	disk := small(t, 160<<20)
	o := enginetest.Options(t, filepath.Join(disk, "engine"))
	e, err := engine.Start(t.Context(), o)
	must(t, err)
	t.Cleanup(e.Stop)
	schemaTable(t, e, "ledger", "ledger")
	ledgerRows(t, e, "ledger", 0, 1000)
	boot, ballast := e.BootID(), filepath.Join(disk, "ballast")
	fill(t, ballast)
	for i := range 3 {
		status, body, code := call(t, e, nil, fmt.Sprintf("INSERT INTO ct.ledger SELECT 1, 1000 + number, toDateTime64(1700000000, 3, 'UTC'), 'x509', 'ok', substring(SHA256(toString(number)), 1, 16) FROM numbers(%d)", 1000<<i))
		if status == 200 || code == 0 {
			t.Errorf("an insert on a full disk: HTTP %d code %d %s", status, code, body)
		}
		t.Logf("HTTP %d code %d %.200s", status, code, body)
	}
	if n := mustCall(t, e, "SELECT count() FROM ct.ledger"); n != "1000" {
		t.Errorf("%s rows on a full disk", n)
	}
	must(t, os.Remove(ballast))
	ledgerRows(t, e, "ledger", 1000, 1000)
	if n := mustCall(t, e, "SELECT count(), uniqExact(idx) FROM ct.ledger"); n != "2000\t2000" || e.BootID() != boot {
		t.Errorf("%s rows when there is space again, %+v", n, e.Status())
	}

	// A child that starts on a full disk serves what there is. One that has no
	// database yet says what it lacks.
	fill(t, ballast)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	must(t, e.Fence(ctx))
	must(t, e.Wait(ctx))
	if n := mustCall(t, e, "SELECT count(), uniqExact(idx) FROM ct.ledger"); n != "2000\t2000" {
		t.Errorf("%s rows after a start on a full disk", n)
	}
	if status, body, code := call(t, e, nil, "INSERT INTO ct.ledger SELECT 1, 0, toDateTime64(1700000000, 3, 'UTC'), 'x509', 'ok', ''"); status == 200 || code != 243 {
		t.Errorf("an insert on a full disk: HTTP %d code %d %s", status, code, body)
	}
	o.Dir = filepath.Join(disk, "second")
	second, err := engine.Start(ctx, o)
	if err == nil {
		second.Stop()
		t.Error("an engine began on a full disk")
	} else if !strings.Contains(err.Error(), "no space left on device") || strings.Contains(err.Error(), "\n") {
		t.Errorf("%q is not one line that says that the disk is full", err)
	}
	must(t, os.Remove(ballast))
	ledgerRows(t, e, "ledger", 2000, 1000)
	if n := mustCall(t, e, "SELECT count(), uniqExact(idx) FROM ct.ledger"); n != "3000\t3000" {
		t.Errorf("%s rows in the end", n)
	}
}
