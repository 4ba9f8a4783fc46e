package ctlogtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strings"
)

// logKey is a log's identity.
type logKey struct {
	priv *ecdsa.PrivateKey
	spki []byte
	id   [32]byte
}

// newLogKey derives a P-256 key. Signatures by it are ordinary, random ones.
func newLogKey(seed uint64, label string) (*logKey, error) {
	d := scalar(seed, "log key "+label, orderP256)
	priv, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), d.FillBytes(make([]byte, 32)))
	if err != nil {
		return nil, err
	}
	spki, err := x509.MarshalPKIXPublicKey(&priv.PublicKey)
	if err != nil {
		return nil, err
	}
	return &logKey{priv, spki, sha256.Sum256(spki)}, nil
}

// head is a tree head before it is put into the words of one protocol.
type head struct {
	size      uint64
	root      [32]byte
	timestamp uint64
	sig       []byte // DigitallySigned
}

// sign fills in the signature: RFC 6962 section 3.5.
func (k *logKey) sign(h *head) error {
	b := []byte{0, 1}
	b = binary.BigEndian.AppendUint64(b, h.timestamp)
	b = binary.BigEndian.AppendUint64(b, h.size)
	sum := sha256.Sum256(append(b, h.root[:]...))
	der, err := ecdsa.SignASN1(rand.Reader, k.priv, sum[:])
	if err != nil {
		return err
	}
	h.sig = appendOpaque16([]byte{4, 3}, der)
	return nil
}

// sth is the get-sth answer.
func (h *head) sth() []byte {
	return fmt.Appendf(nil, `{"tree_size":%d,"timestamp":%d,"sha256_root_hash":"%s","tree_head_signature":"%s"}`,
		h.size, h.timestamp, base64.StdEncoding.EncodeToString(h.root[:]), base64.StdEncoding.EncodeToString(h.sig))
}

// noteLine returns one signature line of a signed note (c2sp.org/signed-note).
func noteLine(name string, keyID [4]byte, body []byte) string {
	return "— " + name + " " + base64.StdEncoding.EncodeToString(append(keyID[:], body...)) + "\n"
}

// noteKeyID is the key ID of an RFC6962NoteSignature (static-ct-api,
// signature type 0x05).
func noteKeyID(name string, logID [32]byte) (id [4]byte) {
	sum := sha256.Sum256(append([]byte(name+"\n\x05"), logID[:]...))
	copy(id[:], sum[:])
	return id
}

// checkpoint is the signed note of a static log. As Sunlight's, it carries
// lines that nobody can verify: one under the log's own name with a random key
// ID, one under a name that does not exist, and a cosignature of another type
// by the log itself; where the one that counts stands among them changes.
func (h *head) checkpoint(origin string, logID [32]byte) []byte {
	body := binary.BigEndian.AppendUint64(nil, h.timestamp)
	lines := []string{noteLine(origin, noteKeyID(origin, logID), append(body, h.sig...))}
	noise := func(name string, n int) {
		b := make([]byte, 4+n)
		rand.Read(b)
		lines = append(lines, noteLine(name, [4]byte(b[:4]), b[4:]))
	}
	noise(origin, 64+int(h.timestamp%40))
	noise("grease.invalid", 92)
	noise(origin, 2420+8) // the size of an ML-DSA-44 cosignature
	var pick [4]byte
	rand.Read(pick[:])
	for i := len(lines) - 1; i > 0; i-- {
		j := int(pick[i]) % (i + 1)
		lines[i], lines[j] = lines[j], lines[i]
	}
	return fmt.Appendf(nil, "%s\n%d\n%s\n\n%s", origin, h.size, base64.StdEncoding.EncodeToString(h.root[:]), strings.Join(lines, ""))
}
