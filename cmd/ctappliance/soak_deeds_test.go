//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// deed is something that happens in a soak. It returns when it is over; what
// it did may not be overcome by then.
type deed struct {
	name string
	do   func(ctx context.Context)
}

func (s *soak) deeds() []deed {
	all := []deed{
		{"SIGKILL of the appliance", func(context.Context) { s.kill(killAppliance) }},
		{"SIGKILL of the engine", func(context.Context) { s.kill(killEngine) }},
		{"SIGKILL of both", func(context.Context) { s.kill(killBoth) }},
		{"SIGTERM and a new start", func(context.Context) { s.stop(); s.start() }},
		{"appliance stopped for a while", func(context.Context) { s.freeze(s.app.pid(), s.upTo(8*time.Second)) }},
		{"engine stopped for a while", func(context.Context) { s.freeze(childOf(s.app.pid()), s.upTo(12*time.Second)) }},
		{"a log stopped for a while", func(context.Context) { s.freeze(s.logs[s.rnd.IntN(2)].proc.pid(), s.upTo(12*time.Second)) }},
		{"checkpoint deleted", func(context.Context) {
			s.between(func(data string) { s.must(os.Remove(filepath.Join(data, "checkpoint.db"))) })
		}},
		{"all but the store brought back from an old copy", func(context.Context) { s.oldCopy() }},
		{"a stretch of the WAL flipped", func(context.Context) { s.between(s.damageWAL) }},
		{"a log left out of the configuration for a while", func(context.Context) {
			left := s.rnd.IntN(len(s.logs))
			s.reload(func(logs []map[string]string) []map[string]string { return slices.Delete(logs, left, left+1) })
		}},
		{"logs that move to another URL and back", func(context.Context) {
			s.reload(func(logs []map[string]string) []map[string]string {
				for _, l := range logs {
					l["url"] = strings.Replace(l["url"], "127.0.0.1", "localhost", 1)
				}
				return logs
			})
		}},
	}
	for name, body := range map[string]string{
		"a log that answers 503 to half":        `[{"mode":"status","rate":0.5,"retry_in":1}]`,
		"a log that refuses with Retry-After":   `[{"mode":"status","status":429,"retry_after":"seconds","retry_in":"2s","rate":0.3}]`,
		"a log that resets connections":         `[{"mode":"reset","n":3000,"rate":0.4},{"mode":"hang-up","rate":0.2}]`,
		"a log that is slow":                    `[{"mode":"latency","delay":"900ms"}]`,
		"a log that sends HTML with status 200": `[{"mode":"html","status":200,"rate":0.5}]`,
		"a log that sends too few, or none":     `[{"mode":"short-answer","rate":0.4},{"mode":"empty-answer","rate":0.3}]`,
		"a log that sends too many":             `[{"mode":"extra-entries","rate":0.4}]`,
		"a log that cuts gzip short":            `[{"mode":"truncated-gzip","rate":0.4}]`,
		"a log whose heads are signed wrongly":  `[{"mode":"bad-signature","rate":0.6}]`,
		"a log whose heads are old":             `[{"mode":"rolled-back","n":2000,"rate":0.5}]`,
	} {
		all = append(all, deed{name, func(ctx context.Context) { s.fault(ctx, body) }})
	}
	if s.space.mounted {
		all = append(all, deed{"the WAL's disk full", func(context.Context) { s.space.fill(s.t); time.Sleep(s.upTo(12 * time.Second)); s.space.free(s.t) }})
	}
	return all
}

func (s *soak) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// upTo draws a duration of at least a second.
func (s *soak) upTo(most time.Duration) time.Duration {
	return time.Second + time.Duration(s.rnd.Int64N(int64(most-time.Second)))
}

// kill strikes at a step that is drawn as in TestCrash.
func (s *soak) kill(victim string) {
	plan := crashPlan{victim: victim, step: "ledger"}
	if s.rnd.IntN(2) == 0 {
		plan.step = "dependents"
	}
	s.strike(plan)
}

func (s *soak) freeze(pid int, d time.Duration) {
	if pid == 0 || unix.Kill(pid, unix.SIGSTOP) != nil {
		return // the engine is being started
	}
	time.Sleep(d)
	_ = unix.Kill(pid, unix.SIGCONT)
}

// fault arms faults of one log for a while.
func (s *soak) fault(ctx context.Context, body string) {
	l := s.logs[s.rnd.IntN(len(s.logs))]
	set := func(body string) {
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, l.Control+"faults", strings.NewReader(body))
		s.must(err)
		answer, err := http.DefaultClient.Do(r)
		s.must(err)
		text, _ := io.ReadAll(answer.Body)
		answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			s.t.Fatalf("arming %s: %s", body, text)
		}
	}
	set(body)
	time.Sleep(s.upTo(15 * time.Second))
	set(`[]`)
}

