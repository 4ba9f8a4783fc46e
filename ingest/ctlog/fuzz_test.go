package ctlog

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"testing"
)

// seedFiles adds captured files to the corpus, where they are.
func seedFiles(f *testing.F, add func([]byte), patterns ...string) {
	f.Helper()
	dir := os.Getenv("CTAPPLIANCE_DATA")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "shared", "data")
	}
	for _, p := range patterns {
		names, err := filepath.Glob(filepath.Join(dir, filepath.FromSlash(p)))
		if err != nil {
			f.Fatal(err)
		}
		for _, name := range names {
			b, err := os.ReadFile(name)
			if err != nil {
				f.Fatal(err)
			}
			add(b)
		}
	}
}

// FuzzLeaf: what parses is made of the parts found, and nothing else.
func FuzzLeaf(f *testing.F) {
	l := newFakeLog(f, 3, true)
	for _, leaf := range l.leaves {
		f.Add(leaf)
	}
	f.Add([]byte{1, 2, 3})
	f.Fuzz(func(t *testing.T, b []byte) {
		leaf, err := ParseLeaf(b)
		if errors.Is(err, ErrUnknownLeaf) && !bytes.HasSuffix(b, leaf.Rest) {
			t.Error("Rest is not the rest")
		}
		if err != nil {
			return
		}
		again := append([]byte{}, b[:12]...)
		again = append(again, leaf.IssuerKeyHash...)
		again = vec24(again, leaf.Cert)
		again = append(again, byte(len(leaf.Extensions)>>8), byte(len(leaf.Extensions)))
		again = append(again, leaf.Extensions...)
		if !bytes.Equal(again, b) {
			t.Errorf("parts do not make the leaf:\n%x\n%x", again, b)
		}
		LeafIndex(leaf.Extensions)
	})
}

