// Command table runs benchmarks and says at the end, in one place, what they
// have measured: a table in Markdown for each benchmark, a row for each of its
// parts, and what the benchmarks of the whole program have logged (the top ten
// of profiles, sizes on disk).
//
//	go run ./bench/table COMMAND ARG... [-- COMMAND ARG...]...
//
// The commands run one after the other and what they print is passed on as it
// comes. Each runs even if one before it has failed; the exit status is 1 then.
package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
)

func main() {
	var r results
	failed := false
	for args := os.Args[1:]; len(args) > 0; {
		command := args
		if i := slices.Index(args, "--"); i >= 0 {
			command, args = args[:i], args[i+1:]
		} else {
			args = nil
		}
		if len(command) == 0 {
			continue
		}
		if err := run(command, &r); err != nil {
			fmt.Fprintf(os.Stderr, "table: %q: %v\n", command, err)
			failed = true
		}
	}
	fmt.Print(r.markdown())
	if failed {
		os.Exit(1)
	}
}

// run runs a command, passes on what it prints and reads it.
func run(command []string, r *results) error {
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	lines := bufio.NewReaderSize(out, 1<<20)
	for {
		line, err := lines.ReadString('\n')
		fmt.Print(line)
		r.read(line)
		if err == io.EOF {
			return cmd.Wait()
		}
		if err != nil {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			return err
		}
	}
}
