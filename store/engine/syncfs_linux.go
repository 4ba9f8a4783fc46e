package engine

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// syncAll brings to the disk whatever the file system of dir holds in memory:
// what a former child wrote and did not live to sync is visible, and counted,
// but not durable before this.
func syncAll(dir string) error {
	f, err := os.Open(dir)
	if err == nil {
		defer f.Close()
		err = unix.Syncfs(int(f.Fd()))
	}
	if err != nil {
		return fmt.Errorf("syncing the file system of %s: %w", dir, err)
	}
	return nil
}
