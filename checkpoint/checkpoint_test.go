package checkpoint

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// sample fills a checkpoint over several transactions and returns what must be
// read from it.
func sample(t *testing.T, dir string) *State {
	t.Helper()
	db, aside, err := Open(dir)
	if err != nil || aside != "" {
		t.Fatal(err, aside)
	}
	want := &State{Spans: map[uint64]Span{}, Heads: map[[32]byte]Head{}}
	for i := range uint64(6) {
		if err := db.Update(func(tx *Tx) error {
			want.Meta = Meta{Writer: 77, NextFlush: i + 1, DeliveredSeq: 100 * i, EpochSeq: i, Epoch: "boot"}
			s := Span{ID: i + 1, Log: [32]byte{byte(i)}, Kind: KindBackfill, From: i, To: 1000 * (i + 1), Cursor: 500 + i, Frontier: []byte{1, 2, 3}, Delivered: 400 + i, Verified: i}
			want.Spans[s.ID] = s
			want.Heads[s.Log] = Head{Name: "log", Size: i, Raw: []byte("signed")}
			in := Intent{ID: i, First: 100 * i, Next: 100*i + 50, Ranges: []Range{{s.ID, 1, 2}}}
			if i == 5 {
				want.Intents = []Intent{in}
			}
			return errors.Join(tx.PutMeta(want.Meta), tx.PutSpan(s), tx.PutHead(s.Log, want.Heads[s.Log]), tx.PutIntent(in), tx.DeleteIntent(i-1))
		}); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	return want
}

func load(t *testing.T, dir string) *State {
	t.Helper()
	db, err := OpenReadOnly(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	s, err := db.Load()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestRoundTrip(t *testing.T) {
	dir := t.TempDir()
	want := sample(t, dir)
	if got := load(t, dir); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// A transaction is there whole or not at all.
func TestUpdateIsAtomic(t *testing.T) {
	dir := t.TempDir()
	want := sample(t, dir)
	db, _, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *Tx) error {
		if err := errors.Join(tx.PutMeta(Meta{Writer: 1}), tx.PutIntent(Intent{ID: 9}), tx.DeleteSpan(1)); err != nil {
			t.Error(err)
		}
		return errors.New("second thoughts")
	})
	if err == nil || !strings.Contains(err.Error(), "second thoughts") {
		t.Errorf("error: %v", err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if got := load(t, dir); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v", got)
	}
}

func TestDeliveredNeverBack(t *testing.T) {
	dir := t.TempDir()
	want := sample(t, dir)
	db, _, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	s := want.Spans[3]
	s.Delivered--
	if err := db.Update(func(tx *Tx) error { return tx.PutSpan(s) }); err == nil {
		t.Error("the delivered mark moved back")
	}
	for _, verified := range []uint64{s.Verified + 5, 0} { // the second knows less
		if err := db.Update(func(tx *Tx) error { return tx.HaltSpan(3, "it lied", verified) }); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Update(func(tx *Tx) error { return tx.HaltSpan(99, "nobody", 0) }); err != nil {
		t.Fatal(err)
	}
	got, err := db.Load()
	if err != nil {
		t.Fatal(err)
	}
	s = want.Spans[3]
	s.Halted, s.Verified = "it lied", s.Verified+5
	if !reflect.DeepEqual(got.Spans[3], s) || len(got.Spans) != len(want.Spans) {
		t.Errorf("halted: %+v", got.Spans)
	}
}

func TestOneAtATime(t *testing.T) {
	dir := t.TempDir()
	if _, err := OpenReadOnly(dir); !errors.Is(err, ErrNotExist) {
		t.Errorf("without a file: %v", err)
	}
	sample(t, dir)
	db, _, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := Open(dir); !errors.Is(err, ErrInUse) {
		t.Errorf("second writer: %v", err)
	}
	if _, err := OpenReadOnly(dir); !errors.Is(err, ErrInUse) {
		t.Errorf("reader beside a writer: %v", err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	a, err := OpenReadOnly(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	b, err := OpenReadOnly(dir)
	if err != nil {
		t.Fatalf("two readers: %v", err)
	}
	b.Close()
}

// Bytes of a checkpoint are inverted one at a time, all over the file: what is read then
// is what was written, or is said to be damaged and set aside. It is never
// something else, not even an older state, and never a panic.
func TestFlipEveryByte(t *testing.T) {
	dir, err := os.MkdirTemp("/dev/shm", "checkpoint-test-") // thousands of writes: in memory, where there is such a place
	if err != nil {
		dir = t.TempDir()
	}
	defer os.RemoveAll(dir)
	want := sample(t, dir)
	path := filepath.Join(dir, FileName)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	damaged := 0
	try := func(what string, b []byte) {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		db, err := OpenReadOnly(dir)
		if err == nil {
			var got *State
			if got, err = db.Load(); err == nil && !reflect.DeepEqual(got, want) {
				t.Errorf("%s: silently read as %+v", what, got)
			}
			db.Close()
		}
		var bad *DamagedError
		switch {
		case err == nil:
		case errors.As(err, &bad):
			damaged++
		default:
			t.Errorf("%s: %v", what, err)
		}
	}
	step := 3
	if testing.Short() {
		step = 17
	}
	for at := 0; at < len(whole); at += step {
		if at >= 64 && at%4096 >= 64 && bytes.Equal(whole[at:min(at+64, len(whole))], make([]byte, min(64, len(whole)-at))) && at%61 != 0 {
			continue // most of what is empty
		}
		b := bytes.Clone(whole)
		b[at] ^= 0xff
		try(fmt.Sprintf("byte %d", at), b)
		if at%4096 < 96 {
			b[at] = whole[at] ^ 1
			try(fmt.Sprintf("lowest bit of byte %d", at), b)
		}
	}
	if damaged < 300 {
		t.Errorf("%d damages noticed only", damaged)
	}
	for n := 0; n < len(whole); n += 512 {
		try(fmt.Sprintf("cut at %d", n), whole[:n])
	}
}

// A damaged file is set aside whole, and an empty one takes its place.
func TestSetAside(t *testing.T) {
	dir := t.TempDir()
	sample(t, dir)
	path := filepath.Join(dir, FileName)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range b {
		b[i] ^= 0x55
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	var bad *DamagedError
	if _, err := OpenReadOnly(dir); !errors.As(err, &bad) {
		t.Errorf("read-only: %v", err)
	}
	db, aside, err := Open(dir)
	if err != nil || aside == "" {
		t.Fatalf("%v, aside %q", err, aside)
	}
	defer db.Close()
	if kept, err := os.ReadFile(aside); err != nil || !bytes.Equal(kept, b) {
		t.Errorf("kept %d bytes, %v", len(kept), err)
	}
	if s, err := db.Load(); err != nil || s.Meta != (Meta{}) || len(s.Spans) != 0 {
		t.Errorf("%+v, %v", s, err)
	}
}

// A file that was not finished when the process died is no checkpoint.
func TestUnfinishedCreation(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, FileName+".new"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenReadOnly(dir); !errors.Is(err, ErrNotExist) {
		t.Errorf("reading: %v", err)
	}
	db, aside, err := Open(dir)
	if err != nil || aside != "" {
		t.Fatal(err, aside)
	}
	db.Close()
	if _, err := os.Stat(filepath.Join(dir, FileName+".new")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the unfinished file is still there: %v", err)
	}
}
