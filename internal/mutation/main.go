package main

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/signal"
	"path"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "mutation:", err)
		os.Exit(1)
	}
}

func run() error {
	only := flag.String("only", "", "only mutations whose name matches this `regexp`")
	pkg := flag.String("pkg", "", "only mutations of files in, or tests of, this `directory`, as wal")
	jobs := flag.Int("j", 1, "mutations tried at the same time, from 1 on")
	timeout := flag.Duration("timeout", 90*time.Second, "for the tests of one mutation, compiling not counted")
	list := flag.Bool("list", false, "print the list and run nothing")
	verbose := flag.Bool("v", false, "print what the failing tests say")
	flag.Parse()
	if flag.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", flag.Arg(0))
	}
	if *jobs < 1 || *timeout <= 0 {
		return fmt.Errorf("-j and -timeout must be positive")
	}
	all, err := readLists(".")
	if err != nil {
		return err
	}
	chosen, err := choose(all, *only, *pkg)
	if err != nil {
		return err
	}
	if *list {
		for _, m := range chosen {
			fmt.Printf("| %s | %s | %s | `%s` %s |\n", m.Invariant, m.Name, m.Guard, strings.TrimPrefix(m.Package, "./"), strings.Join(m.Tests, ", "))
		}
		return nil
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	r := &runner{
		root: ".", timeout: *timeout, jobs: *jobs,
		say:    func(s string) { fmt.Println(s) },
		report: func(o outcome) { printOutcome(o, *verbose) },
	}
	began := time.Now()
	outcomes, err := r.run(ctx, chosen)
	if err != nil {
		return err
	}
	sums, err := total(outcomes, time.Since(began))
	fmt.Print("\n", sums)
	return err
}

// choose returns the mutations that the flags ask for.
func choose(all []mutation, only, pkg string) ([]mutation, error) {
	rule, err := regexp.Compile(only)
	if err != nil {
		return nil, fmt.Errorf("-only: %w", err)
	}
	pkg = strings.TrimPrefix(path.Clean("/"+pkg), "/")
	var chosen []mutation
	for _, m := range all {
		in := pkg == "" || m.Package == "./"+pkg ||
			slices.ContainsFunc(m.Edits, func(e edit) bool { return path.Dir(e.File) == pkg })
		if in && rule.MatchString(m.Name) {
			chosen = append(chosen, m)
		}
	}
	if len(chosen) == 0 {
		return nil, fmt.Errorf("no mutation matches")
	}
	return chosen, nil
}

func printOutcome(o outcome, verbose bool) {
	fmt.Printf("%-36s %-2s %-16s %5.1f s  %-44s %s\n", o.Name, o.Invariant, o.Result, o.Duration.Seconds(), o.Failed, o.Guard)
	if o.Result != killed {
		fmt.Printf("    %s, tests: %s %s\n", o.Where, o.Package, strings.Join(o.Tests, " "))
	}
	if verbose || o.Result != killed && o.Result != survived {
		for _, line := range o.Detail {
			fmt.Println("    | " + strings.ReplaceAll(line, "\n", "\n    | "))
		}
	}
}

// total returns the sums in words; the error says what is not as it should be.
func total(outcomes []outcome, took time.Duration) (string, error) {
	all, defended, results := map[string]int{}, map[string]int{}, map[string]int{}
	for _, o := range outcomes {
		all[o.Invariant]++
		results[o.Result]++
		if o.Result == killed {
			defended[o.Invariant]++
		}
	}
	var b strings.Builder
	for _, key := range slices.Sorted(maps.Keys(all)) {
		fmt.Fprintf(&b, "%-2s  %3d guards, %3d defended\n", key, all[key], defended[key])
	}
	fmt.Fprintf(&b, "%d guards removed in %s: %d %s", len(outcomes), took.Round(time.Second), results[killed], killed)
	for _, result := range []string{survived, stale, noBuild, redBase} {
		fmt.Fprintf(&b, ", %d %s", results[result], result)
	}
	b.WriteString("\n")
	if n := len(outcomes) - results[killed]; n > 0 {
		return b.String(), fmt.Errorf("%d of %d guards are not shown to be defended", n, len(outcomes))
	}
	return b.String(), nil
}
