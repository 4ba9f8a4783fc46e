//go:build unix

package stagebench

import "syscall"

// cpuTime returns the processor time of this process so far, in nanoseconds.
func cpuTime() int64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic("getrusage: " + err.Error()) // it has no reason to fail
	}
	return u.Utime.Nano() + u.Stime.Nano()
}
