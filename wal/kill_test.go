package wal

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

const crashDirEnv = "WAL_CRASH_DIR"

// TestMain turns the test binary into the victim of TestKill9.
func TestMain(m *testing.M) {
	if dir := os.Getenv(crashDirEnv); dir != "" {
		appendForever(dir) // ends by being killed
	}
	os.Exit(m.Run())
}

var victimOptions = Options{SegmentSize: 64 << 10, Budget: 1 << 20}

// victimPayload depends on nothing but seq, so that the parent can check it.
func victimPayload(seq uint64) []byte {
	return bytes.Repeat(fmt.Appendf(nil, "%d;", seq), int(seq%500))
}

// appendForever appends from four goroutines, each with a stream of its own,
// and prints what was acknowledged, after it was.
func appendForever(dir string) {
	l, err := Open(dir, victimOptions)
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for stream := range uint64(4) {
		wg.Go(func() {
			n := 0
			fmt.Sscan(string(l.States()[stream]), &n)
			for {
				n++
				seq, err := l.Append(bg, stream, fmt.Append(nil, n), victimPayload(uint64(n)))
				mu.Lock()
				if err != nil {
					fmt.Println("error", err)
					os.Exit(1)
				}
				fmt.Println("acked", seq, stream, n)
				mu.Unlock()
				if n%97 == 0 {
					before := max(seq, 400) - 400
					mu.Lock()
					fmt.Println("trim", before)
					mu.Unlock()
					if err := l.Trim(before); err != nil {
						mu.Lock()
						fmt.Println("error", err)
						os.Exit(1)
					}
				}
			}
		})
	}
	wg.Wait()
}

// TestKill9 kills a process that appends, several lives in a row in one
// directory: all that was acknowledged is there, no number twice, and each
// stream has no gap.
func TestKill9(t *testing.T) {
	if testing.Short() {
		t.Skip("kills processes for a second or two")
	}
	dir := t.TempDir()
	type ack struct{ seq, stream, n uint64 }
	var acks []ack
	var trimmed uint64
	lives := 8
	for range lives {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), crashDirEnv+"="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		kill := time.AfterFunc(time.Duration(50+rand.IntN(150))*time.Millisecond, func() { cmd.Process.Kill() })
		r := bufio.NewReader(out)
		for {
			line, err := r.ReadString('\n')
			if err == io.EOF {
				break // a line without its end was cut off: not a promise
			}
			if err != nil {
				t.Fatal(err)
			}
			var a ack
			var before uint64
			if _, err := fmt.Sscanf(line, "acked %d %d %d", &a.seq, &a.stream, &a.n); err == nil {
				acks = append(acks, a)
			} else if _, err := fmt.Sscanf(line, "trim %d", &before); err == nil {
				trimmed = max(trimmed, before)
			} else {
				t.Fatalf("the victim says: %s", strings.TrimSpace(line))
			}
		}
		cmd.Wait()
		kill.Stop()

		if err := Verify(dir, func(SegmentReport) error { return nil }); err != nil {
			t.Fatal(err)
		}
		l, err := Open(dir, victimOptions)
		if err != nil {
			t.Fatal(err)
		}
		recs := map[uint64]Record{}
		newest := map[uint64]uint64{}
		for _, rec := range all(t, l, 0) {
			recs[rec.Seq] = rec
			var n uint64
			fmt.Sscan(string(rec.State), &n)
			if !bytes.Equal(rec.Payload, victimPayload(n)) {
				t.Fatalf("record %d has another payload", rec.Seq)
			}
			if last, ok := newest[rec.Stream]; ok && n != last+1 {
				t.Fatalf("stream %d goes from %d to %d at record %d", rec.Stream, last, n, rec.Seq)
			}
			newest[rec.Stream] = n
		}
		seen := map[uint64]bool{}
		for _, a := range acks {
			if seen[a.seq] {
				t.Fatalf("number %d was given twice", a.seq)
			}
			seen[a.seq] = true
			if a.seq < trimmed {
				continue
			}
			rec, ok := recs[a.seq]
			if !ok || rec.Stream != a.stream || string(rec.State) != fmt.Sprint(a.n) {
				t.Fatalf("record %d was acknowledged and is lost", a.seq)
			}
		}
		for stream, n := range newest {
			if string(l.States()[stream]) != fmt.Sprint(n) {
				t.Fatalf("state of stream %d is %s, its last record says %d", stream, l.States()[stream], n)
			}
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if len(acks) < lives {
		t.Fatalf("only %d acknowledgements in %d lives: the test shows nothing", len(acks), lives)
	}
	t.Logf("%d lives, %d acknowledged, 0 lost", lives, len(acks))
}
