//go:build !unix

package stagebench

import "time"

var start = time.Now()

// cpuTime stands in for the processor time where there is no getrusage.
func cpuTime() int64 { return int64(time.Since(start)) }
