//go:build linux

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// dataFaults are what people and disks do to a data directory.
var dataFaults = []fault{
	{"checkpoint deleted", false, func(l *lab) { hurtData(l, remove("checkpoint.db")) }},
	{"checkpoint damaged", false, func(l *lab) { hurtData(l, scribble("checkpoint.db")) }},
	{"checkpoint cut short", false, func(l *lab) {
		hurtData(l, func(l *lab, data string) string {
			l.must(os.Truncate(filepath.Join(data, "checkpoint.db"), 9000))
			return "checkpoint.db cut at 9,000 bytes"
		})
	}},
	{"WAL segment deleted in the middle", false, lostSegment},
	{"newest WAL segment damaged", false, func(l *lab) { hurtData(l, scribbleSegment) }},
	{"chain certificates deleted", false, func(l *lab) { hurtData(l, remove("chains.bin")) }},
	{"subtree roots deleted", false, func(l *lab) { hurtData(l, remove("roots")) }},
	{"WAL deleted", false, func(l *lab) { hurtData(l, remove("wal")) }},
	{"all but the engine deleted", false, func(l *lab) { hurtData(l, remove("checkpoint.db", "wal", "chains.bin", "roots")) }},
	{"old checkpoint restored", false, func(l *lab) { restoreData(l, "checkpoint.db") }},
	{"old WAL restored", false, func(l *lab) { restoreData(l, "wal") }},
	{"old engine restored", false, func(l *lab) { restoreData(l, "engine") }},
	{"all but the engine restored", false, func(l *lab) {
		restoreData(l, "checkpoint.db", "wal", "chains.bin", "roots")
	}},
	{"everything restored", false, func(l *lab) { restoreData(l, ".") }},
	{"files of another owner", false, otherOwner},
	{"read-only while it works", false, readOnly},
}

// must ends the row at an error of the test's own doing.
func (l *lab) must(err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatal(err)
	}
}

// killed kills the appliance while it has something to do, and its engine.
func (l *lab) killedAtWork() {
	l.t.Helper()
	at := uint64(0)
	if st, ok := l.status(); ok {
		at = st.Delivery.Rows
	}
	l.grow(1000)
	l.hasDelivered(at + 1)
	l.app.kill()
}

// recovers runs the appliance on what is left and settles.
func (l *lab) recovers() {
	l.t.Helper()
	l.alarms = true
	l.run()
	l.grow(100)
	l.back = l.goesOn()
	l.finish(l.t.Context())
	if st, ok := l.status(); ok {
		l.said = strings.Join(st.Alarms, "; ")
	}
	if l.said == "" {
		l.said = "nothing"
	}
	l.counted = l.count(l.t.Context())
	l.stop()
}

// hurtData kills the appliance at work, damages its files, and has it recover.
func hurtData(l *lab, hurt func(l *lab, data string) string) {
	l.run()
	l.hasDelivered(labEntries)
	l.killedAtWork()
	l.injected = hurt(l, filepath.Join(l.dir, "data"))
	l.recovers()
}

func remove(names ...string) func(*lab, string) string {
	return func(l *lab, data string) string {
		for _, name := range names {
			if _, err := os.Lstat(filepath.Join(data, name)); err != nil {
				l.t.Fatal(err)
			}
			l.must(os.RemoveAll(filepath.Join(data, name)))
		}
		return "deleted: " + strings.Join(names, ", ")
	}
}

// scribble overwrites 64 bytes of every page of a file.
func scribble(name string) func(*lab, string) string {
	return func(l *lab, data string) string {
		f, err := os.OpenFile(filepath.Join(data, name), os.O_RDWR, 0)
		l.must(err)
		defer f.Close()
		info, err := f.Stat()
		l.must(err)
		n := 0
		for at := int64(700); at < info.Size(); at += 4096 {
			_, err := f.WriteAt(make([]byte, 64), at)
			l.must(err)
			n++
		}
		return fmt.Sprintf("%d times 64 bytes of %s set to zero", n, name)
	}
}

// segments are the WAL's, oldest first.
func segments(l *lab, data string) []string {
	all, err := filepath.Glob(filepath.Join(data, "wal", "*.wal"))
	l.must(err)
	if len(all) == 0 {
		l.t.Fatal("there is no WAL")
	}
	return all
}

// lostSegment has the appliance fetch while its store is away, and deletes one
// of the segments that nothing of was delivered.
func lostSegment(l *lab) {
	l.run()
	l.hasDelivered(labEntries)
	l.stop()
	l.env = []string{"CTAPPLIANCE_STORE_DSN=http://127.0.0.1:9/"} // where nobody listens
	l.grow(3000)
	l.run()
	l.await("it has fetched some segments", 20*time.Millisecond, crashPatience, func() bool {
		st, ok := l.status()
		return ok && st.WAL.Segments >= 5
	})
	l.app.kill()
	l.env = nil
	all := segments(l, filepath.Join(l.dir, "data"))
	name := all[len(all)-3]
	l.must(os.Remove(name))
	l.injected = fmt.Sprintf("deleted: %s of %d segments", filepath.Base(name), len(all))
	l.recovers()
	if l.said == "nothing" {
		l.t.Error("nobody was told of the segment that was lost")
	}
}

