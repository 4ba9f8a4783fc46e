package ingest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"ctappliance/checkpoint"
	"ctappliance/schema"
)

// insert gets a flush into every table. In doubt it proves before it inserts;
// otherwise it inserts once and proves only if that did not succeed.
func (d *deliverer) insert(ctx context.Context, f *schema.Flush, in *checkpoint.Intent, doubt bool) error {
	tries := 0
	for {
		var err error
		if doubt {
			err = d.resolve(ctx, f, in)
		} else {
			err = d.first(ctx, f)
		}
		if err == nil {
			d.a.setTrouble("")
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		var refused *schema.RefusedError
		if errors.As(err, &refused) {
			if err := d.bisect(ctx, f, refused); err != nil {
				return err
			}
		}
		var fatal *fatalError
		if errors.As(err, &fatal) {
			return err
		}
		doubt = true
		tries++
		wait := min(backoff(min(tries, 8)), storeRetryMax)
		d.a.setTrouble("store: " + err.Error())
		if tries == 1 {
			d.a.c.Logger.Warn("insert failed", "flush", f.ID, "rows", len(f.Rows), "err", err, "retry_in", wait)
		}
		d.a.insertErrors.Add(1)
		d.a.c.Step("retry")
		if !sleep(ctx, wait) {
			return ctx.Err()
		}
	}
}

// first is a flush's first attempt: dependents first, the ledger last.
func (d *deliverer) first(ctx context.Context, f *schema.Flush) error {
	d.a.c.Step("dependents")
	if err := d.a.c.Sink.InsertDependents(ctx, f); err != nil {
		return err
	}
	d.a.c.Step("ledger")
	if err := d.a.c.Sink.InsertLedger(ctx, f, nil); err != nil {
		return err
	}
	d.a.c.Step("acknowledged")
	return nil
}

// resolve ends all doubt about a flush: it waits until no earlier attempt can
// take effect, writes the dependents again, counts what the ledger holds, and
// inserts exactly what is missing. The first insert keeps the token of the
// attempt, which still stops one that comes late; where the server says yes
// and the rows are not there, it has swallowed them, and the next generation's
// token is new.
func (d *deliverer) resolve(ctx context.Context, f *schema.Flush, in *checkpoint.Intent) error {
	sink := d.a.c.Sink
	d.a.c.Step("resolve")
	if err := d.fence(ctx); err != nil {
		return err
	}
	if err := sink.Fence(ctx, f.ID); err != nil {
		return fmt.Errorf("fencing flush: %w", err)
	}
	if err := sink.InsertDependents(ctx, f); err != nil {
		return err
	}
	for {
		lacking, err := d.lacking(ctx, f)
		if err != nil {
			return err
		}
		if len(lacking) == 0 {
			return nil
		}
		d.a.c.Step("reinsert")
		d.a.reinserted.Add(uint64(len(lacking)))
		err = sink.InsertLedger(ctx, f, func(r *schema.Row) bool { return lacking[entryKey{r.LogID, r.Index}] })
		if err != nil {
			return err
		}
		still, err := d.lacking(ctx, f)
		if err != nil {
			return err
		}
		if len(still) == 0 {
			return nil
		}
		in.Generation++
		f.Generation = in.Generation
		if err := d.saveRetrying(ctx, func(tx *checkpoint.Tx) error { return tx.PutIntent(*in) }); err != nil {
			return &fatalError{err}
		}
	}
}

// entryKey names an entry across logs.
type entryKey struct{ log, index uint64 }

// lacking returns the entries of f that the ledger does not hold. Entries that
// it holds twice are an alarm: nothing here can take one away.
func (d *deliverer) lacking(ctx context.Context, f *schema.Flush) (map[entryKey]bool, error) {
	out := map[entryKey]bool{}
	for from := 0; from < len(f.Ranges); from += maxProveRanges {
		ranges := f.Ranges[from:min(from+maxProveRanges, len(f.Ranges))]
		proofs, err := d.a.c.Sink.Prove(ctx, ranges)
		if err != nil {
			return nil, fmt.Errorf("proving flush: %w", err)
		}
		if len(proofs) != len(ranges) {
			return nil, fmt.Errorf("proving flush: %d answers for %d ranges", len(proofs), len(ranges))
		}
		for _, p := range proofs {
			if p.Count > p.Unique {
				d.a.alarm(fmt.Sprintf("ledger holds %d rows for %d entries of log %016x in [%d,%d)", p.Count, p.Unique, p.Range.Log, p.Range.From, p.Range.To))
			}
			if p.Unique == p.Range.Len() {
				continue
			}
			var have []uint64
			if p.Unique > 0 {
				if have, err = d.a.c.Sink.Indices(ctx, p.Range); err != nil {
					return nil, fmt.Errorf("proving flush: %w", err)
				}
			}
			for i := range missing(p.Range, have) {
				out[entryKey{p.Range.Log, i}] = true
			}
		}
	}
	return out, nil
}

// bisect finds the rows that the server refuses for good and turns each into a
// row that only says so, keeping its bytes among the problems: one poisonous
// certificate must not pin the WAL. Dependents are idempotent, so halves may
// be tried as often as it takes.
func (d *deliverer) bisect(ctx context.Context, f *schema.Flush, cause *schema.RefusedError) error {
	d.a.c.Logger.Error("rows refused by the store, looking for them", "flush", f.ID, "table", cause.Table, "err", cause)
	if err := d.dropRefusedIssuers(ctx, f); err != nil {
		return err
	}
	bad, err := d.refusedRows(ctx, f, 0, len(f.Rows))
	if err != nil {
		return err
	}
	for _, i := range bad {
		r := &f.Rows[i]
		*r = schema.Row{LogID: r.LogID, Index: r.Index, Timestamp: r.Timestamp, EntryType: r.EntryType, TBSID: r.TBSID,
			IssuerKeyHash: r.IssuerKeyHash, ParserVersion: r.ParserVersion, DER: r.DER, Fingerprint: r.Fingerprint,
			Status: schema.StatusRefused, Error: "refused by the store: " + cause.Error()}
		d.a.alarm(fmt.Sprintf("entry %d of log %016x was refused by the store and kept as a problem", r.Index, r.LogID))
	}
	return nil
}

// dropRefusedIssuers takes those chain certificates out of f that the server
// refuses for good. They stay in the chain store.
func (d *deliverer) dropRefusedIssuers(ctx context.Context, f *schema.Flush) error {
	part := *f
	part.Rows = nil
	var good []schema.Issuer
	for at, n := 0, len(f.Issuers); at < len(f.Issuers); {
		part.Issuers = f.Issuers[at:min(at+n, len(f.Issuers))]
		err := d.a.c.Sink.InsertDependents(ctx, &part)
		var refused *schema.RefusedError
		switch {
		case err == nil:
			good = append(good, part.Issuers...)
			at += len(part.Issuers)
		case !errors.As(err, &refused):
			if !sleep(ctx, time.Second) {
				return ctx.Err()
			}
		case len(part.Issuers) > 1:
			n = 1 // one by one: there are few, and this is rare
		default:
			d.a.alarm(fmt.Sprintf("chain certificate %x was refused by the store and is left out: %v", part.Issuers[0].Fingerprint, refused))
			at++
		}
	}
	f.Issuers = good
	return nil
}

// refusedRows returns the positions in f.Rows[from:to] that are refused.
func (d *deliverer) refusedRows(ctx context.Context, f *schema.Flush, from, to int) ([]int, error) {
	part := *f
	part.Rows, part.Issuers = f.Rows[from:to], nil
	err := d.a.c.Sink.InsertDependents(ctx, &part)
	var refused *schema.RefusedError
	switch {
	case err == nil:
		return nil, nil
	case !errors.As(err, &refused):
		if !sleep(ctx, time.Second) {
			return nil, ctx.Err()
		}
		return d.refusedRows(ctx, f, from, to)
	case to-from <= 1:
		return []int{from}, nil
	}
	mid := (from + to) / 2
	left, err := d.refusedRows(ctx, f, from, mid)
	if err != nil {
		return nil, err
	}
	right, err := d.refusedRows(ctx, f, mid, to)
	return append(left, right...), err
}

// fatalError is an error of our own disk inside an attempt: no retry helps.
type fatalError struct{ err error }

func (e *fatalError) Error() string { return e.err.Error() }
func (e *fatalError) Unwrap() error { return e.err }
