//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// diskFaults fill real file systems, each a small one in memory.
var diskFaults = []fault{
	{"disk full: WAL", true, func(l *lab) { fullDisk(l, "wal", 12<<20, 0) }},
	{"disk full: checkpoint", false, func(l *lab) { fullDisk(l, ".", 4<<20, 0) }},
	{"disk full: engine", true, func(l *lab) { fullDisk(l, "engine", 256<<20, 0) }},
	{"disk nearly full: engine", false, func(l *lab) { fullDisk(l, "engine", 256<<20, 8<<20) }},
	{"disk full: everything", false, func(l *lab) { fullDisk(l, "", 320<<20, 0) }},
}

// mountMemory mounts a file system of so many bytes in memory.
func mountMemory(l *lab, path string, size int64) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		l.t.Fatal(err)
	}
	err := unix.Mount("tmpfs", path, "tmpfs", 0, fmt.Sprintf("size=%d,mode=700", size))
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
		l.t.Skipf("mounting a file system of its own is not allowed here: %v", err)
	}
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { // before the lab's own: the appliance may still have files open there
		if l.app != nil {
			l.app.kill()
		}
		if l.t.Failed() { // what it held is evidence
			if out, err := exec.Command("cp", "-a", path, path+".kept").CombinedOutput(); err != nil {
				l.t.Logf("keeping %s: %v: %s", path, err, out)
			}
		}
		if err := unix.Unmount(path, unix.MNT_DETACH); err != nil {
			l.t.Errorf("unmounting %s: %v", path, err)
		}
	})
}

// filler takes all the space of a file system, again and again until it is
// removed.
type filler struct {
	path string
	size int64
	left int64 // what it leaves free
}

func (f *filler) fill(l *lab) {
	file, err := os.OpenFile(f.path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		l.t.Fatal(err)
	}
	defer file.Close()
	// By pages at last, since what is free changes under us.
	for step := int64(64 << 20); step >= 4096; {
		var fs unix.Statfs_t
		if err := unix.Statfs(f.path, &fs); err != nil {
			l.t.Fatal(err)
		}
		if int64(fs.Bavail)*fs.Bsize-step >= f.left && unix.Fallocate(int(file.Fd()), 0, f.size, step) == nil {
			f.size += step
		} else {
			step /= 2
		}
	}
}

func (f *filler) remove(l *lab) {
	if err := os.Remove(f.path); err != nil {
		l.t.Fatal(err)
	}
}

// fullDisk gives a part of the data directory a file system of its own, fills
// it while the appliance works, and empties it again. The appliance must say
// so, do nothing wrong, live on, and go on by itself. Part "" is all of the
// directory; "." what lies in it directly. What is left is free all the time.
func fullDisk(l *lab, part string, size, left int64) {
	l.adjust = func(c map[string]any) { c["wal"] = map[string]any{"segment-size": "1MiB", "reserve": "0"} }
	data := filepath.Join(l.dir, "data")
	at := filepath.Join(data, part)
	mountMemory(l, at, size)
	if part == "." {
		mountMemory(l, filepath.Join(data, "wal"), 64<<20)
		mountMemory(l, filepath.Join(data, "engine"), 256<<20)
	}
	l.run()
	l.hasDelivered(labEntries)
	f := &filler{path: filepath.Join(at, "filler"), left: left}
	waits := ""
	filled, grown := 0, 0
	l.await("it says that it waits for space", 20*time.Millisecond, crashPatience, func() bool {
		f.fill(l)
		filled++
		if grown < 40 {
			l.grow(100)
			grown++
		}
		st, ok := l.status()
		if !ok {
			return false
		}
		waits = st.Delivery.Trouble
		if st.WAL.Stalled != "" {
			waits = strings.TrimPrefix(waits+"; WAL: "+st.WAL.Stalled, "; ")
		}
		return fullWords(waits)
	})
	// So does what monitoring asks. A trim may give space for a moment, and the
	// wait end with it, before we take that too.
	level, said := 0, ""
	l.await("status --check says that it waits for space", 20*time.Millisecond, crashPatience, func() bool {
		f.fill(l)
		if grown < 60 {
			l.grow(100)
			grown++
		}
		level, said = l.check()
		return level == 1 && fullWords(said)
	})
	// It stays there, and lives, for as long as there is no space.
	life, before := l.lives, time.Now()
	l.await("time passes", 50*time.Millisecond, crashPatience, func() bool {
		f.fill(l)
		return time.Since(before) > 3*time.Second
	})
	f.remove(l)
	freed := time.Now()
	l.grow(100)
	l.goesOn()
	l.back = time.Since(freed)
	l.settle()
	if l.lives != life {
		l.t.Errorf("it needed %d lives", l.lives)
	}
	l.injected = fmt.Sprintf("%d MiB filled %d times in %v", size>>20, filled, time.Since(before).Round(time.Second))
	l.said = said
}

// fullWords reports whether a text tells an operator that space is short.
func fullWords(text string) bool {
	text = strings.ToLower(text)
	return strings.Contains(text, "space") || strings.Contains(text, "disk full")
}
