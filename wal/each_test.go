package wal

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// eachOf returns what Each finds.
func eachOf(t *testing.T, dir string) (recs []Record, damage *CorruptError) {
	t.Helper()
	err := Each(dir, func(r Record) error {
		recs = append(recs, r)
		return nil
	})
	if err != nil && !errors.As(err, &damage) {
		t.Fatal(err)
	}
	return recs, damage
}

// TestEachBesideWriter reads a log again and again while it is written: every
// reading holds all that was durable before it, as it was, and no damage.
func TestEachBesideWriter(t *testing.T) {
	dir := t.TempDir()
	l, err := Open(dir, Options{SegmentSize: 16 << 10})
	if err != nil {
		t.Fatal(err)
	}
	payload := func(seq uint64) []byte { return bytes.Repeat([]byte{byte(seq)}, int(seq*37%900)) }
	const total = 600
	done := make(chan error, 1)
	go func() {
		for next := l.Next(); next <= total; next++ {
			if _, err := l.Append(bg, next%3, fmt.Appendf(nil, "s%d", next), payload(next)); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	for ended := false; !ended; {
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			ended = true
		default:
		}
		durable := l.Next()
		recs, damage := eachOf(t, dir)
		if damage != nil {
			t.Fatal(damage)
		}
		if uint64(len(recs)) < durable-1 {
			t.Fatalf("found %d records of %d", len(recs), durable-1)
		}
		for i, r := range recs {
			seq := uint64(i + 1)
			if want := (Record{seq, seq % 3, fmt.Appendf(nil, "s%d", seq), payload(seq)}); !sameRecord(r, want) {
				t.Fatalf("record %d came back different: %+v", seq, r)
			}
		}
	}
	before, err := os.ReadDir(dir)
	if err != nil || len(before) < 5 {
		t.Fatalf("%d segments, %v; the test wants several", len(before), err)
	}
	if err := l.Trim(total / 2); err != nil {
		t.Fatal(err)
	}
	if err := l.Forget(bg, 1); err != nil {
		t.Fatal(err)
	}
	recs, damage := eachOf(t, dir)
	if damage != nil || len(recs) == 0 || recs[0].Seq != l.First() || recs[len(recs)-1].Seq != total {
		t.Errorf("after Trim and Forget: %d records from %d, damage %v", len(recs), recs[0].Seq, damage)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	stop := errors.New("enough")
	if err := Each(dir, func(Record) error { return stop }); err != stop {
		t.Errorf("an error of fn comes back as %v", err)
	}
	if err := Each(filepath.Join(dir, "absent"), nil); err == nil {
		t.Error("a log that is not there was read")
	}
}

// TestEachDamage damages bytes of the older segment: what is whole is found as
// it was, and what is not is reported.
func TestEachDamage(t *testing.T) {
	files, names, want := build(t, 8)
	dir := t.TempDir()
	write := func(name string, b []byte) {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, b := range files {
		write(name, b)
	}
	old := files[names[0]]
	missed := 0
	for i := 0; i < len(old); i += 5 {
		b := bytes.Clone(old)
		b[i] ^= 0x41
		write(names[0], b)
		recs, damage := eachOf(t, dir)
		found := map[uint64]Record{}
		for _, r := range recs {
			found[r.Seq] = r
		}
		for _, w := range want {
			r, ok := found[w.Seq]
			switch {
			case ok && !sameRecord(r, w):
				t.Fatalf("byte %d: record %d came back different", i, w.Seq)
			case ok && damage != nil && damage.FirstSeq <= w.Seq && w.Seq < damage.NextSeq:
				t.Errorf("byte %d: record %d is said to be lost: %v", i, w.Seq, damage)
			case !ok && (damage == nil || w.Seq < damage.FirstSeq || w.Seq >= damage.NextSeq):
				t.Errorf("byte %d: record %d is missing, and the damage is %v", i, w.Seq, damage)
			case !ok:
				missed++
			}
		}
	}
	if missed == 0 {
		t.Error("no flip lost a record; the test tries nothing")
	}
}
