package durable

import (
	"math"
	"os"
	"syscall"
)

// fallocate extends f to size bytes and reserves their blocks.
func fallocate(f *os.File, size int64) error {
	for {
		err := syscall.Fallocate(int(f.Fd()), 0, 0, size)
		if err != syscall.EINTR {
			return err
		}
	}
}

func fdatasync(f *os.File) error {
	for {
		err := syscall.Fdatasync(int(f.Fd()))
		if err != syscall.EINTR {
			return err
		}
	}
}

// free multiplies in the order that cannot overflow silently: a file system
// that claims more than an int64 can count has enough.
func free(name string) (int64, error) {
	var st syscall.Statfs_t
	for {
		err := syscall.Statfs(name, &st)
		if err == syscall.EINTR {
			continue
		}
		if err != nil {
			return 0, err
		}
		break
	}
	size := st.Frsize
	if size <= 0 {
		size = st.Bsize
	}
	if size <= 0 || st.Bavail > uint64(math.MaxInt64/size) {
		return math.MaxInt64, nil
	}
	return int64(st.Bavail) * size, nil
}
