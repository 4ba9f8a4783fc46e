package engine

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The engine reads any file its process may read, and connects wherever its
// process may connect, for whoever can say SELECT: the scalar function file
// and DESCRIBE of a table function work under readonly=1. So the process may
// not. Landlock (Linux 5.13, TCP since 6.7) takes the rights away for good,
// without privileges.
//
// A Landlock domain belongs to a thread, and Go has many by the time main
// runs. Therefore one thread enters the domain and then executes the program
// again: the new process has that thread's domain from its first instruction.

const (
	fsRead  = unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_READ_DIR
	fsExec  = fsRead | unix.LANDLOCK_ACCESS_FS_EXECUTE
	fsWrite = fsRead | unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_REMOVE_DIR | unix.LANDLOCK_ACCESS_FS_REMOVE_FILE |
		unix.LANDLOCK_ACCESS_FS_MAKE_DIR | unix.LANDLOCK_ACCESS_FS_MAKE_REG | unix.LANDLOCK_ACCESS_FS_MAKE_SYM |
		unix.LANDLOCK_ACCESS_FS_REFER | unix.LANDLOCK_ACCESS_FS_TRUNCATE
	fsFileOnly = unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_TRUNCATE
)

// enterSandbox confines the process to dir, the library and the system's own
// libraries, and forbids TCP connections. It does not return where it succeeds: the
// program starts again, with sandboxEnv set. An error means that the kernel
// has no Landlock; the caller goes on without.
func enterSandbox(dir, library string) error {
	abi, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		return fmt.Errorf("the kernel offers no Landlock: %w", errno)
	}
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	// What is handled and not granted is denied; rights newer than the kernel
	// must not be named.
	handled := uint64(0x1fff) // ABI 1
	attr := unix.LandlockRulesetAttr{}
	if abi >= 2 {
		handled |= unix.LANDLOCK_ACCESS_FS_REFER
	}
	if abi >= 3 {
		handled |= unix.LANDLOCK_ACCESS_FS_TRUNCATE
	}
	size := unsafe.Sizeof(attr.Handled_access_fs)
	if abi >= 4 {
		attr.Handled_access_net = unix.LANDLOCK_ACCESS_NET_CONNECT_TCP
		size += unsafe.Sizeof(attr.Handled_access_net)
	}
	attr.Handled_access_fs = handled
	fd, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attr)), size, 0)
	if errno != 0 {
		return fmt.Errorf("making Landlock rules: %w", errno)
	}
	defer unix.Close(int(fd))
	rules := []struct {
		path   string
		access uint64
	}{
		{dir, fsWrite}, {library, fsExec}, {exe, fsExec},
		{"/lib", fsExec}, {"/lib64", fsExec}, {"/usr/lib", fsExec}, {"/usr/lib64", fsExec}, {"/usr/local/lib", fsExec},
		// Not all of /proc: the parent's environment and memory are there too.
		{"/proc/self", fsRead}, {"/proc/sys", fsRead}, {"/proc/meminfo", fsRead}, {"/proc/cpuinfo", fsRead}, {"/proc/stat", fsRead}, {"/proc/loadavg", fsRead},
		{"/sys", fsRead}, {"/usr/share/zoneinfo", fsRead},
		{"/etc/ld.so.cache", fsRead}, {"/etc/localtime", fsRead}, {"/etc/timezone", fsRead},
		{"/etc/hosts", fsRead}, {"/etc/nsswitch.conf", fsRead}, {"/etc/host.conf", fsRead},
		{"/dev/null", fsRead | unix.LANDLOCK_ACCESS_FS_WRITE_FILE}, {"/dev/urandom", fsRead}, {"/dev/random", fsRead}, {"/dev/zero", fsRead},
	}
	for _, r := range rules {
		if err := allowPath(int(fd), r.path, r.access&handled); err != nil {
			return err
		}
	}
	runtime.LockOSThread() // until Exec; on failure the thread ends with the goroutine that cannot go on
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("giving up privileges: %w", err)
	}
	if _, _, errno := unix.Syscall(unix.SYS_LANDLOCK_RESTRICT_SELF, fd, 0, 0); errno != 0 {
		return fmt.Errorf("entering Landlock rules: %w", errno)
	}
	env := append(os.Environ(), fmt.Sprintf("%s=landlock %d", sandboxEnv, abi))
	return fmt.Errorf("%w: %w", errSandboxHalf, unix.Exec(exe, os.Args, env))
}

// errSandboxHalf means that one thread is confined and the rest are not: such
// a process must end.
var errSandboxHalf = errors.New("starting again inside the sandbox")

func allowPath(ruleset int, path string, access uint64) error {
	p, err := filepath.EvalSymlinks(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil // not every system has each of them
	}
	if err != nil {
		return fmt.Errorf("making Landlock rules: %w", err)
	}
	fd, err := unix.Open(p, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("making Landlock rules for %s: %w", p, err)
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return fmt.Errorf("making Landlock rules for %s: %w", p, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		access &= fsFileOnly
	}
	rule := unix.LandlockPathBeneathAttr{Allowed_access: access, Parent_fd: int32(fd)}
	if _, _, errno := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, uintptr(ruleset), unix.LANDLOCK_RULE_PATH_BENEATH, uintptr(unsafe.Pointer(&rule)), 0, 0, 0); errno != 0 {
		return fmt.Errorf("making Landlock rules for %s: %w", p, errno)
	}
	return nil
}

// dieWithParent asks the kernel to kill this process when its parent dies, and
// ends it at once if that has happened already. The request belongs to the
// calling thread, which therefore stays.
func dieWithParent(parent int) {
	done := make(chan struct{})
	go func() {
		runtime.LockOSThread()
		unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0)
		close(done)
		select {}
	}()
	<-done
	if parent != 0 && os.Getppid() != parent {
		os.Exit(1)
	}
}
