package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"ctappliance/cmd/ctappliance/config"
	"ctappliance/cmd/ctappliance/plain"
	"ctappliance/ingest/ctlog"
)

// A configuration that is wrong, or that changes what a reload cannot, is
// refused with a line, and everything stays as it was.
func TestReloadRefused(t *testing.T) {
	logs := someLogs(t, "A", "B")
	tests := []struct{ name, yaml, want string }{
		{"no YAML", "follow: [\n", `FILE:4: is not YAML: sequence end token ']' not found (and 1 more)`},
		{"no such key", "folow: x\n", "folow (FILE:4): there is no such key; did you mean follow?"},
		{"two mistakes", "follow.exclude: colour=red\nfollow.start: then\n", "follow.start (FILE:5): \"then\" is no place to start; " + config.StartWords + " (and 1 more)"},
		{"fixed keys", "store.database: other\nlog: {level: debug, format: json}\nmetrics.token: abcdefghijklmnop\n",
			"store.database, metrics.token, log.format cannot be changed while the appliance runs; restart it, or put the old value back"},
		{"nothing to follow", "follow.include: name=elephant\n", "none of 2 logs would be followed, most because: no include rule names it; see lists.follow, follow.include and follow.exclude"},
		{"no list", "allow-private: true\nlists.follow: all\n", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newTestFleet(t, "", logs)
			before := f.c
			f.configure(tt.yaml)
			_, err := f.reload(t.Context(), f.p)
			if tt.want == "" {
				if err != nil {
					t.Errorf("refused: %v", err)
				}
				return
			}
			if got := strings.ReplaceAll(plain.OneLine(err), f.file, "FILE"); got != tt.want {
				t.Errorf("got:\n%s\nwant:\n%s", got, tt.want)
			}
			if f.c != before || len(f.p.sets) != 1 || f.out.Enabled(t.Context(), slog.LevelDebug) {
				t.Error("something has changed")
			}
		})
	}
}

// What a reload can change is in force when it returns.
func TestReload(t *testing.T) {
	logs := someLogs(t, "A", "B", "C")
	f := newTestFleet(t, "", logs)
	f.configure("follow.exclude: name=B\nlog.level: debug\n")
	done, err := f.reload(t.Context(), f.p)
	if err != nil || fmt.Sprint(done) != "2 logs are followed, 1 no longer (B); list read, version 1.1 as before" || f.names() != "A C" {
		t.Errorf("%v, %v, follows %s", done, err, f.names())
	}
	if !f.out.Enabled(t.Context(), slog.LevelDebug) {
		t.Error("the log level is the old one")
	}
	f.configure("")
	if done, err = f.reload(t.Context(), f.p); err != nil || fmt.Sprint(done) != "3 logs are followed, 1 new (B); list read, version 1.1 as before" {
		t.Errorf("%v, %v", done, err)
	}
	if f.out.Enabled(t.Context(), slog.LevelDebug) {
		t.Error("the log level is not back")
	}
	// A list that has changed is in force when the answer comes, and one that
	// cannot be read leaves its last good copy.
	f.publish(append(logs, someLogs(t, "D")...))
	if done, err = f.reload(t.Context(), f.p); err != nil || fmt.Sprint(done) != "4 logs are followed, 1 new (D); list read, version 1.2 after 1.1" || f.names() != "A B C D" {
		t.Errorf("%v, %v, follows %s", done, err, f.names())
	}
	if err := os.WriteFile(f.list, []byte("no list"), 0o600); err != nil {
		t.Fatal(err)
	}
	if done, err = f.reload(t.Context(), f.p); err != nil || !strings.HasPrefix(fmt.Sprint(done), "4 logs are followed; list NOT READ, its last good copy stays: ") ||
		!strings.Contains(f.said.String(), "log lists not refreshed, the last good ones stay") {
		t.Errorf("%v, %v, said %s", done, err, f.said)
	}
	f.publish(logs)
	if done, err = f.reload(t.Context(), f.p); err != nil || f.names() != "A B C" {
		t.Errorf("%v, %v, follows %s", done, err, f.names())
	}
	// Another list, from its place in the file.
	other := f.list + ".other.json"
	writeList(t, other, 1, someLogs(t, "X"))
	was := f.lists
	f.configure("lists.refresh: 1h\n")
	if _, err := f.reload(t.Context(), f.p); err != nil || f.lists == was || f.names() != "A B C" {
		t.Errorf("%v, follows %s", err, f.names())
	}
}

