package ctlogtest

import (
	"crypto/sha256"
	"encoding/asn1"
	"fmt"
	"time"
)

// attr is one attribute of a distinguished name.
type attr struct {
	oid   []uint64
	tag   byte
	value string
}

var (
	oidCN           = []uint64{2, 5, 4, 3}
	oidSerialNumber = []uint64{2, 5, 4, 5}
	oidC            = []uint64{2, 5, 4, 6}
	oidL            = []uint64{2, 5, 4, 7}
	oidST           = []uint64{2, 5, 4, 8}
	oidO            = []uint64{2, 5, 4, 10}
	oidCategory     = []uint64{2, 5, 4, 15}
	oidJurisdiction = []uint64{1, 3, 6, 1, 4, 1, 311, 60, 2, 1, 3}
)

// dn appends a Name with one attribute per RDN.
func (d *der) dn(attrs []attr) {
	all := d.open(tagSequence)
	for _, a := range attrs {
		set := d.open(tagSet)
		seq := d.open(tagSequence)
		d.oid(a.oid...)
		d.str(a.tag, a.value)
		d.close(seq)
		d.close(set)
	}
	d.close(all)
}

// time appends a Time as RFC 5280 section 4.1.2.5 wants it.
func (d *der) time(t time.Time) {
	t = t.UTC()
	at := d.open(tagUTCTime)
	if t.Year() >= 2050 {
		d.b[at-2] = tagGenTime
		d.b = t.AppendFormat(d.b, "20060102150405Z")
	} else {
		d.b = t.AppendFormat(d.b, "060102150405Z")
	}
	d.close(at)
}

// Certificate policies as the CAs here name them (CA/Browser Forum).
type validation uint8

const (
	domainValidated validation = iota
	organizationValidated
	extendedValidation
)

func (v validation) policyOID() []uint64 {
	switch v {
	case organizationValidated:
		return []uint64{2, 23, 140, 1, 2, 2}
	case extendedValidation:
		return []uint64{2, 23, 140, 1, 1}
	}
	return []uint64{2, 23, 140, 1, 2, 1}
}

// extension orders: CAs differ in where they put the SCT list, so the cut that
// makes a leaf TBS is not always at the end.
type profile uint8

const (
	profileSCTLast profile = iota
	profileSCTBeforeSAN
	profileSCTFirst
)

// authority is one CA of the generator.
type authority struct {
	slug       string // host names of its URLs
	name       []byte // DER Name
	key        caSigner
	keyHash    [32]byte // SHA-256 of its SubjectPublicKeyInfo
	keyID      []byte   // subject key identifier
	cert       int      // its certificate in hierarchy.certs
	chain      []int    // issuer first, root last: what a submitter sends
	validation validation
	profile    profile
	days       int
	share      int  // weight among issuers
	noCN       bool // leaves the subject empty if the names allow it
	crl        bool
	ocsp       bool

	// preissuer, if set, is a Precertificate Signing Certificate (RFC 6962
	// section 3.1) that signs the precertificates in this CA's place.
	preissuer *authority
}

// hierarchy is the CAs and every certificate that chains refer to. It is
// never changed once made, except that captured entries bring certificates of
// their own before the first entry is served.
type hierarchy struct {
	certs   [][]byte
	hashes  [][32]byte
	byHash  map[[32]byte]int
	issuers []*authority
	roots   []int
	total   int      // sum of shares
	p384    [][]byte // SubjectPublicKeyInfos for those subjects that have such keys
}

func (h *hierarchy) add(cert []byte) int {
	sum := sha256.Sum256(cert)
	if i, ok := h.byHash[sum]; ok {
		return i
	}
	h.byHash[sum] = len(h.certs)
	h.certs, h.hashes = append(h.certs, cert), append(h.hashes, sum)
	return len(h.certs) - 1
}

// keyIDOf returns the identifier of a key, as nearly all CAs make it: the first 20
// bytes of SHA-256 over the key's bits (RFC 7093 section 2, method 1).
func keyIDOf(spki []byte) []byte {
	var key struct {
		Algorithm asn1.RawValue
		Bits      asn1.BitString
	}
	if _, err := asn1.Unmarshal(spki, &key); err != nil {
		panic(err) // our own
	}
	sum := sha256.Sum256(key.Bits.Bytes)
	return sum[:20]
}

