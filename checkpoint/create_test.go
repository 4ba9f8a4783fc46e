package checkpoint

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ctappliance/internal/durable"
)

// watched is the real file system; it keeps the order of what is done.
type watched struct {
	durable.OS
	ops []string
}

func (w *watched) Rename(from, to string) error {
	w.ops = append(w.ops, "rename "+filepath.Base(from)+" "+filepath.Base(to))
	return w.OS.Rename(from, to)
}

func (w *watched) SyncDir(name string) error {
	w.ops = append(w.ops, "syncdir")
	return w.OS.SyncDir(name)
}

// A new checkpoint is whole before it has its name, and the name is durable;
// and bbolt syncs every transaction, which is its own to test, but ours to ask
// for.
func TestCreationIsDurable(t *testing.T) {
	dir := t.TempDir()
	w := &watched{}
	if err := create(w, dir, filepath.Join(dir, FileName)); err != nil {
		t.Fatal(err)
	}
	if want := []string{"rename " + FileName + ".new " + FileName, "syncdir"}; !slices.Equal(w.ops, want) {
		t.Errorf("operations %q, want %q", w.ops, want)
	}
	db, aside, err := Open(dir)
	if err != nil || aside != "" {
		t.Fatal(err, aside)
	}
	defer db.Close()
	if db.db.NoSync || db.db.NoGrowSync || db.db.NoFreelistSync {
		t.Error("bbolt is told not to sync")
	}
}

// A checkpoint whose values are whole, one by one, but are not all of them, or
// not together what was written, is damaged.
func TestSealed(t *testing.T) {
	for what, change := range map[string]func(*Tx) error{
		"a span is gone":         func(tx *Tx) error { return tx.DeleteSpan(1) },
		"an intent is gone":      func(tx *Tx) error { return tx.DeleteIntent(5) },
		"a value of another day": func(tx *Tx) error { return tx.PutMeta(Meta{Writer: 77, NextFlush: 1}) },
		"the seal is gone":       func(tx *Tx) error { return tx.tx.Bucket(bucketMeta).Delete(keySeal) },
		"a value under another key": func(tx *Tx) error {
			spans := tx.tx.Bucket(bucketSpans)
			v := append([]byte{}, spans.Get(key(6))...)
			return errors.Join(spans.Delete(key(6)), spans.Put(key(7), v))
		},
		"a value is not what its checksum says": func(tx *Tx) error {
			spans := tx.tx.Bucket(bucketSpans)
			v := append([]byte{}, spans.Get(key(6))...)
			v[len(v)-2] ^= 1
			return errors.Join(spans.Put(key(6), v), tx.tx.Bucket(bucketMeta).Put(keySeal, sealOf(tx.tx)))
		},
		"a log without a name": func(tx *Tx) error {
			return errors.Join(tx.put(bucketHeads, []byte("short"), Head{}), tx.tx.Bucket(bucketMeta).Put(keySeal, sealOf(tx.tx)))
		},
		"a bucket is gone": func(tx *Tx) error { return tx.tx.DeleteBucket(bucketHeads) },
	} {
		dir := t.TempDir()
		sample(t, dir)
		db, _, err := Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		tx, err := db.db.Begin(true)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(change(&Tx{tx}), tx.Commit(), db.Close()); err != nil {
			t.Fatal(err)
		}
		var damaged *DamagedError
		if _, err := OpenReadOnly(dir); !errors.As(err, &damaged) || strings.Contains(damaged.Reason, "runtime error") {
			t.Errorf("%s: %v", what, err) // a panic that was caught is no reason
		}
		db, aside, err := Open(dir)
		if err != nil || aside == "" {
			t.Errorf("%s: %v, aside %q", what, err, aside)
		}
		db.Close()
		if _, err := os.Stat(aside); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}
