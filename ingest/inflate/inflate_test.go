package inflate

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// plains are texts of all sorts: none, short, random, repeated near and far,
// few symbols, many.
func plains() map[string][]byte {
	r := rand.New(rand.NewPCG(1, 2))
	random := make([]byte, 70_000)
	for i := range random {
		random[i] = byte(r.Uint32())
	}
	few := make([]byte, 50_000)
	for i := range few {
		few[i] = "ab"[r.IntN(2)]
	}
	var skewed, far, near []byte
	for len(skewed) < 300_000 {
		skewed = append(skewed, byte(r.ExpFloat64()*9))
	}
	for range 12 {
		far = append(far, random[:32768-r.IntN(3)]...)
	}
	for len(near) < 40_000 {
		near = append(near, bytes.Repeat(random[len(near)%1000:][:1+r.IntN(20)], 1+r.IntN(40))...)
	}
	return map[string][]byte{
		"nothing": nil, "a byte": {7}, "zeros": make([]byte, 100_000), "random": random, "few": few,
		"skewed": skewed, "far": far, "near": near, "mixed": bytes.Join([][]byte{near, random[:9000], skewed[:20_000], far[:50_000]}, nil),
	}
}

func compress(t testing.TB, level int, plain []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, level)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(plain); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestGunzip decompresses what compress/gzip compressed, behind other bytes,
// with and without a true length at the end.
func TestGunzip(t *testing.T) {
	for name, plain := range plains() {
		for _, level := range []int{gzip.HuffmanOnly, gzip.NoCompression, 1, 6, 9} {
			z := compress(t, level, plain)
			for _, limit := range []int64{int64(len(plain)), 1 << 30} {
				got, err := Gunzip([]byte("ab"), z, limit)
				if err != nil || !bytes.Equal(got, append([]byte("ab"), plain...)) {
					t.Errorf("%s, level %d, limit %d: %d bytes, %v; want %d", name, level, limit, len(got), err, 2+len(plain))
				}
			}
			if len(plain) > 0 {
				if _, err := Gunzip(nil, z, int64(len(plain)-1)); !errors.Is(err, ErrLimit) {
					t.Errorf("%s, level %d: one byte less is allowed: %v", name, level, err)
				}
			}
			// Several members are one text.
			got, err := Gunzip(nil, append(bytes.Clone(z), z...), 1<<30)
			if err != nil || !bytes.Equal(got, append(bytes.Clone(plain), plain...)) {
				t.Errorf("%s, level %d, twice: %d bytes, %v", name, level, len(got), err)
			}
		}
	}
}

// TestDamage: every byte of a file counts, cut anywhere it is refused, and what
// follows it must be another member.
func TestDamage(t *testing.T) {
	plain := append(bytes.Repeat([]byte("some text, "), 40), plains()["random"][:300]...)
	z := compress(t, 6, plain)
	for n := range z {
		if _, err := Gunzip(nil, z[:n], 1<<20); err == nil {
			t.Errorf("cut at %d of %d: accepted", n, len(z))
		}
		bad := bytes.Clone(z)
		bad[n] ^= 0x10
		got, err := Gunzip(nil, bad, 1<<20)
		if n >= 3 && n < 10 {
			continue // time, system and flags: other checks' business
		}
		if err == nil {
			t.Errorf("byte %d changed: accepted, equal %v", n, bytes.Equal(got, plain))
		}
	}
	if _, err := Gunzip(nil, append(bytes.Clone(z), "junk that is long enough"...), 1<<20); !errors.Is(err, ErrHeader) {
		t.Errorf("junk behind it: %v", err)
	}
	if _, err := Gunzip(nil, []byte("<html><body>"), 1<<20); !errors.Is(err, ErrHeader) {
		t.Errorf("a page: %v", err)
	}
	if _, err := Gunzip(nil, nil, 1<<20); !errors.Is(err, ErrCut) {
		t.Errorf("nothing: %v", err)
	}
}

// TestHeaders are members with all that a header may have.
func TestHeaders(t *testing.T) {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Name, w.Comment, w.Extra = "a name", "a comment", []byte("extra")
	w.Write([]byte("text"))
	w.Close()
	z := b.Bytes()
	got, err := Gunzip(nil, z, 100)
	if err != nil || string(got) != "text" {
		t.Fatalf("got %q, %v", got, err)
	}
	for n := range z {
		if _, err := Gunzip(nil, z[:n], 100); err == nil {
			t.Errorf("cut at %d: accepted", n)
		}
	}
	// With a checksum of the header, which compress/gzip reads but never writes.
	plain := compress(t, 6, []byte("text"))
	crc := []byte{0x1f, 0x8b, 8, 2, 0, 0, 0, 0, 0, 0xff, 0, 0}
	for sum := range 1 << 16 {
		crc[10], crc[11] = byte(sum), byte(sum>>8)
		z := append(crc[:12:12], plain[10:]...)
		_, err := Gunzip(nil, z, 100)
		_, want := oracle(z)
		if (err == nil) != (want == nil) {
			t.Fatalf("header checksum %04x: %v, compress/gzip says %v", sum, err, want)
		}
	}
}

