package engine

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// npmPackage names the package that holds the library for this platform.
func npmPackage() string {
	os, arch := runtime.GOOS, runtime.GOARCH
	if arch == "amd64" {
		arch = "x64"
	}
	name := "@chdb/lib-" + os + "-" + arch
	if os == "linux" {
		name += "-gnu"
	}
	return name
}

// libraryName is the file's name on every platform the package exists for.
const libraryName = "libchdb.so"

// NotFoundError says that the engine's library is nowhere it was looked for.
type NotFoundError struct {
	Tried []string // paths, in the order they were looked at
}

func (e *NotFoundError) Error() string {
	return fmt.Sprintf("the ClickHouse library %s was not found (looked at %s). Get it with `make engine`, or with `npm install --prefix DIR %s@%s`, "+
		"then set CHDB_LIB_PATH to the file or put it next to the binary; or point store.dsn at a ClickHouse server",
		libraryName, strings.Join(e.Tried, ", "), npmPackage(), npmVersion)
}

// Find looks for the engine's library: the configured path, CHDB_LIB_PATH,
// next to the binary, in dataDir (and what npm makes there), /usr/local/lib.
// configured and dataDir may be empty. A configured path, or one from the
// environment, that does not exist is not passed over in silence: nothing
// after it is looked at.
func Find(configured, dataDir string) (path string, err error) {
	e := &NotFoundError{}
	for _, p := range []string{configured, os.Getenv("CHDB_LIB_PATH")} {
		if p == "" {
			continue
		}
		if st, err := os.Stat(p); err == nil && st.IsDir() {
			p = filepath.Join(p, libraryName)
		}
		if isFile(p) {
			return filepath.Abs(p)
		}
		e.Tried = append(e.Tried, p)
		return "", e
	}
	var dirs []string
	if exe, err := os.Executable(); err == nil {
		dirs = append(dirs, filepath.Dir(exe))
	}
	if dataDir != "" {
		dirs = append(dirs, dataDir, filepath.Join(dataDir, "node_modules", filepath.FromSlash(npmPackage())))
	}
	dirs = append(dirs, "/usr/local/lib")
	for _, d := range dirs {
		p := filepath.Join(d, libraryName)
		if isFile(p) {
			return filepath.Abs(p)
		}
		e.Tried = append(e.Tried, p)
	}
	return "", e
}

func isFile(p string) bool {
	st, err := os.Stat(p)
	return err == nil && st.Mode().IsRegular()
}
