package ctlog

import (
	"bytes"
	"errors"
	"testing"
)

func TestParseLeaf(t *testing.T) {
	l := newFakeLog(t, 3, true)
	x, err := ParseLeaf(l.leaves[1])
	if err != nil || x.Timestamp != 1_700_000_000_001 || x.EntryType != X509Entry || string(x.Cert) != "certificate 1" || x.IssuerKeyHash != nil || x.Rest != nil {
		t.Errorf("%+v, %v", x, err)
	}
	if i, ok, err := LeafIndex(x.Extensions); i != 1 || !ok || err != nil {
		t.Errorf("leaf_index %d, %v, %v", i, ok, err)
	}
	p, err := ParseLeaf(l.leaves[2])
	if err != nil || p.EntryType != PrecertEntry || string(p.Cert) != "certificate 2" || !bytes.Equal(p.IssuerKeyHash, bytes.Repeat([]byte{2}, 32)) {
		t.Errorf("%+v, %v", p, err)
	}
	// Neither a byte less nor one more is a leaf.
	for _, leaf := range l.leaves {
		for n := range leaf {
			if got, err := ParseLeaf(leaf[:n]); err == nil || errors.Is(err, ErrUnknownLeaf) || got.Cert != nil {
				t.Fatalf("cut at %d: %+v, %v", n, got, err)
			}
		}
		if _, err := ParseLeaf(append(bytes.Clone(leaf), 0)); err == nil {
			t.Fatal("accepted a byte too many")
		}
	}
}

func TestUnknownLeaves(t *testing.T) {
	l := newFakeLog(t, 1, false)
	for at, want := range map[int]string{
		0: string(l.leaves[0][2:]), 1: string(l.leaves[0][2:]), 11: string(l.leaves[0][12:]),
	} {
		leaf := bytes.Clone(l.leaves[0])
		leaf[at] = 9
		got, err := ParseLeaf(leaf)
		if !errors.Is(err, ErrUnknownLeaf) || string(got.Rest) != want || got.Cert != nil {
			t.Errorf("byte %d: %+v, %v", at, got, err)
		}
		if at == 11 && (got.Timestamp == 0 || got.EntryType != 9) {
			t.Errorf("byte %d: %+v", at, got)
		}
	}
}

func TestLeafIndex(t *testing.T) {
	for _, c := range []struct {
		name string
		ext  []byte
		want uint64
		ok   bool
		bad  bool
	}{
		{"none", nil, 0, false, false},
		{"5 bytes", []byte{0, 0, 5, 1, 2, 3, 4, 5}, 0x0102030405, true, false},
		{"behind another", []byte{7, 0, 0, 0, 0, 5, 0, 0, 0, 0, 9}, 9, true, false},
		{"another only", []byte{7, 0, 1, 0}, 0, false, false},
		{"4 bytes", []byte{0, 0, 4, 1, 2, 3, 4}, 0, false, true},
		{"twice", []byte{0, 0, 5, 1, 2, 3, 4, 5, 0, 0, 5, 1, 2, 3, 4, 5}, 0, false, true},
		{"another twice", []byte{7, 0, 0, 7, 0, 0}, 0, false, true},
		{"cut", []byte{0, 0, 5, 1, 2, 3, 4}, 0, false, true},
		{"a byte", []byte{0}, 0, false, true},
	} {
		got, ok, err := LeafIndex(c.ext)
		if (err != nil) != c.bad || (!c.bad && (got != c.want || ok != c.ok)) {
			t.Errorf("%s: %d, %v, %v", c.name, got, ok, err)
		}
	}
}
