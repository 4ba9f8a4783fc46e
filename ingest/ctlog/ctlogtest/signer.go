package ctlogtest

import (
	"crypto/ecdh"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"fmt"
	"math/big"
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
	for i := range 64 {
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

// rsaSigner is RSA PKCS #1 v1.5 with SHA-256 over a modulus of many 128-bit
// primes: making such a key takes milliseconds, a signature ten times less than
// with two primes, and verifiers see no difference.
type rsaSigner struct {
	n      *big.Int
	primes []*big.Int
	exps   []*big.Int // d mod p-1
	coeffs []*big.Int // CRT basis: 1 mod p, 0 mod the other primes
	size   int        // bytes
}

func newRSASigner(seed uint64, label string, bits int) *rsaSigner {
	s := &rsaSigner{n: big.NewInt(1), size: bits / 8}
	e, one := big.NewInt(65537), big.NewInt(1)
	stream := rng{binary.BigEndian.Uint64(keyBytes(seed, label, 8))}
	for len(s.primes) < bits/128 {
		var b [16]byte
		stream.fill(b[:])
		b[0], b[15] = 0xff, b[15]|1 // the top byte keeps the product at full length
		p := new(big.Int).SetBytes(b[:])
		pm1 := new(big.Int).Sub(p, one)
		exp := new(big.Int)
		if !p.ProbablyPrime(16) || exp.ModInverse(e, pm1) == nil {
			continue
		}
		s.primes, s.exps = append(s.primes, p), append(s.exps, exp)
		s.n.Mul(s.n, p)
	}
	for _, p := range s.primes {
		rest := new(big.Int).Div(s.n, p)
		inv := new(big.Int).ModInverse(new(big.Int).Mod(rest, p), p)
		s.coeffs = append(s.coeffs, rest.Mul(rest, inv))
	}
	return s
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
	for i, p := range s.primes {
		t.Mod(m, p)
		t.Exp(t, s.exps[i], p)
		sum.Add(sum, t.Mul(t, s.coeffs[i]))
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
