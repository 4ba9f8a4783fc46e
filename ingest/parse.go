package ingest

import (
	"context"
	"encoding/binary"
	"fmt"

	"golang.org/x/sync/errgroup"

	"ctappliance/ingest/cert"
	"ctappliance/ingest/ctlog"
	"ctappliance/schema"
)

// parsed is one record as rows.
type parsed struct {
	seq     uint64 // the record's
	span    uint64
	from    uint64
	to      uint64
	log     ctlog.Hash
	rows    []schema.Row
	issuers []schema.Issuer // chain certificates that the rows refer to, without repeats
	roots   []subtree
	bytes   int           // of certificates behind the rows
	memory  *ctlog.Memory // which the rows refer to

	// lost is set where the WAL could not give back what lay before seq, or the
	// record itself.
	lost error
	// resumed marks the end of what former lives wrote: seq is the first of
	// this life, and there is nothing else in it.
	resumed bool
}

// job is a record on its way through a parser; the parser closes out.
type job struct {
	parsed
	rec     *record // nil: payload is to be decoded first
	payload []byte
	out     chan *parsed
}

// parse reads records from seq on, from the ring or the WAL, parses them in
// parallel and sends them to out in order. It closes out.
//
//	ring or WAL ──> parse × workers ──> out, in order
func (a *Appliance) parse(ctx context.Context, seq uint64, out chan<- *parsed) error {
	defer close(out)
	g, ctx := errgroup.WithContext(ctx)
	jobs := make(chan *job)
	ordered := make(chan *job, 2*a.c.ParseWorkers)
	g.Go(func() error {
		defer close(jobs)
		defer close(ordered)
		return (&feeder{a: a, jobs: jobs, ordered: ordered}).run(ctx, seq)
	})
	for range a.c.ParseWorkers {
		g.Go(func() error {
			for j := range jobs {
				p, err := a.parseJob(j)
				if err != nil {
					return err
				}
				j.out <- p // holds one: never blocks
			}
			return nil
		})
	}
	g.Go(func() error {
		for j := range ordered {
			select {
			case p := <-j.out:
				select {
				case out <- p:
				case <-ctx.Done():
					return ctx.Err()
				}
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
	return g.Wait()
}

func (a *Appliance) parseJob(j *job) (*parsed, error) {
	p := &j.parsed
	rec := j.rec
	if rec == nil {
		if len(j.payload) == 0 {
			return p, nil // a forgotten stream, lost, or the end of a former life
		}
		var err error
		if rec, err = decodeRecord(j.payload); err != nil {
			// It passed its checksum, so it is what we wrote: a bug, or an older build's.
			return nil, fmt.Errorf("WAL record %d: %w", j.seq, err)
		}
	}
	a.parseRecord(rec, p)
	return p, nil
}

// parseRecord turns a record into rows: a pure function of the record and the
// chain certificates.
func (a *Appliance) parseRecord(rec *record, p *parsed) {
	p.log, p.from, p.to, p.roots = rec.log, rec.from, rec.end(), rec.roots
	p.rows, p.memory = a.rowsFor(len(rec.entries)), rec.memory
	// Chain certificates that the record's entries refer to: most are the same
	// few. nil: nobody has it.
	known := map[ctlog.Hash]*schema.Issuer{}
	inline := map[ctlog.Hash]*schema.Issuer{}
	for _, der := range rec.inline {
		parsed := cert.ParseIssuer(der)
		inline[parsed.Fingerprint] = &parsed
		a.oracle.issuer(parsed.Fingerprint, der)
	}
	find := func(h ctlog.Hash) *schema.Issuer {
		issuer, ok := known[h]
		if !ok {
			if issuer, ok = inline[h]; !ok {
				issuer, _ = a.issuers.get(h)
			}
			known[h] = issuer
			if issuer != nil {
				p.issuers = append(p.issuers, *issuer)
			}
		}
		return issuer
	}
	in := cert.Input{LogID: schema.ShortID(rec.log), Issuer: func(h schema.Hash) (schema.Hash, bool) {
		issuer := find(h)
		if issuer == nil || issuer.Error != "" {
			return schema.Hash{}, false
		}
		return issuer.SPKI, true
	}}
	batch := cert.NewBatch()
	for i := range rec.entries {
		e := &rec.entries[i]
		in.Index, in.Leaf, in.Precert, in.Chain = rec.from+uint64(i), e.Leaf, e.Precert, e.Chain
		parseEntry(batch, &in, &p.rows[i])
		p.bytes += len(e.Leaf) + len(e.Precert)
		for _, h := range e.Chain {
			find(h)
		}
	}
	batch.End()
	a.oracle.look(rec.log, p.rows)
}

// pooledRows is the largest number of rows that are kept for another record:
// those of four tiles. A row is more than a kilobyte, full of pointers.
const pooledRows = 1024

// rowsFor returns n rows to be filled.
func (a *Appliance) rowsFor(n int) []schema.Row {
	if s, ok := a.rowSlices.Get().(*[]schema.Row); ok && cap(*s) >= n {
		return (*s)[:n]
	}
	return make([]schema.Row, n)
}

// recycle takes p's rows, and the memory of the entries that they refer to, for
// another record's. Who calls it has turned them into something else and owned
// them alone.
func (a *Appliance) recycle(p *parsed) {
	p.memory.Release()
	rows := p.rows
	if p.rows = nil; rows == nil || cap(rows) > pooledRows {
		return
	}
	clear(rows) // they refer to the record's bytes
	a.rowSlices.Put(&rows)
}

// parseEntry adds to a batch, which must not panic, and if it does all the same,
// then not with the appliance: some stranger chose the bytes.
func parseEntry(batch *cert.Batch, in *cert.Input, row *schema.Row) {
	defer func() {
		if r := recover(); r != nil {
			*row = schema.Row{LogID: in.LogID, Index: in.Index, Status: schema.StatusRefused,
				Error: fmt.Sprintf("the parser failed: %v", r), DER: in.Leaf}
			if len(in.Leaf) >= 10 {
				row.Timestamp = binary.BigEndian.Uint64(in.Leaf[2:]) // RFC 6962 section 3.4
			}
		}
	}()
	batch.Add(in, row)
}