// newHierarchy makes the same CAs for the same seed.
func newHierarchy(seed uint64) *hierarchy {
	h := &hierarchy{byHash: map[[32]byte]int{}}
	ca := func(slug, country, org, cn string, key caSigner) *authority {
		spki := key.spki()
		a := &authority{slug: slug, key: key, keyHash: sha256.Sum256(spki)}
		a.keyID = keyIDOf(spki)
		a.name = derOf(func(d *der) {
			d.dn([]attr{{oidC, tagPrintable, country}, {oidO, tagUTF8, org}, {oidCN, tagPrintable, cn}})
		})
		return a
	}
	ec := func(label string) caSigner { return newECSigner(seed, label, false) }
	ec384 := func(label string) caSigner { return newECSigner(seed, label, true) }
	rsa := func(label string) caSigner { return newRSASigner(seed, label, 2048) }

	oldRoot := ca("harbour", "BE", "Old Harbour Trust NV", "Old Harbour Root CA", rsa("root old"))
	rsaRoot := ca("northern", "US", "Northern Internet Trust, Inc.", "Northern Root R1", newRSASigner(seed, "root rsa", 4096))
	ecRoot := ca("northern", "US", "Northern Internet Trust, Inc.", "Northern Root E1", ec384("root ec"))
	for _, r := range []*authority{oldRoot, rsaRoot, ecRoot} {
		r.cert = h.add(caCertificate(r, r, 1, false))
		r.chain = []int{r.cert}
		h.roots = append(h.roots, r.cert)
	}
	// The elliptic root is young, so that the old one vouches for it as well.
	crossed := h.add(caCertificate(ecRoot, oldRoot, 2, false))
	crossChain := []int{crossed, oldRoot.cert}

	subjects := ecSigner{big: true, order: orderP384}
	for i := range 48 {
		h.p384 = append(h.p384, ecSPKI(subjects.mult(scalar(seed, fmt.Sprint("subject ", i), orderP384))))
	}
	serial := uint64(10)
	issue := func(a, root *authority, chain []int) *authority {
		serial++
		a.cert = h.add(caCertificate(a, root, serial, false))
		a.chain = append([]int{a.cert}, chain...)
		h.issuers = append(h.issuers, a)
		h.total += a.share
		return a
	}
	set := func(a *authority, share, days int, v validation, p profile) *authority {
		a.share, a.days, a.validation, a.profile = share, days, v, p
		return a
	}
	a := issue(set(ca("e5.everpine", "US", "Everpine", "E5", ec("everpine e5")), 30, 90, domainValidated, profileSCTLast), ecRoot, ecRoot.chain)
	a.noCN, a.crl = true, true
	a = issue(set(ca("r10.everpine", "US", "Everpine", "R10", rsa("everpine r10")), 16, 90, domainValidated, profileSCTLast), rsaRoot, rsaRoot.chain)
	a.crl = true
	a = issue(set(ca("we1.halyard", "US", "Halyard Trust Services", "WE1", ec("halyard we1")), 20, 90, domainValidated, profileSCTLast), ecRoot, crossChain)
	a.crl, a.ocsp = true, true
	a = issue(set(ca("wr1.halyard", "US", "Halyard Trust Services", "WR1", rsa("halyard wr1")), 9, 90, domainValidated, profileSCTLast), rsaRoot, rsaRoot.chain)
	a.crl, a.ocsp = true, true
	a = issue(set(ca("dv.corvane", "GB", "Corvane Limited", "Corvane DV TLS CA R36", rsa("corvane dv")), 9, 199, domainValidated, profileSCTBeforeSAN), oldRoot, oldRoot.chain)
	a.ocsp = true
	a = issue(set(ca("ov.corvane", "GB", "Corvane Limited", "Corvane OV TLS CA E36", ec("corvane ov")), 6, 397, organizationValidated, profileSCTBeforeSAN), ecRoot, ecRoot.chain)
	a.ocsp = true
	a = issue(set(ca("cloud.kestrel", "US", "Kestrel Cloud Corp.", "Kestrel TLS EC CA 03", ec384("kestrel")), 4, 180, organizationValidated, profileSCTFirst), ecRoot, ecRoot.chain)
	a.crl, a.ocsp = true, true
	a = issue(set(ca("ev.bastion", "CH", "Bastion Sécurité SA", "Bastion EV CA 2", rsa("bastion")), 3, 365, extendedValidation, profileSCTFirst), rsaRoot, rsaRoot.chain)
	a.crl, a.ocsp = true, true

	// One issuer in a hundred leaves its precertificates to a signing
	// certificate of their own.
	a = issue(set(ca("larkspur", "DE", "Larkspur GmbH", "Larkspur DV 7", ec("larkspur")), 1, 90, domainValidated, profileSCTLast), oldRoot, oldRoot.chain)
	pre := ca("larkspur", "DE", "Larkspur GmbH", "Larkspur DV 7 Precertificates", ec("larkspur pre"))
	pre.cert = h.add(caCertificate(pre, a, 99, true))
	pre.chain = append([]int{pre.cert}, a.chain...)
	a.preissuer = pre
	return h
}

