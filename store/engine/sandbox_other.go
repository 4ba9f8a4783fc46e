//go:build !linux

package engine

import "errors"

var errSandboxHalf = errors.New("starting again inside the sandbox")

// enterSandbox has no counterpart here.
func enterSandbox(dir, library string) error {
	return errors.New("this system offers no Landlock")
}

// dieWithParent has no counterpart here: the end of standard input tells.
func dieWithParent(parent int) {}