// reload changes the configured logs for a while, under the running appliance.
func (s *soak) reload(change func([]map[string]string) []map[string]string) {
	for _, s.chosen = range []func([]map[string]string) []map[string]string{change, nil} {
		s.must(s.writeConfig())
		s.must(s.app.cmd.Process.Signal(unix.SIGHUP))
		time.Sleep(s.upTo(6 * time.Second))
	}
}

// between kills the appliance, does something to its data directory, and
// starts it again.
func (s *soak) between(do func(data string)) {
	s.app.kill()
	do(filepath.Join(s.dir, "data"))
	s.start()
}

// oldCopy copies the data directory without the store while nothing runs, lets
// the appliance work on, and puts the copy in its place.
func (s *soak) oldCopy() {
	copied := filepath.Join(s.dir, "copy")
	s.between(func(data string) { s.must(copyData(data, copied)) })
	s.resumed()
	time.Sleep(s.upTo(5 * time.Second))
	s.between(func(data string) {
		for _, name := range dataParts {
			s.must(removeContent(filepath.Join(data, name)))
		}
		s.must(copyData(copied, data))
		s.must(os.RemoveAll(copied))
	})
}

// dataParts is what a data directory holds beside the store.
var dataParts = []string{"checkpoint.db", "wal", "chains.bin", "roots"}

// removeContent removes a file, or what is in a directory: the directory may
// be where something is mounted.
func removeContent(path string) error {
	entries, err := os.ReadDir(path)
	if err != nil {
		if err := os.Remove(path); !os.IsNotExist(err) {
			return err
		}
		return nil
	}
	for _, e := range entries {
		if e.Name() == ballastName {
			continue
		}
		if err := os.RemoveAll(filepath.Join(path, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// copyData copies the data directory's parts over what is there.
func copyData(from, to string) error {
	for _, part := range dataParts {
		err := filepath.WalkDir(filepath.Join(from, part), func(path string, e fs.DirEntry, err error) error {
			if err != nil {
				if os.IsNotExist(err) {
					return nil
				}
				return err
			}
			name, err := filepath.Rel(from, path)
			if err != nil {
				return err
			}
			if e.IsDir() {
				return os.MkdirAll(filepath.Join(to, name), 0o700)
			}
			body, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			if err := os.MkdirAll(filepath.Dir(filepath.Join(to, name)), 0o700); err != nil {
				return err
			}
			return os.WriteFile(filepath.Join(to, name), body, 0o600)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// damageWAL flips bytes in the middle of a segment.
func (s *soak) damageWAL(data string) {
	all, err := filepath.Glob(filepath.Join(data, "wal", "*.wal"))
	s.must(err)
	if len(all) == 0 {
		return
	}
	path := all[s.rnd.IntN(len(all))]
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	s.must(err)
	defer f.Close()
	info, err := f.Stat()
	s.must(err)
	at := s.rnd.Int64N(max(1, info.Size()))
	var b [64]byte
	n, err := f.ReadAt(b[:], at)
	if err != nil && err != io.EOF {
		s.t.Fatal(err)
	}
	for i := range b[:n] {
		b[i] ^= 0xff
	}
	_, err = f.WriteAt(b[:n], at)
	s.must(err)
}

// ballast makes the WAL's disk a small one, if we may mount, and fills it.
type ballast struct {
	dir     string
	mounted bool
}

const ballastName = "ballast"

func (b *ballast) prepare(t *testing.T, data string) {
	b.dir = filepath.Join(data, "wal")
	if err := os.MkdirAll(b.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	err := unix.Mount("tmpfs", b.dir, "tmpfs", 0, "size=192m,mode=0700")
	b.mounted = err == nil
	if err != nil {
		t.Logf("no disk will be full: mounting needs root (%v)", err)
	}
}

func (b *ballast) restore() {
	if b.mounted {
		_ = unix.Unmount(b.dir, unix.MNT_DETACH)
	}
}

// fill leaves no byte free.
func (b *ballast) fill(t *testing.T) {
	f, err := os.Create(filepath.Join(b.dir, ballastName))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for chunk := make([]byte, 1<<20); len(chunk) > 0; {
		if _, err := f.Write(chunk); err != nil {
			if pathErr, ok := err.(*fs.PathError); !ok || pathErr.Err != syscall.ENOSPC {
				t.Fatal(err)
			}
			chunk = chunk[:len(chunk)/2]
		}
	}
}

func (b *ballast) free(t *testing.T) {
	if err := os.Remove(filepath.Join(b.dir, ballastName)); err != nil {
		t.Fatal(fmt.Errorf("freeing space: %w", err))
	}
}
