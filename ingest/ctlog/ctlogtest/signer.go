package ctlogtest

import (
	"crypto/ecdh"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"fmt"
	"math/big"
	"math/bits"
)

// The signers of this file exist for speed and for giving the same bytes on
// every run. Their keys follow from a seed, the elliptic ones use a few nonces
// over and over, and the RSA moduli have many small factors: each signature
// verifies, none protects anything. A log's own key, which signs heads, is not
// made here.

// caSigner signs certificates.
type caSigner interface {
	algorithm() []byte               // AlgorithmIdentifier, DER
	spki() []byte                    // SubjectPublicKeyInfo, DER
	sign(dst, message []byte) []byte // appends the signature value
}

// keyBytes derives n bytes from a seed and a label.
func keyBytes(seed uint64, label string, n int) []byte {
	var out []byte
	for i := uint32(0); len(out) < n; i++ {
		b := binary.BigEndian.AppendUint64(nil, seed)
		b = binary.BigEndian.AppendUint32(b, i)
		h := sha512.Sum512(append(b, label...))
		out = append(out, h[:]...)
	}
	return out[:n]
}

// scalar derives a number in [1, order).
func scalar(seed uint64, label string, order *big.Int) *big.Int {
	n := new(big.Int).SetBytes(keyBytes(seed, label, (order.BitLen()+7)/8+8))
	n.Mod(n, new(big.Int).Sub(order, big.NewInt(1)))
	return n.Add(n, big.NewInt(1))
}

var (
	algECDSA256 = derOf(func(d *der) { s := d.open(tagSequence); d.oid(1, 2, 840, 10045, 4, 3, 2); d.close(s) })
	algECDSA384 = derOf(func(d *der) { s := d.open(tagSequence); d.oid(1, 2, 840, 10045, 4, 3, 3); d.close(s) })
	algRSA256   = derOf(func(d *der) {
		s := d.open(tagSequence)
		d.oid(1, 2, 840, 113549, 1, 1, 11)
		d.bytes(tagNull, 0)
		d.close(s)
	})
)

// P-256 and P-384 orders (FIPS 186-5, D.1.2).
var (
	orderP256, _ = new(big.Int).SetString("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551", 16)
	orderP384, _ = new(big.Int).SetString("ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973", 16)
)

// nonce is a k whose costly half is done: a signature with it is
// (r, kInv·z + rdk).
type nonce struct{ r, kInv, rdk *big.Int }

type ecSigner struct {
	big    bool // P-384 with SHA-384, else P-256 with SHA-256
	order  *big.Int
	point  []byte
	nonces []nonce
}

func newECSigner(seed uint64, label string, p384 bool) *ecSigner {
	s := &ecSigner{big: p384, order: orderP256}
	if p384 {
		s.order = orderP384
	}
	d := scalar(seed, label, s.order)
	s.point = s.mult(d)
	for i := range 16 {
		k := scalar(seed, fmt.Sprintf("%s nonce %d", label, i), s.order)
		r := new(big.Int).SetBytes(s.mult(k)[1 : 1+(s.order.BitLen()+7)/8])
		r.Mod(r, s.order)
		kInv := new(big.Int).ModInverse(k, s.order)
		rdk := new(big.Int).Mul(r, d)
		rdk.Mul(rdk, kInv).Mod(rdk, s.order)
		s.nonces = append(s.nonces, nonce{r, kInv, rdk})
	}
	return s
}

// mult returns k times the base point, uncompressed.
func (s *ecSigner) mult(k *big.Int) []byte {
	c := ecdh.P256()
	if s.big {
		c = ecdh.P384()
	}
	priv, err := c.NewPrivateKey(k.FillBytes(make([]byte, (s.order.BitLen()+7)/8)))
	if err != nil {
		panic("ctlogtest: scalar out of range: " + err.Error()) // scalar() makes none
	}
	return priv.PublicKey().Bytes()
}

func (s *ecSigner) algorithm() []byte {
	if s.big {
		return algECDSA384
	}
	return algECDSA256
}

func (s *ecSigner) spki() []byte { return ecSPKI(s.point) }

// ecSPKI returns the SubjectPublicKeyInfo of an uncompressed point.
func ecSPKI(point []byte) []byte {
	return derOf(func(d *der) {
		s := d.open(tagSequence)
		a := d.open(tagSequence)
		d.oid(1, 2, 840, 10045, 2, 1)
		if len(point) == 65 {
			d.oid(1, 2, 840, 10045, 3, 1, 7)
		} else {
			d.oid(1, 3, 132, 0, 34)
		}
		d.close(a)
		b := d.open(tagBitString)
		d.bytes(0)
		d.raw(point)
		d.close(b)
		d.close(s)
	})
}

func (s *ecSigner) sign(dst, message []byte) []byte {
	var sum [48]byte
	var h []byte
	if s.big {
		sum = sha512.Sum384(message)
		h = sum[:]
	} else {
		s2 := sha256.Sum256(message)
		h = append(sum[:0], s2[:]...)
	}
	n := s.nonces[int(h[0])%len(s.nonces)]
	v := new(big.Int).SetBytes(h)
	v.Mul(v, n.kInv).Add(v, n.rdk).Mod(v, s.order)
	d := der{dst}
	at := d.open(tagSequence)
	var buf [48]byte
	l := (s.order.BitLen() + 7) / 8
	d.uint(n.r.FillBytes(buf[:l]))
	d.uint(v.FillBytes(buf[:l]))
	d.close(at)
	return d.b
}

