package wal

import (
	"flag"
	"os"
	"syscall"
	"testing"

	"ctappliance/internal/crashfs"
)

var update = flag.Bool("update", false, "write the golden files anew")

// errFullForTest is what a disk without space says.
var errFullForTest = syscall.ENOSPC

// TestTrace pins the order of the operations on the disk, which is the design.
// A sync that goes missing is a line that goes missing here.
func TestTrace(t *testing.T) {
	fs := crashfs.New()
	o := Options{SegmentSize: 4 << 10}
	l := open(t, fs, o)
	for range 3 { // the second one needs a new segment
		if _, err := l.Append(bg, 1, []byte("state"), make([]byte, 2000)); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Trim(2); err != nil {
		t.Fatal(err)
	}
	l.Close()
	open(t, fs, o).Close() // starts a segment
	open(t, fs, o).Close() // replaces it

	const golden = "testdata/trace.txt"
	if *update {
		if err := os.WriteFile(golden, []byte(fs.Trace()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got := fs.Trace(); got != string(want) {
		t.Errorf("the operations changed (go test -run TestTrace -update, then read the diff); got:\n%s\nwant:\n%s", got, want)
	}
}
