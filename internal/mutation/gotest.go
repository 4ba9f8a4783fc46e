package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// verdict is what a run of go test came to.
type verdict struct {
	passed   map[string]bool // by the name of the test
	skipped  map[string]bool
	failed   string // the test that failed first; "" where none was named
	red      bool
	timeout  bool
	noBuild  bool
	messages []string // of the compiler, or of the test that failed first
}

// slackForCompiling is what go test gets beyond the timeout of the tests.
const slackForCompiling = 4 * time.Minute

// maxMessages bounds the lines kept of a test's or a compiler's output.
const maxMessages = 12

// goTest runs the named tests of a package, with the files of overlay in the
// place of those in the tree. dir is for temporary files; what the tests leave
// behind there goes with it.
func goTest(ctx context.Context, root, dir, pkg string, tests []string, overlay map[string][]byte, timeout time.Duration) (*verdict, error) {
	args := []string{"test", "-json", "-vet=off", "-timeout", timeout.String(), "-run", pattern(tests)}
	if overlay != nil {
		path, err := writeOverlay(root, dir, overlay)
		if err != nil {
			return nil, err
		}
		args = append(args, "-count=1", "-failfast", "-overlay", path)
	}
	limit, cancel := context.WithTimeout(ctx, timeout+slackForCompiling)
	defer cancel()
	cmd := exec.CommandContext(limit, "go", append(args, pkg)...)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "TMPDIR="+dir)
	// The tests start processes of their own: all of them end together.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 10 * time.Second
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	v := judge(out.Bytes())
	v.red = err != nil
	v.timeout = v.timeout || limit.Err() != nil
	return v, nil
}

// pattern is the argument of -run for tests with just these names.
func pattern(tests []string) string {
	alternatives := make([]string, len(tests))
	for i, name := range tests {
		parts := strings.Split(name, "/")
		for j, part := range parts {
			// The dot is the one letter of a name that means something else.
			parts[j] = "^" + strings.NewReplacer(".", `\.`, "+", `\+`).Replace(part) + "$"
		}
		alternatives[i] = strings.Join(parts, "/")
	}
	return strings.Join(alternatives, "|")
}

// writeOverlay writes changed files into dir, and the description of them that
// go test reads.
func writeOverlay(root, dir string, files map[string][]byte) (string, error) {
	abs, err := filepath.Abs(root)
	if err != nil {
		return "", err
	}
	replace := map[string]string{}
	for name, text := range files {
		to := filepath.Join(dir, fmt.Sprintf("%d_%s", len(replace), filepath.Base(name)))
		if err := os.WriteFile(to, text, 0o600); err != nil {
			return "", err
		}
		replace[filepath.Join(abs, name)] = to
	}
	text, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "overlay.json")
	return path, os.WriteFile(path, text, 0o600)
}

// event is a line of go test -json.
type event struct {
	Action      string
	Test        string
	Output      string
	FailedBuild string
}

func judge(out []byte) *verdict {
	v := &verdict{passed: map[string]bool{}, skipped: map[string]bool{}}
	output := map[string][]string{} // by test
	var compiler []string
	var running []string
	ended := func(test string) {
		running = slices.DeleteFunc(running, func(name string) bool { return name == test })
	}
	lines := bufio.NewScanner(bytes.NewReader(out))
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		var e event
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			compiler = append(compiler, lines.Text()) // go itself has something to say
			continue
		}
		switch e.Action {
		case "run":
			running = append(running, e.Test)
		case "pass":
			ended(e.Test)
			v.passed[e.Test] = true
		case "skip":
			ended(e.Test)
			v.skipped[e.Test] = true
		case "build-output":
			compiler = append(compiler, strings.TrimRight(e.Output, "\n"))
		case "build-fail":
			v.noBuild = true
		case "output":
			if strings.HasPrefix(e.Output, "panic: test timed out") {
				v.timeout = true
			}
			if lines := output[e.Test]; len(lines) < maxMessages {
				output[e.Test] = append(lines, strings.TrimRight(e.Output, "\n"))
			}
		case "fail":
			v.noBuild = v.noBuild || e.FailedBuild != ""
			ended(e.Test)
			switch {
			case v.failed != "":
			case e.Test == "" && len(running) > 0: // it took the process with it
				v.failed = running[len(running)-1]
			default:
				v.failed = e.Test
			}
		}
	}
	switch {
	case v.noBuild:
		v.messages = compiler[:min(len(compiler), maxMessages)]
	case v.failed != "":
		v.messages = output[v.failed]
	default:
		v.messages = append(compiler, output[""]...)
	}
	return v
}
