package main

import (
	"os"
	"runtime/debug"
)

// memoryGoal is how much memory the appliance itself should do with, in bytes,
// following logs of them: three times what one flush holds of certificates
// (their bytes, their rows, and the rows in order), the ring, the program, and
// answers under way.
func (c *Config) memoryGoal(logs int) int64 {
	return 208<<20 + 3*int64(c.Flush.Bytes) + int64(min(16*logs, 128))<<20
}

// limitMemory makes the collector work harder before memory exceeds the goal.
// It is no bound: the pipeline's queues bound what is held. Without it the
// garbage of a fast backfill doubles the process. GOMEMLIMIT in the environment
// overrides it.
func (c *Config) limitMemory(logs int) {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(c.memoryGoal(logs))
	}
}
