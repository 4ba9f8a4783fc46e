package ctlogtest

import (
	"crypto/sha256"
	"encoding/binary"
	"math/big"
	"strconv"
	"time"
)

// Extension identifiers of RFC 6962 section 3.1 and 3.3.
var (
	oidPoison  = []uint64{1, 3, 6, 1, 4, 1, 11129, 2, 4, 3}
	oidSCTList = []uint64{1, 3, 6, 1, 4, 1, 11129, 2, 4, 2}
)

// certificate is what one generated certificate is made from: everything
// follows from the seed and its number. The three forms of it that appear in
// logs (leaf TBS, precertificate, final certificate) differ in one extension
// only, as RFC 6962 section 3.2 demands.
type certificate struct {
	ca      *authority
	before  []byte   // TBS fields between the issuer and the extensions
	serial  []byte   // serial number and signature algorithm
	exts    [][]byte // extensions without poison and SCT list
	aki     int      // which of exts is the authority key identifier
	cut     int      // where poison or SCT list stand among exts
	sctList []byte   // extension
}

var poison = derOf(func(d *der) {
	d.extension(oidPoison, true, func() { d.bytes(tagNull, 0) })
})

// newCertificate makes certificate number n, issued at t.
func newCertificate(seed, n uint64, h *hierarchy, t time.Time, of *customers) *certificate {
	r := newRNG(seed, 'c', n)
	c := &certificate{ca: h.pick(&r)}
	a := c.ca
	who := uint64(of.sites) + n
	if r.chance(of.renewed) {
		u := r.float()
		who = uint64(u * u * u * of.sites) // few sites renew much, many little
	}
	s := newSite(seed, who, of)

	var d der
	d.b = make([]byte, 0, 1024)
	serial := make([]byte, 16+2*r.intn(2))
	r.fill(serial)
	if serial[0] &= 0x7f; serial[0] == 0 {
		serial[0] = 1
	}
	d.uint(serial)
	d.raw(a.key.algorithm())
	c.serial = d.b

	d.b = make([]byte, 0, 512)
	validity := d.open(tagSequence)
	notBefore := t.Truncate(time.Second).Add(-58*time.Minute - 30*time.Second)
	d.time(notBefore)
	d.time(notBefore.Add(time.Duration(a.days)*24*time.Hour - time.Second))
	d.close(validity)
	c.subject(&d, &s, &r)
	keyID := c.subjectKey(&d, &r, h, seed, who, n)
	c.before = d.b
	c.extensions(&s, &r, keyID)
	c.scts(&r, seed, t)
	return c
}

func (c *certificate) subject(d *der, s *site, r *rng) {
	cn := attr{oidCN, tagPrintable, s.names[0]}
	if s.names[0][0] == '*' || len(s.names[0]) > 64 {
		cn.tag = tagUTF8 // PrintableString has no asterisk
	}
	country := attr{oidC, tagPrintable, s.place[0]}
	place := []attr{{oidST, tagUTF8, s.place[1]}, {oidL, tagUTF8, s.place[2]}}
	org := attr{oidO, tagUTF8, s.org}
	var dn []attr
	switch {
	case c.ca.validation == extendedValidation:
		dn = append(dn, attr{oidJurisdiction, tagPrintable, s.place[0]}, attr{oidCategory, tagPrintable, "Private Organization"},
			attr{oidSerialNumber, tagPrintable, strconv.Itoa(100000 + r.intn(900000))}, country)
		dn = append(append(dn, place...), org, cn)
	case c.ca.validation == organizationValidated:
		dn = append(append(append(dn, country), place...), org, cn)
	case len(s.names[0]) > 64 || c.ca.noCN && r.chance(0.25):
		// An empty subject: the names are in the extension only.
	default:
		dn = append(dn, cn)
	}
	d.dn(dn)
}