func scribbleSegment(l *lab, data string) string {
	all := segments(l, data)
	return scribble(filepath.Join("wal", filepath.Base(all[len(all)-1])))(l, data)
}

// restoreData lets the appliance work, stops it, keeps a copy of what names
// says, lets it work on, kills it at work, and puts the copy back.
func restoreData(l *lab, names ...string) {
	l.run()
	l.hasDelivered(labEntries)
	l.stop()
	data, kept := filepath.Join(l.dir, "data"), filepath.Join(l.dir, "kept")
	copyTree := func(from, to string) {
		if out, err := exec.Command("cp", "-a", from, to).CombinedOutput(); err != nil {
			l.t.Fatalf("copying: %v: %s", err, out)
		}
	}
	copyTree(data, kept)
	l.grow(1500)
	l.run()
	l.hasDelivered(1500)
	l.killedAtWork()
	for _, name := range names {
		l.must(os.RemoveAll(filepath.Join(data, name)))
		copyTree(filepath.Join(kept, name), filepath.Join(data, name))
	}
	l.injected = "restored as of an earlier stop: " + strings.Join(names, ", ")
	l.recovers()
}

// nobody is a user that owns nothing.
const nobody = 65534

// fails runs the appliance, which must end with status 1 and one line.
func (l *lab) fails(cmd *exec.Cmd) string {
	l.t.Helper()
	from := l.outSize()
	l.begin(cmd)
	if l.livesOrDies() {
		l.t.Error("it works where it cannot")
		l.app.kill()
	}
	<-l.app.ended
	words := lastLines(l, from)
	if l.app.cmd.ProcessState.ExitCode() != 1 || len(words) != 1 {
		l.t.Errorf("it ended with %v, want status 1 and one line:\n%s", l.app.err, strings.Join(words, "\n"))
	}
	return strings.Join(words, "\n")
}

// otherOwner runs the appliance as a user who does not own all of its files.
func otherOwner(l *lab) {
	if os.Geteuid() != 0 {
		l.t.Skip("needs root, to be another user")
	}
	exe := filepath.Join(l.dir, "ctappliance")
	program, err := os.ReadFile(l.exe)
	l.must(err)
	l.must(os.WriteFile(exe, program, 0o755))
	l.exe = exe
	data := filepath.Join(l.dir, "data")
	l.must(os.Mkdir(data, 0o700))
	l.must(os.Chmod(l.dir, 0o755))
	as := func() *exec.Cmd {
		cmd := l.command("run")
		for _, mine := range []string{data, l.page.path, filepath.Join(l.dir, "config.yaml")} {
			l.must(os.Chown(mine, nobody, nobody))
		}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		return cmd
	}
	l.begin(as())
	l.hasDelivered(labEntries)
	l.stop()
	l.grow(500)
	names := []string{"checkpoint.db", "chains.bin", "lock", "writer-id", "wal", "roots", "engine", "."}
	var said []string
	for _, name := range names {
		cmd := as()
		path := filepath.Join(data, name)
		info, err := os.Stat(path)
		l.must(err)
		l.must(os.Chown(path, 0, 0))
		l.must(os.Chmod(path, info.Mode().Perm()&0o700))
		words := l.fails(cmd)
		if !strings.Contains(words, "permission denied") {
			l.t.Errorf("%s is not ours to use: %s", name, words)
		}
		said = append(said, words)
		l.must(os.Chown(path, nobody, nobody))
	}
	l.t.Logf("what it said:\n%s", strings.Join(said, "\n"))
	l.begin(as())
	l.back = l.goesOn()
	l.settle()
	l.injected, l.said = fmt.Sprintf("%d files and directories in turn given to another user", len(names)), said[0]
}

// readOnly makes the data directory read-only under the running appliance for
// whatever is opened from then on, as an administrator's remount does.
func readOnly(l *lab) {
	data := filepath.Join(l.dir, "data")
	mountMemory(l, data, 400<<20)
	l.run()
	l.hasDelivered(labEntries)
	from := l.outSize()
	l.must(unix.Mount(data, data, "", unix.MS_BIND, ""))
	unmount := func() error { return unix.Unmount(data, unix.MNT_DETACH) }
	defer func() { _ = unmount() }()
	l.must(unix.Mount("", data, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""))
	for round := 0; !l.app.dead(); round++ {
		if round > 600 {
			l.t.Fatalf("it goes on with a read-only directory: %s", l.statusText())
		}
		if round < 40 {
			l.grow(200)
		}
		time.Sleep(100 * time.Millisecond)
	}
	words := lastLines(l, from)
	if l.app.cmd.ProcessState.ExitCode() != 1 || len(words) != 1 {
		l.t.Errorf("it ended with %v, want status 1 and one line:\n%s", l.app.err, strings.Join(words, "\n"))
	}
	again := l.fails(l.command("run"))
	l.must(unmount())
	unmount = func() error { return nil }
	l.recovers()
	l.injected, l.said = "remounted read-only while it worked, and at a start", strings.Join(append(words, again), " / ")
}
