//go:build !linux

package engine

func machineMemory() int64         { return 0 }
func residentMemory(pid int) int64 { return 0 }
