package ingest

import (
	"bytes"
	stdgzip "compress/gzip"
	"encoding/binary"
	"testing"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"

	"ctappliance/ingest/ctlog"
	"ctappliance/ingest/ctlog/ctlogtest"
	"ctappliance/internal/stagebench"
)

// BenchmarkRecord is a batch of 256 entries of a get-entries answer to a WAL
// record and back; tiles are kept as they came. Instead of it: the leaves and
// extra_data as they came, under other compressors.
func BenchmarkRecord(b *testing.B) {
	corpus, err := ctlogtest.NewCorpus(ctlogtest.CorpusOptions{Seed: 1})
	if err != nil {
		b.Fatal(err)
	}
	log, err := ctlogtest.New(ctlogtest.Options{Corpus: corpus, Size: 256})
	if err != nil {
		b.Fatal(err)
	}
	batch := &ctlog.Batch{}
	var verbatim []byte
	for i := range uint64(256) {
		e := corpus.Entry(i)
		entry := ctlog.Entry{Leaf: log.Leaf(i), Precert: e.Submitted}
		verbatim = append(append(verbatim, entry.Leaf...), e.Submitted...)
		for _, der := range corpus.Chain(e) {
			entry.Chain = append(entry.Chain, ctlog.LeafHash(der))
			verbatim = append(binary.BigEndian.AppendUint32(verbatim, uint32(len(der))), der...)
		}
		batch.Entries = append(batch.Entries, entry)
	}
	var rec []byte
	t := stagebench.New(b)
	memory := new(encodeBuffers)
	t.Ours("encodeRecord", 256, func(int) error {
		rec, err = memory.encodeRecord(ctlog.Hash{}, batch, nil, nil)
		return err
	})
	t.Ours("decodeRecord", 256, func(int) error {
		r, err := decodeRecord(rec)
		if err == nil {
			r.memory.Release()
		}
		return err
	})
	b.Logf("a record of ours has %d B/entry, the answer's bytes have %d", len(rec)/256, len(verbatim)/256)
	t.Instead("as it came, s2", "encodeRecord", 256, func(int) error {
		s2.Encode(nil, verbatim)
		return nil
	})
	zw, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
	if err != nil {
		b.Fatal(err)
	}
	defer zw.Close()
	t.Instead("as it came, zstd fastest", "encodeRecord", 256, func(int) error {
		zw.EncodeAll(verbatim, nil)
		return nil
	})
	t.Instead("as it came, compress/gzip", "encodeRecord", 256, func(int) error {
		var out bytes.Buffer
		gw := stdgzip.NewWriter(&out)
		if _, err := gw.Write(verbatim); err != nil {
			return err
		}
		return gw.Close()
	})
}
