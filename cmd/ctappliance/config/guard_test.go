package config

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"math/big"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// The contact goes into a header of every request: nothing in it ends one.
func TestContactIsAHeader(t *testing.T) {
	for _, s := range []string{"ops@corp.net\r\nX-Evil: 1", "ops@corp.net\x00", "https://corp.net/\n", "https://corp.net/(comment)", "öps@corp.net", "https://corp.net/" + strings.Repeat("a", 300)} {
		if err := checkContact(s); err == nil || strings.ContainsAny(err.Error(), "\r\n\x00") {
			t.Errorf("%q: %v", s, err)
		}
	}
	if err := checkContact("https://corp.net/ct"); err != nil {
		t.Error(err)
	}
}

// A DSN that is no URL may hold a password all the same.
func TestDSNErrorHidesThePassword(t *testing.T) {
	_, err := read(Input{Environ: []string{"CTAPPLIANCE_STORE_DSN=https://u:hunter2%zz@db.example/"}})
	if err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Error(err)
	}
}

func TestSmallFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, make([]byte, 100), 0o640); err != nil {
		t.Fatal(err)
	}
	if text, mode, err := ReadSmallFile(path, 100); err != nil || len(text) != 100 || mode != 0o640 {
		t.Errorf("%d bytes, mode %o, %v", len(text), mode, err)
	}
	if _, _, err := ReadSmallFile(path, 99); err == nil {
		t.Error("a file of 100 bytes passes for one of 99")
	}
}

// Keys that are fine elsewhere and that no log may have.
func TestKeysOfLogs(t *testing.T) {
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	weak := new(big.Int).Lsh(big.NewInt(1), 1023)
	for name, c := range map[string]struct {
		key any
		ok  bool
	}{"P-256": {&p256.PublicKey, true}, "P-384": {&p384.PublicKey, false}, "RSA of 1024 bits": {&rsa.PublicKey{N: weak.Add(weak, big.NewInt(1)), E: 65537}, false}} {
		der, err := x509.MarshalPKIXPublicKey(c.key)
		if err != nil {
			t.Fatal(err)
		}
		l := LogConfig{Key: base64.StdEncoding.EncodeToString(der)}
		if _, err := l.PublicKeyDER(); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A value that somebody wrote into a file does not command the terminal of who
// prints the configuration.
func TestYAMLTextIsHarmless(t *testing.T) {
	for _, s := range []string{"\x1b[31mred", "two\nlines", "\u202eright to left", `quote " and backslash \\`} {
		if got := yamlText(reflect.ValueOf(s)); strings.ContainsAny(got, "\x1b\n\u202e") || !strings.HasPrefix(got, `"`) {
			t.Errorf("%q becomes %q", s, got)
		}
	}
}
