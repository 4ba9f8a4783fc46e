package wal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
)

func TestAppendReadReopenTrim(t *testing.T) {
	dir := t.TempDir()
	o := Options{SegmentSize: 8 << 10}
	payload := func(seq uint64) []byte { return bytes.Repeat([]byte{byte(seq)}, int(seq*37%3000)) }
	next := uint64(1)
	for life := range 3 {
		l, err := Open(dir, o)
		if err != nil {
			t.Fatal(err)
		}
		if l.Next() != next {
			t.Fatalf("life %d: Next is %d, want %d", life, l.Next(), next)
		}
		for range 20 {
			seq, err := l.Append(context.Background(), next%3, fmt.Appendf(nil, "s%d", next), payload(next))
			if err != nil || seq != next {
				t.Fatalf("Append: %d, %v; want %d", seq, err, next)
			}
			next++
		}
		r := l.Reader(1)
		for seq := uint64(1); seq < next; seq++ {
			rec, err := r.Next()
			if err != nil || rec.Seq != seq || rec.Stream != seq%3 || !bytes.Equal(rec.Payload, payload(seq)) {
				t.Fatalf("Next: %v %d, want %d", err, rec.Seq, seq)
			}
			rec, err = l.Read(seq)
			if err != nil || rec.Seq != seq || string(rec.State) != fmt.Sprintf("s%d", seq) {
				t.Fatalf("Read(%d): %+v %v", seq, rec, err)
			}
		}
		if _, err := r.Next(); err != io.EOF {
			t.Fatalf("at the end: %v", err)
		}
		if _, err := l.Read(next); !errors.Is(err, ErrNotFound) {
			t.Fatalf("Read(%d): %v", next, err)
		}
		if len(l.States()) != 3 {
			t.Fatalf("states: %v", l.States())
		}
		if len(l.Damage()) != 0 {
			t.Fatalf("damage: %+v", l.Damage())
		}
		if err := Verify(dir, func(r SegmentReport) error { return nil }); err != nil {
			t.Fatal(err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	l, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := l.Trim(next - 5); err != nil {
		t.Fatal(err)
	}
	if l.First() < 30 || l.First() > next-5 {
		t.Errorf("First is %d after Trim(%d)", l.First(), next-5)
	}
	if _, err := l.Read(1); !errors.Is(err, ErrNotFound) {
		t.Errorf("Read(1): %v", err)
	}
	r := l.Reader(1)
	if _, err := r.Next(); !errors.Is(err, ErrNotFound) {
		t.Errorf("Next: %v", err)
	}
	if rec, err := r.Next(); err != nil || rec.Seq != l.First() {
		t.Errorf("Next: %+v %v", rec, err)
	}
}