// TestBomb: memory is taken as it is filled, and not far beyond the limit.
func TestBomb(t *testing.T) {
	lie := compress(t, 6, []byte("short"))
	copy(lie[len(lie)-4:], "\xff\xff\xff\x7f")
	for _, c := range []struct {
		name  string
		z     []byte
		limit int64
		want  error
	}{
		{"40 MB of zeros", compress(t, 9, make([]byte, 40<<20)), 1 << 20, ErrLimit},
		{"40 MB of zeros, one by one", compress(t, gzip.HuffmanOnly, make([]byte, 40<<20)), 1 << 20, ErrLimit},
		{"2 GiB promised", lie, 1 << 30, ErrChecksum},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		got, err := Gunzip(nil, c.z, c.limit)
		runtime.ReadMemStats(&after)
		if took := after.TotalAlloc - before.TotalAlloc; !errors.Is(err, c.want) || got != nil || took > 8<<20 {
			t.Errorf("%s: %d bytes, %v; took %d bytes of memory", c.name, len(got), err, took)
		}
	}
}

// oracle decompresses with the standard library.
func oracle(z []byte) ([]byte, error) {
	r, err := gzip.NewReader(bytes.NewReader(z))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}

// agree compares a raw stream with compress/flate: whether it is one, what it
// holds, and where it ends.
func agree(t *testing.T, z []byte, room int) {
	t.Helper()
	const limit = 1 << 20
	in := bytes.NewReader(z)
	want, wantErr := io.ReadAll(io.LimitReader(flate.NewReader(in), limit+1))
	var d decoder
	got, rest, err := d.inflate(make([]byte, 3, 3+room), z, limit+3)
	if len(want) > limit {
		if !errors.Is(err, ErrLimit) && err == nil {
			t.Fatalf("%x: more than the limit was accepted", z)
		}
		return
	}
	if (err == nil) != (wantErr == nil) {
		t.Fatalf("%x: %v, compress/flate says %v", z, err, wantErr)
	}
	if err != nil {
		if got != nil {
			t.Fatalf("%x: bytes with an error", z)
		}
		return
	}
	if !bytes.Equal(got[3:], want) || !bytes.Equal(got[:3], make([]byte, 3)) {
		t.Fatalf("%x: %d bytes that are not compress/flate's %d", z, len(got)-3, len(want))
	}
	if len(rest) != in.Len() {
		t.Fatalf("%x: %d bytes are left, compress/flate leaves %d", z, len(rest), in.Len())
	}
}

// TestMutants changes streams of all kinds and compares with compress/flate.
func TestMutants(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	n := 300
	if testing.Short() {
		n = 30
	}
	for name, plain := range plains() {
		for _, level := range []int{gzip.HuffmanOnly, gzip.NoCompression, 1, 6, 9} {
			var b bytes.Buffer
			w, _ := flate.NewWriter(&b, level)
			w.Write(plain[:min(len(plain), 3000)])
			w.Close()
			z := b.Bytes()
			t.Run(fmt.Sprintf("%s/%d", name, level), func(t *testing.T) {
				agree(t, z, 0)
				agree(t, z, 1<<16)
				for range n {
					m := bytes.Clone(z)
					for range 1 + r.IntN(3) {
						// Headers, where codes are said, are at the front.
						m[r.IntN(1+r.IntN(len(m)))] ^= 1 << r.IntN(8)
					}
					agree(t, m[:len(m)-r.IntN(2)*r.IntN(len(m))], r.IntN(2)<<14)
				}
			})
		}
	}
}

// TestRandomStreams are bytes that nobody compressed.
func TestRandomStreams(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 20_000 {
		z := make([]byte, r.IntN(120))
		for i := range z {
			z[i] = byte(r.Uint32())
		}
		if len(z) > 0 {
			z[0] = z[0]&^6 | byte(r.IntN(3))<<1
		}
		agree(t, z, r.IntN(2)<<14)
	}
}

// TestTiles decompresses what real logs serve.
func TestTiles(t *testing.T) {
	for _, z := range tiles(t) {
		want, err := oracle(z)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := Gunzip(nil, z, 1<<30); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes: %v", len(got), err)
		}
		agree(t, z[10:], 0)
	}
}

// tiles are captured data tiles, gzip-compressed by their logs.
func tiles(t testing.TB) (out [][]byte) {
	dir := os.Getenv("CTAPPLIANCE_DATA")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "shared", "data")
	}
	for _, name := range []string{"000", "241.p/194"} {
		b, err := os.ReadFile(filepath.Join(dir, "captured-local", "static", "tile", "data", name))
		if err != nil {
			t.Skipf("no captured tiles: %v; set CTAPPLIANCE_DATA", err)
		}
		if bytes.HasPrefix(b, []byte{0x1f, 0x8b}) {
			out = append(out, b)
		}
	}
	return out
}

func FuzzInflate(f *testing.F) {
	for _, plain := range plains() {
		for _, level := range []int{1, 6, gzip.HuffmanOnly} {
			var b bytes.Buffer
			w, _ := flate.NewWriter(&b, level)
			w.Write(plain[:min(len(plain), 700)])
			w.Close()
			f.Add(b.Bytes(), true)
		}
	}
	f.Fuzz(func(t *testing.T, z []byte, roomy bool) {
		room := 0
		if roomy {
			room = 1 << 14
		}
		agree(t, z, room)
	})
}

func FuzzGunzip(f *testing.F) {
	f.Add(compress(f, 6, []byte("text")))
	f.Add(compress(f, 6, nil))
	f.Fuzz(func(t *testing.T, z []byte) {
		const limit = 1 << 20
		got, err := Gunzip(nil, z, limit)
		want, wantErr := oracle(z)
		if len(want) > limit {
			return
		}
		if (err == nil) != (wantErr == nil) || err == nil && !bytes.Equal(got, want) {
			t.Fatalf("%d bytes, %v; compress/gzip says %d bytes, %v", len(got), err, len(want), wantErr)
		}
	})
}
