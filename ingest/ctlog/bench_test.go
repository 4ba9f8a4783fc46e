package ctlog

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"testing"
	"time"

	"ctappliance/ingest/cert"
	"ctappliance/ingest/ctlog/ctlogtest"
	"ctappliance/internal/stagebench"
	"ctappliance/schema"

	ct "github.com/google/certificate-transparency-go"
	ctclient "github.com/google/certificate-transparency-go/client"
	"github.com/google/certificate-transparency-go/jsonclient"
	cttls "github.com/google/certificate-transparency-go/tls"
	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/rfc6962"
)

// realPage is an answer with 256 real entries, 40 of them different.
func realPage(b *testing.B) []byte {
	b.Helper()
	var entries []map[string]string
	for _, name := range []string{"rfc6962/get-entries-Google--Argon2026h2-from-1111014090.json", "rfc6962/get-entries-Cloudflare--Nimbus2026-from-4354630040.json"} {
		var v struct{ Entries []map[string]string }
		if err := json.Unmarshal(dataFile(b, name), &v); err != nil {
			b.Fatal(err)
		}
		entries = append(entries, v.Entries...)
	}
	for len(entries) < 256 {
		entries = append(entries, entries[:min(40, 256-len(entries))]...)
	}
	body, err := json.Marshal(map[string]any{"entries": entries})
	if err != nil {
		b.Fatal(err)
	}
	return body
}

// generatedPage is an answer with 256 entries of the demo's log: six of ten
// are precertificates, all have chains.
func generatedPage(b *testing.B) []byte {
	return fromLog(b, ctlogtest.RFC6962, "/ct/v1/get-entries?start=0&end=255")
}

// generatedTile is the tile of the same entries, gzip-compressed.
func generatedTile(b *testing.B) []byte {
	return fromLog(b, ctlogtest.Static, "/tile/data/000")
}

func fromLog(b *testing.B, kind ctlogtest.Kind, path string) []byte {
	b.Helper()
	corpus, err := ctlogtest.NewCorpus(ctlogtest.CorpusOptions{Seed: 1, Step: time.Minute})
	if err != nil {
		b.Fatal(err)
	}
	log, err := ctlogtest.New(ctlogtest.Options{Corpus: corpus, Kind: kind, Size: 1024})
	if err != nil {
		b.Fatal(err)
	}
	req, err := http.NewRequest(http.MethodGet, "http://log.test"+path, nil)
	if err != nil {
		b.Fatal(err)
	}
	req.Header.Set("Accept-Encoding", gzipOrPlain)
	resp, err := ctlogtest.Transport(log.Handler()).RoundTrip(req)
	if err != nil {
		b.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		b.Fatalf("%s: status %d, %v", path, resp.StatusCode, err)
	}
	return body
}

// served answers every request with a body from memory: what is left is what
// a client does with an answer, without the network and TLS.
type served struct {
	body []byte
	gzip bool
}

func (s served) RoundTrip(*http.Request) (*http.Response, error) {
	h := http.Header{"Content-Type": {"application/json"}}
	if s.gzip {
		h.Set("Content-Encoding", "gzip")
	}
	return &http.Response{StatusCode: http.StatusOK, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: h,
		ContentLength: int64(len(s.body)), Body: io.NopCloser(bytes.NewReader(s.body))}, nil
}

func benchClient(s served) *client {
	return &client{base: "http://log.test/", ua: "bench", pacer: unpaced{}, timeout: time.Minute, maxBody: defaultMaxBody, http: &http.Client{Transport: s}}
}

// BenchmarkReceive is an answer from a connection to a buffer.
func BenchmarkReceive(b *testing.B) {
	ctx := context.Background()
	for _, a := range []struct {
		name  string
		s     served
		reuse bool
	}{{"page", served{realPage(b), false}, true}, {"tile", served{dataFile(b, "captured-local/static/tile/data/000"), true}, false}} {
		b.Run(a.name, func(b *testing.B) {
			t := stagebench.New(b)
			c := benchClient(a.s)
			q := request{class: ClassData, path: "x", limit: c.maxBody, accept: gzipOrPlain, raw: true, reuse: a.reuse}
			t.Ours("client.get", 256, func(int) error {
				return c.get(ctx, q, func(a *answer) error { return nil })
			})
			hc := &http.Client{Transport: a.s}
			t.Instead("http.Client, io.ReadAll", "client.get", 256, func(int) error {
				resp, err := hc.Get("http://log.test/x")
				if err != nil {
					return err
				}
				defer resp.Body.Close()
				_, err = io.ReadAll(resp.Body)
				return err
			})
		})
	}
}

// BenchmarkDecode is an answer of 256 entries to entries, and beyond where the
// libraries do it in one.
func BenchmarkDecode(b *testing.B) {
	b.Run("page", func(b *testing.B) { benchPage(b, realPage(b)) })
	b.Run("page, generated", func(b *testing.B) { benchPage(b, generatedPage(b)) })
	b.Run("tile", func(b *testing.B) {
		benchTile(b, dataFile(b, "static/navigli2025h2/tile/data/000"), dataFile(b, "captured-local/static/tile/data/000"))
	})
	b.Run("tile, generated", func(b *testing.B) {
		zipped := generatedTile(b)
		plain, err := gunzip(nil, zipped, maxMaxBody)
		if err != nil {
			b.Fatal(err)
		}
		benchTile(b, plain, zipped)
	})
}