// FuzzTile: what decodes can be written again, byte for byte.
func FuzzTile(f *testing.F) {
	l := newFakeLog(f, 6, true)
	f.Add(uint32(0), l.dataTile(0, 6), false)
	f.Add(uint32(0), gz(l.dataTile(0, 6)), true)
	f.Add(uint32(0), newFakeLog(f, 4, false).dataTile(0, 4), false)
	f.Fuzz(func(t *testing.T, from uint32, raw []byte, zipped bool) {
		before := bytes.Clone(raw)
		entries, _, err := decodeTile(uint64(from), raw, zipped, 1<<20, nil)
		if !bytes.Equal(raw, before) {
			t.Fatal("the tile was changed")
		}
		if err != nil {
			return
		}
		var again []byte
		for _, e := range entries {
			leaf, err := ParseLeaf(e.Leaf)
			if err != nil {
				t.Fatalf("leaf of a tile does not parse: %v", err)
			}
			again = append(again, e.Leaf[2:]...)
			if (leaf.EntryType == PrecertEntry) != (e.Precert != nil) {
				t.Fatal("precertificate of the wrong kind of entry")
			}
			if e.Precert != nil {
				again = vec24(again, e.Precert)
			}
			again = append(again, byte(32*len(e.Chain)>>8), byte(32*len(e.Chain)))
			for _, h := range e.Chain {
				again = append(again, h[:]...)
			}
		}
		if zipped {
			if raw, err = gunzip(nil, raw, 1<<20); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(again, raw) {
			t.Error("entries do not make the tile")
		}
	})
}

// FuzzExtra: the cache changes nothing, and what is not decoded is kept.
func FuzzExtra(f *testing.F) {
	l := newFakeLog(f, 3, false)
	for i := range l.leaves {
		f.Add(l.leaves[i], l.extra(i))
	}
	cc := newChainCache()
	f.Fuzz(func(t *testing.T, leaf, extra []byte) {
		var got [2]Entry
		for i, cc := range []*chainCache{cc, newChainCache()} {
			got[i].Leaf = leaf
			c := cc.setExtra(&got[i], extra)
			if c == nil && !bytes.Equal(got[i].Extra, extra) {
				t.Fatal("undecoded and lost")
			}
			if c == nil {
				continue
			}
			var chain []byte
			for j, cert := range c.certs {
				chain = vec24(chain, cert)
				if sha256.Sum256(cert) != c.hashes[j] {
					t.Fatal("wrong hash")
				}
			}
			var again []byte
			if p, err := ParseLeaf(leaf); err != nil || p.EntryType == PrecertEntry {
				again = vec24(again, got[i].Precert)
			}
			if again = vec24(again, chain); !bytes.Equal(again, extra) {
				t.Fatal("parts do not make the extra_data")
			}
		}
		if !reflect.DeepEqual(got[0], got[1]) {
			t.Error("the cache made a difference")
		}
	})
}

// FuzzEntries: both ways to read an answer agree.
func FuzzEntries(f *testing.F) {
	l := newFakeLog(f, 4, false)
	f.Add(l.entriesJSON(0, 4))
	f.Add([]byte(`{"entries":[]}`))
	f.Add([]byte(`{"entries":[{"extra_data":"","leaf_input":"AA\/="}],"x":[1,"]"]}`))
	f.Add([]byte("{ \"entries\" : [ {\"leaf_input\":\"AAAA\" ,\n\"extra_data\":\"AB==\"} ] }\n"))
	seedFiles(f, func(b []byte) { f.Add(b) }, "rfc6962/*.json", "captured-local/rfc6962/get-entries-0-9.json")
	f.Fuzz(func(t *testing.T, body []byte) {
		const asked = 30
		pairs, slowErr := decodePairs(body, asked)
		entries, issuers, err := decodeEntries(body, asked, newChainCache(), nil)
		if (err == nil) != (slowErr == nil) {
			t.Fatalf("%v, but the slow way: %v", err, slowErr)
		}
		if texts, ok := scanEntries(body, asked); ok {
			if _, _, ok := decodeTexts(texts, newChainCache(), nil); ok && slowErr != nil {
				t.Fatalf("the fast way accepts what the slow way does not: %v", slowErr)
			}
		}
		if err != nil {
			if _, ok := errors.AsType[*AnswerError](err); !ok || len(err.Error()) > 3*maxExcerpt {
				t.Fatalf("error is %v", err)
			}
			return
		}
		if len(entries) != len(pairs) || len(entries) > asked {
			t.Fatalf("%d entries, the slow way %d", len(entries), len(pairs))
		}
		cc := newChainCache()
		for i, p := range pairs {
			e := Entry{Leaf: p.leaf}
			cc.setExtra(&e, p.extra)
			g := entries[i]
			if !bytes.Equal(g.Leaf, e.Leaf) || !bytes.Equal(g.Precert, e.Precert) || !bytes.Equal(g.Extra, e.Extra) || len(g.Chain) != len(e.Chain) {
				t.Fatalf("entry %d differs", i)
			}
			for _, h := range g.Chain {
				if sha256.Sum256(issuers[h]) != h {
					t.Fatalf("entry %d: issuer missing", i)
				}
			}
		}
	})
}

// FuzzBase64: the vectorised decoder accepts and yields what the standard
// library does, but for line breaks, and writes nowhere else.
func FuzzBase64(f *testing.F) {
	for _, n := range []int{0, 1, 2, 3, 31, 32, 33, 48, 100, 1000} {
		f.Add([]byte(base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{0xfb, 7, 0x93}, n)[:n])))
	}
	for _, text := range []string{"AAAA\nAAAA", "\n\n\n\n", "AAAA\n\n\n\n", "AAAA\n\n\n\nAAAA", "A===", "AA=A"} {
		f.Add([]byte(text))
	}
	f.Add([]byte("AAA=AAAA"))
	f.Fuzz(func(t *testing.T, text []byte) {
		want := make([]byte, base64.StdEncoding.DecodedLen(len(text)))
		m, err := base64.StdEncoding.Decode(want, text)
		n, ok := plainLen(text)
		if !ok {
			return
		}
		buf := bytes.Repeat([]byte{0xa5}, n+64)
		ok = decodeText(buf[:n:n], text)
		if !bytes.Equal(buf[n:], bytes.Repeat([]byte{0xa5}, 64)) {
			t.Fatal("wrote beyond its room")
		}
		plain := !bytes.ContainsAny(text, "\r\n")
		if plain && ok != (err == nil) {
			t.Fatalf("accepted: %v; the standard library: %v", ok, err)
		}
		if ok && (err != nil || !bytes.Equal(buf[:n], want[:m])) {
			t.Fatalf("decoded to something else (%v)", err)
		}
	})
}

