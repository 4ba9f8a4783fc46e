package main

import (
	"flag"
	"os"
	"path/filepath"
	"testing"
)

var update = flag.Bool("update", false, "write docs/metrics.md anew")

// testKey is the public key of a log (ECDSA over P-256), made for these tests.
const testKey = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEJpPEV1ClAZc2MVlM+DLFc5eQDkgVVc/eF6pnXUM682DzpErzqFNUqKtPES+ty7/nvbdZBO2CckPhK1Z0niYAbQ=="

// writeFile makes a file in a directory of the test and returns its path.
func writeFile(t testing.TB, name, text string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil { // past the umask
		t.Fatal(err)
	}
	return path
}
