package main

import (
	"os"
	"runtime/debug"
)

// memoryGoal is how much memory the appliance itself should do with, in bytes,
// following so many logs: memory.limit, or three times what one flush holds of
// certificates (their bytes, their rows, and the rows in order), the ring, the
// program, and answers under way.
func (c *Config) memoryGoal(logs int) int64 {
	if c.Memory.Limit > 0 {
		return int64(c.Memory.Limit)
	}
	return 208<<20 + 3*int64(c.Flush.Bytes) + int64(min(16*logs, 128))<<20
}

// limitMemory makes the collector work harder before memory exceeds the goal.
// It is no bound: the pipeline's queues bound what is held. Without it the
// garbage of a fast backfill doubles the process. GOMEMLIMIT in the environment
// overrides it; the runtime has read it, and refused to start with nonsense.
func (c *Config) limitMemory(logs int) {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(c.memoryGoal(logs))
	}
}
