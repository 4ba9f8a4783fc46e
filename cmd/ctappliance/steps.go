package main

import (
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"ctappliance/cmd/ctappliance/config"
)

// steps are the places in the life of an entry at which a crash matters, as
// the pipeline names them. A crash test learns from a shared page where the
// process is, and kills it there.
var steps = []string{"", "wal-written", "wal-synced", "wal-rotate", "wal-trim", "intent", "dependents", "ledger", "acknowledged", "delivered", "resolve", "reinsert", "retry", "trim"}

// stepper returns the pipeline's step hook: it writes the step's number into
// the file that the environment names, shared with whoever mapped it too: the
// WAL's steps into byte 0, those of delivery into byte 1, each the business of
// one goroutine. Without such a file there is no hook.
func stepper() func(string) {
	path := os.Getenv(config.StepFileEnv)
	if path == "" {
		return nil
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil
	}
	defer f.Close()
	page, err := unix.Mmap(int(f.Fd()), 0, 2, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil
	}
	return func(step string) {
		if i := slices.Index(steps, step); i > 0 && strings.HasPrefix(step, "wal-") {
			page[0] = byte(i)
		} else if i > 0 {
			page[1] = byte(i)
		}
	}
}
