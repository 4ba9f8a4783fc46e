//go:build linux

package bench

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// authority makes a CA for this run and a certificate of the demo log below
// it. It returns the file that has the CA, for SSL_CERT_FILE: this is how a
// user has the program trust a log with a CA of its own.
func authority(b testing.TB) (file string, server *keyPair) {
	b.Helper()
	now := time.Now()
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "bench"}, NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(0, 0, 7),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "log"}, NotBefore: ca.NotBefore, NotAfter: ca.NotAfter,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	var der [2][]byte
	keys := [2]*ecdsa.PrivateKey{}
	for i, c := range []*x509.Certificate{ca, leaf} {
		var err error
		if keys[i], err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
			b.Fatal(err)
		}
		if der[i], err = x509.CreateCertificate(rand.Reader, c, ca, keys[i].Public(), keys[0]); err != nil {
			b.Fatal(err)
		}
	}
	file = filepath.Join(b.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der[0]}), 0o600); err != nil {
		b.Fatal(err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(keys[1])
	if err != nil {
		b.Fatal(err)
	}
	return file, &keyPair{der[1], key}
}

// keyPair is a certificate with its key as it travels to the logs' process:
// DER, the key in PKCS #8. It is good for nothing but this run.
type keyPair struct{ Certificate, Key []byte }

func (k *keyPair) config() (*tls.Config, error) {
	if k == nil {
		return nil, nil
	}
	key, err := x509.ParsePKCS8PrivateKey(k.Key)
	if err != nil {
		return nil, err
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{k.Certificate}, PrivateKey: key}}}, nil
}