// FuzzNote: no checkpoint of another log is accepted, whatever surrounds it.
func FuzzNote(f *testing.F) {
	l := newFakeLog(f, 5, true)
	key, err := parsePublicKey(l.spki)
	if err != nil {
		f.Fatal(err)
	}
	good := l.checkpoint(5)
	f.Add([]byte(l.noteText(5)), []byte(l.noteSig(5)))
	f.Add([]byte("a\n0\nAAAA\n\n"), []byte("— x AAAAAAA=\n"))
	seedFiles(f, func(b []byte) { f.Add([]byte(l.noteText(5)), b) }, "captured-local/static/checkpoint")
	f.Fuzz(func(t *testing.T, text, sigs []byte) {
		for _, tail := range [][]byte{sigs, append(bytes.Clone(sigs), l.noteSig(5)...), append([]byte(l.noteSig(5)), sigs...)} {
			note := append(bytes.Clone(text), tail...)
			h, err := parseCheckpoint(note, l.origin, l.id, key)
			if err != nil {
				continue
			}
			if h.Size != 5 || h.Root != mth(l.hashes) || !bytes.Equal(h.Raw, note) || !bytes.HasPrefix(note, good[:len(l.noteText(5))]) {
				t.Fatalf("accepted %q as %+v", note, h)
			}
		}
	})
}

// FuzzTreeHead: only the head that was signed is accepted.
func FuzzTreeHead(f *testing.F) {
	l := newFakeLog(f, 5, true)
	key, err := parsePublicKey(l.spki)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(l.sth(5))
	f.Add([]byte(`{"tree_size":1e3}`))
	seedFiles(f, func(b []byte) { f.Add(b) }, "captured-local/rfc6962/get-sth.json")
	f.Fuzz(func(t *testing.T, body []byte) {
		if h, err := parseSTH(body, key); err == nil && (h.Size != 5 || h.Root != mth(l.hashes)) {
			t.Fatalf("accepted %q", body)
		}
	})
}

// FuzzList: logs without a Problem can be opened, and found again.
func FuzzList(f *testing.F) {
	f.Add([]byte(`{"version":"1","operators":[{"name":"x","logs":[{"key":"AAAA","url":"https://a.b/"}]}]}`))
	seedFiles(f, func(b []byte) { f.Add(b) }, "loglists/google-*.json", "loglists/log_list_[invo]*.json", "captured-local/static/log.v3.json")
	f.Fuzz(func(t *testing.T, data []byte) {
		list, err := ParseList(data)
		if err != nil {
			return
		}
		for _, l := range list.Logs {
			if l.ID != sha256.Sum256(l.Key) {
				t.Fatal("ID is not of the key")
			}
			if l.Problem != "" {
				continue
			}
			if _, err := New(l, Options{UserAgent: testUA, AllowHTTP: true}); err != nil {
				t.Fatalf("no problem, but: %v", err)
			}
			if got, err := Find(list.Logs, string(base64.StdEncoding.EncodeToString(l.ID[:]))); err != nil || got.ID != l.ID {
				t.Fatal("not found by its ID")
			}
			Find(list.Logs, l.Name)
			Find(list.Logs, l.URL)
		}
	})
}

// FuzzFrontier: what is accepted is written again as it was.
func FuzzFrontier(f *testing.F) {
	var g Frontier
	for _, h := range testHashes(7) {
		b, _ := g.MarshalBinary()
		f.Add(b)
		g.Append(h, nil)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var g Frontier
		if g.UnmarshalBinary(b) != nil {
			return
		}
		again, err := g.MarshalBinary()
		if err != nil || !bytes.Equal(again, b) {
			t.Fatal("round trip differs")
		}
		g.Root()
		g.Append(Hash{1}, nil)
		g.Root()
	})
}
