package cert

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ctappliance/schema"

	ct "github.com/google/certificate-transparency-go"
)

// dataDir returns the folder of real data, which is not part of the project:
// $CTAPPLIANCE_DATA, or ../shared/data beside the folder that holds go.mod.
func dataDir(t testing.TB) string {
	t.Helper()
	dir := os.Getenv("CTAPPLIANCE_DATA")
	if dir == "" {
		wd, err := os.Getwd()
		if err != nil {
			t.Fatal(err)
		}
		for wd != filepath.Dir(wd) {
			if _, err := os.Stat(filepath.Join(wd, "go.mod")); err == nil {
				break
			}
			wd = filepath.Dir(wd)
		}
		dir = filepath.Join(filepath.Dir(wd), "shared", "data")
	}
	if _, err := os.Stat(dir); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("no real data: %v; set CTAPPLIANCE_DATA", err)
		}
		t.Skipf("no real data: %v; set CTAPPLIANCE_DATA to run this test", err)
	}
	return dir
}

// corpusCert is a certificate of the corpora. name is where it comes from:
// "repository-owner+repository/path" as far as known, else its SHA-256.
type corpusCert struct {
	name string
	der  []byte
}

// readTar returns the files of a .tar.gz in order.
func readTar(t testing.TB, path string) []corpusCert {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var out []corpusCert
	r := tar.NewReader(z)
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Typeflag != tar.TypeReg {
			continue
		}
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, corpusCert{strings.TrimSuffix(filepath.Base(h.Name), ".der"), b})
	}
}

// liveCerts returns the certificates of real logs.
func liveCerts(t testing.TB) []corpusCert {
	return readTar(t, filepath.Join(dataDir(t), "certs", "live-certificates.tar.gz"))
}

// oddCerts returns the odd certificates under the names of their origins.
func oddCerts(t testing.TB) []corpusCert {
	t.Helper()
	dir := filepath.Join(dataDir(t), "certs")
	out := readTar(t, filepath.Join(dir, "odd-certificates.tar.gz"))
	tsv, err := os.ReadFile(filepath.Join(dir, "odd-certificates.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]string{}
	for line := range strings.Lines(string(tsv)) {
		c := strings.Split(strings.TrimSpace(line), "\t")
		if len(c) >= 4 && names[c[0]] == "" {
			names[c[0]] = strings.ReplaceAll(c[2], "/", "+") + "/" + c[3]
		}
	}
	for i := range out {
		if n := names[out[i].name]; n != "" {
			out[i].name = n
		}
	}
	return out
}

// x509Leaf wraps a certificate as the leaf of an x509_entry.
func x509Leaf(der []byte) []byte {
	b := []byte{0, 0}
	b = binary.BigEndian.AppendUint64(b, 1_700_000_000_000)
	b = append(b, 0, 0, byte(len(der)>>16), byte(len(der)>>8), byte(len(der)))
	b = append(b, der...)
	return append(b, 0, 0)
}

// precertLeaf wraps a TBSCertificate as the leaf of a precert_entry.
func precertLeaf(keyHash schema.Hash, tbs []byte) []byte {
	b := []byte{0, 0}
	b = binary.BigEndian.AppendUint64(b, 1_700_000_000_000)
	b = append(b, 0, 1)
	b = append(b, keyHash[:]...)
	b = append(b, byte(len(tbs)>>16), byte(len(tbs)>>8), byte(len(tbs)))
	b = append(b, tbs...)
	return append(b, 0, 0)
}

// testIssuer stands for a chain that is known.
var testIssuer = schema.Hash{1, 2, 3}

// parseX509 parses der as an x509_entry whose issuer is known.
func parseX509(der []byte) *schema.Row {
	row := new(schema.Row)
	Parse(x509Input(der), row)
	return row
}

func x509Input(der []byte) *Input {
	return &Input{
		LogID: 7, Index: 42, Leaf: x509Leaf(der),
		Chain:  []schema.Hash{{0xcc}},
		Issuer: func(schema.Hash) (schema.Hash, bool) { return testIssuer, true },
	}
}

// tileEntries decodes the data tiles of a folder (static-ct-api, "Tiles").
func tileEntries(t testing.TB, dir string) []Input {
	t.Helper()
	var out []Input
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if _, err := os.Stat(strings.TrimSuffix(path, "/"+d.Name())); err != nil {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if len(b) > 2 && b[0] == 0x1f && b[1] == 0x8b {
			z, err := gzip.NewReader(bytes.NewReader(b))
			if err != nil {
				return err
			}
			if b, err = io.ReadAll(z); err != nil {
				return err
			}
		}
		for len(b) > 0 {
			in, rest := tileLeaf(t, b)
			out = append(out, in)
			b = rest
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// tileLeaf takes one TileLeaf off b.
func tileLeaf(t testing.TB, b []byte) (in Input, rest []byte) {
	t.Helper()
	u24 := func(at int) int { return int(b[at])<<16 | int(b[at+1])<<8 | int(b[at+2]) }
	precert := b[9] == 1
	n := 10
	if precert {
		n += 32
	}
	n += 3 + u24(n)
	n += 2 + int(binary.BigEndian.Uint16(b[n:]))
	in.Leaf = append([]byte{0, 0}, b[:n]...)
	if precert {
		m := u24(n)
		in.Precert = b[n+3 : n+3+m]
		n += 3 + m
	}
	m := int(binary.BigEndian.Uint16(b[n:]))
	for at := n + 2; at < n+2+m; at += 32 {
		in.Chain = append(in.Chain, schema.Hash(b[at:at+32]))
	}
	return in, b[n+2+m:]
}

// getEntries decodes a get-entries answer.
func getEntries(t testing.TB, path string) []Input {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var answer struct {
		Entries []struct {
			Leaf  []byte `json:"leaf_input"`
			Extra []byte `json:"extra_data"`
		} `json:"entries"`
	}
	if err := json.Unmarshal(b, &answer); err != nil {
		t.Fatal(err)
	}
	var out []Input
	for i, e := range answer.Entries {
		in := Input{Index: uint64(i), Leaf: e.Leaf}
		x := e.Extra
		u24 := func() []byte {
			n := int(x[0])<<16 | int(x[1])<<8 | int(x[2])
			v := x[3 : 3+n]
			x = x[3+n:]
			return v
		}
		if e.Leaf[11] == 1 {
			in.Precert = u24()
		}
		issuers := map[schema.Hash]schema.Hash{}
		for x = u24(); len(x) > 0; {
			iss := ParseIssuer(u24())
			in.Chain = append(in.Chain, iss.Fingerprint)
			issuers[iss.Fingerprint] = iss.SPKI
		}
		in.Issuer = func(h schema.Hash) (schema.Hash, bool) { k, ok := issuers[h]; return k, ok }
		out = append(out, in)
	}
	return out
}

// getLeaves decodes a get-entries answer as ct-go wants it.
func getLeaves(t testing.TB, path string) []ct.LeafEntry {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var answer ct.GetEntriesResponse
	if err := json.Unmarshal(b, &answer); err != nil {
		t.Fatal(err)
	}
	return answer.Entries
}
