package ingest

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"ctappliance/checkpoint"
	"ctappliance/schema"
)

// ledgerTable is what RefusedError.Table says of the ledger.
const ledgerTable = "ledger"

// bisect finds the rows that the server refuses for good and turns each into a
// row that only says so, keeping its bytes among the problems: one poisonous
// certificate must not pin the WAL. tries is how often the flush has failed.
// Errors of the store end the search; insert tries again.
func (d *deliverer) bisect(ctx context.Context, f *schema.Flush, in *checkpoint.Intent, cause *schema.RefusedError, tries int) error {
	if tries == 1 {
		d.a.c.Logger.Error("rows refused by the store, looking for them", "flush", f.ID, "table", cause.Table, "err", cause)
	}
	if cause.Table == ledgerTable {
		return d.bisectLedger(ctx, f, in, cause, tries)
	}
	// Dependents are idempotent: halves may be tried as often as it takes.
	if err := d.dropRefusedIssuers(ctx, f); err != nil {
		return err
	}
	s := search{try: func(rows []int) error {
		part := *f
		part.Issuers, part.Rows = nil, make([]*schema.Row, len(rows))
		for i, at := range rows {
			part.Rows[i] = f.Rows[at]
		}
		return d.a.c.Sink.InsertDependents(ctx, &part)
	}}
	err := s.run(upTo(len(f.Rows)))
	if s.convinced(tries) {
		for _, i := range s.bad {
			d.replaceRefused(f.Rows[i], f.Rows[i].Timestamp, cause)
		}
	}
	return err
}

// bisectLedger does the same for the ledger, where a row must not come twice:
// every part is inserted under a token of its own, and only what is missing.
// Of a ledger row the timestamp alone is the log's to choose; a refused row is
// kept with time zero. Where that is refused too it is not the row's fault, and
// the flush waits.
func (d *deliverer) bisectLedger(ctx context.Context, f *schema.Flush, in *checkpoint.Intent, cause *schema.RefusedError, tries int) error {
	if err := d.a.c.Sink.Fence(ctx, f.ID); err != nil {
		return fmt.Errorf("fencing flush: %w", err)
	}
	lacking, err := d.lacking(ctx, f)
	if err != nil {
		return err
	}
	var rows []int
	for i, r := range f.Rows {
		if lacking[entryKey{r.LogID, r.Index}] {
			rows = append(rows, i)
		}
	}
	s := search{try: func(rows []int) error {
		if err := d.nextGeneration(ctx, f, in); err != nil {
			return err
		}
		part := map[entryKey]bool{}
		for _, i := range rows {
			part[entryKey{f.Rows[i].LogID, f.Rows[i].Index}] = true
		}
		return d.a.c.Sink.InsertLedger(ctx, f, func(log, index uint64) bool { return part[entryKey{log, index}] })
	}}
	err = s.run(rows)
	if s.convinced(tries) {
		for _, i := range s.bad {
			if r := f.Rows[i]; r.Timestamp != 0 || r.Status != schema.StatusRefused {
				d.replaceRefused(r, 0, cause)
			}
		}
	}
	return err
}

// replaceRefused makes of r a row that only says that it was refused.
func (d *deliverer) replaceRefused(r *schema.Row, timestamp uint64, cause *schema.RefusedError) {
	*r = schema.Row{LogID: r.LogID, Index: r.Index, Timestamp: timestamp, EntryType: r.EntryType, TBSID: r.TBSID,
		IssuerKeyHash: r.IssuerKeyHash, ParserVersion: r.ParserVersion, DER: r.DER, Fingerprint: r.Fingerprint,
		Status: schema.StatusRefused, Error: "refused by the store: " + cause.Error()}
	d.a.alarm(fmt.Sprintf("entry %d of log %016x was refused by the store and kept as a problem", r.Index, r.LogID))
}

// search finds the rows among many that are refused one by one.
type search struct {
	try      func(rows []int) error
	bad      []int
	accepted bool // some row went in
}

const (
	// maxRefused is how many rows in a row may be refused before the search is
	// given up: it is the table then, and not the rows.
	maxRefused = 500
	// refusePatience is how often a flush must have failed until all of its
	// rows being refused is put down to the rows.
	refusePatience = 12
)

// run finds the rows to blame. They are tried twice: a table that is mended
// during the search has refused the first of them without reason.
func (s *search) run(rows []int) error {
	if err := s.find(rows); err != nil {
		return err
	}
	again := s.bad
	s.bad = nil
	return s.find(again)
}

// find tries the rows, halving what is refused. It returns the first error
// that is no refusal.
func (s *search) find(rows []int) error {
	if len(rows) == 0 || !s.accepted && len(s.bad) >= maxRefused {
		return nil
	}
	err := s.try(rows)
	var refused *schema.RefusedError
	switch {
	case err == nil:
		s.accepted = true
		return nil
	case !errors.As(err, &refused):
		return err
	case len(rows) == 1:
		s.bad = append(s.bad, rows[0])
		return nil
	}
	half := len(rows) / 2
	if err := s.find(rows[:half]); err != nil {
		return err
	}
	return s.find(rows[half:])
}

// convinced says whether the refused rows are to blame. Where every row is
// refused it is rather the table that changed, which somebody will mend: no row
// must lose its content for that, unless it lasts.
func (s *search) convinced(tries int) bool { return s.accepted || tries >= refusePatience }

// dropRefusedIssuers takes those chain certificates out of f that the server
// refuses for good. They stay in the chain store.
func (d *deliverer) dropRefusedIssuers(ctx context.Context, f *schema.Flush) error {
	s := search{try: func(at []int) error {
		part := *f
		part.Rows, part.Issuers = []*schema.Row{}, make([]schema.Issuer, len(at))
		for i, at := range at {
			part.Issuers[i] = f.Issuers[at]
		}
		return d.a.c.Sink.InsertDependents(ctx, &part)
	}}
	if err := s.run(upTo(len(f.Issuers))); err != nil {
		return err
	}
	var good []schema.Issuer
	for at, i := range f.Issuers {
		if slices.Contains(s.bad, at) {
			d.a.alarm(fmt.Sprintf("chain certificate %x was refused by the store and is left out", i.Fingerprint))
			continue
		}
		good = append(good, i)
	}
	f.Issuers = good
	return nil
}

// upTo returns 0 … n-1.
func upTo(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}
