package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// What a mutation can come to.
const (
	killed   = "killed"
	survived = "SURVIVED"
	stale    = "stale"
	noBuild  = "does not compile"
	redBase  = "baseline red"
)

// outcome is a mutation's line in the table.
type outcome struct {
	mutation
	Result   string
	Failed   string // the test that failed first
	Detail   []string
	Duration time.Duration
}

// runner applies mutations and runs their tests.
type runner struct {
	root    string        // the module's directory
	timeout time.Duration // of the tests of one mutation
	jobs    int
	report  func(outcome) // called for each as it ends, one call at a time
	say     func(string)  // what is going on

	baseline map[string]map[string]string // by baselineKey and test: why it is red
}

// run tries all mutations and returns how each ended, in the order given. It
// returns early, with an error, only if ctx ends or nothing can be run at all.
func (r *runner) run(ctx context.Context, list []mutation) ([]outcome, error) {
	if err := r.runBaseline(ctx, list); err != nil {
		return nil, err
	}
	outcomes := make([]outcome, len(list))
	errs := make([]error, r.jobs)
	work := make(chan int)
	var reporting sync.Mutex
	var wg sync.WaitGroup
	for j := range r.jobs {
		wg.Go(func() {
			for i := range work {
				if errs[j] != nil {
					continue
				}
				began := time.Now()
				var o outcome
				o, errs[j] = r.try(ctx, list[i])
				o.Duration = time.Since(began)
				if errs[j] == nil {
					outcomes[i] = o
					reporting.Lock()
					r.report(o)
					reporting.Unlock()
				}
			}
		})
	}
	for i := range list {
		work <- i
	}
	close(work)
	wg.Wait()
	return outcomes, errors.Join(errs...)
}

// runBaseline runs the tests that the list names, without a mutation: once for
// every package, and subtests by themselves, as they will be run.
func (r *runner) runBaseline(ctx context.Context, list []mutation) error {
	r.baseline = map[string]map[string]string{}
	tests := map[string][]string{}
	var keys []string
	for _, m := range list {
		key := m.baselineKey()
		if !slices.Contains(keys, key) {
			keys = append(keys, key)
		}
		for _, name := range m.Tests {
			if !slices.Contains(tests[key], name) {
				tests[key] = append(tests[key], name)
			}
		}
	}
	for _, key := range keys {
		pkg, _, _ := strings.Cut(key, " ")
		r.say("without a mutation: " + pkg + " " + strings.Join(tests[key], " "))
		v, err := r.goTest(ctx, pkg, tests[key], nil, 10*r.timeout)
		if err != nil {
			return err
		}
		why := map[string]string{}
		for _, name := range tests[key] {
			top, _, _ := strings.Cut(name, "/")
			switch {
			case v.passed[name] && v.passed[top]:
			case v.skipped[name]:
				why[name] = name + " is skipped: " + strings.Join(v.messages, "\n")
			default:
				why[name] = name + " does not pass: " + strings.Join(v.messages, "\n")
			}
		}
		r.baseline[key] = why
	}
	return nil
}

// baselineKey says with which others its tests are run without a mutation. A
// test of which only some subtests run may fail for that alone.
func (m *mutation) baselineKey() string {
	if slices.ContainsFunc(m.Tests, func(name string) bool { return strings.Contains(name, "/") }) {
		return m.Package + " " + strings.Join(m.Tests, " ")
	}
	return m.Package
}

// try applies one mutation and runs its tests.
func (r *runner) try(ctx context.Context, m mutation) (outcome, error) {
	o := outcome{mutation: m}
	files, err := m.apply(r.root)
	if err != nil {
		o.Result, o.Detail = stale, []string{err.Error()}
		return o, nil
	}
	for _, name := range m.Tests {
		if why := r.baseline[m.baselineKey()][name]; why != "" {
			o.Result, o.Detail = redBase, []string{why}
			return o, nil
		}
	}
	v, err := r.goTest(ctx, m.Package, m.Tests, files, cmp.Or(m.Timeout, r.timeout))
	if err != nil {
		return o, err
	}
	o.Detail = v.messages
	switch {
	case v.noBuild:
		o.Result = noBuild
	case v.timeout:
		o.Result, o.Failed = killed, strings.TrimSpace(v.failed+" (timeout)")
	case v.red && v.failed == "" && len(v.passed)+len(v.skipped) == 0 && len(v.messages) == 0:
		return o, fmt.Errorf("%s: go test says nothing", m.Name)
	case v.red:
		o.Result, o.Failed = killed, v.failed
		if v.failed == "" {
			o.Failed = "(the tests' process ended)"
		}
	default:
		o.Result = survived
	}
	return o, nil
}

// goTest runs tests in a temporary directory of their own.
func (r *runner) goTest(ctx context.Context, pkg string, tests []string, overlay map[string][]byte, timeout time.Duration) (*verdict, error) {
	dir, err := os.MkdirTemp("", "mutate-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	return goTest(ctx, r.root, dir, pkg, tests, overlay, timeout)
}
