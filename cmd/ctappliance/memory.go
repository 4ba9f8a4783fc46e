package main

import (
	"os"
	"runtime/debug"
)

// memoryGoal is how much memory the appliance itself should do with, in bytes:
// memory.limit, or what the columns of two flushes and the encoded tables of one
// take, some half of their certificates each; the ring, the program, and answers
// under way, which are no more with many logs than with one.
func (c *settings) memoryGoal() int64 {
	if c.Memory.Limit > 0 {
		return int64(c.Memory.Limit)
	}
	return 193<<20 + 3*int64(c.Flush.Bytes)/2
}

// limitMemory makes the collector work harder before memory exceeds the goal.
// It is no bound: the pipeline's queues bound what is held. Without it the
// garbage of a fast backfill doubles the process. GOMEMLIMIT in the environment
// overrides it; the runtime has read it, and refused to start with nonsense.
func (c *settings) limitMemory() {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(c.memoryGoal())
	}
}