// SIGHUP reloads, and what is refused is one line in the log; lists that change
// are followed; both without a word from anybody.
func TestFleetRun(t *testing.T) {
	logs := someLogs(t, "A", "B")
	f := newTestFleet(t, "", logs)
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		f.relist, f.again, f.kick = make(chan struct{}, 1), make(chan struct{}, 1), make(chan struct{}, 1)
		lists, err := f.c.openLists(f.dir+"/data/lists", f.out)
		if err != nil {
			t.Fatal(err)
		}
		f.lists = lists
		hup, ended := make(chan struct{}, 1), make(chan struct{})
		go func() {
			defer close(ended)
			f.run(ctx, f.p, hup)
		}()
		synctest.Wait()
		f.configure("follow.include: nonsense\n")
		poke(hup)
		synctest.Wait()
		if got := strings.Count(f.said.String(), `level=ERROR msg="reload refused, the old configuration stays in force" err="none of 2 logs`); got != 1 || f.names() != "A B" {
			t.Errorf("follows %s, said:\n%s", f.names(), f.said)
		}
		f.configure("follow.exclude: name=A\n")
		poke(hup)
		synctest.Wait()
		if f.names() != "B" || !strings.Contains(f.said.String(), `msg="configuration reloaded" logs=1 added="" removed=A`) {
			t.Errorf("follows %s, said:\n%s", f.names(), f.said)
		}
		f.publish(append(logs, someLogs(t, "C")...))
		time.Sleep(24 * time.Hour) // the lists are asked several times
		synctest.Wait()
		if f.names() != "B C" {
			t.Errorf("follows %s, said:\n%s", f.names(), f.said)
		}
		stop()
		<-ended
	})
}

// A log with entries to copy is asked for tiles, once a week, and read through
// them where it has some; that is known after a restart.
func TestTilesAreFound(t *testing.T) {
	logs := someLogs(t, "A", "B", "C")
	f := newTestFleet(t, "", logs)
	asked := ""
	clock := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	probe := func(_ context.Context, info ctlog.Info) (string, error) {
		asked += info.Name
		switch info.Name {
		case "A":
			return info.URL + "tiles/", nil
		case "B":
			return "", fmt.Errorf("it cannot be said")
		}
		return "", nil
	}
	f.probe, f.now = probe, func() time.Time { return clock }
	f.behind(logs[0], logs[1])
	if !f.probeSome(t.Context(), f.p) || asked != "AB" && asked != "BA" {
		t.Errorf("asked %s", asked)
	}
	b := f.follow("B")
	f.rechoose(t.Context(), f.p)
	if got := f.follow("A").Log.Info().TileURL; got != logs[0].url+"tiles/" || f.follow("B").Log != b.Log {
		t.Errorf("A's tiles at %q", got)
	}
	asked, clock = "", clock.Add(59*time.Minute)
	f.behind(logs[0], logs[1])
	if f.probeSome(t.Context(), f.p) || asked != "" {
		t.Errorf("asked %s again at once", asked)
	}
	clock = clock.Add(time.Minute)
	f.p.logs[0].Wanted, f.p.logs[1].Wanted = 11, 11
	if f.probeSome(t.Context(), f.p) || asked != "" {
		t.Errorf("asked %s, which are an entry behind", asked)
	}
	f.behind(logs...)
	if f.probeSome(t.Context(), f.p) || asked != "BC" && asked != "CB" {
		t.Errorf("asked %s again", asked)
	}
	follows := f.restart()
	if got := followOf(t, follows, "A").Log.Info().TileURL; got != logs[0].url+"tiles/" {
		t.Errorf("A's tiles at %q after a restart", got)
	}
	asked, clock = "", clock.Add(8*24*time.Hour)
	f.probe, f.now = probe, func() time.Time { return clock }
	f.behind(logs...)
	f.probeSome(t.Context(), f.p)
	if len(asked) != 3 {
		t.Errorf("asked %s after a week", asked)
	}
}

// A SIGHUP that comes while the appliance stops is no reason to die of it.
func TestHangupWhileStopping(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	hup := hangups(ctx, stop)
	send := func() {
		if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
	}
	send()
	<-hup
	before := runtime.NumGoroutine()
	stop()
	for runtime.NumGoroutine() >= before { // hangups has ended
		runtime.Gosched()
	}
	send()
}
