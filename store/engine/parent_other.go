//go:build !linux

package engine

import "os/exec"

// dieWithParent does nothing here: the end of standard input tells the child.
func dieWithParent(*exec.Cmd) {}