// subjectKey appends a SubjectPublicKeyInfo and returns its identifier. Most
// certificates have a key of their own, some renewals keep the site's; P-384
// keys are dear to make, and rare, so that they come out of a pool.
func (c *certificate) subjectKey(d *der, r *rng, h *hierarchy, seed, who, n uint64) []byte {
	kr := newRNG(seed, 'k', n)
	if r.chance(0.1) {
		kr = newRNG(seed, 'K', who)
	}
	at := len(d.b)
	switch p := kr.float(); {
	case p < 0.44:
		ec := ecSigner{order: orderP256}
		var k [32]byte
		kr.fill(k[:])
		k[0] &= 0x7f // below the order
		d.raw(ecSPKI(ec.mult(new(big.Int).SetBytes(k[:]))))
	case p < 0.46:
		d.raw(h.p384[kr.intn(len(h.p384))])
	default:
		// Nobody signs with these keys, so an odd number is modulus enough.
		size := 256
		if p > 0.95 {
			size = 512
		}
		m := make([]byte, size)
		kr.fill(m)
		m[0] |= 0x80
		m[size-1] |= 1
		d.raw(rsaSPKI(m))
	}
	return keyIDOf(d.b[at:])
}

func (c *certificate) extensions(s *site, r *rng, keyID []byte) {
	a := c.ca
	ext := func(critical bool, f func(*der), oid ...uint64) []byte {
		d := der{make([]byte, 0, 96)}
		d.extension(oid, critical, func() { f(&d) })
		return d.b
	}
	ku := ext(true, func(d *der) { d.bytes(tagBitString, 2, 5, 0xa0) }, 2, 5, 29, 15)
	eku := ext(false, func(d *der) {
		seq := d.open(tagSequence)
		d.oid(1, 3, 6, 1, 5, 5, 7, 3, 1)
		if a.validation != domainValidated {
			d.oid(1, 3, 6, 1, 5, 5, 7, 3, 2)
		}
		d.close(seq)
	}, 2, 5, 29, 37)
	bc := ext(true, func(d *der) { d.bytes(tagSequence, 0) }, 2, 5, 29, 19)
	ski := ext(false, func(d *der) { d.tlv(tagOctetString, keyID) }, 2, 5, 29, 14)
	aki := ext(false, func(d *der) { d.keyIdentifier(a.keyID) }, 2, 5, 29, 35)
	aia := ext(false, func(d *der) {
		seq := d.open(tagSequence)
		if a.ocsp {
			o := d.open(tagSequence)
			d.oid(1, 3, 6, 1, 5, 5, 7, 48, 1)
			d.str(0x86, a.url("ocsp", 0))
			d.close(o)
		}
		i := d.open(tagSequence)
		d.oid(1, 3, 6, 1, 5, 5, 7, 48, 2)
		d.str(0x86, a.url("ca", 0))
		d.close(i)
		d.close(seq)
	}, 1, 3, 6, 1, 5, 5, 7, 1, 1)
	san := ext(false, func(d *der) {
		seq := d.open(tagSequence)
		for _, n := range s.names {
			d.str(0x82, n)
		}
		for _, ip := range s.ips {
			d.tlv(0x87, ip)
		}
		d.close(seq)
	}, 2, 5, 29, 17)
	cp := ext(false, func(d *der) {
		seq := d.open(tagSequence)
		p := d.open(tagSequence)
		d.oid(a.validation.policyOID()...)
		d.close(p)
		if a.profile == profileSCTBeforeSAN {
			p := d.open(tagSequence)
			d.oid(1, 3, 6, 1, 4, 1, 32473, 1, 2, 7) // RFC 5612: documentation arc
			q := d.open(tagSequence)
			u := d.open(tagSequence)
			d.oid(1, 3, 6, 1, 5, 5, 7, 2, 1)
			d.str(tagIA5, "https://"+a.slug+".example/cps")
			d.close(u)
			d.close(q)
			d.close(p)
		}
		d.close(seq)
	}, 2, 5, 29, 32)
	var crl []byte
	if a.crl {
		crl = ext(false, func(d *der) {
			seq := d.open(tagSequence)
			dp := d.open(tagSequence)
			n0, n1 := d.open(0xa0), 0
			n1 = d.open(0xa0)
			d.str(0x86, a.url("crl", r.intn(128)))
			d.close(n1)
			d.close(n0)
			d.close(dp)
			d.close(seq)
		}, 2, 5, 29, 31)
	}
	switch a.profile {
	case profileSCTBeforeSAN:
		c.exts = [][]byte{aki, ski, ku, bc, eku, cp, aia, san}
		c.aki, c.cut = 0, 7
	case profileSCTFirst:
		c.exts = [][]byte{ski, aki, san, ku, eku, cp, aia, bc}
		c.aki, c.cut = 1, 0
	default:
		c.exts = [][]byte{ku, eku, bc, ski, aki, aia, san, cp}
		c.aki, c.cut = 4, 8
	}
	if crl != nil {
		c.exts = append(c.exts, crl)
		if a.profile == profileSCTLast {
			c.cut++
		}
	}
}

