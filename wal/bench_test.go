package wal

import (
	"os"
	"path/filepath"
	"sync"
	"testing"

	"ctappliance/internal/stagebench"
)

// BenchmarkCommit is a batch of 256 entries, 625 bytes each as tiles have
// them, from the appender to the disk and back. Instead of it: a file that is
// written and synced batch by batch, without checksums, without a way to read
// after a crash what had been acknowledged.
func BenchmarkCommit(b *testing.B) {
	payload := make([]byte, 256*625)
	for i := range payload {
		payload[i] = byte(i * 7)
	}
	state := make([]byte, 1500) // a frontier and what goes with it
	t := stagebench.New(b)
	l, err := Open(b.TempDir(), Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	trim := func(seq uint64) {
		if seq%256 == 0 {
			l.Trim(seq - 1)
		}
	}
	t.Ours("Append", 256, func(int) error {
		seq, err := l.Append(bg, 1, state, payload)
		trim(seq)
		return err
	})
	f, err := os.Create(filepath.Join(b.TempDir(), "file"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	t.Instead("File.WriteAt, Sync", "Append", 256, func(i int) error {
		if _, err := f.WriteAt(payload, int64(i%256)*int64(len(payload))); err != nil {
			return err
		}
		return f.Sync()
	})
	// Eight logs at once share frames and syncs.
	t.Ours("Append of eight at once", 8*256, func(int) error {
		var wg sync.WaitGroup
		var mu sync.Mutex
		var failed error
		for g := range 8 {
			wg.Go(func() {
				seq, err := l.Append(bg, uint64(g), state, payload)
				trim(seq)
				if err != nil {
					mu.Lock()
					failed = err
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		return failed
	})
}
