package ctlog

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	stdcrypto "crypto"
)

// maxHead bounds a get-sth answer and a checkpoint. A checkpoint with a
// post-quantum cosignature has 3.7 kB.
const maxHead = 64 << 10

// maxTimestamp is the end of the year 2299, the last one that ClickHouse's
// DateTime64 can hold: what passes here can be stored and printed.
const maxTimestamp = 10413792000000 - 1

// parsePublicKey reads a log's key: ECDSA P-256 or P-384, or RSA of 2048 to
// 8192 bits. Logs of Chrome's and Apple's programs use P-256.
func parsePublicKey(der []byte) (stdcrypto.PublicKey, error) {
	key, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return nil, fmt.Errorf("log key is not a SubjectPublicKeyInfo: %w", err)
	}
	switch key := key.(type) {
	case *ecdsa.PublicKey:
		if key.Curve == elliptic.P256() || key.Curve == elliptic.P384() {
			return key, nil
		}
		return nil, fmt.Errorf("log key is on curve %s, want P-256 or P-384", key.Curve.Params().Name)
	case *rsa.PublicKey:
		if n := key.N.BitLen(); n < 2048 || n > 8192 {
			return nil, fmt.Errorf("log key is RSA of %d bits, want 2048 to 8192", n)
		}
		return key, nil
	}
	return nil, fmt.Errorf("log key is a %T, want ECDSA or RSA", key)
}

// signedHead returns the 50 bytes that a tree head's signature covers
// (RFC 6962 section 3.5).
func signedHead(timestamp, size uint64, root Hash) []byte {
	b := make([]byte, 0, 50)
	b = append(b, 0, 1) // v1, tree_hash
	b = binary.BigEndian.AppendUint64(b, timestamp)
	b = binary.BigEndian.AppendUint64(b, size)
	return append(b, root[:]...)
}

// verifyHead checks a DigitallySigned (RFC 5246 section 4.7) over a tree head.
func verifyHead(key stdcrypto.PublicKey, timestamp, size uint64, root Hash, signed []byte) error {
	r := reader{b: signed}
	hash, alg, sig := r.u8(), r.u8(), r.vec16()
	if r.bad || len(r.b) > 0 {
		return errors.New("signature is malformed")
	}
	const sha256Hash, rsaAlg, ecdsaAlg = 4, 1, 3
	if hash != sha256Hash {
		return fmt.Errorf("signature is made with hash algorithm %d, want SHA-256", hash)
	}
	digest := sha256.Sum256(signedHead(timestamp, size, root))
	var ok bool
	switch key := key.(type) {
	case *ecdsa.PublicKey:
		ok = alg == ecdsaAlg && ecdsa.VerifyASN1(key, digest[:], sig)
	case *rsa.PublicKey:
		ok = alg == rsaAlg && rsa.VerifyPKCS1v15(key, stdcrypto.SHA256, digest[:], sig) == nil
	}
	if !ok {
		return errors.New("signature does not match the log's key")
	}
	return nil
}

// checkHead refuses heads that no tree can have, whoever signed them.
func checkHead(what string, h *Head) error {
	if h.Size > maxTreeSize {
		return answerErrorf(what, "tree size %d is larger than any log", h.Size)
	}
	if h.Timestamp > maxTimestamp {
		return answerErrorf(what, "timestamp %d is not a time", h.Timestamp)
	}
	if h.Size == 0 && h.Root != sha256.Sum256(nil) {
		return &VerifyError{What: what, Reason: "root of the empty tree is not SHA-256 of nothing", Raw: h.Raw}
	}
	return nil
}

// parseSTH reads the answer of get-sth (RFC 6962 section 4.3) and verifies its
// signature. Fields other than the four of the RFC are ignored.
func parseSTH(body []byte, key stdcrypto.PublicKey) (*Head, error) {
	const what = "get-sth"
	var v struct {
		Size      *uint64 `json:"tree_size"`
		Timestamp *uint64 `json:"timestamp"`
		Root      []byte  `json:"sha256_root_hash"`
		Signature []byte  `json:"tree_head_signature"`
	}
	if err := decodeJSON(what, body, &v); err != nil {
		return nil, err
	}
	switch {
	case v.Size == nil, v.Timestamp == nil:
		return nil, answerErrorf(what, "tree_size or timestamp is missing")
	case len(v.Root) != sha256.Size:
		return nil, answerErrorf(what, "sha256_root_hash has %d bytes, want 32", len(v.Root))
	}
	h := &Head{Size: *v.Size, Timestamp: *v.Timestamp, Root: Hash(v.Root), Raw: bytes.Clone(body)}
	if err := verifyHead(key, h.Timestamp, h.Size, h.Root, v.Signature); err != nil {
		return nil, &VerifyError{What: what, Reason: err.Error(), Raw: h.Raw}
	}
	return h, checkHead(what, h)
}

// decodeJSON decodes one JSON value that is all of body.
func decodeJSON(what string, body []byte, v any) error {
	if looksLikeHTML(body) {
		return &AnswerError{What: what, Reason: "a page instead of JSON", Excerpt: excerpt(body)}
	}
	d := json.NewDecoder(bytes.NewReader(body))
	if err := d.Decode(v); err != nil {
		return &AnswerError{What: what, Reason: "malformed JSON: " + quote(err.Error()), Excerpt: excerpt(body)}
	}
	if _, err := d.Token(); err != io.EOF {
		return &AnswerError{What: what, Reason: "bytes after the JSON value", Excerpt: excerpt(body)}
	}
	return nil
}

// looksLikeHTML reports whether an answer with status 200 is a web page: what
// gateways and challenge pages send. No answer of a log begins with "<".
func looksLikeHTML(body []byte) bool {
	body = bytes.TrimLeft(body[:min(len(body), 256)], "\ufeff \t\r\n")
	return len(body) > 0 && body[0] == '<'
}

// ParseHead reads and verifies a head that was kept (Head.Raw), by the
// protocol of its log: evidence can be checked again at any time.
func ParseHead(info Info, raw []byte) (*Head, error) {
	key, err := parsePublicKey(info.Key)
	if err != nil {
		return nil, err
	}
	if len(raw) > maxHead {
		return nil, fmt.Errorf("%w: a head of %d bytes", ErrTooLarge, len(raw))
	}
	if isArchiveURL(info.URL) { // its head may be in the words of either protocol
		return parseArchivedHead(info, raw, key)
	}
	if info.Kind == RFC6962 {
		return parseSTH(raw, key)
	}
	origin, err := checkpointOrigin(info.SubmissionURL)
	if err != nil {
		return nil, err
	}
	return parseCheckpoint(raw, origin, sha256.Sum256(info.Key), key)
}
