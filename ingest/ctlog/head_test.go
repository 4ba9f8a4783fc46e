package ctlog

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"math/big"
	"strings"
	"testing"

	stdcrypto "crypto"
)

// staticKey is the key in captured-local/static/log.v3.json.
const staticKey = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEFuQa/96a5QDq0E/PLMyU+O82nIE+9EJHHMgVp4IXs69wrBu9NZyGiviQLdPI0zEYau1Lf7lbjx5O171QTU0gCw=="

func mustKey(t testing.TB, der []byte) stdcrypto.PublicKey {
	t.Helper()
	key, err := parsePublicKey(der)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestRealTreeHead(t *testing.T) {
	body := dataFile(t, "captured-local/rfc6962/get-sth.json")
	key := mustKey(t, dataFile(t, "captured-local/rfc6962/pub.der"))
	h, err := parseSTH(body, key)
	if err != nil {
		t.Fatal(err)
	}
	if h.Size != 54361 || h.Timestamp != 1795377922807 || !bytes.Equal(h.Raw, body) {
		t.Errorf("got size %d, timestamp %d", h.Size, h.Timestamp)
	}
	// Every single bit of what is signed counts.
	for _, change := range []struct{ old, new string }{
		{"54361", "54362"}, {"1795377922807", "1795377922808"}, {"mMpUY", "nMpUY"}, {"BAMARj", "BAEARj"}, {"BAMARj", "BQMARj"},
	} {
		_, err := parseSTH(bytes.Replace(body, []byte(change.old), []byte(change.new), 1), key)
		if v, ok := errors.AsType[*VerifyError](err); !ok || len(v.Raw) != len(body) {
			t.Errorf("%v: %v, want a *VerifyError with the head as evidence", change, err)
		}
	}
	der, _ := base64.StdEncoding.DecodeString(staticKey)
	if _, err := parseSTH(body, mustKey(t, der)); err == nil {
		t.Error("verified with another log's key")
	}
}

func TestTreeHeadIsStrict(t *testing.T) {
	l := newFakeLog(t, 3, false)
	key := mustKey(t, l.spki)
	if _, err := parseSTH(l.sth(3), key); err != nil {
		t.Fatal(err)
	}
	edit := func(f func(map[string]any)) []byte {
		var v map[string]any
		d := json.NewDecoder(bytes.NewReader(l.sth(3)))
		d.UseNumber()
		if err := d.Decode(&v); err != nil {
			t.Fatal(err)
		}
		f(v)
		b, _ := json.Marshal(v)
		return b
	}
	for name, body := range map[string][]byte{
		"empty":            {},
		"HTML":             []byte("\n<!DOCTYPE html><title>Just a moment"),
		"list":             []byte("[]"),
		"null":             []byte("null"),
		"no size":          edit(func(v map[string]any) { delete(v, "tree_size") }),
		"no timestamp":     edit(func(v map[string]any) { delete(v, "timestamp") }),
		"negative size":    edit(func(v map[string]any) { v["tree_size"] = -3 }),
		"fraction":         edit(func(v map[string]any) { v["tree_size"] = 3.5 }),
		"size as string":   edit(func(v map[string]any) { v["tree_size"] = "3" }),
		"size beyond u64":  edit(func(v map[string]any) { v["tree_size"] = json.Number("36893488147419103232") }),
		"short root":       edit(func(v map[string]any) { v["sha256_root_hash"] = "AAAA" }),
		"root not base64":  edit(func(v map[string]any) { v["sha256_root_hash"] = "!" }),
		"trailing value":   append(l.sth(3), "{}"...),
		"cut":              l.sth(3)[:40],
		"control sequence": []byte("\x1b]0;pwned\x07"),
	} {
		_, err := parseSTH(body, key)
		if _, ok := errors.AsType[*AnswerError](err); !ok {
			t.Errorf("%s: %v, want an *AnswerError", name, err)
		} else if strings.ContainsAny(err.Error(), "\x1b\n") {
			t.Errorf("%s: the error repeats control characters", name)
		}
	}
	// Well-formed and not signed right.
	sig := func(f func(b []byte) []byte) []byte {
		return edit(func(v map[string]any) {
			b, _ := base64.StdEncoding.DecodeString(v["tree_head_signature"].(string))
			v["tree_head_signature"] = f(b)
		})
	}
	for name, body := range map[string][]byte{
		"no signature":       edit(func(v map[string]any) { delete(v, "tree_head_signature") }),
		"cut signature":      sig(func(b []byte) []byte { return b[:len(b)-1] }),
		"bytes after it":     sig(func(b []byte) []byte { return append(b, 0) }),
		"RSA with ECDSA key": sig(func(b []byte) []byte { b[1] = 1; return b }),
		"SHA-1":              sig(func(b []byte) []byte { b[0] = 2; return b }),
		"flipped":            sig(func(b []byte) []byte { b[20] ^= 1; return b }),
	} {
		if _, err := parseSTH(body, key); err == nil {
			t.Errorf("%s: accepted", name)
		} else if _, ok := errors.AsType[*VerifyError](err); !ok {
			t.Errorf("%s: %v, want a *VerifyError", name, err)
		}
	}
}

func TestHeadsNoTreeCanHave(t *testing.T) {
	l := newFakeLog(t, 1, false)
	key := mustKey(t, l.spki)
	head := func(size uint64, root Hash) []byte {
		b, _ := json.Marshal(map[string]any{"tree_size": size, "timestamp": 5, "sha256_root_hash": root[:], "tree_head_signature": l.sign(5, size, root)})
		return b
	}
	if h, err := parseSTH(head(0, sha256.Sum256(nil)), key); err != nil || h.Size != 0 {
		t.Errorf("empty tree: %v", err)
	}
	if _, err := parseSTH(head(0, Hash{1}), key); err == nil {
		t.Error("accepted an empty tree with a root")
	}
	if _, err := parseSTH(head(1<<63, Hash{1}), key); err == nil {
		t.Error("accepted a tree of 2^63 entries")
	}
	for at, ok := range map[uint64]bool{maxTimestamp: true, maxTimestamp + 1: false, 1<<64 - 1: false} {
		b, _ := json.Marshal(map[string]any{"tree_size": 1, "timestamp": at, "sha256_root_hash": make([]byte, 32), "tree_head_signature": l.sign(at, 1, Hash{})})
		if _, err := parseSTH(b, key); (err == nil) != ok {
			t.Errorf("a head of time %d: %v", at, err)
		}
	}
}

func TestRSAKeys(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, _ := x509.MarshalPKIXPublicKey(&rsaKey.PublicKey)
	pub := mustKey(t, der)
	root := Hash{7}
	digest := sha256.Sum256(signedHead(1, 2, root))
	sig, err := rsa.SignPKCS1v15(rand.Reader, rsaKey, stdcrypto.SHA256, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	signed := append([]byte{4, 1, 1, 0}, sig...)
	if err := verifyHead(pub, 1, 2, root, signed); err != nil {
		t.Error(err)
	}
	if verifyHead(pub, 1, 3, root, signed) == nil {
		t.Error("an RSA signature verified for another size")
	}

	p384, _ := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	p224, _ := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	_, ed, _ := ed25519.GenerateKey(rand.Reader)
	for _, c := range []struct {
		name string
		pub  any
		ok   bool
	}{{"P-384", &p384.PublicKey, true}, {"P-224", &p224.PublicKey, false}, {"Ed25519", ed.Public(), false}} {
		der, err := x509.MarshalPKIXPublicKey(c.pub)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parsePublicKey(der); (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	// Go refuses to make such keys; only their sizes matter here.
	for bits, ok := range map[uint]bool{1024: false, 2047: false, 2048: true, 8192: true, 8193: false} {
		n := new(big.Int).Lsh(big.NewInt(1), bits-1)
		der, err := x509.MarshalPKIXPublicKey(&rsa.PublicKey{N: n.Add(n, big.NewInt(1)), E: 65537})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parsePublicKey(der); (err == nil) != ok {
			t.Errorf("RSA of %d bits: %v", bits, err)
		}
	}
	digest = sha256.Sum256(signedHead(1, 2, root))
	esig, _ := ecdsa.SignASN1(rand.Reader, p384, digest[:])
	if err := verifyHead(&p384.PublicKey, 1, 2, root, append([]byte{4, 3, 0, byte(len(esig))}, esig...)); err != nil {
		t.Errorf("P-384: %v", err)
	}
}

func TestRealCheckpoint(t *testing.T) {
	body := dataFile(t, "captured-local/static/checkpoint")
	der, _ := base64.StdEncoding.DecodeString(staticKey)
	key, id := mustKey(t, der), Hash(sha256.Sum256(der))
	origin, err := checkpointOrigin("https://localhost/static2027h1/")
	if err != nil {
		t.Fatal(err)
	}
	h, err := parseCheckpoint(body, origin, id, key)
	if err != nil {
		t.Fatal(err)
	}
	if h.Size != 61890 || h.Timestamp == 0 || !bytes.Equal(h.Raw, body) {
		t.Errorf("got %+v", h)
	}
	// Four signature lines, two of them decoys under the log's own name: any
	// order is as good.
	text, sigs, _ := strings.Cut(string(body), "\n\n")
	lines := strings.SplitAfter(strings.TrimSuffix(sigs, "\n")+"\n", "\n")
	lines = lines[:len(lines)-1]
	if len(lines) != 4 {
		t.Fatalf("%d signature lines", len(lines))
	}
	for i := range lines {
		rotated := text + "\n\n" + strings.Join(append(append([]string{}, lines[i:]...), lines[:i]...), "")
		if got, err := parseCheckpoint([]byte(rotated), origin, id, key); err != nil || got.Root != h.Root {
			t.Errorf("rotated by %d: %v", i, err)
		}
	}
	// Without the log's own line, the others do not do.
	ours := -1
	for i, line := range lines {
		rest := append(append([]string{}, lines[:i]...), lines[i+1:]...)
		if _, err := parseCheckpoint([]byte(text+"\n\n"+strings.Join(rest, "")), origin, id, key); err != nil {
			if ours >= 0 {
				t.Errorf("both %q and %q are needed", lines[ours], line)
			}
			ours = i
			if _, ok := errors.AsType[*VerifyError](err); !ok {
				t.Errorf("%v, want a *VerifyError", err)
			}
		}
	}
	if ours < 0 {
		t.Error("no line is needed")
	}
}

func TestCheckpointDecoys(t *testing.T) {
	l := newFakeLog(t, 5, true)
	key := mustKey(t, l.spki)
	id := noteKeyID(l.origin, l.id)
	decoys := []string{
		noteLine("grease.invalid", 0x9bcf68be, []byte("anything at all")),
		noteLine(l.origin, id^1, []byte("the log's own name, another key")),
		noteLine(l.origin, id, []byte("x")),                                      // our key ID, too short
		noteLine(l.origin, id, append(make([]byte, 8), l.sign(9, 9, Hash{})...)), // our key, another head
		noteLine("other.log/2027", id, []byte("our key ID under another name")),
	}
	for i, d := range decoys {
		for _, sigs := range []string{d + l.noteSig(5), l.noteSig(5) + d} {
			if _, err := parseCheckpoint([]byte(l.noteText(5)+sigs), l.origin, l.id, key); err != nil {
				t.Errorf("decoy %d: %v", i, err)
			}
		}
		if _, err := parseCheckpoint([]byte(l.noteText(5)+d), l.origin, l.id, key); err == nil {
			t.Errorf("decoy %d alone was taken for a signature", i)
		}
	}
	// Nor is one that verifies, under our name, with another key ID.
	body := append(binary.BigEndian.AppendUint64(nil, 1), l.sign(1, 5, mth(l.hashes))...)
	for bit, ok := range []bool{true, false} {
		note := l.noteText(5) + noteLine(l.origin, id^uint32(bit), body)
		if _, err := parseCheckpoint([]byte(note), l.origin, l.id, key); (err == nil) != ok {
			t.Errorf("key ID differs by %d: %v", bit, err)
		}
	}
	// A signature line of ours under another name is not ours, although it verifies.
	sig := strings.Replace(l.noteSig(5), l.origin, "other.log/2027", 1)
	if _, err := parseCheckpoint([]byte(l.noteText(5)+sig), l.origin, l.id, key); err == nil {
		t.Error("accepted the log's signature under another name")
	}
}

func TestCheckpointIsStrict(t *testing.T) {
	l := newFakeLog(t, 5, true)
	key := mustKey(t, l.spki)
	good := string(l.checkpoint(5))
	if _, err := parseCheckpoint([]byte(good), l.origin, l.id, key); err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(good, "\n")
	for name, body := range map[string]string{
		"empty":                  "",
		"HTML":                   "<html>",
		"text only":              l.noteText(5),
		"no signature lines":     strings.TrimSuffix(l.noteText(5), "\n"),
		"no final newline":       strings.TrimSuffix(good, "\n"),
		"other origin":           strings.Replace(good, l.origin+"\n", "log.evil.local/2027h1\n", 1),
		"origin with slash":      strings.Replace(good, l.origin+"\n", l.origin+"/\n", 1),
		"extension line":         lines[0] + lines[1] + lines[2] + "an extension\n" + lines[3] + lines[4],
		"size with zero":         strings.Replace(good, "\n5\n", "\n05\n", 1),
		"size with sign":         strings.Replace(good, "\n5\n", "\n+5\n", 1),
		"size in hex":            strings.Replace(good, "\n5\n", "\n0x5\n", 1),
		"size with CR":           strings.Replace(good, "\n5\n", "\n5\r\n", 1),
		"root not base64":        strings.Replace(good, lines[2], "????\n", 1),
		"root too short":         strings.Replace(good, lines[2], "AAAA\n", 1),
		"root with loose bits":   strings.Replace(good, lines[2], strings.Repeat("A", 42)+"B=\n", 1),
		"hyphen for dash":        strings.Replace(good, "— ", "- ", 1),
		"nameless":               good + "—  AAAAAAAA\n",
		"signature not base64":   good + "— x !!!!!\n",
		"signature too short":    good + "— x AAAA\n",
		"key ID only":            good + "— x AAAAAA==\n",
		"not UTF-8":              good + "— \xff AAAAAAAA\n",
		"too many lines":         l.noteText(5) + strings.Repeat("— x AAAAAAAA\n", maxSignatures) + l.noteSig(5),
		"blank among signatures": good + "\n" + l.noteSig(5),
	} {
		_, err := parseCheckpoint([]byte(body), l.origin, l.id, key)
		if _, ok := errors.AsType[*AnswerError](err); !ok {
			t.Errorf("%s: %v, want an *AnswerError", name, err)
		}
	}
	// Another log's key does not verify it, with either ID.
	other := newFakeLog(t, 0, true)
	for _, id := range []Hash{l.id, other.id} {
		_, err := parseCheckpoint([]byte(good), l.origin, id, mustKey(t, other.spki))
		if _, ok := errors.AsType[*VerifyError](err); !ok {
			t.Errorf("another key: %v, want a *VerifyError", err)
		}
	}
	// The signature covers size and root.
	if _, err := parseCheckpoint([]byte(strings.Replace(good, "\n5\n", "\n6\n", 1)), l.origin, l.id, key); err == nil {
		t.Error("accepted another size")
	}
}

func TestCheckpointOrigin(t *testing.T) {
	for in, want := range map[string]string{
		"https://log.sycamore.ct.letsencrypt.org/2026h1/": "log.sycamore.ct.letsencrypt.org/2026h1",
		"https://log.example.org":                         "log.example.org",
		"http://localhost:8080/log/":                      "localhost:8080/log",
	} {
		if got, err := checkpointOrigin(in); err != nil || got != want {
			t.Errorf("%s: %q, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "log.example.org/2026", "ftp://log/", "https:///x"} {
		if got, err := checkpointOrigin(in); err == nil {
			t.Errorf("%q: accepted as %q", in, got)
		}
	}
}

func TestParseHead(t *testing.T) {
	l := newFakeLog(t, 5, true)
	for kind, raw := range map[Kind][]byte{RFC6962: l.sth(5), Static: l.checkpoint(5)} {
		info := Info{Kind: kind, Key: l.spki, SubmissionURL: "https://" + l.origin + "/"}
		h, err := ParseHead(info, raw)
		if err != nil || h.Size != 5 || h.Root != mth(l.hashes) {
			t.Errorf("%v: %+v, %v", kind, h, err)
		}
		if _, err := ParseHead(info, append(bytes.Repeat([]byte{' '}, maxHead), raw...)); !errors.Is(err, ErrTooLarge) {
			t.Errorf("%v: %v, want ErrTooLarge", kind, err)
		}
		info.Key = newFakeLog(t, 0, true).spki
		if _, err := ParseHead(info, raw); err == nil {
			t.Errorf("%v: verified with another log's key", kind)
		}
	}
	if _, err := ParseHead(Info{Kind: Static, Key: l.spki}, l.checkpoint(5)); err == nil {
		t.Error("no submission URL, and yet an origin")
	}
}
