package ctlog

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"

	stdcrypto "crypto"
)

// maxSignatures bounds the signature lines of a checkpoint (c2sp.org/signed-note
// lets a client set such a limit).
const maxSignatures = 100

// checkpointOrigin returns the origin line, and key name, of a static log: its
// submission prefix without scheme and trailing slash (c2sp.org/static-ct-api).
func checkpointOrigin(submissionURL string) (string, error) {
	u, err := url.Parse(submissionURL)
	if err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") {
		return "", fmt.Errorf("submission URL %s is not an http(s) URL", quote(submissionURL))
	}
	_, origin, _ := strings.Cut(submissionURL, "://")
	return strings.TrimSuffix(origin, "/"), nil
}

// noteKeyID returns the key ID of an RFC6962NoteSignature, type 5
// (c2sp.org/static-ct-api).
func noteKeyID(name string, logID Hash) uint32 {
	d := sha256.New()
	d.Write([]byte(name))
	d.Write([]byte{'\n', 0x05})
	d.Write(logID[:])
	return binary.BigEndian.Uint32(d.Sum(nil))
}

// parseCheckpoint reads a static log's checkpoint (c2sp.org/tlog-checkpoint in
// a c2sp.org/signed-note) and verifies the log's signature on it. Lines of
// other keys are ignored, also under the log's own name: real checkpoints
// carry such decoys, in any order.
func parseCheckpoint(body []byte, origin string, logID Hash, key stdcrypto.PublicKey) (*Head, error) {
	const what = "checkpoint"
	fail := func(format string, args ...any) (*Head, error) {
		return nil, &AnswerError{What: what, Reason: fmt.Sprintf(format, args...), Excerpt: excerpt(body)}
	}
	if looksLikeHTML(body) {
		return fail("a page instead of a checkpoint")
	}
	sep := bytes.LastIndex(body, []byte("\n\n"))
	if sep < 0 || !utf8.Valid(body) {
		return fail("not a signed note")
	}
	// The signature covers size and root only, and no extension lines are
	// allowed with it: whatever else the text held would be unsigned.
	lines := strings.Split(string(body[:sep]), "\n")
	if len(lines) != 3 {
		return fail("has %d lines before the signatures, want 3", len(lines))
	}
	if lines[0] != origin {
		return fail("origin is %s, want %s (it follows from the submission URL)", quote(lines[0]), quote(origin))
	}
	size, err := strconv.ParseUint(lines[1], 10, 64)
	if err != nil || strconv.FormatUint(size, 10) != lines[1] {
		return fail("tree size %s is not a number", quote(lines[1]))
	}
	root, err := decodeBase64(lines[2])
	if err != nil || len(root) != sha256.Size {
		return fail("root %s is not base64 of 32 bytes", quote(lines[2]))
	}
	sigs, err := noteSignatures(body[sep+2:], origin, noteKeyID(origin, logID))
	if err != nil {
		return fail("%v", err)
	}
	raw := bytes.Clone(body)
	reason := "has no signature by the log's key"
	for _, sig := range sigs {
		r := reader{b: sig}
		timestamp := r.u64()
		if r.bad {
			reason = "signature is malformed"
			continue
		}
		if err := verifyHead(key, timestamp, size, Hash(root), r.b); err != nil {
			reason = err.Error()
			continue
		}
		h := &Head{Size: size, Root: Hash(root), Timestamp: timestamp, Raw: raw}
		return h, checkHead(what, h)
	}
	return nil, &VerifyError{What: what, Reason: reason, Raw: raw}
}

// noteSignatures returns the bodies, without key ID, of the signature lines
// with this name and key ID. Any malformed line makes the note malformed.
func noteSignatures(text []byte, name string, keyID uint32) ([][]byte, error) {
	if len(text) == 0 || text[len(text)-1] != '\n' {
		return nil, errors.New("signature lines are missing or cut short")
	}
	lines := strings.Split(string(text[:len(text)-1]), "\n")
	if len(lines) > maxSignatures {
		return nil, fmt.Errorf("has %d signature lines, at most %d are read", len(lines), maxSignatures)
	}
	var sigs [][]byte
	for _, line := range lines {
		rest, ok := strings.CutPrefix(line, "— ")
		lineName, b64, ok2 := strings.Cut(rest, " ")
		sig, err := decodeBase64(b64)
		if !ok || !ok2 || lineName == "" || err != nil || len(sig) < 5 {
			return nil, fmt.Errorf("signature line %s is malformed", quote(line))
		}
		if lineName == name && binary.BigEndian.Uint32(sig) == keyID {
			sigs = append(sigs, sig[4:])
		}
	}
	return sigs, nil
}

// decodeBase64 decodes padded standard base64 and nothing that merely means
// the same: no line breaks, no loose trailing bits.
func decodeBase64(s string) ([]byte, error) {
	if strings.ContainsAny(s, "\r\n") {
		return nil, errors.New("line break in base64")
	}
	return base64.StdEncoding.Strict().DecodeString(s)
}
