package ingest

import (
	"context"

	"ctappliance/schema"
)

// Sink is where rows go; package store implements it. Errors of
// InsertDependents and InsertLedger say nothing about whether the rows are
// there: the flush is then in doubt until Fence has returned and Prove has
// counted it.
type Sink interface {
	// InsertDependents writes the flush's rows to every table but the ledger:
	// one insert per table. Doing it again changes nothing.
	InsertDependents(ctx context.Context, f *schema.Flush) error

	// InsertLedger writes the flush's ledger rows, only those for which keep
	// is true (nil: all), as one insert.
	InsertLedger(ctx context.Context, f *schema.Flush, keep func(*schema.Row) bool) error

	// Fence returns when no insert of the flush can still take effect.
	Fence(ctx context.Context, flushID uint64) error

	// Prove counts each range in the ledger; the answer has the same order.
	Prove(ctx context.Context, ranges []schema.Range) ([]schema.Proof, error)

	// Holds reports whether the ledger has any entry of r, however long r is.
	Holds(ctx context.Context, r schema.Range) (bool, error)

	// Indices returns the indices in r that the ledger holds, ascending,
	// without repeats.
	Indices(ctx context.Context, r schema.Range) ([]uint64, error)

	// PutLogs writes rows of table logs.
	PutLogs(ctx context.Context, logs []schema.Log) error
}
