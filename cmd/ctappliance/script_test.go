package main

import (
	"archive/zip"
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"ctappliance/cmd/ctappliance/report"
	"ctappliance/ingest/ctlog"
	"ctappliance/ingest/ctlog/ctlogtest"
	"ctappliance/store/engine/enginetest"
)

// The scripts of TestScripts run the program as a process: a copy of this test
// binary, called ctappliance.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"ctappliance": main})
}

// TestScripts are the stories of a user: testdata/script/*.txt, each in a
// directory of its own. Beyond testscript's commands they have
//
//	demolog [FLAG...]     starts 'ctappliance demo log'; sets RFC_URL, RFC_KEY,
//	                      STATIC_URL, STATIC_KEY; writes log_list.json
//	archive DIR           writes the demo's static log to DIR as its archive, and
//	                      DIR.zip with the same in it
//	exits STATUS CMD...   runs a command that must exit with that status
//	wrong STATUS CMD...   the same; it must print nothing on standard output and
//	                      exactly one line, ours, on standard error
//	await CMD...          runs a command again and again until it succeeds
//	follows DIR N         waits until the appliance that runs on DIR follows N logs
//	hangup DIR            sends SIGHUP to the appliance that runs on DIR
//	store DIR             sets STORE_URL (no password in it) of the appliance
//	                      that runs on DIR
//	sql DIR STATEMENT     runs a statement with the writer's rights there
func TestScripts(t *testing.T) {
	library := enginetest.Library(t)
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("CHDB_LIB_PATH", library)
			env.Setenv("KEY", testKey) // of no log here
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"archive": scriptArchive, "demolog": scriptDemoLog, "exits": scriptExits, "wrong": scriptWrong, "await": scriptAwait, "follows": scriptFollows, "hangup": scriptHangup, "store": scriptStore, "sql": scriptSQL,
		},
	})
}

// checkUse refuses "! cmd" and too few arguments.
func checkUse(ts *testscript.TestScript, neg bool, args []string, least int) {
	if neg || len(args) < least {
		ts.Fatalf("usage: see TestScripts")
	}
}

func scriptDemoLog(ts *testscript.TestScript, neg bool, args []string) {
	checkUse(ts, neg, args, 0)
	exe, err := exec.LookPath("ctappliance")
	ts.Check(err)
	log := exec.Command(exe, append([]string{"demo", "log", "--list-dir", "."}, args...)...)
	log.Dir = ts.Getenv("WORK")
	stdin, err := log.StdinPipe()
	ts.Check(err)
	stdout, err := log.StdoutPipe()
	ts.Check(err)
	ts.Check(log.Start())
	ts.Defer(func() {
		stdin.Close() // its end
		_ = log.Wait()
	})
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	ts.Check(err)
	var ready ctlogtest.Ready
	ts.Check(json.Unmarshal(line, &ready))
	for _, l := range ready.Logs {
		name := map[string]string{"rfc6962": "RFC", "static": "STATIC"}[l.Kind]
		ts.Setenv(name+"_URL", l.URL)
		ts.Setenv(name+"_KEY", base64.StdEncoding.EncodeToString(l.Key))
	}
}

// scriptArchive copies what a mirror of the static log would have: every tile,
// partial ones too, and the issuers that its entries name.
func scriptArchive(ts *testscript.TestScript, neg bool, args []string) {
	checkUse(ts, neg, args, 1)
	base := ts.Getenv("STATIC_URL")
	key, err := base64.StdEncoding.DecodeString(ts.Getenv("STATIC_KEY"))
	ts.Check(err)
	log, err := ctlog.New(ctlog.Info{Name: "static", Key: key, Kind: ctlog.Static, URL: base, SubmissionURL: "https://demo.invalid/static/"},
		ctlog.Options{UserAgent: "script (+me@ctwatch.dev)", AllowPrivate: true})
	ts.Check(err)
	ctx := context.Background()
	head, err := log.Head(ctx)
	ts.Check(err)
	names := []string{"checkpoint"}
	for level, n := 0, head.Size; n > 0; level, n = level+1, n/256 {
		for i := uint64(0); i*256 < n; i++ {
			part := ""
			if rest := n - i*256; rest < 256 {
				part = fmt.Sprintf(".p/%d", rest)
			}
			names = append(names, fmt.Sprintf("tile/%d/%03d%s", level, i, part))
			if level == 0 {
				names = append(names, fmt.Sprintf("tile/data/%03d%s", i, part))
			}
		}
	}
	seen := map[ctlog.Hash]bool{}
	for at := uint64(0); at < head.Size; {
		b, err := log.Entries(ctx, at, head.Size, head.Size)
		ts.Check(err)
		for _, e := range b.Entries {
			for _, issuer := range e.Chain {
				if !seen[issuer] {
					names = append(names, fmt.Sprintf("issuer/%x", issuer))
				}
				seen[issuer] = true
			}
		}
		at += uint64(len(b.Entries))
	}
	dir := ts.MkAbs(args[0])
	out, err := os.Create(dir + ".zip")
	ts.Check(err)
	zipped := zip.NewWriter(out)
	for _, name := range names {
		response, err := http.Get(base + name)
		ts.Check(err)
		body, err := io.ReadAll(response.Body)
		ts.Check(err)
		response.Body.Close()
		if response.StatusCode != http.StatusOK {
			ts.Fatalf("%s: %s", name, response.Status)
		}
		ts.Check(os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o755))
		ts.Check(os.WriteFile(filepath.Join(dir, name), body, 0o644))
		w, err := zipped.Create(name)
		ts.Check(err)
		_, err = w.Write(body)
		ts.Check(err)
	}
	ts.Check(zipped.Close())
	ts.Check(out.Close())
}