// rsaSigner is RSA PKCS #1 v1.5 with SHA-256 over a modulus of many 64-bit
// primes: making such a key takes milliseconds, and a signature a fortieth of
// what it takes with two primes. Verifiers see no difference.
type rsaSigner struct {
	n      *big.Int
	primes []rsaPrime
	size   int // bytes
}

type rsaPrime struct {
	p     montgomery
	big   *big.Int
	exp   uint64   // d mod p-1
	coeff *big.Int // CRT basis: 1 mod p, 0 mod the other primes
}

func newRSASigner(seed uint64, label string, size int) *rsaSigner {
	s := &rsaSigner{n: big.NewInt(1), size: size / 8}
	e, have := big.NewInt(65537), map[uint64]bool{}
	stream := rng{binary.BigEndian.Uint64(keyBytes(seed, label, 8))}
	for len(s.primes) < size/64 {
		v := stream.next() | 0xff<<56 | 1 // the top byte keeps the product at full length
		p := new(big.Int).SetUint64(v)
		exp := new(big.Int)
		if have[v] || !p.ProbablyPrime(8) || exp.ModInverse(e, new(big.Int).SetUint64(v-1)) == nil {
			continue
		}
		have[v] = true
		s.primes = append(s.primes, rsaPrime{p: newMontgomery(v), big: p, exp: exp.Uint64()})
		s.n.Mul(s.n, p)
	}
	for i := range s.primes {
		p := &s.primes[i]
		rest := new(big.Int).Div(s.n, p.big)
		inv := new(big.Int).ModInverse(new(big.Int).Mod(rest, p.big), p.big)
		p.coeff = rest.Mul(rest, inv)
	}
	return s
}

// montgomery does arithmetic modulo an odd number of 64 bits.
type montgomery struct {
	n   uint64
	neg uint64 // -1/n mod 2^64
	one uint64 // 2^64 mod n
	sq  uint64 // 2^128 mod n
}

func newMontgomery(n uint64) montgomery {
	inv := n // Newton: right to 3 bits, and twice as many at each step
	for range 5 {
		inv *= 2 - n*inv
	}
	m := montgomery{n: n, neg: -inv}
	_, m.one = bits.Div64(1%n, 0, n)
	_, m.sq = bits.Div64(m.one, 0, n)
	return m
}

// mul returns a·b/2^64 mod n, for a and b below n.
func (m *montgomery) mul(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	h, l := bits.Mul64(lo*m.neg, m.n)
	_, c := bits.Add64(lo, l, 0)
	t, c := bits.Add64(hi, h, c)
	if c != 0 || t >= m.n {
		t -= m.n
	}
	return t
}

// exp returns b^e mod n, for b below n.
func (m *montgomery) exp(b, e uint64) uint64 {
	x, r := m.mul(b, m.sq), m.one
	for i := bits.Len64(e) - 1; i >= 0; i-- {
		r = m.mul(r, r)
		if e>>i&1 != 0 {
			r = m.mul(r, x)
		}
	}
	return m.mul(r, 1)
}

func (s *rsaSigner) algorithm() []byte { return algRSA256 }

func (s *rsaSigner) spki() []byte { return rsaSPKI(s.n.Bytes()) }

// rsaSPKI returns the SubjectPublicKeyInfo of a modulus with exponent 65537.
func rsaSPKI(modulus []byte) []byte {
	return derOf(func(d *der) {
		s := d.open(tagSequence)
		a := d.open(tagSequence)
		d.oid(1, 2, 840, 113549, 1, 1, 1)
		d.bytes(tagNull, 0)
		d.close(a)
		b := d.open(tagBitString)
		d.bytes(0)
		k := d.open(tagSequence)
		d.uint(modulus)
		d.uint([]byte{1, 0, 1})
		d.close(k)
		d.close(b)
		d.close(s)
	})
}

// sha256Info is the DER DigestInfo prefix of SHA-256 (RFC 8017 section 9.2).
var sha256Info = []byte{0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20}

func (s *rsaSigner) sign(dst, message []byte) []byte {
	h := sha256.Sum256(message)
	em := make([]byte, s.size)
	em[1] = 1
	pad := s.size - len(sha256Info) - len(h)
	for i := 2; i < pad-1; i++ {
		em[i] = 0xff
	}
	copy(em[pad:], sha256Info)
	copy(em[pad+len(sha256Info):], h[:])
	m, sum, t := new(big.Int).SetBytes(em), new(big.Int), new(big.Int)
	for i := range s.primes {
		p := &s.primes[i]
		t.SetUint64(p.p.exp(t.Mod(m, p.big).Uint64(), p.exp))
		sum.Add(sum, t.Mul(t, p.coeff))
	}
	sum.Mod(sum, s.n)
	return append(dst, sum.FillBytes(em)...)
}

// bitString wraps a signature made by s over message and appends it.
func appendSignature(d *der, s caSigner, message []byte) {
	at := d.open(tagBitString)
	d.bytes(0)
	d.b = s.sign(d.b, message)
	d.close(at)
}
