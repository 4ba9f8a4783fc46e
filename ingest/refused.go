package ingest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"ctappliance/checkpoint"
	"ctappliance/schema"
)

// bisect finds the rows that the server refuses for good and turns each into a
// row that only says so, keeping its bytes among the problems: one poisonous
// certificate must not pin the WAL.
func (d *deliverer) bisect(ctx context.Context, f *schema.Flush, in *checkpoint.Intent, cause *schema.RefusedError) error {
	d.a.c.Logger.Error("rows refused by the store, looking for them", "flush", f.ID, "table", cause.Table, "err", cause)
	if cause.Table == ledgerTable {
		return d.bisectLedger(ctx, f, in, cause)
	}
	// Dependents are idempotent: halves may be tried as often as it takes.
	if err := d.dropRefusedIssuers(ctx, f); err != nil {
		return err
	}
	bad, err := d.refusedRows(ctx, f, 0, len(f.Rows))
	if err != nil {
		return err
	}
	for _, i := range bad {
		d.replaceRefused(&f.Rows[i], f.Rows[i].Timestamp, cause)
	}
	return nil
}

// ledgerTable is what RefusedError.Table says of the ledger.
const ledgerTable = "ledger"

// replaceRefused makes of r a row that only says that it was refused.
func (d *deliverer) replaceRefused(r *schema.Row, timestamp uint64, cause *schema.RefusedError) {
	*r = schema.Row{LogID: r.LogID, Index: r.Index, Timestamp: timestamp, EntryType: r.EntryType, TBSID: r.TBSID,
		IssuerKeyHash: r.IssuerKeyHash, ParserVersion: r.ParserVersion, DER: r.DER, Fingerprint: r.Fingerprint,
		Status: schema.StatusRefused, Error: "refused by the store: " + cause.Error()}
	d.a.alarm(fmt.Sprintf("entry %d of log %016x was refused by the store and kept as a problem", r.Index, r.LogID))
}

// bisectLedger does the same for the ledger, where a row must not come twice:
// every part is inserted under a token of its own, and only what is missing.
// Of a ledger row the timestamp alone is the log's to choose; a refused row is
// kept with time zero. Where that is refused too it is not the row's fault, and
// the flush waits.
func (d *deliverer) bisectLedger(ctx context.Context, f *schema.Flush, in *checkpoint.Intent, cause *schema.RefusedError) error {
	if err := d.a.c.Sink.Fence(ctx, f.ID); err != nil {
		return ignoreStop(ctx, nil) // insert tries again
	}
	lacking, err := d.lacking(ctx, f)
	if err != nil {
		return ignoreStop(ctx, nil)
	}
	var rows []int
	for i := range f.Rows {
		if r := &f.Rows[i]; lacking[entryKey{r.LogID, r.Index}] {
			rows = append(rows, i)
		}
	}
	bad, err := d.refusedLedgerRows(ctx, f, in, rows)
	for _, i := range bad {
		if r := &f.Rows[i]; r.Timestamp != 0 || r.Status != schema.StatusRefused {
			d.replaceRefused(r, 0, cause)
		}
	}
	return err
}

// refusedLedgerRows inserts the rows at the given positions, halving what is
// refused, and returns the positions of those that are refused alone. Errors of
// the store end the search early; what was not tried comes again.
func (d *deliverer) refusedLedgerRows(ctx context.Context, f *schema.Flush, in *checkpoint.Intent, rows []int) ([]int, error) {
	if len(rows) == 0 {
		return nil, nil
	}
	if err := d.nextGeneration(ctx, f, in); err != nil {
		return nil, err
	}
	part := map[entryKey]bool{}
	for _, i := range rows {
		part[entryKey{f.Rows[i].LogID, f.Rows[i].Index}] = true
	}
	err := d.a.c.Sink.InsertLedger(ctx, f, func(r *schema.Row) bool { return part[entryKey{r.LogID, r.Index}] })
	var refused *schema.RefusedError
	switch {
	case err == nil:
		return nil, nil
	case !errors.As(err, &refused):
		return nil, ignoreStop(ctx, nil)
	case len(rows) == 1:
		return rows, nil
	}
	left, err := d.refusedLedgerRows(ctx, f, in, rows[:len(rows)/2])
	if err != nil {
		return left, err
	}
	right, err := d.refusedLedgerRows(ctx, f, in, rows[len(rows)/2:])
	return append(left, right...), err
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