// pick chooses an issuer by weight.
func (h *hierarchy) pick(r *rng) *authority {
	n := r.intn(h.total)
	for _, a := range h.issuers {
		if n -= a.share; n < 0 {
			return a
		}
	}
	return h.issuers[0]
}

// caCertificate has parent certify subject. A precertificate signing
// certificate carries the extended key usage of RFC 6962 section 3.1.
func caCertificate(subject, parent *authority, serial uint64, preissuer bool) []byte {
	var d der
	tbs := d.open(tagSequence)
	v := d.open(0xa0)
	d.bytes(tagInteger, 1, 2)
	d.close(v)
	d.uint([]byte{0x4c, byte(serial >> 16), byte(serial >> 8), byte(serial)})
	d.raw(parent.key.algorithm())
	d.raw(parent.name)
	validity := d.open(tagSequence)
	d.time(time.Date(2015, 6, 4, 11, 4, 38, 0, time.UTC))
	d.time(time.Date(2045, 6, 4, 11, 4, 38, 0, time.UTC))
	d.close(validity)
	d.raw(subject.name)
	d.raw(subject.key.spki())
	x := d.open(0xa3)
	exts := d.open(tagSequence)
	d.extension([]uint64{2, 5, 29, 15}, true, func() { d.bytes(tagBitString, 2, 1, 0x86) }) // digitalSignature, keyCertSign, cRLSign
	if preissuer {
		d.extension([]uint64{2, 5, 29, 37}, false, func() {
			s := d.open(tagSequence)
			d.oid(1, 3, 6, 1, 4, 1, 11129, 2, 4, 4)
			d.close(s)
		})
	}
	d.extension([]uint64{2, 5, 29, 19}, true, func() {
		s := d.open(tagSequence)
		d.bytes(tagBoolean, 1, 0xff)
		d.close(s)
	})
	d.extension([]uint64{2, 5, 29, 14}, false, func() { d.tlv(tagOctetString, subject.keyID) })
	d.extension([]uint64{2, 5, 29, 35}, false, func() { d.keyIdentifier(parent.keyID) })
	d.close(exts)
	d.close(x)
	d.close(tbs)
	return sealed(d.b, parent.key)
}

// sealed signs a TBS and returns the certificate.
func sealed(tbs []byte, key caSigner) []byte {
	d := der{make([]byte, 0, len(tbs)+320)}
	cert := d.open(tagSequence)
	d.raw(tbs)
	d.raw(key.algorithm())
	appendSignature(&d, key, tbs)
	d.close(cert)
	return d.b
}

// extension appends one Extension whose value f writes.
func (d *der) extension(oid []uint64, critical bool, f func()) {
	s := d.open(tagSequence)
	d.oid(oid...)
	if critical {
		d.bytes(tagBoolean, 1, 0xff)
	}
	v := d.open(tagOctetString)
	f()
	d.close(v)
	d.close(s)
}

func (d *der) keyIdentifier(id []byte) {
	s := d.open(tagSequence)
	d.tlv(0x80, id)
	d.close(s)
}

// url returns where an authority's certificate, CRL or OCSP responder is said
// to be. The hosts do not exist.
func (a *authority) url(what string, n int) string {
	switch what {
	case "ocsp":
		return "http://" + a.slug + ".ocsp.example"
	case "crl":
		return fmt.Sprintf("http://%s.crl.example/%d.crl", a.slug, n)
	}
	return "http://" + a.slug + ".ca.example/ca.der"
}