func benchPage(b *testing.B, page []byte) {
	t := stagebench.New(b)
	chains := newChainCache()
	t.Ours("decodeEntries", 256, func(int) error {
		m := new(Memory)
		_, _, err := decodeEntries(page, 256, chains, m)
		m.Release()
		return err
	})
	t.Instead("encoding/json", "decodeEntries", 256, func(int) error {
		var resp ct.GetEntriesResponse
		return json.Unmarshal(page, &resp)
	})
	t.Instead("encoding/json, ctgo.RawLogEntryFromLeaf", "decodeEntries", 256, func(int) error {
		var resp ct.GetEntriesResponse
		if err := json.Unmarshal(page, &resp); err != nil {
			return err
		}
		for i := range resp.Entries {
			if _, err := ct.RawLogEntryFromLeaf(int64(i), &resp.Entries[i]); err != nil {
				return err
			}
		}
		return nil
	})

	// The texts alone.
	texts, ok := scanEntries(page, 256)
	if !ok {
		b.Fatal("the page is not of the usual shape")
	}
	buf := make([]byte, len(page))
	t.Ours("base64", 256, func(int) error {
		for _, p := range texts {
			for _, text := range [][]byte{p.leaf, p.extra} {
				n, ok := plainLen(text)
				if !ok || !decodeText(buf[:n], text) {
					return errors.New("not base64")
				}
			}
		}
		return nil
	})
	t.Instead("encoding/base64", "base64", 256, func(int) error {
		for _, p := range texts {
			for _, text := range [][]byte{p.leaf, p.extra} {
				if _, err := base64.StdEncoding.Decode(buf, text); err != nil {
					return err
				}
			}
		}
		return nil
	})

	// From an answer on.
	ctx := context.Background()
	l := newRFC6962(Info{}, nil, benchClient(served{page, false}), Options{PageSize: 256})
	t.Ours("Entries: received and decoded", 256, func(int) error {
		batch, err := l.Entries(ctx, 0, 256, 1000)
		if err != nil {
			return err
		}
		batch.Memory.Release()
		return nil
	})
	lc, err := ctclient.New("http://log.test", &http.Client{Transport: served{page, false}}, jsonclient.Options{})
	if err != nil {
		b.Fatal(err)
	}
	t.Instead("ctgo.GetRawEntries", "Entries: received and decoded", 256, func(int) error {
		_, err := lc.GetRawEntries(ctx, 0, 255)
		return err
	})
	var rows [256]schema.Row
	t.Ours("Entries and rows of all columns", 256, func(int) error {
		batch, err := l.Entries(ctx, 0, 256, 1000)
		if err != nil {
			return err
		}
		parsed := cert.NewBatch()
		for i, e := range batch.Entries {
			parsed.Add(&cert.Input{Index: uint64(i), Leaf: e.Leaf, Precert: e.Precert, Chain: e.Chain}, &rows[i])
		}
		parsed.End()
		batch.Memory.Release()
		return nil
	})
	t.Instead("ctgo.GetRawEntries, ctgo.LogEntryFromLeaf", "Entries and rows of all columns", 256, func(int) error {
		resp, err := lc.GetRawEntries(ctx, 0, 255)
		if err != nil {
			return err
		}
		for i := range resp.Entries {
			if e, err := ct.LogEntryFromLeaf(int64(i), &resp.Entries[i]); e == nil {
				return err
			}
		}
		return nil
	})
}

func benchTile(b *testing.B, plain, zipped []byte) {
	t := stagebench.New(b)
	decode := func(raw []byte, gz bool) error {
		m := new(Memory)
		_, err := DecodeTileIn(m, 0, raw, gz)
		m.Release()
		return err
	}
	t.Ours("DecodeTile", 256, func(int) error { return decode(plain, false) })
	entries, err := DecodeTile(0, plain, false)
	if err != nil {
		b.Fatal(err)
	}
	t.Instead("ctgo tls.Unmarshal of leaves", "DecodeTile", 256, func(int) error {
		for _, e := range entries {
			var leaf ct.MerkleTreeLeaf
			if _, err := cttls.Unmarshal(e.Leaf, &leaf); err != nil {
				return err
			}
		}
		return nil
	})
	t.Ours("DecodeTile of gzip", 256, func(int) error { return decode(zipped, true) })
	buf, err := gunzip(nil, zipped, defaultMaxBody)
	if err != nil {
		b.Fatal(err)
	}
	t.Ours("gunzip", 256, func(int) error { buf, err = gunzip(buf[:0], zipped, defaultMaxBody); return err })
	t.Instead("compress/gzip", "gunzip", 256, func(int) error {
		zr, err := gzip.NewReader(bytes.NewReader(zipped))
		if err != nil {
			return err
		}
		_, err = io.ReadAll(zr)
		return err
	})
}

// BenchmarkHash is what verification costs: the hash of every leaf, and the
// nodes above them.
func BenchmarkHash(b *testing.B) {
	entries, err := DecodeTile(0, dataFile(b, "static/navigli2025h2/tile/data/000"), false)
	if err != nil {
		b.Fatal(err)
	}
	t := stagebench.New(b)
	var hashes []Hash
	t.Ours("LeafHashes", 256, func(int) error {
		hashes = LeafHashes(entries)
		return nil
	})
	t.Instead("merkle rfc6962.HashLeaf", "LeafHashes", 256, func(int) error {
		for _, e := range entries {
			rfc6962.DefaultHasher.HashLeaf(e.Leaf)
		}
		return nil
	})
	var f Frontier
	t.Ours("Frontier.AppendAll", 256, func(int) error {
		f.AppendAll(hashes, nil)
		return nil
	})
	r := (&compact.RangeFactory{Hash: rfc6962.DefaultHasher.HashChildren}).NewEmptyRange(0)
	t.Instead("merkle compact.Range.Append", "Frontier.AppendAll", 256, func(int) error {
		for i := range hashes {
			h := hashes[i]
			if err := r.Append(h[:], nil); err != nil {
				return err
			}
		}
		return nil
	})
}