// scts writes the list that the final certificate carries. Its logs do not
// exist and its signatures are well-formed noise: whoever checks embedded SCTs
// needs keys that this package does not have either.
func (c *certificate) scts(r *rng, seed uint64, t time.Time) {
	n := 2 + r.intn(2)
	var list []byte
	for i := range n {
		var sct []byte
		id := sha256.Sum256(binary.BigEndian.AppendUint64([]byte("log of an SCT"), seed+uint64((r.intn(4)+4*i)%12)))
		sct = append(append(sct, 0), id[:]...)
		sct = binary.BigEndian.AppendUint64(sct, uint64(t.UnixMilli())+uint64(r.intn(900)))
		sct = append(sct, 0, 0, 4, 3)
		var sig [64]byte
		r.fill(sig[:])
		sig[0], sig[32] = sig[0]&0x7f|1, sig[32]&0x7f|1
		d := der{make([]byte, 0, 72)}
		at := d.open(tagSequence)
		d.uint(sig[:32])
		d.uint(sig[32:])
		d.close(at)
		sct = appendOpaque16(sct, d.b)
		list = appendOpaque16(list, sct)
	}
	d := der{make([]byte, 0, len(list)+32)}
	d.extension(oidSCTList, false, func() { d.tlv(tagOctetString, appendOpaque16(nil, list)) })
	c.sctList = d.b
}

// tbs assembles one form of the TBSCertificate: issued by issuer (the CA, or
// the precertificate signing certificate in its place) and with extra at the
// cut, if any.
func (c *certificate) tbs(issuer *authority, extra []byte) []byte {
	d := der{make([]byte, 0, len(c.before)+1200)}
	all := d.open(tagSequence)
	v := d.open(0xa0)
	d.bytes(tagInteger, 1, 2)
	d.close(v)
	d.raw(c.serial)
	d.raw(issuer.name)
	d.raw(c.before)
	x := d.open(0xa3)
	exts := d.open(tagSequence)
	for i, e := range c.exts {
		if i == c.cut {
			d.raw(extra)
		}
		if i == c.aki && issuer != c.ca {
			d.extension([]uint64{2, 5, 29, 35}, false, func() { d.keyIdentifier(issuer.keyID) })
			continue
		}
		d.raw(e)
	}
	if c.cut >= len(c.exts) {
		d.raw(extra)
	}
	d.close(exts)
	d.close(x)
	d.close(all)
	return d.b
}

// leafTBS is what a precert_entry's leaf holds.
func (c *certificate) leafTBS() []byte { return c.tbs(c.ca, nil) }

// precertificate is what was submitted for it, and its chain.
func (c *certificate) precertificate() (der []byte, chain []int) {
	by := c.ca
	if by.preissuer != nil {
		by = by.preissuer
	}
	return sealed(c.tbs(by, poison), by.key), by.chain
}

// final is the certificate that the subscriber got.
func (c *certificate) final() (der []byte, chain []int) {
	return sealed(c.tbs(c.ca, c.sctList), c.ca.key), c.ca.chain
}