// status runs a command and returns its exit status.
func scriptStatus(ts *testscript.TestScript, args []string) int {
	err := ts.Exec(args[0], args[1:]...)
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return exit.ExitCode()
	}
	ts.Check(err)
	return -1
}

func scriptExits(ts *testscript.TestScript, neg bool, args []string) {
	checkUse(ts, neg, args, 2)
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	if got := scriptStatus(ts, args[1:]); got != want {
		ts.Fatalf("exit status %d, want %d", got, want)
	}
}

func scriptWrong(ts *testscript.TestScript, neg bool, args []string) {
	scriptExits(ts, neg, args)
	if out := ts.ReadFile("stdout"); out != "" {
		ts.Fatalf("standard output of a command that failed: %q", out)
	}
	said := ts.ReadFile("stderr")
	if !strings.HasPrefix(said, "ctappliance: ") || strings.Count(said, "\n") != 1 || !strings.HasSuffix(said, "\n") {
		ts.Fatalf("not one line of ours: %q", said)
	}
}

// scriptAwait asks again because a process says nowhere else that it is ready.
func scriptAwait(ts *testscript.TestScript, neg bool, args []string) {
	checkUse(ts, neg, args, 1)
	again := time.NewTicker(100 * time.Millisecond)
	defer again.Stop()
	for range 600 {
		if scriptStatus(ts, args) == 0 {
			return
		}
		<-again.C
	}
	ts.Fatalf("%q did not succeed within a minute", args)
}

// scriptAccess asks the appliance that runs on a directory how to reach its
// store.
func scriptAccess(ts *testscript.TestScript, dir string) *url.URL {
	var access storeAccess
	ts.Check(control(context.Background(), ts.MkAbs(dir), "GET", "/store", nil, &access))
	u, err := url.Parse(access.DSN)
	ts.Check(err)
	return u
}

func scriptFollows(ts *testscript.TestScript, neg bool, args []string) {
	checkUse(ts, neg, args, 2)
	again := time.NewTicker(100 * time.Millisecond)
	defer again.Stop()
	var st report.Status
	for range 600 {
		ts.Check(control(context.Background(), ts.MkAbs(args[0]), "GET", "/status", nil, &st))
		if strconv.Itoa(len(st.Logs)) == args[1] {
			return
		}
		<-again.C
	}
	ts.Fatalf("%d logs are followed after a minute, not %s", len(st.Logs), args[1])
}

func scriptHangup(ts *testscript.TestScript, neg bool, args []string) {
	checkUse(ts, neg, args, 1)
	var st report.Status
	ts.Check(control(context.Background(), ts.MkAbs(args[0]), "GET", "/status", nil, &st))
	ts.Check(syscall.Kill(st.PID, syscall.SIGHUP))
}

func scriptStore(ts *testscript.TestScript, neg bool, args []string) {
	checkUse(ts, neg, args, 1)
	u := scriptAccess(ts, args[0])
	ts.Setenv("STORE_URL", u.Scheme+"://"+u.Host+"/")
}

func scriptSQL(ts *testscript.TestScript, neg bool, args []string) {
	checkUse(ts, neg, args, 2)
	u := scriptAccess(ts, args[0])
	response, err := http.Post(u.String(), "text/plain", strings.NewReader(args[1]))
	ts.Check(err)
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	ts.Check(err)
	if response.StatusCode != http.StatusOK {
		ts.Fatalf("%s: %s", response.Status, body)
	}
	fmt.Fprint(ts.Stdout(), string(body))
}
