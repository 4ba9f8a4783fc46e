package inflate

import (
	"bytes"
	stdgzip "compress/gzip"
	"io"
	"testing"

	"github.com/klauspost/compress/gzip"

	"ctappliance/internal/stagebench"
)

// BenchmarkGunzip is a real tile of 256 entries, the output's memory at hand.
func BenchmarkGunzip(b *testing.B) {
	z := tiles(b)[0]
	plain, err := Gunzip(nil, z, 1<<30)
	if err != nil {
		b.Fatal(err)
	}
	buf := make([]byte, 0, len(plain)+slack+1)
	t := stagebench.New(b)
	t.Ours("Gunzip", 256, func(int) error { _, err := Gunzip(buf, z, 1<<30); return err })
	var kr gzip.Reader
	t.Instead("klauspost gzip, reader reused", "Gunzip", 256, func(int) error {
		if err := kr.Reset(bytes.NewReader(z)); err != nil {
			return err
		}
		_, err := io.ReadFull(&kr, buf[:len(plain)])
		return err
	})
	var sr stdgzip.Reader
	t.Instead("compress/gzip, reader reused", "Gunzip", 256, func(int) error {
		if err := sr.Reset(bytes.NewReader(z)); err != nil {
			return err
		}
		_, err := io.ReadFull(&sr, buf[:len(plain)])
		return err
	})
}
